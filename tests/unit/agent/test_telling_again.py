"""The disk fails just as the application is to be told: it is told soon, and nothing is lost.

The file stands in its own way here, as a folder: whoever runs the tests, no write replaces it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from primum_agent.device_state import DeviceState, Generation
from primum_agent.fail_points import FailPoint
from primum_agent.health_window import HealthWindow
from primum_agent.layout import Layout
from primum_agent.lifecycle import State
from primum_agent.remembered import memories
from primum_agent.transitions import Unproven, unproven_because
from primum_agent.untold import FIRST_SECONDS, MOST_TRIES, Untold, is_told

Eventually = Callable[..., Any]

USED = Generation(
    number=1,
    component="c",
    version="1.0.0",
    release="r",
    counter=1,
    floor_counter=1,
    statement="s",
    statement_number=1,
    health_window=10,
    max_attempts=3,
)
PROVISIONAL = DeviceState(lifecycle=State.PROVISIONAL, active=1, generations=(USED,))


AFTER_SWITCH = {
    "PRIMUM_TEST_FAIL_POINTS": "hang",
    "PRIMUM_FAIL_POINT": str(FailPoint.ACTIVATING_AFTER_SWITCH),
}


def cannot_be_written(field: Any) -> None:
    field.layout.standing.unlink(missing_ok=True)
    field.layout.standing.mkdir()
    (field.layout.standing / "in-the-way").touch()


def can_be_written(field: Any) -> None:
    (field.layout.standing / "in-the-way").unlink()
    field.layout.standing.rmdir()


def fails_right_after_the_switch(field: Any, eventually: Eventually) -> None:
    """The attempt stops there, its disk breaks, and it goes on."""
    attempt = eventually(lambda: _stopped(field))
    cannot_be_written(field)
    os.kill(attempt, signal.SIGCONT)
    eventually(lambda: "attempt.failed" in field.kinds())
    assert field.kinds()[-2:] == ["update.activated", "attempt.failed"]


def _stopped(field: Any) -> int:
    """The process of an attempt that is stopped; 0 where none is."""
    if not field.layout.update_lock.is_file():
        return 0
    holder = field.layout.update_lock.read_text().strip()
    with suppress(OSError):
        words = Path(f"/proc/{holder}/stat").read_text().rpartition(")")[2].split()
        return int(holder) if words[0] == "T" else 0
    return 0


def test_a_disk_that_failed_right_after_the_switch_costs_no_window_and_no_download(
    in_the_field: Any, eventually: Eventually
) -> None:
    field = in_the_field
    field.release("1.0.0", counter=1, health_window=20)
    with field.running(**AFTER_SWITCH):
        fails_right_after_the_switch(field, eventually)
        can_be_written(field)
        eventually(eventually(field.opened).prove_health)
        eventually(lambda: "update.committed" in field.kinds())
    kinds = field.kinds()
    assert [kinds.count(f"update.{word}") for word in ("downloading", "activated")] == [1, 1]
    assert "update.rolling-back" not in kinds
    assert field.standing()["generation"] == 1
    journal = field.journal()
    assert journal.state().resumptions == 0, "nobody cut anything"
    assert [item.topic for item in journal.problems()] == []
    journal.close()


def test_a_file_that_can_never_be_written_holds_no_release_up_for_ever(
    in_the_field: Any, eventually: Eventually
) -> None:
    """Its window is over; the roll-back ends when the disk works; what is remembered is true."""
    field = in_the_field
    field.release("1.0.0", counter=1, health_window=1)
    with field.running(**AFTER_SWITCH):
        fails_right_after_the_switch(field, eventually)
        eventually(lambda: "update.rolling-back" in field.kinds())
        assert field.opened() is None
        can_be_written(field)
        eventually(lambda: "safe-mode.entered" in field.kinds())
        eventually(field.layout.standing.is_file)
    assert field.standing()["mode"] == "safe"
    journal = field.journal()
    state, remembered = journal.state(), memories(journal)
    assert journal.replayed() == state
    journal.close()
    assert (state.faults, state.setbacks) == ({}, {})
    text = (
        "tried once: health was not proven, the disk kept the application from being told of it; "
        "it is tried again at a later poll: `primum-agent doctor` looks at the disk"
    )
    assert [item.text for item in remembered] == [text]
    assert "no application opened it" not in field.agent("status").stdout
    (field.engineering.web / "artifacts").rename(field.folder / "nobody-serves-these")
    with field.running():
        eventually(eventually(field.opened).prove_health)
        eventually(lambda: "update.committed" in field.kinds())


def test_what_the_application_was_told_last_of_all_is_told_again_where_it_was_lost(
    in_the_field: Any, eventually: Eventually
) -> None:
    """Not at the next poll, an hour away; and by an attempt that judged it."""
    field = in_the_field
    field.release("1.0.0", counter=1)
    with field.running():
        eventually(eventually(field.opened).prove_health)
        eventually(lambda: "update.committed" in field.kinds())
        told = {**field.standing(), "updatedAt": None}
        field.layout.standing.write_bytes(b"{")
        field.agent("status")
        eventually(field.opened)
        assert {**field.standing(), "updatedAt": None} == told


def test_nothing_that_was_withdrawn_meanwhile_is_told(
    in_the_field: Any, eventually: Eventually
) -> None:
    """An attempt judges before it tells: what may not be used any more is left."""
    field = in_the_field
    field.release("1.0.0", counter=1, health_window=60)
    with field.running(**AFTER_SWITCH):
        fails_right_after_the_switch(field, eventually)
        field.withdraw("1.0.0")
        field.agent("poll")
        eventually(lambda: "eligibility.lost" in field.kinds())
        can_be_written(field)
        eventually(lambda: "safe-mode.entered" in field.kinds())
        eventually(field.layout.standing.is_file)
    assert field.standing()["mode"] == "safe"


def test_the_window_begins_when_the_application_was_told_and_only_once() -> None:
    window = HealthWindow()
    assert window.watch(PROVISIONAL, 0.0, told=False) == 10.0
    assert window.watch(PROVISIONAL, 9.0, told=True) == 19.0
    assert window.watch(PROVISIONAL, 11.0, told=False) == 19.0
    assert window.watch(PROVISIONAL, 12.0, told=True) == 19.0, "a second time for nobody"
    assert not window.is_over(18.9)
    assert window.is_over(19.0)
    window.close()
    assert window.watch(PROVISIONAL, 30.0, told=False) == 40.0
    assert window.is_over(40.0), "what nobody can be told of is not waited for either"


def test_tries_are_bounded_for_each_state_and_farther_apart_each_time() -> None:
    untold = Untold()
    now, waits = 0.0, []
    for _ in range(MOST_TRIES):
        assert not untold.is_due(now)
        due = untold.watch(PROVISIONAL, now, told=False)
        waits.append(due - now)
        now = due
        assert untold.is_due(now)
        untold.tried(now)
    assert waits == [FIRST_SECONDS * 2**number for number in range(MOST_TRIES)]
    assert untold.watch(PROVISIONAL, now + 1e6, told=False) > now + 1e6
    assert not untold.is_due(now + 1e9)
    stopped = replace(PROVISIONAL, stopped="why")
    assert untold.watch(stopped, now, told=False) == now + FIRST_SECONDS
    untold.watch(PROVISIONAL, now, told=True)
    assert not untold.is_due(now + 1e9)


@pytest.mark.parametrize(
    ("content", "state", "told"),
    [
        (b'{"generation": 1}', PROVISIONAL, True),
        (b'{"generation": 2}', PROVISIONAL, False),
        (b'{"generation": null}', PROVISIONAL, False),
        (b"{", PROVISIONAL, False),
        (b'{"generation": null}', DeviceState(), True),
        (b'{"generation": 1}', DeviceState(), False),
        (b'{"generation": null}', replace(PROVISIONAL, stopped="why"), True),
        (b'{"generation": 1}', replace(PROVISIONAL, stopped="why"), False),
        (b"{", replace(PROVISIONAL, lifecycle=State.ROLLING_BACK), True),
        (b"{", replace(PROVISIONAL, lifecycle=State.ACTIVATING), True),
    ],
)
def test_what_stands_is_held_against_what_is_active(
    layout: Layout, content: bytes, state: DeviceState, told: object
) -> None:
    layout.standing.write_bytes(content)
    assert is_told(layout, state) is told


def test_a_reason_that_another_version_wrote_is_left_away() -> None:
    assert unproven_because("of-the-future") == unproven_because(None) == ""
    assert all(unproven_because(str(why)) for why in Unproven)
