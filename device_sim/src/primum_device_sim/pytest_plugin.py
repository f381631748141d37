"""Fixtures for an integrator's own tests: authorities, a device, a fleet, scenarios, a broker.

In a ``conftest.py``::

    pytest_plugins = ["primum_device_sim.pytest_plugin"]

Everything is real but time, network, power and sensors; what follows from chance follows from the
name of the test, so that a test that failed fails again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from primum_device_sim.authorities.provisioning import Provisioning
from primum_device_sim.broker import BrokerHandle, find_broker, running_broker
from primum_device_sim.outcome_text import told
from primum_device_sim.playing import Outcome, play
from primum_device_sim.scenario import load_scenario
from primum_device_sim.scenario_commands import disks_in_memory
from primum_device_sim.world.device import Kind, PlayedDevice
from primum_device_sim.world.promises import Broken, Promises
from primum_device_sim.world.world import World

FIRST = "1.0.0"
"""The release that every device of a fleet runs when a test begins."""

_SETTLED = 2 * 3600.0


class Fleet:
    """Devices that run the first release, and the world that they live in.

    Args:
        folder: an empty folder.
        seed: what everything follows from.
        devices: how many there are.
        kind: what they are.

    Attributes:
        world: their world: its time, its authorities, what happens when.
        promises: what is watched after every turn of a device.
    """

    def __init__(self, folder: Path, *, seed: str, devices: int, kind: Kind | None) -> None:
        self.world = World(folder, seed)
        self.promises = Promises(self.world)
        self.world.after = self.promises.look
        self._counter = 0
        for number in range(1, devices + 1):
            device = self.world.add_device(f"device-{number:0{len(str(devices))}}", kind=kind)
            self.world.at(60.0 * number, partial(self.world.switch_on, device))
        self.release(FIRST)
        self.after(_SETTLED + 60.0 * devices)

    @property
    def devices(self) -> list[PlayedDevice]:
        """Every device, in order."""
        return list(self.world.devices.values())

    @property
    def offices(self) -> Provisioning:
        """Both authorities and the people who approve."""
        return self.world.offices

    @property
    def broken(self) -> list[Broken]:
        """The promises that did not hold so far."""
        return self.promises.broken

    def release(self, version: str, *, scale: float = 1.0, health_window: int = 30) -> None:
        """Sign, approve, list and give a release to every device; see :class:`Provisioning`."""
        self._counter += 1
        self.world.publish(
            lambda: self.offices.release(
                version, counter=self._counter, scale=scale, health_window=health_window
            )
        )

    def withdraw(self, version: str) -> None:
        """Let clinical take a release away."""
        self.world.publish(lambda: self.offices.withdraw(version))
        self.promises.took_away(self.offices.releases[version])

    def after(self, seconds: float) -> None:
        """Let so much time pass."""
        self.world.run(self.world.time.seconds + seconds)

    def runs(self) -> list[str]:
        """What each device's application runs: a version, or ``safe``."""
        return [device.application.seen[-1] for device in self.devices if device.application.seen]


@pytest.fixture
def fleet(request: pytest.FixtureRequest) -> Iterator[Callable[..., Fleet]]:
    """Makes a fleet: ``fleet(devices=3, kind=None)``; its promises are held to at the end."""
    with TemporaryDirectory(prefix="primum-world-", dir=disks_in_memory()) as folder:
        made: list[Fleet] = []

        def make(devices: int = 3, kind: Kind | None = None) -> Fleet:
            place = Path(folder) / str(len(made))
            one = Fleet(place, seed=request.node.nodeid, devices=devices, kind=kind)
            made.append(one)
            return one

        yield make
        for one in made:
            one.promises.close([item for item in one.devices if item.is_on], drained=False)
            _hold([f"{item.device}: {item.promise}: {item.text}" for item in one.broken])


@pytest.fixture
def device(fleet: Callable[..., Fleet]) -> PlayedDevice:
    """One device that runs the first release."""
    (one,) = fleet(devices=1).devices
    return one


@pytest.fixture
def authorities(tmp_path: Path) -> Provisioning:
    """Engineering and clinical as plain folders, and the people who approve; nothing released."""
    return Provisioning(tmp_path / "authorities")


@pytest.fixture
def scenario(tmp_path: Path) -> Callable[..., Outcome]:
    """Plays a scenario of the library or of a file, and holds it to what it expects."""
    count = iter(range(1000))

    def run(name: str, *, seed: str = "") -> Outcome:
        outcome = play(load_scenario(name), tmp_path / f"scenario-{next(count)}", seed=seed)
        _hold([] if outcome.ok else told(outcome))
        return outcome

    return run


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerHandle]:
    """A real MQTT 5 broker on the loopback address, for as long as the test runs."""
    with running_broker(find_broker(), tmp_path / "broker") as handle:
        yield handle


def _hold(found: Sequence[str]) -> None:
    """Fail the test with what did not hold."""
    if found:
        pytest.fail("\n".join(found), pytrace=False)
