"""One cut of the power, and what the device does afterwards.

A cut is named by the act, by what the state folder lies on, by what of the unflushed writes is
left, by how much was written, and by the draw: ``update:ext4:some:812:3``.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
import stat
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain, zip_longest
from pathlib import Path

from tests.campaigns.crash_checks import at_an_instant, converged, fingerprint, stored
from tests.campaigns.crash_points import Outcome
from tests.campaigns.crash_worlds import NEXT, Device, Run, opened
from tests.campaigns.power_ext4 import Kept
from tests.campaigns.power_scenes import Cuttable, Scene

from primum_agent.floors import Floors, read_floors

DRAWS = 3
"""Of each cut that leaves something to chance, with one seed."""

_JOURNAL = "journal.db"


@dataclass(frozen=True)
class Cut:
    """One cut."""

    subject: str
    medium: str
    kept: str
    position: int
    draw: int

    @property
    def name(self) -> str:
        """By which it is asked for again."""
        return f"{self.subject}:{self.medium}:{self.kept}:{self.position}:{self.draw}"


def cuts_of(scene: Scene, recorded: Cuttable, *, seed: int) -> list[Cut]:
    """Every cut of a scene; what is left to chance is drawn anew with every seed."""
    draws = range(seed * DRAWS, (seed + 1) * DRAWS)
    return [
        Cut(scene.subject, scene.medium, str(kept), position, draw)
        for kept, position, draw in recorded.cuts(draws)
    ]


def in_turns(cuts: Iterable[Cut], *, seed: int) -> list[Cut]:
    """Every kind of every act in turn, in an order drawn by the seed.

    What has a third draw of one position comes after the first draw of all.
    """
    groups: dict[tuple[str, str, str], list[Cut]] = {}
    for cut in cuts:
        groups.setdefault((cut.subject, cut.medium, cut.kept), []).append(cut)
    for name, group in groups.items():
        random.Random(f"{seed}:{name}").shuffle(group)
        met: Counter[int] = Counter()
        rank: dict[Cut, int] = {}
        for cut in group:
            met[cut.position] += 1
            rank[cut] = met[cut.position]
        group.sort(key=rank.__getitem__)
    turns = zip_longest(*(group for _, group in sorted(groups.items())))
    return [cut for cut in chain.from_iterable(turns) if cut is not None]


def tree_digest(state: Path, work: Path) -> str:
    """What a state folder holds; two devices with the same digest do the same.

    The journal counts as what SQLite makes of it: of its log only what was committed, and nothing
    of its index, which is made anew at every start.
    """
    seen = sha256(_journal(state, work))
    for path in sorted(state.rglob("*")):
        if path.name.startswith(_JOURNAL):
            continue
        mode = path.lstat().st_mode
        content = b""
        if stat.S_ISLNK(mode):
            content = str(path.readlink()).encode()
        elif stat.S_ISREG(mode):
            content = path.read_bytes()
        seen.update(f"{path.relative_to(state)}\0{mode:o}\0{len(content)}\0".encode() + content)
    return seen.hexdigest()


def _journal(state: Path, work: Path) -> bytes:
    """What the journal says, or its bytes where it cannot be read."""
    named = (state / _JOURNAL, state / f"{_JOURNAL}-wal")
    files = [path for path in named if path.exists()]
    with tempfile.TemporaryDirectory(dir=work) as folder:
        for path in files:
            shutil.copyfile(path, Path(folder) / path.name)
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(Path(folder) / _JOURNAL)) as database,
        ):
            if database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]:
                return "\n".join(database.iterdump()).encode()
    return b"\0".join(path.read_bytes() for path in files)


@dataclass
class Trial:
    """Tries the cuts of one scene, one after another.

    Args:
        scene: the scene.
        work: a folder of one's own.
    """

    scene: Scene
    work: Path
    _recorded: Cuttable = field(init=False)
    _seen: dict[str, list[str]] = field(default_factory=dict)
    _inputs: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        self._recorded = self.scene.cuttable(self.work)

    def cuts(self, *, seed: int) -> list[Cut]:
        """Every cut there is."""
        return cuts_of(self.scene, self._recorded, seed=seed)

    def one(self, cut: Cut) -> Outcome:
        """Let the power fail there, start again, and give the device its next good input.

        Of cuts that leave the very same tree one is started again.
        """
        outcome = Outcome(cut.name, hit=self._recorded.about(cut.position))
        try:
            with self._recorded.laid(Kept(cut.kept), cut.position, cut.draw):
                self._look(outcome, over=cut.position >= self.scene.ended)
        except OSError as error:
            outcome.faults.append(f"the file system did not come back: {error}")
        return outcome

    def _look(self, outcome: Outcome, *, over: bool) -> None:
        device = self.scene.device(self.work)
        device.seen = self._inputs
        if over:
            outcome.faults += _lasting(device)
        digest = tree_digest(self.scene.state, self.work)
        if digest in self._seen:
            outcome.faults += self._seen[digest]
            return
        found, outcome.recovery = self._again(device)
        self._seen[digest] = found
        outcome.faults += found

    def _again(self, device: Device) -> tuple[list[str], float | None]:
        before = read_floors(self.scene.before().floors)
        faults = [f"at once: {text}" for text in at_an_instant(device)]
        cut = read_floors(device.layout.floors)
        faults += [f"at once: {text}" for text in _fallen(before, cut)]
        run = device.run()
        ended = [when for name, when in run.traced.ended if name.startswith("attempt-")]
        recovery = min(ended, default=None)
        found = list(converged(device, run, version=device.subject.ends_with))
        found += _fallen(cut, read_floors(device.layout.floors))
        faults += _told("next start", run, found)
        if faults or (state := fingerprint(device)) in device.seen:
            return faults, recovery
        kept = stored(device)
        run = device.run(next_input=True)
        found = list(converged(device, run, version=NEXT, stored=kept))
        if not found:
            device.seen.add(state)
        return _told("next input", run, found), recovery


def _lasting(device: Device) -> Iterator[str]:
    """The agent said that it was done: that is on the medium."""
    found = opened(device.layout.root)
    runs = None if found is None else found.version
    if runs != device.subject.ends_with:
        yield f"the agent had ended, and {runs} is what a cut leaves"


def _fallen(before: Floors | None, after: Floors | None) -> Iterator[str]:
    """Which floor is lower than it was."""
    if before is None:
        return
    if after is None:
        yield "the floors cannot be read"
        return
    names = ("first_unused", "counter", "context", "trust_map", "boots")
    for name in names:
        if getattr(after, name) < getattr(before, name):
            yield f"the floor {name} fell"
    yield from (f"{release} is forgiven" for release in set(before.faults) - set(after.faults))
    for authority, roles in before.trust.items():
        yield from _lower(authority, roles, after.trust.get(authority, {}))
        if after.reference.get(authority, "") < before.reference.get(authority, ""):
            yield f"the time of {authority} fell"


def _lower(authority: str, before: Mapping[str, int], after: Mapping[str, int]) -> Iterator[str]:
    for role, version in before.items():
        if after.get(role, 0) < version:
            yield f"the floor of {authority}'s {role} fell"


def _told(when: str, run: Run, faults: Sequence[str]) -> list[str]:
    if not faults:
        return []
    return [*(f"{when}: {text}" for text in faults), f"{when}, output: {run.output[-1500:]}"]
