"""A stop: the application says that no release may be used any more, for a reason.

It only ever takes away, and it lasts: through restarts, newer releases and a lost journal, until
a person reinstates the use.  It is an event first, then the application is told, and then an
attempt leaves what runs.  Light enough for the resident supervisor, which takes the request.
"""

from __future__ import annotations

from collections.abc import Sequence

from primum_agent.clock import Clock, plain_time
from primum_agent.device_state import DeviceState, Generation
from primum_agent.events import Entry, EventKind
from primum_agent.journal_port import JournalPort
from primum_agent.layout import Layout
from primum_agent.standing import AI_FUNCTION, Standing, write_standing
from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason

TOPIC = "use stopped"
"""The lasting trouble: ``status``, ``doctor`` and the health report show it."""

MAX_WHY = 300
"""Characters of a reason: one line on a screen."""


def one_line(text: str, *, where: str) -> str:
    """A reason as the journal keeps it.

    Args:
        text: what somebody wrote.
        where: the member or option it was written for.

    Raises:
        UsageError: it is none.
    """
    line = " ".join(text.split())
    if not line or len(line) > MAX_WHY or not line.isprintable():
        raise UsageError(
            "A reason is needed.",
            reason=Reason.USAGE,
            where=where,
            found=repr(text[:80]),
            expected=f"one line of at most {MAX_WHY} characters",
        )
    return line


def stop(journal: JournalPort, used: Generation, *, clock: Clock, why: str, by: str) -> None:
    """Record that no release may be used any more; a stop that stands already is left as it is.

    Args:
        journal: the open journal.
        used: what the application used when it said so.
        clock: the clock port.
        why: one line, for journal and user.
        by: who said so.
    """
    if journal.state().stopped:
        return
    journal.record(
        Entry(
            kind=EventKind.SAFE_MODE_ASKED,
            subject=used.name,
            result="accepted",
            reasons=(Reason.SAFETY_STOPPED,),
            change={"stopped": f"{why} ({by}, {plain_time(clock.now())})"},
            detail={"why": why, "by": by, "using": "application", "generation": used.number},
        )
    )
    text = f"No release is used: {journal.state().stopped}. `primum-agent reinstate` ends it."
    journal.note_problem(topic=TOPIC, what=str(Reason.SAFETY_STOPPED), text=text)


def end_stop(journal: JournalPort, *, why: str, by: str, attempt: str) -> None:
    """Record that a person lets releases be used again.

    Args:
        journal: the open journal.
        why: one line.
        by: who ordered it.
        attempt: the attempt that carries it out.
    """
    journal.record(
        Entry(
            kind=EventKind.SAFE_MODE_LEFT,
            attempt=attempt,
            result="accepted",
            change={"stopped": ""},
            detail={"why": why, "by": by, "was": journal.state().stopped},
        )
    )
    journal.clear_problem(TOPIC)


def stopped_standing(
    state: DeviceState, *, notice: str = "", reasons: Sequence[str] = (), suspended: str = ""
) -> Standing:
    """What the application is told while a stop stands.

    Args:
        state: the present state, with a stop.
        notice: what the user is told of safe mode besides.
        reasons: reason codes besides.
        suspended: what a signed order suspends besides; it may be more than the AI function.
    """
    told = f"The use of the AI function was stopped: {state.stopped}."
    return Standing(
        reasons=tuple(dict.fromkeys((str(Reason.SAFETY_STOPPED), *reasons))),
        notice=f"{told} {notice}".strip(),
        suspended=suspended or AI_FUNCTION,
    )


def tell_stop(layout: Layout, state: DeviceState, *, clock: Clock) -> None:
    """Let ``standing.json`` say it at once, before an attempt does the rest.

    Raises:
        FailedError: the run folder cannot be written; the event stands, and the next attempt
            says it.
    """
    write_standing(layout, stopped_standing(state), clock=clock)
