"""Which keys count for which role, as a folder of trusted metadata says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Delegations, Metadata, Root, Targets

_NO_TARGETS = frozenset({"root.json", "timestamp.json", "snapshot.json"})

KeySet = tuple[list[str], int]
"""The public keys of a role, one for each key id, and its threshold."""


def key_sets(folder: Path) -> dict[str, KeySet]:
    """The keys and threshold of each role, from the root and from whoever delegates.

    Args:
        folder: trusted metadata under the names that ``tuf`` gives it.
    """
    found: dict[str, KeySet] = {}
    root = Metadata[Root].from_file(str(folder / "root.json")).signed
    for name, role in root.roles.items():
        publics = [str(root.keys[keyid].keyval.get("public")) for keyid in role.keyids]
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
        publics = [str(delegations.keys[keyid].keyval.get("public")) for keyid in role.keyids]
        yield name, (publics, role.threshold)
