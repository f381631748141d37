"""What the report of a history says, to the number and the word: what was found, and where."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.verifier.record import test_key_change as keyed
from tests.unit.verifier.record.lives import KEY as LIFE_KEY
from tests.unit.verifier.record.lives import RECEIVER, RECEIVER_KEY, Life
from tests.unit.verifier.record.test_checkpoint import (
    KEY,
    check,
    checkpoint,
    events,
    head,
    signed,
)
from tests.unit.verifier.record.test_key_change import FIRST, KEYS, SECOND, THIEF, THIRD, TWICE

from primum_verifier.core.document import canonical_json, sha256_hex
from primum_verifier.core.errors import RefusedError
from primum_verifier.record.chain import (
    MAX_EVENT_BYTES,
    Gap,
    HistoryReport,
    Unsigned,
    check_history,
    read_history,
)


def received(life: Life, *lines: bytes) -> HistoryReport:
    return check_history(lines or life.lines(), device_key=LIFE_KEY, receivers=[RECEIVER_KEY])


def lived(count: int) -> Life:
    """A device with so many events, all signed."""
    life = Life()
    for _ in range(count - 1):
        life.record("agent.started")
    life.head()
    return life


# Without anything


def test_of_nothing_nothing_is_said() -> None:
    report = check()
    assert not report.whole
    assert (report.first, report.last, report.proven_to, report.received_to) == (0, 0, 0, 0)
    assert (report.events, report.gaps, report.unsigned) == (0, (), ())


def test_one_signed_event_is_a_whole_history() -> None:
    (only,) = events(1)
    assert check(only, head(only, 1)).whole


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (head(b"x", 3), "a signed head names an event not here"),
        (checkpoint(b"x", 3), "a signed checkpoint names an event not here"),
    ],
)
def test_a_signature_alone_names_what_is_not_here(line: bytes, why: str) -> None:
    assert check(line).gaps == (Gap(0, 3, why),)


def test_a_receipt_alone_names_what_is_not_here() -> None:
    life = lived(3)
    life.receipt()
    why = "a receiver countersigned an event that is not here"
    assert received(life, *life.receipts).gaps == (Gap(0, 3, why),)
    assert received(life, life.events[0], *life.receipts).gaps == (Gap(1, 3, why),)


# Gaps


def test_missing_events_are_counted() -> None:
    made = events(9)
    assert check(*made[:2], *made[6:], head(made[8], 9)).gaps == (Gap(2, 7, "4 events missing"),)


def test_events_that_do_not_join_are_named_by_both() -> None:
    made, other = events(4), [line.replace(b'"n":2', b'"n":7') for line in events(4)]
    report = check(made[0], other[1], *made[2:], head(made[3], 4))
    assert report.gaps == (Gap(2, 3, "the digest of the event before does not agree"),)
    assert report.unsigned == (Unsigned(1, 2),)


def test_a_first_event_that_names_one_before_it_is_no_first_one() -> None:
    line = events(1)[0].replace(b"0" * 64, b"a" * 64)
    report = check(line, head(line, 1))
    assert report.gaps == (Gap(0, 1, "the first event names one before it"),)


def test_two_events_of_one_number_are_named_and_repetitions_are_counted() -> None:
    made = events(3)
    twin = made[1].replace(b'"n":2', b'"n":9')
    report = check(*made, twin, made[0], made[2], made[2], head(made[2], 3))
    assert report.gaps == (Gap(2, 2, "two different events with one number"),)
    assert report.duplicates == 3


def test_a_head_over_another_event_is_named() -> None:
    made = events(3)
    report = check(*made, head(b"another", 2), head(made[2], 3))
    assert report.gaps == (Gap(2, 2, "a signed head names another event"),)
    assert (report.heads, report.proven_to) == (1, 3)


def test_a_head_beyond_the_end_is_named_with_the_end() -> None:
    made = events(3)
    report = check(*made, head(made[2], 3), head(b"cut off", 8))
    assert report.gaps == (Gap(3, 8, "a signed head names an event not here"),)


def test_what_a_receiver_holds_otherwise_is_named() -> None:
    life = lived(3)
    life.receipt(2, eventHash="d" * 64)
    life.receipt()
    report = received(life)
    assert report.gaps == (Gap(2, 2, "a receiver countersigned another event"),)
    assert (report.receipts, report.received_to) == (1, 3)


@pytest.mark.parametrize(
    ("line", "gap"),
    [
        (checkpoint(b"another", 3), Gap(3, 3, "a signed checkpoint names another event")),
        (checkpoint(b"x", 9), Gap(6, 9, "a signed checkpoint names an event not here")),
        (
            checkpoint(events(6)[4], 5, firstSequence=2),
            Gap(2, 2, "a signed checkpoint names another beginning"),
        ),
    ],
)
def test_a_checkpoint_that_the_events_contradict_is_named(line: bytes, gap: Gap) -> None:
    """And one that they bear out counts all the same, wherever it stands."""
    made = events(6)
    for lines in ([line, checkpoint(made[3], 4)], [checkpoint(made[3], 4), line]):
        report = check(*made, *lines, head(made[5], 6))
        assert (report.gaps, report.checkpoints) == ((gap,), 1)


def test_an_event_that_does_not_follow_a_checkpoint_is_named() -> None:
    made = events(6)
    report = check(checkpoint(b"another", 3), *made[3:], head(made[5], 6))
    assert report.gaps == (Gap(3, 4, "the event after a signed checkpoint does not follow it"),)


# Pruned


def test_when_it_was_pruned_is_told_by_the_checkpoint() -> None:
    made = events(6)
    (pruned,) = check(checkpoint(made[3], 4), *made[4:], head(made[5], 6)).pruned
    assert (pruned.after, pruned.before) == (0, 5)
    assert f"{pruned.signed_at:%Y-%m-%dT%H:%M:%SZ}" == "2026-06-01T12:00:00Z"


def test_of_a_journal_that_was_lost_after_its_first_event_the_loss_is_counted() -> None:
    lost, fresh = events(1), events(5, begin=1004)
    begun_anew = checkpoint(fresh[2], 1006, firstSequence=1004)
    report = check(*lost, head(lost[0], 1), begun_anew, *fresh[3:], head(fresh[4], 1008))
    assert report.gaps == (Gap(1, 1004, "1002 events missing"),)


# Keys


def chain(changes: dict[int, tuple[int, int]], count: int = 9) -> list[bytes]:
    named = {place: keyed.changing(*pair) for place, pair in changes.items()}
    return keyed.events(count, named)


def test_a_change_of_the_key_that_was_the_first_event_stands_alone() -> None:
    """All around it was pruned; who knows the device by its later key needs no head over it."""
    made = chain({1: (FIRST, SECOND)})
    lines = [made[0], keyed.head(made, 1, by=FIRST), keyed.checkpoint(made, 5, by=SECOND)]
    report = keyed.check(*lines, *made[5:], keyed.head(made, 9, by=SECOND), known=SECOND)
    assert report.whole, report


def test_a_change_of_the_key_that_a_checkpoint_ends_otherwise_is_unsigned() -> None:
    made, other = chain({5: (FIRST, SECOND)}), chain({5: (FIRST, SECOND), 4: (FIRST, FIRST)})
    lines = [other[4], keyed.checkpoint(made, 5, by=SECOND)]
    report = keyed.check(*lines, *made[6:], keyed.head(made, 9, by=SECOND), known=SECOND)
    assert report.unsigned == (Unsigned(5, 5),)
    assert Gap(5, 5, "a signed checkpoint names another event") in report.gaps


def test_one_event_pruned_between_two_changes_is_not_missing() -> None:
    made = chain({3: (FIRST, SECOND), 5: (SECOND, THIRD)})
    heads = [keyed.head(made, 3, by=FIRST), keyed.head(made, 5, by=SECOND)]
    kept = [made[2], made[4], *heads, keyed.checkpoint(made, 7, by=THIRD)]
    report = keyed.check(*kept, *made[7:], keyed.head(made, 9, by=THIRD))
    assert report.whole, report


def test_a_change_that_a_checkpoint_ends_with_is_kept_beside_the_one_before() -> None:
    made = chain({3: (FIRST, SECOND), 6: (SECOND, THIRD)})
    heads = [keyed.head(made, 3, by=FIRST), keyed.head(made, 6, by=SECOND)]
    kept = [made[2], *heads, keyed.checkpoint(made, 6, by=THIRD), *made[5:]]
    report = keyed.check(*kept, keyed.head(made, 9, by=THIRD))
    assert report.whole, report


def test_two_changes_in_a_row_that_do_not_join_are_named() -> None:
    """Attack: the second change of one history is put behind the first of another."""
    pair = {3: (FIRST, SECOND), 4: (SECOND, THIRD)}
    made, other = chain(pair), chain({**pair, 2: (FIRST, FIRST)})
    kept = [other[2], made[3], keyed.head(other, 3, by=FIRST), keyed.head(made, 4, by=SECOND)]
    kept += [keyed.checkpoint(made, 7, by=THIRD), *made[7:], keyed.head(made, 9, by=THIRD)]
    report = keyed.check(*kept)
    assert report.gaps == (Gap(3, 4, "the digest of the event before does not agree"),)


def test_events_lost_between_two_changes_are_not_pruned_by_what_was_begun_anew() -> None:
    """Attack: between the changes a journal was lost; the checkpoint covers the new one alone."""
    made = chain({3: (FIRST, SECOND), 6: (SECOND, THIRD)})
    heads = [keyed.head(made, 3, by=FIRST), keyed.head(made, 6, by=SECOND)]
    for first, whole in ((1, True), (4, True), (5, False)):
        begun_anew = keyed.checkpoint(made, 7, by=THIRD, firstSequence=first)
        kept = [made[2], made[5], *heads, begun_anew, *made[7:]]
        report = keyed.check(*kept, keyed.head(made, 9, by=THIRD))
        assert report.gaps == (() if whole else (Gap(3, 6, "2 events missing"),)), first


# What is signed


def test_who_signed_what_and_where_it_can_be_looked_up() -> None:
    history = read_history([*TWICE, *keyed.HEADS], device_key=KEYS[FIRST])
    assert [(item.head.sequence, item.key_id) for item in history.heads] == [
        (2, KEYS[FIRST].key_id),
        (3, KEYS[FIRST].key_id),
        (5, KEYS[SECOND].key_id),
        (6, KEYS[SECOND].key_id),
        (9, KEYS[THIRD].key_id),
    ]
    assert [item.digest for item in history.heads] == [sha256_hex(line) for line in keyed.HEADS]


def test_who_received_what_and_where_it_can_be_looked_up() -> None:
    """A receipt stands before the head that proves what it covers."""
    life = lived(3)
    line = life.receipt()
    lines = [line, *life.events, *life.heads]
    history = read_history(lines, device_key=LIFE_KEY, receivers=[RECEIVER_KEY])
    (found,) = history.receipts
    assert (found.key_id, found.digest) == (RECEIVER_KEY.key_id, sha256_hex(line))
    assert history.report.whole
    assert len(history.heads) == 1


def test_receipts_of_nobody_known_are_each_counted() -> None:
    life = lived(2)
    for number in (1, 2):
        life.receipt(number)
    assert check_history(life.lines(), device_key=LIFE_KEY).unknown_receipts == 2


# What is refused


def refusal(*lines: bytes, **how: Any) -> RefusedError:
    with pytest.raises(RefusedError) as found:
        check_history(lines, **{"device_key": KEY, **how})
    return found.value


def test_a_line_that_is_nothing_is_named_by_its_place() -> None:
    error = refusal(*events(2), b"", b"{}")
    assert (str(error.reason), error.where) == ("document.invalid", "line 4")
    assert error.message == "The line is neither an event nor a signed head or checkpoint."
    expected = "CloudEvents JSON with sequence and data.prevEventHash, or a DSSE envelope"
    assert error.expected == expected


def test_an_event_is_read_up_to_its_bound() -> None:
    """Attack: one line that is larger than any event."""
    made = {"sequence": "1", "data": {"prevEventHash": "0" * 64, "more": ""}}
    room = MAX_EVENT_BYTES - len(canonical_json(made).strip())
    made["data"]["more"] = "x" * room  # type: ignore[index]
    line = canonical_json(made).strip()
    assert check(line, head(line, 1)).whole
    assert refusal(line.replace(b'"x', b'"xx')).where == "line 1"


def test_a_signature_over_another_kind_of_record_is_no_head() -> None:
    """Attack: what the device's key signed for something else is shown as a head."""
    (line,) = events(1)
    content = {
        "type": "urn:primum:chain-head:v0.1",
        "deviceId": "wearable-001",
        "sequence": 1,
        "eventHash": sha256_hex(line),
        "signedAt": "2026-06-01T12:00:00Z",
    }
    refusal(line, signed(content, "application/vnd.primum.device-context+json"))


def test_another_devices_receipt_is_named_with_whose_history_it_is() -> None:
    life = Life(name="wearable-001")
    line = life.receipt(deviceId="wearable-002")
    known = {"device_key": LIFE_KEY, "receivers": [RECEIVER_KEY]}
    error = refusal(life.events[0], line, **known)
    assert error.message == "The receipt is another device's."
    assert (error.where, error.found, error.expected) == ("line 2", "wearable-002", "wearable-001")
    others = [
        Life(name=f"wearable-00{number}").events[0].replace(b'0001",', b'000%d",' % number)
        for number in (5, 4, 3)
    ]
    error = refusal(life.events[0], *others, line, **known)
    assert error.expected == "wearable-001 or wearable-003", "two are enough to see it"
    unreadable = line.replace(b'"payload":"', b'"payload":"!')
    assert refusal(life.events[0], unreadable, **known).where.startswith("line 2")


def test_whose_key_was_meant_is_said() -> None:
    lines = [*TWICE, *keyed.HEADS]
    known: dict[str, Any] = {"device_key": KEYS[FIRST]}
    for added, found, expected in (
        (keyed.head(TWICE, 9, by=THIEF), "another key", THIRD),
        (keyed.checkpoint(TWICE, 8, by=SECOND), "a key that was changed before", THIRD),
        (keyed.checkpoint(TWICE, 4, by=FIRST), "a key that was changed before", THIRD),
        (keyed.head(TWICE, 4, by=FIRST), "a key that is not in force here", SECOND),
    ):
        error = refusal(*lines, added, **known)
        assert (error.where, error.found) == ("line 15", found)
        assert error.expected == KEYS[expected].key_id
    forged = chain({3: (FIRST, THIEF)}, 5)
    error = refusal(*forged, keyed.head(forged, 5, by=THIEF), **known)
    assert (error.where, error.found) == ("line 6", "a key that nobody before it signed for")
    assert error.expected == KEYS[FIRST].key_id


def test_a_head_that_is_none_is_named_by_its_place() -> None:
    assert keyed.refused(*TWICE, keyed.head(TWICE, 2, by=FIRST, more=1))
    error = refusal(*TWICE, keyed.head(TWICE, 2, by=FIRST, more=1), device_key=KEYS[FIRST])
    assert error.where == "line 10"


def test_a_change_that_names_no_keys_is_named_by_its_place() -> None:
    made = keyed.events(2, {2: {"type": "primum.device.key.changed", "change": {}}})
    assert refusal(*made).where.startswith("line 2: formerKey")


def test_receivers_and_devices_are_told_apart() -> None:
    """A receiver's key signs no head, and a device's no receipt."""
    life = lived(2)
    life.signer = RECEIVER
    life.head()
    refusal(*life.lines(), device_key=LIFE_KEY, receivers=[RECEIVER_KEY])
