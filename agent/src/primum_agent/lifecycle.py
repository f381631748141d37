"""The one state table of an update: state, stimulus, next state, and where to resume after a cut.

Rules:

1. Every change of state is in :data:`TABLE`. A stimulus that is not listed for a state is an
   error that changes nothing.
2. The intent is recorded before the act: a state is entered in the journal first, then the disk
   is touched.
3. :data:`RESUME` says for each state what a start after a cut does there. A state that is not in
   it rolls back.
4. Which release is active is another question with another variable: a device without an
   eligible release rests in ``idle`` with the mode ``safe``.

The engine below the table knows no file, clock or process.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """How the update of this device is going."""

    IDLE = "idle"
    RESOLVING = "resolving"
    DOWNLOADING = "downloading"
    VERIFYING = "verifying"
    TESTING = "testing"
    WAITING = "waiting"
    ACTIVATING = "activating"
    PROVISIONAL = "provisional"
    ROLLING_BACK = "rolling-back"


class Stimulus(StrEnum):
    """What happened to it."""

    FOUND = "found"
    REFUSED = "refused"
    ACCEPTED = "accepted"
    BROKEN_OFF = "broken-off"
    STORED = "stored"
    STAGED = "staged"
    TESTABLE = "testable"
    PROVEN = "proven"
    DISPROVEN = "disproven"
    HELD = "held"
    CLEARED = "cleared"
    SWITCHED = "switched"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    TAKEN_AWAY = "taken-away"
    REVERTED = "reverted"
    NONE_LEFT = "none-left"
    INTERRUPTED = "interrupted"
    RESET = "reset"


class Resume(StrEnum):
    """What a start after a cut does in a state."""

    REST = "rest"
    """Nothing was under way."""

    BEGIN_AGAIN = "begin-again"
    """Nothing that is active was touched: go back to idle; files already stored are kept."""

    STAY = "stay"
    """The state holds by itself: ask the gates again."""

    FOLLOW_LINK = "follow-link"
    """The link decides: switched, then go on to provisional; not switched, then back to idle."""

    WATCH_AGAIN = "watch-again"
    """Count it and open the health window anew; too many, and it is rolled back."""

    ROLL_BACK = "roll-back"
    """Finish the roll-back."""


_S = State
_E = Stimulus

TABLE: Final[dict[tuple[State, Stimulus], State]] = {
    # A release that the plan gives this device and that was not yet decided on.
    (_S.IDLE, _E.FOUND): _S.RESOLVING,
    # Refusing costs no download.
    (_S.RESOLVING, _E.REFUSED): _S.IDLE,
    (_S.RESOLVING, _E.ACCEPTED): _S.DOWNLOADING,
    (_S.RESOLVING, _E.INTERRUPTED): _S.IDLE,
    (_S.DOWNLOADING, _E.STORED): _S.VERIFYING,
    (_S.DOWNLOADING, _E.REFUSED): _S.IDLE,
    (_S.DOWNLOADING, _E.BROKEN_OFF): _S.IDLE,
    (_S.DOWNLOADING, _E.INTERRUPTED): _S.IDLE,
    (_S.VERIFYING, _E.TESTABLE): _S.TESTING,
    # Deployable, not eligible, or a gate (battery, temperature) holds its test: kept, inactive.
    (_S.VERIFYING, _E.STAGED): _S.IDLE,
    (_S.VERIFYING, _E.REFUSED): _S.IDLE,
    (_S.VERIFYING, _E.INTERRUPTED): _S.IDLE,
    (_S.TESTING, _E.PROVEN): _S.WAITING,
    (_S.TESTING, _E.DISPROVEN): _S.IDLE,
    (_S.TESTING, _E.BROKEN_OFF): _S.IDLE,
    (_S.TESTING, _E.INTERRUPTED): _S.IDLE,
    # Proven here; a gate (clinical use, battery) may hold it.
    (_S.WAITING, _E.HELD): _S.WAITING,
    (_S.WAITING, _E.CLEARED): _S.ACTIVATING,
    (_S.WAITING, _E.REFUSED): _S.IDLE,
    (_S.WAITING, _E.STAGED): _S.IDLE,
    (_S.ACTIVATING, _E.SWITCHED): _S.PROVISIONAL,
    (_S.ACTIVATING, _E.BROKEN_OFF): _S.IDLE,
    # An episode began while it was made ready; nothing was switched.
    (_S.ACTIVATING, _E.HELD): _S.WAITING,
    (_S.ACTIVATING, _E.INTERRUPTED): _S.IDLE,
    (_S.PROVISIONAL, _E.HEALTHY): _S.IDLE,
    (_S.PROVISIONAL, _E.UNHEALTHY): _S.ROLLING_BACK,
    (_S.PROVISIONAL, _E.INTERRUPTED): _S.PROVISIONAL,
    # What runs was withdrawn, lapsed or is damaged: taking away outranks whatever waits.
    (_S.IDLE, _E.TAKEN_AWAY): _S.ROLLING_BACK,
    (_S.WAITING, _E.TAKEN_AWAY): _S.ROLLING_BACK,
    (_S.PROVISIONAL, _E.TAKEN_AWAY): _S.ROLLING_BACK,
    (_S.ROLLING_BACK, _E.REVERTED): _S.IDLE,
    (_S.ROLLING_BACK, _E.NONE_LEFT): _S.IDLE,
    # A person removes what is on the device, with no agent running.
    **{(state, _E.RESET): _S.IDLE for state in _S},
}

RESUME: Final[dict[State, Resume]] = {
    _S.IDLE: Resume.REST,
    _S.RESOLVING: Resume.BEGIN_AGAIN,
    _S.DOWNLOADING: Resume.BEGIN_AGAIN,
    _S.VERIFYING: Resume.BEGIN_AGAIN,
    _S.TESTING: Resume.BEGIN_AGAIN,
    _S.WAITING: Resume.STAY,
    _S.ACTIVATING: Resume.FOLLOW_LINK,
    _S.PROVISIONAL: Resume.WATCH_AGAIN,
    _S.ROLLING_BACK: Resume.ROLL_BACK,
}


class UnlistedStimulusError(RuntimeError):
    """Our own code asked for a step that the table does not have; nothing was changed."""


def step(state: State, stimulus: Stimulus) -> State:
    """The next state.

    Raises:
        UnlistedStimulusError: the table has no such step.
    """
    try:
        return TABLE[state, stimulus]
    except KeyError:
        raise UnlistedStimulusError(f"no step for {stimulus} in state {state}") from None


def known_state(word: str) -> State:
    """The state of this name; one that a newer agent entered is left by rolling back (rule 3)."""
    try:
        return State(word)
    except ValueError:
        return State.ROLLING_BACK


def resume_point(state: State) -> Resume:
    """What a start after a cut does; a state that the map does not have rolls back."""
    return RESUME.get(state, Resume.ROLL_BACK)


def as_mermaid() -> str:
    """The table as a diagram, for the documentation."""
    lines = ["stateDiagram-v2", "    [*] --> idle"]
    lines += [
        f"    {state.value.replace('-', '_')} --> {target.value.replace('-', '_')}: {stimulus}"
        for (state, stimulus), target in TABLE.items()
    ]
    return "\n".join(lines) + "\n"


def as_page() -> str:
    """The page ``docs/lifecycle.md``: diagram, table and resume points, all from the table."""
    rows = [f"| {state} | {stimulus} | {target} |" for (state, stimulus), target in TABLE.items()]
    resumed = [f"| {state} | {point} |" for state, point in RESUME.items()]
    return "\n".join(
        [
            "# The life of an update",
            "",
            "Made from the table in `primum_agent/lifecycle.py`; a test keeps it current.",
            "A stimulus that is not listed for a state is an error that changes nothing.",
            "",
            "```mermaid",
            as_mermaid().rstrip(),
            "```",
            "",
            "| state | stimulus | next state |",
            "|---|---|---|",
            *rows,
            "",
            "## After a cut",
            "",
            "| state found in the journal | what the next start does |",
            "|---|---|",
            *resumed,
            "",
        ]
    )
