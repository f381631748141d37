"""A network between a device and its broker that can be made bad: delay, a black hole, cuts.

A relay of TCP of our own, so that no privilege is needed.  It also counts what goes through.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from enum import StrEnum


class Mode(StrEnum):
    """What the network does."""

    GOOD = "good"
    SLOW = "slow"
    HOLE = "black hole"
    CUT = "cut"


_PIECE = 16_384
_LOOK = 0.05


class Relay:
    """Hands bytes on between whoever connects and one port of this machine.

    Args:
        host: the address to listen on.
        target: the port to hand on to.

    Attributes:
        port: where it listens.
        mode: what it does just now, with every connection.
        delay: seconds for which each piece is kept while it is slow.
        up: bytes handed on towards the target.
        down: bytes handed back.
        connections: how many there were.
    """

    def __init__(self, host: str, target: int) -> None:
        self._target = target
        self._server = socket.create_server((host, 0))
        self.port: int = self._server.getsockname()[1]
        self.mode = Mode.GOOD
        self.delay = 0.3
        self.up = self.down = self.connections = 0
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """End every connection now, and take none while the mode says so."""
        for one in list(self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.cut()
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._server.accept()
                if self.mode is Mode.CUT:
                    near.close()
                    continue
                threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        self.connections += 1
        with suppress(OSError), near, socket.create_connection(("127.0.0.1", self._target)) as far:
            self._open |= {near, far}
            back = threading.Thread(target=self._hand_on, args=(far, near, False), daemon=True)
            back.start()
            self._hand_on(near, far, True)
            back.join()
            self._open -= {near, far}

    def _hand_on(self, source: socket.socket, target: socket.socket, upward: bool) -> None:
        with suppress(OSError):
            while data := source.recv(_PIECE):
                while self.mode is Mode.HOLE:
                    # Taken and kept: whoever sent it waits for an answer.
                    time.sleep(_LOOK)
                if self.mode is Mode.SLOW:
                    time.sleep(self.delay)
                target.sendall(data)
                if upward:
                    self.up += len(data)
                else:
                    self.down += len(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
