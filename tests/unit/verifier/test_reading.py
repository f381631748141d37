"""What cannot be read is as good as absent, is named, and leaves the others standing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.verifier.bending import (
    Bend,
    asked,
    attribute,
    both,
    constraint,
    digest,
    granted,
    manifest,
    noticed,
    policy,
    statement,
    when,
    within,
)
from tests.unit.verifier.conftest import World, envelope

from primum_verifier.core.component import ItemKind
from primum_verifier.core.document import canonical_json
from primum_verifier.core.envelope import (
    CONTEXT_PAYLOAD_TYPE,
    INTOTO_PAYLOAD_TYPE,
    public_key_of,
)
from primum_verifier.core.reading import CONTEXT, read
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import Capability, NoticeAction, Phase

_RANGE = {"prefix": "SN", "first": 1, "last": 9}
LATER = {"later": True, "crit": ["later"]}


def spoilt(ending: str, change: Callable[[bytes], bytes] = lambda _: b"{") -> Bend:
    """The documents whose name ends so have other bytes."""
    return lambda world: setattr(
        world, "tamper", lambda name, data: change(data) if name.endswith(ending) else data
    )


def entries(change: Callable[[list[dict[str, Any]]], None]) -> Bend:
    """The list has other entries."""

    def edit(data: bytes) -> bytes:
        index = json.loads(data)
        change(index["entries"])
        return canonical_json(index)

    return spoilt("index.json", edit)


UNREADABLE: dict[str, tuple[Bend, Capability, Reason]] = {
    "manifest": (manifest(installer="magic"), Capability.NONE, Reason.DOCUMENT_INVALID),
    "manifest in the role of software": (
        both(
            within("manifest", "bundle.track", "software"),
            lambda world: world.roles.update(manifest="software"),
        ),
        Capability.NONE,
        Reason.TRUST_NOT_FOUND,
    ),
    "policy": (
        spoilt("approval-policy.json"),
        Capability.STAGE,
        Reason.ELIGIBILITY_APPROVALS,
    ),
    "policy with a critical member": (
        policy(**LATER),
        Capability.STAGE,
        Reason.ELIGIBILITY_CRIT_UNKNOWN,
    ),
    "list": (spoilt("index.json"), Capability.STAGE, Reason.TRUST_STALE_INDEX),
    "list with a critical member": (
        lambda w: w.index is not None and w.index.update(LATER),
        Capability.STAGE,
        Reason.ELIGIBILITY_CRIT_UNKNOWN,
    ),
    "statement": (spoilt("statement.json"), Capability.STAGE, Reason.ELIGIBILITY_ABSENT),
    "statement with a critical member": (
        statement(**LATER),
        Capability.STAGE,
        Reason.ELIGIBILITY_CRIT_UNKNOWN,
    ),
    "context that is no envelope": (
        spoilt("context"),
        Capability.STAGE,
        Reason.ELIGIBILITY_CONTEXT_UNTRUSTED,
    ),
    "context that is no context": (
        lambda w: w.context.update(number=0),
        Capability.STAGE,
        Reason.ELIGIBILITY_CONTEXT_UNTRUSTED,
    ),
    "list of provisioning keys": (
        spoilt("keys.json"),
        Capability.STAGE,
        Reason.ELIGIBILITY_CONTEXT_UNTRUSTED,
    ),
    "one line of the notices": (
        spoilt("notices.jsonl", lambda data: data + b"{}\n"),
        Capability.STAGE,
        Reason.TRUST_STALE_INDEX,
    ),
    "notices that are too many": (
        spoilt("notices.jsonl", lambda data: data + b"{}\n" * 1001),
        Capability.STAGE,
        Reason.TRUST_STALE_INDEX,
    ),
    "a notice with a critical member": (
        noticed("clinical", "quality", **LATER),
        Capability.STAGE,
        Reason.TRUST_STALE_INDEX,
    ),
    "two entries with two statements": (
        entries(lambda listed: listed.append({**listed[0], "statement": {"sha256": "9" * 64}})),
        Capability.STAGE,
        Reason.ELIGIBILITY_HELD,
    ),
    "two entries with two states": (
        entries(lambda listed: listed.insert(0, {**listed[0], "status": "held"})),
        Capability.STAGE,
        Reason.ELIGIBILITY_HELD,
    ),
    "an entry with a state that this build does not know": (
        entries(lambda listed: listed[0].update(status="doubtful")),
        Capability.STAGE,
        Reason.ELIGIBILITY_ABSENT,
    ),
}


@pytest.mark.parametrize("case", UNREADABLE, ids=str)
def test_what_cannot_be_read_permits_nothing(world: World, case: str) -> None:
    bend, capability, reason = UNREADABLE[case]
    verdict = asked(world, bend)
    assert (verdict.capability, verdict.primary) == (capability, reason)


TAKEN = {"manifest", "manifest in the role of software"}


@pytest.mark.parametrize("case", UNREADABLE, ids=str)
def test_what_cannot_be_read_takes_nothing_away(world: World, case: str) -> None:
    verdict = asked(world, UNREADABLE[case][0], phase=Phase.CONTINUE)
    assert granted(verdict)
    assert verdict.ordered == (None if case in TAKEN else NoticeAction.CONTINUE_WITH_NOTICE)


CONTRADICTIONS: dict[str, tuple[Bend, Reason]] = {
    "a list of sites that names none": (
        constraint(sites={"mode": "list", "ids": []}),
        Reason.ELIGIBILITY_ABSENT,
    ),
    "any site, and a list": (
        constraint(sites={"mode": "all", "ids": ["ward-7"]}),
        Reason.ELIGIBILITY_ABSENT,
    ),
    "a range of serial numbers that ends before it begins": (
        constraint(devices={"scope": "serial-numbers", "ranges": [_RANGE | {"last": 0}]}),
        Reason.ELIGIBILITY_ABSENT,
    ),
    "a range of lots": (
        constraint(devices={"scope": "lot-numbers", "ranges": [_RANGE]}),
        Reason.ELIGIBILITY_ABSENT,
    ),
    "a scope that names no device": (
        constraint(devices={"scope": "model", "values": []}),
        Reason.ELIGIBILITY_ABSENT,
    ),
    "versions from above to below": (
        constraint(software={"requires": [{"component": "c", "least": "1.0.1", "most": "1.0.0"}]}),
        Reason.ELIGIBILITY_ABSENT,
    ),
    "a statement that ends when it begins": (
        within("statement", "validity.notAfter", when()),
        Reason.ELIGIBILITY_ABSENT,
    ),
    "a study for clinical use": (
        statement(study={"protocolId": "P", "approvalRef": "E", "until": when(days=9)}),
        Reason.ELIGIBILITY_ABSENT,
    ),
    "conditions that are not named": (
        statement(decision="eligible-with-conditions"),
        Reason.ELIGIBILITY_ABSENT,
    ),
    "a mode that the decision does not allow": (
        statement(decision="investigational"),
        Reason.ELIGIBILITY_ABSENT,
    ),
    "a country and no jurisdictions": (
        noticed("clinical", "quality", scope={"mode": "all", "jurisdictions": ["FR"]}),
        Reason.TRUST_STALE_INDEX,
    ),
    "a hold without an end": (
        noticed("clinical", kind="hold", action="no-new-activation"),
        Reason.TRUST_STALE_INDEX,
    ),
    "a hold that restricts": (
        noticed(
            "clinical",
            kind="hold",
            action="restrict",
            restriction={"jurisdictions": ["FR"]},
            expiresAt=when(days=3),
        ),
        Reason.TRUST_STALE_INDEX,
    ),
    "a restriction that restricts nothing": (
        noticed("clinical", "quality", kind="restriction", action="restrict"),
        Reason.TRUST_STALE_INDEX,
    ),
    "a date to approve again for somebody who is active": (
        within("policy", "people.0.reapproveBy", when(days=9)),
        Reason.ELIGIBILITY_APPROVALS,
    ),
    "one key for two people": (
        lambda w: w.policy["people"][1].update(key=w.policy["people"][0]["key"]),
        Reason.ELIGIBILITY_APPROVALS,
    ),
    "one stage and tier twice": (
        lambda w: w.policy["requirements"].append(w.policy["requirements"][0]),
        Reason.ELIGIBILITY_APPROVALS,
    ),
    "two items with one path": (
        within("manifest", "items.1.path", "model.onnx"),
        Reason.DOCUMENT_INVALID,
    ),
    "a self-test that is none": (
        within("manifest", "selfTest.specification", "model"),
        Reason.DOCUMENT_INVALID,
    ),
    "fixtures that are none": (
        within("manifest", "selfTest.fixtures", "model"),
        Reason.DOCUMENT_INVALID,
    ),
    "no model": (within("manifest", "items.0.kind", "driver"), Reason.DOCUMENT_INVALID),
    "one baseline of two": (manifest(previous=digest("a")), Reason.DOCUMENT_INVALID),
}


@pytest.mark.parametrize("case", CONTRADICTIONS, ids=str)
def test_a_document_that_contradicts_itself_is_not_read(world: World, case: str) -> None:
    bend, reason = CONTRADICTIONS[case]
    verdict = asked(world, bend)
    assert not granted(verdict)
    assert verdict.primary == reason


STANDING: dict[str, Bend] = {
    "two equal entries": entries(lambda listed: listed.append(dict(listed[0]))),
    "an entry about something else that this build cannot read": entries(
        lambda listed: listed.append({"component": "later"})
    ),
    "an approval that is no envelope": spoilt("approvals.jsonl", lambda data: b"{}\n" + data),
    "an approval of another kind": spoilt(
        "approvals.jsonl",
        lambda data: (
            envelope(b"{}", CONTEXT_PAYLOAD_TYPE) + envelope(b"{}", INTOTO_PAYLOAD_TYPE) + data
        ),
    ),
    "empty lines": spoilt("notices.jsonl", lambda data: b"\n\n" + data),
    "a member that need not be understood": both(
        manifest(later=True), statement(later=True), policy(later=True)
    ),
}


@pytest.mark.parametrize("case", STANDING, ids=str)
def test_what_else_stands_there_leaves_the_others_standing(world: World, case: str) -> None:
    assert granted(asked(world, STANDING[case]))


def test_what_is_not_understood_is_shown(world: World) -> None:
    verdict = asked(world, STANDING["a member that need not be understood"])
    assert verdict.not_understood == (
        "release manifest: later",
        "approval policy: later",
        "eligibility statement: later",
    )
    assert verdict.as_dict()["notUnderstood"] == list(verdict.not_understood)


def test_a_refusal_says_what_was_wrong_with_the_document(world: World) -> None:
    verdict = asked(world, UNREADABLE["manifest"][0])
    found = next(check.found for check in verdict.checks if check.name == "manifest-signed")
    assert "installer" in found
    found = next(check.found for check in verdict.checks if check.name == "hardware")
    assert found == "no manifest to judge by"


def test_two_entries_that_contradict_hold_what_runs(world: World) -> None:
    bend = UNREADABLE["two entries with two statements"][0]
    verdict = asked(world, bend, phase=Phase.CONTINUE)
    assert "contradict" in verdict.in_the_way[0].found


def test_how_many_entries_cannot_be_read_is_told(world: World) -> None:
    verdict = asked(world, UNREADABLE["an entry with a state that this build does not know"][0])
    assert verdict.in_the_way[0].found == "not on list 9; 1 entries unread"


def test_a_statement_kept_at_activation_stands_in_for_one_that_is_gone(world: World) -> None:
    world.statement["onExpiry"]["action"] = "suspend-ai-function"
    verdict = asked(world, attribute("listed", value=False), phase=Phase.CONTINUE)
    assert verdict.statement is not None
    assert verdict.statement_bytes == world.facts["activated_under"]
    kept = world.facts["activated_under"]
    assert verdict.statement_digest == hashlib.sha256(kept).hexdigest()
    world.facts["activated_under"] = b"{"
    assert asked(world).statement is None


def test_without_any_statement_there_are_no_terms_to_use_it_by(world: World) -> None:
    world.facts["phase"] = Phase.CONTINUE
    world.listed = False
    assert asked(world).per_episode == {}


def test_a_statement_is_kept_for_what_runs_only(world: World) -> None:
    world.run()
    verdict = asked(world, attribute("listed", value=False), phase=Phase.ACTIVATE)
    assert verdict.statement is None


def test_a_manifest_finds_the_items_that_it_names(world: World) -> None:
    found = asked(world).manifest
    assert found is not None
    assert found.item(found.self_test.specification).kind == ItemKind.SELF_TEST_SPECIFICATION
    assert found.item_of_kind(ItemKind.SELF_TEST_FIXTURES) == found.item("fixtures")
    assert found.item_of_kind(ItemKind.THRESHOLD_SET) is None


def test_what_cannot_be_read_is_kept_with_its_fault(world: World) -> None:
    world.notice("clinical", "quality")
    world.junk = 2
    problems = read(world.question()).problems
    assert sorted(problems) == ["safety/notices.jsonl:2", "safety/notices.jsonl:3"]
    assert [problems[where].where for where in sorted(problems)] == sorted(problems)


def test_more_lines_than_are_read_at_all_are_one_fault(world: World) -> None:
    world.junk = 10_001
    problem = read(world.question()).problems["safety/notices.jsonl"]
    assert problem.where == "safety/notices.jsonl"


def test_a_context_that_is_no_envelope_is_kept_with_its_fault(world: World) -> None:
    spoilt("context")(world)
    assert read(world.question()).problems[CONTEXT].where == CONTEXT


@pytest.mark.parametrize("stricter", ["engineering", "clinical"])
def test_the_stricter_of_two_thresholds_counts_for_a_context(world: World, stricter: str) -> None:
    asked_of = world.question()
    name = "provisioning/keys.json"
    view = getattr(asked_of, stricter)
    keys = {**json.loads(view.documents[name].data), "threshold": 3}
    third = public_key_of(world.people["clinical"].public_key)
    keys["keys"].append(third.model_dump(mode="json", by_alias=True))
    documents = {**view.documents, name: replace(view.documents[name], data=canonical_json(keys))}
    changed = replace(asked_of, **{stricter: replace(view, documents=documents)})
    assert read(changed).context_threshold == 3


def test_another_manifest_of_the_right_role_is_passed_over(world: World) -> None:
    asked_of = world.question()
    view = asked_of.engineering
    other = replace(
        next(item for item in view.documents.values() if item.role == "model"), data=b"{}"
    )
    changed = replace(view, documents={"releases/a/0.0.1/manifest.json": other, **view.documents})
    found = read(replace(asked_of, engineering=changed))
    assert found.manifest_target == "releases/pvc-classifier/1.1.0/manifest.json"
    assert found.problems == {}
