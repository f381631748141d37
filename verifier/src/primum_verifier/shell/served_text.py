"""What served a device at an instant, for people and as JSON; what is said is decided elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from primum_verifier.record.in_use import Release, SelfTest, Situation
from primum_verifier.record.served import Edge, Served, Stretch
from primum_verifier.shell.served_words import (
    MAX_SHOWN,
    WHAT_CHANGED,
    WHY_UNKNOWN,
    answer,
    between,
    kind_of,
    name_of,
    notes,
    quality_of,
    shown,
    told,
)
from primum_verifier.shell.table import printable
from primum_verifier.shell.terminal import row, wrapped


def for_people(found: Served, files: Mapping[str, Path]) -> Iterator[str]:
    """The answer as lines for a terminal.

    Args:
        found: the answer.
        files: where signed self-test statements lie, by their digest.
    """
    yield f"{printable(found.device)} at {told(found.at)}: {answer(found)}"
    possible = shown(found)
    for stretch in possible[:MAX_SHOWN]:
        yield ""
        yield from _stretch(stretch, files)
    if len(possible) > MAX_SHOWN:
        yield f"... and {len(possible) - MAX_SHOWN} more; --json names all"
    if not found.is_certain and found.by_its_clock is not None:
        yield ""
        told_by = "; ".join(map(name_of, found.by_its_clock.might)) or "not known"
        yield from wrapped(f"By the device's own clock, which proves it not: {told_by}.", indent=0)
    yield from _notes(found)


def as_dict(found: Served, files: Mapping[str, Path]) -> dict[str, Any]:
    """The answer as JSON; see :func:`for_people`."""
    only = found.possible[0].might[0] if found.is_certain else None
    report = found.report
    return {
        "outcome": str(found.outcome),
        "certain": found.is_certain,
        "device": found.device,
        "at": told(found.at),
        "release": _release(only),
        "possible": [_possible(item, files) for item in found.possible],
        "byItsClock": None
        if found.by_its_clock is None
        else [_release(item) for item in found.by_its_clock.might],
        "disputedFrom": found.disputed_from,
        "clocksLeftOut": list(found.clocks_left_out),
        "history": {
            "whole": report.whole,
            "first": report.first,
            "last": report.last,
            "provenTo": report.proven_to,
            "receivedTo": report.received_to,
            "unknownReceipts": report.unknown_receipts,
            "unsigned": [{"first": part.first, "last": part.last} for part in report.unsigned],
            "gaps": [
                {"after": gap.after, "before": gap.before, "why": gap.why} for gap in report.gaps
            ],
        },
    }


# For people


def _stretch(stretch: Stretch, files: Mapping[str, Path]) -> Iterator[str]:
    situation = stretch.situation
    if stretch.unknown is not None:
        yield from row("not known", WHY_UNKNOWN[stretch.unknown], indent=0)
    else:
        for place, release in enumerate(stretch.might):
            yield from row("served" if not place else "or", name_of(release), indent=0)
            yield from _digests(release)
    if situation is not None and situation.change in WHAT_CHANGED:
        yield from row("change", WHAT_CHANGED[situation.change], indent=2)
    if situation is not None and situation.release is None and situation.why:
        yield from row("because", ", ".join(situation.why), indent=2)
    if situation is not None and situation.release is not None:
        yield from _self_test(situation.self_test, files)
    yield from _edge("from", stretch.begins)
    yield from _edge("until", stretch.ends)


def _digests(release: Release | None) -> Iterator[str]:
    if release is not None:
        yield from row("release", release.digest, indent=2)
        yield from row("eligibility", f"statement {release.statement_number}", indent=2)
        yield from row("", release.statement, indent=2)


def _self_test(test: SelfTest | None, files: Mapping[str, Path]) -> Iterator[str]:
    if test is None:
        yield from row("self-test", "no event here tells of one", indent=2)
        return
    yield from row("self-test", f"{test.result}, event {test.event}", indent=2)
    if test.statement:
        yield from row("", test.statement, indent=2)
        if test.statement in files:
            yield from row("", f"here: {files[test.statement]}", indent=2)
    else:
        why = f"no signed statement: {test.why_none}" if test.why_none else "no signed statement"
        yield from row("", why, indent=2)


def _edge(name: str, edge: Edge | None) -> Iterator[str]:
    if edge is None:
        return
    mark, fact = edge.mark, edge.mark.fact
    if fact is not None:
        kind = kind_of(fact)
        yield from row(name, f"event {mark.sequence}, {kind}, {fact.id}", indent=2)
        times = f"happened {told(fact.happened) or '?'}, recorded {told(fact.recorded) or '?'}"
        yield from row("", f"{times}, by a clock that was {quality_of(fact.quality)}", indent=2)
    elif mark.head is not None:
        text = f"the moment at which a head was signed over event {mark.sequence}"
        yield from row(name, f"{text}: {told(mark.reading.shown)} by the device's clock", indent=2)
    else:
        yield from row(name, f"event {mark.sequence}, pruned under a checkpoint", indent=2)
    yield from row("", f"event hash {mark.hash}", indent=2)
    yield from row("", f"certainly {between(edge)}", indent=2)
    if edge.signed is not None:
        head = edge.signed.head
        text = f"head over event {head.sequence}, signed {told(head.signed_at)} by key"
        yield from row("", f"{text} {edge.signed.key_id[:16]}", indent=2)
    if edge.received is not None:
        receipt = edge.received.receipt
        text = f"receipt over event {receipt.sequence}, issued {told(receipt.issued_at)} by key"
        yield from row("", f"{text} {edge.received.key_id[:16]}", indent=2)


def _notes(found: Served) -> Iterator[str]:
    told_notes = notes(found)
    if told_notes:
        yield ""
    for note in told_notes:
        yield from wrapped(note, indent=0)


# As JSON


def _possible(stretch: Stretch, files: Mapping[str, Path]) -> dict[str, Any]:
    situation = stretch.situation
    return {
        "known": stretch.unknown is None,
        "unknown": None if stretch.unknown is None else str(stretch.unknown),
        "served": [_release(item) for item in stretch.might],
        "change": None if situation is None else str(situation.change),
        "because": [] if situation is None else list(situation.why),
        "selfTest": _told_test(situation, files),
        "begins": _told_edge(stretch.begins),
        "ends": _told_edge(stretch.ends),
    }


def _release(release: Release | None) -> dict[str, Any] | None:
    if release is None:
        return None
    return {
        "name": release.name or None,
        "sha256": release.digest,
        "mode": release.mode or None,
        "eligibility": {"number": release.statement_number, "sha256": release.statement},
    }


def _told_test(situation: Situation | None, files: Mapping[str, Path]) -> dict[str, Any] | None:
    test = None if situation is None else situation.self_test
    if test is None:
        return None
    return {
        "event": test.event,
        "result": test.result,
        "sha256": test.statement or None,
        "missing": test.why_none or None,
        "file": str(files[test.statement]) if test.statement in files else None,
    }


def _told_edge(edge: Edge | None) -> dict[str, Any] | None:
    if edge is None:
        return None
    mark, fact, bounds = edge.mark, edge.mark.fact, edge.bounds
    signed, received = edge.signed, edge.received
    return {
        "event": mark.sequence,
        "eventHash": mark.hash,
        "id": None if fact is None else fact.id,
        "kind": None if fact is None else fact.kind,
        "signedMoment": None if mark.head is None else told(mark.head.head.signed_at),
        "happened": None if fact is None else told(fact.happened) or None,
        "recorded": None if fact is None else told(fact.recorded) or None,
        "clock": mark.reading.quality or None,
        "earliest": told(bounds.earliest) or None,
        "latest": told(bounds.latest) or None,
        "uncertaintySeconds": bounds.seconds,
        "head": None
        if signed is None
        else {
            "event": signed.head.sequence,
            "signedAt": told(signed.head.signed_at),
            "keyId": signed.key_id,
            "sha256": signed.digest,
        },
        "receipt": None
        if received is None
        else {
            "event": received.receipt.sequence,
            "firstEvent": received.receipt.first_sequence,
            "issuedAt": told(received.receipt.issued_at),
            "fleet": received.receipt.fleet,
            "keyId": received.key_id,
            "sha256": received.digest,
        },
    }
