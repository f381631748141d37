"""Connections on which the head of an answer has to be there in time.

The library bounds each single read.  A server that sends a byte of its head now and then is read
for ever by that, and so is a proxy that is asked for a way.  Here such a connection is shut from
beside; what waits on it then meets its end like that of any other.  TLS needs none of this: a whole
handshake is bounded by the time for connecting.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import HTTPResponse

_LOOKS = 4
"""So often within the time of a head is looked whether it is over."""


def pools_within(seconds: float) -> dict[str, type[HTTPConnectionPool]]:
    """The classes of pools by scheme, as the library takes them, with a bound for heads.

    They inherit from the library's because it offers no other place to stand at.

    Args:
        seconds: how long a head, or a proxy's way, may take.
    """
    watch = _Watch(seconds)

    class Plain(HTTPConnection):
        """Plain http."""

        def connect(self) -> None:
            """Connect, through a proxy where there is one."""
            with watch.over(self):
                super().connect()

        def getresponse(self) -> HTTPResponse:  # type: ignore[override] # as the library's own
            """Read the head of an answer."""
            with watch.over(self):
                return super().getresponse()

    class Secure(HTTPSConnection):
        """TLS."""

        def connect(self) -> None:
            """Connect, through a proxy where there is one, and begin TLS."""
            with watch.over(self):
                super().connect()

        def getresponse(self) -> HTTPResponse:  # type: ignore[override] # as the library's own
            """Read the head of an answer."""
            with watch.over(self):
                return super().getresponse()

    class PlainPool(HTTPConnectionPool):
        """Pool of plain connections."""

        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        """Pool of secure connections."""

        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


@dataclass(eq=False)
class _Head:
    """A head that is waited for.

    Attributes:
        connection: on which.
        until: until when, on a clock that never goes back.
        shut: whether it took longer, and its connection was shut.
    """

    connection: HTTPConnection
    until: float
    shut: bool = False


class _Watch:
    """Shuts the connections on which a head takes longer than it may.

    One thread for all of them, there while heads are waited for now and then: to start one for
    each would cost more than the request.

    Args:
        seconds: how long a head may take; it is seen within a quarter of it.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._heads: list[_Head] = []
        self._is_watched = False

    @contextmanager
    def over(self, connection: HTTPConnection) -> Generator[None]:
        """Watch over a head while the block waits for it.

        Raises:
            TimeoutError: it took longer; a head that ends with its connection would be taken as a
                whole one.
        """
        head = _Head(connection, time.monotonic() + self._seconds)
        with self._lock:
            self._heads.append(head)
            begins, self._is_watched = not self._is_watched, True
        if begins:
            threading.Thread(target=self._run, daemon=True, name="heads").start()
        try:
            yield
        finally:
            with self._lock:
                self._heads.remove(head)
        if head.shut:
            raise TimeoutError(f"the head took longer than {self._seconds:g} s")

    def _run(self) -> None:
        idle = 0
        while True:
            time.sleep(self._seconds / _LOOKS)
            with self._lock:
                idle = 0 if self._heads else idle + 1
                if idle > _LOOKS:
                    self._is_watched = False
                    return
                for head in self._heads:
                    if time.monotonic() >= head.until:
                        head.shut = True
                        _shut(head.connection)


def _shut(connection: HTTPConnection) -> None:
    waited = connection.sock
    with suppress(OSError, AttributeError):
        waited.shutdown(socket.SHUT_RDWR)
