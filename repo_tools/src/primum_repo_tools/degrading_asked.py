"""What is asked of robustness cases, whether fixtures allow it, and which clean cases it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from primum_repo_tools.degradations import NEEDS_NAN, Field, Kind
from primum_repo_tools.fixture_making import fault_cohorts
from primum_repo_tools.given_cases import Array, shown, wrong_cases
from primum_repo_tools.release_plan import SelfTestPlan
from primum_verifier.proof.element_types import FLOATING
from primum_verifier.proof.fixtures import NO_DECISION, FixtureArray, Fixtures

COHORT = "degraded-"
"""What the cohort of each kind begins with."""


class Expectation(StrEnum):
    """What a person expects of the model on a degraded case."""

    AS_CLEAN = "as-clean"
    NO_DECISION = "no-decision"
    AS_COMPUTED = "as-computed"


@dataclass(frozen=True, kw_only=True)
class Degrading:
    """What is asked for.

    Attributes:
        expectations: by kind; the kinds are done in this order.
        field: seed, rails, rate and noise.
        signal: the input that is degraded.
        time_axis: the axis of one case along which time runs.
        cases: how many clean cases each kind takes, at most.
        cohorts: from which cohorts; all but those of faults, where none is named.
        risk_control: what the tests of these cohorts serve.
    """

    expectations: Mapping[Kind, Expectation]
    field: Field
    signal: str
    time_axis: int
    cases: int
    cohorts: tuple[str, ...]
    risk_control: str


def check_degrading(fixtures: Fixtures, plan: SelfTestPlan, asked: Degrading) -> None:
    """Check that what is asked for can be done with these fixtures.

    Raises:
        UsageError: it cannot, with what to do instead.
    """
    if plan.operating_point is None:
        raise wrong_cases(
            "[self_test]",
            "no operating point",
            "an output and a threshold: what is expected of a degraded case is a decision",
            "State operating_point in the self-test.",
        )
    if fixtures.baselines:
        raise wrong_cases(
            "fixtures",
            f"decisions of earlier releases: {shown(sorted(fixtures.baselines))}",
            "fixtures without them: nobody knows what those releases make of the new cases",
            "Degrade first; `primum-repo fixtures decide` then adds what they decide on all cases.",
        )
    there = [kind for kind in asked.expectations if f"{COHORT}{kind}" in fixtures.cohorts]
    if there:
        raise wrong_cases(
            "fixtures",
            f"cases of {shown(there)}, which are there already",
            "each kind once",
            "Begin with the fixtures that hold the clean cases alone.",
        )
    dtype = {array.name: array.dtype for array in fixtures.inputs}.get(asked.signal)
    if dtype is None:
        names = shown([array.name for array in fixtures.inputs])
        raise wrong_cases("--input", asked.signal, names, "Name the input that is the signal.")
    if dtype not in FLOATING and (
        cannot := [kind for kind in asked.expectations if kind in NEEDS_NAN]
    ):
        raise wrong_cases(
            "--expect",
            f"{shown(cannot)} for an input of {dtype}",
            "floating numbers: a whole number cannot be missing",
            "Take missing-hold, as the front end of such a device does.",
        )


def chosen_cases(fixtures: Fixtures, plan: SelfTestPlan, asked: Degrading) -> list[int]:
    """Places of clean cases: the same share of each expected decision, spread over the file.

    Raises:
        UsageError: there is none.
    """
    faults = fault_cohorts(plan)
    unknown = [cohort for cohort in asked.cohorts if cohort not in fixtures.cohorts]
    clean = [
        place
        for place, cohort in enumerate(fixtures.cohorts)
        if (cohort in asked.cohorts if asked.cohorts else cohort not in faults)
        and not cohort.startswith(COHORT)
        and fixtures.expected_decisions[place] != NO_DECISION
        and all(np.isfinite(array_of(array)[place]).all() for array in fixtures.inputs)
    ]
    if unknown or not clean:
        raise wrong_cases(
            "fixtures",
            f"no cohort {shown(unknown)}" if unknown else "no clean case with a decision",
            f"cohorts of the fixtures: {shown(sorted(set(fixtures.cohorts)))}",
            "Choose with --from; cases that are not finite or not decided cannot be degraded.",
        )
    groups = [
        [place for place in clean if fixtures.expected_decisions[place] == decision]
        for decision in (1, 0)
    ]
    groups = sorted((group for group in groups if group), key=len)
    chosen: list[int] = []
    for number, group in enumerate(groups):
        share = min(len(group), -(-(asked.cases - len(chosen)) // (len(groups) - number)))
        chosen += [group[turn * len(group) // share] for turn in range(share)]
    return sorted(chosen)


def array_of(array: FixtureArray) -> Array:
    """The numbers of all cases."""
    dtype = np.dtype(str(array.dtype)).newbyteorder("<")
    return np.frombuffer(array.data, dtype=dtype).reshape(array.shape)
