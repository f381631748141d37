"""While a restart is waited for in the middle of an update: the device hears, and takes away.

What was begun is gone on with after the restart.  Until then both authorities are read at every
attempt, so that a withdrawal of what is served, or of what is coming, acts at once.
"""

from __future__ import annotations

from primum_agent.device import Device
from primum_agent.judging import Judge
from primum_agent.lifecycle import State
from primum_agent.serving import safe
from primum_agent.taking_effect import break_off
from primum_verifier.core.errors import EXIT_WAITING, RefusedError
from primum_verifier.core.question import ArtifactsFact, SelfTestFact
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import Capability, Phase


def look_meanwhile(device: Device, judge: Judge | None) -> int:
    """Take away what may not be served, or may not come, while a restart is waited for.

    Args:
        device: the device, its authorities just read.
        judge: the judge over the newest views; None while nothing can be judged.

    Returns:
        An exit code of the one table.

    Raises:
        NotYetInEffectError: what was coming is taken back, and that takes a restart, too.
        FailedError: it could not be taken back; the next attempt tries again.
    """
    state = device.journal.state()
    if judge is None or state.lifecycle is not State.ACTIVATING:
        # Rolling back, the device is in safe mode until the restart.
        return EXIT_WAITING
    used, target = state.in_use, state.generation(state.target)
    if used is not None:
        verdict = judge.ask(used.release, phase=Phase.CONTINUE, artifacts=ArtifactsFact.WHOLE)
        if verdict.capability < Capability.INVESTIGATIONAL:
            reason = str(verdict.primary or Reason.FALLBACK_NONE)
            safe(device.layout, clock=device.clock, reasons=(reason,), notice=verdict.user_notice)
    if target is None:
        return EXIT_WAITING
    verdict = judge.ask(
        target.release,
        phase=Phase.ACTIVATE,
        artifacts=ArtifactsFact.WHOLE,
        self_test=SelfTestFact.PASSED,
    )
    if verdict.capability >= Capability.INVESTIGATIONAL:
        return EXIT_WAITING
    error = RefusedError(
        "What was coming into effect may not be used any more.",
        reason=verdict.primary or Reason.ELIGIBILITY_ABSENT,
        where=target.name,
        found="; ".join(check.found for check in verdict.in_the_way[:3]),
        expected="a release that may be used when it comes into effect",
        remedy=f"`primum-agent explain {target.version}` shows the rules in its way.",
    )
    break_off(device, error)
    return error.exit_code
