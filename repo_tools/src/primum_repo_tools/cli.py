"""``primum-repo``: the commands put together, and the one place where errors become exit codes."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Sequence

import typer

from primum_repo_tools.commands import (
    approve,
    authority,
    compare,
    delta,
    device,
    fixtures,
    fleet,
    init,
    monitoring,
    notice,
    person,
    policy,
    publish,
    published_notice,
    release,
    rollout,
    site,
    status,
    test_set,
    trust_map,
)
from primum_repo_tools.commands.common import EXITS, command, new_app
from primum_verifier.core.errors import EXIT_DONE, FailedError, PrimumError, UsageError
from primum_verifier.core.reasons import Reason

app = new_app(
    "The release workbench: keys, releases, approvals, publishing, rollout, withdrawal.\n\n"
    "Each command names its workbench first. Start with: primum-repo init --help\n\n" + EXITS
)
command(app)(init.init)
app.add_typer(authority.app, name="authority", epilog=EXITS)
app.add_typer(person.app, name="person", epilog=EXITS)
app.add_typer(policy.app, name="policy", epilog=EXITS)
app.add_typer(device.app, name="device", epilog=EXITS)
app.add_typer(release.app, name="release", epilog=EXITS)
app.add_typer(delta.app, name="delta", epilog=EXITS)
app.add_typer(fixtures.app, name="fixtures", epilog=EXITS)
app.add_typer(monitoring.app, name="monitoring", epilog=EXITS)
command(app)(compare.compare)
app.add_typer(test_set.app, name="test-set", epilog=EXITS)
app.add_typer(approve.app, name="approve", epilog=EXITS)
command(app)(publish.publish)
command(app)(rollout.rollout)
command(app)(notice.withdraw)
command(app)(notice.hold)
command(app)(notice.restrict)
app.add_typer(published_notice.app, name="notice", epilog=EXITS)
app.add_typer(site.app, name="site", epilog=EXITS)
app.add_typer(trust_map.app, name="trust-map", epilog=EXITS)
command(app)(status.status)
app.add_typer(fleet.app, name="fleet", epilog=EXITS)


_SHOWN_PROBLEMS = 5
_INTERRUPTED = 130
"""The exit code of a program that Ctrl-C ended; typer answers it too, instead of raising."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the command line without the program's name; the process's own when None.

    Returns:
        The exit code: 0 done, 1 refused, 2 usage, 3 failed, 4 busy, 5 waiting,
        130 ended by Ctrl-C.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(given)
    except PrimumError as error:
        code = _INTERRUPTED if error.reason == Reason.INTERRUPTED else error.exit_code
        _complain(error, code, as_json="--json" in given)
        return code


@functools.cache
def _program() -> typer.core.TyperGroup:
    """All commands as typer reads them from their signatures: once for all calls of a process."""
    return typer.main.get_group(app)


def _run(arguments: list[str]) -> int:
    """Run, and translate what typer, the system and a person at the keyboard raise.

    Returns:
        What the command ended with: 0, or another code of the table where that is an answer.
    """
    code: object = EXIT_DONE
    try:
        code = _program().main(args=arguments, prog_name="primum-repo", standalone_mode=False)
    except typer.TyperException as error:
        raise _misused(str(error)) from error
    except (KeyboardInterrupt, typer.Abort, EOFError) as error:
        raise _interrupted() from error
    except BrokenPipeError:
        # Whoever read our output has seen enough; that is no failure of the command.
        sys.stderr.close()
    except ValueError as error:
        raise _invalid(error) from error
    except OSError as error:
        raise FailedError(
            "The system did not do what was asked of it.",
            reason=Reason.RESOURCE_STORAGE,
            where=str(error.filename or ""),
            found=error.strerror or str(error),
            remedy="Check folder, permissions and free space; then run the command again.",
        ) from error
    if code == _INTERRUPTED:
        raise _interrupted()
    return code if isinstance(code, int) else EXIT_DONE


def _misused(message: str) -> UsageError:
    """A wrong command line; typer says "no command" by raising the whole help text."""
    if message.startswith("Usage:"):
        sys.stderr.write(message + "\n\n")
        message = "A command is missing."
    return UsageError(
        " ".join(message.split()), reason=Reason.USAGE, remedy="See the command's --help."
    )


def _invalid(error: ValueError) -> UsageError:
    """A value of the command line that a signed document does not allow.

    Raises:
        ValueError: it is none of those, but a fault of our own.
    """
    from pydantic import ValidationError  # noqa: PLC0415 - only where something went wrong

    if not isinstance(error, ValidationError):
        raise error
    problems = [
        f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
        for item in error.errors(include_input=False, include_url=False)[:_SHOWN_PROBLEMS]
    ]
    return UsageError(
        "A value is not allowed in a signed document.",
        reason=Reason.USAGE,
        found="; ".join(problems),
        remedy="See the command's --help.",
    )


def _interrupted() -> FailedError:
    return FailedError(
        "Interrupted.",
        reason=Reason.INTERRUPTED,
        remedy="Nothing half-done is visible to devices; run the command again.",
    )


def _complain(error: PrimumError, code: int, *, as_json: bool) -> None:
    if as_json:
        text = json.dumps({"error": error.as_dict(), "exitCode": code}, sort_keys=True)
    else:
        text = error.for_people()
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
