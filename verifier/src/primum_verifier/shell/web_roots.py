"""The authorities at their web roots, read with public keys alone by any command.

A provisioning folder pins the roots; ``--engineering``, ``--clinical`` and, where the trust map
names one, ``--site`` name the web roots as folders or addresses.  Nothing is kept: what is
accepted lives in memory for one run.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from primum_verifier.core.device import TrustMap
from primum_verifier.core.document import parse_document
from primum_verifier.core.errors import FailedError
from primum_verifier.core.limits import MAX_DOCUMENT_BYTES, MAX_ROOT_BYTES
from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import CLINICAL, ENGINEERING, SITE, AuthorityView, SignedDocument
from primum_verifier.shell.addresses import parts_of
from primum_verifier.shell.authorities import Authorities
from primum_verifier.shell.commands.fetch import read_input
from primum_verifier.shell.fetching import Fetcher, FolderFetcher
from primum_verifier.shell.http_fetching import HttpFetcher, Wire
from primum_verifier.shell.trust_store import MemoryTrustStore
from primum_verifier.shell.tuf_client import TufClient
from primum_verifier.shell.ways import AuthorityAddress, FixedWays

TRUST_MAP_FILE = "trust-map.json"
CONTEXT_FILE = "device-context.dsse.json"
ROOT_FILES = {
    ENGINEERING: "engineering.root.json",
    CLINICAL: "clinical.root.json",
    SITE: "site.root.json",
}


def add_arguments(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Say where the pinned roots and the web roots are."""
    parser.add_argument("--provisioning", type=Path, required=required, metavar="DIR")
    parser.add_argument("--engineering", required=required, metavar="WEBROOT")
    parser.add_argument("--clinical", required=required, metavar="WEBROOT")
    parser.add_argument("--site", metavar="WEBROOT", help="where the trust map names a site")
    parser.add_argument("--allow-http", action="store_true", help="allow plain http")


@dataclass(frozen=True)
class _Routes:
    """Sends each address to the fetcher for its scheme."""

    folders: tuple[FolderFetcher, ...]
    roots: tuple[str, ...]
    http: HttpFetcher

    def fetch(self, url: str, *, max_bytes: int, offset: int = 0) -> Iterator[bytes]:
        """See :class:`Fetcher`."""
        for root, folder in zip(self.roots, self.folders, strict=True):
            if url.startswith(root):
                return folder.fetch(url, max_bytes=max_bytes, offset=offset)
        return self.http.fetch(url, max_bytes=max_bytes, offset=offset)


@dataclass(frozen=True)
class Views:
    """What each authority says, as accepted in this run.

    Attributes:
        engineering: engineering's view.
        clinical: clinical's view.
        site: the site's, None where the trust map or the options name none, or it is silent.
    """

    engineering: AuthorityView
    clinical: AuthorityView
    site: AuthorityView | None


class WebRoots:
    """The authorities as the options name them, with what a provisioning folder pins.

    A site that the options leave out is not read; a verdict then counts it as silent.

    Args:
        options: parsed from :func:`add_arguments`.

    Raises:
        UsageError: a file of the provisioning folder cannot be read.
        RefusedError: it can, and is no trust map, or a root is not the one that the map pins.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        folder: Path = options.provisioning
        self.trust_map = parse_document(
            TrustMap,
            read_input(folder / TRUST_MAP_FILE, "trust map", MAX_DOCUMENT_BYTES),
            where=TRUST_MAP_FILE,
        )
        is_site_read = self.trust_map.site_root is not None and options.site is not None
        names = [name for name in ROOT_FILES if name != SITE or is_site_read]
        self._roots = {
            name: read_input(folder / ROOT_FILES[name], f"{name} root", MAX_ROOT_BYTES)
            for name in names
        }
        self.addresses, self.fetcher = _routes(options, names)
        self._stores = {name: MemoryTrustStore() for name in names}
        self._authorities = Authorities(
            trust_map=self.trust_map
            if is_site_read
            else self.trust_map.model_copy(update={"site_root": None}),
            roots=self._roots,
            ways=FixedWays(self.addresses),
            fetcher=self.fetcher,
            stores=self._stores,
        )

    def refresh(self, *, now: datetime, device_id: str, held: Iterable[tuple[str, str]]) -> Views:
        """Every view, with the documents of the releases in ``held``.

        Raises:
            PrimumError: engineering or clinical could not be read to the end.
        """
        refreshed = self._authorities.refresh(now=now, device_id=device_id, held=held)
        for name, problem in refreshed.problems.items():
            if name != SITE:
                raise problem
        if refreshed.engineering is None or refreshed.clinical is None:
            raise FailedError("An authority could not be read.", reason=Reason.TRUST_METADATA)
        return Views(refreshed.engineering, refreshed.clinical, refreshed.site)

    def document(self, authority: str, target: str, *, now: datetime) -> SignedDocument | None:
        """One more signed document of an authority, None when no trusted role signs it.

        Raises:
            PrimumError: the authority could not be read, or the bytes are not those signed.
        """
        address = self.addresses[authority]
        client = TufClient(
            authority=authority,
            bootstrap=self._roots[authority],
            metadata_url=address.metadata_url,
            targets_url=address.targets_url,
            fetcher=self.fetcher,
            store=self._stores[authority],
        )
        allowance = timedelta(days=self.trust_map.offline_allowance_days)
        with client.session(at=now, allowance=allowance) as session:
            session.refresh()
            return session.document(target)


def _routes(
    options: argparse.Namespace, names: Iterable[str]
) -> tuple[dict[str, AuthorityAddress], Fetcher]:
    addresses, folders, roots = {}, [], []
    for name in names:
        base: str = getattr(options, name)
        if parts_of(base).scheme not in {"http", "https"}:
            path = Path(base)
            base = path.resolve().as_uri()
            folders.append(FolderFetcher(path))
            roots.append(f"{base}/")
        base = base.rstrip("/")
        addresses[name] = AuthorityAddress(
            f"{base}/metadata/", f"{base}/targets/", f"{base}/artifacts/"
        )
    http = HttpFetcher(Wire(allow_http=options.allow_http))
    return addresses, _Routes(tuple(folders), tuple(roots), http)
