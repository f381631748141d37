"""Whether a held release may run again: judged, self-tested here and now, and judged once more.

Used on every way back, ordered by a rule or by a person.  What came of the test is signed by the
device's key as evidence; the answer does not depend on it.
"""

from __future__ import annotations

from dataclasses import dataclass

from primum_agent.attesting import attest
from primum_agent.device import Device
from primum_agent.device_state import Generation
from primum_agent.judging import Judge
from primum_agent.proving import Proof, prove
from primum_agent.way_back import obstacle_on_the_way
from primum_verifier.core.question import ArtifactsFact, SelfTestFact
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import Capability, Phase
from primum_verifier.proof.selftest_statement import Occasion


@dataclass(frozen=True)
class Tried:
    """What is known of a held release.

    Attributes:
        obstacle: why it may not run again; None when it may.
        proof: what its self-test came to; None where it did not come to a test.
    """

    obstacle: str | None
    proof: Proof | None = None


def try_held(device: Device, judge: Judge, held: Generation) -> Tried:
    """Judge and test a held release; nothing is changed."""
    if lost := obstacle_on_the_way(device, held):
        return Tried(lost)
    whole = device.store.generation_is_whole(held.number, release=held.release)
    artifacts = ArtifactsFact.WHOLE if whole else ArtifactsFact.DAMAGED
    verdict = judge.ask(held.release, phase=Phase.FALL_BACK, artifacts=artifacts)
    if verdict.capability < Capability.SELF_TEST or verdict.manifest is None:
        return Tried(str(verdict.primary or Reason.ELIGIBILITY_ABSENT))
    proof = prove(
        verdict.manifest,
        store=device.store,
        bench=device.bench,
        scratch=device.layout.scratch,
        hardware=device.settings.hardware_id,
    )
    verdict = judge.ask(
        held.release,
        phase=Phase.FALL_BACK,
        artifacts=artifacts,
        self_test=SelfTestFact(proof.fact),
    )
    if verdict.capability < Capability.INVESTIGATIONAL:
        obstacle = str(verdict.primary or proof.reason or Reason.SELFTEST_INCOMPLETE)
        return Tried(obstacle, proof)
    # The list may name an older statement than the one it last ran under, by which it would end.
    running = judge.ask(
        held.release, phase=Phase.CONTINUE, artifacts=artifacts, keep=False, held=held
    )
    if running.capability < Capability.INVESTIGATIONAL:
        return Tried(str(running.primary or Reason.ELIGIBILITY_ABSENT), proof)
    return Tried(None, proof)


def sign_tried(device: Device, held: Generation, tried: Tried) -> dict[str, object]:
    """Sign and keep what the self-test on a way back came to.

    Returns:
        Members for the detail of an event: :func:`primum_agent.attesting.attest`; none where
        nothing was tested.
    """
    if tried.proof is None:
        return {}
    return attest(
        device,
        tried.proof.report,
        name=held.name,
        release=held.release,
        occasion=Occasion.WAY_BACK,
    )
