"""Which keys count for which role, as a folder of trusted metadata says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Delegations, Key, Metadata, Root, Targets

from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason

_NO_TARGETS = frozenset({"root.json", "timestamp.json", "snapshot.json"})

KeySet = tuple[list[str], int]
"""The public keys of a role, one for each key id, and its threshold."""


def public_of(key: Key) -> str:
    """The public part of a key in the one spelling in which keys are compared."""
    public = str(key.keyval.get("public")).strip()
    return public.lower() if key.keytype == "ed25519" else public


def check_delegations(authority: str, files: Mapping[str, bytes]) -> None:
    """Only the top role delegates: otherwise a role could answer under another role's name.

    Args:
        authority: for the error.
        files: the verified metadata by file name.

    Raises:
        RefusedError: ``trust.metadata``.
    """
    for name, data in files.items():
        if name in _NO_TARGETS or name == "targets.json":
            continue
        delegations = Metadata[Targets].from_bytes(data).signed.delegations
        if delegations is not None:
            raise RefusedError(
                "A delegated role delegates further.",
                reason=Reason.TRUST_METADATA,
                where=f"{authority}: {name}",
                found="delegations",
                expected="targets only; the top role alone delegates",
                remedy="The publisher must take the delegation away.",
            )


def key_sets(folder: Path) -> dict[str, KeySet]:
    """The keys and threshold of each role, from the root and from whoever delegates.

    Args:
        folder: trusted metadata under the names that ``tuf`` gives it.
    """
    found: dict[str, KeySet] = {}
    root = Metadata[Root].from_file(str(folder / "root.json")).signed
    for name, role in root.roles.items():
        publics = [public_of(root.keys[keyid]) for keyid in role.keyids]
        found[name] = (publics, role.threshold)
    for path in sorted(folder.glob("*.json")):
        if path.name in _NO_TARGETS:
            continue
        try:
            delegations = Metadata[Targets].from_file(str(path)).signed.delegations
        except RepositoryError:
            # A damaged cache delegates to nobody; the client asks for it again.
            continue
        for name, keys in _delegated_keys(delegations):
            found.setdefault(name, keys)
    return found


def _delegated_keys(
    delegations: Delegations | None,
) -> Iterator[tuple[str, KeySet]]:
    if delegations is None or delegations.roles is None:
        return
    for name, role in delegations.roles.items():
        publics = [public_of(delegations.keys[keyid]) for keyid in role.keyids]
        yield name, (publics, role.threshold)
