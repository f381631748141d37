"""Plays a scenario: makes its world, lets happen what it says, and holds it to what is expected."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from primum_device_sim.scenario import (
    ClockFault,
    Cut,
    Episode,
    Event,
    Health,
    Network,
    Power,
    Refresh,
    Release,
    Scenario,
    Server,
    Withdraw,
    seconds_of,
)
from primum_device_sim.scenario import Kind as Asked
from primum_device_sim.world.device import Kind, PlayedDevice
from primum_device_sim.world.faults import Frozen, Refuses, SpoilsFiles
from primum_device_sim.world.promises import Broken, Promises
from primum_device_sim.world.world import World
from primum_verifier.shell.bench import Bench, ConfinedBench
from primum_verifier.shell.fetching import Fetcher

STEPS = 50
"""How often a long play says how far it is."""

_LAST_HOUR = 3600.0

Progress = Callable[[float, float], None]
"""Told how far the world is and how far it goes, in seconds of its time."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a scenario.

    Attributes:
        scenario: what was played.
        seed: what everything followed from.
        seconds: how long the play took, on this machine.
        turns: turns of supervisors.
        looks: how often every promise was looked at.
        self_tests: self-tests that were run, and how many devices shared one of them.
        requests: requests of devices, and bytes that came over their links.
        runs: how many devices ended with which version.
        kinds: how many events of each kind were reported.
        reasons: how many events named which reason.
        broken: promises that did not hold.
        unmet: expectations of the scenario that were not met, in words.
        logs: the journal of each device, its lines in order.
        adopted: when devices came to stand on a version, in seconds of the world's time.
    """

    scenario: Scenario
    seed: str
    seconds: float
    turns: int
    looks: int
    self_tests: tuple[int, int]
    requests: tuple[int, int]
    runs: dict[str, int]
    kinds: dict[str, int]
    reasons: dict[str, int]
    broken: tuple[Broken, ...]
    unmet: tuple[str, ...]
    logs: dict[str, tuple[bytes, ...]] = field(repr=False)
    adopted: tuple[tuple[float, str], ...] = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether every promise held and every expectation was met."""
        return not self.broken and not self.unmet


def play(
    scenario: Scenario,
    folder: Path,
    *,
    seed: str = "",
    bench: Bench | None = None,
    tell: Progress = lambda _done, _whole: None,
) -> Outcome:
    """Play one scenario to its end.

    Args:
        scenario: what is played.
        folder: an empty folder; the devices' disks.
        seed: another seed than the scenario's own.
        bench: runs each self-test that was not run before; the confined one where none is given.
        tell: told how far it is.
    """
    stage = _Stage(scenario, folder, seed=seed or scenario.seed, bench=bench or ConfinedBench())
    began = time.monotonic()
    whole = seconds_of(scenario.lasts)
    for step in range(1, STEPS + 1):
        stage.world.run(whole * step / STEPS)
        tell(whole * step / STEPS, whole)
    return stage.conclude(seconds=time.monotonic() - began)


class _Stage:
    """A world on which a scenario is played."""

    def __init__(self, scenario: Scenario, folder: Path, *, seed: str, bench: Bench) -> None:
        self.scenario, self.seed = scenario, seed
        self.world = World(folder, seed, bench=bench, after=self._after)
        self.promises = Promises(self.world)
        self._draw = random.Random(f"{seed} who")  # noqa: S311 - the same again is the purpose
        self._counter = 0
        self._adopted: list[tuple[float, str]] = []
        self._runs: dict[str, str] = {}
        self._kind_of: dict[str, str] = {}
        for kind in scenario.fleet:
            self._add(kind)
        for event in scenario.events:
            self.world.at(seconds_of(event.at), partial(self._happen, event))

    def _add(self, asked: Asked) -> None:
        kind = Kind(
            hardware=asked.hardware,
            poll_seconds=seconds_of(asked.poll),
            report_seconds=seconds_of(asked.report),
            test_seconds=seconds_of(asked.self_test),
        )
        within, digits = seconds_of(asked.starts_within), len(str(asked.devices))
        for number in range(1, asked.devices + 1):
            device = self.world.add_device(f"{asked.name}-{number:0{digits}}", kind=kind)
            device.link.latency = seconds_of(asked.latency)
            device.link.rate = asked.bytes_per_second
            self._kind_of[device.name] = asked.name
            self.world.at(within * self._draw.random(), partial(self.world.switch_on, device))

    def _after(self, device: PlayedDevice) -> None:
        self.promises.look(device)
        runs = device.application.seen[-1] if device.application.seen else "nothing"
        if self._runs.get(device.name) != runs:
            self._runs[device.name] = runs
            self._adopted.append((self.world.time.seconds, runs))

    # What happens

    def _meant(self, event: Event) -> Sequence[PlayedDevice]:
        """The devices that something happens to."""
        every = [
            device
            for device in self.world.devices.values()
            if event.of in {"", self._kind_of[device.name]}
        ]
        if event.share >= 1.0:
            return every
        return self._draw.sample(every, round(len(every) * event.share))

    def _happen(self, event: Event) -> None:
        match event:
            case Release() | Withdraw() | Refresh():
                self._say(event)
            case Server():
                self.world.front.server = self._server(event)
            case _:
                for device in self._meant(event):
                    self._to(device, event)

    def _say(self, event: Release | Withdraw | Refresh) -> None:
        offices = self.world.offices
        match event:
            case Release():
                self._counter += 1
                self.world.publish(
                    lambda: offices.release(
                        event.version,
                        counter=self._counter,
                        scale=event.scale,
                        approved_by=tuple(offices.people) if event.approved else (),
                        health_window=event.health_window,
                        max_attempts=event.max_attempts,
                    )
                )
            case Withdraw():
                self.world.publish(lambda: offices.withdraw(event.version))
                self.promises.took_away(offices.releases[event.version])
            case Refresh():
                self.world.publish(offices.sign_again)

    def _server(self, event: Server) -> Fetcher:
        honest = self.world.honest
        match event.acts:
            case "frozen":
                return Frozen(honest)
            case "spoils-files":
                return SpoilsFiles(honest)
            case "refuses":
                return Refuses()
            case _:
                return honest

    def _to(self, device: PlayedDevice, event: Event) -> None:
        world = self.world
        match event:
            case Network():
                device.link.up = event.up
                if event.latency is not None:
                    device.link.latency = seconds_of(event.latency)
                device.link.rate = event.bytes_per_second or device.link.rate
                world.wake(device.name)
            case Power(on=True):
                world.switch_on(device)
            case Power():
                world.switch_off(device)
            case Cut():
                device.cut_at = event.point
                back = world.time.seconds + seconds_of(event.back_after)
                world.at(back, partial(world.switch_on, device))
            case ClockFault():
                clock = device.clock
                clock.offset, clock.drift, clock.grade = event.offset, event.drift, event.quality
            case Health():
                refused = frozenset(event.not_with)
                device.application.healthy = partial(_is_not_in, refused)
            case Episode():
                request = "episode-begin" if event.begins else "episode-end"
                device.entrance.ask({"do": request})
                world.wake(device.name)
            case _:
                raise AssertionError(event)

    # What came of it

    def conclude(self, *, seconds: float) -> Outcome:
        """Switch on who is off, hold everything to the promises, and count."""
        world, devices = self.world, list(self.world.devices.values())
        on = [device for device in devices if device.is_on]
        self.promises.close(on, drained=self.scenario.expect.reported)
        logs = {device.name: tuple(device.history()) for device in on}
        kinds: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        for lines in logs.values():
            for line in lines:
                event = json.loads(line)
                kinds[event["type"].removeprefix("primum.device.")] += 1
                reasons.update(event["data"].get("reasons", ()))
        runs = Counter(self._runs.get(device.name, "nothing") for device in devices)
        links = [device.link for device in devices]
        return Outcome(
            scenario=self.scenario,
            seed=self.seed,
            seconds=seconds,
            turns=world.turns,
            looks=self.promises.looks,
            self_tests=(world.runs.run, world.runs.shared),
            requests=(sum(link.requests for link in links), sum(link.received for link in links)),
            runs=dict(sorted(runs.items())),
            kinds=dict(sorted(kinds.items())),
            reasons=dict(sorted(reasons.items())),
            broken=tuple(self.promises.broken),
            unmet=tuple(self._unmet(runs, kinds, off=len(devices) - len(on))),
            logs=logs,
            adopted=tuple(self._adopted),
        )

    def _unmet(self, runs: Counter[str], kinds: Counter[str], *, off: int) -> list[str]:
        expect, unmet = self.scenario.expect, []
        if off:
            unmet.append(f"{off} devices are off at the end")
        if expect.runs and dict(runs) != dict(expect.runs):
            unmet.append(f"devices end with {dict(runs)}, expected {dict(expect.runs)}")
        unmet += [f"no device reported {kind}" for kind in expect.seen if not kinds[kind]]
        unmet += [f"{kinds[kind]} times {kind}" for kind in expect.never if kinds[kind]]
        return unmet


def _is_not_in(refused: frozenset[str], version: str) -> bool:
    return version not in refused
