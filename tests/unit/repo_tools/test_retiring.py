"""Who leaves takes no approval away; a key in other hands counts nowhere."""

from __future__ import annotations

import json
from typing import Any

import pytest

from primum_verifier.core.vocabulary import Capability

COMPONENT = "pvc-classifier"


def listed(device: Any) -> Capability:
    found: Capability = device.verdict("1.0.0").capability
    return found


@pytest.fixture
def in_use(published: Any, device: Any) -> Any:
    published.run(
        "rollout", published.engineering, "--component", COMPONENT, "--version", "1.0.0",
        "--percentage", "50",
    )  # fmt: skip
    assert listed(device) == Capability.CLINICAL
    return published


def test_who_left_is_honoured_for_what_is_listed_and_signs_no_more(
    in_use: Any, device: Any
) -> None:
    answer = in_use.run("person", "retire", in_use.clinical, "--id", "a.berg", "--json").json
    assert (answer["status"], answer["approved"]) == ("left", [f"{COMPONENT} 1.0.0"])
    assert listed(device) == Capability.CLINICAL
    people = in_use.run("person", "list", in_use.clinical, "--json").json["people"]
    assert [item["status"] for item in people] == ["left", "active", "active"]
    statement = in_use.run("status", in_use.clinical, "--json").json["statements"][0]
    assert statement["missing"] == {}
    assert in_use.prepare("1.0.0").code == 0
    refused = in_use.try_run(
        "approve", "sign", in_use.clinical, COMPONENT, "1.0.0",
        "--as", in_use.folder / "people/a.berg", "--yes",
    )  # fmt: skip
    assert refused.code == 1
    assert refused.err.startswith("eligibility.approvals")


def test_an_approval_that_was_never_listed_is_not_honoured(story: Any) -> None:
    """Who left approved a draft that nobody published: a new person of the function must."""
    story.build("1.0.0")
    story.sign("1.0.0")
    story.run("publish", story.engineering)
    story.prepare("1.0.0")
    story.approve("1.0.0", "a.berg", "q.lee", "r.novak")
    answer = story.run("person", "retire", story.clinical, "--id", "a.berg", "--json").json
    assert answer["approved"] == []
    refused = story.try_run("publish", story.clinical)
    assert refused.code == 1
    assert "clinical 1" in refused.err


def test_a_compromised_key_counts_nowhere_any_more(in_use: Any, device: Any) -> None:
    in_use.run(
        "hold", in_use.clinical, "--component", COMPONENT, "--version", "1.0.0", "--yes",
        "--reason", "x", "--hazard", "H", "--as", in_use.folder / "people/q.lee",
    )  # fmt: skip
    command = ["person", "retire", in_use.clinical, "--id", "q.lee", "--compromised"]
    answer = in_use.run(*command, "--json").json
    assert answer["status"] == "compromised"
    assert len(answer["notices"]) == 1
    verdict = device.verdict("1.0.0")
    assert verdict.capability < Capability.CLINICAL
    approvals = next(check for check in verdict.checks if check.name == "approvals")
    assert "quality 1" in approvals.found


def test_a_key_found_compromised_after_its_owner_left_loses_its_honour(
    in_use: Any, device: Any
) -> None:
    in_use.run("person", "retire", in_use.clinical, "--id", "a.berg")
    in_use.run("person", "retire", in_use.clinical, "--id", "a.berg", "--compromised")
    assert listed(device) < Capability.CLINICAL
    policy = next(in_use.clinical.glob("web/targets/policy/*.json")).parent
    newest = max(policy.iterdir(), key=lambda path: json.loads(path.read_bytes())["number"])
    person = json.loads(newest.read_bytes())["people"][0]
    assert (person["status"], person.get("honoured", [])) == ("compromised", [])


@pytest.mark.parametrize("again", [[], ["--compromised"]])
def test_nobody_is_retired_twice_or_brought_back(story: Any, again: list[str]) -> None:
    command = ["person", "retire", story.clinical, "--id", "a.berg"]
    story.run(*command, "--compromised")
    before = story.tree("clinical/web")
    answer = story.try_run(*command, *again)
    assert answer.code == 2
    assert "retired already" in answer.err
    assert story.tree("clinical/web") == before


def test_retiring_shows_what_it_means_before_anything_is_signed(published: Any) -> None:
    before = published.tree("clinical/web", "clinical/staging")
    command = ["person", "retire", published.clinical, "--id", "a.berg", "--dry-run"]
    assert "stay honoured: pvc-classifier 1.0.0" in published.run(*command).out
    told = published.run(*command, "--compromised").out
    assert "count no more: pvc-classifier 1.0.0" in told
    assert published.tree("clinical/web", "clinical/staging") == before
    assert published.try_run(*command[:-2], "n.obody").code == 2
