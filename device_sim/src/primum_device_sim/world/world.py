"""A world: its time, its authorities, its devices, and what happens to them, in order.

One event after the other, each at its time; where two are due at once, the one that was asked for
first.  Nothing but the seed and the schedule decides what happens.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from primum_device_sim.authorities.origin import Origin, seeded
from primum_device_sim.authorities.provisioning import Provisioning
from primum_device_sim.world.bench import SharedRuns
from primum_device_sim.world.clock import DeviceClock, WorldTime
from primum_device_sim.world.device import Kind, PlayedDevice
from primum_device_sim.world.faults import Front
from primum_device_sim.world.server import WorldServer
from primum_verifier.shell.bench import Bench, ConfinedBench

START = datetime(2026, 9, 1, 8, tzinfo=UTC)

Act = Callable[[], None]
After = Callable[[PlayedDevice], None]


@dataclass(order=True)
class _Due:
    at: float
    order: int
    act: Act = field(compare=False)


@dataclass(eq=False)
class World:
    """One world.

    Args:
        folder: an empty folder; everything lies below it.
        seed: what everything follows from.
        start: when it begins.
        bench: what runs a self-test that no device of this world ran before.
        after: called after every turn of a device; who watches over promises watches here.
    """

    folder: Path
    seed: str
    start: datetime = START
    bench: Bench = field(default_factory=ConfinedBench)
    after: After = lambda _: None
    devices: dict[str, PlayedDevice] = field(default_factory=dict)
    turns: int = 0
    _due: list[_Due] = field(default_factory=list)
    _order: itertools.count[int] = field(default_factory=itertools.count)
    _next: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.time = WorldTime(self.start)
        self.origin: Origin = seeded(self.seed, now=self.time.now)
        self.offices = Provisioning(self.folder / "authorities", origin=self.origin)
        self.runs = SharedRuns(self.bench)
        web = {"engineering": self.offices.engineering.web, "clinical": self.offices.clinical.web}
        self.honest = WorldServer(
            {f"https://{name}.world/": folder for name, folder in web.items()}
        )
        self.front = Front(self.honest)

    # What is in it

    def add_device(self, name: str, *, kind: Kind | None = None) -> PlayedDevice:
        """One more device, provisioned and switched off."""
        device = PlayedDevice(
            name=name,
            folder=self.folder / "devices" / name,
            clock=DeviceClock(self.time, name),
            server=self.front,
            runs=self.runs,
            seed=self.seed,
            kind=kind or Kind(),
            rung=lambda: self.wake(name),
        )
        device.provision(self.offices)
        self.devices[name] = device
        return device

    def publish(self, act: Callable[[], object]) -> None:
        """Let the authorities sign and lay out something; who asks from now on gets it."""
        act()
        self.honest.forget()

    # What happens

    def at(self, seconds: float, act: Act) -> None:
        """Let something happen at a time of the world."""
        heapq.heappush(self._due, _Due(max(seconds, self.time.seconds), next(self._order), act))

    def switch_on(self, device: PlayedDevice) -> None:
        """Let a device start now."""
        if not device.is_on:
            device.power_on()
            self._plan(device, device.clock.seconds())

    def switch_off(self, device: PlayedDevice) -> None:
        """Cut a device's power now."""
        self._next.pop(device.name, None)
        device.power_off()

    def wake(self, name: str) -> None:
        """Let a device look again now, or as soon as its work is done."""
        device = self.devices.get(name)
        if device is not None and device.is_on:
            self._plan(device, device.clock.seconds())

    def run(self, until: float) -> None:
        """Let the world go on until a time, in seconds since it began."""
        while self._due and self._due[0].at <= until:
            due = heapq.heappop(self._due)
            self.time.seconds = max(self.time.seconds, due.at)
            due.act()
        self.time.seconds = max(self.time.seconds, until)

    def _plan(self, device: PlayedDevice, at: float) -> None:
        known = self._next.get(device.name)
        if known is not None and known <= at:
            return
        self._next[device.name] = at
        self.at(at, partial(self._turn, device, at))

    def _turn(self, device: PlayedDevice, at: float) -> None:
        if self._next.get(device.name) != at or not device.is_on:
            # It was woken earlier, or switched off.
            return
        busy = device.clock.busy_until
        if busy > self.time.seconds:
            del self._next[device.name]
            self._plan(device, busy)
            return
        del self._next[device.name]
        self.turns += 1
        following = device.turn()
        self.after(device)
        if following != float("inf"):
            self._plan(device, following)
