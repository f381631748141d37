"""``primum-agent``: the life of an update on a device.

Exit codes: 0 done, 1 refused, 2 usage, 3 failed, 4 busy, 5 waiting; 130 when
interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

from primum_agent.owner import act_as_owner
from primum_verifier.core.errors import EXIT_DONE, EXIT_FAILED, EXIT_USAGE, PrimumError

COMMANDS = {
    "run": "supervise updates on this device until told to stop",
    "install": "install from a folder or a stick, with the same checks",
    "check": "what would happen now, and why; nothing is activated",
    "status": "what runs, and how the update stands",
    "explain": "the last verdict on a release, rule by rule",
    "history": "the device's events; export them for an auditor",
    "export": "bring the journal to a folder or a stick",
    "trust": "replace the trust map by one that both roots signed",
    "doctor": "look for what would keep the agent from working",
    "enroll": "make the device's key on the device",
    "reset": "remove what is on the device but its key, its names and its floors",
    "decommission": "remove what is on the device, its keys too; it serves nobody any more",
    "rotate": "give the device another key, signed for by the one in use",
    "approve": "record that a person agrees to a release that waits for it",
    "consent": "the person who uses the device agrees to the release that waits",
    "defer": "the person who uses the device says later, a bounded number of times",
    "override": "let one gate be passed for some hours; never clinical use",
    "pause": "have nothing fetched for releases for some hours, or let it go on",
    "runner": "run the active model confined, for applications that ask over a socket",
    "rollback": "go back to a release that is held here, without fetching anything",
    "reinstate": "end a stop that the application asked for",
    "retry": "let a release be tried again that was given up or set aside",
    "feedback": "record what somebody at the device remarks about it",
    "poll": "ask the running supervisor to poll now",
}
"""Each command with one line; its module is loaded only when it is called."""

_INTERRUPTED = 130


def _parser(command: str | None) -> tuple[argparse.ArgumentParser, ModuleType | None]:
    parser = argparse.ArgumentParser(
        prog="primum-agent",
        description="The update agent of a device.",
        epilog="exit codes: 0 done, 1 refused, 2 usage, 3 failed, 4 busy, 5 waiting\n\n"
        "example:\n  primum-agent run --state /var/lib/primum --provisioning /etc/primum",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version="primum-agent 0.1.0")
    names = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    module: ModuleType | None = None
    for name, line in COMMANDS.items():
        if name != command:
            names.add_parser(name, help=line)
            continue
        module = import_module(f"primum_agent.commands.{name}")
        own = names.add_parser(
            name,
            help=line,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        _common(own)
        module.add_arguments(own)
    return parser, module


def _common(parser: argparse.ArgumentParser) -> None:
    state = os.environ.get("STATE_DIRECTORY")
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        default=Path(state) if state else None,
        required=state is None,
        help="the device's state folder (systemd's STATE_DIRECTORY when it is set)",
    )
    parser.add_argument("--json", action="store_true", help="answer as one JSON object")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the words after ``primum-agent``; the process's own when None.

    Returns:
        An exit code of the one table.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(words)
    except KeyboardInterrupt:
        return _INTERRUPTED


def _run(words: list[str]) -> int:
    parser, module = _parser(next((word for word in words if word in COMMANDS), None))
    options = parser.parse_args(words)
    if module is None:
        parser.print_help()
        return EXIT_USAGE
    try:
        if words == sys.argv[1:]:
            act_as_owner(options.state)
        return int(module.run(options) or EXIT_DONE)
    except PrimumError as error:
        if options.json:
            print(json.dumps({"ok": False, **error.as_dict()}))  # noqa: T201 - a command
        else:
            print(error.for_people(), file=sys.stderr)  # noqa: T201 - a command
        return error.exit_code
    except BrokenPipeError:
        # Whoever read the output has enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
