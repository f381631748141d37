"""The supervisor gives a release up while an attempt is under way: no fault of the agent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from primum_agent import attempt, converging, review
from primum_agent.by_hand import Order, go_back
from primum_agent.device import Device
from primum_agent.journal import Journal
from primum_agent.judging import Judge
from primum_agent.lifecycle import State, Stimulus, UnlistedStimulusError, step
from primum_agent.transitions import not_proven
from primum_verifier.core.errors import BusyError
from primum_verifier.core.reasons import Reason

Attempt = Callable[..., int]
DONE, REFUSED, WAITING = 0, 1, 5


@pytest.fixture
def provisional(in_the_field: Any, attempt_now: Attempt) -> Any:
    """A device on which 1.0.0 proved health and 1.1.0 has to."""
    for counter, version in enumerate(("1.0.0", "1.1.0"), start=1):
        in_the_field.release(version, counter=counter)
        assert attempt_now() == DONE
        if counter == 1:
            in_the_field.commit()
    return in_the_field


def give_up(field: Any) -> None:
    """As the supervisor does it when the health window is over."""
    with field.journal_to_write() as journal:
        used = journal.state().in_use
        journal.set_counters(opened_generation=str(used.number))
        journal.record(not_proven(journal, used, why="no health", poll_seconds=3600.0, told=True))


def state_of(field: Any) -> Any:
    journal: Journal = field.journal()
    try:
        return journal.state()
    finally:
        journal.close()


def in_the_middle_of(
    field: Any, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, *, after: bool
) -> None:
    """Let the supervisor give it up before or after a step of the attempt."""
    inner = getattr(module, name)

    def step(*words: Any, **named: Any) -> Any:
        monkeypatch.setattr(module, name, inner)
        if not after:
            give_up(field)
        found = inner(*words, **named)
        if after:
            give_up(field)
        return found

    monkeypatch.setattr(module, name, step)


@pytest.mark.parametrize(
    ("module", "name", "after"),
    [
        (attempt, "refresh", True),
        (attempt, "note_reached", False),
        (review, "keep_in_force", True),
    ],
)
def test_a_poll_that_meets_a_release_being_left_lets_it_be_left(
    provisional: Any,
    attempt_now: Attempt,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    name: str,
    after: bool,
) -> None:
    in_the_middle_of(provisional, monkeypatch, module, name, after=after)
    assert attempt_now() in {DONE, REFUSED, WAITING}
    assert "attempt.failed" not in provisional.kinds()
    if name != "refresh":
        # Met too late for this attempt; the supervisor starts the next one at once.
        assert attempt_now("resume") == DONE
    assert state_of(provisional).lifecycle is not State.ROLLING_BACK
    back = provisional.event("update.rolled-back")
    assert back["subject"] == "pvc-classifier 1.0.0"
    # What may be tried again is, as at any other poll; it is another generation.
    assert state_of(provisional).active in {1, 3}


@pytest.mark.parametrize("reason", ["poll", "resume"])
def test_a_withdrawal_that_meets_a_release_being_left_is_no_internal_fault(
    provisional: Any, attempt_now: Attempt, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    """Judged as withdrawn, and given up before it could be taken away."""
    assert attempt_now() == DONE
    provisional.withdraw("1.1.0")
    if reason == "resume":
        monkeypatch.setattr("primum_agent.attempt.review", lambda *_: None)
        attempt_now()
        monkeypatch.undo()
        monkeypatch.setattr("primum_agent.candidate_gates.clinical_use", lambda _: None)
    in_the_middle_of(provisional, monkeypatch, review, "forget", after=True)
    assert attempt_now(reason) in {DONE, REFUSED}
    assert "attempt.failed" not in provisional.kinds()
    assert state_of(provisional).lifecycle is State.IDLE
    assert provisional.opened().version == "1.0.0"


@pytest.mark.parametrize("restarts", [1, 20])
def test_a_release_given_up_while_a_start_looks_at_it_is_no_internal_fault(
    provisional: Any, attempt_now: Attempt, monkeypatch: pytest.MonkeyPatch, restarts: int
) -> None:
    """The window of a start may be over before its first attempt has loaded."""
    if restarts > 1:
        # As many as the release endures: the start itself is about to leave it.
        monkeypatch.setattr("primum_agent.installer.SetInstaller.not_in_effect", lambda *_: ("x",))
    in_the_middle_of(provisional, monkeypatch, converging, "_follow_active", after=True)
    assert attempt_now("resume") == DONE
    assert "attempt.failed" not in provisional.kinds()
    assert state_of(provisional).lifecycle is State.IDLE
    assert provisional.kinds().count("update.rolling-back") == 1
    assert "update.interrupted" not in provisional.kinds()
    assert provisional.kinds()[-1] in {"update.rolled-back", "safe-mode.entered", "store.collected"}


def test_health_that_is_proven_while_a_start_looks_stays_proven(
    provisional: Any, attempt_now: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = converging._follow_active

    def step(device: Any) -> None:
        monkeypatch.setattr(converging, "_follow_active", inner)
        inner(device)
        provisional.commit()

    monkeypatch.setattr(converging, "_follow_active", step)
    assert attempt_now("resume") == DONE
    assert "attempt.failed" not in provisional.kinds()
    assert provisional.kinds()[-1] == "update.committed"
    assert provisional.opened().version == "1.1.0"


@pytest.mark.usefixtures("provisional")
def test_a_step_that_nobody_else_took_is_still_a_fault_of_ours(
    attempt_now: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(*_: Any) -> None:
        step(State.IDLE, Stimulus.HEALTHY)

    monkeypatch.setattr("primum_agent.attempt.converge", ask)
    with pytest.raises(UnlistedStimulusError):
        attempt_now("resume")


def test_an_order_that_meets_a_release_being_left_is_told_busy_and_why(
    provisional: Any, attempt_now: Attempt
) -> None:
    def work(device: Device, judge: Judge | None) -> int:
        give_up(provisional)
        go_back(device, judge, Order(version="", by="R. Meyer", why="too many alarms"))
        return DONE

    with pytest.raises(BusyError) as busy:
        attempt_now("order", work=work)
    assert busy.value.reason is Reason.STATE_BUSY
    assert "order it again" in busy.value.remedy
    assert "attempt.failed" not in provisional.kinds()
    assert attempt_now("resume") == DONE
    assert provisional.opened().version == "1.0.0"
