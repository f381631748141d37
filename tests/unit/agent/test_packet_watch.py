"""What a broker sends is followed packet by packet, however the bytes come."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primum_agent.packet_watch import MAX_PACKET_BYTES, MAX_UNASKED, UNASKED_SECONDS, PacketWatch

PUBACK = bytes.fromhex("40020001")
PINGRESP = bytes.fromhex("d000")


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The same bytes, in pieces."""
    ends = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[begin:end] for begin, end in pairwise(ends)]


@given(
    bodies=st.lists(st.binary(max_size=300), max_size=MAX_UNASKED),
    cuts=st.lists(st.integers(0, 20_000), max_size=30),
)
def test_what_fits_is_followed_in_whatever_pieces(bodies: list[bytes], cuts: list[int]) -> None:
    watch = PacketWatch(lambda: 0.0)
    data = b""
    for body in bodies:
        length = len(body)
        digits = bytes([length]) if length < 128 else bytes([length & 127 | 128, length >> 7])
        data += b"\x30" + digits + body
    for piece in pieces(data, cuts):
        watch.saw(piece)
    assert watch.why == ""


@given(data=st.binary(max_size=2000), cuts=st.lists(st.integers(0, 2000), max_size=10))
def test_any_bytes_are_followed_or_refused_alike(data: bytes, cuts: list[int]) -> None:
    outcomes = []
    for parts in ([data], pieces(data, cuts)):
        watch = PacketWatch(lambda: 0.0)
        with suppress(OSError):
            for part in parts:
                watch.saw(part)
        outcomes.append(watch.why)
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        pytest.param("34020001", "not for a device (0x34)", id="quality 2"),
        pytest.param("36020001", "not for a device (0x36)", id="quality 3"),
        pytest.param("62020001", "not for a device (0x62)", id="PUBREL"),
        pytest.param("0000", "not for a device (0x00)", id="none"),
        pytest.param("f000", "not for a device (0xf0)", id="AUTH"),
        pytest.param("30ffffffff7f", "is no number", id="five digits"),
        pytest.param("30818001", f"a packet of {1 + (1 << 14)} bytes", id="one byte too long"),
    ],
)
def test_what_no_broker_sends_a_device_is_refused(data: str, why: str) -> None:
    watch = PacketWatch()
    with pytest.raises(OSError, match="packet") as caught:
        watch.saw(bytes.fromhex(data))
    assert why in str(caught.value)
    assert why in watch.why


def test_a_packet_at_the_bound_is_taken() -> None:
    watch = PacketWatch()
    watch.asked_for(MAX_PACKET_BYTES)
    watch.saw(bytes.fromhex("30808001"))
    with pytest.raises(OSError, match="above the bound"):
        watch.asked_for(MAX_PACKET_BYTES + 1)


def test_answers_to_what_was_sent_are_no_flood_and_others_are() -> None:
    watch = PacketWatch(lambda: 0.0)
    for _ in range(1000):
        watch.owes()
        watch.saw(PUBACK)
    for _ in range(MAX_UNASKED):
        watch.saw(PUBACK)
    with pytest.raises(OSError, match="answer nothing"):
        watch.saw(PUBACK)


def test_a_few_a_minute_go_on_for_ever() -> None:
    times = iter(float(place) * UNASKED_SECONDS / MAX_UNASKED for place in range(10_000))
    watch = PacketWatch(lambda: next(times))
    for _ in range(9_000):
        watch.saw(PINGRESP)
    assert watch.why == ""
