"""Writes the pinned requirements: every third party by version and hash, no package index named.

``make pins`` runs it after a dependency changed in a ``pyproject.toml``. Versions that are already
pinned stay as they are while they still fit; ``make pins UPGRADE=1`` takes the newest instead.

One resolution serves every supported Python: where a version has to differ, the line carries a
marker. Only ready-made wheels are allowed, so that installing runs no code of a package.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
REQUIREMENTS = CHECKOUT / "packaging" / "requirements"
OLDEST_PYTHON = "3.11"
MEMBERS = ("primum-agent", "primum-device-sim", "primum-repo-tools", "primum-verifier")
ADDRESS = re.compile(r"[a-z+]+://", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class PinSet:
    """One file of pins.

    Args:
        name: the file's name below ``packaging/requirements/``.
        promise: what a person may do with it, for its first line.
        source: the ``pyproject.toml`` that is resolved, relative to the checkout; without one
            the groups of the workspace that ``options`` name are all.
        options: further options for the resolver.
        follows: the file whose versions this one must not differ from.
    """

    name: str
    promise: str
    source: str | None = None
    options: tuple[str, ...] = ()
    follows: str | None = None


PIN_SETS = (
    PinSet(
        name="dev.txt",
        promise="Everything to build, test and show Primum: the third parties of the checkout.",
        source="pyproject.toml",
        options=("--group", "build", "--group", "dev"),
    ),
    PinSet(
        name="agent.txt",
        promise="A device without a Python bench: the third parties of agent and verifier.",
        source="agent/pyproject.toml",
        follows="dev.txt",
    ),
    PinSet(
        name="agent-pkcs11.txt",
        promise="The same for a device whose key lies on a token: with the agent's extra pkcs11.",
        source="agent/pyproject.toml",
        options=("--extra", "pkcs11"),
        follows="dev.txt",
    ),
    PinSet(
        name="verifier-bench.txt",
        promise="The third parties of the verifier with its Python self-test bench.",
        source="verifier/pyproject.toml",
        options=("--extra", "bench"),
        follows="dev.txt",
    ),
    PinSet(
        name="campaigns/fuzz.txt",
        promise="What 'make campaign-fuzz' needs beside the checkout's third parties.",
        options=("--group", "fuzz"),
    ),
    PinSet(
        name="campaigns/mutation.txt",
        promise="What 'make campaign-mutation' needs beside the checkout's third parties.",
        options=("--group", "mutation"),
        follows="dev.txt",
    ),
    PinSet(
        name="campaigns/references.txt",
        promise="What 'make references' needs beside the checkout's third parties.",
        options=("--group", "references"),
        follows="dev.txt",
    ),
)


def find_uv() -> str:
    """The resolver: the one pinned in the environment first.

    Raises:
        SystemExit: when there is none.
    """
    pinned = Path(sys.prefix) / "bin" / "uv"
    found = str(pinned) if pinned.is_file() else shutil.which("uv")
    if not found:
        raise SystemExit("pins: uv is not there; 'make environment' installs it")
    return found


def resolve(uv: str, pins: PinSet, *, upgrade: bool) -> None:
    """Writes one file of pins, whole or not at all.

    Args:
        uv: path of the resolver.
        pins: which file.
        upgrade: whether versions that still fit are left behind.

    Raises:
        SystemExit: when there is no resolution, or the result names an address.
    """
    target = REQUIREMENTS / pins.name
    beside = target.with_suffix(".new")
    if target.exists():
        shutil.copyfile(target, beside)
    command = [uv, "pip", "compile", "--universal", "--python-version", OLDEST_PYTHON]
    command += ["--generate-hashes", "--only-binary", ":all:", "--no-header", "--no-annotate"]
    for member in MEMBERS:
        command += ["--no-emit-package", member]
    if pins.follows:
        command += ["--constraints", str(REQUIREMENTS / pins.follows)]
    if upgrade:
        command.append("--upgrade")
    command += [*pins.options, "--quiet", "--output-file", str(beside)]
    if pins.source:
        command.append(pins.source)
    try:
        if subprocess.run(command, cwd=CHECKOUT, check=False, stdout=subprocess.DEVNULL).returncode:
            raise SystemExit(f"pins: no resolution for {pins.name}; the file stays as it was")
        lines = beside.read_text(encoding="utf-8").splitlines()
        # uv lists what it left out as comments that name the members: noise for a reader.
        kept = [line for line in lines if not line.startswith("#")]
        if any(ADDRESS.search(line) for line in kept):
            raise SystemExit(f"pins: {pins.name} would name an address; the file stays as it was")
        head = [f"# {pins.promise}", "# Written by 'make pins' for Python 3.11 and newer."]
        beside.write_text("\n".join([*head, *kept]) + "\n", encoding="utf-8")
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
    print(f"pins: {pins.name}: {sum('==' in line for line in kept)} packages")


def main() -> int:
    """Writes all files of pins, in the order in which they follow each other."""
    parser = argparse.ArgumentParser(description=__doc__, prog="pins.py")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    arguments = parser.parse_args()
    uv = find_uv()
    for pins in PIN_SETS:
        resolve(uv, pins, upgrade=arguments.upgrade)
    return 0


if __name__ == "__main__":
    sys.exit(main())
