"""What reporting costs: the journal as outbox against bare paho, over the same broker in one run.

A real mosquitto over TLS, with the shipped settings, takes the same events twice, turn about:

- bare paho: QoS 1, the same payloads, the same window of messages under way;
- a device: a reporter over a journal that holds the events, each marked once it was acknowledged.

Printed are events a second of each round and the median ratio; the bytes on the wire of each, by
a relay in between, and by event; and the memory of a process that drains so many events, against
one that has none waiting.  With ``--idle SECONDS`` the bytes of a device with nothing to say:
status, pings and health, measured for so long and reckoned for an hour.

Run: ``python -m tests.benchmarks.report [EVENTS] [--idle SECONDS] [--json FILE]`` (20,000 by
default).
"""

from __future__ import annotations

import argparse
import json
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from tests.benchmarks.figures import arguments, keep
from tests.campaigns.soak_relay import Relay
from tests.unit.agent.secure_broker import Authority, SecureBroker, secure_broker

from primum_agent.broker import MAX_IN_FLIGHT, Message
from primum_agent.broker_tls import TlsFiles
from primum_agent.clock import SystemClock
from primum_agent.events import Entry, EventKind
from primum_agent.health import topic
from primum_agent.journal import Journal
from primum_agent.journal_bounds import JournalBounds
from primum_agent.layout import Layout
from primum_agent.paho_broker import PahoBroker
from primum_agent.reporter import Reporter
from primum_agent.sensors import FakeSensors
from primum_device_sim.broker import find_broker
from primum_verifier.shell.broker_address import parse_broker

DEVICE = "wearable-001"
_ROUNDS = 3
_NEVER = 1e9
_HEALTH_SECONDS = 900.0
_ROOMY = JournalBounds(max_bytes=1 << 34)


def fill(layout: Layout, count: int) -> list[bytes]:
    """A journal with so many events that wait; their lines."""
    layout.run.mkdir(parents=True, exist_ok=True)
    journal = Journal.open_or_restart(layout, clock=SystemClock(), device_id=DEVICE, bounds=_ROOMY)
    # One commit for each would be the disk's time: what is measured is sending.
    journal._connection.execute("PRAGMA synchronous = OFF")
    while journal.last_sequence() < count:
        journal.record(Entry(kind=EventKind.ATTEMPT_FAILED, result="failed", reasons=("internal",)))
    lines = [row.line for row in journal.waiting_events(count)]
    journal.close()
    return lines


def bare(port: int, authority: Authority, client: Path, lines: list[bytes]) -> float:
    """Seconds in which bare paho has the same lines acknowledged."""
    window = threading.Semaphore(MAX_IN_FLIGHT)
    context = ssl.create_default_context(cafile=str(authority.file))
    context.load_cert_chain(client)
    connection = paho.Client(CallbackAPIVersion.VERSION2, client_id="bare", protocol=paho.MQTTv5)
    connection.tls_set_context(context)
    connection.max_inflight_messages_set(MAX_IN_FLIGHT)
    ready, done = threading.Event(), threading.Event()
    left = len(lines)

    def acknowledged(*_: object) -> None:
        nonlocal left
        left -= 1
        window.release()
        if not left:
            done.set()

    connection.on_publish = acknowledged
    connection.on_connect = lambda *_: ready.set()
    connection.connect("127.0.0.1", port)
    connection.loop_start()
    ready.wait(10)
    began = time.perf_counter()
    for line in lines:
        window.acquire()
        connection.publish(topic("demo", DEVICE, "provenance"), line, qos=1)
    done.wait(300)
    took = time.perf_counter() - began
    connection.disconnect()
    connection.loop_stop()
    return took


class Turning:
    """A reporter that is turned as the supervisor turns it: woken by its connection."""

    def __init__(self, layout: Layout, authority: Authority, uri: str, *, health: float) -> None:
        self._rung = threading.Event()
        self.journal = Journal.open(layout, clock=SystemClock(), device_id=DEVICE, bounds=_ROOMY)
        self.reporter = Reporter(
            broker=PahoBroker(
                addresses=(parse_broker(uri, where="here"),),
                tls=TlsFiles(authority.file, layout.client),
                client_id=DEVICE,
                will=Message(topic("demo", DEVICE, "status"), b"{}", retain=True),
                listens=topic("demo", DEVICE, "request"),
                hears=topic("demo", DEVICE, "receipt"),
                wake=self._rung.set,
            ),
            sensors=FakeSensors(),
            clock=SystemClock(),
            fleet="demo",
            device_id=DEVICE,
            health_seconds=health,
        )

    def turn(self) -> None:
        due = self.reporter.work(self.journal, now=time.monotonic())
        self.wait(due)

    def wait(self, due: float) -> None:
        self._rung.wait(max(0.0, min(1.0, due - time.monotonic())))
        self._rung.clear()

    def drain(self) -> float:
        """Seconds from the first event offered until all are acknowledged."""
        while self.reporter.last_answer == 0.0:
            self.turn()
        began = time.perf_counter()
        due = began
        while self.journal.waiting_events(1):
            # Not after the last one: nobody would ring any more.
            self.wait(due)
            due = self.reporter.work(self.journal, now=time.monotonic())
        return time.perf_counter() - began

    def close(self) -> None:
        self.reporter.close(self.journal)
        self.journal.close()


def memory_kib() -> int:
    """The most that this process has had in memory."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line)


def drain_here(folder: Path, ca: Path, uri: str) -> None:
    """In a process of its own: drain what waits, and say what it took."""
    authority: Any = type("Known", (), {"file": ca})
    turning = Turning(Layout(folder), authority, uri, health=_NEVER)
    took = turning.drain()
    turning.close()
    print(json.dumps({"seconds": took, "peakKiB": memory_kib()}))


def _drained(folder: Path, authority: Authority, uri: str) -> dict[str, float]:
    words = [sys.executable, "-m", "tests.benchmarks.report", "--drain", str(folder)]
    words += ["--ca", str(authority.file), "--uri", uri]
    told: dict[str, float] = json.loads(
        subprocess.run(words, check=True, capture_output=True).stdout
    )
    return told


def throughput(
    folder: Path, broker: SecureBroker, authority: Authority, events: int
) -> dict[str, Any]:
    """Both, turn about."""
    ratios, rounds = [], []
    empty = Layout(folder / "empty")
    fill(empty, 1)
    authority.renew(empty, DEVICE)
    least = _drained(empty.root, authority, broker.uri)["peakKiB"]
    for turn in range(_ROUNDS):
        layout = Layout(folder / f"state-{turn}")
        lines = fill(layout, events)
        authority.renew(layout, DEVICE)
        relays = [Relay("127.0.0.1", broker.port) for _ in range(2)]
        alone = bare(relays[0].port, authority, layout.client, lines)
        ours = _drained(layout.root, authority, f"mqtts://127.0.0.1:{relays[1].port}")
        ratios.append(alone / ours["seconds"])
        rounds.append(
            {
                "pahoSeconds": alone,
                "pahoBytes": [relays[0].up, relays[0].down],
                "agentSeconds": ours["seconds"],
                "agentBytes": [relays[1].up, relays[1].down],
                "agentPeakKiB": ours["peakKiB"],
            }
        )
        sizes = sum(map(len, lines))
        print(
            f"{events} events of {sizes / events:.0f} bytes:"
            f" paho {events / alone:,.0f} a second, {relays[0].up / events:.0f} bytes each up and"
            f" {relays[0].down / events:.0f} down; the agent {events / ours['seconds']:,.0f} a"
            f" second ({ours['seconds']:.1f} s), {relays[1].up / events:.0f} up and"
            f" {relays[1].down / events:.0f} down; memory {ours['peakKiB'] / 1024:.1f} MiB,"
            f" {ours['peakKiB'] / least:.2f} of that with one event"
        )
        for relay in relays:
            relay.close()
    ratio = statistics.median(ratios)
    print(f"events a second, of paho's: {ratio:.2f}")
    return {"events": events, "peakKiBWithOne": least, "rounds": rounds, "ratioToPaho": ratio}


def idle(
    folder: Path, broker: SecureBroker, authority: Authority, seconds: float
) -> dict[str, Any]:
    """Bytes while nothing happens but pings and health."""
    layout = Layout(folder / "idle")
    fill(layout, 1)
    authority.renew(layout, DEVICE)
    relay = Relay("127.0.0.1", broker.port)
    turning = Turning(layout, authority, f"mqtts://127.0.0.1:{relay.port}", health=seconds / 4)
    turning.drain()
    before = relay.up, relay.down
    until = time.monotonic() + seconds
    reports = 0
    told = turning.reporter.last_health
    while time.monotonic() < until:
        turning.turn()
        reports += turning.reporter.last_health != told
        told = turning.reporter.last_health
    up, down = relay.up - before[0], relay.down - before[1]
    print(f"idle for {seconds:.0f} s with {reports} reports of health: {up} bytes up, {down} down")
    turning.close()
    relay.close()
    return {"seconds": seconds, "healthReports": reports, "bytesUp": up, "bytesDown": down}


def main() -> None:
    """Measure, and print what was found."""
    parser = arguments(__doc__)
    parser.add_argument("events", nargs="?", type=int, default=20_000, help="20,000 by default")
    parser.add_argument("--idle", type=float, default=0.0, metavar="SECONDS", help="that instead")
    for inside in ("--drain", "--ca"):
        parser.add_argument(inside, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--uri", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drain is not None:
        drain_here(options.drain, options.ca, options.uri)
        return
    with tempfile.TemporaryDirectory(prefix="primum-report-") as name:
        folder = Path(name)
        authority = Authority(folder / "authority")
        with secure_broker(find_broker(), folder / "broker", authority) as broker:
            if options.idle:
                told = idle(folder, broker, authority, options.idle)
            else:
                told = throughput(folder, broker, authority, options.events)
    keep(told, options.json)


if __name__ == "__main__":
    main()
