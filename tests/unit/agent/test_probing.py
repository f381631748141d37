"""The integrator's probes: a wrong label or a dead alarm path is told; silence says nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.agent.tested_again import (
    DONE,
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

from primum_agent.clock import FakeClock
from primum_agent.displayed import (
    MAX_PRINTED,
    UnreadableDisplayError,
    differences,
    read_display,
)
from primum_verifier.shell.bench import FakeBench

__all__ = ["idle", "tested"]

LABEL = {"version": "1.0.0", "udiDi": "01234", "ifuVersion": "1"}


class Device:
    """What the probes of a real device would read: a screen, and a way to notify."""

    def __init__(self, folder: Path) -> None:
        self.screen, self.buzzer = folder / "screen", folder / "buzzer"
        self.buzzer.write_text("0 ")

    def shows(self, text: str) -> None:
        self.screen.write_text(text)

    def label(self, **other: str) -> None:
        self.shows(json.dumps({**LABEL, **other}))

    @property
    def probes(self) -> tuple[str, str]:
        alarm = "import pathlib as p, sys; f = p.Path(sys.argv[1]); t = f.read_text(); "
        alarm += "f.write_text(t + '.'); sys.exit(int(t.split()[0]))"
        return (
            f"display_probe = {json.dumps(['/bin/cat', str(self.screen)])}",
            f"alarm_probe = {json.dumps([sys.executable, '-c', alarm, str(self.buzzer)])}",
        )

    def sounded(self) -> int:
        return self.buzzer.read_text().count(".")


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


@pytest.fixture
def field(in_the_field: Any, attempt_now: Attempt, device: Device) -> Any:
    """A device that runs 1.0.0, and whose maker brings both probes."""
    runs(in_the_field, attempt_now, 1.0)
    say(in_the_field, *device.probes)
    return in_the_field


def start(number: int) -> FakeClock:
    """Another start of the device, so that a test is due."""
    return FakeClock(boot=f"start-{number}")


@pytest.mark.usefixtures("idle")
def test_what_is_shown_as_signed_is_confirmed_once_for_each_release(
    field: Any, device: Device, tested: Callable[..., int]
) -> None:
    device.label()
    for number in range(3):
        assert tested(FakeBench(), clock=start(number)) == DONE
    assert (told(field, "display.confirmed"), told(field, "alarm.works")) == (1, 1)
    assert field.event("display.confirmed")["data"]["detail"]["shows"] == LABEL
    assert device.sounded() == 3
    found = status(field)["selfTest"]
    assert (found["display"], found["alarm"]) == ("shows what was signed", "works")
    assert status(field)["problems"] == []


@pytest.mark.parametrize(
    "shown",
    [
        json.dumps({**LABEL, "version": "0.9.0"}),
        json.dumps({**LABEL, "udiDi": "99999"}),
        json.dumps({**LABEL, "ifuVersion": "2"}),
        json.dumps({"version": "1.0.0"}),
        json.dumps({**LABEL, "version": 1.0}),
        "version=0.9.0\n" + "\n".join(f"{name}={value}" for name, value in LABEL.items()),
        "",
        "not a label",
        "{",
        "[" * 4000,
        "x" * 10_000,
    ],
)
@pytest.mark.usefixtures("idle")
def test_another_label_than_the_signed_one_is_never_passed_in_silence(
    field: Any, device: Device, tested: Callable[..., int], shown: str
) -> None:
    device.shows(shown)
    for number in range(2):
        assert tested(FakeBench(), clock=start(number)) == DONE
    assert told(field, "display.failed") == 1, "one trouble, one event"
    assert field.event("display.failed")["data"]["reasons"] == ["state.display"]
    assert told(field, "display.confirmed") == 0
    assert [item["topic"] for item in status(field)["problems"]] == ["display"]
    assert not doctor(field, "display")["well"]
    assert in_use(field) == "1.0.0", "a label takes no function away"
    # Put right, it is confirmed, and the trouble is over.
    device.label()
    tested(FakeBench(), clock=start(9))
    assert told(field, "display.confirmed") == 1
    assert status(field)["problems"] == []
    assert doctor(field, "display")["well"]


@pytest.mark.usefixtures("idle")
def test_the_label_of_the_release_before_is_found_after_an_activation(
    field: Any, device: Device, attempt_now: Attempt, tested: Callable[..., int]
) -> None:
    """The device goes on showing 1.0.0; a self-test is not due, the look at the display is."""
    device.label()
    clock = start(1)
    tested(FakeBench(), clock=clock)
    field.release("1.1.0", counter=2)
    assert attempt_now() == DONE
    field.commit()
    assert tested(FakeBench(), clock=clock) == DONE
    event = field.event("display.failed")
    assert event["subject"] == "pvc-classifier 1.1.0"
    assert "shows '1.0.0', signed '1.1.0'" in event["data"]["detail"]["found"]


@pytest.mark.usefixtures("idle")
def test_a_whole_agent_looks_at_the_display_soon_after_health_was_proven(
    in_the_field: Any, device: Device, eventually: Callable[..., Any]
) -> None:
    """No period has passed and nothing was started anew; before that nobody is asked."""
    field = in_the_field
    say(field, *device.probes)
    device.label(version="0.9.0")
    field.release("1.0.0", counter=1)
    with field.running():
        eventually(lambda: field.opened() is not None)
        assert not told(field, "display.failed")
        eventually(lambda: field.opened().prove_health() or "update.committed" in field.kinds())
        eventually(lambda: told(field, "display.failed") and told(field, "alarm.works"))
    kinds = field.kinds()
    assert kinds.index("update.committed") < kinds.index("display.failed")
    assert device.sounded() == 1
    assert not told(field, "active-test.failed")


@pytest.mark.usefixtures("idle")
def test_a_dead_alarm_path_is_told_and_so_is_its_end(
    field: Any, device: Device, tested: Callable[..., int]
) -> None:
    device.label()
    device.buzzer.write_text("3 ")
    for number in range(2):
        tested(FakeBench(), clock=start(number))
    assert told(field, "alarm.failed") == 1
    assert field.event("alarm.failed")["data"]["reasons"] == ["safety.alarm"]
    assert not doctor(field, "alarm path")["well"]
    device.buzzer.write_text("0 ")
    tested(FakeBench(), clock=start(5))
    assert told(field, "alarm.works") == 1
    assert doctor(field, "alarm path")["well"]


@pytest.mark.parametrize(
    "command",
    [
        ["/nonexistent/probe"],
        [sys.executable, "-c", "import time; time.sleep(60)"],
        [sys.executable, "-c", "while True: print('version=1.0.0')"],
    ],
)
@pytest.mark.usefixtures("idle")
def test_a_probe_that_cannot_answer_is_a_trouble_and_holds_nothing_up(
    field: Any, tested: Callable[..., int], command: list[str]
) -> None:
    told_as = json.dumps(command)
    lines = (f"display_probe = {told_as}", f"alarm_probe = {told_as}", "probe_seconds = 1.0")
    say(field, *lines)
    assert tested(FakeBench()) == DONE
    for kind in ("display.failed", "alarm.failed"):
        assert field.event(kind)["data"]["reasons"] == ["resource.program"]
    assert status(field)["selfTest"]["passed"].startswith("2026"), "the self-test was run all same"


@pytest.mark.usefixtures("idle")
def test_a_display_probe_that_ends_badly_says_nothing_whatever_it_printed(
    field: Any, tested: Callable[..., int]
) -> None:
    script = f"print('''{json.dumps(LABEL)}'''); raise SystemExit(4)"
    say(field, f"display_probe = {json.dumps([sys.executable, '-c', script])}")
    tested(FakeBench())
    assert field.event("display.failed")["data"]["reasons"] == ["resource.program"]


@pytest.mark.usefixtures("idle")
def test_without_a_probe_it_says_not_checked(
    in_the_field: Any, attempt_now: Attempt, tested: Callable[..., int]
) -> None:
    runs(in_the_field, attempt_now, 1.0)
    tested(FakeBench())
    assert not {"display.confirmed", "alarm.works"} & set(in_the_field.kinds())
    shown = in_the_field.agent("status").stdout
    assert [line.split()[-2:] for line in shown.splitlines() if "not checked" in line] == [
        ["not", "checked"],
        ["not", "checked"],
    ]
    found = doctor(in_the_field, "alarm path")
    assert (found["found"], found["note"]) == ("not checked", True)


def test_no_alarm_sounds_beside_a_patient_and_it_is_tried_once_nobody_is_served(
    field: Any,
    device: Device,
    tested: Callable[..., int],
    request: pytest.FixtureRequest,
) -> None:
    device.label()
    for number in range(2):
        assert tested(FakeBench(), clock=start(number)) == WAITING
    assert device.sounded() == 0
    assert status(field)["selfTest"]["alarm"].startswith("not checked yet")
    assert status(field)["selfTest"]["display"] == "shows what was signed"
    request.getfixturevalue("idle")
    assert tested(FakeBench(), clock=start(7)) == DONE
    assert device.sounded() == 1
    assert told(field, "alarm.works") == 1


@pytest.mark.usefixtures("idle")
def test_a_probe_that_is_taken_away_leaves_no_trouble_behind(
    field: Any, device: Device, tested: Callable[..., int]
) -> None:
    device.label(version="0.9.0")
    tested(FakeBench(), clock=start(1))
    assert status(field)["problems"]
    say(field)
    tested(FakeBench(), clock=start(2))
    assert status(field)["problems"] == []
    assert status(field)["selfTest"]["display"] == "not checked"


# What is printed


def test_both_forms_say_the_same() -> None:
    lines = "\n".join(f" {name} = {value} " for name, value in LABEL.items()) + "\n\nmore=1\n"
    assert differences(read_display(lines.encode()), LABEL) == []
    assert differences(read_display(json.dumps({**LABEL, "more": 1}).encode()), LABEL) == []


@given(st.binary(max_size=MAX_PRINTED + 10) | st.text(alphabet='{}[]":=\n1a,\\', max_size=200))
def test_whatever_is_printed_is_read_or_told_unreadable(printed: bytes | str) -> None:
    data = printed if isinstance(printed, bytes) else printed.encode()
    try:
        found = read_display(data)
    except UnreadableDisplayError:
        return
    assert all(isinstance(value, str) for value in found.values())


@given(st.dictionaries(st.sampled_from(sorted(LABEL)), st.text(max_size=20)))
def test_nothing_but_the_signed_label_is_the_signed_label(shown: dict[str, str]) -> None:
    assert (differences(shown, LABEL) == []) == (shown == LABEL)
