"""When attempts follow one another: backed off, spread, and never polling over what was cut."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from primum_agent.attempt_plan import RETRY_SECONDS, AttemptPlan
from primum_agent.children import Child, Task
from primum_agent.clock import SystemClock
from primum_agent.events import Entry, EventKind
from primum_agent.journal import Journal
from primum_agent.lifecycle import Stimulus
from primum_agent.settings import read_settings
from primum_agent.supervisor import Supervisor


@pytest.fixture
def plan(in_the_field: Any) -> AttemptPlan:
    """A plan whose jitter always draws the middle."""
    settings = read_settings(in_the_field.provisioning)
    return AttemptPlan(settings=settings, layout=in_the_field.layout, draw=lambda: 0.5, once=False)


@pytest.fixture
def ends_with(plan: AttemptPlan, journal: Journal) -> Any:
    """Let the attempt that is due end with an exit code; how it was started, and when is next."""

    def run(code: int) -> tuple[str, float]:
        def start(task: Task, arguments: list[str], *, deadline: float, reason: str = "") -> Child:
            del arguments
            script = f"kill -{-code} $$" if code < 0 else f"exit {code}"
            process = subprocess.Popen(["sh", "-c", script])
            process.wait()
            return Child(task=task, process=process, deadline=deadline, reason=reason)

        plan.start = start
        now = plan.due
        plan.start_if_due(now)
        assert plan.child is not None
        reason = plan.child.reason
        plan.look_after(journal, now)
        return reason, plan.due - now

    return run


def test_polls_that_fail_are_backed_off_and_a_good_one_begins_anew(
    plan: AttemptPlan, journal: Journal, ends_with: Any
) -> None:
    period = plan.settings.timing.poll_seconds
    plan.begin(journal, 0.0)
    assert ends_with(0)[0] == "resume"
    waits = [ends_with(3) for _ in range(3)]
    assert [reason for reason, _ in waits] == ["poll"] * 3
    assert waits[0][1] < waits[1][1] < waits[2][1]
    assert journal.counter("poll-failures", "0") == "3", "a restart does not begin anew"
    assert ends_with(0) == ("poll", period)
    assert plan.failures == 0
    assert ends_with(1) == ("poll", period), "refused is not failed"
    assert (plan.polls, plan.last_code) == (5, 1)


def test_an_attempt_that_was_cut_is_converged_before_the_next_poll(
    plan: AttemptPlan, journal: Journal, ends_with: Any
) -> None:
    plan.poll(0.0)
    reason, wait = ends_with(-9)
    assert reason == "poll"
    assert wait == pytest.approx(RETRY_SECONDS, rel=0.3)
    again, longer = ends_with(-9)
    assert again == "resume"
    assert longer > wait
    assert journal.problems()[0].times == 2
    assert ends_with(0)[0] == "resume"
    assert plan.cuts == 0


def test_a_poll_asked_for_during_an_attempt_follows_right_after_it(
    plan: AttemptPlan, journal: Journal
) -> None:
    """A request, or the end of an episode, must not be lost for a whole poll period."""

    def start(task: Task, arguments: list[str], *, deadline: float, reason: str = "") -> Child:
        del arguments
        process = subprocess.Popen(["true"])
        process.wait()
        return Child(task=task, process=process, deadline=deadline, reason=reason)

    plan.start = start
    for begin in (plan.poll, plan.resume):
        begin(0.0)
        plan.start_if_due(0.0)
        plan.poll(1.0)
        plan.look_after(journal, 5.0)
        assert (plan.due, plan.child) == (5.0, None)
        plan.start_if_due(5.0)
        assert plan.child is not None
        assert plan.child.reason == "poll"
        plan.look_after(journal, 6.0)
        assert plan.due == 6.0 + plan.settings.timing.poll_seconds, "asked once, done once"


def test_a_single_run_polls_once_however_long_its_reports_take(
    plan: AttemptPlan, journal: Journal, ends_with: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "once", True)
    plan.begin(journal, 0.0)
    assert [ends_with(0)[0], ends_with(0)[0]] == ["resume", "poll"]
    plan.resume(plan.due)
    assert ends_with(0)[0] == "resume", "what its poll began is brought to an end"
    plan.start_if_due(plan.due + 1.0)
    assert plan.child is None


def test_an_attempt_that_hangs_is_ended(plan: AttemptPlan, journal: Journal) -> None:
    def start(task: Task, arguments: list[str], *, deadline: float, reason: str = "") -> Child:
        del arguments
        process = subprocess.Popen(["sleep", "60"], start_new_session=True)
        return Child(task=task, process=process, deadline=deadline, reason=reason)

    plan.start = start
    plan.poll(0.0)
    plan.start_if_due(0.0)
    assert plan.child is not None
    process = plan.child
    plan.look_after(journal, plan.child.deadline - 1.0)
    assert process.poll() is None
    plan.look_after(journal, plan.child.deadline)
    assert process.poll() == -15


def in_the_middle(journal: Journal) -> None:
    """An activation that waits for a restart."""
    for kind, stimulus in (
        (EventKind.UPDATE_FOUND, Stimulus.FOUND),
        (EventKind.UPDATE_DOWNLOADING, Stimulus.ACCEPTED),
        (EventKind.UPDATE_DOWNLOADED, Stimulus.STORED),
        (EventKind.SELFTEST_STARTED, Stimulus.TESTABLE),
        (EventKind.SELFTEST_PASSED, Stimulus.PROVEN),
        (EventKind.UPDATE_ACTIVATING, Stimulus.CLEARED),
    ):
        journal.record(Entry(kind=kind, stimulus=stimulus))


def test_a_wait_for_a_restart_hears_a_withdrawal_no_later_than_any_other_device(
    plan: AttemptPlan, journal: Journal, ends_with: Any
) -> None:
    """Its pauses double, to the poll period; one that fails backs off further."""
    in_the_middle(journal)
    plan.poll(0.0)
    period = plan.settings.timing.poll_seconds
    waits = [ends_with(5) for _ in range(16)]
    assert {reason for reason, _ in waits} == {"poll"}
    assert plan.waits_within
    assert waits[0][1] < waits[1][1] < period * 1.2
    assert max(wait for _, wait in waits) <= period * 1.2
    assert max(ends_with(3)[1] for _ in range(3)) > period * 1.2
    assert not plan.waits_within


def test_the_end_of_an_episode_lets_a_restart_that_it_held_be_asked_for_at_once(
    in_the_field: Any, journal: Journal
) -> None:
    supervisor = Supervisor(
        settings=read_settings(in_the_field.provisioning),
        layout=in_the_field.layout,
        clock=SystemClock(),
        reporter=None,
    )
    in_the_middle(journal)
    supervisor.journal = journal
    supervisor.monotonic = lambda: 7.0
    plan = supervisor._plan
    plan.due = 3600.0
    supervisor.look_again()
    assert plan.due == 3600.0, "nothing waits for it"
    plan.waits_within = True
    supervisor.look_again()
    assert (plan.due, plan._reason) == (7.0, "resume")
