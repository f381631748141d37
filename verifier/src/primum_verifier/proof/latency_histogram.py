"""Times of a self-test as percentiles and as a histogram of round steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from primum_verifier.proof.observed import MAX_BINS, Bin, Latencies


def latencies_of(times_us: Sequence[int]) -> Latencies | None:
    """Percentiles and histogram of times in microseconds; None where there are none."""
    if not times_us:
        return None
    ordered = sorted(times_us)
    p95, p99 = _ranked(ordered, 0.95), _ranked(ordered, 0.99)
    return Latencies(
        runs=len(ordered),
        fastest_ms=_ms(ordered[0]),
        p50_ms=_ms(_ranked(ordered, 0.50)),
        p95_ms=_ms(p95),
        p99_ms=_ms(p99),
        slowest_ms=_ms(ordered[-1]),
        # One run that was held up must not press all others into one bar.
        bins=tuple(_bins(ordered, until=min(p99, 2 * p95))),
    )


def _ranked(ordered: Sequence[int], share: float) -> int:
    """The nearest rank, as the test of performance takes it."""
    return ordered[math.ceil(share * len(ordered)) - 1]


def _bins(ordered: Sequence[int], *, until: int) -> Iterable[Bin]:
    """Equal steps of 1, 2 or 5 from the fastest to ``until``; what is slower is one open bin."""
    step = next(
        step for step in _round_steps() if until // step - ordered[0] // step + 2 <= MAX_BINS
    )
    first, last = ordered[0] // step, until // step + 1
    edges = [edge * step for edge in range(first, last + 1)]
    for low, high in pairwise(edges):
        yield Bin(from_ms=_ms(low), to_ms=_ms(high), runs=sum(low <= one < high for one in ordered))
    slower = sum(one >= edges[-1] for one in ordered)
    if slower:
        yield Bin(from_ms=_ms(edges[-1]), runs=slower)


def _round_steps() -> Iterator[int]:
    """1, 2, 5, 10, 20, 50 ... microseconds."""
    power = 1
    while True:
        yield from (power, 2 * power, 5 * power)
        power *= 10


def _ms(microseconds: int) -> str:
    return f"{microseconds / 1000:.3f}"
