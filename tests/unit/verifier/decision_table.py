"""What a device may do, and must, row by row: one table for the test and for the page.

``python -m tests.unit.verifier.decision_table``, in the root of the checkout, writes the page
``docs/decision-table.md`` anew; a test keeps it current.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.unit.verifier.bending import (
    Bend,
    accepted,
    at,
    attribute,
    both,
    constraint,
    drop_approval,
    expires,
    facts,
    held,
    nothing,
    noticed,
    placed,
    restricted,
    shadow_first,
    shadow_was_clean,
    statement,
    when,
    within,
)
from tests.unit.verifier.conftest import NOW, World

from primum_verifier.core.question import ArtifactsFact, ClinicalUse, SelfTestFact
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import Capability, NoticeAction, Phase

PAGE = Path(__file__).parents[3] / "docs" / "decision-table.md"

ROWS: dict[int, str] = {
    1: "Not deployable, whatever clinical says: the download is dropped, what runs stays.",
    2: "Deployable, and eligible nowhere yet: kept, and neither proven nor used.",
    3: "Shadow only, or shadow first: it runs beside what is in use, and no output is shown.",
    4: "Investigational, enrolled, the study has not ended: used at the listed devices only.",
    5: "Investigational, not enrolled: as if it were not eligible.",
    6: "Eligible at an earlier stage, or for another group: it waits.",
    7: "Eligible, fresh, proven, nobody is served: activated for clinical use.",
    8: "Eligible, and its test on this device failed: never activated here.",
    9: "Eligible and proven, and not now: deferred, never inside an episode.",
    10: "The list is older than allowed, within the grace: what runs goes on with a notice.",
    11: "The list is older than the grace: what the statement orders for its end.",
    12: "The statement has ended: what it orders for its end.",
    13: "Held: nothing is activated anew; what runs goes on with a notice.",
    14: "Restricted: narrower at once, or as withdrawn where that cannot be held.",
    15: "Withdrawn: back to what is eligible now, and to nothing else.",
    16: "Moved, or a context that cannot be trusted: judged anew at once.",
    17: "The floor was raised: what runs goes on; as a new target it is refused.",
    18: "Bytes that are not those signed: stopped, whatever the documents say.",
}
"""The rows, as people read them."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One situation of a row.

    Attributes:
        row: the number of the row.
        told: the situation, as people read it.
        phase: what is asked.
        bend: how the world, in which everything is right, is bent.
        may: how far the device may go.
        ordered: what must happen to a running release; None: nothing.
        reason: the primary reason; None: nothing stands in the way.
    """

    row: int
    told: str
    phase: Phase = Phase.INSTALL
    bend: Bend = nothing
    may: Capability
    ordered: NoticeAction | None = None
    reason: Reason | None = None


def _late(hours: float) -> Bend:
    """The list is as old as this, and every role still signs."""
    return both(at(hours=hours), _long())


def _long() -> Bend:
    roles = ("root", "timestamp", "snapshot", "targets", "model", "rollout", "eligibility")
    return both(
        expires(NOW.replace(year=2030), *roles, "safety"),
        lambda world: world.context.update(notAfter=when(days=900)),
    )


def _on_expiry(action: str) -> Bend:
    return within("statement", "onExpiry.action", action)


def _decided(decision: str, *then: Bend) -> Bend:
    return both(lambda world: world.decide(decision), *then)


def _not_enrolled(world: World) -> None:
    world.statement["study"]["devices"] = ["another-device"]


def _earlier_stage(world: World) -> None:
    world.statement["stage"] = "limited-release"
    functions = dict(world.policy["requirements"][0]["functions"])
    world.policy["requirements"].append({"stage": "limited-release", "functions": functions})
    for approval in world.approvals:
        approval["scope"] = {"stage": "limited-release", "changeTier": "minor"}


_ENDED = both(
    within("statement", "validity.notBefore", when(hours=-1)),
    within("statement", "validity.notAfter", when(minutes=30)),
)
_DAMAGED = facts(artifacts=ArtifactsFact.DAMAGED)
_WITHDRAWN = noticed("clinical", "quality")
_NONE, _STORE, _STAGE, _TEST = (
    Capability.NONE,
    Capability.STORE,
    Capability.STAGE,
    Capability.SELF_TEST,
)
_CLINICAL = Capability.CLINICAL
_GO_ON, _BACK = NoticeAction.CONTINUE_WITH_NOTICE, NoticeAction.FALL_BACK
_RUNS = Phase.CONTINUE

CELLS: tuple[Cell, ...] = (
    Cell(
        row=1,
        told="engineering metadata ended",
        bend=expires(NOW, "model"),
        may=_NONE,
        reason=Reason.TRUST_EXPIRED,
    ),
    Cell(
        row=1,
        told="made for other hardware",
        bend=facts(hardware_id="other"),
        may=_NONE,
        reason=Reason.COMPAT_HARDWARE,
    ),
    Cell(
        row=1,
        told="older than the floor",
        bend=facts(counter_floor=3),
        may=_NONE,
        reason=Reason.TRUST_ROLLBACK,
    ),
    Cell(row=1, told="a file is damaged", bend=_DAMAGED, may=_NONE, reason=Reason.ARTIFACT_DIGEST),
    Cell(
        row=1,
        told="a file is damaged, not eligible either",
        may=_NONE,
        bend=both(_DAMAGED, attribute("listed", value=False)),
        reason=Reason.ARTIFACT_DIGEST,
    ),
    Cell(
        row=1,
        told="a file is damaged, the list too old",
        may=_NONE,
        bend=both(_DAMAGED, _late(500)),
        reason=Reason.ARTIFACT_DIGEST,
    ),
    Cell(
        row=1,
        told="the time is unknown",
        bend=facts(clock=None),
        may=_NONE,
        reason=Reason.TRUST_TIME_UNKNOWN,
    ),
    Cell(
        row=2,
        told="not on the list, nothing fetched",
        may=_STORE,
        bend=both(attribute("listed", value=False), facts(artifacts=ArtifactsFact.NOT_FETCHED)),
        reason=Reason.ELIGIBILITY_ABSENT,
    ),
    Cell(
        row=2,
        told="not on the list",
        bend=attribute("listed", value=False),
        may=_STAGE,
        reason=Reason.ELIGIBILITY_ABSENT,
    ),
    Cell(
        row=2,
        told="not on the list, list too old",
        may=_STAGE,
        bend=both(attribute("listed", value=False), _late(500)),
        reason=Reason.ELIGIBILITY_ABSENT,
    ),
    Cell(
        row=2,
        told="no list that can be read",
        bend=attribute("index", value=None),
        may=_STAGE,
        reason=Reason.TRUST_STALE_INDEX,
    ),
    Cell(
        row=2,
        told="an approval is missing",
        bend=drop_approval("clinical"),
        may=_STAGE,
        reason=Reason.ELIGIBILITY_APPROVALS,
    ),
    Cell(
        row=3,
        told="the organisation accepted it",
        bend=_decided("shadow-only"),
        may=Capability.SHADOW,
    ),
    Cell(
        row=3,
        told="no organisation accepted it",
        may=_STAGE,
        bend=_decided("shadow-only", attribute("acceptance", value=None)),
        reason=Reason.ELIGIBILITY_SITE_ACCEPTANCE,
    ),
    Cell(
        row=3,
        told="its test failed",
        may=_TEST,
        reason=Reason.SELFTEST_FAILED,
        bend=_decided("shadow-only", facts(self_test=SelfTestFact.FAILED)),
    ),
    Cell(
        row=3,
        told="in shadow first, not yet clean here",
        bend=shadow_first(),
        may=Capability.SHADOW,
        reason=Reason.SAFETY_SHADOW,
    ),
    Cell(
        row=3,
        told="in shadow first, clean under another statement",
        phase=Phase.ACTIVATE,
        bend=both(shadow_first(), facts(shadowed_under="5" * 64)),
        may=Capability.SHADOW,
        reason=Reason.SAFETY_SHADOW,
    ),
    Cell(
        row=3,
        told="in shadow first, clean here",
        phase=Phase.ACTIVATE,
        bend=both(shadow_first(), shadow_was_clean),
        may=Capability.CLINICAL,
    ),
    Cell(
        row=3,
        told="in shadow first, not yet clean here, its test failed",
        bend=both(shadow_first(), facts(self_test=SelfTestFact.FAILED)),
        may=_TEST,
        reason=Reason.SELFTEST_FAILED,
    ),
    Cell(
        row=4,
        told="the device is enrolled",
        bend=_decided("investigational"),
        may=Capability.INVESTIGATIONAL,
    ),
    Cell(
        row=4,
        told="the device is enrolled, in another country",
        may=_STAGE,
        bend=_decided("investigational", placed(jurisdiction="CH")),
        reason=Reason.ELIGIBILITY_JURISDICTION,
    ),
    Cell(
        row=4,
        told="the study has ended",
        may=_STAGE,
        reason=Reason.ELIGIBILITY_EXPIRED,
        bend=_decided("investigational", within("statement", "study.until", when(hours=1))),
    ),
    Cell(
        row=5,
        told="not enrolled",
        bend=_decided("investigational", _not_enrolled),
        may=_STAGE,
        reason=Reason.ELIGIBILITY_SITE,
    ),
    Cell(
        row=6,
        told="limited release, on a device for production",
        bend=_earlier_stage,
        may=_STAGE,
        reason=Reason.ELIGIBILITY_STAGE,
    ),
    Cell(
        row=6,
        told="for another group of sites",
        may=_STAGE,
        bend=both(
            constraint(sites={"mode": "group", "ids": ["pilot"]}), placed(siteGroups=["later"])
        ),
        reason=Reason.ELIGIBILITY_SITE,
    ),
    Cell(row=7, told="everything is right", phase=Phase.INSTALL, may=_CLINICAL),
    Cell(row=7, told="everything is right", phase=Phase.ACTIVATE, may=_CLINICAL),
    Cell(
        row=7,
        told="with conditions, and accepted by the site",
        may=_CLINICAL,
        bend=_decided("eligible-with-conditions", accepted()),
    ),
    Cell(
        row=7,
        told="a site on the trust map that is silent",
        may=_STAGE,
        bend=both(
            accepted(),
            lambda world: world.acceptance.update(accepted=[]) if world.acceptance else None,
        ),
        reason=Reason.ELIGIBILITY_SITE_ACCEPTANCE,
    ),
    Cell(row=7, told="not tested yet", bend=facts(self_test=SelfTestFact.NOT_RUN), may=_TEST),
    Cell(
        row=8,
        told="its test failed",
        bend=facts(self_test=SelfTestFact.FAILED),
        may=_TEST,
        reason=Reason.SELFTEST_FAILED,
    ),
    Cell(
        row=8,
        told="its test was not finished",
        may=_TEST,
        bend=facts(self_test=SelfTestFact.INCOMPLETE),
        reason=Reason.SELFTEST_INCOMPLETE,
    ),
    Cell(
        row=9,
        told="a patient is being served",
        may=_TEST,
        phase=Phase.ACTIVATE,
        bend=facts(clinical_use=ClinicalUse.IN_USE),
        reason=Reason.SAFETY_IN_USE,
    ),
    Cell(
        row=9,
        told="a person has to agree and did not",
        may=_TEST,
        phase=Phase.ACTIVATE,
        bend=statement(use={"mode": "clinical", "automation": "manual-update"}),
        reason=Reason.SAFETY_OPERATOR,
    ),
    Cell(
        row=9,
        told="a patient is being served, a person agreed",
        may=_TEST,
        phase=Phase.ACTIVATE,
        reason=Reason.SAFETY_IN_USE,
        bend=facts(clinical_use=ClinicalUse.IN_USE, operator_agreed=True),
    ),
    Cell(
        row=10,
        told="new",
        bend=_late(260),
        phase=Phase.ACTIVATE,
        may=_STAGE,
        reason=Reason.TRUST_STALE_INDEX,
    ),
    Cell(
        row=10,
        told="runs",
        bend=_late(260),
        phase=_RUNS,
        may=_CLINICAL,
        ordered=_GO_ON,
        reason=Reason.TRUST_STALE_INDEX,
    ),
    Cell(
        row=10,
        told="runs, and the time is unknown",
        bend=facts(clock=None, proven=None),
        phase=_RUNS,
        may=_CLINICAL,
    ),
    Cell(
        row=11,
        told="the statement says: go on with a notice",
        phase=_RUNS,
        may=_CLINICAL,
        bend=_late(300),
        ordered=_GO_ON,
        reason=Reason.TRUST_STALE_INDEX,
    ),
    Cell(
        row=11,
        told="the statement says: stop",
        phase=_RUNS,
        may=_STAGE,
        bend=both(_on_expiry("suspend-ai-function"), _late(300)),
        ordered=NoticeAction.SUSPEND_AI_FUNCTION,
        reason=Reason.TRUST_STALE_INDEX,
    ),
    Cell(
        row=12,
        told="the statement says: tell",
        phase=_RUNS,
        may=_CLINICAL,
        bend=both(_ENDED, _on_expiry("notify-only")),
        ordered=NoticeAction.NOTIFY_ONLY,
        reason=Reason.ELIGIBILITY_EXPIRED,
    ),
    Cell(
        row=12,
        told="the statement says: go on with a notice",
        phase=_RUNS,
        may=_CLINICAL,
        bend=_ENDED,
        ordered=_GO_ON,
        reason=Reason.ELIGIBILITY_EXPIRED,
    ),
    Cell(
        row=12,
        told="the statement says: fall back",
        phase=_RUNS,
        may=_STAGE,
        bend=both(_ENDED, _on_expiry("fall-back")),
        ordered=_BACK,
        reason=Reason.ELIGIBILITY_EXPIRED,
    ),
    Cell(
        row=12,
        told="the statement says: stop",
        phase=_RUNS,
        may=_STAGE,
        bend=both(_ENDED, _on_expiry("suspend-ai-function")),
        ordered=NoticeAction.SUSPEND_AI_FUNCTION,
        reason=Reason.ELIGIBILITY_EXPIRED,
    ),
    Cell(row=12, told="new", bend=_ENDED, may=_STAGE, reason=Reason.ELIGIBILITY_EXPIRED),
    Cell(
        row=13,
        told="runs, held by a notice",
        bend=held(),
        phase=_RUNS,
        may=_CLINICAL,
        ordered=_GO_ON,
        reason=Reason.ELIGIBILITY_HELD,
    ),
    Cell(
        row=13,
        told="runs, marked as held on the list",
        phase=_RUNS,
        may=_CLINICAL,
        bend=attribute("index_status", "held"),
        ordered=_GO_ON,
        reason=Reason.ELIGIBILITY_HELD,
    ),
    Cell(
        row=13,
        told="runs, dropped from the list",
        phase=_RUNS,
        may=_CLINICAL,
        bend=attribute("listed", value=False),
        ordered=_GO_ON,
        reason=Reason.ELIGIBILITY_HELD,
    ),
    Cell(
        row=13,
        told="new",
        bend=held(),
        phase=Phase.ACTIVATE,
        may=_STAGE,
        reason=Reason.ELIGIBILITY_HELD,
    ),
    Cell(row=13, told="way back", bend=held(), phase=Phase.FALL_BACK, may=_CLINICAL),
    Cell(
        row=14,
        told="runs, to patients that the application asks about",
        phase=_RUNS,
        bend=both(restricted(patientCategories=["adult"]), facts(asks_per_episode=True)),
        may=_CLINICAL,
        ordered=NoticeAction.RESTRICT,
        reason=Reason.ELIGIBILITY_POPULATION,
    ),
    Cell(
        row=14,
        told="runs, to patients that nobody asks about",
        phase=_RUNS,
        bend=restricted(patientCategories=["adult"]),
        may=_STAGE,
        ordered=_BACK,
        reason=Reason.ELIGIBILITY_POPULATION,
    ),
    Cell(
        row=14,
        told="runs, to other sites",
        phase=_RUNS,
        may=_STAGE,
        ordered=_BACK,
        bend=restricted(sites={"mode": "list", "ids": ["ward-8"]}),
        reason=Reason.ELIGIBILITY_POPULATION,
    ),
    Cell(
        row=14,
        told="runs, to an operating point that was never approved",
        phase=_RUNS,
        bend=restricted(operatingPoint="cautious"),
        may=_STAGE,
        ordered=_BACK,
        reason=Reason.ELIGIBILITY_POPULATION,
    ),
    Cell(
        row=14,
        told="new, to other sites",
        may=_STAGE,
        bend=restricted(sites={"mode": "list", "ids": ["ward-8"]}),
        reason=Reason.ELIGIBILITY_POPULATION,
    ),
    Cell(
        row=15,
        told="runs",
        bend=_WITHDRAWN,
        phase=_RUNS,
        may=_STAGE,
        ordered=_BACK,
        reason=Reason.ELIGIBILITY_WITHDRAWN,
    ),
    Cell(row=15, told="way back, to what is eligible now", phase=Phase.FALL_BACK, may=_CLINICAL),
    Cell(
        row=15,
        told="way back, to what is withdrawn",
        bend=_WITHDRAWN,
        phase=Phase.FALL_BACK,
        may=_STAGE,
        reason=Reason.ELIGIBILITY_WITHDRAWN,
    ),
    Cell(
        row=15,
        told="way back, to what has ended",
        bend=_ENDED,
        phase=Phase.FALL_BACK,
        may=_STAGE,
        reason=Reason.ELIGIBILITY_EXPIRED,
    ),
    Cell(
        row=15,
        told="way back, to what was dropped from the list",
        phase=Phase.FALL_BACK,
        bend=attribute("listed", value=False),
        may=_STAGE,
        reason=Reason.ELIGIBILITY_ABSENT,
    ),
    Cell(
        row=15,
        told="way back, to what fails its test",
        phase=Phase.FALL_BACK,
        bend=facts(self_test=SelfTestFact.FAILED),
        may=_TEST,
        reason=Reason.SELFTEST_FAILED,
    ),
    Cell(
        row=16,
        told="runs, supplied to another country",
        bend=placed(jurisdiction="CH"),
        phase=_RUNS,
        may=_STAGE,
        ordered=_BACK,
        reason=Reason.ELIGIBILITY_JURISDICTION,
    ),
    Cell(
        row=16,
        told="runs, in another ward",
        bend=placed(siteId="ward-8"),
        phase=_RUNS,
        may=_STAGE,
        ordered=_BACK,
        reason=Reason.ELIGIBILITY_SITE,
    ),
    Cell(
        row=16,
        told="runs, with a context that cannot be trusted",
        phase=_RUNS,
        bend=attribute("context_signers", [0]),
        may=_CLINICAL,
        ordered=_GO_ON,
        reason=Reason.ELIGIBILITY_CONTEXT_UNTRUSTED,
    ),
    Cell(
        row=16,
        told="new, with a context that cannot be trusted",
        may=_STAGE,
        bend=attribute("context_signers", [0]),
        reason=Reason.ELIGIBILITY_CONTEXT_UNTRUSTED,
    ),
    Cell(row=17, told="runs", bend=facts(counter_floor=9), phase=_RUNS, may=_CLINICAL),
    Cell(row=17, told="new", bend=facts(counter_floor=9), may=_NONE, reason=Reason.TRUST_ROLLBACK),
    Cell(
        row=17,
        told="way back",
        bend=facts(counter_floor=9),
        phase=Phase.FALL_BACK,
        may=_NONE,
        reason=Reason.TRUST_ROLLBACK,
    ),
    Cell(
        row=18, told="runs", bend=_DAMAGED, phase=_RUNS, may=_STAGE, reason=Reason.ARTIFACT_DIGEST
    ),
    Cell(
        row=18,
        told="way back",
        bend=_DAMAGED,
        phase=Phase.FALL_BACK,
        may=_NONE,
        reason=Reason.ARTIFACT_DIGEST,
    ),
)
"""Every row, in as many situations as it has."""


def as_page() -> str:
    """The page ``docs/decision-table.md``."""
    lines = [
        "# What a device may do with a release, and when it must stop",
        "",
        "Made from `tests/unit/verifier/decision_table.py`, where each line is a test;",
        "`python -m tests.unit.verifier.decision_table` writes it anew.",
        "What is not said of a line is right in it: genuine, fresh, listed, approved, in its",
        "place, proven, and nobody is served.",
        "",
        "*May* is how far the device may go: "
        + " < ".join(step.label for step in Capability)
        + ".",
        "*Must* is what it does with a release that runs.",
        "Damaged bytes order nothing, because no document is needed to stop them.",
    ]
    for row, told in ROWS.items():
        lines += ["", f"## {row}. {told}", "", "| asked | found | may | must | reason |"]
        lines += ["|---|---|---|---|---|"]
        lines += [
            f"| {cell.phase} | {cell.told} | {cell.may.label} | {cell.ordered or '-'} "
            f"| {f'`{cell.reason}`' if cell.reason else '-'} |"
            for cell in CELLS
            if cell.row == row
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(as_page())
