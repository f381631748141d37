"""Finds PostgreSQL for the tests of the fleet's database, or unpacks the distribution's own.

``make postgresql`` runs it with any Python 3.11 or newer. ``PRIMUM_POSTGRESQL`` names a folder with
``initdb`` and ``postgres``. It counts once both start; a server that the machine runs is never
used.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import unpacked  # type: ignore[import-not-found]

PROGRAMS = ("initdb", "postgres")


def starts(folder: Path) -> bool:
    """Whether the programs in a folder start."""
    environment = unpacked.environment_of(folder)
    return all(
        unpacked.answers([folder / program, "--version"], environment=environment)
        for program in PROGRAMS
    )


def below(root: Path) -> Sequence[Path]:
    """Where the distribution keeps the programs, newest first."""
    return sorted(root.glob("usr/lib/postgresql/*/bin"), reverse=True)


def on_the_system() -> Sequence[Path]:
    """Where the machine may have them."""
    on_path = shutil.which("postgres")
    return [*below(Path("/")), *([Path(on_path).parent] if on_path else [])]


WANTED = unpacked.Wanted(
    name="postgresql",
    title="PostgreSQL",
    variable="PRIMUM_POSTGRESQL",
    packages={"postgresql": "postgres"},
    system=on_the_system,
    below=below,
    starts=starts,
)

if __name__ == "__main__":
    sys.exit(unpacked.main(WANTED, description=__doc__.split("\n")[0]))
