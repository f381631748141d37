"""The connection to the broker: messages in, each acknowledged only when it is told to be.

One MQTT 5 session that the broker keeps while the receiver is away, over subscriptions that several
receivers share.  What was handed over and not acknowledged comes again after the next connection,
so a receiver that is killed loses nothing.  All of it runs in the caller's thread: nothing is read
while a batch is being stored, and the broker sends no more than :data:`IN_FLIGHT` ahead.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from primum_repo_tools.fleet.messages import MAX_PACKET_BYTES, End
from primum_verifier.core.errors import BusyError, FailedError, UsageError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.broker_address import BrokerAddress
from primum_verifier.shell.broker_proxy import ProxyAddress, ThroughProxy

IN_FLIGHT = 1000
"""Messages that the broker may send ahead of their acknowledgement."""

SESSION_SECONDS = 30 * 24 * 3600
"""How long the broker keeps what comes while a receiver is away."""

RECEIVE_BUFFER = 256 * 1024
"""Bytes that the system takes in ahead: the library reads a hundred times so much before it asks
whether to go on with a packet."""

KEEP_ALIVE_SECONDS = 60
ANSWER_SECONDS = 20.0
"""Within this a broker answers to a greeting and to a subscription."""

_SUCCESS = MQTTErrorCode.MQTT_ERR_SUCCESS
_TAKEN_OVER = 0x8E


@dataclass(frozen=True, kw_only=True)
class Access:
    """Where the broker is, and how it and the receiver know each other.

    Attributes:
        broker: its address.
        ca: certificates of those who vouch for the broker; None for those the system believes.
        certificate: the receiver's own, with its key; None where the broker asks for none.
        certificate_key: the key of the certificate.
        proxy: the way to a broker over TLS; None for straight.
    """

    broker: BrokerAddress
    ca: Path | None = None
    certificate: Path | None = None
    certificate_key: Path | None = None
    proxy: ProxyAddress | None = None


@dataclass(frozen=True)
class Arrived:
    """One message, and what its acknowledgement names."""

    topic: str
    payload: bytes
    ticket: int
    qos: int


class Subscriber:
    """See the module.

    Args:
        access: the broker.
        fleet: whose devices are listened to.
        name: the receiver's own, the same at each start; no two at once have the same.
    """

    def __init__(self, access: Access, *, fleet: str, name: str) -> None:
        self._address = access.broker
        at = access.broker if access.proxy is None else access.proxy
        self._where = (at.host, at.port)
        self._fleet = fleet
        self._name = name
        self._arrived: list[Arrived] = []
        self._ended = ""
        self._is_taken_over = False
        self._is_heard = False
        self._published: set[int] = set()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"primum-{fleet}-{name}",
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.on_subscribe = self._on_subscribe
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.on_socket_open = self._on_socket_open
        if access.broker.tls:
            self._set_tls(access)

    def connect(self) -> None:
        """Connect and subscribe.

        Raises:
            FailedError: ``broker.unreachable``: it cannot be reached, or refuses.
        """
        self._arrived.clear()
        self._published.clear()
        self._ended, self._is_heard = "", False
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_SECONDS
        properties.ReceiveMaximum = IN_FLIGHT
        properties.MaximumPacketSize = MAX_PACKET_BYTES
        try:
            self._client.connect(
                *self._where,
                keepalive=KEEP_ALIVE_SECONDS,
                clean_start=False,
                properties=properties,
            )
        except (OSError, ValueError) as error:
            raise self._unreachable(str(error) or type(error).__name__) from error
        deadline = time.monotonic() + ANSWER_SECONDS
        while not self._is_heard:
            self._turn(0.1)
            if time.monotonic() > deadline:
                raise self._unreachable("it does not answer")

    def collect(self, *, at_most: int, wait: float) -> list[Arrived]:
        """Messages in the order in which they came; none when nothing came for ``wait`` seconds.

        Raises:
            FailedError: the connection is gone; what was not acknowledged will come again.
            BusyError: another receiver of the same name took the session over.
        """
        deadline = time.monotonic() + wait
        while not self._arrived and (left := deadline - time.monotonic()) > 0:
            self._turn(min(left, 1.0))
        came = -1
        while came < len(self._arrived) < at_most:
            # As long as something is there already: a batch costs one synced write.
            came = len(self._arrived)
            self._turn(0.0)
        found, self._arrived = self._arrived[:at_most], self._arrived[at_most:]
        return found

    def acknowledge(self, messages: Iterable[Arrived]) -> None:
        """Tell the broker that these are stored."""
        for message in messages:
            self._client.ack(message.ticket, message.qos)
        self._turn(0.0)

    def leave(self, device: str, end: str, payload: bytes) -> int:
        """Leave a message for a device, in place of the one before; its ticket."""
        return self._client.publish(self._topic(device, end), payload, qos=1, retain=True).mid

    def send(self, device: str, end: str, payload: bytes) -> int:
        """Send a device that is there a message; its ticket.  It does not outlive the moment."""
        return self._client.publish(self._topic(device, end), payload, qos=1).mid

    def taken(self) -> set[int]:
        """Tickets that the broker answered for with a success since the last call."""
        found, self._published = self._published, set()
        return found

    def close(self) -> None:
        """Say goodbye; the broker keeps the session."""
        self._client.disconnect()

    # Inside

    def _topic(self, device: str, end: str) -> str:
        return f"primum/{self._fleet}/{device}/{end}"

    def _turn(self, wait: float) -> None:
        result = self._client.loop(timeout=wait)
        if self._is_taken_over:
            raise BusyError(
                "Another receiver of this name is connected.",
                reason=Reason.STATE_BUSY,
                where=self._name,
                remedy="Give each receiver a --name of its own.",
            )
        if self._ended or result != _SUCCESS:
            raise self._unreachable(self._ended or str(paho.error_string(result)))
        self._refuse_giants()

    def _refuse_giants(self) -> None:
        """End a connection over which more is sent than was asked for, before it is in memory."""
        # The library has no public word for it: what it is reading is in this one place.
        reading = self._client._in_packet  # noqa: SLF001
        if reading["remaining_length"] > MAX_PACKET_BYTES:
            self._client.disconnect()
            raise self._unreachable(
                f"it sends a packet of {reading['remaining_length']} bytes,"
                f" and at most {MAX_PACKET_BYTES} were asked for"
            )

    def _set_tls(self, access: Access) -> None:
        try:
            context = ssl.create_default_context(cafile=access.ca)
            if access.certificate is not None:
                context.load_cert_chain(access.certificate, access.certificate_key)
        except OSError as error:
            raise UsageError(
                "A certificate or its key cannot be used.",
                reason=Reason.USAGE,
                where=", ".join(str(path) for path in (access.ca, access.certificate) if path),
                found=str(error),
                expected="files in PEM",
            ) from error
        if access.proxy is not None:
            through = ThroughProxy(context, proxy=access.proxy, broker=access.broker)
            context = cast("ssl.SSLContext", through)
        self._client.tls_set_context(context)

    def _unreachable(self, found: str) -> FailedError:
        return FailedError(
            "The broker cannot be used.",
            reason=Reason.BROKER_UNREACHABLE,
            where=self._address.uri,
            found=found,
            remedy="Nothing is lost: what was not acknowledged comes again.",
        )

    @staticmethod
    def _on_socket_open(
        _client: paho.Client,
        _userdata: Any,  # noqa: ANN401 - the library's signature
        opened: Any,  # noqa: ANN401 - a socket, or one that wears TLS
    ) -> None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)

    def _on_connect(
        self,
        client: paho.Client,
        _userdata: Any,  # noqa: ANN401 - the library's signature
        _flags: paho.ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._ended = str(reason)
            return
        each = SubscribeOptions(qos=1)
        shared = [
            (f"$share/primum-receivers/primum/{self._fleet}/+/{end}", each)
            for end in (End.PROVENANCE, End.HEAD, End.HEALTH, End.MONITOR)
        ]
        # What is retained is not sent to those who share: each receiver hears every status.
        client.subscribe([*shared, (f"primum/{self._fleet}/+/{End.STATUS}", each)])

    def _on_subscribe(
        self,
        _client: paho.Client,
        _userdata: Any,  # noqa: ANN401 - the library's signature
        _ticket: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        self._is_heard = True
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            self._ended = f"it refuses a subscription: {refused[0]}"

    def _on_message(
        self,
        _client: paho.Client,
        _userdata: Any,  # noqa: ANN401 - the library's signature
        message: paho.MQTTMessage,
    ) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        self._arrived.append(Arrived(topic, bytes(message.payload), message.mid, message.qos))

    def _on_publish(
        self,
        _client: paho.Client,
        _userdata: Any,  # noqa: ANN401 - the library's signature
        ticket: int,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if not reason.is_failure:
            self._published.add(ticket)

    def _on_disconnect(
        self,
        _client: paho.Client,
        _userdata: Any,  # noqa: ANN401 - the library's signature
        _flags: paho.DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        # The library calls once more when it closes the socket, without the broker's reason.
        self._ended = self._ended or str(reason)
        self._is_taken_over = self._is_taken_over or reason.value == _TAKEN_OVER
