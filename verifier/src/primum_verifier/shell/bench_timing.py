"""Times what a bench does: loadings, and rounds of runs until one is within the limits.

The confined process alone uses it, so it stays with the standard library.  What it measures is
believed as far as the process is; what the model made of it is bounded by the time limit outside.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from primum_verifier.proof.latency import QUIET_SHARE, within

_Made = TypeVar("_Made")


class Timing:
    """The times of one self-test, in microseconds.

    ``loads`` and ``rounds`` are what was measured so far, ``case`` is what runs.

    Args:
        asked: the member ``timing`` of the request: ``warmUp`` runs that do not count,
            ``repetitions`` of every case in a round, at most so many ``rounds``, the limits
            ``latencyUs`` and ``loadUs`` that are enough, and the ``seconds`` of the time limit.
    """

    def __init__(self, asked: dict[str, Any]) -> None:
        self._asked = asked
        self._until = time.perf_counter() + QUIET_SHARE * asked["seconds"]
        self.loads: list[int] = []
        self.rounds: list[list[int]] = [[]]
        self.case = 0

    def loaded(self, load: Callable[[], _Made]) -> _Made:
        """Load once, and keep how long it took."""
        begin = time.perf_counter_ns()
        made = load()
        self.loads.append(_since(begin))
        return made

    def timed(self, infer: Callable[[int], _Made], case: int) -> _Made:
        """Run one case, and keep how long it took in the present round."""
        begin = time.perf_counter_ns()
        made = infer(case)
        self.rounds[-1].append(_since(begin))
        return made

    def warm_up(self, infer: Callable[[int], object], *, cases: int) -> None:
        """Run without counting."""
        with suppress(Exception):  # the timed run of the same case tells it
            for number in range(self._asked["warmUp"]):
                infer(number % cases)

    def go_on(self, infer: Callable[[int], object], *, cases: int) -> None:
        """Finish the first round, in which every case ran once; add rounds while none is enough.

        A further round begins only where it can be expected to end in time: a report that comes
        late is none.  What a run raises goes through; :attr:`case` says which it was.
        """
        begin = time.perf_counter()
        for _ in range(self._asked["repetitions"] - 1):
            self._pass(infer, cases)
        lasted = max(time.perf_counter() - begin, sum(self.rounds[0]) / 1_000_000)
        while (
            len(self.rounds) < self._asked["rounds"]
            and not within(self.rounds[-1], self._asked["latencyUs"])
            and time.perf_counter() + 2 * lasted < self._until
        ):
            begin = time.perf_counter()
            self.rounds.append([])
            for _ in range(self._asked["repetitions"]):
                self._pass(infer, cases)
            lasted = time.perf_counter() - begin

    @property
    def loads_too_slowly(self) -> bool:
        """Whether no loading was within its limit so far."""
        limit = self._asked["loadUs"]
        return limit is not None and min(self.loads) > limit

    def load_again(self, load: Callable[[], object]) -> None:
        """Load as often as there may be rounds, while it takes too long and there is time."""
        with suppress(Exception):  # it was loaded once; what memory is left is another matter
            while (
                self.loads_too_slowly
                and len(self.loads) < self._asked["rounds"]
                and time.perf_counter() + 2 * self.loads[-1] / 1_000_000 < self._until
            ):
                self.loaded(load)

    def _pass(self, infer: Callable[[int], object], cases: int) -> None:
        for self.case in range(cases):
            self.timed(infer, self.case)


def _since(begin: int) -> int:
    return (time.perf_counter_ns() - begin) // 1000
