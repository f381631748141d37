"""Finds SoftHSM, a token in software for the tests, or unpacks the distribution's own.

``make token`` runs it with any Python 3.11 or newer. Looked at in this order: ``PRIMUM_SOFTHSM``
(a folder with ``softhsm2-util`` and ``libsofthsm2.so`` somewhere below), the system's folders, what
was unpacked before. Where none is found it is fetched and unpacked below ``.cache/softhsm/`` as the
broker is: no root, nothing installed, nothing of the system changed.

The folder is left in ``.cache/softhsm/path`` once a token was made with it. A checkout without it
runs all tests but those on a token, which say so.
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

UNPACKED = Path(broker.CACHE) / "softhsm"
RECORDED = UNPACKED / "path"
SYSTEM = Path("/usr")
PACKAGE = "softhsm2"
UTIL, MODULE = "softhsm2-util", "libsofthsm2.so"
MODULE_FOLDERS = ("lib/softhsm", "lib64/softhsm", "lib/pkcs11", "lib64/pkcs11", "lib")
HOW_TO_INSTALL = "install softhsm2, or name its folder: make token PRIMUM_SOFTHSM=/folder"


def say(text: str) -> None:
    """One line of progress, on stderr."""
    print(f"token: {text}", file=sys.stderr, flush=True)


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
        try:
            done = subprocess.run(
                [*command, "--label", "primum", "--so-pin", "12345678", "--pin", "1234"],
                check=False,
                capture_output=True,
                timeout=broker.START_SECONDS,
                env={**os.environ, "SOFTHSM2_CONF": str(settings)},
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
    return done.returncode == 0


def candidates() -> Iterator[Path]:
    """Where it may be; what is named by hand stands alone."""
    named = os.environ.get("PRIMUM_SOFTHSM")
    if named:
        yield Path(named)
        return
    yield SYSTEM
    yield UNPACKED / "root" / "usr"


def unpack() -> Path:
    """Unpacks the distribution's package below ``.cache/softhsm``, whole or not at all.

    Raises:
        broker.SetupError: when this distribution has other tools, or its packages cannot be had.
    """
    if not all(shutil.which(tool) for tool in ("apt-get", "apt-config", "dpkg-deb")):
        raise broker.SetupError("no SoftHSM here")
    say("unpacking the distribution's SoftHSM into .cache (nothing is installed)")
    for left_over in broker.CACHE.glob("softhsm.new-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="softhsm.new-", dir=broker.CACHE))
    try:
        broker.unpack_packages(folder, PACKAGE)
        if not makes_a_token(folder / "root" / "usr"):
            raise broker.SetupError("the distribution's SoftHSM does not make a token here")
        broker.tidy(folder)
        shutil.rmtree(UNPACKED, ignore_errors=True)
        folder.rename(UNPACKED)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return UNPACKED / "root" / "usr"


def main() -> int:
    """Finds or unpacks it, and records where it is."""
    argparse.ArgumentParser(description=__doc__.split("\n")[0], prog="softhsm.py").parse_args()
    try:
        with broker.only_one():
            known = next((folder for folder in candidates() if makes_a_token(folder)), None)
            found = (known or unpack()).absolute()
            UNPACKED.mkdir(parents=True, exist_ok=True)
            RECORDED.write_text(f"{found}\n", encoding="utf-8")
    except (broker.SetupError, OSError) as error:
        print(f"token: {error}: {HOW_TO_INSTALL}", file=sys.stderr)
        return int(broker.EXIT_FAILED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
