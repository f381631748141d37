"""A candidate that is fetched and tested: it waits at the gates, runs in shadow, or is activated.

Everything is judged once more right before; what came up while others were asked is looked at
again, at the next look.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from primum_agent.activation import activate
from primum_agent.candidate_report import CandidateReport, Conclusion, obstacles, reasons_of_verdict
from primum_agent.components import ComponentFailedError, NotYetInEffectError
from primum_agent.components_record import in_effect
from primum_agent.device import Device
from primum_agent.downloading import is_whole
from primum_agent.events import EventKind
from primum_agent.fail_points import ShadowPoint, fail_here
from primum_agent.gate_keeping import GateKeeper, for_report, use_of
from primum_agent.gate_rules import Gate, Step, holding, reasons_of
from primum_agent.gates import clinical_use
from primum_agent.judging import Judge
from primum_agent.lifecycle import Stimulus
from primum_agent.monitor_refusing import refuse_unwatchable
from primum_agent.shadowing import (
    asks_for_shadow,
    is_for_shadow,
    refuse_shadow,
    serve_shadow,
    shadow_of,
)
from primum_agent.taking_effect import break_off, concluded, count_asks
from primum_agent.work_times import activation_begins
from primum_verifier.core.errors import (
    EXIT_DONE,
    EXIT_WAITING,
    PrimumError,
    RefusedError,
    WaitingError,
)
from primum_verifier.core.manifest import manifest_target
from primum_verifier.core.question import ArtifactsFact, ClinicalUse, SelfTestFact, Verdict
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import Capability, Phase

IN_SHADOW = "in shadow"
_BESIDE = "may run in shadow beside what is in use; its outputs reach nobody"
_WAITED_FOR = {Reason.SAFETY_IN_USE, Reason.SAFETY_OPERATOR, Reason.SAFETY_SHADOW}

WAITS = {
    Step.DOWNLOAD: "waiting to be fetched: ",
    Step.TEST: "waiting to be tested: ",
    Step.ACTIVATE: "waiting: ",
}
"""How a conclusion begins that gates came to."""

_STIMULI = {Step.DOWNLOAD: None, Step.TEST: Stimulus.STAGED, Step.ACTIVATE: Stimulus.HELD}
"""What a hold does in the state table: nothing was begun; kept, inactive; it goes on waiting."""


def not_for_shadow_here(device: Device, verdict: Verdict) -> PrimumError | None:
    """Why a release cannot run in shadow on this device; then it is not tested either."""
    return _hindrance(device, verdict, refuse_shadow)


def not_here(device: Device, verdict: Verdict) -> PrimumError | None:
    """Why a release cannot be watched, or run in shadow, here; then it is not tested."""
    looks = (refuse_unwatchable, refuse_shadow)
    return _hindrance(device, verdict, *looks[: 1 + asks_for_shadow(verdict)])


def _hindrance(
    device: Device, verdict: Verdict, *looks: Callable[[Device, Verdict], None]
) -> PrimumError | None:
    """What the first of some looks at the device says against it."""
    try:
        for look in looks:
            look(device, verdict)
    except PrimumError as error:
        return error
    return None


class CandidateAtGates:
    """One candidate before the gates of one device.

    Args:
        device: the device.
        judge: the judge of this attempt.
        report: what is said about the candidate.
    """

    def __init__(self, device: Device, judge: Judge, report: CandidateReport) -> None:
        self._device = device
        self._judge = judge
        self._report = report
        self._candidate = report.candidate
        self._keeper = GateKeeper(device, proven=judge.proven)

    def end_wait(self) -> None:
        """Nothing holds it any more, or there is nothing left to hold."""
        self._keeper.end_wait()

    def look(
        self,
        verdict: Verdict,
        *,
        steps: tuple[Step, ...],
        ask: bool = False,
        components: str | None = None,
    ) -> tuple[Gate, ...]:
        """Judge the gates and keep what they say for whoever looks."""
        declared = clinical_use(self._device.ask)
        gates = self._keeper.look(
            verdict, declared=declared, steps=steps, ask=ask, components=components
        )
        self._keeper.remember(gates)
        return gates

    def held(
        self,
        held: tuple[Gate, ...],
        *,
        step: Step,
        verdict: Verdict | None = None,
        begun: Stimulus | None = None,
    ) -> Conclusion:
        """Gates hold it: reported once for each gate, and once more when it lasts for days.

        Args:
            held: which ones.
            step: what they hold.
            verdict: on the release, where other rules stand in the way as well.
            begun: what brings the release back to rest, where the step was begun already.
        """
        release = self._candidate.release
        codes = (*(() if verdict is None else reasons_of_verdict(verdict)), *reasons_of(held))
        reasons = tuple(dict.fromkeys(codes))
        names = [f"gate={item.gate}" for item in held]
        text = f"{WAITS[step]}{', '.join((*reasons, *names))}"
        known = self._device.journal.state().conclusions.get(release, "")
        untold = self._keeper.begin_wait(
            release=release, name=self._candidate.name, held=held, step=step
        )
        news = untold or not known.startswith(WAITS[step])
        # Once its steps were told it has to come back to rest, news or not.
        back = begun or _STIMULI[step]
        comes_to_rest = step is Step.TEST or begun is not None
        if news or (comes_to_rest and self._report.aloud):
            change: dict[str, object] = {"conclusion": {release: text}}
            self._report.say(
                EventKind.UPDATE_WAITING,
                back,
                result="waiting",
                reasons=reasons,
                change=change | ({"candidate": None} if comes_to_rest else {}),
                detail={
                    "gates": for_report(held),
                    **({} if verdict is None else obstacles(verdict)),
                },
            )
        return Conclusion(text, EXIT_WAITING, news)

    def pass_gates(self) -> Conclusion:
        """Judge once more over everything that is known, then activate or say what holds."""
        first = self._ask(ArtifactsFact.WHOLE)
        if (other := self._in_shadow_instead(first)) is not None:
            return other
        whole = first.manifest is not None and is_whole(first.manifest, device=self._device)
        gates = self.look(first, steps=(Step.ACTIVATE,), ask=True)
        verdict = self._ask(
            ArtifactsFact.WHOLE if whole else ArtifactsFact.DAMAGED,
            self_test=SelfTestFact.PASSED,
            use=use_of(gates),
        )
        manifest = self._manifest_bytes()
        held = holding(gates, Step.ACTIVATE)
        eligible = verdict.capability >= Capability.INVESTIGATIONAL
        if eligible and manifest is not None and not held:
            return self._ask_and_activate(verdict, manifest)
        if verdict.capability < Capability.STAGE:
            return self._report.refused(verdict)
        if verdict.capability is Capability.STAGE:
            return self._report.staged(verdict)
        if manifest is None or not {check.reason for check in verdict.in_the_way} <= _WAITED_FOR:
            return self._report.refused(verdict)
        return self.held(held, step=Step.ACTIVATE, verdict=verdict)

    def _in_shadow_instead(self, verdict: Verdict) -> Conclusion | None:
        """Let it run in shadow, for ever or while it waits at that gate; None where it waits so."""
        if is_for_shadow(verdict) or not asks_for_shadow(verdict):
            return self._run_in_shadow() if is_for_shadow(verdict) else None
        shadow = self._device.journal.state().shadow
        if shadow is not None and shadow.release == self._candidate.release:
            return None
        conclusion = self._run_in_shadow(waits=True)
        return None if conclusion.exit_code == EXIT_DONE else conclusion

    def _run_in_shadow(self, *, waits: bool = False) -> Conclusion:
        """It may run beside what is in use; of an activation no gate is asked for that.

        Args:
            waits: whether it goes on waiting to be used.
        """
        verdict = self._ask(ArtifactsFact.WHOLE, self_test=SelfTestFact.PASSED)
        if verdict.capability < Capability.STAGE:
            return self._report.refused(verdict)
        no_shadow = not_for_shadow_here(self._device, verdict)
        if verdict.capability is not Capability.SHADOW or no_shadow is not None:
            return self._report.staged(verdict, not_here=no_shadow)
        shadow = shadow_of(self._device, verdict)
        fail_here(ShadowPoint.BEFORE_EVENT)
        self._report.say(
            EventKind.SHADOW_BEGUN,
            Stimulus.HELD if waits else Stimulus.STAGED,
            result="waiting" if waits else "done",
            reasons=(str(Reason.SAFETY_SHADOW),) if waits else (),
            change={
                "shadow": asdict(shadow),
                "conclusion": {shadow.release: IN_SHADOW},
                **({} if waits else {"candidate": None}),
            },
            detail={"beside": shadow.beside, "standing": _BESIDE},
        )
        fail_here(ShadowPoint.AFTER_EVENT)
        serve_shadow(self._device, shadow, verdict)
        return Conclusion(IN_SHADOW, EXIT_DONE)

    def _came_meanwhile(self) -> Reason | None:
        """What came up while others were asked; then everything is looked at again."""
        if clinical_use(self._device.ask) is not ClinicalUse.IDLE:
            return Reason.SAFETY_IN_USE
        return Reason.SAFETY_STOPPED if self._device.journal.state().stopped else None

    def _ask_and_activate(self, verdict: Verdict, manifest: bytes) -> Conclusion:
        """Nothing else holds: the components are asked, and then it is activated."""
        try:
            known = in_effect(self._device.journal)
            later = self._device.installer.ask(manifest, known=known)
            if later is not None:
                count_asks(self._device, release=self._candidate.release, later=later)
        except ComponentFailedError as error:
            return self._report.not_taken(verdict, error)
        if later is not None:
            told = "; ".join(later.values())
            gates = self.look(verdict, steps=(Step.ACTIVATE,), components=told)
            if held := holding(gates, Step.ACTIVATE):
                return self.held(held, step=Step.ACTIVATE, verdict=verdict)
        if (came := self._came_meanwhile()) is not None:
            return Conclusion(f"waiting: {came}", EXIT_WAITING)
        return self._activate(verdict, manifest)

    def _activate(self, verdict: Verdict, manifest: bytes) -> Conclusion:
        activation_begins(self._device.journal, release=verdict.release)
        try:
            generation = activate(
                self._device,
                self._judge,
                verdict,
                manifest=manifest,
                idle=lambda: clinical_use(self._device.ask) is ClinicalUse.IDLE,
            )
        except NotYetInEffectError as error:
            return Conclusion(f"waiting: {error.reason}", EXIT_WAITING)
        except WaitingError as error:
            return self._held_up(error)
        except (ComponentFailedError, RefusedError) as error:
            break_off(self._device, error)
            return Conclusion(concluded(error), error.exit_code)
        except PrimumError as error:
            break_off(self._device, error)
            raise
        return Conclusion(f"activated as generation {generation.number}", EXIT_DONE)

    def _held_up(self, error: WaitingError) -> Conclusion:
        """An episode began while the release was made ready: it goes on waiting, and is kept."""
        state = self._device.journal.state()
        self._report.say(
            EventKind.UPDATE_WAITING,
            Stimulus.HELD,
            result="waiting",
            reasons=(str(error.reason),),
            change={"target": None, "collected": [state.target]},
            detail={**error.as_dict()},
        )
        return Conclusion(f"{WAITS[Step.ACTIVATE]}{error.reason}", EXIT_WAITING)

    def _manifest_bytes(self) -> bytes | None:
        name = manifest_target(self._candidate.component, self._candidate.version)
        found = self._judge.engineering.documents.get(name)
        return None if found is None else found.data

    def _ask(
        self,
        artifacts: ArtifactsFact,
        *,
        self_test: SelfTestFact = SelfTestFact.NOT_RUN,
        use: ClinicalUse = ClinicalUse.IDLE,
    ) -> Verdict:
        return self._judge.ask(
            self._candidate.release,
            phase=Phase.ACTIVATE,
            artifacts=artifacts,
            self_test=self_test,
            clinical_use=use,
        )
