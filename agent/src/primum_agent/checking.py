"""``check``: the same refresh and the same judge as an attempt, and then nothing is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from primum_agent.clock import Clock
from primum_agent.device import Device, open_device
from primum_agent.downloading import is_whole
from primum_agent.durable import make_folder
from primum_agent.gate_keeping import GateKeeper
from primum_agent.gate_rules import Gate, Step, holding
from primum_agent.gates import clinical_use
from primum_agent.journal import Journal
from primum_agent.judging import Judge, make_judge
from primum_agent.layout import Layout
from primum_agent.locking import ONCE_IT_IS_OVER, held, is_held
from primum_agent.reference_time import refreshed_by
from primum_agent.settings import Settings
from primum_agent.shadowing import is_for_shadow
from primum_agent.trust_in_force import note_trust_map
from primum_verifier.core.errors import PrimumError, RefusedError
from primum_verifier.core.question import ArtifactsFact, ClinicalUse, Verdict
from primum_verifier.core.view import SITE
from primum_verifier.core.vocabulary import Capability, Phase
from primum_verifier.keeping.rollout import Assignment


@dataclass(frozen=True)
class Found:
    """What ``check`` found.

    Attributes:
        outcome: one word, a colon, and what it means: current, available, refused, waiting,
            unreachable.
        verdict: the verdict on the release that the plan gives, if it gives a new one.
        problems: by authority, why its refresh ended early.
        gates: every gate as it is now.
    """

    outcome: str
    verdict: Mapping[str, object] | None
    problems: Mapping[str, PrimumError]
    gates: tuple[Gate, ...]

    def as_dict(self) -> dict[str, object]:
        """The answer as JSON shows it."""
        word, _, meaning = self.outcome.partition(": ")
        return {
            "outcome": word,
            "message": meaning,
            "verdict": self.verdict,
            "problems": {name: error.as_dict() for name, error in self.problems.items()},
            "gates": [item.as_dict() for item in self.gates],
        }


def check_now(*, settings: Settings, layout: Layout, clock: Clock) -> Found:
    """Fetch both authorities and judge the release that the plan gives.

    Raises:
        BusyError: an attempt holds the update lock.
        PrimumError: the device is not provisioned or enrolled, or the disk fails.
    """
    make_folder(layout.run)
    with held(
        layout.update_lock,
        what="An update attempt is under way",
        remedy=ONCE_IT_IS_OVER,
    ):
        journal = Journal.open(layout, clock=clock, device_id=settings.device_id)
        try:
            device = open_device(
                settings=settings, layout=layout, clock=clock, journal=journal, attempt="check"
            )
            note_trust_map(journal, device.trust_map)
            return _check(device)
        finally:
            journal.close()


def _check(device: Device) -> Found:
    state = device.journal.state()
    kept = [(item.component, item.version) for item in state.generations]
    refreshed = refreshed_by(device, kept)
    problems = refreshed.problems
    judge = make_judge(
        device,
        engineering=refreshed.engineering,
        clinical=refreshed.clinical,
        site=refreshed.site,
    )
    trouble = _trouble(problems)
    assigned = refreshed.assignment
    keeper = GateKeeper(device, proven=None if judge is None else judge.proven)
    if judge is None or assigned is None:
        none = trouble or "current: the plan gives this device no release"
        return Found(none, None, problems, keeper.look(None, declared=_declared(device)))
    if state.in_use is not None and state.in_use.release == assigned.release.sha256:
        none = trouble or f"current: {assigned.component} {assigned.version} is active already"
        return Found(none, None, problems, keeper.look(None, declared=_declared(device)))
    if state.shadow is not None and state.shadow.release == assigned.release.sha256:
        none = trouble or f"current: {assigned.component} {assigned.version} runs in shadow already"
        return Found(none, None, problems, keeper.look(None, declared=_declared(device)))
    verdict = _judge(device, judge, assigned)
    steps = _steps_left(device, verdict)
    gates = keeper.look(verdict, declared=_declared(device), steps=steps)
    outcome = _outcome(device, verdict, trouble=trouble, gates=gates, steps=steps)
    return Found(outcome, verdict.as_dict(), problems, gates)


def _declared(device: Device) -> ClinicalUse:
    """Clinical use as declared; without a supervisor no episode is: they end with its socket."""
    running = is_held(device.layout.agent_lock)
    return clinical_use(device.ask) if running else ClinicalUse.IDLE


def _steps_left(device: Device, verdict: Verdict) -> tuple[Step, ...]:
    """What an attempt would still have to do with the release."""
    candidate = device.journal.state().candidate
    if candidate is not None and candidate.release == verdict.release and candidate.tested:
        return (Step.ACTIVATE,)
    if verdict.manifest is not None and is_whole(verdict.manifest, device=device):
        return (Step.TEST, Step.ACTIVATE)
    return tuple(Step)


def _trouble(problems: Mapping[str, PrimumError]) -> str:
    # A site that is silent stops new activations only; the verdict says so.
    told = {name: error for name, error in problems.items() if name != SITE}
    for authority, error in told.items():
        if isinstance(error, RefusedError):
            return f"refused: {authority}: {error.reason}"
    for authority, error in told.items():
        return f"unreachable: {authority}: {error.reason}"
    return ""


def _judge(device: Device, judge: Judge, assigned: Assignment) -> Verdict:
    release = assigned.release.sha256
    first = judge.ask(release, phase=Phase.INSTALL, keep=False)
    if first.manifest is None or first.capability < Capability.STORE:
        return first
    # Nothing is fetched here: the rules are asked as if the files had arrived whole.
    del device
    return judge.ask(release, phase=Phase.INSTALL, artifacts=ArtifactsFact.WHOLE, keep=False)


def _outcome(
    device: Device,
    verdict: Verdict,
    *,
    trouble: str,
    gates: tuple[Gate, ...],
    steps: tuple[Step, ...],
) -> str:
    fault = device.journal.state().faults.get(verdict.release)
    if fault is not None:
        return f"refused: {verdict.name} failed here before: {fault}"
    if verdict.capability < Capability.SELF_TEST:
        return f"refused: {verdict.name}: {verdict.primary}"
    return trouble or _held(verdict, gates, steps) or _way(verdict, steps)


def _held(verdict: Verdict, gates: tuple[Gate, ...], steps: tuple[Step, ...]) -> str:
    """The first step that gates would hold, and what would open them; empty when none would."""
    for step in steps:
        if step is Step.ACTIVATE and is_for_shadow(verdict):
            continue
        if held := holding(gates, step):
            told = "; ".join(f"{item.gate} ({item.reading}; opens: {item.opens})" for item in held)
            return f"waiting: {verdict.name} would wait before its {step}: {told}"
    return ""


def _way(verdict: Verdict, steps: tuple[Step, ...]) -> str:
    way = "would be fetched" if Step.DOWNLOAD in steps else "is here"
    if is_for_shadow(verdict):
        return f"available: {verdict.name} {way}, tested, and run in shadow, never activated"
    return f"available: {verdict.name} {way}, tested, and activated"
