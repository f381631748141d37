"""May the release serve this patient now? What is not known is never a yes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.verifier.bending import asked, both, constraint, facts, noticed, statement
from tests.unit.verifier.conftest import World

from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import Phase
from primum_verifier.keeping.episode import Answer, Episode, Permission, may_use

ENDS = datetime(2026, 7, 1, tzinfo=UTC)
TERMS: dict[str, Any] = {
    "mode": "clinical",
    "protocol": None,
    "banner": "",
    "notAfter": "2026-07-01T00:00:00Z",
    "onExpiry": "continue-with-notice",
    "layers": [],
}
LEFT_ATRIUM, PACED = "http://snomed.info/sct|1", "http://snomed.info/sct|2"
ECG = {"channel": "ecg", "code": "131328", "unit": "mV", "rateHz": "360"}


def terms(*layers: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**TERMS, "layers": list(layers), **changes}


def answer(given_terms: Any, *, now: datetime | None = None, **known: Any) -> Answer:
    return may_use(given_terms, Episode(**known), now=now).answer


YES, NO = Answer.ALLOW, Answer.REFUSE
ROWS: dict[str, tuple[dict[str, Any], dict[str, Any], Answer]] = {
    "nothing asked, nothing known": ({}, {}, YES),
    "the least age": ({"ageYearsMin": 18}, {"age_years": 18}, YES),
    "below the least age": ({"ageYearsMin": 18}, {"age_years": 17}, NO),
    "the least age not known": ({"ageYearsMin": 18}, {}, NO),
    "the least age of nought": ({"ageYearsMin": 0}, {"age_years": 0}, YES),
    "the least age of nought not known": ({"ageYearsMin": 0}, {}, NO),
    "the most age": ({"ageYearsMax": 80}, {"age_years": 80}, YES),
    "above the most age": ({"ageYearsMax": 80}, {"age_years": 81}, NO),
    "the most age not known": ({"ageYearsMax": 80}, {}, NO),
    "the sex": ({"sex": "female"}, {"sex": "female"}, YES),
    "another sex": ({"sex": "female"}, {"sex": "male"}, NO),
    "the sex not known": ({"sex": "female"}, {}, NO),
    "no sex asked": ({}, {"sex": "male"}, YES),
    "a category": (
        {"patientCategories": ["adult", "paediatric"]},
        {"patient_category": "paediatric"},
        YES,
    ),
    "another category": ({"patientCategories": ["adult"]}, {"patient_category": "neonatal"}, NO),
    "the category not known": ({"patientCategories": ["adult"]}, {}, NO),
    "no category allowed": ({"patientCategories": []}, {"patient_category": "adult"}, NO),
    "every code that must apply": (
        {"include": [LEFT_ATRIUM, PACED]},
        {"codes": frozenset({LEFT_ATRIUM, PACED, "x|3"})},
        YES,
    ),
    "one code that must apply is missing": (
        {"include": [LEFT_ATRIUM, PACED]},
        {"codes": frozenset({LEFT_ATRIUM})},
        NO,
    ),
    "the codes that must apply not known": ({"include": [LEFT_ATRIUM]}, {}, NO),
    "no code that must not apply": ({"exclude": [PACED]}, {"codes": frozenset()}, YES),
    "a code that must not apply": ({"exclude": [PACED]}, {"codes": frozenset({PACED})}, NO),
    "the codes that must not apply not known": ({"exclude": [PACED]}, {}, NO),
    "the input": ({"inputs": [ECG]}, {"inputs": {"ecg": ("131328", "mV", 360.0)}}, YES),
    "the input at another rate": (
        {"inputs": [ECG]},
        {"inputs": {"ecg": ("131328", "mV", 250.0)}},
        NO,
    ),
    "the input in another unit": (
        {"inputs": [ECG]},
        {"inputs": {"ecg": ("131328", "uV", 360.0)}},
        NO,
    ),
    "the input with another code": (
        {"inputs": [ECG]},
        {"inputs": {"ecg": ("131329", "mV", 360.0)}},
        NO,
    ),
    "another input": ({"inputs": [ECG]}, {"inputs": {"ppg": ("131328", "mV", 360.0)}}, NO),
    "the inputs not known": ({"inputs": [ECG]}, {}, NO),
    "a condition that is met": (
        {"conditions": [{"code": "on-mains", "text": "On mains."}]},
        {"conditions_met": frozenset({"on-mains"})},
        YES,
    ),
    "a condition that is not met": (
        {"conditions": [{"code": "on-mains", "text": "On mains."}]},
        {"conditions_met": frozenset({"dry"})},
        NO,
    ),
}
TOLD = {
    "below the least age": "age: 17",
    "the least age not known": "age: not known",
    "the least age of nought not known": "age: not known",
    "above the most age": "age: 81",
    "the most age not known": "age: not known",
    "another sex": "sex: male",
    "the sex not known": "sex: not known",
    "another category": "category: neonatal",
    "the category not known": "category: not known",
    "no category allowed": "category: adult",
    "one code that must apply is missing": "indications: outside, or not known",
    "the codes that must apply not known": "indications: outside, or not known",
    "a code that must not apply": "indications: outside, or not known",
    "the codes that must not apply not known": "indications: outside, or not known",
    "the input at another rate": "input ecg: not as validated, or not there",
    "the input in another unit": "input ecg: not as validated, or not there",
    "the input with another code": "input ecg: not as validated, or not there",
    "another input": "input ecg: not as validated, or not there",
    "the inputs not known": "input ecg: not as validated, or not there",
    "a condition that is not met": "not met: On mains.",
}
REASONS = {
    "inputs": Reason.COMPAT_CONTRACT,
    "conditions": Reason.ELIGIBILITY_CONDITION,
}


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_each_term_is_met_or_refuses_for_its_own_reason(row: str) -> None:
    layer, known, expected = ROWS[row]
    found = may_use(terms(layer), Episode(**known), now=None)
    assert found.answer == expected
    assert bool(found) is (expected is YES)
    reason = REASONS.get(next(iter(layer), ""), Reason.ELIGIBILITY_POPULATION)
    assert found.reason == (reason if expected is NO else None)
    assert found.found == (TOLD[row] if expected is NO else "every term of use is met")


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_banner_is_shown_with_every_yes_and_with_no_refusal(row: str) -> None:
    layer, known, expected = ROWS[row]
    found = may_use(terms(layer, banner="Under review."), Episode(**known), now=None)
    wanted = (Answer.REFUSE, "") if expected is NO else (Answer.ALLOW_WITH_BANNER, "Under review.")
    assert (found.answer, found.banner) == wanted


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("clinical", YES), ("investigational", YES), ("shadow", NO), ("later", NO), (None, NO)],
)
def test_only_modes_whose_outputs_may_be_shown_serve_a_patient(
    mode: str | None, expected: Answer
) -> None:
    found = may_use(terms(mode=mode), Episode(), now=None)
    assert found.answer == expected
    assert found.reason == (None if expected is YES else Reason.ELIGIBILITY_MODE)


@pytest.mark.parametrize(
    ("action", "takes_away"),
    [
        ("notify-only", False),
        ("continue-with-notice", False),
        ("fall-back", True),
        ("suspend-ai-function", True),
        ("something-later", True),
    ],
)
def test_its_end_is_applied_only_where_no_agent_runs(action: str, *, takes_away: bool) -> None:
    ended = terms(onExpiry=action)
    assert answer(ended, now=None) is YES
    assert answer(ended, now=ENDS - timedelta(seconds=1)) is YES
    found = may_use(ended, Episode(), now=ENDS)
    assert found.answer is (NO if takes_away else Answer.ALLOW_WITH_BANNER)
    assert takes_away or found.banner.endswith("has ended.")
    assert found.reason == (Reason.ELIGIBILITY_EXPIRED if takes_away else None)


def test_a_term_that_this_build_does_not_know_refuses() -> None:
    found = may_use(terms({"moonPhase": "full", "highTide": "x"}), Episode(), now=None)
    assert found == Permission(
        NO, Reason.ELIGIBILITY_CRIT_UNKNOWN, "unknown terms: highTide, moonPhase", ""
    )


UNREADABLE: dict[str, Any] = {
    "nothing": {},
    "no object": None,
    "a list": [],
    "no time": terms(notAfter="soon"),
    "a time that is a number": terms(notAfter=3),
    "layers that are none": terms(layers=None),
    "a layer that is a list": terms([]),  # type: ignore[arg-type]
    "a layer that is a number": terms(3),  # type: ignore[arg-type]
    "an age that is a text": terms({"ageYearsMin": "18"}),
    "codes that are none": terms({"include": None}),
    "a sex that is a list": terms({"sex": []}),
    "categories that are a number": terms({"patientCategories": 3}),
    "a rate that is a word": terms({"inputs": [{**ECG, "rateHz": "fast"}]}),
    "a rate beyond every number": terms({"inputs": [{**ECG, "rateHz": 10**400}]}),
    "an input that is a text": terms({"inputs": ["ecg"]}),
    "an input without unit": terms({"inputs": [{"channel": "ecg", "code": "1", "rateHz": "1"}]}),
    "a channel that is a list": terms({"inputs": [{**ECG, "channel": []}]}),
    "a condition without text": terms({"conditions": [{"code": "on-mains"}]}),
    **{
        f"without {name}": {k: v for k, v in TERMS.items() if k != name}
        for name in TERMS
        if name != "protocol"
    },
}
KNOWN: dict[str, Any] = {
    "age_years": 40,
    "sex": "female",
    "patient_category": "adult",
    "codes": frozenset({LEFT_ATRIUM}),
    "inputs": {"ecg": ("131328", "mV", 360.0)},
}


@pytest.mark.parametrize("case", UNREADABLE, ids=str)
def test_terms_that_cannot_be_read_permit_nothing(case: str) -> None:
    found = may_use(UNREADABLE[case], Episode(**KNOWN), now=ENDS - timedelta(days=1))
    assert found == Permission(NO, Reason.STATE_DAMAGED, "the terms of use cannot be read", "")


episodes = st.builds(
    Episode,
    age_years=st.none() | st.integers(0, 100),
    sex=st.none() | st.sampled_from(["female", "male"]),
    patient_category=st.none() | st.sampled_from(["adult", "paediatric", "neonatal"]),
    codes=st.none() | st.frozensets(st.sampled_from([LEFT_ATRIUM, PACED])),
    inputs=st.none() | st.just({"ecg": ("131328", "mV", 360.0)}),
    conditions_met=st.frozensets(st.sampled_from(["on-mains", "dry"])),
)
layers = st.fixed_dictionaries(
    {},
    optional={
        "ageYearsMin": st.integers(0, 100),
        "ageYearsMax": st.integers(0, 100),
        "sex": st.sampled_from(["female", "male"]),
        "patientCategories": st.lists(st.sampled_from(["adult", "paediatric", "neonatal"])),
        "include": st.lists(st.sampled_from([LEFT_ATRIUM, PACED])),
        "exclude": st.lists(st.sampled_from([LEFT_ATRIUM, PACED])),
        "inputs": st.just([ECG]),
        "conditions": st.just([{"code": "on-mains", "text": "On mains."}]),
    },
)
moments = st.none() | st.integers(-9, 9).map(lambda days: ENDS + timedelta(days=days))


@given(
    before=st.lists(layers, max_size=2),
    more=layers,
    episode=episodes,
    now=moments,
    action=st.sampled_from(["continue-with-notice", "fall-back"]),
)
def test_one_more_term_never_widens(
    before: list[dict[str, Any]],
    more: dict[str, Any],
    episode: Episode,
    now: datetime | None,
    action: str,
) -> None:
    first = may_use(terms(*before, onExpiry=action), episode, now=now)
    then = may_use(terms(*before, more, onExpiry=action), episode, now=now)
    assert first or not then


@given(asked_for=layers, episode=episodes)
def test_what_is_granted_to_a_stranger_is_granted_to_everybody(
    asked_for: dict[str, Any], episode: Episode
) -> None:
    if may_use(terms(asked_for), Episode(), now=None):
        assert may_use(terms(asked_for), episode, now=None)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(name=st.sampled_from(sorted(TERMS)), value=json_values, layer=st.booleans(), now=moments)
def test_whatever_stands_in_the_terms_is_answered(
    name: str, value: Any, *, layer: bool, now: datetime | None
) -> None:
    spoilt = terms({"inputs": value, "include": value}) if layer else terms(**{name: value})
    assert may_use(spoilt, Episode(**KNOWN), now=now).answer in Answer


def test_a_verdict_hands_on_what_is_known_at_the_episode_only(world: World) -> None:
    everything = both(
        constraint(
            patientCategories=["adult"],
            population={
                "enforce": "inference",
                "ageYearsMin": 18,
                "ageYearsMax": 80,
                "sex": "female",
                "include": [{"system": "http://snomed.info/sct", "code": "1"}],
                "exclude": [{"system": "http://snomed.info/sct", "code": "2"}],
            },
            inputs=[ECG],
        ),
        statement(
            conditions=[
                {"code": "on-mains", "text": "On mains.", "enforce": "inference"},
                {"code": "read-it", "text": "Read it.", "enforce": "labelling"},
            ]
        ),
        facts(asks_per_episode=True),
        noticed(
            "clinical",
            "quality",
            kind="field-action",
            action="notify-only",
            userNotice="Mind the electrodes.",
        ),
    )
    verdict = asked(world, everything, phase=Phase.CONTINUE)
    given_terms = verdict.per_episode
    known: dict[str, Any] = {**KNOWN, "conditions_met": frozenset({"on-mains"})}
    found = may_use(given_terms, Episode(**known), now=None)
    assert (found.answer, found.banner) == (Answer.ALLOW_WITH_BANNER, "Mind the electrodes.")
    for name in known:
        less = {key: value for key, value in known.items() if key != name}
        assert not may_use(given_terms, Episode(**less), now=None), name


def test_what_stands_on_the_label_only_is_asked_of_nobody(world: World) -> None:
    verdict = asked(world, constraint(population={"enforce": "labelling", "ageYearsMin": 18}))
    assert verdict.per_episode["layers"] == []
    assert may_use(verdict.per_episode, Episode(), now=None).answer is YES


def test_investigational_use_is_never_without_a_banner(world: World) -> None:
    world.decide("investigational")
    found = may_use(asked(world).per_episode, Episode(), now=None)
    assert found.answer is Answer.ALLOW_WITH_BANNER
    assert "PVC-1" in found.banner


def test_a_shadow_serves_no_patient(world: World) -> None:
    world.decide("shadow-only")
    assert answer(asked(world).per_episode) is NO
