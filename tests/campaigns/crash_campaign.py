"""``make campaign-crash``: kills a device, or fails its disk, at each call that changes a file.

Ten minutes (SECONDS=…) over all subjects, or one
(TARGET=update|rollback|withdrawal|collection|set).
The points are tried in an order drawn from SEED=…; what every start makes anew comes last.  What
was tried on this very code is not tried again until AGAIN=1: the campaign goes on where it
stopped.  ``--point NAME`` tries one point, as it is named in a finding.

Exit: 0 every device tried recovered, 1 one did not, 2 it cannot run here or was called wrongly.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain, zip_longest
from multiprocessing import get_context
from pathlib import Path

from tests.campaigns.campaign_tried import CACHE, Tried, say, say_recovery, try_all
from tests.campaigns.crash_points import (
    KINDS,
    Known,
    Outcome,
    Point,
    UndisturbedError,
    fresh_world,
    known_points,
    try_point,
)
from tests.campaigns.crash_tracer import cannot
from tests.campaigns.crash_worlds import WITH_SETS, World

KEPT = CACHE / "crash"
EXIT_DONE, EXIT_FOUND, EXIT_USAGE = 0, 1, 2
SECONDS = 600.0
_ROW = "{:12} {:10} {:>7} {:>8} {:>6} {:>8} {:>11}"

_worlds: dict[str, World] = {}
"""Of one worker process: each subject's world is built once."""


def in_turns(points: Iterable[Point], *, seed: int) -> list[Point]:
    """Every kind of every subject in turn; in each, every place before any place again.

    A place is a call of a role on a path: what an update does forty times to its journal shows
    most of what it has to show the first time.

    Args:
        points: all of them.
        seed: the same seed gives the same order.
    """
    groups: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        groups.setdefault((point.subject, point.kind), []).append(point)
    for name, group in sorted(groups.items()):
        random.Random(f"{seed}:{name}").shuffle(group)
        met: Counter[tuple[str, str, str]] = Counter()
        rank: dict[Point, tuple[bool, int]] = {}
        for point in group:
            met[point.place] += 1
            rank[point] = (point.matters_less, met[point.place])
        group.sort(key=rank.__getitem__)
    turns = zip_longest(*(group for _, group in sorted(groups.items())))
    return [point for point in chain.from_iterable(turns) if point is not None]


def places(points: Iterable[Point]) -> Counter[tuple[str, str]]:
    """How many places there are in each kind of each subject."""
    found = {(point.subject, point.kind, point.place) for point in points}
    return Counter((subject, kind) for subject, kind, _ in found)


# In a worker


def _world(subject: str, folder: str) -> World:
    if subject not in _worlds:
        _worlds[subject] = fresh_world(Path(folder) / str(os.getpid()) / subject, subject)
    return _worlds[subject]


def _know(subject: str, folder: str) -> Known:
    return known_points(_world(subject, folder), tuple(KINDS))


def _try(point: Point, folder: str) -> Outcome:
    return try_point(_world(point.subject, folder), point)


# In the campaign


class Campaign:
    """One campaign over some subjects.

    Args:
        subjects: their names.
        seed: of the order.
        seconds: after which no new point is begun; the undisturbed runs before are not counted.
        workers: devices at a time.
        again: forget what was tried before.
    """

    def __init__(
        self, *, subjects: Sequence[str], seed: int, seconds: float, workers: int, again: bool
    ) -> None:
        self._subjects = subjects
        self._seed = seed
        self._workers = workers
        self._seconds = seconds
        self._tried = Tried(KEPT, again=again)
        self._points: list[Point] = []
        self._instants = 0
        self._bad_instants: list[str] = []

    def run(self) -> int:
        """Try what the time allows; an exit code."""
        with (
            tempfile.TemporaryDirectory(prefix="primum-crash-") as folder,
            ProcessPoolExecutor(self._workers, mp_context=get_context("spawn")) as pool,
        ):
            known = [pool.submit(_know, subject, folder) for subject in self._subjects]
            for subject, future in zip(self._subjects, known, strict=True):
                self._meet(subject, future.result())
            earlier = sum(point.name in self._tried.outcomes for point in self._points)
            say(f"crash: {len(self._points)} points known, {earlier} tried before on this code")
            try_all(
                in_turns(self._points, seed=self._seed),
                known=len(self._points),
                tried=self._tried,
                pool=pool,
                workers=self._workers,
                until=time.monotonic() + self._seconds,
                one=partial(_try, folder=folder),
                about=lambda point: f"{point.call} {point.path}",
            )
        return self._report()

    def _meet(self, subject: str, known: Known) -> None:
        self._points += known.points
        self._instants += known.instants
        self._bad_instants += known.faults
        say(f"{subject}: {known.instants} instants, {len(known.faults)} without what may run")
        for text in known.faults:
            say(f"    {text}")

    def _report(self) -> int:
        """The closing table; an exit code."""
        known = {point.name: point for point in self._points}
        tried = [item for name, item in self._tried.outcomes.items() if name in known]
        places_known = places(self._points)
        places_met = places(known[item.name] for item in tried if item.hit)
        say("")
        say(_ROW.format("subject", "kind", "points", "bricked", "known", "not met", "places"))
        for subject, kind in dict.fromkeys((item.subject, item.kind) for item in self._points):
            mine = [item for item in tried if item.name.startswith(f"{subject}:{kind}:")]
            met = [item for item in mine if item.hit]
            count = sum((item.subject, item.kind) == (subject, kind) for item in self._points)
            bricked = sum(bool(item.faults) for item in met)
            missed = len(mine) - len(met)
            places_here = f"{places_met[subject, kind]}/{places_known[subject, kind]}"
            say(_ROW.format(subject, kind, len(met), bricked, count, missed, places_here))
        met = [item for item in tried if item.hit]
        bricked = sum(bool(item.faults) for item in met)
        share = 100 * len(met) / len(known) if known else 0.0
        say(
            f"\n{self._instants} instants looked at between two changes,"
            f" {len(self._bad_instants)} without what may run"
        )
        say(f"{len(met)} points, {bricked} bricked; {len(known)} known, {share:.1f} % reached")
        say(f"{places_met.total()} of {places_known.total()} places reached")
        say_recovery(met)
        say(f"seed {self._seed}; `make campaign-crash` goes on from here, AGAIN=1 begins anew")
        return EXIT_FOUND if bricked or self._bad_instants else EXIT_DONE


def one_point(name: str) -> int:
    """Try one point by its name; an exit code."""
    subject = name.partition(":")[0]
    with tempfile.TemporaryDirectory(prefix="primum-crash-") as folder:
        world = fresh_world(Path(folder) / subject, subject)
        kind = name.split(":")[1]
        points = known_points(world, (kind,)).points
        point = next((item for item in points if item.name == name), None)
        if point is None:
            say(f"crash: there is no point {name} in this code")
            return EXIT_USAGE
        outcome = try_point(world, point)
    say(f"{outcome.name}: {outcome.hit or 'not met'}")
    for text in outcome.faults:
        say(f"    {text}")
    return EXIT_FOUND if outcome.faults else EXIT_DONE


def main(words: Sequence[str] | None = None, names: Mapping[str, Sequence[str]] = WITH_SETS) -> int:
    """Run the campaign as the command line asks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0], prog="crash")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", choices=sorted(names))
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--point", help="try this one alone, as subject:kind:role:number")
    options = parser.parse_args(words)
    if why := cannot():
        say(f"crash: cannot run here: {why}")
        return EXIT_USAGE
    try:
        return _as_asked(options, names)
    except UndisturbedError as error:
        say(f"crash: {error}")
        return EXIT_FOUND
    except KeyboardInterrupt:
        say("crash: interrupted; what was tried is kept")
        return EXIT_USAGE


def _as_asked(options: argparse.Namespace, names: Mapping[str, Sequence[str]]) -> int:
    if options.point:
        return one_point(options.point)
    chosen = names[options.target] if options.target else chain.from_iterable(names.values())
    campaign = Campaign(
        subjects=tuple(chosen),
        seed=options.seed,
        seconds=options.seconds,
        workers=options.workers,
        again=options.again,
    )
    return campaign.run()


if __name__ == "__main__":
    sys.exit(main())
