"""What runs is held against its digests once in a period, though nobody polls and nobody starts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from primum_agent import content_store
from primum_agent.attempt_plan import AttemptPlan
from primum_agent.children import Child, Task
from primum_agent.clock import FakeClock
from primum_agent.content_store import FolderStore
from primum_agent.desk import ask
from primum_agent.device_state import DeviceState, Generation
from primum_agent.hashed import hash_age, last_hashed, note_hashed
from primum_agent.journal import Journal
from primum_agent.lifecycle import State
from primum_agent.settings import read_settings
from primum_agent.watching import Watch

Attempt = Callable[..., int]
Eventually = Callable[..., Any]
DONE, WAITING = 0, 5
DAY = 86_400.0


@pytest.fixture
def committed(in_the_field: Any, attempt_now: Attempt) -> Any:
    """A device that runs 1.1.0 and holds 1.0.0; both proved health."""
    for counter, version in enumerate(("1.0.0", "1.1.0"), start=1):
        in_the_field.release(version, counter=counter)
        assert attempt_now() == DONE
        in_the_field.commit()
    return in_the_field


def every(field: Any, seconds: float, *, gates: str = "") -> None:
    """Check the files that often."""
    text = field.settings().replace("[timing]\n", f"[timing]\nrehash_seconds = {seconds}\n")
    field.write("agent.toml", (text + gates).encode())


def damage(field: Any) -> None:
    model = field.opened().model
    model.chmod(0o600)
    # Another file in its place: the store's own, which older generations share, stays whole.
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    model.unlink()
    model.write_bytes(bytes(data))


def status(field: Any) -> Any:
    return json.loads(field.agent("status", "--json").stdout)


def in_use(field: Any) -> str:
    journal = field.journal()
    try:
        used = journal.state().in_use
        return "" if used is None else used.version
    finally:
        journal.close()


def test_a_bit_that_rots_between_two_polls_is_found_and_acted_on(
    committed: Any, eventually: Eventually
) -> None:
    """The next poll is an hour away, and nobody starts the agent anew."""
    every(committed, 1.0)
    before = committed.counter("last-poll")
    with committed.running():
        eventually(lambda: ask(committed.layout.socket, {"do": "status"}))
        # It starts, and polls once; the next poll is an hour away.
        eventually(lambda: (status(committed)["lastHashed"] or "").startswith("20"))
        eventually(lambda: committed.counter("last-poll") != before)
        damage(committed)
        eventually(lambda: in_use(committed) == "1.0.0")
    assert committed.event("eligibility.lost")["data"]["reasons"][0].startswith("artifact.")
    assert committed.opened().version == "1.0.0"


def test_a_patient_puts_it_off_but_not_for_ever(
    committed: Any, attempt_now: Attempt, tmp_path: Path
) -> None:
    said = tmp_path / "use"
    said.write_text("in-use\n")
    gates = f'[gates.clinical_use]\nfile = "{said}"\n'
    every(committed, DAY, gates=gates)
    damage(committed)
    assert attempt_now("rehash") == WAITING
    assert in_use(committed) == "1.1.0"
    later = FakeClock(powered=3 * DAY)
    assert attempt_now("rehash", clock=later) == DONE
    assert in_use(committed) == "1.0.0"


def test_an_empty_battery_puts_it_off(committed: Any, attempt_now: Attempt, tmp_path: Path) -> None:
    battery = tmp_path / "battery"
    battery.mkdir()
    (battery / "capacity").write_text("3\n")
    every(committed, DAY, gates=f'[gates.battery]\nbattery = "{battery}"\n')
    journal = committed.journal()
    before = journal.counter("hashed", "")
    journal.close()
    assert attempt_now("rehash") == WAITING
    assert committed.counter("hashed") == before


def test_a_disk_that_fails_once_takes_no_release_away(
    committed: Any, attempt_now: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    every(committed, DAY)
    inner, failures = content_store.FolderStore._looks_whole, [False]

    def looks(self: FolderStore, *words: Any, **named: Any) -> bool:
        return failures.pop() if failures else inner(self, *words, **named)

    monkeypatch.setattr(content_store.FolderStore, "_looks_whole", looks)
    monkeypatch.setattr("primum_agent.rehashing.GateKeeper.look", lambda *_, **__: ())
    assert attempt_now("rehash") == DONE
    assert failures == []
    assert in_use(committed) == "1.1.0"
    failures[:] = [False, False]
    assert attempt_now("rehash") == DONE
    assert in_use(committed) == "1.0.0"


# When it is due


@pytest.fixture
def used(in_the_field: Any) -> Generation:
    del in_the_field
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
def watch(in_the_field: Any, used: Generation, journal: Journal, monkeypatch: Any) -> Watch:
    """The watch of a supervisor at rest, on a device that runs a release."""
    settings = read_settings(in_the_field.provisioning)
    plan = AttemptPlan(settings=settings, layout=in_the_field.layout, draw=lambda: 0.5, once=False)
    plan.poll(90 * DAY)
    state = DeviceState(active=1, generations=(used,))
    monkeypatch.setattr(journal, "state", lambda: state)
    return Watch(settings=settings, plan=plan, wake=lambda: None, changed=lambda: None)


def test_it_is_due_once_in_a_period_of_powered_time_over_restarts(
    watch: Watch, used: Generation, journal: Journal, clock: FakeClock
) -> None:
    note_hashed(journal, used, clock=clock)
    clock.powered += DAY - 10
    assert watch.watch_hash(journal, 0.0) == pytest.approx(10.0)
    assert watch.plan.due == 90 * DAY
    # A restart of the device: what was powered before counts on.
    journal.powered_total()
    clock.boot, clock.powered = "boot-2", 5.0
    assert hash_age(journal, used) == pytest.approx(DAY - 5)
    watch.watch_hash(journal, 0.0)
    assert watch.plan.due == 90 * DAY
    clock.powered += 5.0
    watch.watch_hash(journal, 5.0)
    assert watch.plan.due == 5.0


def test_another_release_was_not_checked_by_the_check_of_the_one_before(
    used: Generation, journal: Journal, clock: FakeClock
) -> None:
    note_hashed(journal, used, clock=clock)
    assert last_hashed(journal, used) is not None
    assert last_hashed(journal, replace(used, number=2)) is None


def test_what_is_put_off_is_asked_again_and_not_at_every_turn(
    watch: Watch, journal: Journal, clock: FakeClock
) -> None:
    clock.powered += 2 * DAY
    assert watch.watch_hash(journal, 0.0) == watch.settings.gates.look_seconds
    watch.plan.poll(90 * DAY)
    watch.watch_hash(journal, 1.0)
    assert watch.plan.due == 90 * DAY
    watch.watch_hash(journal, watch.settings.gates.look_seconds)
    assert watch.plan.due == watch.settings.gates.look_seconds


def test_the_poll_that_was_due_is_due_after_it_too(watch: Watch, journal: Journal) -> None:
    plan = watch.plan
    assert plan.rehash(7.0)
    assert not plan.rehash(7.0), "it is due already"

    class Ended:
        def poll(self) -> int:
            return WAITING

    plan.child = Child(
        task=Task.ATTEMPT,
        process=Ended(),  # type: ignore[arg-type] # nothing is started here
        deadline=9e9,
        reason="rehash",
    )
    plan.look_after(journal, 8.0)
    assert plan.due == 90 * DAY
    assert plan.polls == 0


def test_a_single_run_is_not_held_up_by_it(
    watch: Watch, journal: Journal, clock: FakeClock
) -> None:
    watch.plan.once = True
    clock.powered += 9 * DAY
    watch.watch_hash(journal, 0.0)
    assert watch.plan.due == 90 * DAY


def test_nothing_is_checked_while_health_is_being_proven(
    watch: Watch, journal: Journal, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.powered += 9 * DAY
    state = replace(journal.state(), lifecycle=State.PROVISIONAL)
    monkeypatch.setattr(journal, "state", lambda: state)
    watch.watch_hash(journal, 0.0)
    assert watch.plan.due == 90 * DAY
