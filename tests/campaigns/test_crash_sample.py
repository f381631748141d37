"""A short part of the crash campaign, in the same order for ever: what it tries has to recover."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.campaigns.crash_campaign import in_turns
from tests.campaigns.crash_points import KINDS, Point, fresh_world, known_points, try_point
from tests.campaigns.crash_tracer import cannot

SEED = 4
SECONDS = 12.0
"""When no new point is begun; on a busy machine that is after fewer."""
AT_LEAST = 2


@pytest.mark.skipif(bool(cannot()), reason=cannot() or "it can")
def test_a_device_cut_anywhere_in_an_update_recovers(tmp_path: Path) -> None:
    """At each instant of an update something may run; killed or failed at some, it converges."""
    world = fresh_world(tmp_path / "update", "update")
    known = known_points(world, tuple(KINDS))
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
    assert in_turns(points, seed=1) == order
    assert any(in_turns(points, seed=seed) != order for seed in range(2, 9))
