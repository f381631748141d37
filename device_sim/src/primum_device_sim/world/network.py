"""The network of a played device: how far it reaches, how long bytes take, and who answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain

from primum_agent.glance import Seen
from primum_verifier.core.errors import PrimumError
from primum_verifier.shell.fetching import Body, Fetcher, unreachable

_MOST_TIMESTAMP = 1 << 16
_NOT_MODIFIED_BYTES = 190  # a conditional request and its answer, both ways
_DEAD_SECONDS = 10.0  # until a connection that does not come about is given up


@dataclass
class Link:
    """One device's link to the world.

    Attributes:
        up: whether anything is reached at all.
        latency: seconds for a request to be answered.
        rate: bytes in a second.
        received: bytes that came over it so far.
        requests: how often something was asked for.
    """

    up: bool = True
    latency: float = 0.05
    rate: float = 1_000_000.0
    received: int = 0
    requests: int = 0


@dataclass
class PlayedFetcher:
    """See :class:`primum_verifier.shell.fetching.RangeFetcher`: another one's bytes, over a link.

    Attributes:
        link: the device's link.
        server: who answers; a hostile one is put in its place.
        spend: lets time pass on the device's clock.
    """

    link: Link
    server: Fetcher
    spend: Callable[[float], None] = field(repr=False)

    def fetch(self, url: str, *, max_bytes: int, offset: int = 0) -> Iterator[bytes]:
        """See :class:`primum_verifier.shell.fetching.Fetcher`."""
        with self.open(url, max_bytes=max_bytes, offset=offset) as body:
            yield from body.pieces

    @contextmanager
    def open(
        self, url: str, *, max_bytes: int, offset: int = 0, validator: str = ""
    ) -> Iterator[Body]:
        """See :class:`primum_verifier.shell.fetching.RangeFetcher`."""
        del validator
        self.link.requests += 1
        if not self.link.up:
            self.spend(_DEAD_SECONDS)
            raise unreachable(url, OSError("no network"))
        self.spend(self.link.latency)
        pieces = self.server.fetch(url, max_bytes=max_bytes, offset=offset)
        # The server is asked before anybody reads: whether there is anything is known then.
        first = next(pieces, b"")
        yield Body(offset, None, "", self._carried(chain([first], pieces)))

    def _carried(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            if not piece:
                continue
            self.link.received += len(piece)
            self.spend(len(piece) / self.link.rate)
            yield piece


@dataclass
class PlayedGlance:
    """See :class:`primum_agent.glance.Glancing`: it is over as soon as it was begun.

    Attributes:
        link: the device's link.
        server: who answers.
        spend: lets time pass on the device's clock.
        wake: lets the supervisor look again.
        now: the clock that :meth:`begin` answers in.
    """

    link: Link
    server: Fetcher
    spend: Callable[[float], None] = field(repr=False)
    wake: Callable[[], None] = field(repr=False)
    now: Callable[[], float] = field(repr=False)
    is_possible: bool = True
    _seen: Seen | None = None

    def begin(self, newest: Mapping[str, str], servers: Mapping[str, str]) -> float:
        """See :class:`primum_agent.glance.Glancing`."""
        same = all(
            name in newest and self._is_same(servers[name], newest[name]) for name in servers
        )
        self._seen = Seen.NOTHING_NEW if same else Seen.LOOK
        self.wake()
        return self.now()

    def found(self) -> Seen | None:
        """See :class:`primum_agent.glance.Glancing`."""
        return self._seen

    def close(self) -> None:
        """See :class:`primum_agent.glance.Glancing`."""

    def _is_same(self, metadata_url: str, digest: str) -> bool:
        if not self.link.up:
            self.spend(_DEAD_SECONDS)
            return False
        self.spend(self.link.latency)
        self.link.requests += 1
        self.link.received += _NOT_MODIFIED_BYTES
        try:
            url = f"{metadata_url}timestamp.json"
            data = b"".join(self.server.fetch(url, max_bytes=_MOST_TIMESTAMP))
        except PrimumError:
            return False
        return hashlib.sha256(data).hexdigest() == digest
