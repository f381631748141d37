"""The way to a broker through a proxy: HTTP CONNECT or SOCKS 5, only where the settings name one.

The proxy is believed in nothing: TLS with the broker begins behind it, under the broker's name.
What it answers is bounded in bytes and in time.  Standard library only.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import MutableMapping
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.addresses import parts_of
from primum_verifier.shell.broker_address import BrokerAddress

TUNNEL_SECONDS = 10.0
"""How long a proxy may take in all until the way to the broker stands."""

MAX_ANSWER_BYTES = 8192
"""The longest answer of an HTTP proxy."""

_MAX_TEXT = 300
_MAX_HOST = 255
_SOCKS_VERSION, _NO_PROOF, _CONNECT, _BY_NAME = 5, 0, 1, 3
_SOCKS_BOUND = {1: 4, 4: 16}
"""Bytes of the address that a proxy names, by its kind; a name carries its own length."""

_SOCKS_SAYS = {
    1: "general failure",
    2: "not allowed by its rules",
    3: "the network is out of reach",
    4: "the broker is out of reach",
    5: "the broker refuses connections",
    6: "it took too long",
}


class ProxyKind(StrEnum):
    """What a proxy speaks."""

    HTTP = "http"
    SOCKS5 = "socks5"


@dataclass(frozen=True)
class ProxyAddress:
    """Where a proxy listens."""

    kind: ProxyKind
    host: str
    port: int

    @property
    def uri(self) -> str:
        """The whole address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.kind}://{host}:{self.port}"


def parse_proxy(text: str, *, where: str) -> ProxyAddress:
    """Take ``http://HOST:PORT`` or ``socks5://HOST:PORT`` apart.

    Raises:
        UsageError: it is neither, or carries more than that.
    """
    parts = parts_of(text)
    try:
        host, port = parts.hostname or "", parts.port or 0
    except ValueError:
        host, port = "", 0
    clean = host.replace(".", "").replace("-", "").replace(":", "").isalnum() and host.isascii()
    rest = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme not in set(ProxyKind) or not clean or rest or not port or len(text) > _MAX_TEXT:
        raise UsageError(
            "This is no address of a proxy.",
            reason=Reason.USAGE,
            where=where,
            found=text[:200],
            expected="http://HOST:PORT or socks5://HOST:PORT",
            remedy="Give scheme, host and port of the proxy, and nothing more.",
        )
    return ProxyAddress(ProxyKind(parts.scheme), host, port)


def forget_proxies(environment: MutableMapping[str, str]) -> None:
    """Take out of an environment what would lead a library through a proxy.

    A device uses the one that its settings name, a receiver the one of its command line, and no
    other: whoever sets variables for all programs of a machine has no say in it.
    """
    for name in [name for name in environment if name.lower().endswith("_proxy")]:
        del environment[name]


class ThroughProxy:
    """Stands in for the terms of a connection: asks for the broker first, then begins TLS.

    The library connects to the proxy, and hands the connection over to have it secured.

    Args:
        context: the terms of the connection with the broker.
        proxy: whom the library connects to.
        broker: whom the proxy is asked for, and whose name is checked.
    """

    def __init__(
        self, context: ssl.SSLContext, *, proxy: ProxyAddress, broker: BrokerAddress
    ) -> None:
        self._context = context
        self._proxy = proxy
        self._broker = broker

    @property
    def check_hostname(self) -> bool:
        """See :attr:`ssl.SSLContext.check_hostname`."""
        return self._context.check_hostname

    def wrap_socket(self, sock: socket.socket, **options: object) -> ssl.SSLSocket:
        """See :meth:`ssl.SSLContext.wrap_socket`; the name that is checked is the broker's.

        Raises:
            OSError: the proxy gives no way to the broker.
        """
        open_tunnel(sock, kind=self._proxy.kind, host=self._broker.host, port=self._broker.port)
        begins = cast("bool", options.get("do_handshake_on_connect", True))
        return self._context.wrap_socket(
            sock, server_hostname=self._broker.host, do_handshake_on_connect=begins
        )


def open_tunnel(
    connection: socket.socket,
    *,
    kind: ProxyKind,
    host: str,
    port: int,
    seconds: float = TUNNEL_SECONDS,
) -> None:
    """Ask a proxy that is connected for the way to a broker.

    Args:
        connection: the connection with the proxy.
        kind: what it speaks.
        host: the broker's name, which the proxy looks up, or number.
        port: the broker's port.
        seconds: how long it may take in all.

    Raises:
        OSError: it refuses, answers something else, or takes too long.
    """
    before = connection.gettimeout()
    answers = _Answers(connection, until=time.monotonic() + seconds)
    if kind is ProxyKind.HTTP:
        _ask_http(answers, host, port)
    else:
        _ask_socks(answers, host, port)
    connection.settimeout(before)


class _Answers:
    """Exactly so many bytes of an answer as are asked for, before a moment."""

    def __init__(self, connection: socket.socket, *, until: float) -> None:
        self._connection = connection
        self._until = until

    def say(self, data: bytes) -> None:
        self._connection.settimeout(self._left())
        self._connection.sendall(data)

    def take(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            self._connection.settimeout(self._left())
            more = self._connection.recv(count - len(found))
            if not more:
                raise ConnectionError("the proxy ended the connection")
            found += more
        return found

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the proxy took too long")
        return left


def _ask_http(answers: _Answers, host: str, port: int) -> None:
    at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    answers.say(f"CONNECT {at} HTTP/1.1\r\nHost: {at}\r\n\r\n".encode())
    # Byte by byte: what comes after the answer is the broker's.
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        if len(answer) >= MAX_ANSWER_BYTES:
            raise ConnectionError("the proxy's answer has no end")
        answer += answers.take(1)
    words = answer.split(b"\r\n", 1)[0].decode("ascii", "replace").split(" ", 2)
    if not words[0].startswith("HTTP/1.") or words[1:2] != ["200"]:
        raise ConnectionRefusedError(f"the proxy says {' '.join(words)[:80]!r}")


def _ask_socks(answers: _Answers, host: str, port: int) -> None:
    answers.say(bytes([_SOCKS_VERSION, 1, _NO_PROOF]))
    if answers.take(2) != bytes([_SOCKS_VERSION, _NO_PROOF]):
        raise ConnectionRefusedError("the proxy asks who this is, or speaks no SOCKS 5")
    name = host.encode("ascii")[:_MAX_HOST]
    asked = bytes([_SOCKS_VERSION, _CONNECT, 0, _BY_NAME, len(name)]) + name
    answers.say(asked + struct.pack(">H", port))
    version, said, _, kind = answers.take(4)
    if version != _SOCKS_VERSION or said:
        raise ConnectionRefusedError(f"the proxy says: {_SOCKS_SAYS.get(said, said)}")
    bound = answers.take(1)[0] if kind == _BY_NAME else _SOCKS_BOUND.get(kind)
    if bound is None:
        raise ConnectionError("the proxy names an address of an unknown kind")
    answers.take(bound + 2)
