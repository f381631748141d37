"""Fails where a tracked file names a package index or a path of somebody's machine.

The repository has to work from any index and in any folder; an address or a path that slipped in
ties it to the place it was written at. Each finding is named as file:line.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
# Assembled, so that this file is judged by its own rule like every other.
INDEX_HOST = re.compile(r"\b(py" + r"pi\.org|python" + r"hosted\.org)\b", re.IGNORECASE)
MACHINE_PATH = re.compile(r"(?<![\w./~*${}\[\]>-])/(?:work|home|root|Users)/\w")
LOCK_FILE = "uv.lock"  # records the addresses of the index it was resolved with
ADDRESS_IN_PINS = re.compile(r"[a-z+]+://", re.IGNORECASE)
PINS = "packaging/requirements/"
EXIT_DONE, EXIT_REFUSED, EXIT_FAILED = 0, 1, 3


def tracked_files() -> list[str]:
    """Every file that git tracks in this checkout.

    Raises:
        SystemExit: where git or the repository is missing: nothing could be judged.
    """
    git = shutil.which("git")
    if git is None:
        print("speaks-of-itself: git is not there", file=sys.stderr)
        raise SystemExit(EXIT_FAILED)
    listing = subprocess.run(
        [git, "-C", str(CHECKOUT), "ls-files", "-z"], check=False, capture_output=True
    )
    if listing.returncode:
        print("speaks-of-itself: the checkout is no git repository", file=sys.stderr)
        raise SystemExit(EXIT_FAILED)
    return [name for name in listing.stdout.decode("utf-8").split("\0") if name]


def findings(name: str, text: str) -> list[str]:
    """What one file says that it should not, one ``file:line: what`` each."""
    rules = [(INDEX_HOST, "a package index"), (MACHINE_PATH, "a path of one machine")]
    if name.startswith(PINS):
        rules.append((ADDRESS_IN_PINS, "an address among the pins"))
    return [
        f"{name}:{number}: {what}: {line.strip()}"
        for number, line in enumerate(text.splitlines(), start=1)
        for rule, what in rules
        if rule.search(line)
    ]


def main() -> int:
    """Judges every tracked text file; binary ones and links hold no prose."""
    found = []
    names = tracked_files()
    for name in names:
        path = CHECKOUT / name
        if Path(name).name == LOCK_FILE:
            found.append(f"{name}:1: a lock file that records index addresses")
        if path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes()
        if b"\0" not in content:
            found += findings(name, content.decode("utf-8", "replace"))
    for finding in found:
        print(finding)
    print(f"speaks-of-itself: {len(names)} files, {len(found)} findings")
    return EXIT_REFUSED if found else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
