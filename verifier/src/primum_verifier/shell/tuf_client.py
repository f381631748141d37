"""The device's TUF client for one authority: ``tuf``'s own, over a scratch folder and our ports.

Composition, in this order (TUF 5):

1. The scratch folder is filled from the trust store.
2. ``tuf``'s updater runs over it, with the pinned root, our fetcher and our reference time.
3. Whatever it accepted is read back, also after a failure: what was accepted before counts.
4. The floors are compared: nothing below the highest version ever accepted is kept.
5. The set is saved as one.

What ``tuf`` leaves open is closed here: metadata with duplicate members, one key listed under
two ids, weak digests, "not found" where the truth is "limit reached".
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from tuf.api.exceptions import DownloadError, DownloadHTTPError
from tuf.api.metadata import Metadata, Root, TargetFile, Targets
from tuf.ngclient.config import UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.updater import Updater

from primum_verifier.core.document import canonical_json, read_json, sha256_hex
from primum_verifier.core.errors import PrimumError, RefusedError
from primum_verifier.core.limits import (
    MAX_DELEGATED_ROLES,
    MAX_DOCUMENT_BYTES,
    MAX_METADATA_DEPTH,
    MAX_ROOT_BYTES,
    MAX_ROOT_ROTATIONS,
    MAX_SNAPSHOT_BYTES,
    MAX_TARGETS_BYTES,
    MAX_TIMESTAMP_BYTES,
)
from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import AuthorityView, SignedDocument
from primum_verifier.shell.fetching import Fetcher, NotThereError
from primum_verifier.shell.trust_store import TrustedSet, TrustStore
from primum_verifier.shell.tuf_errors import translated
from primum_verifier.shell.tuf_keys import check_delegations, key_sets
from primum_verifier.shell.tuf_views import check_issue_time, role_states, view_of

STRONG_DIGESTS = {
    "sha256": "sha256",
    "sha384": "sha384",
    "sha512": "sha512",
    "sha3-256": "sha3_256",
    "sha3-512": "sha3_512",
    "blake2b": "blake2b",
}
"""The digests that count, by their name in TUF metadata, with their name in ``hashlib``."""

_TOP_ROLES = ("root", "timestamp", "snapshot", "targets")
_MAX_METADATA_BYTES = max(
    MAX_ROOT_BYTES, MAX_TIMESTAMP_BYTES, MAX_SNAPSHOT_BYTES, MAX_TARGETS_BYTES
)


class _StrictMetadataFetcher(FetcherInterface):
    """Our fetcher behind ``tuf``'s interface; metadata is read as hostile JSON on the way."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            data = b"".join(self._fetcher.fetch(url, max_bytes=_MAX_METADATA_BYTES))
            read_json(data, where=url, max_bytes=_MAX_METADATA_BYTES, max_depth=MAX_METADATA_DEPTH)
        except NotThereError as error:
            raise DownloadHTTPError(str(error), error.status) from error
        except PrimumError as error:
            raise DownloadError(str(error)) from error
        yield data


class TufClient:
    """Runs the TUF client workflow for one authority.

    Args:
        authority: the name for errors and views.
        bootstrap: the exact bytes of the root the device was provisioned with.
        metadata_url: where the metadata lies; ends with a slash.
        targets_url: where the targets lie; ends with a slash.
        fetcher: how bytes are got.
        store: where what is accepted is kept.
        scratch: the folder for the scratch folder; the system's temporary folder when None.
    """

    def __init__(
        self,
        *,
        authority: str,
        bootstrap: bytes,
        metadata_url: str,
        targets_url: str,
        fetcher: Fetcher,
        store: TrustStore,
        scratch: Path | None = None,
    ) -> None:
        self.authority = authority
        self._bootstrap = bootstrap
        self._metadata_url = metadata_url
        self._targets_url = targets_url
        self._fetcher = fetcher
        self._store = store
        self._scratch = scratch

    @contextmanager
    def session(self, *, at: datetime) -> Iterator[TufSession]:
        """One run of the client at one fixed time (TUF 5.1); what it accepted is kept at its end.

        Raises:
            PrimumError: whatever went wrong inside, after what was accepted has been kept; or
                ``trust.rollback`` when what was accepted is below a floor: then nothing is kept.
        """
        before = self._store.load() or TrustedSet()
        with tempfile.TemporaryDirectory(prefix="primum-tuf-", dir=self._scratch) as folder:
            session = TufSession(
                authority=self.authority,
                bootstrap=self._bootstrap,
                metadata_url=self._metadata_url,
                targets_url=self._targets_url,
                fetcher=self._fetcher,
                before=before,
                folder=Path(folder),
                at=at,
            )
            try:
                with translated(self.authority):
                    session.open()
                    yield session
            finally:
                accepted = session.accepted()
                if accepted is not None:
                    self._store.save(accepted)


class TufSession:
    """One run of the client. Made by :meth:`TufClient.session` only."""

    def __init__(
        self,
        *,
        authority: str,
        bootstrap: bytes,
        metadata_url: str,
        targets_url: str,
        fetcher: Fetcher,
        before: TrustedSet,
        folder: Path,
        at: datetime,
    ) -> None:
        self._authority = authority
        self._bootstrap = bootstrap
        self._metadata_url = metadata_url
        self._targets_url = targets_url
        self._fetcher = fetcher
        self._before = before
        self._folder = folder
        self._at = at
        self._updater: Updater | None = None
        self._documents: dict[str, bytes] = {}
        self._complete = False
        self._verified: set[str] = set()

    def open(self) -> None:
        """Fill the scratch folder and start the updater over it, with our time."""
        (self._folder / "root_history").mkdir(parents=True)
        for name, data in self._before.metadata.items():
            if name != "root.json":
                (self._folder / name).write_bytes(data)
        self._updater = Updater(
            metadata_dir=str(self._folder),
            metadata_base_url=self._metadata_url,
            target_base_url=self._targets_url,
            fetcher=_StrictMetadataFetcher(self._fetcher),
            config=UpdaterConfig(
                max_root_rotations=MAX_ROOT_ROTATIONS,
                max_delegations=MAX_DELEGATED_ROLES,
                root_max_length=MAX_ROOT_BYTES,
                timestamp_max_length=MAX_TIMESTAMP_BYTES,
                snapshot_max_length=MAX_SNAPSHOT_BYTES,
                targets_max_length=MAX_TARGETS_BYTES,
            ),
            bootstrap=self._bootstrap,
        )
        # The one private name in use: the library offers no other way to hand in a time.
        self._updater._trusted_set.reference_time = self._at  # noqa: SLF001

    def refresh(self) -> None:
        """Update the top-level roles (TUF 5.3 to 5.6)."""
        self._running().refresh()
        self._verified.update(_TOP_ROLES)
        self._check_keys()
        self._check_floors(self._floors())

    def target(self, name: str) -> TargetFile | None:
        """What is signed about a target, or None when no trusted role signs it (TUF 5.6.7).

        Raises:
            RefusedError: ``trust.limit`` when more delegated roles would have to be asked than
                is allowed; ``trust.metadata`` when only weak digests are signed.
        """
        found = self._running().get_targetinfo(name)
        _, visited = self._role_of(name)
        if not visited <= self._verified:
            self._verified |= visited
            self._check_keys()
            self._check_floors(self._floors())
        if found is None:
            return None
        if not set(found.hashes) & set(STRONG_DIGESTS):
            raise RefusedError(
                "The target is signed with weak digests only.",
                reason=Reason.TRUST_METADATA,
                where=f"{self._authority}: {name}",
                found=", ".join(sorted(found.hashes)),
                expected="sha256 or stronger",
            )
        return found

    def document(self, name: str) -> SignedDocument | None:
        """A small signed document, from what was kept before or from the server; None: not signed.

        Raises:
            RefusedError: ``artifact.size`` or ``artifact.digest`` when the bytes are not those
                that were signed.
        """
        found = self.target(name)
        if found is None:
            return None
        kept = self._before.documents.get(name)
        if kept is not None and _digests_agree(found, kept):
            data = kept
        else:
            if found.length > MAX_DOCUMENT_BYTES:
                raise _wrong_size(name, f"{found.length} bytes signed", MAX_DOCUMENT_BYTES)
            data = b"".join(self.stream(name, found))
        self._documents[name] = data
        role, _ = self._role_of(name)
        return SignedDocument(data=data, role=role)

    def stream(self, name: str, found: TargetFile) -> Iterator[bytes]:
        """The bytes of a target, hashed as they pass; an error at the end means: use none of them.

        Raises:
            RefusedError: ``artifact.size`` or ``artifact.digest``.
            FailedError: ``transport.*``.
        """
        hashers = {
            algorithm: hashlib.new(STRONG_DIGESTS[algorithm])
            for algorithm in found.hashes
            if algorithm in STRONG_DIGESTS
        }
        received = 0
        url = self._targets_url + self._file_name(name, found)
        for piece in self._fetcher.fetch(url, max_bytes=found.length + 1):
            received += len(piece)
            if received > found.length:
                raise _wrong_size(name, f"more than {found.length} bytes", found.length)
            for hasher in hashers.values():
                hasher.update(piece)
            yield piece
        if received != found.length:
            raise _wrong_size(name, f"{received} bytes", found.length)
        for algorithm, hasher in hashers.items():
            if hasher.hexdigest() != found.hashes[algorithm]:
                raise RefusedError(
                    "The bytes are not those that were signed.",
                    reason=Reason.ARTIFACT_DIGEST,
                    where=url,
                    found=f"{algorithm} {hasher.hexdigest()}",
                    expected=f"{algorithm} {found.hashes[algorithm]}",
                    remedy="Publish again, or use another mirror; nothing was kept.",
                )

    @staticmethod
    def is_whole(path: Path, found: TargetFile) -> bool:
        """Whether a file is the target already, by length and every strong digest."""
        try:
            if path.is_symlink() or path.stat().st_size != found.length:
                return False
            for algorithm, digest in found.hashes.items():
                if algorithm in STRONG_DIGESTS:
                    with path.open("rb") as file:
                        hasher = hashlib.file_digest(file, STRONG_DIGESTS[algorithm])
                    if hasher.hexdigest() != digest:
                        return False
        except OSError:
            return False
        return True

    def complete(self) -> None:
        """Say that all that was wanted has arrived: from now on it is what is judged by.

        Raises:
            RefusedError: ``trust.metadata`` when a delegated role delegates further (a role could
                then put metadata of its own under another role's name), or when the issue time
                is no time that the timestamp vouches for.
        """
        check_delegations(self._authority, self._view_files())
        check_issue_time(self._authority, self._folder)
        self._complete = True

    def _view_files(self) -> dict[str, bytes]:
        """The metadata that was verified in this run, by file name."""
        names = {f"{quote(role, '')}.json" for role in self._verified}
        return {name: data for name, data in self._files().items() if name in names}

    def view(self, documents: dict[str, SignedDocument]) -> AuthorityView:
        """The authority as accepted in this run, with the documents that were asked for."""
        return view_of(self._authority, self._files(), documents)

    def accepted(self) -> TrustedSet | None:
        """What the run accepted, or None when nothing may be kept of it."""
        if self._updater is None:
            return None
        floors = self._floors()
        try:
            self._check_keys()
            self._check_floors(floors)
        except RefusedError:
            return None
        merged = dict(self._before.floors)
        for name, version in floors.items():
            merged[name] = max(version, merged.get(name, 0))
        view, documents = self._before.view, self._before.documents
        if self._complete:
            view, documents = self._view_files(), self._documents
        moments = [self._at, *filter(None, [self._before.reference_time])]
        return TrustedSet(
            metadata=self._files(),
            view=view,
            documents={name: documents[name] for name in sorted(documents)},
            floors=merged,
            reference_time=max(moments),
        )

    def _running(self) -> Updater:
        if self._updater is None:
            raise RuntimeError("the session is not open")
        return self._updater

    def _files(self) -> dict[str, bytes]:
        found = {path.name: path.read_bytes() for path in sorted(self._folder.glob("*.json"))}
        for path in sorted((self._folder / "root_history").glob("*.json")):
            found[f"root_history/{path.name}"] = path.read_bytes()
        return found

    def _file_name(self, name: str, found: TargetFile) -> str:
        """Where a target lies: with its digest before its base name (TUF 6.2), path kept."""
        root = Metadata[Root].from_file(str(self._folder / "root.json")).signed
        if not root.consistent_snapshot:
            return quote(name)
        folder, slash, base = name.rpartition("/")
        return quote(f"{folder}{slash}{next(iter(found.hashes.values()))}.{base}")

    def _role_of(self, name: str) -> tuple[str, set[str]]:
        """Which role carries a target, and which were asked, walked as TUF 5.6.7 says.

        Raises:
            RefusedError: ``trust.limit``: the library stops silently after so many roles.
        """
        waiting, visited = [Targets.type], set[str]()
        while waiting:
            role = waiting.pop()
            if role in visited:
                continue
            path = self._folder / f"{quote(role, '')}.json"
            if len(visited) > MAX_DELEGATED_ROLES or not path.exists():
                raise RefusedError(
                    "More delegated roles would have to be asked than is allowed.",
                    reason=Reason.TRUST_LIMIT,
                    where=f"{self._authority}: {name}",
                    found=f"more than {MAX_DELEGATED_ROLES} roles",
                    expected=f"at most {MAX_DELEGATED_ROLES} roles",
                    remedy="Name fewer delegations for this path, or use hash bins.",
                )
            visited.add(role)
            targets = Metadata[Targets].from_file(str(path)).signed
            if name in targets.targets:
                return role, visited
            children = []
            if targets.delegations is not None:
                for child, terminating in targets.delegations.get_roles_for_target(name):
                    children.append(child)
                    if terminating:
                        waiting = []
                        break
            waiting.extend(reversed(children))
        return "", visited

    def _check_keys(self) -> None:
        """Count distinct keys, not key ids: one key under two ids must not meet a threshold."""
        for name, (publics, _) in key_sets(self._folder).items():
            if len(set(publics)) != len(publics):
                raise RefusedError(
                    "One key stands under two ids in one role.",
                    reason=Reason.TRUST_THRESHOLD,
                    where=f"{self._authority}: role {name}",
                    found=f"{len(publics)} ids, {len(set(publics))} keys",
                    expected="one id for each key",
                )

    def _floors(self) -> dict[str, int]:
        """The version of each role accepted in this run, under its name and its set of keys.

        A file that only lay in the store and was not verified in this run says nothing.
        """
        keys = key_sets(self._folder)
        found = {}
        files = self._files()
        for name, state in role_states(files).items():
            file_name = f"{quote(name, '')}.json"
            kept = self._before.metadata.get(file_name)
            if name not in self._verified and kept == files[file_name]:
                continue
            # New keys of the snapshot make what it lists start anew too: TUF 5.3.11.
            own, listing = keys.get(name, ([], 0)), keys.get("snapshot", ([], 0))
            epoch = sha256_hex(
                canonical_json([[sorted(publics), least] for publics, least in (own, listing)])
            )[:16]
            found["root" if name == "root" else f"{name}@{epoch}"] = state.version
        return found

    def _check_floors(self, floors: dict[str, int]) -> None:
        for name, version in floors.items():
            floor = self._before.floors.get(name, 0)
            if version < floor:
                raise RefusedError(
                    "An older repository is offered as the present one.",
                    reason=Reason.TRUST_ROLLBACK,
                    where=f"{self._authority}: {name.split('@')[0]}",
                    found=f"version {version}",
                    expected=f"version {floor} or later",
                    remedy="Check the mirror; the device keeps what it has.",
                )


def _wrong_size(name: str, found: str, expected: int) -> RefusedError:
    return RefusedError(
        "The file has another size than was signed.",
        reason=Reason.ARTIFACT_SIZE,
        where=name,
        found=found,
        expected=f"{expected} bytes",
        remedy="Publish again, or use another mirror; nothing was kept.",
    )


def _digests_agree(found: TargetFile, data: bytes) -> bool:
    digest = found.hashes.get("sha256")
    return digest is not None and digest == sha256_hex(data)
