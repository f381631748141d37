"""The time in shadow that a statement asks for before a release serves anybody on this device.

It is over by hours in which it ran and by comparisons, both as they are counted on the disk; what
the share of flips is then decides.  While it is not over nothing is concluded from a share: a
first flip among ten comparisons says little.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from primum_agent.device import Device
from primum_agent.device_state import Shadow
from primum_agent.gate_rules import ShadowPeriod
from primum_agent.shadow_counts import Stretch
from primum_agent.shadow_kept import counts_of
from primum_verifier.core.eligibility import ShadowFirst
from primum_verifier.core.question import Verdict

_HOUR = 3600.0


class Period(StrEnum):
    """What a time in shadow came to."""

    OPEN = "open"
    CLEAN = "clean"
    NOT_CLEAN = "not clean"


@dataclass(frozen=True)
class Passed:
    """How much of it there is.

    Attributes:
        hours: in which it ran.
        comparisons: how many there were.
        flips: how many of them did not end in agreement.
    """

    hours: float = 0.0
    comparisons: int = 0
    flips: int = 0

    @classmethod
    def of(cls, whole: Stretch) -> Passed:
        """What was counted since it began."""
        tally = whole.tally
        return cls(whole.seconds / _HOUR, tally.comparisons, tally.flips)

    def judged_by(self, first: ShadowFirst) -> Period:
        """What it comes to by the terms of the statement; the comparison of shares is exact."""
        if self.hours < first.min_hours or self.comparisons < first.min_comparisons:
            return Period.OPEN
        share = Fraction(self.flips, self.comparisons)
        return Period.CLEAN if share <= Fraction(first.max_flip_share) else Period.NOT_CLEAN

    def told(self) -> str:
        """The same in words."""
        return f"{self.hours:.1f} hours, {self.comparisons} comparisons, {self.flips} flips"


def first_of(verdict: Verdict) -> ShadowFirst | None:
    """The time in shadow that the statement asks for; None where it asks for none."""
    return None if verdict.statement is None else verdict.statement.predicate.use.shadow_first


def passed_of(device: Device, shadow: Shadow | None) -> Passed:
    """What the counters on the disk say of the release that runs in shadow."""
    counts = None if shadow is None else counts_of(device, shadow)
    return Passed() if counts is None else Passed.of(counts.whole)


def period_of(device: Device, verdict: Verdict) -> ShadowPeriod | None:
    """What the gate reads; None where the statement asks for no time in shadow."""
    first = first_of(verdict)
    if first is None:
        return None
    asked = (
        f"{first.min_hours} hours and {first.min_comparisons} comparisons in shadow, "
        f"at most {first.max_flip_share} of them flips"
    )
    state = device.journal.state()
    if state.shadowed.get(verdict.release) == verdict.statement_digest:
        return ShadowPeriod(asked=asked)
    shadow = state.shadow
    if shadow is None or shadow.release != verdict.release:
        return ShadowPeriod(asked=asked, reading="not begun")
    return ShadowPeriod(asked=asked, reading=passed_of(device, shadow).told())
