"""A sketch of times: quantiles with a bounded relative error, in a fixed number of counters.

Bins grow by a constant factor g = (1 + a) / (1 - a), so that the middle of a bin is within the
share a of every value in it, and with it each quantile (Masson, Rim and Lee, DDSketch, VLDB 12
(2019) 2195).  Two sketches of the same bins add up.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil, isnan, log


@dataclass(frozen=True)
class SketchBins:
    """The bins of one sketch.

    Attributes:
        accuracy: a, the relative error, above 0 and below 1.
        least: what is smaller counts as this; above 0.
        most: what is larger counts as this.
    """

    accuracy: float
    least: float
    most: float

    @property
    def _factor(self) -> float:
        return (1.0 + self.accuracy) / (1.0 - self.accuracy)

    @property
    def cells(self) -> int:
        """How many counters there are."""
        return ceil(log(self.most / self.least) / log(self._factor)) + 1

    def bin_of(self, value: float | None) -> int | None:
        """The bin of a value; None for what is no time."""
        if value is None or isnan(value) or value < 0.0:
            return None
        if value <= self.least:
            return 0
        if value >= self.most:
            return self.cells - 1
        return min(self.cells - 1, ceil(log(value / self.least) / log(self._factor)))

    def value_of(self, place: int) -> float:
        """The middle of a bin: within the relative error of all it holds."""
        if place == 0:
            return self.least
        high = self.least * self._factor**place
        return min(self.most, 2.0 * high / (1.0 + self._factor))

    def quantile(self, counts: Sequence[int], share: float) -> float | None:
        """The value below which a share of all lies; None where nothing was counted.

        Args:
            counts: of each bin.
            share: 0 to 1.
        """
        total = sum(counts)
        if total == 0:
            return None
        wanted = share * (total - 1)
        place = next(at for at, below in enumerate(accumulate(counts)) if below > wanted)
        return self.value_of(place)
