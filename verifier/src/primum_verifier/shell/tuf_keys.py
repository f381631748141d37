"""Which keys count for which role, and who vouches for it, as trusted metadata says."""

from __future__ import annotations

from tuf.api.metadata import Delegations, Key, Root, Targets

from primum_verifier.core.document import canonical_json, sha256_hex
from primum_verifier.core.envelope import plain_public
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.tuf_delegations import TOP, is_bin_of
from primum_verifier.shell.tuf_scratch import Scratch

TOP_ROLES = ("root", "timestamp", "snapshot", TOP)

KeySet = tuple[list[str], int]
"""The public keys of a role, one for each key id, and its threshold."""


def public_of(key: Key) -> str:
    """The public part of a key in the one spelling in which keys are compared."""
    return plain_public(key.keytype, str(key.keyval.get("public")))


def key_sets(scratch: Scratch) -> dict[str, KeySet]:
    """The keys and threshold of each role, from the root and from whoever delegates."""
    root = scratch.root()
    found: dict[str, KeySet] = {
        name: ([public_of(root.keys[keyid]) for keyid in role.keyids], role.threshold)
        for name, role in root.roles.items()
    }
    for role, delegations in _delegating(scratch).items():
        publics = {keyid: public_of(key) for keyid, key in delegations.keys.items()}
        for name, delegated in (delegations.roles or {}).items():
            keys = [publics[keyid] for keyid in delegated.keyids]
            found.setdefault(name, (keys, delegated.threshold))
        bins = delegations.succinct_roles
        if bins is not None:
            keys = [publics[keyid] for keyid in bins.keyids]
            for name in scratch.roles():
                if bins.is_delegated_role(name) and (
                    role == TOP or is_bin_of(name, role, delegations)
                ):
                    found.setdefault(name, (keys, bins.threshold))
            found.setdefault(f"{role}-*", (keys, bins.threshold))
    return found


def _delegating(scratch: Scratch) -> dict[str, Delegations]:
    """The roles that delegate, the top role first: what it says of a name comes before others."""
    roles = sorted(scratch.roles(), key=lambda role: (role != TOP, role))
    found = {role: scratch.targets(role) for role in roles}
    return {
        role: targets.delegations
        for role, targets in found.items()
        if targets is not None and targets.delegations is not None
    }


def check_keys(authority: str, scratch: Scratch) -> None:
    """Count distinct keys, not key ids: one key under two ids must not meet a threshold.

    Raises:
        RefusedError: ``trust.threshold``.
    """
    for name, (publics, _) in key_sets(scratch).items():
        if len(set(publics)) != len(publics):
            raise RefusedError(
                "One key stands under two ids in one role.",
                reason=Reason.TRUST_THRESHOLD,
                where=f"{authority}: role {name}",
                found=f"{len(publics)} ids, {len(set(publics))} keys",
                expected="one id for each key",
                remedy="The publisher must list each key once.",
            )


def epoch_of(name: str, keys: dict[str, KeySet]) -> str:
    """A digest of the keys behind the version of a role: other keys begin a new count.

    New keys of the snapshot make what it lists start anew too (TUF 5.3.11).
    """
    own, listing = keys.get(name, ([], 0)), keys.get("snapshot", ([], 0))
    return sha256_hex(
        canonical_json([[sorted(publics), least] for publics, least in (own, listing)])
    )[:16]


def voucher_of(role: str, scratch: Scratch) -> Root | Targets | None:
    """Whose metadata says with which keys a role is signed; None when nobody's does."""
    if role in TOP_ROLES:
        return scratch.root()
    for parent, delegations in _delegating(scratch).items():
        names_it = role in (delegations.roles or {})
        bins = delegations.succinct_roles
        if parent == TOP and bins is not None:
            names_it = bins.is_delegated_role(role)
        if names_it or is_bin_of(role, parent, delegations):
            return scratch.targets(parent)
    return None
