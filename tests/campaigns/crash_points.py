"""Every point at which a device is cut, and what one of them shows.

A point is the n-th numbered call of one role in one subject, and what happens there.  The numbers
come from an undisturbed run of the same world; where a run takes another way and never reaches a
point, that is said and the point counts as not tried.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.campaigns.crash_checks import after_fault, at_an_instant, converged, fingerprint, stored
from tests.campaigns.crash_tracer import ALL, CHANGES, KILL, MEETS_MEDIUM, TAKES_SPACE
from tests.campaigns.crash_worlds import NEXT, SUBJECTS, Run, World

_MADE_ANEW = re.compile(r"-shm$|^run/scratch")
_GENERATED = re.compile(r"[0-9a-f]{64}|(?<=generations/)\.?\d+")
_RANDOM = re.compile(r"\b[0-9a-f]{16}\b|(?<=tmp)\w{8}\b|(?<=-)\w{8}(?=/|$)")


@dataclass(frozen=True)
class Kind:
    """What happens at a point.

    Attributes:
        calls: where it may happen.
        fault: ``kill`` or the name of an ``errno``.
        lasting: whether it goes on to the end of the run.
    """

    calls: frozenset[str]
    fault: str
    lasting: bool = False


KINDS = {
    "kill": Kind(CHANGES, KILL),
    "full": Kind(TAKES_SPACE, "ENOSPC", lasting=True),
    "full-once": Kind(TAKES_SPACE, "ENOSPC"),
    "eio": Kind(MEETS_MEDIUM, "EIO", lasting=True),
    "eio-once": Kind(MEETS_MEDIUM, "EIO"),
}


@dataclass(frozen=True)
class Point:
    """One point.

    Attributes:
        call: the system call that the undisturbed run made there, for people.
        path: what it was about.
    """

    subject: str
    kind: str
    role: str
    number: int
    call: str
    path: str

    @property
    def name(self) -> str:
        """By which it is asked for again."""
        return f"{self.subject}:{self.kind}:{self.role}:{self.number}"

    @property
    def place(self) -> tuple[str, str, str]:
        """Points of one place differ only in how far the act had come."""
        return self.role, self.call, _GENERATED.sub("*", self.path)

    @property
    def matters_less(self) -> bool:
        """It is about what every start makes anew: its cut is the cut at the point after it."""
        return _MADE_ANEW.search(self.path) is not None


@dataclass
class Outcome:
    """What one point showed.

    Attributes:
        name: the point's.
        hit: the call that failed in this very run; empty where it was never reached.
        faults: what did not hold; empty is a device that recovered.
        recovery: seconds from the next start to the end of its first attempt, by which the device
            has converged; None where none ended.
    """

    name: str
    hit: str = ""
    faults: list[str] = field(default_factory=list)
    recovery: float | None = None

    def as_dict(self) -> dict[str, object]:
        """For the file that a campaign goes on from."""
        return asdict(self)


class UndisturbedError(Exception):
    """A run that nobody disturbed does not hold what is promised: no cut would show anything."""


@dataclass
class Known:
    """What an undisturbed run of a subject shows.

    Attributes:
        points: every point there is.
        instants: between how many changes what may run was looked at.
        faults: at which of them it did not hold what is promised.
    """

    points: list[Point] = field(default_factory=list)
    instants: int = 0
    faults: list[str] = field(default_factory=list)


def known_points(world: World, kinds: Sequence[str]) -> Known:
    """Every point of a world, by one undisturbed run that is halted at each change.

    Raises:
        UndisturbedError: the undisturbed run itself does not hold what is promised.
    """
    known = Known()

    def look(place: str) -> None:
        known.instants += 1
        known.faults += [f"before {place}: {text}" for text in at_an_instant(world)]

    world.begin()
    run = world.run(calls=ALL, at_each=look)
    faults = list(converged(world, run, version=world.subject.ends_with))
    if faults:
        raise UndisturbedError(f"{world.subject.name}, undisturbed: {faults}\n{run.output}")
    for kind in kinds:
        numbers: Counter[str] = Counter()
        for role, call, path in run.traced.calls:
            if call not in KINDS[kind].calls:
                continue
            numbers[role] += 1
            known.points.append(
                Point(
                    subject=world.subject.name,
                    kind=kind,
                    role=role,
                    number=numbers[role],
                    call=call,
                    path=_RANDOM.sub("*", path),
                )
            )
    return known


def try_point(world: World, point: Point) -> Outcome:
    """Cut there, start again, and give the device its next good input.

    Of devices that came back to the very same state one is given the next input.
    """
    kind = KINDS[point.kind]
    outcome = Outcome(point.name)
    world.begin()
    run = world.run(
        calls=kind.calls,
        fault=kind.fault,
        role=point.role,
        number=point.number,
        lasting=kind.lasting,
    )
    if not run.traced.hit:
        return outcome
    role, number, call, path = run.traced.hit
    outcome.hit = f"{role} {number} {call} {path}"
    outcome.faults += _told("at once", run, list(after_fault(world, run, fault=kind.fault)))
    run = world.run()
    ended = [when for name, when in run.traced.ended if name.startswith("attempt-")]
    outcome.recovery = min(ended, default=None)
    found = list(converged(world, run, version=SUBJECTS[point.subject].ends_with))
    outcome.faults += _told("next start", run, found)
    state = "" if outcome.faults else fingerprint(world)
    if state in world.seen:
        return outcome
    before = stored(world)
    run = world.run(next_input=True)
    found = list(converged(world, run, version=NEXT, stored=before))
    outcome.faults += _told("next input", run, found)
    if state and not found:
        world.seen.add(state)
    return outcome


def _told(when: str, run: Run, faults: list[str]) -> list[str]:
    if not faults:
        return []
    return [*(f"{when}: {text}" for text in faults), f"{when}, output: {run.output[-1500:]}"]


def fresh_world(folder: Path, subject: str) -> World:
    """A world in a folder of its own."""
    folder.mkdir(parents=True)
    return World(folder, SUBJECTS[subject])
