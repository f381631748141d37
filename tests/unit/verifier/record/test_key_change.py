"""A change of a device's key: believed only from the key before it, step by step."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

from primum_verifier.core.document import canonical_json, sha256_hex
from primum_verifier.core.envelope import HEAD_PAYLOAD_TYPE, PublicKey, public_key_of
from primum_verifier.core.errors import RefusedError
from primum_verifier.record.chain import FIRST_PREVIOUS, HistoryReport, check_history
from primum_verifier.record.checkpoint import CHECKPOINT_PAYLOAD_TYPE

# An Ed25519 key in a file, one on a token (P-256), another file, and a thief's.
SIGNERS = [
    CryptoSigner.generate_ed25519(),
    CryptoSigner.generate_ecdsa(),
    CryptoSigner.generate_ed25519(),
    CryptoSigner.generate_ed25519(),
]
KEYS = [public_key_of(signer.public_key) for signer in SIGNERS]
FIRST, SECOND, THIRD, THIEF = range(4)
SIGNED_AT = "2026-06-01T12:00:00Z"


def changing(former: int, key: int) -> dict[str, Any]:
    """What the event of a change says."""
    return {
        "type": "primum.device.key.changed",
        "change": {
            "formerKey": KEYS[former].model_dump(mode="json", by_alias=True),
            "deviceKey": KEYS[key].model_dump(mode="json", by_alias=True),
        },
    }


def events(count: int, changes: dict[int, dict[str, Any]]) -> list[bytes]:
    """Events from 1 on, some of which change the key."""
    made, previous = [], FIRST_PREVIOUS
    for number in range(1, count + 1):
        said = changes.get(number, {"type": "primum.device.agent.started", "change": {}})
        data = {"prevEventHash": previous, "change": said["change"]}
        content = {"sequence": f"{number:020}", "type": said["type"], "data": data}
        made.append(canonical_json(content).strip())
        previous = sha256_hex(made[-1])
    return made


def signed(content: dict[str, Any], kind: str, by: int) -> bytes:
    made = Envelope(canonical_json(content), kind, {})
    signature = SIGNERS[by].sign(made.pae())
    signature.keyid = KEYS[by].key_id
    made.signatures[signature.keyid] = signature
    return canonical_json(made.to_dict()).strip()


def head(made: list[bytes], sequence: int, *, by: int, **more: Any) -> bytes:
    content = {
        "type": "urn:primum:chain-head:v0.1",
        "deviceId": "wearable-001",
        "sequence": sequence,
        "eventHash": sha256_hex(made[sequence - 1]),
        "signedAt": SIGNED_AT,
    }
    return signed(content | more, HEAD_PAYLOAD_TYPE, by)


def checkpoint(made: list[bytes], sequence: int, *, by: int, **more: Any) -> bytes:
    content = {
        "type": "urn:primum:chain-checkpoint:v0.1",
        "deviceId": "wearable-001",
        "firstSequence": 1,
        "sequence": sequence,
        "eventHash": sha256_hex(made[sequence - 1]),
        "state": "{}",
        "agentVersion": "0.1.0",
        "signedAt": SIGNED_AT,
    }
    return signed(content | more, CHECKPOINT_PAYLOAD_TYPE, by)


TWICE = events(9, {3: changing(FIRST, SECOND), 6: changing(SECOND, THIRD)})
HEADS = [
    head(TWICE, 2, by=FIRST),
    head(TWICE, 3, by=FIRST),
    head(TWICE, 5, by=SECOND),
    head(TWICE, 6, by=SECOND),
    head(TWICE, 9, by=THIRD),
]


def check(*lines: bytes, known: int = FIRST) -> HistoryReport:
    return check_history(lines, device_key=KEYS[known])


def refused(*lines: bytes, known: int = FIRST) -> str:
    with pytest.raises(RefusedError) as found:
        check(*lines, known=known)
    assert found.value.reason in {"trust.signature", "document.invalid"}
    return found.value.found


@pytest.mark.parametrize("known", [FIRST, SECOND, THIRD])
def test_a_history_over_two_changes_is_whole_from_each_of_its_keys(known: int) -> None:
    report = check(*TWICE, *HEADS, known=known)
    assert report.whole
    assert report.proven_to == 9
    assert report.heads == len(HEADS) - 2 * known
    assert [(item.sequence, item.key) for item in report.key_changes] == [
        (3, KEYS[SECOND]),
        (6, KEYS[THIRD]),
    ]


@given(st.permutations([*TWICE, *HEADS]))
def test_the_order_of_the_lines_makes_no_difference(lines: list[bytes]) -> None:
    assert check(*lines).whole


def test_a_change_that_the_key_before_did_not_sign_lets_no_key_in() -> None:
    """Attack: whoever writes the journal, and has no key, names his own."""
    forged = events(5, {3: changing(FIRST, THIEF)})
    assert "nobody before it" in refused(
        *forged, head(forged, 2, by=FIRST), head(forged, 5, by=THIEF)
    )
    assert "not in force" in refused(*forged, head(forged, 3, by=THIEF))
    report = check(*forged, head(forged, 2, by=FIRST))
    assert not report.whole, "an event alone changes nothing"
    assert report.key_changes == ()


def test_a_signature_over_another_event_of_that_number_vouches_for_nothing() -> None:
    """Attack: the head is genuine, the event under it was exchanged."""
    genuine = events(5, {3: changing(FIRST, SECOND)})
    forged = events(5, {3: changing(FIRST, THIEF)})
    assert "nobody before it" in refused(
        *forged, head(genuine, 3, by=FIRST), head(forged, 5, by=THIEF)
    )


def test_a_former_key_signs_nothing_after_it_was_changed() -> None:
    """Attack: a key that was given up is stolen later."""
    lines = [*TWICE, *HEADS]
    assert "not in force" in refused(*lines, head(TWICE, 4, by=FIRST))
    assert "not in force" in refused(*lines, head(TWICE, 9, by=SECOND))
    assert "changed before" in refused(*lines, checkpoint(TWICE, 8, by=SECOND))


def test_a_next_key_signs_nothing_before_it_is_in_use() -> None:
    assert "not in force" in refused(*TWICE, *HEADS, head(TWICE, 2, by=SECOND))
    assert "not in force" in refused(*TWICE, *HEADS, head(TWICE, 6, by=THIRD))


def test_changes_that_do_not_follow_each_other_are_refused() -> None:
    broken = events(9, {3: changing(FIRST, SECOND), 6: changing(THIEF, THIRD)})
    assert "follow" in refused(*broken, head(broken, 3, by=FIRST))


@pytest.mark.parametrize("known", [THIEF])
def test_a_device_that_is_known_by_another_key_is_another_device(known: int) -> None:
    assert "between other keys" in refused(*TWICE, *HEADS, known=known)


def test_a_stranger_signs_nothing_in_a_history_with_changes() -> None:
    assert "another key" in refused(*TWICE, *HEADS, head(TWICE, 9, by=THIEF))


@pytest.mark.parametrize("name", ["formerKey", "deviceKey"])
def test_a_change_that_names_no_key_is_no_event(name: str) -> None:
    said = changing(FIRST, SECOND)
    del said["change"][name]
    made = events(3, {2: said})
    refused(*made, head(made, 2, by=FIRST))
    made = events(3, {2: {**said, "change": "none"}})
    refused(*made)


def test_a_later_key_that_proves_nothing_here_leaves_the_events_unproven() -> None:
    """Known by its newest key, a device's older heads alone prove nothing."""
    report = check(*TWICE[:7], *HEADS[:4], known=THIRD)
    assert not report.whole
    assert report.proven_to == 0


def test_what_proves_the_keys_stands_alone_where_all_around_it_was_pruned() -> None:
    """The former heads and events of both changes, then a checkpoint and what goes on."""
    kept = [TWICE[2], HEADS[1], TWICE[5], HEADS[3], checkpoint(TWICE, 7, by=THIRD)]
    for known in (FIRST, SECOND, THIRD):
        report = check(*kept, *TWICE[7:], HEADS[4], known=known)
        assert report.whole, report.gaps
        assert len(report.key_changes) == 2
        assert [(part.after, part.before) for part in report.pruned] == [(6, 8)]
    without_checkpoint = [line for line in kept if line != kept[-1]]
    assert not check(*without_checkpoint, *TWICE[7:], HEADS[4]).whole


def test_other_events_missing_between_two_changes_are_missing() -> None:
    """Attack: events are cut out of an earlier file, beside a checkpoint that covers them."""
    lines = [TWICE[0], *TWICE[2:5], *TWICE[5:], *HEADS[1:], checkpoint(TWICE, 7, by=THIRD)]
    report = check(*lines)
    assert [(gap.after, gap.before) for gap in report.gaps] == [(1, 3)]


def test_a_checkpoint_may_be_signed_by_a_later_key_than_its_event() -> None:
    lines = [*TWICE[2:], *HEADS[1:], checkpoint(TWICE, 2, by=SECOND)]
    report = check(*lines)
    assert report.whole
    assert report.checkpoints == 1


@pytest.mark.parametrize("by", [FIRST, SECOND])
def test_both_kinds_of_key_prove_a_history_and_its_pruning(by: int) -> None:
    """An Ed25519 key and a P-256 key, as a token has it."""
    made = events(4, {})
    key: PublicKey = KEYS[by]
    lines = [*made[2:], checkpoint(made, 2, by=by), head(made, 4, by=by)]
    assert check_history(lines, device_key=key).whole
    with pytest.raises(RefusedError):
        check_history([*lines, head(made, 3, by=THIEF)], device_key=key)
