"""Judges one test of a self-test: one function for each level, over observations alone.

An output that is NaN means "no decision", and two NaN agree.  A test that cannot be judged is
*not-run*; one that asks about cases which the fixtures do not have is *absent*.
"""

from __future__ import annotations

import decimal
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from primum_verifier.core.reasons import Reason
from primum_verifier.proof.agreement import Tolerance, compare, index_of
from primum_verifier.proof.baselines import decision_word, held_against
from primum_verifier.proof.bench_contract import FoundTensors, Observations
from primum_verifier.proof.element_types import Number
from primum_verifier.proof.fixtures import NO_DECISION, Fixtures
from primum_verifier.proof.performance import performance
from primum_verifier.proof.selftest_result import (
    MAX_CASES_SHOWN,
    CaseDeviation,
    TestStatus,
)
from primum_verifier.proof.selftest_spec import (
    BATCH,
    FunctionalTest,
    NumericTest,
    Point,
    SafetyFunctionTest,
    SelfTestSpec,
    Tensors,
    Test,
)
from primum_verifier.proof.trial import Finding, Trial, absent, not_run

_GRAVITY = (TestStatus.FAIL, TestStatus.ABSENT, TestStatus.NOT_RUN, TestStatus.SUCCESS)
_OTHER_INTERFACE = Reason.COMPAT_CONTRACT


def decide(value: Number, *, threshold: decimal.Decimal) -> int:
    """The decision at an operating point: 1 at or above ``threshold``, 0 below, -1 for NaN.

    The comparison is exact: both numbers are taken as the decimals that they are.
    """
    if math.isnan(value):
        return NO_DECISION
    return int(decimal.Decimal(value) >= threshold)


def _integrity(_: Test, trial: Trial) -> Finding:
    expected = "the signed fixtures, fitting the signed interface"
    if trial.fixtures is None:
        told = _refusal_told(trial) or "the fixtures were not read"
        return Finding(status=TestStatus.FAIL, found=told, expected=expected)
    if trial.problems:
        found = "; ".join(trial.problems)
        return Finding(status=TestStatus.FAIL, found=found, expected=expected)
    return Finding(status=TestStatus.SUCCESS, found="digests agree", expected=expected)


def _load(_: Test, trial: Trial) -> Finding:
    expected = "the model loads and every case runs"
    refusal, seen, fixtures = trial.refusal, trial.observations, trial.fixtures
    found = ""
    failed: list[str] = []
    if refusal is not None and fixtures is not None and refusal.reason is not _OTHER_INTERFACE:
        found = _refusal_told(trial)
    elif trial.broken_by_model and trial.run is not None:
        found = f"{trial.run.ending}: {trial.run.detail}"
    elif seen is None or fixtures is None or seen.out_of_memory:
        return not_run(trial, expected)
    elif not seen.loaded:
        found = seen.error or "not loaded"
    elif failed := [fixtures.cases[index] for index in _failed_cases(seen, fixtures)]:
        found = f"{len(failed)} cases did not run: {seen.error}"
    if not found:
        return Finding(status=TestStatus.SUCCESS, found="every case ran", expected=expected)
    return Finding(
        status=TestStatus.FAIL,
        found=found,
        expected=expected,
        cases=tuple(
            CaseDeviation(case=case, found="no output", expected="an output", by="")
            for case in failed[:MAX_CASES_SHOWN]
        ),
    )


def _interface(_: Test, trial: Trial) -> Finding:
    spec = trial.spec.interface
    expected = f"inputs {_shown(spec.inputs)}; outputs {_shown(spec.outputs)}"
    refusal = trial.refusal
    if refusal is not None and refusal.reason is _OTHER_INTERFACE:
        return Finding(status=TestStatus.FAIL, found=refusal.found, expected=expected)
    seen = trial.observations
    if seen is None or not seen.loaded:
        return not_run(trial, expected)
    found = f"inputs {_shown_found(seen.inputs)}; outputs {_shown_found(seen.outputs)}"
    same = found == expected
    return Finding(
        status=TestStatus.SUCCESS if same else TestStatus.FAIL, found=found, expected=expected
    )


def _numeric(test: Test, trial: Trial) -> Finding:
    assert isinstance(test, NumericTest)  # noqa: S101 - the table below pairs level and class
    tolerance = Tolerance(absolute=float(test.abs_tol), relative=float(test.rel_tol))
    expected = f"within {test.abs_tol} + {test.rel_tol} * |reference| of every reference output"
    seen, fixtures = trial.computed, trial.fixtures
    if seen is None or fixtures is None:
        return not_run(trial, expected)
    compared = list(
        compare_outputs(trial.spec.interface.outputs, seen, fixtures, tolerance=tolerance)
    )
    wrong = sorted((one for one in compared if one.outside), key=lambda one: -one.beyond)
    worst = max(compared, key=lambda one: one.beyond).told
    count = sum(tensor.elements for tensor in trial.spec.interface.outputs) * len(fixtures.cases)
    return Finding(
        status=TestStatus.FAIL if wrong else TestStatus.SUCCESS,
        found=f"{sum(one.outside for one in wrong)} of {count} numbers outside the tolerance",
        expected=expected,
        worst=f"{worst.case}, {worst.output}{list(worst.index)}: {worst.by}",
        cases=tuple(one.told for one in wrong[:MAX_CASES_SHOWN]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedCase:
    """One output of one case against its reference.

    Attributes:
        outside: how many of its numbers do not agree.
        beyond: how far the worst lies past the tolerance; 0 or below agrees.
        told: the worst in words.
    """

    outside: int
    beyond: float
    told: CaseDeviation


def compare_outputs(
    outputs: Tensors, seen: Observations, fixtures: Fixtures, *, tolerance: Tolerance
) -> Iterator[ComparedCase]:
    """Every output of every case against its reference, output by output in the cases' order."""
    for tensor in outputs:
        references = fixtures.references[tensor.name]
        computed = seen.of_cases(tensor, count=len(fixtures.cases))
        for number, (case, found) in enumerate(zip(fixtures.cases, computed, strict=True)):
            if found is None:
                yield ComparedCase(
                    outside=tensor.elements,
                    beyond=math.inf,
                    told=CaseDeviation(
                        case=case,
                        found="no output",
                        expected="an output",
                        by="inf",
                        output=tensor.name,
                    ),
                )
                continue
            agreement = compare(
                found, references.of_case(number), dtype=tensor.dtype, tolerance=tolerance
            )
            worst = agreement.worst
            yield ComparedCase(
                outside=agreement.outside,
                beyond=worst.beyond,
                told=CaseDeviation(
                    case=case,
                    found=_shown_number(worst.found),
                    expected=_shown_number(worst.reference),
                    by=f"{worst.off:.3g}",
                    output=tensor.name,
                    index=index_of(worst.at, tensor.case_shape),
                ),
            )


def _shown_number(number: Number) -> str:
    return str(number) if isinstance(number, int) else f"{number:.9g}"


def _functional(test: Test, trial: Trial) -> Finding:
    assert isinstance(test, FunctionalTest)  # noqa: S101 - as above
    limits = test.max_decision_flips_by_cohort
    expected = f"at most {test.max_decision_flips} flips" + "".join(
        f", {limit} in {cohort}" for cohort, limit in sorted(limits.items())
    )
    expected += "".join(f"; no worse than the {one} release" for one in test.no_worse_than)
    seen, fixtures = trial.computed, trial.fixtures
    if seen is None or fixtures is None:
        return not_run(trial, expected)
    unknown = sorted(set(limits) - set(fixtures.cohorts))
    if unknown:
        return absent("no case in the cohorts " + ", ".join(unknown), expected)
    safety = trial.safety_cohorts()
    decisions = decisions_of(trial.spec, seen, count=len(fixtures.cases))
    flips = list(_flips(decisions, fixtures, lambda cohort: cohort not in safety))
    by_cohort = Counter(cohort for cohort, _ in flips)
    over = [cohort for cohort, limit in limits.items() if by_cohort[cohort] > limit]
    found = f"{len(flips)} flips" + "".join(
        f", {count} in {cohort}" for cohort, count in sorted(by_cohort.items())
    )
    wrong = bool(over) or len(flips) > test.max_decision_flips
    compared = [held_against(one, decisions, fixtures, trial=trial) for one in test.no_worse_than]
    # What is worst in itself first: a failure is one whatever else could not be evaluated.
    status = min(
        (TestStatus.FAIL if wrong else TestStatus.SUCCESS, *(one.status for one in compared)),
        key=_GRAVITY.index,
    )
    deviations = [deviation for _, deviation in flips] if wrong else []
    return Finding(
        status=status,
        found="; ".join((found, *(one.found for one in compared))),
        expected=expected,
        cases=(*deviations, *(case for one in compared for case in one.cases))[:MAX_CASES_SHOWN],
    )


def _safety_function(test: Test, trial: Trial) -> Finding:
    assert isinstance(test, SafetyFunctionTest)  # noqa: S101 - as above
    expected = f"every decision of the cohort {test.cohort} as expected"
    seen, fixtures = trial.computed, trial.fixtures
    if seen is None or fixtures is None:
        return not_run(trial, expected)
    if test.cohort not in fixtures.cohorts:
        return absent(f"no case in the cohort {test.cohort}", expected)
    decisions = decisions_of(trial.spec, seen, count=len(fixtures.cases))
    found = _flips(decisions, fixtures, lambda cohort: cohort == test.cohort)
    flips = [deviation for _, deviation in found]
    return Finding(
        status=TestStatus.FAIL if flips else TestStatus.SUCCESS,
        found=f"{len(flips)} of {fixtures.cohorts.count(test.cohort)} decisions differ",
        expected=expected,
        cases=tuple(flips[:MAX_CASES_SHOWN]),
    )


def _flips(
    decisions: tuple[int | None, ...], fixtures: Fixtures, wanted: Callable[[str], bool]
) -> Iterator[tuple[str, CaseDeviation]]:
    """The cohort of each wanted case that was decided otherwise than expected, and the words."""
    rows = zip(
        fixtures.cases, fixtures.cohorts, fixtures.expected_decisions, decisions, strict=True
    )
    for case, cohort, expected, found in rows:
        if wanted(cohort) and found != expected:
            yield (
                cohort,
                CaseDeviation(
                    case=case,
                    found=decision_word(found),
                    expected=decision_word(expected),
                    by="decision",
                ),
            )


LEVELS: Final[dict[str, Callable[[Test, Trial], Finding]]] = {
    "integrity": _integrity,
    "load": _load,
    "interface": _interface,
    "numeric": _numeric,
    "functional": _functional,
    "safety-function": _safety_function,
    "performance": performance,
}
"""The judge of each level."""


def values_of(seen: Observations, point: Point, *, count: int) -> Iterator[Number | None]:
    """The number that decides in each case; None where the bench gave none."""
    for found in seen.of_cases(point.output, count=count):
        yield None if found is None else point.output.dtype.unpack(found)[point.element]


def decisions_of(spec: SelfTestSpec, seen: Observations, *, count: int) -> tuple[int | None, ...]:
    """What was decided in each case at the operating point; None where there was no output."""
    point = spec.point
    return tuple(
        None if value is None else decide(value, threshold=point.threshold)
        for value in values_of(seen, point, count=count)
    )


def _failed_cases(seen: Observations, fixtures: Fixtures) -> list[int]:
    return sorted({index for index in seen.failed_cases if index < len(fixtures.cases)})


def _refusal_told(trial: Trial) -> str:
    refusal = trial.refusal
    return f"{refusal.message} {refusal.found}" if refusal is not None else ""


def _shown(tensors: Tensors) -> str:
    return ", ".join(f"{one.name}: {one.dtype}{list(one.shape)}" for one in tensors)


def _shown_found(tensors: FoundTensors) -> str:
    return ", ".join(
        f"{one.name}: {one.dtype}{[part if isinstance(part, int) else BATCH for part in one.shape]}"
        for one in tensors
    )
