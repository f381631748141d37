"""Real receivers over a real broker: killed, two at once, and fed by those who mean harm."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.unit.repo_tools.fleet.conftest import AT, Fleet
from tests.unit.repo_tools.fleet.devices import Device
from tests.unit.repo_tools.fleet.receivers import end, primum_repo, publishing, start
from tests.unit.repo_tools.fleet.test_watched import window

from primum_device_sim.broker import BrokerHandle
from primum_repo_tools.fleet.ingesting import Ingester
from primum_repo_tools.fleet.messages import End, Message
from primum_repo_tools.fleet.subscriber import Access, Arrived, Subscriber
from primum_repo_tools.fleet.views import fleet_status
from primum_verifier.core.document import sha256_hex
from primum_verifier.core.limits import MIB
from primum_verifier.shell.broker_address import BrokerAddress
from primum_verifier.shell.cli import main as verify

Eventually = Callable[..., Any]


def held(fleet: Fleet) -> int:
    with fleet.store.database.reading() as session:
        return int(session.rows("SELECT count(*) FROM events")[0][0])


def proven(fleet: Fleet) -> dict[str, int]:
    seen = fleet_status(fleet.store.database, fleet="demo", now=AT)
    return {item["device"]: item["provenTo"] for item in seen["devices"]}


def _seen(fleet: Fleet) -> dict[str, Any]:
    (device,) = fleet_status(fleet.store.database, fleet="demo", now=AT)["devices"]
    assert isinstance(device, dict)
    return device


def refused(fleet: Fleet) -> dict[str, int]:
    seen = fleet_status(fleet.store.database, fleet="demo", now=AT)
    return {item["reason"]: item["times"] for item in seen["refused"]}


def subscribe(fleet: Fleet, broker: BrokerHandle) -> None:
    """From here on the broker keeps what is said for the receiver ``one``."""
    address = ("--broker", f"mqtt://127.0.0.1:{broker.port}", "--database", fleet.address)
    told = primum_repo("ingest", *address, "--name", "one", "--until-idle", 0.1)
    assert told.returncode == 0, told.stderr


def test_the_reports_of_a_real_device_are_held_whole_and_can_be_proven(
    in_the_field: Any, broker: BrokerHandle, fleet: Fleet, eventually: Eventually, tmp_path: Path
) -> None:
    """From the device's own journal, over the broker, into the database, out to an auditor."""
    field = in_the_field
    field.write("agent.toml", field.settings(3600, broker.port).encode())
    field.release("1.0.0", counter=1)
    enrolment = tmp_path / "enrolment.json"
    told = primum_repo("enroll", enrolment, "--database", fleet.address)
    assert told.returncode == 0, told.stderr
    subscribe(fleet, broker)
    receiver = start(fleet.address, broker.port)
    try:
        with field.running():
            eventually(lambda: "update.activated" in field.kinds())
            name, sequence = "wearable-001", len(field.events())
            eventually(lambda: proven(fleet).get(name, 0) >= sequence)
            eventually(lambda: _seen(fleet)["version"] == "1.0.0")
            told = primum_repo("status", "--database", fleet.address, "--json")
            (device,) = json.loads(told.stdout)["devices"]
            assert (device["statementNumber"], device["presence"]) == (3, "online")
            assert (device["gaps"], device["alarms"], device["mode"]) == ([], [], "clinical")
        eventually(lambda: proven(fleet).get(name, 0) == len(field.events()))
    finally:
        told_at_the_end = end(receiver)
    assert told_at_the_end["refused"] == {}
    out = tmp_path / "history.jsonl"
    told = primum_repo("export", out, "--device", name, "--database", fleet.address)
    assert told.returncode == 0, told.stderr
    lines = out.read_bytes().splitlines()
    journal = field.journal()
    stored = list(journal.events())
    journal.close()
    assert lines[: len(stored)] == stored, "the exact bytes of the device's journal"
    assert verify(["history", str(out), "--device-key", str(enrolment)]) == 0


def test_a_receiver_killed_again_and_again_ends_with_each_event_once(
    broker: BrokerHandle, fleet: Fleet, eventually: Eventually
) -> None:
    """SIGKILL at random moments: the broker sends again what was not acknowledged."""
    devices = [Device(f"wearable-{n:03}") for n in range(8)]
    fleet.enroll(*devices)
    subscribe(fleet, broker)
    draw = random.Random(7)
    cut_short = 0
    with publishing(broker.port) as publisher:
        for _ in range(5):
            process = start(fleet.address, broker.port)
            before = held(fleet)
            under_way = publisher.begin(
                message for device in devices for message in device.life(150)
            )
            wanted = before + draw.randint(1, 600)
            eventually(lambda wanted=wanted: held(fleet) >= wanted, pause=0.001)
            process.kill()
            process.communicate()
            cut_short += held(fleet) < sum(len(device.events) for device in devices)
            publisher.finish(under_way)
    assert cut_short, "killed at least once in the middle"
    ask = ("--broker", f"mqtt://127.0.0.1:{broker.port}", "--database", fleet.address)
    assert primum_repo("ingest", *ask, "--name", "one", "--until-idle", 0.5).returncode == 0
    assert set(proven(fleet).values()) == {750}
    rows = fleet.content()["events"]
    assert sorted(row[-1] for row in rows) == sorted(
        line for device in devices for line in device.events
    )
    assert fleet.content()["contradictions"] == []


class Watched(Subscriber):
    """The real connection; before it acknowledges, another process's view is looked at."""

    missing: int = 0
    seen: int = 0
    fleet: Fleet

    def acknowledge(self, messages: Iterable[Arrived]) -> None:
        given = list(messages)
        stored = {bytes(row[-1]) for row in self.fleet.content()["events"]}
        self.missing += sum(item.payload not in stored for item in given)
        self.seen += len(given)
        super().acknowledge(given)


def test_nothing_is_acknowledged_that_another_process_cannot_see_stored(
    broker: BrokerHandle, fleet: Fleet, another: Callable[[], Fleet]
) -> None:
    """Killed between the two, a receiver that acknowledged first would lose what it was given."""
    device = Device()
    fleet.enroll(device)
    subscribe(fleet, broker)
    with publishing(broker.port) as publisher:
        publisher.send(device.event() for _ in range(50))
    subscriber = Watched(
        Access(broker=BrokerAddress("127.0.0.1", broker.port, tls=False)), fleet="demo", name="one"
    )
    subscriber.fleet = another()
    Ingester(fleet.store, subscriber, say=print, until_idle=0.2).run()
    assert (subscriber.seen, subscriber.missing) == (50, 0)


def test_two_receivers_share_the_load_and_come_to_one_result(
    broker: BrokerHandle, fleet: Fleet, eventually: Eventually, tmp_path: Path
) -> None:
    devices = [Device(f"wearable-{n:03}") for n in range(6)]
    fleet.enroll(*devices)
    receivers = [start(fleet.address, broker.port, name=name) for name in ("one", "two")]
    messages = [message for device in devices for message in device.life(150)]
    messages += [message for device in devices for message in device.change_key()]
    messages += [message for device in devices for message in device.life(50)]
    with publishing(broker.port) as publisher:
        eventually(lambda: _sessions(broker) >= len(receivers))
        publisher.send(messages)
    eventually(lambda: set(proven(fleet).values()) == {201})
    told = [end(process) for process in receivers]
    assert all(item["messages"] > 0 for item in told), "both had a share"
    assert sum(item["events"] for item in told) == 6 * 201
    alone = Fleet(f"sqlite:///{tmp_path / 'alone.db'}")
    for device in devices:
        first = fleet.store.database
        with first.reading() as session:
            ((document,),) = session.rows(
                "SELECT e.document FROM enrolments e JOIN devices d ON d.number = e.device"
                " WHERE d.name = ?",
                device.name,
            )
        _enroll_raw(alone, device.name, bytes(document))
    alone.take(*messages)
    assert fleet.content() == alone.content()
    alone.close()


def _enroll_raw(fleet: Fleet, name: str, document: bytes) -> None:
    from primum_verifier.core.document import parse_document
    from primum_verifier.core.envelope import PublicKey

    fleet.store.enroll(name, parse_document(PublicKey, document, where=name), now=AT)


def _sessions(broker: BrokerHandle) -> int:
    log = broker.log.read_text(errors="replace")
    return sum(f"as primum-demo-{name}" in log for name in ("one", "two"))


def test_a_second_receiver_of_one_name_ends_and_the_first_goes_on(
    broker: BrokerHandle, fleet: Fleet, eventually: Eventually
) -> None:
    first = start(fleet.address, broker.port)
    eventually(lambda: "as primum-demo-one" in broker.log.read_text(errors="replace"))
    second = primum_repo(
        "ingest", "--broker", f"mqtt://127.0.0.1:{broker.port}", "--database", fleet.address,
        "--name", "one", "--json",
    )  # fmt: skip
    assert second.returncode == 4
    assert json.loads(second.stderr)["error"]["reason"] == "state.busy"
    assert broker.log.read_text(errors="replace").count("as primum-demo-one") == 1
    first.kill()
    first.communicate()
    again = start(fleet.address, broker.port)
    eventually(lambda: broker.log.read_text(errors="replace").count("as primum-demo-one") == 2)
    assert end(again)["messages"] == 0


def test_hostile_messages_are_refused_and_the_connection_is_kept(
    broker: BrokerHandle, fleet: Fleet, eventually: Eventually
) -> None:
    device, other = Device(), Device("wearable-002")
    fleet.enroll(device, other)
    receiver = start(fleet.address, broker.port)
    eventually(lambda: "as primum-demo-one" in broker.log.read_text(errors="replace"))
    topic = f"primum/demo/{device.name}"
    good = json.loads(Device(device.name).event().payload)
    bad = [
        b"", b"\xff\xfe", b"[" * 100_000, b'{"a":NaN}', b"null", b"[]", b'"text"', b"12345",
        json.dumps({f"k{n}": n for n in range(10_000)}).encode(),
        b'{"sequence":1,"data":7}',
        json.dumps({**good, "sequence": 1}).encode(),
        json.dumps({**good, "sequence": "9" * 20}).encode(),
        json.dumps({**good, "id": ["urn"]}).encode(),
        json.dumps({**good, "source": None}).encode(),
        json.dumps({**good, "type": "primum.device.key.changed"}).encode(),
        json.dumps({**good, "data": {**good["data"], "prevEventHash": "g" * 64}}).encode(),
        json.dumps(good, indent=1).encode(),
        b'{"payloadType":"x","payload":"","signatures":[]}',
    ]  # fmt: skip
    events = device.life(2)
    with publishing(broker.port) as publisher:
        publisher.send_raw((f"{topic}/{item}", payload) for item in End for payload in bad)
        publisher.send_raw([(f"{topic}/provenance", other.event().payload)])
        publisher.send_raw([("primum/demo/$SYS/provenance", b"{}")])
        publisher.send_raw([("primum/demo/Ünbekannt/provenance", b"{}")])
        publisher.send_raw([(f"primum/demo/{'x' * 30_000}/provenance", b"{}")])
        publisher.send(events)
    eventually(lambda: proven(fleet)[device.name] == 2)
    told = end(receiver)
    assert told["refused"]["document.invalid"] == len(End) * len(bad) - 2 + 3
    assert told["refused"]["trust.signature"] == 2 + 1
    assert refused(fleet)["trust.signature"] == 3
    assert held(fleet) == 2
    assert "Traceback" not in broker.log.read_text(errors="replace")


def test_a_giant_message_reaches_no_receiver_and_holds_nobody_up(
    broker: BrokerHandle, fleet: Fleet, eventually: Eventually
) -> None:
    """200 MB on a device's topic: more than the receiver asked the broker for."""
    device = Device()
    fleet.enroll(device)
    receiver = start(fleet.address, broker.port)
    eventually(lambda: "as primum-demo-one" in broker.log.read_text(errors="replace"))
    with publishing(broker.port) as publisher:
        giant = b"x" * (200 * MIB)
        publisher.send_raw([(f"primum/demo/{device.name}/provenance", giant)])
        publisher.send(device.life(2))
    eventually(lambda: proven(fleet)[device.name] == 2)
    peak = Path(f"/proc/{receiver.pid}/status").read_text().split("VmHWM:")[1].split()[0]
    assert int(peak) < 150 * 1024
    assert end(receiver)["messages"] == 3


def test_what_was_said_while_the_receiver_was_away_is_taken_at_its_next_start(
    broker: BrokerHandle, fleet: Fleet
) -> None:
    device = Device()
    fleet.enroll(device)
    ask = ("--broker", f"mqtt://127.0.0.1:{broker.port}", "--database", fleet.address)
    once = ("ingest", *ask, "--until-idle", 0.3, "--json")
    assert primum_repo(*once).returncode == 0
    with publishing(broker.port) as publisher:
        publisher.send(device.life(30))
        retained = Message(device.name, End.STATUS, device.status().payload)
        publisher.send([retained])
    told = json.loads(primum_repo(*once).stdout)
    assert (told["events"], told["heads"], told["reports"]) == (30, 1, 1)
    assert json.loads(primum_repo(*once).stdout)["messages"] == 0
    assert sha256_hex(device.events[-1]) in {row[2] for row in fleet.content()["events"]}


def test_a_window_of_a_monitor_is_heard_and_stored(broker: BrokerHandle, fleet: Fleet) -> None:
    device = Device()
    fleet.enroll(device)
    subscribe(fleet, broker)
    with publishing(broker.port) as publisher:
        publisher.send([window(device)])
    subscribe(fleet, broker)
    with fleet.store.database.reading() as session:
        rows = session.rows("SELECT kind, line FROM reports")
    assert [(kind, bytes(line)) for kind, line in rows] == [("monitor", window(device).payload)]


def test_a_broker_that_is_not_there_is_told_at_once(fleet: Fleet) -> None:
    told = primum_repo(
        "ingest", "--broker", "mqtt://127.0.0.1:1", "--database", fleet.address, "--json"
    )
    assert told.returncode == 3
    assert json.loads(told.stderr)["error"]["reason"] == "broker.unreachable"


def test_a_broker_that_goes_away_is_found_again(
    broker_executable: Path, fleet: Fleet, eventually: Eventually, tmp_path: Path
) -> None:
    from primum_device_sim.broker import running_broker

    device = Device()
    fleet.enroll(device)
    with running_broker(broker_executable, tmp_path / "first") as first:
        port = first.port
        receiver = start(fleet.address, port)
        with publishing(port) as publisher:
            eventually(lambda: "as primum-demo-one" in first.log.read_text(errors="replace"))
            publisher.send(device.life(2))
        eventually(lambda: held(fleet) == 2)
    with running_broker(broker_executable, tmp_path / "second", port=port) as second:
        eventually(lambda: "as primum-demo-one" in second.log.read_text(errors="replace"))
        with publishing(port) as publisher:
            publisher.send(device.life(2))
        eventually(lambda: held(fleet) == 4)
        end(receiver)
