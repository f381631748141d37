"""What is told of the edges of an answer: to the second, each with what it is."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.verifier.record.lives import BORN, KEY, RECEIVER_KEY, Life, sealed
from tests.unit.verifier.record.test_served import HOUR, ask, names, only, seconds

from primum_verifier.core.document import sha256_hex
from primum_verifier.core.envelope import HEAD_PAYLOAD_TYPE
from primum_verifier.record.chain import FIRST_PREVIOUS
from primum_verifier.record.served import Edge, Outcome, Served, Stretch, Unknown, served

IDLE: dict[str, Any] = {"lifecycle": "idle", "active": None, "generations": []}


def life_of(hours: int = 5) -> Life:
    """One event an hour, the last of them signed."""
    life = Life()
    for _ in range(hours - 1):
        life.wait(HOUR)
        life.record("agent.started")
    life.head()
    return life


def asked(lines: list[bytes], hour: float) -> Served:
    return served(lines, device_key=KEY, at=BORN + seconds(hour * HOUR), receivers=[RECEIVER_KEY])


def unknowns(found: Served) -> list[Unknown | None]:
    return [stretch.unknown for stretch in found.stretches]


# The answer itself


def test_an_answer_names_the_device_the_instant_and_all_of_time() -> None:
    life = life_of()
    found = ask(life, BORN + seconds(2.5 * HOUR))
    assert (found.device, found.at) == ("wearable-001", BORN + seconds(2.5 * HOUR))
    assert unknowns(found) == [Unknown.BEFORE, None, Unknown.AFTER]


def test_of_nothing_there_is_an_answer_all_the_same() -> None:
    found = served([], device_key=KEY, at=BORN)
    assert (found.device, found.outcome) == ("", Outcome.UNKNOWN)
    assert unknowns(found) == [Unknown.MISSING]


def test_an_edge_names_its_event() -> None:
    life = Life()
    life.install("1.0.0")
    life.wait(HOUR)
    life.head()
    begins = ask(life, BORN + seconds(HOUR / 2)).possible[0].begins
    assert begins is not None
    assert begins.mark.fact is not None
    assert begins.mark.fact.id == json.loads(life.events[3])["id"]
    assert begins.mark.fact.kind == "primum.device.update.activated"


def test_an_event_of_odd_words_is_told_without_them() -> None:
    life = Life()
    life.wait(HOUR)
    content = json.loads(life.events[0])
    for name in ("id", "type", "recordedtime", "time"):
        content[name] = 7
    life.events[0] = json.dumps(content).encode()
    life.head()
    begins = ask(life, BORN + seconds(HOUR / 2)).stretches[1].begins
    assert begins is not None
    fact = begins.mark.fact
    assert fact is not None
    assert (fact.id, fact.kind, fact.happened, fact.recorded) == ("", "", None, None)


# The instant and the edges


def test_an_instant_on_an_edge_may_lie_on_both_sides() -> None:
    life = Life()
    life.install("1.0.0")
    life.wait(HOUR)
    life.head()
    found = ask(life, BORN + seconds(HOUR / 2))
    _, before, switching, after, last = found.stretches
    for earlier, later in ((before, switching), (switching, after), (after, last)):
        edge = later.begins
        assert edge is not None
        assert edge.bounds.earliest is not None
        assert edge.bounds.latest is not None
        assert earlier.holds(edge.bounds.latest)
        assert not earlier.holds(edge.bounds.latest + seconds(1))
        assert later.holds(edge.bounds.earliest)
        assert not later.holds(edge.bounds.earliest - seconds(1))


def test_what_the_clock_says_by_itself_begins_with_its_second_and_ends_before_the_next() -> None:
    life = Life()
    life.wait(HOUR)
    life.install("1.0.0")
    life.wait(HOUR)
    life.install("1.1.0")
    life.wait(HOUR)
    life.head()

    def by_clock(at: Any) -> list[str | None]:
        found = ask(life, at).by_its_clock
        assert found is not None
        return [None if it is None else it.name[-5:] for it in found.might]

    activated, activating = life.at[3], life.at[5]
    assert by_clock(activated) == ["1.0.0"]
    assert by_clock(activated - seconds(1)) == [None, "1.0.0"]
    assert by_clock(activating - seconds(1)) == ["1.0.0"]
    assert by_clock(activating) == ["1.0.0", "1.1.0"]
    assert by_clock(life.now - seconds(1)) == ["1.1.0"]
    assert ask(life, life.now).by_its_clock is None, "what followed is not here"


# What happened before it was recorded


@pytest.mark.parametrize(
    ("quality", "earliest"), [("synchronised", 2 * HOUR - 16 - 600), ("free-running", None)]
)
def test_what_happened_earlier_than_it_was_recorded_began_earlier(
    quality: str, earliest: float | None
) -> None:
    """As far as the clock is believed; where it is not, nobody knows how much earlier."""
    life = Life()
    life.wait(HOUR)
    life.record("agent.started")
    life.wait(HOUR)
    life.clock(quality)
    life.install("1.0.0")
    content = json.loads(life.events[4])
    happened = life.at[4] - timedelta(seconds=604)
    content["time"] = happened.strftime("%Y-%m-%dT%H:%M:%SZ")
    life.events[4] = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    life.head()
    found = ask(life, life.now)
    begins = found.stretches[3].begins
    assert begins is not None
    assert begins.mark.sequence == 5
    expected = None if earliest is None else BORN + seconds(earliest)
    assert begins.bounds.earliest == expected


@pytest.mark.parametrize("member", ["time", "recordedtime"])
def test_an_event_that_says_one_of_its_moments_alone_is_no_obstacle(member: str) -> None:
    life = life_of(2)
    content = json.loads(life.events[1])
    content[member] = "some day"
    life.events[1] = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    life.wait(HOUR)
    life.heads.clear()
    life.head()
    assert ask(life, BORN + seconds(HOUR / 2)).outcome is Outcome.SAFE_MODE


# Switching


def test_a_switch_to_nobody_knows_where_is_not_told_as_one_to_nothing() -> None:
    life = Life()
    life.install("1.0.0")
    life.wait(HOUR)
    life.record("update.activating", state="activating", change={"target": 9})
    life.wait(HOUR)
    life.record("update.interrupted", change={"target": None})
    life.wait(HOUR)
    life.head()
    assert names(ask(life, life.now - seconds(1.5 * HOUR))) == [["1.0.0"]]


# Pruned, or missing


def pruned(**more: Any) -> tuple[Life, bytes]:
    life = life_of(12)
    return life, life.checkpoint(8, IDLE, **more)


def test_before_a_part_of_what_was_pruned_it_was_pruned() -> None:
    """An earlier export holds some of the events that the checkpoint stands for."""
    life, checkpoint = pruned()
    part = [*life.events[4:6], life.head(6)]
    found = asked([*part, checkpoint, *life.events[8:], life.heads[0]], 2)
    assert unknowns(found) == [Unknown.PRUNED, None, Unknown.PRUNED, None, Unknown.AFTER]
    assert found.possible[0].ends is not None
    assert found.possible[0].ends.mark.sequence == 5


def test_the_checkpoints_own_event_begins_what_is_here() -> None:
    life, checkpoint = pruned()
    found = asked([life.events[7], checkpoint, *life.events[8:], life.heads[0]], 2)
    assert unknowns(found) == [Unknown.PRUNED, None, Unknown.AFTER]


@pytest.mark.parametrize(
    ("first", "why"),
    [(1, Unknown.PRUNED), (3, Unknown.PRUNED), (4, Unknown.MISSING), (5, Unknown.MISSING)],
)
def test_between_two_parts_it_was_pruned_where_one_checkpoint_covers_all(
    first: int, why: Unknown
) -> None:
    life, checkpoint = pruned(firstSequence=first)
    parts = [*life.events[:2], life.head(2), *life.events[5:7], life.head(7)]
    found = asked([*parts, checkpoint, *life.events[8:], life.heads[0]], 3.5)
    assert unknowns(found)[:4] == [Unknown.BEFORE, None, why, None]


def test_what_a_checkpoint_does_not_reach_is_missing() -> None:
    life, checkpoint = pruned()
    lines = [*life.events[4:8], checkpoint, *life.events[9:], life.heads[0]]
    found = asked(lines, 8)
    assert unknowns(found) == [Unknown.PRUNED, None, Unknown.MISSING, None, Unknown.AFTER]


# The line that is proven


def test_a_checkpoint_beside_the_events_that_it_stands_for_is_no_second_one() -> None:
    life, checkpoint = pruned()
    whole = ask(life, BORN + seconds(3.5 * HOUR))
    found = asked([*life.events, *life.heads, checkpoint], 3.5)
    assert [item.might for item in found.stretches] == [item.might for item in whole.stretches]
    assert len(found.stretches) == 3


def test_a_checkpoint_whose_next_event_is_not_here_marks_nothing() -> None:
    life, checkpoint = pruned()
    found = asked([checkpoint, *life.events[9:], life.heads[0]], 9)
    edges = [edge for item in found.stretches for edge in (item.begins, item.ends) if edge]
    assert 8 not in {edge.mark.sequence for edge in edges}


def test_one_event_that_a_checkpoint_alone_proves_stands_for_itself() -> None:
    life = life_of(5)
    checkpoint = life.checkpoint(1, IDLE)
    found = asked([life.events[0], checkpoint, *life.events[2:], *life.heads], 1)
    assert unknowns(found) == [Unknown.BEFORE, None, Unknown.MISSING, None, Unknown.AFTER]
    begins, ends = found.stretches[2].begins, found.stretches[2].ends
    assert begins is not None
    assert ends is not None
    assert (begins.mark.sequence, ends.mark.sequence) == (1, 3)


def test_a_clock_that_says_no_quality_is_told_without_one() -> None:
    life = life_of(3)
    checkpoint = life.checkpoint(1, IDLE)
    head = {
        "type": "urn:primum:chain-head:v0.1",
        "deviceId": life.name,
        "sequence": 3,
        "eventHash": sha256_hex(life.events[2]),
        "signedAt": "2026-06-01T20:00:00Z",
    }
    line = sealed(head, HEAD_PAYLOAD_TYPE, life.signer)
    found = asked([checkpoint, *life.events[1:], line], 1)
    known: Stretch = found.stretches[1]
    assert known.begins is not None
    assert known.ends is not None
    assert (known.begins.mark.reading.shown, known.begins.mark.reading.quality) == (None, "")
    assert known.ends.mark.reading.quality == ""
    assert known.ends.bounds.latest is None


def test_two_lines_begun_anew_at_one_number_part_there() -> None:
    """Attack: after a loss, two devices with one key go on at the same number."""
    life = life_of(4)
    clone = Life()
    clone.events, clone.at, clone.now = list(life.events), list(life.at), life.now
    for one in (life, clone):
        one.wait(HOUR if one is life else 2 * HOUR)
        one.record("journal.restarted", previous=FIRST_PREVIOUS)
        one.head()
    found = asked([*life.lines(), *clone.lines()], 3.5)
    assert found.disputed_from == 5
    assert unknowns(found) == [Unknown.BEFORE, None, Unknown.DISPUTED]
    last = found.stretches[-1].begins
    assert last is not None
    assert last.mark.sequence == 4


def test_where_two_lines_part_nothing_of_either_counts() -> None:
    life, clone = life_of(4), Life()
    clone.events, clone.at, clone.now = list(life.events), list(life.at), life.now
    for one in (life, clone):
        one.wait(HOUR if one is life else 2 * HOUR)
        one.install("1.0.0")
        one.head()
    found = asked([*life.lines(), *clone.lines()], 3.5)
    assert found.disputed_from == 5
    last = found.stretches[-1].begins
    assert last is not None
    assert last.mark.sequence == 4


# Receipts


def test_a_receipt_covers_from_its_first_event_on_and_nothing_before() -> None:
    life = life_of(6)
    life.events[2:] = []
    life.at[2:] = []
    life.heads.clear()
    life.install("1.0.0")
    life.head()
    for first, covered in ((1, {1, 4, 5}), (4, {4, 5}), (5, {5})):
        life.receipts.clear()
        life.receipt(5, firstSequence=first)
        found = ask(life, life.now)
        edges: list[Edge] = [item.begins for item in found.stretches if item.begins is not None]
        told = {edge.mark.sequence for edge in edges if edge.received is not None}
        assert told == covered


def test_only_a_release_that_served_is_named() -> None:
    life = Life()
    life.install("1.0.0")
    life.wait(HOUR)
    life.head()
    assert only(ask(life, BORN + seconds(HOUR / 2))).name == "pvc-classifier 1.0.0"
