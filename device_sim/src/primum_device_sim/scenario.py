"""A scenario: a fleet, what happens to it and when, and what has to come of it; a TOML file.

Times are texts such as ``"90s"``, ``"30m"``, ``"4h"`` or ``"2d"``, counted from the beginning.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from primum_agent.clock import ClockQuality
from primum_agent.fail_points import FailPoint
from primum_repo_tools.settings import parse_settings, read_settings
from primum_verifier.core.document import Document
from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason

MOST_DEVICES = 100_000
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_FORM = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)([smhd])")


def seconds_of(text: str) -> float:
    """Seconds of a time as a scenario writes it; ``"90s"``, ``"30m"``, ``"4h"``, ``"2d"``."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no time: a number and s, m, h or d")
    return float(found[1]) * _UNITS[found[2]]


def _is_time(text: str) -> str:
    seconds_of(text)
    return text


Time = Annotated[str, AfterValidator(_is_time)]
Version = Annotated[str, StringConstraints(pattern=r"^\d{1,4}\.\d{1,4}\.\d{1,4}$")]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Kind(Document):
    """Devices of one kind.

    Attributes:
        name: what they are called; their numbers are added.
        devices: how many.
        hardware: the kind of hardware, as releases name it.
        poll: between two polls.
        report: between two reports of health.
        self_test: how long a self-test takes.
        latency: how long a server takes to answer them.
        bytes_per_second: how fast their link is.
        starts_within: they are switched on one after the other within this time.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")] = "wearable"
    devices: Annotated[int, Field(ge=1, le=MOST_DEVICES)]
    hardware: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,60}$")] = (
        "cardiowear-2"
    )
    poll: Time = "1h"
    report: Time = "15m"
    self_test: Time = "2s"
    latency: Time = "0.05s"
    bytes_per_second: Annotated[float, Field(gt=0.0, le=1e10)] = 1e6
    starts_within: Time = "10m"


class _Event(Document):
    """What happens.

    Attributes:
        at: when.
        share: to which share of the devices, drawn by the seed.
        of: to devices of which kind; all where it is empty.
    """

    at: Time
    share: Share = 1.0
    of: str = ""


class Release(_Event):
    """Engineering signs a release, clinical lists it, and the plan gives it to every device.

    Attributes:
        scale: another than 1 computes something else than the reference; self-tests refuse it.
        approved: whether people approved it.
    """

    do: Literal["release"]
    version: Version
    scale: float = 1.0
    approved: bool = True
    health_window: Annotated[int, Field(ge=1, le=3600)] = 30
    max_attempts: Annotated[int, Field(ge=1, le=10)] = 3


class Withdraw(_Event):
    """Clinical takes a release away."""

    do: Literal["withdraw"]
    version: Version


class Refresh(_Event):
    """Both authorities say the same again, so that it does not grow too old."""

    do: Literal["refresh"]


class Network(_Event):
    """The link of devices comes, goes, or becomes another.

    Attributes:
        up: whether anything is reached.
    """

    do: Literal["network"]
    up: bool = True
    latency: Time | None = None
    bytes_per_second: Annotated[float, Field(gt=0.0, le=1e10)] | None = None


class Power(_Event):
    """The power of devices comes or goes."""

    do: Literal["power"]
    on: bool


class Cut(_Event):
    """The power fails when the agent comes to a point of its work next; see ``fail_points``.

    Attributes:
        point: the point.
        back_after: when the power is there again, counted from the moment of the event.
    """

    do: Literal["cut"]
    point: Annotated[FailPoint, Field(strict=False)]
    back_after: Time = "2h"


class ClockFault(_Event):
    """The clock of devices is wrong from now on."""

    do: Literal["clock"]
    offset: float = 0.0
    drift: float = 0.0
    quality: Annotated[ClockQuality, Field(strict=False)] = ClockQuality.SYNCHRONISED


class Health(_Event):
    """Which versions the application of devices can work with from now on.

    Attributes:
        not_with: with these it never proves health.
    """

    do: Literal["health"]
    not_with: tuple[Version, ...] = ()


class Episode(_Event):
    """A patient is being served from now on, or no more."""

    do: Literal["episode"]
    begins: bool


class Server(_Event):
    """What answers at the addresses of the authorities from now on.

    Attributes:
        acts: ``honest``; ``frozen`` goes on serving what is there now; ``spoils-files`` changes a
            byte of every artifact; ``refuses`` answers nothing.
    """

    do: Literal["server"]
    acts: Literal["honest", "frozen", "spoils-files", "refuses"]


Event = Annotated[
    Release | Withdraw | Refresh | Network | Power | Cut | ClockFault | Health | Episode | Server,
    Field(discriminator="do"),
]


class Expect(Document):
    """What has to come of it, besides the promises.

    Attributes:
        runs: how many devices end with which version; ``safe`` for safe mode.
        seen: kinds of events that some device has to report.
        never: kinds of events that no device may report.
        reported: whether every event has to have been received at the end.
    """

    runs: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    seen: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    reported: bool = True


class Scenario(Document):
    """One scenario.

    Attributes:
        title: one line.
        about: what it is for, and what is promised.
        covers: the dangers that it is about, by their ids.
        lasts: how long the world goes on.
        seed: what everything follows from where the caller says nothing else.
        fleet: the devices.
        events: what happens.
        expect: what has to come of it.
    """

    title: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    about: Annotated[str, StringConstraints(max_length=2000)] = ""
    covers: tuple[str, ...] = ()
    lasts: Time
    seed: str = "1"
    fleet: Annotated[tuple[Kind, ...], Field(min_length=1)]
    events: tuple[Event, ...]
    expect: Expect = Field(default_factory=Expect)

    @property
    def devices(self) -> int:
        """How many there are."""
        return sum(kind.devices for kind in self.fleet)


_LIBRARY = resources.files("primum_device_sim") / "scenarios"


def known_scenarios() -> Sequence[str]:
    """The names of the scenarios that come with the simulator, in order."""
    return sorted(
        item.name.removesuffix(".toml")
        for item in _LIBRARY.iterdir()
        if item.name.endswith(".toml")
    )


def load_scenario(name: str) -> Scenario:
    """A scenario that comes with the simulator, or one of a file.

    Args:
        name: one of :func:`known_scenarios`, or the path of a file that ends with ``.toml``.

    Raises:
        UsageError: there is none, or it is not one.
    """
    if name.endswith(".toml"):
        return read_settings(Scenario, Path(name), what="scenario")
    if name not in known_scenarios():
        raise UsageError(
            "There is no scenario of this name.",
            reason=Reason.USAGE,
            where=name,
            expected="one of `primum-sim list`, or a file that ends with .toml",
            remedy="See `primum-sim list`.",
        )
    return parse_settings(Scenario, (_LIBRARY / f"{name}.toml").read_bytes(), where=name)
