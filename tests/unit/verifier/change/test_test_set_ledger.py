"""The ledger of a test set: what was written once cannot be taken out, moved or made up."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner, SSlibKey

from primum_verifier.change.test_set_ledger import (
    ENTRY_PAYLOAD_TYPE,
    Ledger,
    LedgerEntry,
    read_ledger,
)
from primum_verifier.core.document import canonical_json, sha256_hex
from primum_verifier.core.envelope import public_key_of
from primum_verifier.core.errors import PrimumError, RefusedError
from primum_verifier.core.reasons import Reason

PROTOCOL, CANDIDATE = {"sha256": "a" * 64}, {"sha256": "b" * 64}


class Keeper:
    """Somebody with a key."""

    def __init__(self) -> None:
        private = Ed25519PrivateKey.generate()
        self.public = public_key_of(SSlibKey.from_crypto(private.public_key()))
        self.signer = CryptoSigner(private, self.public.for_verifying())

    def signed(self, content: dict[str, Any]) -> bytes:
        envelope = Envelope(canonical_json(content), ENTRY_PAYLOAD_TYPE, {})
        envelope.sign(self.signer)
        return canonical_json(envelope.to_dict())


KEEPER, STRANGER = Keeper(), Keeper()
LOCKED = {
    "id": "locked-5",
    "cases": {"sha256": "c" * 64},
    "patients": 5,
    "rows": 100,
    "usesAllowed": 3,
    "custodians": [KEEPER.public.model_dump(mode="json", by_alias=True)],
}
USED = {"protocol": PROTOCOL, "candidate": CANDIDATE, "useNumber": 1}
FACTS: list[dict[str, Any]] = [
    {"locked": LOCKED},
    {"frozen": {"protocol": PROTOCOL, "protocolId": "p-1"}},
    {"used": USED},
    {"reported": {"useNumber": 1, "report": {"sha256": "d" * 64}, "overall": "not-met"}},
    {"used": {**USED, "useNumber": 2, "repeats": 1, "repeatReason": "a disk was full"}},
]


def written(
    facts: list[dict[str, Any]],
    *,
    by: Keeper = KEEPER,
    changes: dict[int, dict[str, Any]] | None = None,
) -> list[bytes]:
    """The lines of a ledger; ``changes`` are of members, by the number of the entry."""
    lines: list[bytes] = []
    for number, fact in enumerate(facts, start=1):
        entry = {
            "type": "urn:primum:test-set-entry:v0.1",
            "schemaVersion": "0.1",
            "number": number,
            "previous": sha256_hex(lines[-1].rstrip(b"\n")) if lines else None,
            "at": f"2026-03-0{number}T12:00:00Z",
            "by": "q.lee",
            **fact,
            **(changes or {}).get(number, {}),
        }
        signer = KEEPER if number == 1 else by
        lines.append(signer.signed({k: v for k, v in entry.items() if v is not None}))
    return lines


def read(lines: list[bytes]) -> Ledger:
    return read_ledger(b"".join(lines), where="ledger.jsonl")


def refused(lines: list[bytes], reason: Reason = Reason.VALIDATION_LEDGER) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        read(lines)
    assert caught.value.reason == reason
    return caught.value


def test_a_whole_ledger_counts_its_uses() -> None:
    lines = written(FACTS)
    ledger = read(lines)
    assert ledger.locked.id == "locked-5"
    assert [use.use_number for use in ledger.uses] == [1, 2]
    assert ledger.origin == sha256_hex(lines[0].rstrip(b"\n"))
    assert ledger.head == sha256_hex(lines[-1].rstrip(b"\n"))
    frozen = ledger.frozen("a" * 64)
    assert frozen is not None
    assert frozen.number == 2
    assert ledger.frozen("e" * 64) is None
    assert ledger.repeats("a" * 64, "b" * 64) == 2
    assert ledger.repeats("a" * 64, "e" * 64) == 0


@pytest.mark.parametrize("left_out", [0, 1, 2, 3])
def test_no_entry_can_be_taken_out_of_the_middle(left_out: int) -> None:
    lines = written(FACTS)
    del lines[left_out]
    # Without its first entry nobody is a custodian.
    assert refused(lines).where.startswith("ledger.jsonl: entry")


def test_entries_cannot_change_places() -> None:
    lines = written(FACTS)
    lines[1], lines[2] = lines[2], lines[1]
    assert "number 3" in refused(lines).found


def test_a_changed_entry_breaks_the_chain_although_its_custodian_signs_it_again() -> None:
    """A use that becomes another candidate's is signed anew, and the next entry still knows."""
    lines = written(FACTS)
    other = written(FACTS[:3], changes={3: {"used": {**USED, "candidate": {"sha256": "e" * 64}}}})
    assert refused([*lines[:2], other[2], *lines[3:]]).where.endswith("entry 4")


def test_a_stranger_signs_nothing() -> None:
    lines = written(FACTS, by=STRANGER)
    assert refused(lines).found == "signed by no custodian"
    first = STRANGER.signed(
        {
            "type": "urn:primum:test-set-entry:v0.1", "schemaVersion": "0.1", "number": 1,
            "at": "2026-03-01T12:00:00Z", "by": "x", "locked": LOCKED,
        }
    )  # fmt: skip
    assert refused([first]).found == "signed by no custodian"


@pytest.mark.parametrize(
    ("number", "change", "found"),
    [
        (4, {"at": "2026-03-02T11:00:00Z"}, "2026-03-02T11:00:00Z"),
        (5, {"used": {**USED, "useNumber": 1}}, "use 1"),
        (5, {"used": {**USED, "useNumber": 3}}, "use 3"),
        (4, {"reported": {**FACTS[3]["reported"], "useNumber": 2}}, "a report on use 2"),
        (3, {"previous": "f" * 64}, "number 3 after ffff"),
        (3, {"number": 4}, "number 4 after"),
    ],
)
def test_an_entry_that_cannot_be_is_refused(
    number: int, change: dict[str, Any], found: str
) -> None:
    lines = written(FACTS, changes={number: change})
    error = refused(lines)
    assert error.found.startswith(found)
    assert error.where.endswith(f"entry {number}")


@pytest.mark.parametrize(
    ("number", "change"),
    [
        (2, {"frozen": None}),
        (2, {"used": USED}),
        (2, {"frozen": None, "locked": LOCKED}),
        (1, {"locked": None, "used": USED}),
        (1, {"locked": {**LOCKED, "custodians": []}}),
        (3, {"crit": ["somethingNew"]}),
    ],
)
def test_an_entry_says_one_thing_and_the_first_says_what_is_locked(
    number: int, change: dict[str, Any]
) -> None:
    with pytest.raises(RefusedError):
        read(written(FACTS, changes={number: change}))


def test_an_empty_ledger_is_none() -> None:
    assert refused([]).found == "no entry"


def test_a_ledger_made_of_no_first_entry_is_a_fault_of_ours() -> None:
    """Nothing that was read can be like that."""
    second = LedgerEntry.model_validate_json(
        canonical_json(
            {
                "type": "urn:primum:test-set-entry:v0.1", "schemaVersion": "0.1", "number": 2,
                "at": "2026-03-01T12:00:00Z", "by": "x", "used": USED,
            }
        )
    )  # fmt: skip
    with pytest.raises(RuntimeError, match="first entry"):
        _ = Ledger((second,), ("0" * 64,)).locked


@given(st.binary(max_size=300))
def test_any_bytes_as_a_ledger_are_refused_clearly(data: bytes) -> None:
    with pytest.raises(PrimumError):
        read_ledger(data, where="any")


@given(st.integers(0, 4000), st.integers(1, 255))
def test_no_byte_of_a_ledger_can_be_changed(place: int, change: int) -> None:
    data = bytearray(b"".join(written(FACTS[:3])))
    data[place % len(data)] ^= change
    if bytes(data).split() == b"".join(written(FACTS[:3])).split():
        return  # only the space between lines
    with pytest.raises(PrimumError):
        read_ledger(bytes(data), where="any")
