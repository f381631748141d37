"""An event that no agent writes is refused, and by the member that is wrong."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.record.chain import FIRST_PREVIOUS, MAX_EVENT_BYTES
from primum_verifier.record.event import ProvenanceEvent, parse_event

EXAMPLES = Path(__file__).parents[4] / "docs" / "examples"
EVENT: dict[str, Any] = json.loads((EXAMPLES / "event.json").read_text("utf-8"))
RELEASE = EVENT["data"]["activeManifest"]


def read(content: dict[str, Any]) -> ProvenanceEvent:
    return parse_event(json.dumps(content).encode(), where="test")


def with_members(**members: Any) -> dict[str, Any]:
    return {**copy.deepcopy(EVENT), **members}


def with_data(**members: Any) -> dict[str, Any]:
    content = copy.deepcopy(EVENT)
    content["data"] |= members
    return content


def with_change(**members: Any) -> dict[str, Any]:
    content = copy.deepcopy(EVENT)
    content["data"]["change"] |= members
    return content


def beginning(kind: str, number: int, previous: str = FIRST_PREVIOUS) -> dict[str, Any]:
    content = with_data(prevEventHash=previous)
    return {**content, "type": f"primum.device.{kind}", "sequence": f"{number:020}"}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "another version of CloudEvents": (with_members(specversion="0.3"), "specversion"),
    "a kind that no agent writes": (with_members(type="primum.device.update.blessed"), "type"),
    "somebody else's source": (with_members(source="urn:other:device:wearable-017"), "source"),
    "a source that is a path": (with_members(source="urn:primum:device:../x"), "source"),
    "a number without its zeros": (with_members(sequence="412"), "sequence"),
    "digits of another alphabet": (with_members(sequence="0" * 17 + "\u0664" * 3), "sequence"),
    "a summary of a shadow without one": (
        with_members(type="primum.device.shadow.summary"),
        "shadow stands with",
    ),
    "number nought": (with_members(sequence="0" * 20), "numbered from 1"),
    "a moment without a zone": (with_members(time="2026-06-01T02:14:09"), "time"),
    "a journal that begins in the middle": (beginning("journal.begun", 2), "begins with number 1"),
    "a first event that begins nothing": (beginning("agent.started", 1), "only the first event"),
    "a beginning after another event": (
        beginning("journal.begun", 1, "a" * 64),
        "only the first event",
    ),
    "an event that hides the one before it": (
        with_data(prevEventHash=FIRST_PREVIOUS),
        "only the first event",
    ),
    "half a step": (with_data(to=None), "stimulus, from and to stand together"),
    "a step without its stimulus": (
        with_data(stimulus=None),
        "stimulus, from and to stand together",
    ),
    "a step that leads elsewhere": (with_data(state="idle"), "state is not where the step led to"),
    "a release without its eligibility": (
        with_data(eligibility=None),
        "activeManifest and eligibility stand together",
    ),
    "an eligibility without its release": (
        with_data(activeManifest=None),
        "activeManifest and eligibility stand together",
    ),
    "a clock better than any": (with_data(clock={"quality": "perfect"}), "data.clock.quality"),
    "a result that is no word of ours": (with_data(result="fine"), "data.result"),
    "a reason that is no code of ours": (with_data(reasons=["because"]), "data.reasons"),
    "a hash that stands inside what it covers": (with_data(eventHash="a" * 64), "data.eventHash"),
    "a change that no agent folds": (with_change(root=True), "data.change.root"),
    "a generation in parts": (with_change(generation={"number": 7}), "data.change.generation"),
    "a generation taken away": (with_change(generation=None), "generation cannot be taken away"),
    "a floor taken away": (with_change(counterFloor=None), "counterFloor cannot be taken away"),
    "a floor below nought": (with_change(counterFloor=-1), "data.change.counterFloor"),
    "a fault of no release": (with_change(fault={"all": "x"}), "data.change.fault"),
    "a wait that ends before it begins": (
        with_change(unproven={RELEASE: {"times": 1, "notBefore": -1.0}}),
        "data.change.unproven",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_it_is_refused(name: str) -> None:
    content, words = WRONG[name]
    with pytest.raises(RefusedError) as caught:
        read(content)
    assert caught.value.reason is Reason.DOCUMENT_INVALID
    assert words in caught.value.found


RIGHT = {
    "as it stands": EVENT,
    "the first of a journal": beginning("journal.begun", 1),
    "the first after a loss": beginning("journal.restarted", 5000),
    "the first after a loss of everything": beginning("journal.restarted", 1),
    "no release in use": with_data(activeManifest=None, eligibility=None),
    "no step": with_data(stimulus=None, **{"from": None}, to=None),
    "what is new in a later agent": with_members(traceparent="00-1-2-00"),
    "whatever people want to see": with_data(detail={"nested": [{"deep": [1.5, None, "x"]}]}),
}


@pytest.mark.parametrize("name", RIGHT)
def test_it_is_read(name: str) -> None:
    event = read(RIGHT[name])
    assert parse_event(event.to_bytes(), where="again") == event


def test_what_is_taken_away_stays_distinct_from_what_is_left_alone() -> None:
    change = read(EVENT).data.change
    assert change.target is None
    assert "target" in change.model_fields_set
    assert change.generation is None
    assert "generation" not in change.model_fields_set
    again = json.loads(read(EVENT).to_bytes())
    assert again == EVENT


def test_an_event_knows_its_place_and_its_device() -> None:
    event = read(EVENT)
    assert (event.number, event.device_id) == (412, "wearable-017")


def test_an_event_too_large_is_refused_unread() -> None:
    with pytest.raises(RefusedError, match="cannot be read"):
        read(with_data(detail={"text": "x" * MAX_EVENT_BYTES}))


@given(
    data=st.binary() | st.recursive(st.none() | st.integers(), st.lists).map(repr).map(str.encode)
)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(RefusedError):
        parse_event(data, where="test")


GENERATION: dict[str, Any] = {
    "number": 7,
    "component": "pvc-classifier",
    "version": "2.1.0",
    "release": RELEASE,
    "counter": 9,
    "floor_counter": 7,
    "statement": "b" * 64,
    "statement_number": 23,
    "health_window": 600,
    "max_attempts": 3,
    "proven": False,
}


def generation(**members: Any) -> dict[str, Any]:
    return with_change(generation={**GENERATION, **members})


def texts(count: int) -> dict[str, str]:
    return {f"{number:064}": "" for number in range(count)}


AT_THE_EDGE: dict[str, tuple[Callable[[int], dict[str, Any]], int, int]] = {
    "length of a source": (
        lambda size: with_members(source="urn:primum:device:".ljust(size, "a")),
        120,
        121,
    ),
    "seconds of a health window": (lambda value: generation(health_window=value), 86_400, 86_401),
    "no health window": (lambda value: generation(health_window=value), 1, 0),
    "attempts": (lambda value: generation(max_attempts=value), 20, 21),
    "no attempt": (lambda value: generation(max_attempts=value), 1, 0),
    "generations collected": (
        lambda count: with_change(collected=list(range(1, count + 1))),
        1000,
        1001,
    ),
    "conclusions": (lambda count: with_change(conclusion=texts(count)), 1000, 1001),
    "releases waited for": (
        lambda count: with_change(
            unproven={name: {"times": 1, "notBefore": 0.5} for name in texts(count)}
        ),
        1000,
        1001,
    ),
    "members of a detail": (
        lambda count: with_data(detail={str(number): 0 for number in range(count)}),
        100,
        101,
    ),
    "length of a label": (lambda size: with_data(detail={"x" * size: 0}), 200, 201),
    "reasons": (
        lambda count: with_data(reasons=["usage"] * count),
        len(Reason),
        len(Reason) + 1,
    ),
}


@pytest.mark.parametrize("name", AT_THE_EDGE)
def test_a_bound_is_where_it_is_said_to_be(name: str) -> None:
    build, last_good, first_bad = AT_THE_EDGE[name]
    read(build(last_good))
    with pytest.raises(RefusedError):
        read(build(first_bad))
