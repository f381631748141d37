"""What is read from the running system for a verdict: today one fact, the operating system."""

from __future__ import annotations

import re
from pathlib import Path

OS_RELEASE = Path("/etc/os-release")

_MOST_BYTES = 65_536
_LINE = re.compile(r"""^(ID|VERSION_ID)=(["']?)([A-Za-z0-9][A-Za-z0-9._-]{0,79})\2$""")


def operating_system(path: Path = OS_RELEASE) -> str:
    """``ID-VERSION_ID`` of the system (os-release(5)), such as ``debian-12``.

    Returns:
        Empty where nobody can say, which fits no statement that names a system. A rolling system
        without a version is its ``ID`` alone.
    """
    try:
        with path.open("rb") as stream:
            lines = stream.read(_MOST_BYTES).decode().splitlines()
    except (OSError, UnicodeDecodeError):
        return ""
    found = {match[1]: match[3] for line in lines if (match := _LINE.fullmatch(line.strip()))}
    name, version = found.get("ID", ""), found.get("VERSION_ID", "")
    return f"{name}-{version}" if name and version else name
