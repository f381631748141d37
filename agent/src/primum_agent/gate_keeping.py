"""Asking the gates in an attempt: read, judge, remember, and report each hold once.

A gate that holds a release is reported once for that release, however often it opens and shuts.
A release that waits for days becomes a lasting trouble, whichever gates hold it in turn:
``status``, ``doctor`` and the health report show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from primum_agent.clock import believed, plain_time
from primum_agent.consenting import ask_person, forget_question, question_of
from primum_agent.device import Device
from primum_agent.gate_memory import Wait, gates_of, keep_gates
from primum_agent.gate_overrides import read_overrides
from primum_agent.gate_rules import Asked, Gate, GateId, Step, judge_gates, look_again
from primum_agent.gates import clinical_use, read_gates
from primum_agent.judging import Judge
from primum_agent.pausing import pause_of
from primum_agent.sensors import Sensors
from primum_agent.shadow_period import period_of
from primum_agent.work_times import Work, expected_time
from primum_verifier.core.manifest import ReleaseManifest
from primum_verifier.core.question import ClinicalUse, Verdict
from primum_verifier.core.reasons import Reason

TOPIC = "update waiting"
"""The lasting trouble of a release that waits for days."""

_DAY = 86_400.0
_MOST_DEFERRALS = {"critical": 0, "mandatory": 1}
_MANDATORY_HOURS = 24.0


class GateKeeper:
    """The gates of one device in one attempt.

    Args:
        device: the device.
        proven: a moment that has certainly passed; a clock before it is wrong.
        sensors: the sensors port; the system's own when None.
    """

    def __init__(
        self, device: Device, *, proven: datetime | None, sensors: Sensors | None = None
    ) -> None:
        self._device = device
        self._proven = proven
        self._sensors = sensors

    def look(
        self,
        verdict: Verdict | None,
        *,
        declared: ClinicalUse,
        steps: Iterable[Step] = (Step.TEST, Step.ACTIVATE),
        ask: bool = False,
        components: str | None = None,
    ) -> tuple[Gate, ...]:
        """Judge every gate now; nothing is kept but a question that is asked.

        Args:
            verdict: on the release that is to pass, None without one.
            declared: what the application declared of clinical use over the socket.
            steps: what is left to be done with the release.
            ask: whether the person is asked now, where one is to be asked.
            components: what the components of the release answer.
        """
        device = self._device
        manifest = None if verdict is None else verdict.manifest
        settings, powered = device.settings.gates, device.journal.powered_total()
        readings = read_gates(
            settings,
            declared=declared,
            sensors=self._the_sensors(),
            clock=device.clock,
            proven=self._proven,
            asked=None if verdict is None else self._asked(verdict, powered=powered, ask=ask),
            expected_seconds=0.0 if manifest is None else self._expected(manifest, set(steps)),
            components=components,
            stopped=device.journal.state().stopped,
            shadow=None if verdict is None else period_of(device, verdict),
            paused=self._paused(),
        )
        return judge_gates(
            settings,
            readings,
            severity="optional" if manifest is None else manifest.severity,
            overrides=read_overrides(device.journal, powered=powered, now=believed(device.clock)),
        )

    def remember(self, gates: Sequence[Gate]) -> None:
        """Keep the rows, each with since when it holds, for whoever looks."""
        journal = self._device.journal
        judged = plain_time(self._device.clock.now())
        keep_gates(journal, gates_of(journal).with_rows(gates, judged=judged))

    def begin_wait(self, *, release: str, name: str, held: Sequence[Gate], step: Step) -> bool:
        """Note that a release waits; whether that is news: a gate not yet reported, or days.

        Args:
            release: SHA-256 of its manifest.
            name: component and version.
            held: the gates that hold it.
            step: what they hold.
        """
        settings, journal = self._device.settings.gates, self._device.journal
        powered, memory = journal.powered_total(), gates_of(journal)
        wait = memory.wait
        if wait is None or wait.release != release:
            since = plain_time(self._device.clock.now())
            wait = Wait(release=release, name=name, since=since, powered=powered)
        names = [f"{step} {item.gate}" for item in held]
        fresh = [name for name in names if name not in wait.told]
        seconds = look_again(held, look_seconds=settings.look_seconds)
        wait = replace(wait, told=[*wait.told, *fresh], look_seconds=seconds)
        keep_gates(journal, replace(memory, wait=wait))
        return self._lasts(wait, held, powered=powered) or bool(fresh)

    def end_wait(self) -> None:
        """No release waits any more, and nobody is asked."""
        journal = self._device.journal
        memory = gates_of(journal)
        if memory.wait is not None:
            keep_gates(journal, replace(memory, wait=None))
        journal.clear_problem(TOPIC)
        forget_question(journal)

    def _lasts(self, wait: Wait, held: Sequence[Gate], *, powered: float) -> bool:
        """Whether the wait has just become a lasting trouble; from then on it is counted."""
        days = self._device.settings.gates.told_after_days
        if powered - wait.powered < days * _DAY:
            return False
        told = "; ".join(f"{item.gate}: {item.reading}, opens: {item.opens}" for item in held)
        return self._device.journal.note_problem(
            topic=TOPIC,
            what=wait.name,
            text=f"{wait.name} has waited since {wait.since}: {told}. "
            "Where hardware is broken: `primum-agent override GATE`.",
        )

    # What they are judged by

    def _the_sensors(self) -> Sensors:
        if self._sensors is None:
            self._sensors = self._device.sensors()
        return self._sensors

    def _paused(self) -> str:
        pause = pause_of(self._device.journal, self._device.clock)
        if pause is None:
            return ""
        return f"paused by {pause.by}" + (f" until {pause.until}" if pause.until else "")

    def _asked(self, verdict: Verdict, *, powered: float, ask: bool) -> Asked | None:
        """Where the question stands; it is put where the settings or the statement want it."""
        rule, journal = self._device.settings.gates.consent, self._device.journal
        signed = wants_agreement(verdict)
        if rule is None and not signed:
            return None
        if verdict.release in journal.state().agreed:
            return Asked(agreed=True)
        severity = "optional" if verdict.manifest is None else verdict.manifest.severity
        mandatory, deferrals, hours = signed, 0, _MANDATORY_HOURS
        if rule is not None:
            mandatory = signed or rule.mandatory
            deferrals = min(rule.deferrals, _MOST_DEFERRALS.get(severity, rule.deferrals))
            shorter = rule.critical_hours if severity == "critical" else rule.defer_hours
            hours = min(rule.defer_hours, shorter)
        question = question_of(journal)
        if ask:
            question = ask_person(
                journal,
                release=verdict.release,
                name=verdict.name,
                deferrals=deferrals,
                hours=hours,
                mandatory=mandatory,
                powered=powered,
            )
        if question is None or question.release != verdict.release:
            return Asked(mandatory=mandatory, deferrals_left=deferrals)
        return Asked(
            mandatory=mandatory,
            seconds_left=question.seconds_left(powered),
            deferrals_left=question.deferrals_left(powered),
        )

    def _expected(self, manifest: ReleaseManifest, steps: set[Step]) -> float:
        """How long what is left to do will take, in seconds."""
        journal, rule = self._device.journal, self._device.settings.gates.battery
        window = float(manifest.activation.health_window_seconds)
        seconds = expected_time(journal, Work.ACTIVATION, bound=window)
        if Step.TEST in steps and rule is not None:
            seconds += expected_time(journal, Work.SELF_TEST, bound=rule.expected_seconds)
        return seconds


def look_without_candidate(device: Device, judge: Judge | None) -> None:
    """Judge the gates where no release waits, so that they can be seen before one does."""
    keeper = GateKeeper(device, proven=None if judge is None else judge.proven)
    keeper.remember(keeper.look(None, declared=clinical_use(device.ask)))
    keeper.end_wait()


def wants_agreement(verdict: Verdict) -> bool:
    """Whether the signed statement asks for a person's agreement that is not there."""
    return any(
        check.reason is Reason.SAFETY_OPERATOR and check.stands_in_the_way
        for check in verdict.checks
    )


def use_of(gates: Iterable[Gate]) -> ClinicalUse:
    """What the core is told of clinical use: idle only where that gate is open."""
    idle = any(item.gate is GateId.CLINICAL_USE and not item.holds for item in gates)
    return ClinicalUse.IDLE if idle else ClinicalUse.IN_USE


def for_report(gates: Iterable[Gate]) -> list[dict[str, object]]:
    """Gates that hold, for an event."""
    return [
        {"gate": str(item.gate), "reading": item.reading, "opens": item.opens} for item in gates
    ]
