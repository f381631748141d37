"""Maintenance windows in local time: whether one is open, and when the next one opens.

Pure: the moment comes in with its zone.  A window is judged by what a clock on the wall shows, so
on the day that summer time begins a window inside the missing hour does not open, and on the day
that it ends one inside the doubled hour opens twice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MAX_SPANS = 50

_DAY = "|".join(DAYS)
_SPAN = re.compile(
    rf"(?:((?:{_DAY})(?:,(?:{_DAY}))*) )?([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]|24):([0-5]\d)"
)
_DAY_MINUTES = 1440
_LOOK_AHEAD = timedelta(days=8)
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Span:
    """One window of a day; one that ends at or before its begin ends on the next day.

    Attributes:
        days: the days on which it begins, 0 is Monday.
        begins: minutes after midnight.
        ends: minutes after midnight.
    """

    days: frozenset[int]
    begins: int
    ends: int

    def includes(self, weekday: int, minute: int) -> bool:
        """Whether a minute of a day of the week lies in it."""
        if self.begins < self.ends:
            return weekday in self.days and self.begins <= minute < self.ends
        before = (weekday - 1) % len(DAYS)
        return (weekday in self.days and minute >= self.begins) or (
            before in self.days and minute < self.ends
        )


def parse_span(text: str) -> Span:
    """A span as the settings write it, such as ``sat,sun 22:00-05:00``.

    Raises:
        ValueError: it is none.
    """
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError("a span is written such as 22:00-05:00 or sat,sun 12:00-14:00")
    named, *numbers = found.groups()
    from_hour, from_minute, to_hour, to_minute = map(int, numbers)
    begins, ends = from_hour * 60 + from_minute, to_hour * 60 + to_minute
    if ends > _DAY_MINUTES or begins == ends:
        raise ValueError("a span ends at 24:00 at the latest, and not where it begins")
    days = DAYS if named is None else named.split(",")
    return Span(frozenset(DAYS.index(day) for day in days), begins, ends)


def is_open(spans: Sequence[Span], local: datetime) -> bool:
    """Whether one of them is open.

    Args:
        spans: the windows.
        local: the moment, in the zone of the windows.
    """
    minute = local.hour * 60 + local.minute
    return any(span.includes(local.weekday(), minute) for span in spans)


def next_opening(spans: Sequence[Span], local: datetime) -> datetime | None:
    """The first minute from now on in which one of them is open; None within eight days.

    Minute by minute in UTC, since only so no change of the clock is stepped over.
    """
    at = local.astimezone(UTC).replace(second=0, microsecond=0)
    last = at + _LOOK_AHEAD
    while at < last:
        shown = at.astimezone(local.tzinfo)
        if is_open(spans, shown):
            return shown
        at += _MINUTE
    return None
