"""Working on the release that the plan gives this device: judge, fetch, judge, test, judge, act.

What is concluded about a release is remembered.  At the next poll the same steps are taken
without a word, and only where the conclusion differs are they walked through the state table and
reported, without being done again: a fleet counts problems, not polls.
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace

from primum_agent.attesting import attest
from primum_agent.candidate_fetching import CandidateFetching, HeldError
from primum_agent.candidate_gates import IN_SHADOW, WAITS, CandidateAtGates, not_here
from primum_agent.candidate_report import READY, CandidateReport, Conclusion
from primum_agent.delta_files import DeltaFiles
from primum_agent.device import Device
from primum_agent.device_state import Candidate, DeviceState
from primum_agent.downloading import is_whole
from primum_agent.events import EventKind
from primum_agent.gate_rules import Step, holding
from primum_agent.judging import Judge
from primum_agent.lifecycle import State, Stimulus
from primum_agent.proving import prove
from primum_agent.remembered import reason_unproven, why_unproven
from primum_agent.shadowing import is_for_shadow
from primum_agent.tested import note_tested
from primum_agent.work_times import Work, note_time
from primum_verifier.core.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_REFUSED,
    EXIT_WAITING,
    FailedError,
    RefusedError,
)
from primum_verifier.core.manifest import ReleaseManifest
from primum_verifier.core.question import ArtifactsFact, SelfTestFact, Verdict
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import Capability, Phase
from primum_verifier.keeping.rollout import Assignment
from primum_verifier.proof.selftest_statement import Occasion


def _is_unwanted(verdict: Verdict) -> bool:
    """Whether it is for shadow use at a place that did not accept that: it is not even fetched."""
    return is_for_shadow(verdict) and any(
        check.reason is Reason.ELIGIBILITY_SITE_ACCEPTANCE for check in verdict.in_the_way
    )


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
        self._report = CandidateReport(device, self._candidate)
        self._gates = CandidateAtGates(device, judge, self._report)

    def run(self) -> Conclusion:
        """Take the candidate as far as it may go.

        Raises:
            FailedError: the disk did not take the activation; the old release is active.
        """
        conclusion = self._go()
        if conclusion.news is None:
            # Only now: a cut before it must not ask the person anew.
            self._gates.end_wait()
        return conclusion

    def _go(self) -> Conclusion:
        state = self._device.journal.state()
        release = self._candidate.release
        if (settled := self._settled(state)) is not None:
            return settled
        if state.lifecycle is State.WAITING:
            if state.candidate is not None and state.candidate.release == release:
                return self._gates.pass_gates()
            self._report.drop("superseded by the plan")
        before = state.conclusions.get(release)
        if release in state.faults:
            return Conclusion(f"fault: {state.faults[release]}", EXIT_REFUSED)
        if (later := self._not_yet(state) or self._not_fetched_yet()) is not None:
            return later
        # What only waited to be fetched was never begun: its steps are news.
        self._report.aloud = before is None or before.startswith(WAITS[Step.DOWNLOAD])
        conclusion = self._walk()
        if not conclusion.is_news(before):
            return conclusion
        self._report.speak_up()
        return self._gates.pass_gates() if conclusion == READY else conclusion

    def _settled(self, state: DeviceState) -> Conclusion | None:
        """A release with which nothing is left to do; what is in shadow was judged just now."""
        release = self._candidate.release
        if state.in_use is not None and state.in_use.release == release:
            return Conclusion("active", EXIT_DONE)
        shadow, waits = state.shadow, state.lifecycle is State.WAITING
        if shadow is not None and shadow.release == release and not waits:
            return Conclusion(IN_SHADOW, EXIT_DONE)
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
        gates = self._gates.look(verdict, steps=tuple(Step))
        held = holding(gates, Step.DOWNLOAD)
        if not held or is_whole(verdict.manifest, device=self._device):
            return None
        return self._gates.held(held, step=Step.DOWNLOAD)

    def _walk(self) -> Conclusion:
        self._report.say(
            EventKind.UPDATE_FOUND,
            Stimulus.FOUND,
            change={"candidate": asdict(self._candidate)},
            detail={"release": self._candidate.release},
        )
        verdict = self._ask(ArtifactsFact.NOT_FETCHED)
        manifest = verdict.manifest
        if verdict.capability < Capability.STORE or manifest is None or _is_unwanted(verdict):
            return self._report.refused(verdict)
        total = sum(item.length for item in manifest.items)
        self._report.say(EventKind.UPDATE_DOWNLOADING, Stimulus.ACCEPTED, detail={"bytes": total})
        try:
            deltas = DeltaFiles(self._device)
            fetched = self._fetch(verdict, manifest, deltas)
        except HeldError as held:
            return self._gates.held(held.gates, step=Step.DOWNLOAD, begun=Stimulus.BROKEN_OFF)
        except RefusedError as error:
            self._ask(ArtifactsFact.DAMAGED)
            return self._report.ended(EventKind.UPDATE_REFUSED, Stimulus.REFUSED, error)
        except FailedError as error:
            return self._report.ended(EventKind.UPDATE_FAILED, Stimulus.BROKEN_OFF, error)
        self._report.say(
            EventKind.UPDATE_DOWNLOADED,
            Stimulus.STORED,
            detail={"fetched": fetched} | deltas.as_detail(),
        )
        return self._fetched()

    def _fetch(self, verdict: Verdict, manifest: ReleaseManifest, deltas: DeltaFiles) -> int:
        fetching = CandidateFetching(
            self._device,
            report=self._report,
            gates=self._gates,
            verdict=verdict,
            monotonic=time.monotonic,
        )
        return fetching.run(manifest, deltas=deltas)

    def _fetched(self) -> Conclusion:
        """Judge it again over its files, and test what may be tested."""
        verdict = self._ask(ArtifactsFact.WHOLE)
        if verdict.capability < Capability.STAGE:
            return self._report.refused(verdict)
        if verdict.capability < Capability.SELF_TEST:
            return self._report.staged(verdict)
        if (found := not_here(self._device, verdict)) is not None:
            return self._report.staged(verdict, not_here=found)
        return self._test(verdict)

    def _test(self, verdict: Verdict) -> Conclusion:
        if verdict.manifest is None:
            raise RuntimeError("a release without a manifest reached the self-test")
        if held := holding(self._gates.look(verdict, steps=(Step.TEST, Step.ACTIVATE)), Step.TEST):
            return self._gates.held(held, step=Step.TEST)
        self._report.say(EventKind.SELFTEST_STARTED, Stimulus.TESTABLE)
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
            self._report.say(
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
        self._report.say(
            EventKind.SELFTEST_FAILED,
            Stimulus.DISPROVEN if proof.own_fault else Stimulus.BROKEN_OFF,
            result="refused" if proof.own_fault else "failed",
            reasons=(str(proof.reason),),
            change=change,
            detail=detail,
        )
        return conclusion

    def _ask(
        self, artifacts: ArtifactsFact, *, self_test: SelfTestFact = SelfTestFact.NOT_RUN
    ) -> Verdict:
        return self._judge.ask(
            self._candidate.release,
            phase=Phase.INSTALL,
            artifacts=artifacts,
            self_test=self_test,
        )
