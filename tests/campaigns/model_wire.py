"""The borders in an ONNX file: every protobuf field that is known to hold a message, opened.

Reads well-formed files only, for the mutations that need to know where a number, a length or a
whole field stands.  It is written apart from the walk that screens models, so that a mistake in
that one does not choose what is tried on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

VARINT, BYTES = 0, 2
_WIDTH = {1: 8, 5: 4}

# Which fields are messages of which type, after onnx.proto.
_MESSAGES = {
    "Model": {7: "Graph", 8: "Leaves"},
    "Graph": {1: "Node", 5: "Leaves", 11: "ValueInfo", 12: "ValueInfo", 13: "ValueInfo"},
    "Node": {5: "Leaves"},
    "ValueInfo": {2: "Type"},
    "Type": {1: "Tensor"},
    "Tensor": {2: "Shape"},
    "Shape": {1: "Leaves"},
    "Leaves": {},
}


@dataclass(slots=True)
class Piece:
    """One field of a message.

    Attributes:
        number: the field's number.
        wire: how its value is written.
        value: of a varint.
        data: of anything else that is no known message.
        inside: the fields of a known message; None of anything else.
        at: where its key stands in the file that was read.
        value_at: where its number, or its length, stands there.
    """

    number: int
    wire: int
    value: int = 0
    data: bytes = b""
    inside: list[Piece] | None = None
    at: int = 0
    value_at: int = 0

    def written(self) -> bytes:
        """The field as bytes, with lengths that fit."""
        head = varint(self.number << 3 | self.wire)
        if self.wire == VARINT:
            return head + varint(self.value)
        if self.wire != BYTES:
            return head + self.data
        data = self.data if self.inside is None else written(self.inside)
        return head + varint(len(data)) + data


@dataclass(frozen=True, slots=True)
class Places:
    """Where a mutation finds something, over all levels.

    Attributes:
        pieces: every field.
        messages: every list of fields, the whole file first.
    """

    pieces: list[Piece] = field(default_factory=list)
    messages: list[list[Piece]] = field(default_factory=list)


def varint(value: int) -> bytes:
    """The number as protobuf writes it."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at ``at``, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def pieces_of(
    data: bytes, *, kind: str = "Model", start: int = 0, end: int | None = None
) -> list[Piece]:
    """The fields of a well-formed message."""
    found = []
    at, end = start, len(data) if end is None else end
    while at < end:
        begin = at
        key, value_at = read_varint(data, at)
        piece = Piece(key >> 3, key & 7, at=begin, value_at=value_at)
        if piece.wire == VARINT:
            piece.value, at = read_varint(data, value_at)
        elif piece.wire == BYTES:
            length, first = read_varint(data, value_at)
            at = first + length
            inner = _MESSAGES[kind].get(piece.number)
            if inner is None:
                piece.data = data[first:at]
            else:
                piece.inside = pieces_of(data, kind=inner, start=first, end=at)
        else:
            at = value_at + _WIDTH[piece.wire]
            piece.data = data[value_at:at]
        found.append(piece)
    return found


def written(pieces: Sequence[Piece]) -> bytes:
    """The message as bytes."""
    return b"".join(piece.written() for piece in pieces)


def places_of(pieces: list[Piece]) -> Places:
    """Every field and every message below, in the order of the file."""
    places = Places()
    _gather(pieces, places)
    return places


def _gather(pieces: list[Piece], places: Places) -> None:
    places.messages.append(pieces)
    for piece in pieces:
        places.pieces.append(piece)
        if piece.inside is not None:
            _gather(piece.inside, places)


def structure(pieces: Sequence[Piece], *, longest: int = 64) -> Iterator[range]:
    """The stretches of the file that are no large block of weights."""
    for piece in pieces:
        if piece.inside is not None:
            yield range(piece.at, piece.value_at + 1)
            yield from structure(piece.inside, longest=longest)
        elif len(piece.data) <= longest:
            yield range(piece.at, piece.value_at + max(1, len(piece.data)))
