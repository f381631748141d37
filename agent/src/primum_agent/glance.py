"""A glance at the authorities: is the timestamp still the one that was accepted?

One conditional request for each on a connection that is kept: a few hundred bytes, no TUF, nothing
that is believed.  A server that says "nothing new" for ever only delays what it could hold back in
any case, and not beyond the next whole refresh; every other answer leads to that refresh at once.

It runs in a thread of its own, so that a server that stalls holds up nothing.  Standard library
only: it belongs to the resident supervisor.
"""

from __future__ import annotations

import hashlib
import logging
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Protocol

from primum_agent.journal_port import JournalPort
from primum_agent.mirror_memory import demotions_of, order_of
from primum_agent.settings import Settings
from primum_verifier.core.limits import MAX_TIMESTAMP_BYTES
from primum_verifier.shell.addresses import parts_of
from primum_verifier.shell.broker_proxy import parse_proxy

LOG = logging.getLogger("primum.glance")

ANSWER_SECONDS = 5.0
"""How long a server may be silent."""

WHOLE_SECONDS = 15.0
"""How long a glance may take; then it is as if a server had said nothing."""

_OK, _NOT_MODIFIED = 200, 304
_TAG = re.compile(r'(W/)?"[\x21\x23-\x7e]{1,200}"')
_PROXY = "agent.toml: network.proxy"


class Seen(StrEnum):
    """What a glance found."""

    NOTHING_NEW = "nothing new"
    LOOK = "look"
    """Something is new, or nobody can say."""


class Glancing(Protocol):
    """The port: what looks whether anything is new."""

    @property
    def is_possible(self) -> bool:
        """Whether one can be begun now."""

    def begin(self, newest: Mapping[str, str], servers: Mapping[str, str]) -> float:
        """Begin one; when it is over at the latest; see :meth:`Glance.begin`."""

    def found(self) -> Seen | None:
        """What it found; None while it is under way and may still be."""

    def close(self) -> None:
        """End its connections."""


@dataclass(frozen=True)
class _Known:
    """What a server calls the timestamp with this digest."""

    url: str
    digest: str
    tag: str


def servers_to_ask(
    settings: Settings, journal: JournalPort, newest: Iterable[str]
) -> dict[str, str]:
    """The metadata address that each of some authorities is read at now, by authority."""
    demoted, powered = demotions_of(journal), journal.powered_seen()
    return {
        name: order_of([place.metadata_url for place in item.everywhere], demoted, powered=powered)[
            0
        ]
        for name, item in settings.repositories.all.items()
        if name in newest
    }


class Glance:
    """Glances of one device.

    Args:
        settings: the device's settings.
        client: the device's client certificate, which may be missing.
        wake: called from the thread once there is an answer.
        monotonic: a clock that never goes back, in seconds.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        client: Path,
        wake: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._client = client
        self._wake = wake
        self._monotonic = monotonic
        self._connections: dict[str, HTTPConnection] = {}
        self._known: dict[str, _Known] = {}
        self._seen: Seen | None = None
        self._thread: threading.Thread | None = None
        self._until = 0.0

    @property
    def is_possible(self) -> bool:
        """Whether every authority is served over http(s), and no glance is stuck."""
        served = all(
            parts_of(place.metadata_url).scheme in {"http", "https"}
            for item in self._settings.repositories.all.values()
            for place in item.everywhere
        )
        return served and not self.is_under_way

    @property
    def is_under_way(self) -> bool:
        """Whether one is running."""
        return self._thread is not None and self._thread.is_alive()

    def begin(self, newest: Mapping[str, str], servers: Mapping[str, str]) -> float:
        """Begin one; when it is over at the latest.

        Args:
            newest: SHA-256 of the timestamp that was accepted, by authority.
            servers: the metadata address to ask, by authority.
        """
        self._seen, self._until = None, self._monotonic() + WHOLE_SECONDS
        self._thread = threading.Thread(
            target=self._run, args=(dict(newest), dict(servers)), daemon=True, name="glance"
        )
        self._thread.start()
        return self._until

    def found(self) -> Seen | None:
        """What it found; None while it is under way and may still be."""
        if self._seen is not None:
            return self._seen
        return Seen.LOOK if self._monotonic() >= self._until else None

    def look(self, newest: Mapping[str, str], servers: Mapping[str, str]) -> Seen:
        """One glance, here and now."""
        same = all(
            name in newest and self._is_same(name, servers[name], newest[name]) for name in servers
        )
        return Seen.NOTHING_NEW if same else Seen.LOOK

    def close(self) -> None:
        """End the connections; one of a glance that hangs ends with the process."""
        if not self.is_under_way:
            for authority in [*self._connections]:
                self._drop(authority)

    def _run(self, newest: dict[str, str], servers: dict[str, str]) -> None:
        try:
            self._seen = self.look(newest, servers)
        except Exception as error:  # noqa: BLE001 - the end of a thread: whatever it was, look
            LOG.warning("a glance failed: %s", error)
            self._seen = Seen.LOOK
        self._wake()

    def _is_same(self, authority: str, metadata_url: str, digest: str) -> bool:
        url = f"{metadata_url}timestamp.json"
        known = self._known.get(authority)
        if known is None or (known.url, known.digest) != (url, digest):
            known = _Known(url, digest, "")
        for _ in range(2):
            kept = authority in self._connections
            try:
                status, tag, body = self._ask(authority, known)
            except (HTTPException, OSError, ValueError) as error:
                self._drop(authority)
                if kept:
                    # It was kept too long; a fresh one says more.
                    continue
                LOG.debug("%s: %s", url, error)
                return False
            if status == _NOT_MODIFIED and known.tag:
                return True
            if status != _OK or hashlib.sha256(body).hexdigest() != digest:
                return False
            self._known[authority] = _Known(url, digest, tag if _TAG.fullmatch(tag) else "")
            return True
        return False

    def _ask(self, authority: str, known: _Known) -> tuple[int, str, bytes]:
        parts = parts_of(known.url)
        connection = self._connections.get(authority)
        if connection is None:
            connection = self._connections[authority] = self._connect(known.url)
        whole = bool(self._proxy_of(parts.hostname or "")) and parts.scheme == "http"
        connection.putrequest("GET", known.url if whole else parts.path, skip_accept_encoding=True)
        if known.tag:
            connection.putheader("If-None-Match", known.tag)
        connection.endheaders()
        response = connection.getresponse()
        body = response.read(MAX_TIMESTAMP_BYTES + 1)
        if len(body) > MAX_TIMESTAMP_BYTES or response.will_close:
            self._drop(authority)
        return response.status, response.headers.get("ETag", ""), body

    def _connect(self, url: str) -> HTTPConnection:
        parts = parts_of(url)
        host, secure = parts.hostname or "", parts.scheme == "https"
        if not secure and not self._settings.transport.allow_http:
            raise ValueError("plain http is not allowed")
        port = parts.port or (443 if secure else 80)
        proxy = self._proxy_of(host)
        at = (host, port)
        if proxy:
            address = parse_proxy(proxy, where=_PROXY)
            at = (address.host, address.port)
        if not secure:
            return HTTPConnection(*at, timeout=ANSWER_SECONDS)
        connection = HTTPSConnection(*at, timeout=ANSWER_SECONDS, context=self._terms())
        if proxy:
            connection.set_tunnel(host, port)
        return connection

    def _proxy_of(self, host: str) -> str:
        network = self._settings.network
        return "" if host in network.direct else network.proxy

    def _terms(self) -> ssl.SSLContext:
        """As for everything else that is fetched: pinned authorities, TLS 1.2 or newer."""
        given = self._settings.network_ca
        context = ssl.create_default_context(cafile=None if given is None else str(given))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self._settings.network.client_certificate and self._client.is_file():
            context.load_cert_chain(self._client)
        return context

    def _drop(self, authority: str) -> None:
        connection = self._connections.pop(authority, None)
        if connection is not None:
            connection.close()
