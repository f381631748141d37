"""Keeping to a bandwidth: how long to pause after the bytes that came."""

from __future__ import annotations

import time
from collections.abc import Callable

BURST_SECONDS = 1.0
"""What was not used before counts for no more than this long."""


class Pace:
    """Bytes a second, over any stretch longer than a burst.

    Pausing fills the buffers of the link, and then the server is slowed by the network itself.

    Args:
        most_rate: bytes a second; 0 for as fast as they come.
        monotonic: a clock that never goes back, in seconds.
        sleep: waits, in seconds.
    """

    def __init__(
        self,
        most_rate: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = most_rate
        self._monotonic = monotonic
        self._sleep = sleep
        self._due = monotonic()

    def __call__(self, received: int) -> None:
        """So many bytes came just now; wait until the next may."""
        if self._rate <= 0.0:
            return
        now = self._monotonic()
        self._due = max(self._due, now - BURST_SECONDS) + received / self._rate
        if self._due > now:
            self._sleep(self._due - now)
