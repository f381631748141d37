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
from pathlib import Path

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import TargetFile
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
from primum_verifier.core.view import SignedDocument
from primum_verifier.shell.fetching import Fetcher
from primum_verifier.shell.trust_store import TrustedSet, highest
from primum_verifier.shell.tuf_admission import Admission, Moment
from primum_verifier.shell.tuf_delegations import bounded, walk
from primum_verifier.shell.tuf_equivocation import (
    Equivocation,
    announced_otherwise,
    second_timestamp,
    with_proofs,
)
from primum_verifier.shell.tuf_fetching import StrictMetadataFetcher
from primum_verifier.shell.tuf_floors import BuiltIn
from primum_verifier.shell.tuf_keys import TOP_ROLES, voucher_of
from primum_verifier.shell.tuf_scratch import Scratch
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
        self._updater: Updater | None = None
        self._documents: dict[str, bytes] = {}
        self._complete = False
        self._admission = Admission(
            repository.authority,
            scratch=self._scratch,
            moment=self._moment,
            floors=repository.built_in.raised(before.floors),
        )

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
        return tuple(self._admission.found.values())

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
            self._admission.note(second_timestamp(self._scratch, self._fetcher.timestamp))
        self._admission.admit(set(TOP_ROLES))
        self._admission.note(
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
        self._admission.drop_expired()
        proofs = with_proofs(self._before.proofs, self._admission.found.values())
        try:
            versions = self._admission.versions()
        except RefusedError:
            return self._before.with_proofs(proofs) if self._admission.found else None
        view, documents = self._before.view, self._before.documents
        if self._complete:
            view, documents = self._admission.view_files(), self._documents
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
        self._admission.check_goes_on()
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
        self._admission.admit(asked)
        if found is None:
            return None, ""
        check_strength(found, where=where)
        return found, carrier

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
