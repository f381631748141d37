"""Was the change made as the plan says: its papers, its tier, after what, how often, its label?

A change that fails here, or in :mod:`rules_shown`, may be of a kind that was authorised, and was
not made by its protocol.
"""

from __future__ import annotations

from datetime import timedelta

from primum_verifier.change.answer import (
    ChangeQuestion,
    Consistency,
    Findings,
    finding,
    listed,
)
from primum_verifier.change.description import ModificationHistory
from primum_verifier.change.differences import tier_floor
from primum_verifier.core.rules import told

_PERFORMANCE = "FDA PCCP guidance (2025) VII.B(3)"
_UPDATES = "FDA PCCP guidance (2025) VII.B(4)"
_FREQUENCY = "FDA PCCP guidance (2025) VI: expected frequency of updates"


def papers(question: ChangeQuestion) -> Findings:
    """What was handed in is about this plan, this release and these baselines."""
    change, candidate = question.change.document, question.candidate
    manifest = candidate.document
    baselines = [
        None if digest is None else digest.sha256
        for digest in (manifest.previous, manifest.original)
    ]
    named = (
        ("plan-named", change.plan.sha256, question.plan, question.change),
        ("release-named", change.release.sha256, candidate, question.change),
        ("previous-named", baselines[0], question.base, candidate),
        ("original-named", baselines[1], question.original, candidate),
    )
    for name, found, wanted, source in named:
        yield finding(
            Consistency.PROTOCOL_NOT_FOLLOWED,
            name,
            holds=found == wanted.sha256,
            found="none" if found is None else f"sha256 {found}",
            expected=f"sha256 {wanted.sha256}",
            source=source.source,
            clause=_PERFORMANCE,
        )


def dates(question: ChangeQuestion) -> Findings:
    """No paper is dated ahead of the moment of asking."""
    papers = {
        "plan": question.plan.document.issued_at,
        "base": question.base.document.issued_at,
        "candidate": question.candidate.document.issued_at,
        "change": question.change.document.issued_at,
    }
    ahead = {name for name, moment in papers.items() if moment > question.now}
    yield finding(
        Consistency.PROTOCOL_NOT_FOLLOWED,
        "dates",
        holds=not ahead,
        found=listed((f"{name} {told(papers[name])}" for name in ahead), none="none is ahead"),
        expected=f"by {told(question.now)}",
        source=question.change.source,
        clause=_PERFORMANCE,
    )


def tier(question: ChangeQuestion) -> Findings:
    """The release is not called less than it is."""
    stated = question.candidate.document.change_tier
    floor = tier_floor(question.since_base)
    yield finding(
        Consistency.PROTOCOL_NOT_FOLLOWED,
        "change-tier",
        holds=stated.rank >= floor.rank,
        found=stated,
        expected=f"at least {floor}",
        source=question.candidate.source,
        clause="IEC 62304 6.2.3; ISO 13485 7.3.9",
    )


def history(question: ChangeQuestion) -> Findings:
    """The earlier changes are stated for this change, and it starts from the last of them.

    Without a list nobody can say; that nothing was changed before is said by an empty one.
    """
    handed = question.history
    made = question.candidate.document.issued_at
    yield finding(
        Consistency.PROTOCOL_NOT_FOLLOWED,
        "history",
        holds=None
        if handed is None
        else handed.document.original.sha256 == question.original.sha256
        and made <= handed.document.issued_at <= question.now,
        found="no history"
        if handed is None
        else f"original {handed.document.original.sha256[:16]}, "
        f"issued {told(handed.document.issued_at)}",
        expected=f"original {question.original.sha256[:16]}, "
        f"issued from {told(made)} to {told(question.now)}",
        source=_history_source(question),
        clause=_FREQUENCY,
    )
    yield finding(
        Consistency.PROTOCOL_NOT_FOLLOWED,
        "last-release",
        holds=None if handed is None else question.base.sha256 in _last(question, handed.document),
        found=f"{question.base.document.name}, sha256 {question.base.sha256[:16]}",
        expected="no history"
        if handed is None
        else f"among {listed(item[:16] for item in _last(question, handed.document))}",
        source=_history_source(question),
        clause=_PERFORMANCE,
    )


def frequency(question: ChangeQuestion) -> Findings:
    """Each claimed modification, this one counted, is not made more often than was foreseen."""
    for item in question.claimed:
        bound = item.expected_frequency
        count = None
        if question.history is not None:
            begin = question.now - timedelta(days=bound.days)
            count = 1 + sum(
                item.id in earlier.modification_ids and earlier.implemented_at > begin
                for earlier in question.history.document.before(question.candidate.sha256)
            )
        yield finding(
            Consistency.PROTOCOL_NOT_FOLLOWED,
            f"frequency:{item.id}",
            holds=None if count is None else count <= bound.at_most,
            found="no history" if count is None else f"{count} with this one, in {bound.days} days",
            expected=f"at most {bound.at_most} in {bound.days} days",
            source=_history_source(question),
            clause=_FREQUENCY,
        )


def labelling(question: ChangeQuestion) -> Findings:
    """Every section that a claimed modification names was updated, in a new label."""
    planned = {section for item in question.claimed for section in item.labelling_sections}
    updated = set(question.change.document.labelling_sections)
    yield finding(
        Consistency.PROTOCOL_NOT_FOLLOWED,
        "labelling-updated",
        holds=planned <= updated,
        found=listed(updated),
        expected=listed(planned),
        source=question.change.source,
        clause=_UPDATES,
    )
    is_new = question.since_base.differs_in("labelling.ifuVersion")
    yield finding(
        Consistency.PROTOCOL_NOT_FOLLOWED,
        "labelling-version",
        holds=is_new or not updated,
        found=f"version {question.candidate.document.labelling.ifu_version}, "
        f"before {question.base.document.labelling.ifu_version}",
        expected="another version" if updated else "any; no section was updated",
        source=question.candidate.source,
        clause=_UPDATES,
    )


def deviations(question: ChangeQuestion) -> Findings:
    """Only deviations that the plan foresees for a claimed modification were made."""
    claimed = {item.id for item in question.claimed}
    foreseen = {
        item.id for item in question.plan.document.deviations if item.modification_id in claimed
    }
    made = set(question.change.document.deviations)
    yield finding(
        Consistency.PROTOCOL_NOT_FOLLOWED,
        "deviations",
        holds=made <= foreseen,
        found=listed(made),
        expected=f"among {listed(foreseen)}",
        source=question.change.source,
        clause="FDA PCCP guidance (2025) VII",
    )


def _history_source(question: ChangeQuestion) -> str:
    return question.change.source if question.history is None else question.history.source


def _last(question: ChangeQuestion, handed: ModificationHistory) -> set[str]:
    """The releases that a change may start from: the last global one, and local ones since.

    A local change is no baseline for everybody else, so it passes nobody.
    """
    local = {item.id for item in question.plan.document.modifications if item.scope == "local"}
    earlier = handed.before(question.candidate.sha256)
    times = [item.implemented_at for item in earlier if not local.issuperset(item.modification_ids)]
    newest = max(times, default=None)
    found = {
        item.release.sha256 for item in earlier if newest is None or item.implemented_at >= newest
    }
    return found if newest is not None else found | {question.original.sha256}


FOLLOWED_RULES = (papers, dates, tier, history, frequency, labelling, deviations)
"""Every rule of this file, in the order in which people are told."""
