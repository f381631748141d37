"""A small MQTT 5 broker that does what a test says, where a real one cannot misbehave."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.unit.agent.secure_broker import Authority

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = (
    1, 2, 3, 4, 8, 9, 12, 13, 14,
)  # fmt: skip
TAKEN_OVER = 0x8E


def number(value: int) -> bytes:
    """A length of MQTT."""
    found = b""
    while True:
        value, digit = value >> 7, value & 0x7F
        found += bytes([digit | 0x80 if value else digit])
        if not value:
            return found


def text(value: bytes) -> bytes:
    return struct.pack(">H", len(value)) + value


def packet(kind: int, body: bytes, flags: int = 0) -> bytes:
    return bytes([kind << 4 | flags]) + number(len(body)) + body


def publication(
    topic: bytes,
    payload: bytes,
    *,
    mid: int = 1,
    qos: int = 1,
    flags: int = 0,
    properties: bytes = b"",
) -> bytes:
    middle = struct.pack(">H", mid) if qos else b""
    body = text(topic) + middle + number(len(properties)) + properties + payload
    return packet(PUBLISH, body, qos << 1 | flags)


def connack(*, code: int = 0, present: bool = False, properties: bytes = b"") -> bytes:
    return packet(CONNACK, bytes([present, code]) + number(len(properties)) + properties)


@dataclass
class Talk:
    """One connection of a device, seen from its broker.

    Attributes:
        heard: what the device published on it: the end of the topic, and the payload.
    """

    connection: ssl.SSLSocket
    place: int
    heard: list[tuple[str, bytes]] = field(default_factory=list)

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def take(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            more = self.connection.recv(count - len(found))
            if not more:
                raise ConnectionError
            found += more
        return found

    def packet(self) -> tuple[int, int, bytes]:
        """The next packet: its kind, its flags, and the rest."""
        (first,) = self.take(1)
        length, place = 0, 0
        while True:
            (digit,) = self.take(1)
            length |= (digit & 0x7F) << 7 * place
            place += 1
            if not digit & 0x80:
                return first >> 4, first & 0x0F, self.take(length)

    def welcome(self, *, present: bool = False, properties: bytes = b"") -> None:
        kind, _, _ = self.packet()
        assert kind == CONNECT
        self.send(connack(present=present, properties=properties))

    def answer(self, *, but: frozenset[int] = frozenset()) -> None:
        """Answer the next packet as a broker should, but for some kinds."""
        kind, flags, body = self.packet()
        if kind == PUBLISH:
            length = struct.unpack(">H", body[:2])[0]
            topic, rest = body[2 : 2 + length].decode(), body[2 + length :]
            mid = b""
            if flags & 0x06:
                mid, rest = rest[:2], rest[2:]
            # Properties of a device are shorter than 128 bytes.
            self.heard.append((topic.rpartition("/")[2], rest[1 + rest[0] :]))
            if mid and kind not in but:
                self.send(packet(PUBACK, mid))
        elif kind == DISCONNECT:
            raise ConnectionError
        elif kind not in but:
            if kind == SUBSCRIBE:
                self.send(packet(SUBACK, body[:2] + b"\x00\x01"))
            elif kind == PINGREQ:
                self.send(packet(PINGRESP, b""))

    def answer_all(self, *, but: frozenset[int] = frozenset(), seconds: float = 1e9) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.connection.settimeout(
                max(0.01, until - time.monotonic()) if seconds < 1e9 else None
            )
            with suppress(TimeoutError):
                self.answer(but=but)
        self.connection.settimeout(None)

    def until_said(self, end: str, *, but: frozenset[int] = frozenset()) -> bytes:
        """Go on until the device published on this topic."""
        while True:
            said = [payload for found, payload in self.heard if found == end]
            if said:
                return said[-1]
            self.answer(but=but)


Script = Callable[[Talk], Any]


class HostileBroker:
    """Speaks TLS, and then does what a script says with each connection.

    Attributes:
        times: when each connection was taken, in seconds.
        talks: each connection.
    """

    def __init__(self, authority: Authority, script: Script) -> None:
        self._script = script
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*authority.identity("broker"))
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.times: list[float] = []
        self.talks: list[Talk] = []
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def uri(self) -> str:
        return f"mqtts://127.0.0.1:{self.port}"

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._server.accept()
                self.times.append(time.monotonic())
                threading.Thread(target=self._talk, args=(plain,), daemon=True).start()

    def _talk(self, plain: socket.socket) -> None:
        with suppress(OSError), plain, self._context.wrap_socket(plain, server_side=True) as secure:
            talk = Talk(secure, len(self.talks))
            self.talks.append(talk)
            self._script(talk)

    def heard(self, end: str) -> list[bytes]:
        """What was published on a topic, over all connections."""
        return [payload for talk in self.talks for found, payload in talk.heard if found == end]

    def close(self) -> None:
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
