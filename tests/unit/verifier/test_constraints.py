"""Every restriction that a device can hold before use, on both sides of its bound.

A row bends a world in which everything is right.  What lies inside the bound is granted; what
lies one step beyond is refused for its own reason, and may at most be kept and not used.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest
from tests.unit.verifier.bending import (
    Bend,
    accepted,
    asked,
    at,
    both,
    change_approval,
    constraint,
    digest,
    facts,
    granted,
    made,
    manifest,
    needs,
    placed,
    policy,
    statement,
    trust_map,
    when,
    within,
)
from tests.unit.verifier.conftest import NOW, World

from primum_verifier.core.reasons import Reason
from primum_verifier.core.rollout import share_of
from primum_verifier.core.vocabulary import Capability, Phase

ROLES = ("root", "timestamp", "snapshot", "targets", "model", "rollout", "eligibility", "safety")
NEVER = NOW + timedelta(days=3000)


def hardware(**asked_for: object) -> Bend:
    return constraint(hardware=[{"hardwareId": "cardiowear-2", **asked_for}])


def software(**asked_for: object) -> Bend:
    return constraint(software=asked_for)


def devices(scope: str, *values: str, ranges: list[dict[str, object]] | None = None) -> Bend:
    return constraint(devices={"scope": scope, "values": list(values), "ranges": ranges or []})


def serial(number: str) -> Bend:
    ranges: list[dict[str, object]] = [{"prefix": "SN", "first": 10, "last": 19}]
    return both(made(serialNumber=number), devices("serial-numbers", ranges=ranges))


def market(start: str, end: str | None = None) -> Bend:
    return constraint(market={"start": start, **({} if end is None else {"end": end})})


def item(kind: str, letter: str) -> Bend:
    entry = {"id": kind, "kind": kind, "path": f"{kind}.bin", "length": 3, "digest": digest(letter)}
    return lambda world: world.manifest["items"].append(entry)


def baselines(original: str, last: str) -> Bend:
    stated = {"originalAuthorised": digest(original), "lastModified": digest(last)}
    return both(manifest(original=digest("a"), previous=digest("b")), statement(baselines=stated))


def ladder(**results: str) -> Bend:
    rungs = [
        {"rung": rung, "protocol": digest("a"), "report": digest("b"), "result": result}
        for rung, result in ((name, text.replace("_", "-")) for name, text in results.items())
    ]
    return statement(ladder=rungs)


def issues(critical: int, major: int, minor: int) -> Bend:
    most = {"critical": 0, "major": 1, "minor": 2}
    found = {"critical": critical, "major": major, "minor": minor}
    return both(policy(openIssues=most), statement(openIssues=found))


def population(enforce: str) -> dict[str, object]:
    return {"enforce": enforce, "ageYearsMin": 18}


def ecg(*sensors: str) -> Bend:
    channel = {"channel": "ecg", "code": "131328", "unit": "mV", "rateHz": "360"}
    return constraint(inputs=[{**channel, **({"acquisitionDevices": sensors} if sensors else {})}])


def condition(code: str, enforce: str) -> Bend:
    return statement(conditions=[{"code": code, "text": "On mains power.", "enforce": enforce}])


def study(**changes: object) -> Bend:
    def bend(world: World) -> None:
        world.decide("investigational")
        world.statement["study"].update(changes)

    return bend


def product(**changes: object) -> Bend:
    named = {"manufacturer": "Primum", "deviceName": "Wearable", "modelNumbers": ["M1"]}
    asked_for = statement(product={**named, "udiDi": ["01234"], **changes})
    return both(made(modelNumber="M1"), asked_for)


def authorised(*listed: tuple[str, str | None]) -> Bend:
    return statement(
        authorisations=[
            {
                "jurisdiction": country,
                "route": "ce-mdr",
                "identifier": "CE 0123",
                **({} if until is None else {"validUntil": until}),
            }
            for country, until in listed
        ]
    )


def labelled(letter: str, *, acknowledged: str = "") -> Bend:
    said = {"ifu": digest(letter), "userNotice": {"en": "Better."}}
    return statement(labelling={**said, "acknowledgementRequired": True} if acknowledged else said)


def least_share(*, above: int) -> Bend:
    """The ceiling just above, or just at, what this device draws for this very release."""

    def bend(world: World) -> None:
        share = share_of(world.release, "wearable-001")
        world.statement["exposure"]["maxPercentage"] = max(1, int(share) + above)

    return bend


CARD = {"component": "card", "least": "1.0.0", "most": "1.9.9"}
REQUIRES = software(requires=[CARD])
CONFLICTS = software(conflicts=[CARD])
INSTALLED_NOW = {"clock": NOW + timedelta(hours=1)}

Row = tuple[Bend, Bend, Reason]
BOUNDS: dict[str, Row] = {
    "jurisdiction": (
        placed(jurisdiction="FR"),
        placed(jurisdiction="CH"),
        Reason.ELIGIBILITY_JURISDICTION,
    ),
    "site-list": (
        placed(siteId="ward-7"),
        placed(siteId="ward-70"),
        Reason.ELIGIBILITY_SITE,
    ),
    "site-group": (
        both(constraint(sites={"mode": "group", "ids": ["pilot"]}), placed(siteGroups=["pilot"])),
        both(constraint(sites={"mode": "group", "ids": ["ward-7"]}), placed(siteGroups=["pilot"])),
        Reason.ELIGIBILITY_SITE,
    ),
    "site-all-or-a-list": (
        both(constraint(sites={"mode": "all", "ids": []}), placed(siteId="elsewhere")),
        placed(siteId="elsewhere", siteGroups=["ward-7"]),
        Reason.ELIGIBILITY_SITE,
    ),
    "care-setting": (
        constraint(careSettings=["icu", "home"]),
        constraint(careSettings=["icu"]),
        Reason.ELIGIBILITY_SITE,
    ),
    "use-environment": (
        both(constraint(useEnvironments=["indoors"]), placed(useEnvironment="indoors")),
        both(constraint(useEnvironments=["indoors"]), placed(useEnvironment="ambulance")),
        Reason.ELIGIBILITY_SITE,
    ),
    "use-environment-not-in-the-context-is-left-to-the-label": (
        constraint(useEnvironments=["indoors"]),
        both(constraint(useEnvironments=["indoors"]), placed(useEnvironment="outdoors")),
        Reason.ELIGIBILITY_SITE,
    ),
    "patient-category-of-a-device-with-one-mode": (
        both(constraint(patientCategories=["adult"]), placed(patientCategory="adult")),
        both(constraint(patientCategories=["adult"]), placed(patientCategory="neonatal")),
        Reason.ELIGIBILITY_POPULATION,
    ),
    "patient-category-asked-at-each-episode": (
        both(constraint(patientCategories=["adult"]), facts(asks_per_episode=True)),
        constraint(patientCategories=["adult"]),
        Reason.ELIGIBILITY_POPULATION,
    ),
    "population-asked-at-each-episode": (
        both(constraint(population=population("inference")), facts(asks_per_episode=True)),
        constraint(population=population("inference")),
        Reason.ELIGIBILITY_POPULATION,
    ),
    "population-on-the-label-asks-nothing": (
        constraint(population=population("labelling")),
        constraint(population=population("inference")),
        Reason.ELIGIBILITY_POPULATION,
    ),
    "condition-asked-at-each-episode": (
        both(condition("on-mains", "inference"), facts(asks_per_episode=True)),
        condition("on-mains", "inference"),
        Reason.ELIGIBILITY_POPULATION,
    ),
    "site-condition-asked-at-each-episode": (
        both(
            accepted(conditions=[{"code": "c", "text": "C.", "enforce": "inference"}]),
            facts(asks_per_episode=True),
        ),
        accepted(conditions=[{"code": "c", "text": "C.", "enforce": "inference"}]),
        Reason.ELIGIBILITY_POPULATION,
    ),
    "input-asked-at-each-episode": (
        both(ecg(), facts(asks_per_episode=True)),
        ecg(),
        Reason.ELIGIBILITY_POPULATION,
    ),
    "input-sensor": (
        both(ecg("afe-1", "afe-2"), made(sensors=["afe-2"]), facts(asks_per_episode=True)),
        both(ecg("afe-1", "afe-2"), made(sensors=["afe-3"]), facts(asks_per_episode=True)),
        Reason.COMPAT_CONTRACT,
    ),
    "input-sensor-not-known": (
        both(ecg(), facts(asks_per_episode=True)),
        both(ecg("afe-1"), facts(asks_per_episode=True)),
        Reason.COMPAT_CONTRACT,
    ),
    "device-model": (
        both(made(modelNumber="M1"), devices("model", "M1", "M2")),
        both(made(modelNumber="M3"), devices("model", "M1", "M2")),
        Reason.ELIGIBILITY_DEVICE,
    ),
    "device-model-not-known": (
        both(made(modelNumber="M1"), devices("model", "M1")),
        devices("model", "M1"),
        Reason.ELIGIBILITY_DEVICE,
    ),
    "device-lot": (
        both(made(lotNumber="L1"), devices("lot-numbers", "L1")),
        both(made(lotNumber="L2"), devices("lot-numbers", "L1")),
        Reason.ELIGIBILITY_DEVICE,
    ),
    "device-serial": (
        devices("serial-numbers", "SN1"),
        devices("serial-numbers", "SN2"),
        Reason.ELIGIBILITY_DEVICE,
    ),
    "device-serial-range-first": (serial("SN10"), serial("SN9"), Reason.ELIGIBILITY_DEVICE),
    "device-serial-range-last": (serial("SN19"), serial("SN20"), Reason.ELIGIBILITY_DEVICE),
    "device-serial-range-prefix": (serial("SN015"), serial("XN15"), Reason.ELIGIBILITY_DEVICE),
    "device-serial-range-number": (serial("SN15"), serial("SN15a"), Reason.ELIGIBILITY_DEVICE),
    "hardware-id": (
        constraint(hardware=[{"hardwareId": "other"}, {"hardwareId": "cardiowear-2"}]),
        constraint(hardware=[{"hardwareId": "other"}]),
        Reason.COMPAT_HARDWARE,
    ),
    "hardware-revision": (
        hardware(revisions=["A", "B"]),
        hardware(revisions=["A"]),
        Reason.COMPAT_HARDWARE,
    ),
    "hardware-firmware": (
        both(hardware(bootFirmware=["2024.1"]), made(bootFirmware="2024.1")),
        both(hardware(bootFirmware=["2024.1"]), made(bootFirmware="2024.2")),
        Reason.COMPAT_HARDWARE,
    ),
    "hardware-firmware-not-known": (
        both(hardware(bootFirmware=["2024.1"]), made(bootFirmware="2024.1")),
        hardware(bootFirmware=["2024.1"]),
        Reason.COMPAT_HARDWARE,
    ),
    "hardware-sensors-all": (
        both(hardware(sensors=["afe", "ppg"]), made(sensors=["ppg", "afe", "imu"])),
        both(hardware(sensors=["afe", "ppg"]), made(sensors=["afe", "imu"])),
        Reason.COMPAT_HARDWARE,
    ),
    "hardware-of-one-entry-not-of-two": (
        constraint(
            hardware=[
                {"hardwareId": "other", "revisions": ["B"]},
                {"hardwareId": "cardiowear-2", "revisions": ["B"]},
            ]
        ),
        constraint(
            hardware=[
                {"hardwareId": "other", "revisions": ["B"]},
                {"hardwareId": "cardiowear-2", "revisions": ["A"]},
            ]
        ),
        Reason.COMPAT_HARDWARE,
    ),
    "software-required-least": (
        both(REQUIRES, facts(installed={"card": "1.0.0"})),
        both(REQUIRES, facts(installed={"card": "1.0.0-rc.1"})),
        Reason.COMPAT_SOFTWARE,
    ),
    "software-required-most": (
        both(REQUIRES, facts(installed={"card": "1.9.9"})),
        both(REQUIRES, facts(installed={"card": "1.9.10"})),
        Reason.COMPAT_SOFTWARE,
    ),
    "software-required-missing": (
        both(REQUIRES, facts(installed={"card": "1.5.0"})),
        both(REQUIRES, facts(installed={"other": "1.5.0"})),
        Reason.COMPAT_SOFTWARE,
    ),
    "software-conflict-least": (
        both(CONFLICTS, facts(installed={"card": "0.9.9"})),
        both(CONFLICTS, facts(installed={"card": "1.0.0"})),
        Reason.COMPAT_SOFTWARE,
    ),
    "software-conflict-most": (
        both(CONFLICTS, facts(installed={"card": "1.9.10"})),
        both(CONFLICTS, facts(installed={"card": "1.9.9"})),
        Reason.COMPAT_SOFTWARE,
    ),
    "software-required-unreadable": (
        both(REQUIRES, facts(installed={"card": "1.2.3"})),
        both(REQUIRES, facts(installed={"card": "spring"})),
        Reason.COMPAT_SOFTWARE,
    ),
    "software-conflict-unreadable": (
        both(CONFLICTS, facts(installed={"other": "spring"})),
        both(CONFLICTS, facts(installed={"card": "spring"})),
        Reason.COMPAT_SOFTWARE,
    ),
    "software-agent": (
        software(agentMin="0.1.0"),
        software(agentMin="0.1.1"),
        Reason.COMPAT_SOFTWARE,
    ),
    "software-system": (
        both(software(operatingSystems=["os 1"]), facts(operating_system="os 1")),
        both(software(operatingSystems=["os 1"]), facts(operating_system="os 2")),
        Reason.COMPAT_SOFTWARE,
    ),
    "software-system-not-known": (
        both(software(operatingSystems=["os 1"]), facts(operating_system="os 1")),
        software(operatingSystems=["os 1"]),
        Reason.COMPAT_SOFTWARE,
    ),
    "market-start-by-proven-time": (
        market(when(minutes=30)),
        market(when(minutes=30, seconds=1)),
        Reason.ELIGIBILITY_NOT_YET_VALID,
    ),
    "market-end-by-the-clock": (
        market(when(), when(minutes=60, seconds=1)),
        market(when(), when(minutes=60)),
        Reason.ELIGIBILITY_EXPIRED,
    ),
    "authorisation-end": (
        authorised(("DE", when(minutes=60, seconds=1))),
        authorised(("DE", when(minutes=60))),
        Reason.ELIGIBILITY_AUTHORISATION,
    ),
    "authorisation-of-the-country": (
        authorised(("FR", None), ("DE", None)),
        authorised(("FR", None)),
        Reason.ELIGIBILITY_AUTHORISATION,
    ),
    "authorisation-one-of-two-is-enough": (
        authorised(("DE", when(minutes=60)), ("DE", None)),
        authorised(("DE", when(minutes=60)), ("FR", None)),
        Reason.ELIGIBILITY_AUTHORISATION,
    ),
    "product-model": (product(), product(modelNumbers=["M2"]), Reason.ELIGIBILITY_DEVICE),
    "product-udi": (product(), product(udiDi=["99999"]), Reason.ELIGIBILITY_DEVICE),
    "product-udi-shown-afterwards": (
        product(udiAfterActivation="01234"),
        product(udiAfterActivation="56789"),
        Reason.ELIGIBILITY_DEVICE,
    ),
    "intended-use": (
        manifest(intendedUse={"sha256": hashlib.sha256(b"x").hexdigest()}),
        manifest(intendedUse=digest("4")),
        Reason.ELIGIBILITY_MODE,
    ),
    "operating-point": (
        both(
            within("statement", "operatingPoint.thresholdSet", digest("a")),
            item("threshold-set", "a"),
        ),
        both(
            within("statement", "operatingPoint.thresholdSet", digest("a")),
            item("threshold-set", "b"),
        ),
        Reason.COMPAT_CONTRACT,
    ),
    "operating-point-missing": (
        item("threshold-set", "b"),
        within("statement", "operatingPoint.thresholdSet", digest("a")),
        Reason.COMPAT_CONTRACT,
    ),
    "self-test": (
        statement(selfTest=digest("0")),
        statement(selfTest=digest("1")),
        Reason.COMPAT_CONTRACT,
    ),
    "monitoring": (
        both(statement(monitoringSpecification=digest("a")), item("monitoring-specification", "a")),
        statement(monitoringSpecification=digest("a")),
        Reason.COMPAT_CONTRACT,
    ),
    "labelling": (
        both(labelled("a"), item("ifu", "a")),
        both(labelled("a"), item("ifu", "b")),
        Reason.COMPAT_CONTRACT,
    ),
    "stage-of-the-device": (
        trust_map(stage="production"),
        trust_map(stage="limited-release"),
        Reason.ELIGIBILITY_STAGE,
    ),
    "stage-that-it-was-built-for": (
        manifest(maxStage="production"),
        manifest(maxStage="limited-release"),
        Reason.ELIGIBILITY_STAGE,
    ),
    "change-tier": (
        manifest(changeTier="minor"),
        manifest(changeTier="moderate"),
        Reason.ELIGIBILITY_EVIDENCE,
    ),
    "change-tier-may-be-raised": (
        manifest(changeTier="none-clinical"),
        manifest(changeTier="material"),
        Reason.ELIGIBILITY_EVIDENCE,
    ),
    "baseline-original": (
        baselines("a", "b"),
        baselines("c", "b"),
        Reason.ELIGIBILITY_EVIDENCE,
    ),
    "baseline-last": (baselines("a", "b"), baselines("a", "c"), Reason.ELIGIBILITY_EVIDENCE),
    "baselines-not-stated": (
        baselines("a", "b"),
        manifest(original=digest("a"), previous=digest("b")),
        Reason.ELIGIBILITY_EVIDENCE,
    ),
    "ladder-rung-asked-for": (
        both(needs(rungs=["retrospective"]), ladder(retrospective="met")),
        both(needs(rungs=["retrospective"]), ladder(prospective="met")),
        Reason.ELIGIBILITY_EVIDENCE,
    ),
    "ladder-rung-not-met": (
        ladder(retrospective="met"),
        ladder(retrospective="met", offline="not_met"),
        Reason.ELIGIBILITY_EVIDENCE,
    ),
    "ladder-on-made-up-data-alone": (
        ladder(offline="met", simulated="met", retrospective="met"),
        ladder(offline="met", simulated="met"),
        Reason.ELIGIBILITY_EVIDENCE,
    ),
    "evidence": (
        both(
            needs(evidence=["dossier"]),
            statement(evidence=[{"name": "dossier", "digest": digest("a")}]),
        ),
        both(
            needs(evidence=["dossier"]),
            statement(evidence=[{"name": "plots", "digest": digest("a")}]),
        ),
        Reason.ELIGIBILITY_EVIDENCE,
    ),
    "open-issues-critical": (issues(0, 1, 2), issues(1, 1, 2), Reason.ELIGIBILITY_EVIDENCE),
    "open-issues-major": (issues(0, 1, 2), issues(0, 2, 2), Reason.ELIGIBILITY_EVIDENCE),
    "open-issues-minor": (issues(0, 1, 2), issues(0, 1, 3), Reason.ELIGIBILITY_EVIDENCE),
    "open-issues-not-stated": (
        issues(0, 0, 0),
        policy(openIssues={"critical": 9, "major": 9, "minor": 9}),
        Reason.ELIGIBILITY_EVIDENCE,
    ),
    "validity-begins": (
        within("statement", "validity.notBefore", when(minutes=30)),
        within("statement", "validity.notBefore", when(minutes=30, seconds=1)),
        Reason.ELIGIBILITY_NOT_YET_VALID,
    ),
    "validity-ends": (
        both(
            within("statement", "validity.notBefore", when(hours=-1)),
            within("statement", "validity.notAfter", when(minutes=60, seconds=1)),
        ),
        both(
            within("statement", "validity.notBefore", when(hours=-1)),
            within("statement", "validity.notAfter", when(minutes=60)),
        ),
        Reason.ELIGIBILITY_EXPIRED,
    ),
    "age-of-the-list": (
        at(hours=240),
        at(hours=240, seconds=1),
        Reason.TRUST_STALE_INDEX,
    ),
    "exposure": (least_share(above=1), least_share(above=0), Reason.ELIGIBILITY_EXPOSURE),
    "condition": (
        both(condition("on-mains", "activation"), facts(conditions_met=frozenset({"on-mains"}))),
        both(condition("on-mains", "activation"), facts(conditions_met=frozenset({"dry"}))),
        Reason.ELIGIBILITY_CONDITION,
    ),
    "condition-on-the-label": (
        condition("on-mains", "labelling"),
        condition("on-mains", "activation"),
        Reason.ELIGIBILITY_CONDITION,
    ),
    "site-condition": (
        both(
            accepted(conditions=[{"code": "c", "text": "C.", "enforce": "activation"}]),
            facts(conditions_met=frozenset({"c"})),
        ),
        accepted(conditions=[{"code": "c", "text": "C.", "enforce": "activation"}]),
        Reason.ELIGIBILITY_CONDITION,
    ),
    "approvals-scope-of-the-tier": (
        change_approval("quality", scope={"stage": "production", "changeTier": "minor"}),
        change_approval("quality", scope={"stage": "production", "changeTier": "moderate"}),
        Reason.ELIGIBILITY_APPROVALS,
    ),
    "context-of-other-hardware": (
        made(hardwareId="cardiowear-2"),
        made(hardwareId="cardiowear-1"),
        Reason.ELIGIBILITY_CONTEXT_UNTRUSTED,
    ),
}


@pytest.mark.parametrize("row", BOUNDS, ids=str)
def test_what_lies_within_the_bound_is_granted(world: World, row: str) -> None:
    inside, _, _ = BOUNDS[row]
    if row == "intended-use":
        use = hashlib.sha256(b"x").hexdigest()
        within("statement", "intendedUse.digest", {"sha256": use})(world)
    _with_a_share_above_one(world)
    assert granted(asked(world, inside)), [check.name for check in asked(world).in_the_way]


@pytest.mark.parametrize("row", BOUNDS, ids=str)
def test_one_step_beyond_the_bound_is_refused_for_that_reason(world: World, row: str) -> None:
    _, outside, reason = BOUNDS[row]
    _with_a_share_above_one(world)
    verdict = asked(world, outside)
    assert (verdict.capability, verdict.primary) == (Capability.STAGE, reason)


@pytest.mark.parametrize("row", BOUNDS, ids=str)
def test_one_step_beyond_the_bound_is_refused_in_every_phase_that_gives(
    world: World, row: str
) -> None:
    _, outside, _ = BOUNDS[row]
    _with_a_share_above_one(world)
    assert asked(world, outside, phase=Phase.ACTIVATE).capability == Capability.STAGE


def _with_a_share_above_one(world: World) -> None:
    """A release of which this device draws a share that a ceiling in whole numbers can cut."""
    for number in range(100):
        world.manifest["labelling"]["summary"] = f"better, {number}"
        if share_of(world.release, "wearable-001") >= 1:
            return


AGREEMENT: dict[str, tuple[Bend, Capability]] = {
    "automatic": (
        statement(use={"mode": "clinical", "automation": "automatic-update"}),
        Capability.CLINICAL,
    ),
    "manual and nobody agreed": (
        statement(use={"mode": "clinical", "automation": "manual-update"}),
        Capability.SELF_TEST,
    ),
    "manual and somebody agreed": (
        both(
            statement(use={"mode": "clinical", "automation": "manual-update"}),
            facts(operator_agreed=True),
        ),
        Capability.CLINICAL,
    ),
    "must be read and was not": (
        both(labelled("a", acknowledged="yes"), item("ifu", "a")),
        Capability.SELF_TEST,
    ),
    "must be read and was": (
        both(
            labelled("a", acknowledged="yes"),
            item("ifu", "a"),
            facts(operator_agreed=True),
        ),
        Capability.CLINICAL,
    ),
}


@pytest.mark.parametrize("row", AGREEMENT, ids=str)
def test_a_person_agrees_where_the_statement_asks_for_it(world: World, row: str) -> None:
    bend, capability = AGREEMENT[row]
    verdict = asked(world, bend)
    assert verdict.capability == capability
    expected = None if capability == Capability.CLINICAL else Reason.SAFETY_OPERATOR
    assert verdict.primary == expected


def test_nobody_has_to_agree_to_the_way_back(world: World) -> None:
    manual = statement(use={"mode": "clinical", "automation": "manual-update"})
    assert granted(asked(world, manual, phase=Phase.FALL_BACK))


STUDY: dict[str, tuple[Bend, Capability, Reason | None]] = {
    "the device is enrolled": (study(), Capability.INVESTIGATIONAL, None),
    "the site is enrolled": (
        study(devices=[], sites=["ward-7"]),
        Capability.INVESTIGATIONAL,
        None,
    ),
    "neither": (
        study(devices=["other"], sites=["ward-8"]),
        Capability.STAGE,
        Reason.ELIGIBILITY_SITE,
    ),
    "ends in a second": (
        study(until=when(minutes=60, seconds=1)),
        Capability.INVESTIGATIONAL,
        None,
    ),
    "ended just now": (study(until=when(minutes=60)), Capability.STAGE, Reason.ELIGIBILITY_EXPIRED),
}


@pytest.mark.parametrize("row", STUDY, ids=str)
def test_only_who_is_enrolled_takes_part_in_a_study(world: World, row: str) -> None:
    bend, capability, reason = STUDY[row]
    verdict = asked(world, bend)
    assert (verdict.capability, verdict.primary) == (capability, reason)


UNTOUCHED = {
    "the end of the market": market(when(days=-9), when(days=-1)),
    "the end of the authorisation": authorised(("DE", when(days=-1))),
    "another ceiling of exposure": within("statement", "exposure.maxPercentage", 1),
    "a condition at activation": condition("on-mains", "activation"),
    "other software": software(requires=[CARD]),
}


@pytest.mark.parametrize("row", UNTOUCHED, ids=str)
def test_what_bears_on_giving_alone_takes_nothing_away(world: World, row: str) -> None:
    verdict = asked(world, UNTOUCHED[row], phase=Phase.CONTINUE)
    assert granted(verdict)


MOVED = {
    "to another country": (placed(jurisdiction="CH"), Reason.ELIGIBILITY_JURISDICTION),
    "to another ward": (placed(siteId="ward-8"), Reason.ELIGIBILITY_SITE),
    "to another kind of care": (
        both(constraint(careSettings=["home"]), placed(careSetting="icu")),
        Reason.ELIGIBILITY_SITE,
    ),
    "to another environment": (
        both(constraint(useEnvironments=["indoors"]), placed(useEnvironment="outdoors")),
        Reason.ELIGIBILITY_SITE,
    ),
    "to other patients": (
        both(constraint(patientCategories=["adult"]), placed(patientCategory="neonatal")),
        Reason.ELIGIBILITY_POPULATION,
    ),
    "out of the devices that are meant": (
        devices("serial-numbers", "SN2"),
        Reason.ELIGIBILITY_DEVICE,
    ),
}


@pytest.mark.parametrize("row", MOVED, ids=str)
def test_what_runs_is_judged_anew_in_another_place(world: World, row: str) -> None:
    bend, reason = MOVED[row]
    verdict = asked(world, bend, phase=Phase.CONTINUE)
    assert (verdict.capability, verdict.primary) == (Capability.STAGE, reason)
    assert verdict.user_notice == "Measure only."


@pytest.mark.parametrize("ends", [True, False])
def test_a_study_ends_for_what_runs_by_proven_time_only(world: World, *, ends: bool) -> None:
    world.decide("investigational")
    world.statement["study"]["until"] = when(minutes=30 if ends else 31)
    far = facts(clock=NOW + timedelta(days=3650))
    verdict = asked(world, far, phase=Phase.CONTINUE)
    assert (verdict.capability == Capability.STAGE) is ends
    assert (verdict.primary == Reason.ELIGIBILITY_EXPIRED) is ends


def test_a_study_whose_end_nobody_can_tell_is_unknown_and_takes_nothing_away(world: World) -> None:
    world.decide("investigational")
    unknown = asked(world, facts(proven=None), phase=Phase.ACTIVATE)
    found = {check.name: str(check.outcome) for check in unknown.checks}
    assert found["study"] == found["validity"] == "unknown"
    assert unknown.capability == Capability.NONE
    runs = asked(world, facts(proven=None), phase=Phase.CONTINUE)
    assert runs.capability == Capability.INVESTIGATIONAL


def test_a_market_whose_time_nobody_can_tell_is_unknown(world: World) -> None:
    verdict = asked(world, both(market(when()), facts(clock=None)))
    market_check = next(check for check in verdict.checks if check.name == "market")
    assert (str(market_check.outcome), market_check.reason) == (
        "unknown",
        Reason.TRUST_TIME_UNKNOWN,
    )


def test_time_is_judged_by_the_stricter_of_clock_and_proven_time(world: World) -> None:
    """A clock set back does not bring back the past, and set ahead it brings no future."""
    until = within("statement", "validity.notAfter", when(minutes=30))
    began = within("statement", "validity.notBefore", when(hours=-1))
    set_back = facts(clock=NOW)
    assert asked(world, both(began, until, set_back)).primary == Reason.ELIGIBILITY_EXPIRED
    later = within("statement", "validity.notBefore", when(minutes=45))
    last = within("statement", "validity.notAfter", when(days=9))
    ahead = facts(**INSTALLED_NOW)
    assert asked(world, both(last, later, ahead)).primary == Reason.ELIGIBILITY_NOT_YET_VALID


def test_a_release_of_another_component_is_not_deployable(world: World) -> None:
    verdict = asked(world, trust_map(component="spo2-estimator"))
    assert (verdict.capability, verdict.primary) == (Capability.NONE, Reason.COMPAT_SOFTWARE)
    assert verdict.in_the_way[0].name == "component"


@pytest.mark.parametrize("bound", ["requires", "conflicts"])
def test_what_engineering_asks_of_other_software_keeps_it_from_being_deployed(
    world: World, bound: str
) -> None:
    world.manifest["compatibility"][bound] = [CARD]
    outside = {"requires": "2.0.0", "conflicts": "1.0.0"}[bound]
    inside = {"requires": "1.0.0", "conflicts": "2.0.0"}[bound]
    assert granted(asked(world, facts(installed={"card": inside})))
    verdict = asked(world, facts(installed={"card": outside}))
    assert (verdict.capability, verdict.primary) == (Capability.NONE, Reason.COMPAT_SOFTWARE)
    assert bound[:4] in verdict.in_the_way[0].found.replace("needs", "requires")
