"""Is a run of events whole, in order and from this device? Proven from its public key alone.

A history is JSON lines: events as the exact bytes that were stored and sent, signed heads, and
signed checkpoints.  Each event holds the digest of the one before it; a head signs the digest of
one event, so every event up to it is proven as far back as the run is joined.  Later ones are only
consistent: whoever can write the file can put them there, at its end and before a gap.

A checkpoint stands for the events up to one of them, which the device pruned: they are not here,
and the device says so under its signature, which is another thing than missing.  It proves nothing
about the events before those: what no head signs there is unsigned.

A device's key may change (:mod:`primum_verifier.record.key_change`): up to the event that tells of
it the former key signs heads, from the next event on the new one.  A checkpoint may be signed by
the key in force at its event, or by a later one: it is signed when the device prunes.

Receipts of a receiver (:mod:`primum_verifier.record.receipt`) may stand among the lines.  They
prove nothing of the device but that it once reported more, or something else, than what is here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field

from primum_verifier.core.document import (
    Count,
    Document,
    Sha256,
    Slug,
    Time,
    parse_document,
    read_json,
    sha256_hex,
)
from primum_verifier.core.envelope import HEAD_PAYLOAD_TYPE, PublicKey, open_envelope
from primum_verifier.core.errors import PrimumError, RefusedError
from primum_verifier.core.limits import KIB
from primum_verifier.core.reasons import Reason
from primum_verifier.record.checkpoint import CHECKPOINT_PAYLOAD_TYPE, ChainCheckpoint
from primum_verifier.record.key_change import KeyChange, KeysInForce, another_key, read_key_change
from primum_verifier.record.receipt import RECEIPT_PAYLOAD_TYPE, ChainReceipt, read_receipt
from primum_verifier.record.words import ClockQuality

FIRST_PREVIOUS = "0" * 64
"""What the first event of a chain names as the one before it."""

MAX_EVENT_BYTES = 256 * KIB


class ChainHead(Document):
    """What the device's key signs: the digest of the newest event, and its place.

    ``clockQuality`` says how far ``signedAt`` may be believed; an agent of an earlier version does
    not say it.
    """

    type: Literal["urn:primum:chain-head:v0.1"]
    device_id: Slug
    sequence: Annotated[Count, Field()]
    event_hash: Sha256
    signed_at: Time
    clock_quality: ClockQuality | None = None


@dataclass(frozen=True)
class Gap:
    """A place where the run of events is not whole."""

    after: int
    before: int
    why: str


@dataclass(frozen=True)
class Pruned:
    """Events that the device pruned under a checkpoint that it signed, and that are not here.

    Attributes:
        after: the last event here before them, or the number before the chain's own first event.
        before: the event that goes on from the checkpoint.
        signed_at: when the checkpoint was signed, by the device's clock.
    """

    after: int
    before: int
    signed_at: datetime


@dataclass(frozen=True)
class Unsigned:
    """The end of a joined run that no signature covers: consistent, and proven by nothing.

    Attributes:
        first: its first event.
        last: the event after which the run breaks off, or the history ends.
    """

    first: int
    last: int


@dataclass(frozen=True)
class HistoryReport:
    """What the lines prove.

    Attributes:
        events: how many events were read.
        first: the sequence number of the first, 0 when there is none.
        last: the sequence number of the last.
        proven_to: every event here up to this sequence number is proven by a signed head, but
            those of ``unsigned``.
        heads: how many heads were signed by the device and agree with the events.
        gaps: where events are missing, changed or out of order.
        duplicates: events that stood again, byte for byte; harmless.
        checkpoints: how many checkpoints were signed by the device and join the events.
        pruned: where events are not here because the device pruned them; no gaps.
        unsigned: the ends of joined runs that no head signs, before a gap or at the very end.
        key_changes: the changes of the device's key, each signed by the key before it; those up
            to the key that the device is known by are proven by the chain.
        receipts: how many receipts were signed by a known receiver and agree with the events.
        received_to: the newest event here that one of them covers.
        unknown_receipts: how many were signed by no receiver that was named; nothing is concluded
            from them.
    """

    events: int
    first: int
    last: int
    proven_to: int
    heads: int
    gaps: tuple[Gap, ...]
    duplicates: int
    checkpoints: int = 0
    pruned: tuple[Pruned, ...] = ()
    key_changes: tuple[KeyChange, ...] = ()
    unsigned: tuple[Unsigned, ...] = ()
    receipts: int = 0
    received_to: int = 0
    unknown_receipts: int = 0

    @property
    def whole(self) -> bool:
        """Whether nothing is missing but what was pruned, and signatures prove all that is here."""
        return not self.gaps and self.events > 0 and not self.unsigned


@dataclass(frozen=True)
class SignedHead:
    """A head that the device signed, and where that can be looked up.

    Attributes:
        head: what was signed.
        key_id: the key that signed it.
        digest: of the exact bytes of the envelope.
    """

    head: ChainHead
    key_id: str
    digest: str


@dataclass(frozen=True)
class SignedReceipt:
    """A receipt that a known receiver signed; see :class:`SignedHead`."""

    receipt: ChainReceipt
    key_id: str
    digest: str


@dataclass(frozen=True)
class History:
    """What is signed in a history, and what that proves.

    Attributes:
        report: what the lines prove.
        heads: every head that the device's key signed, whether or not its event is here; those
            that only a key before the known one signed are left out.
        checkpoints: likewise, those that agree with the events here.
        receipts: those of known receivers, agreeing or not.
    """

    report: HistoryReport
    heads: tuple[SignedHead, ...]
    checkpoints: tuple[ChainCheckpoint, ...]
    receipts: tuple[SignedReceipt, ...]


@dataclass
class _Chain:
    hashes: dict[int, str] = field(default_factory=dict)
    previous: dict[int, str] = field(default_factory=dict)
    heads: list[SignedHead] = field(default_factory=list)
    checkpoints: list[ChainCheckpoint] = field(default_factory=list)
    changes: dict[int, KeyChange] = field(default_factory=dict)
    signed: list[tuple[str, str, bytes]] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    devices: set[str] = field(default_factory=set)
    duplicates: int = 0
    unknown_receipts: int = 0


def check_history(
    lines: Iterable[bytes], *, device_key: PublicKey, receivers: Sequence[PublicKey] = ()
) -> HistoryReport:
    """What the lines of one device prove: see :func:`read_history`."""
    return read_history(lines, device_key=device_key, receivers=receivers).report


def read_history(
    lines: Iterable[bytes], *, device_key: PublicKey, receivers: Sequence[PublicKey] = ()
) -> History:
    """Check the events, heads, checkpoints and receipts of one device.

    Args:
        lines: the lines of the history, each without its line end.
        device_key: the public key that the device is known by: any that it ever signed with.
        receivers: the public keys of the receivers that are believed.

    Returns:
        What is proven, every gap by name, and what is signed.

    Raises:
        RefusedError: ``document.invalid`` for a line that is no event, head, checkpoint or
            receipt, ``trust.signature`` for a head or checkpoint that another key signed, a
            changed key that the key before it did not sign for, or another device's receipt.
    """
    chain = _Chain()
    for number, line in enumerate(lines, start=1):
        if line.strip():
            _take(chain, line, where=f"line {number}")
    key_changes = _open_signed(chain, KeysInForce(tuple(chain.changes.values()), known=device_key))
    receipts = _open_receipts(chain, receivers)
    sequences = sorted(chain.hashes)
    pruned = _walk(chain, sequences)
    heads, checkpoints = _agreeing_heads(chain), _agreeing_checkpoints(chain)
    proven = [head.sequence for head in heads] + [item.sequence for item in checkpoints]
    received = _agreeing_receipts(chain, receipts)
    report = HistoryReport(
        events=len(sequences),
        first=sequences[0] if sequences else 0,
        last=sequences[-1] if sequences else 0,
        proven_to=max(proven, default=0),
        heads=len(heads),
        gaps=tuple(chain.gaps),
        duplicates=chain.duplicates,
        checkpoints=len(checkpoints),
        pruned=pruned,
        key_changes=key_changes,
        unsigned=_unsigned(chain, sequences, signed=proven),
        receipts=len(received),
        received_to=max(received, default=0),
        unknown_receipts=chain.unknown_receipts,
    )
    return History(report, tuple(chain.heads), tuple(checkpoints), receipts)


def _unsigned(
    chain: _Chain, sequences: list[int], *, signed: Sequence[int]
) -> tuple[Unsigned, ...]:
    """What follows the newest signature of each joined run."""
    runs: list[list[int]] = []
    for number in sequences:
        joined = bool(runs) and runs[-1][-1] == number - 1
        if joined and chain.previous[number] == chain.hashes[number - 1]:
            runs[-1].append(number)
        else:
            runs.append([number])
    found = []
    for run in runs:
        # A checkpoint may name an event that is not here: that signs nothing of this run.
        proven = max((number for number in signed if run[0] <= number <= run[-1]), default=None)
        first = run[0] if proven is None else proven + 1
        if first <= run[-1] and not _kept_for_its_key(chain, run):
            found.append(Unsigned(first, run[-1]))
    return tuple(found)


def _kept_for_its_key(chain: _Chain, run: list[int]) -> bool:
    """Whether it is a change of the key alone, kept from what was pruned; that is signed itself."""
    # The checkpoint's own last event it signs itself, or contradicts.
    covered = any(item.first_sequence <= run[0] < item.sequence for item in chain.checkpoints)
    return covered and all(number in chain.changes for number in run)


def _walk(chain: _Chain, sequences: list[int]) -> tuple[Pruned, ...]:
    """From event to event: note every gap, and return what was pruned under a checkpoint."""
    joining = {
        item.sequence + 1: item
        for item in chain.checkpoints
        if chain.previous.get(item.sequence + 1) == item.event_hash
    }
    pruned: list[Pruned] = []
    for earlier, later in pairwise([0, *sequences]):
        checkpoint = None if later == earlier + 1 else joining.get(later)
        if checkpoint is not None:
            after = max(earlier, checkpoint.first_sequence - 1)
            pruned.append(Pruned(after, later, checkpoint.signed_at))
            if 0 < earlier < after:
                chain.gaps.append(Gap(earlier, after + 1, f"{after - earlier} events missing"))
        elif _between_changes(chain, earlier, later):
            # A device keeps what proves its keys when it prunes all around it.
            continue
        elif earlier == 0:
            # What came before the first event here is not in question.
            continue
        elif later != earlier + 1:
            chain.gaps.append(Gap(earlier, later, f"{later - earlier - 1} events missing"))
        elif chain.previous[later] != chain.hashes[earlier]:
            chain.gaps.append(Gap(earlier, later, "the digest of the event before does not agree"))
    return tuple(pruned)


def _between_changes(chain: _Chain, earlier: int, later: int) -> bool:
    """Whether nothing but changes of the key stands here of what a checkpoint covers."""
    covered = any(
        item.first_sequence <= earlier + 1 and later <= item.sequence for item in chain.checkpoints
    )
    return covered and earlier in chain.changes and later in chain.changes and later > earlier + 1


def _take(chain: _Chain, line: bytes, *, where: str) -> None:
    content = read_json(line, where=where, max_bytes=MAX_EVENT_BYTES)
    if isinstance(content, dict) and "payloadType" in content:
        is_other = content["payloadType"] in (CHECKPOINT_PAYLOAD_TYPE, RECEIPT_PAYLOAD_TYPE)
        # Whose key counts is known once all events are.
        kind = content["payloadType"] if is_other else HEAD_PAYLOAD_TYPE
        chain.signed.append((where, kind, line))
        return
    try:
        text = content["sequence"]
        previous = str(content["data"]["prevEventHash"])
        sequence = int(text) if re.fullmatch(r"[0-9]{1,20}", text) else -1
    except (KeyError, TypeError) as error:
        raise _no_event(where) from error
    if sequence < 1:
        raise _no_event(where)
    digest = sha256_hex(line)
    if sequence in chain.hashes:
        if chain.hashes[sequence] == digest:
            chain.duplicates += 1
        else:
            chain.gaps.append(Gap(sequence, sequence, "two different events with one number"))
        return
    if sequence == 1 and previous != FIRST_PREVIOUS:
        chain.gaps.append(Gap(0, 1, "the first event names one before it"))
    chain.hashes[sequence] = digest
    chain.previous[sequence] = previous
    if isinstance(content.get("source"), str):
        chain.devices.add(content["source"].removeprefix("urn:primum:device:"))
    change = read_key_change(content, sequence=sequence, event_hash=digest, where=where)
    if change is not None:
        chain.changes[sequence] = change


def _open_signed(chain: _Chain, keys: KeysInForce) -> tuple[KeyChange, ...]:
    """Take the heads and checkpoints that keys of the device signed; the changes of its key.

    What a key before the known one signed is checked and then left: who vouches for that key is
    the chain, and the chain proves its events too.
    """
    heads: list[tuple[SignedHead, int, str]] = []
    checkpoints: list[tuple[ChainCheckpoint, int, str]] = []
    for where, kind, line in chain.signed:
        if kind == RECEIPT_PAYLOAD_TYPE:
            continue
        opened = open_envelope(line, payload_type=kind, keys=keys.keys, where=where)
        signers = {keys.keys.index(key) for key in opened.signers}
        if not signers:
            raise another_key(where, keys.keys[-1], found="another key")
        if kind == CHECKPOINT_PAYLOAD_TYPE:
            checkpoint = parse_document(ChainCheckpoint, opened.payload, where=where)
            place = max(signers)
            if place < keys.place(checkpoint.sequence):
                raise another_key(where, keys.keys[-1], found="a key that was changed before")
            checkpoints.append((checkpoint, place, where))
        else:
            head = parse_document(ChainHead, opened.payload, where=where)
            place = keys.place(head.sequence)
            if place not in signers:
                raise another_key(where, keys.keys[place], found="a key that is not in force here")
            signed = SignedHead(head, keys.keys[place].key_id, sha256_hex(line))
            heads.append((signed, place, where))
    vouched = keys.vouched(
        [(item.head.sequence, item.head.event_hash, place) for item, place, _ in heads]
    )
    last = keys.believed(vouched)
    for where in [where for _, place, where in (*heads, *checkpoints) if place > last]:
        raise another_key(where, keys.keys[last], found="a key that nobody before it signed for")
    chain.heads = [item for item, place, _ in heads if not keys.is_earlier(place)]
    chain.checkpoints = [item for item, place, _ in checkpoints if not keys.is_earlier(place)]
    return (*keys.changes[: keys.believed(())], *vouched)


def _open_receipts(chain: _Chain, receivers: Sequence[PublicKey]) -> tuple[SignedReceipt, ...]:
    """The receipts that a known receiver signed for this device."""
    found = []
    for where, kind, line in chain.signed:
        if kind != RECEIPT_PAYLOAD_TYPE:
            continue
        receipt, signer = read_receipt(line, keys=receivers, where=where)
        if signer is None:
            chain.unknown_receipts += 1
        elif chain.devices and chain.devices != {receipt.device_id}:
            raise RefusedError(
                "The receipt is another device's.",
                reason=Reason.TRUST_SIGNATURE,
                where=where,
                found=receipt.device_id,
                expected=" or ".join(sorted(chain.devices)[:2]),
            )
        else:
            found.append(SignedReceipt(receipt, signer.key_id, sha256_hex(line)))
    return tuple(found)


def _agreeing_receipts(chain: _Chain, receipts: Sequence[SignedReceipt]) -> list[int]:
    """The numbers of the events here that a receiver holds just so."""
    agreeing = []
    last = max(chain.hashes, default=0)
    for receipt in (item.receipt for item in receipts):
        place, digest = receipt.sequence, chain.hashes.get(receipt.sequence)
        if place > last:
            why = "a receiver countersigned an event that is not here"
            chain.gaps.append(Gap(last, place, why))
        elif digest == receipt.event_hash:
            agreeing.append(place)
        elif digest is not None:
            chain.gaps.append(Gap(place, place, "a receiver countersigned another event"))
    return agreeing


def _agreeing_checkpoints(chain: _Chain) -> list[ChainCheckpoint]:
    """Those that the events here bear out, by the event they end with or the one that follows."""
    agreeing = []
    last = max(chain.hashes, default=0)
    for item in chain.checkpoints:
        place = item.sequence
        if place > last:
            chain.gaps.append(Gap(last, place, "a signed checkpoint names an event not here"))
            continue
        beginning = chain.previous.get(item.first_sequence, FIRST_PREVIOUS)
        digest, after = chain.hashes.get(place), chain.previous.get(place + 1)
        if beginning != FIRST_PREVIOUS:
            why = "a signed checkpoint names another beginning"
            chain.gaps.append(Gap(item.first_sequence, item.first_sequence, why))
        elif digest not in {None, item.event_hash}:
            chain.gaps.append(Gap(place, place, "a signed checkpoint names another event"))
        elif digest is None and after not in {None, item.event_hash}:
            why = "the event after a signed checkpoint does not follow it"
            chain.gaps.append(Gap(place, place + 1, why))
        elif digest is not None or after is not None:
            agreeing.append(item)
    return agreeing


def _agreeing_heads(chain: _Chain) -> list[ChainHead]:
    agreeing = []
    last = max(chain.hashes, default=0)
    for head in (item.head for item in chain.heads):
        if head.sequence > last:
            chain.gaps.append(Gap(last, head.sequence, "a signed head names an event not here"))
        digest = chain.hashes.get(head.sequence)
        if digest == head.event_hash:
            agreeing.append(head)
        elif digest is not None:
            chain.gaps.append(
                Gap(head.sequence, head.sequence, "a signed head names another event")
            )
    return agreeing


def _no_event(where: str) -> PrimumError:
    return RefusedError(
        "The line is neither an event nor a signed head or checkpoint.",
        reason=Reason.DOCUMENT_INVALID,
        where=where,
        expected="CloudEvents JSON with sequence and data.prevEventHash, or a DSSE envelope",
    )
