"""Edits: what a new file takes from an old one, what changes on the way, and what is its own.

The numbers of an edit are kept apart by what they count, and so are bytes: like packs well with
like.  An edit ends before it holds more than a device would.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from primum_repo_tools.deltas.alignment import Bytes, Run
from primum_verifier.core.limits import KIB, MIB
from primum_verifier.delta.applying import EDIT
from primum_verifier.delta.packed_stream import number_bytes

_MOST_BYTES = 1 * MIB
"""Bytes of one edit, half of what a device takes: a step more never crosses its bound."""

_WINDOW = 64 * KIB
"""Bytes of the new file looked at before it is asked again whether the edit is full."""


def edit_steps(old: Bytes, new: Bytes, runs: Sequence[Run], *, start: int, end: int) -> bytes:
    """The edits that make the bytes of ``new`` from ``start`` to ``end``.

    Args:
        old: the old file.
        new: the new one.
        runs: what it continues of the old one, in order; parts outside are left out.
        start: the first byte that is made.
        end: one past the last.
    """
    made = bytearray()
    edit = _Edit()
    at = start
    index = max(0, bisect_right(runs, start, key=lambda run: run.end))
    while at < end:
        if edit.size > _MOST_BYTES:
            made += edit.step()
            edit = _Edit()
        run = runs[index] if index < len(runs) else Run(end, end, 0)
        if run.start > at:
            stop = min(run.start, end, at + _WINDOW)
            edit.take_fresh(new[at:stop])
        else:
            stop = min(run.end, end, at + _WINDOW)
            part = run.part(at, stop)
            edit.take_run(old[part.base : part.base + stop - at], new[at:stop], part)
            index += stop == run.end
        at = stop
    if edit.length:
        made += edit.step()
    return bytes(made)


class _Edit:
    """One edit in the making."""

    def __init__(self) -> None:
        self.length = 0
        self._runs: list[list[int]] = []
        self._gap = 0
        self._place = 0
        self._is_open = False
        self._equal = bytearray()
        self._changed = bytearray()
        self._values = bytearray()
        self._fresh = bytearray()
        self._after_change = 0

    @property
    def size(self) -> int:
        """Bytes of its sections, about: a run has three numbers."""
        numbers = len(self._equal) + len(self._changed) + 12 * len(self._runs)
        return numbers + len(self._values) + len(self._fresh)

    def take_fresh(self, data: Bytes) -> None:
        self._fresh += data.tobytes()
        self._gap += data.size
        self.length += data.size
        self._is_open = False

    def take_run(self, old: Bytes, new: Bytes, run: Run) -> None:
        expected = self._place + self._gap
        if self._is_open and run.base == self._place:
            self._runs[-1][1] += new.size
        else:
            self._runs.append([self._gap, new.size, run.base - expected])
        self._gap = 0
        self._is_open = True
        self._place = run.base + new.size
        self._note_changes(new - old)
        self.length += new.size

    def step(self) -> bytes:
        """The edit as a device reads it."""
        sections = [
            b"".join(number_bytes(run[0]) for run in self._runs),
            b"".join(number_bytes(run[1]) for run in self._runs),
            b"".join(number_bytes(_folded(run[2])) for run in self._runs),
            bytes(self._equal),
            bytes(self._changed),
            bytes(self._values),
            bytes(self._fresh),
        ]
        head = number_bytes(EDIT) + number_bytes(self.length)
        return head + b"".join(number_bytes(len(part)) + part for part in sections)

    def _note_changes(self, difference: NDArray[np.uint8]) -> None:
        differs = difference != 0
        borders = np.flatnonzero(np.diff(differs, prepend=False, append=False)).tolist()
        for begin, stop in zip(borders[::2], borders[1::2], strict=True):
            at = self.length + begin
            self._equal += number_bytes(at - self._after_change)
            self._changed += number_bytes(stop - begin)
            self._after_change = self.length + stop
        self._values += difference[differs].tobytes()


def _folded(number: int) -> int:
    """A signed number as an unsigned one, small where it is near zero."""
    return number << 1 if number >= 0 else (-number << 1) - 1
