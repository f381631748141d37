"""A played device: the real supervisor and the real attempts over ports of the world."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from securesystemslib.signer import SSlibKey

from primum_agent.attempt import attempt_to_code
from primum_agent.broker_requests import Asked
from primum_agent.children import Task
from primum_agent.content_store import FolderStore
from primum_agent.device import Ports
from primum_agent.drawing import DrawId, ids_from
from primum_agent.fail_points import Point, power_from
from primum_agent.installer import SetInstaller
from primum_agent.installers import component_installers
from primum_agent.layout import Layout
from primum_agent.pauses import Pauses
from primum_agent.reporter import Reporter
from primum_agent.sensors import Readings
from primum_agent.settings import Settings, read_settings
from primum_agent.sign_head import sign_newest
from primum_agent.signer import open_or_recorded
from primum_agent.supervisor import Supervisor
from primum_device_sim.authorities.documents import COMPONENT
from primum_device_sim.authorities.origin import ids_of, key_of
from primum_device_sim.authorities.provisioning import PLACEMENT, Provisioning
from primum_device_sim.world.application import PlayedApplication
from primum_device_sim.world.bench import PlayedBench, SharedRuns
from primum_device_sim.world.broker import PlayedBroker
from primum_device_sim.world.children import PlayedChildren
from primum_device_sim.world.clock import DeviceClock
from primum_device_sim.world.draws import draws_of
from primum_device_sim.world.entrance import PlayedEntrance
from primum_device_sim.world.network import Link, PlayedFetcher, PlayedGlance
from primum_verifier.core.envelope import public_key_of
from primum_verifier.shell.fetching import Fetcher

FLEET = "world"
SYSTEM = "primum-world 1"
KEY_MODE = 0o600
_TAKE_RECEIPTS_DONE = 0


class PowerCut(BaseException):
    """The power of a device failed; nothing of the agent may catch it."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What devices of one kind have in common.

    Attributes:
        hardware: the kind of hardware, as releases name it.
        poll_seconds: between two polls.
        poll_jitter: the share by which that varies.
        report_seconds: between two reports of health.
        test_seconds: how long a self-test takes.
        placement: where the device is, as its signed context says it.
    """

    hardware: str = "cardiowear-2"
    poll_seconds: float = 3600.0
    poll_jitter: float = 0.2
    report_seconds: float = 900.0
    test_seconds: float = 2.0
    placement: tuple[tuple[str, str], ...] = tuple(PLACEMENT.items())


@dataclass
class Battery:
    """What a device's sensors say of its power.

    Attributes:
        percent: what is left.
        charging: whether a charger is connected.
    """

    percent: float = 80.0
    charging: bool = False


@dataclass(eq=False)
class PlayedDevice:
    """One device of a world.

    Args:
        name: its id.
        folder: where its state and its provisioning lie.
        clock: its clock.
        server: who answers at the authorities' addresses.
        runs: the self-tests of the world.
        seed: what its key, its ids and its jitter follow from.
        kind: what it is.
        rung: called when its supervisor is to look again.
    """

    name: str
    folder: Path
    clock: DeviceClock
    server: Fetcher
    runs: SharedRuns
    seed: str
    kind: Kind = field(default_factory=Kind)
    rung: Callable[[], None] = lambda: None
    link: Link = field(default_factory=Link)
    battery: Battery = field(default_factory=Battery)
    cut_at: Point | None = None
    supervisor: Supervisor | None = None
    application: PlayedApplication = field(init=False)
    broker: PlayedBroker = field(init=False)
    entrance: PlayedEntrance = field(init=False)
    _ids: DrawId = field(init=False)

    def __post_init__(self) -> None:
        self.layout = Layout(self.folder / "state")
        self.provisioning = self.folder / "provisioning"
        self.entrance = PlayedEntrance(rung=self.rung)
        self.broker = PlayedBroker(link=self.link, spend=self.clock.spend)
        self.application = PlayedApplication(state=self.layout.root, ask=self.entrance.ask)
        self._ids = ids_of(f"{self.seed} {self.name} ids")
        self._draws = draws_of(f"{self.seed} {self.name} draws")

    # Before it goes out

    def provision(self, offices: Provisioning) -> None:
        """Make its key, and give it what a device is given."""
        private = key_of(f"{self.seed} {self.name} key")
        public = public_key_of(SSlibKey.from_crypto(private.public_key()))
        enrolment = {
            "deviceId": self.name,
            "hardwareId": self.kind.hardware,
            "serialNumber": self.name,
            "publicKey": public.model_dump(mode="json", by_alias=True),
        }
        root = self.layout.root
        root.mkdir(parents=True, mode=0o750)
        key = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.layout.device_key.write_bytes(key)
        self.layout.device_key.chmod(KEY_MODE)
        self.layout.device_public.write_bytes(public.to_bytes())
        self.layout.enrolment.write_text(json.dumps(enrolment))
        self.provisioning.mkdir()
        files = {
            "device-context.dsse.json": offices.context(
                enrolment,
                placement=dict(self.kind.placement),
                deviceId=self.name,
                hardwareId=self.kind.hardware,
            ),
            "trust-map.json": offices.trust_map(1),
            "engineering.root.json": offices.engineering.root,
            "clinical.root.json": offices.clinical.root,
            "agent.toml": self._settings().encode(),
        }
        for name, data in files.items():
            (self.provisioning / name).write_bytes(data)

    def _settings(self) -> str:
        lines = [
            'schema_version = "0.1"',
            f'device_id = "{self.name}"',
            f'component = "{COMPONENT}"',
            f'hardware_id = "{self.kind.hardware}"',
        ]
        for name in ("engineering", "clinical"):
            lines.append(f"[repositories.{name}]")
            lines += [
                f'{what}_url = "https://{name}.world/{what}/"'
                for what in ("metadata", "targets", "artifacts")
            ]
        lines += ["[timing]", f"poll_seconds = {self.kind.poll_seconds:g}"]
        lines += [f"poll_jitter = {self.kind.poll_jitter:g}"]
        lines += [f"health_seconds = {self.kind.report_seconds:g}"]
        return "\n".join(lines) + "\n"

    # Its life

    @property
    def is_on(self) -> bool:
        """Whether its agent runs."""
        return self.supervisor is not None

    def power_on(self) -> None:
        """Start the agent, as the service manager of the device does."""
        self.clock.begin_turn()
        self.clock.boot()
        shutil.rmtree(self.layout.run, ignore_errors=True)
        settings = read_settings(self.provisioning)
        self.broker = PlayedBroker(link=self.link, spend=self.clock.spend, taken=self.broker.taken)
        with self._playing():
            supervisor = Supervisor(
                settings=settings,
                layout=self.layout,
                clock=self.clock,
                reporter=self._reporter(settings),
                entrance=self.entrance,
                start=PlayedChildren(works=self._works(settings), spend=self.clock.spend),
                make_glance=self._glance,
                monotonic=self.clock.powered_seconds,
                draw=self._draws,
            )
            supervisor.begin()
        self.supervisor = supervisor

    def power_off(self) -> None:
        """Cut the power: what was not committed is gone; nobody says goodbye."""
        supervisor, self.supervisor = self.supervisor, None
        self.entrance.close()
        self.application.opened = None
        self.clock.ahead = 0.0
        if supervisor is not None and supervisor.journal is not None:
            supervisor.journal.close()

    def shut_down(self) -> None:
        """Let the agent end as a service does."""
        supervisor = self.supervisor
        if supervisor is None:
            return
        self.clock.begin_turn()
        with self._playing():
            supervisor.end()
        self.supervisor = None

    def turn(self) -> float:
        """One turn of its supervisor and a look of its application; when the next one is due.

        Returns:
            Seconds of the world's time; infinity where the power failed meanwhile.
        """
        supervisor = self.supervisor
        if supervisor is None:
            return float("inf")
        self.clock.begin_turn()
        try:
            with self._playing():
                wait = supervisor.turn()
                looks = self.application.look(self.clock.seconds())
        except PowerCut:
            self.power_off()
            return float("inf")
        # A turn takes time, however little: what is due at once is due a moment later.
        return max(self.clock.seconds() + 0.001, min(self.clock.seconds() + wait, looks))

    @contextlib.contextmanager
    def _playing(self) -> Iterator[None]:
        with ids_from(self._ids), power_from(self._pass):
            yield

    def _pass(self, point: Point) -> None:
        if point == self.cut_at:
            self.cut_at = None
            raise PowerCut

    # Its ports

    def _works(self, settings: Settings) -> dict[Task, Callable[[str], int]]:
        def attempt(reason: str) -> int:
            return attempt_to_code(
                self.provisioning,
                self.layout,
                clock=self.clock,
                reason=reason,
                make_ports=self._ports,
            )

        def sign(_: str) -> int:
            return sign_newest(
                self.layout, device_id=self.name, bounds=settings.journal, clock=self.clock
            )

        # No receiver stands on the trust map of a world, so there is nothing to take.
        return {
            Task.ATTEMPT: attempt,
            Task.SIGN_HEAD: sign,
            Task.TAKE_RECEIPTS: lambda _: _TAKE_RECEIPTS_DONE,
        }

    def _ports(self, settings: Settings, layout: Layout) -> Ports:
        store = FolderStore(layout, max_bytes=settings.store.max_bytes)
        components = component_installers(settings.components, layout=layout, store=store)
        spend = self.clock.spend
        return Ports(
            fetcher=PlayedFetcher(link=self.link, server=self.server, spend=spend),
            store=store,
            installer=SetInstaller(store, components),
            bench=PlayedBench(runs=self.runs, spend=spend, seconds=self.kind.test_seconds),
            signer=open_or_recorded(layout),
            sensors=lambda: self,
            ask=self.entrance.ask,
            operating_system=SYSTEM,
            pauses=Pauses(monotonic=self.clock.seconds, sleep=spend, draw=self._draws),
        )

    def _glance(self, wake: Callable[[], None]) -> PlayedGlance:
        return PlayedGlance(
            link=self.link,
            server=self.server,
            spend=self.clock.spend,
            wake=wake,
            now=self.clock.powered_seconds,
        )

    def _reporter(self, settings: Settings) -> Reporter:
        return Reporter(
            broker=self.broker,
            sensors=self,
            clock=self.clock,
            fleet=FLEET,
            device_id=self.name,
            health_seconds=settings.timing.health_seconds,
            generations=self.layout.generations,
            draw=self._draws,
            asked=Asked(make_word=lambda: self._ids().hex),
        )

    def read(self) -> Readings:
        """See :class:`primum_agent.sensors.Sensors`."""
        return Readings(
            uptime=self.clock.powered_seconds(),
            load=0.1,
            memory_free=100_000_000,
            disk_free=1_000_000_000,
            agent_memory=20_000_000,
            battery=self.battery.percent,
            charging=self.battery.charging,
            temperature=35.0,
        )

    # What it left

    def history(self) -> list[bytes]:
        """Every line of its journal."""
        journal = None if self.supervisor is None else self.supervisor.journal
        return [] if journal is None else list(journal.events())

    def exported(self) -> list[bytes]:
        """Its history as an export holds it: events, signed heads and what belongs to them."""
        journal = None if self.supervisor is None else self.supervisor.journal
        return [] if journal is None else list(journal.history())

    def received_lines(self) -> list[bytes]:
        """The events that the broker took of it, in the order in which they came."""
        topic = f"primum/{FLEET}/{self.name}/provenance"
        return [message.payload for message in self.broker.taken if message.topic == topic]

    def received(self) -> list[dict[str, Any]]:
        """The same, read."""
        return [json.loads(line) for line in self.received_lines()]
