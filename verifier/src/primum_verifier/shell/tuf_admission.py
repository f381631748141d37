"""What ``tuf`` has let in, judged by the rules that it does not have.

In this order: nothing that may never be late has expired, no version was replaced by another
content of the same number, roles delegate as they may, every key counts once, and no version lies
below its floor.  ``tuf`` goes on trusting what is refused here, so a refusal ends the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tuf.api.metadata import Targets

from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.tuf_delegations import check_delegations
from primum_verifier.shell.tuf_equivocation import Equivocation, replaced
from primum_verifier.shell.tuf_floors import accepted_versions, check_floors
from primum_verifier.shell.tuf_keys import check_keys
from primum_verifier.shell.tuf_scratch import Scratch, file_of


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


class Admission:
    """The roles that were verified in one run, and what was found wrong with them.

    Args:
        authority: the name for errors.
        scratch: the folder that ``tuf`` works in.
        moment: the time judged by.
        floors: the lowest versions that are accepted.

    Attributes:
        verified: the roles that ``tuf`` verified in this run and that were not refused here.
        found: versions with two contents, by the name of their proof.
    """

    def __init__(
        self, authority: str, *, scratch: Scratch, moment: Moment, floors: dict[str, int]
    ) -> None:
        self.verified: set[str] = set()
        self.found: dict[str, Equivocation] = {}
        self._authority = authority
        self._scratch = scratch
        self._moment = moment
        self._floors = floors
        self._ended: RefusedError | None = None

    def check_goes_on(self) -> None:
        """Give a refusal again to whoever swallowed it.

        Raises:
            RefusedError: what ended the run.
        """
        if self._ended is not None:
            raise self._ended

    def note(self, found: Equivocation | None) -> None:
        """Remember a version with two contents."""
        if found is not None:
            self.found.setdefault(found.name, found)

    def admit(self, roles: set[str]) -> None:
        """Judge roles that ``tuf`` verified just now.

        Raises:
            RefusedError: it ended the run.
        """
        try:
            self._judge(roles)
        except RefusedError as error:
            self._ended = error
            raise

    def drop_expired(self) -> None:
        """Undo what ``tuf`` accepted only because it ran at an earlier time.

        Under an expired root nothing else of the run counts (TUF 5.3.10).
        """
        under_expired_root = self._is_too_late("root")
        for role in self._scratch.roles():
            if role != "root" and (under_expired_root or self._is_too_late(role)):
                self._put_back(role)

    def versions(self) -> dict[str, int]:
        """What was accepted, each version under its role and set of keys.

        Raises:
            RefusedError: ``trust.threshold`` or ``trust.rollback``: nothing of it may be kept.
        """
        check_keys(self._authority, self._scratch)
        versions = accepted_versions(self._scratch, verified=self.verified)
        check_floors(self._authority, versions, self._floors)
        return versions

    def view_files(self) -> dict[str, bytes]:
        """The metadata that was verified in this run, by file name."""
        names = {file_of(role) for role in self.verified}
        return {name: data for name, data in self._scratch.files().items() if name in names}

    def _judge(self, roles: set[str]) -> None:
        if roles <= self.verified:
            return
        new = roles - self.verified
        self.verified |= roles
        self._refuse_expired(new)
        # Not the root: the pinned one is provisioning's word, and no other is ever asked for twice.
        for role in sorted(new - {"root"}):
            self.note(replaced(self._scratch, role))
        ending = [found for found in self.found.values() if found.ends_run]
        for found in ending:
            self._put_back(found.role)
        if ending:
            raise ending[0].error(self._authority)
        check_delegations(self._authority, self._listing())
        self.versions()

    def _refuse_expired(self, roles: set[str]) -> None:
        """Judge what may never be late: with an allowance ``tuf`` ran at an earlier time."""
        for role in sorted(roles, key=lambda name: name != "root"):
            metadata = self._scratch.metadata(role)
            if metadata is not None and self._is_too_late(role):
                self.drop_expired()
                raise RefusedError(
                    "The metadata has expired, and no allowance covers this role.",
                    reason=Reason.TRUST_EXPIRED,
                    where=f"{self._authority}: {role}",
                    found=metadata.signed.expires.astimezone(UTC).isoformat(),
                    expected=f"later than {self._moment.at.astimezone(UTC).isoformat()}",
                    remedy="Bring a newer copy of the repository to the device.",
                )

    def _is_too_late(self, role: str) -> bool:
        metadata = self._scratch.metadata(role)
        return (
            role not in {"timestamp", "snapshot"}
            and metadata is not None
            and metadata.signed.is_expired(self._moment.at)
        )

    def _put_back(self, role: str) -> None:
        self._scratch.put_back(role)
        self.verified.discard(role)

    def _listing(self) -> dict[str, Targets]:
        """The verified roles that list targets."""
        found = {role: self._scratch.targets(role) for role in sorted(self.verified)}
        return {role: targets for role, targets in found.items() if targets is not None}
