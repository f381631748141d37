"""A device takes another key into use only for a context that was signed for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tests.unit.verifier.conftest import NOW, World, envelope, moment

from primum_verifier.core.device import DeviceContext
from primum_verifier.core.document import canonical_json
from primum_verifier.core.envelope import CONTEXT_PAYLOAD_TYPE, public_key_of
from primum_verifier.core.errors import RefusedError
from primum_verifier.keeping.device_context import next_context

NEXT = public_key_of(CryptoSigner.generate_ecdsa().public_key)


def judged(world: World, *, signers: tuple[int, ...] = (0, 1), **changes: Any) -> DeviceContext:
    question = world.question()
    factory = {
        **world.context["factory"],
        "publicKey": NEXT.model_dump(mode="json", by_alias=True),
        **changes.pop("factory", {}),
    }
    content = {**world.context, "number": 8, **changes, "factory": factory}
    keys = [world.provisioning[place] for place in signers]
    return next_context(
        envelope(canonical_json(content), CONTEXT_PAYLOAD_TYPE, *keys),
        key=NEXT,
        device_id=world.context["factory"]["deviceId"],
        hardware_id=world.context["factory"]["hardwareId"],
        above=7,
        now=NOW,
        engineering=question.engineering,
        clinical=question.clinical,
    )


def test_a_newer_context_for_the_next_key_is_taken(world: World) -> None:
    found = judged(world)
    assert (found.number, found.factory.public_key) == (8, NEXT)


WRONG: dict[str, tuple[Callable[[World], DeviceContext], str]] = {
    "another key": (
        lambda w: judged(
            w, factory={"publicKey": w.device_public.model_dump(mode="json", by_alias=True)}
        ),
        "key ",
    ),
    "another device": (lambda w: judged(w, factory={"deviceId": "wearable-009"}), "wearable-009"),
    "other hardware": (lambda w: judged(w, factory={"hardwareId": "cardio-9"}), "cardio-9"),
    "not newer": (lambda w: judged(w, number=7), "number 7"),
    "ended": (lambda w: judged(w, notAfter=moment(NOW)), "ended"),
    "one signature": (lambda w: judged(w, signers=(0,)), "1 of 2"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_any_other_context_is_refused_and_says_why(world: World, wrong: str) -> None:
    act, found = WRONG[wrong]
    with pytest.raises(RefusedError) as refused:
        act(world)
    assert refused.value.reason == "eligibility.context-untrusted"
    assert found in refused.value.found


def test_a_context_that_ends_in_a_second_is_taken(world: World) -> None:
    assert judged(world, notAfter=moment(NOW + timedelta(seconds=1))).number == 8


def test_without_listed_keys_nobody_may_sign(world: World) -> None:
    question = world.question()
    empty = type(question.clinical)("clinical", {}, NOW, {}, frozenset())
    data = envelope(canonical_json(world.context), CONTEXT_PAYLOAD_TYPE, world.provisioning[0])
    with pytest.raises(RefusedError) as refused:
        next_context(
            data,
            key=NEXT,
            device_id="wearable-001",
            hardware_id="cardiowear-2",
            above=1,
            now=NOW,
            engineering=question.engineering,
            clinical=empty,
        )
    assert refused.value.reason == "eligibility.context-untrusted"
