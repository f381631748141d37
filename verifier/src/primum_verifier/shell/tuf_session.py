"""One run of the TUF client over a scratch folder, at one fixed time.

In this order (TUF 5):

1. The scratch folder is filled from the trust store.
2. ``tuf``'s updater runs over it, with the pinned root, our fetcher and our reference time.
3. Whatever it accepted is read back, also after a failure: what was accepted before counts.
4. The floors are compared: nothing below the highest version ever accepted is kept.

What ``tuf`` leaves open is closed here or in the modules that this one names: metadata with
duplicate members, one key listed under two ids, weak digests, "not found" where the truth is
"limit reached", roles that delegate under foreign names, versions signed twice, and signed
metadata that this build cannot read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import TargetFile, Targets
from tuf.ngclient.config import UpdaterConfig
from tuf.ngclient.updater import Updater

from primum_verifier.core.errors import RefusedError
from primum_verifier.core.limits import (
    MAX_DELEGATED_ROLES,
    MAX_DOCUMENT_BYTES,
    MAX_ROOT_BYTES,
    MAX_ROOT_ROTATIONS,
    MAX_SNAPSHOT_BYTES,
    MAX_TARGETS_BYTES,
    MAX_TIMESTAMP_BYTES,
)
from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import SignedDocument
from primum_verifier.shell.fetching import Fetcher
from primum_verifier.shell.trust_store import TrustedSet, highest
from primum_verifier.shell.tuf_delegations import bounded, check_delegations, walk
from primum_verifier.shell.tuf_equivocation import (
    Equivocation,
    announced_otherwise,
    replaced,
    second_timestamp,
    with_proofs,
)
from primum_verifier.shell.tuf_fetching import StrictMetadataFetcher
from primum_verifier.shell.tuf_floors import BuiltIn, accepted_versions, check_floors
from primum_verifier.shell.tuf_keys import TOP_ROLES, check_keys, voucher_of
from primum_verifier.shell.tuf_scratch import Scratch, file_of
from primum_verifier.shell.tuf_targets import (
    check_strength,
    is_same,
    is_whole,
    path_of,
    verified,
    wrong_size,
)
from primum_verifier.shell.tuf_unreadable import unreadable
from primum_verifier.shell.tuf_views import check_issue_time

_CONFIG = UpdaterConfig(
    max_root_rotations=MAX_ROOT_ROTATIONS,
    max_delegations=MAX_DELEGATED_ROLES,
    root_max_length=MAX_ROOT_BYTES,
    timestamp_max_length=MAX_TIMESTAMP_BYTES,
    snapshot_max_length=MAX_SNAPSHOT_BYTES,
    targets_max_length=MAX_TARGETS_BYTES,
)


@dataclass(frozen=True, kw_only=True)
class Repository:
    """One authority's repository, as a device knows it.

    Attributes:
        authority: the name for errors and views.
        bootstrap: the exact bytes of the root the device was provisioned with.
        metadata_url: where the metadata lies; ends with a slash.
        targets_url: where the targets lie; ends with a slash.
        fetcher: how bytes are got.
        built_in: what the software knows from the day it was built.
    """

    authority: str
    bootstrap: bytes
    metadata_url: str
    targets_url: str
    fetcher: Fetcher
    built_in: BuiltIn = field(default_factory=BuiltIn)


@dataclass(frozen=True, kw_only=True)
class Moment:
    """The time that a run judges by.

    Attributes:
        at: the one reference time of the run (TUF 5.1).
        allowance: how long timestamp and snapshot may have expired, for a device that was
            provisioned as offline. Root, targets and delegated roles never may.
    """

    at: datetime
    allowance: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        if self.allowance < timedelta(0):
            raise RuntimeError("an allowance is never negative")

    @property
    def lenient(self) -> datetime:
        """The time that timestamp and snapshot are judged at."""
        try:
            return self.at - self.allowance
        except OverflowError:
            return datetime.min.replace(tzinfo=UTC)


class TufSession:
    """One run of the client. Made by :meth:`TufClient.session` only.

    Args:
        repository: what is asked.
        before: what the trust store held.
        folder: the scratch folder, empty.
        moment: the time judged by.
    """

    def __init__(
        self, repository: Repository, *, before: TrustedSet, folder: Path, moment: Moment
    ) -> None:
        self._repository = repository
        self._authority = repository.authority
        self._before = before
        self._scratch = Scratch(folder, before.metadata)
        self._moment = Moment(at=repository.built_in.time(moment.at), allowance=moment.allowance)
        self._fetcher = StrictMetadataFetcher(
            repository.fetcher, metadata_url=repository.metadata_url
        )
        self._lowest = repository.built_in.raised(before.floors)
        self._updater: Updater | None = None
        self._documents: dict[str, bytes] = {}
        self._complete = False
        self._verified: set[str] = set()
        self._found: dict[str, Equivocation] = {}
        self._ended: RefusedError | None = None

    def open(self) -> None:
        """Fill the scratch folder and start the updater over it, with our time."""
        self._scratch.fill()
        self._updater = Updater(
            metadata_dir=str(self._scratch.folder),
            metadata_base_url=self._repository.metadata_url,
            target_base_url=self._repository.targets_url,
            fetcher=self._fetcher,
            config=_CONFIG,
            bootstrap=self._repository.bootstrap,
        )
        # The one private name in use: the library offers no other way to hand in a time.
        self._updater._trusted_set.reference_time = self._moment.lenient  # noqa: SLF001

    @property
    def equivocations(self) -> tuple[Equivocation, ...]:
        """The versions with two contents that this run met; each is worth an alarm."""
        return tuple(self._found.values())

    def refresh(self) -> None:
        """Update the top-level roles (TUF 5.3 to 5.6).

        Raises:
            PrimumError: see :meth:`TufClient.session`.
        """
        updater = self._running()
        try:
            updater.refresh()
        except RepositoryError as error:
            self._scratch.changed()
            self._refuse_unreadable(error)
            raise
        finally:
            self._scratch.changed()
            self._note(second_timestamp(self._scratch, self._fetcher.timestamp))
        self._admit(set(TOP_ROLES))
        self._note(
            announced_otherwise(
                self._scratch, self._fetcher, metadata_url=self._repository.metadata_url
            )
        )

    def target(self, name: str) -> TargetFile | None:
        """What is signed about a target, or None when no trusted role signs it (TUF 5.6.7).

        Raises:
            RefusedError: ``trust.limit`` when more delegated roles would have to be asked than
                is allowed; ``trust.metadata`` when only weak digests are signed, or when a role
                delegates as no role may; ``trust.equivocation``.
        """
        return self._look_up(name)[0]

    def document(self, name: str) -> SignedDocument | None:
        """A small signed document, from what was kept before or from the server; None: not signed.

        Raises:
            RefusedError: ``artifact.size`` or ``artifact.digest`` when the bytes are not those
                that were signed.
        """
        found, carrier = self._look_up(name)
        if found is None:
            return None
        data = self._before.documents.get(name)
        if data is None or not is_same(data, found):
            if found.length > MAX_DOCUMENT_BYTES:
                raise wrong_size(name, f"{found.length} bytes signed", MAX_DOCUMENT_BYTES)
            data = b"".join(self.stream(name, found))
        self._documents[name] = data
        return SignedDocument(data=data, role=carrier)

    def stream(self, name: str, found: TargetFile) -> Iterator[bytes]:
        """The bytes of a target, hashed as they pass; an error at the end means: use none of them.

        Raises:
            RefusedError: ``artifact.size`` or ``artifact.digest``.
            FailedError: ``transport.*``.
        """
        consistent = bool(self._scratch.root().consistent_snapshot)
        url = self._repository.targets_url + path_of(name, found, consistent_snapshot=consistent)
        pieces = self._repository.fetcher.fetch(url, max_bytes=found.length + 1)
        yield from verified(pieces, found, where=url)

    @staticmethod
    def is_whole(path: Path, found: TargetFile) -> bool:
        """Whether a file is the target already, by length and every strong digest."""
        return is_whole(path, found)

    def complete(self) -> None:
        """Say that all that was wanted has arrived: from now on it is what is judged by.

        Raises:
            RefusedError: ``trust.metadata`` when the issue time is no time that the timestamp
                vouches for; or what ended the run before.
        """
        self._running()
        check_issue_time(self._authority, self._scratch.folder)
        self._complete = True

    def accepted(self) -> TrustedSet | None:
        """What the run leaves to keep, or None when it leaves nothing.

        A run that broke a rule of keys or floors leaves what was there before, and the proofs.
        """
        if self._updater is None:
            return None
        self._scratch.changed()
        proofs = with_proofs(self._before.proofs, self._found.values())
        try:
            check_keys(self._authority, self._scratch)
            versions = accepted_versions(self._scratch, verified=self._verified)
            check_floors(self._authority, versions, self._lowest)
        except RefusedError:
            return self._before.with_proofs(proofs) if self._found else None
        view, documents = self._before.view, self._before.documents
        if self._complete:
            view, documents = self._view_files(), self._documents
        moments = [self._moment.at, *filter(None, [self._before.reference_time])]
        return TrustedSet(
            metadata=self._scratch.files(),
            view=view,
            documents={name: documents[name] for name in sorted(documents)},
            floors=highest(self._before.floors, versions),
            reference_time=max(moments),
            proofs=proofs,
        )

    def _running(self) -> Updater:
        if self._updater is None:
            raise RuntimeError("the session is not open")
        if self._ended is not None:
            raise self._ended
        return self._updater

    def _look_up(self, name: str) -> tuple[TargetFile | None, str]:
        """What is signed about a target, and the role that counts as saying it."""
        where = f"{self._authority}: {name}"
        try:
            found = self._running().get_targetinfo(name)
        except RepositoryError as error:
            self._scratch.changed()
            self._refuse_unreadable(error)
            raise
        finally:
            self._scratch.changed()
        asked, carrier = set[str](), ""
        for visit in bounded(walk(name, self._scratch.targets), where=where):
            asked.add(visit.role)
            if visit.targets is not None and name in visit.targets.targets:
                carrier = visit.carrier
                break
        self._admit(asked)
        if found is None:
            return None, ""
        check_strength(found, where=where)
        return found, carrier

    def _admit(self, roles: set[str]) -> None:
        """Judge what ``tuf`` has let in by the rules that it does not have.

        ``tuf`` goes on trusting what is refused here, so a refusal ends the run: whoever asks on
        is given the same refusal again.
        """
        try:
            self._judge(roles)
        except RefusedError as error:
            self._ended = error
            raise

    def _judge(self, roles: set[str]) -> None:
        if roles <= self._verified:
            return
        new = roles - self._verified
        self._verified |= roles
        self._refuse_expired(new)
        # Not the root: the pinned one is provisioning's word, and no other is ever asked for twice.
        for role in sorted(new - {"root"}):
            self._note(replaced(self._scratch, role))
        ending = [found for found in self._found.values() if found.ends_run]
        for found in ending:
            self._put_back(found.role)
        if ending:
            raise ending[0].error(self._authority)
        check_keys(self._authority, self._scratch)
        check_delegations(self._authority, self._listing())
        versions = accepted_versions(self._scratch, verified=self._verified)
        check_floors(self._authority, versions, self._lowest)

    def _refuse_expired(self, roles: set[str]) -> None:
        """With an allowance ``tuf`` ran at an earlier time: what may never be late is judged here.

        Under an expired root nothing else of this run counts (TUF 5.3.10).
        """
        for role in sorted(roles - {"timestamp", "snapshot"}, key=lambda name: name != "root"):
            metadata = self._scratch.metadata(role)
            if metadata is None or not metadata.signed.is_expired(self._moment.at):
                continue
            undone = self._scratch.roles() if role == "root" else [role]
            for name in undone:
                if name != "root":
                    self._put_back(name)
            raise RefusedError(
                "The metadata has expired, and no allowance covers this role.",
                reason=Reason.TRUST_EXPIRED,
                where=f"{self._authority}: {role}",
                found=metadata.signed.expires.astimezone(UTC).isoformat(),
                expected=f"later than {self._moment.at.astimezone(UTC).isoformat()}",
                remedy="Bring a newer copy of the repository to the device.",
            )

    def _refuse_unreadable(self, error: RepositoryError) -> None:
        """Tell what a newer agent could read apart from noise; return when it is noise."""
        role = self._fetcher.last_role()
        voucher = voucher_of(role, self._scratch)
        if voucher is not None:
            found = unreadable(
                self._fetcher.last[1], role=role, voucher=voucher, authority=self._authority
            )
            if found is not None:
                raise found from error

    def _put_back(self, role: str) -> None:
        self._scratch.put_back(role)
        self._verified.discard(role)

    def _note(self, found: Equivocation | None) -> None:
        if found is not None:
            self._found.setdefault(found.name, found)

    def _listing(self) -> dict[str, Targets]:
        """The verified roles that list targets."""
        found = {role: self._scratch.targets(role) for role in sorted(self._verified)}
        return {role: targets for role, targets in found.items() if targets is not None}

    def _view_files(self) -> dict[str, bytes]:
        """The metadata that was verified in this run, by file name."""
        names = {file_of(role) for role in self._verified}
        return {name: data for name, data in self._scratch.files().items() if name in names}
