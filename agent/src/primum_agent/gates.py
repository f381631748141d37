"""Reading what the gates are judged by; whatever cannot be read is None, and never raises.

Clinical use is asked of everybody who may know: the application over the socket, a file and a
command of the integrator.  Only where all of them say idle is it idle.  The two sides of doubt
differ: where nobody can say, nothing new is activated, and nothing that a signed order takes away
goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from typing import TypeVar
from zoneinfo import ZoneInfo

from primum_agent.clock import Clock, ClockQuality
from primum_agent.desk import AskSupervisor
from primum_agent.gate_probe import Answer, ask_command, ask_file
from primum_agent.gate_rules import Asked, GateReadings, ShadowPeriod, Use
from primum_agent.gate_settings import GateSettings, Probe
from primum_agent.sensors import Readings, Sensors
from primum_verifier.core.question import ClinicalUse

_USES = {"idle": Use.IDLE, "in-use": Use.IN_USE}
_METERED = {"unmetered": False, "metered": True}

RUNS_AHEAD = timedelta(hours=6)
"""Proven time is carried on by a counter that may run fast: at 100 in a million, seven years of it.

A good clock behind it by less must not shut the windows of an old device for ever."""

Found = TypeVar("Found")


def clinical_use(ask: AskSupervisor) -> ClinicalUse:
    """Whether a patient is being served, as the application declared it to the supervisor.

    Where nobody can say, the answer is yes: unknown never opens a gate.
    """
    answer = ask({"do": "status"})
    if answer is None or answer.get("clinicalUse") != ClinicalUse.IDLE:
        return ClinicalUse.IN_USE
    return ClinicalUse.IDLE


def episode_runs(settings: GateSettings, ask: AskSupervisor) -> bool:
    """Whether somebody who may know says that a patient is being served; doubt is no episode.

    Where no supervisor answers no episode is declared: they end with the supervisor's socket.
    """
    answer = ask({"do": "status"})
    in_use = answer is not None and answer.get("clinicalUse") == ClinicalUse.IN_USE
    declared = ClinicalUse.IN_USE if in_use else ClinicalUse.IDLE
    return _use(settings.clinical_use, declared)[0] is Use.IN_USE


def read_gates(
    settings: GateSettings,
    *,
    declared: ClinicalUse,
    sensors: Sensors,
    clock: Clock,
    proven: datetime | None,
    asked: Asked | None,
    expected_seconds: float,
    components: str | None = None,
    stopped: str = "",
    shadow: ShadowPeriod | None = None,
    paused: str = "",
) -> GateReadings:
    """Everything that the gates are judged by, once.

    Args:
        settings: which gates apply, and whom to ask.
        declared: what the application declared over the socket.
        sensors: the sensors port.
        clock: the clock port.
        proven: a moment that has certainly passed; a clock well before it is wrong.
        asked: where the question to a person stands.
        expected_seconds: how long the work that is left will take.
        components: what the components of the release answer.
        stopped: why the use of every release was stopped; empty where it was not.
        shadow: the time in shadow that is asked for first; None where none is.
        paused: who paused fetching, and until when; empty where nobody did.
    """
    use, use_found = _use(settings.clinical_use, declared)
    metered, metered_found = _metered(settings.metered)
    felt = _felt(sensors)
    zone = None if settings.window is None else zone_of(settings.window.zone)
    local, time_found = _local(clock, proven=proven, zone=zone)
    rule = settings.download_window
    there = None if rule is None else zone_of(rule.zone)
    download_local, download_time_found = _local(clock, proven=proven, zone=there)
    return GateReadings(
        stopped=stopped,
        use=use,
        use_found=use_found,
        battery=None if felt is None else felt.battery,
        charging=None if felt is None else felt.charging,
        temperature=None if felt is None else felt.temperature,
        disk_free=None if felt is None else felt.disk_free,
        memory_free=None if felt is None or felt.memory_free == 0 else felt.memory_free,
        local=local,
        time_found=time_found,
        download_local=download_local,
        download_time_found=download_time_found,
        paused=paused,
        metered=metered,
        metered_found=metered_found,
        asked=asked,
        expected_seconds=expected_seconds,
        components=components,
        shadow=shadow,
    )


def zone_of(name: str) -> tzinfo | None:
    """The zone of this IANA name; None where this device does not know it."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        # Not there, no zone file, or no name of a zone.
        return None


def _felt(sensors: Sensors) -> Readings | None:
    try:
        return sensors.read()
    except (OSError, ValueError, RuntimeError):
        return None


def _local(
    clock: Clock, *, proven: datetime | None, zone: tzinfo | None
) -> tuple[datetime | None, str]:
    """The local time, where the clock may be believed, and the same in words."""
    now = clock.now()
    shown = f"the clock says {now:%Y-%m-%d %H:%M} UTC"
    if clock.quality() == ClockQuality.UNSET:
        return None, f"{shown} and was never set"
    if proven is not None and now < proven - RUNS_AHEAD:
        return None, f"{shown}, but it is {proven:%Y-%m-%d %H:%M} at least"
    if zone is None:
        return None, f"{shown}; this device does not know the zone"
    local = now.astimezone(zone)
    return local, f"{local:%a %H:%M}"


def is_idle(settings: GateSettings, ask: AskSupervisor) -> bool:
    """Whether everybody who may know says that no patient is being served; asked now."""
    return _use(settings.clinical_use, clinical_use(ask))[0] is Use.IDLE


def _use(probe: Probe, declared: ClinicalUse) -> tuple[Use, str]:
    """The worst answer of all who may know, and who gave it."""
    said = [(Use.IDLE, "idle")]
    if declared is not ClinicalUse.IDLE:
        said = [(Use.IN_USE, "in use, as declared over the socket")]
    for answer in _answers(probe):
        said.append((_USES.get(answer.word, Use.UNKNOWN), answer.found))
    order = [Use.IDLE, Use.UNKNOWN, Use.IN_USE]
    return max(said, key=lambda item: order.index(item[0]))


def _metered(probe: Probe) -> tuple[bool | None, str]:
    """Whether it is metered: where two are asked and differ, the dearer answer counts."""
    answers = [(_known(_METERED, item), item.found) for item in _answers(probe)]
    order = [False, None, True]
    return max(answers, key=lambda item: order.index(item[0]), default=(None, "nobody can say"))


def _known(words: Mapping[str, Found], answer: Answer) -> Found | None:
    return words.get(answer.word)


def _answers(probe: Probe) -> list[Answer]:
    answers = []
    if probe.file:
        answers.append(ask_file(probe))
    if probe.command:
        answers.append(ask_command(probe))
    return answers
