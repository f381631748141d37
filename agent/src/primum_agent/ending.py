"""What a child still does when it is told to end, before it ends as it would have."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

from primum_verifier.core.errors import PrimumError


@contextmanager
def before_the_end(act: Callable[[], None]) -> Generator[None]:
    """Within the block SIGTERM first lets ``act`` be done, and then ends the process.

    Nothing else of the program runs any more: no block is left, nothing is undone.  Outside the
    main thread nobody is told, and nothing is done.

    Args:
        act: short, and right between any two steps of the block.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def told(number: int, _: object) -> None:
        with suppress(PrimumError):
            act()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    before = signal.signal(signal.SIGTERM, told)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
