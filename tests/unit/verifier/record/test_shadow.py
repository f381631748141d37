"""What is counted of a shadow is what a plain recount finds; what leaves a device finds nobody."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.unit.verifier.record.test_monitoring import WHOLE, read

from primum_verifier.core.eligibility import Eligibility
from primum_verifier.core.errors import RefusedError
from primum_verifier.record.cells import withheld
from primum_verifier.record.shadow import (
    Compared,
    Decided,
    ShadowOutcome,
    ShadowShape,
    ShadowTally,
    outcome_of,
    told_cells,
)
from primum_verifier.record.shadow_summary import ShadowSummary

EXAMPLES = Path(__file__).parents[4] / "docs" / "examples"
EXAMPLE = json.loads((EXAMPLES / "eligibility-statement.json").read_text("utf-8"))
LEAST = 11
WORDS: list[Decided] = ["positive", "negative", "no decision"]
SHAPE = ShadowShape(
    differences=(0.01, 0.05, 0.25),
    latencies=(5.0, 50.0),
    groups={"age-band": ("18-44", "45-64"), "sex": ("female", "male", "other")},
)
numbers = st.floats(allow_nan=True, allow_infinity=True)
comparisons = st.builds(
    Compared,
    outcome=st.sampled_from(ShadowOutcome),
    difference=st.none() | numbers | st.sampled_from([0.0, 0.01, 0.05, 0.25]),
    latency_ms=st.none() | st.floats(0, 1e6) | st.sampled_from([5.0, 50.0]),
    groups=st.dictionaries(
        st.sampled_from(["age-band", "sex", "ward"]),
        st.sampled_from(["18-44", "45-64", "female", "other", "", "unheard of"]),
    ),
)


def tallied(found: list[Compared]) -> ShadowTally:
    tally = ShadowTally(SHAPE)
    for one in found:
        tally.add(one)
    return tally


def bin_of(value: float, edges: tuple[float, ...]) -> int:
    """By the words of the specification: the first holds what is below the first edge."""
    return sum(1 for edge in edges if value >= edge)


@given(found=st.lists(comparisons, max_size=80))
def test_counters_are_what_a_plain_recount_finds(found: list[Compared]) -> None:
    tally = tallied(found)
    assert tally.outcomes == {
        name: sum(one.outcome is name for one in found) for name in tally.outcomes
    }
    assert tally.comparisons == len(found)
    far = [one.difference for one in found if one.difference is not None]
    finite = [value for value in far if abs(value) < float("inf")]
    counted = Counter(bin_of(value, SHAPE.differences) for value in finite)
    assert tally.differences == [counted[place] for place in range(4)]
    took = Counter(
        bin_of(one.latency_ms, SHAPE.latencies) for one in found if one.latency_ms is not None
    )
    assert tally.latencies == [took[place] for place in range(3)]
    for key, groups in SHAPE.groups.items():
        for alike, cells in ((True, tally.agreed[key]), (False, tally.flipped[key])):
            same = [one for one in found if (one.outcome is ShadowOutcome.AGREED) is alike]
            by_group = [sum(one.groups.get(key) == group for one in same) for group in groups]
            assert cells == [*by_group, len(same) - sum(by_group)]
    kept = json.loads(json.dumps(tally.as_dict()))
    assert ShadowTally.from_dict(kept, SHAPE).as_dict() == tally.as_dict()


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.booleans())
def test_no_cell_below_the_smallest_is_told_and_none_follows_from_a_sum(
    cells: list[int], hide_sum: bool
) -> None:
    told = withheld(cells, LEAST, hide_sum=hide_sum)
    assert all(cell is None or cell == count for cell, count in zip(told, cells, strict=True))
    assert all(cell is None or cell >= LEAST for cell in told)
    gone = told.count(None)
    assert gone != 1 or len(cells) == 1
    assert not hide_sum or gone >= min(2, len(cells))
    if not hide_sum and min(cells) >= LEAST:
        assert gone == 0, "nothing is withheld for nothing"


@given(found=st.lists(comparisons, max_size=60), times=st.integers(1, 30))
def test_a_summary_is_one_that_a_receiver_reads_and_withholds_what_sums_would_tell(
    found: list[Compared], times: int
) -> None:
    tally = tallied(found * times)
    told = told_cells(tally, least=LEAST)
    summary = ShadowSummary.model_validate_json(json.dumps(IDENTITY | told))
    assert summary.dropped == 0
    outcomes = list(told["outcomes"].values())
    assert outcomes.count(None) != 1
    for cohort in told["cohorts"].values():
        rows = [*cohort["groups"].values(), cohort["unnamed"]]
        agreed, flipped = [row["agreed"] for row in rows], [row["flipped"] for row in rows]
        assert 1 not in {agreed.count(None), flipped.count(None)}
        if told["outcomes"]["agreed"] is None:
            assert agreed.count(None) >= 2


IDENTITY: dict[str, Any] = {
    "mode": "shadow",
    "release": "1" * 64,
    "statement": "2" * 64,
    "beside": "3" * 64,
    "monitoringSpecification": "4" * 64,
    "window": 1,
    "windowHours": 24,
    "minimumCellCount": LEAST,
}


def test_a_summary_with_a_small_cell_is_refused_by_whoever_reads_it() -> None:
    told = told_cells(tallied([]), least=LEAST)
    told["outcomes"]["agreed"] = 10
    with pytest.raises(ValidationError):
        ShadowSummary.model_validate_json(json.dumps(IDENTITY | told))


def test_two_decisions_compare_in_every_way_they_can() -> None:
    found = {(one, other): outcome_of(one, other) for one in WORDS for other in WORDS}
    agreed = {pair for pair, outcome in found.items() if outcome is ShadowOutcome.AGREED}
    assert agreed == {(word, word) for word in WORDS}
    assert found["negative", "positive"] is ShadowOutcome.TO_POSITIVE
    assert found["positive", "negative"] is ShadowOutcome.TO_NEGATIVE
    others = [
        outcome for pair, outcome in found.items() if "no decision" in pair and pair not in agreed
    ]
    assert set(others) == {ShadowOutcome.UNDECIDED}


def shadow(**members: Any) -> Any:
    return WHOLE | {"shadow": WHOLE["shadow"] | members}


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"differenceEdges": ["0.1", "0.05"]}, "do not strictly rise"),
        ({"differenceEdges": ["0", "0.05"]}, "do not strictly rise from above 0"),
        ({"latencyEdgesMs": ["10", "10.0"]}, "do not strictly rise"),
        ({"latencyEdgesMs": []}, "at least 1 item"),
        ({"latencyEdgesMs": [str(edge) for edge in range(1, 40)]}, "at most 32"),
        ({"cohorts": ["sex"]}, "a cohort key that is not named"),
        ({"cohorts": ["age-band", "age-band"]}, "stands twice"),
        ({"outputs": True}, "Extra inputs"),
    ],
)
def test_bins_that_count_nothing_or_that_nobody_signed_are_refused(
    members: dict[str, Any], says: str
) -> None:
    with pytest.raises(RefusedError) as caught:
        read(shadow(**members))
    assert says in str(caught.value.found)


def test_the_signed_bins_are_numbers_with_open_ends() -> None:
    spec = read(WHOLE)
    shape = spec.shadow_shape
    assert shape is not None
    assert shape.differences == (0.01, 0.05, 0.1, 0.25)
    tally = ShadowTally(shape)
    tally.add(Compared(outcome=ShadowOutcome.AGREED, difference=0.25, latency_ms=4.999))
    assert tally.differences == [0, 0, 0, 0, 1]
    assert tally.latencies[0] == 1
    tally.add(Compared(outcome=ShadowOutcome.UNDECIDED))
    assert (tally.flips, tally.comparisons) == (1, 2)
    assert tally.groups_of("age-band") == spec.shadow_groups["age-band"]


def test_without_signed_bins_there_is_no_shape() -> None:
    assert (
        read({name: part for name, part in WHOLE.items() if name != "shadow"}).shadow_shape is None
    )


def test_counters_of_another_specification_are_not_counted_on() -> None:
    """A file that was kept under other bins, or that somebody changed."""
    kept = ShadowTally(SHAPE).as_dict()
    other = ShadowShape(differences=(0.5,), latencies=SHAPE.latencies, groups=SHAPE.groups)
    for content, shape in ((kept, other), (kept | {"dropped": -1}, SHAPE), ([], SHAPE)):
        with pytest.raises(ValueError, match="not those of the signed specification"):
            ShadowTally.from_dict(content, shape)


USE = EXAMPLE["predicate"]["use"]
STUDY = {
    "protocolId": "P-1",
    "approvalRef": "EC-7",
    "until": "2027-01-01T00:00:00Z",
    "sites": ["x"],
}
FIRST = {"minHours": 48, "minComparisons": 1000, "maxFlipShare": "0.01"}


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"decision": "shadow-only", "use": USE | {"mode": "shadow", "shadowFirst": FIRST},
          "study": STUDY},
         "what is for shadow only is never used after it"),
        ({"use": USE | {"shadowFirst": FIRST}, "monitoringSpecification": None},
         "shadow first needs the specification"),
    ],
)  # fmt: skip
def test_a_time_in_shadow_that_cannot_be_counted_or_that_leads_nowhere_is_refused(
    members: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        Eligibility.model_validate_json(json.dumps(EXAMPLE["predicate"] | members))
