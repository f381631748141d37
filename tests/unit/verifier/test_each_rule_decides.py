"""Each rule decides something: where it is taken out, what it alone refused is granted.

The table has a world for every rule, in which this rule is the first that refuses.  The test
breaks the rule, so that it always holds, and sees the verdict change.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.unit.verifier.bending import (
    TREE,
    Bend,
    a_set,
    accepted,
    asked,
    at,
    attribute,
    both,
    constraint,
    digest,
    drop_approval,
    expires,
    facts,
    granted,
    made,
    manifest,
    needs,
    noticed,
    placed,
    policy,
    restricted,
    shadow_first,
    statement,
    trust_map,
    when,
    within,
)
from tests.unit.verifier.conftest import NOW, World

from primum_verifier.core import rules_running, verdict
from primum_verifier.core.question import ArtifactsFact, ClinicalUse, SelfTestFact
from primum_verifier.core.rules import Finding, Rule
from primum_verifier.core.rules_deployable import DEPLOYABLE
from primum_verifier.core.rules_documents import DOCUMENTS
from primum_verifier.core.rules_place import PLACE, STANDING, restrictions_are_held
from primum_verifier.core.share import share_of
from primum_verifier.core.verdict import BEYOND_SHADOW, CONDITIONS, RULES
from primum_verifier.core.vocabulary import NoticeAction, Phase


def _no_targets(world: World) -> None:
    world.missing.add("targets")


def _studied(world: World) -> None:
    world.decide("investigational")
    world.statement["study"]["devices"] = ["another-device"]


def _asks_for(**requirement: object) -> Bend:
    return constraint(software={"requires": [{"component": "card", **requirement}]})


_NAMED = {"manufacturer": "Primum", "deviceName": "Wearable", "modelNumbers": ["M1"]}
_ISSUES = {"critical": 0, "major": 0, "minor": 0}

FIRST: dict[str, tuple[Bend, Phase]] = {
    "trusted-views": (_no_targets, Phase.FALL_BACK),
    "newest-views": (attribute("awaited", "timestamp 9"), Phase.INSTALL),
    "authorities-disjoint": (attribute("shared_keys", {"k"}), Phase.INSTALL),
    "engineering-fresh": (expires(NOW, "model"), Phase.INSTALL),
    "manifest-signed": (lambda w: w.roles.update(manifest="rollout"), Phase.INSTALL),
    "component": (trust_map(component="spo2-estimator"), Phase.INSTALL),
    "hardware": (
        both(within("manifest", "compatibility.hardware", ["cardiowear-1"])),
        Phase.INSTALL,
    ),
    "agent-version": (within("manifest", "compatibility.minAgentVersion", "9.0.0"), Phase.INSTALL),
    "software": (
        within("manifest", "compatibility.requires", [{"component": "card"}]),
        Phase.INSTALL,
    ),
    "components": (a_set(TREE), Phase.INSTALL),
    "release-counter": (facts(counter_floor=3), Phase.INSTALL),
    "artifacts": (facts(artifacts=ArtifactsFact.DAMAGED), Phase.INSTALL),
    "device-context": (facts(context_floor=2), Phase.INSTALL),
    "clinical-fresh": (expires(NOW, "eligibility"), Phase.INSTALL),
    "one-person-one-function": (within("policy", "number", 0), Phase.INSTALL),
    "safety-notices": (noticed("clinical", "quality"), Phase.INSTALL),
    "index-lists-it": (attribute("index_status", "held"), Phase.INSTALL),
    "statement": (within("policy", "minStatementNumber", 9), Phase.INSTALL),
    "approvals": (drop_approval("quality"), Phase.INSTALL),
    "ladder": (needs(rungs=["prospective"]), Phase.INSTALL),
    "evidence": (needs(evidence=["dossier"]), Phase.INSTALL),
    "open-issues": (policy(openIssues=_ISSUES), Phase.INSTALL),
    "baselines": (manifest(original=digest("a"), previous=digest("b")), Phase.INSTALL),
    "change-tier": (manifest(changeTier="material"), Phase.INSTALL),
    "intended-use": (manifest(intendedUse=digest("4")), Phase.INSTALL),
    "operating-point": (
        within("statement", "operatingPoint.thresholdSet", digest("a")),
        Phase.INSTALL,
    ),
    "self-test-signed": (statement(selfTest=digest("a")), Phase.INSTALL),
    "monitoring": (statement(monitoringSpecification=digest("a")), Phase.INSTALL),
    "labelling": (
        statement(labelling={"ifu": digest("a"), "userNotice": {"en": "Better."}}),
        Phase.INSTALL,
    ),
    "stage": (manifest(maxStage="validation"), Phase.INSTALL),
    "validity": (within("statement", "validity.notBefore", when(hours=9)), Phase.INSTALL),
    "index-age": (within("statement", "validity.maxIndexAgeHours", 0), Phase.INSTALL),
    "site-acceptance": (lambda w: w.accept(accepted=[]), Phase.INSTALL),
    "jurisdiction": (placed(jurisdiction="CH"), Phase.INSTALL),
    "site": (placed(siteId="ward-8"), Phase.INSTALL),
    "care-setting": (constraint(careSettings=["icu"]), Phase.INSTALL),
    "use-environment": (
        both(constraint(useEnvironments=["indoors"]), placed(useEnvironment="outdoors")),
        Phase.INSTALL,
    ),
    "patient-category": (
        both(constraint(patientCategories=["adult"]), placed(patientCategory="neonatal")),
        Phase.INSTALL,
    ),
    "eligible-devices": (
        constraint(devices={"scope": "model", "values": ["M2"]}),
        Phase.INSTALL,
    ),
    "restriction": (restricted(careSettings=["icu"]), Phase.INSTALL),
    "study": (_studied, Phase.INSTALL),
    "eligible-hardware": (
        constraint(hardware=[{"hardwareId": "cardiowear-2", "revisions": ["A"]}]),
        Phase.INSTALL,
    ),
    "eligible-software": (_asks_for(least="1.0.0"), Phase.INSTALL),
    "inputs": (
        both(
            constraint(
                inputs=[
                    {
                        "channel": "ecg",
                        "code": "131328",
                        "unit": "mV",
                        "rateHz": "360",
                        "acquisitionDevices": ["afe"],
                    }
                ]
            ),
            facts(asks_per_episode=True),
        ),
        Phase.INSTALL,
    ),
    "product": (
        both(made(modelNumber="M9"), statement(product={**_NAMED, "udiDi": ["01234"]})),
        Phase.INSTALL,
    ),
    "authorisation": (
        statement(authorisations=[{"jurisdiction": "FR", "route": "ce-mdr", "identifier": "1"}]),
        Phase.INSTALL,
    ),
    "market": (constraint(market={"start": when(days=9)}), Phase.INSTALL),
    "exposure": (
        both(
            lambda w: w.context["factory"].update(deviceId=_outside_of_one_percent(w)),
            within("statement", "exposure.maxPercentage", 1),
        ),
        Phase.INSTALL,
    ),
    "asks-per-episode": (constraint(patientCategories=["adult"]), Phase.INSTALL),
    "conditions": (
        statement(conditions=[{"code": "c", "text": "C.", "enforce": "activation"}]),
        Phase.INSTALL,
    ),
    "self-test": (facts(self_test=SelfTestFact.FAILED), Phase.INSTALL),
    "not-in-clinical-use": (facts(clinical_use=ClinicalUse.IN_USE), Phase.INSTALL),
    "operator-agreed": (
        statement(use={"mode": "clinical", "automation": "manual-update"}),
        Phase.INSTALL,
    ),
    "shadow-first": (shadow_first(), Phase.INSTALL),
}
NOT_ALONE = {"manifest-signed", "one-person-one-function"}
"""Without the document, the rules that ask for it refuse too; each is broken in another row."""

GUARDED_TWICE = {"artifacts", "self-test"}
"""The fact itself stands in the way besides: only whole and proven releases are used."""


def _outside_of_one_percent(world: World) -> str:
    """A device whose draw lies above one percent, whatever the digest of the release is."""
    names = (f"wearable-{number:03}" for number in range(100))
    return next(name for name in names if share_of(world.release, name) >= 1)


def _always_holds(rule: Rule) -> Rule:
    return replace(rule, judge=lambda _: Finding(True, "broken", "broken"))


def _break(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for tuple_name, rules in (
        ("DEPLOYABLE", DEPLOYABLE),
        ("DOCUMENTS", DOCUMENTS),
        ("PLACE", PLACE),
        ("CONDITIONS", CONDITIONS),
        ("BEYOND_SHADOW", BEYOND_SHADOW),
    ):
        broken = tuple(_always_holds(rule) if rule.name == name else rule for rule in rules)
        monkeypatch.setattr(verdict, tuple_name, broken)


@pytest.mark.parametrize("name", [rule.name for rule in RULES])
def test_a_rule_that_is_broken_is_missed(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    bend, phase = FIRST[name]
    found = [check.name for check in asked(world, bend, phase=phase).in_the_way]
    assert found[0] == name
    assert len(found) == 1 or name in NOT_ALONE
    _break(monkeypatch, name)
    after = asked(world)
    assert name not in {check.name for check in after.in_the_way}
    if name == "study":
        assert after.primary is None
    elif name not in NOT_ALONE | GUARDED_TWICE:
        assert granted(after)


def test_every_rule_has_a_world_of_its_own() -> None:
    assert list(FIRST) == [rule.name for rule in RULES]
    assert len(set(FIRST)) == len(RULES)


ORDERED: dict[str, Bend] = {
    "_by_notice": noticed("clinical", "quality"),
    "_by_place": placed(jurisdiction="CH"),
    "_by_validity": both(
        within("statement", "validity.notBefore", when(hours=-9)),
        within("statement", "validity.notAfter", when(hours=-1)),
    ),
    "_by_age_of_list": at(hours=289),
    "_by_approvals": drop_approval("quality"),
    "_by_list": attribute("index_status", "held"),
}


@pytest.mark.parametrize("name", ORDERED, ids=str)
def test_what_finds_an_order_and_is_broken_is_missed(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert asked(world, ORDERED[name], phase=Phase.CONTINUE).ordered is not None
    monkeypatch.setattr(rules_running, name, lambda *_: None)
    assert asked(world).ordered is None


@pytest.mark.parametrize("name", [rule.name for rule in STANDING])
def test_a_standing_rule_that_is_broken_is_missed_by_what_runs(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    verdict_before = asked(world, FIRST[name][0], phase=Phase.CONTINUE)
    assert verdict_before.ordered == NoticeAction.FALL_BACK
    rules = tuple(_always_holds(rule) if rule.name == name else rule for rule in STANDING)
    monkeypatch.setattr(rules_running, "STANDING", rules)
    restriction = next(rule for rule in rules if rule.name == restrictions_are_held.name)
    monkeypatch.setattr(rules_running, "restrictions_are_held", restriction)
    narrowed = name == restrictions_are_held.name
    assert asked(world).ordered == (NoticeAction.RESTRICT if narrowed else None)


def test_the_order_of_the_rules_is_that_in_which_a_refusal_is_explained(world: World) -> None:
    """Everything wrong at once: the first rule that stands in the way is the one told."""
    everything = [
        bend for name, (bend, _) in FIRST.items() if name not in {*NOT_ALONE, "trusted-views"}
    ]
    verdict_of_all = asked(world, both(*everything, accepted(), facts(clock=NOW)))
    found = [check.name for check in verdict_of_all.in_the_way]
    assert found == sorted(found, key=list(FIRST).index)
    assert found[0] == "newest-views"
    assert hashlib.sha256(world.statement_bytes()).hexdigest() == verdict_of_all.statement_digest
    assert verdict_of_all.judged_at == NOW + timedelta(0)
