"""What receiving costs: one receiver against a plain subscriber, over the same broker in one run.

A real mosquitto holds the same messages for two sessions: events of some devices, with a signed
head after each twenty, as their agents send them.  Each is drained by its own reader, turn about:

- a plain paho subscriber that acknowledges and forgets: what the protocol and the library allow;
- a receiver that verifies, joins and proves each chain in a synced SQLite database, and then
  acknowledges; with a key it countersigns as well.

Printed are messages a second of each round, and the median ratio.

Run: ``python -m tests.benchmarks.ingest [EVENTS] [DEVICES] [--json FILE]`` (10,000 and 50 by
default).
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from tests.benchmarks.figures import arguments, keep
from tests.unit.repo_tools.fleet.devices import Device
from tests.unit.repo_tools.fleet.receivers import Publisher

from primum_device_sim.broker import find_broker, running_broker
from primum_repo_tools.fleet.database import open_database
from primum_repo_tools.fleet.ingesting import Ingester
from primum_repo_tools.fleet.messages import Message
from primum_repo_tools.fleet.receipts import Receiver
from primum_repo_tools.fleet.store import FleetStore
from primum_repo_tools.fleet.subscriber import Access, Subscriber
from primum_repo_tools.keys import Secrets, create_key, load_key
from primum_repo_tools.moments import now_utc
from primum_verifier.shell.broker_address import BrokerAddress

_ROUNDS = 3
_EVENTS_OF_A_HEAD = 20
_IN_FLIGHT = 1000


def _plain(port: int, *, expected: int) -> float:
    """Seconds in which a plain subscriber drains its session; 0 messages only subscribe."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="plain", protocol=paho.MQTTv5)
    count = 0
    ready = False

    def heard(*_: object) -> None:
        nonlocal count
        count += 1

    def subscribed(*_: object) -> None:
        nonlocal ready
        ready = True

    client.on_message = heard
    client.on_subscribe = subscribed
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 3600
    properties.ReceiveMaximum = _IN_FLIGHT
    began = time.perf_counter()
    client.connect("127.0.0.1", port, clean_start=False, properties=properties)
    client.subscribe("primum/demo/+/+", qos=1)
    while count < expected or not ready:
        client.loop(timeout=1.0)
    took = time.perf_counter() - began
    client.disconnect()
    return took


def _received(port: int, store: FleetStore, *, expected: int) -> float:
    """Seconds in which a receiver drains its session into a database."""
    began = time.perf_counter()
    ingester = Ingester(
        store,
        Subscriber(
            Access(broker=BrokerAddress("127.0.0.1", port, tls=False)),
            fleet="demo",
            name="benchmark",
        ),
        say=print,
        until_idle=0.01 if not expected else None,
    )
    ingester.stopping = lambda: bool(expected) and ingester.total.messages >= expected
    ingester.run()
    return time.perf_counter() - began


def _messages(devices: list[Device], events: int) -> list[Message]:
    found = []
    for _ in range(max(1, events // _EVENTS_OF_A_HEAD // len(devices))):
        for device in devices:
            found += device.life(_EVENTS_OF_A_HEAD)
    return found


def main() -> None:
    """Measure, and print what was found."""
    parser = arguments(__doc__)
    parser.add_argument("events", type=int, nargs="?", default=10_000, help="10,000 by default")
    parser.add_argument("devices", type=int, nargs="?", default=50, help="50 by default")
    options = parser.parse_args()
    events, count = options.events, options.devices
    told: dict[str, Any] = {"events": events, "devices": count}
    with tempfile.TemporaryDirectory(prefix="primum-ingest-") as name:
        folder = Path(name)
        (folder / "passphrase").write_text("of one benchmark")
        secrets = Secrets(passphrase_file=folder / "passphrase")
        create_key(folder / "receiver.pem", secrets=secrets)
        signer = Receiver(load_key(folder / "receiver.pem", secrets=secrets))
        with running_broker(find_broker(), folder / "broker") as broker:
            for label, receiver in (("stored", None), ("stored and countersigned", signer)):
                ratios, rounds = [], []
                for turn in range(_ROUNDS):
                    devices = [Device(f"{label[-3:]}-{turn}-{n}") for n in range(count)]
                    database = open_database(f"sqlite:///{folder / f'{label[-3:]}{turn}.db'}")
                    store = FleetStore(database, fleet="demo", receiver=receiver)
                    for device in devices:
                        store.enroll(device.name, device.key, now=now_utc())
                    _plain(broker.port, expected=0)
                    _received(broker.port, store, expected=0)
                    messages = _messages(devices, events)
                    publisher = Publisher(broker.port, "publisher")
                    publisher.send(messages)
                    publisher.close()
                    expected = len(messages)
                    plain = _plain(broker.port, expected=expected)
                    ours = _received(broker.port, store, expected=expected)
                    ratios.append(plain / ours)
                    rounds.append(
                        {"messages": expected, "plainSeconds": plain, "receiverSeconds": ours}
                    )
                    print(
                        f"{label}: {expected} messages; plain {expected / plain:,.0f} a second,"
                        f" receiver {expected / ours:,.0f} a second"
                    )
                    store.database.close()
                ratio = round(statistics.median(ratios), 3)
                told[label] = {"rounds": rounds, "ratioToPlain": ratio}
                print(f"{label}: ratio {ratio:.2f}")
    keep(told, options.json)


if __name__ == "__main__":
    main()
