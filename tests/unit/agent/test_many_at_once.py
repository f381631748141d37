"""D09: two and twenty at once on one state folder: one works, the others are told at once.

Real processes, all of them.  However many there are, afterwards the journal is whole, link,
journal and standing agree, and what was asked for happened once.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.campaigns.crash_worlds import Application
from tests.unit.agent.field import AGENT
from tests.unit.agent.test_service_stop import hangs, of_this_device, state_of

from primum_agent.content_store import FolderStore
from primum_agent.desk import ask
from primum_agent.lifecycle import State
from primum_agent.locking import held, is_held
from primum_verifier.record.chain import check_history

Eventually = Callable[..., Any]
DONE, REFUSED, USAGE, FAILED, BUSY, WAITING = range(6)
CROWD = 20
AT_ONCE = 60.0
"""Seconds in which twenty interpreters on two busy cores have loaded, been told and ended.

Shorter than anything that anybody could have waited for: a health window, or an attempt's end.
"""
WHO = ("--by", "R. Meyer")
WHY = ("--why", "too many alarms")


def words_of(field: Any, command: str, *words: str) -> list[str]:
    return [*AGENT, command, "--state", str(field.state), *words]


def all_at_once(field: Any, commands: Sequence[Sequence[str]]) -> list[tuple[int, str]]:
    """Start every one before any is waited for; exit code and what it said."""
    places = [field.folder / f"said-{number}" for number in range(len(commands))]
    crowd = []
    for command, place in zip(commands, places, strict=True):
        with place.open("wb") as said:
            crowd.append(subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT))
    found = []
    for one, place in zip(crowd, places, strict=True):
        code = one.wait(timeout=90)
        said = place.read_text(errors="replace")
        assert "Traceback" not in said, said
        assert DONE <= code <= WAITING, said
        assert said.strip() or code == DONE, "who is turned away is told why"
        found.append((code, said))
    return found


def codes_of(found: Sequence[tuple[int, str]]) -> Counter[int]:
    return Counter(code for code, _ in found)


def check_whole(field: Any) -> None:
    """The journal adds up and is chained; journal, link and standing name one generation."""
    journal = field.journal()
    try:
        journal.check()
        state = journal.state()
        assert state == journal.replayed()
        report = check_history(list(journal.history()), device_key=field.device_key)
    finally:
        journal.close()
    assert not report.gaps
    assert state.lifecycle is State.IDLE
    assert state.active == FolderStore(field.layout).active() == field.standing()["generation"]
    for item in state.generations:
        assert FolderStore(field.layout).generation_is_whole(item.number, release=item.release)
    kinds = field.kinds()
    assert kinds.count("update.activating") == kinds.count("update.activated")
    assert "journal.restarted" not in kinds
    assert not field.layout.scratch.exists() or list(field.layout.scratch.iterdir()) == []


def serves(field: Any) -> str | None:
    found = field.opened()
    return None if found is None else str(found.version)


@pytest.fixture
def stick(in_the_field: Any) -> Callable[[], str]:
    """Copies what is published onto a stick."""

    def copied() -> str:
        medium = in_the_field.folder / "stick"
        shutil.rmtree(medium, ignore_errors=True)
        for authority in (in_the_field.engineering, in_the_field.clinical):
            shutil.copytree(authority.web, medium / authority.web.name)
        return str(medium)

    return copied


@contextmanager
def resting(field: Any, eventually: Eventually) -> Iterator[subprocess.Popen[bytes]]:
    """A supervisor whose first attempts are over, beside an application that proves health."""
    polled = field.counter("last-poll") if field.layout.journal.exists() else ""
    with field.running() as process, Application(field.state, proves=True).running():
        eventually(lambda: field.counter("last-poll") != polled)
        eventually(lambda: not is_held(field.layout.update_lock))
        yield process


def settled(field: Any) -> bool:
    journal = field.journal()
    try:
        at_rest = journal.state().lifecycle is State.IDLE
    finally:
        journal.close()
    answer = ask(field.layout.socket, {"do": "status"})
    return at_rest and answer is not None and answer["attempt"] is None


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that neither works nor ends."""
    os.kill(pid, signal.SIGSTOP)
    try:
        while state_of(Path(f"/proc/{pid}")) != "T":
            os.sched_yield()
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_d09_a_supervisor_that_is_stopped_keeps_nobody_waiting(
    with_two: Any, stick: Callable[[], str], eventually: Eventually
) -> None:
    """It holds the lock and answers nobody: who wants to run is told busy, at once."""
    provisioning = ("--provisioning", str(with_two.provisioning))
    with resting(with_two, eventually) as process:
        before = with_two.events()
        runs = [words_of(with_two, "run", *provisioning)] * 8
        runs += [words_of(with_two, "run", "--once", *provisioning)] * 8
        runs += [words_of(with_two, "install", stick(), *provisioning)] * 4
        with stopped(process.pid):
            began = time.monotonic()
            found = all_at_once(with_two, runs)
            assert time.monotonic() - began < AT_ONCE
            assert codes_of(found) == {BUSY: CROWD}
            assert all(f"held by process {process.pid}" in said for _, said in found)
            others = [
                words_of(with_two, "poll"),
                words_of(with_two, "rollback", "1.0.0", *WHO, *WHY, *provisioning),
            ]
            found = all_at_once(with_two, others)
            assert [code for code, _ in found] == [FAILED, WAITING], found
            assert with_two.events() == before, "nobody changed anything"
        eventually(lambda: settled(with_two))
        assert process.poll() is None
    assert serves(with_two) == "1.1.0"
    check_whole(with_two)


def test_d09_an_attempt_that_is_stopped_keeps_nobody_waiting(
    with_two: Any, stick: Callable[[], str], eventually: Eventually
) -> None:
    """It holds the update lock in the middle of a self-test; let go, it ends what it began."""
    with_two.release("1.2.0", counter=3)
    provisioning = ("--provisioning", str(with_two.provisioning))
    asked = {"PRIMUM_TEST_FAIL_POINTS": "hang", "PRIMUM_FAIL_POINT": "testing.before-event"}
    with with_two.running(**asked), Application(with_two.state, proves=True).running():
        eventually(lambda: hangs(with_two))
        orders = [words_of(with_two, "check", *provisioning)] * 7
        orders += [words_of(with_two, "install", stick(), *provisioning)] * 6
        orders += [words_of(with_two, "rollback", *WHO, *WHY, *provisioning)] * 7
        began = time.monotonic()
        found = all_at_once(with_two, orders)
        assert time.monotonic() - began < AT_ONCE
        assert codes_of(found) == {BUSY: CROWD}
        for _, said in found:
            assert "state.busy" in said
            assert "once it is over" in said, "when to try again"
            assert "failed" not in said
        told = with_two.agent("install", stick(), *provisioning)
        assert told.stdout.splitlines()[-1] == (
            "busy: state.busy: another attempt is under way (testing pvc-classifier 1.2.0), and "
            "nothing was begun; give the order again once it is over: "
            f"primum-agent status --state {with_two.state}"
        )
        told = with_two.agent("install", stick(), *provisioning, "--json")
        answer = json.loads(told.stdout)
        assert told.returncode == answer["exitCode"] == BUSY
        assert (answer["ok"], answer["reasons"]) == (False, ["state.busy"])
        assert serves(with_two) == "1.1.0"
        for pid, how in of_this_device(with_two).items():
            if how == "T":
                os.kill(pid, signal.SIGCONT)
        eventually(lambda: serves(with_two) == "1.2.0" and settled(with_two))
    assert with_two.kinds().count("update.committed") == 3
    check_whole(with_two)


def test_d09_a_single_run_that_another_attempt_holds_up_ends_busy(with_two: Any) -> None:
    """It tried for as long as the other lived, which may be for ever."""
    with_two.release("1.2.0", counter=3)
    with held(with_two.layout.update_lock, what="A test", remedy="Wait."):
        began = time.monotonic()
        told = with_two.once()
        assert time.monotonic() - began < AT_ONCE
    assert told.returncode == BUSY
    assert f"held by process {os.getpid()}" in told.stderr
    assert told.stdout.splitlines()[-1].startswith("busy: state.busy: ")
    assert with_two.kinds()[-2:] == ["agent.started", "agent.stopped"]
    with Application(with_two.state, proves=True).running():
        assert with_two.once().returncode == DONE
    assert serves(with_two) == "1.2.0"
    check_whole(with_two)


def test_d09_what_a_lock_file_says_is_for_people(with_two: Any) -> None:
    """Locks of dead processes, with the number of one that lives: the kernel knows better."""
    for path in (with_two.layout.agent_lock, with_two.layout.update_lock):
        path.write_text(f"{os.getpid()}\n")
    with_two.release("1.2.0", counter=3)
    with Application(with_two.state, proves=True).running():
        done = with_two.once()
    assert done.returncode == DONE, done.stderr
    assert serves(with_two) == "1.2.0"
    with held(with_two.layout.agent_lock, what="A test", remedy="Wait."):
        told = with_two.once()
        assert told.returncode == BUSY
        assert f"held by process {os.getpid()}" in told.stderr
    check_whole(with_two)


def test_d09_twenty_single_runs_at_once_are_one_update(
    in_the_field: Any, stick: Callable[[], str]
) -> None:
    """Ten that poll and ten that install from a stick: one does it."""
    in_the_field.release("1.0.0", counter=1)
    provisioning = ("--provisioning", str(in_the_field.provisioning))
    runs = [words_of(in_the_field, "run", "--once", *provisioning)] * (CROWD // 2)
    runs += [words_of(in_the_field, "install", stick(), *provisioning)] * (CROWD // 2)
    with Application(in_the_field.state, proves=True).running():
        codes = codes_of(all_at_once(in_the_field, runs))
    assert set(codes) <= {DONE, BUSY}
    assert codes[DONE] >= 1
    assert in_the_field.kinds().count("update.activated") == 1
    assert in_the_field.kinds().count("update.committed") == 1
    assert serves(in_the_field) == "1.0.0"
    check_whole(in_the_field)


def test_d09_twenty_orders_to_go_back_are_one(with_two: Any, eventually: Eventually) -> None:
    """One goes back; the others are busy, or find that it is done."""
    order = words_of(
        with_two, "rollback", "1.0.0", *WHO, *WHY, "--provisioning", str(with_two.provisioning)
    )
    with resting(with_two, eventually):
        codes = codes_of(all_at_once(with_two, [order] * CROWD))
        eventually(lambda: settled(with_two))
    assert codes[DONE] == 1
    assert set(codes) <= {DONE, BUSY, USAGE}
    assert with_two.kinds().count("update.rolling-back") == 1
    assert with_two.kinds().count("update.rolled-back") == 1
    assert serves(with_two) == "1.0.0"
    check_whole(with_two)


@pytest.fixture
def asked(with_two: Any, eventually: Eventually) -> Iterator[Any]:
    """A device that waits for the person who uses it to agree to 1.2.0."""
    with_two.more_settings = "[gates.consent]\ndeferrals = 2\ndefer_hours = 24\n"
    with_two.write("agent.toml", with_two.settings().encode())
    with_two.release("1.2.0", counter=3)
    with resting(with_two, eventually):
        eventually(lambda: with_two.counter("consent"))
        eventually(lambda: not is_held(with_two.layout.update_lock))
        yield with_two


def test_d09_twenty_people_who_agree_at_once_are_one_agreement(
    asked: Any, eventually: Eventually
) -> None:
    """The answer is recorded once, and what it lets through happens once."""
    found = all_at_once(asked, [words_of(asked, "consent", *WHO)] * CROWD)
    # Whoever comes when it is activated already finds no question.
    assert set(codes_of(found)) <= {DONE, USAGE}
    assert codes_of(found)[DONE] >= 1
    eventually(lambda: serves(asked) == "1.2.0" and settled(asked))
    assert asked.kinds().count("update.agreed") == 1
    assert asked.kinds().count("update.activated") == 3
    check_whole(asked)


def test_d09_later_said_twenty_times_at_once_is_said_as_often_as_it_may(
    asked: Any, eventually: Eventually
) -> None:
    """Two deferrals are allowed; the others are refused, and each that counts is reported."""
    found = all_at_once(asked, [words_of(asked, "defer", *WHO)] * CROWD)
    assert codes_of(found) == {DONE: 2, REFUSED: CROWD - 2}
    told = [item for item in asked.events() if "deferredBy" in item["data"].get("detail", {})]
    assert [item["data"]["detail"]["deferralsLeft"] for item in told] == [1, 0]
    assert serves(asked) == "1.1.0"
    shown = json.loads(asked.agent("status", "--json").stdout)["question"]
    assert shown["deferralsLeft"] == 0
    assert asked.agent("consent", *WHO).returncode == DONE
    eventually(lambda: serves(asked) == "1.2.0" and settled(asked))
    check_whole(asked)


def test_d09_everything_at_once_ends_in_one_state(
    asked: Any, stick: Callable[[], str], eventually: Eventually
) -> None:
    """Polls, sticks, answers, looks and an order to go back: whoever is first, one thing holds."""
    provisioning = ("--provisioning", str(asked.provisioning))
    crowd = [words_of(asked, "poll")] * 5
    crowd += [words_of(asked, "install", stick(), *provisioning)] * 4
    crowd += [words_of(asked, "consent", *WHO)] * 4
    crowd += [words_of(asked, "check", *provisioning)] * 3
    crowd += [words_of(asked, "rollback", "1.0.0", *WHO, *WHY, *provisioning)] * 2
    crowd += [words_of(asked, "run", "--once", *provisioning)] * 2
    all_at_once(asked, crowd)

    def last_word() -> str:
        """What a person went back from stays aside; anything else ends with the newest."""
        left = [item["subject"] for item in asked.events() if "rolling-back" in item["type"]]
        return "1.0.0" if left == ["pvc-classifier 1.2.0"] else "1.2.0"

    def asked_again() -> bool:
        """Whoever was turned away, or came before what it depends on, says it once more."""
        if serves(asked) != last_word():
            asked.agent("consent", *WHO)
            asked.agent("poll")
        return serves(asked) == last_word() and settled(asked)

    eventually(asked_again)
    kinds = asked.kinds()
    # Going back drops what waited and was agreed to; then it is asked anew.
    assert kinds.count("update.rolled-back") <= 1
    assert kinds.count("update.agreed") <= 1 + kinds.count("update.rolled-back")
    assert kinds.count("update.committed") == 3
    check_whole(asked)
