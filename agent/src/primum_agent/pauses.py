"""How an attempt waits, behind one port: what lets time pass, and by how much it varies."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Pauses:
    """The port, and what a device in use waits by.

    Attributes:
        monotonic: a clock that never goes back, in seconds.
        sleep: lets so many seconds pass.
        draw: numbers in [0, 1) for jitter.
    """

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    draw: Callable[[], float] = random.random
