"""Processes that end with the one that started them, however that ends.

A simulator that is killed tidies nothing up; devices, servers and a broker would go on for days.
"""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
from collections.abc import Callable

_SET_PARENT_DEATH_SIGNAL = 1  # prctl(2)


def ended_with_this_process() -> Callable[[], None] | None:
    """What a child runs before its program, for ``preexec_fn``; None where nothing can be had.

    The kernel means the thread that started it, so that only the main one may ask for this.  What
    the child itself starts is its own affair: the agent ends its children, a server has none.
    """
    if (
        not sys.platform.startswith("linux")
        or threading.current_thread() is not threading.main_thread()
    ):
        return None
    library = ctypes.CDLL(None)  # not in the child: it may not load anything between fork and exec

    def ask() -> None:
        library.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)

    return ask
