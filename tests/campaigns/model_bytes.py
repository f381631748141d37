"""Mutations of a model's bytes: what a bad disk, a bad transfer or an attacker makes of a file.

Half of the places are drawn from the structure, which is a fourth of the file; else nearly all
would hit weights.  Each takes the bytes and a seeded source, and gives other bytes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import lru_cache

from tests.campaigns.model_wire import (
    BYTES,
    VARINT,
    Piece,
    pieces_of,
    places_of,
    read_varint,
    structure,
    varint,
    written,
)

_ODD_BYTES = (0x00, 0x01, 0x7F, 0x80, 0xFF)
_ODD_NUMBERS = (0, 1, 2, 3, 7, 127, 128, 2**31 - 1, 2**31, 2**32, 2**34, 2**63, 2**64 - 1)
_LONGEST = 16
"""Bytes that are inserted, taken out or moved at a time."""

Change = Callable[[bytes, random.Random], bytes]


@lru_cache(maxsize=4)
def _places_in_structure(data: bytes) -> tuple[int, ...]:
    return tuple(at for stretch in structure(pieces_of(data)) for at in stretch if at < len(data))


def _place(data: bytes, draw: random.Random) -> int:
    if draw.random() < 0.5:
        return draw.choice(_places_in_structure(data))
    return draw.randrange(len(data))


def _flip_one(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    changed[_place(data, draw)] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _flip_several(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.randint(2, 8)):
        changed[_place(data, draw)] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _set_byte(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    changed[_place(data, draw)] = draw.choice((*_ODD_BYTES, draw.randrange(256)))
    return bytes(changed)


def _blank(data: bytes, draw: random.Random) -> bytes:
    """A sector that reads as zeros, or as erased flash does."""
    at, length = draw.randrange(len(data)), draw.choice((16, 64, 512))
    length = min(length, len(data) - at)
    return data[:at] + draw.choice((b"\x00", b"\xff")) * length + data[at + length :]


def _truncate(data: bytes, draw: random.Random) -> bytes:
    return data[: _place(data, draw)]


def _insert(data: bytes, draw: random.Random) -> bytes:
    at = _place(data, draw)
    return data[:at] + draw.randbytes(draw.randint(1, _LONGEST)) + data[at:]


def _take_out(data: bytes, draw: random.Random) -> bytes:
    at = _place(data, draw)
    return data[:at] + data[at + draw.randint(1, _LONGEST) :]


def _splice(data: bytes, draw: random.Random) -> bytes:
    """A stretch over, or into, another place."""
    source, at, length = _place(data, draw), _place(data, draw), draw.randint(2, 256)
    part = data[source : source + length]
    behind = at + len(part) if draw.random() < 0.5 else at
    return data[:at] + part + data[behind:]


def _exchange(data: bytes, draw: random.Random) -> bytes:
    """Two stretches of the same length in each other's place."""
    length = draw.choice((4, 4, 4, 16, 64))
    one, other = sorted((_place(data, draw), _place(data, draw)))
    other = max(other, one + length)
    first, second = data[one : one + length], data[other : other + length]
    rest = data[one + length : other]
    return data[:one] + second + rest + first + data[other + length :]


def _piece(data: bytes, draw: random.Random, wire: int) -> Piece:
    return draw.choice([one for one in places_of(pieces_of(data)).pieces if one.wire == wire])


def _rewrite(data: bytes, at: int, value: int) -> bytes:
    _, behind = read_varint(data, at)
    return data[:at] + varint(value) + data[behind:]


def _near(value: int, draw: random.Random) -> int:
    return draw.choice((*_ODD_NUMBERS, value + 1, max(0, value - 1), value + 2, value * 2))


def _length(data: bytes, draw: random.Random) -> bytes:
    """A length that lies; what is around it stays."""
    piece = _piece(data, draw, BYTES)
    length, _ = read_varint(data, piece.value_at)
    return _rewrite(data, piece.value_at, _near(length, draw))


def _number(data: bytes, draw: random.Random) -> bytes:
    """Another number, with lengths around it that fit."""
    pieces = pieces_of(data)
    piece = draw.choice([one for one in places_of(pieces).pieces if one.wire == VARINT])
    piece.value = _near(piece.value, draw)
    return written(pieces)


def _key(data: bytes, draw: random.Random) -> bytes:
    """Another field number or wire type in front of the same value."""
    piece = draw.choice(places_of(pieces_of(data)).pieces)
    number, wire = piece.number, piece.wire
    if draw.random() < 0.5:
        number = draw.choice((0, 1, number + 1, draw.randint(1, 25), 2**29 - 1))
    else:
        wire = draw.randrange(8)
    return _rewrite(data, piece.at, number << 3 | wire)


def _endless_number(data: bytes, draw: random.Random) -> bytes:
    """A number of more bytes than one can have, or of more than it needs."""
    piece = _piece(data, draw, VARINT)
    _, behind = read_varint(data, piece.value_at)
    padded = bytearray(varint(piece.value))
    padded[-1] |= 0x80
    padded += b"\x80" * draw.choice((0, 3, 7, 12)) + b"\x00"
    return data[: piece.value_at] + bytes(padded) + data[behind:]


def _drop_field(data: bytes, draw: random.Random) -> bytes:
    pieces = pieces_of(data)
    message = draw.choice([one for one in places_of(pieces).messages if one])
    message.pop(draw.randrange(len(message)))
    return written(pieces)


def _double_field(data: bytes, draw: random.Random) -> bytes:
    """A field twice: protobuf takes the last number, and joins messages."""
    pieces = pieces_of(data)
    message = draw.choice([one for one in places_of(pieces).messages if one])
    message.insert(draw.randrange(len(message) + 1), draw.choice(message))
    return written(pieces)


def _move_field(data: bytes, draw: random.Random) -> bytes:
    """A field into another message, or to another place of its own."""
    pieces = pieces_of(data)
    messages = [one for one in places_of(pieces).messages if one]
    source, goal = draw.choice(messages), draw.choice(messages)
    taken = source[draw.randrange(len(source))]
    if taken.inside is not None:
        goal = source  # a message does not go into itself
    source.remove(taken)
    goal.insert(draw.randrange(len(goal) + 1), taken)
    return written(pieces)


def _text(data: bytes, draw: random.Random) -> bytes:
    """Another letter in a name, with everything around it as it should be."""
    pieces = pieces_of(data)
    named = [
        one
        for one in places_of(pieces).pieces
        if one.wire == BYTES and one.inside is None and 0 < len(one.data) <= 64
    ]
    piece = draw.choice(named)
    at = draw.randrange(len(piece.data))
    piece.data = piece.data[:at] + draw.randbytes(draw.randint(0, 2)) + piece.data[at + 1 :]
    return written(pieces)


BYTE_CHANGES: dict[str, Change] = {
    "flip-one": _flip_one,
    "flip-several": _flip_several,
    "set-byte": _set_byte,
    "blank": _blank,
    "truncate": _truncate,
    "insert": _insert,
    "take-out": _take_out,
    "splice": _splice,
    "exchange": _exchange,
    "length": _length,
    "number": _number,
    "key": _key,
    "endless-number": _endless_number,
    "drop-field": _drop_field,
    "double-field": _double_field,
    "move-field": _move_field,
    "text": _text,
}
"""Every mutation of bytes by name."""
