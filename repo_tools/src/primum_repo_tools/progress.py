"""How far long work has come: told to a person now and then, and to nobody where nobody waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from primum_verifier.core.limits import MIB

TELL_EVERY_SECONDS = 3.0
"""Work that is done sooner says nothing; longer work says a line so often."""


class Progress:
    """One piece of work after another, in bytes or in steps.

    Args:
        say: takes one line for a person.
        clock: seconds that only rise.
    """

    def __init__(
        self, say: Callable[[str], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say = say
        self._clock = clock
        self._told = clock()

    def over(self, pieces: Iterator[bytes], *, what: str, of: int) -> Iterator[bytes]:
        """The same pieces, and a line about them whenever enough time has passed.

        Args:
            pieces: of a file or a tree.
            what: the work, as it heads the line.
            of: how many bytes there are in all.
        """
        done = 0
        for piece in pieces:
            done += len(piece)
            if self._clock() - self._told >= TELL_EVERY_SECONDS:
                self._told = self._clock()
                self._say(f"{what}: {done // MIB} of {of // MIB} MiB")
            yield piece

    def step(self, what: str) -> None:
        """Say what is begun, once enough time has passed since the last line.

        Args:
            what: the work, as a person knows it.
        """
        if self._clock() - self._told >= TELL_EVERY_SECONDS:
            self._told = self._clock()
            self._say(what)


def silent() -> Progress:
    """Progress that nobody reads."""
    return Progress(lambda _: None)
