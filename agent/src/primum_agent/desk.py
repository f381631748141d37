"""The socket ``run/primum.sock``: one JSON object a line in, one a line out.

The desk knows lines, visitors and bounds; what a request means is its owner's to say.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from primum_agent.durable import disk_errors
from primum_agent.plain_json import TwiceError, read_plain

MAX_LINE = 16_384
"""Bytes in one request; a longer line is refused, and passed over to its end."""

MAX_VISITORS = 32
"""Connections at a time; one more is turned away, so that none can use up the descriptors."""

_ANSWER_SECONDS = 1.0


@dataclass(eq=False, kw_only=True)
class Visitor:
    """Somebody who asks, and the clinical episodes that were begun by that.

    Attributes:
        episodes: how many episodes are open; they end with the connection, so that a crashed
            application cannot hold updates for ever.
        gone: whether it left.
    """

    episodes: int = 0
    gone: bool = False


@dataclass(eq=False, kw_only=True)
class _Caller(Visitor):
    """A visitor at the other end of a connection.

    Attributes:
        pending: the beginning of a line that has not ended.
        passing_over: whether that line was refused as too long; what is left of it is dropped.
    """

    link: socket.socket
    pending: bytes = b""
    passing_over: bool = False


@dataclass(eq=False)
class Desk:
    """The listening socket and its visitors.

    Args:
        path: where the socket stands.
        selector: where descriptors are watched; the data registered is this desk or a visitor.
        answer: what a request is answered with.
        max_line: bytes in one request.
    """

    path: Path
    selector: selectors.BaseSelector
    answer: Callable[[Visitor, dict[str, Any]], dict[str, Any]]
    max_line: int = MAX_LINE
    visitors: list[_Caller] = field(default_factory=list)
    _listener: socket.socket | None = None

    def open(self) -> None:
        """Begin to listen; a socket that a dead supervisor left is replaced.

        Raises:
            FailedError: the run folder cannot be written.
        """
        with disk_errors(self.path):
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            try:
                self.path.unlink(missing_ok=True)
                with short_path(self.path) as name:
                    listener.bind(name)
                self.path.chmod(0o660)
                listener.listen(MAX_VISITORS)
                listener.settimeout(0.0)
            except OSError:
                listener.close()
                raise
        self._listener = listener
        self.selector.register(listener, selectors.EVENT_READ, self)

    def close(self) -> None:
        """Send everybody away and take the socket's name off the disk."""
        for visitor in list(self.visitors):
            self._send_away(visitor)
        if self._listener is not None:
            self.selector.unregister(self._listener)
            self._listener.close()
            self._listener = None
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)

    def episodes(self) -> int:
        """Clinical episodes that are open now."""
        return sum(visitor.episodes for visitor in self.visitors)

    def handle(self, who: Desk | _Caller) -> None:
        """Do what a descriptor that became readable asks for."""
        if isinstance(who, _Caller):
            self._read(who)
        elif self._listener is not None:
            with contextlib.suppress(BlockingIOError, ConnectionError):
                link, _ = self._listener.accept()
                self._let_in(link)

    def _let_in(self, link: socket.socket) -> None:
        if len(self.visitors) >= MAX_VISITORS:
            link.close()
            return
        link.settimeout(_ANSWER_SECONDS)
        visitor = _Caller(link=link)
        self.visitors.append(visitor)
        self.selector.register(link, selectors.EVENT_READ, visitor)

    def _send_away(self, visitor: _Caller) -> None:
        if visitor.gone:
            return
        visitor.gone = True
        self.visitors.remove(visitor)
        self.selector.unregister(visitor.link)
        visitor.link.close()

    def _read(self, visitor: _Caller) -> None:
        if visitor.gone:
            return
        try:
            received = visitor.link.recv(self.max_line)
        except OSError:
            received = b""
        if not received:
            self._send_away(visitor)
            return
        for answer in self._answers_to(visitor, received):
            try:
                visitor.link.sendall(json.dumps(answer).encode() + b"\n")
            except OSError:
                self._send_away(visitor)
                return

    def _answers_to(self, visitor: _Caller, received: bytes) -> Iterator[dict[str, Any]]:
        """One answer for each line that ends in what was received, or grew too long in it."""
        *lines, rest = (visitor.pending + received).split(b"\n")
        visitor.pending = b""
        for line in lines:
            if visitor.passing_over:
                visitor.passing_over = False
            elif len(line) > self.max_line:
                yield _too_long(self.max_line)
            else:
                yield self._answer_to(visitor, line)
        if visitor.passing_over:
            return
        if len(rest) > self.max_line:
            # Not closed: an episode that was begun here must not end with a mistake in one line.
            visitor.passing_over = True
            yield _too_long(self.max_line)
            return
        visitor.pending = rest

    def _answer_to(self, visitor: _Caller, line: bytes) -> dict[str, Any]:
        try:
            request = read_plain(line)
        except TwiceError as error:
            return _refused(f"the member {str(error)[:_SHOWN]!r} stands twice")
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict):
            return _refused("one JSON object a line")
        return self.answer(visitor, request)


def _refused(message: str) -> dict[str, Any]:
    return {"ok": False, "reason": "usage", "message": message}


_SHOWN = 40


def _too_long(most: int) -> dict[str, Any]:
    return _refused(f"a line of more than {most} bytes is no request")


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A name for ``path`` that fits a socket address, however deep the folder lies."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


AskSupervisor = Callable[[dict[str, Any]], dict[str, Any] | None]
"""Asks the supervisor of this device one thing; None where none answers."""


def ask(path: Path, request: dict[str, Any], *, seconds: float = 2.0) -> dict[str, Any] | None:
    """Ask the supervisor one thing; None where none answers."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link, short_path(path) as name:
            link.settimeout(seconds)
            link.connect(name)
            link.sendall(json.dumps(request).encode() + b"\n")
            received = b""
            while not received.endswith(b"\n"):
                piece = link.recv(MAX_LINE)
                if not piece:
                    return None
                received += piece
        answer = json.loads(received)
    except (OSError, ValueError):
        return None
    return answer if isinstance(answer, dict) else None
