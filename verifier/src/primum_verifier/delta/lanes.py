"""Words added lane by lane, many at once, with nothing but Python's own integers.

The difference of two versions of a weight is a small number, and its upper bytes are nearly all
zero.  A delta therefore carries differences as byte planes: first the lowest bytes of all words,
then the next ones.  A sign is folded into the lowest bit (zigzag), so that small negative numbers
have upper bytes of zero as well.  One addition over a long integer adds a whole stretch of words;
carries are kept from crossing into the next word ("SIMD within a register", H. S. Warren,
Hacker's Delight, 2-18).
"""

from __future__ import annotations

from functools import lru_cache

WIDTHS = (1, 2, 4, 8)
"""Bytes of one word: quantised, half, single and double precision."""

_STRETCH = 64 * 1024
"""Bytes added at a time: integers of this length stay in a processor's cache."""


def added(base: bytes, planes: bytes, *, width: int) -> bytearray:
    """The words of ``base`` plus the differences in ``planes``.

    Args:
        base: little-endian words; its length is a multiple of ``width``.
        planes: as many differences, by byte planes, zigzag.
        width: bytes of a word, one of :data:`WIDTHS`.
    """
    words = len(base) // width
    made = bytearray(len(base))
    step = _STRETCH // width
    for start in range(0, words, step):
        stop = min(start + step, words)
        stretch = bytearray((stop - start) * width)
        for plane in range(width):
            begin = plane * words
            stretch[plane::width] = planes[begin + start : begin + stop]
        at = slice(start * width, stop * width)
        made[at] = _sum(base[at], bytes(stretch), width)
    return made


def _sum(base: bytes, folded: bytes, width: int) -> bytes:
    low, high, one = _masks(len(base), width)
    zigzag = int.from_bytes(folded, "little")
    sign = zigzag & one
    # Every lane is all ones where its sign is set: no lane reaches into the next.
    difference = ((zigzag ^ sign) >> 1) ^ ((sign << (8 * width)) - sign)
    words = int.from_bytes(base, "little")
    total = ((words & low) + (difference & low)) ^ ((words ^ difference) & high)
    return total.to_bytes(len(base), "little")


@lru_cache(maxsize=8)
def _masks(length: int, width: int) -> tuple[int, int, int]:
    """All bits of a word but its highest, its highest, its lowest; over ``length`` bytes."""
    words = length // width
    high = int.from_bytes((b"\0" * (width - 1) + b"\x80") * words, "little")
    one = int.from_bytes((b"\1" + b"\0" * (width - 1)) * words, "little")
    return ((1 << (8 * length)) - 1) ^ high, high, one
