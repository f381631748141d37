"""Which release served at an instant: never what did not, and never more than is proven."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner
from tests.unit.verifier.record.lives import (
    BORN,
    KEY,
    RECEIVER_KEY,
    Life,
    digest_of,
    key_of,
)

from primum_verifier.core.errors import RefusedError
from primum_verifier.record.chain import FIRST_PREVIOUS
from primum_verifier.record.in_use import Release
from primum_verifier.record.served import Outcome, Served, Unknown, served

HOUR = 3600.0


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def ask(life: Life, at: datetime, **more: Any) -> Served:
    lines = more.pop("lines", None) or life.lines()
    return served(lines, device_key=KEY, at=at, receivers=[RECEIVER_KEY], **more)


def names(found: Served) -> list[list[str | None]]:
    return [
        [None if one is None else one.name[-5:] for one in item.might] for item in found.possible
    ]


def only(found: Served) -> Release:
    (release,) = found.possible[0].might
    assert release is not None
    return release


@pytest.fixture
def life() -> Life:
    """Installed after an hour, another after two, taken away after three, signed to its end."""
    made = Life()
    for name in ("1.0.0", "1.1.0"):
        made.wait(HOUR)
        made.install(name)
        made.head()
    made.wait(HOUR)
    made.leave()
    made.wait(HOUR)
    made.head()
    return made


def test_what_served_is_told_with_everything_that_proves_it(life: Life) -> None:
    found = ask(life, BORN + seconds(1.5 * HOUR))
    assert found.outcome is Outcome.RELEASE
    release = only(found)
    assert (release.name, release.mode) == ("pvc-classifier 1.0.0", "clinical")
    assert release.digest == digest_of("1.0.0")
    assert (release.statement, release.statement_number) == (digest_of("1.0.0 1"), 1)
    (stretch,) = found.possible
    assert stretch.situation is not None
    assert stretch.situation.self_test is not None
    assert stretch.situation.self_test.statement == digest_of("test of 1.0.0")
    assert (stretch.situation.self_test.event, stretch.situation.self_test.result) == (2, "passed")
    assert stretch.begins is not None
    assert stretch.ends is not None
    assert (stretch.begins.mark.sequence, stretch.ends.mark.sequence) == (4, 6)
    assert stretch.begins.bounds.seconds == 33
    assert stretch.begins.signed is not None
    assert stretch.begins.signed.head.sequence == 4
    assert stretch.ends.signed is not None
    assert stretch.ends.signed.head.sequence == 7


def test_that_nothing_was_allowed_to_run_is_an_answer(life: Life) -> None:
    before = ask(life, BORN + seconds(0.5 * HOUR))
    assert (before.outcome, before.is_certain) == (Outcome.SAFE_MODE, True)
    assert before.possible[0].situation is not None
    assert before.possible[0].situation.why == ()
    after = ask(life, BORN + seconds(3.5 * HOUR))
    assert (after.outcome, after.is_certain) == (Outcome.SAFE_MODE, True)
    assert after.possible[0].situation is not None
    assert after.possible[0].situation.why == ("eligibility.withdrawn", "nothing else")


def test_around_a_switch_both_are_named_and_neither_is_claimed(life: Life) -> None:
    found = ask(life, life.at[6])
    assert found.outcome is Outcome.UNCERTAIN
    assert names(found) == [["1.0.0"], ["1.0.0", "1.1.0"], ["1.1.0"]]


def test_a_switch_that_takes_long_is_named_as_a_change() -> None:
    life = Life()
    life.install("1.0.0")
    life.wait(HOUR)
    life.install("1.1.0", takes=HOUR)
    life.head()
    found = ask(life, BORN + seconds(1.5 * HOUR))
    assert found.outcome is Outcome.CHANGING
    assert names(found) == [["1.0.0", "1.1.0"]]


def test_a_switch_that_was_taken_back_may_have_served_meanwhile() -> None:
    life = Life()
    life.install("1.0.0")
    life.wait(HOUR)
    made = life.generation("1.1.0")
    change = {"generation": made, "target": made["number"]}
    life.record("update.activating", state="activating", change=change)
    life.wait(HOUR)
    life.record("update.interrupted", change={"target": None})
    life.wait(HOUR)
    life.head()
    found = ask(life, BORN + seconds(1.5 * HOUR))
    assert (found.outcome, names(found)) == (Outcome.CHANGING, [["1.0.0", "1.1.0"]])
    assert only(ask(life, BORN + seconds(2.5 * HOUR))).digest == digest_of("1.0.0")


def test_while_a_release_is_left_all_that_may_be_told_is_named() -> None:
    life = Life()
    for name in ("1.0.0", "1.1.0"):
        life.install(name)
        life.wait(HOUR)
    life.leave("1.0.0", takes=HOUR)
    life.wait(HOUR)
    life.head()
    found = ask(life, life.now - seconds(1.5 * HOUR))
    assert found.outcome is Outcome.CHANGING
    assert names(found) == [["1.1.0", None, "1.0.0"]]


@pytest.mark.parametrize("way", ["stop", "reset"])
def test_a_stop_or_a_reset_ends_the_use_before_the_event_that_says_so(way: str) -> None:
    life = Life()
    life.install("1.0.0")
    life.wait(HOUR)
    if way == "stop":
        life.record("safe-mode.asked", change={"stopped": "too many alarms"})
    else:
        life.record("reset.begun")
    life.serve(None)
    life.wait(HOUR)
    life.used = None
    life.record("safe-mode.entered" if way == "stop" else "reset.done", change={"active": None})
    life.wait(HOUR)
    life.head()
    found = ask(life, life.now - seconds(1.5 * HOUR))
    assert found.outcome is Outcome.CHANGING
    assert names(found) == [["1.0.0", None]]
    assert ask(life, life.now - seconds(0.5 * HOUR)).outcome is Outcome.SAFE_MODE


def test_before_the_first_event_and_after_the_last_signed_moment_nothing_is_known(
    life: Life,
) -> None:
    before = ask(life, BORN - seconds(HOUR))
    assert (before.outcome, before.possible[0].unknown) == (Outcome.UNKNOWN, Unknown.BEFORE)
    after = ask(life, life.now + seconds(HOUR))
    assert (after.outcome, after.possible[0].unknown) == (Outcome.UNKNOWN, Unknown.AFTER)
    # The last that is known stands at the edge.
    assert after.possible[0].begins is not None
    assert after.possible[0].begins.mark.head is not None


def test_a_head_signed_later_carries_the_answer_to_its_own_moment(life: Life) -> None:
    at = life.now + seconds(10 * HOUR)
    assert ask(life, at).outcome is Outcome.UNKNOWN
    life.wait(20 * HOUR)
    life.head()
    assert ask(life, at).outcome is Outcome.SAFE_MODE


def test_an_unsigned_tail_counts_for_nothing(life: Life) -> None:
    """Attack: whoever holds the file writes at its end that another release was in use."""
    life.wait(HOUR)
    life.install("6.6.6")
    life.wait(HOUR)
    found = ask(life, life.now - seconds(0.5 * HOUR))
    assert (found.outcome, found.possible[0].unknown) == (Outcome.UNKNOWN, Unknown.AFTER)
    assert "6.6.6" not in str(names(found))
    assert [(part.first, part.last) for part in found.report.unsigned] == [(10, 12)]


def test_a_gap_is_unknown_and_what_lies_apart_from_it_stands(life: Life) -> None:
    """Attack: the events of a switch are cut out, so that what ran seems to have run on."""
    lines = [line for line in life.lines() if line not in life.events[4:7]]
    found = ask(life, BORN + seconds(2.5 * HOUR), lines=lines)
    assert (found.outcome, found.possible[0].unknown) == (Outcome.UNKNOWN, Unknown.MISSING)
    assert found.report.gaps
    assert ask(life, BORN + seconds(1.0 * HOUR - 60), lines=lines).outcome is Outcome.SAFE_MODE
    assert ask(life, BORN + seconds(3.5 * HOUR), lines=lines).outcome is Outcome.SAFE_MODE


def test_a_cut_off_end_is_no_proof_that_nothing_followed(life: Life) -> None:
    """Attack: the withdrawal is cut off at the end, heads and all."""
    lines = [*life.events[:7], *life.heads[:2]]
    found = ask(life, BORN + seconds(3.5 * HOUR), lines=lines)
    assert (found.outcome, found.possible[0].unknown) == (Outcome.UNKNOWN, Unknown.AFTER)


def test_the_order_of_the_file_and_repetitions_change_nothing(life: Life) -> None:
    lines = [*life.lines(), *life.lines()]
    random.Random(3).shuffle(lines)
    at = BORN + seconds(2.5 * HOUR)
    assert only(ask(life, at, lines=lines)) == only(ask(life, at))


def test_a_forged_event_of_the_same_number_is_not_in_the_way(life: Life) -> None:
    """Attack: before the true events stands another that says otherwise."""
    forged = life.events[3].replace(digest_of("1.0.0").encode(), b"6" * 64)
    found = ask(life, BORN + seconds(1.5 * HOUR), lines=[forged, *life.lines()])
    assert only(found).digest == digest_of("1.0.0")
    assert not found.report.whole


def test_another_devices_key_head_or_history_is_refused(life: Life) -> None:
    other = CryptoSigner.generate_ed25519()
    with pytest.raises(RefusedError):
        served(life.lines(), device_key=key_of(other), at=BORN)
    life.signer = other
    life.head()
    with pytest.raises(RefusedError):
        ask(life, BORN)


def test_the_history_of_another_device_with_this_key_is_refused(life: Life) -> None:
    with pytest.raises(RefusedError) as caught:
        ask(life, BORN, device="wearable-002")
    assert caught.value.found == "wearable-001"
    stranger = Life(name="wearable-002")
    with pytest.raises(RefusedError):
        ask(life, BORN, lines=[*life.lines(), *stranger.lines()])


def fork(life: Life, number: int) -> Life:
    """The same key and journal a second time, up to an event."""
    made = Life()
    made.events, made.at = list(life.events[:number]), list(life.at[:number])
    made.now, made.generations, made.used = life.at[number - 1], life.generations, "1.0.0"
    return made


def test_a_clone_ends_what_can_be_said_where_the_two_part(life: Life) -> None:
    """Attack: two devices with one key; which of them is meant, nobody can say."""
    clone = fork(life, 4)
    clone.wait(60)
    clone.record("agent.started")
    clone.head()
    lines = [*life.lines(), *clone.lines()]
    found = ask(life, BORN + seconds(2.5 * HOUR), lines=lines)
    assert found.disputed_from == 5
    assert (found.outcome, found.possible[-1].unknown) == (Outcome.UNKNOWN, Unknown.DISPUTED)
    assert ask(life, BORN + seconds(0.5 * HOUR), lines=lines).outcome is Outcome.SAFE_MODE


@pytest.mark.parametrize("left", ["head", "receipt", "events without their beginning"])
def test_a_second_line_of_which_only_a_trace_is_here_leaves_nothing(life: Life, left: str) -> None:
    """Attack: the clone's events are kept back; where the two part cannot be told."""
    clone = fork(life, 4)
    clone.wait(60)
    for _ in range(2):
        clone.record("agent.started")
    clone.head()
    clone.receipt()
    trace = {
        "head": clone.heads,
        "receipt": clone.receipts,
        "events without their beginning": [clone.events[5], *clone.heads],
    }[left]
    found = ask(life, BORN + seconds(0.5 * HOUR), lines=[*life.lines(), *trace])
    assert found.disputed_from == 1
    assert (found.outcome, found.possible[0].unknown) == (Outcome.UNKNOWN, Unknown.DISPUTED)


def test_an_event_that_follows_another_than_the_signed_one_is_a_trace_of_a_second_line() -> None:
    """Attack: of the clone's line only the end is here, and its numbers do not overlap."""
    life = Life()
    life.wait(HOUR)
    life.head()
    life.record("agent.started", previous="d" * 64)
    life.head()
    assert ask(life, BORN + seconds(HOUR / 2)).disputed_from == 1


def test_a_journal_begun_anew_leaves_a_time_of_which_nothing_is_known() -> None:
    life = Life()
    life.wait(HOUR)
    life.head()
    life.wait(HOUR)
    life.record("journal.restarted", previous=FIRST_PREVIOUS)
    life.wait(HOUR)
    life.head()
    found = ask(life, BORN + seconds(1.5 * HOUR))
    assert found.disputed_from is None
    assert [item.unknown for item in found.possible] == [Unknown.MISSING]
    assert ask(life, BORN + seconds(0.5 * HOUR)).outcome is Outcome.SAFE_MODE
    assert ask(life, BORN + seconds(2.5 * HOUR)).outcome is Outcome.SAFE_MODE


def test_a_head_behind_a_gap_is_not_shown_as_signing_what_lies_before() -> None:
    life = Life()
    for _ in range(5):
        life.wait(HOUR)
        life.record("agent.started")
    life.checkpoint(2, {"lifecycle": "idle", "active": None, "generations": []})
    life.head()
    lines = [*life.events[:2], *life.events[4:], *life.heads, *life.checkpoints]
    found = ask(life, BORN + seconds(0.5 * HOUR), lines=lines)
    (stretch,) = found.possible
    assert found.outcome is Outcome.SAFE_MODE
    assert stretch.begins is not None
    assert stretch.begins.signed is None


@pytest.mark.parametrize("quality", ["free-running", "unset"])
def test_a_bad_clock_widens_the_answer_and_its_neighbours_bound_it(quality: str) -> None:
    life = Life()
    life.wait(HOUR)
    life.clock(quality, error=-20 * HOUR)
    life.install("1.0.0")
    life.clock("synchronised")
    life.wait(HOUR)
    life.record("agent.started")
    life.head()
    found = ask(life, BORN + seconds(1.5 * HOUR))
    assert found.outcome is Outcome.UNCERTAIN
    assert names(found) == [[None], [None, "1.0.0"], ["1.0.0"]]
    begins = found.possible[-1].begins
    assert begins is not None
    assert begins.bounds.earliest == BORN - seconds(16)
    assert begins.bounds.latest is not None
    assert begins.bounds.latest >= BORN + seconds(2 * HOUR)


def test_a_receipt_bounds_a_bad_clock_from_outside() -> None:
    life = Life()
    life.wait(HOUR)
    life.clock("free-running", error=5 * HOUR)
    life.install("1.0.0")
    life.head()
    life.receipt()
    life.wait(HOUR)
    life.clock("synchronised")
    life.record("agent.started")
    life.head()
    found = ask(life, BORN + seconds(1.5 * HOUR))
    assert (found.outcome, only(found).digest) == (Outcome.RELEASE, digest_of("1.0.0"))
    begins = found.possible[0].begins
    assert begins is not None
    assert begins.received is not None
    assert begins.bounds.latest is not None
    assert begins.bounds.latest < BORN + seconds(1.1 * HOUR)
    without = served(life.lines(), device_key=KEY, at=BORN + seconds(1.5 * HOUR))
    assert without.outcome is Outcome.UNCERTAIN
    assert without.report.unknown_receipts == 1


def test_a_receipt_refutes_a_clock_that_was_ahead() -> None:
    """Attack: a time server that the device believes is years ahead for a while."""
    life = Life()
    life.clock("synchronised", error=20_000 * HOUR)
    life.install("1.0.0")
    life.head()
    life.receipt()
    life.clock("synchronised")
    life.wait(HOUR)
    life.record("agent.started")
    life.head()
    found = ask(life, BORN + seconds(0.5 * HOUR))
    assert (found.outcome, only(found).digest) == (Outcome.RELEASE, digest_of("1.0.0"))
    assert found.clocks_left_out == (2, 3, 4), "the head over 4 gives way with it"


def test_clocks_that_contradict_each_other_are_all_left_out() -> None:
    life = Life()
    life.wait(HOUR)
    life.clock("synchronised", error=20_000 * HOUR)
    life.install("1.0.0")
    life.clock("synchronised")
    life.wait(HOUR)
    life.record("agent.started")
    life.head()
    found = ask(life, BORN + seconds(1.5 * HOUR))
    assert found.outcome is Outcome.UNCERTAIN
    assert found.clocks_left_out == (2, 3, 4, 5)
    assert names(found) == [[None], [None, "1.0.0"], ["1.0.0"]]


def test_who_asks_may_believe_a_free_running_clock_to_a_bound() -> None:
    life = Life()
    life.clock("free-running", error=100.0)
    life.wait(HOUR)
    life.install("1.0.0")
    life.wait(2 * HOUR)
    life.record("agent.started")
    life.head()
    at = BORN + seconds(2 * HOUR)
    assert ask(life, at).outcome is Outcome.UNKNOWN
    by_itself = ask(life, at).by_its_clock
    assert by_itself is not None
    assert [one and one.digest for one in by_itself.might] == [digest_of("1.0.0")]
    assert ask(life, at, free_running=120).outcome is Outcome.RELEASE


def test_what_was_pruned_is_told_apart_and_the_checkpoint_says_how_it_was_left() -> None:
    life = Life()
    life.install("1.0.0")
    life.wait(HOUR)
    for _ in range(3):
        life.record("agent.started")
        life.wait(HOUR)
    life.head()
    state = {
        "lifecycle": "idle",
        "active": 1,
        "generations": [life.generations["1.0.0"]],
        "stopped": "",
    }
    life.checkpoint(5, state)
    lines = [*life.events[5:], *life.heads, *life.checkpoints]
    found = ask(life, BORN + seconds(0.5 * HOUR), lines=lines)
    assert [item.unknown for item in found.possible] == [Unknown.PRUNED, None]
    assert names(found)[1] == ["1.0.0"]
    later = ask(life, BORN + seconds(2.5 * HOUR), lines=lines)
    assert (later.outcome, only(later).name) == (Outcome.RELEASE, "pvc-classifier 1.0.0")
    assert only(later).statement_number == 1


def test_an_event_of_tomorrow_is_not_guessed_at() -> None:
    life = Life()
    life.install("1.0.0")
    life.wait(HOUR)
    life.record("agent.pondering", state="pondering")
    life.wait(HOUR)
    life.record("agent.started")
    life.wait(HOUR)
    life.head()
    found = ask(life, BORN + seconds(1.5 * HOUR))
    assert (found.outcome, found.possible[0].unknown) == (Outcome.UNKNOWN, Unknown.NOT_UNDERSTOOD)
    assert ask(life, BORN + seconds(2.5 * HOUR)).outcome is Outcome.RELEASE


def test_no_event_at_all_is_no_answer() -> None:
    found = served([], device_key=KEY, at=BORN)
    assert (found.outcome, found.is_certain) == (Outcome.UNKNOWN, False)
    assert [item.unknown for item in found.possible] == [Unknown.MISSING]


def test_an_event_told_later_than_it_happened_bounds_with_both_times(life: Life) -> None:
    content = json.loads(life.events[-1])
    life.wait(HOUR)
    life.install("2.0.0")
    content = json.loads(life.events[-1])
    content["time"] = "2026-06-01T16:50:00Z"
    life.events[-1] = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    life.wait(HOUR)
    life.head()
    found = ask(life, BORN + seconds(5.5 * HOUR))
    begins = found.possible[0].begins
    assert begins is not None
    assert begins.bounds.earliest == BORN + seconds(4 * HOUR + 50 * 60 - 16)


@pytest.mark.parametrize(
    "spoiled",
    [
        {"activeManifest": 7},
        {"activeManifest": "x"},
        {"eligibility": None},
        {"eligibility": {"digest": "0", "number": 1}},
        {"state": None},
        {"state": ["idle"]},
        {"change": [1], "state": {}},
        {"change": {"generation": {"number": "1", "release": 2}, "target": "x"}, "state": "?"},
        {"detail": {"statement": 3}, "clock": 3, "reasons": {"a": 1}, "state": 0},
    ],
)
def test_odd_words_of_the_device_itself_end_in_not_understood(spoiled: dict[str, Any]) -> None:
    life = Life()
    life.install("1.0.0")
    life.wait(HOUR)
    life.record("selftest.passed", **spoiled)
    life.wait(HOUR)
    life.head()
    found = ask(life, life.now - seconds(0.5 * HOUR))
    assert found.outcome is Outcome.UNKNOWN
    assert {item.unknown for item in found.possible} <= {
        Unknown.NOT_UNDERSTOOD,
        Unknown.AFTER,
        None,
    }


NAMES = ("1.0.0", "1.1.0", "2.0.0")
STEP = st.one_of(
    st.tuples(st.just("wait"), st.floats(0, 5000)),
    st.tuples(st.just("synchronised"), st.floats(-15.9, 15.9)),
    st.tuples(st.just("free-running"), st.floats(-1e6, 1e6)),
    st.tuples(st.just("unset"), st.just(0.0)),
    st.tuples(st.just("install"), st.sampled_from(NAMES)),
    st.tuples(st.just("leave"), st.booleans()),
    st.tuples(st.just("note"), st.none()),
    st.tuples(st.just("head"), st.none()),
    st.tuples(st.just("receipt"), st.floats(-15.9, 15.9)),
)


def lived(steps: list[tuple[str, Any]]) -> Life:
    life = Life()
    for what, how in steps:
        life.wait(0.3)
        match what:
            case "wait":
                life.wait(how)
            case "synchronised" | "free-running" | "unset":
                life.clock(what, how)
            case "install" if life.used != how:
                life.install(how)
            case "leave" if life.used is not None:
                held = [name for name in life.generations if name != life.used]
                life.leave(held[0] if how and held else None)
            case "note":
                life.record("agent.started")
            case "head":
                life.head()
            case "receipt":
                life.receipt(off=how)
    return life


@settings(max_examples=150, deadline=None)
@given(
    steps=st.lists(STEP, min_size=3, max_size=40),
    share=st.floats(-0.05, 1.05),
    lost=st.sets(st.integers(0, 60), max_size=3),
    seed=st.integers(0, 99),
)
def test_no_answer_ever_contradicts_what_truly_was(
    steps: list[tuple[str, Any]], share: float, lost: set[int], seed: int
) -> None:
    """Whatever the clocks said, whatever was lost, and in whatever order the file is."""
    life = lived(steps)
    at = BORN + (life.now - BORN) * share
    lines = [line for place, line in enumerate(life.lines()) if place not in lost]
    random.Random(seed).shuffle(lines)
    found = served(lines, device_key=KEY, at=at, receivers=[RECEIVER_KEY])
    truth = None if at < BORN else life.serving(at)
    digests = {None if one is None else one.digest for item in found.possible for one in item.might}
    expected = None if truth is None else digest_of(truth)
    if found.is_certain:
        assert digests == {expected}
    elif found.outcome is not Outcome.UNKNOWN:
        assert expected in digests
    for stretch in found.stretches:
        for edge in (stretch.begins, stretch.ends):
            if edge is None or edge.mark.fact is None:
                continue
            true = life.at[edge.mark.sequence - 1]
            assert edge.bounds.earliest is None or edge.bounds.earliest <= true
            assert edge.bounds.latest is None or true <= edge.bounds.latest
    assert found.possible, "every instant lies somewhere"


def test_two_lines_that_both_lack_what_is_before_their_parting_leave_nothing() -> None:
    """Attack: the events around the parting are cut out of both."""
    life = Life()
    for _ in range(6):
        life.wait(HOUR)
        life.record("agent.started")
    life.head()
    clone = Life()
    clone.events, clone.at = list(life.events[:3]), list(life.at[:3])
    for _ in range(3):
        clone.record("agent.stopped")
    clone.head()
    lines = [*life.events[5:], *life.heads, clone.events[5], *clone.heads]
    assert ask(life, BORN + seconds(5.5 * HOUR), lines=lines).disputed_from == 1


def test_a_checkpoint_that_is_not_understood_is_not_guessed_at() -> None:
    life = Life()
    life.install("1.0.0")
    for _ in range(3):
        life.wait(HOUR)
        life.record("agent.started")
    made = life.generations["1.0.0"]
    for state in (
        {"lifecycle": "idle", "active": 7, "generations": [made]},
        {"lifecycle": "idle", "active": 1, "generations": [made | {"statement": "x"}]},
    ):
        life.checkpoints.clear()
        life.checkpoint(5, state)
        life.heads.clear()
        life.head()
        lines = [*life.events[5:], *life.heads, *life.checkpoints]
        found = ask(life, BORN + seconds(1.5 * HOUR), lines=lines)
        assert Unknown.NOT_UNDERSTOOD in {item.unknown for item in found.possible}


def test_what_a_checkpoint_alone_vouches_for_is_shown_without_a_head() -> None:
    life = Life()
    for _ in range(2):
        life.wait(HOUR)
        life.record("agent.started")
    life.checkpoint(3, {"lifecycle": "idle", "active": None, "generations": []})
    found = ask(life, BORN + seconds(0.5 * HOUR), lines=[*life.events, b"", *life.checkpoints])
    assert found.outcome is Outcome.SAFE_MODE
    begins = found.possible[0].begins
    assert begins is not None
    assert begins.signed is None


def test_a_test_of_what_runs_takes_the_place_of_the_one_before() -> None:
    made = Life()
    made.install("1.0.0")
    made.wait(HOUR)
    made.record("active-test.failed", detail={"statement": {"missing": "key.locked"}})
    made.wait(HOUR)
    made.head()
    (found,) = ask(made, BORN + seconds(1.5 * HOUR)).possible
    assert found.situation is not None
    test = found.situation.self_test
    assert test is not None
    assert (test.event, test.result, test.statement) == (5, "failed", "")
    assert test.why_none == "key.locked"


@pytest.mark.parametrize("ordered", [False, True])
def test_the_test_that_was_passed_on_the_way_back_is_the_one_that_counts(*, ordered: bool) -> None:
    life = Life()
    for name in ("1.0.0", "1.1.0"):
        life.install(name)
        life.wait(HOUR)
    told = {"statement": {"sha256": digest_of("way back")}}
    name = "pvc-classifier 1.0.0"
    before = told | {"to": name} if ordered else {}
    life.record("update.rolling-back", state="rolling-back", detail=before)
    life.used = "1.0.0"
    after = {} if ordered else {"selfTests": {name: told, "other 1.0.0": {}}}
    change = {"active": life.generations["1.0.0"]["number"]}
    life.record("update.rolled-back", subject=name, change=change, detail=after)
    life.wait(HOUR)
    life.head()
    found = ask(life, life.now - seconds(0.5 * HOUR))
    assert only(found).digest == digest_of("1.0.0")
    assert found.possible[0].situation is not None
    assert found.possible[0].situation.self_test is not None
    assert found.possible[0].situation.self_test.statement == digest_of("way back")


def test_a_way_back_without_a_test_keeps_the_one_before() -> None:
    life = Life()
    for name in ("1.0.0", "1.1.0"):
        life.install(name)
        life.wait(HOUR)
    life.leave("1.0.0")
    life.wait(HOUR)
    life.head()
    (found,) = ask(life, life.now - seconds(0.5 * HOUR)).possible
    assert found.situation is not None
    assert found.situation.self_test is not None
    assert found.situation.self_test.statement == digest_of("test of 1.0.0")


def test_another_statement_for_what_runs_is_another_answer() -> None:
    life = Life()
    life.install("1.0.0")
    life.wait(HOUR)
    made = life.generation("1.0.0", statement=2)
    place = life.record("eligibility.restated", change={"generation": made})
    life.wait(HOUR)
    life.head()
    at = life.at[place - 1]
    assert only(ask(life, at - seconds(HOUR / 2))).statement_number == 1
    assert only(ask(life, at + seconds(HOUR / 2))).statement_number == 2
    found = ask(life, at)
    assert found.outcome is Outcome.UNCERTAIN
    numbers = [one and one.statement_number for item in found.possible for one in item.might]
    assert numbers == [1, 2]


def test_heads_whose_clocks_contradict_each_other_carry_nothing_on() -> None:
    life = Life()
    life.clock("unset")
    life.install("1.0.0")
    life.head(signedAt="2030-01-01T00:00:00Z", clockQuality="synchronised")
    life.record("agent.started")
    life.head(signedAt="2027-01-01T00:00:00Z", clockQuality="synchronised")
    found = ask(life, BORN + seconds(HOUR))
    assert found.clocks_left_out == (4, 5)
    assert found.outcome is Outcome.UNKNOWN
    begins = found.possible[-1].begins
    assert begins is not None
    assert begins.bounds.seconds is None
