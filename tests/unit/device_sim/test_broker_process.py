"""The broker of tests and demo: its own port, MQTT 5, nothing lost, nothing left running."""

import os
import signal
import socket
import threading
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from primum_device_sim.broker import BrokerHandle, find_broker, running_broker
from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason

SECONDS = 20.0


SESSION_SECONDS = 600  # how long the broker keeps a receiver's session after it left


class Mailbox:
    """An MQTT 5 client that notes what it receives and which of its messages were acknowledged."""

    def __init__(self, broker: BrokerHandle, name: str, *, session_seconds: int = 0) -> None:
        self.received: list[bytes] = []
        self.acknowledged: list[ReasonCode] = []
        self.connected = threading.Event()
        self.subscribed = threading.Event()
        self.changed = threading.Condition()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv5)
        self.client.on_connect = lambda *_: self.connected.set()
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.on_message = self._on_message
        self.client.on_publish = self._on_publish
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's own
        properties.SessionExpiryInterval = session_seconds
        self.client.connect(
            broker.host, broker.port, clean_start=not session_seconds, properties=properties
        )
        self.client.loop_start()
        assert self.connected.wait(SECONDS)

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        with self.changed:
            self.received.append(bytes(message.payload))
            self.changed.notify_all()

    def _on_publish(
        self, _client: paho.Client, _data: object, _mid: int, code: ReasonCode, _p: Properties
    ) -> None:
        with self.changed:
            self.acknowledged.append(code)
            self.changed.notify_all()

    def wait_for(self, *, received: int = 0, acknowledged: int = 0) -> None:
        """Waits until so many messages came in and so many were acknowledged."""
        with self.changed:
            assert self.changed.wait_for(
                lambda: len(self.received) >= received and len(self.acknowledged) >= acknowledged,
                timeout=SECONDS,
            )

    def close(self) -> None:
        """Takes leave and ends the network thread."""
        self.client.disconnect()
        self.client.loop_stop()


def test_report_reaches_a_subscriber_over_mqtt5(broker: BrokerHandle) -> None:
    receiver, device = Mailbox(broker, "receiver"), Mailbox(broker, "device")
    receiver.client.subscribe("primum/#", qos=1)
    assert receiver.subscribed.wait(SECONDS)
    device.client.publish("primum/device/event", b"activated", qos=1)
    device.wait_for(acknowledged=1)
    receiver.wait_for(received=1)
    device.close()
    receiver.close()
    assert receiver.received == [b"activated"]
    assert not device.acknowledged[0].is_failure


def test_reports_for_an_absent_receiver_are_not_dropped_beyond_the_default_of_thousand(
    broker: BrokerHandle,
) -> None:
    count = 1500
    receiver = Mailbox(broker, "receiver", session_seconds=SESSION_SECONDS)
    receiver.client.subscribe("primum/#", qos=1)
    assert receiver.subscribed.wait(SECONDS)
    receiver.close()
    device = Mailbox(broker, "device")
    for number in range(count):
        device.client.publish("primum/device/event", str(number).encode(), qos=1)
    device.wait_for(acknowledged=count)
    device.close()
    again = Mailbox(broker, "receiver", session_seconds=SESSION_SECONDS)
    again.wait_for(received=count)
    again.close()
    assert again.received == [str(number).encode() for number in range(count)]


def test_two_brokers_do_not_meet(broker_executable: Path, tmp_path: Path) -> None:
    with (
        running_broker(broker_executable, tmp_path / "one") as one,
        running_broker(broker_executable, tmp_path / "two") as two,
    ):
        assert one.port != two.port
        assert {one.host, two.host} == {"127.0.0.1"}


def test_broker_comes_back_on_the_same_port(broker_executable: Path, tmp_path: Path) -> None:
    with running_broker(broker_executable, tmp_path) as first:
        Mailbox(first, "device").close()
    with running_broker(broker_executable, tmp_path, port=first.port) as again:
        assert again.port == first.port
        Mailbox(again, "device").close()


@pytest.mark.parametrize(
    ("act", "ends_with"), [(signal.SIGSTOP, 0), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_nothing_runs_on_after_the_block(
    act: signal.Signals, ends_with: int, broker_executable: Path, tmp_path: Path
) -> None:
    with running_broker(broker_executable, tmp_path) as broker:
        broker.process.send_signal(act)
    assert broker.process.returncode == ends_with
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((broker.host, broker.port), timeout=SECONDS)


def test_broker_ends_when_the_block_fails(broker_executable: Path, tmp_path: Path) -> None:
    class DemoFailedError(Exception):
        pass

    with (
        pytest.raises(DemoFailedError),
        running_broker(broker_executable, tmp_path) as broker,
    ):
        raise DemoFailedError
    assert broker.process.returncode is not None


def test_port_of_somebody_else_is_refused(broker_executable: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with (
            pytest.raises(FailedError) as refusal,
            running_broker(broker_executable, tmp_path, port=port),
        ):
            pytest.fail("the broker was taken for ready")
    assert refusal.value.reason is Reason.BROKER_UNREACHABLE
    assert str(port) in refusal.value.where


def test_wrong_setting_is_explained_from_the_log(broker_executable: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(FailedError) as failure,
        running_broker(broker_executable, tmp_path, extra_settings=("no_such_setting 1",)),
    ):
        pytest.fail("the broker was taken for ready")
    assert failure.value.reason is Reason.BROKER_UNREACHABLE
    assert "no_such_setting" in failure.value.found


def test_program_that_is_no_program_is_explained(tmp_path: Path) -> None:
    nothing = tmp_path / "mosquitto"
    nothing.write_bytes(b"\x00not a program")
    nothing.chmod(0o755)
    with (
        pytest.raises(FailedError) as failure,
        running_broker(nothing, tmp_path / "folder"),
    ):
        pytest.fail("the broker was taken for ready")
    assert failure.value.reason is Reason.BROKER_UNREACHABLE
    assert failure.value.remedy


def test_named_broker_goes_before_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "my-broker"
    named.write_text("#!/bin/sh\n")
    named.chmod(0o755)
    monkeypatch.setenv("PRIMUM_MOSQUITTO", str(named))
    assert find_broker() == named


def test_named_broker_that_is_missing_is_never_replaced_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIMUM_MOSQUITTO", str(tmp_path / "gone"))
    with pytest.raises(FailedError) as failure:
        find_broker()
    assert failure.value.reason is Reason.BROKER_UNREACHABLE
    assert "gone" in failure.value.where


def test_recorded_broker_goes_before_an_installed_one_that_nobody_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    unpacked, installed = tmp_path / "unpacked", programs / "mosquitto"
    for program in (unpacked, installed):
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    record = tmp_path / ".cache" / "mosquitto" / "path"
    record.parent.mkdir(parents=True)
    record.write_text(f"{unpacked}\n")
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    monkeypatch.delenv("PRIMUM_MOSQUITTO", raising=False)
    monkeypatch.setenv("PATH", os.fspath(programs))
    assert find_broker() == unpacked
    unpacked.unlink()
    monkeypatch.setattr("primum_device_sim.broker.RECORDED_PATH", Path("nowhere"))
    assert find_broker() == installed


def test_missing_broker_is_named_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PRIMUM_MOSQUITTO", raising=False)
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    monkeypatch.setattr("primum_device_sim.broker.SYSTEM_FOLDERS", ())
    monkeypatch.setattr("primum_device_sim.broker.RECORDED_PATH", Path("nowhere"))
    with pytest.raises(FailedError) as failure:
        find_broker()
    assert failure.value.reason is Reason.BROKER_UNREACHABLE
    assert "make broker" in failure.value.remedy
