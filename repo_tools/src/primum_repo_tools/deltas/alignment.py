"""Which bytes of an old file a new one continues, also where both changed a little in between.

Samples of the new file are looked for at every place of the old one.  Where one is found, the
bytes around it are compared; a run is left only for another place that explains more bytes.  Runs
are then prolonged for as long as most bytes agree (the measure of bsdiff: equal bytes less
unequal ones).  What is left over is looked for once more, with samples that lie closer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from primum_verifier.core.limits import KIB, MIB

Bytes = NDArray[np.uint8]
_Places = NDArray[np.int64]
_Hashes = NDArray[np.uint64]

_SAMPLE_BYTES = 16
_STRIDE = 32
"""Bytes from one sample to the next at the first look."""

_SAMPLES = 1 * MIB
"""Samples at the second look; what is left over may be little or nearly everything."""

_WINDOW = 4 * MIB
"""Bytes hashed at a time: memory does not grow with the files."""

_SIEVE_BITS = 25
"""A table of 32 MiB tells for most places of the old file that no sample is there."""

_FREQUENT = 64
"""A sample that is found at more places than this says nothing about where it came from."""

_TRIED = 4
"""Of the places of one sample those nearest to where the last run goes on are compared."""

_REACH = 256 * KIB
"""How far beyond equal bytes a run is prolonged at most."""

_PRIMES = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))


@dataclass(frozen=True)
class Strictness:
    """How much two stretches must have in common to be one run.

    Attributes:
        unequal: what an unequal byte costs, where an equal one counts as 1.
        leave: bytes that another place has to explain beyond the last run's.
    """

    unequal: int
    leave: int


GENEROUS = Strictness(unequal=1, leave=8)
"""For a patch: most of a program stays, and addresses in it move (bsdiff has the same numbers)."""

STRICT = Strictness(unequal=3, leave=24)
"""For a new version: where much is written anew, chance likeness costs more than it saves."""


@dataclass(frozen=True, slots=True)
class Run:
    """Bytes of the new file that continue bytes of the old one.

    Attributes:
        start: where it begins in the new file.
        end: one past its last byte there.
        base: where it begins in the old file.
    """

    start: int
    end: int
    base: int

    @property
    def distance(self) -> int:
        """What is added to a place in the new file to find its like in the old one."""
        return self.base - self.start

    def part(self, start: int, end: int) -> Run:
        """The run between two places of the new file, as far as they lie in it."""
        start, end = max(start, self.start), min(end, self.end)
        return Run(start, end, start + self.distance)


def align(old: Bytes, new: Bytes, strictness: Strictness = GENEROUS) -> list[Run]:
    """The runs of ``new`` in ``old``, in the order of ``new``, none overlapping another.

    Args:
        old: all bytes of the old file, as a map of it.
        new: likewise.
        strictness: how much they must have in common.
    """
    places = np.arange(0, max(0, new.size - _SAMPLE_BYTES), _STRIDE, dtype=np.int64)
    matching = _Matching(old, new, strictness)
    runs = _prolonged(old, new, matching.runs(places, []), strictness)
    gaps = [gap for gap in _gaps(runs, new.size) if gap[1] - gap[0] >= _SAMPLE_BYTES]
    left = sum(end - start for start, end in gaps)
    if not runs or not gaps:
        return runs
    stride = max(1, left // _SAMPLES)
    closer = [np.arange(start, end - _SAMPLE_BYTES + 1, stride) for start, end in gaps]
    return _prolonged(old, new, matching.runs(np.concatenate(closer), runs), strictness)


def _gaps(runs: list[Run], length: int) -> Iterator[tuple[int, int]]:
    at = 0
    for run in runs:
        if run.start > at:
            yield at, run.start
        at = run.end
    if at < length:
        yield at, length


class _Matching:
    """Walks over the samples and leaves a run only for one that explains more bytes."""

    def __init__(self, old: Bytes, new: Bytes, strictness: Strictness) -> None:
        self._old, self._new = old, new
        self._leave = strictness.leave

    def runs(self, places: _Places, known: list[Run]) -> list[Run]:
        """The runs that begin with samples at ``places``, between the ones that are known."""
        coming = iter([*known, Run(self._new.size, self._new.size, 0)])
        following = next(coming)
        found: list[Run] = []
        last: Run | None = None
        for place, candidates in _found(self._old, self._new, places):
            if last is not None and place + _SAMPLE_BYTES <= last.end:
                continue
            while following.end <= place:
                found.append(following)
                last, following = following, next(coming)
            floor = 0 if last is None else last.end
            taken = self._taken(place, candidates, last, floor=floor, ceiling=following.start)
            if taken is None:
                continue
            if last is not None and taken.distance == last.distance and found[-1] is last:
                last = found[-1] = Run(last.start, taken.end, last.base)
            else:
                last = taken
                found.append(last)
        found.append(following)
        found.extend(coming)
        return found[:-1]

    def _taken(
        self, place: int, candidates: _Places, last: Run | None, *, floor: int, ceiling: int
    ) -> Run | None:
        """What a sample adds, or None where the last run just goes on as well."""
        if last is None:
            return self._longest(place, candidates[:_TRIED], floor=floor, ceiling=ceiling)
        goes_on = place + last.distance
        if bool((candidates == goes_on).any()):
            return self._exact(place, goes_on, floor=floor, ceiling=ceiling)
        if candidates.size > _TRIED:
            near = np.abs(candidates - goes_on).argsort(kind="stable")[:_TRIED]
            candidates = candidates[near]
        other = self._longest(place, candidates, floor=floor, ceiling=ceiling)
        stays = self._equal(last.distance, other.start, other.end)
        return other if other.end - other.start > stays + self._leave else None

    def _longest(self, place: int, candidates: _Places, *, floor: int, ceiling: int) -> Run:
        return max(
            (
                self._exact(place, base, floor=floor, ceiling=ceiling)
                for base in candidates.tolist()
            ),
            key=lambda run: run.end - run.start,
        )

    def _exact(self, place: int, base: int, *, floor: int, ceiling: int) -> Run:
        """The bytes around a sample that are equal without exception."""
        old, new = self._old, self._new
        most = min(_REACH, ceiling - place, old.size - base)
        ahead = _equal_bytes(new[place : place + most], old[base : base + most])
        most = max(0, min(_REACH, place - floor, base))
        behind = _equal_bytes(new[place - most : place][::-1], old[base - most : base][::-1])
        return Run(place - behind, place + ahead, base - behind)

    def _equal(self, distance: int, start: int, end: int) -> int:
        """How many bytes agree where the last run would just go on."""
        stop = min(end, self._old.size - distance)
        if start + distance < 0 or stop <= start:
            return 0
        old = self._old[start + distance : stop + distance]
        return int(np.count_nonzero(old == self._new[start:stop]))


def _equal_bytes(one: Bytes, other: Bytes) -> int:
    """How many first bytes are equal."""
    at, step = 0, 64
    while at < one.size:
        differs = one[at : at + step] != other[at : at + step]
        first = int(differs.argmax())
        if differs[first]:
            return at + first
        at, step = at + differs.size, step * 8
    return at


def _found(old: Bytes, new: Bytes, places: _Places) -> Iterator[tuple[int, _Places]]:
    """Each sample that the old file has too, in the order of the new one, and where it has it."""
    hashes, places = _hashed_at(new, places)
    wanted = np.unique(hashes)
    sieve = np.zeros(1 << _SIEVE_BITS, dtype=np.bool_)
    shift = np.uint64(64 - _SIEVE_BITS)
    sieve[wanted >> shift] = True
    hits: list[_Hashes] = []
    where: list[_Places] = []
    for start, piece in _hashed(old):
        passed = np.flatnonzero(sieve[piece >> shift])
        at = np.searchsorted(wanted, piece[passed])
        at[at == wanted.size] = 0
        passed = passed[wanted[at] == piece[passed]] if wanted.size else passed[:0]
        hits.append(piece[passed])
        where.append(passed + start)
    if not hits:
        return
    hit, whence = np.concatenate(hits), np.concatenate(where)
    by_hash = np.argsort(hit, kind="stable")
    hit, whence = hit[by_hash], whence[by_hash]
    first = np.searchsorted(hit, hashes, side="left")
    count = np.searchsorted(hit, hashes, side="right") - first
    useful = np.flatnonzero((count > 0) & (count <= _FREQUENT))
    for place, at, times in zip(
        places[useful].tolist(), first[useful].tolist(), count[useful].tolist(), strict=True
    ):
        yield place, whence[at : at + times]


def _hashed_at(data: Bytes, places: _Places) -> tuple[_Hashes, _Places]:
    """The hashes at some places, without those that lie in a stretch of one repeated word."""
    rows = data[places[:, None] + np.arange(_SAMPLE_BYTES)]
    words = np.ascontiguousarray(rows).view("<u8")
    plain = words[:, 0] == words[:, 1]
    return _mixed(words[~plain, 0], words[~plain, 1]), places[~plain]


def _hashed(data: Bytes) -> Iterator[tuple[int, _Hashes]]:
    """The hash at every place of a file, window by window."""
    for start in range(0, data.size - _SAMPLE_BYTES + 1, _WINDOW):
        piece = np.ascontiguousarray(data[start : start + _WINDOW + _SAMPLE_BYTES - 1])
        words = np.empty(piece.size - 7, dtype="<u8")
        for phase in range(8):
            whole = (piece.size - phase) // 8 * 8
            words[phase::8] = piece[phase : phase + whole].view("<u8")
        yield start, _mixed(words[:-8], words[8:])


def _mixed(first: _Hashes, second: _Hashes) -> _Hashes:
    hashes = first * _PRIMES[0]
    hashes ^= hashes >> np.uint64(29)
    hashes += second * _PRIMES[1]
    hashes ^= hashes >> np.uint64(32)
    hashes *= _PRIMES[0]
    return hashes


def _prolonged(old: Bytes, new: Bytes, runs: list[Run], strictness: Strictness) -> list[Run]:
    """Each run as far as it is worth it; where two meet, the border at which most bytes agree."""
    grown: list[Run] = []
    for index, found in enumerate(runs):
        start = grown[-1].end if grown else 0
        run = found.part(start, found.end)
        if run.end <= run.start:
            continue
        run = _backwards(old, new, run, strictness, to=max(start, run.start - _REACH))
        if grown and run.start == grown[-1].end:
            grown[-1], run = _border(old, new, grown[-1], run)
            if grown[-1].start == grown[-1].end:
                grown.pop()
        stop = runs[index + 1].start if index + 1 < len(runs) else new.size
        end = min(max(stop, run.end), run.end + _REACH)
        grown.append(_forwards(old, new, run, strictness, to=end))
    return grown


def _forwards(old: Bytes, new: Bytes, run: Run, strictness: Strictness, *, to: int) -> Run:
    length = min(to - run.end, old.size - run.end - run.distance)
    if length <= 0:
        return run
    at = run.end + run.distance
    score = _score(old[at : at + length] == new[run.end : run.end + length], strictness)
    best = int(score.argmax())
    return run if score[best] <= 0 else Run(run.start, run.end + best + 1, run.base)


def _backwards(old: Bytes, new: Bytes, run: Run, strictness: Strictness, *, to: int) -> Run:
    length = min(run.start - to, run.base)
    if length <= 0:
        return run
    equal = old[run.base - length : run.base] == new[run.start - length : run.start]
    score = _score(equal[::-1], strictness)
    best = int(score.argmax())
    if score[best] <= 0:
        return run
    return Run(run.start - best - 1, run.end, run.base - best - 1)


def _border(old: Bytes, new: Bytes, before: Run, after: Run) -> tuple[Run, Run]:
    """Two runs that touch, with the border moved back to where ``after`` begins to agree more."""
    length = min(before.end - before.start, after.base, _REACH)
    if length <= 0:
        return before, after
    start = before.end - length
    mine = old[start + before.distance : before.end + before.distance] == new[start : before.end]
    its = old[after.base - length : after.base] == new[start : before.end]
    gain = np.cumsum((its.astype(np.int8) - mine.astype(np.int8))[::-1], dtype=np.int64)
    best = int(gain.argmax())
    if gain[best] <= 0:
        return before, after
    border = before.end - best - 1
    moved = after.base - (after.start - border)
    return Run(before.start, border, before.base), Run(border, after.end, moved)


def _score(equal: NDArray[np.bool_], strictness: Strictness) -> NDArray[np.int64]:
    """Equal bytes less what unequal ones cost, for each length."""
    cost = strictness.unequal
    return np.cumsum(equal.astype(np.int8) * (1 + cost) - cost, dtype=np.int64)
