"""Which delta is taken, and what a list of deltas may say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from primum_verifier.core.document import parse_document
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.delta.choosing import DeltaTerms, Power, choose_delta, wanted_saving
from primum_verifier.delta.delta_list import Delta, DeltaList, delta_list_target

A, B, C, D, E = (letter * 64 for letter in "abcde")
RESULT, OTHER = "1" * 64, "2" * 64
FIRST: dict[str, Any] = {
    "result": {"sha256": RESULT},
    "resultLength": 1000,
    "base": {"sha256": A},
    "baseLength": 900,
    "length": 400,
    "digest": {"sha256": C},
    "computedBytes": 1000,
}
SMALLER: dict[str, Any] = {
    **FIRST,
    "base": {"sha256": B},
    "length": 300,
    "digest": {"sha256": D},
}


def listed(*deltas: dict[str, Any], **changed: object) -> DeltaList:
    content = {
        "type": "urn:primum:delta-list:v0.1",
        "schemaVersion": "0.1",
        "id": "urn:uuid:1b4e28ba-2fa1-4d2e-883f-0016d3cca427",
        "number": 1,
        "issuedAt": "2026-11-23T05:00:00Z",
        "release": {"sha256": OTHER},
        "deltas": list(deltas),
        **changed,
    }
    return parse_document(DeltaList, json.dumps(content).encode(), where="deltas.json")


def chosen(
    *deltas: dict[str, Any],
    held: frozenset[tuple[str, int]] = frozenset({(A, 900), (B, 900)}),
    failed: frozenset[str] = frozenset(),
    saving: int = 10,
    length: int = 1000,
) -> Delta | None:
    return choose_delta(
        listed(*deltas).deltas,
        result=RESULT,
        length=length,
        holds=lambda sha256, of: (sha256, of) in held,
        failed=failed,
        terms=DeltaTerms(min_saving_percent=saving),
        power=Power(),
    )


def test_the_smallest_delta_from_a_file_that_is_held_is_taken() -> None:
    taken = chosen(FIRST, SMALLER)
    assert taken is not None
    assert taken.digest.sha256 == D
    only = chosen(FIRST, SMALLER, held=frozenset({(A, 900)}))
    assert only is not None
    assert only.digest.sha256 == C


def test_the_whole_file_is_taken_where_no_delta_fits() -> None:
    assert chosen(FIRST, held=frozenset()) is None
    assert chosen(FIRST, held=frozenset({(A, 901)})) is None
    assert chosen(FIRST, length=1001) is None
    assert chosen({**FIRST, "result": {"sha256": OTHER}}) is None
    assert chosen() is None


def test_a_delta_that_failed_is_not_taken_again() -> None:
    taken = chosen(FIRST, SMALLER, failed=frozenset({D}))
    assert taken is not None
    assert taken.digest.sha256 == C
    assert chosen(FIRST, SMALLER, failed=frozenset({C, D})) is None


def test_what_a_delta_saves_has_to_be_worth_it() -> None:
    assert chosen(FIRST, saving=60) is not None
    assert chosen(FIRST, saving=61) is None


def test_no_file_is_read_for_a_delta_that_would_not_be_taken() -> None:
    asked: list[str] = []

    def holds(sha256: str, _: int) -> bool:
        asked.append(sha256)
        return True

    choose_delta(
        listed(FIRST, SMALLER).deltas,
        result=RESULT,
        length=1000,
        holds=holds,
        failed=frozenset(),
        terms=DeltaTerms(),
        power=Power(),
    )
    assert asked == [B]


@pytest.mark.parametrize(
    ("power", "percent"),
    [
        (Power(), 10),
        (Power(battery_percent=29.9), 50),
        (Power(battery_percent=30), 10),
        (Power(battery_percent=5, is_charging=True), 10),
    ],
)
def test_a_low_battery_asks_for_more(power: Power, percent: int) -> None:
    (delta,) = listed(FIRST).deltas
    assert wanted_saving(delta, terms=DeltaTerms(), power=power) == percent


def test_a_low_battery_asks_no_more_of_what_is_mostly_copied() -> None:
    """Copying costs a battery next to nothing, a radio costs it each byte."""
    low = Power(battery_percent=1)
    for computed, percent in ((499, 10), (500, 50)):
        (delta,) = listed({**FIRST, "computedBytes": computed}).deltas
        assert wanted_saving(delta, terms=DeltaTerms(), power=low) == percent


def test_a_low_battery_never_asks_for_less() -> None:
    terms = DeltaTerms(min_saving_percent=70, min_saving_percent_low_battery=50)
    (delta,) = listed(FIRST).deltas
    assert wanted_saving(delta, terms=terms, power=Power(battery_percent=1)) == 70


@pytest.mark.parametrize(
    "wrong",
    [
        {"length": 1000},
        {"length": 0},
        {"computedBytes": 1001},
        {"base": {"sha256": RESULT}},
        {"unknown": 1},
    ],
)
def test_a_list_with_a_delta_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(RefusedError) as caught:
        listed({**FIRST, **wrong})
    assert caught.value.reason is Reason.DOCUMENT_INVALID


def test_two_ways_from_one_file_to_one_other_are_refused() -> None:
    with pytest.raises(RefusedError):
        listed(FIRST, {**FIRST, "digest": {"sha256": E}})


def test_a_list_stands_beside_its_manifest() -> None:
    assert delta_list_target("ecg", "1.2.0") == "releases/ecg/1.2.0/deltas.json"
