"""The form of a rule, and the few lines that every rule shares.

A rule is one function: question and reading in, one check out.  Rules stand in three files:
is it *deployable* (:mod:`rules_deployable`), is it *eligible* (:mod:`rules_eligible`), and must
something that runs be *taken away* (:mod:`rules_running`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from primum_verifier.core.question import Check, Question
from primum_verifier.core.reading import Reading
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import Outcome

Rule = Callable[[Question, Reading], Check]


def checked(
    name: str,
    *,
    holds: bool | None,
    reason: Reason,
    found: str,
    expected: str,
    source: str,
    clause: str,
) -> Check:
    """A check from the answer to "does it hold?"; None means that nobody can say."""
    answers = {None: Outcome.UNKNOWN, True: Outcome.SATISFIED, False: Outcome.REFUSED}
    return Check(
        name=name,
        outcome=answers[holds],
        reason=None if holds else reason,
        found=found,
        expected=expected,
        source=source,
        clause=clause,
    )


def not_applicable(name: str, *, why: str, source: str, clause: str) -> Check:
    """A check that does not bear on this question."""
    return Check(
        name=name,
        outcome=Outcome.NOT_APPLICABLE,
        reason=None,
        found=why,
        expected="",
        source=source,
        clause=clause,
    )


def problem(reading: Reading, where: str, otherwise: str) -> str:
    """What was wrong with a document that was there, or what to say when it was not."""
    error = reading.problems.get(where)
    return otherwise if error is None else f"{error.message} {error.found}"


def told(moment: datetime | None) -> str:
    """A moment as people read it."""
    return "unknown" if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def latest(question: Question) -> datetime | None:
    """The time by which something must not have ended, to be granted: the stricter of the two."""
    if question.clock is None or question.proven is None:
        return None
    return max(question.clock, question.proven)


def earliest(question: Question) -> datetime | None:
    """The time by which something must have begun, to be granted: the stricter of the two."""
    if question.clock is None or question.proven is None:
        return None
    return min(question.clock, question.proven)
