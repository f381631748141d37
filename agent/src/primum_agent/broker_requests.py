"""What may be asked of a device through a broker: to do sooner what it does by itself anyway.

A request carries no authority: no address, no path, no version, and nothing that it can change.
So nobody signs it, and whoever holds the broker can at most make the device busier, within a
bound.  It repeats the word that the device says in its status; each connection and each request
that is taken makes a new one, so that nothing can be sent twice, kept for later, or sent to
another device.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from secrets import token_hex

from primum_agent.events import Entry, EventKind
from primum_agent.journal import Journal
from primum_agent.journal_outbox import Sent
from primum_agent.plain_json import read_plain

MAX_REQUEST_BYTES = 1024
_DAY = 86_400.0
_MAX_SEQUENCE = 2**53
"""What every reader of JSON holds exactly."""


class Wish(StrEnum):
    """What is asked."""

    POLL = "poll"
    """Ask the repositories now."""

    STATUS = "status"
    """Report health now."""

    JOURNAL = "journal"
    """Send again what was acknowledged and is still kept."""


BETWEEN = {Wish.POLL: 60.0, Wish.STATUS: 60.0, Wish.JOURNAL: 3600.0}
"""Seconds that lie at least between two requests of a kind."""

MOST_A_DAY = 48
"""Each one that is taken is an event of the journal: a hostile broker must not fill it."""


class NoRequestError(ValueError):
    """What arrived is no request that this device takes now."""


@dataclass(frozen=True)
class Request:
    """A request in good form.

    Attributes:
        wish: what is asked.
        begin: the number of the first event to send again.
        end: that of the last one; None where all from the first on are wanted.
    """

    wish: Wish
    begin: int = 1
    end: int | None = None


def read_request(payload: bytes, *, word: str) -> Request:
    """Read what arrived.

    Args:
        payload: the message: ``{"word": WORD, "do": "poll"}``, ``"status"``, or ``"journal"``
            with the numbers ``"from"`` and ``"to"`` where not all is wanted.
        word: the one that the device says in its status now.

    Raises:
        NoRequestError: it is nothing of the kind, or repeats another word.
    """
    if len(payload) > MAX_REQUEST_BYTES:
        raise NoRequestError("too large")
    try:
        found = read_plain(payload)
    except (ValueError, RecursionError) as error:
        raise NoRequestError("no request") from error
    if not isinstance(found, dict) or found.keys() - {"word", "do", "from", "to"}:
        raise NoRequestError("no request, or unknown members")
    if found.get("word") != word:
        raise NoRequestError("another word")
    begin, end = _number(found.get("from")), _number(found.get("to"))
    match found.get("do"):
        case "poll" | "status" as wish if begin is None and end is None:
            return Request(Wish(wish))
        case "journal" if end is None or end >= (begin or 1):
            return Request(Wish.JOURNAL, begin or 1, end)
        case _:
            raise NoRequestError("nothing that may be asked")


def _number(found: object) -> int | None:
    if found is not None and (type(found) is not int or not 1 <= found <= _MAX_SEQUENCE):
        raise NoRequestError("no number of an event")
    return found if isinstance(found, int) else None


@dataclass(frozen=True)
class Again:
    """What was asked for once more and was not sent yet.

    Attributes:
        after: the last line that is not wanted again.
        end: the number of the last event that is; None where all are.
    """

    after: Sent
    end: int | None = None


@dataclass
class Patience:
    """How often requests are taken.

    Attributes:
        taken: how many were taken since the start.
        refused: how many messages were none, came too soon, or were too many.
    """

    taken: int = 0
    refused: int = 0
    _last: dict[Wish, float] = field(default_factory=dict)
    _today: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_A_DAY))

    def takes(self, wish: Wish, *, now: float) -> bool:
        """Whether one of this kind may be taken now; if so it counts against the next.

        Args:
            wish: its kind.
            now: seconds of a clock that never goes back.
        """
        last = self._last.get(wish)
        if last is not None and now - last < BETWEEN[wish]:
            return False
        if len(self._today) == MOST_A_DAY and now - self._today[0] < _DAY:
            return False
        self._last[wish] = now
        self._today.append(now)
        return True


def new_word() -> str:
    """A word that nobody can guess."""
    return token_hex(16)


@dataclass
class Asked:
    """What is asked of one device, and what follows.

    Attributes:
        make_word: a new word, which nobody can guess.
        poll_now: begins a poll as soon as that can be.
        word: what a request has to repeat now; empty before the first connection.
        patience: how many were taken, and refused.
        again: what is sent once more; None where nothing is.
    """

    make_word: Callable[[], str] = new_word
    poll_now: Callable[[], None] = lambda: None
    word: str = ""
    patience: Patience = field(default_factory=Patience)
    again: Again | None = None

    def begin(self) -> None:
        """A connection begins: what was said on an earlier one is worth nothing."""
        self.word, self.again = self.make_word(), None

    def hear(self, journal: Journal | None, payload: bytes, *, now: float) -> Wish | None:
        """Take a request, or count it as refused; nobody is answered.

        Args:
            journal: the open journal; without one nothing is taken.
            payload: what arrived.
            now: seconds of a clock that never goes back.

        Returns:
            What was taken.
        """
        try:
            request = read_request(payload, word=self.word)
        except NoRequestError:
            self.patience.refused += 1
            return None
        if journal is None or not self.patience.takes(request.wish, now=now):
            self.patience.refused += 1
            return None
        detail: dict[str, object] = {"do": str(request.wish)}
        if request.wish is Wish.JOURNAL:
            detail["from"] = request.begin
            if request.end is not None:
                detail["to"] = request.end
        # What could not be recorded is not done.
        journal.record(Entry(kind=EventKind.REQUEST_TAKEN, result="accepted", detail=detail))
        self.patience.taken += 1
        self.word = self.make_word()
        if request.wish is Wish.JOURNAL:
            self.again = Again(Sent(request.begin - 1, is_head=True), request.end)
        if request.wish is Wish.POLL:
            self.poll_now()
        return request.wish
