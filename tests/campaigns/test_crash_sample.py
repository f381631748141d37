"""A short part of the crash campaign, in the same order for ever: what it tries has to recover."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.campaigns.crash_campaign import in_turns, places
from tests.campaigns.crash_points import KINDS, Known, Point, fresh_world, known_points, try_point
from tests.campaigns.crash_tracer import cannot
from tests.campaigns.crash_worlds import Run, World

SEED = 4
SECONDS = 8.0
"""When no new point is begun; on a busy machine that is after fewer."""
AT_LEAST = 2

TRIES = 4
ROLE = "attempt-poll"


@pytest.fixture(scope="module")
def update(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Known]:
    """The world of an update, and every point of it."""
    if cannot():
        pytest.skip(cannot())
    world = fresh_world(tmp_path_factory.mktemp("crash") / "update", "update")
    return world, known_points(world, tuple(KINDS))


def recovers(world: World, known: Known) -> None:
    """At each instant something may run; killed or failed at some, it converges."""
    assert known.instants > 300, "every change of a file is seen"
    assert known.faults == []
    assert {point.role for point in known.points} >= {
        "run",
        "attempt-resume",
        "attempt-poll",
        "sign-head",
    }
    until = time.monotonic() + SECONDS
    tried = 0
    for point in in_turns(known.points, seed=SEED):
        if tried >= AT_LEAST and time.monotonic() > until:
            break
        outcome = try_point(world, point)
        assert outcome.faults == [], outcome.name
        tried += bool(outcome.hit)
    assert tried >= AT_LEAST


def test_a_device_cut_anywhere_in_an_update_recovers(update: tuple[World, Known]) -> None:
    recovers(*update)


def test_a_device_cut_anywhere_as_a_set_comes_into_effect_runs_one_set(tmp_path: Path) -> None:
    """Hook, tree and model are in one version again, and so they are after the next release."""
    if cannot():
        pytest.skip(cannot())
    world = fresh_world(tmp_path / "set", "set")
    recovers(world, known_points(world, tuple(KINDS)))


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_disk_that_fails_as_the_application_is_told_of_the_switch(
    update: tuple[World, Known], call: str
) -> None:
    """Once: the very same run brings the update to its end.  From there on: the next start does."""
    world, _ = update
    once, run = cut_as_it_tells(world, "eio-once", call)
    assert run.traced.hit == ["attempt-poll", once.number, call, run.traced.hit[3]]
    journal = world.journal()
    state = journal.state()
    activated = [line for line in journal.events() if b'"primum.device.update.activated"' in line]
    journal.close()
    assert state.in_use is not None
    assert (state.in_use.version, state.in_use.proven) == ("1.1.0", True), run.output
    assert state.resumptions == 0
    assert len(activated) == 2, "of 1.0.0 and of 1.1.0, once"
    lasting, _ = cut_as_it_tells(world, "eio", call)
    outcome = try_point(world, lasting)
    assert outcome.faults == []
    assert outcome.hit


def cut_as_it_tells(world: World, name: str, call: str) -> tuple[Point, Run]:
    """The last such call on what the application reads, and the run in which it failed.

    It is counted in a run that nobody halts: one that is halted at each change takes so long that
    the agent notes the time on the way.  A run may still make a call more or fewer.
    """
    kind = KINDS[name]
    for _ in range(TRIES):
        world.begin()
        made = [item for item in world.run(calls=kind.calls).traced.calls if item[0] == ROLE]
        numbers = [n for n, item in enumerate(made, 1) if (item[1], item[2][:5]) == (call, "run/.")]
        point = Point("update", name, ROLE, numbers[-1], call, made[numbers[-1] - 1][2])
        world.begin()
        run = world.run(
            calls=kind.calls,
            fault=kind.fault,
            role=ROLE,
            number=point.number,
            lasting=kind.lasting,
        )
        if run.traced.hit and run.traced.hit[2] == call:
            return point, run
    raise AssertionError("it never failed")


def test_every_place_comes_before_any_place_again() -> None:
    """The order is drawn by the seed, and what every start makes anew comes last."""
    points = [
        Point("update", "kill", "run", number, call, path)
        for number, (call, path) in enumerate(
            [("write", "journal.db")] * 5
            + [("rename", "active"), ("write", "journal.db-shm"), ("mkdir", "generations/7")]
        )
    ]
    order = in_turns(points, seed=1)
    assert sorted(order, key=lambda point: point.number) == points
    assert {point.path for point in order[:3]} == {"journal.db", "active", "generations/7"}
    assert order[-1].path == "journal.db-shm"
    assert places(points) == {("update", "kill"): 4}
    assert in_turns(points, seed=1) == order
    assert any(in_turns(points, seed=seed) != order for seed in range(2, 9))
