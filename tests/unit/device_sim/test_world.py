"""Worlds of real agents in played time: the same again from a seed, and no promise bent by it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.unit.agent.field import Field
from tests.unit.agent.waiting import wait_for

from primum_agent.application import ActiveRelease, SafeMode, open_active
from primum_agent.fail_points import FailPoint
from primum_agent.signer import read_public
from primum_device_sim.world.device import PlayedDevice
from primum_device_sim.world.world import World
from primum_verifier.record.chain import check_history
from primum_verifier.shell.bench import FakeBench

HOUR = 3600.0
MakeWorld = Callable[..., World]


@pytest.fixture
def make_world(tmp_path: Path) -> MakeWorld:
    """Worlds of one device that is switched on in the first second, where 1.0.0 is out."""
    count = iter(range(100))

    def make(seed: str = "a seed", **given: Any) -> World:
        world = World(tmp_path / f"world-{next(count)}", seed, **{"bench": FakeBench(), **given})
        device = world.add_device("wearable-001")
        world.publish(lambda: world.offices.release("1.0.0", counter=1))
        world.at(1, lambda: world.switch_on(device))
        return world

    return make


def device_of(world: World) -> PlayedDevice:
    (device,) = world.devices.values()
    return device


def out(world: World, version: str, counter: int, **given: Any) -> None:
    world.publish(lambda: world.offices.release(version, counter=counter, **given))


def kinds(device: PlayedDevice) -> list[str]:
    return [json.loads(line)["type"].removeprefix("primum.device.") for line in device.history()]


def runs(device: PlayedDevice) -> str:
    found = open_active(device.layout.root)
    return found.version if isinstance(found, ActiveRelease) else "safe"


def in_order_and_once(device: PlayedDevice) -> bool:
    """Whether the receiver holds each event, once and in order, where it drops what it has."""
    held: dict[str, int] = {}
    for item in device.received():
        held.setdefault(item["id"], int(item["sequence"]))
    return list(held.values()) == sorted(set(held.values()))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(make_world: MakeWorld) -> None:
    told = []
    for seed in ("one", "one", "two"):
        world = make_world(seed)
        world.at(HOUR, partial(out, world, "1.1.0", 2))
        world.run(4 * HOUR)
        device = device_of(world)
        assert device.application.seen == ["safe", "1.0.0", "1.1.0"]
        told.append((device.history(), [item.payload for item in device.broker.taken]))
    assert told[0] == told[1]
    assert told[0] != told[2]


def test_a_played_device_tells_the_story_of_a_real_one(
    make_world: MakeWorld, in_the_field: Field
) -> None:
    """Own processes, a real disk and a real clock, beside one process and a played one."""
    field = in_the_field
    field.write("agent.toml", field.settings(1).encode())
    field.release("1.0.0", counter=1)
    with field.running():
        wait_for(lambda: (found := field.opened()) is not None and found.prove_health())
        wait_for(lambda: "update.committed" in field.kinds())
        field.release("1.1.0", counter=2, health_window=1, max_attempts=1)
        wait_for(lambda: {"update.rolled-back", "store.collected"} <= set(field.kinds()))
    world = make_world()
    device = device_of(world)
    device.application.healthy = lambda version: version == "1.0.0"
    world.at(HOUR, lambda: out(world, "1.1.0", 2, health_window=1, max_attempts=1))
    world.run(3 * HOUR)
    played = kinds(device)
    device.shut_down()
    assert [*played, "agent.stopped"] == field.kinds()


def test_a_self_test_is_run_in_the_real_bench_once_and_shared(
    tmp_path: Path, make_world: MakeWorld
) -> None:
    del make_world
    world = World(tmp_path / "fleet", "a seed")
    for number in range(3):
        device = world.add_device(f"wearable-{number}")
        world.at(number, partial(world.switch_on, device))
    out(world, "1.0.0", 1)
    world.at(HOUR, lambda: out(world, "1.1.0", 2, scale=1.5))
    world.run(4 * HOUR)
    assert (world.runs.run, world.runs.shared) == (2, 4)
    for device in world.devices.values():
        assert runs(device) == "1.0.0", "1.1.0 computes something else"
        assert "selftest.failed" in kinds(device)


ONE_MODEL = [
    point for point in FailPoint if not point.startswith("activating") or "effect" not in point
]
"""What takes effect apart from the switch is a component of a set."""


@pytest.mark.parametrize("point", ONE_MODEL)
def test_a_cut_anywhere_leaves_old_or_new_and_the_next_start_converges(
    make_world: MakeWorld, point: FailPoint
) -> None:
    world = make_world()
    device = device_of(world)
    rolls_back = point.startswith("rolling-back")
    device.application.healthy = lambda version: version == "1.0.0" or not rolls_back
    stands: list[str] = []

    def cut() -> None:
        device.cut_at = point
        out(world, "1.1.0", 2, health_window=20, max_attempts=1)

    def start_again() -> None:
        stands.append(runs(device))
        assert not device.is_on, "it was cut"
        world.switch_on(device)

    world.at(HOUR, cut)
    world.at(3 * HOUR, start_again)
    world.run(6 * HOUR)
    assert stands[0] in {"1.0.0", "1.1.0", "safe"}
    assert runs(device) == ("1.0.0" if rolls_back else "1.1.0")
    told = kinds(device)
    assert told.count("agent.started") == 2
    assert ("update.rolled-back" in told) is rolls_back
    device.shut_down()
    assert in_order_and_once(device)


def test_a_device_that_was_offline_for_days_reports_everything_once_and_in_order(
    make_world: MakeWorld,
) -> None:
    world = make_world()
    device = device_of(world)

    def link(*, up: bool) -> None:
        device.link.up = up
        world.wake(device.name)

    world.at(HOUR, lambda: link(up=False))
    world.at(2 * HOUR, lambda: out(world, "1.1.0", 2))
    world.at(60 * HOUR, lambda: link(up=True))
    world.run(59 * HOUR)
    assert runs(device) == "1.0.0"
    assert len(device.received()) < len(device.history())
    world.run(65 * HOUR)
    assert runs(device) == "1.1.0"
    assert in_order_and_once(device)
    assert len(device.received()) == len(device.history())


def test_what_is_withdrawn_is_left_and_the_application_is_told(make_world: MakeWorld) -> None:
    world = make_world()
    device = device_of(world)
    world.at(2 * HOUR, lambda: world.publish(lambda: world.offices.withdraw("1.0.0")))
    world.run(6 * HOUR)
    found = open_active(device.layout.root)
    assert isinstance(found, SafeMode)
    assert device.application.seen == ["safe", "1.0.0", "safe"]


def test_the_journal_of_a_played_device_is_whole_to_anybody_with_its_key(
    make_world: MakeWorld,
) -> None:
    world = make_world()
    device = device_of(world)
    world.at(HOUR, lambda: out(world, "1.1.0", 2))
    world.run(4 * HOUR)
    lines = device.exported()
    key = read_public(device.layout.device_public)
    report = check_history(lines, device_key=key)
    assert (report.gaps, report.unsigned) == ((), ())
    assert report.events == report.proven_to == len(device.history())
