"""No worse than what runs and than what was authorised, on the very same labelled cases."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from primum_verifier.core.document import parse_document
from primum_verifier.core.errors import RefusedError
from primum_verifier.proof.baselines import labelled, worse_than
from primum_verifier.proof.element_types import ElementType
from primum_verifier.proof.fixtures import (
    MAX_BASELINES,
    FixtureArray,
    Fixtures,
    read_fixtures,
)
from primum_verifier.proof.selftest_result import (
    Baselines,
    Blame,
    Overall,
    SelfTestReport,
    SelfTestResult,
    TestStatus,
)
from primum_verifier.proof.selftest_spec import SelfTestSpec

Build = dict[str, Callable[..., Any]]

ACTIVE, ORIGINAL, OTHER = ("a" * 64, "0" * 64, "e" * 64)
BOTH = Baselines(active=ACTIVE, original=ORIGINAL)


def ask(release: Any, *, of: tuple[str, ...] = ("active", "original"), flips: int = 12) -> None:
    """Let the functional test ask for these baselines, and allow it any flip."""
    tests = release.spec()["tests"]
    tests[4] |= {
        "noWorseThan": list(of),
        "maxDecisionFlips": flips,
        "maxDecisionFlipsByCohort": {},
    }
    release.changes["tests"] = tests


@pytest.fixture
def measured(release: Any) -> Any:
    """A release that is right in every labelled case, as were the active and the original one."""
    right = release.arrays["label"].copy()
    for sha256 in (ACTIVE, ORIGINAL):
        release.arrays[f"decision.{sha256}"] = right.copy()
    ask(release)
    return release


def judged(release: Any, baselines: Baselines | None = BOTH) -> tuple[SelfTestResult, Any]:
    result = release.run(baselines=baselines)
    return result, next(test for test in result.tests if test.id == "decisions")


def mistake(release: Any, *cases: int) -> None:
    """Let the release decide these cases wrongly: their truth was the other one."""
    for case in cases:
        release.arrays["label"][case] = 1 - release.arrays["label"][case]


def test_what_is_no_worse_passes_and_the_report_names_what_it_was_held_against(
    measured: Any,
) -> None:
    result, decisions = judged(measured)
    assert result.overall is Overall.PASSED, result.summary
    assert "no worse than the active release: on 10 labelled cases" in decisions.found
    report = SelfTestReport.model_validate_json(result.report.to_json())
    assert report.active is not None
    assert report.original is not None
    assert (report.active.sha256, report.original.sha256) == (ACTIVE, ORIGINAL)


@pytest.mark.parametrize("baseline", [ACTIVE, ORIGINAL])
def test_one_error_more_than_either_is_refused_naming_the_case(
    measured: Any, baseline: str
) -> None:
    """Danger: as signed, but worse for patients than what they have.  End: refused, by case."""
    mistake(measured, 3)
    right = measured.arrays["label"]
    other = ORIGINAL if baseline == ACTIVE else ACTIVE
    measured.arrays[f"decision.{baseline}"] = right.copy()
    measured.arrays[f"decision.{other}"] = 1 - right
    result, decisions = judged(measured)
    assert decisions.status is TestStatus.FAIL
    assert result.blame is Blame.RELEASE
    name = "active" if baseline == ACTIVE else "original"
    assert f"worse than the {name} release: 1 " in decisions.found
    assert [case.case for case in decisions.cases] == ["case-03"]
    assert decisions.cases[0].by == f"the {name} release decided rightly"


def test_a_miss_is_not_made_up_for_by_a_false_alarm_less(measured: Any) -> None:
    """Danger: as many errors in all, but patients are missed who were not."""
    measured.arrays["cohort"][:10] = "sinus"
    missed, alarmed = np.flatnonzero(measured.arrays["label"][:10] == 0)[:2]
    mistake(measured, missed)  # sick, and decided negative
    for sha256 in (ACTIVE, ORIGINAL):
        measured.arrays[f"decision.{sha256}"][[missed, alarmed]] = 1
    _, decisions = judged(measured)
    assert decisions.status is TestStatus.FAIL
    assert "1 misses in sinus, 0 before" in decisions.found


def test_a_cohort_is_not_made_up_for_by_another(measured: Any) -> None:
    mistake(measured, 7)  # ectopic
    right = measured.arrays["label"]
    for sha256 in (ACTIVE, ORIGINAL):
        measured.arrays[f"decision.{sha256}"] = right.copy()
        measured.arrays[f"decision.{sha256}"][:6] = 1 - right[:6]  # all wrong in sinus
    _, decisions = judged(measured)
    assert decisions.status is TestStatus.FAIL
    assert "in ectopic, 0 before" in decisions.found
    assert "sinus" not in decisions.found.partition("than the active")[2]


def test_faults_and_cases_without_a_label_count_in_no_comparison(measured: Any) -> None:
    mistake(measured, 10, 11)
    for sha256 in (ACTIVE, ORIGINAL):
        measured.arrays[f"decision.{sha256}"] = measured.arrays["label"].copy()
    measured.arrays["label"][2] = -1
    measured.arrays[f"decision.{ACTIVE}"][2] = -1
    result, decisions = judged(measured)
    assert decisions.status is TestStatus.SUCCESS
    assert "on 9 labelled cases" in decisions.found
    assert result.passed


def test_no_decision_is_an_error_whatever_the_label(measured: Any) -> None:
    """Danger: silence where the active release decided rightly counts as no error."""
    measured.arrays["input.x"][[0, 7], 0] = np.nan
    measured.arrays["reference.p"][[0, 7]] = np.nan
    measured.arrays["expected_decision"][[0, 7]] = -1
    _, decisions = judged(measured)
    assert decisions.status is TestStatus.FAIL
    assert {case.case for case in decisions.cases} == {"case-00", "case-07"}
    assert {case.found for case in decisions.cases} == {"no decision"}


def test_where_nothing_is_active_there_is_nothing_to_be_worse_than(measured: Any) -> None:
    """A first install: the device must be able to get its first release."""
    ask(measured, of=("active",))
    result, decisions = judged(measured, Baselines(active=None, original=None))
    assert result.passed
    assert "no release is active" in decisions.found


def test_an_active_release_that_the_fixtures_lack_is_never_passed_and_never_held_against_it(
    measured: Any,
) -> None:
    """Danger: what cannot be evaluated passes.  Another device, or another active, could tell."""
    result, decisions = judged(measured, Baselines(active=OTHER, original=ORIGINAL))
    assert decisions.status is TestStatus.NOT_RUN
    assert "not evaluable: no decisions of the active release eeeeeeeeeeee" in decisions.found
    assert result.overall is Overall.INCOMPLETE
    assert result.blame is Blame.CIRCUMSTANCE
    assert "not evaluable" in result.summary


@pytest.mark.parametrize("original", [OTHER, None])
def test_an_original_release_that_the_fixtures_lack_is_the_release_s_fault(
    measured: Any, original: str | None
) -> None:
    result, decisions = judged(measured, Baselines(active=ACTIVE, original=original))
    assert decisions.status is TestStatus.ABSENT
    assert "not evaluable" in decisions.found
    assert result.overall is Overall.INCOMPLETE
    assert result.blame is Blame.RELEASE


def test_where_nobody_said_what_is_active_nothing_is_passed(measured: Any) -> None:
    """Danger: a caller that forgets to say it gets the verdict of a first install."""
    result, decisions = judged(measured, None)
    assert decisions.status is TestStatus.NOT_RUN
    assert not result.passed


def test_without_a_label_nothing_can_be_evaluated(measured: Any) -> None:
    measured.arrays["label"][:] = -1
    result, decisions = judged(measured)
    assert decisions.status is TestStatus.ABSENT
    assert result.blame is Blame.RELEASE


def test_a_failure_is_one_whatever_else_could_not_be_evaluated(measured: Any) -> None:
    mistake(measured, 3)
    measured.arrays[f"decision.{ORIGINAL}"] = measured.arrays["label"].copy()
    result, decisions = judged(measured, Baselines(active=OTHER, original=ORIGINAL))
    assert decisions.status is TestStatus.FAIL
    assert result.overall is Overall.FAILED


def test_a_baseline_stands_once(release: Any) -> None:
    ask(release, of=("active", "active"))
    with pytest.raises(RefusedError) as caught:
        parse_document(SelfTestSpec, json.dumps(release.spec()).encode(), where="spec")
    assert "names a release twice" in caught.value.found


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("decision.short", [0] * 12),
        (f"decision.{ACTIVE.upper()}", [0] * 12),
        (f"decision.{ACTIVE}", [2] * 12),
        (f"decision.{ACTIVE}", [0] * 11),
    ],
)
def test_decisions_of_nobody_or_no_decisions_are_refused(
    build: Build, name: str, values: list[int]
) -> None:
    with pytest.raises(RefusedError):
        read_fixtures(build["npz"]({**build["cases"](), name: np.array(values, dtype=np.int8)}))


def test_more_earlier_releases_than_a_fleet_runs_are_refused(build: Build) -> None:
    arrays = build["cases"]()
    for number in range(MAX_BASELINES):
        arrays[f"decision.{number:064x}"] = arrays["label"]
    assert len(read_fixtures(build["npz"](arrays)).baselines) == MAX_BASELINES
    arrays[f"decision.{MAX_BASELINES:064x}"] = arrays["label"]
    with pytest.raises(RefusedError) as caught:
        read_fixtures(build["npz"](arrays))
    assert "earlier releases" in caught.value.found


_CASES = st.integers(1, 8)


@given(data=st.data(), count=_CASES)
def test_one_right_decision_taken_away_never_makes_it_better(
    data: st.DataObject, count: int
) -> None:
    """A worse output never passes where a better one failed."""

    def rows(values: st.SearchStrategy[Any]) -> tuple[Any, ...]:
        return tuple(data.draw(st.lists(values, min_size=count, max_size=count)))

    labels = rows(st.sampled_from([1, 0, -1]))
    fixtures = Fixtures(
        cases=tuple(map(str, range(count))),
        cohorts=rows(st.sampled_from(["a", "b", "fault"])),
        labels=labels,
        expected_decisions=(0,) * count,
        references={},
        inputs=(FixtureArray("x", ElementType.INT8, (count,), bytes(count)),),
        baselines={},
    )
    places = labelled(fixtures, without={"fault"})
    decisions = rows(st.sampled_from([1, 0, -1, None]))
    earlier = rows(st.sampled_from([1, 0, -1]))
    before = list(worse_than(fixtures, decisions, earlier, places=places))
    place = data.draw(st.integers(0, count - 1))
    worse = list(decisions)
    if labels[place] != -1 and decisions[place] == labels[place]:
        worse[place] = data.draw(st.sampled_from([1 - labels[place], -1, None]))
    after = list(worse_than(fixtures, tuple(worse), earlier, places=places))
    kinds = {(one.cohort, one.label): one.found for one in after}
    assert all(kinds.get((one.cohort, one.label), 0) >= one.found for one in before)
    for one in after:
        assert one.found > one.earlier
        assert all(earlier[case] == labels[case] != worse[case] for case in one.cases)
        assert one.cases, "worse in a kind means worse in a case of it"
