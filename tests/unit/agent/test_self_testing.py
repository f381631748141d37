"""What runs is tested again: what a failure, a busy device, a patient and a start make of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.agent.tested_again import (
    DONE,
    FAILED,
    WAITING,
    Attempt,
    doctor,
    idle,
    in_use,
    runs,
    say,
    status,
    tested,
    told,
)

from primum_agent.attempt_plan import AttemptPlan
from primum_agent.clock import FakeClock, SystemClock
from primum_agent.desk import ask
from primum_agent.device_state import DeviceState, Generation
from primum_agent.fail_points import FailPoint
from primum_agent.journal import Journal
from primum_agent.lifecycle import State
from primum_agent.settings import read_settings
from primum_agent.tested import Probed, note_probed, note_tested, seconds_until_test
from primum_agent.watching import Watch
from primum_device_sim.broker import BrokerHandle
from primum_device_sim.demo.subscriber import Subscriber
from primum_verifier.core.errors import FailedError, RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.bench_contract import BenchRun, Ending
from primum_verifier.shell.bench import REFERENCE_BENCH, FakeBench

Eventually = Callable[..., Any]
__all__ = ["idle", "tested"]

HOUR = 3600.0
DAY = 24 * HOUR


class InTurn:
    """A bench that answers otherwise each time: an ending, an error, or the real one."""

    def __init__(self, *answers: Ending | Exception | str) -> None:
        self.answers = list(answers)
        self.asked = 0

    def run(self, **named: Any) -> BenchRun:
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Ending):
            return FakeBench(answer=answer).run(**named)
        return (REFERENCE_BENCH if answer == "real" else FakeBench()).run(**named)


# What follows from it


@pytest.mark.usefixtures("idle")
def test_a_model_that_computes_something_else_twice_is_left_for_one_that_computes_right(
    in_the_field: Any, attempt_now: Attempt, tested: Callable[..., int]
) -> None:
    field = runs(in_the_field, attempt_now, 1.0, 2.0)
    assert in_use(field) == "1.1.0"
    assert tested() == DONE
    assert in_use(field) == "1.0.0"
    assert field.opened().version == "1.0.0"
    assert field.standing()["reasons"][0] == "selftest.failed"
    event = field.event("active-test.failed")["data"]
    assert (event["result"], event["reasons"]) == ("failed", ["selftest.failed"])
    assert event["detail"]["mode"] == "test"
    assert event["detail"]["failing"][0]["test"] == "numbers"
    assert told(field, "active-test.failed") == 1
    # The same bytes are not tried again; nothing flaps.
    attempt_now()
    assert in_use(field) == "1.0.0"
    assert [item["reason"] for item in status(field)["remembered"]] == ["selftest.failed"]


@pytest.mark.usefixtures("idle")
def test_where_none_is_left_it_is_safe_mode_and_says_why(
    in_the_field: Any, attempt_now: Attempt, tested: Callable[..., int]
) -> None:
    field = runs(in_the_field, attempt_now, 2.0)
    tested()
    assert field.opened() is None
    assert field.standing()["mode"] == "safe"
    assert "selftest.failed" in field.standing()["reasons"]
    assert field.kinds()[-1] == "safe-mode.entered"


@pytest.mark.usefixtures("idle")
def test_a_maker_who_only_wants_a_report_keeps_what_runs_and_sees_the_trouble(
    in_the_field: Any, attempt_now: Attempt, tested: Callable[..., int]
) -> None:
    field = runs(in_the_field, attempt_now, 1.0, 2.0)
    say(field, 'on_failure = "report"')
    for boot in ("one", "two", "three"):
        assert tested(clock=FakeClock(boot=boot)) == DONE
    assert in_use(field) == "1.1.0"
    assert told(field, "active-test.failed") == 1, "one trouble, one event"
    (trouble,) = status(field)["problems"]
    assert (trouble["topic"], trouble["times"]) == ("self-test of what runs", 3)
    assert not doctor(field, "self-test of what runs")["well"]
    assert "; failed " in field.agent("status").stdout
    # It ends once a test is passed, and that is news.
    assert tested(FakeBench(), clock=FakeClock(boot="four")) == DONE
    assert field.event("active-test.passed")["data"]["detail"]["after"] == 3
    assert status(field)["problems"] == []
    assert doctor(field, "self-test of what runs")["well"]


@pytest.mark.parametrize(
    "answer",
    [
        Ending.TIMED_OUT,
        Ending.KILLED,
        FailedError("No runtime.", reason=Reason.SELFTEST_INCOMPLETE, where="bench"),
        RefusedError("A newer reader.", reason=Reason.DOCUMENT_INVALID, where="spec"),
    ],
)
@pytest.mark.usefixtures("idle")
def test_a_busy_device_or_a_newer_reader_takes_nothing_away(
    in_the_field: Any,
    attempt_now: Attempt,
    tested: Callable[..., int],
    answer: Any,
) -> None:
    field = runs(in_the_field, attempt_now, 1.0, 1.0)
    before = field.standing()
    for _ in range(3):
        bench = InTurn(answer)
        assert tested(bench) == FAILED
        assert bench.asked == 1, "nothing was learnt about the release: nothing is repeated"
    assert in_use(field) == "1.1.0"
    assert field.standing() == before
    assert status(field)["faults"] == {}
    assert told(field, "active-test.failed") == 1
    (trouble,) = status(field)["problems"]
    assert trouble["what"] == "pvc-classifier 1.1.0: incomplete"
    # It was not tested: the next try is due as before.
    assert tested() == DONE
    assert told(field, "active-test.passed") == 1


@pytest.mark.usefixtures("idle")
def test_a_release_that_fails_once_and_then_not_is_told_and_stays(
    in_the_field: Any, attempt_now: Attempt, tested: Callable[..., int]
) -> None:
    field = runs(in_the_field, attempt_now, 1.0, 2.0)
    assert tested(InTurn("real", "right")) == DONE
    assert in_use(field) == "1.1.0"
    assert field.event("active-test.failed")["data"]["detail"]["standing"].startswith("failed once")
    assert tested(InTurn("real", Ending.TIMED_OUT), clock=FakeClock(boot="x")) == FAILED
    assert in_use(field) == "1.1.0"


@pytest.mark.usefixtures("idle")
def test_a_rotten_file_is_damage_and_no_failure_of_the_release(
    in_the_field: Any, attempt_now: Attempt, tested: Callable[..., int]
) -> None:
    field = runs(in_the_field, attempt_now, 1.0, 1.5)
    model = field.opened().model
    data = model.read_bytes()
    model.unlink()
    model.write_bytes(data[:-1] + b"\0")
    tested()
    assert in_use(field) == "1.0.0"
    assert told(field, "active-test.failed") == 0
    assert status(field)["faults"] == {}


def test_a_test_is_never_run_while_a_patient_is_served(
    in_the_field: Any, attempt_now: Attempt, tested: Callable[..., int]
) -> None:
    """Nobody answers on the socket: unknown is in use, for however long that lasts."""
    field = runs(in_the_field, attempt_now, 1.0, 2.0)
    bench = InTurn()
    for days in (1, 30, 400):
        assert tested(bench, clock=FakeClock(boot="later", powered=days * DAY)) == WAITING
    assert bench.asked == 0
    assert in_use(field) == "1.1.0"


@pytest.mark.usefixtures("idle")
def test_what_waits_gives_way_and_what_is_provisional_is_left_alone(
    in_the_field: Any, attempt_now: Attempt, tested: Callable[..., int]
) -> None:
    field = runs(in_the_field, attempt_now, 1.0)
    field.release("1.1.0", counter=2, scale=2.0)
    assert attempt_now() == DONE
    bench = InTurn()
    assert tested(bench) == DONE
    assert bench.asked == 0, "health is being proven"


@pytest.mark.parametrize(
    ("point", "left"),
    [
        (FailPoint.TESTING_BEFORE_TEST, "1.1.0"),
        (FailPoint.TESTING_BEFORE_EVENT, "1.1.0"),
        (FailPoint.ROLLING_BACK_BEFORE_SWITCH, None),
        (FailPoint.ROLLING_BACK_AFTER_SWITCH, None),
    ],
)
def test_a_cut_leaves_nothing_half_concluded(
    in_the_field: Any,
    attempt_now: Attempt,
    eventually: Eventually,
    point: FailPoint,
    left: str | None,
) -> None:
    """A whole supervisor is killed there; the next start ends on what computes right."""
    field = runs(in_the_field, attempt_now, 1.0, 2.0)
    say(field, "every_hours = 0.0003")
    with field.running(PRIMUM_TEST_FAIL_POINTS="1", PRIMUM_FAIL_POINT=str(point)) as process:
        assert process.wait(timeout=40) == -9
    opened = field.opened()
    assert (opened.version if opened else None) == left
    with field.running():
        eventually(lambda: in_use(field) == "1.0.0")
        eventually(lambda: field.opened() is not None)
    assert field.opened().version == "1.0.0"
    assert told(field, "active-test.failed") == 1
    journal = field.journal()
    assert journal.state() == journal.replayed()
    journal.close()


# Nothing of it is a clinical output


def test_nothing_that_a_test_computes_reaches_application_socket_or_broker(
    in_the_field: Any, attempt_now: Attempt, eventually: Eventually, broker: BrokerHandle
) -> None:
    """A whole supervisor tests what runs, and fails it; everything that anybody can read is read.

    The failing values are evidence, marked ``test``, in provenance alone.
    """
    field = runs(in_the_field, attempt_now, 1.0, 2.0)
    text = field.settings(3600, broker.port)
    text += '[self_test]\nevery_hours = 0.0003\non_failure = "report"\n'
    field.write("agent.toml", text.encode())
    standing = field.standing()
    heard = Subscriber(host="127.0.0.1", port=broker.port, topic="primum/demo/#")
    answers = []

    def over() -> bool:
        answers.append(ask(field.layout.socket, {"do": "status"}))
        return any(b"active-test.failed" in item.payload for item in heard.messages())

    with heard.listening():
        with field.running():
            eventually(over)
        eventually(lambda: any(b"offline" in item.payload for item in heard.messages()))
    assert field.standing() == standing
    cases = field.event("active-test.failed")["data"]["detail"]["failing"][0]["cases"]
    values = [case["found"].encode() for case in cases]
    assert values
    said: dict[str, list[bytes]] = {}
    for item in heard.messages():
        said.setdefault(item.topic.rpartition("/")[2], []).append(item.payload)
    marked = [line for line in said.pop("provenance") if any(one in line for one in values)]
    assert len(marked) == 1
    assert json.loads(marked[0])["data"]["detail"]["mode"] == "test"
    assert {"status", "health", "head"} <= set(said)
    elsewhere = [payload for topic in said.values() for payload in topic]
    elsewhere += [json.dumps(item).encode() for item in answers]
    elsewhere += [path.read_bytes() for path in field.layout.run.rglob("*") if path.is_file()]
    assert not [one for one in elsewhere if any(value in one for value in values)]


# When it is due


@pytest.fixture
def used() -> Generation:
    return Generation(
        number=1,
        component="pvc-classifier",
        version="1.0.0",
        release="a" * 64,
        counter=1,
        floor_counter=1,
        statement="b" * 64,
        statement_number=1,
        health_window=10,
        max_attempts=3,
        proven=True,
    )


@pytest.fixture
def watch(
    in_the_field: Any, used: Generation, journal: Journal, clock: FakeClock, monkeypatch: Any
) -> Callable[..., Watch]:
    """The watch of a supervisor at rest, on a device that runs a release."""
    monkeypatch.setattr(journal, "state", lambda: DeviceState(active=1, generations=(used,)))

    def make(*lines: str) -> Watch:
        say(in_the_field, *lines)
        settings = read_settings(in_the_field.provisioning)
        layout = in_the_field.layout
        plan = AttemptPlan(settings=settings, layout=layout, draw=lambda: 0.5, once=False)
        plan.poll(90 * DAY)
        nothing = lambda: None  # noqa: E731 - two of the same
        return Watch(settings=settings, plan=plan, wake=nothing, changed=nothing, clock=clock)

    return make


def due(watch: Watch, journal: Journal, now: float = 0.0) -> bool:
    watch.watch_test(journal, now)
    return watch.plan.due == now


def tested_now(journal: Journal, used: Generation, clock: FakeClock) -> None:
    note_tested(journal, release=used.release, clock=clock, passed=True)


def test_each_start_of_the_device_is_followed_by_one_test_and_one_of_the_agent_by_none(
    watch: Callable[..., Watch], used: Generation, journal: Journal, clock: FakeClock
) -> None:
    tested_now(journal, used, clock)
    assert not due(watch(), journal)
    clock.boot = "boot-2"
    assert due(watch(), journal)
    assert not due(watch("at_start = false"), journal)


def test_a_period_is_powered_time_over_restarts(
    watch: Callable[..., Watch], used: Generation, journal: Journal, clock: FakeClock
) -> None:
    tested_now(journal, used, clock)
    clock.powered += 23 * HOUR
    still = watch("at_start = false")
    assert still.watch_test(journal, 0.0) == pytest.approx(HOUR)
    journal.powered_total()
    clock.boot, clock.powered = "boot-2", 2 * HOUR
    assert due(watch("at_start = false"), journal)
    assert not due(watch("at_start = false", "every_hours = 0"), journal)
    assert not due(watch("at_start = false", "every_hours = 48"), journal)


def test_another_release_was_not_tested_by_the_test_of_the_one_before(
    used: Generation, journal: Journal, clock: FakeClock, in_the_field: Any
) -> None:
    tested_now(journal, used, clock)
    settings = read_settings(in_the_field.provisioning).self_test
    other = replace(used, number=2, release="c" * 64)
    left = [
        seconds_until_test(journal, one, settings=settings, boot=clock.boot)
        for one in (used, other)
    ]
    assert left == [pytest.approx(DAY), 0.0]


def test_what_was_put_off_is_tried_again_and_not_at_every_turn(
    watch: Callable[..., Watch], used: Generation, journal: Journal, clock: FakeClock
) -> None:
    tested_now(journal, used, clock)
    clock.powered += 2 * DAY
    turning = watch()
    assert due(turning, journal)
    turning.plan.poll(90 * DAY)
    assert not due(turning, journal, 1.0)
    assert due(turning, journal, 900.0)


def test_the_wait_after_one_release_is_none_for_the_first_test_of_another(
    watch: Callable[..., Watch],
    used: Generation,
    journal: Journal,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock.powered += 2 * DAY
    turning = watch()
    assert due(turning, journal)
    turning.plan.poll(90 * DAY)
    other = replace(used, number=2, release="c" * 64)
    monkeypatch.setattr(journal, "state", lambda: DeviceState(active=2, generations=(used, other)))
    assert due(turning, journal, 1.0)


def test_a_probe_is_asked_of_each_new_release_and_again_while_it_finds_a_trouble(
    watch: Callable[..., Watch], used: Generation, journal: Journal, clock: FakeClock
) -> None:
    tested_now(journal, used, clock)
    lines = ("display_probe = ['/bin/true']",)
    assert due(watch(*lines), journal)
    spoken = Probed(generation=1, display="x", alarm="y", well=True, time="now")
    note_probed(journal, spoken)
    assert not due(watch(*lines), journal)
    note_probed(journal, replace(spoken, well=False))
    assert due(watch(*lines), journal)
    note_probed(journal, replace(spoken, generation=7))
    assert due(watch(*lines), journal)


def test_nothing_is_tested_while_health_is_being_proven_or_nothing_runs(
    watch: Callable[..., Watch],
    used: Generation,
    journal: Journal,
    clock: FakeClock,
    monkeypatch: Any,
) -> None:
    clock.powered += 9 * DAY
    provisional = DeviceState(active=1, generations=(used,), lifecycle=State.PROVISIONAL)
    for state in (provisional, DeviceState()):
        monkeypatch.setattr(journal, "state", lambda state=state: state)
        assert not due(watch(), journal)


def test_a_single_run_is_not_held_up_by_it(
    watch: Callable[..., Watch], journal: Journal, clock: FakeClock
) -> None:
    clock.powered += 9 * DAY
    single = watch()
    single.plan.once = True
    assert not due(single, journal)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("every_hours = -1", "every_hours"),
        ("every_hours = nan", "every_hours"),
        ("every_hours = 10000", "every_hours"),
        ('on_failure = "ignore"', "on_failure"),
        ("on_failure = true", "on_failure"),
        ('alarm_probe = ["beep"]', "alarm_probe"),
        ('display_probe = ["./show"]', "display_probe"),
        ("probe_seconds = 0", "probe_seconds"),
        ("probe_seconds = 900", "probe_seconds"),
        ("at_strat = true", "at_strat"),
    ],
)
def test_a_mistyped_setting_is_named(in_the_field: Any, line: str, named: str) -> None:
    say(in_the_field, line)
    done = in_the_field.agent("run", "--once", "--provisioning", in_the_field.provisioning)
    assert done.returncode == 2
    assert named in done.stderr


def test_the_release_is_tested_before_it_is_activated_and_not_at_once_again(
    in_the_field: Any, attempt_now: Attempt, tmp_path: Path
) -> None:
    del tmp_path
    field = runs(in_the_field, attempt_now, 1.0)
    assert status(field)["selfTest"]["passed"].startswith("20")
    journal = field.journal()
    used = journal.state().in_use
    settings = read_settings(field.provisioning).self_test
    left = seconds_until_test(journal, used, settings=settings, boot=SystemClock().boot_id())
    journal.close()
    assert left is not None
    assert left > HOUR
