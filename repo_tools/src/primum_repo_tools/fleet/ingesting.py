"""Ingesting: from the broker into the database, batch by batch, acknowledged when it is stored.

A connection that breaks is made again after a while; a database that cannot be used ends it, with
nothing acknowledged that is not stored.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from primum_repo_tools.fleet.asking import Asking
from primum_repo_tools.fleet.messages import Message, split_topic
from primum_repo_tools.fleet.store import FleetStore, Refusal, Taken
from primum_repo_tools.fleet.subscriber import Arrived, Subscriber
from primum_verifier.core.errors import BusyError, FailedError, RefusedError
from primum_verifier.core.reasons import Reason

BATCH = 1000
"""Messages of one transaction at most."""

BATCH_BYTES = 32 * 1024 * 1024
TRIES = 5
"""How often a batch is tried where others hold the database."""

FIRST_BACK_OFF = 1.0
"""Seconds before a broken connection is tried again; doubled each time, up to the longest."""

LONGEST_BACK_OFF = 60.0
STABLE_SECONDS = 60.0
"""A connection that stood this long was a good one: the next back-off starts anew."""

WAIT_SECONDS = 1.0


@dataclass
class Ingester:
    """One receiver.

    Attributes:
        store: where to.
        subscriber: where from.
        say: takes one line for a person.
        until_idle: ends when nothing came for so many seconds; None for never.
        stopping: whether somebody asked it to end; looked at between batches.
        ask_after: seconds for which something of a device has to be missing before the device is
            asked for it; 0 for never.
        total: what became of everything so far.
        refused: how many messages were refused, by reason.
    """

    store: FleetStore
    subscriber: Subscriber
    say: Callable[[str], None]
    until_idle: float | None = None
    stopping: Callable[[], bool] = lambda: False
    ask_after: float = 0.0
    total: Taken = field(default_factory=Taken)
    refused: dict[str, int] = field(default_factory=dict)
    alarms: int = 0
    receipts: int = 0
    _pause: float = FIRST_BACK_OFF
    _under_way: dict[int, tuple[str, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """It asks over the connection that it hears by."""
        self.asking = Asking(self.store, self.subscriber.send, after=self.ask_after)

    def run(self) -> None:
        """Ingest until asked to stop, or until nothing comes any more.

        Raises:
            FailedError: the database cannot be used, or the broker could not be reached at the
                very first.
            BusyError: another receiver of this name took over, or others hold the database.
        """
        self.subscriber.connect()
        while not self.stopping():
            risen = time.monotonic()
            try:
                self._publish_receipts(self.store.unpublished())
                self._ingest()
                self.subscriber.close()
            except FailedError as error:
                if error.reason is not Reason.BROKER_UNREACHABLE:
                    raise
                self.say(f"{error.message} {error.found}")
                if time.monotonic() - risen > STABLE_SECONDS:
                    self._pause = FIRST_BACK_OFF
                self._connect_again()
            else:
                return

    def _ingest(self) -> None:
        """Until it is done; a connection that breaks is raised."""
        idle_since = time.monotonic()
        while not self.stopping():
            arrived = self.subscriber.collect(at_most=BATCH, wait=WAIT_SECONDS)
            self._note_published()
            if arrived:
                self._take(arrived)
                idle_since = time.monotonic()
                continue
            self.asking.look(time.monotonic())
            if self.until_idle is not None and time.monotonic() - idle_since > self.until_idle:
                break

    def _connect_again(self) -> None:
        """Try until it stands, each time a little later; returns as well when asked to stop."""
        self._under_way.clear()
        while not self.stopping():
            end = time.monotonic() + self._pause * random.uniform(0.7, 1.3)  # noqa: S311 - no secret
            while time.monotonic() < end and not self.stopping():
                time.sleep(0.1)
            # Two of one name throw each other out: they must not do so as fast as they can.
            self._pause = min(LONGEST_BACK_OFF, self._pause * 2.0)
            try:
                self.subscriber.connect()
            except FailedError as error:
                self.say(f"{error.message} {error.found}")
            else:
                return

    def _take(self, arrived: list[Arrived]) -> None:
        messages, astray = self._addressed(arrived)
        taken = self._stored(messages)
        self.subscriber.acknowledge(arrived)
        taken.refused += astray
        self.total.add(taken)
        for item in taken.refused:
            self.refused[str(item.reason)] = self.refused.get(str(item.reason), 0) + 1
        self.alarms += len(taken.alarms)
        for device, kind, mark in taken.alarms:
            self.say(f"ALARM {device}: {kind} ({mark}); look with: primum-repo fleet device")
        self._publish_receipts(taken.receipts)

    def _addressed(self, arrived: list[Arrived]) -> tuple[list[Message], list[Refusal]]:
        messages, astray = [], []
        for item in arrived:
            try:
                device, end = split_topic(item.topic, fleet=self.store.fleet)
            except RefusedError as error:
                astray.append(Refusal("", error.reason, f"{error.message} {error.found}"))
            else:
                messages.append(Message(device, end, item.payload))
        return messages, astray

    def _stored(self, messages: list[Message]) -> Taken:
        for left in reversed(range(TRIES)):
            try:
                return self.store.take(messages, now=datetime.now(UTC))
            except BusyError:
                if not left:
                    raise
        raise RuntimeError("not reached")

    def _publish_receipts(self, receipts: list[tuple[str, bytes]]) -> None:
        for device, line in receipts:
            self._under_way[self.subscriber.leave(device, "receipt", line)] = device, line

    def _note_published(self) -> None:
        done = [
            self._under_way.pop(ticket)
            for ticket in self.subscriber.taken()
            if ticket in self._under_way
        ]
        if done:
            self.store.published(done)
            self.receipts += len(done)
