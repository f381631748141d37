"""A pruned history: what a device pruned is told apart from what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

from primum_verifier.core.document import canonical_json, sha256_hex
from primum_verifier.core.envelope import HEAD_PAYLOAD_TYPE, public_key_of
from primum_verifier.core.errors import EXIT_DONE, EXIT_REFUSED, RefusedError
from primum_verifier.record.chain import FIRST_PREVIOUS, HistoryReport, Unsigned, check_history
from primum_verifier.record.checkpoint import CHECKPOINT_PAYLOAD_TYPE
from primum_verifier.shell import cli

DEVICE = CryptoSigner.generate_ed25519()
KEY = public_key_of(DEVICE.public_key)
SIGNED_AT = "2026-06-01T12:00:00Z"


def events(count: int, *, begin: int = 1) -> list[bytes]:
    made, previous = [], FIRST_PREVIOUS
    for number in range(begin, begin + count):
        line = canonical_json(
            {"sequence": f"{number:020}", "data": {"prevEventHash": previous, "n": number}}
        ).strip()
        made.append(line)
        previous = sha256_hex(line)
    return made


def signed(content: dict[str, Any], payload_type: str, signer: CryptoSigner = DEVICE) -> bytes:
    made = Envelope(canonical_json(content), payload_type, {})
    signature = signer.sign(made.pae())
    signature.keyid = KEY.key_id
    made.signatures[KEY.key_id] = signature
    return canonical_json(made.to_dict()).strip()


def head(line: bytes, sequence: int) -> bytes:
    return signed(
        {
            "type": "urn:primum:chain-head:v0.1",
            "deviceId": "wearable-001",
            "sequence": sequence,
            "eventHash": sha256_hex(line),
            "signedAt": SIGNED_AT,
        },
        HEAD_PAYLOAD_TYPE,
    )


def checkpoint(line: bytes, sequence: int, *, by: CryptoSigner = DEVICE, **more: Any) -> bytes:
    content = {
        "type": "urn:primum:chain-checkpoint:v0.1",
        "deviceId": "wearable-001",
        "firstSequence": 1,
        "sequence": sequence,
        "eventHash": sha256_hex(line),
        "state": '{"lifecycle":"idle"}',
        "agentVersion": "0.1.0",
        "signedAt": SIGNED_AT,
    }
    return signed(content | more, CHECKPOINT_PAYLOAD_TYPE, by)


LONG = events(20)


def check(*lines: bytes) -> HistoryReport:
    return check_history(lines, device_key=KEY)


def test_what_was_pruned_is_shown_as_pruned_and_not_as_missing() -> None:
    made = events(9)
    report = check(checkpoint(made[4], 5), *made[5:], head(made[8], 9))
    assert report.whole
    assert [(part.after, part.before) for part in report.pruned] == [(0, 6)]
    assert (report.first, report.last, report.checkpoints) == (6, 9, 1)


def test_who_holds_the_earlier_events_sees_that_the_checkpoint_joins_them() -> None:
    made = events(9)
    report = check(*made[:5], head(made[4], 5), checkpoint(made[4], 5), *made[5:], head(made[8], 9))
    assert report.whole
    assert not report.pruned
    assert report.checkpoints == 1


def test_events_between_an_old_export_and_the_checkpoint_are_pruned_and_not_missing() -> None:
    made = events(12)
    old = (*made[:4], head(made[3], 4))
    report = check(*old, checkpoint(made[7], 8), *made[8:], head(made[11], 12))
    assert report.whole
    assert [(part.after, part.before) for part in report.pruned] == [(4, 9)]


def invented(before: bytes, sequence: int) -> bytes:
    """An event that joins the one before it and that no device ever wrote."""
    data = {"prevEventHash": sha256_hex(before), "n": "invented"}
    return canonical_json({"sequence": f"{sequence:020}", "data": data}).strip()


def test_events_invented_before_what_was_pruned_are_not_proven_by_what_follows_it() -> None:
    """Attack: an old export gets another end, where nobody holds the events that came then."""
    made = events(12)
    old = (*made[:4], head(made[3], 4), fifth := invented(made[3], 5), invented(fifth, 6))
    report = check(*old, checkpoint(made[7], 8), *made[8:], head(made[11], 12))
    assert not report.whole
    assert report.unsigned == (Unsigned(5, 6),)
    assert report.gaps == (), "nothing is missing"
    assert [(part.after, part.before) for part in report.pruned] == [(6, 9)]
    without_head = check(*made[:4], checkpoint(made[7], 8), *made[8:], head(made[11], 12))
    assert without_head.unsigned == (Unsigned(1, 4),)


def test_events_invented_before_missing_ones_are_not_proven_either() -> None:
    made = events(9)
    report = check(*made[:3], head(made[1], 2), *made[5:], head(made[8], 9))
    assert [(gap.after, gap.before) for gap in report.gaps] == [(3, 6)]
    assert report.unsigned == (Unsigned(3, 3),)
    report = check(*made[:3], head(made[1], 2), *made[5:])
    assert report.unsigned == (Unsigned(3, 3), Unsigned(6, 9)), "of what is here, no number more"


def test_a_checkpoint_over_the_last_event_of_an_old_file_signs_it() -> None:
    made = events(9)
    report = check(*made[:4], checkpoint(made[3], 4), *made[6:], head(made[8], 9))
    assert report.unsigned == ()
    assert not report.whole, "two are missing behind it"


@given(
    signed=st.sets(st.integers(1, 20)),
    pruned=st.tuples(st.integers(2, 17), st.integers(1, 3)),
)
def test_what_is_unsigned_is_what_follows_the_newest_signature_of_its_run(
    signed: set[int], pruned: tuple[int, int]
) -> None:
    made, (first, count) = LONG, pruned
    last = first + count - 1
    here = [line for number, line in enumerate(made, start=1) if not first <= number <= last]
    heads = [head(made[number - 1], number) for number in signed if not first <= number <= last]
    report = check(*here, *heads, checkpoint(made[last - 1], last))
    told = {number for part in report.unsigned for number in range(part.first, part.last + 1)}
    runs = (range(1, first), range(last + 1, len(made) + 1))
    proven = {n for run in runs for n in run if any(n <= other for other in signed & set(run))}
    assert told == {n for run in runs for n in run} - proven
    assert report.whole == (not told)


@pytest.mark.parametrize("holds_all", [True, False])
def test_a_checkpoint_over_other_events_than_those_held_is_found(holds_all: bool) -> None:
    """Attack: a device whose key was stolen gives itself another past before a checkpoint."""
    made, other = events(6), events(6, begin=1)
    forged = checkpoint(other[2].replace(b'"n":3', b'"n":7'), 3)
    held = made if holds_all else made[3:]
    report = check(*held, forged, head(made[5], 6))
    assert not report.whole
    assert report.checkpoints == 0
    expected = "names another event" if holds_all else "does not follow it"
    assert expected in report.gaps[0].why


def test_a_checkpoint_does_not_cover_events_missing_behind_it() -> None:
    """Attack: events are taken out after the checkpoint, or the end is cut off."""
    made = events(9)
    taken_out = check(checkpoint(made[3], 4), made[4], *made[6:], head(made[8], 9))
    assert [(gap.after, gap.before) for gap in taken_out.gaps] == [(5, 7)]
    not_joined = check(checkpoint(made[3], 4), *made[5:], head(made[8], 9))
    assert not not_joined.pruned
    assert not_joined.checkpoints == 0
    cut_off = check(*made[:3], head(made[2], 3), checkpoint(made[7], 8))
    assert [gap.why for gap in cut_off.gaps] == ["a signed checkpoint names an event not here"]


def test_a_checkpoint_signed_by_another_key_is_refused() -> None:
    made = events(4)
    with pytest.raises(RefusedError):
        check(checkpoint(made[1], 2, by=CryptoSigner.generate_ed25519()), *made[2:])


def test_a_checkpoint_signed_as_a_head_is_none() -> None:
    """Attack: a signature over one kind of record is moved to another."""
    made = events(2)
    as_head = head(made[1], 2).replace(HEAD_PAYLOAD_TYPE.encode(), CHECKPOINT_PAYLOAD_TYPE.encode())
    with pytest.raises(RefusedError):
        check(*made, as_head)


def test_a_loss_before_the_checkpoint_stays_a_loss() -> None:
    """A journal that was lost and begun anew is not made whole by a later checkpoint."""
    lost, fresh = events(3), events(5, begin=1004)
    begun_anew = checkpoint(fresh[2], 1006, firstSequence=1004)
    report = check(*lost, begun_anew, *fresh[3:], head(fresh[4], 1008))
    assert [(gap.after, gap.before) for gap in report.gaps] == [(3, 1004)]
    assert [(part.after, part.before) for part in report.pruned] == [(1003, 1007)]
    alone = check(begun_anew, *fresh[3:], head(fresh[4], 1008))
    assert alone.whole
    assert alone.pruned[0].after == 1003, "that a journal was lost before can still be seen"


def test_a_checkpoint_that_names_another_beginning_is_found() -> None:
    made = events(6)
    report = check(*made, checkpoint(made[4], 5, firstSequence=3), head(made[5], 6))
    assert [gap.why for gap in report.gaps] == ["a signed checkpoint names another beginning"]


@pytest.mark.parametrize(
    "members",
    [{"firstSequence": 9}, {"state": "[]"}, {"state": "{"}, {"eventHash": "0"}, {"more": 1}],
)
def test_a_checkpoint_that_contradicts_itself_is_refused(members: dict[str, Any]) -> None:
    made = events(5)
    with pytest.raises(RefusedError):
        check(*made, checkpoint(made[4], 5, **members))


def test_the_command_reads_an_old_file_and_an_export_as_one_history(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = events(9)
    old, export, key = tmp_path / "old.jsonl", tmp_path / "wearable-001", tmp_path / "key.json"
    export.mkdir()
    old.write_bytes(b"\n".join([*made[:6], head(made[5], 6)]))
    lines = [checkpoint(made[4], 5), *made[5:], head(made[8], 9)]
    (export / "history.jsonl").write_bytes(b"\n".join(lines))
    key.write_bytes(KEY.to_bytes())
    with_key = ["--device-key", str(key)]
    assert cli.main(["history", str(export), *with_key]) == EXIT_DONE
    assert "1 to 5 were pruned on the device" in capsys.readouterr().out
    assert cli.main(["history", str(old), str(export), "--json", *with_key]) == EXIT_DONE
    told = json.loads(capsys.readouterr().out)
    assert (told["events"], told["checkpoints"], told["pruned"]) == (9, 1, [])
    # Without the checkpoint the same lines are an honest part, and with a hole in it they are not.
    (export / "history.jsonl").write_bytes(b"\n".join([*made[7:], head(made[8], 9)]))
    assert cli.main(["history", str(old), str(export), *with_key]) == EXIT_REFUSED
    # What was put behind the last head of the old file, before what was pruned.
    lines = [checkpoint(made[7], 8), *made[8:], head(made[8], 9)]
    (export / "history.jsonl").write_bytes(b"\n".join(lines))
    old.write_bytes(b"\n".join([*made[:6], head(made[4], 5)]))
    assert cli.main(["history", str(old), str(export), *with_key]) == EXIT_REFUSED
    assert "6 to 6 are unsigned: no head proves" in capsys.readouterr().out
    assert cli.main(["history", str(old), str(export), "--json", *with_key]) == EXIT_REFUSED
    assert json.loads(capsys.readouterr().out)["unsigned"] == [{"first": 6, "last": 6}]
