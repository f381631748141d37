"""One line at a terminal that says how long something has been going on; nothing anywhere else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

_EACH_SECONDS = 1.0


@contextmanager
def elapsed_line(
    what: str,
    *,
    most_seconds: int,
    stream: TextIO,
    clock: Callable[[], float] = time.monotonic,
    each_seconds: float = _EACH_SECONDS,
) -> Iterator[None]:
    """Tell on ``stream`` how long the block has been running; the line is gone when it ends.

    Args:
        what: what is going on.
        most_seconds: the longest it can take.
        stream: where a person looks; where it is no terminal, nothing is written.
        clock: seconds that never go back.
        each_seconds: how often the line changes.
    """
    if not stream.isatty():
        yield
        return
    begin = clock()
    done = threading.Event()

    def tell() -> None:
        # A terminal that goes away meanwhile ends the telling and nothing else.
        with suppress(OSError, ValueError):
            while not done.wait(each_seconds):
                stream.write(f"\r{what}: {clock() - begin:.0f} s of at most {most_seconds} s")
                stream.flush()
            stream.write("\r\x1b[K")
            stream.flush()

    # The bench must be started from the thread that goes on living, so the telling is the other.
    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()
