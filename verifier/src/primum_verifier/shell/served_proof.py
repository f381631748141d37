"""The steps that prove what served: from the device's key to the release, each with its digest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from primum_verifier.record.in_use import SelfTest
from primum_verifier.record.served import Edge, Served, Stretch
from primum_verifier.shell.served_words import kind_of, name_of, told

_NOBODY = "no head here covers it; the device signed a checkpoint that does"


@dataclass(frozen=True)
class Step:
    """One thing that was checked.

    Attributes:
        what: the step.
        found: what was checked, and what was found.
        sha256: of what it rests on; None where that is no one thing.
    """

    what: str
    found: str
    sha256: str | None = None


def steps(found: Served, stretch: Stretch, files: Mapping[str, Path]) -> list[Step]:
    """The steps to an answer that is certain.

    Args:
        found: the answer.
        stretch: the one thing that is so.
        files: where signed self-test statements lie, by their digest.
    """
    begins, ends = stretch.begins, stretch.ends
    made: list[Step] = []
    if begins is None or ends is None:
        raise RuntimeError("an answer that is certain has a beginning and an end")
    keys = sorted({edge.signed.key_id for edge in (begins, ends) if edge.signed is not None})
    if keys:
        made.append(Step("the device's key", f"key {' and '.join(keys)} is the device's own"))
    made += _signed("the beginning", begins)
    made += _signed("the end", ends)
    first, last = begins.mark.sequence, ends.mark.sequence
    joined = "each event holds the digest of the one before it"
    here = f"events {first if begins.mark.fact else first + 1} to {last} are here"
    made.append(Step("nothing is missing", f"{here}, and {joined}"))
    made += _what_served(stretch, begins)
    made += _tested(stretch, files)
    latest, earliest = begins.bounds.latest, ends.bounds.earliest
    lies = f"{told(found.at)} lies between"
    sure = f"the beginning, no later than {told(latest)}, and the end, no earlier than"
    made.append(Step("the instant", f"{lies} {sure} {told(earliest)}"))
    return made


def _signed(what: str, edge: Edge) -> Iterator[Step]:
    mark = edge.mark
    if mark.head is not None:
        text = f"a head was signed over event {mark.sequence}, which is that much later"
        yield Step(what, text, mark.head.digest)
        return
    event = f"event {mark.sequence}" + ("" if mark.fact is None else f", {kind_of(mark.fact)}")
    if edge.signed is None:
        yield Step(what, f"{event}: {_NOBODY}", mark.hash)
        return
    head = edge.signed.head
    yield Step(what, event, mark.hash)
    very = head.sequence == mark.sequence
    over = "this very event" if very else f"event {head.sequence}, which follows it"
    yield Step(f"{what} is signed", f"a head signs {over}", edge.signed.digest)
    if edge.received is not None:
        receipt = edge.received.receipt
        text = f"a receiver held event {receipt.sequence} and all before it"
        issued = f"at {told(receipt.issued_at)} by its clock, and signed for that with key"
        key = edge.received.key_id
        yield Step(f"{what} was received", f"{text} {issued} {key}", edge.received.digest)


def _what_served(stretch: Stretch, begins: Edge) -> Iterator[Step]:
    (release,) = stretch.might
    number = begins.mark.sequence
    first = f"event {number}" if begins.mark.fact else f"the checkpoint over event {number}"
    at = f"{first} and each event up to the end name"
    if release is None:
        yield Step("the release", f"{at} none: {name_of(None)}")
        return
    yield Step("the release", f"{at} {name_of(release)}", release.digest)
    allows = f"statement {release.statement_number} as what allows it"
    yield Step("the eligibility", f"{at} {allows}", release.statement)


def _tested(stretch: Stretch, files: Mapping[str, Path]) -> Iterator[Step]:
    test: SelfTest | None = None if stretch.situation is None else stretch.situation.self_test
    if test is None or stretch.might[0] is None:
        return
    if not test.statement:
        yield Step("the self-test", f"event {test.event}: {test.result}; no signed statement")
        return
    where = f"; {files[test.statement]} has that digest" if test.statement in files else ""
    said = f"event {test.event} names the signed statement: {test.result}{where}"
    yield Step("the self-test", said, test.statement)
