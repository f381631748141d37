"""Walks protobuf bytes without trusting them: every length is checked, every step is counted.

The walk knows the wire format alone (protocol buffers, "Encoding"), never the meaning of a field.
It copies nothing but what a caller asks for, so a memory-mapped file of any size costs only its
structure.  Whoever walks decides what a field means and refuses what it does not like.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

VARINT = 0
FIXED64 = 1
BYTES = 2
FIXED32 = 5

_MAX_VARINT_BYTES = 10
"""A 64-bit number needs at most ten groups of seven bits; more is an overrun."""

_MAX_FIELD_NUMBER = 2**29 - 1


class MalformedError(Exception):
    """The bytes are no protobuf message, or cost more steps than allowed; the caller translates."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field as it stands in the bytes.

    Attributes:
        number: the field's number.
        wire: one of :data:`VARINT`, :data:`FIXED64`, :data:`BYTES`, :data:`FIXED32`.
        start: where the value begins (bytes from the start of the buffer).
        end: one past its last byte.
        value: the unsigned number of a varint, else 0.
    """

    number: int
    wire: int
    start: int
    end: int
    value: int


class Walk:
    """A bounded walk over one buffer.

    Args:
        data: the bytes, or a map of them; it must not change while the walk goes on.
        max_fields: how many fields may be visited in all.  It bounds the time that a file made
            of a million tiny fields can take.
    """

    def __init__(self, data: memoryview, *, max_fields: int) -> None:
        self._data = data
        self._left = max_fields

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """The fields of the message between ``start`` and ``end``, in the order of the bytes.

        Raises:
            MalformedError: a length, a key or a varint does not fit, or the steps are used up.
        """
        at = start
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise MalformedError("more fields than a model of this size can need")
            key, at = self._varint(at, end)
            number, wire = key >> 3, key & 7
            if not 1 <= number <= _MAX_FIELD_NUMBER:
                raise MalformedError(f"field number {number} at byte {at}")
            value = 0
            if wire == VARINT:
                begin = at
                value, stop = self._varint(at, end)
            elif wire == BYTES:
                length, begin = self._varint(at, end)
                stop = begin + length
            elif wire in (FIXED64, FIXED32):
                begin, stop = at, at + (8 if wire == FIXED64 else 4)
            else:
                raise MalformedError(f"wire type {wire} at byte {at}")
            if stop > end:
                raise MalformedError(f"field {number} reaches past its message at byte {at}")
            yield Field(number, wire, begin, stop, value)
            at = stop

    def text(self, field: Field, *, max_bytes: int) -> str:
        """The string that ``field`` holds, at most ``max_bytes`` long."""
        if field.wire != BYTES:
            raise MalformedError(f"field {field.number} is no string")
        if field.end - field.start > max_bytes:
            raise MalformedError(f"a string of {field.end - field.start} bytes")
        try:
            return bytes(self._data[field.start : field.end]).decode("utf-8", "strict")
        except UnicodeDecodeError as error:
            raise MalformedError(f"a string that is no UTF-8 at byte {field.start}") from error

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = 0
        for group in range(_MAX_VARINT_BYTES):
            if at >= end:
                raise MalformedError(f"a number cut short at byte {at}")
            byte = self._data[at]
            at += 1
            value |= (byte & 0x7F) << (7 * group)
            if byte < 0x80:  # noqa: PLR2004 - the continuation bit of a varint
                return value & 0xFFFF_FFFF_FFFF_FFFF, at
        raise MalformedError(f"a number of more than {_MAX_VARINT_BYTES} bytes at byte {at}")
