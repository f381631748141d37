"""Makes the numbers that are drawn of a self-test from what its bench was asked and reported.

It compares and decides with the functions that judged, so a drawing cannot disagree with the
report; no drawing is made on a device.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from primum_verifier.proof.agreement import Tolerance, compare, index_of
from primum_verifier.proof.bench_contract import BenchRun, Observations
from primum_verifier.proof.fixtures import NO_DECISION, Fixtures
from primum_verifier.proof.observed import (
    MAX_BINS,
    MAX_DRAWN_COHORTS,
    MIN_FOR_INTERVAL,
    Bin,
    CaseShare,
    CohortCounts,
    CohortKind,
    Latencies,
    Observed,
    Rate,
)
from primum_verifier.proof.proportion import wilson
from primum_verifier.proof.selftest_levels import decide, values_of
from primum_verifier.proof.selftest_spec import (
    NumericTest,
    SafetyFunctionTest,
    SelfTestSpec,
    TensorSpec,
)

ALL_RECORDED = "all recorded"
"""What the row is called that counts every cohort but those of faults; no cohort has a space."""

_POSITIVE, _NEGATIVE = 1, 0
_LARGEST_SHARE = 1e99
"""Above it a share is as good as infinite, and its text would be longer than a column."""


@dataclass(frozen=True, slots=True)
class _Case:
    """One case as it was decided; None where it has no output, or nothing decides."""

    cohort: str
    label: int
    expected: int
    decision: int | None


def observe(*, spec: SelfTestSpec, fixtures: Fixtures, run: BenchRun) -> Observed | None:
    """The numbers of one self-test; None when the bench did not report.

    Args:
        spec: the signed specification.
        fixtures: what the bench was asked, and what is expected; they fit the interface.
        run: how it ended and what it said.
    """
    seen = run.observations
    if seen is None:
        return None
    latencies = _latencies(sorted(seen.latencies_us)) if seen.latencies_us else None
    if not seen.loaded or seen.out_of_memory:
        return Observed(latencies=latencies)
    shares = sorted(_shares(spec, seen, fixtures), key=_fares_worse)
    faults = {test.cohort for test in spec.tests if isinstance(test, SafetyFunctionTest)}
    cases = list(_cases(spec, seen, fixtures))
    named = sorted({case.cohort for case in cases})
    counted = [
        _counts(
            name,
            CohortKind.FAULT if name in faults else CohortKind.RECORDED,
            [case for case in cases if case.cohort == name],
        )
        for name in named[:MAX_DRAWN_COHORTS]
    ]
    recorded = [case for case in cases if case.cohort not in faults]
    return Observed(
        shares=tuple(shares),
        cohorts=tuple(counted),
        cohorts_left_out=max(0, len(named) - MAX_DRAWN_COHORTS),
        recorded=_counts(ALL_RECORDED, CohortKind.RECORDED, recorded) if recorded else None,
        latencies=latencies,
    )


# Deviations


def _shares(spec: SelfTestSpec, seen: Observations, fixtures: Fixtures) -> Iterator[CaseShare]:
    """For each case the number that fares worst, in whichever numeric test and output."""
    tests = [test for test in spec.tests if isinstance(test, NumericTest)]
    found = {
        tensor.name: seen.of_cases(tensor, count=len(fixtures.cases))
        for tensor in spec.interface.outputs
    }
    for number in range(len(fixtures.cases)):
        compared = [
            _share(fixtures, number, test, tensor, found[tensor.name][number])
            for test in tests
            for tensor in spec.interface.outputs
        ]
        if compared:
            yield min(compared, key=_fares_worse)


def _share(
    fixtures: Fixtures, number: int, test: NumericTest, tensor: TensorSpec, found: bytes | None
) -> CaseShare:
    case, cohort = fixtures.cases[number], fixtures.cohorts[number]
    if found is None:
        return CaseShare(
            test=test.id, case=case, cohort=cohort, output=tensor.name,
            found="no output", expected="an output", by="inf", agrees=False,
        )  # fmt: skip
    tolerance = Tolerance(absolute=float(test.abs_tol), relative=float(test.rel_tol))
    reference = fixtures.references[tensor.name].of_case(number)
    worst = compare(found, reference, dtype=tensor.dtype, tolerance=tolerance).worst
    index = list(index_of(worst.at, tensor.case_shape)) if tensor.elements > 1 else ""
    return CaseShare(
        test=test.id,
        case=case,
        cohort=cohort,
        output=f"{tensor.name}{index}",
        found=_number(worst.found),
        expected=_number(worst.reference),
        by=f"{worst.off:.3g}",
        agrees=worst.beyond <= 0,
        share=_of_tolerance(
            worst.off, 0.0 if tensor.dtype.exact else tolerance.around(worst.reference)
        ),
    )


def _of_tolerance(off: float, allowed: float) -> str | None:
    """``off`` as a share of what is allowed; None where it cannot be divided."""
    if not (math.isfinite(off) and math.isfinite(allowed) and allowed > 0):
        return None
    share = off / allowed
    return _unsigned(share) if share < _LARGEST_SHARE else None


def _fares_worse(one: CaseShare) -> tuple[bool, float]:
    """Orders the worst first: outside before inside, and no number before any number."""
    share = (0.0 if one.agrees else math.inf) if one.share is None else float(one.share)
    return one.agrees, -share


def _number(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:.9g}"


def _unsigned(number: float) -> str:
    """Three digits, in the form in which documents write a decimal number."""
    text = f"{number:.3g}".replace("e+", "e")
    # Below 1e-99 a number is nothing to a person, and its exponent has more digits than are read.
    return "0" if "e-" in text and len(text.partition("e-")[2]) > len("99") else text


# Decisions


def _cases(spec: SelfTestSpec, seen: Observations, fixtures: Fixtures) -> Iterator[_Case]:
    """Every case as it was decided; nothing where the specification decides nothing."""
    if spec.operating_point is None:
        return
    point = spec.point
    values = values_of(seen, point, count=len(fixtures.cases))
    rows = zip(fixtures.cohorts, fixtures.labels, fixtures.expected_decisions, values, strict=True)
    for cohort, label, expected, value in rows:
        decision = None if value is None else decide(value, threshold=point.threshold)
        yield _Case(cohort, label, expected, decision)


def _counts(name: str, kind: CohortKind, cases: Sequence[_Case]) -> CohortCounts:
    positives = [case for case in cases if case.label == _POSITIVE]
    negatives = [case for case in cases if case.label == _NEGATIVE]
    recorded = kind is CohortKind.RECORDED
    return CohortCounts(
        cohort=name,
        kind=kind,
        cases=len(cases),
        positives=len(positives),
        negatives=len(negatives),
        flips=sum(case.decision != case.expected for case in cases),
        undecided=sum(case.decision in (None, NO_DECISION) for case in cases),
        sensitivity=_rate(positives) if recorded else None,
        specificity=_rate(negatives) if recorded else None,
    )


def _rate(cases: Sequence[_Case]) -> Rate | None:
    """How many of these labelled cases were decided as their label says."""
    if not cases:
        return None
    right = sum(case.decision == case.label for case in cases)
    low, high = (
        (f"{end:.3f}" for end in wilson(right, len(cases)))
        if len(cases) >= MIN_FOR_INTERVAL
        else (None, None)
    )
    return Rate(right=right, of=len(cases), share=f"{right / len(cases):.3f}", low=low, high=high)


# Latencies


def _latencies(ordered: Sequence[int]) -> Latencies:
    """Percentiles and histogram of times in microseconds, ascending and not empty."""
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
