"""A device context that is spoilt on the disk decides nothing about what runs."""

from __future__ import annotations

from typing import Any

import pytest

from primum_verifier.core.reasons import Reason
from primum_verifier.core.verdict import judge
from primum_verifier.core.vocabulary import Capability, NoticeAction, Phase

SPOILT = [b"", b"{}", b"no envelope"]


def spoil(world: Any, envelope: bytes, *, phase: Phase) -> Any:
    """The question of a device that trusted its context until somebody wrote over it."""
    from dataclasses import replace

    trusted = world.question()
    return replace(
        trusted, phase=phase, device_context=envelope, last_context=trusted.device_context
    )


@pytest.mark.parametrize("envelope", SPOILT)
def test_a_spoilt_context_takes_nothing_away_and_no_way_back(world: Any, envelope: bytes) -> None:
    """Attack: who can write the file, or holds one provisioning key, decides what runs."""
    for phase in (Phase.CONTINUE, Phase.FALL_BACK):
        verdict = judge(spoil(world, envelope, phase=phase))
        assert (verdict.capability, verdict.ordered) == (Capability.CLINICAL, None)


@pytest.mark.parametrize("envelope", SPOILT)
def test_a_notice_for_another_place_stays_one_for_another_place(
    world: Any, envelope: bytes
) -> None:
    world.notice("clinical", "quality", scope={"mode": "jurisdictions", "jurisdictions": ["FR"]})
    verdict = judge(spoil(world, envelope, phase=Phase.CONTINUE))
    assert (verdict.capability, verdict.ordered) == (Capability.CLINICAL, None)


def test_nothing_new_is_given_under_a_context_of_yesterday(world: Any) -> None:
    for phase in (Phase.INSTALL, Phase.ACTIVATE):
        verdict = judge(spoil(world, b"{}", phase=phase))
        assert verdict.primary == Reason.ELIGIBILITY_CONTEXT_UNTRUSTED
        assert verdict.capability == Capability.STAGE


def test_a_last_context_below_the_floor_or_of_too_few_keys_is_no_better(world: Any) -> None:
    world.facts["context_floor"] = 2
    verdict = judge(spoil(world, b"{}", phase=Phase.CONTINUE))
    assert verdict.ordered == NoticeAction.CONTINUE_WITH_NOTICE
    world.facts["context_floor"] = 0
    world.context_signers = [0]
    verdict = judge(spoil(world, b"{}", phase=Phase.FALL_BACK))
    assert verdict.primary == Reason.ELIGIBILITY_CONTEXT_UNTRUSTED


def test_a_newer_context_that_is_trusted_counts_at_once(world: Any) -> None:
    """A device that was moved is judged where it is, not where it was."""
    from dataclasses import replace

    before = world.question()
    world.context["number"] = 2
    world.context["placement"]["jurisdiction"] = "CH"
    moved = world.question()
    verdict = judge(replace(moved, phase=Phase.CONTINUE, last_context=before.device_context))
    assert verdict.primary == Reason.ELIGIBILITY_JURISDICTION
