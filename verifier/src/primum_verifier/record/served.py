"""Which release, statement and self-test served a device at an instant, with what proves it.

The answer rests on the device's key alone: on events that a head or checkpoint of it covers, back
to where the run breaks off.  It is an interval between two events, each of which lies between two
moments: clocks are believed as far as they say that they may be, and a receiver's receipts bound
them from outside (:mod:`primum_verifier.record.when`).  Where more than one thing may be true, all
of them are named in their order; where nothing is known, why, and what is known last.

What an answer says: the device's record let this release be used.  Whether a patient was served is
in no event.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pydantic import TypeAdapter, ValidationError

from primum_verifier.core.document import Time, sha256_hex
from primum_verifier.core.envelope import PublicKey
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.limits import MAX_NAME
from primum_verifier.core.reasons import Reason
from primum_verifier.record.chain import (
    History,
    HistoryReport,
    SignedHead,
    SignedReceipt,
    read_history,
)
from primum_verifier.record.in_use import Change, Release, Situation, Telling
from primum_verifier.record.proven_line import Fact, Line, Mark, proven_line, runs
from primum_verifier.record.when import Bounds, timed
from primum_verifier.record.words import ClockQuality

_SOURCE = "urn:primum:device:"
_TIME: TypeAdapter[datetime] = TypeAdapter(Time)


class Outcome(StrEnum):
    """What can be said about the instant."""

    RELEASE = "release"
    """One release, certainly."""

    SAFE_MODE = "safe-mode"
    """No release was allowed to run, certainly."""

    CHANGING = "changing"
    """It was being changed: one of several, all named."""

    UNCERTAIN = "uncertain"
    """The clocks do not tell which of several that followed each other."""

    UNKNOWN = "unknown"
    """At least one of what is possible is not known from these files."""


class Unknown(StrEnum):
    """Why nothing is known."""

    BEFORE = "before-the-first-event"
    MISSING = "events-missing"
    PRUNED = "pruned-on-the-device"
    AFTER = "after-the-last-signed-moment"
    DISPUTED = "disputed"
    NOT_UNDERSTOOD = "not-understood"


@dataclass(frozen=True)
class Edge:
    """An event or a signed moment at which a stretch begins or ends.

    Attributes:
        mark: what it is.
        bounds: when it was, as far as that is certain.
        signed: the oldest head that covers it.
        received: the oldest receipt that covers it.
    """

    mark: Mark
    bounds: Bounds
    signed: SignedHead | None
    received: SignedReceipt | None


@dataclass(frozen=True)
class Stretch:
    """A time in which one thing was so.

    Attributes:
        situation: what was in use; None where it is not known.
        unknown: why it is not.
        begins: where it begins; None where nothing before it is here.
        ends: where it ends; None where nothing after it is here.
        might: what may have served in it: one, or more while it was being changed.
    """

    situation: Situation | None
    unknown: Unknown | None
    begins: Edge | None
    ends: Edge | None
    might: tuple[Release | None, ...] = ()

    def holds(self, at: datetime) -> bool:
        """Whether the instant may lie in it."""
        earliest = None if self.begins is None else self.begins.bounds.earliest
        latest = None if self.ends is None else self.ends.bounds.latest
        return (earliest is None or earliest <= at) and (latest is None or at <= latest)


@dataclass(frozen=True)
class Served:
    """The answer.

    Attributes:
        outcome: what can be said.
        at: the instant.
        device: the device, as its events name it.
        possible: every stretch in which the instant may lie, in their order.
        by_its_clock: the stretch that the device's own clock says, whatever its quality; None where
            it says none.
        report: what the whole history proves.
        disputed_from: the number from which nothing counts, because the device's key signed two
            lines; None without a dispute.
        clocks_left_out: numbers of the events whose clocks contradict others or a receipt.
    """

    outcome: Outcome
    at: datetime
    device: str
    possible: tuple[Stretch, ...]
    by_its_clock: Stretch | None
    report: HistoryReport
    disputed_from: int | None
    clocks_left_out: tuple[int, ...]
    stretches: tuple[Stretch, ...] = field(repr=False, default=())

    @property
    def is_certain(self) -> bool:
        """Whether one thing is proven for the instant."""
        return self.outcome in {Outcome.RELEASE, Outcome.SAFE_MODE}


def served(
    lines: Iterable[bytes],
    *,
    device_key: PublicKey,
    at: datetime,
    device: str | None = None,
    receivers: Sequence[PublicKey] = (),
    free_running: float | None = None,
) -> Served:
    """What served a device at an instant.

    Args:
        lines: the lines of its history, each without its line end.
        device_key: the public key that the device is known by: any that it ever signed with.
        at: the instant.
        device: the device that is meant; None takes the one that the events name.
        receivers: the public keys of the receivers whose receipts are believed.
        free_running: seconds by which a clock of the device that nothing synchronised is believed
            to be wrong at most; None: such a clock is not believed at all.

    Raises:
        RefusedError: as :func:`primum_verifier.record.chain.read_history`; ``trust.signature``
            where the events are another device's.
    """
    facts: list[Fact] = []
    history = read_history(_noting(lines, facts), device_key=device_key, receivers=receivers)
    name = _the_device(facts, history, device)
    line = proven_line(facts, history)
    places = {mark.sequence: place for place, mark in enumerate(line.marks) if mark.head is None}
    when = timed(
        [mark.reading for mark in line.marks],
        [(places[item.receipt.sequence], item.receipt.issued_at) for item in line.receipts],
        free_running=free_running,
    )
    stretches = _stretches(line, history, when.bounds)
    possible = tuple(item for item in stretches if item.holds(at))
    left_out = {line.marks[place].sequence for place in (*when.contradicting, *when.refuted)}
    return Served(
        outcome=_outcome(possible),
        at=at,
        device=name,
        possible=possible,
        by_its_clock=_by_its_clock(stretches, at),
        report=history.report,
        disputed_from=line.disputed_from,
        clocks_left_out=tuple(sorted(left_out)),
        stretches=stretches,
    )


def _noting(lines: Iterable[bytes], facts: list[Fact]) -> Iterator[bytes]:
    """Hand the lines on, and note each event once it was found to be one."""
    for line in lines:
        yield line
        if not line.strip():
            continue
        content = json.loads(line)
        if "payloadType" in content:
            continue
        clock = content["data"].get("clock")
        quality = clock.get("quality") if isinstance(clock, dict) else None
        facts.append(
            Fact(
                sequence=int(content["sequence"]),
                hash=sha256_hex(line),
                previous=str(content["data"]["prevEventHash"]),
                id=_text(content.get("id")),
                kind=_text(content.get("type")),
                source=_text(content.get("source")),
                happened=_moment(content.get("time")),
                recorded=_moment(content.get("recordedtime")),
                quality=_text(quality),
                line=line,
            )
        )


def _text(value: object) -> str:
    return value[:MAX_NAME] if isinstance(value, str) else ""


def _moment(value: object) -> datetime | None:
    try:
        return _TIME.validate_python(value)
    except ValidationError:
        return None


def _the_device(facts: Iterable[Fact], history: History, wanted: str | None) -> str:
    """The device that events, heads and receipts name; one and the same in all of them."""
    named = {fact.source.removeprefix(_SOURCE) for fact in facts}
    named |= {item.head.device_id for item in history.heads}
    named |= {item.device_id for item in history.checkpoints}
    expected = wanted or min(named, default="")
    others = sorted(named - {expected})
    if others:
        raise RefusedError(
            "The history is another device's.",
            reason=Reason.TRUST_SIGNATURE,
            found=", ".join(others[:3]),
            expected=expected,
            remedy="Give the history and the key of the device that is asked about.",
        )
    return expected


# Stretches


def _stretches(line: Line, history: History, bounds: Sequence[Bounds]) -> tuple[Stretch, ...]:
    """All of time, from before the first event to after the last signed moment."""
    edges = [
        Edge(mark, _of_change(mark, bounds[place]), line.signed_by(place), line.received_by(place))
        for place, mark in enumerate(line.marks)
    ]
    if not edges:
        why = Unknown.MISSING if line.disputed_from is None else Unknown.DISPUTED
        return (Stretch(None, why, None, None),)
    telling = Telling()
    found: list[Stretch] = []
    last: Edge | None = None
    for run in runs(line):
        first = edges[run.start]
        found.append(Stretch(None, _why_before(last, first, history), last, first))
        found += _of_run([edges[place] for place in run], telling)
        last = edges[run.stop - 1]
    end = Unknown.AFTER if line.disputed_from is None else Unknown.DISPUTED
    return (*found, Stretch(None, end, last, None))


def _of_change(mark: Mark, bounds: Bounds) -> Bounds:
    """When what an event tells of came about: it may have happened before it was recorded."""
    fact = mark.fact
    if fact is None or fact.happened is None or fact.recorded is None or bounds.earliest is None:
        return bounds
    if fact.happened >= fact.recorded:
        return bounds
    believed = fact.quality == ClockQuality.SYNCHRONISED
    earlier = bounds.earliest - (fact.recorded - fact.happened) if believed else None
    return Bounds(earlier, bounds.latest)


def _why_before(last: Edge | None, first: Edge, history: History) -> Unknown:
    """Why nothing is known of the time before a run."""
    begin = 1 if last is None else last.mark.sequence + 1
    if first.mark.checkpoint is not None:
        return Unknown.PRUNED
    if last is None and first.mark.sequence == 1:
        return Unknown.BEFORE
    covered = any(
        (last is None or item.first_sequence <= begin) and first.mark.sequence - 1 <= item.sequence
        for item in history.checkpoints
    )
    return Unknown.PRUNED if covered else Unknown.MISSING


def _of_run(run: Sequence[Edge], telling: Telling) -> list[Stretch]:
    """What was in use while nothing is missing, changes apart."""
    telling.interrupted()
    told: list[tuple[Situation, Edge]] = []
    for edge in run:
        mark = edge.mark
        if mark.checkpoint is not None:
            situation = telling.from_checkpoint(mark.checkpoint.state)
        elif mark.fact is not None:
            situation = telling.after(mark.fact.line, number=mark.sequence)
        if not told or told[-1][0] != situation:
            told.append((situation, edge))
    found = []
    for place, (situation, begins) in enumerate(told):
        following = told[place + 1] if place + 1 < len(told) else None
        ends = run[-1] if following is None else following[1]
        might = _might(situation, None if following is None else following[0])
        unknown = Unknown.NOT_UNDERSTOOD if situation.change is Change.NOT_UNDERSTOOD else None
        found.append(Stretch(situation, unknown, begins, ends, might))
    return found


def _might(situation: Situation, following: Situation | None) -> tuple[Release | None, ...]:
    """What may have served: the switch lies between the event of the intent and the next."""
    might = [situation.release]
    if situation.change in {Change.LEAVING, Change.REMOVING}:
        might.append(None)
    if situation.change is Change.SWITCHING and situation.target is not None:
        might.append(situation.target)
    if situation.change is not Change.NONE and following is not None:
        might.append(following.release)
    alike = {None if item is None else _which(item): item for item in might}
    return tuple(alike.values())


def _which(release: Release) -> tuple[str, str]:
    """What tells one thing in use from another: the release, and the statement it ran under."""
    return release.digest, release.statement


def _outcome(possible: Sequence[Stretch]) -> Outcome:
    if any(item.unknown is not None for item in possible):
        return Outcome.UNKNOWN
    if all(len(item.might) == 1 for item in possible):
        found = {None if item is None else _which(item) for (item,) in (s.might for s in possible)}
        if len(found) == 1:
            return Outcome.SAFE_MODE if found == {None} else Outcome.RELEASE
    return Outcome.CHANGING if len(possible) == 1 else Outcome.UNCERTAIN


def _by_its_clock(stretches: Sequence[Stretch], at: datetime) -> Stretch | None:
    """The last stretch of which the device's own clock says that the instant lies in it."""
    for stretch in reversed(stretches):
        if stretch.begins is None or stretch.ends is None:
            continue
        begins, ends = stretch.begins.mark.reading.shown, stretch.ends.mark.reading.shown
        if begins is not None and ends is not None and begins <= at < ends:
            return stretch
    return None
