"""Applying a delta: what it makes, and that no bytes of a stranger make a device do more."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.delta import applying
from primum_verifier.delta.applying import apply_delta
from primum_verifier.delta.lanes import WIDTHS, added
from primum_verifier.delta.packed_stream import (
    DEFLATE,
    DEFLATE_BITS,
    LZMA2,
    LZMA_FILTER,
    MAGIC,
    STORED,
    number_bytes,
)

OLD = bytes(range(256)) * 4


def numbers(*values: int) -> bytes:
    return b"".join(map(number_bytes, values))


def zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def edit(
    length: int,
    *,
    runs: Iterable[tuple[int, int, int]] = (),
    changes: Iterable[tuple[int, int]] = (),
    values: bytes = b"",
    fresh: bytes = b"",
) -> bytes:
    """An edit; a run is (gap, length, place moved by), a change (equal, changed)."""
    runs, changes = list(runs), list(changes)
    sections = [
        numbers(*(run[0] for run in runs)),
        numbers(*(run[1] for run in runs)),
        numbers(*(zigzag(run[2]) for run in runs)),
        numbers(*(change[0] for change in changes)),
        numbers(*(change[1] for change in changes)),
        values,
        fresh,
    ]
    return sectioned(length, sections)


def sectioned(length: int, sections: Iterable[bytes]) -> bytes:
    head = numbers(applying.EDIT, length)
    return head + b"".join(numbers(len(part)) + part for part in sections)


def planes(width: int, place: int, folded: bytes) -> bytes:
    return numbers(applying.PLANES, width, len(folded), place) + folded


def delta(*steps: bytes, codec: bytes = STORED) -> bytes:
    return MAGIC + codec + packed(b"".join(steps), codec)


def packed(stream: bytes, codec: bytes) -> bytes:
    if codec == LZMA2:
        return lzma.compress(stream, format=lzma.FORMAT_RAW, filters=[LZMA_FILTER])
    if codec == DEFLATE:
        packer = zlib.compressobj(9, zlib.DEFLATED, DEFLATE_BITS)
        return packer.compress(stream) + packer.flush()
    return stream


def applied(data: bytes | list[bytes], length: int, *, old: bytes = OLD) -> bytes:
    pieces = data if isinstance(data, list) else [data]
    made = apply_delta(
        pieces,
        base=lambda place, count: old[place : place + count],
        base_length=len(old),
        length=length,
    )
    return b"".join(made)


def refused(data: bytes | list[bytes], length: int = 8, *, old: bytes = OLD) -> tuple[Reason, str]:
    with pytest.raises(RefusedError) as caught:
        applied(data, length, old=old)
    return caught.value.reason, caught.value.found


@pytest.mark.parametrize("codec", [STORED, LZMA2, DEFLATE])
def test_an_edit_copies_inserts_and_changes(codec: bytes) -> None:
    step = edit(
        12,
        runs=[(2, 4, 10), (1, 5, -16)],
        changes=[(3, 2), (0, 1), (5, 1)],
        values=b"\x01\xff\x10\x02",
        fresh=b"ABC",
    )
    expected = bytearray(b"AB" + OLD[12:16] + b"C" + OLD[1:6])
    for place, value in ((3, 1), (4, 255), (5, 16), (11, 2)):
        expected[place] = (expected[place] + value) % 256
    data = delta(step, codec=codec)
    assert applied(data, 12) == expected
    # However the bytes arrive, also one by one and with empty pieces between.
    assert applied([piece for at in data for piece in (bytes([at]), b"")], 12) == expected


@pytest.mark.parametrize("width", WIDTHS)
def test_planes_add_to_words_and_wrap_around(width: int) -> None:
    old = bytes(range(250, 256)) * 8
    most = 256**width
    differences = [0, 1, -1, 127, -128, most // 2 - 1] * (len(old) // width // 6)
    words = [zigzag(value).to_bytes(width, "little") for value in differences]
    folded = b"".join(bytes(word[plane] for word in words) for plane in range(width))
    length = len(folded)
    expected = b"".join(
        ((int.from_bytes(old[at : at + width], "little") + value) % most).to_bytes(width, "little")
        for at, value in zip(range(0, length, width), differences, strict=True)
    )
    assert applied(delta(planes(width, 0, folded)), length, old=old) == expected


@given(
    width=st.sampled_from(WIDTHS),
    words=st.lists(st.tuples(st.binary(min_size=8, max_size=8), st.integers()), max_size=40),
)
def test_lanes_add_as_single_words_do(width: int, words: list[tuple[bytes, int]]) -> None:
    most = 256**width
    base = b"".join(word[:width] for word, _ in words)
    signed = [(value % most) - (most // 2) for _, value in words]
    folded = [zigzag(value).to_bytes(width, "little") for value in signed]
    columns = b"".join(bytes(word[plane] for word in folded) for plane in range(width))
    expected = b"".join(
        ((int.from_bytes(word[:width], "little") + value) % most).to_bytes(width, "little")
        for (word, _), value in zip(words, signed, strict=True)
    )
    assert added(base, columns, width=width) == expected


def test_lanes_reach_over_their_stretches() -> None:
    base = b"\xff\xff\xff\xff" * 50_000
    columns = (b"\x02" * 50_000) + b"\0" * 150_000
    assert added(base, columns, width=4) == b"\0" * 200_000


@given(data=st.data())
def test_an_edit_does_what_it_says(data: st.DataObject) -> None:
    old = data.draw(st.binary(min_size=1, max_size=300))
    expected, fresh, runs, place = bytearray(), b"", [], 0
    for _ in range(data.draw(st.integers(0, 6))):
        own = data.draw(st.binary(max_size=20))
        at = data.draw(st.integers(0, len(old) - 1))
        count = data.draw(st.integers(1, len(old) - at))
        runs.append((len(own), count, at - place - len(own)))
        expected += own + old[at : at + count]
        fresh += own
        place = at + count
    tail = data.draw(st.binary(min_size=0 if expected else 1, max_size=20))
    expected += tail
    changes, values, at = [], b"", 0
    for _ in range(data.draw(st.integers(0, 6))):
        same = data.draw(st.integers(0, len(expected) - at))
        count = data.draw(st.integers(0, len(expected) - at - same))
        changes.append((same, count))
        at += same
        for place in range(at, at + count):
            value = data.draw(st.integers(0, 255))
            expected[place] = (expected[place] + value) % 256
            values += bytes([value])
        at += count
    step = edit(len(expected), runs=runs, changes=changes, values=values, fresh=fresh + tail)
    assert applied(delta(step), len(expected), old=old) == expected


def test_a_change_goes_on_from_one_piece_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying, "_PIECE", 16)
    old = bytes(100)
    step = edit(100, runs=[(0, 100, 0)], changes=[(10, 70)], values=bytes(range(70)))
    expected = bytes(10) + bytes(range(70)) + bytes(20)
    assert applied(delta(step), 100, old=old) == expected
    fresh = edit(40, changes=[(16, 16)], values=b"\1" * 16, fresh=bytes(40))
    assert applied(delta(fresh), 40) == bytes(16) + b"\1" * 16 + bytes(8)


WHOLE = edit(8, runs=[(0, 8, 0)])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PRD",
        b"PRD1",
        b"PRD2s" + WHOLE,
        b"PRD1q" + WHOLE,
        delta(),
        delta(WHOLE)[:-1],
        delta(WHOLE) + b"\0",
        delta(WHOLE, codec=LZMA2)[:-1],
        delta(WHOLE, codec=LZMA2) + b"\0",
        delta(WHOLE, b"more", codec=LZMA2),
        delta(WHOLE, codec=DEFLATE)[:-1],
        delta(WHOLE, codec=DEFLATE) + b"\0",
        MAGIC + LZMA2 + b"\xff" * 20,
        MAGIC + DEFLATE + b"\xff" * 20,
        delta(b"\x07"),
        delta(b"\x01" + b"\xff" * 9),
        delta(edit(9, runs=[(0, 9, 0)])),
        delta(edit(0)),
        delta(edit(8, runs=[(0, 9, 0)])),
        delta(edit(8, runs=[(1, 7, 0)])),
        delta(edit(8, fresh=b"short")),
        delta(edit(8, fresh=b"too long for it")),
        delta(edit(8, runs=[(0, 8, 0)], changes=[(0, 2)], values=b"\1")),
        delta(edit(8, runs=[(0, 8, 0)], changes=[(0, 2)], values=b"\1\2\3")),
        delta(edit(8, runs=[(0, 8, 0)], changes=[(7, 2)], values=b"\1\2")),
        delta(edit(8, runs=[(0, 8, 0)], changes=[(9, 0)])),
        delta(sectioned(8, [b"\0", b"", b"\0", b"", b"", b"", b"x" * 8])),
        delta(sectioned(8, [b"\0", b"\1", b"", b"", b"", b"", b"x" * 7])),
        delta(sectioned(8, [b"", b"\1", b"\0", b"", b"", b"", b"x" * 8])),
        delta(sectioned(8, [b"", b"", b"", b"\0", b"", b"", b"x" * 8])),
        delta(sectioned(8, [b"", b"", b"", b"", b"\1", b"", b"x" * 8])),
        delta(sectioned(8, [b"\x80", b"", b"", b"", b"", b"", b"x" * 8])),
        delta(sectioned(8, [b"\xff" * 9 + b"\1", b"", b"", b"", b"", b"", b"x" * 8])),
        delta(planes(3, 0, bytes(6))),
        delta(planes(4, 0, bytes(6))),
        delta(planes(1, 0, bytes(9))),
    ],
)
def test_what_is_no_delta_is_refused(data: bytes) -> None:
    assert refused(data)[0] is Reason.DELTA_MALFORMED


@pytest.mark.parametrize(
    "data",
    [
        delta(edit(8, runs=[(0, 8, -1)])),
        delta(edit(8, runs=[(0, 8, len(OLD) - 7)])),
        delta(edit(8, runs=[(0, 4, 0), (0, 4, 2**60)])),
        delta(planes(1, len(OLD) - 7, bytes(8))),
    ],
)
def test_bytes_that_the_old_file_does_not_have_are_refused(data: bytes) -> None:
    assert refused(data)[0] is Reason.DELTA_BASE


@pytest.mark.parametrize("codec", [STORED, LZMA2, DEFLATE])
def test_a_bomb_is_refused_before_it_bursts(codec: bytes) -> None:
    bomb = packed(numbers(applying.EDIT, 8, 2**21) + bytes(64 * 1024 * 1024), codec)
    assert refused(MAGIC + codec + bomb)[0] is Reason.DELTA_LIMIT


def test_an_edit_that_does_not_fit_into_memory_is_refused() -> None:
    length = 16 * applying.MAX_EDIT_BYTES
    data = delta(numbers(applying.EDIT, length, applying.MAX_EDIT_BYTES + 1))
    assert refused(data, length)[0] is Reason.DELTA_LIMIT


def test_planes_that_do_not_fit_into_memory_are_refused() -> None:
    length = 2 * applying.MAX_PLANES_BYTES
    data = delta(numbers(applying.PLANES, 1, applying.MAX_PLANES_BYTES + 1, 0))
    assert refused(data, length)[0] is Reason.DELTA_LIMIT


def test_a_delta_of_endless_small_steps_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying, "MAX_STEPS", 4)
    step = edit(1, fresh=b"x")
    assert applied(delta(*[step] * 3), 3) == b"xxx"
    reason, found = refused(delta(*[step] * 5), 5)
    assert (reason, found) == (Reason.DELTA_LIMIT, "more than 4 steps")


def test_no_byte_beyond_the_signed_length_is_ever_handed_out() -> None:
    """A disk must not fill up before the refusal."""
    old = bytes(100_000)
    made = apply_delta(
        [delta(edit(len(old), runs=[(0, len(old), 0)]))],
        base=lambda place, count: old[place : place + count],
        base_length=len(old),
        length=1_000,
    )
    with pytest.raises(RefusedError):
        next(made)


def test_bytes_that_nobody_asked_for_count_as_well() -> None:
    """What comes out of the compression is bounded, not only what a step takes of it."""
    bomb = packed(WHOLE + bytes(64 * 1024 * 1024), DEFLATE)
    reason, _ = refused(MAGIC + DEFLATE + bomb)
    assert reason in {Reason.DELTA_LIMIT, Reason.DELTA_MALFORMED}


@given(
    data=st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=200).map(lambda stream: MAGIC + STORED + stream),
        st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)).map(
            lambda flip: delta(WHOLE[: flip[0]] + bytes([flip[1]]) + WHOLE[flip[0] + 1 :])
        ),
    )
)
def test_no_bytes_make_anything_but_a_file_of_the_signed_length(data: bytes) -> None:
    try:
        made = applied(data, 8)
    except RefusedError as error:
        code = str(error.reason)
    else:
        code = f"delta.{len(made)}"
    assert code in {"delta.8", "delta.malformed", "delta.base", "delta.limit"}
