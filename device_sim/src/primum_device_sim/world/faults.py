"""Servers that do not serve what they should."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from primum_device_sim.world.server import WorldServer
from primum_verifier.shell.fetching import Fetcher, unreachable

_ARTIFACT = re.compile(r"/artifacts/[0-9a-f]{64}$")


@dataclass
class Front:
    """Whoever answers at the moment; the devices of a world all ask it.

    Attributes:
        server: the one behind it.
    """

    server: Fetcher

    def fetch(self, url: str, *, max_bytes: int, offset: int = 0) -> Iterator[bytes]:
        """See :class:`primum_verifier.shell.fetching.Fetcher`."""
        return self.server.fetch(url, max_bytes=max_bytes, offset=offset)


@dataclass
class Frozen:
    """Serves what was there when it was made, for ever: a mirror that hides what is new."""

    honest: WorldServer
    _copy: dict[str, bytes] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._copy = self.honest.everything()

    def fetch(self, url: str, *, max_bytes: int, offset: int = 0) -> Iterator[bytes]:
        """See :class:`primum_verifier.shell.fetching.Fetcher`."""
        return self.honest.send(url, self._copy.get(url), max_bytes=max_bytes, offset=offset)


@dataclass
class SpoilsFiles:
    """Changes one byte of every artifact."""

    honest: Fetcher

    def fetch(self, url: str, *, max_bytes: int, offset: int = 0) -> Iterator[bytes]:
        """See :class:`primum_verifier.shell.fetching.Fetcher`."""
        pieces = self.honest.fetch(url, max_bytes=max_bytes, offset=offset)
        if _ARTIFACT.search(url):
            first = next(pieces, b"")
            yield bytes([first[0] ^ 1]) + first[1:] if first else b""
        yield from pieces


@dataclass
class Refuses:
    """Answers nothing."""

    def fetch(self, url: str, *, max_bytes: int, offset: int = 0) -> Iterator[bytes]:
        """See :class:`primum_verifier.shell.fetching.Fetcher`."""
        del max_bytes, offset
        raise unreachable(url, OSError("connection refused"))
