"""What served a device at an instant, as one page: drawn over time, and proven step by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from primum_verifier.record.in_use import Situation
from primum_verifier.record.served import Edge, Served, Stretch
from primum_verifier.shell.markup import Markup, tag
from primum_verifier.shell.page_parts import digest, names, page, section, table
from primum_verifier.shell.served_proof import Step, steps
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
from primum_verifier.shell.time_line import Anchor, Bar, Kind, Span, time_line

_NEVER = Span(None, None)
_MOST_ANCHORS = 200
_CLOSER = 8
"""So many times smaller than the whole drawing, something is drawn once more by itself."""

_LEGEND = (
    "Solid is what is certain, pale what is possible; an arrow leads out of what is drawn. A dot "
    "is what a clock showed, a stroke where the moment certainly lies; numbers are those of "
    "events. Heads are signed by the device, receipts by a receiver that was named."
)
_LIMITS = (
    "This rests on the device's public key and on the files that were given, and on nothing else.",
    "The record says what was allowed to be used. Whether a patient was served is in no event.",
)


def served_page(found: Served, files: Mapping[str, Path]) -> str:
    """The whole page.

    Args:
        found: the answer.
        files: where signed self-test statements lie, by their digest.
    """
    possible = shown(found)
    parts = [_head(found, possible), _line(found, possible)]
    parts += [
        _stretch_section(place, stretch, files)
        for place, stretch in enumerate(possible[:MAX_SHOWN], start=1)
    ]
    if len(possible) > MAX_SHOWN:
        more = f"... and {len(possible) - MAX_SHOWN} more; --json names all"
        parts.append(tag("p", more, class_="soft"))
    if found.is_certain:
        parts.append(_proof(steps(found, possible[0], files)))
    parts += [_history(found), _not_said()]
    return page(f"What served {found.device} at {told(found.at)}", *parts)


def _head(found: Served, possible: list[Stretch]) -> Markup:
    mark = "good" if found.is_certain else "bad"
    said = [tag("p", tag("span", str(found.outcome), class_=mark, id="outcome"))]
    if found.is_certain:
        said.append(tag("p", answer(found), class_="answer", id="answer"))
        begins, ends = possible[0].begins, possible[0].ends
        for name, edge in (("began", begins), ("ended", ends)):
            if edge is not None:
                said.append(tag("p", f"{name} {_certainly(edge)}", id=name))
    else:
        said.append(tag("p", answer(found), class_="answer", id="answer"))
        if found.by_its_clock is not None:
            by_clock = "; ".join(map(name_of, found.by_its_clock.might)) or "not known"
            words = f"By the device's own clock, which proves it not: {by_clock}."
            said.append(tag("p", words, class_="soft", id="by-its-clock"))
    return tag("header", tag("h1", f"What served {found.device} at {told(found.at)}"), *said)


# The drawing


def _line(found: Served, possible: list[Stretch]) -> Markup:
    drawn = possible[:MAX_SHOWN]
    before, after = _neighbours(found)
    bars = [_bar(one, Kind.BESIDE) for one in before]
    bars += [_bar(one, Kind.ASKED if one.unknown is None else Kind.UNKNOWN) for one in drawn]
    bars += [_bar(one, Kind.BESIDE) for one in after]
    lanes = _lanes([*before, *drawn, *after])
    plots = [time_line(bars, lanes, asked=found.at, over=_over(bars, found.at))]
    if (closer := _closer(bars, found.at)) is not None:
        plots += [
            tag("h3", "Closer to the instant"),
            time_line(bars, lanes, asked=found.at, over=closer),
        ]
    return section("time", "Over time", *plots, tag("p", _LEGEND, class_="soft"))


def _over(bars: list[Bar], at: datetime) -> tuple[datetime, datetime]:
    """From the first to the last moment of what may be true at the instant."""
    spans = [span for bar in bars if bar.kind is not Kind.BESIDE for span in (bar.begins, bar.ends)]
    moments = [it for span in spans for it in (span.earliest, span.latest) if it is not None]
    return min([at, *moments]), max([at, *moments])


def _closer(bars: list[Bar], at: datetime) -> tuple[datetime, datetime] | None:
    """Where edges of which the instant may be either side would not be seen apart."""
    first, last = _over(bars, at)
    near = [
        (span.earliest, span.latest)
        for bar in bars
        for span in (bar.begins, bar.ends)
        if span.earliest is not None and span.latest is not None
        if span.earliest <= at <= span.latest
    ]
    if not near:
        return None
    low, high = min(one for one, _ in near), max(one for _, one in near)
    return (low, high) if (high - low) * _CLOSER < last - first else None


def _neighbours(found: Served) -> tuple[list[Stretch], list[Stretch]]:
    """What was known to be so right before, and right after."""
    first = found.stretches.index(found.possible[0])
    last = found.stretches.index(found.possible[-1])
    before = found.stretches[max(first - 1, 0) : first]
    after = found.stretches[last + 1 : last + 2]
    return list(before), list(after) if len(found.possible) <= MAX_SHOWN else []


def _bar(stretch: Stretch, kind: Kind) -> Bar:
    return Bar(_gutter(stretch), _title(stretch), _span(stretch.begins), _span(stretch.ends), kind)


def _title(stretch: Stretch) -> str:
    if stretch.unknown is not None:
        return f"not known: {WHY_UNKNOWN[stretch.unknown]}"
    return "; or ".join(map(name_of, stretch.might))


def _gutter(stretch: Stretch) -> str:
    """What stands beside a bar; where it is one of several, their versions alone."""
    if stretch.unknown is not None:
        return "not known"
    called = ["safe mode" if it is None else name_of(it).partition(",")[0] for it in stretch.might]
    if len(called) > 1:
        called = [it if it == "safe mode" else it.rpartition(" ")[2] for it in called]
    return " or ".join(called)


def _span(edge: Edge | None) -> Span:
    return _NEVER if edge is None else Span(edge.bounds.earliest, edge.bounds.latest)


def _lanes(stretches: list[Stretch]) -> list[tuple[str, list[Anchor]]]:
    """Each event, head and receipt that an edge rests on, once."""
    events: dict[str, Anchor] = {}
    heads: dict[str, Anchor] = {}
    receipts: dict[str, Anchor] = {}
    edges = [edge for one in stretches for edge in (one.begins, one.ends) if edge is not None]
    for edge in edges[:_MOST_ANCHORS]:
        mark = edge.mark
        if mark.head is None:
            what = "pruned under a checkpoint" if mark.fact is None else kind_of(mark.fact)
            title = f"event {mark.sequence}, {what}: {between(edge)}"
            moment = mark.reading.shown
            events[mark.hash] = Anchor(mark.sequence, title, moment, _span(edge))
        for head in (mark.head, edge.signed):
            if head is not None:
                title = f"head over event {head.head.sequence}, signed {told(head.head.signed_at)}"
                heads[head.digest] = Anchor(head.head.sequence, title, head.head.signed_at)
        if edge.received is not None:
            receipt = edge.received.receipt
            title = f"receipt over event {receipt.sequence}, issued {told(receipt.issued_at)}"
            anchor = Anchor(receipt.sequence, title, receipt.issued_at)
            receipts[edge.received.digest] = anchor
    lanes = [("events", events), ("signed heads", heads), ("receipts", receipts)]
    return [(name, list(found.values())) for name, found in lanes if found]


# What may be true


def _stretch_section(place: int, stretch: Stretch, files: Mapping[str, Path]) -> Markup:
    """One possibility: what served, and the two ends of it."""
    if stretch.unknown is not None:
        title = "Not known"
    else:
        title = "; or ".join(map(name_of, stretch.might))
    rows = [_row(name, text, sha256) for name, text, sha256 in _facts(stretch, files)]
    rows += [row for name, edge in _ends(stretch) for row in _edge_rows(name, edge)]
    name = f"possible-{place}"
    return section(name, title, table(name, names("what", "found"), rows))


def _row(name: str, text: str, sha256: str | None = None) -> list[Markup]:
    return [tag("th", name, scope="row"), tag("td", text, *digest(sha256))]


def _facts(stretch: Stretch, files: Mapping[str, Path]) -> Iterator[tuple[str, str, str | None]]:
    situation = stretch.situation
    if stretch.unknown is not None:
        yield "why", WHY_UNKNOWN[stretch.unknown], None
    for release in stretch.might:
        if release is not None:
            yield "release", name_of(release), release.digest
            statement = f"statement {release.statement_number} of its authority"
            yield "eligibility", statement, release.statement
    if situation is None:
        return
    if situation.change in WHAT_CHANGED:
        yield "change", WHAT_CHANGED[situation.change], None
    if situation.release is None and situation.why:
        yield "because", ", ".join(situation.why), None
    if situation.release is not None:
        yield _self_test(situation, files)


def _self_test(situation: Situation, files: Mapping[str, Path]) -> tuple[str, str, str | None]:
    test = situation.self_test
    if test is None:
        return "self-test", "no event here tells of one", None
    said = f"{test.result}, told by event {test.event}"
    if not test.statement:
        why = f": {test.why_none}" if test.why_none else ""
        return "self-test", f"{said}; no signed statement{why}", None
    where = f"; it is here: {files[test.statement]}" if test.statement in files else ""
    return "self-test", f"{said}{where}", test.statement


def _ends(stretch: Stretch) -> list[tuple[str, Edge]]:
    both = (("from", stretch.begins), ("until", stretch.ends))
    return [(name, edge) for name, edge in both if edge is not None]


def _edge_rows(name: str, edge: Edge) -> Iterator[list[Markup]]:
    mark, fact = edge.mark, edge.mark.fact
    if fact is not None:
        what = f"event {mark.sequence}, {kind_of(fact)}, {fact.id}"
    elif mark.head is not None:
        what = f"the moment at which a head was signed over event {mark.sequence}"
    else:
        what = f"event {mark.sequence}, pruned under a checkpoint"
    yield _row(name, what, mark.hash)
    if fact is not None:
        clock = f"happened {told(fact.happened) or '?'}, recorded {told(fact.recorded) or '?'}"
        yield _row("its clock", f"{quality_of(fact.quality)}: {clock}")
    elif mark.reading.shown is not None:
        yield _row("its clock", told(mark.reading.shown))
    yield _row("certainly", _certainly(edge))


def _certainly(edge: Edge) -> str:
    """Between which moments, and how wide that is."""
    wide = "" if edge.bounds.seconds is None else f" ({edge.bounds.seconds:.0f} s)"
    return f"{between(edge)}{wide}"


# The proof


def _proof(found: list[Step]) -> Markup:
    rows = [
        [
            tag("td", str(number), class_="n"),
            tag("th", step.what, scope="row"),
            tag("td", step.found, *digest(step.sha256)),
        ]
        for number, step in enumerate(found, start=1)
    ]
    head = names("#", "step", "what was checked, and found")
    return section("proof", "Why this is so, step by step", table("proof", head, rows))


def _history(found: Served) -> Markup:
    report = found.report
    proven = f"events {report.first} to {report.last}, proven to event {report.proven_to}"
    received = f"to event {report.received_to}" if report.received_to else "no receipt agrees"
    rows = [
        _row("here", proven),
        _row("received", received),
        _row("whole", "yes" if report.whole else "no: see below"),
    ]
    said = [tag("p", note) for note in notes(found)]
    return section(
        "history", "The whole history", table("history", names("what", "found"), rows), *said
    )


def _not_said() -> Markup:
    return section("limits", "What this says, and what not", *(tag("p", one) for one in _LIMITS))
