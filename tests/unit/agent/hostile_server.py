"""A server of a folder that does what links and servers do: cut, stall, lie, forget, ask to wait.

It speaks HTTP/1.1 over real sockets and counts every byte of every body that it handed to the
network.  What it does with a request is decided by ``mood``, which a test changes at any time.
"""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

_RANGE = re.compile(r"bytes=(\d+)-")
_CHUNK = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Mood:
    """What a server does with a request.

    Attributes:
        cut_after: body bytes of an answer after which the connection is cut; None never.
        stall_after: body bytes after which nothing comes any more; None never.
        rate: body bytes a second; None for as fast as they go.
        ranges: ``honest``, ``ignored`` (200), ``shifted`` (another offset) or ``unnamed`` (206
            without a range).
        validates: whether ``If-Range`` is looked at.
        tag: the entity tag; the digest's beginning when None, none at all when empty.
        status: another status in place of an answer; 0 for none.
        headers: further lines of each answer.
        body: in place of the file; None for the file.
        length: the ``Content-Length`` told; None for the right one.
    """

    cut_after: int | None = None
    stall_after: int | None = None
    rate: float | None = None
    ranges: str = "honest"
    validates: bool = True
    tag: str | None = None
    status: int = 0
    headers: tuple[str, ...] = ()
    body: bytes | None = None
    length: int | None = None


@dataclass(frozen=True)
class Asked:
    """One request, as it came."""

    path: str
    offset: int
    if_range: str
    if_none_match: str = ""


@dataclass
class HostileServer:
    """The server.

    Attributes:
        folder: what it serves.
        mood: what it does.
        mood_of: what it does with one path, where that is not ``mood``.
        asked: every request.
        sent: body bytes handed to the network.
        wire: every byte in both directions, heads and bodies.
        connections: how many were made.
        port: where it listens.
        context: the terms of TLS; None for plain http.
    """

    folder: Path
    mood: Mood = field(default_factory=Mood)
    mood_of: Callable[[str], Mood | None] = lambda _: None
    asked: list[Asked] = field(default_factory=list)
    sent: int = 0
    wire: int = 0
    connections: int = 0
    port: int = 0
    context: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self.port = int(self._listening.getsockname()[1])
        self._open: set[socket.socket] = set()
        self._over = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Its web root, with the slash."""
        return f"http{'s' if self.context else ''}://127.0.0.1:{self.port}/"

    def of_files(self) -> list[Asked]:
        """The requests for artifacts."""
        return [item for item in self.asked if "/artifacts/" in item.path]

    def close(self) -> None:
        """End every connection and listen no more."""
        self._over.set()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for speaking in list(self._open):
            with suppress(OSError):
                speaking.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                speaking, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            speaking.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.add(speaking)
            threading.Thread(target=self._speak, args=(speaking,), daemon=True).start()

    def _speak(self, speaking: socket.socket) -> None:
        heard = b""
        try:
            if self.context is not None:
                plain, speaking = speaking, self.context.wrap_socket(speaking, server_side=True)
                self._open.discard(plain)
                self._open.add(speaking)
            while not self._over.is_set():
                while (end := heard.find(b"\r\n\r\n")) < 0:
                    piece = speaking.recv(65536)
                    if not piece:
                        return
                    heard += piece
                head, heard = heard[:end].decode("latin-1"), heard[end + 4 :]
                self.wire += len(head) + 4
                if not self._answer(speaking, head):
                    return
        except OSError:
            return
        finally:
            self._open.discard(speaking)
            # A cut is not a goodbye: what lies in the buffers is lost, too.
            with suppress(OSError):
                speaking.shutdown(socket.SHUT_RDWR)
            speaking.close()

    def _answer(self, speaking: socket.socket, head: str) -> bool:
        lines = head.split("\r\n")
        path = lines[0].split(" ")[1]
        named = {
            key.lower(): value.strip() for key, _, value in (x.partition(":") for x in lines[1:])
        }
        found = _RANGE.match(named.get("range", ""))
        asked = Asked(
            path,
            int(found[1]) if found else 0,
            named.get("if-range", ""),
            named.get("if-none-match", ""),
        )
        self.asked.append(asked)
        mood = self.mood_of(path) or self.mood
        if mood.status:
            body = mood.body or b""
            return self._send(speaking, f"{mood.status} told", body, mood)
        file = self.folder / path.lstrip("/")
        data = (
            mood.body if mood.body is not None else (file.read_bytes() if file.is_file() else None)
        )
        if data is None:
            return self._send(speaking, "404 Not Found", b"nothing", replace(mood, tag=""))
        tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"' if mood.tag is None else mood.tag
        mood = replace(mood, tag=tag)
        if asked.if_none_match and asked.if_none_match == tag:
            return self._send(speaking, "304 Not Modified", b"", mood)
        start = asked.offset
        changed = mood.validates and asked.if_range not in {"", tag}
        if not found or mood.ranges == "ignored" or changed:
            return self._send(speaking, "200 OK", data, mood)
        if start >= len(data):
            return self._send(speaking, "416 Range Not Satisfiable", b"", mood)
        if mood.ranges == "shifted":
            start = max(0, start - 7)
        told = (
            ()
            if mood.ranges == "unnamed"
            else (f"Content-Range: bytes {start}-{len(data) - 1}/{len(data)}",)
        )
        mood = replace(mood, headers=(*mood.headers, *told))
        return self._send(speaking, "206 Partial Content", data[start:], mood)

    def _send(self, speaking: socket.socket, status: str, body: bytes, mood: Mood) -> bool:
        lines = [f"HTTP/1.1 {status}"]
        if not status.startswith("304"):
            lines.append(f"Content-Length: {len(body) if mood.length is None else mood.length}")
        lines += [f"ETag: {mood.tag}"] if mood.tag else []
        head = "\r\n".join([*lines, *mood.headers, "", ""]).encode()
        speaking.sendall(head)
        self.wire += len(head)
        ends = [item for item in (mood.cut_after, mood.stall_after) if item is not None]
        most = min([len(body), *ends])
        for at in range(0, most, _CHUNK):
            piece = body[at : min(at + _CHUNK, most)]
            speaking.sendall(piece)
            if mood.rate is not None and self._over.wait(len(piece) / mood.rate):
                return False
            self.sent += len(piece)
            self.wire += len(piece)
        if most < len(body) and mood.stall_after == most:
            self._over.wait(30)
        return most == len(body) and mood.length is None


@contextmanager
def serving(folder: Path, **mood: Any) -> Iterator[HostileServer]:
    """A server for as long as the block runs."""
    server = HostileServer(folder, Mood(**mood))
    try:
        yield server
    finally:
        server.close()
