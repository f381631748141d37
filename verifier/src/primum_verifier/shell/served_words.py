"""What served a device, in the words of terminal and page; what is so is decided elsewhere."""

from __future__ import annotations

from datetime import datetime

from primum_verifier.record.in_use import Change, Release
from primum_verifier.record.proven_line import Fact
from primum_verifier.record.served import Edge, Outcome, Served, Stretch, Unknown
from primum_verifier.record.words import ClockQuality
from primum_verifier.shell.table import printable

MAX_SHOWN = 12
"""Possibilities that a person is shown; the rest is counted."""

WHY_UNKNOWN = {
    Unknown.BEFORE: "before the device's first event: nothing was recorded",
    Unknown.MISSING: "the events of that time are missing in these files",
    Unknown.PRUNED: "the device pruned the events of that time, under a checkpoint that it signed; "
    "its receiver, or an earlier export, holds them",
    Unknown.AFTER: "after the last signed moment: what followed is not in these files",
    Unknown.DISPUTED: "disputed: the device's key signed two lines of events, so there are two of "
    "it, or an older copy of its journal was put back",
    Unknown.NOT_UNDERSTOOD: "the device says it in a form that this build does not know; use a "
    "newer one",
}

WHAT_CHANGED = {
    Change.SWITCHING: "it was switching: before the switch, or after it",
    Change.LEAVING: "it was leaving what was in use: until the application was told, or after",
    Change.REMOVING: "what was on the device was being removed",
}

_HEADLINES = {
    Outcome.CHANGING: "it was being changed; one of what follows",
    Outcome.UNCERTAIN: "the clocks do not tell which of what follows",
    Outcome.UNKNOWN: "not known; possible is what follows",
}

_PREFIX = "primum.device."


def answer(found: Served) -> str:
    """The answer in one line."""
    return name_of(found.possible[0].might[0]) if found.is_certain else _HEADLINES[found.outcome]


def shown(found: Served) -> list[Stretch]:
    """What may be true, as a person is shown it: one answer that is certain is one stretch."""
    if not found.is_certain:
        return list(found.possible)
    # Neighbours in which the same served, from where the first begins.
    first, last = found.possible[0], found.possible[-1]
    return [Stretch(last.situation, None, first.begins, last.ends, last.might)]


def name_of(release: Release | None) -> str:
    """A release as people call it, or that there was none."""
    if release is None:
        return "no release was allowed to run (safe mode)"
    name = printable(release.name) or f"release {release.digest[:16]}"
    return f"{name}, {printable(release.mode)} use" if release.mode else name


def kind_of(fact: Fact) -> str:
    """What an event tells of, in its short form."""
    return fact.kind.removeprefix(_PREFIX)


def told(moment: datetime | None) -> str:
    """A moment as it is shown; rounded down to the second."""
    return "" if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def quality_of(quality: str) -> str:
    """How far a clock may be believed, where it says so in a word of ours."""
    return quality if quality in frozenset(ClockQuality) else "of unknown quality"


def between(edge: Edge) -> str:
    """Between which moments it was."""
    earliest, latest = edge.bounds.earliest, edge.bounds.latest
    if earliest is None and latest is None:
        return "at a moment that nothing bounds"
    if earliest is None:
        return f"no later than {told(latest)}"
    if latest is None:
        return f"no earlier than {told(earliest)}"
    return f"between {told(earliest)} and {told(latest)}"


def notes(found: Served) -> list[str]:
    """What else a reader has to know of the history."""
    report = found.report
    said = [
        f"Gap between {gap.after} and {gap.before}: {gap.why}." for gap in report.gaps[:MAX_SHOWN]
    ]
    said += [
        f"Events {part.first} to {part.last} are unsigned and left out."
        for part in report.unsigned[:MAX_SHOWN]
    ]
    if found.disputed_from is not None:
        said.append(f"From event {found.disputed_from} on nothing counts: it is disputed.")
    if found.clocks_left_out:
        numbers = ", ".join(map(str, found.clocks_left_out[:MAX_SHOWN]))
        more = "" if len(found.clocks_left_out) <= MAX_SHOWN else " and more"
        said.append(
            f"The clock was left out at events {numbers}{more}: it contradicts others or a receipt."
        )
    if report.unknown_receipts:
        said.append(
            f"{report.unknown_receipts} receipts are by no receiver that was named with "
            "--receiver-key: nothing is concluded from them."
        )
    return said
