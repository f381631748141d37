"""What the commands share: options, passphrases, and how a result is told."""

# ruff: noqa: PLC0415 - heavy parts are imported by the command that needs them
from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer
from rich.console import Console, RenderableType
from rich.table import Table

from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason

if TYPE_CHECKING:
    from primum_repo_tools.keys import Secrets
    from primum_repo_tools.progress import Progress

PERSON_PASSPHRASE_VARIABLE = "PRIMUM_PERSON_PASSPHRASE"  # noqa: S105 - a name, not a value

_NO_WIDTH = 1_000_000
"""Columns; so many that nothing is ever wrapped."""

EXITS = "Exit codes: 0 done, 1 refused, 2 usage, 3 failed, 4 busy, 5 waiting, 130 Ctrl-C."

WorkbenchFolder = Annotated[
    Path, typer.Argument(metavar="WORKBENCH", help="Folder of the workbench.")
]
Component = Annotated[str, typer.Argument(metavar="COMPONENT", help="Component, by its name.")]
Version = Annotated[str, typer.Argument(metavar="VERSION", help="Version of the release.")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON, errors too.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be signed; sign and change nothing.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before signing.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Passphrase of the workbench's keys; else PRIMUM_PASSPHRASE, else it is asked for.",
    ),
]
PersonPassphraseFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Passphrase of a person's key; else PRIMUM_PERSON_PASSPHRASE, else as the workbench.",
    ),
]


def new_app(help_text: str) -> typer.Typer:
    """A group of commands with the settings that all groups share."""
    return typer.Typer(
        help=help_text,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )


_Command = TypeVar("_Command", bound=Callable[..., None])


def command(app: typer.Typer, name: str | None = None) -> Callable[[_Command], _Command]:
    """Register a command; its docstring is its help, with the example's lines left as they are."""

    def register(function: _Command) -> _Command:
        text = inspect.getdoc(function) or ""
        # click's mark for "do not wrap this paragraph" is a backspace on a line of its own.
        app.command(name, help=text.replace("\nExample:", "\n\b\nExample:"), epilog=EXITS)(function)
        return function

    return register


def secrets_from(passphrase_file: Path | None) -> Secrets:
    """The passphrase of a workbench: file, environment, or the person at the terminal."""
    from primum_repo_tools.keys import Secrets

    if sys.stdin.isatty():
        return Secrets(passphrase_file=passphrase_file)
    return Secrets(passphrase_file=passphrase_file, prompt=None)


def person_secrets(person_file: Path | None, passphrase_file: Path | None) -> Secrets:
    """The passphrase of a person's key; where none is given, that of the workbench is meant."""
    from primum_repo_tools.keys import Secrets

    if person_file is None and PERSON_PASSPHRASE_VARIABLE not in os.environ:
        return secrets_from(passphrase_file)
    return Secrets(passphrase_file=person_file, variable=PERSON_PASSPHRASE_VARIABLE, prompt=None)


def tell(data: Mapping[str, object], *parts: RenderableType, as_json: bool) -> None:
    """Tell a result: ``data`` as one JSON object, or ``parts`` as a person reads them."""
    if as_json:
        sys.stdout.write(json.dumps(data, sort_keys=True, ensure_ascii=False) + "\n")
        return
    if sys.stdout.isatty():
        console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
        for part in parts:
            console.print(part)
        return
    # Nobody looks at a width here: commands and digests are to be copied whole.
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True, width=_NO_WIDTH)
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    lines = captured.get().splitlines()
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in lines))


def told_progress() -> Progress:
    """Progress as lines on standard error, where they are in nobody's way."""
    from primum_repo_tools.progress import Progress

    return Progress(lambda line: typer.echo(line, err=True))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """A plain table."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(str(cell) for cell in row))
    return made


def confirm(question: str, *, yes: bool) -> None:
    """Ask a person before something is signed.

    Raises:
        UsageError: nobody is there to ask, or the answer was no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        _stop("Nobody is there to confirm.", "Read it with --dry-run, then sign with --yes.")
    if not typer.confirm(question):
        _stop("Nothing was signed.", "Run the command again when it may be signed.")


def _stop(message: str, remedy: str) -> NoReturn:
    raise UsageError(message, reason=Reason.USAGE, remedy=remedy)


def pretty(data: bytes) -> str:
    """The bytes of a document as a person reads them, in full."""
    return json.dumps(json.loads(data), indent=2, sort_keys=True, ensure_ascii=False)
