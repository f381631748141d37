"""A device's history: whole, in order and its own, or the gap by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

from primum_verifier.core.document import canonical_json, sha256_hex
from primum_verifier.core.envelope import HEAD_PAYLOAD_TYPE, public_key_of
from primum_verifier.core.errors import RefusedError
from primum_verifier.record.chain import FIRST_PREVIOUS, HistoryReport, check_history

DEVICE = CryptoSigner.generate_ed25519()
KEY = public_key_of(DEVICE.public_key)


def events(count: int) -> list[bytes]:
    made, previous = [], FIRST_PREVIOUS
    for number in range(1, count + 1):
        line = canonical_json(
            {"sequence": f"{number:020}", "data": {"prevEventHash": previous, "n": number}}
        ).strip()
        made.append(line)
        previous = sha256_hex(line)
    return made


def head(line: bytes, sequence: int, signer: CryptoSigner = DEVICE) -> bytes:
    payload = canonical_json(
        {
            "type": "urn:primum:chain-head:v0.1",
            "deviceId": "wearable-001",
            "sequence": sequence,
            "eventHash": sha256_hex(line),
            "signedAt": "2026-06-01T12:00:00Z",
        }
    )
    made = Envelope(payload, HEAD_PAYLOAD_TYPE, {})
    signature = signer.sign(made.pae())
    signature.keyid = KEY.key_id
    made.signatures[KEY.key_id] = signature
    return canonical_json(made.to_dict()).strip()


def check(*lines: bytes) -> HistoryReport:
    return check_history(lines, device_key=KEY)


def test_a_whole_history_is_proven_to_its_end() -> None:
    made = events(5)
    report = check(*made, head(made[4], 5))
    assert report.whole
    assert (report.first, report.last, report.proven_to) == (1, 5, 5)


def test_without_a_signed_head_nothing_is_proven() -> None:
    assert not check(*events(5)).whole


def test_the_order_of_arrival_and_duplicates_are_harmless() -> None:
    made = events(4)
    report = check(head(made[3], 4), made[3], made[1], made[0], made[2], made[1])
    assert report.whole
    assert report.duplicates == 1


def test_a_missing_event_is_a_gap_by_number() -> None:
    made = events(5)
    report = check(made[0], made[1], made[3], made[4], head(made[4], 5))
    assert not report.whole
    assert (report.gaps[0].after, report.gaps[0].before) == (2, 4)


@given(place=st.integers(0, 4), position=st.integers(0, 200), flip=st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(place: int, position: int, flip: int) -> None:
    made = events(5)
    signed = head(made[4], 5)
    changed = bytearray(made[place])
    changed[position % len(changed)] ^= flip
    made[place] = bytes(changed)
    try:
        report = check(*made, signed)
    except RefusedError:
        return
    assert not report.whole


def test_events_invented_after_the_head_are_not_proven() -> None:
    made = events(6)
    report = check(*made, head(made[4], 5))
    assert not report.whole
    assert report.proven_to == 5


def test_a_head_of_events_that_were_cut_off_is_a_gap() -> None:
    made = events(10)
    report = check(*made[:5], head(made[4], 5), head(made[9], 10))
    assert not report.whole
    assert (report.gaps[0].after, report.gaps[0].before) == (5, 10)


def test_a_head_signed_by_another_key_is_refused() -> None:
    made = events(2)
    with pytest.raises(RefusedError):
        check(*made, head(made[1], 2, CryptoSigner.generate_ed25519()))


def test_two_events_with_one_number_are_a_gap() -> None:
    made, other = events(3), events(3)
    twin = other[1].replace(b'"n":2', b'"n":9')
    report = check(*made, twin, head(made[2], 3))
    assert [gap.why for gap in report.gaps] == ["two different events with one number"]


def test_a_number_in_another_alphabet_is_no_number() -> None:
    line = events(1)[0].replace(b"0001", "000\u0661".encode())
    with pytest.raises(RefusedError):
        check(line)


@given(data=st.binary())
def test_any_line_is_read_or_refused(data: bytes) -> None:
    try:
        report = check(data)
    except RefusedError:
        return
    assert not report.whole


@pytest.mark.parametrize("number", ["0", "-1", "1e3", "", "1" * 21, "\u0661", "a"])
def test_a_line_without_a_place_in_the_chain_is_no_event(number: str) -> None:
    """Attack: an event before the first, or whose number two readers read differently."""
    line = canonical_json({"sequence": number, "data": {"prevEventHash": FIRST_PREVIOUS}}).strip()
    with pytest.raises(RefusedError) as caught:
        check(line)
    assert "neither an event nor a signed head" in caught.value.message


def test_a_head_over_another_event_with_that_number_proves_nothing() -> None:
    """Attack: an event is exchanged after the device signed the head over the one that it wrote."""
    made = events(3)
    report = check(*made, head(b"what the device wrote", 3))
    assert [gap.why for gap in report.gaps] == ["a signed head names another event"]
    assert (report.heads, report.proven_to, report.whole) == (0, 0, False)
