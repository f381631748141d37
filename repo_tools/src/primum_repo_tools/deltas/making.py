"""The delta from one file to another, as small as the ways that a device knows can make it.

Weights that changed become planes where that is smaller; everything else becomes edits.  Both are
packed as one stream, by LZMA or by deflate: the first is smaller, the second far quicker on a
device where the bytes are mostly noise, as differences of weights are.

What was made is applied before it is handed out: a delta that a device would refuse is a fault of
this module, and never leaves the desk.
"""

from __future__ import annotations

import hashlib
import lzma
import mmap
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from primum_repo_tools.deltas.alignment import GENEROUS, STRICT, Bytes, Run, Strictness, align
from primum_repo_tools.deltas.edits import edit_steps
from primum_repo_tools.deltas.planes import folded
from primum_repo_tools.deltas.tensors import Weights, matching_weights
from primum_verifier.core.limits import KIB, MIB
from primum_verifier.delta.applying import MAX_PLANES_BYTES, PLANES, apply_delta
from primum_verifier.delta.packed_stream import (
    DEFLATE,
    DEFLATE_BITS,
    LZMA2,
    LZMA_FILTER,
    MAGIC,
    STORED,
    number_bytes,
)

_PLANES_WORTH = 0.97
"""Planes are taken where they pack to less than this part of the plain bytes."""

_LZMA_WORTH = 0.97
"""LZMA is taken where it makes less than this of what deflate makes: it costs the device more."""

_NOISE = 0.5
"""A stream that deflate cannot halve is noise to LZMA as well, and costs a minute to find out."""

_EXAMPLE_BYTES = 1 * MIB

_MIN_STRICT = 64 * KIB
"""A delta smaller than this is not made a second time to see whether it gets smaller."""

_LZMA_EFFORT = {"mode": lzma.MODE_NORMAL, "nice_len": 273, "mf": lzma.MF_BT4, "depth": 0}
_DEFLATE_LEVEL, _DEFLATE_MEMORY = 9, 9


@dataclass(frozen=True)
class MadeDelta:
    """A delta.

    Attributes:
        data: its bytes.
        computed: bytes of the new file that are computed and not just copied.
    """

    data: bytes
    computed: int


def make_delta(old: Path, new: Path) -> MadeDelta:
    """The delta that makes the file ``new`` of the file ``old``.

    Raises:
        OSError: a file cannot be read.
    """
    before, after = _mapped(old), _mapped(new)
    weights = list(_changed(before, after))
    data = _packed(_steps(before, after, weights, GENEROUS))
    if len(data) > _MIN_STRICT and sum(_lengths(weights)) * 2 < after.size:
        data = min(data, _packed(_steps(before, after, weights, STRICT)), key=len)
    _prove(data, before, after)
    return MadeDelta(data, sum(_lengths(weights)))


def _mapped(path: Path) -> Bytes:
    with path.open("rb") as file:
        if file.seek(0, 2) == 0:
            return np.empty(0, dtype=np.uint8)
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype=np.uint8)


def _changed(old: Bytes, new: Bytes) -> Iterator[Weights]:
    """The weights whose differences are smaller than they are themselves."""
    for item in matching_weights(old, new):
        run = item.run
        stop = min(run.end, run.start + _EXAMPLE_BYTES)
        after, before = new[run.start : stop], old[run.base : run.base + stop - run.start]
        # Where most bytes stay, an edit names the few that do not.
        if np.count_nonzero(after == before) * 2 > after.size:
            continue
        planes = len(_deflated(folded(before, after, width=item.width), zlib.Z_RLE))
        if planes < _PLANES_WORTH * len(_deflated(after.tobytes(), zlib.Z_DEFAULT_STRATEGY)):
            yield item


def _lengths(weights: Sequence[Weights]) -> list[int]:
    return [item.run.end - item.run.start for item in weights]


def _steps(old: Bytes, new: Bytes, weights: Sequence[Weights], strictness: Strictness) -> bytes:
    """The whole stream."""
    runs = align(old, new, strictness)
    made = bytearray()
    at = 0
    for item in weights:
        made += edit_steps(old, new, runs, start=at, end=item.run.start)
        for part in _parts(item):
            made += _planes(old, new, part, item.width)
        at = item.run.end
    made += edit_steps(old, new, runs, start=at, end=new.size)
    return bytes(made)


def _parts(item: Weights) -> Iterator[Run]:
    run = item.run
    for start in range(run.start, run.end, MAX_PLANES_BYTES):
        yield run.part(start, start + MAX_PLANES_BYTES)


def _planes(old: Bytes, new: Bytes, run: Run, width: int) -> bytes:
    length = run.end - run.start
    before, after = old[run.base : run.base + length], new[run.start : run.end]
    head = b"".join(number_bytes(number) for number in (PLANES, width, length, run.base))
    return head + folded(before, after, width=width)


def _packed(stream: bytes) -> bytes:
    plain = min((_deflated(stream, way) for way in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_RLE)), key=len)
    best = DEFLATE, plain
    if len(plain) < _NOISE * len(stream) or len(stream) < _EXAMPLE_BYTES:
        small = lzma.compress(
            stream, format=lzma.FORMAT_RAW, filters=[{**LZMA_FILTER, **_LZMA_EFFORT}]
        )
        if len(small) < _LZMA_WORTH * len(plain):
            best = LZMA2, small
    codec, data = best if len(best[1]) < len(stream) else (STORED, stream)
    return MAGIC + codec + data


def _deflated(data: bytes, strategy: int) -> bytes:
    packer = zlib.compressobj(
        _DEFLATE_LEVEL, zlib.DEFLATED, DEFLATE_BITS, _DEFLATE_MEMORY, strategy
    )
    return packer.compress(data) + packer.flush()


def _prove(data: bytes, old: Bytes, new: Bytes) -> None:
    """Make the new file as a device does, and compare."""

    def read(place: int, length: int) -> bytes:
        return old[place : place + length].tobytes()

    made = hashlib.sha256()
    for piece in apply_delta([data], base=read, base_length=old.size, length=new.size):
        made.update(piece)
    if made.digest() != hashlib.sha256(new.data).digest():
        raise RuntimeError("a delta does not make the file that it was made for")
