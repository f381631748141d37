"""Finds SoftHSM, a token in software for the tests, or unpacks the distribution's own.

``make softhsm`` runs it with any Python 3.11 or newer. ``PRIMUM_SOFTHSM`` names a folder laid out
like ``/usr``. It counts once a token was made with it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import unpacked  # type: ignore[import-not-found]

UTIL, MODULE = "softhsm2-util", "libsofthsm2.so"
MODULE_FOLDERS = ("lib/softhsm", "lib64/softhsm", "lib/pkcs11", "lib64/pkcs11", "lib")


def parts_in(folder: Path) -> tuple[Path, Path] | None:
    """Program and module below a folder that is laid out like ``/usr``; None without both."""
    util = folder / "bin" / UTIL
    modules = (folder / place / MODULE for place in MODULE_FOLDERS)
    module = next((path for path in modules if path.is_file()), None)
    return (util, module) if util.is_file() and module is not None else None


def makes_a_token(folder: Path) -> bool:
    """Whether a token can be made with what lies below a folder."""
    parts = parts_in(folder)
    if parts is None:
        return False
    with tempfile.TemporaryDirectory(prefix="primum-token-") as name:
        settings = Path(name) / "softhsm2.conf"
        settings.write_text(f"directories.tokendir = {name}\n", encoding="utf-8")
        command = [str(parts[0]), "--module", str(parts[1]), "--init-token", "--free"]
        return bool(
            unpacked.answers(
                [*command, "--label", "primum", "--so-pin", "12345678", "--pin", "1234"],
                environment={
                    **unpacked.environment_of(folder),
                    "SOFTHSM2_CONF": str(settings),
                },
            )
        )


WANTED = unpacked.Wanted(
    name="softhsm",
    title="SoftHSM",
    variable="PRIMUM_SOFTHSM",
    packages={"softhsm2": UTIL},
    system=lambda: [Path("/usr")],
    below=lambda root: [root / "usr"],
    starts=makes_a_token,
)

if __name__ == "__main__":
    sys.exit(unpacked.main(WANTED, description=__doc__.split("\n")[0]))
