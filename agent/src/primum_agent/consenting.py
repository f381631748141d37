"""Asking a person before a release is activated: the question, the answer, and "later".

One question at a time, about one release, known by its manifest's digest.  It is bounded: each
"later" lasts some powered hours, there are only so many, and silence uses them up too.  An answer
is an event.  Standard library only: the supervisor answers the application from here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from primum_agent.events import Entry, EventKind
from primum_agent.journal_port import JournalPort
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.core.reasons import Reason

QUESTION = "consent"
"""The counter that holds the question that stands, as JSON; empty while nobody is asked."""

_HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a person is asked.

    Attributes:
        release: SHA-256 of the manifest.
        name: component and version.
        deferrals: how often "later" may be said, silence included.
        hours: for how many powered hours each time.
        mandatory: whether it goes on holding without an answer.
        asked: powered seconds at which it was asked.
        deferred: how often a person said "later".
        until: powered seconds at which the present wait ends.
    """

    release: str
    name: str
    deferrals: int
    hours: float
    mandatory: bool
    asked: float
    deferred: int = 0
    until: float = 0.0

    def deferrals_left(self, powered: float) -> int:
        """How often "later" may still be said; each wait that passed in silence has used one."""
        silent = max(0, math.ceil((powered - self.until) / (self.hours * _HOUR)))
        return max(0, self.deferrals - self.deferred - silent)

    def seconds_left(self, powered: float) -> float:
        """Powered seconds until the question no longer holds, if nobody answers."""
        waits = max(0, self.deferrals - self.deferred) * self.hours * _HOUR
        return max(0.0, self.until + waits - powered)

    def as_dict(self, powered: float) -> dict[str, object]:
        """The question as an application shows it."""
        return {
            "release": self.release,
            "name": self.name,
            "mandatory": self.mandatory,
            "deferrals": self.deferrals,
            "deferralsLeft": self.deferrals_left(powered),
            "hours": self.hours,
            "deferredForSeconds": round(max(0.0, self.until - powered), 1) if self.deferred else 0,
            "holdsForSeconds": None if self.mandatory else round(self.seconds_left(powered), 1),
        }


def question_in(text: str) -> Question | None:
    """The question that a counter's text holds."""
    content: dict[str, Any] = json.loads(text) if text else {}
    return Question(**content) if content else None


def question_of(journal: JournalPort) -> Question | None:
    """The question that stands now."""
    return question_in(journal.counter(QUESTION, ""))


def told_question(journal: JournalPort) -> dict[str, object] | None:
    """The question that stands, unanswered, as an application or a person is shown it."""
    question = question_of(journal)
    if question is None or question.release in journal.state().agreed:
        return None
    return question.as_dict(journal.powered_seen())


def ask_person(
    journal: JournalPort,
    *,
    release: str,
    name: str,
    deferrals: int,
    hours: float,
    mandatory: bool,
    powered: float,
) -> Question:
    """Ask about a release; where it was asked before, the time goes on from then.

    Args:
        journal: keeps the question.
        release: SHA-256 of the manifest.
        name: component and version.
        deferrals: how often "later" may be said.
        hours: powered hours of each wait.
        mandatory: whether it goes on holding without an answer.
        powered: powered seconds now.
    """
    before = question_of(journal)
    if before is None or before.release != release:
        asked = Question(
            release=release,
            name=name,
            deferrals=deferrals,
            hours=hours,
            mandatory=mandatory,
            asked=powered,
            until=powered + hours * _HOUR,
        )
    else:
        asked = replace(before, deferrals=deferrals, hours=hours, mandatory=mandatory)
        # Shorter settings count at once: no wait is longer than they say now.
        asked = replace(asked, until=min(asked.until, powered + hours * _HOUR))
    if asked != before:
        _keep(journal, asked)
    return asked


def forget_question(journal: JournalPort) -> None:
    """Nobody is asked any more."""
    if journal.counter(QUESTION, ""):
        journal.set_counters(consent="")


def agree(journal: JournalPort, *, release: str, name: str, by: str, using: str) -> None:
    """Record that a person agrees to one release; said twice it is recorded once.

    Args:
        journal: the open journal.
        release: SHA-256 of its manifest.
        name: component and version.
        by: who.
        using: by what means it was said.
    """
    # Twenty may say it at once, and all of them would see that nobody has said it yet.
    with journal.deciding():
        if journal.state().agreed.get(release) == by:
            return
        journal.record(
            Entry(
                kind=EventKind.UPDATE_AGREED,
                subject=name,
                result="accepted",
                change={"agreed": {release: by}},
                detail={"by": by, "release": release, "with": using},
            )
        )


def defer(journal: JournalPort, *, release: str | None, by: str, using: str) -> Question:
    """Record that a person says "later" to the question that stands.

    Args:
        journal: the open journal.
        release: SHA-256 of the manifest that is meant; the one that is asked about when None.
        by: who.
        using: by what means it was said.

    Raises:
        UsageError: nobody is asked about this release.
        RefusedError: ``safety.operator``: no deferral is left.
    """
    with journal.deciding():
        question = asked_about(journal, release)
        powered = journal.powered_total()
        left = question.deferrals_left(powered)
        if left == 0:
            raise RefusedError(
                "No deferral is left.",
                reason=Reason.SAFETY_OPERATOR,
                where=question.name,
                found=f"{question.deferrals} were allowed",
                remedy="Agree with `primum-agent consent`; it waits until you do."
                if question.mandatory
                else "It is activated once the other gates are open.",
            )
        used = question.deferrals - left + 1
        until = powered + question.hours * _HOUR
        later = replace(question, deferred=used, until=until)
        # First the report, then the effect: no "later" counts that nobody said.
        journal.record(
            Entry(
                kind=EventKind.UPDATE_WAITING,
                subject=question.name,
                result="waiting",
                reasons=(Reason.SAFETY_OPERATOR,),
                detail={
                    "deferredBy": by,
                    "release": question.release,
                    "hours": question.hours,
                    "deferralsLeft": later.deferrals_left(powered),
                    "with": using,
                },
            )
        )
        _keep(journal, later)
    return later


def asked_about(journal: JournalPort, release: str | None) -> Question:
    """The question that stands, if it is about this release.

    Args:
        journal: the open journal.
        release: SHA-256 of the manifest that is meant; whichever is asked about when None.

    Raises:
        UsageError: nobody is asked, or about another release.
    """
    question = question_of(journal)
    if question is None or (release is not None and question.release != release):
        raise UsageError(
            "Nobody is asked about this release." if release else "Nobody is asked now.",
            reason=Reason.USAGE,
            found=release or "no question",
            expected="no question stands" if question is None else question.release,
            remedy="`primum-agent status` shows what waits for an answer.",
        )
    return question


def _keep(journal: JournalPort, question: Question) -> None:
    content: Mapping[str, object] = asdict(question)
    journal.set_counters(consent=json.dumps(content, separators=(",", ":")))
