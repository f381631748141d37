"""Devices, a broker and a receiver as they are in the field, all of them real processes."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from tests.campaigns.soak_network import Namespace
from tests.campaigns.soak_relay import Relay
from tests.unit.agent.field import AGENT, Field
from tests.unit.agent.secure_broker import Authority, SecureBroker
from tests.unit.agent.waiting import wait_for
from tests.unit.repo_tools.fleet.receivers import COMMAND

from primum_agent.clock import SystemClock
from primum_agent.events import Entry, EventKind
from primum_agent.journal import Journal
from primum_agent.layout import Layout
from primum_device_sim.authorities.documents import DEVICE
from primum_verifier.core.envelope import PublicKey
from primum_verifier.core.errors import EXIT_BUSY, EXIT_DONE, EXIT_FAILED, PrimumError

FLEET = "soak"
STATE_MIB = 48
"""The disk of a device that can be filled."""

_SETTINGS = """\
[journal]
keep_events = 1000000
"""


class EndedError(RuntimeError):
    """A process that should run has ended by itself."""


class SoakDevice(Field):
    """One device: a real supervisor that is started and killed.

    Args:
        folder: its own.
        number: its number in the fleet.
        authority: signs its certificate.
        broker: where its reports go, through a relay of its own.
        namespace: where it runs; None for this machine's own network.
        small_disk: whether its state lies on a disk of its own, which can be filled.
        undo: what is made here is taken away by it.

    Attributes:
        remarks: how many remarks the command said were recorded.
    """

    def __init__(
        self,
        folder: Path,
        *,
        number: int,
        authority: Authority,
        broker: SecureBroker,
        namespace: Namespace | None,
        small_disk: bool,
        undo: ExitStack,
    ) -> None:
        folder.mkdir(parents=True)
        super().__init__(folder)
        self.name = f"soak-{number:03}"
        self.namespace = namespace
        self.small_disk = small_disk
        if small_disk:
            self.state.mkdir()
            options = f"size={STATE_MIB}m,mode=700"
            words = ["mount", "-t", "tmpfs", "-o", options, "soak", str(self.state)]
            subprocess.run(words, check=True)
            undo.callback(subprocess.run, ["umount", "-l", str(self.state)], check=False)
        host = "127.0.0.1" if namespace is None else namespace.here
        self.relay = Relay(host, broker.port)
        undo.callback(self.relay.close)
        self._provision(authority, f"mqtts://{host}:{self.relay.port}")
        self.process: subprocess.Popen[bytes] | None = None
        self.application: subprocess.Popen[bytes] | None = None
        undo.callback(self.kill)
        undo.callback(self.end_application)
        self.lock = threading.RLock()
        self.version = 0
        self.refused = 0
        self.remarks = 0

    def _provision(self, authority: Authority, uri: str) -> None:
        output = self.folder / "enrolment.json"
        names = ["--device-id", self.name, "--hardware-id", "cardiowear-2", "--output", output]
        done = self.agent("enroll", *names)
        assert done.returncode == 0, done.stderr
        self.enrolment = output
        enrolment = json.loads(output.read_text())
        self.device_key = PublicKey.model_validate(enrolment["publicKey"])
        self.provisioning.mkdir()
        self.write("device-context.dsse.json", self.context(enrolment, deviceId=self.name))
        self.write("engineering.root.json", self.engineering.root)
        self.write("clinical.root.json", self.clinical.root)
        self.write("trust-map.json", self.trust_map(1))
        text = self.settings(12, 1).replace(f'"{DEVICE}"', f'"{self.name}"')
        told = f'addresses = ["{uri}"]\nca_file = "broker-ca.pem"'
        text = text.replace('addresses = ["mqtt://127.0.0.1:1"]', told)
        text = text.replace('fleet = "demo"', f'fleet = "{FLEET}"')
        text = text.replace("poll_jitter = 0.0", "poll_jitter = 0.2\nhealth_seconds = 5.0")
        self.write("agent.toml", (text + _SETTINGS).encode())
        self.write("broker-ca.pem", authority.file.read_bytes())
        authority.renew(Layout(self.state), self.name)

    def start(self) -> None:
        before = [] if self.namespace is None else self.namespace.command
        log = (self.folder / "supervisor.log").open("ab")
        with log:
            self.process = subprocess.Popen([*before, *AGENT, "run", *self.folders], stderr=log)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it, at once or as it is asked to."""
        if self.process is not None:
            self.process.send_signal(number)
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise
        self.process = None

    def start_application(self, seed: int) -> None:
        """Let a process of the maker's serve patients on it."""
        words = [sys.executable, "-m", "tests.campaigns.soak_application", self.state, seed]
        with (self.folder / "application.log").open("ab") as log:
            self.application = subprocess.Popen(list(map(str, words)), stdout=log, stderr=log)

    def end_application(self) -> None:
        """As if it crashed, in the middle of an episode or not."""
        if self.application is not None:
            self.application.kill()
            self.application.wait(timeout=10)
        self.application = None

    @property
    def episodes(self) -> int:
        """How many episodes began on it."""
        path = self.folder / "application.log"
        return len(path.read_text().splitlines()) if path.is_file() else 0

    def look_after(self) -> None:
        """Start it again where it ended by itself.

        Raises:
            EndedError: it did, or its application; the log says why.
        """
        if self.application is not None and self.application.poll() is not None:
            tail = (self.folder / "application.log").read_text(errors="replace")[-600:]
            self.application = None
            raise EndedError(f"{self.name}: the application ended by itself: {tail}")
        process = self.process
        if process is not None and process.poll() is not None:
            self.start()
            tail = (self.folder / "supervisor.log").read_text(errors="replace")[-600:]
            raise EndedError(
                f"{self.name}: the supervisor ended by itself ({process.returncode}): {tail}"
            )

    # What happens on it

    def happen(self, count: int, *, size: int = 0) -> int:
        """Events of another process on the device; how many the disk took."""
        try:
            journal = Journal.open(self.layout, clock=SystemClock(), device_id=self.name)
        except PrimumError:
            self.refused += count
            return 0
        taken = 0
        for _ in range(count):
            entry = Entry(
                kind=EventKind.ATTEMPT_FAILED, result="failed", detail={"soak": "x" * size}
            )
            try:
                journal.record(entry)
                taken += 1
            except PrimumError:
                self.refused += 1
        journal.close()
        return taken

    def update(self) -> None:
        """The next release comes out."""
        self.version += 1
        self.release(f"1.{self.version}.0", counter=self.version)

    def remark(self, text: str) -> None:
        """Somebody at the device remarks something about it.

        Raises:
            EndedError: the command ended as no command should.
        """
        said = ["--role", "clinician", "--category", "usability", "--severity", "no-harm"]
        done = self.agent("feedback", *said, "--text", text)
        self.remarks += done.returncode == EXIT_DONE
        if done.returncode not in {EXIT_DONE, EXIT_FAILED, EXIT_BUSY} or "Traceback" in done.stderr:
            raise EndedError(f"{self.name}: feedback ended with {done.returncode}: {done.stderr}")

    def prove(self) -> bool:
        """The application proves the health of what runs."""
        with suppress(Exception):
            release = self.opened()
            return release is not None and release.prove_health()
        return False

    def lines(self) -> list[bytes]:
        journal = self.journal()
        try:
            return list(journal.events())
        finally:
            journal.close()

    def waiting(self) -> tuple[int, int]:
        """How many events there are, and how many wait."""
        try:
            journal = self.journal()
            try:
                return journal.last_sequence(), journal.waiting_count()
            finally:
                journal.close()
        except PrimumError:
            return -1, -1

    def fill_disk(self) -> None:
        with suppress(OSError), (self.state / "filler").open("wb") as file:
            while True:
                file.write(bytes(2**16))
                file.flush()

    def empty_disk(self) -> None:
        (self.state / "filler").unlink(missing_ok=True)


class SoakBroker(SecureBroker):
    """A mosquitto as shipped, which is killed, and may forget all."""

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=10)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def forget(self) -> None:
        """What it kept is gone."""
        for path in self.log.parent.glob("mosquitto.db*"):
            path.unlink()


class Receiver:
    """``primum-repo fleet ingest`` as a process.

    Attributes:
        database: the address of its database.
    """

    def __init__(
        self, folder: Path, *, broker: SecureBroker, authority: Authority, database: str
    ) -> None:
        folder.mkdir()
        self._folder = folder
        self.database = database or f"sqlite:///{folder / 'fleet.db'}"
        self._broker, self._authority = broker, authority
        self._files = authority.identity("receiver")
        self.process: subprocess.Popen[bytes] | None = None
        (folder / "passphrase").write_text("of one soak")
        self._run("key", folder / "receiver.pem", "--passphrase-file", folder / "passphrase")

    def _run(self, *words: object) -> None:
        done = subprocess.run(
            [*COMMAND, *map(str, words)], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr

    def enroll(self, device: SoakDevice) -> None:
        self._run("enroll", device.enrolment, "--database", self.database, "--fleet", FLEET)

    def start(self) -> None:
        certificate, key = self._files
        words = [
            *("--broker", f"mqtts://127.0.0.1:{self._broker.port}", "--database", self.database),
            *("--fleet", FLEET, "--name", "soak", "--ca", self._authority.file, "--ask-after", 4),
            *("--certificate", certificate, "--certificate-key", key),
            *("--key", self._folder / "receiver.pem"),
            *("--passphrase-file", self._folder / "passphrase"),
        ]
        with (self._folder / "receiver.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "ingest", *map(str, words)], stdout=log, stderr=log
            )

    def look_after(self) -> None:
        """As a service manager would: one that ended is started again."""
        if self.process is not None and self.process.poll() is not None:
            self.start()

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(timeout=30)
        self.process = None

    def rows(self, device: str) -> list[tuple[int, str, bytes, int, int]]:
        """Every event that it holds of a device: number, hash, bytes, joined, proven."""
        text = (
            "SELECT sequence, hash, line, joined, proven FROM events WHERE device ="
            " (SELECT number FROM devices WHERE name = {}) ORDER BY sequence, hash"
        )
        return [
            (int(row[0]), str(row[1]), bytes(row[2]), int(row[3]), int(row[4]))
            for row in self._ask(text, device)
        ]

    def held(self, device: str) -> int:
        """How many events it holds of a device."""
        text = (
            "SELECT count(*) FROM events WHERE device ="
            " (SELECT number FROM devices WHERE name = {})"
        )
        return int(self._ask(text, device)[0][0])

    def contradictions(self) -> int:
        return int(self._ask("SELECT count(*) FROM contradictions")[0][0])

    def _ask(self, text: str, *values: str) -> list[Any]:
        if self.database.startswith("sqlite:"):
            connection = sqlite3.connect(self.database.removeprefix("sqlite:///"), timeout=30)
            try:
                return connection.execute(text.format("?"), values).fetchall()
            finally:
                connection.close()
        import psycopg

        with psycopg.connect(self.database) as session:
            return session.execute(text.format("%s"), values).fetchall()


class World:
    """All of it.

    Args:
        folder: where everything lies.
        executable: the broker's program.
        devices: how many.
        database: the receiver's; empty for a file.
        isolated: whether each device has a network namespace of its own.
        undo: takes all of it away, in the order in which that can be done; also where not all of
            it came about.
    """

    def __init__(
        self,
        folder: Path,
        *,
        executable: Path,
        devices: int,
        database: str,
        isolated: bool,
        undo: ExitStack,
    ) -> None:
        self.folder = folder
        self.authority = Authority(folder / "authority")
        spaces = [_space(number, undo) if isolated else None for number in range(devices)]
        hosts = ["127.0.0.1", *(space.here for space in spaces if space is not None)]
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(host)) for host in hosts])
        self.broker = SoakBroker(executable, folder / "broker", self.authority, names=names)
        undo.callback(self.broker.kill)
        self.broker.start()
        self.devices = [
            SoakDevice(
                folder / f"device-{number}",
                number=number,
                authority=self.authority,
                broker=self.broker,
                namespace=space,
                small_disk=os.geteuid() == 0,
                undo=undo,
            )
            for number, space in enumerate(spaces)
        ]
        self.receiver = Receiver(
            folder / "receiver", broker=self.broker, authority=self.authority, database=database
        )
        undo.callback(self.receiver.kill)
        for device in self.devices:
            self.receiver.enroll(device)

    def start(self) -> None:
        """The receiver first: to whom nobody ever subscribed, a broker need not deliver."""
        self.receiver.start()
        wait_for(lambda: "SUBACK to primum-soak-soak" in self.broker.log.read_text())
        for device in self.devices:
            device.start()
        # Who begins the journal is the supervisor alone; nobody else writes to it before.
        for device in self.devices:
            wait_for(lambda device=device: device.waiting()[0] > 1)  # type: ignore[misc] # bound here


def _space(number: int, undo: ExitStack) -> Namespace:
    """A namespace that is taken away at the end."""
    made = Namespace.make(number)
    undo.callback(made.remove)
    return made
