"""The network of a played device: how far it reaches, how long bytes take, and who answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain

from primum_verifier.shell.fetching import Body, Fetcher, unreachable

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
