"""The bounds that the clinical documents set: inside, one step beyond, and the reason."""

from __future__ import annotations

import hashlib

from tests.unit.verifier.bending import (
    Bend,
    Row,
    at,
    both,
    change_approval,
    constraint,
    digest,
    made,
    manifest,
    needs,
    policy,
    statement,
    trust_map,
    when,
    within,
)
from tests.unit.verifier.conftest import World

from primum_verifier.core.reasons import Reason
from primum_verifier.core.share import share_of


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


BOUNDS: dict[str, Row] = {
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
