"""Reports over TLS: only to whom the device believes, only as itself, and to whoever is there."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.agent.secure_broker import (
    ELSEWHERE,
    Authority,
    Peer,
    ScriptedBroker,
    SecureBroker,
    secure_broker,
)

from primum_agent.broker import Acknowledged, Connected, Disconnected, Message, Occurrence
from primum_agent.broker_tls import BoundedSocket, TlsFiles
from primum_agent.layout import Layout
from primum_agent.locking import is_held
from primum_agent.paho_broker import PahoBroker
from primum_device_sim.authorities.documents import DEVICE
from primum_verifier.record.chain import check_history
from primum_verifier.shell.broker_address import parse_broker

Eventually = Callable[..., Any]
NEVER = 'addresses = ["mqtt://127.0.0.1:1"]'
TAKEN = bytes.fromhex("200300 00 00")
"""CONNACK of MQTT 5: no session, success, no properties."""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def secure(broker_executable: Path, tmp_path: Path, authority: Authority) -> Iterator[SecureBroker]:
    with secure_broker(broker_executable, tmp_path / "secure", authority) as broker:
        yield broker


@pytest.fixture
def receiver(secure: SecureBroker, authority: Authority) -> Iterator[Peer]:
    peer = Peer(secure, authority, "receiver", "primum/demo/#")
    yield peer
    peer.close()


def reports_to(field: Any, authority: Authority, *uris: str) -> None:
    """Let the device know its brokers, and whom to believe about them."""
    text = field.settings(3600, 1)
    assert NEVER in text
    said = f'addresses = {json.dumps(list(uris))}\nca_file = "broker-ca.pem"'
    field.write("agent.toml", text.replace(NEVER, said).encode())
    field.write("broker-ca.pem", authority.file.read_bytes())


def link(field: Any) -> Any:
    """What the supervisor says of its connection, once it can be asked."""
    told = json.loads(field.agent("status", "--json").stdout)
    return (told.get("supervisor") or {}).get("broker") or {"link": "", "why": ""}


def why(field: Any) -> str:
    """Why there is no connection, once the device knows."""
    found = link(field)
    return "" if found["link"] != "down" or found["why"] == "not tried yet" else found["why"]


def lines(field: Any) -> list[bytes]:
    """Every event so far; a device that has none yet waits for its first."""
    if not field.layout.socket.exists():
        return [b"the journal is opened before the socket"]
    journal = field.journal()
    try:
        return list(journal.events())
    finally:
        journal.close()


def test_as_shipped_a_receiver_holds_the_whole_proven_history(
    in_the_field: Any,
    secure: SecureBroker,
    receiver: Peer,
    authority: Authority,
    eventually: Eventually,
) -> None:
    field = in_the_field
    authority.renew(field.layout, DEVICE)
    reports_to(field, authority, secure.uri)
    field.release("1.0.0", counter=1)
    with field.running():
        eventually(lambda: "update.activated" in field.kinds())
        eventually(lambda: receiver.of("provenance") == lines(field) and receiver.of("head"))
        assert link(field)["address"] == secure.uri
        assert secure.uri in field.agent("status").stdout
        assert receiver.of("health")
        doctor = field.agent("doctor", "--provisioning", field.provisioning).stdout
        assert f"{secure.uri} speaks TLSv1.3" in doctor
    eventually(lambda: json.loads(receiver.of("status")[-1])["presence"] == "offline")
    ends = {"provenance", "head"}
    history = [told for topic, told in receiver.messages if topic.rpartition("/")[2] in ends]
    report = check_history(history, device_key=field.device_key)
    assert report.whole
    assert not report.gaps


def test_a_broker_that_is_not_believed_is_told_nothing(
    in_the_field: Any,
    broker_executable: Path,
    tmp_path: Path,
    authority: Authority,
    eventually: Eventually,
) -> None:
    """Another authority's certificate, and the right one's for another name."""
    field = in_the_field
    other = Authority(tmp_path / "other")
    authority.renew(field.layout, DEVICE)
    with secure_broker(broker_executable, tmp_path / "stranger", other) as stranger:
        elsewhere = SecureBroker(
            broker_executable, tmp_path / "elsewhere", authority, names=ELSEWHERE
        )
        elsewhere.start()
        reports_to(field, authority, stranger.uri, elsewhere.uri)
        with field.running():
            told = eventually(lambda: why(field))
        elsewhere.stop()
        assert "certificate verify failed" in told
        assert "IP address mismatch" in told
        assert (stranger.uri in told, elsewhere.uri in told) == (True, True)
        for broker in (stranger, elsewhere):
            assert "New client connected" not in broker.log.read_text()
    journal = field.journal()
    assert journal.waiting_count() == len(field.kinds())
    journal.close()


@pytest.mark.parametrize("ends", [None, timedelta(hours=-1)], ids=["none", "ended"])
def test_a_certificate_that_comes_later_is_taken_without_a_restart(
    in_the_field: Any,
    secure: SecureBroker,
    receiver: Peer,
    authority: Authority,
    eventually: Eventually,
    ends: timedelta | None,
) -> None:
    field = in_the_field
    if ends is not None:
        authority.renew(field.layout, DEVICE, ends=ends)
    reports_to(field, authority, secure.uri)
    with field.running() as process:
        told = eventually(lambda: why(field))
        hint = "has none" if ends is None else "accept this device's certificate, which holds until"
        assert hint in told
        authority.renew(field.layout, DEVICE)
        eventually(lambda: receiver.of("provenance") == lines(field), seconds=60)
        assert process.poll() is None
    assert field.kinds().count("agent.started") == 1


def test_another_certificate_is_used_while_connected(
    in_the_field: Any,
    secure: SecureBroker,
    receiver: Peer,
    authority: Authority,
    eventually: Eventually,
) -> None:
    """The old one would end one day in the middle of a connection."""
    field = in_the_field
    authority.renew(field.layout, DEVICE)
    reports_to(field, authority, secure.uri)
    with field.running():
        eventually(lambda: link(field)["link"] == "up")
        authority.renew(field.layout, DEVICE)
        eventually(
            lambda: (
                secure.log.read_text().count(f"as {DEVICE} (p5") == 2
                and link(field)["link"] == "up"
            ),
            seconds=60,
        )
        statuses = [json.loads(line)["presence"] for line in receiver.of("status")]
        assert set(statuses) == {"online"}, "nobody was told that the device died"


def test_one_device_cannot_speak_for_another(
    secure: SecureBroker,
    receiver: Peer,
    authority: Authority,
    eventually: Eventually,
) -> None:
    """M10: with a certificate of its own; nor hear what others are asked."""
    for end in ("status", "provenance", "request"):
        other = Peer(secure, authority, "wearable-002", f"primum/demo/{DEVICE}/#")
        # Some brokers end the connection with their answer, or in place of it.
        with suppress(RuntimeError):
            other.says(f"primum/demo/{DEVICE}/{end}", b"forged")
        other.close()
        assert "Success" not in other.answers
        assert other.messages == []
    other = Peer(secure, authority, "wearable-002")
    other.says("primum/demo/wearable-002/status", b"its own")
    eventually(lambda: receiver.messages)
    assert receiver.messages == [("primum/demo/wearable-002/status", b"its own")]
    assert secure.log.read_text().count("Denied PUBLISH from peer-wearable-002") >= 3
    other.close()


def peak_mib(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def nothing(connection: ssl.SSLSocket) -> None:
    """Takes the connection and ends it."""


def accepts_and_drops(connection: ssl.SSLSocket) -> None:
    connection.recv(4096)
    connection.sendall(TAKEN)
    connection.recv(4096)


def never_answers(connection: ssl.SSLSocket) -> None:
    while connection.recv(4096):
        pass


def announces_256_mib(connection: ssl.SSLSocket) -> None:
    connection.recv(4096)
    connection.sendall(TAKEN + bytes.fromhex("30ffffff7f"))
    # As much of it as is taken.
    for _ in range(128):
        connection.sendall(bytes(2**20))


@pytest.mark.parametrize("script", [nothing, accepts_and_drops, never_answers, announces_256_mib])
def test_the_next_broker_gets_the_reports(
    in_the_field: Any,
    secure: SecureBroker,
    receiver: Peer,
    authority: Authority,
    eventually: Eventually,
    script: Callable[[ssl.SSLSocket], None],
) -> None:
    """M04, M07, M08: whatever the first one does, and without much room for it."""
    field = in_the_field
    authority.renew(field.layout, DEVICE)
    first = ScriptedBroker(authority, script)
    reports_to(field, authority, "mqtts://127.0.0.1:1", first.uri, secure.uri)
    with field.running() as process:
        eventually(lambda: receiver.of("provenance") == lines(field), seconds=60)
        assert first.connections >= 1
        assert link(field)["address"] == secure.uri
        assert peak_mib(process.pid) < 64
    first.close()


def connection(authority: Authority, client: Path, uri: str) -> PahoBroker:
    return PahoBroker(
        addresses=(parse_broker(uri, where="here"),),
        tls=TlsFiles(authority.file, client),
        client_id=DEVICE,
        will=Message(f"primum/demo/{DEVICE}/status", b""),
        listens=f"primum/demo/{DEVICE}/request",
        hears=f"primum/demo/{DEVICE}/receipt",
        wake=lambda: None,
    )


def test_who_publishes_never_writes_into_the_connection_that_is_read(
    tmp_path: Path,
    secure: SecureBroker,
    authority: Authority,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two threads in one TLS connection break its records, now and then."""
    writers = set()
    send = BoundedSocket.send

    def watched(self: BoundedSocket, data: Any, flags: int = 0) -> int:
        writers.add(threading.current_thread().name)
        return send(self, data, flags)

    monkeypatch.setattr(BoundedSocket, "send", watched)
    layout = Layout(tmp_path)
    authority.renew(layout, DEVICE)
    broker = connection(authority, layout.client, secure.uri)
    broker.connect()
    (connected,) = eventually(broker.poll)
    assert isinstance(connected, Connected)
    answered: list[Occurrence] = []
    for number in range(3000):
        ticket = broker.publish(Message(f"primum/demo/{DEVICE}/health", b"%d" % number))
        assert ticket is not None
        answered += broker.poll()
    while len(answered) < 3000:
        answered += eventually(broker.poll)
    assert {type(item) for item in answered} == {Acknowledged}
    broker.close(None)
    assert writers == {"mqtt"}
    assert "OpenSSL Error" not in secure.log.read_text().partition(DEVICE)[2]


def test_a_broker_that_never_answers_is_named(
    tmp_path: Path, authority: Authority, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("primum_agent.paho_broker.ANSWER_SECONDS", 0.2)
    silent = ScriptedBroker(authority, never_answers)
    broker = connection(authority, tmp_path / "none.pem", silent.uri)
    broker.connect()
    (ended,) = eventually(broker.poll)
    assert isinstance(ended, Disconnected)
    assert ended.why.startswith(f"{silent.uri}: no answer within")
    silent.close()


def test_whatever_the_library_raises_is_told_as_the_end_of_the_connection(
    tmp_path: Path, authority: Authority, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that died without a word would leave the reporter waiting for ever."""

    def fails(*_: object, **__: object) -> None:
        raise KeyError("a property that the library does not know")

    silent = ScriptedBroker(authority, never_answers)
    monkeypatch.setattr("paho.mqtt.client.Client.loop", fails)
    broker = connection(authority, tmp_path / "none.pem", silent.uri)
    broker.connect()
    (ended,) = eventually(broker.poll)
    assert isinstance(ended, Disconnected)
    assert "a property that the library does not know" in ended.why
    silent.close()


def test_a_flood_of_requests_is_left_and_updates_go_on(
    in_the_field: Any,
    secure: SecureBroker,
    receiver: Peer,
    authority: Authority,
    eventually: Eventually,
) -> None:
    """M04, M05: nothing of it is done, and the connection is given up for a while."""
    field = in_the_field
    authority.renew(field.layout, DEVICE)
    reports_to(field, authority, secure.uri)
    with field.running():
        eventually(lambda: link(field)["link"] == "up")
        field.release("1.0.0", counter=1)
        for number in range(130):
            receiver.client.publish(f"primum/demo/{DEVICE}/request", b"[" * number, qos=1)
        told = eventually(lambda: why(field))
        assert "messages within a minute" in told

        # Its own first poll may still be under way; then the order is turned away as busy.
        eventually(lambda: field.counter("last-poll") and not is_held(field.layout.update_lock))
        assert field.agent("check", "--provisioning", field.provisioning).returncode in {0, 5}
        assert "request.taken" not in field.kinds()
        eventually(lambda: link(field)["link"] == "up", seconds=60)
