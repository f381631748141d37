"""Finds RAUC, the updater of operating systems, or unpacks the distribution's own for the tests.

``make rauc`` runs it with any Python 3.11 or newer. Looked at in this order: ``PRIMUM_RAUC`` (a
folder laid out like ``/``), the system's folders, what was unpacked before. Where none is found the
distribution's RAUC, its squashfs tools and a message bus are fetched and unpacked below
``.cache/rauc/`` as the broker is: no root, nothing installed, nothing of the system changed.

The folder is left in ``.cache/rauc/path`` once all of it starts. RAUC is for Linux alone: a system
without it and without apt runs all tests but those on RAUC, which say so.
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

UNPACKED = Path(broker.CACHE) / "rauc"
RECORDED = UNPACKED / "path"
SYSTEM = Path("/")
PACKAGES = {"rauc": "rauc", "squashfs-tools": "mksquashfs", "dbus-daemon": "dbus-daemon"}
"""The distribution's packages, each with the program that the tests need of it."""
TOOLS = ("apt-get", "apt-config", "dpkg-deb")
HOW_TO_INSTALL = f"install {', '.join(PACKAGES)}, or name a folder: make rauc PRIMUM_RAUC=/folder"


def say(text: str) -> None:
    """One line of progress, on stderr."""
    print(f"rauc: {text}", file=sys.stderr, flush=True)


def environment_of(folder: Path) -> dict[str, str]:
    """The variables with which programs below a folder find each other and their libraries."""
    if folder == SYSTEM:
        return dict(os.environ)
    places = sorted({str(file.parent) for file in folder.rglob("*.so*")})
    paths = [str(folder / "usr/bin"), os.environ.get("PATH", os.defpath)]
    return {
        **os.environ,
        "PATH": os.pathsep.join(paths),
        "LD_LIBRARY_PATH": os.pathsep.join(places),
    }


def starts(folder: Path) -> bool:
    """Whether everything that the tests need is below a folder, or on the system, and starts."""
    environment = environment_of(folder)
    if not (folder / "usr/bin/rauc").is_file():
        return False
    for program, word in {"rauc": "--version", "mksquashfs": "-version"}.items():
        found = shutil.which(program, path=environment["PATH"])
        if found is None:
            return False
        try:
            done = subprocess.run(
                [found, word],
                check=False,
                capture_output=True,
                timeout=broker.START_SECONDS,
                env=environment,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        if done.returncode:
            return False
    return shutil.which("dbus-daemon", path=environment["PATH"]) is not None


def candidates() -> Iterator[Path]:
    """Where it may be; what is named by hand stands alone."""
    named = os.environ.get("PRIMUM_RAUC")
    if named:
        yield Path(named)
        return
    yield SYSTEM
    yield UNPACKED / "root"


def find() -> Path | None:
    """The first that starts; None where there is none.

    Raises:
        broker.SetupError: the one named by ``PRIMUM_RAUC`` does not, and no other is wanted.
    """
    found = next((folder for folder in candidates() if starts(folder)), None)
    named = os.environ.get("PRIMUM_RAUC")
    if named and found is None:
        raise broker.SetupError(f"PRIMUM_RAUC={named} holds no RAUC that starts")
    return found


def unpack() -> Path:
    """Unpacks the distribution's packages below ``.cache/rauc``, whole or not at all.

    Raises:
        broker.SetupError: when its packages cannot be had.
    """
    say("unpacking the distribution's RAUC into .cache (nothing is installed)")
    for left_over in broker.CACHE.glob("rauc.new-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="rauc.new-", dir=broker.CACHE))
    try:
        for package, program in PACKAGES.items():
            if package == "rauc" or shutil.which(program) is None:
                one = folder / f"of-{package}"
                broker.unpack_packages(one, package)
                shutil.copytree(one / "root", folder / "root", symlinks=True, dirs_exist_ok=True)
                shutil.rmtree(one)
        if not starts(folder / "root"):
            raise broker.SetupError("the distribution's RAUC does not start here")
        folder.chmod(0o755)
        shutil.rmtree(UNPACKED, ignore_errors=True)
        folder.rename(UNPACKED)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return UNPACKED / "root"


def main() -> int:
    """Finds or unpacks it, and records where it is."""
    argparse.ArgumentParser(description=__doc__.split("\n")[0], prog="rauc.py").parse_args()
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
        print(f"rauc: {error}: {HOW_TO_INSTALL}", file=sys.stderr)
        return int(broker.EXIT_FAILED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
