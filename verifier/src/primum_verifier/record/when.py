"""When something happened, as far as clocks, their quality and the order of a chain can tell.

A device's clock is believed as far as it says itself that it may be: synchronised, within the error
up to which an operating system calls a clock so; free-running or never set, not at all, unless
whoever asks says how far.  What is certain is the order, and that nothing was received before it
happened: so each moment lies between those before and after it, and before the receipts of a
receiver that held it.  Clocks that contradict each other are all left out; one that contradicts a
receipt alone, and the moment of a signing, which only carries an answer on, where it contradicts
that of an event.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate

from primum_verifier.record.words import ClockQuality

SYNCHRONISED_SECONDS = 16
"""Largest error of a clock that Linux still calls synchronised (its NTP_PHASE_LIMIT)."""

_NOTHING = (-math.inf, math.inf)
_WHOLE_SECOND = 1
"""Moments are written in whole seconds, rounded down."""


@dataclass(frozen=True)
class Reading:
    """What a clock showed.

    Attributes:
        shown: the moment; None where it is none that a clock of today can show.
        quality: how far the clock may be believed, by its own word; empty where that is none.
        is_weak: whether it gives way where others contradict it.
    """

    shown: datetime | None
    quality: str
    is_weak: bool = False


@dataclass(frozen=True)
class Bounds:
    """Between which moments something happened; None where nothing bounds it."""

    earliest: datetime | None
    latest: datetime | None

    @property
    def seconds(self) -> float | None:
        """How wide that is; None where it is not bounded."""
        if self.earliest is None or self.latest is None:
            return None
        return (self.latest - self.earliest).total_seconds()


@dataclass(frozen=True)
class Timed:
    """When each of several things happened.

    Attributes:
        bounds: one for each, in their order.
        contradicting: the places of those whose clocks were left out, for they contradict others.
        refuted: the places of those whose clocks were ahead of a receipt.
    """

    bounds: tuple[Bounds, ...]
    contradicting: tuple[int, ...]
    refuted: tuple[int, ...]


def own_error(quality: str, *, free_running: float | None) -> float:
    """Seconds by which a clock of a quality may be wrong; infinite where it is not believed."""
    if quality == ClockQuality.SYNCHRONISED:
        return SYNCHRONISED_SECONDS
    if quality == ClockQuality.FREE_RUNNING and free_running is not None:
        return free_running
    return math.inf


def span(reading: Reading, *, free_running: float | None) -> tuple[float, float]:
    """The seconds between which the moment lies that a clock showed, by that clock alone."""
    error = own_error(reading.quality, free_running=free_running)
    if reading.shown is None or math.isinf(error):
        return _NOTHING
    seconds = reading.shown.timestamp()
    return seconds - error, seconds + error + _WHOLE_SECOND


def timed(
    readings: Sequence[Reading],
    received: Iterable[tuple[int, datetime]],
    *,
    free_running: float | None = None,
) -> Timed:
    """When things that followed each other happened.

    Args:
        readings: what the device's clock showed at each, in the order in which they happened.
        received: for receipts, the place of the last of them that it covers, and when it was
            issued, by a receiver's clock that is believed as a synchronised one.
        free_running: seconds by which a clock that runs freely is believed to be wrong at most;
            None: it is not believed.
    """
    own = [span(reading, free_running=free_running) for reading in readings]
    outer = [math.inf] * len(own)
    for place, issued in received:
        latest = issued.timestamp() + SYNCHRONISED_SECONDS + _WHOLE_SECOND
        outer[place] = min(outer[place], latest)
    outer = _from_behind(outer)
    refuted = [place for place, (low, _) in enumerate(own) if low > outer[place]]
    for place in refuted:
        own[place] = _NOTHING
    strong = [_NOTHING if readings[place].is_weak else it for place, it in enumerate(own)]
    contradicting = _contradicting(strong, strong)
    for place in contradicting:
        own[place] = strong[place] = _NOTHING
    weak = _contradicting(own, strong)
    for place in weak:
        own[place] = _NOTHING
    for place in _contradicting(own, own):
        own[place] = _NOTHING
        weak.append(place)
    lows = list(accumulate((low for low, _ in own), max))
    highs = _from_behind([min(high, outer[place]) for place, (_, high) in enumerate(own)])
    return Timed(
        tuple(map(Bounds, map(_moment, lows), map(_moment, highs))),
        tuple(sorted({*contradicting, *weak})),
        tuple(refuted),
    )


def _contradicting(
    ones: Sequence[tuple[float, float]], others: Sequence[tuple[float, float]]
) -> list[int]:
    """The places of those that cannot lie where they do between the others."""
    before = [-math.inf, *accumulate((low for low, _ in others), max)]
    behind = [*_from_behind([high for _, high in others]), math.inf]
    return [
        place
        for place, (low, high) in enumerate(ones)
        if before[place] > high or behind[place + 1] < low
    ]


def _from_behind(values: list[float]) -> list[float]:
    """The least of each value and those after it."""
    return list(accumulate(reversed(values), min))[::-1]


def _moment(seconds: float) -> datetime | None:
    if math.isinf(seconds):
        return None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
