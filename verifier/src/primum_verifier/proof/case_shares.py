"""How far each case of a self-test lies from its reference, as a share of what its test tolerates.

It compares with the function that judged, so that a drawing cannot disagree with the report.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from primum_verifier.proof.agreement import Tolerance, compare, index_of
from primum_verifier.proof.bench_contract import Observations
from primum_verifier.proof.fixtures import Fixtures
from primum_verifier.proof.observed import CaseShare
from primum_verifier.proof.selftest_spec import NumericTest, SelfTestSpec, TensorSpec

_LARGEST_SHARE = 1e99
"""Above it a share is as good as infinite, and its text would be longer than a column."""


def case_shares(
    spec: SelfTestSpec, seen: Observations, fixtures: Fixtures
) -> tuple[CaseShare, ...]:
    """For each case the number that fares worst in any numeric test; the worst case first."""
    return tuple(sorted(_shares(spec, seen, fixtures), key=_fares_worse))


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
