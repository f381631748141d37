"""The bytes of a delta as they come out of their compression: bounded, and cut where one asks.

::

    delta := "PRD1" codec stream
    codec := "s" as it is | "x" LZMA2 without a header | "z" deflate without a header

Both decoders are Python's own, and what they may use of memory stands here and not in the file.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterable, Iterator

from primum_verifier.core.errors import RefusedError
from primum_verifier.core.limits import KIB, MIB
from primum_verifier.core.reasons import Reason

MAGIC = b"PRD1"
STORED, LZMA2, DEFLATE = b"s", b"x", b"z"

LZMA_FILTER: dict[str, int] = {
    "id": lzma.FILTER_LZMA2,
    "dict_size": 8 * MIB,
    "lc": 3,
    "lp": 0,
    "pb": 0,
}
"""What a decoder has to know; numbers of a delta do not lie at multiples of four."""

DEFLATE_BITS = -15
_PIECE = 64 * KIB
_MAX_VARINT_BYTES = 9


def number_bytes(number: int) -> bytes:
    """A number as a delta holds it: seven bits a byte, the lowest first."""
    made = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - what one byte holds
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)


def malformed(found: str, expected: str = "a whole delta") -> RefusedError:
    """The refusal of bytes that are no delta."""
    return RefusedError(
        "The delta cannot be applied.",
        reason=Reason.DELTA_MALFORMED,
        where="delta",
        found=found,
        expected=expected,
        remedy="The whole file is fetched instead; the publisher should make the delta again.",
    )


def beyond(found: str, expected: str) -> RefusedError:
    """The refusal of a delta that would use more than a device gives."""
    return RefusedError(
        "The delta asks for more than a device gives.",
        reason=Reason.DELTA_LIMIT,
        where="delta",
        found=found,
        expected=expected,
        remedy="The whole file is fetched instead; the publisher should make the delta again.",
    )


class PackedStream:
    """Reads the stream of a delta.

    Args:
        pieces: the bytes of the delta, in order, in pieces of any length.
        max_bytes: how many bytes may come out: a small file must not keep a device busy for ever.

    Raises:
        RefusedError: ``delta.malformed``: it does not begin like a delta.
    """

    def __init__(self, pieces: Iterable[bytes], *, max_bytes: int) -> None:
        source = (piece for piece in pieces if piece)
        head = b""
        while len(head) <= len(MAGIC):
            piece = next(source, None)
            if piece is None:
                raise malformed(f"{len(head)} bytes")
            head += piece
        codec = head[len(MAGIC) : len(MAGIC) + 1]
        if head[: len(MAGIC)] != MAGIC or codec not in _DECODERS:
            raise malformed(head[: len(MAGIC) + 1].hex(), "the beginning of a delta")
        self._decoded = _DECODERS[codec](_from(head[len(MAGIC) + 1 :], source))
        self._rest = memoryview(b"")
        self._left = self._most = max_bytes

    def take(self, length: int) -> bytes:
        """The next ``length`` bytes.

        Raises:
            RefusedError: ``delta.malformed``: it ends before; ``delta.limit``.
        """
        if length <= len(self._rest):
            taken, self._rest = bytes(self._rest[:length]), self._rest[length:]
            return taken
        if length > self._left + len(self._rest):
            raise beyond(f"{length} bytes more", f"{self._most} bytes out of one delta")
        made = bytearray(self._rest)
        while len(made) < length:
            piece = self._next()
            if piece is None:
                raise malformed("it ends in the middle")
            made += piece
        self._rest = memoryview(bytes(made[length:]))
        return bytes(made[:length])

    def byte(self) -> int:
        """The next byte, as a number."""
        return self.take(1)[0]

    def number(self) -> int:
        """The next number: seven bits a byte, the lowest first."""
        value = 0
        for group in range(_MAX_VARINT_BYTES):
            byte = self.byte()
            value |= (byte & 0x7F) << (7 * group)
            if byte < 0x80:  # noqa: PLR2004 - the continuation bit of a varint
                return value
        raise malformed(f"a number of more than {_MAX_VARINT_BYTES} bytes")

    def end(self) -> None:
        """See to it that nothing is left.

        Raises:
            RefusedError: ``delta.malformed``.
        """
        if self._rest or self._next() is not None:
            raise malformed("bytes after the end of the file that it makes")

    def _next(self) -> bytes | None:
        piece = next(self._decoded, None)
        if piece is not None:
            self._left -= len(piece)
            if self._left < 0:
                raise beyond("more bytes", f"{self._most} bytes out of one delta")
        return piece


def _from(first: bytes, others: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from others


def _as_it_is(source: Iterator[bytes]) -> Iterator[bytes]:
    return source


def _of_lzma(source: Iterator[bytes]) -> Iterator[bytes]:
    decoder = lzma.LZMADecompressor(format=lzma.FORMAT_RAW, filters=[LZMA_FILTER])
    try:
        while not decoder.eof:
            packed = next(source, None) if decoder.needs_input else b""
            if packed is None:
                raise malformed("it is cut")
            if made := decoder.decompress(packed, max_length=_PIECE):
                yield made
    except lzma.LZMAError as error:
        raise malformed("no LZMA2 stream") from error
    if decoder.unused_data or next(source, None) is not None:
        raise malformed("bytes after the end of its stream")


def _of_deflate(source: Iterator[bytes]) -> Iterator[bytes]:
    decoder = zlib.decompressobj(DEFLATE_BITS)
    packed: bytes | None = b""
    try:
        while not decoder.eof:
            packed = decoder.unconsumed_tail or next(source, None)
            if packed is None:
                raise malformed("it is cut")
            if made := decoder.decompress(packed, _PIECE):
                yield made
    except zlib.error as error:
        raise malformed("no deflate stream") from error
    if decoder.unused_data or next(source, None) is not None:
        raise malformed("bytes after the end of its stream")


_DECODERS = {STORED: _as_it_is, LZMA2: _of_lzma, DEFLATE: _of_deflate}
