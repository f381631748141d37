"""Making a new file of an old one and a delta: a stream, in memory that no file can choose.

A delta is a row of steps, each of which makes the next bytes of the new file::

    step   := 1 edit | 2 planes
    edit   := length gaps runs places equal changed values fresh
    planes := width length place bytes

An **edit** lays stretches of the old file (``runs``: how long, ``places``: from where) and bytes
of its own (``fresh``) one after the other, and then adds ``values`` to single bytes: so a program
whose addresses moved costs only the addresses.  ``gaps`` are the fresh bytes before each run,
``equal`` and ``changed`` the numbers of bytes that stay and that do not, in turn.  Each of the
seven is a number of bytes and that many bytes.  A place is told from where the old file would
just go on.

**Planes** add a difference to every word of a stretch of the old file
(:mod:`primum_verifier.delta.lanes`): so a model that was trained on costs its differences.

Nothing is concluded from a delta: whoever takes the bytes checks the digest of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from primum_verifier.core.errors import RefusedError
from primum_verifier.core.limits import KIB, MIB
from primum_verifier.core.reasons import Reason
from primum_verifier.delta.lanes import WIDTHS, added
from primum_verifier.delta.packed_stream import PackedStream, beyond, malformed

EDIT, PLANES = 1, 2

MAX_STEPS = 65_536
"""Steps of one delta: the longest file has eight thousand planes, and edits are longer."""

MAX_EDIT_BYTES = 2 * MIB
"""Bytes of one edit besides the old file's: all that is held of it."""

MAX_PLANES_BYTES = 1 * MIB
"""Bytes that one step of planes makes: the lowest bytes of all words come before the others."""

STREAM_SPARE = 64 * KIB
"""What the numbers of the shortest delta may need beside the bytes that they make."""

_PIECE = 64 * KIB

ReadBase = Callable[[int, int], bytes]
"""Reads so many bytes of the old file from a place: ``(place, length)``, never past its end."""


def apply_delta(
    pieces: Iterable[bytes], *, base: ReadBase, base_length: int, length: int
) -> Iterator[bytes]:
    """The bytes of the new file.

    Args:
        pieces: the bytes of the delta, in order.
        base: reads the old file.
        base_length: its length, bytes.
        length: of the new file, as signed; bytes.

    Raises:
        RefusedError: ``delta.malformed``, ``delta.base`` or ``delta.limit``; what was yielded so
            far is worth nothing.
    """
    stream = PackedStream(pieces, max_bytes=2 * length + STREAM_SPARE)
    old = _Base(base, base_length)
    made = 0
    for _ in range(MAX_STEPS):
        if made == length:
            stream.end()
            return
        kind = stream.byte()
        if kind not in _STEPS:
            raise malformed(f"step {kind}", "a step of this format")
        for piece in _STEPS[kind](stream, old, length - made):
            made += len(piece)
            yield piece
    raise beyond(f"more than {MAX_STEPS} steps", f"at most {MAX_STEPS}")


class _Base:
    """The old file, and the refusal of what lies outside of it."""

    def __init__(self, read: ReadBase, length: int) -> None:
        self._read = read
        self._length = length

    def read(self, place: int, length: int) -> bytes:
        if place < 0 or place + length > self._length:
            raise RefusedError(
                "The delta names bytes that the old file does not have.",
                reason=Reason.DELTA_BASE,
                where="delta",
                found=f"{length} bytes at {place}",
                expected=f"bytes of a file of {self._length}",
                remedy="The whole file is fetched instead.",
            )
        return self._read(place, length)


def _planes(stream: PackedStream, old: _Base, left: int) -> Iterator[bytes]:
    width, length, place = stream.number(), stream.number(), stream.number()
    if width not in WIDTHS or length % width:
        raise malformed(f"{length} bytes in words of {width}", "whole words of 1, 2, 4 or 8 bytes")
    if length > MAX_PLANES_BYTES:
        raise beyond(f"{length} bytes in one step", f"at most {MAX_PLANES_BYTES}")
    _check_length(length, left)
    base = old.read(place, length)
    yield bytes(added(base, stream.take(length), width=width))


def _edit(stream: PackedStream, old: _Base, left: int) -> Iterator[bytes]:
    length = stream.number()
    _check_length(length, left)
    sections = []
    held = 0
    for _ in range(7):
        size = stream.number()
        held += size
        if held > MAX_EDIT_BYTES:
            raise beyond(f"{held} bytes in one step", f"at most {MAX_EDIT_BYTES}")
        sections.append(stream.take(size))
    gaps, runs, places, equal, changed, values, fresh = sections
    laid = _laid(_triples(gaps, runs, places), fresh, old=old, length=length)
    return _changed(laid, _pairs(equal, changed), values)


def _check_length(length: int, left: int) -> None:
    if not 0 < length <= left:
        raise malformed(f"{length} bytes in a step", f"1 to {left} bytes")


_STEPS = {EDIT: _edit, PLANES: _planes}


def _laid(
    runs: Iterator[tuple[int, int, int]], fresh: bytes, *, old: _Base, length: int
) -> Iterator[bytearray]:
    """Stretches of the old file and fresh bytes in turn, in pieces."""
    place = taken = made = 0
    for gap, run, moved in runs:
        made += gap + run
        if taken + gap > len(fresh) or made > length:
            raise malformed("runs that are longer than the step")
        yield from _cut(fresh, taken, taken + gap)
        taken += gap
        place += gap + moved
        for start in range(0, run, _PIECE):
            yield bytearray(old.read(place + start, min(_PIECE, run - start)))
        place += run
    if len(fresh) - taken != length - made:
        raise malformed(f"{len(fresh) - taken} bytes left", f"{length - made} bytes")
    yield from _cut(fresh, taken, len(fresh))


def _cut(data: bytes, start: int, stop: int) -> Iterator[bytearray]:
    for at in range(start, stop, _PIECE):
        yield bytearray(data[at : min(at + _PIECE, stop)])


def _changed(
    pieces: Iterator[bytearray], changes: Iterator[tuple[int, int]], values: bytes
) -> Iterator[bytes]:
    """Add the values to the bytes that change."""
    begin = taken = at = 0
    count = 0
    is_over = False
    for piece in pieces:
        end = begin + len(piece)
        while not is_over and at + count <= end:
            # What is left of a change that began in the piece before, or a whole one.
            _add(piece, at - begin, values, taken, count)
            taken += count
            at += count
            following = next(changes, None)
            if following is None:
                is_over, count = True, 0
                break
            at += following[0]
            count = following[1]
        if not is_over and at < end:
            part = end - at
            _add(piece, at - begin, values, taken, part)
            taken, at, count = taken + part, end, count - part
        begin = end
        yield bytes(piece)
    if not is_over or taken != len(values):
        raise malformed("changes beyond the bytes of their step")


def _add(piece: bytearray, at: int, values: bytes, first: int, count: int) -> None:
    if first + count > len(values):
        raise malformed("more changes than values")
    for offset in range(count):
        piece[at + offset] = (piece[at + offset] + values[first + offset]) & 0xFF


def _triples(gaps: bytes, runs: bytes, places: bytes) -> Iterator[tuple[int, int, int]]:
    others = _numbers(runs), _numbers(places)
    for gap in _numbers(gaps):
        run, moved = next(others[0], None), next(others[1], None)
        if run is None or moved is None:
            raise malformed("a run without length or place")
        yield gap, run, (moved >> 1) ^ -(moved & 1)
    if any(next(rest, None) is not None for rest in others):
        raise malformed("a run without a gap")


def _pairs(equal: bytes, changed: bytes) -> Iterator[tuple[int, int]]:
    others = _numbers(changed)
    for same in _numbers(equal):
        count = next(others, None)
        if count is None:
            raise malformed("a change without a length")
        yield same, count
    if next(others, None) is not None:
        raise malformed("a change without a place")


def _numbers(data: bytes) -> Iterator[int]:
    """The numbers of a section: seven bits a byte, the lowest first."""
    value = shift = 0
    for byte in data:
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit of a varint
            yield value | byte << shift
            value = shift = 0
        else:
            value |= (byte & 0x7F) << shift
            shift += 7
            if shift > 56:  # noqa: PLR2004 - nine bytes hold the largest number
                raise malformed("a number of more than nine bytes")
    if shift:
        raise malformed("a number that is cut")
