"""Health that nobody proved: no release is banned for lack of an application, and a person is told.

What an application opened and did not prove is counted against the release; the way out of that
is a command, and it is journaled.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from primum_agent.clock import SystemClock
from primum_agent.commands.status import _others
from primum_agent.device_state import Generation
from primum_agent.events import Entry, EventKind
from primum_agent.health_window import HealthWindow
from primum_agent.journal import Journal
from primum_agent.lifecycle import State, Stimulus, step
from primum_agent.settings import read_settings
from primum_agent.supervisor import Supervisor
from primum_agent.transitions import OPENED, not_proven

Eventually = Callable[..., Any]
POLL = 100.0


def generation(number: int, *, max_attempts: int = 2) -> Generation:
    return Generation(
        number=number,
        component="pvc-classifier",
        version="1.0.0",
        release="a" * 64,
        counter=1,
        floor_counter=1,
        statement="b" * 64,
        statement_number=1,
        health_window=1,
        max_attempts=max_attempts,
    )


def activated(journal: Journal, used: Generation) -> None:
    steps = (
        (EventKind.UPDATE_FOUND, Stimulus.FOUND),
        (EventKind.UPDATE_DOWNLOADING, Stimulus.ACCEPTED),
        (EventKind.UPDATE_DOWNLOADED, Stimulus.STORED),
        (EventKind.SELFTEST_STARTED, Stimulus.TESTABLE),
        (EventKind.SELFTEST_PASSED, Stimulus.PROVEN),
        (EventKind.UPDATE_ACTIVATING, Stimulus.CLEARED),
    )
    for kind, stimulus in steps:
        journal.record(Entry(kind=kind, stimulus=stimulus))
    change = {"generation": asdict(used), "active": used.number}
    journal.record(
        Entry(kind=EventKind.UPDATE_ACTIVATED, stimulus=Stimulus.SWITCHED, change=change)
    )


def given_up(journal: Journal, number: int, *, opened: str) -> None:
    used = generation(number)
    activated(journal, used)
    if opened:
        journal.set_counters(**{OPENED.replace("-", "_"): opened})
    journal.record(
        not_proven(journal, used, why="no health within 1 s", poll_seconds=POLL, told=True)
    )
    journal.record(
        Entry(
            kind=EventKind.SAFE_MODE_ENTERED, stimulus=Stimulus.NONE_LEFT, change={"active": None}
        )
    )


def test_no_number_of_windows_without_an_application_is_the_releases_fault(
    journal: Journal,
) -> None:
    waits = []
    for number in range(1, 6):
        given_up(journal, number, opened="")
        tried = journal.state().unproven["a" * 64]
        waits.append(tried["notBefore"] - journal.powered_total())
        assert tried["times"] == number
    assert journal.state().faults == {}
    assert journal.state().setbacks == {}
    assert waits == pytest.approx([0.0, POLL, 3 * POLL, 7 * POLL, 15 * POLL], abs=1.0)
    assert journal.state() == journal.replayed()


def test_windows_with_an_application_are_counted_to_the_releases_bound(journal: Journal) -> None:
    given_up(journal, 1, opened="1")
    assert journal.state().faults == {}
    assert journal.state().setbacks == {"a" * 64: 1}
    # What was opened before it was this generation says nothing of this one.
    given_up(journal, 2, opened="1")
    assert journal.state().faults == {}
    given_up(journal, 3, opened="3")
    assert journal.state().faults == {"a" * 64: "state.health"}


def test_a_single_run_is_one_attempt_and_says_why(in_the_field: Any) -> None:
    in_the_field.release("1.0.0", counter=1, health_window=1)
    done = in_the_field.once()
    assert done.returncode == 1
    assert in_the_field.kinds().count("update.activated") == 1
    last = done.stdout.splitlines()[-1]
    assert last.startswith("rolled back pvc-classifier 1.0.0: health was not proven")
    assert "application running?" in last
    # The next poll may try it at once, the one after that is held back.
    assert in_the_field.once().returncode == 1
    done = in_the_field.once()
    assert done.returncode == 5
    assert done.stdout.splitlines()[-1].startswith("waiting: state.health")
    assert in_the_field.kinds().count("update.activated") == 2
    journal = in_the_field.journal()
    assert journal.state().faults == {}
    journal.close()
    assert "no application opened it" in in_the_field.agent("status").stdout


def test_what_was_given_up_is_said_and_can_be_tried_again(
    in_the_field: Any, eventually: Eventually
) -> None:
    field = in_the_field
    field.release("1.0.0", counter=1, health_window=2, max_attempts=1)
    with field.running():
        eventually(eventually(field.opened).tell_activated)
        eventually(lambda: "safe-mode.entered" in field.kinds())
    sentence = "gave up after 1 of 1 attempts: health was not proven; was the application running?"
    doctor = field.agent("doctor", "--provisioning", field.provisioning)
    assert doctor.returncode == 3
    for told in (field.agent("status"), field.agent("explain", "1.0.0"), doctor):
        assert sentence in told.stdout
    assert "primum-agent retry 1.0.0" in doctor.stdout
    assert field.once().stdout.splitlines()[-1].startswith("refused: state.health; primum-agent")
    assert field.agent("retry", "9.9.9").returncode == 2
    done = field.agent("retry", "1.0.0")
    assert done.returncode == 0, done.stderr
    assert field.event("update.forgiven")["data"]["reasons"] == ["state.health"]
    assert "gave up" not in field.agent("status").stdout
    assert field.agent("retry", "1.0.0").returncode == 2
    with field.running():
        eventually(eventually(field.opened).prove_health)
    assert field.kinds().count("update.committed") == 1


def test_a_failed_self_test_is_never_tried_again_by_order(in_the_field: Any) -> None:
    in_the_field.release("1.0.0", counter=1, scale=-1.0)
    done = in_the_field.once()
    assert done.returncode == 1
    folder = in_the_field.state
    last = f"refused: selftest.failed; primum-agent explain --state {folder} 1.0.0"
    assert done.stdout.splitlines()[-1] == last
    done = in_the_field.once()
    assert done.stdout.splitlines()[-1] == last, "also where nothing new was reported"
    done = in_the_field.agent("retry", "1.0.0")
    assert done.returncode == 1
    assert "selftest.failed" in done.stderr
    journal = in_the_field.journal()
    assert list(journal.state().faults.values()) == ["selftest.failed"]
    journal.close()


def test_a_release_that_left_while_its_window_ended_does_not_end_the_supervisor(
    in_the_field: Any, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = Supervisor(
        settings=read_settings(in_the_field.provisioning),
        layout=in_the_field.layout,
        clock=SystemClock(),
        reporter=None,
    )
    used = generation(1)
    activated(journal, used)
    supervisor._watch.window.watch(journal.state(), 0.0, told=True)
    before = journal.state()
    entry = not_proven(journal, used, why="first", poll_seconds=POLL, told=True)
    journal.record(entry)
    # The look came before the attempt's step, the step after it.
    monkeypatch.setattr(journal, "state", lambda: before)
    monkeypatch.setattr(journal, "record", _unlisted)
    supervisor._watch.watch_window(journal, 10.0)
    assert supervisor._watch.window == HealthWindow()


def _unlisted(_: Entry) -> None:
    step(State.ROLLING_BACK, Stimulus.UNHEALTHY)


def test_the_single_run_answers_in_json(in_the_field: Any) -> None:
    in_the_field.release("1.0.0", counter=1, approved_by=())
    done = in_the_field.agent(
        "run", "--once", "--json", "--provisioning", in_the_field.provisioning
    )
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert (answer["ok"], answer["exitCode"]) == (False, 1)
    assert "update.staged" in [item["kind"] for item in answer["events"]]
    assert "eligibility.absent" in answer["reasons"]


def test_a_release_that_was_laid_out_twice_is_named_once(journal: Journal) -> None:
    for number in (1, 2):
        given_up(journal, number, opened="")
    assert len(journal.state().generations) == 2
    assert _others(journal.state()) == ["pvc-classifier 1.0.0"]
