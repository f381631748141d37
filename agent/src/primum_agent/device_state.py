"""The present state of a device: what its events add up to, and nothing else.

:func:`fold` is the only way the state changes, and it reads nothing but the event: replaying the
journal gives the stored state again, bit for bit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from primum_agent.lifecycle import State, Stimulus, known_state

MAX_REMEMBERED = 64
"""Conclusions and faults kept; the oldest makes room, so that state stays small for ever."""


@dataclass(frozen=True)
class Generation:
    """One set of files that was, is or may become active.

    Attributes:
        number: its folder's name; never used twice.
        release: SHA-256 of the manifest.
        role: the engineering role whose signatures carry the manifest.
        counter: the release counter, in which going back is measured.
        floor_counter: the floor that this release sets once it is proven.
        statement: SHA-256 of the eligibility statement in force for it: the one it was activated
            under, or a newer one that took its place.
        statement_number: that statement's number.
        health_window: seconds in which the application proves health.
        max_attempts: how often a start without proven health is endured.
        proven: whether the application once proved health with it.
        mode: the mode of use of that statement: ``clinical`` or ``investigational``.
        data_floor_counter: the floor that this release sets as soon as it came into effect,
            because it may have changed stored data.
    """

    number: int
    component: str
    version: str
    release: str
    counter: int
    floor_counter: int
    statement: str
    statement_number: int
    health_window: int
    max_attempts: int
    proven: bool = False
    mode: str = "clinical"
    data_floor_counter: int = 0

    @property
    def name(self) -> str:
        """Component and version as people write them."""
        return f"{self.component} {self.version}"


@dataclass(frozen=True)
class Candidate:
    """The release that is being worked on."""

    component: str
    version: str
    release: str
    tested: bool = False

    @property
    def name(self) -> str:
        """Component and version as people write them."""
        return f"{self.component} {self.version}"


@dataclass(frozen=True)
class Shadow:
    """The release that may run in shadow: beside what is in use, its outputs reaching nobody.

    Attributes:
        release: SHA-256 of the manifest.
        statement: SHA-256 of the eligibility statement by which it runs.
        statement_number: that statement's number.
        beside: SHA-256 of the manifest of what is in use, which it is compared with.
        model: SHA-256 of the model's file in the store.
        specification: the same of the self-test specification.
        monitoring: the same of the monitoring specification.
        begun: the attempt that began it; what was counted before is not counted on.
        told: the last window of its counts that was reported.
    """

    component: str
    version: str
    release: str
    statement: str
    statement_number: int
    beside: str
    model: str
    specification: str
    monitoring: str
    begun: str
    told: int = 0

    @property
    def name(self) -> str:
        """Component and version as people write them."""
        return f"{self.component} {self.version}"

    @property
    def files(self) -> frozenset[str]:
        """The digests that stay in the store while it may run."""
        return frozenset({self.model, self.specification, self.monitoring})


@dataclass(frozen=True)
class DeviceState:
    """What is true of the device now.

    Attributes:
        lifecycle: where the update stands.
        candidate: the release being worked on, if any.
        active: the number of the generation in use; None is the declared safe mode.
        target: the generation being switched to, while activating.
        generations: every generation that still lies on the disk, oldest first.
        next_generation: the next number to use.
        conclusions: for each release, what the device last concluded about it, as one text.
        faults: releases that failed by their own fault, with the reason.
        setbacks: for each release, how often an application opened it and did not prove health.
        unproven: for each release that nobody could prove, how often that was in a row, why the
            last time, and the powered seconds before which it is not tried again.
        resumptions: cuts since the present update began.
        counter_floor: no release with a lower counter runs again.
        eligibility: what the last review of the active release concluded, as one text.
        leaving: while rolling back, the reason for it.
        agreed: releases that a person agreed to, with who it was.
        stopped: why no release may be used until a person says otherwise; empty without a stop.
        device_key: the id of the key that signs since it was changed; empty while it never was.
        shadow: the release that may run in shadow, if any; it is no generation and never active.
        shadowed: for each release that was in shadow here cleanly, the statement it was so under.
        unknown: members that an agent one generation ahead stored, by the part they belong to;
            kept for the day it runs again, and no part of what is compared.
    """

    lifecycle: State = State.IDLE
    candidate: Candidate | None = None
    active: int | None = None
    target: int | None = None
    generations: tuple[Generation, ...] = ()
    next_generation: int = 1
    conclusions: Mapping[str, str] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    setbacks: Mapping[str, int] = field(default_factory=dict)
    unproven: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    resumptions: int = 0
    counter_floor: int = 0
    eligibility: str = ""
    leaving: str = ""
    agreed: Mapping[str, str] = field(default_factory=dict)
    stopped: str = ""
    device_key: str = ""
    shadow: Shadow | None = None
    shadowed: Mapping[str, str] = field(default_factory=dict)
    unknown: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, compare=False)

    def generation(self, number: int | None) -> Generation | None:
        """The generation with this number, if it is still there."""
        return next((item for item in self.generations if item.number == number), None)

    @property
    def in_use(self) -> Generation | None:
        """The active generation; None is the declared safe mode."""
        return self.generation(self.active)

    def to_json(self) -> str:
        """The state as the journal stores it."""
        # Not sorted: the order of the memories is their age.
        content = asdict(self)
        unknown = content.pop("unknown")
        for part in content["generations"]:
            part.update(unknown.get(str(part["number"]), {}))
        if content["candidate"] is not None:
            content["candidate"].update(unknown.get("candidate", {}))
        if content["shadow"] is not None:
            content["shadow"].update(unknown.get("shadow", {}))
        return json.dumps(content | unknown.get("", {}), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> DeviceState:
        """The state as the journal stored it."""
        content: dict[str, Any] = json.loads(text)
        unknown = {"": _unknown(cls, content)}
        candidate = content["candidate"]
        if candidate is not None:
            unknown["candidate"] = _unknown(Candidate, candidate)
        shadow = content.get("shadow")
        if shadow is not None:
            unknown["shadow"] = _unknown(Shadow, shadow)
        for part in content["generations"]:
            unknown[str(part["number"])] = _unknown(Generation, part)
        return cls(
            **{
                **_known(cls, content),
                "lifecycle": known_state(content["lifecycle"]),
                "candidate": (
                    None if candidate is None else Candidate(**_known(Candidate, candidate))
                ),
                "generations": tuple(
                    Generation(**_known(Generation, item)) for item in content["generations"]
                ),
                "shadow": None if shadow is None else Shadow(**_known(Shadow, shadow)),
                "unknown": {name: part for name, part in unknown.items() if part},
            }
        )


def _names(cls: type[Any]) -> set[str]:
    return {item.name for item in fields(cls)} - {"unknown"}


def _known(cls: type[Any], content: Mapping[str, Any]) -> dict[str, Any]:
    names = _names(cls)
    return {name: value for name, value in content.items() if name in names}


def _unknown(cls: type[Any], content: Mapping[str, Any]) -> dict[str, Any]:
    names = _names(cls)
    return {name: value for name, value in content.items() if name not in names}


def _remember(known: Mapping[str, Any], added: Mapping[str, Any]) -> dict[str, Any]:
    """``known`` with ``added`` as its newest members, within the bound."""
    merged = {name: value for name, value in known.items() if name not in added}
    merged.update(added)
    return dict(list(merged.items())[-MAX_REMEMBERED:])


def fold(state: DeviceState, data: Mapping[str, Any]) -> DeviceState:
    """The state after one event.

    Args:
        state: the state before it.
        data: the event's ``data`` member. ``to`` is the next lifecycle state; ``change`` may hold
            ``candidate``, ``generation`` (added or replaced), ``active``, ``target``,
            ``collected`` (numbers taken off the disk), ``conclusion``, ``fault``, ``forgiven``,
            ``setback``, ``unproven``, ``agreed``, ``counterFloor``, ``eligibility``,
            ``stopped``, ``deviceKey``, ``shadow``, ``shadowed`` and ``reset``.
    """
    change: Mapping[str, Any] = data.get("change", {})
    state = _with_progress(state, data)
    if change.get("reset"):
        state = _emptied(state)
    state = _with_candidates(state, change)
    if "generation" in change:
        state = _with_generation(state, Generation(**_known(Generation, change["generation"])))
    if "collected" in change:
        gone = set(change["collected"])
        kept = tuple(item for item in state.generations if item.number not in gone)
        state = replace(state, generations=kept)
    for name in ("active", "target", "eligibility", "stopped"):
        if name in change:
            state = replace(state, **{name: change[name]})
    if "nextGeneration" in change:
        state = replace(state, next_generation=change["nextGeneration"])
    if "deviceKey" in change:
        state = replace(state, device_key=change["deviceKey"]["keyId"])
    if "counterFloor" in change:
        state = replace(state, counter_floor=max(state.counter_floor, change["counterFloor"]))
    return _with_memories(state, change)


def _with_candidates(state: DeviceState, change: Mapping[str, Any]) -> DeviceState:
    """The release being worked on, and the one that may run in shadow."""
    if "candidate" in change:
        found = change["candidate"]
        state = replace(
            state, candidate=None if found is None else Candidate(**_known(Candidate, found))
        )
    if "shadow" in change:
        shadow = change["shadow"]
        state = replace(state, shadow=None if shadow is None else Shadow(**_known(Shadow, shadow)))
    return state


def _emptied(state: DeviceState) -> DeviceState:
    """What a reset leaves: floors, faults and setbacks, a stop, the key, and the next number."""
    return replace(
        state,
        candidate=None,
        active=None,
        target=None,
        generations=(),
        conclusions={},
        resumptions=0,
        eligibility="",
        leaving="",
        agreed={},
        shadow=None,
        shadowed={},
        unknown={name: part for name, part in state.unknown.items() if not name},
    )


def _with_progress(state: DeviceState, data: Mapping[str, Any]) -> DeviceState:
    """Count the cuts since the update began, and keep why a release is being left."""
    if "to" in data:
        state = replace(state, lifecycle=known_state(data["to"]))
    stimulus = data.get("stimulus")
    if stimulus == Stimulus.INTERRUPTED:
        state = replace(state, resumptions=state.resumptions + 1)
    elif data.get("to") == State.IDLE or stimulus == Stimulus.SWITCHED:
        state = replace(state, resumptions=0)
    if stimulus in {Stimulus.UNHEALTHY, Stimulus.TAKEN_AWAY}:
        return replace(state, leaving=next(iter(data.get("reasons", ())), ""))
    return state if state.lifecycle is State.ROLLING_BACK else replace(state, leaving="")


def _with_generation(state: DeviceState, added: Generation) -> DeviceState:
    """Add it, or bring it up to date; supervisor and attempt both do, and may have met an older.

    What once proved health has, and no statement gives way to an older one.
    """
    known = state.generation(added.number)
    if known is not None and known.release == added.release:
        added = replace(added, proven=added.proven or known.proven)
        if known.statement_number > added.statement_number:
            added = replace(
                added,
                statement=known.statement,
                statement_number=known.statement_number,
                mode=known.mode,
            )
    others = [item for item in state.generations if item.number != added.number]
    ordered = sorted([*others, added], key=lambda item: item.number)
    return replace(
        state,
        generations=tuple(ordered),
        next_generation=max(state.next_generation, added.number + 1),
    )


def _with_memories(state: DeviceState, change: Mapping[str, Any]) -> DeviceState:
    if "conclusion" in change:
        state = replace(state, conclusions=_remember(state.conclusions, change["conclusion"]))
    if "fault" in change:
        state = replace(state, faults=_remember(state.faults, change["fault"]))
    if "setback" in change:
        release = change["setback"]
        count = state.setbacks.get(release, 0) + 1
        state = replace(state, setbacks=_remember(state.setbacks, {release: count}))
    if "agreed" in change:
        state = replace(state, agreed=_remember(state.agreed, change["agreed"]))
    if "shadowed" in change:
        state = replace(state, shadowed=_remember(state.shadowed, change["shadowed"]))
    if "unproven" in change:
        state = replace(state, unproven=_remember(state.unproven, change["unproven"]))
    if "forgiven" in change:
        forgiven = change["forgiven"]
        state = replace(
            state,
            faults=_without(state.faults, forgiven),
            setbacks=_without(state.setbacks, forgiven),
            unproven=_without(state.unproven, forgiven),
        )
    return state


def _without(known: Mapping[str, Any], forgiven: str) -> dict[str, Any]:
    return {name: value for name, value in known.items() if name != forgiven}
