"""The promises that are watched over in a world: after every turn, for every device.

What is allowed is known from what the authorities of the world said, not from what a device makes
of it.  A promise that does not hold is told with the whole story of the device.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from primum_agent.application import ActiveRelease, StandingError, open_active
from primum_agent.floors import Floors, read_floors
from primum_agent.signer import read_public
from primum_device_sim.world.device import PlayedDevice
from primum_device_sim.world.world import World
from primum_verifier.core.errors import PrimumError
from primum_verifier.record.chain import check_history

_PASSED = "primum.device.selftest.passed"
_CLINICAL = "clinical"


class Promise(StrEnum):
    """What is promised of every device, at any time."""

    ALLOWED = "runs only what is signed, eligible and proven"
    WHOLE = "is never left without a whole version or the declared safe mode"
    FLOORS = "accepts nothing older than it accepted before"
    JOURNAL = "keeps a journal that is whole"
    REPORTS = "reports everything, once, and nothing else"


@dataclass(frozen=True)
class Broken:
    """A promise that did not hold.

    Attributes:
        promise: which.
        device: of whom.
        at: when, in seconds of the world's time.
        text: what was found.
        story: the device's events until then, a line each.
    """

    promise: Promise
    device: str
    at: float
    text: str
    story: tuple[str, ...]


@dataclass
class _Watched:
    """What is known of one device.

    Attributes:
        last: the newest event that was looked at.
        previous: its hash.
        passed: the releases whose self-test it passed.
        floors: what it had accepted.
        stood: whether what stands could be read since it was started.
    """

    last: int = 0
    passed: set[str] = field(default_factory=set)
    floors: Floors | None = None
    boots: int = 0
    stood: bool = False


@dataclass(eq=False)
class Promises:
    """Watches over one world.

    Attributes:
        world: the world; :meth:`look` is to be called after every turn of a device.
        broken: what did not hold, each promise of each device once.
        looks: how often it looked.
    """

    world: World
    broken: list[Broken] = field(default_factory=list)
    looks: int = 0
    _watched: dict[str, _Watched] = field(default_factory=dict)
    _taken_away: dict[str, int] = field(default_factory=dict)
    _told: set[tuple[str, Promise]] = field(default_factory=set)

    def took_away(self, release: str) -> None:
        """Clinical has just published that this release may not be used any more."""
        self._taken_away[release] = self.world.offices.clinical.version

    def look(self, device: PlayedDevice) -> None:
        """Hold one device to all of them, right after its turn."""
        self.looks += 1
        watched = self._watched.setdefault(device.name, _Watched())
        if watched.boots != device.clock.boots:
            watched.boots, watched.stood = device.clock.boots, False
        self._look_at_events(device, watched)
        self._look_at_floors(device, watched)
        self._look_at_standing(device, watched)

    def close(self, devices: Iterable[PlayedDevice], *, drained: bool) -> None:
        """Hold every device to what can only be seen at the end.

        Args:
            devices: the devices, switched on.
            drained: whether they had the time and the network to report everything.
        """
        for device in devices:
            self._look_at_reports(device, drained=drained)
            self._look_at_history(device)

    # One promise after the other

    def _look_at_events(self, device: PlayedDevice, watched: _Watched) -> None:
        journal = None if device.supervisor is None else device.supervisor.journal
        if journal is None:
            return
        for line in journal.events(after=watched.last):
            event: dict[str, Any] = json.loads(line)
            number = int(event["sequence"])
            if watched.last and number != watched.last + 1:
                self._break(Promise.JOURNAL, device, f"{number} follows {watched.last}")
            watched.last = number
            if event["type"] == _PASSED:
                watched.passed.add(str(event.get("subject")))
        if journal.last_sequence() < watched.last:
            self._break(Promise.JOURNAL, device, f"event {watched.last} is gone")

    def _look_at_floors(self, device: PlayedDevice, watched: _Watched) -> None:
        floors = read_floors(device.layout.floors)
        before, watched.floors = watched.floors, floors or watched.floors
        if floors is None or before is None:
            return
        for authority, versions in before.trust.items():
            for role, version in versions.items():
                now = floors.trust.get(authority, {}).get(role, 0)
                if now < version:
                    self._break(
                        Promise.FLOORS, device, f"{authority} {role}: {version}, then {now}"
                    )
        for name in ("counter", "context", "trust_map", "first_unused"):
            if getattr(floors, name) < getattr(before, name):
                self._break(Promise.FLOORS, device, f"{name} fell to {getattr(floors, name)}")

    def _look_at_standing(self, device: PlayedDevice, watched: _Watched) -> None:
        try:
            found = open_active(device.layout.root)
        except StandingError as error:
            if watched.stood:
                self._break(Promise.WHOLE, device, str(error))
            return
        watched.stood = True
        if isinstance(found, ActiveRelease):
            why = self._why_not(found, device, watched)
            if why:
                self._break(Promise.ALLOWED, device, f"{found.version} runs: {why}")

    def _why_not(self, found: ActiveRelease, device: PlayedDevice, watched: _Watched) -> str:
        """Why this release must not be served here now; empty where it may."""
        offices = self.world.offices
        if found.release not in offices.releases.values():
            return "engineering never signed it"
        name = f"{found.component} {found.version}"
        if name not in watched.passed:
            return "this device never passed its self-test"
        known = [item for item in offices.entries if item["release"]["sha256"] == found.release]
        if not known:
            return "clinical never listed it"
        if not any(item["status"] == "eligible" for item in known):
            since = self._taken_away.get(found.release, 0)
            if _heard(watched.floors) >= since and not device.entrance.episodes():
                return "it was withdrawn, and the device has heard of it"
        return ""

    def _look_at_reports(self, device: PlayedDevice, *, drained: bool) -> None:
        own = device.history()
        received = device.received_lines()
        invented = set(received) - set(own)
        if invented:
            self._break(Promise.REPORTS, device, f"{len(invented)} events it never wrote")
        order = [number for number, line in enumerate(own) if line in set(received)]
        first = list(dict.fromkeys(received))
        if [own[number] for number in order] != first:
            self._break(Promise.REPORTS, device, "the receiver has them in another order")
        if drained and len(first) < len(own):
            self._break(Promise.REPORTS, device, f"{len(own) - len(first)} were never received")

    def _look_at_history(self, device: PlayedDevice) -> None:
        try:
            key = read_public(device.layout.device_public)
            report = check_history(device.exported(), device_key=key)
        except PrimumError as error:
            self._break(Promise.JOURNAL, device, error.for_people())
            return
        for gap in report.gaps:
            self._break(Promise.JOURNAL, device, str(gap))

    def _break(self, promise: Promise, device: PlayedDevice, text: str) -> None:
        if (device.name, promise) in self._told:
            return
        self._told.add((device.name, promise))
        story = tuple(_one_line(line) for line in device.history())
        at = self.world.time.seconds
        self.broken.append(Broken(promise, device.name, at, text, story))


def _heard(floors: Floors | None) -> int:
    """The newest version that a device accepted of what clinical publishes."""
    trust = {} if floors is None else floors.trust.get(_CLINICAL, {})
    # The floor of a role belongs to a set of keys, which follows its name.
    return max((trust[role] for role in trust if role.startswith("timestamp")), default=0)


def _one_line(line: bytes) -> str:
    event: dict[str, Any] = json.loads(line)
    reasons = ", ".join(event["data"].get("reasons", ()))
    kind = event["type"].removeprefix("primum.device.")
    return " ".join(filter(None, (event["time"], kind, event.get("subject", ""), reasons)))
