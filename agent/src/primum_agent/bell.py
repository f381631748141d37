"""The bell: what wakes the supervisor's loop, from a signal, a child's end or another thread."""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
from collections.abc import Iterator

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


class Bell:
    """A pair of sockets that the loop's selector watches.

    Attributes:
        signal: the first of SIGTERM and SIGINT that came; 0 for none.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._ends: tuple[socket.socket, socket.socket] | None = None

    @property
    def told_to_stop(self) -> bool:
        """Whether SIGTERM or SIGINT came."""
        return self.signal != 0

    @contextlib.contextmanager
    def listening(self, selector: selectors.BaseSelector) -> Iterator[None]:
        """Hear signals while the block runs; afterwards they mean what they meant before.

        Args:
            selector: gets the bell under the data None, and is closed at the end.
        """
        ends = self._ends = socket.socketpair()
        for end in ends:
            end.settimeout(0.0)
        selector.register(ends[0], selectors.EVENT_READ, None)
        old = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        descriptor = signal.set_wakeup_fd(ends[1].fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(descriptor)
            for number, handler in old.items():
                signal.signal(number, handler)
            self._ends = None
            selector.close()
            for end in ends:
                end.close()

    def _on_signal(self, number: int, _frame: object) -> None:
        # The interpreter rings through the wake-up descriptor; here only the meaning is kept.
        if number != signal.SIGCHLD:
            self.signal = self.signal or number

    def ring(self) -> None:
        """Wake the loop; safe from any thread."""
        ends = self._ends
        if ends is not None:
            with contextlib.suppress(OSError):
                ends[1].send(b"!")

    def hear(self) -> None:
        """Take what was rung, so that the selector sleeps again."""
        ends = self._ends
        if ends is not None:
            with contextlib.suppress(OSError):
                while ends[0].recv(4096):
                    pass
