"""All authorities together: refreshed or as stored, with the documents that a verdict needs.

Only this module fetches metadata.  What it hands out are views: everything later is judged over
the last accepted, stored view of each authority, and one that failed to refresh stays as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
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
from primum_verifier.core.errors import PrimumError, RefusedError
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

_SAFETY = frozenset({SAFETY_ROLE})


@dataclass(frozen=True)
class AuthorityAddress:
    """Where one authority's plain files lie; each address ends with a slash."""

    metadata_url: str
    targets_url: str
    artifacts_url: str = ""


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
        addresses: where each authority lies.
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
        addresses: Mapping[str, AuthorityAddress],
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
        self._clients = {
            name: TufClient(
                authority=name,
                bootstrap=roots[name],
                metadata_url=addresses[name].metadata_url,
                targets_url=addresses[name].targets_url,
                fetcher=fetcher,
                store=stores[name],
                scratch=scratch,
            )
            for name in pinned
        }

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
        try:
            with self._clients[ENGINEERING].session(at=now, allowance=self._allowance) as session:
                session.refresh()
                self._load_engineering(session, device_id=device_id, now=now, held=held)
                session.complete()
        except PrimumError as error:
            problems[ENGINEERING] = error
        stored = self.stored(now=now, device_id=device_id)
        releases = _manifest_digests(stored.engineering)
        try:
            with self._clients[CLINICAL].session(at=now, allowance=self._allowance) as session:
                session.refresh()
                unread = _load_clinical(session, releases=releases, before=stored.clinical, now=now)
                session.complete()
            if unread is not None:
                problems[CLINICAL] = unread
        except PrimumError as error:
            problems[CLINICAL] = error
        if SITE in self._clients:
            try:
                with self._clients[SITE].session(at=now, allowance=self._allowance) as session:
                    session.refresh()
                    session.document(ACCEPTANCE_TARGET)
                    session.complete()
            except PrimumError as error:
                problems[SITE] = error
        return replace(self.stored(now=now, device_id=device_id), problems=problems)

    def stored(self, *, now: datetime, device_id: str) -> Refreshed:
        """Both views as last accepted; nothing is asked of anybody."""
        views = {name: stored_view(name, self._stores[name].load()) for name in self._clients}
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
