"""The reporter: sends what the journal holds, and marks what was acknowledged.

The journal is the outbox: events go first, then heads, then reports by their class.  A line is
offered only while the broker is connected, few at a time, and is marked only when the broker
answered for it with a success.  What was offered and never answered is offered again after the
next connection: the event's id makes duplicates harmless.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from primum_agent.broker import (
    MAX_IN_FLIGHT,
    Acknowledged,
    Arrived,
    Broker,
    Connected,
    Deaf,
    Disconnected,
    Message,
)
from primum_agent.broker_requests import Asked, Wish
from primum_agent.clock import Clock
from primum_agent.health import health_message, status_message, topic
from primum_agent.health_told import told_health
from primum_agent.journal import Journal
from primum_agent.journal_schema import DamagedJournalError
from primum_agent.receipts import Arriving, newest_receipt
from primum_agent.report_classes import HEALTH
from primum_agent.sensors import Sensors
from primum_agent.taken_over import TakenOver
from primum_agent.timing import backed_off, jittered
from primum_verifier.core.errors import PrimumError

FIRST_BACK_OFF = 2.0
"""Seconds before the second attempt to connect."""

LONGEST_BACK_OFF = 15 * 60.0
ANSWER_SECONDS = 60.0
"""Silence after which a connection is no connection: accepted and never acknowledged."""

STABLE_SECONDS = 60.0
"""A connection that stood this long was a good one: the next back-off starts anew."""

REFUSED_SECONDS = 30.0
"""How long nothing is offered to a broker that answered "no"."""

FRESH_SECONDS = 60.0
"""A report of health younger than this need not be written anew when the broker comes back."""

MARKED_AT_ONCE = 512
"""Messages that a broker took are marked together, while more are under way: each costs a sync."""

MARKED_SECONDS = 0.2
"""None of them waits longer for it; what a cut leaves unmarked is sent again."""

MAX_BYTES_AHEAD = 256 * 1024
"""Bytes handed over from which no more is than may be on the way: what waits lies on the disk."""

_JITTER = 0.3
_PACKET_OVERHEAD = 64  # topic length, packet id and properties of one publish


class Link(StrEnum):
    """How the connection to the broker stands."""

    DOWN = "down"
    CONNECTING = "connecting"
    UP = "up"


class Lane(StrEnum):
    """What a message under way is: all but the status comes from the journal."""

    EVENT = "event"
    HEAD = "head"
    TELEMETRY = "telemetry"
    AGAIN = "again"
    OTHER = "other"


@dataclass(frozen=True)
class _Offer:
    """A line that waits in the journal, the end of the topic that it goes to, and how long."""

    lane: Lane
    number: int
    end: str
    line: bytes
    lasts: float | None = None


def _nothing_taken() -> dict[Lane, list[int]]:
    return {lane: [] for lane in Lane}


@dataclass
class Reporter:
    """One device's reports to one broker.

    Attributes:
        broker: the broker port.
        sensors: the sensors port.
        clock: the clock port.
        fleet: the fleet whose topics are used.
        device_id: the device.
        health_seconds: period of the health report.
        draw: numbers in [0, 1) for jitter.
        asked: what somebody asks of the device through the broker.
        taken_over: how often the broker soon ended what it had accepted.
        generations: the folder with the files of each generation, for what is told of them.
        receipts: what came as receipts, and nobody looked at yet.
        why: why there is no connection; for ``status`` and ``doctor``.
        address: the broker that is connected, or was the last time.
    """

    broker: Broker
    sensors: Sensors
    clock: Clock
    fleet: str
    device_id: str
    health_seconds: float
    draw: Callable[[], float] = random.random
    asked: Asked = field(default_factory=Asked)
    taken_over: TakenOver = field(default_factory=TakenOver)
    generations: Path | None = None
    receipts: Arriving = field(default_factory=Arriving)
    link: Link = Link.DOWN
    why: str = "not tried yet"
    address: str = ""
    failures: int = 0
    refused: int = 0
    next_try: float = 0.0
    next_health: float = 0.0
    last_health: float = -math.inf
    last_answer: float = 0.0
    risen: float = 0.0
    paused_until: float = 0.0
    limit: int = 0
    max_bytes: int | None = None
    reasons: tuple[str, ...] = ()
    _under_way: dict[int, _Offer] = field(default_factory=dict)
    _passed: dict[Lane, int] = field(default_factory=dict)
    _too_large: set[tuple[Lane, int]] = field(default_factory=set)
    _taken: dict[Lane, list[int]] = field(default_factory=_nothing_taken)
    _taken_since: float = math.inf
    _said: bytes = b""
    _said_of: tuple[object, ...] = ()

    def work(self, journal: Journal | None, *, now: float) -> float:
        """Do what can be done now.

        Args:
            journal: the open journal, or None while there is none (a read-only disk): then only
                status is reported.
            now: seconds of a clock that never goes back.

        Returns:
            When to call again at the latest, on the same clock.
        """
        self._listen(journal, now=now)
        if self.link is Link.DOWN and now >= self.next_try:
            self.link = Link.CONNECTING
            self.broker.connect()
            self._listen(journal, now=now)
        if self.link is Link.UP and self._under_way and now - self.last_answer > ANSWER_SECONDS:
            self._lose(now, why="the broker takes messages and never acknowledges them")
            self.broker.close(None)
        if journal is not None:
            self._keep_health(journal, now=now)
        if self.link is Link.UP:
            self._tell_status(journal)
            if journal is not None and now >= self.paused_until:
                self._offer(journal, now=now)
            # What was handed over may already have been answered.
            self._listen(journal, now=now)
        return self._next_call(now)

    def wants_head(self, journal: Journal) -> bool:
        """Whether a batch was drained that no signed head covers yet."""
        return (
            self.link is Link.UP
            and not self._under_way
            and journal.last_head() < journal.last_sequence()
            and not journal.waiting_events(1)
        )

    def is_drained(self, journal: Journal) -> bool:
        """Whether everything was acknowledged, heads included."""
        return (
            not self._under_way
            and not journal.waiting_events(1)
            and not journal.waiting_heads(1)
            and journal.last_head() >= journal.last_sequence()
        )

    def close(self, journal: Journal | None) -> None:
        """Say goodbye: the retained status becomes ``offline``."""
        state = None if journal is None else journal.state()
        payload = status_message(device_id=self.device_id, presence="offline", state=state)
        self.broker.close(Message(self._topic("status"), payload, retain=True))

    # Inside

    def _topic(self, end: str) -> str:
        return topic(self.fleet, self.device_id, end)

    def _next_call(self, now: float) -> float:
        if self.link is Link.DOWN:
            return min(self.next_try, max(self.next_health, now))
        if self.link is Link.CONNECTING:
            return now + ANSWER_SECONDS
        if self._under_way:
            marked = self._taken_since + MARKED_SECONDS
            return min(self.next_health, marked, self.last_answer + ANSWER_SECONDS + 1.0)
        if now < self.paused_until:
            return min(self.next_health, self.paused_until)
        return self.next_health

    def _listen(self, journal: Journal | None, *, now: float) -> None:
        for occurrence in self.broker.poll():
            match occurrence:
                case Arrived():
                    self._hear(journal, occurrence, now=now)
                case Acknowledged():
                    lane, number = self._answered(occurrence, now=now)
                    self._taken[lane].append(number)
                    self._taken_since = min(self._taken_since, now)
                case Connected() | Deaf() | Disconnected():
                    self._stand(occurrence, now=now)
        if journal is None:
            return
        self.taken_over.tell(journal, now)
        if (
            not self._under_way
            or sum(map(len, self._taken.values())) >= MARKED_AT_ONCE
            or now - self._taken_since >= MARKED_SECONDS
        ):
            self._mark(journal, now=now)

    def _mark(self, journal: Journal, *, now: float) -> None:
        """Mark what the broker took; many in one synced write while more is under way."""
        taken, self._taken = self._taken, _nothing_taken()
        self._taken_since = math.inf
        if taken[Lane.EVENT] or taken[Lane.HEAD]:
            try:
                journal.acknowledge(events=taken[Lane.EVENT], heads=taken[Lane.HEAD])
            except PrimumError:
                # Not marked, they wait still, and are offered again.
                self._passed.clear()
                raise
            if not self.taken_over.asks_for_patience(now):
                self.failures = 0
        if taken[Lane.TELEMETRY]:
            journal.forget_telemetry(taken[Lane.TELEMETRY])

    def _stand(self, occurrence: Connected | Deaf | Disconnected, *, now: float) -> None:
        """How the connection stands has changed."""
        match occurrence:
            case Connected():
                self._rise(occurrence, now=now)
            case Deaf():
                self.why = f"nothing can be asked through the broker: {occurrence.why}"
            case Disconnected():
                if occurrence.taken_over:
                    self.taken_over.happened(now)
                self._lose(now, why=occurrence.why)

    def _hear(self, journal: Journal | None, arrived: Arrived, *, now: float) -> None:
        """Take a request; set aside what could be a receipt, until a child looks at it."""
        if arrived.end == "receipt":
            self._set_aside(journal, arrived.payload)
        elif self.asked.hear(journal, arrived.payload, now=now) is Wish.STATUS:
            self.next_health = now

    def _set_aside(self, journal: Journal | None, payload: bytes) -> None:
        if journal is None:
            return
        newest = newest_receipt(journal)
        self.receipts.hear(
            payload,
            fleet=self.fleet,
            device_id=self.device_id,
            newest=0 if newest is None else newest.sequence,
        )

    def _answered(self, answer: Acknowledged, *, now: float) -> tuple[Lane, int]:
        """What the broker answered for, where it took it."""
        self.last_answer = now
        about = self._under_way.pop(answer.ticket, None)
        if answer.refused:
            self._refuse(answer.refused, now=now)
            return Lane.OTHER, 0
        return (Lane.OTHER, 0) if about is None else (about.lane, about.number)

    def _rise(self, connected: Connected, *, now: float) -> None:
        self.link, self.why, self.address = Link.UP, "", connected.address
        self.limit, self.max_bytes = connected.takes, connected.max_bytes
        self.risen = self.last_answer = now
        if now - self.last_health > FRESH_SECONDS:
            self.next_health = now
        self.paused_until = 0.0
        self._under_way.clear()
        self._passed.clear()
        self._too_large.clear()
        self._said, self._said_of = b"", ()
        self.asked.begin()

    def _lose(self, now: float, *, why: str) -> None:
        """The connection is gone: what was under way counts as not taken."""
        self._under_way.clear()
        if self.link is Link.DOWN:
            return
        stood = self.link is Link.UP and now - self.risen > STABLE_SECONDS
        if self.link is Link.UP:
            self.taken_over.ended(now, after=now - self.risen, enough=STABLE_SECONDS)
        if stood and not self.taken_over.asks_for_patience(now):
            self.failures = 0
        self.link, self.why = Link.DOWN, why
        self.next_try = now + backed_off(
            FIRST_BACK_OFF,
            failures=self.failures,
            jitter=_JITTER,
            draw=self.draw(),
            longest=LONGEST_BACK_OFF,
        )
        self.failures += 1

    def _refuse(self, why: str, *, now: float) -> None:
        """The broker answered "no": everything stays in the journal, and is offered later."""
        self.refused += 1
        self.why = f"the broker refuses messages: {why}"
        self._passed.clear()
        self.paused_until = now + jittered(REFUSED_SECONDS, jitter=_JITTER, draw=self.draw())

    def _publish(
        self, end: str, payload: bytes, *, retain: bool = False, lasts: float | None = None
    ) -> int | None:
        message = Message(self._topic(end), payload, retain=retain, lasts=lasts)
        return self.broker.publish(message)

    def _tell_status(self, journal: Journal | None) -> None:
        # The state is what the events add up to: without another one it need not be read again.
        last = None if journal is None else journal.last_sequence()
        about = (last, self.reasons, self.asked.word)
        if self._said and about == self._said_of:
            return
        state = None if journal is None else journal.state()
        payload = status_message(
            device_id=self.device_id,
            presence="online",
            state=state,
            reasons=self.reasons,
            word=self.asked.word,
        )
        if payload == self._said or self._publish("status", payload, retain=True) is not None:
            self._said, self._said_of = payload, about

    def _keep_health(self, journal: Journal, *, now: float) -> None:
        """Write a report when one is due; while the broker is away too, to be sent afterwards."""
        if now < self.next_health:
            return
        self.last_health = now
        self.next_health = now + jittered(self.health_seconds, jitter=_JITTER, draw=self.draw())
        state, moment, quality = journal.state(), self.clock.now(), self.clock.quality()
        told = told_health(
            journal,
            state,
            generations=self.generations,
            now=moment,
            quality=quality,
            counted={
                "requests refused": self.asked.patience.refused,
                "receipts dropped": self.receipts.dropped,
                "messages refused by the broker": self.refused,
            },
        )
        payload = health_message(
            device_id=self.device_id,
            state=state,
            readings=self.sensors.read(),
            now=moment,
            quality=quality,
            told=told,
            waiting=journal.waiting_count(),
            restarts=int(journal.counter("boots", "0")),
            problems=tuple(f"{item.topic}: {item.what}" for item in journal.problems()),
            dropped=journal.telemetry_dropped(),
            sent=journal.last_sent(),
            requests={"taken": self.asked.patience.taken, "refused": self.asked.patience.refused},
        )
        try:
            journal.keep_telemetry(kind="health", line=payload)
        except DamagedJournalError:
            raise
        except PrimumError:
            # A disk that takes no report must not keep the reporter from sending provenance.
            self._publish("health", payload, lasts=HEALTH.lasts)

    def _offer(self, journal: Journal, *, now: float) -> None:
        """Offer the oldest lines, as many as may be under way: events, heads, then telemetry."""
        for lane in (Lane.EVENT, Lane.HEAD, Lane.TELEMETRY):
            room = self._room()
            if room <= 0:
                return
            after = self._passed.get(lane, 0)
            known = {item.number for item in self._under_way.values() if item.lane is lane}
            known |= {number for of, number in self._too_large if of is lane}
            known |= set(self._taken[lane])
            # What was handed over on this connection lies behind, and is not read again.
            beyond = sum(number > after for number in known)
            found = self._waiting(journal, lane, room + beyond, after=after)
            fresh = [item for item in found if item.number not in known]
            for item in fresh:
                if self._room() <= 0 or not self._hand_over(item, now=now):
                    return
                if lane is not Lane.TELEMETRY:
                    self._passed[lane] = item.number
        self._offer_again(journal, now=now)

    def _room(self) -> int:
        """How many more lines the connection may hold; of large ones only what is on the way."""
        held = sum(len(item.line) for item in self._under_way.values())
        most = self.limit if held < MAX_BYTES_AHEAD else min(self.limit, MAX_IN_FLIGHT)
        return most - len(self._under_way)

    def _offer_again(self, journal: Journal, *, now: float) -> None:
        """What was asked for once more comes last; it is forgotten with the connection."""
        room, again = self._room(), self.asked.again
        if again is None or room <= 0:
            return
        rows = journal.acknowledged(again.after, room, end=again.end)
        for row in rows:
            end = "head" if row.is_head else "provenance"
            if not self._hand_over(_Offer(Lane.AGAIN, row.sequence, end, row.line), now=now):
                return
            self.asked.again = replace(again, after=row)
        if not rows:
            self.asked.again = None

    def _hand_over(self, item: _Offer, *, now: float) -> bool:
        """Whether the connection goes on taking lines."""
        if self.max_bytes is not None and len(item.line) + _PACKET_OVERHEAD > self.max_bytes:
            # Offered, it would end every connection; it waits for a better broker.
            self._too_large.add((item.lane, item.number))
            self.why = f"{item.lane} {item.number} is larger than the broker takes"
            return True
        if not self._under_way:
            self.last_answer = now
        ticket = self._publish(item.end, item.line, lasts=item.lasts)
        if ticket is None:
            return False
        self._under_way[ticket] = item
        return True

    @staticmethod
    def _waiting(journal: Journal, lane: Lane, limit: int, *, after: int) -> list[_Offer]:
        """The oldest lines of a lane; of events and heads those after a number."""
        if lane is Lane.TELEMETRY:
            reports = journal.waiting_telemetry(limit)
            return [
                _Offer(lane, item.number, item.kind, item.line, lasts=item.left) for item in reports
            ]
        if lane is Lane.EVENT:
            rows, end = journal.waiting_events(limit, after=after), "provenance"
        else:
            rows, end = journal.waiting_heads(limit, after=after), "head"
        return [_Offer(lane, row.sequence, end, row.line) for row in rows]
