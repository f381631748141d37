"""What a device counts of what runs: never mixed, never lost unseen, said once, and of nobody."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.agent.test_runner_service import QUESTION, served

from primum_agent.application import ActiveRelease, ask_agent
from primum_agent.attempt_plan import AttemptPlan
from primum_agent.clock import ClockQuality, FakeClock
from primum_agent.events import EventKind
from primum_agent.journal import Journal
from primum_agent.journal_port import FakeJournal
from primum_agent.monitor import PENDING, SAVE_SECONDS, Monitor
from primum_agent.monitor_kept import KEPT
from primum_agent.monitored import MAX_HELD, Monitored, monitored
from primum_agent.monitored import SPECIFICATION as SPECIFICATION_KIND
from primum_agent.settings import read_settings
from primum_agent.stopping import end_stop, tell_stop
from primum_agent.supervisor import make_supervisor
from primum_device_sim.authorities.documents import DEVICE
from primum_verifier.core.component import ItemKind
from primum_verifier.core.document import canonical_json, parse_document, sha256_hex
from primum_verifier.core.errors import FailedError, UsageError
from primum_verifier.core.reasons import Reason
from primum_verifier.record.event import ProvenanceEvent, parse_event
from primum_verifier.record.monitor_report import MonitorReport

Attempt = Callable[..., int]
Eventually = Callable[..., Any]
EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
SPECIFICATION: dict[str, Any] = json.loads(
    (EXAMPLES / "monitoring-specification.json").read_text("utf-8")
)
DONE, REFUSED = 0, 1
DAY = 86_400.0
EXPECTED = [0.01] * 8125 + [0.07] * 605 + [0.2] * 420 + [0.3] * 275
EXPECTED += [0.6] * 175 + [0.8] * 160 + [0.95] * 240
DRIFTED = [0.95] * 8125 + [0.8] * 605 + [0.6] * 420 + [0.3] * 275
DRIFTED += [0.2] * 175 + [0.07] * 160 + [0.01] * 240


def specification(**members: Any) -> bytes:
    """Windows of two days, and what each channel of the example says."""
    content = copy.deepcopy(SPECIFICATION) | {"windowHours": 48} | members
    return canonical_json(content)


@pytest.fixture
def watched(in_the_field: Any, attempt_now: Attempt) -> Any:
    """A device on which a release with a monitoring specification runs, proven."""
    in_the_field.release("1.0.0", counter=1, monitoring=specification())
    assert attempt_now() == DONE
    in_the_field.commit()
    return in_the_field


class World:
    """One start of the monitor over the device's journal, with time in hand."""

    def __init__(self, field: Any, journal: Journal) -> None:
        self.field, self.journal, self.now = field, journal, 1000.0
        self.clock = FakeClock()
        self.monitor = Monitor(
            layout=field.layout,
            clock=self.clock,
            device_id=DEVICE,
            stopped=lambda one: tell_stop(field.layout, one.state(), clock=self.clock),
        )
        self.monitor.look(journal, self.now)

    def request(self, **members: Any) -> dict[str, Any]:
        kept = self.monitor.kept
        assert kept is not None
        names = {"release": kept.watched.release, "statement": kept.watched.statement}
        return {"do": "observe", **names, "specification": kept.watched.specification, **members}

    def hand(self, scores: list[float], **members: Any) -> None:
        for start in range(0, len(scores), 2000):
            asked = self.request(values={"score": scores[start : start + 2000]}, **members)
            assert self.monitor.take(asked)["ok"]

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.monitor.look(self.journal, self.now)

    def window(self, scores: list[float], **rates: list[int]) -> None:
        """Two days."""
        self.hand(scores)
        for _ in range(2):
            if rates:
                self.monitor.take(self.request(rates=rates))
            self.pass_time(DAY)

    def reports(self) -> list[MonitorReport]:
        rows = [row for row in self.journal.waiting_telemetry(100) if row.kind == "monitor"]
        return [parse_document(MonitorReport, row.line, where="summary") for row in rows]

    def events(self) -> list[ProvenanceEvent]:
        found = [parse_event(line, where="event") for line in self.journal.events()]
        return [event for event in found if ".monitor." in event.type or ".safe-" in event.type]

    def counts(self) -> bool:
        """Whether anything is counted now."""
        return self.monitor.kept is not None

    def score_cells(self) -> list[int]:
        kept = self.monitor.kept
        assert kept is not None
        return kept.tally.of_everybody(kept.plan.channel("score"))


@contextmanager
def world(field: Any) -> Iterator[World]:
    with field.journal_to_write() as journal:
        yield World(field, journal)


# Counting


def test_a_restart_is_no_restart_for_what_is_counted(watched: Any, eventually: Eventually) -> None:
    """A real application hands over to a real supervisor, which is ended and started again."""
    for _ in range(2):
        with watched.running():
            monitor = monitored(watched.opened())
            assert monitor is not None
            for number in range(700):
                monitor.observe({"score": number / 700}, groups={"age-band": "65-plus"})
            monitor.observe({"score": None, "answer-time": 12.0})
            monitor.happened("alerts", events=1, of=60)
            eventually(monitor.flush)
            assert (monitor.held, monitor.dropped) == (0, 0)
    with world(watched) as found:
        assert sum(found.score_cells()) == 1400
        kept = found.monitor.kept
        assert kept is not None
        assert kept.tally.days["alerts"] == [2, 120]
        groups = {group: sum(cells) for _, group, cells in
                  kept.tally.by_group(kept.plan.channel("score"))}  # fmt: skip
        assert groups == {"18-44": 0, "45-64": 0, "65-plus": 1400}


def test_a_window_leaves_the_device_once_without_small_cells_hours_or_values(
    watched: Any,
) -> None:
    with world(watched) as found:
        found.hand([0.01] * 500 + [0.6] * 10, groups={"age-band": "45-64"})
        found.pass_time(DAY)
        assert found.reports() == [], "a window of the signed length, and no shorter"
        found.pass_time(DAY)
        (report,) = found.reports()
        score = report.data.channels["score"]
        assert score.kind == "distribution"
        assert score.cells == (500, None, None, None, None, None, None)
        assert score.size is None, "too few to conclude from"
        assert (report.time.hour, report.time.minute) == (0, 0)
        assert (report.data.window, report.data.cut_short) == (1, 0)
        assert report.source.endswith(DEVICE)
        found.pass_time(DAY)
        found.pass_time(DAY)
        assert [one.data.window for one in found.reports()] == [1, 2]
        assert sum(found.score_cells()) == 0


def test_a_value_that_is_none_is_counted_nowhere_and_a_part_of_a_request_neither(
    watched: Any,
) -> None:
    with world(watched) as found:
        found.hand([0.5])
        with pytest.raises(UsageError):
            found.monitor.take(found.request(values={"score": [0.5, 0.5], "unheard-of": [1.0]}))
        with pytest.raises(UsageError):
            found.monitor.take(
                found.request(values={"score": [0.5]}, rates={"low-quality": [3, 2]})
            )
        assert sum(found.score_cells()) == 1


@pytest.mark.parametrize(
    "members",
    [
        {"value": {}},
        {"values": []},
        {"values": {"score": 1.0}},
        {"values": {"score": [True]}},
        {"values": {"score": ["0.5"]}},
        {"values": {"score": [10**400]}},
        {"values": {"alerts": [1.0]}},
        {"rates": {"alerts": [1]}},
        {"rates": {"alerts": [1.5, 2]}},
        {"rates": {"alerts": [-1, 2]}},
        {"rates": {"alerts": [1, 10**10]}},
        {"rates": {"score": [1, 2]}},
        {"groups": {"age-band": 7}},
        {"dropped": -1},
        {"release": None},
    ],
)
def test_what_cannot_be_counted_is_refused_whole(watched: Any, members: dict[str, Any]) -> None:
    with world(watched) as found:
        with pytest.raises(UsageError) as caught:
            found.monitor.take(found.request(**members))
        assert caught.value.reason == "usage"
        assert sum(found.score_cells()) == 0


def test_flash_is_spared_while_many_values_come(watched: Any) -> None:
    """Counters are written once in five minutes, not for each value."""
    with world(watched) as found:
        before = found.journal.counter(KEPT, "")
        for _ in range(50):
            found.hand(EXPECTED[:200])
            found.pass_time(5.0)
        assert found.journal.counter(KEPT, "") == before
        found.pass_time(SAVE_SECONDS)
        kept = found.journal.counter(KEPT, "")
        assert json.loads(kept)["tally"]["cells"][0] == 50 * 200
        assert len(kept) < 8192, "as many counters as were signed, whatever came"


def test_a_clock_that_jumps_moves_no_window(watched: Any) -> None:
    with world(watched) as found:
        for jump in (timedelta(days=3650), timedelta(days=-7300)):
            found.clock.moment += jump
            found.pass_time(60.0)
        assert found.reports() == []
        found.clock.grade = ClockQuality.UNSET
        found.pass_time(DAY)
        found.pass_time(DAY)
        (report,) = found.reports()
        assert report.data.clock.quality == "unset"


# Never mixed


def test_a_release_that_changes_cuts_the_window_short_and_nothing_is_mixed(
    watched: Any, attempt_now: Attempt
) -> None:
    with world(watched) as found:
        old = found.request(values={"score": [0.01] * 50})
        found.hand([0.01] * 50)
        found.pass_time(DAY)
    watched.release("1.1.0", counter=2, monitoring=specification())
    assert attempt_now() == DONE
    watched.commit()
    with world(watched) as found:
        assert sum(found.score_cells()) == 0
        answer = found.monitor.take(old)
        assert (answer["ok"], answer["reason"]) == (False, "eligibility.superseded")
        found.hand([0.6] * 30)
        found.pass_time(DAY)
        assert found.reports() == [], "the day of the other release counts for nothing here"
        found.pass_time(DAY)
        (report,) = found.reports()
        assert (report.data.window, report.data.cut_short) == (2, 1)
        score = report.data.channels["score"]
        assert score.kind == "distribution"
        assert [cell for cell in score.cells if cell is not None] == [30]
        assert report.data.release == watched.releases["1.1.0"]


def test_a_release_without_a_specification_is_not_monitored(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == DONE
    in_the_field.commit()
    assert monitored(in_the_field.opened()) is None
    with world(in_the_field) as found:
        assert found.monitor.kept is None
        assert found.journal.counter(KEPT, "") == ""
        request = {"release": "a", "statement": "b", "specification": "c"}
        assert found.monitor.take(request)["ok"] is False


def test_a_specification_that_no_device_could_read_keeps_its_release_out(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    in_the_field.release("1.0.0", counter=1, monitoring=specification(windowHours=1))
    assert attempt_now() == REFUSED
    staged = in_the_field.event("update.staged")
    assert staged["data"]["reasons"] == ["document.invalid"]
    assert "selftest.started" not in in_the_field.kinds()
    assert in_the_field.opened() is None


@pytest.mark.parametrize(
    "spoilt", ["", "{", "[]", "null", '{"schemaVersion":"0.1"}', "CELLS", "SUM"]
)
def test_counters_that_somebody_spoilt_begin_anew_and_stop_nothing(
    watched: Any, spoilt: str
) -> None:
    with world(watched) as found:
        found.hand([0.5] * 20)
        found.pass_time(SAVE_SECONDS)
        kept = json.loads(found.journal.counter(KEPT, ""))
        if spoilt == "CELLS":
            kept["tally"]["cells"].pop()
            spoilt = json.dumps(kept)
        if spoilt == "SUM":
            kept["seconds"] = "soon"
            spoilt = json.dumps(kept)
        found.journal.set_counters(monitor=spoilt)
    with world(watched) as found:
        assert sum(found.score_cells()) == 0
        found.window(EXPECTED)
        assert len(found.reports()) == 1


def test_a_specification_that_was_changed_on_the_disk_counts_nothing(watched: Any) -> None:
    (path,) = watched.layout.generations.glob("*/monitoring.json")
    path.chmod(0o644)
    path.write_bytes(specification(windowHours=24))
    with world(watched) as found:
        assert found.monitor.kept is None
    path.write_bytes(b"{}")
    with world(watched) as found:
        assert found.monitor.kept is None


# What follows


def test_drift_is_an_event_with_release_and_statement_and_is_said_once(watched: Any) -> None:
    with world(watched) as found:
        found.window(EXPECTED)
        assert found.events() == []
        for _ in range(3):
            found.window(DRIFTED)
        alarms = [event.data.monitor for event in found.events()]
        assert [one and (one.alarm, one.number) for one in alarms] == [
            ("score-notice", 2),
            ("score-drift", 3),
        ]
        event = found.events()[-1]
        assert event.data.eligibility is not None
        assert event.data.active_manifest == watched.releases["1.0.0"]
        problems = {item.topic: item.text for item in found.journal.problems()}
        assert list(problems) == ["monitor score-drift"], "what is only logged troubles nobody"
        assert found.reports()[-1].data.alarms == ("score-drift", "score-notice")
        found.window(EXPECTED)
        assert [str(event.type).rpartition(".")[2] for event in found.events()[2:]] == ["quiet"] * 2
        assert found.journal.problems() == []
        assert found.journal.state().stopped == ""


def test_drift_alone_takes_nothing_away_and_a_weighed_hazard_does(
    watched: Any, attempt_now: Attempt
) -> None:
    with world(watched) as found:
        for _ in range(3):
            found.window(DRIFTED, alerts=[2, 72_000])
        assert found.journal.state().stopped == "", "the score only notifies"
        for _ in range(2):
            found.window(EXPECTED, **{"low-quality": [9000, 10_000]})
        state = found.journal.state()
        assert "HZ-11 missed ectopic beats under motion noise" in state.stopped
        assert "the monitor" in state.stopped
        assert watched.standing()["mode"] == "safe"
        kinds = [str(event.type).removeprefix("primum.device.") for event in found.events()]
        assert kinds[-1] == "safe-mode.asked"
        asked = next(e.data.monitor for e in found.events() if e.data.monitor
                     and e.data.monitor.alarm == "electrode-loose")  # fmt: skip
        assert asked.hazard_ref == "HZ-11 missed ectopic beats under motion noise"
        found.pass_time(60.0)
        assert not found.counts(), "nothing is in use, nothing is counted"
        end_stop(found.journal, why="electrodes replaced", by="R. Meyer", attempt="")
        found.pass_time(60.0)
        kept = found.monitor.kept
        assert kept is not None
        assert kept.memory.passed == set(), "after a person looked it begins anew"
        assert sum(kept.tally.cells) == 0
    assert attempt_now() in {DONE, REFUSED}


@pytest.mark.parametrize("fails_at", [EventKind.MONITOR_ALARMED, EventKind.SAFE_MODE_ASKED])
def test_power_that_fails_while_it_concludes_loses_no_alarm_and_says_none_twice(
    watched: Any, fails_at: EventKind
) -> None:
    """The disk refuses the event; the process starts again over what was committed."""
    with world(watched) as found:
        found.monitor.take(found.request(rates={"low-quality": [9000, 10_000]}))
        for _ in range(2):
            found.pass_time(DAY)
            found.monitor.take(found.request(rates={"low-quality": [9000, 10_000]}))
        broken = FakeJournal.open(watched.layout, clock=FakeClock(), device_id=DEVICE)
        assert isinstance(broken, FakeJournal)
        broken.fails_at = fails_at
        with pytest.raises(FailedError):
            found.monitor.look(broken, found.now + DAY)
        broken.close()
        reports = len(found.reports())
    with world(watched) as found:
        assert "HZ-11" in found.journal.state().stopped
        assert found.journal.counter(PENDING, "") == "[]"
        loose = [e for e in found.events() if e.data.monitor
                 and e.data.monitor.alarm == "electrode-loose"]  # fmt: skip
        assert len(loose) == 1
        assert sum(event.type.endswith("safe-mode.asked") for event in found.events()) == 1
        assert len(found.reports()) == reports


def test_a_stop_that_waited_is_not_for_the_release_that_came_meanwhile(
    watched: Any, attempt_now: Attempt
) -> None:
    with world(watched) as found:
        item = {"what": "stop", "release": watched.releases["1.0.0"], "why": "HZ-11"}
        found.journal.set_counters(monitor_pending=json.dumps([item]))
    watched.release("1.1.0", counter=2, monitoring=specification())
    assert attempt_now() == DONE
    watched.commit()
    with world(watched) as found:
        assert found.journal.state().stopped == ""
        assert found.journal.counter(PENDING, "") == "[]"


def test_a_site_so_small_that_a_group_is_a_person_lets_no_group_leave(watched: Any) -> None:
    with world(watched) as found:
        found.monitor.breakdowns = False
        found.hand([number / 400 for number in range(400)], groups={"age-band": "65-plus"})
        found.pass_time(2 * DAY)
        (report,) = found.reports()
    assert "65-plus" not in report.model_dump_json()
    score = report.data.channels["score"]
    assert score.kind == "distribution"
    assert sum(cell for cell in score.cells if cell) == 400


def test_a_summary_that_is_too_large_goes_without_its_breakdowns(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    groups = [f"group-of-patients-number-{number}" for number in range(32)]
    shares = ["0.003921"] * 254 + ["0.004066"]
    channels = [
        {
            **SPECIFICATION["channels"][0],
            "id": "score",
            "edges": [str(edge) for edge in range(1, 255)],
            "alarms": [],
            "reference": {**SPECIFICATION["channels"][0]["reference"], "proportions": shares},
        }
    ]
    cohorts = [{"key": "age-band", "groups": groups[:31], "why": "as large as it gets"}]
    made = specification(channels=channels, cohorts=cohorts, shadow=None)
    content = {name: value for name, value in json.loads(made).items() if value is not None}
    in_the_field.release("1.0.0", counter=1, monitoring=canonical_json(content))
    assert attempt_now() == DONE
    in_the_field.commit()
    with world(in_the_field) as found:
        kept = found.monitor.kept
        assert kept is not None
        kept.tally.cells = [10**15] * kept.plan.cells
        found.pass_time(2 * DAY)
        (report,) = found.reports()
        score = report.data.channels["score"]
        assert score.kind == "distribution"
        assert score.cohorts is None
        assert set(score.cells) == {10**15}


def test_a_disk_that_takes_no_counters_holds_up_neither_updates_nor_reports(
    watched: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is withdrawn must arrive on a device whose monitor cannot write."""

    def fails(*_: object) -> float:
        raise FailedError("The disk is full.", reason=Reason.RESOURCE_STORAGE)

    monkeypatch.setattr(Monitor, "look", fails)
    monkeypatch.setattr(Monitor, "save", fails)
    worked: list[float] = []
    supervisor = make_supervisor(
        settings=read_settings(watched.provisioning),
        layout=watched.layout,
        clock=FakeClock(),
        make_reporter=lambda _: None,
    )

    def works(_: AttemptPlan, now: float, __: object) -> float:
        worked.append(now)
        return now + 60.0

    monkeypatch.setattr(AttemptPlan, "start_if_due", works)
    supervisor.begin()
    try:
        assert supervisor.turn() <= 65.0
    finally:
        supervisor.end()
    assert len(worked) == 1, "the plan is looked at all the same"
    assert watched.kinds()[-1] == "agent.stopped", "and the end is recorded"


# The application's side


@pytest.fixture
def handing(watched: Any) -> Monitored:
    found = monitored(watched.opened())
    assert found is not None
    return found


def test_an_application_without_an_agent_waits_for_nobody_and_loses_what_is_beyond_its_bound(
    handing: Monitored,
) -> None:
    for number in range(MAX_HELD + 40):
        handing.observe({"score": number / MAX_HELD}, groups={"age-band": "65-plus"})
    assert (handing.held, handing.dropped) == (MAX_HELD, 40)
    assert not handing.flush(), "nobody listens"
    assert (handing.held, handing.dropped) == (MAX_HELD, 40), "it waits for the next time"


def test_what_was_dropped_is_told_with_the_window(
    watched: Any, handing: Monitored, eventually: Eventually
) -> None:
    for _ in range(MAX_HELD + 40):
        handing.observe({"score": 0.5})
    handing.happened("alerts", events=1, of=60)
    with watched.running():
        eventually(handing.flush)
    with world(watched) as found:
        found.window([])
        (report,) = found.reports()
        assert report.data.dropped == 41
        score = report.data.channels["score"]
        assert score.kind == "distribution"
        assert sum(cell or 0 for cell in score.cells) == MAX_HELD


def test_what_nobody_signed_is_the_applications_own_mistake(handing: Monitored) -> None:
    with pytest.raises(KeyError):
        handing.observe({"heart-rate": 60.0})
    with pytest.raises(KeyError):
        handing.happened("falls", events=1, of=1)


def test_an_agent_that_refuses_makes_nobody_try_again(watched: Any, eventually: Eventually) -> None:
    """The statement that was opened is not the one in force any more."""
    opened: ActiveRelease = watched.opened()
    data = opened.files["monitoring-specification"].read_bytes()
    handing = monitored(opened)
    assert handing is not None
    stranger = Monitored(opened, plan=handing.plan, specification=sha256_hex(data + b" "))
    stranger.observe({"score": 0.5, "answer-time": float("nan")})
    with watched.running():
        eventually(stranger.flush)
        assert (stranger.held, stranger.dropped) == (0, 2)
        answer = ask_agent(watched.layout.root, {"do": "observe", "values": {}})
        assert answer["reason"] == "usage"


def test_counting_brings_no_library_into_supervisor_or_application() -> None:
    code = (
        "import sys, primum_agent.monitor, primum_agent.monitored; "
        "print(sorted({'pydantic', 'numpy', 'tuf', 'cryptography', 'urllib3'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert str(ItemKind.MONITORING_SPECIFICATION) == SPECIFICATION_KIND


def test_the_confined_runner_hands_over_scores_and_times_by_itself(
    in_the_field: Any, attempt_now: Attempt, eventually: Eventually
) -> None:
    """As the specification names them; no answer differs by it."""
    score, _, _, _, times = copy.deepcopy(SPECIFICATION["channels"])
    made = specification(channels=[{**score, "source": "p"}, times])
    in_the_field.release("1.0.0", counter=1, monitoring=made)
    assert attempt_now() == DONE
    in_the_field.commit()
    with in_the_field.running():
        eventually(lambda: ask_agent(in_the_field.layout.root, {"do": "status"})["ok"])
        with served(in_the_field) as session:
            one = session()
            assert one.ask(do="open")["ok"]
            for _ in range(3):
                answer = one.ask(do="compute", inputs=QUESTION, cohorts={"age-band": "65-plus"})
                assert answer["ok"]
    with world(in_the_field) as found:
        assert sum(found.score_cells()) == 3
        kept = found.monitor.kept
        assert kept is not None
        assert sum(kept.tally.of_everybody(kept.plan.channel("answer-time"))) == 3
