"""Is this kind of change in the plan, for this country? Each rule yields what it found.

A change that fails here is one the authority has not seen: ``not-listed``.
"""

from __future__ import annotations

from decimal import Decimal as Number

from primum_verifier.change.answer import (
    ChangeQuestion,
    Consistency,
    Finding,
    Findings,
    finding,
    listed,
)
from primum_verifier.change.differences import ItemChange
from primum_verifier.change.plan import Guardrail, Modification
from primum_verifier.core.rules import told
from primum_verifier.core.vocabulary import ChangeTier

_DESCRIPTION = "FDA PCCP guidance (2025) VI"


def same_device(question: ChangeQuestion) -> Findings:
    """The plan is about this device, and the change leaves its intended use alone."""
    plan, original = question.plan.document, question.original
    device = plan.original_device
    yield finding(
        Consistency.NOT_LISTED,
        "original-device",
        holds=(device.manifest.sha256, device.version)
        == (original.sha256, original.document.bundle.version),
        found=f"{original.document.name}, sha256 {original.sha256}",
        expected=f"{device.version}, sha256 {device.manifest.sha256}",
        source=question.plan.source,
        clause="FDA PCCP guidance (2025) V; 21 USC 360e-4",
    )
    uses = {
        name: item.document.intended_use.sha256
        for name, item in (
            ("original", question.original),
            ("base", question.base),
            ("candidate", question.candidate),
        )
    }
    yield finding(
        Consistency.NOT_LISTED,
        "intended-use",
        holds=set(uses.values()) == {plan.intended_use.sha256},
        found=", ".join(f"{name} {sha256[:16]}" for name, sha256 in uses.items()),
        expected=f"{plan.intended_use.sha256[:16]} everywhere",
        source=question.candidate.source,
        clause="21 USC 360e-4(a)(2): within the intended use of the device",
    )


def authorised(question: ChangeQuestion) -> Findings:
    """Each claimed modification is in the plan and was allowed in this country before now."""
    known = {item.id for item in question.claimed}
    for claimed in sorted(question.change.document.modification_ids):
        letters = question.letters_of(claimed)
        valid = [item for item in letters if item.date <= question.now]
        if claimed not in known:
            found = "the plan holds no such modification"
        elif not letters:
            found = f"no authority of {question.jurisdiction} is named for it"
        else:
            found = listed(
                f"{item.authority}, {item.reference}, {told(item.date)}" for item in letters
            )
        yield finding(
            Consistency.NOT_LISTED,
            f"authorised:{claimed}",
            holds=bool(valid),
            found=found,
            expected=f"authorised in {question.jurisdiction} by {told(question.now)}",
            source=question.plan.source,
            clause="FDA PCCP guidance (2025) V.C; Regulation (EU) 2024/1689 Art. 43(4)",
        )


def components(question: ChangeQuestion) -> Findings:
    """Only parts that the claimed modifications allow differ, and none that one forbids."""
    allowed = {str(kind) for item in question.claimed for kind in item.components_allowed}
    forbidden = {str(kind) for item in question.claimed for kind in item.components_forbidden}
    changed = question.since_base.changed_kinds
    shown = listed(
        (f"{item.kind} {item.id} {item.change}" for item in question.since_base.changed_items),
        none="nothing changed",
    )
    yield finding(
        Consistency.NOT_LISTED,
        "components-allowed",
        holds=changed <= allowed,
        found=shown,
        expected=f"among {listed(allowed)}",
        source=question.candidate.source,
        clause=_DESCRIPTION,
    )
    yield finding(
        Consistency.NOT_LISTED,
        "components-forbidden",
        holds=changed.isdisjoint(forbidden),
        found=shown,
        expected=f"none of {listed(forbidden)}",
        source=question.candidate.source,
        clause=_DESCRIPTION,
    )
    ever = {
        str(kind)
        for item in question.plan.document.modifications
        if any(letter.date <= question.now for letter in question.letters_of(item.id))
        for kind in item.components_allowed
    }
    yield finding(
        Consistency.NOT_LISTED,
        "components-since-original",
        holds=question.since_original.changed_kinds <= ever,
        found=listed(question.since_original.changed_kinds, none="nothing changed"),
        expected=f"among {listed(ever)}",
        source=question.original.source,
        clause="FDA PCCP guidance (2025) VIII: cumulative impact",
    )


def interfaces(question: ChangeQuestion) -> Findings:
    """Nothing differs that would make another device of it.

    A plan lists kinds of part; hardware, interfaces, a part added or taken away, and what this
    build does not know are none.
    """
    found = set()
    for difference in (question.since_base, question.since_original):
        # The intended use has a rule of its own.
        members = (item for item in difference.members if item.name != "intendedUse")
        found |= {item.name for item in members if item.floor == ChangeTier.MATERIAL}
        found |= {
            f"{item.kind} {item.id} {item.change}"
            for item in difference.changed_items
            if item.change != ItemChange.CHANGED and item.floor == ChangeTier.MATERIAL
        }
    yield finding(
        Consistency.NOT_LISTED,
        "interfaces",
        holds=not found,
        found=listed(found, none="nothing changed"),
        expected="hardware, interfaces and architecture as they were",
        source=question.candidate.source,
        clause=_DESCRIPTION,
    )


def way_of_implementing(question: ChangeQuestion) -> Findings:
    """It is brought to devices as each claimed modification says."""
    change = question.change.document
    for item in question.claimed:
        factors = set(change.local_factors) <= set(item.local_factors)
        yield finding(
            Consistency.NOT_LISTED,
            f"implementation:{item.id}",
            holds=item.implementation in {change.implementation, "both"}
            and item.scope == change.scope
            and factors,
            found=f"{change.implementation}, {change.scope}, "
            f"local factors: {listed(change.local_factors)}",
            expected=f"{item.implementation}, {item.scope}, "
            f"local factors among: {listed(item.local_factors)}",
            source=question.change.source,
            clause="FDA PCCP guidance (2025) VI.B",
        )


def combination(question: ChangeQuestion) -> Findings:
    """Modifications that are made together were assessed together."""
    claimed = set(question.change.document.modification_ids)
    assessed = [
        set(item.modification_ids) for item in question.plan.document.impact_assessment.interactions
    ]
    yield finding(
        Consistency.NOT_LISTED,
        "combination",
        holds=len(claimed) == 1 or any(claimed <= item for item in assessed),
        found=listed(claimed),
        expected="one modification, or an assessed interaction of them all",
        source=question.plan.source,
        clause="FDA PCCP guidance (2025) VIII",
    )


def guardrails(question: ChangeQuestion) -> Findings:
    """Each figure that bounds a claimed modification is stated, and inside its range.

    Outside, it is another modification than was allowed; not stated, nobody can say.
    """
    for item in question.claimed:
        for guardrail in item.guardrails:
            yield _guardrail(question, item, guardrail)


def _guardrail(question: ChangeQuestion, item: Modification, guardrail: Guardrail) -> Finding:
    value = question.change.document.value(item.id, guardrail.parameter)
    holds = None
    if value is not None:
        holds = Number(guardrail.min) <= Number(value) <= Number(guardrail.max)
    return finding(
        Consistency.PROTOCOL_NOT_FOLLOWED if value is None else Consistency.NOT_LISTED,
        f"guardrail:{item.id}:{guardrail.parameter}",
        holds=holds,
        found="not stated" if value is None else value,
        expected=f"{guardrail.min} to {guardrail.max}",
        source=question.change.source,
        clause="FDA PCCP guidance (2025) VI: range of the modification",
    )


def labelling(question: ChangeQuestion) -> Findings:
    """No section of the label is touched that no claimed modification names."""
    planned = {section for item in question.claimed for section in item.labelling_sections}
    touched = set(question.change.document.labelling_sections)
    yield finding(
        Consistency.NOT_LISTED,
        "labelling-planned",
        holds=touched <= planned,
        found=listed(touched),
        expected=f"among {listed(planned)}",
        source=question.change.source,
        clause="FDA PCCP guidance (2025) V.C, VII.B(4)",
    )


LISTED_RULES = (
    same_device,
    authorised,
    components,
    interfaces,
    way_of_implementing,
    combination,
    guardrails,
    labelling,
)
"""Every rule of this file, in the order in which people are told."""
