"""Finds RAUC, the updater of operating systems, or unpacks the distribution's own for the tests.

``make rauc`` runs it with any Python 3.11 or newer. ``PRIMUM_RAUC`` names a folder laid out like
``/``. It counts once RAUC and its squashfs tools start, and a message bus is there. RAUC is for
Linux alone.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import unpacked  # type: ignore[import-not-found]

SYSTEM = Path("/")


def starts(folder: Path) -> bool:
    """Whether everything that the tests need is below a folder, or on the system, and starts."""
    if not (folder / "usr/bin/rauc").is_file():
        return False
    environment = unpacked.environment_of(folder)
    if folder != SYSTEM:
        environment["PATH"] = f"{folder / 'usr/bin'}:{environment.get('PATH', '')}"
    for program, word in {"rauc": "--version", "mksquashfs": "-version"}.items():
        found = shutil.which(program, path=environment["PATH"])
        if found is None or not unpacked.answers([found, word], environment=environment):
            return False
    return shutil.which("dbus-daemon", path=environment["PATH"]) is not None


WANTED = unpacked.Wanted(
    name="rauc",
    title="RAUC",
    variable="PRIMUM_RAUC",
    packages={"rauc": "rauc", "squashfs-tools": "mksquashfs", "dbus-daemon": "dbus-daemon"},
    system=lambda: [SYSTEM],
    below=lambda root: [root],
    starts=starts,
)

if __name__ == "__main__":
    sys.exit(unpacked.main(WANTED, description=__doc__.split("\n")[0]))
