"""The web roots of a world's authorities, read from their folders, each file once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.fetching import PIECE_BYTES, NotThereError

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
    _kept: dict[str, bytes] = field(default_factory=dict, repr=False)

    def forget(self) -> None:
        """Something was published: read every file anew."""
        self._kept.clear()

    def fetch(self, url: str, *, max_bytes: int, offset: int = 0) -> Iterator[bytes]:
        """See :class:`primum_verifier.shell.fetching.Fetcher`."""
        data = self._read(url)[offset:]
        if len(data) > max_bytes:
            raise RefusedError(
                "The server sends more than was signed or is read at all.",
                reason=Reason.TRUST_LIMIT,
                where=url,
                found=f"{len(data)} bytes",
                expected=f"at most {max_bytes} bytes",
            )
        self.served += len(data)
        for start in range(0, len(data), PIECE_BYTES):
            yield data[start : start + PIECE_BYTES]

    def _read(self, url: str) -> bytes:
        if url not in self._kept:
            path = self._path(url)
            if path is None or not path.is_file():
                raise NotThereError(url, _NOT_FOUND)
            self._kept[url] = path.read_bytes()
        return self._kept[url]

    def _path(self, url: str) -> Path | None:
        for address, root in self.roots.items():
            if url.startswith(address):
                return root / unquote(url.removeprefix(address))
        return None
