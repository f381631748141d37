"""Situations that no bound and no row of the decision table has, for what is said in them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from tests.unit.verifier.bending import (
    HOOK,
    IMAGE,
    TREE,
    Bend,
    a_set,
    accepted,
    at,
    attribute,
    both,
    constraint,
    digest,
    drop_approval,
    expires,
    facts,
    held,
    manifest,
    needs,
    noticed,
    placed,
    policy,
    restricted,
    statement,
    trust_map,
    when,
    within,
)
from tests.unit.verifier.bounds_of_documents import authorised, baselines, item, labelled
from tests.unit.verifier.conftest import NOW, World

from primum_verifier.core.document import sha256_hex
from primum_verifier.core.question import ArtifactsFact, SelfTestFact


def spoilt(fits: Callable[[str], bool]) -> Bend:
    """Documents under these names cannot be read."""
    return attribute("tamper", lambda name, data: b"[1]" if fits(name) else data)


def renewed(*bends: Bend) -> Bend:
    """What runs was activated under the statement as these leave it."""

    def bend(world: World) -> None:
        both(*bends)(world)
        if "activated_under" in world.facts:
            world.run()

    return bend


def burned(world: World) -> None:
    world.policy["burnedStatements"] = [{"sha256": sha256_hex(world.statement_bytes())}]


def stolen(*, again_by: str) -> Bend:
    """The clinician's key was stolen; whatever it approved is approved again by then."""
    return lambda world: world.policy["people"][0].update(
        status="compromised", reapproveBy=again_by
    )


def long_after(hours: float) -> Bend:
    """The list is this old, and nothing else has ended."""
    roles = ("root", "timestamp", "snapshot", "targets", "model", "rollout", "eligibility")
    return both(
        at(hours=hours),
        expires(NOW.replace(year=2030), *roles, "safety"),
        lambda world: world.context.update(notAfter=when(days=900)),
    )


def other_entry(world: World) -> None:
    world.more_entries.append(
        {
            "component": "pvc-classifier",
            "version": world.manifest["bundle"]["version"],
            "release": {"sha256": world.release},
            "statement": digest("a"),
            "status": "held",
            "effectiveAt": when(hours=-1),
        }
    )


def activated_otherwise(world: World) -> None:
    """What the device kept at activation is a statement about another release, for elsewhere."""
    constraints = world.statement["constraints"]
    before, world.about = constraints["jurisdictions"], "c" * 64
    constraints["jurisdictions"] = ["FR"]
    world.facts["activated_under"] = world.statement_bytes()
    constraints["jurisdictions"], world.about = before, None


def studied(world: World) -> None:
    world.decide("investigational")


def _is(*names: str) -> Callable[[str], bool]:
    return lambda name: name in names


_ANOTHER = {
    "component": "pvc-classifier",
    "version": "9.9.9",
    "release": digest("b"),
    "statement": digest("a"),
    "status": "eligible",
    "effectiveAt": when(hours=-1),
}

_DATED = both(
    constraint(market={"start": when(hours=-9), "end": when(days=9)}),
    authorised(("DE", when(days=9))),
    accepted(acceptedUntil=when(days=9)),
)

MORE: dict[str, Bend] = {
    "no list": attribute("index", None),
    "the list cannot be read": spoilt(_is("eligibility/index.json")),
    "the policy cannot be read": spoilt(_is("policy/approval-policy.json")),
    "the policy names no such stage": within("policy", "requirements.0.stage", "limited-release"),
    "the notices cannot be read": spoilt(_is("safety/notices.jsonl")),
    "there are no notices": attribute("notices_there", False),
    "the provisioning keys cannot be read": spoilt(_is("provisioning/keys.json")),
    "the context cannot be read": spoilt(_is("context")),
    "the context is over": lambda w: w.context.update(notAfter=when(minutes=-1)),
    "the context is another device's": lambda w: w.facts.update(device_key="another"),
    "the context is of other hardware": facts(hardware_id="cardiowear-9"),
    "the context is everything wrong at once": both(
        facts(hardware_id="cardiowear-9", device_key="another", context_floor=99),
        attribute("context_signers", [0]),
    ),
    "the statement cannot be read": spoilt(lambda name: name.endswith("/statement.json")),
    "the manifest cannot be read": spoilt(lambda name: name.endswith("/manifest.json")),
    "the approvals cannot be read": spoilt(lambda name: name.endswith("/approvals.jsonl")),
    "the statement was burned": burned,
    "the statement is about another release": attribute("about", "c" * 64),
    "entries contradict each other": other_entry,
    "listed from later on": attribute("effective_at", NOW + timedelta(days=9)),
    "not on the list": attribute("listed", False),
    "withdrawn on the list, without a notice": attribute("index_status", "withdrawn"),
    "withdrawn on the list, which is too old": both(
        attribute("index_status", "withdrawn"), long_after(289)
    ),
    "withdrawn on the list for longer than a list may be old": both(
        attribute("index_status", "withdrawn"),
        renewed(within("statement", "validity.maxIndexAgeHours", 0)),
    ),
    "the hospital is silent": trust_map(siteRoot={"sha256": "3" * 64}),
    "the hospital's word cannot be read": both(accepted(), spoilt(_is("site/acceptance.json"))),
    "the hospital accepts until a day": accepted(acceptedUntil=when(days=3)),
    "the hospital accepted until yesterday": accepted(acceptedUntil=when(days=-1)),
    "the time is unknown, and everything is dated": both(_DATED, facts(clock=None, proven=None)),
    "the time is unknown, and a study is dated": both(studied, facts(clock=None, proven=None)),
    "a person agreed": both(
        statement(use={"mode": "clinical", "automation": "manual-update"}),
        facts(operator_agreed=True),
    ),
    "nobody read what must be read": both(
        labelled("a", acknowledged="yes"), item("ifu", "a"), facts(operator_agreed=False)
    ),
    "restricted to what is the case": restricted(jurisdictions=["DE"]),
    "restricted to other countries and sites at once": restricted(
        jurisdictions=["FR"], careSettings=["icu"]
    ),
    "moved, and a withdrawal would suspend at once": both(
        renewed(
            within("statement", "onWithdrawal.action", "suspend-ai-function"),
            within("statement", "onWithdrawal.runningEpisode", "at-once"),
        ),
        placed(jurisdiction="CH"),
    ),
    "a stolen key approved, and the date has passed": stolen(again_by=when(minutes=1)),
    "a stolen key approved, and there is time": stolen(again_by=when(days=9)),
    "two approvals are missing": both(drop_approval("quality"), drop_approval("clinical")),
    "ends at once": both(
        renewed(
            within("statement", "validity.notBefore", when(hours=-9)),
            within("statement", "validity.notAfter", when(hours=-1)),
            within("statement", "onExpiry.runningEpisode", "at-once"),
        ),
    ),
    "everything signed has ended": expires(NOW, "model", "rollout", "eligibility", "safety"),
    "two roles are missing": lambda w: w.missing.update({"model", "rollout"}),
    "newer documents are awaited": attribute("awaited", "timestamp 9; snapshot 8"),
    "all software is there": both(
        within("manifest", "compatibility.requires", [{"component": "card"}]),
        facts(installed={"card": "1.0.0"}),
    ),
    "every component of the set has its installer": both(
        a_set(IMAGE, TREE, HOOK),
        facts(installers={"app": "tree", "os": "rauc", "pump": "hook", "other": "hook"}),
    ),
    "one component of the set has another installer, one has none": both(
        a_set(IMAGE, TREE, HOOK), facts(installers={"app": "hook", "os": "rauc"})
    ),
    "other baselines were compared": baselines("c", "d"),
    "no baselines were compared": manifest(original=digest("a"), previous=digest("b")),
    "the counter is at the floor": facts(counter_floor=2),
    "held and withdrawn": both(held(), noticed("clinical", "quality")),
    "withdrawn by two notices": both(
        noticed("clinical", "quality", maxUseSeconds=60, runningEpisode="at-once"),
        noticed("clinical", "quality", preserveEvidence=True, maxUseSeconds=30),
    ),
    "damaged, and its test never ran": facts(
        artifacts=ArtifactsFact.DAMAGED, self_test=SelfTestFact.NOT_RUN
    ),
    "open issues at the limit": both(
        policy(openIssues={"critical": 0, "major": 1, "minor": 2}),
        statement(openIssues={"critical": 0, "major": 1, "minor": 2}),
    ),
    "the statement is no statement": within("statement", "validity.notAfter", "never"),
    "kept under another release's statement, and the listed one lacks approvals": both(
        activated_otherwise, drop_approval("quality")
    ),
    "some entries of the list cannot be read": both(
        attribute("listed", False), attribute("more_entries", [_ANOTHER, {"x": 1}, {"y": 2}])
    ),
    "no list, and one was read before": both(
        attribute("index", None), facts(last_list_issued_at=NOW)
    ),
    "documents say more than this build knows": both(
        manifest(surprise=1),
        policy(surprise=2),
        statement(surprise=3),
        lambda w: w.index.update(surprise=4) if w.index is not None else None,
        lambda w: w.context.update(surprise=5),
    ),
    "the context is as old as may be": facts(context_floor=1),
    "restricted to patients that this device is for": both(
        restricted(patientCategories=["adult"]),
        placed(patientCategory="adult"),
        facts(asks_per_episode=True),
    ),
    "two of everything is missing": both(
        constraint(
            software={"requires": [{"component": "card", "least": "1.0.0"}, {"component": "mon"}]}
        ),
        needs(evidence=["dossier", "risk-file"], rungs=["retrospective", "prospective"]),
        statement(
            conditions=[
                {"code": "one", "text": "One.", "enforce": "activation"},
                {"code": "two", "text": "Two.", "enforce": "activation"},
            ]
        ),
    ),
}
"""Each by what is the case."""
