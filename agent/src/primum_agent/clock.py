"""Time and its quality, behind one port, because a device's clock may say anything.

Two questions are kept apart: what time the wall clock claims, and how many seconds the device
has certainly been powered.  Only the second cannot be argued with; it carries proven time on.
"""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

NOT_BEFORE = datetime(2025, 6, 1, tzinfo=UTC)
"""This build did not exist earlier: a clock that says so was never set."""

_TIME_ERROR = 5  # ntp_adjtime(3): the kernel's clock is not synchronised
_TIMEX_BYTES = 512  # more than struct timex on any Linux
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class ClockQuality(StrEnum):
    """How far the wall clock may be believed."""

    SYNCHRONISED = "synchronised"
    FREE_RUNNING = "free-running"
    UNSET = "unset"


class Clock(Protocol):
    """The port: everything that the agent knows about time."""

    def now(self) -> datetime:
        """The wall clock, in UTC, right or wrong."""

    def powered_seconds(self) -> float:
        """Seconds since this boot, sleep included; never falls within one boot."""

    def boot_id(self) -> str:
        """The name of this boot."""

    def quality(self) -> ClockQuality:
        """How far :meth:`now` may be believed."""


def believed(clock: Clock) -> datetime | None:
    """The wall clock for judging, or None where it was never set."""
    return None if clock.quality() == ClockQuality.UNSET else clock.now()


def plain_time(moment: datetime) -> str:
    """A moment as every document of the project writes it: RFC 3339, UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class SystemClock:
    """The clock of the Linux kernel."""

    def now(self) -> datetime:
        """The wall clock, in UTC."""
        return datetime.now(UTC)

    def powered_seconds(self) -> float:
        """CLOCK_BOOTTIME: it goes on while the device sleeps and nobody can set it."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def boot_id(self) -> str:
        """The kernel's random name of this boot."""
        try:
            return _BOOT_ID.read_text().strip()
        except OSError:
            return "unknown"

    def quality(self) -> ClockQuality:
        """Unset, or what the kernel says of its synchronisation."""
        if self.now() < NOT_BEFORE:
            return ClockQuality.UNSET
        adjust = getattr(ctypes.CDLL(None), "ntp_adjtime", None)
        if adjust is None:
            return ClockQuality.FREE_RUNNING
        # An all-zero timex asks and changes nothing.
        state = adjust(ctypes.create_string_buffer(_TIMEX_BYTES))
        synchronised = 0 <= state < _TIME_ERROR
        return ClockQuality.SYNCHRONISED if synchronised else ClockQuality.FREE_RUNNING


@dataclass
class FakeClock:
    """The double: a clock that goes only when it is told to."""

    moment: datetime = field(default_factory=lambda: datetime(2026, 6, 1, 12, tzinfo=UTC))
    powered: float = 1000.0
    boot: str = "boot-1"
    grade: ClockQuality = ClockQuality.SYNCHRONISED

    def now(self) -> datetime:
        """The moment that was set."""
        return self.moment

    def powered_seconds(self) -> float:
        """The powered seconds that were set."""
        return self.powered

    def boot_id(self) -> str:
        """The boot that was set."""
        return self.boot

    def quality(self) -> ClockQuality:
        """The quality that was set."""
        return self.grade
