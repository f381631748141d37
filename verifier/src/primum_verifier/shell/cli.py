r"""Verify Primum releases and histories with public keys alone.

Exit codes: 0 done and trusted, 1 refused, 2 usage, 3 failed, 4 busy, 5 waiting.

Example:
  primum-verify fetch --trusted-root root.json --metadata-dir trusted \
      --metadata-url https://updates.example.com/metadata/
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Protocol, cast

from primum_verifier.core.errors import EXIT_FAILED, PrimumError

COMMANDS = {
    "fetch": "Run the device's own TUF client against any TUF repository.",
    "release": "Prove one release with public keys alone: files, eligibility, signatures.",
    "selftest": "Run a release's self-test on this machine, with the code that a device runs.",
    "explain": "Explain a verdict rule by rule: found, expected, signed where, on which clause.",
    "rules": "List the rules of a verdict: purpose, reason code, document, clause.",
    "policy": "Show the approval policy: who may approve, and what each stage needs.",
    "trust": "Show whom a device trusts: roots, roles, keys, thresholds; check a change of it.",
    "history": "Prove that a run of events is whole, in order, and from one device.",
    "served": "Say which release served a device at an instant, under which statement, and what "
    "proves it.",
    "comparison": "Show a comparison report, or draw it as one page with its plots.",
    "plan": "Say how a change stands to its change-control plan, rule by rule, as advice.",
    "schema": "Show what Primum's documents are called, and the JSON Schema of each.",
}
"""Each command with the first line of its file, so that a list of them imports none."""

_INTERRUPTED = 130


class _Command(Protocol):
    """What the module of a command offers."""

    __doc__: str | None
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors are told, never raised."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser(words).parse_args(words)
    try:
        return cast("int", options.run(options))
    except PrimumError as error:
        if options.json:
            print(json.dumps({"outcome": "error", **error.as_dict()}))  # noqa: T201
        else:
            print(error.for_people(), file=sys.stderr)  # noqa: T201
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted: nothing half-done was kept", file=sys.stderr)  # noqa: T201
        return _INTERRUPTED
    except BrokenPipeError:
        return EXIT_FAILED


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser; only the command that is asked for is imported, so that ``--help`` is quick."""
    parser = argparse.ArgumentParser(
        prog="primum-verify",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    asked = next((word for word in words if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        if asked != name:
            commands.add_parser(name, help=summary)
            continue
        module = cast("_Command", import_module(f"primum_verifier.shell.commands.{name}"))
        text = module.__doc__ or ""
        command = commands.add_parser(
            name,
            help=summary,
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument("--json", action="store_true", help="print one JSON object")
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
