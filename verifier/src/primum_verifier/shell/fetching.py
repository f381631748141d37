"""The fetcher port: bytes by address, bounded, with every foreign error translated.

Three implementations stand here: http(s), a plain folder (a stick, a gateway's disk), and
:class:`FakeFetcher`, the double that serves from memory and remembers what was asked.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import unquote

import urllib3

from primum_verifier.core.errors import FailedError, PrimumError, RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.addresses import parts_of

PIECE_BYTES = 64 * 1024
CONNECT_SECONDS = 10.0
READ_SECONDS = 20.0
TOTAL_SECONDS = 3600.0
"""The longest one download may take: a server that drips a byte a minute must not hold a device."""

LEAVING_SECONDS = 0.5
"""How long the rest of a small body is waited for, to keep its connection for the next request."""

_OK = 200
_PARTIAL = 206
_MISSING = (403, 404)


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
            remedy="Use another mirror or link; the next attempt starts again.",
        )


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


def _too_much(url: str, max_bytes: int) -> RefusedError:
    return RefusedError(
        "The server sends more than was signed or is read at all.",
        reason=Reason.TRUST_LIMIT,
        where=url,
        found=f"more than {max_bytes} bytes",
        expected=f"at most {max_bytes} bytes",
    )


class HttpFetcher:
    """Plain or TLS http over kept-alive connections.

    No redirect is followed, no proxy is taken from the environment and nothing is decompressed:
    each would let a server choose what is read from where.
    """

    def __init__(
        self,
        *,
        allow_http: frozenset[str] | None = None,
        ca_file: Path | None = None,
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        """Make a fetcher.

        Args:
            allow_http: schemes allowed besides https, ``frozenset({"http"})`` or nothing.
            ca_file: the only certificate authorities trusted; the system's when None.
            total_seconds: the longest that one download may take.
        """
        self._schemes = {"https"} | (allow_http or frozenset())
        self._total_seconds = total_seconds
        self._pool = urllib3.PoolManager(
            retries=False,
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            cert_reqs="CERT_REQUIRED",
            ca_certs=None if ca_file is None else str(ca_file),
            headers={"User-Agent": "primum/0.1", "Accept-Encoding": "identity"},
        )

    def fetch(self, url: str, *, max_bytes: int, offset: int = 0) -> Iterator[bytes]:
        """See :class:`Fetcher`."""
        self._check_scheme(url)
        deadline = time.monotonic() + self._total_seconds
        headers = {**self._pool.headers}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        try:
            response = self._pool.request(
                "GET",
                url,
                headers=headers,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except urllib3.exceptions.ProtocolError as error:
            raise _interrupted(url, error) from error
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise _unreachable(url, error) from error
        try:
            self._check_status(url, response, offset)
            received = 0
            for piece in _pieces(response):
                received += len(piece)
                if received > max_bytes:
                    raise _too_much(url, max_bytes)
                if time.monotonic() > deadline:
                    raise TooSlowError(url, received=received, seconds=self._total_seconds)
                yield piece
        except urllib3.exceptions.HTTPError as error:
            raise _interrupted(url, error) from error
        finally:
            _leave(response)

    def _check_scheme(self, url: str) -> None:
        scheme = parts_of(url).scheme
        if scheme not in self._schemes:
            raise FailedError(
                "This address is not allowed.",
                reason=Reason.TRANSPORT_INSECURE,
                where=url,
                found=scheme or "no scheme",
                expected=" or ".join(sorted(self._schemes)),
                remedy="Use https, or allow plain http explicitly (--allow-http, allow_http).",
            )

    @staticmethod
    def _check_status(url: str, response: urllib3.BaseHTTPResponse, offset: int) -> None:
        if response.status in _MISSING:
            raise NotThereError(url, response.status)
        expected = _PARTIAL if offset else _OK
        if response.status != expected:
            raise FailedError(
                "The server gave another answer than the bytes.",
                reason=Reason.TRANSPORT_STATUS,
                where=url,
                found=f"status {response.status}",
                expected=f"status {expected}",
                remedy="Check the server; redirects are not followed.",
            )
        if offset:
            start = response.headers.get("Content-Range", "")
            if not start.startswith(f"bytes {offset}-"):
                raise FailedError(
                    "The server continues at another place than was asked for.",
                    reason=Reason.TRANSPORT_STATUS,
                    where=url,
                    found=start[:80],
                    expected=f"bytes {offset}-",
                )


def _pieces(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """The body as it arrives.

    Asking for a full piece would wait for it, for days from a server that drips, and nobody
    would look at the clock meanwhile.
    """
    while piece := response.read1(PIECE_BYTES, decode_content=False):
        yield piece


def _leave(response: urllib3.BaseHTTPResponse) -> None:
    """Keep the connection if little is left to read on it, as of an answer "not there".

    A body that was not read to its end cannot be followed by another on its connection.
    """
    until = time.monotonic() + LEAVING_SECONDS
    with suppress(urllib3.exceptions.HTTPError, OSError, ValueError):
        length = response.headers.get("Content-Length", "")
        if length.isdecimal() and int(length) <= PIECE_BYTES:
            while response.read1(PIECE_BYTES, decode_content=False) and time.monotonic() < until:
                pass
    response.close()
    response.release_conn()


def _interrupted(url: str, error: Exception) -> FailedError:
    return FailedError(
        "The download was cut short.",
        reason=Reason.TRANSPORT_INTERRUPTED,
        where=url,
        found=str(error)[:300],
        expected="the whole body",
        remedy="Nothing is lost; the next attempt starts again.",
    )


def _unreachable(url: str, error: Exception) -> FailedError:
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
            with _opened(path, url) as file:
                file.seek(offset)
                left = max_bytes
                while piece := file.read(PIECE_BYTES):
                    left -= len(piece)
                    if left < 0:
                        raise _too_much(url, max_bytes)
                    yield piece
        except FileNotFoundError as error:
            raise NotThereError(url, _MISSING[1]) from error
        except (OSError, ValueError) as error:
            raise _unreachable(url, error) from error


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
        self.requests.append(url)
        found = self.files.get(url)
        if found is None:
            raise NotThereError(url, _MISSING[1])
        if isinstance(found, PrimumError):
            raise found
        data = found[offset:]
        if len(data) > max_bytes:
            raise _too_much(url, max_bytes)
        for start in range(0, len(data), PIECE_BYTES):
            yield data[start : start + PIECE_BYTES]
