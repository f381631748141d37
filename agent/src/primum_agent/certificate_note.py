"""Until when the client certificate holds, read from the first lines of its file, and no further.

Standard library only, and neither key nor certificate is read: ``status`` and ``doctor`` ask.
"""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta
from pathlib import Path

HEAD = "Primum client certificate"
SERIAL = "serial: "
NOT_AFTER = "not after: "

SOON = timedelta(days=30)
"""From then on a person is told that it ends."""

_HEAD_BYTES = 100


def holds_until(client: Path) -> datetime | None:
    """The end of the certificate in this file; None where there is none that can be read."""
    with (
        contextlib.suppress(OSError, ValueError, StopIteration),
        # Unbuffered: what follows the head is the key.
        client.open("rb", buffering=0) as file,
    ):
        lines = file.read(_HEAD_BYTES).partition(b"-----")[0].decode().splitlines()
        ends = next(line for line in lines if line.startswith(NOT_AFTER))
        return datetime.fromisoformat(ends.removeprefix(NOT_AFTER))
    return None


def told(ends: datetime | None, *, now: datetime) -> str:
    """The same in words; empty where there is none."""
    if ends is None:
        return ""
    if ends <= now:
        return f"ended {ends:%Y-%m-%d}"
    soon = f", in {(ends - now).days} days" if ends - now <= SOON else ""
    return f"until {ends:%Y-%m-%d}{soon}"
