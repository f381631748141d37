"""Was the change made as the plan says: its papers, its tier, how often, its label?

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
from primum_verifier.change.differences import tier_floor
from primum_verifier.change.plan import Frequency

_PERFORMANCE = "FDA PCCP guidance (2025) VII.B(3)"
_UPDATES = "FDA PCCP guidance (2025) VII.B(4)"


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


def frequency(question: ChangeQuestion) -> Findings:
    """Each claimed modification, this one counted, is not made more often than was foreseen."""
    for item in question.claimed:
        bound = item.expected_frequency
        count = _count(question, item.id, bound)
        yield finding(
            Consistency.PROTOCOL_NOT_FOLLOWED,
            f"frequency:{item.id}",
            holds=None if count is None else count <= bound.at_most,
            found="no history that holds the last release"
            if count is None
            else f"{count} with this one, in {bound.days} days",
            expected=f"at most {bound.at_most} in {bound.days} days",
            source=question.change.source if question.history is None else question.history.source,
            clause="FDA PCCP guidance (2025) VI: expected frequency of updates",
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


def _count(question: ChangeQuestion, modification: str, bound: Frequency) -> int | None:
    """How often it was made in the time of the bound, this change counted; None: nobody can say."""
    history = question.history
    is_first = question.base.sha256 == question.original.sha256
    if history is None:
        return 1 if is_first else None
    if not is_first and not history.document.holds(question.base.sha256):
        return None
    earlier = [
        item
        for item in history.document.entries
        if modification in item.modification_ids
        # The change itself stands in the list once it was made.
        and item.release.sha256 != question.candidate.sha256
        and item.implemented_at + timedelta(days=bound.days) > question.now
    ]
    return len(earlier) + 1


FOLLOWED_RULES = (papers, tier, frequency, labelling, deviations)
"""Every rule of this file, in the order in which people are told."""
