"""The broker port: what the reporter needs of MQTT 5, and no more.

The connection runs in a thread of its own, and its callbacks do nothing but put into a queue:
an exception in one of them would end the network thread unseen.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from primum_agent.settings import BrokerAddress

KEEP_ALIVE_SECONDS = 60
SESSION_SECONDS = 24 * 3600
CONNECT_SECONDS = 5.0
MAX_IN_FLIGHT = 20
_LOOP_SECONDS = 30.0
_GOODBYE_SECONDS = 1.0
_SUCCESS = MQTTErrorCode.MQTT_ERR_SUCCESS


@dataclass(frozen=True)
class Connected:
    """The broker took the connection.

    Attributes:
        in_flight: how many messages it lets wait for acknowledgement.
        max_bytes: the largest packet it takes, if it says so.
    """

    in_flight: int
    max_bytes: int | None


@dataclass(frozen=True)
class Disconnected:
    """There is no connection any more, or none came about; ``why`` is for people."""

    why: str


@dataclass(frozen=True)
class Acknowledged:
    """The broker answered for one message; ``refused`` holds its reason if it did not take it."""

    ticket: int
    refused: str = ""


Occurrence = Connected | Disconnected | Acknowledged


@dataclass(frozen=True)
class Message:
    """One message; ``retain`` lets the broker show it to those who come later."""

    topic: str
    payload: bytes
    retain: bool = False


class Broker(Protocol):
    """The port."""

    def connect(self) -> None:
        """Begin one attempt to connect; :meth:`poll` tells how it went."""

    def publish(self, message: Message) -> int | None:
        """Hand one message over; its ticket, or None when it was not taken."""

    def poll(self) -> list[Occurrence]:
        """What happened since the last call."""

    def close(self, last: Message | None) -> None:
        """Say goodbye with a last message, within a second or two."""


class PahoBroker:
    """MQTT 5 by paho, one connection attempt at a time; when to try again is the reporter's.

    Args:
        address: the broker.
        client_id: the device's id; two devices of one id throw each other out.
        will: what the broker says when the device falls silent.
        wake: called from the network thread when :meth:`poll` has something.
    """

    def __init__(
        self, *, address: BrokerAddress, client_id: str, will: Message, wake: Callable[[], None]
    ) -> None:
        self._address = address
        self._wake = wake
        self._queue: queue.SimpleQueue[Occurrence] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        # Both named explicitly: the defaults are MQTT 3.1.1, under which a refused publish is
        # acknowledged as a success.
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
        )
        self._client.connect_timeout = CONNECT_SECONDS
        self._client.will_set(will.topic, will.payload, qos=1, retain=will.retain)
        self._client.on_connect = self._on_connect
        self._client.on_publish = self._on_publish

    def connect(self) -> None:
        """See :class:`Broker`."""
        if self._thread is not None:
            # It has said that it ends; it does so within a moment.
            self._thread.join(timeout=1.0)
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._thread.start()

    def publish(self, message: Message) -> int | None:
        """See :class:`Broker`."""
        try:
            info = self._client.publish(
                message.topic, message.payload, qos=1, retain=message.retain
            )
        except (ValueError, OSError):
            return None
        return info.mid if info.rc == _SUCCESS else None

    def poll(self) -> list[Occurrence]:
        """See :class:`Broker`."""
        found: list[Occurrence] = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._queue.get_nowait())
        return found

    def close(self, last: Message | None) -> None:
        """See :class:`Broker`."""
        self._stopping.set()
        if self._client.is_connected():
            if last is not None:
                with contextlib.suppress(ValueError, RuntimeError, OSError):
                    info = self._client.publish(last.topic, last.payload, qos=1, retain=True)
                    info.wait_for_publish(timeout=_GOODBYE_SECONDS)
            self._client.disconnect()
        if self._thread is not None:
            # One that still tries to connect is not waited for: it ends with the process.
            self._thread.join(timeout=_GOODBYE_SECONDS)

    # The network thread

    def _run(self) -> None:
        try:
            why = self._converse()
        except (OSError, ValueError) as error:
            why = str(error) or type(error).__name__
        self._put(Disconnected(why=why))

    def _converse(self) -> str:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_SECONDS
        # The journal is the outbox: what paho still holds of an earlier connection is offered
        # again from there, and a message that the broker cannot stand must not loop for ever.
        self._client.drop_out_messages()
        result = self._client.connect(
            self._address.host,
            self._address.port,
            keepalive=KEEP_ALIVE_SECONDS,
            clean_start=False,
            properties=properties,
        )
        while result == _SUCCESS:
            result = self._client.loop(timeout=_LOOP_SECONDS)
            if self._stopping.is_set() and not self._client.is_connected():
                return "closed"
        return str(paho.error_string(result))

    def _put(self, occurrence: Occurrence) -> None:
        self._queue.put(occurrence)
        with contextlib.suppress(OSError):
            self._wake()

    def _on_connect(
        self,
        _client: paho.Client,
        _userdata: Any,  # noqa: ANN401 - the library's signature
        _flags: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._put(Disconnected(why=str(reason)))
            return
        granted = getattr(properties, "ReceiveMaximum", MAX_IN_FLIGHT)
        self._put(
            Connected(
                in_flight=min(MAX_IN_FLIGHT, granted),
                max_bytes=getattr(properties, "MaximumPacketSize", None),
            )
        )

    def _on_publish(
        self,
        _client: paho.Client,
        _userdata: Any,  # noqa: ANN401 - the library's signature
        ticket: int,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._put(Acknowledged(ticket=ticket, refused=str(reason) if reason.is_failure else ""))


@dataclass
class FakeBroker:
    """The double: takes messages in memory while ``up``, and answers when it is polled.

    Attributes:
        up: whether a connection comes about.
        refuses: a reason with which each message is refused; empty takes all.
        silent: takes messages and never answers for one.
        messages: what was taken, in order.
        offered: how many messages were handed over in all.
    """

    up: bool = True
    refuses: str = ""
    silent: bool = False
    messages: list[Message] = field(default_factory=list)
    offered: int = 0
    connected: bool = False
    pending: list[Occurrence] = field(default_factory=list)

    def connect(self) -> None:
        """See :class:`Broker`."""
        self.connected = self.up
        occurrence: Occurrence = Disconnected(why="down")
        if self.up:
            occurrence = Connected(in_flight=MAX_IN_FLIGHT, max_bytes=None)
        self.pending.append(occurrence)

    def drop(self) -> None:
        """Let the connection break; answers still under way are lost with it."""
        self.connected = False
        self.pending = [Disconnected(why="dropped")]

    def publish(self, message: Message) -> int | None:
        """See :class:`Broker`."""
        if not self.connected:
            return None
        self.offered += 1
        if not self.refuses:
            self.messages.append(message)
        if not self.silent:
            self.pending.append(Acknowledged(ticket=self.offered, refused=self.refuses))
        return self.offered

    def poll(self) -> list[Occurrence]:
        """See :class:`Broker`."""
        found, self.pending = self.pending, []
        return found

    def close(self, last: Message | None) -> None:
        """See :class:`Broker`."""
        if self.connected and last is not None:
            self.messages.append(last)
        self.connected = False
