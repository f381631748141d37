"""``make campaign-power``: lets the power fail after each write of an act, and starts again.

The state folder lies on a real ext4 whose every write and flush is recorded while the real agent
works; for every cut the image is put together with all, none, some or a torn one of the unflushed
writes, mounted, and given to the agent.  Where no ext4 can be mounted, and beside it, a model of
the file tree forgets what was not synced (MEDIUM=ext4|tree).

Ten minutes (SECONDS=…) over all acts, or one (TARGET=update|rollback|withdrawal|collection).
SEED=… draws the order and what is left to chance.  What was tried on this very code is not tried
again until AGAIN=1.  ``--point NAME`` tries one, as it is named in a finding.

Exit: 0 every device tried recovered, 1 one did not, 2 it cannot run here or was called wrongly.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain
from multiprocessing import get_context
from pathlib import Path

from tests.campaigns import crash_tracer, power_ext4
from tests.campaigns.campaign_tried import CACHE, Tried, say, say_recovery, try_all
from tests.campaigns.crash_points import Outcome, UndisturbedError
from tests.campaigns.crash_worlds import TARGETS
from tests.campaigns.power_points import Cut, Trial, in_turns
from tests.campaigns.power_scenes import Medium, Scene, scene_of

KEPT = CACHE / "power"
EXIT_DONE, EXIT_FOUND, EXIT_USAGE = 0, 1, 2
SECONDS = 600.0
_ROW = "{:12} {:6} {:6} {:>7} {:>8} {:>8} {:>7}"
_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - images that one trial needs

_trials: dict[str, Trial] = {}
"""Of one worker process."""


# In a worker


def _alone() -> None:
    """A mount that an accident leaves ends with the process."""
    if os.geteuid() == 0:
        power_ext4.keep_mounts_to_oneself()


def _scene(subject: str, medium: Medium, folder: Path, code: str) -> Scene:
    return scene_of(folder, subject=subject, medium=medium, code=code)


def _trial(scene: Scene, work: str) -> Trial:
    if scene.folder not in _trials:
        place = Path(work) / str(os.getpid()) / Path(scene.folder).name
        if scene.medium == Medium.TREE and os.geteuid() == 0:
            power_ext4.room_of_ones_own(scene.state)
        _trials[scene.folder] = Trial(scene, place)
    return _trials[scene.folder]


def _cuts(scene: Scene, seed: int, work: str) -> list[Cut]:
    return _trial(scene, work).cuts(seed=seed)


def _try(cut: Cut, scenes: Mapping[tuple[str, str], Scene], work: str) -> Outcome:
    scene = scenes[cut.subject, cut.medium]
    with contextlib.ExitStack() as stack:
        if os.geteuid() != 0:
            # Every worker sees the one state folder.
            lock = stack.enter_context((Path(scene.folder) / "lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        return _trial(scene, work).one(cut)


# In the campaign


class Campaign:
    """One campaign over some acts.

    Args:
        folder: where scenes and outcomes are kept.
        subjects: names of the acts.
        media: what their state folder lies on.
        seed: of the order, and of what is left to chance.
        seconds: after which no new cut is begun; what is recorded first is not counted.
        workers: devices at a time.
        again: forget what was tried before.
    """

    def __init__(
        self,
        *,
        folder: Path,
        subjects: Sequence[str],
        media: Sequence[Medium],
        seed: int,
        seconds: float,
        workers: int,
        again: bool,
    ) -> None:
        self._folder = folder
        self._wanted = [(subject, medium) for subject in subjects for medium in media]
        self._seed = seed
        self._workers = workers
        self._seconds = seconds
        if again:
            shutil.rmtree(folder, ignore_errors=True)
        self._tried = Tried(folder, again=again)
        self._cuts: list[Cut] = []

    def run(self, point: str = "") -> int:
        """Try what the time allows, or one point; an exit code."""
        # Nearer than a disk, and a disk's own flushes cost nothing there.
        near = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None
        with (
            tempfile.TemporaryDirectory(prefix="primum-power-", dir=near) as work,
            ProcessPoolExecutor(
                self._workers, mp_context=get_context("spawn"), initializer=_alone
            ) as pool,
        ):
            asked = [
                pool.submit(_scene, subject, medium, self._folder, self._tried.code)
                for subject, medium in self._wanted
            ]
            scenes = {key: one.result() for key, one in zip(self._wanted, asked, strict=True)}
            for scene in scenes.values():
                self._cuts += pool.submit(_cuts, scene, self._seed, work).result()
            one = partial(
                _try, scenes={(str(a), str(b)): item for (a, b), item in scenes.items()}, work=work
            )
            if point:
                return self._one(point, pool, one)
            earlier = sum(cut.name in self._tried.outcomes for cut in self._cuts)
            say(f"power: {len(self._cuts)} points known, {earlier} tried before on this code")
            try_all(
                in_turns(self._cuts, seed=self._seed),
                known=len(self._cuts),
                tried=self._tried,
                pool=pool,
                workers=self._workers,
                until=time.monotonic() + self._seconds,
                one=one,
                about=lambda cut: f"{cut.kept} of the unflushed writes",
            )
        return self._report()

    def _one(self, name: str, pool: ProcessPoolExecutor, one: partial[Outcome]) -> int:
        subject, medium, kept, position, draw = name.split(":")
        outcome = pool.submit(one, Cut(subject, medium, kept, int(position), int(draw))).result()
        say(f"{outcome.name}: {outcome.hit}")
        for text in outcome.faults:
            say(f"    {text}")
        return EXIT_FOUND if outcome.faults else EXIT_DONE

    def _report(self) -> int:
        """The closing table; an exit code."""
        known = {cut.name for cut in self._cuts}
        tried = [item for name, item in self._tried.outcomes.items() if name in known]
        say("")
        say(_ROW.format("act", "medium", "kept", "points", "bricked", "started", "known"))
        for cut in {(item.subject, item.medium, item.kept): item for item in self._cuts}.values():
            start = f"{cut.subject}:{cut.medium}:{cut.kept}:"
            mine = [item for item in tried if item.name.startswith(start)]
            bricked = sum(bool(item.faults) for item in mine)
            started = sum(item.recovery is not None for item in mine)
            count = sum(name.startswith(start) for name in known)
            row = (cut.subject, cut.medium, cut.kept, len(mine), bricked, started, count)
            say(_ROW.format(*row))
        bricked = sum(bool(item.faults) for item in tried)
        share = 100 * len(tried) / len(known) if known else 0.0
        say(f"\n{len(tried)} points, {bricked} bricked; {len(known)} known, {share:.1f} % reached")
        say_recovery(tried)
        say(f"seed {self._seed}; `make campaign-power` goes on from here, AGAIN=1 begins anew")
        return EXIT_FOUND if bricked else EXIT_DONE


def media(asked: str | None) -> list[Medium]:
    """What can be recorded here; what cannot is said.

    Args:
        asked: the one that a person wants; None wants all.
    """
    found = []
    for medium, why in (
        (Medium.EXT4, power_ext4.cannot()),
        (Medium.TREE, crash_tracer.cannot()),
    ):
        if asked in {None, medium}:
            if why:
                say(f"power: no {medium} here: {why}")
            else:
                found.append(medium)
    return found


def main(words: Sequence[str] | None = None, names: Mapping[str, Sequence[str]] = TARGETS) -> int:
    """Run the campaign as the command line asks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0], prog="power")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", choices=sorted(names))
    parser.add_argument("--medium", choices=[str(one) for one in Medium])
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--kept", type=Path, default=KEPT, help="where it keeps what it needs")
    parser.add_argument("--point", default="", help="try this one alone, as a finding names it")
    options = parser.parse_args(words)
    _alone()
    if not (found := media(options.medium)):
        say("power: cannot run here")
        return EXIT_USAGE
    chosen = names[options.target] if options.target else chain.from_iterable(names.values())
    if options.point:
        subject, medium, *_ = options.point.split(":")
        chosen, found = [subject], [Medium(medium)]
    campaign = Campaign(
        folder=options.kept.absolute(),
        subjects=tuple(chosen),
        media=found,
        seed=options.seed,
        seconds=options.seconds,
        workers=options.workers,
        again=options.again,
    )
    try:
        return campaign.run(options.point)
    except UndisturbedError as error:
        say(f"power: {error}")
        return EXIT_FOUND
    except KeyboardInterrupt:
        say("power: interrupted; what was tried is kept")
        return EXIT_USAGE


if __name__ == "__main__":
    sys.exit(main())
