"""Judging the gates: readings, settings and overrides in, one row for each gate out.

Pure: no file, socket, clock or command.  What holds:

1. Each gate is judged by itself.  A worse reading never opens one.
2. A gate whose sensor is absent by the settings does not apply; one whose sensor gives no answer
   holds, and says so.  Unknown never opens.
3. A critical release does not wait for a window or a cheaper network.  Nothing but its end opens
   clinical use: no severity, no override.
4. An override opens the gate that it names and no other.

What is taken away is asked of no gate: only an episode that runs may hold it up, as the signed
order says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Literal, Protocol

from primum_agent.gate_settings import GateSettings, WindowGate
from primum_agent.gate_window import is_open, next_opening, parse_span
from primum_verifier.core.reasons import Reason

_HOUR = 3600.0
_MEBI = 1024 * 1024


class GateId(StrEnum):
    """Every gate, in the order in which they are shown."""

    STOPPED = "stopped"
    CLINICAL_USE = "clinical-use"
    BATTERY = "battery"
    TEMPERATURE = "temperature"
    DISK = "disk"
    MEMORY = "memory"
    WINDOW = "window"
    METERED = "metered"
    DOWNLOAD_WINDOW = "download-window"
    PAUSED = "paused"
    CONSENT = "consent"
    COMPONENTS = "components"
    SHADOW = "shadow"


class Step(StrEnum):
    """What a gate can hold."""

    DOWNLOAD = "download"
    TEST = "self-test"
    ACTIVATE = "activation"


class GateStanding(StrEnum):
    """How a gate stands."""

    NOT_APPLICABLE = "not applicable"
    OPEN = "open"
    HOLDS = "holds"
    OVERRIDDEN = "overridden"
    SKIPPED = "skipped"


class Use(StrEnum):
    """Whether a patient is being served, as far as anybody can say."""

    IDLE = "idle"
    IN_USE = "in-use"
    UNKNOWN = "unknown"


Severity = Literal["critical", "mandatory", "optional"]
"""What the signed manifest calls the release."""

OVERRIDABLE = frozenset(
    {
        GateId.BATTERY,
        GateId.TEMPERATURE,
        GateId.DISK,
        GateId.MEMORY,
        GateId.WINDOW,
        GateId.METERED,
        GateId.DOWNLOAD_WINDOW,
    }
)
"""Clinical use and a stop never are; consent and a pause are a person's, a component knows its own
time, and a time in shadow is the statement's."""

CONVENIENCE = frozenset({GateId.WINDOW, GateId.METERED, GateId.DOWNLOAD_WINDOW})
"""What a critical release does not wait for."""

HELD_STEPS: Mapping[GateId, frozenset[Step]] = {
    GateId.STOPPED: frozenset({Step.ACTIVATE}),
    GateId.CLINICAL_USE: frozenset({Step.ACTIVATE}),
    GateId.BATTERY: frozenset({Step.TEST, Step.ACTIVATE}),
    GateId.TEMPERATURE: frozenset({Step.TEST, Step.ACTIVATE}),
    GateId.DISK: frozenset({Step.DOWNLOAD, Step.TEST, Step.ACTIVATE}),
    GateId.MEMORY: frozenset({Step.TEST, Step.ACTIVATE}),
    GateId.WINDOW: frozenset({Step.ACTIVATE}),
    GateId.METERED: frozenset({Step.DOWNLOAD}),
    GateId.DOWNLOAD_WINDOW: frozenset({Step.DOWNLOAD}),
    GateId.PAUSED: frozenset({Step.DOWNLOAD}),
    GateId.CONSENT: frozenset({Step.ACTIVATE}),
    GateId.COMPONENTS: frozenset({Step.ACTIVATE}),
    GateId.SHADOW: frozenset({Step.ACTIVATE}),
}
"""Which steps each gate holds."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Where the question to a person stands.

    Attributes:
        agreed: whether the person agreed to this release.
        mandatory: whether it goes on holding without an answer.
        seconds_left: powered seconds until it no longer holds; None where nothing is asked yet.
        deferrals_left: how often the person may still say "later".
    """

    agreed: bool = False
    mandatory: bool = False
    seconds_left: float | None = None
    deferrals_left: int = 0


@dataclass(frozen=True, kw_only=True)
class ShadowPeriod:
    """How far the time in shadow is that a statement asks for first.

    Attributes:
        asked: what is asked for, in words.
        reading: what there is of it; empty where it was clean.
    """

    asked: str
    reading: str = ""


@dataclass(frozen=True, kw_only=True)
class GateReadings:
    """What was found of the device at one moment; None where nobody can say.

    Attributes:
        stopped: why the application had the use of every release stopped; empty where it did not.
        use: whether a patient is being served.
        use_found: the same in words.
        battery: percent.
        charging: whether a charger is connected.
        temperature: degrees Celsius.
        disk_free: bytes.
        memory_free: bytes.
        local: the time in the zone of the windows, where the clock may be believed.
        time_found: the same in words, or why there is none.
        download_local: the time in the zone of the windows for fetching, likewise.
        download_time_found: the same in words, or why there is none.
        paused: who paused fetching, and until when; empty where nobody did.
        metered: whether the network costs money.
        metered_found: the same in words.
        asked: where the question to a person stands; None where nobody is to be asked.
        expected_seconds: how long the work that is left will take.
        components: what the components of the release that waits answer: empty where they may
            come into effect now, else why not; None where none has to be asked.
        shadow: the time in shadow that is asked for first; None where none is.
    """

    stopped: str = ""
    use: Use = Use.UNKNOWN
    use_found: str = "nobody can say"
    battery: float | None = None
    charging: bool | None = None
    temperature: float | None = None
    disk_free: int | None = None
    memory_free: int | None = None
    local: datetime | None = None
    time_found: str = "the clock is not trusted"
    download_local: datetime | None = None
    download_time_found: str = "the clock is not trusted"
    paused: str = ""
    metered: bool | None = None
    metered_found: str = "nobody can say"
    asked: Asked | None = None
    expected_seconds: float = 0.0
    components: str | None = None
    shadow: ShadowPeriod | None = None


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One row.

    Attributes:
        gate: which one.
        standing: whether it holds.
        reading: what was found.
        opens: what would open it; empty where it is open.
        reason: the reason code, where it would hold.
        since: since when it holds, as it was noted; empty where it does not.
        until: when its override ends.
        seconds: how long until it opens by itself, where time alone opens it.
    """

    gate: GateId
    standing: GateStanding
    reading: str
    opens: str = ""
    reason: Reason | None = None
    since: str = ""
    until: str = ""
    seconds: float | None = None

    @property
    def holds(self) -> bool:
        """Whether it stands in the way."""
        return self.standing is GateStanding.HOLDS

    def as_dict(self) -> dict[str, object]:
        """The row as JSON shows it."""
        return {
            "gate": str(self.gate),
            "standing": str(self.standing),
            "reading": self.reading,
            "opens": self.opens,
            "reason": "" if self.reason is None else str(self.reason),
            "since": self.since,
            "until": self.until,
            "overridable": self.gate in OVERRIDABLE,
            "steps": sorted(str(step) for step in HELD_STEPS[self.gate]),
        }


class Lapsing(Protocol):
    """What is asked of an override that stands."""

    @property
    def by(self) -> str:
        """Who gave it."""

    @property
    def until(self) -> str:
        """When it ends by the clock."""


def judge_gates(
    settings: GateSettings,
    readings: GateReadings,
    *,
    severity: Severity = "optional",
    overrides: Mapping[GateId, Lapsing] | None = None,
) -> tuple[Gate, ...]:
    """Every gate, in order.

    Args:
        settings: what the maker of the device says.
        readings: what was found.
        severity: what the signed manifest calls the release.
        overrides: those that stand now.
    """
    given = overrides or {}
    return tuple(
        _passed(judge(settings, readings), severity=severity, override=given.get(gate))
        for gate, judge in _JUDGES.items()
    )


def _passed(gate: Gate, *, severity: Severity, override: Lapsing | None) -> Gate:
    """A gate that holds, once severity and override had their say."""
    if not gate.holds:
        return gate
    if severity == "critical" and gate.gate in CONVENIENCE:
        return replace(gate, standing=GateStanding.SKIPPED, opens="", seconds=None)
    if override is not None and gate.gate in OVERRIDABLE:
        return replace(
            gate,
            standing=GateStanding.OVERRIDDEN,
            reading=f"{gate.reading}; overridden by {override.by}",
            until=override.until,
        )
    return gate


def holding(gates: Iterable[Gate], step: Step) -> tuple[Gate, ...]:
    """Those that stand in the way of a step."""
    return tuple(item for item in gates if item.holds and step in HELD_STEPS[item.gate])


def reasons_of(gates: Iterable[Gate]) -> tuple[str, ...]:
    """Their reason codes, each once."""
    return tuple(dict.fromkeys(str(item.reason) for item in gates if item.reason is not None))


def look_again(gates: Sequence[Gate], *, look_seconds: float) -> float:
    """Seconds until it is worth looking again at gates that hold.

    A gate that only time opens is looked at then; any other may open at any moment.
    """
    times = [look_seconds if item.seconds is None else item.seconds for item in gates]
    return max(1.0, max(times, default=look_seconds))


# One judge for each gate


def _idle(gate: GateId, why: str = "not configured") -> Gate:
    return Gate(gate=gate, standing=GateStanding.NOT_APPLICABLE, reading=why)


def _open(gate: GateId, reading: str) -> Gate:
    return Gate(gate=gate, standing=GateStanding.OPEN, reading=reading)


def _holds(
    gate: GateId, reading: str, opens: str, reason: Reason, *, seconds: float | None = None
) -> Gate:
    return Gate(
        gate=gate,
        standing=GateStanding.HOLDS,
        reading=reading,
        opens=opens,
        reason=reason,
        seconds=seconds,
    )


def _stopped(_: GateSettings, found: GateReadings) -> Gate:
    gate = GateId.STOPPED
    if not found.stopped:
        return _open(gate, "nobody stopped the use")
    return _holds(gate, found.stopped, "primum-agent reinstate", Reason.SAFETY_STOPPED)


def _clinical_use(_: GateSettings, found: GateReadings) -> Gate:
    gate = GateId.CLINICAL_USE
    if found.use is Use.IDLE:
        return _open(gate, found.use_found)
    ends = "the end of clinical use"
    opens = ends if found.use is Use.IN_USE else f"an answer that it is idle; {ends} is not known"
    return _holds(gate, found.use_found, opens, Reason.SAFETY_IN_USE)


def _battery(settings: GateSettings, found: GateReadings) -> Gate:
    gate, rule = GateId.BATTERY, settings.battery
    if rule is None:
        return _idle(gate)
    charger = {True: "a charger", False: "no charger", None: "charger unknown"}[found.charging]
    needed = rule.reserve_percent + rule.percent_per_hour * found.expected_seconds / _HOUR
    ways = [f"{rule.charging_percent:g} % with a charger"]
    if not rule.charger_needed and needed <= 100.0:  # noqa: PLR2004 - percent
        ways.append(f"{needed:.0f} % without")
    opens = " or ".join(ways)
    if found.battery is None:
        return _holds(gate, f"cannot be read, {charger}", opens, Reason.SAFETY_BATTERY)
    reading = f"{found.battery:g} %, {charger}"
    charged = found.charging is True and found.battery >= rule.charging_percent
    if charged or (not rule.charger_needed and found.battery >= needed):
        return _open(gate, reading)
    return _holds(gate, reading, opens, Reason.SAFETY_BATTERY)


def _temperature(settings: GateSettings, found: GateReadings) -> Gate:
    gate, rule = GateId.TEMPERATURE, settings.temperature
    if rule is None:
        return _idle(gate)
    opens = f"{rule.least_celsius:g} to {rule.most_celsius:g} degrees Celsius"
    if found.temperature is None:
        return _holds(gate, "cannot be read", opens, Reason.SAFETY_TEMPERATURE)
    reading = f"{found.temperature:g} degrees Celsius"
    if rule.least_celsius <= found.temperature <= rule.most_celsius:
        return _open(gate, reading)
    return _holds(gate, reading, opens, Reason.SAFETY_TEMPERATURE)


def _disk(settings: GateSettings, found: GateReadings) -> Gate:
    return _room(GateId.DISK, found.disk_free, settings.least_free_disk, Reason.RESOURCE_STORAGE)


def _memory(settings: GateSettings, found: GateReadings) -> Gate:
    if settings.least_free_memory == 0:
        return _idle(GateId.MEMORY)
    least = settings.least_free_memory
    return _room(GateId.MEMORY, found.memory_free, least, Reason.RESOURCE_MEMORY)


def _room(gate: GateId, free: int | None, least: int, reason: Reason) -> Gate:
    opens = f"{least // _MEBI} MiB free"
    if free is None:
        return _holds(gate, "cannot be read", opens, reason)
    reading = f"{free // _MEBI} MiB free"
    return _open(gate, reading) if free >= least else _holds(gate, reading, opens, reason)


def _window(settings: GateSettings, found: GateReadings) -> Gate:
    local = found.local, found.time_found
    return _within(GateId.WINDOW, settings.window, local, Reason.SAFETY_WINDOW)


def _download_window(settings: GateSettings, found: GateReadings) -> Gate:
    local = found.download_local, found.download_time_found
    return _within(GateId.DOWNLOAD_WINDOW, settings.download_window, local, Reason.TRANSPORT_WINDOW)


def _within(
    gate: GateId, rule: WindowGate | None, found: tuple[datetime | None, str], reason: Reason
) -> Gate:
    """A gate that opens at certain times: the local time, and the same in words."""
    local, reading = found
    if rule is None:
        return _idle(gate)
    written = ", ".join(rule.spans)
    if local is None:
        opens = f"a trusted clock, then {written} {rule.zone}"
        return _holds(gate, reading, opens, Reason.TRUST_TIME_UNKNOWN)
    spans = [parse_span(text) for text in rule.spans]
    if is_open(spans, local):
        return _open(gate, reading)
    begins = next_opening(spans, local)
    if begins is None:
        opens = f"{written} {rule.zone}; none within eight days"
        return _holds(gate, reading, opens, reason)
    opens = f"{begins:%a %Y-%m-%d %H:%M} {rule.zone}"
    # Two zone-aware moments of one zone are subtracted as the wall shows them: not so here.
    wait = begins.timestamp() - local.timestamp()
    return _holds(gate, reading, opens, reason, seconds=max(0.0, wait))


def _paused(_: GateSettings, found: GateReadings) -> Gate:
    if not found.paused:
        return _open(GateId.PAUSED, "nobody paused fetching")
    opens = "its end, or primum-agent pause --hours 0"
    return _holds(GateId.PAUSED, found.paused, opens, Reason.TRANSPORT_PAUSED)


def _metered(settings: GateSettings, found: GateReadings) -> Gate:
    gate = GateId.METERED
    if not settings.metered.is_set:
        return _idle(gate)
    if found.metered is False:
        return _open(gate, found.metered_found)
    return _holds(gate, found.metered_found, "an unmetered network", Reason.TRANSPORT_METERED)


def _consent(_: GateSettings, found: GateReadings) -> Gate:
    gate, asked = GateId.CONSENT, found.asked
    if asked is None:
        return _idle(gate, "nobody is asked")
    if asked.agreed:
        return _open(gate, "agreed")
    # Before the question stands only the release itself can be named.
    answer = f"primum-agent {'approve' if asked.seconds_left is None else 'consent'}"
    if asked.mandatory:
        reading = f"not answered, and mandatory; deferrals left: {asked.deferrals_left}"
        return _holds(gate, reading, answer, Reason.SAFETY_OPERATOR)
    if asked.seconds_left is None:
        return _holds(gate, "not asked yet", answer, Reason.SAFETY_OPERATOR)
    if asked.seconds_left <= 0.0:
        return _open(gate, "no answer in the time allowed")
    hours = asked.seconds_left / _HOUR
    reading = f"not answered; deferrals left: {asked.deferrals_left}"
    opens = f"{answer}, or {hours:.1f} powered hours"
    return _holds(gate, reading, opens, Reason.SAFETY_OPERATOR, seconds=asked.seconds_left)


def _components(_: GateSettings, found: GateReadings) -> Gate:
    gate = GateId.COMPONENTS
    if found.components is None:
        return _idle(gate, "none is asked")
    if not found.components:
        return _open(gate, "they may come into effect")
    opens = "the component's own hook, asked at every look"
    return _holds(gate, found.components, opens, Reason.STATE_ASKED_LATER)


def _shadow(_: GateSettings, found: GateReadings) -> Gate:
    gate, period = GateId.SHADOW, found.shadow
    if period is None:
        return _idle(gate, "none is asked for")
    if not period.reading:
        return _open(gate, "clean")
    return _holds(gate, period.reading, period.asked, Reason.SAFETY_SHADOW)


_JUDGES: Mapping[GateId, Callable[[GateSettings, GateReadings], Gate]] = {
    GateId.STOPPED: _stopped,
    GateId.CLINICAL_USE: _clinical_use,
    GateId.BATTERY: _battery,
    GateId.TEMPERATURE: _temperature,
    GateId.DISK: _disk,
    GateId.MEMORY: _memory,
    GateId.WINDOW: _window,
    GateId.METERED: _metered,
    GateId.DOWNLOAD_WINDOW: _download_window,
    GateId.PAUSED: _paused,
    GateId.CONSENT: _consent,
    GateId.COMPONENTS: _components,
    GateId.SHADOW: _shadow,
}
