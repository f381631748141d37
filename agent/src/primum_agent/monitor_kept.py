"""What a monitor keeps over restarts: counters, sums and time.

It lies in the journal as one small value, so that a window that ends, and what follows from it,
commit together.  A cut costs what was counted since the last writing; nothing is counted twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from primum_verifier.record.monitor_judgement import MonitorMemory
from primum_verifier.record.monitor_plan import MonitorPlan
from primum_verifier.record.monitor_tally import MonitorTally

KEPT = "monitor"
"""The counter of the journal that keeps it."""

SCHEMA_VERSION = "0.1"
_MOST_SECONDS = 1e10


@dataclass(frozen=True)
class Watched:
    """What counters belong to: with another of these they begin anew.

    Attributes:
        release: SHA-256 of the manifest of what is in use.
        statement: SHA-256 of the eligibility statement in force for it.
        statement_number: that statement's number.
        specification: SHA-256 of its monitoring specification.
    """

    release: str
    statement: str
    statement_number: int
    specification: str

    def as_dict(self) -> dict[str, Any]:
        """As it is kept."""
        return {
            "release": self.release,
            "statement": self.statement,
            "statementNumber": self.statement_number,
            "specification": self.specification,
        }


@dataclass(kw_only=True)
class MonitorKept:
    """One monitor under way.

    Attributes:
        watched: what is counted.
        plan: how.
        window: number of the window that is open; no number is used twice on a device.
        seconds: how long the agent ran in it.
        day: number of the day that is open, since this release is watched.
        day_seconds: how long the agent ran in it.
        cut_short: windows that ended early since the last one that was told.
    """

    watched: Watched
    plan: MonitorPlan
    window: int
    seconds: float = 0.0
    day: int = 1
    day_seconds: float = 0.0
    cut_short: int = 0
    tally: MonitorTally = field(init=False)
    memory: MonitorMemory = field(init=False)

    def __post_init__(self) -> None:
        self.tally, self.memory = MonitorTally(self.plan), MonitorMemory(self.plan)

    def to_text(self) -> str:
        """As the journal keeps it."""
        content = {
            "schemaVersion": SCHEMA_VERSION,
            **self.watched.as_dict(),
            "window": self.window,
            "seconds": round(self.seconds, 3),
            "day": self.day,
            "daySeconds": round(self.day_seconds, 3),
            "cutShort": self.cut_short,
            "tally": self.tally.as_dict(),
            "memory": self.memory.as_dict(),
        }
        return json.dumps(content, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str, *, watched: Watched, plan: MonitorPlan) -> Self | None:
        """What was kept of the same; None where it is of another, or damaged."""
        try:
            content = json.loads(text)
            if content["schemaVersion"] != SCHEMA_VERSION or watched != _watched(content):
                return None
            made = cls(watched=watched, plan=plan, window=_count(content["window"]))
            made.seconds, made.day_seconds = (
                _time(content[name]) for name in ("seconds", "daySeconds")
            )
            made.day, made.cut_short = _count(content["day"]), _count(content["cutShort"])
            made.tally = MonitorTally.from_dict(content["tally"], plan)
            made.memory = MonitorMemory.from_dict(content["memory"], plan)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        return made

    def copy(self) -> Self:
        """Another one like it, to be changed and taken only once it is on the disk."""
        made = self.from_text(self.to_text(), watched=self.watched, plan=self.plan)
        if made is None:
            raise RuntimeError("a monitor that it cannot read again itself")
        return made


def ended_after(text: str) -> str:
    """What is kept while nothing is watched: the numbers go on, and nothing else."""
    window, cut_short = next_window(text)
    ended = {"ended": True, "window": window - 1, "seconds": 0.0, "cutShort": cut_short}
    return json.dumps(ended, separators=(",", ":"))


def is_ended(text: str) -> bool:
    """Whether nothing was watched when this was written, or nothing ever was."""
    try:
        return not text or json.loads(text).get("ended") is True
    except (ValueError, AttributeError, RecursionError):
        return False


def kept_members(text: str) -> dict[str, Any] | None:
    """What is kept, for looking only; None where nothing is watched, or it is damaged."""
    try:
        content = json.loads(text or "null")
        _watched(content)
        _count(content["window"]), _count(content["cutShort"]), _time(content["seconds"])
        rows = content["memory"]["passed"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return dict(content) if all(isinstance(row, str) for row in rows) else None


def next_window(text: str) -> tuple[int, int]:
    """Of what was kept: the number of the next window, and how many were cut short by now."""
    try:
        content = json.loads(text)
        begun = _time(content["seconds"]) > 0.0
        return _count(content["window"]) + 1, _count(content["cutShort"]) + begun
    except (ValueError, KeyError, TypeError, RecursionError):
        return 1, 0


def _watched(content: Mapping[str, Any]) -> Watched:
    return Watched(
        release=content["release"],
        statement=content["statement"],
        statement_number=content["statementNumber"],
        specification=content["specification"],
    )


def _count(found: object) -> int:
    if type(found) is not int or found < 0:
        raise ValueError("no number")
    return found


def _time(found: object) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise TypeError("no time")
    if not 0.0 <= found <= _MOST_SECONDS:
        raise ValueError("no time that can have passed")
    return float(found)
