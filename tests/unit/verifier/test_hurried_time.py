"""Whoever signs issue times may hurry proven time: what that can and cannot end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Targets, Timestamp

from primum_verifier.core.reasons import Reason
from primum_verifier.core.verdict import judge
from primum_verifier.core.vocabulary import Capability, Phase
from primum_verifier.shell.tuf_views import view_of

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def _hold(world: Any, *, clock: timedelta, proven: timedelta, phase: Phase) -> Any:
    start = world.facts["proven"]
    world.notice("clinical", kind="hold", expiresAt="2026-06-01T14:00:00Z")
    world.facts.update(phase=phase, clock=start + clock, proven=start + proven)
    return judge(world.question())


@pytest.mark.parametrize("phase", [Phase.INSTALL, Phase.ACTIVATE])
@pytest.mark.parametrize(("clock", "proven"), [(0, 3), (3, 0)])
def test_a_hold_ends_for_a_grant_only_when_clock_and_proven_time_agree(
    world: Any, phase: Phase, clock: int, proven: int
) -> None:
    verdict = _hold(world, clock=clock * HOUR, proven=proven * HOUR, phase=phase)
    assert verdict.primary == Reason.ELIGIBILITY_HELD


@pytest.mark.parametrize("phase", [Phase.INSTALL, Phase.ACTIVATE])
def test_a_hold_has_ended_when_both_say_so(world: Any, phase: Phase) -> None:
    verdict = _hold(world, clock=3 * HOUR, proven=3 * HOUR, phase=phase)
    assert verdict.capability == Capability.CLINICAL


@pytest.mark.parametrize(("proven", "told"), [(0, True), (3, False)])
def test_for_what_runs_a_hold_ends_by_proven_time_alone(
    world: Any, proven: int, *, told: bool
) -> None:
    verdict = _hold(world, clock=-3000 * DAY, proven=proven * HOUR, phase=Phase.CONTINUE)
    assert (verdict.order is not None) is told


@pytest.mark.parametrize(("hurried", "counted"), [(1, 1), (3, 3), (4, 3), (3000, 3)])
def test_the_issue_time_counts_no_further_than_what_people_signed_lasts(
    world: Any, hurried: int, counted: int
) -> None:
    """The earliest end of a role whose keys lie with people bounds what a server may claim."""
    start, key = world.facts["proven"].replace(minute=0), CryptoSigner.generate_ed25519()
    timestamp, top = Timestamp(expires=start + 4000 * DAY), Targets(expires=start + 90 * DAY)
    issued = (start + hurried * DAY).strftime("%Y-%m-%dT%H:%M:%SZ")
    timestamp.unrecognized_fields["issuedAt"] = issued
    near = Targets(expires=start + 3 * DAY)
    files = {}
    for name, part in (("timestamp", timestamp), ("targets", top), ("safety", near)):
        metadata: Metadata[Any] = Metadata(part)
        metadata.sign(key)
        files[f"{name}.json"] = metadata.to_bytes()
    assert view_of("clinical", files, {}).issued_at == start + counted * DAY
