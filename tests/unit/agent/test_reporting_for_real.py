"""The whole device against a real MQTT 5 broker: what a real subscriber holds in the end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from primum_agent.report_classes import HEALTH
from primum_device_sim.broker import BrokerHandle, running_broker
from primum_verifier.record.chain import check_history

Eventually = Callable[..., Any]


class Subscriber:
    """A real MQTT 5 subscriber of the whole fleet."""

    def __init__(self, port: int) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.lasts: dict[str, set[int | None]] = {}
        self.ready = False
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id="subscriber", protocol=paho.MQTTv5
        )
        self.client.on_message = lambda _, __, message: self._take(message)
        self.client.on_subscribe = self._subscribed
        self.client.on_connect = lambda client, *_: client.subscribe("primum/demo/#", qos=1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _take(self, message: paho.MQTTMessage) -> None:
        end = message.topic.rpartition("/")[2]
        left = getattr(message.properties, "MessageExpiryInterval", None)
        self.lasts.setdefault(end, set()).add(left)
        self.messages.append((end, bytes(message.payload)))

    def _subscribed(self, *_: object) -> None:
        self.ready = True

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def of(self, end: str) -> list[bytes]:
        return [payload for topic, payload in self.messages if topic == end]

    def presence(self) -> list[str]:
        return [json.loads(payload)["presence"] for payload in self.of("status")]


@pytest.fixture
def subscriber(broker: BrokerHandle, eventually: Eventually) -> Iterator[Subscriber]:
    made = Subscriber(broker.port)
    eventually(lambda: made.ready)
    yield made
    made.close()


def test_a_subscriber_holds_the_whole_proven_history(
    in_the_field: Any, broker: BrokerHandle, subscriber: Subscriber, eventually: Eventually
) -> None:
    field = in_the_field
    field.write("agent.toml", field.settings(3600, broker.port).encode())
    field.release("1.0.0", counter=1)
    with field.running():
        eventually(lambda: "update.activated" in field.kinds())
        eventually(lambda: len(subscriber.of("head")) >= 1)
        eventually(lambda: subscriber.of("provenance") == _lines(field))
        eventually(lambda: "online" in subscriber.presence())
        assert subscriber.of("health")
        assert subscriber.lasts.pop("health") <= {HEALTH.lasts, HEALTH.lasts - 1}
        assert set(subscriber.lasts) == {"status", "provenance", "head"}
        assert set().union(*subscriber.lasts.values()) == {None}, "what is proven does not expire"
    eventually(lambda: subscriber.presence()[-1] == "offline")
    history = [payload for topic, payload in subscriber.messages if topic in {"provenance", "head"}]
    report = check_history(history, device_key=field.device_key)
    assert not report.gaps
    assert report.whole, "signed to its very end, the stop included"


def _lines(field: Any) -> list[bytes]:
    journal = field.journal()
    try:
        return list(journal.events())
    finally:
        journal.close()


def test_a_device_that_dies_is_reported_dead_by_its_broker(
    in_the_field: Any, broker: BrokerHandle, subscriber: Subscriber, eventually: Eventually
) -> None:
    field = in_the_field
    field.write("agent.toml", field.settings(3600, broker.port).encode())
    with field.running() as process:
        eventually(lambda: "online" in subscriber.presence())
        process.kill()
        process.wait()
    eventually(lambda: subscriber.presence()[-1] == "offline")


def test_a_broker_that_is_away_holds_no_update_and_gets_everything_later(
    in_the_field: Any, broker_executable: Any, eventually: Eventually
) -> None:
    field = in_the_field
    with running_broker(broker_executable, field.folder / "first") as first:
        port = first.port
    field.write("agent.toml", field.settings(3600, port).encode())
    field.release("1.0.0", counter=1)
    with field.running():
        eventually(lambda: "update.activated" in field.kinds())
        status = json.loads(field.agent("status", "--json").stdout)
        assert status["supervisor"]["broker"]["link"] in {"down", "connecting"}
        assert status["eventsWaiting"] > 5
        told = field.agent("doctor", "--provisioning", field.provisioning)
        assert told.returncode == 3
        assert "BAD  broker" in told.stdout
    with running_broker(broker_executable, field.folder / "second") as second:
        later = Subscriber(second.port)
        eventually(lambda: later.ready)
        field.write("agent.toml", field.settings(3600, second.port).encode())
        with field.running():
            eventually(lambda: _waiting(field) == 0)
            eventually(lambda: later.of("head"))
        later.close()
    received = [payload for topic, payload in later.messages if topic in {"provenance", "head"}]
    assert not check_history(received, device_key=field.device_key).gaps


def _waiting(field: Any) -> int:
    journal = field.journal()
    try:
        return int(journal.waiting_count())
    finally:
        journal.close()


def test_a_single_run_reports_before_it_ends(
    in_the_field: Any, broker: BrokerHandle, subscriber: Subscriber, eventually: Eventually
) -> None:
    field = in_the_field
    field.write("agent.toml", field.settings(3600, broker.port).encode())
    began = time.monotonic()
    assert field.once().returncode == 0
    assert time.monotonic() - began < 10
    eventually(lambda: len(subscriber.of("provenance")) >= 2)
