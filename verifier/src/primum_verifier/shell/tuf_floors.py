"""Floors: below the highest version of a role ever accepted nothing is accepted again.

``tuf`` compares with the metadata that it finds in its cache, and forgets with it.  Floors stand
apart from the metadata.  They count for each role and set of keys, so that recovery from a
fast-forward attack, which takes new keys, stays possible (TUF 5.3.11).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.trust_store import highest
from primum_verifier.shell.tuf_keys import epoch_of, key_sets
from primum_verifier.shell.tuf_scratch import Scratch, file_of


@dataclass(frozen=True)
class BuiltIn:
    """What the software knows from the day it was built, for a device whose state was wiped.

    Attributes:
        floors: the floors of a trust store on that day; nothing older is accepted.
        at: that day; no clock is believed that says an earlier time.
    """

    floors: Mapping[str, int] = field(default_factory=dict)
    at: datetime | None = None

    def time(self, at: datetime) -> datetime:
        """The time to judge by when the clock says ``at``."""
        return at if self.at is None else max(at, self.at)

    def raised(self, floors: Mapping[str, int]) -> dict[str, int]:
        """The higher of both floors, for each role and set of keys."""
        return highest(self.floors, floors)


def accepted_versions(scratch: Scratch, *, verified: Collection[str]) -> dict[str, int]:
    """The version of each role accepted in this run, under its name and its set of keys.

    Args:
        scratch: the folder as the run left it.
        verified: the roles that were verified in this run; a file that only lay in the store
            says nothing.
    """
    keys = key_sets(scratch)
    found = {}
    for name in scratch.roles():
        metadata = scratch.metadata(name)
        only_lay_there = scratch.before.get(file_of(name)) == scratch.data(name)
        if metadata is None or (name not in verified and only_lay_there):
            continue
        key = "root" if name == "root" else f"{name}@{epoch_of(name, keys)}"
        found[key] = metadata.signed.version
    return found


def check_floors(authority: str, accepted: Mapping[str, int], floors: Mapping[str, int]) -> None:
    """Refuse what is below a floor.

    Raises:
        RefusedError: ``trust.rollback``.
    """
    for name, version in accepted.items():
        floor = floors.get(name, 0)
        if version < floor:
            raise RefusedError(
                "An older repository is offered as the present one.",
                reason=Reason.TRUST_ROLLBACK,
                where=f"{authority}: {name.split('@')[0]}",
                found=f"version {version}",
                expected=f"version {floor} or later",
                remedy="Check the mirror; the device keeps what it has.",
            )
