"""Fixtures from given cases: references, expected decisions, and what a person should look at.

The references are what the reference runtime computes, or outputs that came with the cases and
that it computes again within the tolerance of the self-test.  The file's origin says which.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from primum_repo_tools.fixture_file import fixture_bytes
from primum_repo_tools.given_cases import GivenCases, shown, wrong_cases
from primum_repo_tools.reference_run import Computed
from primum_repo_tools.release_plan import SelfTestPlan
from primum_repo_tools.self_test_file import changed, specification_of, told_origin
from primum_verifier.core.document import sha256_hex
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.agreement import Tolerance, compare
from primum_verifier.proof.fixtures import NO_DECISION, FixtureArray, Fixtures
from primum_verifier.proof.selftest import fixture_problems
from primum_verifier.proof.selftest_levels import decide
from primum_verifier.proof.selftest_spec import NumericTest, Point, SafetyFunctionTest, SelfTestSpec

ORIGIN_OF_REFERENCES = "References: "
"""Where the part of an origin begins that says how the references were made."""


class References(StrEnum):
    """Whose outputs become the references."""

    COMPUTED = "computed"
    GIVEN = "given"


@dataclass(frozen=True, kw_only=True)
class Made:
    """Fixtures that were made.

    Attributes:
        fixtures: what stands in the file.
        data: the bytes of the file.
        plan: the self-test, with an origin that says how the references were made.
        references: how they were made, in words.
        near_threshold: cases whose decision a deviation within the tolerance could turn.
        unexpected: cases that the references decide otherwise than somebody expects.
        beyond_given: cases whose given outputs are not what was computed.
    """

    fixtures: Fixtures
    data: bytes
    plan: SelfTestPlan
    references: str
    near_threshold: tuple[str, ...]
    unexpected: tuple[str, ...]
    beyond_given: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """The digest of the file."""
        return sha256_hex(self.data)


def make_fixtures(
    given: GivenCases,
    computed: Computed,
    plan: SelfTestPlan,
    *,
    references: References,
    faults: Collection[str] = (),
) -> Made:
    """Put fixtures together.

    Args:
        given: the cases.
        computed: what the model computes of them.
        plan: operating point, tolerances and cohorts of faults.
        references: whose outputs are signed.
        faults: cohorts in which an output may be none, besides those that the plan tests as such.

    Raises:
        UsageError: given references are wanted and there are none; a reference is not finite in a
            case that is no fault; a device would not read the file.
        RefusedError: ``selftest.failed``: the given references are not what the model computes.
    """
    if unknown := sorted(set(faults) - set(given.cohorts)):
        raise wrong_cases(
            "--fault-cohort",
            shown(unknown),
            f"cohorts of the cases: {shown(sorted(set(given.cohorts)))}",
            "A test about a cohort without cases is never passed.",
        )
    beyond = beyond_tolerance(given.cases, computed.references, given.references, plan)
    arrays, told = computed.references, f"computed by {computed.runtime}"
    if references is References.GIVEN:
        arrays, told = _given(given, computed, beyond), "given with the cases, and computed again"
        told += f" within the tolerance by {computed.runtime}"
    decisions = decisions_of_references(plan, arrays, count=len(given.cases))
    expected = decisions if given.expected is None else given.expected
    _require_finite(given, arrays, expected, fault_cohorts(plan) | set(faults))
    fixtures = Fixtures(
        cases=given.cases,
        cohorts=given.cohorts,
        labels=given.labels,
        expected_decisions=expected,
        references=arrays,
        inputs=given.inputs,
        baselines=given.baselines,
    )
    origin, _, _ = plan.origin.partition(ORIGIN_OF_REFERENCES)
    plan = changed(plan, origin=told_origin(origin, f"{ORIGIN_OF_REFERENCES}{told}."))
    return finished(
        fixtures,
        plan,
        references=told,
        unexpected=tuple(
            case
            for case, one, other in zip(given.cases, expected, decisions, strict=True)
            if one != other and plan.operating_point is not None
        ),
        beyond_given=beyond,
    )


def finished(
    fixtures: Fixtures,
    plan: SelfTestPlan,
    *,
    references: str,
    unexpected: tuple[str, ...] = (),
    beyond_given: tuple[str, ...] = (),
) -> Made:
    """The file of some fixtures, held against the specification as a device holds it.

    Raises:
        UsageError: a device would not take them.
    """
    data = fixture_bytes(fixtures)
    sha256 = sha256_hex(data)
    spec = specification_of(plan, sha256=sha256, cases=len(fixtures.cases))
    problems = fixture_problems(spec, fixtures, fixtures_sha256=sha256)
    if problems:
        raise wrong_cases(
            "fixtures", "; ".join(problems), "fixtures that fit the interface", "Take fewer cases."
        )
    return Made(
        fixtures=fixtures,
        data=data,
        plan=plan,
        references=references,
        near_threshold=near_threshold(fixtures, spec),
        unexpected=unexpected,
        beyond_given=beyond_given,
    )


def decisions_of_references(
    plan: SelfTestPlan, references: dict[str, FixtureArray], *, count: int
) -> tuple[int, ...]:
    """What the references decide at the operating point; nothing at all where there is none."""
    if plan.operating_point is None:
        return (NO_DECISION,) * count
    point = specification_of(plan, sha256="0" * 64, cases=count).point
    return tuple(
        decide(score, threshold=point.threshold) for score in _scores(references, point, count)
    )


def near_threshold(fixtures: Fixtures, spec: SelfTestSpec) -> tuple[str, ...]:
    """Cases that a device may decide otherwise although every number of it is within tolerance."""
    if spec.operating_point is None:
        return ()
    point = spec.point
    near = tolerance_of(spec)
    scores = _scores(fixtures.references, point, len(fixtures.cases))
    threshold = float(point.threshold)
    return tuple(
        case
        for case, score in zip(fixtures.cases, scores, strict=True)
        if not point.output.dtype.exact
        and math.isfinite(score)
        and abs(score - threshold) <= near.around(score)
    )


def tolerance_of(spec: SelfTestSpec) -> Tolerance:
    """The widest tolerance that one of the numeric tests allows; none where there is no such test.

    Where two tests compare, both have to be passed, but a test that only warns stops nothing.
    """
    tests = [test for test in spec.tests if isinstance(test, NumericTest)]
    return Tolerance(
        absolute=max((float(test.abs_tol) for test in tests), default=0.0),
        relative=max((float(test.rel_tol) for test in tests), default=0.0),
    )


def fault_cohorts(plan: SelfTestPlan) -> frozenset[str]:
    """The cohorts that a test of a safety function is about."""
    return frozenset(test.cohort for test in plan.tests if isinstance(test, SafetyFunctionTest))


def _scores(references: dict[str, FixtureArray], point: Point, count: int) -> list[float | int]:
    array = references[point.output.name]
    return [array.dtype.unpack(array.of_case(case))[point.element] for case in range(count)]


def beyond_tolerance(
    cases: tuple[str, ...],
    computed: dict[str, FixtureArray],
    references: dict[str, FixtureArray],
    plan: SelfTestPlan,
) -> tuple[str, ...]:
    """The cases whose outputs are not those of ``references``, within the plan's tolerance."""
    tolerance = tolerance_of(specification_of(plan, sha256="0" * 64, cases=len(cases)))
    return tuple(
        case
        for place, case in enumerate(cases)
        if any(
            compare(
                computed[name].of_case(place),
                array.of_case(place),
                dtype=array.dtype,
                tolerance=tolerance,
            ).outside
            for name, array in references.items()
        )
    )


def _given(
    given: GivenCases, computed: Computed, beyond: tuple[str, ...]
) -> dict[str, FixtureArray]:
    if not given.references:
        raise wrong_cases(
            given.where,
            "cases without outputs",
            "outputs for each case: reference.NAME, or output_K.pb",
            "Let the reference runtime compute them: --references computed",
        )
    if beyond:
        raise RefusedError(
            "The given outputs are not what the model computes.",
            reason=Reason.SELFTEST_FAILED,
            where=given.where,
            found=f"{len(beyond)} of {len(given.cases)} cases outside the tolerance:"
            f" {shown(beyond)}",
            expected="outputs of this very model, within the tolerance of the numeric test",
            remedy="Find out which of the two is right before anything is signed; a release with"
            " these fixtures would not pass its own self-test.",
        )
    return {name: given.references[name] for name in computed.references}


def _require_finite(
    given: GivenCases,
    references: dict[str, FixtureArray],
    expected: tuple[int, ...],
    faults: frozenset[str],
) -> None:
    """Refuse an answer that is none, in a case where somebody should have got one."""
    stated = given.expected is not None
    silent = [
        case
        for place, case in enumerate(given.cases)
        if given.cohorts[place] not in faults
        and not (stated and expected[place] == NO_DECISION)
        and any(not _finite(array, place) for array in references.values())
    ]
    if silent:
        raise wrong_cases(
            given.where,
            f"references that are not finite in {len(silent)} cases: {shown(silent)}",
            "finite outputs, but in cohorts of faults and where no decision is expected",
            "Correct these inputs; or say that it is meant: --fault-cohort NAME, or an array"
            " expected_decision with -1 there.",
        )


def _finite(array: FixtureArray, place: int) -> bool:
    return array.dtype.exact or all(
        math.isfinite(number) for number in array.dtype.unpack(array.of_case(place))
    )
