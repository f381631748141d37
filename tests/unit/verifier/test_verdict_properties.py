"""Properties of every verdict, whatever is bent: narrowing never widens, unknown is never yes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.unit.verifier.bending import Bend, attribute, drop_approval, when
from tests.unit.verifier.conftest import NOW, World

from primum_verifier.core.eligibility import Constraints
from primum_verifier.core.question import (
    ArtifactsFact,
    ClinicalUse,
    SeenHold,
    SelfTestFact,
    Verdict,
)
from primum_verifier.core.reasons import Reason
from primum_verifier.core.verdict import judge
from primum_verifier.core.vocabulary import Capability, IndexStatus, NoticeAction, Outcome, Phase

few = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
many = settings(few, max_examples=150)

facts = st.fixed_dictionaries(
    {
        "phase": st.sampled_from(Phase),
        "artifacts": st.sampled_from(ArtifactsFact),
        "self_test": st.sampled_from(SelfTestFact),
        "clinical_use": st.sampled_from(ClinicalUse),
        "hardware_id": st.sampled_from(["cardiowear-2", "cardiowear-2", "other"]),
        "counter_floor": st.integers(0, 3),
        "asks_per_episode": st.booleans(),
        "operator_agreed": st.booleans(),
        "conditions_met": st.sampled_from([frozenset(), frozenset({"on-mains"})]),
        "hours": st.none() | st.integers(-2, 400),
    }
)

slugs = st.sampled_from(["home", "icu", "ward-7", "ward-8", "north"])
some = st.lists(slugs, min_size=1, max_size=3, unique=True)
category = st.sampled_from(["adult", "paediatric", "neonatal"])
categories = st.lists(category, min_size=1, max_size=3, unique=True)
countries = st.lists(st.sampled_from(["DE", "FR", "CH"]), min_size=1, max_size=3, unique=True)
moments = st.integers(-400, 400).map(lambda hours: when(hours=hours))
sites = st.builds(
    lambda mode, ids: {"mode": mode, "ids": [] if mode == "all" else ids},
    st.sampled_from(["all", "list", "group"]),
    some,
)
devices = st.builds(
    lambda scope, value: {"scope": scope, "values": [value]},
    st.sampled_from(["model", "lot-numbers", "serial-numbers"]),
    st.sampled_from(["SN1", "M1", "L1"]),
)
population = st.builds(
    lambda enforce, age: {"enforce": enforce, "ageYearsMin": age},
    st.sampled_from(["inference", "labelling"]),
    st.integers(0, 90),
)
versions = st.sampled_from(["0.0.1", "0.1.0", "0.2.0", "1.0.0"])
software = st.fixed_dictionaries(
    {},
    optional={
        "agentMin": versions,
        "operatingSystems": st.just(["os 1"]),
        "requires": versions.map(lambda least: [{"component": "card", "least": least}]),
        "conflicts": versions.map(lambda least: [{"component": "card", "least": least}]),
    },
)
inputs = st.booleans().map(
    lambda named: [
        {
            "channel": "ecg",
            "code": "131328",
            "unit": "mV",
            "rateHz": "360",
            **({"acquisitionDevices": ["afe"]} if named else {}),
        }
    ]
)
CONSTRAINTS: dict[str, st.SearchStrategy[Any]] = {
    "careSettings": some,
    "useEnvironments": some,
    "patientCategories": categories,
    "devices": devices,
    "population": population,
    "inputs": inputs,
    "market": moments.map(lambda start: {"start": start}),
    "software": software,
}
constraints = st.sampled_from(sorted(CONSTRAINTS)).flatmap(
    lambda name: CONSTRAINTS[name].map(lambda value: {name: value})
)
signers = st.lists(st.sampled_from(["clinical", "quality", "regulatory"]), max_size=3, unique=True)
restrictions = st.fixed_dictionaries(
    {},
    optional={
        "jurisdictions": countries,
        "sites": sites,
        "careSettings": some,
        "patientCategories": categories,
        "population": population,
        "operatingPoint": st.sampled_from(["cautious", "bold"]),
    },
)
scopes = st.just({"mode": "all"}) | countries.map(
    lambda listed: {"mode": "jurisdictions", "jurisdictions": listed}
)
actions = st.sampled_from([str(item) for item in NoticeAction if item != NoticeAction.RESTRICT])
notices = st.one_of(
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["withdrawal", "field-action"]),
            "action": actions,
            "scope": scopes,
            "effectiveAt": moments,
            "gracePeriodSeconds": st.sampled_from([0, 3600, 86_400]),
        },
        optional={"expiresAt": moments, "drill": st.booleans()},
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("restriction"),
            "action": st.just("restrict"),
            "restriction": restrictions,
            "scope": scopes,
        },
        optional={"expiresAt": moments},
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("hold"),
            "action": actions,
            "expiresAt": moments,
            "issuedAt": moments,
            "scope": scopes,
        }
    ),
)
conditions = st.builds(
    lambda code, enforce: {"code": code, "text": "Mind it.", "enforce": enforce},
    st.sampled_from(["on-mains", "dry"]),
    st.sampled_from(["activation", "inference", "labelling"]),
)
accepted = st.fixed_dictionaries(
    {"acceptedFrom": moments, "conditions": st.lists(conditions, max_size=2)},
    optional={"acceptedUntil": moments},
)


def bent(world: World, chosen: dict[str, Any]) -> World:
    chosen = dict(chosen)
    hours = chosen.pop("hours")
    now = None if hours is None else world.facts["clock"] + timedelta(hours=hours)
    world.facts.update(chosen, clock=now, proven=now, activated_under=world.statement_bytes())
    return world


def strictness(verdict: Verdict) -> int:
    return -1 if verdict.ordered is None else verdict.ordered.rank


def assert_not_wider(world: World, narrow: Bend) -> None:
    """What runs was activated in the world as it was; what is taken away is never less."""
    before = judge(world.question())
    narrow(world)
    after = judge(world.question())
    assert after.capability <= before.capability
    assert strictness(after) >= strictness(before)


@many
@given(chosen=facts, first=constraints, then=constraints)
def test_one_more_constraint_never_widens(
    make_world: Callable[[], World],
    chosen: dict[str, Any],
    first: dict[str, Any],
    then: dict[str, Any],
) -> None:
    assume(first.keys() != then.keys())
    world = make_world()
    world.statement["constraints"].update(first)
    bent(world, chosen)
    assert_not_wider(world, lambda w: w.statement["constraints"].update(then))


@few
@given(chosen=facts, fewer=st.sets(st.sampled_from(["DE", "FR", "CH"]), min_size=1))
def test_fewer_countries_never_widen(
    make_world: Callable[[], World], chosen: dict[str, Any], fewer: set[str]
) -> None:
    world = make_world()
    world.statement["constraints"]["jurisdictions"] = ["DE", "FR", "CH"]
    bent(world, chosen)
    listed = world.statement["constraints"]
    assert_not_wider(world, lambda _: listed.update(jurisdictions=sorted(fewer)))


@many
@given(
    chosen=facts,
    there=st.lists(st.tuples(notices, signers), max_size=2),
    notice=notices,
    who=signers,
    status=st.sampled_from(IndexStatus),
)
def test_one_more_notice_never_widens(
    make_world: Callable[[], World],
    chosen: dict[str, Any],
    there: list[tuple[dict[str, Any], list[str]]],
    notice: dict[str, Any],
    who: list[str],
    status: IndexStatus,
) -> None:
    """But that what the list marks as restricted is usable once a notice says how."""
    assume(status != IndexStatus.RESTRICTED)
    # A hold that comes to light later, but is dated before another, uses up that person's hold.
    assume(notice["kind"] != "hold" or not any(said["kind"] == "hold" for said, _ in there))
    world = bent(make_world(), chosen)
    world.index_status = str(status)
    for said, signed_by in there:
        world.notice(*signed_by, **said)
    assert_not_wider(world, lambda w: w.notice(*who, **notice))


@few
@given(chosen=facts, said=conditions)
def test_one_more_condition_never_widens(
    make_world: Callable[[], World], chosen: dict[str, Any], said: dict[str, Any]
) -> None:
    world = bent(make_world(), chosen)
    assert_not_wider(world, lambda w: w.statement.update(conditions=[said]))


@few
@given(chosen=facts, said=accepted)
def test_a_hospital_on_the_map_never_widens(
    make_world: Callable[[], World], chosen: dict[str, Any], said: dict[str, Any]
) -> None:
    world = bent(make_world(), chosen)
    entry = {"person": "Head", **said}
    assert_not_wider(world, lambda w: w.accept(accepted=[entry]))


@few
@given(chosen=facts, decision=st.sampled_from(["investigational", "shadow-only"]), until=moments)
def test_a_study_never_widens(
    make_world: Callable[[], World], chosen: dict[str, Any], decision: str, until: str
) -> None:
    def study(world: World) -> None:
        world.decide(decision)
        world.statement["study"]["until"] = until

    assert_not_wider(bent(make_world(), chosen), study)


def _first_person(status: str) -> Bend:
    return lambda world: world.policy["people"][0].update(status=status)


NARROWING: dict[str, Bend] = {
    "an approval is removed": lambda world: world.approvals.pop(),
    "an approval is turned": lambda world: world.approvals[0].update(decision="reject"),
    "a function is removed": drop_approval("clinical"),
    "a person leaves": _first_person("left"),
    "a person is compromised": _first_person("compromised"),
    "a person is removed": lambda world: world.policy["people"].pop(),
    "one more approver is wanted": lambda world: world.policy["requirements"][0][
        "functions"
    ].update(quality=2),
    "a rung is wanted": lambda world: world.policy["requirements"][0].update(rungs=["offline"]),
    "an item of evidence is removed": lambda world: world.statement["evidence"].pop(),
    "issues are counted": lambda world: world.policy.update(
        openIssues={"critical": 0, "major": 0, "minor": 0}
    ),
    "numbers are raised": lambda world: world.policy.update(minStatementNumber=6),
    "sites are listed": lambda world: world.statement["constraints"].update(
        sites={"mode": "list", "ids": ["ward-9"]}
    ),
    "the list drops it": attribute("listed", value=False),
    "the list is gone": attribute("index", value=None),
    "the notices are gone": attribute("notices_there", value=False),
    "the list allows less age": lambda world: world.statement["validity"].update(
        maxIndexAgeHours=0
    ),
    "less grace is given": lambda world: world.statement["validity"].update(offlineGraceHours=0),
    "the context loses a signature": attribute("context_signers", [0]),
    "engineering built for less": lambda world: world.manifest.update(maxStage="validation"),
    "something newer is known": attribute("awaited", "timestamp 9"),
    "a key is in both authorities": attribute("shared_keys", {"k"}),
    "the clock is lost": lambda world: world.facts.update(clock=None),
    "the context is older than another": lambda world: world.facts.update(context_floor=9),
    "the floor is raised": lambda world: world.facts.update(counter_floor=9),
    "nobody asks per episode": lambda world: world.facts.update(asks_per_episode=False),
    "no condition is met": lambda world: world.facts.update(conditions_met=frozenset()),
    "another component": lambda world: world.trust_map.update(component="other"),
}


@many
@given(chosen=facts, name=st.sampled_from(sorted(NARROWING)), first=constraints)
def test_narrowing_never_widens_a_verdict(
    make_world: Callable[[], World], chosen: dict[str, Any], name: str, first: dict[str, Any]
) -> None:
    world = make_world()
    world.policy["requirements"][0]["evidence"] = ["dossier"]
    world.statement["evidence"] = [{"name": "dossier", "digest": {"sha256": "a" * 64}}]
    world.statement["constraints"].update(first)
    # A context that nobody trusts takes nothing away: whoever spoils it would decide.
    assume(chosen["phase"] != Phase.CONTINUE or "context" not in name)
    assert_not_wider(bent(world, chosen), NARROWING[name])


@many
@given(
    chosen=facts,
    later=st.integers(1, 10_000),
    first=constraints,
    there=st.lists(st.tuples(notices, signers), max_size=2),
    expiry=st.sampled_from(["continue-with-notice", "fall-back"]),
)
def test_later_never_revives(
    make_world: Callable[[], World],
    chosen: dict[str, Any],
    later: int,
    first: dict[str, Any],
    there: list[tuple[dict[str, Any], list[str]]],
    expiry: str,
) -> None:
    """But for what has not begun, and for holds, drills and mere words, which end by their time."""
    assume(chosen["hours"] is not None)
    world = make_world()
    world.statement["constraints"].update(first)
    world.statement["onExpiry"]["action"] = expiry
    bent(world, chosen)
    for said, signed_by in there:
        assume(said["kind"] != "hold" and not said.get("drill"))
        assume("expiresAt" not in said or _restricts(said))
        world.notice(*signed_by, **said)
    before = judge(world.question())
    assume(Reason.ELIGIBILITY_NOT_YET_VALID not in {check.reason for check in before.checks})
    moved = world.facts["clock"] + timedelta(hours=later)
    world.facts.update(clock=moved, proven=moved)
    after = judge(world.question())
    assert after.capability <= before.capability
    assert strictness(after) >= strictness(before)


def _restricts(said: dict[str, Any]) -> bool:
    strict = NoticeAction(said["action"]).rank >= NoticeAction.RESTRICT.rank
    return said["kind"] == "withdrawal" or strict


@few
@given(chosen=facts, first=constraints)
def test_clinical_needs_every_rule_satisfied(
    make_world: Callable[[], World], chosen: dict[str, Any], first: dict[str, Any]
) -> None:
    world = make_world()
    world.statement["constraints"].update(first)
    verdict = judge(bent(world, chosen).question())
    if chosen["phase"] == Phase.CONTINUE or verdict.capability < Capability.SHADOW:
        return
    assert not verdict.in_the_way
    assert {check.name for check in verdict.checks if check.outcome == Outcome.SATISFIED} >= {
        "manifest-signed",
        "component",
        "artifacts",
        "device-context",
        "safety-notices",
        "index-lists-it",
        "statement",
        "approvals",
        "validity",
        "self-test",
    }


@few
@given(chosen=facts, there=st.lists(st.tuples(notices, signers), max_size=2))
def test_a_primary_reason_stands_exactly_where_something_is_in_the_way(
    make_world: Callable[[], World],
    chosen: dict[str, Any],
    there: list[tuple[dict[str, Any], list[str]]],
) -> None:
    world = bent(make_world(), chosen)
    for said, signed_by in there:
        world.notice(*signed_by, **said)
    assert_well_formed(judge(world.question()))


def assert_well_formed(verdict: Verdict) -> None:
    """Every verdict explains itself, and can be written down."""
    assert (verdict.primary is None) == (not verdict.in_the_way)
    if verdict.primary is not None:
        assert verdict.primary == verdict.in_the_way[0].reason
    for check in verdict.checks:
        assert (check.reason is not None) == check.stands_in_the_way
        assert check.source
        assert check.clause
    assert json.loads(json.dumps(verdict.as_dict()))["checks"]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | moments,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=4,
)
PARTS = ("statement", "context", "policy", "index", "acceptance", "manifest", "notices")


def _mutate(place: Any, draw: st.DataObject) -> None:
    """Drop, replace or add a member, somewhere below."""
    while True:
        keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = draw.draw(st.sampled_from(keys))
        inner = place[key]
        if isinstance(inner, dict | list) and inner and draw.draw(st.booleans()):
            place = inner
            continue
        how = draw.draw(st.sampled_from(["drop", "replace", "add"]))
        if how == "drop":
            del place[key]
        elif how == "add" and isinstance(place, dict):
            place[draw.draw(st.text(min_size=1, max_size=9))] = draw.draw(ANYTHING)
        else:
            place[key] = draw.draw(ANYTHING)
        return


@settings(few, max_examples=250)
@given(data=st.data(), part=st.sampled_from(PARTS), phase=st.sampled_from(Phase))
def test_a_verdict_is_given_on_documents_changed_anywhere(
    make_world: Callable[[], World], data: st.DataObject, part: str, phase: Phase
) -> None:
    world = make_world()
    world.accept()
    world.notice("clinical", "quality", scope={"mode": "jurisdictions", "jurisdictions": ["FR"]})
    world.facts.update(phase=phase, activated_under=world.statement_bytes())
    bundle = copy.deepcopy(world.manifest["bundle"])
    _mutate(world.notices[0][0] if part == "notices" else getattr(world, part), data)
    if part == "manifest":
        assume(world.manifest.get("bundle", {}) == bundle)
    assume(part != "acceptance" or isinstance((world.acceptance or {}).get("accepted"), list))
    assume(all(isinstance(item, dict) for item in (world.acceptance or {}).get("accepted", [])))
    try:
        question = world.question()
    except UnicodeEncodeError:
        assume(condition=False)
    assert_well_formed(judge(question))


DOCUMENTS = (
    "manifest.json",
    "keys.json",
    "approval-policy.json",
    "statement.json",
    "approvals.jsonl",
    "notices.jsonl",
    "index.json",
    "acceptance.json",
    "context",
)


@settings(few, max_examples=150)
@given(
    name=st.sampled_from(DOCUMENTS),
    phase=st.sampled_from(Phase),
    junk=st.binary(max_size=40),
    at=st.integers(0, 5000),
    length=st.integers(0, 40),
)
def test_random_bytes_give_nothing_and_take_nothing_away(
    make_world: Callable[[], World], name: str, phase: Phase, junk: bytes, at: int, length: int
) -> None:
    world = make_world()
    world.accept()
    world.facts.update(phase=phase, activated_under=world.statement_bytes())
    whole: list[bytes] = []

    def spoil(document: str, data: bytes) -> bytes:
        if not document.endswith(name):
            return data
        place = at % (len(data) + 1)
        whole.append(data)
        return data[:place] + junk + data[place + length :]

    world.tamper = spoil
    verdict = judge(world.question())
    assert_well_formed(verdict)
    if phase == Phase.CONTINUE:
        assert verdict.capability == Capability.CLINICAL
        assert verdict.order is None or not verdict.order.action.takes_away


@few
@given(
    issued=st.lists(st.integers(0, 200), min_size=1, max_size=6, unique=True),
    hours=st.integers(0, 200 * 24),
    seen=st.lists(st.integers(0, 200), max_size=3),
)
def test_one_person_never_holds_more_than_three_days_in_thirty(
    make_world: Callable[[], World], issued: list[int], hours: int, seen: list[int]
) -> None:
    world = make_world()
    now = NOW + timedelta(hours=hours)
    world.vouched = now
    world.facts.update(proven=now, phase=Phase.CONTINUE, activated_under=world.statement_bytes())
    world.facts["seen_holds"] = tuple(
        SeenHold("urn:uuid:1", "p-clinical", NOW + timedelta(days=day)) for day in seen
    )
    for day in issued:
        said = {"issuedAt": when(days=day), "effectiveAt": when(days=day)}
        world.notice(
            "clinical",
            kind="hold",
            action="no-new-activation",
            expiresAt=when(days=day + 60),
            **said,
        )
    held = judge(world.question()).primary == Reason.ELIGIBILITY_HELD
    begun = {day for day in issued if NOW + timedelta(days=day) <= now}
    counted = [
        day
        for day in begun
        if not any(day - 30 < other < day for other in {*begun, *seen}) and _covers(day, now)
    ]
    assert held == bool(counted)


def _covers(day: int, now: datetime) -> bool:
    return now < NOW + timedelta(days=day, hours=72)


def test_the_properties_speak_of_every_constraint() -> None:
    names = {item.alias or name for name, item in Constraints.model_fields.items()}
    elsewhere = {"jurisdictions", "hardware", "sites", "userRoles"}
    assert names == set(CONSTRAINTS) | elsewhere


@pytest.mark.parametrize("name", NARROWING, ids=str)
def test_each_narrowing_narrows_what_was_right(world: World, name: str) -> None:
    """Where everything is right, each of them is noticed in some phase."""
    world.policy["requirements"][0]["evidence"] = ["dossier"]
    world.statement["evidence"] = [{"name": "dossier", "digest": {"sha256": "a" * 64}}]
    world.statement["conditions"] = [
        {"code": "on-mains", "text": "On mains.", "enforce": "activation"},
        {"code": "dry", "text": "Dry.", "enforce": "inference"},
    ]
    world.facts.update(asks_per_episode=True, conditions_met=frozenset({"on-mains"}))
    world.facts["activated_under"] = world.statement_bytes()
    if name == "less grace is given":
        late = NOW + timedelta(hours=260)
        world.statement["onExpiry"]["action"] = "fall-back"
        world.facts.update(clock=late, proven=late, phase=Phase.CONTINUE)
        world.facts["activated_under"] = world.statement_bytes()
    before = judge(world.question())
    NARROWING[name](world)
    assert judge(world.question()).capability < before.capability
