"""Robustness cases: clean cases of some fixtures, degraded, with what is expected of each kind.

Each kind is a cohort of its own, ``degraded-<kind>``, and gets a test of a safety function.  What
is expected is stated by a person: the decision of the clean case, no decision, or openly what the
model makes of it now.  Where the model does not do what is stated, nothing is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from primum_repo_tools.degradations import FlatSignalError, Kind, degrade
from primum_repo_tools.degrading_asked import (
    COHORT,
    Degrading,
    Expectation,
    array_of,
    check_degrading,
    chosen_cases,
)
from primum_repo_tools.fixture_making import (
    ORIGIN_OF_REFERENCES,
    Made,
    beyond_tolerance,
    decisions_of_references,
    fault_cohorts,
    finished,
)
from primum_repo_tools.fixture_summary import DECISION_WORDS
from primum_repo_tools.given_cases import Array, GivenCases, plain_bytes, shown, wrong_cases
from primum_repo_tools.reference_run import Computed, compute_references
from primum_repo_tools.release_plan import SelfTestPlan
from primum_repo_tools.self_test_file import changed, safety_test, told_origin
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.fixtures import NO_DECISION, NO_LABEL, FixtureArray, Fixtures


@dataclass(frozen=True, kw_only=True)
class Degraded:
    """Fixtures with robustness cases.

    Attributes:
        made: the fixtures.
        decided: for each kind what the model decides, in words and counts.
    """

    made: Made
    decided: Mapping[Kind, Mapping[str, int]]


def degrade_fixtures(
    fixtures: Fixtures, plan: SelfTestPlan, asked: Degrading, *, model: Path
) -> Degraded:
    """Add robustness cases to fixtures.

    Args:
        fixtures: the clean cases, with references of ``model``.
        plan: the self-test that belongs to them; it gets a test for each new cohort.
        asked: what is asked for.
        model: the ONNX file; it is run on every case, the clean ones as well.

    Raises:
        UsageError: something that is asked for cannot be done with these fixtures.
        RefusedError: ``selftest.failed``: the model does otherwise than is expected, or computes
            other references than the fixtures hold.
    """
    check_degrading(fixtures, plan, asked)
    chosen = chosen_cases(fixtures, plan, asked)
    given = _with_degraded(fixtures, asked, chosen)
    computed = compute_references(model, given, plan)
    _require_same_model(fixtures, computed, plan, model=model)
    count = len(fixtures.cases)
    found = decisions_of_references(plan, computed.references, count=len(given.cases))[count:]
    kinds = [kind for kind in asked.expectations for _ in chosen]
    clean = [fixtures.expected_decisions[place] for _ in asked.expectations for place in chosen]
    expected = _expected(asked, kinds, clean, found, cases=given.cases[count:], model=model)
    labels = [fixtures.labels[place] for _ in asked.expectations for place in chosen]
    whole = Fixtures(
        cases=given.cases,
        cohorts=given.cohorts,
        labels=fixtures.labels
        + tuple(
            label if asked.expectations[kind] is Expectation.AS_CLEAN else NO_LABEL
            for label, kind in zip(labels, kinds, strict=True)
        ),
        expected_decisions=fixtures.expected_decisions + tuple(expected),
        # What the clean cases were signed with stays as it is.
        references={
            name: _joined(fixtures.references[name], array, count)
            for name, array in computed.references.items()
        },
        inputs=given.inputs,
        baselines={},
    )
    made = finished(whole, _planned(plan, asked), references=f"computed by {computed.runtime}")
    decided = {
        kind: dict(
            Counter(
                DECISION_WORDS[one] for one, its in zip(found, kinds, strict=True) if its is kind
            )
        )
        for kind in asked.expectations
    }
    return Degraded(made=made, decided=decided)


def _with_degraded(fixtures: Fixtures, asked: Degrading, chosen: list[int]) -> GivenCases:
    """All cases, the clean ones first."""
    kinds = list(asked.expectations)
    names = [f"{fixtures.cases[place]}.{kind}" for kind in kinds for place in chosen]
    inputs = []
    for array in fixtures.inputs:
        rows = [array_of(array)[place] for _ in kinds for place in chosen]
        if array.name == asked.signal:
            of_kinds = [kind for kind in kinds for _ in chosen]
            rows = [
                _degraded(row, kind, asked, name=fixtures.cases[place])
                for row, kind, place in zip(rows, of_kinds, chosen * len(kinds), strict=True)
            ]
        added = b"".join(plain_bytes(row, array.dtype) for row in rows)
        shape = (len(fixtures.cases) + len(names), *array.shape[1:])
        inputs.append(FixtureArray(array.name, array.dtype, shape, array.data + added))
    return GivenCases(
        where="fixtures",
        cases=(*fixtures.cases, *names),
        cohorts=(*fixtures.cohorts, *(f"{COHORT}{kind}" for kind in kinds for _ in chosen)),
        labels=(*fixtures.labels, *(NO_LABEL for _ in names)),
        inputs=tuple(inputs),
    )


def _degraded(case: Array, kind: Kind, asked: Degrading, *, name: str) -> Array:
    """One case with each of its channels degraded."""
    if not -case.ndim <= asked.time_axis < case.ndim or case.shape[asked.time_axis] < 2:  # noqa: PLR2004 - one sample is no strip
        raise wrong_cases(
            "--input",
            f"{asked.signal}: shape {list(case.shape)} in a case, axis {asked.time_axis}",
            "an axis of time with at least two samples",
            "Name the input that is the signal, and its axis of time with --time-axis.",
        )
    moved = np.moveaxis(case, asked.time_axis, -1)
    strips = moved.astype(np.float64).reshape(-1, moved.shape[-1])
    noise = asked.field.noise.get(kind)
    if noise is not None and noise.size < strips.shape[-1]:
        raise wrong_cases(
            f"--noise {kind}",
            f"{noise.size} samples of noise",
            f"at least {strips.shape[-1]}, as many as the strip has",
            "Record longer: a repeated piece of noise is a rhythm of its own.",
        )
    try:
        done = [
            degrade(strip, kind, asked.field, name=f"{name}/{channel}")
            for channel, strip in enumerate(strips)
        ]
    except FlatSignalError:
        raise wrong_cases(
            name,
            "a flat strip, or flat noise",
            "a signal: noise is scaled to the power of the signal",
            "Leave the case out of --from, or take other kinds.",
        ) from None
    whole = np.stack(done).reshape(moved.shape)
    if case.dtype.kind in "iu":
        limits = np.iinfo(case.dtype.str)
        whole = np.clip(np.rint(whole), limits.min, limits.max)
    with np.errstate(over="ignore"):
        return np.moveaxis(whole, -1, asked.time_axis).astype(case.dtype)


def _expected(
    asked: Degrading,
    kinds: list[Kind],
    clean: list[int],
    found: tuple[int, ...],
    *,
    cases: tuple[str, ...],
    model: Path,
) -> list[int]:
    """What is expected of each degraded case.

    Raises:
        RefusedError: the model does otherwise.
    """
    wanted = {
        Expectation.AS_CLEAN: clean,
        Expectation.NO_DECISION: [NO_DECISION] * len(kinds),
        Expectation.AS_COMPUTED: list(found),
    }
    expected = [wanted[asked.expectations[kind]][place] for place, kind in enumerate(kinds)]
    rows = zip(cases, kinds, expected, found, strict=True)
    unmet = [
        (kind, f"{case}: {DECISION_WORDS[it]} instead of {DECISION_WORDS[one]}")
        for case, kind, one, it in rows
        if one != it
    ]
    if unmet:
        counts = list(Counter(kind for kind, _ in unmet).items())
        raise RefusedError(
            "The model does not do what is expected of it on degraded cases.",
            reason=Reason.SELFTEST_FAILED,
            where=str(model),
            found=", ".join(f"{kind} {count} of {kinds.count(kind)}" for kind, count in counts)
            + f" ({shown([told for _, told in unmet])})",
            expected=", ".join(f"{kind} {asked.expectations[kind]}" for kind, _ in counts),
            remedy="Let the model check its input, or state another expectation; what it computes"
            " now is taken with --expect KIND=as-computed --accept-computed. Nothing was written.",
        )
    return expected


def _require_same_model(
    fixtures: Fixtures, computed: Computed, plan: SelfTestPlan, *, model: Path
) -> None:
    other = beyond_tolerance(fixtures.cases, computed.references, fixtures.references, plan)
    if other:
        raise RefusedError(
            "The model is not the one that these fixtures were made with.",
            reason=Reason.SELFTEST_FAILED,
            where=str(model),
            found=f"other outputs in {len(other)} of {len(fixtures.cases)} cases: {shown(other)}",
            expected="the references of the clean cases, within the tolerance",
            remedy="Name the model that the fixtures belong to, or make them anew for this one.",
        )


def _planned(plan: SelfTestPlan, asked: Degrading) -> SelfTestPlan:
    """The self-test with a test for each new cohort, and what was done in its origin."""
    content = plan.model_dump(mode="json", exclude_none=True)
    cohorts = [f"{COHORT}{kind}" for kind in asked.expectations]
    new = [
        safety_test(cohort, asked.risk_control)
        for cohort in cohorts
        if cohort not in fault_cohorts(plan)
    ]
    where = asked.field
    told = ", ".join(f"{kind} ({said})" for kind, said in asked.expectations.items())
    recorded = f", recorded noise for {', '.join(where.noise)}" if where.noise else ""
    before, mark, after = plan.origin.partition(ORIGIN_OF_REFERENCES)
    origin = told_origin(
        before,
        f"Degraded from clean cases with seed {where.seed}: {told};"
        f" rails {where.rails[0]:g} to {where.rails[1]:g}, {where.snr_db:g} dB, gap {where.gap:g}"
        f"{recorded}. {mark}{after}",
    )
    return changed(
        plan,
        origin=origin.strip(),
        tests=[*content["tests"], *new],
        min_tests=plan.min_tests + len(new),
    )


def _joined(signed: FixtureArray, computed: FixtureArray, count: int) -> FixtureArray:
    size = len(computed.data) // computed.shape[0] * count
    return replace(computed, data=signed.data + computed.data[size:])
