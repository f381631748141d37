"""The broker port: what the reporter needs of MQTT 5, and no more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

MAX_IN_FLIGHT = 20
"""Messages on the way to a broker that it did not answer for, whatever it allows."""

MAX_HANDED_OVER = 64
"""Messages that a connection holds, those on the way among them: as one is answered for it sends
the next by itself, and nobody need be woken for each."""


@dataclass(frozen=True)
class Connected:
    """The broker took the connection.

    Attributes:
        address: which one it was.
        takes: how many messages it holds at a time, those on the way among them.
        max_bytes: the largest packet it takes, if it says so.
    """

    address: str
    takes: int
    max_bytes: int | None


@dataclass(frozen=True)
class Disconnected:
    """There is no connection any more, or none came about.

    Attributes:
        why: for people.
        taken_over: whether the broker says that somebody else connected under this device's id.
    """

    why: str
    taken_over: bool = False


@dataclass(frozen=True)
class Deaf:
    """The broker takes reports, and lets nothing be asked; ``why`` is its reason."""

    why: str


@dataclass(frozen=True)
class Acknowledged:
    """The broker answered for one message; ``refused`` holds its reason if it did not take it."""

    ticket: int
    refused: str = ""


@dataclass(frozen=True)
class Arrived:
    """Somebody sends the device something; who it is, nobody knows.

    Attributes:
        payload: what it is.
        end: the end of the topic on which it came.
    """

    payload: bytes
    end: str = "request"


Occurrence = Connected | Disconnected | Deaf | Acknowledged | Arrived


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        topic: where it goes.
        payload: its bytes.
        retain: whether the broker shows it to those who come later.
        lasts: seconds after which the broker need not hand it on; None for never.
    """

    topic: str
    payload: bytes
    retain: bool = False
    lasts: float | None = None


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
            occurrence = Connected(address="fake", takes=MAX_IN_FLIGHT, max_bytes=None)
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
