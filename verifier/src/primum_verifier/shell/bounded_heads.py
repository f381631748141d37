"""Connections on which the head of an answer has to be there in time.

The library bounds each single read.  A server that sends a byte of its head now and then is read
for ever by that, and so is a proxy that is asked for a way.  Here such a connection is shut from
beside; what waits on it then meets its end like that of any other.  TLS needs none of this: a whole
handshake is bounded by the time for connecting.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import HTTPResponse


def pools_within(seconds: float) -> dict[str, type[HTTPConnectionPool]]:
    """The classes of pools by scheme, as the library takes them, with a bound for heads.

    They inherit from the library's because it offers no other place to stand at.

    Args:
        seconds: how long a head, or a proxy's way, may take.
    """

    class Plain(HTTPConnection):
        """Plain http."""

        def connect(self) -> None:
            """Connect, through a proxy where there is one."""
            with _shut_after(seconds, self):
                super().connect()

        def getresponse(self) -> HTTPResponse:  # type: ignore[override] # as the library's own
            """Read the head of an answer."""
            with _shut_after(seconds, self):
                return super().getresponse()

    class Secure(HTTPSConnection):
        """TLS."""

        def connect(self) -> None:
            """Connect, through a proxy where there is one, and begin TLS."""
            with _shut_after(seconds, self):
                super().connect()

        def getresponse(self) -> HTTPResponse:  # type: ignore[override] # as the library's own
            """Read the head of an answer."""
            with _shut_after(seconds, self):
                return super().getresponse()

    class PlainPool(HTTPConnectionPool):
        """Pool of plain connections."""

        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        """Pool of secure connections."""

        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


@contextmanager
def _shut_after(seconds: float, connection: HTTPConnection) -> Generator[None]:
    """Shut the connection's socket if the block takes longer.

    Raises:
        TimeoutError: it did; a head that ends with its connection would be taken as a whole one.
    """
    over = threading.Event()

    def shut() -> None:
        over.set()
        waited = connection.sock
        with suppress(OSError, AttributeError):
            waited.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    if over.is_set():
        raise TimeoutError(f"the head took longer than {seconds:g} s")
