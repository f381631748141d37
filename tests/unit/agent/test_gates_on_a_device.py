"""Gates on a whole device: what holds is seen, told once, and never holds for ever in silence."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from primum_agent.attempt_plan import AttemptPlan
from primum_agent.clock import ClockQuality, FakeClock, believed
from primum_agent.gate_keeping import TOPIC, GateKeeper
from primum_agent.gate_memory import GateMemory, Wait, keep_gates, remembered_gates
from primum_agent.gate_overrides import give_override, read_overrides
from primum_agent.gate_rules import GateId, Step
from primum_agent.gate_settings import GateSettings, Probe
from primum_agent.journal import Journal
from primum_agent.lifecycle import State
from primum_agent.medium import settings_for
from primum_agent.settings import read_settings
from primum_agent.transitions import OPENED, not_proven
from primum_agent.work_times import (
    Work,
    activation_begins,
    expected_time,
    health_is_proven,
    note_time,
)
from primum_verifier.core.errors import UsageError
from primum_verifier.core.question import ClinicalUse
from primum_verifier.record.event import parse_event

Attempt = Callable[..., int]
DONE, REFUSED, USAGE, WAITING = 0, 1, 2, 5
DAY = 86_400.0


class Gauges:
    """The sensors and files of one device, as its maker names them in ``agent.toml``."""

    def __init__(self, field: Any) -> None:
        self.field = field
        self.folder: Path = field.folder / "gauges"
        self.folder.mkdir()

    def set(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{text}\n")
        return path

    def settings(self, text: str) -> None:
        self.field.more_settings = text.replace("GAUGES", str(self.folder))
        self.field.write("agent.toml", self.field.settings().encode())

    def battery(self, percent: int, status: str = "Discharging", more: str = "") -> None:
        self.charge(percent, status)
        self.settings(f'[gates.battery]\nbattery = "GAUGES/bat"\n{more}')

    def charge(self, percent: int, status: str = "Discharging") -> None:
        self.set("bat/capacity", str(percent))
        self.set("bat/status", status)


@pytest.fixture
def gauges(in_the_field: Any) -> Gauges:
    return Gauges(in_the_field)


def after(days: float) -> FakeClock:
    """A clock of one boot that went on for so many days."""
    return FakeClock(
        moment=datetime.now(UTC) + timedelta(days=days), powered=1000.0 + days * DAY, boot="b"
    )


def serves(field: Any) -> str | None:
    used = state(field).in_use
    return None if used is None else str(used.version)


def state(field: Any) -> Any:
    journal = field.journal()
    try:
        return journal.state()
    finally:
        journal.close()


def gate(field: Any, name: str) -> dict[str, Any]:
    rows = remembered_gates(field.counter("gates")).rows
    return dict(next(row for row in rows if row["gate"] == name))


def waiting(field: Any) -> list[dict[str, Any]]:
    found = [item for item in field.events() if item["type"].endswith("update.waiting")]
    for item in found:
        parse_event(json.dumps(item).encode(), where="journal")
    return found


def running(field: Any, attempt_now: Attempt, version: str = "1.0.0", counter: int = 1) -> None:
    field.release(version, counter=counter)
    assert attempt_now() == DONE
    field.commit()


# Each step waits for its own gates


def test_a_metered_network_holds_the_download_and_nothing_is_begun(
    in_the_field: Any, attempt_now: Attempt, gauges: Gauges
) -> None:
    gauges.set("network", "metered")
    gauges.settings('[gates.metered]\nfile = "GAUGES/network"\n')
    in_the_field.release("1.0.0", counter=1)
    for _ in range(3):
        assert attempt_now() == WAITING
    assert "update.found" not in in_the_field.kinds()
    assert not list((in_the_field.layout.store / "sha256").iterdir())
    assert len(waiting(in_the_field)) == 1
    told = waiting(in_the_field)[0]["data"]["detail"]["gates"]
    assert [item["gate"] for item in told] == ["metered"]
    gauges.set("network", "unmetered")
    assert attempt_now() == DONE
    kinds = in_the_field.kinds()
    assert kinds.index("update.found") > kinds.index("update.waiting")
    assert serves(in_the_field) == "1.0.0"


def test_a_metered_network_does_not_hold_what_lies_here_already(
    in_the_field: Any, attempt_now: Attempt, gauges: Gauges
) -> None:
    gauges.battery(5)
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == WAITING
    gauges.set("network", "metered")
    gauges.settings('[gates.metered]\nfile = "GAUGES/network"\n')
    assert attempt_now() == DONE


def test_a_flat_battery_holds_the_self_test_and_the_files_stay(
    in_the_field: Any, attempt_now: Attempt, gauges: Gauges
) -> None:
    """Held after the download: told once, at rest between the polls, done once it is charged."""
    gauges.battery(15)
    in_the_field.release("1.0.0", counter=1)
    for _ in range(3):
        assert attempt_now() == WAITING
        assert state(in_the_field).lifecycle is State.IDLE
    assert "selftest.started" not in in_the_field.kinds()
    assert in_the_field.kinds().count("update.found") == 1
    (told,) = waiting(in_the_field)
    assert told["data"]["reasons"] == ["safety.battery"]
    assert told["data"]["stimulus"] == "staged"
    gauges.charge(15, "Charging")
    assert attempt_now() == DONE
    assert serves(in_the_field) == "1.0.0"
    journal = in_the_field.journal()
    assert journal.state() == journal.replayed()
    journal.close()


def test_x08_a_battery_that_goes_flat_in_the_provisional_window_bans_nothing(
    in_the_field: Any, attempt_now: Attempt, gauges: Gauges
) -> None:
    """Rolled back as it must be; the gate holds the next try; then the release goes live."""
    running(in_the_field, attempt_now)
    gauges.battery(90)
    in_the_field.release("1.1.0", counter=2)
    assert attempt_now() == DONE
    gauges.charge(2)
    with in_the_field.journal_to_write() as journal:
        used = journal.state().in_use
        journal.set_counters(**{OPENED.replace("-", "_"): str(used.number)})
        journal.record(
            not_proven(journal, used, why="the power failed", poll_seconds=1.0, told=True)
        )
    assert attempt_now("resume") == DONE
    assert serves(in_the_field) == "1.0.0"
    assert attempt_now() == WAITING
    found = state(in_the_field)
    assert found.faults == {}
    assert found.setbacks == {in_the_field.releases["1.1.0"]: 1}
    gauges.charge(80)
    assert attempt_now() == DONE
    assert serves(in_the_field) == "1.1.0"


@pytest.mark.parametrize("gauge", ["none", "too hot"])
def test_a_hot_device_and_one_whose_sensor_broke_wait_and_say_so(
    in_the_field: Any, attempt_now: Attempt, gauges: Gauges, gauge: str
) -> None:
    if gauge == "too hot":
        gauges.set("temp", "60000")
    gauges.settings('[gates.temperature]\nsensor = "GAUGES/temp"\nmost_celsius = 45\n')
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == WAITING
    found = gate(in_the_field, "temperature")
    expected = "60 degrees Celsius" if gauge == "too hot" else "cannot be read"
    assert (found["reading"], found["standing"]) == (expected, "holds")
    gauges.set("temp", "30000")
    assert attempt_now() == DONE


@pytest.mark.parametrize("word", ["in-use", "", "ready"])
def test_a_file_that_does_not_say_idle_holds_the_switch_alone(
    in_the_field: Any, attempt_now: Attempt, gauges: Gauges, word: str
) -> None:
    gauges.set("use", word)
    gauges.settings('[gates.clinical_use]\nfile = "GAUGES/use"\n')
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == WAITING
    assert state(in_the_field).lifecycle is State.WAITING
    (told,) = waiting(in_the_field)
    assert told["data"]["reasons"] == ["safety.in-use"]
    rules = [item["name"] for item in told["data"]["detail"]["checks"]]
    assert rules == ["not-in-clinical-use"], "the core was told, too"
    check = in_the_field.agent("check", "--provisioning", in_the_field.provisioning)
    assert check.returncode == WAITING
    assert "clinical-use" in check.stdout
    done = in_the_field.agent(
        "override", "clinical-use", "--reason", "now", "--by", "R. Meyer", "--hours", 1
    )
    assert (done.returncode, "safety.in-use" in done.stderr) == (REFUSED, True)
    assert attempt_now() == WAITING
    gauges.set("use", "idle")
    assert attempt_now() == DONE


def test_a_metered_network_holds_nothing_that_comes_on_a_stick(
    in_the_field: Any, gauges: Gauges
) -> None:
    gauges.settings('[gates]\nlook_seconds = 60\n[gates.metered]\nfile = "GAUGES/network"\n')
    settings = read_settings(in_the_field.provisioning)
    assert settings.gates.metered.is_set
    from_stick = settings_for(settings, in_the_field.folder)
    assert from_stick.gates == GateSettings(metered=Probe(), look_seconds=60.0)


def test_the_settings_on_the_page_are_settings(in_the_field: Any) -> None:
    page = (Path(__file__).parents[3] / "docs" / "device.md").read_text()
    (example,) = [part for part in page.split("```")[1::2] if part.startswith("toml\n[gates]")]
    in_the_field.more_settings = example.removeprefix("toml\n")
    in_the_field.write("agent.toml", in_the_field.settings().encode())
    gates = read_settings(in_the_field.provisioning).gates
    assert all(vars(gates).values())


@pytest.mark.parametrize(
    ("text", "member"),
    [
        ("[gates]\nlook_second = 3", "look_second"),
        ("[gates]\nlook_seconds = 0", "gates.look_seconds"),
        ("[gates.battery]\nreserve_percent = 101", "gates.battery.reserve_percent"),
        ('[gates.battery]\nbattery = "BAT0"', "gates.battery.battery"),
        ("[gates.temperature]\nleast_celsius = 1", "gates.temperature.most_celsius"),
        (
            "[gates.temperature]\nmost_celsius = 5\nleast_celsius = 5",
            "gates.temperature.least_celsius",
        ),
        ('[gates.clinical_use]\ncommand = ["probe"]', "gates.clinical_use.command"),
        ("[gates.clinical_use]\ncommand_seconds = 61", "gates.clinical_use.command_seconds"),
        ("[gates.consent]\ndeferrals = 31", "gates.consent.deferrals"),
        ("[gates.consent]\ndefer_hours = 0", "gates.consent.defer_hours"),
    ],
)
def test_a_mistyped_gate_is_never_no_gate(in_the_field: Any, text: str, member: str) -> None:
    in_the_field.more_settings = text + "\n"
    in_the_field.write("agent.toml", in_the_field.settings().encode())
    with pytest.raises(UsageError) as refused:
        read_settings(in_the_field.provisioning)
    assert member in refused.value.where + refused.value.found


def test_room_that_is_missing_holds_before_the_download(
    in_the_field: Any, attempt_now: Attempt, gauges: Gauges
) -> None:
    gauges.settings("[gates]\nleast_free_disk_mib = 1000000\n")
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == WAITING
    assert waiting(in_the_field)[0]["data"]["reasons"] == ["resource.storage"]
    assert "update.downloading" not in in_the_field.kinds()


def test_memory_that_is_missing_holds_before_the_self_test(
    in_the_field: Any, attempt_now: Attempt, gauges: Gauges
) -> None:
    gauges.settings("[gates]\nleast_free_memory_mib = 1000000\n")
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == WAITING
    assert waiting(in_the_field)[0]["data"]["reasons"] == ["resource.memory"]
    assert "selftest.started" not in in_the_field.kinds()


# Windows and severity

NEVER_NOW = """
[gates.window]
zone = "Europe/Berlin"
spans = ["{begins}-{ends}"]
[gates.metered]
file = "GAUGES/none"
"""


def closed_window() -> str:
    """A window that opens ten hours from now, wherever the clock of this machine stands."""
    begins = datetime.now(UTC).replace(minute=0) + timedelta(hours=12)
    return NEVER_NOW.format(
        begins=begins.strftime("%H:00"), ends=(begins + timedelta(hours=1)).strftime("%H:00")
    )


def test_a_window_holds_the_switch_and_the_wait_is_as_long_as_it_is(
    in_the_field: Any, attempt_now: Attempt, gauges: Gauges
) -> None:
    gauges.settings(closed_window().replace("[gates.metered]\nfile", "# file"))
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == WAITING
    assert gate(in_the_field, "window")["standing"] == "holds"
    wait = remembered_gates(in_the_field.counter("gates")).wait
    assert wait is not None
    assert 6 * 3600 < wait.look_seconds < 14 * 3600


def test_d05_without_a_trusted_clock_the_old_release_runs_and_the_new_one_is_refused_by_name(
    in_the_field: Any, attempt_now: Attempt, gauges: Gauges
) -> None:
    running(in_the_field, attempt_now)
    gauges.settings('[gates.window]\nzone = "Europe/Berlin"\nspans = ["00:00-24:00"]\n')
    in_the_field.release("1.1.0", counter=2)
    unset = datetime(1970, 1, 1, 0, 1, tzinfo=UTC)
    attempt_now(clock=FakeClock(unset, powered=10.0, boot="c", grade=ClockQuality.UNSET))
    assert serves(in_the_field) == "1.0.0"
    assert in_the_field.event("update.refused")["data"]["reasons"][0] == "trust.time-unknown"
    assert attempt_now(clock=FakeClock(datetime.now(UTC), powered=20.0, boot="c")) == DONE
    assert serves(in_the_field) == "1.1.0"


def test_a_critical_release_waits_for_no_window_and_no_cheaper_network(
    in_the_field: Any, attempt_now: Attempt, gauges: Gauges
) -> None:
    gauges.settings(closed_window())
    in_the_field.release("1.0.0", counter=1, severity="mandatory")
    assert attempt_now() == WAITING
    in_the_field.release("1.1.0", counter=2, severity="critical")
    assert attempt_now() == DONE
    assert serves(in_the_field) == "1.1.0"


def test_a_critical_release_waits_for_the_patient_and_the_battery(
    in_the_field: Any, attempt_now: Attempt, gauges: Gauges
) -> None:
    gauges.set("use", "in-use")
    gauges.settings('[gates.clinical_use]\nfile = "GAUGES/use"\n')
    in_the_field.release("1.0.0", counter=1, severity="critical")
    assert attempt_now() == WAITING
    gauges.battery(3)
    assert attempt_now() == WAITING
    assert gate(in_the_field, "battery")["standing"] == "holds"


# Nothing holds for ever unseen


def test_a_battery_rule_that_holds_for_ever_is_seen_by_everybody_and_has_a_way_out(
    in_the_field: Any, attempt_now: Attempt, gauges: Gauges
) -> None:
    """Four years without an update: the gauge is broken, and nobody could see it."""
    gauges.battery(0, more="\n[gates]\ntold_after_days = 7\n".replace("[gates]\n", ""))
    gauges.settings('[gates]\ntold_after_days = 7\n[gates.battery]\nbattery = "GAUGES/none"\n')
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now(clock=after(0)) == WAITING
    since = gate(in_the_field, "battery")["since"]
    assert attempt_now(clock=after(6)) == WAITING
    assert len(waiting(in_the_field)) == 1
    for days in (7.1, 8, 9):
        assert attempt_now(clock=after(days)) == WAITING
    assert len(waiting(in_the_field)) == 2, "a week later it is told once more, and counted"
    assert gate(in_the_field, "battery")["since"] == since
    status = in_the_field.agent("status")
    assert status.returncode == REFUSED
    assert TOPIC in status.stdout
    assert "cannot be read" in status.stdout
    assert since in status.stdout
    doctor = in_the_field.agent("doctor", "--provisioning", in_the_field.provisioning)
    assert "primum-agent override" in doctor.stdout
    done = in_the_field.agent(
        "override", "battery", "--reason", "broken gauge", "--by", "R. Meyer", "--hours", 4
    )
    assert done.returncode == DONE, done.stderr
    assert attempt_now() == DONE
    assert serves(in_the_field) == "1.0.0"
    event = in_the_field.event("update.agreed")
    assert event["data"]["detail"]["why"] == "broken gauge"
    assert event["data"]["detail"]["by"] == "R. Meyer"
    parse_event(json.dumps(event).encode(), where="journal")
    assert TOPIC not in in_the_field.agent("status").stdout


def test_gates_that_take_turns_hold_for_ever_in_nobodys_sight_no_more(
    in_the_field: Any, attempt_now: Attempt, gauges: Gauges
) -> None:
    """No gate holds for long, and yet the release never goes live: the wait is what is counted."""
    gauges.battery(3)
    in_the_field.release("1.0.0", counter=1)
    hot = '[gates.temperature]\nsensor = "GAUGES/temp"\nmost_celsius = 45\n'
    gauges.set("temp", "60000")
    for day in range(10):
        gauges.settings(hot) if day % 2 else gauges.battery(3)
        assert attempt_now(clock=after(day)) == WAITING
    assert len(waiting(in_the_field)) == 3, "each gate once, and once that it lasts"
    journal = in_the_field.journal()
    problems = [item for item in journal.problems() if item.topic == TOPIC]
    journal.close()
    assert [item.what for item in problems] == ["pvc-classifier 1.0.0"]


def test_a_withdrawal_waits_for_no_gate(
    in_the_field: Any, attempt_now: Attempt, gauges: Gauges
) -> None:
    running(in_the_field, attempt_now)
    gauges.battery(0, more='[gates.temperature]\nsensor = "GAUGES/none"\nmost_celsius = 45\n')
    in_the_field.release("1.1.0", counter=2)
    attempt_now()
    in_the_field.withdraw("1.0.0")
    attempt_now()
    assert serves(in_the_field) is None
    assert in_the_field.standing()["mode"] == "safe"


# Overrides


def override(field: Any, *words: object) -> int:
    options = ["--reason", "on the charger", "--by", "R. Meyer"]
    return int(field.agent("override", *words, *options).returncode)


def test_an_override_lapses_and_can_be_taken_back(
    in_the_field: Any, attempt_now: Attempt, gauges: Gauges
) -> None:
    gauges.set("use", "in-use")
    gauges.battery(1, more='[gates.clinical_use]\nfile = "GAUGES/use"\n')
    in_the_field.release("1.0.0", counter=1)
    attempt_now()
    assert override(in_the_field, "battery", "--hours", 2) == DONE
    assert attempt_now() == WAITING
    assert gate(in_the_field, "battery")["standing"] == "overridden"
    assert gate(in_the_field, "clinical-use")["standing"] == "holds"
    late = FakeClock(moment=datetime.now(UTC) + timedelta(hours=2, minutes=1), boot="new")
    assert attempt_now(clock=late) == WAITING
    assert gate(in_the_field, "battery")["standing"] == "holds", "by the clock, over a restart"
    assert override(in_the_field, "battery", "--hours", 2) == DONE
    assert override(in_the_field, "battery", "--hours", 0) == DONE
    attempt_now()
    assert gate(in_the_field, "battery")["standing"] == "holds"


def test_a_clock_that_is_set_back_or_was_never_set_prolongs_no_override(
    journal: Journal, clock: FakeClock
) -> None:
    """Two bounds, whichever ends first; powered hours are the one that nobody can argue with."""

    def stands() -> bool:
        powered, now = journal.powered_total(), believed(clock)
        return GateId.BATTERY in read_overrides(journal, powered=powered, now=now)

    facts: dict[str, Any] = {"gate": "battery", "by": "R. Meyer", "why": "broken", "hours": 2.0}
    give_override(journal, clock, **facts)
    clock.powered += 7199.0
    clock.moment -= timedelta(days=30)
    assert stands()
    clock.powered += 2.0
    assert not stands()
    clock.grade = ClockQuality.UNSET
    assert give_override(journal, clock, **facts).until == ""
    assert stands()
    clock.powered += 7201.0
    assert not stands()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("battery", "--hours", 73), USAGE),
        (("battery", "--hours", -1), USAGE),
        (("battery", "--hours", "nan"), USAGE),
        (("eligibility", "--hours", 1), USAGE),
        (("self-test", "--hours", 1), USAGE),
        (("consent", "--hours", 1), REFUSED),
        (("clinical-use", "--hours", 1), REFUSED),
    ],
)
def test_what_cannot_be_overridden_is_refused_and_leaves_nothing(
    in_the_field: Any, attempt_now: Attempt, words: tuple[object, ...], code: int
) -> None:
    attempt_now()
    before = in_the_field.kinds()
    assert override(in_the_field, *words) == code
    assert in_the_field.kinds() == before
    assert in_the_field.counter("gate-overrides") == ""


def test_an_override_makes_nothing_eligible(
    in_the_field: Any, attempt_now: Attempt, gauges: Gauges
) -> None:
    gauges.battery(1)
    in_the_field.release("1.0.0", counter=1, approved_by=())
    attempt_now()
    assert override(in_the_field, "battery", "--hours", 4) == DONE
    assert attempt_now() == REFUSED
    assert serves(in_the_field) is None


# What can be seen


def test_status_shows_every_gate_before_any_release_waits(
    in_the_field: Any, attempt_now: Attempt, gauges: Gauges
) -> None:
    gauges.battery(15)
    assert attempt_now() == DONE
    shown = json.loads(in_the_field.agent("status", "--json").stdout)
    rows = {row["gate"]: row for row in shown["gates"]}
    assert rows["battery"]["standing"] == "holds"
    assert rows["battery"]["reading"] == "15 %, no charger"
    assert rows["battery"]["since"]
    assert rows["battery"]["overridable"] is True
    assert rows["clinical-use"]["overridable"] is False
    assert rows["temperature"]["standing"] == "not applicable"
    assert shown["waiting"] is None
    lines = in_the_field.agent("status").stdout
    assert "15 %, no charger" in lines
    assert "10 % with a charger or 20 % without" in lines


def test_check_says_what_would_hold_and_writes_nothing_of_it(
    in_the_field: Any, attempt_now: Attempt, gauges: Gauges
) -> None:
    assert attempt_now() == DONE
    kept = in_the_field.counter("gates")
    gauges.battery(15)
    in_the_field.release("1.0.0", counter=1)
    done = in_the_field.agent("check", "--provisioning", in_the_field.provisioning, "--json")
    assert done.returncode == WAITING
    found = json.loads(done.stdout)
    assert found["message"].startswith("pvc-classifier 1.0.0 would wait before its self-test: ")
    assert next(row for row in found["gates"] if row["gate"] == "battery")["opens"]
    assert in_the_field.counter("gates") == kept
    gauges.charge(90)
    assert in_the_field.agent("check", "--provisioning", in_the_field.provisioning).returncode == 0


def test_a_running_device_looks_again_soon_and_not_at_the_next_poll(
    in_the_field: Any, gauges: Gauges, eventually: Callable[..., Any]
) -> None:
    """Polls are an hour apart; the charger is connected, and it goes on within seconds."""
    gauges.charge(5)
    gauges.settings('[gates]\nlook_seconds = 1\n[gates.battery]\nbattery = "GAUGES/bat"\n')
    in_the_field.release("1.0.0", counter=1)
    with in_the_field.running():
        eventually(lambda: "update.waiting" in in_the_field.kinds())
        live = eventually(lambda: json.loads(in_the_field.agent("status", "--json").stdout))
        assert live["supervisor"]["waiting"]["name"] == "pvc-classifier 1.0.0"
        gauges.charge(60, "Charging")
        release = eventually(in_the_field.opened)
        assert eventually(release.prove_health)
    times = json.loads(in_the_field.counter("work-times"))
    assert set(times) == {"self-test", "activation"}


def test_a_look_is_as_soon_as_a_gate_may_open_and_never_later_than_a_poll(
    journal: Journal, in_the_field: Any
) -> None:
    plan = AttemptPlan(
        settings=read_settings(in_the_field.provisioning),
        layout=in_the_field.layout,
        draw=lambda: 0.5,
        once=False,
    )
    wait = Wait("a" * 64, "pvc-classifier 1.0.0", "", 0.0, (), 60.0)
    assert plan._until_next_poll(journal, code=WAITING) == 3600.0
    keep_gates(journal, GateMemory(wait=wait))
    assert plan._until_next_poll(journal, code=WAITING) == 60.0
    assert plan._until_next_poll(journal, code=DONE) == 3600.0
    assert plan._until_next_poll(journal, code=3) == 3600.0


# How long the work takes


def test_the_expected_time_is_learnt_and_bounded(journal: Journal, clock: FakeClock) -> None:
    assert expected_time(journal, Work.SELF_TEST, bound=600.0) == 600.0
    for seconds in (900.0, 10.0, 20.0, 10.0, 10.0, 10.0):
        note_time(journal, Work.SELF_TEST, seconds)
    assert expected_time(journal, Work.SELF_TEST, bound=600.0) == 40.0, "the last five, doubled"
    assert expected_time(journal, Work.SELF_TEST, bound=30.0) == 30.0
    activation_begins(journal, release="a" * 64)
    clock.powered += 12.0
    health_is_proven(journal, release="b" * 64)
    assert expected_time(journal, Work.ACTIVATION, bound=600.0) == 600.0
    health_is_proven(journal, release="a" * 64)
    assert expected_time(journal, Work.ACTIVATION, bound=600.0) == 24.0


def test_an_episode_that_begins_while_others_are_asked_is_seen(
    in_the_field: Any, attempt_now: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_field.release("1.0.0", counter=1)
    served = [ClinicalUse.IDLE]
    look = GateKeeper.look

    def slow(keeper: GateKeeper, *words: Any, **more: Any) -> Any:
        gates = look(keeper, *words, **more)
        if more["steps"] == (Step.ACTIVATE,):
            served[0] = ClinicalUse.IN_USE
        return gates

    monkeypatch.setattr(GateKeeper, "look", slow)
    monkeypatch.setattr("primum_agent.candidate_gates.clinical_use", lambda _: served[0])
    assert attempt_now() == 5
    assert in_the_field.opened() is None
    assert "update.activating" not in in_the_field.kinds()
    monkeypatch.setattr(GateKeeper, "look", look)
    served[0] = ClinicalUse.IDLE
    assert attempt_now() == 0
    assert in_the_field.opened().version == "1.0.0"


def test_a_device_whose_clock_was_never_set_says_why_it_takes_nothing(
    in_the_field: Any, attempt_now: Any
) -> None:
    """By its own clock no plan has begun yet; it must not call itself current for ever."""
    in_the_field.release("1.0.0", counter=1)
    unset = datetime(2001, 1, 1, tzinfo=UTC)
    clock = FakeClock(unset, powered=10.0, boot="c", grade=ClockQuality.UNSET)
    assert attempt_now(clock=clock) == 1
    refused = in_the_field.event("update.refused")
    assert refused["subject"] == "pvc-classifier 1.0.0"
    assert refused["data"]["reasons"][0] == "trust.time-unknown"
    assert in_the_field.opened() is None
    assert attempt_now() == 0
    assert in_the_field.opened().version == "1.0.0"
