"""The broker of a world, as one device reaches it over its link.

What it acknowledged is the receiver's, in the order in which it came; who looks for what was lost,
doubled or invented looks there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from primum_agent.broker import (
    MAX_IN_FLIGHT,
    Acknowledged,
    Connected,
    Disconnected,
    Message,
    Occurrence,
)
from primum_device_sim.world.network import Link

ADDRESS = "mqtts://broker.world"


@dataclass(eq=False)
class PlayedBroker:
    """See :class:`primum_agent.broker.Broker`.

    Attributes:
        link: the device's link.
        spend: lets time pass on the device's clock.
        taken: what the broker took of this device, in order.
    """

    link: Link
    spend: Callable[[float], None] = field(repr=False)
    taken: list[Message] = field(default_factory=list)
    _connected: bool = False
    _offered: int = 0
    _pending: list[Occurrence] = field(default_factory=list)

    def connect(self) -> None:
        """See :class:`primum_agent.broker.Broker`."""
        self._connected = self.link.up
        self._pending = [
            Connected(address=ADDRESS, takes=MAX_IN_FLIGHT, max_bytes=None)
            if self.link.up
            else Disconnected(why="no network")
        ]

    def publish(self, message: Message) -> int | None:
        """See :class:`primum_agent.broker.Broker`."""
        if not self._connected or not self.link.up:
            return None
        self._offered += 1
        self.taken.append(message)
        self.spend(len(message.payload) / self.link.rate)
        self._pending.append(Acknowledged(ticket=self._offered))
        return self._offered

    def poll(self) -> list[Occurrence]:
        """See :class:`primum_agent.broker.Broker`."""
        if self._connected and not self.link.up:
            self._connected = False
            # What was acknowledged on a link that is gone by now never arrived.
            self._pending = [Disconnected(why="no network")]
        found, self._pending = self._pending, []
        return found

    def close(self, last: Message | None) -> None:
        """See :class:`primum_agent.broker.Broker`."""
        if self._connected and self.link.up and last is not None:
            self.taken.append(last)
        self._connected = False
