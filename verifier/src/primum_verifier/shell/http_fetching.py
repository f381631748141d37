"""The fetcher over http(s): kept-alive connections, and nothing that a server could choose.

No redirect is followed, no proxy is taken from the environment and nothing is decompressed: each
would let a server choose what is read from where.  What a server may cost is bounded: the time to
answer, the time in all, and how slow it may be.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import urllib3

from primum_verifier.core.errors import FailedError, UsageError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.addresses import parts_of
from primum_verifier.shell.bounded_heads import pools_within
from primum_verifier.shell.fetching import (
    MOST_PATIENCE,
    PIECE_BYTES,
    AskedToWaitError,
    Body,
    NotThereError,
    StalledError,
    TooSlowError,
    too_much,
    unreachable,
)

READ_BYTES = 256 * 1024
"""Asked of the kernel at once: larger pieces cost less, and four of them are no memory."""

CONNECT_SECONDS = 10.0
READ_SECONDS = 20.0
HEAD_SECONDS = 30.0
"""How long a server may take from the request to the end of its answer's head: a byte now and then
keeps every single read alive, and a head has no length that could be judged."""

TOTAL_SECONDS = 3600.0
"""The longest one download may take: a server that drips a byte a minute must not hold a device."""

SLOW_SECONDS = 60.0
"""Over how long the rate is judged that a server has to keep up."""

LEAST_RATE = 100.0
"""Bytes a second: slower than any link that carries an update, faster than what keeps a socket."""

LEAVING_SECONDS = 0.5
"""How long the rest of a small body is waited for, to keep its connection for the next request."""

_OK, _PARTIAL = 200, 206
_MISSING = (403, 404)
_LATER = (429, 503)
_BEYOND = 416
_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_STRONG = re.compile(r'"[\x21\x23-\x7e]{1,200}"')


@dataclass(frozen=True, kw_only=True)
class Wire:
    """What is allowed on the wire, and how the device shows who it is.

    Attributes:
        allow_http: whether plain http is allowed besides https.
        ca_file: the only certificate authorities believed, PEM; the system's when None.
        client_file: the device's key and certificates in one file, PEM; None to show none.
        proxy: ``http://HOST:PORT``, the way to every server but ``direct``; empty for none.
        direct: hosts that are reached without the proxy, such as a gateway in the house.
    """

    allow_http: bool = False
    ca_file: Path | None = None
    client_file: Path | None = None
    proxy: str = ""
    direct: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a server is borne with.

    Attributes:
        total_seconds: the longest that one answer may take.
        least_rate: bytes a second that have to come over each ``slow_seconds``.
        slow_seconds: over how long the rate is judged.
        read_seconds: the longest that nothing at all may come.
        head_seconds: the longest that the head of an answer may take, or a proxy's way.
    """

    total_seconds: float = TOTAL_SECONDS
    least_rate: float = LEAST_RATE
    slow_seconds: float = SLOW_SECONDS
    read_seconds: float = READ_SECONDS
    head_seconds: float = HEAD_SECONDS


class HttpFetcher:
    """Plain or TLS http over kept-alive connections.

    Args:
        wire: what is allowed on the wire.
        patience: how long a server is borne with.

    Raises:
        UsageError: the certificates of ``wire`` cannot be read.
    """

    def __init__(self, wire: Wire | None = None, *, patience: Patience | None = None) -> None:
        self._wire = wire or Wire()
        self._patience = patience or Patience()
        self._schemes = {"https", *(("http",) if self._wire.allow_http else ())}
        self._pools: dict[tuple[bool, bool], urllib3.PoolManager] = {}
        # Whom the system believes takes long to read, and plain http asks nobody.
        named = self._wire.ca_file is not None or self._wire.client_file is not None
        self._context = _context(self._wire) if named else None
        self._heads = pools_within(self._patience.head_seconds)

    def _pool_for(self, scheme: str, host: str) -> urllib3.PoolManager:
        """The pool of connections that leads to a host, made when it is needed first."""
        secure, through = scheme == "https", self._wire.proxy and host not in self._wire.direct
        pool = self._pools.get((secure, bool(through)))
        if pool is not None:
            return pool
        if secure and self._context is None:
            self._context = _context(self._wire)
        patience = self._patience.read_seconds
        terms: dict[str, Any] = {
            "retries": False,
            "timeout": urllib3.Timeout(connect=CONNECT_SECONDS, read=patience),
            "ssl_context": self._context if secure else None,
            "headers": {"User-Agent": "primum/0.1", "Accept-Encoding": "identity"},
        }
        made = (
            urllib3.ProxyManager(self._wire.proxy, **terms)
            if through
            else urllib3.PoolManager(**terms)
        )
        made.pool_classes_by_scheme = self._heads
        self._pools[secure, bool(through)] = made
        return made

    def fetch(self, url: str, *, max_bytes: int, offset: int = 0) -> Iterator[bytes]:
        """See :class:`~primum_verifier.shell.fetching.Fetcher`."""
        with self.open(url, max_bytes=max_bytes, offset=offset) as body:
            if body.start != offset:
                raise _other_answer(url, found=f"status {_OK}", expected=f"status {_PARTIAL}")
            yield from body.pieces

    @contextmanager
    def open(
        self, url: str, *, max_bytes: int, offset: int = 0, validator: str = ""
    ) -> Generator[Body]:
        """See :class:`~primum_verifier.shell.fetching.RangeFetcher`."""
        response = self._ask(url, offset=offset, validator=validator)
        try:
            start, length = _where(url, response, offset)
            found = response.headers.get("ETag", "")
            name = found if _STRONG.fullmatch(found) else ""
            yield Body(start, length, name, self._pieces(url, response, max_bytes=max_bytes))
        finally:
            _leave(response)

    def _ask(self, url: str, *, offset: int, validator: str) -> urllib3.BaseHTTPResponse:
        parts = parts_of(url)
        self._check_scheme(url, parts.scheme)
        pool = self._pool_for(parts.scheme, parts.hostname or "")
        headers = {**pool.headers}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if validator:
                headers["If-Range"] = validator
        try:
            return pool.request(
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
            raise unreachable(url, error) from error

    def _check_scheme(self, url: str, scheme: str) -> None:
        if scheme not in self._schemes:
            raise FailedError(
                "This address is not allowed.",
                reason=Reason.TRANSPORT_INSECURE,
                where=url,
                found=scheme or "no scheme",
                expected=" or ".join(sorted(self._schemes)),
                remedy="Use https, or allow plain http explicitly (--allow-http, allow_http).",
            )

    def _pieces(
        self, url: str, response: urllib3.BaseHTTPResponse, *, max_bytes: int
    ) -> Iterator[bytes]:
        """The body as it arrives.

        Asking for a full piece would wait for it, for days from a server that drips, and nobody
        would look at the clock meanwhile.
        """
        patience = self._patience
        begun = judged = time.monotonic()
        received = before = 0
        try:
            while piece := response.read1(READ_BYTES, decode_content=False):
                received += len(piece)
                if received > max_bytes:
                    raise too_much(url, max_bytes)
                now = time.monotonic()
                if now - begun > patience.total_seconds:
                    raise TooSlowError(url, received=received, seconds=now - begun)
                yield piece
                if now - judged > patience.slow_seconds:
                    if received - before < patience.least_rate * (now - judged):
                        raise TooSlowError(url, received=received - before, seconds=now - judged)
                    judged, before = now, received
        except urllib3.exceptions.ReadTimeoutError as error:
            raise StalledError(url, seconds=patience.read_seconds) from error
        except urllib3.exceptions.HTTPError as error:
            raise _interrupted(url, error) from error


def _context(wire: Wire) -> ssl.SSLContext:
    """TLS 1.2 or newer, the server's name and chain checked against the pinned authorities."""
    try:
        given = None if wire.ca_file is None else str(wire.ca_file)
        context = ssl.create_default_context(cafile=given)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if wire.client_file is not None:
            context.load_cert_chain(wire.client_file)
    except OSError as error:
        raise UsageError(
            "The certificates for https cannot be read.",
            reason=Reason.USAGE,
            where=", ".join(str(path) for path in (wire.ca_file, wire.client_file) if path),
            found=error.strerror or str(error),
            expected="certificates in PEM",
            remedy="Put the files there that the settings or options name.",
        ) from error
    return context


def _where(url: str, response: urllib3.BaseHTTPResponse, offset: int) -> tuple[int, int | None]:
    """Where the body begins and how long the whole file is; anything but the bytes is an error."""
    headers = response.headers
    if response.status in _MISSING:
        raise NotThereError(url, response.status)
    if response.status in _LATER:
        raise AskedToWaitError(url, status=response.status, seconds=_wish(headers))
    if response.status == _OK:
        # With chunks the length beside them says nothing (RFC 9112 6.3).
        length = "" if "Transfer-Encoding" in headers else headers.get("Content-Length", "")
        return 0, int(length) if _is_number(length) else None
    if response.status == _PARTIAL and offset:
        found = headers.get("Content-Range", "")
        said = _RANGE.fullmatch(found)
        if said is None or int(said[1]) != offset or int(said[2]) < offset:
            raise FailedError(
                "The server continues at another place than was asked for.",
                reason=Reason.TRANSPORT_STATUS,
                where=url,
                found=found[:80],
                expected=f"bytes {offset}-",
            )
        return offset, None if said[3] == "*" else int(said[3])
    expected = f"status {_PARTIAL} or {_OK}" if offset else f"status {_OK}"
    found = f"status {response.status}"
    raise _other_answer(
        url,
        found=f"{found}: it ends before" if response.status == _BEYOND else found,
        expected=expected,
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 20  # noqa: PLR2004 - 64 bits


def _wish(headers: Mapping[str, str]) -> float:
    """What ``Retry-After`` asks for, in seconds, within our bound; 0 where it cannot be read."""
    text = headers.get("Retry-After", "").strip()
    if _is_number(text):
        return min(float(text), MOST_PATIENCE)
    with suppress(ValueError, TypeError, OverflowError):
        moment = parsedate_to_datetime(text)
        wished = (moment - datetime.now(moment.tzinfo or UTC)).total_seconds()
        return min(max(0.0, wished), MOST_PATIENCE)
    return 0.0


def _leave(response: urllib3.BaseHTTPResponse) -> None:
    """Keep the connection if little is left to read on it, as of an answer "not there".

    A body that was not read to its end cannot be followed by another on its connection.
    """
    until = time.monotonic() + LEAVING_SECONDS
    with suppress(urllib3.exceptions.HTTPError, OSError, ValueError):
        length = response.headers.get("Content-Length", "")
        if _is_number(length) and int(length) <= PIECE_BYTES:
            while response.read1(PIECE_BYTES, decode_content=False) and time.monotonic() < until:
                pass
    response.close()
    response.release_conn()


def _other_answer(url: str, *, found: str, expected: str) -> FailedError:
    return FailedError(
        "The server gave another answer than the bytes.",
        reason=Reason.TRANSPORT_STATUS,
        where=url,
        found=found,
        expected=expected,
        remedy="Check the server; redirects are not followed.",
    )


def _interrupted(url: str, error: Exception) -> FailedError:
    return FailedError(
        "The download was cut short.",
        reason=Reason.TRANSPORT_INTERRUPTED,
        where=url,
        found=str(error)[:300],
        expected="the whole body",
        remedy="Nothing is lost; the device goes on where it stopped.",
    )
