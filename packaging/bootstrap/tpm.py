"""Finds a TPM 2 in software with its PKCS#11 module, or unpacks the distribution's own.

``make tpm`` runs it with any Python 3.11 or newer. ``PRIMUM_TPM`` names a folder laid out like
``/``. It counts once the TPM starts and its module and its way to the TPM are there. Where there is
none, the tests on it are skipped.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import unpacked  # type: ignore[import-not-found]

SYSTEM = Path("/")
LIBRARIES = ("libtpm2_pkcs11.so*", "libtss2-tcti-swtpm.so*")


def starts(folder: Path) -> bool:
    """Whether the TPM starts, and its libraries are below the same folder."""
    environment = unpacked.environment_of(folder)
    if folder != SYSTEM:
        environment["PATH"] = f"{folder / 'usr/bin'}:{environment.get('PATH', '')}"
    program = shutil.which("swtpm", path=environment["PATH"])
    places = [folder / "usr/lib", *(folder / "usr/lib").glob("*-linux-gnu*")]
    there = all(
        any(True for place in places for _ in (*place.glob(name), *place.glob(f"pkcs11/{name}")))
        for name in LIBRARIES
    )
    return (
        program is not None
        and there
        and unpacked.answers([program, "--version"], environment=environment)
    )


WANTED = unpacked.Wanted(
    name="tpm",
    title="TPM",
    variable="PRIMUM_TPM",
    packages={
        "swtpm": "swtpm",
        "libtpm2-pkcs11-1": "",
        "libtss2-tcti-swtpm0": "",
        "opensc": "pkcs11-tool",
    },
    system=lambda: [SYSTEM],
    below=lambda root: [root],
    starts=starts,
)

if __name__ == "__main__":
    sys.exit(unpacked.main(WANTED, description=__doc__.split("\n")[0]))
