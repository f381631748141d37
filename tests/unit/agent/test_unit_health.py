"""What systemd says of a service vouches for a release, or does not; a doubt never does."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primum_agent.clock import FakeClock
from primum_agent.journal import Journal
from primum_agent.layout import Layout
from primum_agent.settings import Health, read_settings
from primum_agent.switch_time import note_switch, switched_at
from primum_agent.unit_health import (
    PERIODS,
    UnitSeen,
    answers_for_it,
    needed,
    never_proves,
    not_proven,
    probe_of,
    read_shown,
    seconds_of,
)
from primum_verifier.core.errors import UsageError

Eventually = Callable[..., Any]

GOOD = UnitSeen(
    loaded=True,
    type="notify",
    state="active",
    watchdog=30.0,
    restarts=0,
    started=1000.0,
    ready=1001.0,
)
SHOWN = """LoadState=loaded
Type=notify
ActiveState=active
WatchdogUSec=30s
NRestarts=2
ExecMainStartTimestampMonotonic=1000000000
ActiveEnterTimestampMonotonic=1001000000
"""

spans = st.floats(min_value=0.0, max_value=1e6)
services = st.builds(
    UnitSeen,
    loaded=st.booleans(),
    type=st.sampled_from(("notify", "notify-reload", "simple", "exec", "oneshot", "")),
    state=st.sampled_from(("active", "reloading", "activating", "deactivating", "failed")),
    watchdog=st.one_of(st.just(0.0), spans),
    restarts=st.integers(0, 9),
    started=spans,
    ready=spans,
)


def test_what_systemd_shows_is_read() -> None:
    assert read_shown(SHOWN) == replace(GOOD, restarts=2)


@pytest.mark.parametrize("missing", SHOWN.splitlines())
def test_half_of_what_systemd_shows_is_nothing(missing: str) -> None:
    with pytest.raises(ValueError, match="no "):
        read_shown(SHOWN.replace(missing, ""))


@given(st.text(max_size=200))
def test_what_is_no_answer_of_systemd_vouches_for_nothing(text: str) -> None:
    with pytest.raises(ValueError, match="no LoadState"):
        read_shown(text)


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (GOOD, ""),
        (replace(GOOD, type="notify-reload"), ""),
        (replace(GOOD, loaded=False), "no such service"),
        (replace(GOOD, type="simple"), "Type=simple"),
        (replace(GOOD, watchdog=0.0), "no WatchdogSec"),
    ],
)
def test_a_service_without_a_watchdog_could_never_vouch(told: UnitSeen, why: str) -> None:
    assert never_proves(told).startswith(why)
    assert bool(never_proves(told)) is bool(why)


@pytest.mark.parametrize(
    ("change", "asked", "why"),
    [
        ({}, {}, ""),
        ({}, {"now": 1060.9}, "held for 60 s of 60; started anew 0 times"),
        ({}, {"least": 90.0}, "held for 61 s of 90"),
        ({}, {"switched": None}, "nobody noted"),
        ({}, {"switched": 1000.5}, "it runs since before"),
        ({"started": 900.0}, {}, "it runs since before"),
        ({"state": "activating"}, {}, "it is activating"),
        ({"ready": 1050.0, "restarts": 4}, {}, "held for 12 s of 60; started anew 4 times"),
        ({"type": "simple"}, {}, "Type=simple"),
    ],
)
def test_a_service_vouches_once_it_held(
    change: dict[str, Any], asked: dict[str, Any], why: str
) -> None:
    """Started after the switch, and not restarted for two periods of its watchdog."""
    given_ = {"switched": 999.0, "now": 1062.0, "least": 0.0, **asked}
    told = not_proven(replace(GOOD, **change), **given_)
    assert told.startswith(why)
    assert bool(told) is bool(why)


@pytest.mark.parametrize(
    ("change", "switched", "answers"),
    [
        ({}, 999.0, True),
        ({"state": "failed"}, 999.0, True),
        ({}, 0.0, True),
        ({}, 1000.5, False),
        ({}, None, False),
        ({"started": 0.0}, 0.0, False),
        ({"watchdog": 0.0}, 999.0, False),
    ],
)
def test_a_service_answers_for_what_it_was_started_with(
    change: dict[str, Any], switched: float | None, answers: bool
) -> None:
    """One that was never started, or runs since before, is nobody's fault."""
    assert answers_for_it(replace(GOOD, **change), switched=switched) is answers


@given(services, st.one_of(st.none(), spans), spans, spans, spans)
def test_no_service_vouches_too_early(
    seen: UnitSeen, switched: float | None, now: float, least: float, later: float
) -> None:
    if not_proven(seen, switched=switched, now=now, least=least):
        return
    assert not never_proves(seen)
    assert switched is not None
    assert seen.started >= switched
    assert now - seen.ready >= max(PERIODS * seen.watchdog, least) == needed(seen, least=least)
    # What held for long enough is not in doubt again for having held longer.
    assert not not_proven(seen, switched=switched, now=now + later, least=least)
    assert not_proven(replace(seen, ready=now + 1), switched=switched, now=now, least=least)


@pytest.mark.parametrize(
    ("span", "seconds"),
    [
        ("0", 0.0),
        ("infinity", 0.0),
        ("", 0.0),
        ("500ms", 0.5),
        ("1min 30s", 90.0),
        ("2h 3min 4s 5ms 6us", 7384.005006),
        ("1.500000s", 1.5),
        ("1month 1w 1d", 2_629_800.0 + 604_800 + 86_400),
    ],
)
def test_time_spans_of_systemd_are_read(span: str, seconds: float) -> None:
    assert seconds_of(span) == pytest.approx(seconds)


@pytest.mark.parametrize("span", ["x", "1", "1 min", "-1s", "1sec", "1s,2s", "٣s", "1e9s"])
def test_other_texts_are_no_time_spans(span: str) -> None:
    with pytest.raises(ValueError, match="no time span"):
        seconds_of(span)


@given(st.integers(min_value=1, max_value=10**13))
def test_a_span_is_what_systemd_would_have_printed(micro: int) -> None:
    words, left = [], micro
    sizes = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    for unit, seconds in sizes:
        count, left = divmod(left, seconds * 1_000_000)
        words += [f"{count}{unit}"] if count else []
    words += [f"{left // 1000}ms"] if left >= 1000 else []
    words += [f"{left % 1000}us"] if left % 1000 else []
    assert seconds_of(" ".join(words)) == pytest.approx(micro / 1e6)


@pytest.mark.parametrize(
    "micro", [1, 1500, 999_999, 90_000_000, 86_461_000_000, 40_000_000_000_000]
)
def test_systemd_itself_prints_spans_that_are_read(micro: int) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    command = ["systemd-analyze", "timespan", f"{micro}us"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    human = next(line for line in told.splitlines() if "Human:" in line).split("Human:")[1]
    assert seconds_of(human.strip()) == pytest.approx(micro / 1e6)


def test_the_time_of_a_switch_is_noted_once(journal: Journal, clock: FakeClock) -> None:
    """A component's restart in the middle must not make the switch later than it was."""
    assert switched_at(journal, 3, clock=clock) is None
    before = time.monotonic()
    note_switch(journal, 3, clock=clock)
    first = switched_at(journal, 3, clock=clock)
    assert first is not None
    assert before - 0.001 <= first <= time.monotonic()
    note_switch(journal, 3, clock=clock)
    assert switched_at(journal, 3, clock=clock) == first
    assert switched_at(journal, 4, clock=clock) is None
    clock.boot = "boot-2"
    assert switched_at(journal, 3, clock=clock) == 0.0, "nothing runs since before a boot"
    note_switch(journal, 4, clock=clock)
    assert switched_at(journal, 3, clock=clock) is None


def test_the_unit_is_asked_where_one_is_named(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert probe_of(Health(), layout) == ()
    assert probe_of(Health(probe=("/bin/true",)), layout) == ("/bin/true",)
    command = probe_of(Health(unit="app.service", unit_seconds=9.5), layout)
    assert command[-6:] == ("--state", str(tmp_path), "--unit", "app.service", "--seconds", "9.5")


@pytest.mark.parametrize(
    "lines",
    [
        'unit = "app"',
        'unit = "--help.service"',
        'unit = "a b.service"',
        'unit = "../a.service"',
        'unit = "app.service"\nprobe = ["/bin/true"]',
        'unit = "app.service"\nunit_seconds = -1',
    ],
)
def test_units_that_cannot_be_meant_are_refused(in_the_field: Any, lines: str) -> None:
    in_the_field.more_settings = f"[health]\n{lines}\n"
    in_the_field.write("agent.toml", in_the_field.settings().encode())
    with pytest.raises(UsageError) as refused:
        read_settings(in_the_field.provisioning)
    assert "health.unit" in refused.value.where


def test_a_device_without_the_service_commits_nothing_and_says_why(
    in_the_field: Any, eventually: Eventually, tmp_path: Path
) -> None:
    """A service manager that answers as one without the service does."""
    fake = tmp_path / "bin" / "systemctl"
    fake.parent.mkdir()
    answer = SHOWN.replace("LoadState=loaded", "LoadState=not-found")
    fake.write_text(f"#!/bin/sh\ncat <<'EOF'\n{answer}EOF\n")
    fake.chmod(0o755)
    path = f"{fake.parent}:/usr/bin:/bin"
    in_the_field.more_settings = '[health]\nunit = "app.service"\nprobe_seconds = 0.2\n'
    in_the_field.write("agent.toml", in_the_field.settings().encode())
    in_the_field.release("1.0.0", counter=1, health_window=3)
    with in_the_field.running(PATH=path):
        eventually(lambda: "safe-mode.entered" in in_the_field.kinds())
    assert "update.committed" not in in_the_field.kinds()
    told = in_the_field.agent("doctor", "--provisioning", in_the_field.provisioning, PATH=path)
    assert told.returncode == 3
    assert "BAD  health by app.service: no such service" in told.stdout


def test_a_service_that_holds_commits_the_release(
    in_the_field: Any, eventually: Eventually, tmp_path: Path
) -> None:
    """As systemd would answer of a service that was started just now and never ended."""
    fake = tmp_path / "bin" / "systemctl"
    fake.parent.mkdir()
    begun = int((time.monotonic() + 3600) * 1_000_000)
    short = SHOWN.replace("30s", "100ms").replace("1000000000", str(begun))
    fake.write_text(f"#!/bin/sh\ncat <<'EOF'\n{short.replace('1001000000', '1')}EOF\n")
    fake.chmod(0o755)
    path = f"{fake.parent}:/usr/bin:/bin"
    in_the_field.more_settings = '[health]\nunit = "app.service"\nprobe_seconds = 0.2\n'
    in_the_field.write("agent.toml", in_the_field.settings().encode())
    in_the_field.release("1.0.0", counter=1)
    with in_the_field.running(PATH=path):
        eventually(lambda: "update.committed" in in_the_field.kinds())
    assert in_the_field.opened().version == "1.0.0"
