"""A small real world for the agent: two authorities as plain folders, one enrolled device.

Everything is real but the network: keys, signatures, TUF metadata, an ONNX model, processes.
Addresses are ``file:`` so that a test spoils a server by changing a file.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from primum_agent.application import ActiveRelease, StandingError, open_active
from primum_agent.clock import FakeClock, SystemClock
from primum_agent.journal import Journal
from primum_agent.layout import Layout
from primum_agent.transitions import committed
from primum_device_sim.authorities.documents import COMPONENT, DEVICE
from primum_device_sim.authorities.provisioning import Provisioning
from primum_verifier.core.envelope import PublicKey

AGENT = [sys.executable, "-m", "primum_agent.cli"]


class Field(Provisioning):
    """Both authorities, the people who approve, and one device in the field."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.state = folder / "state"
        self.provisioning = folder / "provisioning"
        self.layout = Layout(self.state)
        self.more_settings = ""

    def enroll(
        self,
        *,
        poll_seconds: float = 3600,
        broker_port: int | None = None,
        key: str = "",
        like: Path | None = None,
    ) -> None:
        """Make the device's key with the real command, and provision it.

        Args:
            poll_seconds: between two polls.
            broker_port: the broker's port on this machine; None for no broker.
            key: the address of a key on a token; empty for a key file.
            like: the folder of another field, of which only ``enroll`` was asked: its key and
                enrolment are copied instead of making them anew.
        """
        output = self.folder / "enrolment.json"
        if like is None:
            names = ["--device-id", DEVICE, "--hardware-id", "cardiowear-2", "--output", output]
            done = self.agent("enroll", *names, *(["--key", key] if key else []))
            assert done.returncode == 0, done.stderr
        else:
            shutil.copytree(like / "state", self.state, dirs_exist_ok=True)
            shutil.copy2(like / "enrolment.json", output)
        enrolment = json.loads(output.read_text())
        self.device_key = PublicKey.model_validate(enrolment["publicKey"])
        self.provisioning.mkdir(exist_ok=True)
        self.write("device-context.dsse.json", self.context(enrolment))
        self.write("engineering.root.json", self.engineering.root)
        self.write("clinical.root.json", self.clinical.root)
        if self.site is not None:
            self.write("site.root.json", self.site.root)
        self.write("trust-map.json", self.trust_map(1))
        self.write("agent.toml", self.settings(poll_seconds, broker_port).encode())

    def write(self, name: str, data: bytes) -> None:
        (self.provisioning / name).write_bytes(data)

    def settings(self, poll_seconds: float = 3600, broker_port: int | None = None) -> str:
        lines = [
            'schema_version = "0.1"',
            f'device_id = "{DEVICE}"',
            f'component = "{COMPONENT}"',
            'hardware_id = "cardiowear-2"',
        ]
        authorities = {"engineering": self.engineering, "clinical": self.clinical}
        if self.site is not None:
            authorities["site"] = self.site
        for name, authority in authorities.items():
            base = authority.web.as_uri()
            lines += [
                f"[repositories.{name}]",
                f'metadata_url = "{base}/metadata/"',
                f'targets_url = "{base}/targets/"',
                f'artifacts_url = "{base}/artifacts/"',
            ]
        lines += ["[timing]", f"poll_seconds = {poll_seconds:g}", "poll_jitter = 0.0"]
        if broker_port is not None:
            address = f'addresses = ["mqtt://127.0.0.1:{broker_port}"]'
            lines += ["[broker]", address, 'fleet = "demo"']
        return "\n".join(lines) + "\n" + self.more_settings

    @property
    def folders(self) -> list[str]:
        """The two folders that ``run`` is started with."""
        return ["--state", str(self.state), "--provisioning", str(self.provisioning)]

    def agent(self, command: str, *words: object, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run one command of ``primum-agent`` as a user would."""
        return subprocess.run(
            [*AGENT, command, "--state", str(self.state), *map(str, words)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, **extra},
        )

    def once(self, **extra: str) -> subprocess.CompletedProcess[str]:
        """One poll by a whole supervisor; health is not proven by anybody."""
        return self.agent("run", "--once", "--provisioning", self.provisioning, **extra)

    @contextmanager
    def running(self, **extra: str) -> Iterator[subprocess.Popen[bytes]]:
        """A supervisor for as long as the block runs; ended by SIGTERM, within ten seconds."""
        log = (self.folder / "supervisor.log").open("ab")
        process = subprocess.Popen(
            [*AGENT, "run", *self.folders],
            stderr=log,
            env={**os.environ, **extra},
        )
        try:
            yield process
        finally:
            log.close()
            # A process that a test has just killed is not asked again.
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.05)
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                assert process.wait(timeout=10) == 0

    def journal(self) -> Journal:
        return Journal.open_to_read(self.layout, clock=FakeClock(), device_id=DEVICE)

    @contextmanager
    def journal_to_write(self) -> Iterator[Journal]:
        """The journal as another process would write to it."""
        journal = Journal.open(self.layout, clock=SystemClock(), device_id=DEVICE)
        try:
            yield journal
        finally:
            journal.close()

    def commit(self) -> None:
        """The application proves the health of what is provisional."""
        with self.journal_to_write() as journal:
            used = journal.state().in_use
            if used is not None and not used.proven:
                journal.record(committed(used))

    def counter(self, name: str) -> str:
        """One small value of the journal."""
        journal = self.journal()
        try:
            return journal.counter(name, "")
        finally:
            journal.close()

    def history(self) -> list[bytes]:
        """Every line that an export would hold."""
        journal = self.journal()
        try:
            return list(journal.history())
        finally:
            journal.close()

    def heads(self) -> int:
        """The newest event that a signed head covers."""
        journal = self.journal()
        try:
            return journal.last_head()
        finally:
            journal.close()

    def events(self) -> list[dict[str, Any]]:
        with suppress(Exception):
            journal = self.journal()
            try:
                return [json.loads(line) for line in journal.events()]
            finally:
                journal.close()
        return []

    def kinds(self) -> list[str]:
        return [item["type"].removeprefix("primum.device.") for item in self.events()]

    def event(self, kind: str) -> dict[str, Any]:
        """The newest event of a kind."""
        return next(
            item for item in reversed(self.events()) if item["type"] == f"primum.device.{kind}"
        )

    def opened(self) -> ActiveRelease | None:
        """The release that an application would open now."""
        try:
            found = open_active(self.state)
        except StandingError:
            return None
        return found if isinstance(found, ActiveRelease) else None

    def standing_or_none(self) -> int | None:
        """The generation that an application would be told to use."""
        return self.standing()["generation"] if self.layout.standing.is_file() else None

    def standing(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.layout.standing.read_bytes())
        return content
