"""Reading a web root as a device does: through the verifier's TUF client, from a pinned root."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path

from primum_repo_tools.files import make_folder, read_input, write_durably
from primum_repo_tools.workbench import Workbench
from primum_verifier.core.document import sha256_hex
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.core.limits import MAX_ROOT_BYTES
from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import AuthorityView
from primum_verifier.shell.fetching import FolderFetcher
from primum_verifier.shell.trust_store import FolderTrustStore, TrustedSet, TrustStore
from primum_verifier.shell.tuf_client import TufClient, TufSession
from primum_verifier.shell.tuf_views import stored_view

FIRST_ROOT = "1.root.json"


@contextmanager
def read_web(
    web: Path, *, authority: str, root: bytes, store: TrustStore, now: datetime
) -> Iterator[TufSession]:
    """Open a refreshed session of the client over a web root that is a plain folder.

    Args:
        web: the folder with ``metadata/`` and ``targets/``.
        authority: the name that errors carry.
        root: the exact bytes of the pinned root.
        store: where what was accepted is kept.
        now: the moment judged.

    Raises:
        PrimumError: what the client refuses, or cannot read.
    """
    address = web.resolve().as_uri()
    client = TufClient(
        authority=authority,
        bootstrap=root,
        metadata_url=f"{address}/metadata/",
        targets_url=f"{address}/targets/",
        fetcher=FolderFetcher(web),
        store=store,
    )
    with client.session(at=now) as session:
        session.refresh()
        yield session
        session.complete()


def is_peer_known(workbench: Workbench) -> bool:
    """Whether the other authority is there to be read, or was: what was seen once is never ignored.

    A workbench may name a peer that has not begun yet.
    """
    web = workbench.peer
    return web is not None and (
        (web / "metadata" / FIRST_ROOT).is_file() or _pinned_root(workbench).is_file()
    )


@contextmanager
def read_peer(workbench: Workbench, *, now: datetime) -> Iterator[TufSession]:
    """Open a session over the other authority's web root.

    Its first root is pinned when it is first seen, and what was accepted is kept, so that a
    replayed or replaced repository is refused here exactly as on a device.

    Raises:
        UsageError: the settings name no peer, or nothing is published there.
        RefusedError: its first root is another one than was pinned.
    """
    with _peer(workbench, FolderTrustStore(_trusted(workbench)), now=now) as session:
        yield session


@contextmanager
def _peer(workbench: Workbench, store: TrustStore, *, now: datetime) -> Iterator[TufSession]:
    web = workbench.peer
    if web is None or not (web / "metadata" / FIRST_ROOT).is_file():
        raise UsageError(
            "The other authority's web root is not there.",
            reason=Reason.USAGE,
            where=str(web) if web else "peer in workbench.toml",
            expected=f"a folder with metadata/{FIRST_ROOT}",
            remedy="Name its folder as peer in workbench.toml, relative to the workbench.",
        )
    other = _other(workbench)
    root = read_input(
        web / "metadata" / FIRST_ROOT, what="other authority's root", max_bytes=MAX_ROOT_BYTES
    )
    pinned = _pinned_root(workbench)
    if not pinned.exists():
        write_durably(pinned, root)
        workbench.record("peer.pinned", at=now, authority=other, sha256=sha256_hex(root))
    if (known := read_input(pinned, what="pinned root", max_bytes=MAX_ROOT_BYTES)) != root:
        raise RefusedError(
            "The other authority's first root is not the one that was pinned.",
            reason=Reason.TRUST_SIGNATURE,
            where=str(web),
            found=f"sha256 {sha256_hex(root)}",
            expected=f"sha256 {sha256_hex(known)}",
            remedy="Ask the other authority by another way which one is theirs.",
        )
    make_folder(_trusted(workbench))
    with read_web(web, authority=other, root=root, store=store, now=now) as session:
        yield session


def peer_view(workbench: Workbench, targets: Collection[str], *, now: datetime) -> AuthorityView:
    """The other authority with the documents of some names, as far as it publishes them.

    Raises:
        PrimumError: as :func:`read_peer` does.
    """
    store = _Remembering(FolderTrustStore(_trusted(workbench)))
    with _peer(workbench, store, now=now) as session:
        for target in targets:
            session.document(target)
    view = stored_view(_other(workbench), store.saved)
    if view is None:
        raise RuntimeError("a run that ended well leaves a view")
    return view


class _Remembering:
    """A trust store that also remembers what a run left to judge by, which a folder keeps not."""

    def __init__(self, store: TrustStore) -> None:
        self._store = store
        self.saved: TrustedSet | None = None

    def exclusive(self) -> AbstractContextManager[None]:
        """As the store that it stands before."""
        return self._store.exclusive()

    def load(self) -> TrustedSet | None:
        """As the store that it stands before."""
        return self._store.load()

    def save(self, trusted: TrustedSet) -> None:
        """Keep it there, and remember it."""
        self._store.save(trusted)
        self.saved = trusted


def _other(workbench: Workbench) -> str:
    return "engineering" if workbench.authority == "clinical" else "clinical"


def _trusted(workbench: Workbench) -> Path:
    return workbench.folder / "peer" / "trusted"


def _pinned_root(workbench: Workbench) -> Path:
    return workbench.folder / "peer" / FIRST_ROOT
