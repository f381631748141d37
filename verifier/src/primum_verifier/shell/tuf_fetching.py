"""Our fetcher behind ``tuf``'s interface: metadata is bounded by its role and read as hostile JSON.

``tuf`` lets a signed length override its own limit; here the limit of the role holds. A body cut
short is asked for again a few times; every other failure ends the run, and the device polls again
at its own pace, whatever a server wishes in ``Retry-After``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

from tuf.api.exceptions import DownloadError, DownloadHTTPError
from tuf.ngclient.fetcher import FetcherInterface

from primum_verifier.core.document import read_json
from primum_verifier.core.errors import PrimumError
from primum_verifier.core.limits import (
    MAX_METADATA_DEPTH,
    MAX_ROOT_BYTES,
    MAX_SNAPSHOT_BYTES,
    MAX_TARGETS_BYTES,
    MAX_TIMESTAMP_BYTES,
)
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.fetching import Fetcher, NotThereError, TooSlowError

METADATA_ATTEMPTS = 3
"""How often one metadata file is asked for when its body is cut short: links do break."""

_CAPS = {
    "root": MAX_ROOT_BYTES,
    "timestamp": MAX_TIMESTAMP_BYTES,
    "snapshot": MAX_SNAPSHOT_BYTES,
}
_TOP_FILE = re.compile(r"(?:\d+\.)?(root|timestamp|snapshot)\.json")
_VERSION = re.compile(r"\d+\.(?=.)")


def cap_of(url: str) -> int:
    """The most bytes that are read of a metadata file, whatever length is signed for it."""
    found = _TOP_FILE.fullmatch(url.rpartition("/")[2])
    return MAX_TARGETS_BYTES if found is None else _CAPS[found[1]]


class StrictMetadataFetcher(FetcherInterface):
    """Fetches metadata for ``tuf`` and remembers what the server answered last.

    Attributes:
        last: the address and the bytes of the newest answer.
        timestamp: the bytes of the newest timestamp that was served, trusted or not.
    """

    def __init__(self, fetcher: Fetcher, *, metadata_url: str) -> None:
        self._fetcher = fetcher
        self._metadata_url = metadata_url
        self.last: tuple[str, bytes] = ("", b"")
        self.timestamp: bytes | None = None

    def read(self, url: str) -> bytes:
        """One metadata file, whole.

        Raises:
            PrimumError: it could not be had, is too large, or is no strict JSON.
        """
        cap = cap_of(url)
        for left in reversed(range(METADATA_ATTEMPTS)):
            try:
                data = b"".join(self._fetcher.fetch(url, max_bytes=cap))
                break
            except TooSlowError:
                raise
            except PrimumError as error:
                if error.reason is not Reason.TRANSPORT_INTERRUPTED or not left:
                    raise
        self.last = (url, data)
        read_json(data, where=url, max_bytes=cap, max_depth=MAX_METADATA_DEPTH)
        if url == f"{self._metadata_url}timestamp.json":
            self.timestamp = data
        return data

    def last_role(self) -> str:
        """The role whose file was answered last."""
        name = unquote(self.last[0].rpartition("/")[2].removesuffix(".json"))
        return name if name == "timestamp" else _VERSION.sub("", name, count=1)

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            data = self.read(url)
        except NotThereError as error:
            raise DownloadHTTPError(str(error), error.status) from error
        except PrimumError as error:
            raise DownloadError(str(error)) from error
        yield data
