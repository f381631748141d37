"""Asking a device for what is missing: what a broker took and lost lies on the device still.

A broker that dies may forget what it had acknowledged.  The device keeps what it sent until it is
old, and sends it again where a request repeats the word of its status; the request carries no
authority, and nothing is believed for it: what comes is verified as ever.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from primum_repo_tools.fleet.alarms import heads_alone
from primum_repo_tools.fleet.database import Session
from primum_repo_tools.fleet.messages import End
from primum_repo_tools.fleet.store import FleetStore
from primum_verifier.record.chain import FIRST_PREVIOUS

ASK_AFTER = 60.0
"""Seconds for which something is missing before it is asked for: it may be under way."""

_FIRST_PAUSE = 600.0
_LONGEST_PAUSE = 86_400.0
_MOST_AGAIN = 3
_NEAR = 1000
"""Events between two runs that are asked for together: a device is asked once in an hour."""

_MOST_RUNS = 100


@dataclass(frozen=True)
class Run:
    """Events that are missing of one device.

    Attributes:
        begin: the number of the first.
        end: that of the last; None where it is not known how many follow.
    """

    begin: int
    end: int | None


@dataclass
class _Missing:
    """The first events that are missing of one device.

    Attributes:
        begin: the number of the first.
        ask_at: when it is asked for, or asked for again.
        pause: seconds until then the next time.
        word: what was repeated the last time; another one since may mean that it came too late.
        again_at: when it is asked for again with another word.
    """

    begin: int
    ask_at: float
    pause: float = _FIRST_PAUSE
    word: str = ""
    again_at: float = math.inf
    _turns: int = 0
    _again: int = 0

    @property
    def names_an_end(self) -> bool:
        """Whether the request may: an agent of an earlier version takes none that does."""
        return self._turns == 0

    def is_due(self, word: str, now: float) -> bool:
        """Whether to ask now, with this word."""
        return now >= self.ask_at or (word != self.word and now >= self.again_at)

    def was_asked(self, word: str, now: float, *, after: float) -> None:
        """It is asked for, with this word."""
        if now >= self.ask_at:
            self.ask_at, self._again = now + self.pause, 0
            self._turns += 1
            self.pause = min(_LONGEST_PAUSE, self.pause * 2)
        else:
            self._again += 1
        self.word = word
        self.again_at = now + after if self._again < _MOST_AGAIN else math.inf


@dataclass
class Asking:
    """What one receiver asks for.

    Attributes:
        store: what it holds.
        publish: sends a device that is there a message: its name, the end of the topic, the bytes.
        after: seconds for which something has to be missing; 0 for never asking.
        asked: how often it asked.
    """

    store: FleetStore
    publish: Callable[[str, str, bytes], object]
    after: float = ASK_AFTER
    asked: int = 0
    _missing: dict[str, _Missing] = field(default_factory=dict)
    _look_at: float = 0.0

    def look(self, now: float) -> None:
        """Ask where something has been missing for long enough, now and then.

        Args:
            now: seconds of a clock that never goes back.

        Raises:
            FailedError: the database cannot be used.
        """
        if not self.after or now < self._look_at:
            return
        self._look_at = now + self.after / 2
        found: dict[str, _Missing] = {}
        due: list[tuple[str, Run, str]] = []
        with self.store.database.reading() as session:
            devices = session.rows(
                "SELECT number, name FROM devices WHERE fleet = ?", self.store.fleet
            )
            for number, name in devices:
                run = first_missing(session, number)
                if run is None:
                    continue
                known = self._missing.get(name)
                if known is None or known.begin != run.begin:
                    known = _Missing(run.begin, now + self.after)
                found[name] = known
                word = _word(session, number)
                if word and known.is_due(word, now):
                    due.append((name, run, word))
        self._missing = found
        for name, run, word in due:
            request: dict[str, object] = {"do": "journal", "from": run.begin, "word": word}
            if run.end is not None and found[name].names_an_end:
                request["to"] = run.end
            self.publish(name, "request", json.dumps(request).encode())
            self.asked += 1
            found[name].was_asked(word, now, after=self.after)


def first_missing(session: Session, number: int) -> Run | None:
    """The first events that a device wrote and that are not here, with those missing near them.

    Args:
        session: a transaction.
        number: the device's.
    """
    found: Run | None = None
    for run in sorted(_runs(session, number), key=lambda run: run.begin):
        if found is None:
            found = run
        elif found.end is not None and run.begin <= found.end + _NEAR:
            found = Run(found.begin, run.end if run.end is None else max(run.end, found.end))
    return found


def _runs(session: Session, number: int) -> Iterator[Run]:
    """Every run of missing events, the first ones at least."""
    gaps = session.rows(
        "SELECT sequence FROM events e WHERE device = ? AND joined = 0 AND previous <> ?"
        " AND NOT EXISTS (SELECT 1 FROM events b WHERE b.device = e.device"
        " AND b.sequence = e.sequence - 1) ORDER BY sequence LIMIT ?",
        number,
        FIRST_PREVIOUS,
        _MOST_RUNS,
    )
    for (after,) in gaps:
        yield Run(_last_before(session, number, after) + 1, int(after) - 1)
    for sequence, _ in heads_alone(session, number)[:1]:
        # Who wrote this event wrote every one before it.
        yield Run(_last_before(session, number, sequence) + 1, None)
    ((last,),) = session.rows(
        "SELECT coalesce(max(sequence), 0) FROM events WHERE device = ?", number
    )
    if _said_last(session, number) > last:
        yield Run(int(last) + 1, None)


def _last_before(session: Session, number: int, sequence: int) -> int:
    """The last event before this one that is here; 0 for none."""
    ((before,),) = session.rows(
        "SELECT coalesce(max(sequence), 0) FROM events WHERE device = ? AND sequence < ?",
        number,
        sequence,
    )
    return int(before)


def _newest(session: Session, number: int, end: End, order: str) -> dict[str, object]:
    rows = session.rows(
        "SELECT line FROM reports WHERE device = ? AND kind = ?"  # noqa: S608 - a name of ours
        f" ORDER BY {order} DESC, digest DESC LIMIT 1",
        number,
        str(end),
    )
    found: dict[str, object] = json.loads(bytes(rows[0][0])) if rows else {}
    return found


def _word(session: Session, number: int) -> str:
    """What a request has to repeat now; empty while the device is not there."""
    status = _newest(session, number, End.STATUS, "received_at")
    return str(status.get("word", "")) if status.get("presence") == "online" else ""


def _said_last(session: Session, number: int) -> int:
    """The newest event that the device says it had a broker take."""
    data = _newest(session, number, End.HEALTH, "said_at").get("data")
    last = data.get("lastSent", 0) if isinstance(data, dict) else 0
    return last if isinstance(last, int) else 0
