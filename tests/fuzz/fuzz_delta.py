"""What a server sends as a delta, applied to a file that is known."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Mapping

from fuzz_oracle import Subject, attempt
from primum_verifier.delta.applying import EDIT, PLANES, apply_delta
from primum_verifier.delta.packed_stream import (
    DEFLATE,
    DEFLATE_BITS,
    LZMA2,
    LZMA_FILTER,
    MAGIC,
    STORED,
    number_bytes,
)

_OLD = bytes(range(256)) * 8
_LENGTH = 1024


def delta(data: bytes) -> None:
    """A whole delta, as it comes."""
    _applied(data)


def delta_steps(data: bytes) -> None:
    """The steps alone: a search does not get through a compression."""
    _applied(MAGIC + STORED + data)


def _applied(data: bytes) -> None:
    def base(place: int, length: int) -> bytes:
        assert 0 <= place <= place + length <= len(_OLD), "a read outside of the old file"
        return _OLD[place : place + length]

    pieces = (data[at : at + 100] for at in range(0, len(data), 100))
    made = attempt(
        lambda: b"".join(apply_delta(pieces, base=base, base_length=len(_OLD), length=_LENGTH))
    )
    assert made is None or len(made) == _LENGTH


def _numbers(*values: int) -> bytes:
    return b"".join(map(number_bytes, values))


def _steps() -> bytes:
    sections = [_numbers(4, 0), _numbers(96, 400), _numbers(8, 3), _numbers(10), _numbers(2)]
    sections += [b"\1\2", b"new.and.last"]
    edit = _numbers(EDIT, 508) + b"".join(_numbers(len(part)) + part for part in sections)
    planes = _numbers(PLANES, 4, 516, 12) + b"\2" * 129 + bytes(387)
    return edit + planes


def _deltas() -> Mapping[str, bytes]:
    packer = zlib.compressobj(9, zlib.DEFLATED, DEFLATE_BITS)
    small = lzma.compress(_steps(), format=lzma.FORMAT_RAW, filters=[LZMA_FILTER])
    return {
        "stored": MAGIC + STORED + _steps(),
        "deflate": MAGIC + DEFLATE + packer.compress(_steps()) + packer.flush(),
        "lzma": MAGIC + LZMA2 + small,
    }


DELTA_SUBJECTS = {
    "delta": Subject(run=delta, seeds=_deltas, words=lambda: ("PRD1s", "PRD1x", "PRD1z")),
    "delta-steps": Subject(run=delta_steps, seeds=lambda: {"steps": _steps()}, max_bytes=2048),
}
