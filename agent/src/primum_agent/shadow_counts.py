"""``shadow-counts.json``: what was counted of one release in shadow, over restarts and cuts.

Three stretches of time: the whole, the window that is open, and the windows that are over and wait
to be told.  Time is that in which a shadow ran, by a clock that nobody sets, so that a window is
never shorter than it is signed.  The process of the shadow alone writes the file; a cut costs what
was counted since the last writing.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

from primum_agent.durable import write_file
from primum_agent.layout import Layout
from primum_agent.shadow_run import ShadowRun
from primum_verifier.record.shadow import Compared, ShadowShape, ShadowTally

SCHEMA_VERSION = "0.1"
MAX_BYTES = 4 * 1024 * 1024
KEPT_WINDOWS = 8
"""Windows that wait to be told; of more than these the oldest makes room, and is never told."""

_MOST_SECONDS = 1e10
_IDENTITY = ("release", "statement", "beside", "monitoring", "begun")


@dataclass
class Stretch:
    """One stretch of time and its counters.

    Attributes:
        number: of a window, from 1; 0 for the whole.
        seconds: how long a shadow ran in it.
    """

    number: int
    seconds: float
    tally: ShadowTally

    def as_dict(self) -> dict[str, Any]:
        """As the file has it."""
        return {"number": self.number, "seconds": self.seconds, "tally": self.tally.as_dict()}


@dataclass
class ShadowCounts:
    """What was counted of one release beside another, under one statement and specification.

    Attributes:
        since: when it began, RFC 3339, by the device's clock.
        over: the windows that are over, oldest first.
    """

    identity: dict[str, str]
    shape: ShadowShape
    window_seconds: float
    since: str
    whole: Stretch = field(init=False)
    open: Stretch = field(init=False)
    over: list[Stretch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.whole = Stretch(0, 0.0, ShadowTally(self.shape))
        self.open = Stretch(1, 0.0, ShadowTally(self.shape))

    def add(self, compared: Compared) -> None:
        """Count one comparison."""
        self.whole.tally.add(compared)
        self.open.tally.add(compared)

    def miss(self, *, unanswered: int = 0, dropped: int = 0) -> None:
        """Count inputs that were not compared."""
        for stretch in (self.whole, self.open):
            stretch.tally.unanswered += unanswered
            stretch.tally.dropped += dropped

    def pass_time(self, seconds: float) -> bool:
        """Let time pass in which a shadow ran; whether a window ended by it."""
        self.whole.seconds += seconds
        self.open.seconds += seconds
        if self.open.seconds < self.window_seconds:
            return False
        self.over = [*self.over, self.open][-KEPT_WINDOWS:]
        self.open = Stretch(self.open.number + 1, 0.0, ShadowTally(self.shape))
        return True

    def as_dict(self) -> dict[str, Any]:
        """As the file has it."""
        return {
            "schemaVersion": SCHEMA_VERSION,
            **self.identity,
            "since": self.since,
            "whole": self.whole.as_dict(),
            "open": self.open.as_dict(),
            "over": [stretch.as_dict() for stretch in self.over],
        }


def identity_of(run: ShadowRun) -> dict[str, str]:
    """What counts belong to: with another of these they begin anew."""
    return {
        "release": run.release,
        "statement": run.statement,
        "beside": run.beside,
        "monitoring": run.monitoring.sha256,
        "begun": run.begun,
    }


def read_counts(
    layout: Layout, *, identity: dict[str, str], shape: ShadowShape, window_seconds: float
) -> ShadowCounts | None:
    """The counts as they were kept; None where there are none of this shadow, or they are damaged.

    Args:
        layout: the state folder's names.
        identity: what they have to be of.
        shape: the signed bins.
        window_seconds: how long a window is.
    """
    content = raw_counts(layout)
    if content is None or {name: content.get(name) for name in _IDENTITY} != identity:
        return None
    made = ShadowCounts(
        identity=identity,
        shape=shape,
        window_seconds=window_seconds,
        since=str(content.get("since", "")),
    )
    try:
        made.whole = _stretch(content["whole"], shape)
        made.open = _stretch(content["open"], shape)
        made.over = [_stretch(item, shape) for item in content["over"][:KEPT_WINDOWS]]
    except (ValueError, KeyError, TypeError):
        return None
    return made


def raw_counts(layout: Layout) -> dict[str, Any] | None:
    """The file as it stands; None where there is none that can be read."""
    try:
        with layout.shadow_counts.open("rb") as stream:
            content = json.loads(stream.read(MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    is_ours = isinstance(content, dict) and content.get("schemaVersion") == SCHEMA_VERSION
    return content if is_ours else None


def write_counts(layout: Layout, counts: ShadowCounts) -> None:
    """Replace the file.

    Raises:
        FailedError: ``resource.storage`` or ``state.read-only``; the old file stands.
    """
    data = json.dumps(counts.as_dict(), separators=(",", ":")).encode() + b"\n"
    write_file(layout.shadow_counts, data, mode=0o640)


def _stretch(content: dict[str, Any], shape: ShadowShape) -> Stretch:
    number, seconds = content["number"], content["seconds"]
    if type(number) is not int or type(seconds) not in {int, float}:
        raise ValueError("no number of a window, or no time")
    if number < 0 or not math.isfinite(seconds) or not 0.0 <= seconds <= _MOST_SECONDS:
        raise ValueError("a number of a window, or a time, that cannot be")
    return Stretch(number, float(seconds), ShadowTally.from_dict(content["tally"], shape))
