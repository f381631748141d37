"""The web roots of a world's authorities, read from their folders, each file once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from primum_verifier.shell.fetching import PIECE_BYTES, NotThereError, too_much

_NOT_FOUND = 404


@dataclass
class WorldServer:
    """See :class:`primum_verifier.shell.fetching.Fetcher`: an honest server.

    Attributes:
        roots: the folder behind each address; an address ends with a slash.
        served: bytes that were sent so far.
    """

    roots: Mapping[str, Path]
    served: int = 0
    _kept: dict[str, bytes | None] = field(default_factory=dict, repr=False)

    def forget(self) -> None:
        """Something was published: read every file anew."""
        self._kept.clear()

    def everything(self) -> dict[str, bytes]:
        """Every file as it is now, by its address."""
        return {
            f"{address}{path.relative_to(root).as_posix()}": path.read_bytes()
            for address, root in self.roots.items()
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }

    def fetch(self, url: str, *, max_bytes: int, offset: int = 0) -> Iterator[bytes]:
        """See :class:`primum_verifier.shell.fetching.Fetcher`."""
        return self.send(url, self._read(url), max_bytes=max_bytes, offset=offset)

    def send(self, url: str, data: bytes | None, *, max_bytes: int, offset: int) -> Iterator[bytes]:
        """Send these bytes for an address; None where there is nothing."""
        if data is None:
            raise NotThereError(url, _NOT_FOUND)
        if len(data) - offset > max_bytes:
            raise too_much(url, max_bytes)
        self.served += len(data) - offset
        for start in range(offset, len(data), PIECE_BYTES):
            yield data[start : start + PIECE_BYTES]

    def _read(self, url: str) -> bytes | None:
        if url not in self._kept:
            path = self._path(url)
            self._kept[url] = path.read_bytes() if path is not None and path.is_file() else None
        return self._kept[url]

    def _path(self, url: str) -> Path | None:
        for address, root in self.roots.items():
            if url.startswith(address):
                return root / unquote(url.removeprefix(address))
        return None
