"""The fetcher port: bytes by address, bounded, with every foreign error translated.

Two implementations stand here: a plain folder (a stick, a gateway's disk), and
:class:`FakeFetcher`, the double that serves from memory and remembers what was asked.
:mod:`primum_verifier.shell.http_fetching` has the one over http(s).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import unquote

from primum_verifier.core.errors import FailedError, PrimumError, RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.addresses import parts_of

PIECE_BYTES = 64 * 1024

MOST_PATIENCE = 3600.0
"""Seconds; what a server wishes beyond it in ``Retry-After`` is not its to wish."""

_MISSING = 404


class NotThereError(FailedError):
    """The server answered that there is nothing under this address."""

    def __init__(self, url: str, status: int) -> None:
        super().__init__(
            "There is nothing under this address.",
            reason=Reason.TRANSPORT_STATUS,
            where=url,
            found=f"status {status}",
            expected="status 200",
            remedy="Check the repository's address, and that it was published whole.",
        )
        self.status = status


class TooSlowError(FailedError):
    """The download took longer than is allowed; asking again at once would take as long again."""

    def __init__(self, url: str, *, received: int, seconds: float) -> None:
        super().__init__(
            "The download took longer than is allowed.",
            reason=Reason.TRANSPORT_INTERRUPTED,
            where=url,
            found=f"{received} bytes in {seconds:.0f} s",
            remedy="Use another mirror or link; the next attempt goes on where this one stopped.",
        )


class StalledError(FailedError):
    """The server went silent in the middle; the same may happen at once again."""

    def __init__(self, url: str, *, seconds: float) -> None:
        super().__init__(
            "The server went silent in the middle of the download.",
            reason=Reason.TRANSPORT_INTERRUPTED,
            where=url,
            found=f"no byte in {seconds:g} s",
            expected="the whole body",
            remedy="Nothing is lost; the device goes on where it stopped.",
        )


class AskedToWaitError(FailedError):
    """The server asks to be left alone for a while.

    Attributes:
        seconds: for how long, within our own bound; 0 where it does not say.
    """

    def __init__(self, url: str, *, status: int, seconds: float) -> None:
        super().__init__(
            "The server asks to be left alone for a while.",
            reason=Reason.TRANSPORT_STATUS,
            where=url,
            found=f"status {status}, for {seconds:.0f} s of at most {MOST_PATIENCE:.0f} s",
            expected="status 200",
            remedy="Nothing is lost; the device asks again by itself.",
        )
        self.seconds = seconds


@dataclass(frozen=True)
class Body:
    """What a server began to send.

    Attributes:
        start: where in the file its first byte stands.
        length: bytes of the whole file, as the server says; None where it does not say.
        validator: what the server calls these very bytes, a strong entity tag; empty without.
        pieces: the bytes as they arrive; ``transport.*`` and ``trust.limit`` may be raised.
    """

    start: int
    length: int | None
    validator: str
    pieces: Iterator[bytes]


class Fetcher(Protocol):
    """Gets bytes by address. The implementer writes little; limits are the caller's."""

    def fetch(self, url: str, *, max_bytes: int, offset: int = 0) -> Iterator[bytes]:
        """Yield the bytes under ``url`` from ``offset`` on, at most ``max_bytes`` of them.

        Raises:
            NotThereError: 403 or 404.
            FailedError: ``transport.*`` for everything else, also while iterating.
            RefusedError: ``trust.limit`` when there is more than ``max_bytes``.
        """
        ...


class RangeFetcher(Fetcher, Protocol):
    """A fetcher that can also go on in the middle of a file, and says what it was given."""

    def open(
        self, url: str, *, max_bytes: int, offset: int = 0, validator: str = ""
    ) -> AbstractContextManager[Body]:
        """Ask for the bytes from ``offset`` on; leaving the block gives the connection back.

        Args:
            url: the address.
            max_bytes: the most that is read of this body.
            offset: where to go on; the server may begin at 0 all the same, see ``Body.start``.
            validator: what this very server called the bytes before ``offset``; with it the
                server sends the whole file where it holds another one by now.

        Raises:
            NotThereError: 403 or 404.
            FailedError: ``transport.*`` for everything else.
        """
        ...


def too_much(url: str, max_bytes: int) -> RefusedError:
    """A server that does not end is not read to its end."""
    return RefusedError(
        "The server sends more than was signed or is read at all.",
        reason=Reason.TRUST_LIMIT,
        where=url,
        found=f"more than {max_bytes} bytes",
        expected=f"at most {max_bytes} bytes",
    )


def unreachable(url: str, error: Exception) -> FailedError:
    """Nobody answers, whatever a library calls it."""
    return FailedError(
        "The server cannot be reached.",
        reason=Reason.TRANSPORT_UNREACHABLE,
        where=url,
        found=str(error)[:300],
        expected="an answer",
        remedy="Check the address and the network; what the device has stays as it is.",
    )


class FolderFetcher:
    """A repository that is a plain folder, under ``file:`` addresses below one root."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def fetch(self, url: str, *, max_bytes: int, offset: int = 0) -> Iterator[bytes]:
        """See :class:`Fetcher`."""
        with self.open(url, max_bytes=max_bytes, offset=offset) as body:
            yield from body.pieces

    @contextmanager
    def open(
        self, url: str, *, max_bytes: int, offset: int = 0, validator: str = ""
    ) -> Generator[Body]:
        """See :class:`RangeFetcher`; what lies on a medium has no name but its digest."""
        del validator
        parts = parts_of(url)
        try:
            # Unlike Path.resolve this leaves a link to itself for the opening to refuse.
            path = Path(os.path.realpath(unquote(parts.path)))
            if parts.scheme != "file" or not path.is_relative_to(self._root):
                raise FailedError(
                    "This address is outside the folder.",
                    reason=Reason.TRANSPORT_INSECURE,
                    where=url,
                    expected=f"a file below {self._root}",
                )
            file = _opened(path, url)
        except FileNotFoundError as error:
            raise NotThereError(url, _MISSING) from error
        except (OSError, ValueError) as error:
            raise unreachable(url, error) from error
        with file:
            length = os.fstat(file.fileno()).st_size
            yield Body(offset, length, "", _read(file, url, max_bytes=max_bytes, offset=offset))


def _read(file: BinaryIO, url: str, *, max_bytes: int, offset: int) -> Iterator[bytes]:
    try:
        file.seek(offset)
        left = max_bytes
        while piece := file.read(PIECE_BYTES):
            left -= len(piece)
            if left < 0:
                raise too_much(url, max_bytes)
            yield piece
    except OSError as error:
        raise unreachable(url, error) from error


def _opened(path: Path, url: str) -> BinaryIO:
    """A plain file and nothing else: opening a pipe waits for ever, a device may do anything."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    kind = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(kind):
        os.close(descriptor)
        raise FailedError(
            "Under this address lies no plain file.",
            reason=Reason.TRANSPORT_STATUS,
            where=url,
            found="a folder" if stat.S_ISDIR(kind) else "a pipe, socket or device",
            expected="a plain file",
            remedy="Copy the repository again, as plain files.",
        )
    return os.fdopen(descriptor, "rb")


class FakeFetcher:
    """The double of the port: serves from memory and remembers every request.

    Attributes:
        files: address to bytes, or to the error that asking for it raises.
        requests: each address asked for, in order.
    """

    def __init__(self, files: dict[str, bytes | PrimumError] | None = None) -> None:
        self.files = files if files is not None else {}
        self.requests: list[str] = []

    def fetch(self, url: str, *, max_bytes: int, offset: int = 0) -> Iterator[bytes]:
        """See :class:`Fetcher`."""
        with self.open(url, max_bytes=max_bytes, offset=offset) as body:
            yield from body.pieces

    @contextmanager
    def open(
        self, url: str, *, max_bytes: int, offset: int = 0, validator: str = ""
    ) -> Generator[Body]:
        """See :class:`RangeFetcher`."""
        del validator
        self.requests.append(url)
        found = self.files.get(url)
        if found is None:
            raise NotThereError(url, _MISSING)
        if isinstance(found, PrimumError):
            raise found
        data = found[offset:]
        if len(data) > max_bytes:
            raise too_much(url, max_bytes)
        pieces = (data[start : start + PIECE_BYTES] for start in range(0, len(data), PIECE_BYTES))
        yield Body(offset, len(found), "", pieces)
