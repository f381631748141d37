"""The entrance: how the world reaches the supervisor, behind one port.

Signals, the end of a child, a wake-up from another thread, the application's socket.  The loop
waits here, and nowhere else.
"""

from __future__ import annotations

import contextlib
import selectors
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from primum_agent.bell import Bell
from primum_agent.desk import Desk, Visitor

Answer = Callable[[Visitor, dict[str, Any]], dict[str, Any]]
"""What one request of a visitor is answered with."""


class Entrance(Protocol):
    """The port."""

    @property
    def signal(self) -> int:
        """The signal that asks the supervisor to end; 0 while none came."""

    def listening(self) -> contextlib.AbstractContextManager[None]:
        """Hear signals while the block runs."""

    def open(self, path: Path, answer: Answer) -> None:
        """Let visitors in; one that is open already stays so.

        Raises:
            FailedError: the run folder cannot be written.
        """

    def close(self) -> None:
        """Send everybody away."""

    def episodes(self) -> int:
        """How many clinical episodes are declared."""

    def ring(self) -> None:
        """End the wait that is under way, or the next one; called from any thread."""

    def wait(self, seconds: float) -> None:
        """Sleep until something happens, at most so long, and answer whoever came."""


@dataclass(eq=False)
class SocketEntrance:
    """The entrance of a process: its signals, and a socket in the run folder.

    Attributes:
        selector: what the loop sleeps on; closed when nobody listens any more.
    """

    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _bell: Bell = field(default_factory=Bell)
    _desk: Desk | None = None

    @property
    def signal(self) -> int:
        """See :class:`Entrance`."""
        return self._bell.signal

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """See :class:`Entrance`."""
        with self._bell.listening(self.selector):
            yield

    def open(self, path: Path, answer: Answer) -> None:
        """See :class:`Entrance`."""
        if self._desk is None:
            desk = Desk(path=path, selector=self.selector, answer=answer)
            desk.open()
            self._desk = desk

    def close(self) -> None:
        """See :class:`Entrance`."""
        if self._desk is not None:
            self._desk.close()
            self._desk = None

    def episodes(self) -> int:
        """See :class:`Entrance`."""
        return 0 if self._desk is None else self._desk.episodes()

    def ring(self) -> None:
        """See :class:`Entrance`."""
        self._bell.ring()

    def wait(self, seconds: float) -> None:
        """See :class:`Entrance`."""
        for key, _ in self.selector.select(timeout=seconds):
            if key.data is None:
                self._bell.hear()
            elif self._desk is not None:
                self._desk.handle(key.data)
