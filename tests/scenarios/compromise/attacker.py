"""Who holds stolen keys and every mirror: he publishes whatever his keys can sign, and no more.

He works on a copy of the honest world.  What he touches he signs with the keys that he stole, or
with keys of his own where what he stole lets him name them; everything else stays as it was
honestly signed.  In the end he serves the result, or any older file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from securesystemslib.signer import CryptoSigner
from tests.scenarios.compromise.world import (
    PATHS,
    PEOPLE,
    ROLES,
    TOP,
    Authority,
    TwoAuthorities,
    key,
)

from primum_verifier.core.envelope import public_key_of


class Manner(StrEnum):
    """How he goes about a role of which he holds too few keys."""

    CLEVER = "leaves it as it is"
    BOLD = "signs it with what he has"


@dataclass
class Attacker:
    """One attack: the honest world's copy, the stolen keys, and what was touched.

    Attributes:
        world: his own copy of the world.
        stolen: the names of the stolen keys.
        at: when he signs.
        manner: what he does where his keys are too few.
        signed: whether any stolen key signed anything that he serves.
    """

    world: TwoAuthorities
    stolen: frozenset[str]
    at: datetime
    manner: Manner = Manner.CLEVER
    signed: bool = False
    years: int = 100
    touched: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.honest = self.world
        self.world = self.world.fork()
        self._named: set[tuple[str, str]] = set()
        for name, authority in self.world.authorities.items():
            authority.at = self.at
            for role in authority.spec:
                authority.signers[role] = self.keys(f"{name}.{role}.")
            self._take_over(name, authority)

    def again(self, at: datetime) -> Attacker:
        """The same attacker at another moment, before he has done anything."""
        return Attacker(self.honest, self.stolen, at, self.manner)

    def keys(self, prefix: str) -> list[CryptoSigner]:
        """The stolen keys whose names begin so."""
        return [key(label) for label in sorted(self.stolen) if label.startswith(prefix)]

    def people(self) -> list[str]:
        """The functions whose approvals he can sign."""
        return [person for person in PEOPLE if f"person.{person}" in self.stolen]

    def holds(self, name: str, role: str) -> bool:
        """Whether he signs for a role: with enough keys, or boldly with too few."""
        authority = self.world.authorities.get(name)
        if authority is None:
            return False
        count = len(authority.signers[role])
        needed = 1 if self.manner is Manner.BOLD else self.threshold(name, role)
        return count >= needed

    def threshold(self, name: str, role: str) -> int:
        """How many keys must sign as things stand after he named his own."""
        return 1 if (name, role) in self._named else ROLES[name][role][1]

    def _take_over(self, name: str, authority: Authority) -> None:
        """A root lets him name himself for everything, the top role for what it delegates."""
        if self.holds(name, "root"):
            old = list(authority.signers["root"])
            for role in TOP:
                authority.set_keys(role, [key(f"thief.{name}.{role}")], threshold=1)
            authority.root.expires = self.forever
            authority.publish_root([*old, *authority.signers["root"]])
            self.signed = True
            self._named |= {(name, role) for role in TOP}
        if self.holds(name, "targets"):
            for role in authority.spec.keys() - set(TOP):
                authority.hand_over(role, [key(f"thief.{name}.{role}")], threshold=1)
                self._named.add((name, role))
            self.touched.add((name, "targets"))
            # New keys for what it delegates: all of that is signed anew.
            self.touched |= {(name, role) for role in authority.spec.keys() & set(PATHS)}

    @property
    def forever(self) -> datetime:
        """An end that no signature of the honest would have."""
        return self.at.replace(year=self.at.year + self.years)

    def put(self, name: str, target: str, data: bytes, *, role: str = "targets") -> None:
        """List a document, if the role is his."""
        if self.holds(name, role):
            self.world.authorities[name].add(target, data, role=role)
            self.touched.add((name, role))

    def renew(self, names: Iterable[str]) -> None:
        """Sign again, for as long as he likes, whatever these authorities' roles of his list."""
        for name in names:
            for role in ROLES[name]:
                if role not in {"root", "snapshot", "timestamp"} and self.holds(name, role):
                    self.touched.add((name, role))

    def serve(self, *, versions: int = 0) -> dict[str, bytes] | None:
        """Publish what was touched, as far as his keys go.

        Args:
            versions: the version that everything of his gets at least.

        Returns:
            The web as he serves it; None when none of his keys could sign any of it.
        """
        for name, authority in self.world.authorities.items():
            listing = [role for other, role in self.touched if other == name]
            for role in sorted(listing, key=lambda item: item != "targets"):
                self._publish(authority, role, versions)
            if self.holds(name, "snapshot"):
                self._date(authority, "snapshot", versions)
                authority.publish_snapshot()
                self.signed = True
            if self.holds(name, "timestamp"):
                self._date(authority, "timestamp", versions)
                authority.publish_timestamp()
                self.signed = True
        return self.world.files if self.signed else None

    def _publish(self, authority: Authority, role: str, versions: int) -> None:
        if self.holds(authority.name, role):
            self._date(authority, role, versions)
            authority.publish_listing(role)
            self.signed = True

    def _date(self, authority: Authority, role: str, versions: int) -> None:
        part: Any = authority.part(role)
        part.version = max(part.version, versions)
        part.expires = self.forever

    def name_people(self) -> None:
        """His own people in the approval policy, one for each function."""
        policy = self.world.first.policy
        for person in policy["people"]:
            function = person["function"]
            thief = key(f"thief.person.{function}")
            person["key"] = public_key_of(thief.public_key).model_dump(mode="json", by_alias=True)
        for release in self.world.releases.values():
            release.people = {person: key(f"thief.person.{person}") for person in PEOPLE}
