"""A policy that contradicts itself is refused, and says where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.verifier.bending import when
from tests.unit.verifier.conftest import World

from primum_verifier.core.approval import ApprovalPolicy
from primum_verifier.core.document import canonical_json, parse_document
from primum_verifier.core.errors import RefusedError

_TWICE = "stands twice: one person, one function, one key"


def same_person(policy: dict[str, Any]) -> None:
    policy["people"][1]["personId"] = policy["people"][0]["personId"]


def same_key(policy: dict[str, Any]) -> None:
    policy["people"][1]["key"] = policy["people"][0]["key"]


def same_stage(policy: dict[str, Any]) -> None:
    policy["requirements"].append(policy["requirements"][0])


def approved_again(policy: dict[str, Any]) -> None:
    policy["people"][0]["reapproveBy"] = when(days=9)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (same_person, f"document: Value error, one person {_TWICE}"),
        (same_key, f"document: Value error, one key {_TWICE}"),
        (same_stage, f"document: Value error, one stage and tier {_TWICE}"),
        (
            approved_again,
            "people.0: Value error, reapproveBy stands with the status compromised, and only there",
        ),
    ],
    ids=["person", "key", "stage", "approved again"],
)
def test_a_policy_that_contradicts_itself_is_refused_and_told(
    world: World, change: Callable[[dict[str, Any]], None], told: str
) -> None:
    change(world.policy)
    with pytest.raises(RefusedError) as refused:
        parse_document(ApprovalPolicy, canonical_json(world.policy), where="policy")
    assert refused.value.found == told
