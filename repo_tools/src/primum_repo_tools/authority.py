"""An authority's beginning and its upkeep: keys, first signatures, fresh timestamps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from tuf.api.metadata import DelegatedRole, Delegations, Targets

from primum_repo_tools.authority_settings import DELEGATED_PATHS, TOP_ROLES
from primum_repo_tools.keys import (
    Secrets,
    create_key,
    key_file,
    public_path,
    read_public_key,
)
from primum_repo_tools.policy import first_policy
from primum_repo_tools.publishing import publish_roles
from primum_repo_tools.repository import AuthorityRepository
from primum_repo_tools.sites import first_acceptance
from primum_repo_tools.workbench import Workbench
from primum_verifier.core.approval import POLICY_TARGET
from primum_verifier.core.device import PROVISIONING_TARGET, ProvisioningKeys
from primum_verifier.core.eligibility import ELIGIBILITY_ROLE, INDEX_TARGET, EligibilityIndex
from primum_verifier.core.envelope import PublicKey
from primum_verifier.core.errors import UsageError
from primum_verifier.core.notice import NOTICES_TARGET, SAFETY_ROLE
from primum_verifier.core.reasons import Reason
from primum_verifier.core.site import ACCEPTANCE_TARGET


@dataclass(frozen=True)
class RoleKeys:
    """One role as it is about to be signed: whose keys, how many, how long."""

    role: str
    addresses: tuple[str, ...]
    threshold: int
    life_days: int


def planned_roles(workbench: Workbench) -> list[RoleKeys]:
    """Every role of the workbench as its settings say; what ``--dry-run`` shows."""
    return [
        RoleKeys(role, settings.keys, settings.threshold, settings.life_days)
        for role, settings in workbench.settings.roles.items()
    ]


def create_authority(
    workbench: Workbench,
    *,
    secrets: Secrets,
    provisioning: Sequence[PublicKey],
    now: datetime,
    timestamp_life: timedelta | None = None,
) -> dict[str, PublicKey]:
    """Make the missing keys, sign the first version of every role and publish it.

    Keys that an interrupted run made are used again; nothing published is ever signed anew.

    Args:
        workbench: whose authority; caller holds its lock.
        secrets: the passphrase of the new keys.
        provisioning: the public keys that may sign where a device stands.
        now: the moment of signing.
        timestamp_life: a life of the first timestamp other than the settings'.

    Returns:
        The public key at each address.

    Raises:
        UsageError: the authority exists, or there are fewer provisioning keys than must sign.
    """
    if workbench.is_created:
        raise UsageError(
            "This authority exists already.",
            reason=Reason.USAGE,
            where=str(workbench.folder),
            remedy=f"Renew its timestamp: primum-repo authority refresh {workbench.folder}",
        )
    _check_provisioning(workbench, provisioning)
    keys = {
        address: _ensured_key(workbench, address, secrets)
        for role in planned_roles(workbench)
        for address in role.addresses
    }
    repository = AuthorityRepository(
        workbench, now=now, secrets=secrets, timestamp_life=timestamp_life
    )
    repository.discard_all()
    _sign_root(workbench, repository, keys)
    delegated = list(DELEGATED_PATHS[workbench.authority])
    for role in delegated:
        with repository.edit_targets(role):
            pass
    if ELIGIBILITY_ROLE in delegated:
        # An empty list says "nothing is eligible"; a missing one says only "unknown".
        repository.put_target(ELIGIBILITY_ROLE, INDEX_TARGET, first_index(now=now).to_bytes())
    if SAFETY_ROLE in delegated:
        # An empty file says "no notice"; to devices a missing one says only "unknown".
        repository.put_target(SAFETY_ROLE, NOTICES_TARGET, b"")
    _sign_targets(workbench, repository, keys)
    _put_first_documents(workbench, repository, provisioning, now=now)
    publish_roles(workbench, repository, roles=["root", "targets", *delegated], now=now)
    workbench.record("authority.created", at=now, keys={a: k.key_id for a, k in keys.items()})
    return keys


def refresh_authority(
    workbench: Workbench, *, secrets: Secrets, now: datetime, timestamp_life: timedelta | None
) -> int:
    """Sign snapshot and timestamp anew with the online key; nothing else can change.

    Returns:
        The version of the new timestamp.
    """
    repository = AuthorityRepository(
        workbench, now=now, secrets=secrets, timestamp_life=timestamp_life
    )
    return publish_roles(workbench, repository, roles=[], now=now)


def _check_provisioning(workbench: Workbench, provisioning: Sequence[PublicKey]) -> None:
    settings = workbench.settings.provisioning
    if settings is None:
        if provisioning:
            raise UsageError(
                "A site says nothing about where devices stand.",
                reason=Reason.USAGE,
                where="--provisioning-key",
                remedy="Leave it out; provisioning keys are the manufacturer's.",
            )
        return
    threshold = settings.threshold
    distinct = {key.public for key in provisioning}
    if len(distinct) != len(provisioning) or len(distinct) < threshold:
        raise UsageError(
            "There are too few provisioning keys.",
            reason=Reason.USAGE,
            found=f"{len(distinct)} distinct keys",
            expected=f"at least {threshold}, as [provisioning] says, each named once",
            remedy="Make each with: primum-repo device key FOLDER; then name each .public.json: "
            f"primum-repo authority create {workbench.folder} --provisioning-key "
            "FOLDER/provisioning.public.json ...",
        )


def _ensured_key(workbench: Workbench, address: str, secrets: Secrets) -> PublicKey:
    path = key_file(address, base=workbench.folder)
    if path.exists():
        return read_public_key(public_path(path))
    return create_key(path, secrets=secrets)


def _sign_root(
    workbench: Workbench, repository: AuthorityRepository, keys: dict[str, PublicKey]
) -> None:
    with repository.edit_root() as root:
        for role in TOP_ROLES:
            settings = workbench.settings.roles[role]
            for address in settings.keys:
                root.add_key(keys[address].for_verifying(), role)
            root.roles[role].threshold = settings.threshold


def _sign_targets(
    workbench: Workbench, repository: AuthorityRepository, keys: dict[str, PublicKey]
) -> None:
    roles = {}
    for role, paths in DELEGATED_PATHS[workbench.authority].items():
        settings = workbench.settings.roles[role]
        roles[role] = DelegatedRole(
            role, [], settings.threshold, terminating=True, paths=list(paths)
        )
    with repository.edit_targets(Targets.type) as targets:
        if not roles:
            return
        targets.delegations = Delegations({}, roles)
        for role in roles:
            for address in workbench.settings.roles[role].keys:
                targets.add_key(keys[address].for_verifying(), role)


def _put_first_documents(
    workbench: Workbench,
    repository: AuthorityRepository,
    provisioning: Sequence[PublicKey],
    *,
    now: datetime,
) -> None:
    settings = workbench.settings
    if settings.provisioning is not None:
        listed = ProvisioningKeys(
            type="urn:primum:provisioning-keys:v0.1",
            schema_version="0.1",
            id=uuid4().urn,
            number=1,
            issued_at=now,
            threshold=settings.provisioning.threshold,
            keys=tuple(provisioning),
        )
        repository.put_target(Targets.type, PROVISIONING_TARGET, listed.to_bytes())
    if settings.policy is not None:
        policy = first_policy(settings.policy, now=now)
        repository.put_target(Targets.type, POLICY_TARGET, policy.to_bytes())
    if settings.site is not None:
        acceptance = first_acceptance(settings.site, now=now)
        repository.put_target(Targets.type, ACCEPTANCE_TARGET, acceptance.to_bytes())


def first_index(*, now: datetime) -> EligibilityIndex:
    """The eligibility index before anything was approved."""
    return EligibilityIndex(
        type="urn:primum:eligibility-index:v0.1",
        schema_version="0.1",
        id=uuid4().urn,
        number=1,
        issued_at=now,
        entries=(),
    )
