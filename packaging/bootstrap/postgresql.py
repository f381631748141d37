"""Finds PostgreSQL for the tests of the fleet's database, or unpacks the distribution's own.

``make postgresql`` runs it with any Python 3.11 or newer. Looked at in this order:
``PRIMUM_POSTGRESQL`` (a folder with ``initdb`` and ``postgres``), the system's folders, what was
unpacked before. Where none is found it is fetched and unpacked below ``.cache/postgresql/`` as the
broker is: no root, nothing installed, nothing of the system changed; a server that the machine runs
is never used.

The folder is left in ``.cache/postgresql/path`` once its programs start. A checkout without it runs
all tests but those on PostgreSQL, which say so.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

# The script beside this one: it knows how to unpack a package without root.
import broker  # type: ignore[import-not-found]

UNPACKED = Path(broker.CACHE) / "postgresql"
RECORDED = UNPACKED / "path"
PACKAGE = "postgresql"
PROGRAMS = ("initdb", "postgres")
BELOW_ROOT = "usr/lib/postgresql/*/bin"
TOOLS = ("apt-get", "apt-config", "dpkg-deb")
HOW_TO_INSTALL = "install postgresql, or name its folder: make postgresql PRIMUM_POSTGRESQL=/folder"


def say(text: str) -> None:
    """One line of progress, on stderr."""
    print(f"postgresql: {text}", file=sys.stderr, flush=True)


def environment_of(folder: Path) -> dict[str, str]:
    """The variables with which unpacked programs find their libraries."""
    if not folder.is_relative_to(UNPACKED):
        return dict(os.environ)
    root = UNPACKED / "root"
    places = sorted({str(file.parent) for file in root.rglob("*.so*")})
    return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(places)}


def starts(folder: Path) -> bool:
    """Whether the programs in a folder start."""
    for program in PROGRAMS:
        try:
            done = subprocess.run(
                [folder / program, "--version"],
                check=False,
                capture_output=True,
                timeout=broker.START_SECONDS,
                env=environment_of(folder),
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        if done.returncode:
            return False
    return True


def candidates() -> Iterator[Path]:
    """Where it may be; what is named by hand stands alone."""
    named = os.environ.get("PRIMUM_POSTGRESQL")
    if named:
        yield Path(named)
        return
    yield from sorted(Path("/").glob(BELOW_ROOT), reverse=True)
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).parent
    yield from sorted((UNPACKED / "root").glob(BELOW_ROOT))


def find() -> Path | None:
    """The first that starts.

    Raises:
        broker.SetupError: when the one named by ``PRIMUM_POSTGRESQL`` does not.
    """
    found = next((folder for folder in candidates() if starts(folder)), None)
    if found is None and os.environ.get("PRIMUM_POSTGRESQL"):
        raise broker.SetupError("PRIMUM_POSTGRESQL names no PostgreSQL that starts")
    return found


def unpack() -> Path:
    """Unpacks the distribution's packages below ``.cache/postgresql``, whole or not at all.

    Raises:
        broker.SetupError: when its packages cannot be had.
    """
    say("unpacking the distribution's PostgreSQL into .cache (nothing is installed)")
    for left_over in broker.CACHE.glob("postgresql.new-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="postgresql.new-", dir=broker.CACHE))
    try:
        broker.unpack_packages(folder, PACKAGE)
        broker.tidy(folder)
        shutil.rmtree(UNPACKED, ignore_errors=True)
        folder.rename(UNPACKED)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found = next((path for path in (UNPACKED / "root").glob(BELOW_ROOT) if starts(path)), None)
    if found is None:
        raise broker.SetupError("the distribution's PostgreSQL does not start here")
    return found


def main() -> int:
    """Finds or unpacks it, and records where it is."""
    argparse.ArgumentParser(description=__doc__.split("\n")[0], prog="postgresql.py").parse_args()
    try:
        with broker.only_one():
            known = find()
            if known is None and not all(shutil.which(tool) for tool in TOOLS):
                say(f"none here, so the tests on it are skipped; {HOW_TO_INSTALL}")
                return 0
            found = (known or unpack()).absolute()
            UNPACKED.mkdir(parents=True, exist_ok=True)
            RECORDED.write_text(f"{found}\n", encoding="utf-8")
    except (broker.SetupError, OSError) as error:
        print(f"postgresql: {error}: {HOW_TO_INSTALL}", file=sys.stderr)
        return int(broker.EXIT_FAILED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
