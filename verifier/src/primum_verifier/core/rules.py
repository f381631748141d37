"""The form of a rule, and what every rule shares.

A rule is a name, a reason code, the document it is read from, the clause it rests on, and one
short function from the case to a finding.  Rules stand in four files, in the order in which a
refusal is explained: is the release *deployable* (:mod:`rules_deployable`), do the clinical
*documents* allow it (:mod:`rules_documents`), does it fit this *place and device*
(:mod:`rules_place`); and, for what runs, must it be *taken away* (:mod:`rules_running`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from primum_verifier.core.device import DeviceContext
from primum_verifier.core.eligibility import Condition, Eligibility
from primum_verifier.core.manifest import ReleaseManifest
from primum_verifier.core.question import Check, Question
from primum_verifier.core.reading import Reading
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import Outcome, Phase

_Document = TypeVar("_Document")
_Found = TypeVar("_Found")

MANIFEST = "release manifest"
STATEMENT = "eligibility statement"
INDEX = "eligibility index"
POLICY = "approval policy"
CONTEXT = "device context"

ALL_PHASES = frozenset(Phase)
GIVING = ALL_PHASES - {Phase.CONTINUE}
"""The phases in which a device is given something, or takes up again what lies there already."""

GRANTING = frozenset(phase for phase in Phase if phase.grants)


class _MissingError(Exception):
    """A document that a rule asks for is not there; the rule about that document refuses."""


@dataclass(frozen=True)
class Case:
    """One question and what was read for it; a document that is asked for is there."""

    question: Question
    reading: Reading
    memo: dict[object, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def manifest(self) -> ReleaseManifest:
        """The manifest."""
        return self._there(self.reading.manifest, "manifest")

    @property
    def said(self) -> Eligibility:
        """What the eligibility statement says."""
        statement = self.reading.statement
        return self._there(None if statement is None else statement.predicate, "statement")

    @property
    def context(self) -> DeviceContext:
        """The device context."""
        return self._there(self.reading.context, CONTEXT)

    @property
    def list_issued_at(self) -> datetime | None:
        """When the list was issued; one that cannot be read is as old as the last that could.

        A list dated ahead stays young; who signs it at threshold could sign a young one as well.
        """
        index = self.reading.index
        return self.question.last_list_issued_at if index is None else index.issued_at

    def once(self, find: Callable[[Case], _Found]) -> _Found:
        """What this finds for the case, or found before: nobody computes it twice."""
        if find not in self.memo:
            self.memo[find] = find(self)
        found: _Found = self.memo[find]
        return found

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The conditions of use: clinical's, and those of the responsible organisation."""
        digest, acceptance = self.reading.statement_digest, self.reading.acceptance
        accepted = None if acceptance is None or digest is None else acceptance.of(digest)
        return (*self.said.conditions, *(() if accepted is None else accepted.conditions))

    @property
    def latest(self) -> datetime | None:
        """The time by which something must not have ended, to be granted: the stricter of two."""
        return self._stricter(max)

    @property
    def earliest(self) -> datetime | None:
        """The time by which something must have begun, to be granted: the stricter of two."""
        return self._stricter(min)

    def _stricter(self, choose: Callable[[datetime, datetime], datetime]) -> datetime | None:
        clock, proven = self.question.clock, self.question.proven
        if self.question.phase == Phase.FALL_BACK:
            # Going back is the safer way: like what runs, it ends by proven time only.
            return proven
        return None if clock is None or proven is None else choose(clock, proven)

    def is_within(self, start: datetime, end: datetime | None) -> bool | None:
        """Whether it has begun and not ended, by the stricter time for each; None: time unknown."""
        if self.earliest is None or self.latest is None:
            return None
        return start <= self.earliest and (end is None or self.latest < end)

    @staticmethod
    def _there(document: _Document | None, what: str) -> _Document:
        if document is None:
            raise _MissingError(f"no {what} to judge by")
        return document


@dataclass(frozen=True)
class Finding:
    """What a rule found.

    Attributes:
        holds: whether it holds; None when nobody can say, which is never a yes.
        found: what was there.
        expected: what the rule asks for.
        reason: another reason code than the rule's own.
        source: another document than the rule's own.
    """

    holds: bool | None
    found: str
    expected: str
    reason: Reason | None = None
    source: str = ""


def refused(
    found: str, expected: str, *, reason: Reason | None = None, source: str = ""
) -> Finding:
    """A finding that a rule does not hold."""
    return Finding(holds=False, found=found, expected=expected, reason=reason, source=source)


Judge = Callable[[Case], Finding | str]
"""From the case to a finding, or to why the rule does not bear on it."""


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        name: its stable name.
        reason: the reason code of its refusal, where the finding gives no other.
        source: the document it is read from.
        clause: the specification or regulation it rests on.
        judge: what is asked.
        phases: the phases it bears on.
    """

    name: str
    reason: Reason
    source: str
    clause: str
    judge: Judge
    phases: frozenset[Phase] = GIVING

    def ask(self, case: Case) -> Check:
        """Ask the rule about a case."""
        answers = {None: Outcome.UNKNOWN, True: Outcome.SATISFIED, False: Outcome.REFUSED}
        finding: Finding | str = f"not asked in the phase {case.question.phase}"
        if case.question.phase in self.phases:
            try:
                finding = self.judge(case)
            except _MissingError as missing:
                finding = str(missing)
        if isinstance(finding, str):
            nothing = Outcome.NOT_APPLICABLE
            return Check(self.name, nothing, None, finding, "", self.source, self.clause)
        return Check(
            name=self.name,
            outcome=answers[finding.holds],
            reason=None if finding.holds else finding.reason or self.reason,
            found=finding.found,
            expected=finding.expected,
            source=finding.source or self.source,
            clause=self.clause,
        )


def rule(
    name: str,
    reason: Reason,
    *,
    source: str,
    clause: str,
    phases: frozenset[Phase] = GIVING,
) -> Callable[[Judge], Rule]:
    """Make a rule of the function below; its docstring says what the rule is for."""
    return lambda judge: Rule(name, reason, source, clause, judge, phases)


def problem(reading: Reading, where: str, otherwise: str) -> str:
    """What was wrong with a document that was there, or what to say when it was not."""
    error = reading.problems.get(where)
    return otherwise if error is None else f"{error.message} {error.found}"


def told(moment: datetime | None) -> str:
    """A moment as people read it."""
    return "unknown" if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def either(words: Iterable[object]) -> str:
    """Several things of which one is enough, as people read them."""
    return " or ".join(str(word) for word in words)
