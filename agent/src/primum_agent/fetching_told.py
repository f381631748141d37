"""How far fetching is, for whoever looks: a small file, replaced about once a second.

It is there only while something is fetched; what is left of one that was killed is told as old.
Standard library only: ``status`` and the terminal read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from primum_agent.durable import replace_file
from primum_agent.layout import Layout

_MEGA = 1_000_000


@dataclass(frozen=True)
class Fetching:
    """How far it is.

    Attributes:
        name: component and version.
        done: bytes that are there, of all files that were missing.
        total: bytes that they are to have.
        rate: bytes a second by now; 0 where nobody can say yet.
        server: who sends.
    """

    name: str
    done: int
    total: int
    rate: float
    server: str

    @property
    def percent(self) -> int:
        """Whole percent, rounded down: 100 is all of it."""
        return 100 * self.done // self.total if self.total else 100

    @property
    def line(self) -> str:
        """The same for a person."""
        text = f"{self.name}: {self.percent} % of {self.total / _MEGA:.1f} MB"
        if self.rate <= 0.0:
            return f"{text} from {self.server}"
        left = (self.total - self.done) / self.rate
        pace = f"{self.rate / 1000:.0f} kB/s, {left:.0f} s left"
        return f"{text}, {pace}, from {self.server}"

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON shows it."""
        return {**asdict(self), "percent": self.percent}


def tell_fetching(layout: Layout, fetching: Fetching) -> None:
    """Replace what is told; it is no state, so nothing of it is synced."""
    data = json.dumps(asdict(fetching), separators=(",", ":")).encode()
    replace_file(layout.fetching, data, durable=False)


def end_fetching(layout: Layout) -> None:
    """Nothing is fetched any more."""
    with suppress(OSError):
        layout.fetching.unlink(missing_ok=True)


def fetching_of(layout: Layout) -> Fetching | None:
    """What is told; None where nothing is, or nothing that can be read."""
    try:
        content: Mapping[str, Any] = json.loads(layout.fetching.read_bytes()[:4096])
        return Fetching(**content)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
