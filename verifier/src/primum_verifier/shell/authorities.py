"""All authorities together: refreshed or as stored, with the documents that a verdict needs.

Only this module fetches metadata.  What it hands out are views: everything later is judged over
the last accepted, stored view of each authority, and one that failed to refresh stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from primum_verifier.core.approval import POLICY_TARGET, ApprovalPolicy
from primum_verifier.core.device import PROVISIONING_TARGET, TrustMap
from primum_verifier.core.document import parse_document, sha256_hex
from primum_verifier.core.eligibility import (
    INDEX_TARGET,
    EligibilityIndex,
    approvals_target,
    statement_target,
)
from primum_verifier.core.errors import FailedError, PrimumError, RefusedError
from primum_verifier.core.manifest import manifest_target
from primum_verifier.core.notice import NOTICES_TARGET, SAFETY_ROLE
from primum_verifier.core.reasons import Reason
from primum_verifier.core.site import ACCEPTANCE_TARGET
from primum_verifier.core.view import (
    CLINICAL,
    ENGINEERING,
    SITE,
    AuthorityView,
    SignedDocument,
)
from primum_verifier.delta.delta_list import delta_list_target
from primum_verifier.keeping.kept_notices import vanished_notices
from primum_verifier.keeping.rollout import (
    ROLLOUT_TARGET,
    Assignment,
    RolloutPlan,
    assigned_release,
)
from primum_verifier.shell.fetching import Fetcher
from primum_verifier.shell.trust_store import TrustStore
from primum_verifier.shell.tuf_client import TufClient, TufSession
from primum_verifier.shell.tuf_views import stored_view
from primum_verifier.shell.ways import AuthorityAddress, Ways

_SAFETY = frozenset({SAFETY_ROLE})
_TIMESTAMP = "timestamp"


_OURS = ("resource.", "state.")
"""How the reasons begin that no server is to blame for: asking another one mends nothing."""


@dataclass(frozen=True)
class Refreshed:
    """Both views after a refresh, or as stored.

    Attributes:
        engineering: the newest accepted view, None when none ever was.
        clinical: likewise.
        site: the responsible organisation's, None where the trust map names none.
        problems: by authority, why its refresh ended early.
        assignment: what the signed rollout plan gives this device, None when nothing.
        plan_number: the number of that plan, 0 without one.
    """

    engineering: AuthorityView | None
    clinical: AuthorityView | None
    problems: Mapping[str, PrimumError]
    assignment: Assignment | None
    site: AuthorityView | None = None
    plan_number: int = 0


class Authorities:
    """The authorities of a trust map, over one fetcher and a trust store for each.

    Args:
        trust_map: pins both roots by digest.
        roots: the pinned root files, by authority.
        ways: where each authority may be read.
        fetcher: how bytes are got.
        stores: where what is accepted is kept, by authority.
        scratch: the folder for scratch folders; the system's temporary folder when None.

    Raises:
        RefusedError: ``trust.signature`` when a root file is not the one that the map pins.
    """

    def __init__(
        self,
        *,
        trust_map: TrustMap,
        roots: Mapping[str, bytes],
        ways: Ways,
        fetcher: Fetcher,
        stores: Mapping[str, TrustStore],
        scratch: Path | None = None,
    ) -> None:
        pinned = {
            ENGINEERING: trust_map.engineering_root.sha256,
            CLINICAL: trust_map.clinical_root.sha256,
        }
        if trust_map.site_root is not None:
            pinned[SITE] = trust_map.site_root.sha256
        for name, digest in pinned.items():
            if sha256_hex(roots[name]) != digest:
                raise RefusedError(
                    "The root is not the one that the trust map pins.",
                    reason=Reason.TRUST_SIGNATURE,
                    where=f"{name} root",
                    found=sha256_hex(roots[name]),
                    expected=digest,
                    remedy="Provision the device again from the manufacturer's files.",
                )
        self._component = trust_map.component
        self._allowance = timedelta(days=trust_map.offline_allowance_days)
        self._stores = stores
        self._ways = ways
        self._names = tuple(pinned)
        self._clients = partial(self._client, roots=roots, fetcher=fetcher, scratch=scratch)

    def _client(
        self,
        name: str,
        address: AuthorityAddress,
        *,
        roots: Mapping[str, bytes],
        fetcher: Fetcher,
        scratch: Path | None,
    ) -> TufClient:
        return TufClient(
            authority=name,
            bootstrap=roots[name],
            metadata_url=address.metadata_url,
            targets_url=address.targets_url,
            fetcher=fetcher,
            store=self._stores[name],
            scratch=scratch,
        )

    def refresh(
        self, *, now: datetime, device_id: str, held: Iterable[tuple[str, str]]
    ) -> Refreshed:
        """Run the TUF client for each authority and load the documents a verdict needs.

        One that fails leaves the others as they are; a site that is silent stops no refresh.

        Args:
            now: the one reference time of this run.
            device_id: the device that asks the rollout plan.
            held: component and version of the releases on the device, so that their manifests
                and statements are current too.
        """
        problems: dict[str, PrimumError] = {}
        held = tuple(held)

        def engineering(session: TufSession) -> None:
            self._load_engineering(session, device_id=device_id, now=now, held=held)

        def clinical(session: TufSession) -> None:
            unread = _load_clinical(session, releases=releases, before=stored.clinical, now=now)
            if unread is None:
                problems.pop(CLINICAL, None)
            else:
                problems[CLINICAL] = unread

        self._read(ENGINEERING, engineering, now=now, problems=problems)
        stored = self.stored(now=now, device_id=device_id)
        releases = _manifest_digests(stored.engineering)
        self._read(CLINICAL, clinical, now=now, problems=problems)
        if SITE in self._names:
            self._read(SITE, _load_site, now=now, problems=problems)
        return replace(self.stored(now=now, device_id=device_id), problems=problems)

    def _read(
        self,
        name: str,
        load: Callable[[TufSession], object],
        *,
        now: datetime,
        problems: dict[str, PrimumError],
    ) -> None:
        """Read one authority, each time as a whole, from the best way that leads to it.

        Where what was read has become old, a further way is asked for something newer: a server
        that goes on serving what it has is not told apart from one with nothing new.
        """
        passed: list[tuple[AuthorityAddress, PrimumError]] = []
        read: AuthorityAddress | None = None
        problem: PrimumError | None = None
        for address in self._ways.addresses(name):
            before = self._view(name)
            if read is not None and not self._ways.doubts(name, before):
                break
            try:
                with self._clients(name, address).session(
                    at=now, allowance=self._allowance
                ) as session:
                    session.refresh()
                    load(session)
                    session.complete()
            except PrimumError as error:
                if str(error.reason).startswith(_OURS):
                    problem = problem if read is not None else error
                    break
                passed.append((address, error))
                problem = problem if read is not None else error
                continue
            if read is not None and is_newer(self._view(name), before):
                passed.append((read, _stale(read)))
            elif read is not None:
                continue
            read, problem = address, None
        if read is not None:
            for address, why in passed:
                self._ways.failed(name, address, why)
            self._ways.worked(name, read)
        if problem is not None:
            problems[name] = problem

    def _view(self, name: str) -> AuthorityView | None:
        return stored_view(name, self._stores[name].load())

    def stored(self, *, now: datetime, device_id: str) -> Refreshed:
        """Both views as last accepted; nothing is asked of anybody."""
        views = {name: self._view(name) for name in self._names}
        engineering = views[ENGINEERING]
        plan = None if engineering is None else _plan_of(engineering)
        assignment = (
            None
            if plan is None
            else assigned_release(plan, component=self._component, device_id=device_id, now=now)
        )
        number = 0 if plan is None else plan.number
        return Refreshed(engineering, views[CLINICAL], {}, assignment, views.get(SITE), number)

    def _load_engineering(
        self,
        session: TufSession,
        *,
        device_id: str,
        now: datetime,
        held: tuple[tuple[str, str], ...],
    ) -> None:
        session.document(PROVISIONING_TARGET)
        wanted = list(held)
        assigned = None
        document = session.document(ROLLOUT_TARGET)
        if document is not None:
            plan = parse_document(RolloutPlan, document.data, where=ROLLOUT_TARGET)
            assigned = assigned_release(
                plan, component=self._component, device_id=device_id, now=now
            )
            if assigned is not None:
                wanted.append((assigned.component, assigned.version))
        for component, version in wanted:
            session.document(manifest_target(component, version))
        if assigned is not None:
            _load_deltas(session, delta_list_target(assigned.component, assigned.version))


def is_newer(view: AuthorityView | None, than: AuthorityView | None) -> bool:
    """Whether a view has a newer timestamp than another."""
    if view is None or than is None:
        return view is not None
    mine, other = view.roles.get(_TIMESTAMP), than.roles.get(_TIMESTAMP)
    return mine is not None and (other is None or mine.version > other.version)


def _load_deltas(session: TufSession, target: str) -> None:
    """Load what only saves bytes; a server that does not have it costs those bytes and no more."""
    with suppress(FailedError):
        session.document(target)


def _load_site(session: TufSession) -> None:
    session.document(ACCEPTANCE_TARGET)


def _stale(address: AuthorityAddress) -> FailedError:
    return FailedError(
        "This server goes on serving what others have replaced by something newer.",
        reason=Reason.TRUST_FROZEN,
        where=address.metadata_url,
        expected="the newest timestamp",
        remedy="Look why this mirror is not renewed; the device reads another one meanwhile.",
    )


def _load_clinical(
    session: TufSession,
    *,
    releases: frozenset[str],
    before: AuthorityView | None,
    now: datetime,
) -> PrimumError | None:
    """Load what a verdict needs; why the list could not be read, where it could not.

    A list for a newer agent must not keep the notices beside it from being obeyed.
    """
    session.document(PROVISIONING_TARGET)
    policy, notices = session.document(POLICY_TARGET), session.document(NOTICES_TARGET)
    _refuse_vanished(before, policy=policy, notices=notices, now=now)
    document = session.document(INDEX_TARGET)
    if document is None:
        return None
    # The list itself is kept even when one of its statements turns out to be missing.
    try:
        index = parse_document(EligibilityIndex, document.data, where=INDEX_TARGET)
    except PrimumError as error:
        return error
    for entry in index.listed:
        if entry.release.sha256 in releases:
            session.document(statement_target(entry.statement.sha256))
            session.document(approvals_target(entry.statement.sha256))
    return None


def _refuse_vanished(
    before: AuthorityView | None,
    *,
    policy: SignedDocument | None,
    notices: SignedDocument | None,
    now: datetime,
) -> None:
    """The near-line role may add to the notices; the device does not let it take one back."""
    kept = None if before is None else before.document(NOTICES_TARGET, roles=_SAFETY)
    if kept is None or policy is None:
        return
    offered = b"" if notices is None or notices.role not in _SAFETY else notices.data
    # Under a policy that cannot be read no notice has a signer: what was accepted before stays.
    people = parse_document(ApprovalPolicy, policy.data, where=POLICY_TARGET)
    gone = vanished_notices(kept, offered, policy=people, now=now)
    if gone:
        raise RefusedError(
            "A safety notice has vanished that nothing has answered.",
            reason=Reason.TRUST_ROLLBACK,
            where=NOTICES_TARGET,
            found=f"without {', '.join(gone[:5])}",
            expected="every notice that was ever published, but for holds that have ended",
            remedy="The publisher must put it back; only a new statement answers a notice.",
        )


def _manifest_digests(view: AuthorityView | None) -> frozenset[str]:
    if view is None:
        return frozenset()
    return frozenset(
        sha256_hex(document.data)
        for target, document in view.documents.items()
        if target.endswith("/manifest.json")
    )


def _plan_of(view: AuthorityView) -> RolloutPlan | None:
    data = view.document(ROLLOUT_TARGET, roles=frozenset({"rollout"}))
    if data is None:
        return None
    try:
        return parse_document(RolloutPlan, data, where=ROLLOUT_TARGET)
    except PrimumError:
        return None
