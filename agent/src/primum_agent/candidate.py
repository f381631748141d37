"""Working on the release that the plan gives this device: judge, fetch, judge, test, judge, act.

What is concluded about a release is remembered.  At the next poll the same steps are taken
without a word, and only where the conclusion differs are they walked through the state table and
reported, without being done again: a fleet counts problems, not polls.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from primum_agent.activation import activate
from primum_agent.attesting import attest
from primum_agent.components import ComponentFailedError, NotYetInEffectError
from primum_agent.components_record import in_effect
from primum_agent.device import Device
from primum_agent.device_state import Candidate, DeviceState
from primum_agent.downloading import download, is_whole
from primum_agent.events import Entry, EventKind
from primum_agent.fail_points import ShadowPoint, fail_here
from primum_agent.gate_keeping import GateKeeper, for_report, use_of
from primum_agent.gate_rules import Gate, Step, holding, reasons_of
from primum_agent.gates import clinical_use
from primum_agent.judging import Judge
from primum_agent.lifecycle import State, Stimulus
from primum_agent.proving import prove
from primum_agent.remembered import reason_unproven, why_unproven
from primum_agent.shadowing import (
    asks_for_shadow,
    is_for_shadow,
    refuse_shadow,
    serve_shadow,
    shadow_of,
)
from primum_agent.taking_effect import break_off, concluded, count_asks, setback
from primum_agent.tested import note_tested
from primum_agent.work_times import Work, activation_begins, note_time
from primum_verifier.core.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_REFUSED,
    EXIT_WAITING,
    FailedError,
    PrimumError,
    RefusedError,
    WaitingError,
)
from primum_verifier.core.manifest import manifest_target
from primum_verifier.core.question import ArtifactsFact, ClinicalUse, SelfTestFact, Verdict
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import Capability, Outcome, Phase
from primum_verifier.keeping.rollout import Assignment
from primum_verifier.proof.selftest_statement import Occasion

_SHOWN = 20
_WAITED_FOR = {Reason.SAFETY_IN_USE, Reason.SAFETY_OPERATOR, Reason.SAFETY_SHADOW}
_IN_SHADOW = "in shadow"
_BESIDE = "may run in shadow beside what is in use; its outputs reach nobody"
_INACTIVE = "installed, not eligible here, inactive"
_FOR_SHADOW = "installed, for shadow use only, inactive"


@dataclass(frozen=True)
class Conclusion:
    """What came of a release.

    Attributes:
        text: one comparable line; equal texts are one and the same problem.
        exit_code: what the attempt ends with.
        news: where gates hold it, whether that was not told yet; None where none does.
    """

    text: str
    exit_code: int
    news: bool | None = None

    def is_news(self, before: str | None) -> bool:
        """Whether it has to be told, after what was concluded before."""
        return self.text != before if self.news is None else self.news


READY = Conclusion("ready", EXIT_DONE)

_WAITS = {
    Step.DOWNLOAD: "waiting to be fetched: ",
    Step.TEST: "waiting to be tested: ",
    Step.ACTIVATE: "waiting: ",
}
"""How a conclusion begins that gates came to."""

_STIMULI = {Step.DOWNLOAD: None, Step.TEST: Stimulus.STAGED, Step.ACTIVATE: Stimulus.HELD}
"""What a hold does in the state table: nothing was begun; kept, inactive; it goes on waiting."""


def _obstacles(verdict: Verdict) -> dict[str, object]:
    """The rules in the way, for a report."""
    return {
        "capability": verdict.capability.label,
        "checks": [
            {
                "name": check.name,
                "outcome": str(check.outcome),
                "reason": "" if check.reason is None else str(check.reason),
                "found": check.found,
                "expected": check.expected,
            }
            for check in verdict.in_the_way[:_SHOWN]
        ],
        "views": list(verdict.views.values()),
    }


def _is_unwanted(verdict: Verdict) -> bool:
    """Whether it is for shadow use at a place that did not accept that: it is not even fetched."""
    return is_for_shadow(verdict) and any(
        check.reason is Reason.ELIGIBILITY_SITE_ACCEPTANCE for check in verdict.in_the_way
    )


def _reasons(verdict: Verdict) -> tuple[str, ...]:
    """Reason codes, the primary first, each once."""
    found = [verdict.primary, *(check.reason for check in verdict.in_the_way)]
    return tuple(dict.fromkeys(str(reason) for reason in found if reason is not None))


class CandidateWork:
    """The work on one candidate in one attempt.

    Args:
        device: the device.
        judge: the judge of this attempt.
        assignment: what the signed plan gives this device.
    """

    def __init__(self, device: Device, judge: Judge, assignment: Assignment) -> None:
        self._device = device
        self._judge = judge
        self._candidate = Candidate(
            component=assignment.component,
            version=assignment.version,
            release=assignment.release.sha256,
        )
        self._keeper = GateKeeper(device, proven=judge.proven)
        self._aloud = True
        self._unsaid: list[Entry] = []

    def run(self) -> Conclusion:
        """Take the candidate as far as it may go.

        Raises:
            FailedError: the disk did not take the activation; the old release is active.
        """
        conclusion = self._go()
        if conclusion.news is None:
            # Only now: a cut before it must not ask the person anew.
            self._keeper.end_wait()
        return conclusion

    def _go(self) -> Conclusion:
        state = self._device.journal.state()
        release = self._candidate.release
        if (settled := self._settled(state)) is not None:
            return settled
        if state.lifecycle is State.WAITING:
            if state.candidate is not None and state.candidate.release == release:
                return self._pass_gates()
            self._drop("superseded by the plan")
        before = state.conclusions.get(release)
        if release in state.faults:
            return Conclusion(f"fault: {state.faults[release]}", EXIT_REFUSED)
        if (later := self._not_yet(state) or self._not_fetched_yet()) is not None:
            return later
        # What only waited to be fetched was never begun: its steps are news.
        self._aloud = before is None or before.startswith(_WAITS[Step.DOWNLOAD])
        conclusion = self._walk()
        if not conclusion.is_news(before):
            return conclusion
        self._speak_up()
        return self._pass_gates() if conclusion == READY else conclusion

    def _settled(self, state: DeviceState) -> Conclusion | None:
        """A release with which nothing is left to do; what is in shadow was judged just now."""
        release = self._candidate.release
        if state.in_use is not None and state.in_use.release == release:
            return Conclusion("active", EXIT_DONE)
        shadow, waits = state.shadow, state.lifecycle is State.WAITING
        if shadow is not None and shadow.release == release and not waits:
            return Conclusion(_IN_SHADOW, EXIT_DONE)
        return None

    def _not_yet(self, state: DeviceState) -> Conclusion | None:
        """A release that nobody could prove is left alone for a while, longer each time."""
        tried = state.unproven.get(self._candidate.release)
        if tried is None or self._device.journal.powered_total() >= tried["notBefore"]:
            return None
        text = f"waiting: {reason_unproven(tried)}: {why_unproven(tried)}, {tried['times']:g}x"
        return Conclusion(text, EXIT_WAITING)

    def _not_fetched_yet(self) -> Conclusion | None:
        """A release that a gate keeps from being fetched; nothing is begun with it.

        Refusing costs no download and asks no gate.
        """
        verdict = self._ask(ArtifactsFact.NOT_FETCHED)
        if verdict.manifest is None or verdict.capability < Capability.STORE:
            return None
        gates = self._look(verdict, steps=tuple(Step))
        held = holding(gates, Step.DOWNLOAD)
        if not held or is_whole(verdict.manifest, device=self._device):
            return None
        return self._held(held, step=Step.DOWNLOAD)

    def _speak_up(self) -> None:
        """Take the steps that a quiet walk took; nothing is done a second time for it."""
        for entry in self._unsaid:
            self._device.journal.record(entry)
        self._unsaid.clear()
        self._aloud = True

    # One walk from found to proven

    def _walk(self) -> Conclusion:
        self._say(
            EventKind.UPDATE_FOUND,
            Stimulus.FOUND,
            change={"candidate": asdict(self._candidate)},
            detail={"release": self._candidate.release},
        )
        verdict = self._ask(ArtifactsFact.NOT_FETCHED)
        manifest = verdict.manifest
        if verdict.capability < Capability.STORE or manifest is None or _is_unwanted(verdict):
            return self._refused(verdict)
        total = sum(item.length for item in manifest.items)
        self._say(EventKind.UPDATE_DOWNLOADING, Stimulus.ACCEPTED, detail={"bytes": total})
        try:
            fetched = download(manifest, device=self._device)
        except RefusedError as error:
            return self._ended(EventKind.UPDATE_REFUSED, Stimulus.REFUSED, error)
        except FailedError as error:
            return self._ended(EventKind.UPDATE_FAILED, Stimulus.BROKEN_OFF, error)
        self._say(EventKind.UPDATE_DOWNLOADED, Stimulus.STORED, detail={"fetched": fetched})
        return self._fetched()

    def _fetched(self) -> Conclusion:
        """Judge it again over its files, and test what may be tested."""
        verdict = self._ask(ArtifactsFact.WHOLE)
        if verdict.capability < Capability.STAGE:
            return self._refused(verdict)
        if verdict.capability < Capability.SELF_TEST:
            return self._staged(verdict)
        if asks_for_shadow(verdict) and (found := self._not_for_shadow_here(verdict)) is not None:
            return self._staged(verdict, no_shadow=found)
        return self._test(verdict)

    def _not_for_shadow_here(self, verdict: Verdict) -> PrimumError | None:
        """Why it cannot run in shadow on this device; then it is not tested either."""
        try:
            refuse_shadow(self._device, verdict)
        except PrimumError as error:
            return error
        return None

    def _test(self, verdict: Verdict) -> Conclusion:
        if verdict.manifest is None:
            raise RuntimeError("a release without a manifest reached the self-test")
        if held := holding(self._look(verdict, steps=(Step.TEST, Step.ACTIVATE)), Step.TEST):
            return self._held(held, step=Step.TEST)
        self._say(EventKind.SELFTEST_STARTED, Stimulus.TESTABLE)
        device = self._device
        began = device.clock.powered_seconds()
        in_use = device.journal.state().in_use
        proof = prove(
            verdict.manifest,
            store=device.store,
            bench=device.bench,
            scratch=device.layout.scratch,
            hardware=device.settings.hardware_id,
            active=None if in_use is None else in_use.release,
        )
        detail = proof.detail | attest(
            device,
            proof.report,
            name=verdict.manifest.name,
            release=self._candidate.release,
            occasion=Occasion.UPDATE,
        )
        if proof.fact is SelfTestFact.PASSED:
            note_time(device.journal, Work.SELF_TEST, device.clock.powered_seconds() - began)
            release = self._candidate.release
            note_tested(device.journal, release=release, clock=device.clock, passed=True)
            tested = replace(self._candidate, tested=True)
            self._say(
                EventKind.SELFTEST_PASSED,
                Stimulus.PROVEN,
                result="done",
                change={"candidate": asdict(tested)},
                detail=detail,
            )
            return READY
        self._ask(ArtifactsFact.WHOLE, self_test=proof.fact)
        conclusion = Conclusion(
            f"{proof.fact}: {proof.reason}", EXIT_REFUSED if proof.own_fault else EXIT_FAILED
        )
        change: dict[str, object] = {
            "candidate": None,
            "conclusion": {self._candidate.release: conclusion.text},
        }
        if proof.own_fault:
            change["fault"] = {self._candidate.release: str(proof.reason)}
        self._say(
            EventKind.SELFTEST_FAILED,
            Stimulus.DISPROVEN if proof.own_fault else Stimulus.BROKEN_OFF,
            result="refused" if proof.own_fault else "failed",
            reasons=(str(proof.reason),),
            change=change,
            detail=detail,
        )
        return conclusion

    # Waiting at the gates

    def _pass_gates(self) -> Conclusion:
        """Judge once more over everything that is known, then activate or say what holds."""
        first = self._ask(ArtifactsFact.WHOLE, phase=Phase.ACTIVATE)
        if (other := self._in_shadow_instead(first)) is not None:
            return other
        whole = first.manifest is not None and is_whole(first.manifest, device=self._device)
        gates = self._look(first, steps=(Step.ACTIVATE,), ask=True)
        verdict = self._ask(
            ArtifactsFact.WHOLE if whole else ArtifactsFact.DAMAGED,
            phase=Phase.ACTIVATE,
            self_test=SelfTestFact.PASSED,
            use=use_of(gates),
        )
        manifest = self._manifest_bytes()
        held = holding(gates, Step.ACTIVATE)
        eligible = verdict.capability >= Capability.INVESTIGATIONAL
        if eligible and manifest is not None and not held:
            return self._ask_and_activate(verdict, manifest)
        if verdict.capability < Capability.STAGE:
            return self._refused(verdict)
        if verdict.capability is Capability.STAGE:
            return self._staged(verdict)
        if manifest is None or not {check.reason for check in verdict.in_the_way} <= _WAITED_FOR:
            return self._refused(verdict)
        return self._held(held, step=Step.ACTIVATE, verdict=verdict)

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
        verdict = self._ask(
            ArtifactsFact.WHOLE, phase=Phase.ACTIVATE, self_test=SelfTestFact.PASSED
        )
        if verdict.capability < Capability.STAGE:
            return self._refused(verdict)
        no_shadow = self._not_for_shadow_here(verdict)
        if verdict.capability is not Capability.SHADOW or no_shadow is not None:
            return self._staged(verdict, no_shadow=no_shadow)
        shadow = shadow_of(self._device, verdict)
        fail_here(ShadowPoint.BEFORE_EVENT)
        self._say(
            EventKind.SHADOW_BEGUN,
            Stimulus.HELD if waits else Stimulus.STAGED,
            result="waiting" if waits else "done",
            reasons=(str(Reason.SAFETY_SHADOW),) if waits else (),
            change={
                "shadow": asdict(shadow),
                "conclusion": {shadow.release: _IN_SHADOW},
                **({} if waits else {"candidate": None}),
            },
            detail={"beside": shadow.beside, "standing": _BESIDE},
        )
        fail_here(ShadowPoint.AFTER_EVENT)
        serve_shadow(self._device, shadow, verdict)
        return Conclusion(_IN_SHADOW, EXIT_DONE)

    def _came_meanwhile(self) -> Reason | None:
        """What came up while others were asked; then everything is looked at again."""
        if clinical_use(self._device.layout) is not ClinicalUse.IDLE:
            return Reason.SAFETY_IN_USE
        return Reason.SAFETY_STOPPED if self._device.journal.state().stopped else None

    def _look(
        self,
        verdict: Verdict,
        *,
        steps: tuple[Step, ...],
        ask: bool = False,
        components: str | None = None,
    ) -> tuple[Gate, ...]:
        """Judge the gates and keep what they say for whoever looks."""
        declared = clinical_use(self._device.layout)
        gates = self._keeper.look(
            verdict, declared=declared, steps=steps, ask=ask, components=components
        )
        self._keeper.remember(gates)
        return gates

    def _ask_and_activate(self, verdict: Verdict, manifest: bytes) -> Conclusion:
        """Nothing else holds: the components are asked, and then it is activated."""
        try:
            known = in_effect(self._device.journal)
            later = self._device.installer.ask(manifest, known=known)
            if later is not None:
                count_asks(self._device, release=self._candidate.release, later=later)
        except ComponentFailedError as error:
            return self._not_taken(verdict, error)
        if later is not None:
            told = "; ".join(later.values())
            gates = self._look(verdict, steps=(Step.ACTIVATE,), components=told)
            if held := holding(gates, Step.ACTIVATE):
                return self._held(held, step=Step.ACTIVATE, verdict=verdict)
        if (came := self._came_meanwhile()) is not None:
            return Conclusion(f"waiting: {came}", EXIT_WAITING)
        return self._activate(verdict, manifest)

    def _held(
        self,
        held: tuple[Gate, ...],
        *,
        step: Step,
        verdict: Verdict | None = None,
    ) -> Conclusion:
        """Gates hold it: reported once for each gate, and once more when it lasts for days."""
        release = self._candidate.release
        codes = (*(() if verdict is None else _reasons(verdict)), *reasons_of(held))
        reasons = tuple(dict.fromkeys(codes))
        names = [f"gate={item.gate}" for item in held]
        text = f"{_WAITS[step]}{', '.join((*reasons, *names))}"
        known = self._device.journal.state().conclusions.get(release, "")
        untold = self._keeper.begin_wait(
            release=release, name=self._candidate.name, held=held, step=step
        )
        news = untold or not known.startswith(_WAITS[step])
        # Once its steps were told it has to come back to rest, news or not.
        if news or (step is Step.TEST and self._aloud):
            change: dict[str, object] = {"conclusion": {release: text}}
            self._say(
                EventKind.UPDATE_WAITING,
                _STIMULI[step],
                result="waiting",
                reasons=reasons,
                change=change | ({"candidate": None} if step is Step.TEST else {}),
                detail={
                    "gates": for_report(held),
                    **({} if verdict is None else _obstacles(verdict)),
                },
            )
        return Conclusion(text, EXIT_WAITING, news)

    def _activate(self, verdict: Verdict, manifest: bytes) -> Conclusion:
        activation_begins(self._device.journal, release=verdict.release)
        try:
            generation = activate(
                self._device,
                self._judge,
                verdict,
                manifest=manifest,
                idle=lambda: clinical_use(self._device.layout) is ClinicalUse.IDLE,
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
        self._say(
            EventKind.UPDATE_WAITING,
            Stimulus.HELD,
            result="waiting",
            reasons=(str(error.reason),),
            change={"target": None, "collected": [state.target]},
            detail={**error.as_dict()},
        )
        return Conclusion(f"{_WAITS[Step.ACTIVATE]}{error.reason}", EXIT_WAITING)

    def _manifest_bytes(self) -> bytes | None:
        name = manifest_target(self._candidate.component, self._candidate.version)
        found = self._judge.engineering.documents.get(name)
        return None if found is None else found.data

    # Ends

    def _refused(self, verdict: Verdict) -> Conclusion:
        conclusion = Conclusion(f"refused: {', '.join(_reasons(verdict))}", EXIT_REFUSED)
        self._say(
            EventKind.UPDATE_REFUSED,
            Stimulus.REFUSED,
            result="refused",
            reasons=_reasons(verdict),
            change={
                "candidate": None,
                "conclusion": {self._candidate.release: conclusion.text},
            },
            detail=_obstacles(verdict),
        )
        return conclusion

    def _staged(self, verdict: Verdict, *, no_shadow: PrimumError | None = None) -> Conclusion:
        shadow = is_for_shadow(verdict) and not verdict.in_the_way
        here = () if no_shadow is None else (str(no_shadow.reason),)
        reasons = (*(_reasons(verdict) or (str(Reason.ELIGIBILITY_MODE),)), *here)
        # What is missing is part of the conclusion: an approval that came in is news.
        missing = [
            f"{check.name}={check.found}"
            for check in verdict.in_the_way
            if check.outcome is Outcome.REFUSED and check.name == "approvals"
        ]
        text = f"staged: {', '.join((*reasons, *missing))}"
        conclusion = Conclusion(text, EXIT_REFUSED)
        self._say(
            EventKind.UPDATE_STAGED,
            Stimulus.STAGED,
            result="refused",
            reasons=reasons,
            change={
                "candidate": None,
                "conclusion": {self._candidate.release: conclusion.text},
            },
            detail={
                **_obstacles(verdict),
                "standing": _FOR_SHADOW if shadow else _INACTIVE,
                **({} if no_shadow is None else {"shadow": no_shadow.as_dict()}),
            },
        )
        return conclusion

    def _not_taken(self, verdict: Verdict, error: ComponentFailedError) -> Conclusion:
        """A component says that it will not come into effect, or asked for too much patience."""
        if verdict.manifest is None:
            raise RuntimeError("components were asked without a manifest")
        state, release = self._device.journal.state(), self._candidate.release
        conclusion = Conclusion(concluded(error), EXIT_FAILED)
        most = verdict.manifest.activation.max_attempts
        self._say(
            EventKind.UPDATE_FAILED,
            Stimulus.REFUSED,
            result="failed",
            reasons=(str(error.reason),),
            change={
                "candidate": None,
                "conclusion": {release: conclusion.text},
                **setback(state, release, most=most, error=error),
            },
            detail={**error.as_dict()},
        )
        return conclusion

    def _ended(self, kind: EventKind, stimulus: Stimulus, error: PrimumError) -> Conclusion:
        """Fetching ended with an error; the release itself was not judged by it."""
        result = "refused" if isinstance(error, RefusedError) else "failed"
        conclusion = Conclusion(concluded(error), error.exit_code)
        if isinstance(error, RefusedError):
            self._ask(ArtifactsFact.DAMAGED)
        self._say(
            kind,
            stimulus,
            result=result,
            reasons=(str(error.reason),),
            change={
                "candidate": None,
                "conclusion": {self._candidate.release: conclusion.text},
            },
            detail={**error.as_dict()},
        )
        return conclusion

    def _drop(self, why: str) -> None:
        self._device.journal.record(
            Entry(
                kind=EventKind.UPDATE_REFUSED,
                stimulus=Stimulus.REFUSED,
                subject=self._candidate.name,
                attempt=self._device.attempt,
                result="refused",
                change={"candidate": None},
                detail={"why": why},
            )
        )

    def _ask(
        self,
        artifacts: ArtifactsFact,
        *,
        phase: Phase = Phase.INSTALL,
        self_test: SelfTestFact = SelfTestFact.NOT_RUN,
        use: ClinicalUse = ClinicalUse.IDLE,
    ) -> Verdict:
        return self._judge.ask(
            self._candidate.release,
            phase=phase,
            artifacts=artifacts,
            self_test=self_test,
            clinical_use=use,
        )

    def _say(
        self,
        kind: EventKind,
        stimulus: Stimulus | None,
        *,
        result: str = "accepted",
        reasons: tuple[str, ...] = (),
        change: dict[str, object] | None = None,
        detail: dict[str, object] | None = None,
    ) -> None:
        """Take a step of the state table and report it; a quiet walk only notes it."""
        entry = Entry(
            kind=kind,
            stimulus=stimulus,
            subject=self._candidate.name,
            attempt=self._device.attempt,
            result=result,
            reasons=reasons,
            change=change or {},
            detail=detail or {},
        )
        if self._aloud:
            self._device.journal.record(entry)
        else:
            self._unsaid.append(entry)
