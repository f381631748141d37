"""Times of a self-test as percentiles and as a histogram of round steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from primum_verifier.proof.bench_contract import Observations
from primum_verifier.proof.latency import best_round, ranked
from primum_verifier.proof.observed import MAX_BINS, Bin, Latencies, RoundTimes, TimeLimit
from primum_verifier.proof.performance import whole_rounds
from primum_verifier.proof.selftest_spec import Budget, SelfTestSpec


def latencies_of(
    spec: SelfTestSpec, seen: Observations, *, hardware: str | None
) -> Latencies | None:
    """Times of the round that was judged; None where no case ran.

    A round that broke off is judged by nobody, and drawn only where there is no other.

    Args:
        spec: the signed specification.
        seen: what the bench reported.
        hardware: the kind of hardware whose limits count; None where nobody said which.
    """
    whole = whole_rounds(spec, seen)
    rounds = whole or seen.rounds_us
    if not rounds:
        return None
    test = spec.performance
    budget = test.limits.get(hardware or "") if test is not None else None
    limits = {} if budget is None else budget.latency_us
    judged, times = best_round(rounds, limits)
    ordered, found = sorted(times), ranked(times)
    return Latencies(
        runs=len(ordered),
        fastest_ms=_ms(ordered[0]),
        p50_ms=_ms(found["p50"]),
        p95_ms=_ms(found["p95"]),
        p99_ms=_ms(found["p99"]),
        slowest_ms=_ms(ordered[-1]),
        # One run that was held up must not press all others into one bar.
        bins=tuple(_bins(ordered, until=min(found["p99"], 2 * found["p95"]))),
        rounds=tuple(
            _round(times, judged=bool(whole) and budget is not None and place == judged)
            for place, times in enumerate(rounds)
        ),
        loads_ms=tuple(map(_ms, seen.loads_us)),
        limits=tuple(_limits(budget)),
    )


def _round(times: Sequence[int], *, judged: bool) -> RoundTimes:
    found = {f"{name}_ms": _ms(value) for name, value in ranked(times).items()}
    return RoundTimes(runs=len(times), **found, judged=judged)


def _limits(budget: Budget | None) -> Iterator[TimeLimit]:
    if budget is not None and budget.load_ms is not None:
        yield TimeLimit(what="load", ms=str(budget.load_ms))
    for name, limit in ({} if budget is None else budget.latency_us).items():
        yield TimeLimit.model_validate({"what": name, "ms": str(limit // 1000)})


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
