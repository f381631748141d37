"""Asking the integrator's probes: does the alarm path work, and what does the device show?

Each trouble is one event and stands in ``status`` and ``doctor`` until it is over; a probe that
cannot be run, or does not answer, is a trouble too.  A probe that the maker does not bring leaves
its question *not checked*, and that is said.  Neither takes a release away: what is missing is a
person who looks.
"""

from __future__ import annotations

from dataclasses import dataclass

from primum_agent.clock import plain_time
from primum_agent.device import Device
from primum_agent.device_state import Generation
from primum_agent.displayed import (
    MAX_PRINTED,
    UnreadableDisplayError,
    differences,
    read_display,
    signed_label,
)
from primum_agent.events import Entry, EventKind
from primum_agent.programs import Ended, run_program
from primum_agent.tested import ALARM, DISPLAY, NOT_CHECKED, Probed, last_probed, note_probed
from primum_verifier.core.errors import FailedError
from primum_verifier.core.manifest import ReleaseManifest
from primum_verifier.core.reasons import Reason

_DISPLAY_REMEDY = "Start the application anew, or see why it shows another label than what runs."
_ALARM_REMEDY = "See why the device cannot notify; until then nobody may rely on its alarms."


@dataclass(frozen=True)
class _Answer:
    """What one probe came to."""

    well: bool
    text: str
    detail: dict[str, object]
    reason: Reason | None = None
    remedy: str = ""


def ask_probes(
    device: Device, used: Generation, manifest: ReleaseManifest, *, may_sound: bool
) -> None:
    """Ask the probes that the settings name, and report what is new.

    Args:
        device: the device.
        used: what runs, and has proven health.
        manifest: its signed manifest.
        may_sound: whether the alarm path may be tried now; otherwise its last word stands.
    """
    settings = device.settings.self_test
    before = last_probed(device.journal, used)
    first = before is None
    display = _display(device, manifest) if settings.display_probe else None
    alarm = _alarm(device) if settings.alarm_probe and may_sound else None
    for topic, probe in ((DISPLAY, settings.display_probe), (ALARM, settings.alarm_probe)):
        if not probe:
            # Nobody asks any more, so nobody could say that it is over.
            device.journal.clear_problem(topic)
    if display is not None:
        _tell(device, used, DISPLAY, display, first=first)
    if alarm is not None:
        # Its first word about a release that a patient kept waiting is a first word all the same.
        _tell(device, used, ALARM, alarm, first=before is None or before.waits)
    put_off = bool(settings.alarm_probe) and alarm is None
    note_probed(
        device.journal,
        Probed(
            generation=used.number,
            display=NOT_CHECKED if display is None else display.text,
            alarm=_alarm_text(alarm, before, put_off=put_off),
            well=all(answer is None or answer.well for answer in (display, alarm)),
            time=plain_time(device.clock.now()),
            waits=put_off and (before is None or before.waits or not before.well),
        ),
    )


def _alarm_text(alarm: _Answer | None, before: Probed | None, *, put_off: bool) -> str:
    if alarm is not None:
        return alarm.text
    if not put_off:
        return NOT_CHECKED
    return "not checked yet: put off by a gate" if before is None else before.alarm


def _display(device: Device, manifest: ReleaseManifest) -> _Answer:
    expected = signed_label(manifest)
    try:
        # The probe is not told what to say: it has to read the screen, not its environment.
        ended = _run(device, device.settings.self_test.display_probe, may_fail=frozenset())
        found = read_display(ended.printed)
    except FailedError as error:
        return _not_asked(error)
    except UnreadableDisplayError as error:
        text = f"the probe's answer cannot be read: {error}"
        return _Answer(
            well=False,
            text=text,
            detail={"found": text, "expected": expected},
            reason=Reason.STATE_DISPLAY,
            remedy="Correct the probe: a JSON object, or lines of name=value.",
        )
    if wrong := differences(found, expected):
        text = "; ".join(wrong)
        return _Answer(
            well=False,
            text=text,
            detail={"found": text, "expected": expected},
            reason=Reason.STATE_DISPLAY,
            remedy=_DISPLAY_REMEDY,
        )
    return _Answer(well=True, text="shows what was signed", detail={"shows": expected})


def _alarm(device: Device) -> _Answer:
    try:
        ended = _run(device, device.settings.self_test.alarm_probe, may_fail=None)
    except FailedError as error:
        return _not_asked(error)
    if ended.code:
        text = f"the probe ended with {ended.code}: {ended.complaint}".rstrip(": ")
        return _Answer(
            well=False,
            text=text,
            detail={"found": text, "expected": "exit code 0"},
            reason=Reason.SAFETY_ALARM,
            remedy=_ALARM_REMEDY,
        )
    return _Answer(well=True, text="works", detail={"found": "exit code 0"})


def _run(device: Device, command: tuple[str, ...], *, may_fail: frozenset[int] | None) -> Ended:
    """Run a probe.

    Raises:
        FailedError: ``resource.program``.
    """
    seconds = device.settings.self_test.probe_seconds
    return run_program(command, seconds=seconds, may_fail=may_fail, kept=MAX_PRINTED + 1)


def _not_asked(error: FailedError) -> _Answer:
    return _Answer(
        well=False,
        text=f"the probe could not be asked: {error.where} {error.found}",
        detail={**error.as_dict()},
        reason=error.reason,
        remedy=error.remedy,
    )


_KINDS = {
    DISPLAY: (EventKind.DISPLAY_FAILED, EventKind.DISPLAY_CONFIRMED),
    ALARM: (EventKind.ALARM_FAILED, EventKind.ALARM_WORKS),
}


def _tell(device: Device, used: Generation, topic: str, answer: _Answer, *, first: bool) -> None:
    """One event for each trouble, for its end, and for the first good word about a generation."""
    journal = device.journal
    failed, works = _KINDS[topic]
    if answer.well:
        ended = journal.clear_problem(topic)
        news = first or ended is not None
    else:
        # What a probe complains of may be worded otherwise each time; the trouble is the same.
        what = f"{used.name}: {answer.reason}"
        text = f"{topic}: {answer.text}. {answer.remedy}"
        news = journal.note_problem(topic=topic, what=what, text=text)
    if news:
        journal.record(
            Entry(
                kind=works if answer.well else failed,
                subject=used.name,
                attempt=device.attempt,
                result="done" if answer.well else "failed",
                reasons=() if answer.reason is None else (str(answer.reason),),
                detail={"generation": used.number, **answer.detail},
            )
        )
