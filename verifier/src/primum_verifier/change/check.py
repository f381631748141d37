"""Does a change keep to its change-control plan? Advice with evidence; a person decides.

A change is ``consistent`` when every check below holds.  Where one does not, or where nobody can
say, the answer is ``not-listed`` if any check of the first kind stands in the way, else
``protocol-not-followed``:

======================================  ==================================================
not-listed: the kind of change is not   protocol-not-followed: it may be, and was not made
in the plan                             or shown as the plan says
======================================  ==================================================
original-device: another device         plan-named, release-named, previous-named,
                                        original-named: papers about something else
intended-use: it differs anywhere       change-tier: below the floor of what differs
authorised: unknown modification, or    reports, report-releases, report-unit,
not allowed in this country by now      report-overall: none, of others, by beats, not met
components-allowed, -forbidden: a part  report-methods, methods: other methods or none
that no claimed modification allows,    stated, or none for a claimed modification
or that one forbids                     report-frozen: a protocol younger than the candidate
components-since-original: the same     acceptance: one criterion, against either
over all changes so far                 baseline, not met on the interval's bound, on a rung
interfaces: hardware, interface, a      cumulative: the same, for all changes since the
part added or taken away, or anything   original device
else that no plan lists                 dates: a paper that is dated ahead
implementation: automatic, manual,      history: none for this change, not even an empty one
global or local otherwise               last-release: from another than the last
combination: modifications together     frequency: more often than foreseen
that were not assessed together         labelling-updated, labelling-version: a section
guardrail: a figure outside its range   left out, or no new label
labelling-planned: a section that no    guardrail: a figure that is not stated
modification names                      deviations: one that the plan does not foresee
======================================  ==================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from primum_verifier.change.answer import ChangeQuestion, Consistency, PlanAnswer, Read
from primum_verifier.change.comparison_report import ComparisonReport
from primum_verifier.change.description import ChangeDescription, ModificationHistory
from primum_verifier.change.differences import tier_floor
from primum_verifier.change.plan import ChangeControlPlan
from primum_verifier.change.rules_followed import FOLLOWED_RULES
from primum_verifier.change.rules_listed import LISTED_RULES
from primum_verifier.change.rules_shown import SHOWN_RULES
from primum_verifier.core.manifest import ReleaseManifest


def check_change(
    plan: Read[ChangeControlPlan],
    *,
    base: Read[ReleaseManifest],
    original: Read[ReleaseManifest],
    candidate: Read[ReleaseManifest],
    change: Read[ChangeDescription],
    reports: Iterable[Read[ComparisonReport]],
    history: Read[ModificationHistory] | None,
    now: datetime,
    jurisdiction: str,
) -> PlanAnswer:
    """Ask every rule, and say how the change stands to the plan.

    Args:
        plan: the authorised plan.
        base: the release that the change starts from, the last modified version.
        original: the release that was authorised first.
        candidate: the release that the change makes.
        change: what the manufacturer claims: which modifications, with which figures.
        reports: comparisons of the candidate with both baselines.
        history: the modifications before this one, an empty list for the first; None when
            none was handed in, which is never enough.
        now: the moment of asking, with a zone.
        jurisdiction: the country that is asked about, ISO 3166-1 alpha-2.

    Returns:
        The answer with all its checks, as advice.
    """
    question = ChangeQuestion(
        plan=plan,
        base=base,
        original=original,
        candidate=candidate,
        change=change,
        reports=tuple(reports),
        history=history,
        now=now,
        jurisdiction=jurisdiction,
    )
    rules = (*LISTED_RULES, *FOLLOWED_RULES, *SHOWN_RULES)
    findings = tuple(item for rule in rules for item in rule(question))
    failed = {item.otherwise for item in findings if item.check.stands_in_the_way}
    answer = next(
        (
            item
            for item in (Consistency.NOT_LISTED, Consistency.PROTOCOL_NOT_FOLLOWED)
            if item in failed
        ),
        Consistency.CONSISTENT,
    )
    return PlanAnswer(answer, findings, tier_floor(question.since_base))
