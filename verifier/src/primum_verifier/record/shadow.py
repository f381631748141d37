"""What is counted of a release in shadow, and what of it leaves the device.

One comparison puts two decisions about the same input side by side: that of the release in use,
which a patient was served by, and that of the release in shadow, which nobody sees.  Only
counters are kept.  Every number of a bin stands in the signed specification.

What leaves the device is one window of at least a day, in which

1. no cell below the smallest cell is told;
2. where one cell of a family is withheld a second one is, so that no sum gives it away; a family
   is the outcomes, the differences, the latencies, or one column of a breakdown into groups;
3. no column of a breakdown is told whole where its sum would give a withheld outcome away.

What only says how the device was doing (inputs that were dropped, answers that did not come) is
told as it is: it counts no patient's decision.

Standard library only: commands that only look at counters may import this module.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from primum_verifier.record.cells import bin_of, is_shaped_like, withheld


class ShadowOutcome(StrEnum):
    """How one comparison ended."""

    AGREED = "agreed"
    """Both decided alike, or neither decided."""

    TO_POSITIVE = "to-positive"
    """The release in use said negative, the one in shadow positive."""

    TO_NEGATIVE = "to-negative"
    """The release in use said positive, the one in shadow negative."""

    UNDECIDED = "undecided"
    """One of the two made no decision."""

    FAILED = "failed"
    """The release in shadow could not compute the input."""


Decided = Literal["positive", "negative", "no decision"]
"""The words in which the two decisions are compared."""


def outcome_of(active: Decided, shadow: Decided) -> ShadowOutcome:
    """How two decisions about one input compare."""
    if active == shadow:
        return ShadowOutcome.AGREED
    if "no decision" in {active, shadow}:
        return ShadowOutcome.UNDECIDED
    return ShadowOutcome.TO_POSITIVE if shadow == "positive" else ShadowOutcome.TO_NEGATIVE


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One comparison, in which no output is left.

    Attributes:
        outcome: how it ended.
        difference: how far the two scores lie apart; None where one of them is no number.
        latency_ms: how long the release in shadow took; None where it could not compute.
        groups: the group of each cohort key, where the application named one that is signed.
    """

    outcome: ShadowOutcome
    difference: float | None = None
    latency_ms: float | None = None
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ShadowShape:
    """The bins of one specification, as numbers."""

    differences: tuple[float, ...]
    latencies: tuple[float, ...]
    groups: Mapping[str, tuple[str, ...]]


class ShadowTally:
    """The counters of one stretch of time; as many as the signed specification says.

    Attributes:
        outcomes: how often each outcome was.
        differences: comparisons by the difference of their scores.
        latencies: comparisons by the time that the answer took.
        agreed: for each cohort key, agreements by group; the last stands for no signed group.
        flipped: the same of every other outcome.
        unanswered: inputs that the release in shadow did not answer in time, or died over.
        dropped: inputs that were not given to it, because it was not done with earlier ones.
    """

    def __init__(self, shape: ShadowShape) -> None:
        self._shape = shape
        self.outcomes = dict.fromkeys(ShadowOutcome, 0)
        self.differences = [0] * (len(shape.differences) + 1)
        self.latencies = [0] * (len(shape.latencies) + 1)
        self.agreed = {key: [0] * (len(groups) + 1) for key, groups in shape.groups.items()}
        self.flipped = {key: [0] * (len(groups) + 1) for key, groups in shape.groups.items()}
        self.unanswered = 0
        self.dropped = 0

    @property
    def comparisons(self) -> int:
        """How many there were."""
        return sum(self.outcomes.values())

    @property
    def flips(self) -> int:
        """How many did not end in agreement."""
        return self.comparisons - self.outcomes[ShadowOutcome.AGREED]

    def groups_of(self, key: str) -> tuple[str, ...]:
        """The signed groups of a cohort key, in the order of its cells."""
        return self._shape.groups[key]

    def add(self, compared: Compared) -> None:
        """Count one comparison."""
        self.outcomes[compared.outcome] += 1
        difference = compared.difference
        apart = difference if difference is not None and math.isfinite(difference) else None
        if (far := bin_of(self._shape.differences, apart)) is not None:
            self.differences[far] += 1
        if (took := bin_of(self._shape.latencies, compared.latency_ms)) is not None:
            self.latencies[took] += 1
        agreed = compared.outcome is ShadowOutcome.AGREED
        for key, cells in (self.agreed if agreed else self.flipped).items():
            groups = self._shape.groups[key]
            named = compared.groups.get(key)
            cells[groups.index(named) if named in groups else len(groups)] += 1

    def as_dict(self) -> dict[str, Any]:
        """The counters as the device keeps them."""
        return {
            "outcomes": {str(name): count for name, count in self.outcomes.items()},
            "differences": list(self.differences),
            "latencies": list(self.latencies),
            "agreed": {key: list(cells) for key, cells in self.agreed.items()},
            "flipped": {key: list(cells) for key, cells in self.flipped.items()},
            "unanswered": self.unanswered,
            "dropped": self.dropped,
        }

    @classmethod
    def from_dict(cls, content: object, shape: ShadowShape) -> ShadowTally:
        """The counters as they were kept.

        Raises:
            ValueError: they are not those of the specification.
        """
        made = cls(shape)
        wanted = made.as_dict()
        if not isinstance(content, dict) or not is_shaped_like(content, wanted):
            raise ValueError("the counters are not those of the signed specification")
        made.outcomes = {name: content["outcomes"][name] for name in ShadowOutcome}
        made.differences, made.latencies = content["differences"], content["latencies"]
        made.agreed, made.flipped = content["agreed"], content["flipped"]
        made.unanswered, made.dropped = content["unanswered"], content["dropped"]
        return made


def told_cells(tally: ShadowTally, *, least: int, groups: bool = True) -> dict[str, Any]:
    """The counters of a window with everything withheld that has to be.

    Args:
        tally: the counters.
        least: the smallest cell that is told.
        groups: whether the breakdowns are told.

    Returns:
        The members of a summary that are counts.
    """
    outcomes = dict(zip(tally.outcomes, withheld([*tally.outcomes.values()], least), strict=True))
    others = [cell for name, cell in outcomes.items() if name is not ShadowOutcome.AGREED]
    cohorts = {}
    for key, cells in tally.agreed.items() if groups else ():
        agreed = withheld(cells, least, hide_sum=outcomes[ShadowOutcome.AGREED] is None)
        flipped = withheld(tally.flipped[key], least, hide_sum=None in others)
        *named, unnamed = [
            {"agreed": one, "flipped": other} for one, other in zip(agreed, flipped, strict=True)
        ]
        cohorts[key] = {
            "groups": dict(zip(tally.groups_of(key), named, strict=True)),
            "unnamed": unnamed,
        }
    return {
        "outcomes": {str(name): cell for name, cell in outcomes.items()},
        "differences": withheld(tally.differences, least),
        "latencies": withheld(tally.latencies, least),
        "cohorts": cohorts,
        "unanswered": tally.unanswered,
        "dropped": tally.dropped,
    }
