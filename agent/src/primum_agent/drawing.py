"""Ids that nobody else draws, behind one port: the same seed gives the same ids again.

A device draws them from the kernel.  Whoever plays a device again, word for word, lets them be
drawn from a source of its own.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from contextvars import ContextVar

DrawId = Callable[[], uuid.UUID]

_SOURCE: ContextVar[DrawId] = ContextVar("ids", default=uuid.uuid4)


def fresh_id() -> uuid.UUID:
    """An id that was never drawn before."""
    return _SOURCE.get()()


@contextlib.contextmanager
def ids_from(source: DrawId) -> Iterator[None]:
    """Let the ids be drawn from ``source`` while the block runs."""
    token = _SOURCE.set(source)
    try:
        yield
    finally:
        _SOURCE.reset(token)
