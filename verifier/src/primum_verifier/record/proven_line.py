"""The one line of events that a device's signatures prove, whatever the order of the file.

Each head is followed back from the event that it signs, digest by digest: what is reached is
proven, what is not is left out, so that nothing that somebody else put into a file is in the way.
Where the device's key signed two lines, the line ends before they part; where it is not here how
they part, nothing of it is left.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate, pairwise

from primum_verifier.record.chain import FIRST_PREVIOUS, History, SignedHead, SignedReceipt
from primum_verifier.record.checkpoint import ChainCheckpoint
from primum_verifier.record.when import Reading


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One event as it stands in a file, by its own word.

    Attributes:
        happened: when it happened, by the device's clock; None where that is no moment of today.
        recorded: likewise when it was recorded.
        quality: how far that clock may be believed, by its own word.
        line: its exact bytes.
    """

    sequence: int
    hash: str
    previous: str
    id: str
    kind: str
    source: str
    happened: datetime | None
    recorded: datetime | None
    quality: str
    line: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A place on the line: an event, the moment of signing a head over it, or a checkpoint.

    Attributes:
        sequence: the event's number.
        hash: the event's digest.
        fact: the event; None for one that only a checkpoint stands for.
        head: the head whose signing this is; None for the event itself.
        checkpoint: what stands for the event; None where the event is here.
        reading: what the device's clock showed.
    """

    sequence: int
    hash: str
    fact: Fact | None
    reading: Reading
    head: SignedHead | None = None
    checkpoint: ChainCheckpoint | None = None


@dataclass(frozen=True)
class Line:
    """What is proven, in its order.

    Attributes:
        marks: the events, and the moments at which heads were signed.
        runs: for each mark, the number of the run that it lies in; within one nothing is missing.
        heads: those that agree with the line, by number.
        receipts: likewise.
        disputed_from: the number from which nothing counts; None without a dispute.
    """

    marks: tuple[Mark, ...]
    runs: tuple[int, ...]
    heads: tuple[SignedHead, ...]
    receipts: tuple[SignedReceipt, ...]
    disputed_from: int | None

    def signed_by(self, place: int) -> SignedHead | None:
        """The oldest head that covers a mark; None for what a checkpoint alone vouches for."""
        wanted = self.marks[place].sequence
        first = bisect_left(self.heads, wanted, key=lambda item: item.head.sequence)
        if first == len(self.heads):
            return None
        found = self.heads[first]
        after = bisect_left(self.marks, found.head.sequence, key=lambda mark: mark.sequence)
        return found if self.runs[after] == self.runs[place] else None

    def received_by(self, place: int) -> SignedReceipt | None:
        """The oldest receipt that covers a mark."""
        wanted = self.marks[place].sequence
        first = bisect_left(self.receipts, wanted, key=lambda item: item.receipt.sequence)
        found = self.receipts[first] if first < len(self.receipts) else None
        return found if found is not None and found.receipt.first_sequence <= wanted else None


def proven_line(facts: Iterable[Fact], history: History) -> Line:
    """Follow every signature back from the event that it names.

    Args:
        facts: the events of the files, in any order.
        history: what is signed in them, checked.
    """
    known = {fact.hash: fact for fact in facts}
    proven = _reached(known, history)
    disputed = _parting(proven, history)
    line = sorted(
        (fact for fact in proven.values() if disputed is None or fact.sequence < disputed),
        key=lambda fact: fact.sequence,
    )
    digests = {fact.sequence: fact.hash for fact in line}
    heads = sorted(
        (item for item in history.heads if digests.get(item.head.sequence) == item.head.event_hash),
        key=lambda item: (item.head.sequence, item.head.signed_at, item.digest),
    )
    marks = _marks(line, heads, history.checkpoints)
    there = {mark.sequence: mark.hash for mark in marks}
    receipts = sorted(
        (
            item
            for item in history.receipts
            if there.get(item.receipt.sequence) == item.receipt.event_hash
        ),
        key=lambda item: (item.receipt.sequence, item.receipt.issued_at, item.digest),
    )
    breaks = [not _follows(earlier, later) for earlier, later in pairwise(marks)]
    numbers = accumulate(breaks, initial=0) if marks else ()
    return Line(tuple(marks), tuple(numbers), tuple(heads), tuple(receipts), disputed)


def _reached(known: dict[str, Fact], history: History) -> dict[str, Fact]:
    """Every event that a signature covers."""
    signed = [(item.head.sequence, item.head.event_hash) for item in history.heads]
    signed += [(item.sequence, item.event_hash) for item in history.checkpoints]
    reached: dict[str, Fact] = {}
    for sequence, digest in signed:
        fact, number = known.get(digest), sequence
        while fact is not None and fact.sequence == number and fact.hash not in reached:
            reached[fact.hash] = fact
            fact, number = known.get(fact.previous), number - 1
    return reached


def _parting(proven: dict[str, Fact], history: History) -> int | None:
    """The first number at which the key signed two lines; 1 where it cannot be told from these."""
    at: dict[int, list[Fact]] = {}
    for fact in proven.values():
        at.setdefault(fact.sequence, []).append(fact)
    named = [(item.head.sequence, item.head.event_hash) for item in history.heads]
    # A receiver countersigns what the device's key signed.
    named += [(item.receipt.sequence, item.receipt.event_hash) for item in history.receipts]
    for sequence, digest in named:
        if sequence in at and digest not in proven:
            return 1
    for fact in proven.values():
        begins = fact.previous == FIRST_PREVIOUS
        if not begins and fact.previous not in proven and fact.sequence - 1 in at:
            return 1
    twice = sorted(sequence for sequence, found in at.items() if len(found) > 1)
    if not twice:
        return None
    for sequence in twice:
        for fact in at[sequence]:
            begins = fact.previous == FIRST_PREVIOUS
            if not begins and fact.previous not in proven:
                return 1
    return twice[0]


def _marks(
    line: Sequence[Fact], heads: Sequence[SignedHead], checkpoints: Iterable[ChainCheckpoint]
) -> list[Mark]:
    found: list[tuple[tuple[int, int], Mark]] = []
    for fact in line:
        reading = Reading(fact.recorded, fact.quality)
        mark = Mark(sequence=fact.sequence, hash=fact.hash, fact=fact, reading=reading)
        found.append(((fact.sequence, 0), mark))
    for place, item in enumerate(heads, start=1):
        head = item.head
        reading = Reading(head.signed_at, head.clock_quality or "", is_weak=True)
        mark = Mark(
            sequence=head.sequence, hash=head.event_hash, fact=None, reading=reading, head=item
        )
        found.append(((head.sequence, place), mark))
    here = {fact.sequence for fact in line}
    after = {fact.sequence - 1: fact.previous for fact in line}
    stands_for = {
        item.sequence: item
        for item in checkpoints
        if item.sequence not in here and after.get(item.sequence) == item.event_hash
    }
    for sequence, standing in stands_for.items():
        mark = Mark(
            sequence=sequence,
            hash=standing.event_hash,
            fact=None,
            reading=Reading(None, ""),
            checkpoint=standing,
        )
        found.append(((sequence, 0), mark))
    return [mark for _, mark in sorted(found, key=lambda pair: pair[0])]


def _follows(earlier: Mark, later: Mark) -> bool:
    if later.head is not None:
        return True
    return (
        later.fact is not None
        and later.sequence == earlier.sequence + 1
        and later.fact.previous == earlier.hash
    )


def runs(line: Line) -> Iterator[range]:
    """The places of each run of marks between which nothing is missing."""
    begin = 0
    for place in range(1, len(line.marks) + 1):
        if place == len(line.marks) or line.runs[place] != line.runs[begin]:
            yield range(begin, place)
            begin = place
