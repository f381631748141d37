"""Properties of every verdict, whatever is bent: narrowing never widens, unknown is never yes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from primum_verifier.core.question import ArtifactsFact, ClinicalUse, SelfTestFact
from primum_verifier.core.verdict import judge
from primum_verifier.core.vocabulary import Capability, Outcome, Phase

few = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])

facts = st.fixed_dictionaries(
    {
        "phase": st.sampled_from(Phase),
        "artifacts": st.sampled_from(ArtifactsFact),
        "self_test": st.sampled_from(SelfTestFact),
        "clinical_use": st.sampled_from(ClinicalUse),
        "hardware_id": st.sampled_from(["cardiowear-2", "other"]),
        "counter_floor": st.integers(0, 4),
        "hours": st.none() | st.integers(-2, 400),
    }
)

NARROWING: dict[str, Callable[[Any], None]] = {
    "an approval is removed": lambda world: world.approvals.pop(),
    "a person leaves": lambda world: world.policy["people"][0].update(status="left"),
    "one more approver is wanted": lambda world: world.policy["requirements"][0][
        "functions"
    ].update(quality=2),
    "a country is removed": lambda world: world.statement["constraints"].update(
        jurisdictions=["FR"]
    ),
    "sites are listed": lambda world: world.statement["constraints"].update(
        sites={"mode": "list", "ids": ["ward-9"]}
    ),
    "it is withdrawn": lambda world: world.notice("clinical", "quality"),
    "it is held": lambda world: world.notice(
        "quality", kind="hold", expiresAt="2026-06-04T12:00:00Z"
    ),
    "the list drops it": lambda world: setattr(world, "listed", False),
    "the list allows less age": lambda world: world.statement["validity"].update(
        maxIndexAgeHours=0
    ),
    "only a shadow is allowed": lambda world: world.decide("shadow-only"),
    "the context loses a signature": lambda world: setattr(world, "context_signers", [0]),
    "engineering built for less": lambda world: world.manifest.update(maxStage="validation"),
}


def bend(world: Any, chosen: dict[str, Any]) -> Any:
    chosen = dict(chosen)
    hours = chosen.pop("hours")
    start = world.facts["clock"]
    moment = None if hours is None else start + timedelta(hours=hours)
    world.facts.update(chosen, clock=moment, proven=moment)
    return world


@few
@given(chosen=facts, name=st.sampled_from(sorted(NARROWING)))
def test_narrowing_never_widens_a_verdict(
    make_world: Callable[[], Any], chosen: dict[str, Any], name: str
) -> None:
    world = bend(make_world(), chosen)
    before = judge(world.question()).capability
    NARROWING[name](world)
    after = judge(world.question()).capability
    if chosen["phase"] == Phase.CONTINUE:
        # What runs may be taken away or go on; it is never given more than it had.
        assert after <= Capability.CLINICAL
    assert after <= before


@few
@given(chosen=facts)
def test_clinical_needs_every_rule_satisfied(
    make_world: Callable[[], Any], chosen: dict[str, Any]
) -> None:
    verdict = judge(bend(make_world(), chosen).question())
    if chosen["phase"] == Phase.CONTINUE or verdict.capability < Capability.SHADOW:
        return
    assert not verdict.in_the_way
    assert {check.name for check in verdict.checks if check.outcome == Outcome.SATISFIED} >= {
        "manifest-signed",
        "artifacts",
        "device-context",
        "index-lists-it",
        "statement",
        "approvals",
        "validity",
        "self-test",
    }


@few
@given(chosen=facts, later=st.integers(1, 10_000))
def test_later_never_revives(
    make_world: Callable[[], Any], chosen: dict[str, Any], later: int
) -> None:
    if chosen["hours"] is None or chosen["hours"] < 0:
        return
    world = bend(make_world(), chosen)
    before = judge(world.question())
    if "eligibility.not-yet-valid" in {check.reason for check in before.checks}:
        return
    moved = world.facts["clock"] + timedelta(hours=later)
    world.facts.update(clock=moved, proven=moved)
    assert judge(world.question()).capability <= before.capability


@few
@given(chosen=facts)
def test_a_primary_reason_stands_exactly_where_something_is_in_the_way(
    make_world: Callable[[], Any], chosen: dict[str, Any]
) -> None:
    verdict = judge(bend(make_world(), chosen).question())
    assert (verdict.primary is None) == (not verdict.in_the_way)
    if verdict.primary is not None:
        assert verdict.primary == verdict.in_the_way[0].reason
    assert verdict.as_dict()["checks"]
