"""A real subscriber of the devices' topics: what a receiving end would see."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.subscribeoptions import SubscribeOptions

from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.durable import storage_error

_CONNECT_SECONDS = 10.0
_TICK_SECONDS = 0.1
_TOPIC_PARTS = 4


@dataclass(frozen=True)
class Message:
    """One message as it came off the wire."""

    topic: str
    payload: bytes
    retained: bool


class Subscriber:
    """Collects every message below a topic, in the order of arrival.

    Args:
        host: the broker's address.
        port: the broker's port.
        topic: the filter that is subscribed to, with QoS 1.
    """

    def __init__(self, *, host: str, port: int, topic: str) -> None:
        self._host = host
        self._port = port
        self._topic = topic
        self._messages: list[Message] = []
        self._lock = threading.Lock()
        self._seen: dict[str, int] = {}

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Subscribe and collect until the end of the block.

        Raises:
            FailedError: ``broker.unreachable``.
        """
        ready = threading.Event()
        client = Client(
            CallbackAPIVersion.VERSION2,
            "primum-demo-subscriber",
            protocol=MQTTProtocolVersion.MQTTv5,
        )
        client.on_message = self._take
        client.on_subscribe = lambda *_: ready.set()
        try:
            client.connect(self._host, self._port)
        except OSError as error:
            raise _unreachable(f"{self._host}:{self._port}", str(error)) from error
        client.subscribe(self._topic, options=SubscribeOptions(qos=1))
        client.loop_start()
        try:
            if not ready.wait(_CONNECT_SECONDS):
                raise _unreachable(f"{self._host}:{self._port}", "no answer to the subscription")
            yield
        finally:
            client.disconnect()
            client.loop_stop()

    def _take(self, _: Client, __: object, message: MQTTMessage) -> None:
        with self._lock:
            self._messages.append(
                Message(message.topic, bytes(message.payload), bool(message.retain))
            )

    def messages(self) -> list[Message]:
        """Everything received so far."""
        with self._lock:
            return list(self._messages)

    def lines(self, device: str) -> list[bytes]:
        """The events and signed heads of one device, as the lines of a history."""
        wanted = {(device, "provenance"), (device, "head")}
        return [item.payload for item in self.messages() if _parts(item.topic) in wanted]

    def events(self, device: str) -> list[dict[str, Any]]:
        """The events of one device, each once, in the order of their numbers."""
        found: dict[str, dict[str, Any]] = {}
        for message in self.messages():
            if _parts(message.topic) == (device, "provenance"):
                event = json.loads(message.payload)
                found[event["id"]] = event
        return sorted(found.values(), key=lambda event: str(event["sequence"]))

    def proven_head(self, device: str) -> int | None:
        """The number of a signed head that covers every event received; None: not yet."""
        heads = [
            json.loads(base64.b64decode(json.loads(item.payload)["payload"]))
            for item in self.messages()
            if _parts(item.topic) == (device, "head")
        ]
        events = self.events(device)
        newest = int(events[-1]["sequence"]) if events else 0
        return next((head["sequence"] for head in heads if head["sequence"] >= newest), None)

    def devices(self) -> list[str]:
        """The devices that reported."""
        return sorted({_parts(message.topic)[0] for message in self.messages()} - {""})

    def seen(self, device: str) -> int:
        """The number of the last event of a device that the story has told."""
        return self._seen.get(device, 0)

    def mark_seen(self, device: str, sequence: int) -> None:
        """Remember that the story has told the events of a device up to this number."""
        self._seen[device] = max(sequence, self.seen(device))


def follow(*, host: str, port: int, device: str, output: Path) -> Iterator[str]:
    """Keep a device's events and signed heads in a file, and tell each event in a line.

    Args:
        host: the broker's address.
        port: the broker's port.
        device: whose reports.
        output: replaced, then appended to as messages come.

    Yields:
        A line for a person, for each event. It ends only by being interrupted.

    Raises:
        FailedError: there is no broker, or the file cannot be written.
    """
    subscriber = Subscriber(host=host, port=port, topic=f"primum/+/{device}/#")
    told = 0
    try:
        with output.open("wb") as file, subscriber.listening():
            while True:
                lines = subscriber.lines(device)
                for line in lines[told:]:
                    file.write(line + b"\n")
                    file.flush()
                    if (text := _told(line)) is not None:
                        yield text
                told = len(lines)
                time.sleep(_TICK_SECONDS)
    except OSError as error:
        raise storage_error(error, output) from error


def _told(line: bytes) -> str | None:
    """An event as a person reads it; None for a signed head."""
    event = json.loads(line)
    if "specversion" not in event:
        return None
    kind = str(event["type"]).removeprefix("primum.device.")
    reasons = event["data"].get("reasons", ())
    return "  ".join(filter(None, [event["time"], kind, event.get("subject", ""), *reasons]))


def _parts(topic: str) -> tuple[str, str]:
    parts = topic.split("/")
    return (parts[2], parts[3]) if len(parts) == _TOPIC_PARTS else ("", "")


def _unreachable(where: str, found: str) -> FailedError:
    return FailedError(
        "The broker cannot be reached.",
        reason=Reason.BROKER_UNREACHABLE,
        where=where,
        found=found,
        expected="an MQTT 5 broker",
        remedy="Start one: primum-sim broker --port PORT",
    )
