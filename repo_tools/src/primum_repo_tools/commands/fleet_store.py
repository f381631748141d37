"""What the commands of ``fleet`` share: the options that lead to a store, and the store."""

# ruff: noqa: PLC0415 - heavy parts are imported by the command that needs them
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason

if TYPE_CHECKING:
    from primum_repo_tools.fleet.receipts import Receiver
    from primum_repo_tools.fleet.store import FleetStore

DatabaseAddress = Annotated[
    str,
    typer.Option(
        "--database", metavar="URL", help="sqlite:///FILE or postgresql://USER@HOST/DATABASE."
    ),
]
Fleet = Annotated[str, typer.Option(help="Fleet whose devices are meant.")]
FILE = "sqlite:///fleet.db"
"""Where the database is, where nobody says so."""


@contextmanager
def store_of(
    database: str, fleet: str, *, receiver: Receiver | None = None
) -> Iterator[FleetStore]:
    """The store of a fleet, let go of when the block ends."""
    from primum_repo_tools.fleet.database import open_database
    from primum_repo_tools.fleet.store import FleetStore

    check_name("--fleet", fleet)
    opened = open_database(database)
    try:
        yield FleetStore(opened, fleet=fleet, receiver=receiver)
    finally:
        opened.close()


@contextmanager
def opened_store(database: str, fleet: str) -> Iterator[FleetStore]:
    """One that is there already: who only looks makes none."""
    path = Path(database.removeprefix("sqlite:///"))
    if database.startswith("sqlite:///") and not path.is_file():
        raise UsageError(
            "There is no such database.",
            reason=Reason.USAGE,
            where=str(path),
            remedy="Name it with --database; `primum-repo fleet enroll` makes one.",
        )
    with store_of(database, fleet) as store:
        yield store


def check_name(option: str, value: str) -> None:
    """Refuse what could not stand between two strokes of a topic.

    Raises:
        UsageError: it is no name.
    """
    from primum_repo_tools.fleet.messages import is_name

    if not is_name(value):
        raise UsageError(
            f"The value of {option} is no name.",
            reason=Reason.USAGE,
            found=value[:100],
            expected="lower-case letters, digits, points, dashes and underscores",
        )
