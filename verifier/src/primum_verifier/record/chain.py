"""Is a run of events whole, in order and from this device? Proven from its public key alone.

A history is JSON lines: events as the exact bytes that were stored and sent, and signed heads.
Each event holds the digest of the one before it; a head signs the digest of one event, so every
event up to the newest signed head is proven, and later ones are only consistent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
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

FIRST_PREVIOUS = "0" * 64
"""What the first event of a chain names as the one before it."""

MAX_EVENT_BYTES = 256 * KIB


class ChainHead(Document):
    """What the device's key signs: the digest of the newest event, and its place."""

    type: Literal["urn:primum:chain-head:v0.1"]
    device_id: Slug
    sequence: Annotated[Count, Field()]
    event_hash: Sha256
    signed_at: Time


@dataclass(frozen=True)
class Gap:
    """A place where the run of events is not whole."""

    after: int
    before: int
    why: str


@dataclass(frozen=True)
class HistoryReport:
    """What the lines prove.

    Attributes:
        events: how many events were read.
        first: the sequence number of the first, 0 when there is none.
        last: the sequence number of the last.
        proven_to: every event up to this sequence number is proven by a signed head.
        heads: how many heads were signed by the device and agree with the events.
        gaps: where events are missing, changed or out of order.
        duplicates: events that stood again, byte for byte; harmless.
    """

    events: int
    first: int
    last: int
    proven_to: int
    heads: int
    gaps: tuple[Gap, ...]
    duplicates: int

    @property
    def whole(self) -> bool:
        """Whether the run has no gap and at least one signed head proves it to its end."""
        return not self.gaps and self.events > 0 and self.proven_to >= self.last


@dataclass
class _Chain:
    hashes: dict[int, str] = field(default_factory=dict)
    previous: dict[int, str] = field(default_factory=dict)
    heads: list[ChainHead] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    duplicates: int = 0


def check_history(lines: Iterable[bytes], *, device_key: PublicKey) -> HistoryReport:
    """Check the events and heads of one device.

    Args:
        lines: the lines of the history, each without its line end.
        device_key: the device's public key, from its signed context.

    Returns:
        What is proven, and every gap by name.

    Raises:
        RefusedError: ``document.invalid`` for a line that is neither event nor head,
            ``trust.signature`` for a head that another key signed.
    """
    chain = _Chain()
    for number, line in enumerate(lines, start=1):
        if line.strip():
            _take(chain, line, where=f"line {number}", device_key=device_key)
    sequences = sorted(chain.hashes)
    for earlier, later in pairwise(sequences):
        if later != earlier + 1:
            chain.gaps.append(Gap(earlier, later, f"{later - earlier - 1} events missing"))
        elif chain.previous[later] != chain.hashes[earlier]:
            chain.gaps.append(Gap(earlier, later, "the digest of the event before does not agree"))
    agreeing = _agreeing_heads(chain)
    return HistoryReport(
        events=len(sequences),
        first=sequences[0] if sequences else 0,
        last=sequences[-1] if sequences else 0,
        proven_to=max((head.sequence for head in agreeing), default=0),
        heads=len(agreeing),
        gaps=tuple(chain.gaps),
        duplicates=chain.duplicates,
    )


def _take(chain: _Chain, line: bytes, *, where: str, device_key: PublicKey) -> None:
    content = read_json(line, where=where, max_bytes=MAX_EVENT_BYTES)
    if isinstance(content, dict) and "payloadType" in content:
        opened = open_envelope(
            line, payload_type=HEAD_PAYLOAD_TYPE, keys=(device_key,), where=where
        )
        if not opened.signers:
            raise RefusedError(
                "The head was not signed by this device.",
                reason=Reason.TRUST_SIGNATURE,
                where=where,
                found="another key",
                expected=device_key.key_id,
                remedy="Give the context of the device that wrote this history.",
            )
        chain.heads.append(parse_document(ChainHead, opened.payload, where=where))
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


def _agreeing_heads(chain: _Chain) -> list[ChainHead]:
    agreeing = []
    last = max(chain.hashes, default=0)
    for head in chain.heads:
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
        "The line is neither an event nor a signed head.",
        reason=Reason.DOCUMENT_INVALID,
        where=where,
        expected="CloudEvents JSON with sequence and data.prevEventHash, or a DSSE envelope",
    )
