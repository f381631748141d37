"""MQTT 5 by paho, over TLS, to the first of several brokers that takes the connection.

The connection runs in a thread of its own, and its callbacks do nothing but put into a queue:
an exception in one of them ends the connection, and that is told like any other end.
"""

from __future__ import annotations

import contextlib
import math
import queue
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from primum_agent.broker import (
    MAX_HANDED_OVER,
    MAX_IN_FLIGHT,
    Acknowledged,
    Arrived,
    Connected,
    Deaf,
    Disconnected,
    Message,
    Occurrence,
)
from primum_agent.broker_tls import TlsFiles, make_context, why_not_taken
from primum_agent.packet_watch import MAX_PACKET_BYTES, PacketWatch
from primum_verifier.shell.broker_address import BrokerAddress
from primum_verifier.shell.broker_proxy import ProxyAddress, ThroughProxy

KEEP_ALIVE_SECONDS = 60
SESSION_SECONDS = 24 * 3600
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 15.0
"""How long a broker may take from the connection to its first answer, and to the next."""

SHORT_SECONDS = 300.0
"""A connection that ended sooner was not a good one: the next broker is tried first."""

WOKEN_BELOW = MAX_HANDED_OVER // 2
"""As long as more is under way, the broker's answers wake nobody: there is enough to send."""

MAX_ARRIVALS = 60
"""Messages that a broker may send within a minute; with more of them it is left."""

_ARRIVAL_SECONDS = 60.0
LOOP_SECONDS = 30.0
_GOODBYE_SECONDS = 1.0
_SUCCESS = MQTTErrorCode.MQTT_ERR_SUCCESS
_KEEP_ALIVE = 0x8D
_TAKEN_OVER = 0x8E
"""Why a connection ends (MQTT 5, 3.14.2.1): no ping was answered; another one came of this id."""


class PahoBroker:
    """One connection at a time; when to try again is the reporter's to say.

    Args:
        addresses: the brokers, the one that is tried first at the front.
        tls: the files that a connection is made with.
        client_id: the device's id; two devices of one id throw each other out.
        will: what the broker says when the device falls silent.
        listens: the topic on which the device may be asked.
        hears: the topic on which what is retained for it is read as well.
        wake: called from the network thread when :meth:`poll` has something.
        proxy: the way to brokers over TLS; None for straight.
    """

    def __init__(
        self,
        *,
        addresses: tuple[BrokerAddress, ...],
        tls: TlsFiles,
        client_id: str,
        will: Message,
        listens: str,
        hears: str,
        wake: Callable[[], None],
        proxy: ProxyAddress | None = None,
    ) -> None:
        self._addresses = addresses
        self._tls = tls
        self._client_id = client_id
        self._will = will
        self._listens = listens
        self._hears = hears
        self._wake = wake
        self._proxy = proxy
        self._watch = PacketWatch()
        self._queue: queue.SimpleQueue[Occurrence] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._client = self._new_client()
        self._at = addresses[0]
        self._first = 0
        self._answered, self._heard = False, False
        self._refused, self._lost = "", ""
        self._goodbye: ReasonCode | None = None
        self._arrivals: deque[float] = deque(maxlen=MAX_ARRIVALS)

    def connect(self) -> None:
        """See :class:`primum_agent.broker.Broker`."""
        if self._thread is not None:
            # It has said that it ends; it does so within a moment.
            self._thread.join(timeout=1.0)
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._thread.start()

    def publish(self, message: Message) -> int | None:
        """See :class:`primum_agent.broker.Broker`."""
        properties = None
        if message.lasts is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.MessageExpiryInterval = max(1, math.ceil(message.lasts))
        self._watch.owes()
        try:
            info = self._client.publish(
                message.topic,
                message.payload,
                qos=1,
                retain=message.retain,
                properties=properties,
            )
        except (ValueError, OSError):
            return None
        return info.mid if info.rc == _SUCCESS else None

    def poll(self) -> list[Occurrence]:
        """See :class:`primum_agent.broker.Broker`."""
        found: list[Occurrence] = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._queue.get_nowait())
        return found

    def close(self, last: Message | None) -> None:
        """See :class:`primum_agent.broker.Broker`."""
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
        """Converse with the first broker that answers; say why it ended, or why none did."""
        whys = []
        for number in range(len(self._addresses)):
            at = (self._first + number) % len(self._addresses)
            began = time.monotonic()
            why = self._talk_to(self._addresses[at])
            whys.append(f"{self._at.uri}: {why}")
            if self._answered or self._stopping.is_set():
                good = time.monotonic() - began > SHORT_SECONDS
                self._first = 0 if good else (at + 1) % len(self._addresses)
                whys = whys[-1:]
                break
        said = self._goodbye
        taken_over = said is not None and said.value == _TAKEN_OVER
        self._put(Disconnected(why="; ".join(whys), taken_over=taken_over))

    def _talk_to(self, address: BrokerAddress) -> str:
        self._at, self._answered, self._heard = address, False, False
        self._refused, self._lost, self._goodbye = "", "", None
        self._arrivals.clear()
        try:
            why = self._converse(address)
        except Exception as error:  # noqa: BLE001 - what the library makes of hostile bytes: of many kinds, and the end of this connection alone
            why = str(error) or type(error).__name__
        return self._explained(why, address)

    def _explained(self, why: str, address: BrokerAddress) -> str:
        if self._refused:
            return self._refused
        if self._watch.why:
            return self._watch.why
        if self._goodbye is not None:
            why = f"the broker ended the connection: {self._goodbye}"
        if not self._answered and address.tls:
            why = f"{why}; {why_not_taken(self._tls)}"
        return why

    def _converse(self, address: BrokerAddress) -> str:
        # A new client each time: what an earlier one still holds is offered again from the
        # journal, and a message that a broker cannot stand must not loop for ever.
        client = self._new_client()
        version = self._tls.client_version()
        self._watch = PacketWatch()
        where = (address.host, address.port)
        if address.tls:
            context = make_context(self._tls, self._watch)
            if self._proxy is not None:
                where = (self._proxy.host, self._proxy.port)
                through = ThroughProxy(context, proxy=self._proxy, broker=address)
                context = cast("ssl.SSLContext", through)
            client.tls_set_context(context)
        self._client = client
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_SECONDS
        properties.MaximumPacketSize = MAX_PACKET_BYTES
        result = client.connect(
            *where, keepalive=KEEP_ALIVE_SECONDS, clean_start=False, properties=properties
        )
        answer_by = time.monotonic() + ANSWER_SECONDS
        while result == _SUCCESS:
            wait = LOOP_SECONDS if self._heard else answer_by - time.monotonic()
            if wait <= 0:
                if self._answered:
                    self._leave(client)
                    return f"no answer to the subscription within {ANSWER_SECONDS:.0f} s"
                return f"no answer within {ANSWER_SECONDS:.0f} s"
            result = client.loop(timeout=wait)
            if self._stopping.is_set() and not client.is_connected():
                return "closed"
            if self._answered and self._tls.client_version() != version and address.tls:
                self._leave(client)
                return "another certificate of this device is in force"
        return self._lost or str(paho.error_string(result))

    @staticmethod
    def _leave(client: paho.Client) -> None:
        """Say goodbye until it is sent: a broker that is not told takes the device for dead."""
        client.disconnect()
        until = time.monotonic() + _GOODBYE_SECONDS
        while client.loop(timeout=_GOODBYE_SECONDS / 10) == _SUCCESS:
            if time.monotonic() > until:
                return

    def _new_client(self) -> paho.Client:
        # Both named explicitly: the defaults are MQTT 3.1.1, under which a refused publish is
        # acknowledged as a success.
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_SECONDS
        client.max_inflight_messages_set(MAX_IN_FLIGHT)
        client.will_set(self._will.topic, self._will.payload, qos=1, retain=self._will.retain)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        # With this set, who publishes only queues and wakes the network thread.  Otherwise the
        # library writes at once, from whatever thread, into a TLS connection that the network
        # thread is reading: its records come out broken ("bad record mac"), now and then.
        client.on_socket_register_write = _leave_writing_to_the_loop
        return client

    def _put(self, occurrence: Occurrence) -> None:
        self._queue.put(occurrence)
        self._ring()

    def _ring(self) -> None:
        with contextlib.suppress(OSError):
            self._wake()

    def _on_connect(
        self,
        client: paho.Client,
        _userdata: Any,  # noqa: ANN401 - the library's signature
        _flags: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            # The library ends the connection itself.
            self._refused = str(reason)
            return
        self._answered = True
        # What is retained comes at each connection, so that none of it need wait for the device.
        wanted = {self._listens: SubscribeOptions(qos=1), self._hears: SubscribeOptions(qos=0)}
        client.subscribe(list(wanted.items()))
        granted = max(1, getattr(properties, "ReceiveMaximum", MAX_IN_FLIGHT))
        # What is beyond its window the library holds back; it looks at no smaller one by itself.
        client._max_inflight_messages = min(MAX_IN_FLIGHT, granted)  # noqa: SLF001
        self._put(
            Connected(
                address=self._at.uri,
                takes=MAX_HANDED_OVER,
                max_bytes=getattr(properties, "MaximumPacketSize", None),
            )
        )

    def _on_disconnect(
        self,
        _client: paho.Client,
        _userdata: Any,  # noqa: ANN401 - the library's signature
        flags: paho.DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        # Whatever it proposes instead, another server above all, is not looked at.
        if flags.is_disconnect_packet_from_server:
            self._goodbye = reason
        elif reason.value == _KEEP_ALIVE:
            self._lost = "no answer to a ping"

    def _on_subscribe(
        self,
        _client: paho.Client,
        _userdata: Any,  # noqa: ANN401 - the library's signature
        _ticket: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        self._heard = True
        # The first is for requests; a broker that keeps receipts back only leaves them unknown.
        refused = next((str(reason) for reason in reasons[:1] if reason.is_failure), "")
        if refused:
            self._put(Deaf(why=refused))

    def _on_publish(
        self,
        _client: paho.Client,
        _userdata: Any,  # noqa: ANN401 - the library's signature
        ticket: int,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        refused = str(reason) if reason.is_failure else ""
        self._queue.put(Acknowledged(ticket=ticket, refused=refused))
        if refused or self._watch.owed <= WOKEN_BELOW:
            self._ring()

    def _on_message(
        self,
        _client: paho.Client,
        _userdata: Any,  # noqa: ANN401 - the library's signature
        message: paho.MQTTMessage,
    ) -> None:
        now = time.monotonic()
        if len(self._arrivals) == MAX_ARRIVALS and now - self._arrivals[0] < _ARRIVAL_SECONDS:
            text = f"the broker sent {MAX_ARRIVALS} messages within a minute"
            raise OSError(text)
        self._arrivals.append(now)
        if not message.retain and message.topic == self._listens:
            self._put(Arrived(payload=bytes(message.payload)))
        elif message.topic == self._hears:
            self._put(Arrived(payload=bytes(message.payload), end="receipt"))


def _leave_writing_to_the_loop(*_: object) -> None:
    """The loop is woken by the library itself."""
