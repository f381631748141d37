"""What a campaign tried on this very code, kept between runs, and the loop that tries the rest."""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from pathlib import Path
from typing import Protocol, TypeVar

from tests.campaigns.crash_points import Outcome
from tests.campaigns.crash_worlds import CHECKOUT

CACHE = CHECKOUT / ".cache"
TRIED_CODE = (CHECKOUT / "agent" / "src", CHECKOUT / "verifier" / "src", Path(__file__).parent)
SHOW_EVERY = 30.0


class Named(Protocol):
    """A point of any campaign."""

    @property
    def name(self) -> str:
        """By which it is asked for again."""


P = TypeVar("P", bound=Named)


def say(text: str) -> None:
    """One line for the person at the terminal."""
    print(text, flush=True)


def code_digest() -> str:
    """What the outcomes of earlier runs are about: any change to the code begins anew."""
    seen = hashlib.sha256()
    for folder in TRIED_CODE:
        for path in sorted(folder.rglob("*.py")):
            seen.update(path.relative_to(CHECKOUT).as_posix().encode() + b"\0")
            seen.update(hashlib.sha256(path.read_bytes()).digest())
    return seen.hexdigest()


class Tried:
    """The outcomes of one campaign, on disk after each.

    Args:
        folder: the campaign's own; made where it is missing.
        again: forget what was tried before.
    """

    def __init__(self, folder: Path, *, again: bool) -> None:
        self._kept = folder / "tried.jsonl"
        self.code = code_digest()
        self.outcomes = {} if again else self._earlier()

    def _earlier(self) -> dict[str, Outcome]:
        """What was tried on this very code; lines of other code are left out."""
        if not self._kept.is_file():
            return {}
        lines = [json.loads(line) for line in self._kept.read_text("utf-8").splitlines()]
        found = [line["outcome"] for line in lines if line["code"] == self.code]
        return {item["name"]: Outcome(**item) for item in found}

    def add(self, outcome: Outcome) -> None:
        """Keep one more."""
        self.outcomes[outcome.name] = outcome
        self._kept.parent.mkdir(parents=True, exist_ok=True)
        beside = self._kept.with_suffix(".new")
        lines = [
            json.dumps({"code": self.code, "outcome": item.as_dict()})
            for item in self.outcomes.values()
        ]
        beside.write_text("\n".join(lines) + "\n", encoding="utf-8")
        beside.replace(self._kept)


def try_all(
    points: Iterable[P],
    *,
    known: int,
    tried: Tried,
    pool: Executor,
    workers: int,
    until: float,
    one: Callable[[P], Outcome],
    about: Callable[[P], str],
) -> None:
    """Keep every worker busy until the time is over; what was begun is ended.

    Args:
        points: in the order in which they are tried; those tried before are passed over.
        known: how many there are, for the person who waits.
        tried: where outcomes go.
        pool: the workers.
        workers: how many.
        until: when no new point is begun, as ``time.monotonic`` has it.
        one: tries one point, in a worker; has to be picklable.
        about: what a person is told about a point at which a device was bricked.
    """
    waiting = (point for point in points if point.name not in tried.outcomes)
    running: dict[Future[Outcome], P] = {}
    shown = time.monotonic()
    while True:
        while len(running) < workers and time.monotonic() < until:
            point = next(waiting, None)
            if point is None:
                break
            running[pool.submit(one, point)] = point
        if not running:
            return
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            point, outcome = running.pop(future), future.result()
            tried.add(outcome)
            if outcome.faults:
                say(f"BRICKED {outcome.name} ({about(point)})")
                for text in outcome.faults:
                    say(f"    {text}")
        if time.monotonic() - shown > SHOW_EVERY:
            shown = time.monotonic()
            say(f"{len(tried.outcomes)} of {known} points tried")


def say_recovery(outcomes: Sequence[Outcome]) -> None:
    """How long the devices took that came back."""
    seconds = [item.recovery for item in outcomes if item.recovery is not None]
    if seconds:
        say(
            f"recovered after the next start: median {statistics.median(seconds):.2f} s,"
            f" at most {max(seconds):.2f} s"
        )
