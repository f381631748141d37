"""What happens, told to a person at the terminal: one line for each event, and one for the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from primum_agent.device_state import DeviceState
from primum_agent.events import EventKind
from primum_agent.fetching_told import Fetching
from primum_agent.journal import Journal
from primum_agent.lifecycle import State
from primum_verifier.core.errors import EXIT_DONE, EXIT_FAILED, EXIT_REFUSED, EXIT_WAITING
from primum_verifier.core.reasons import Reason

_WORDS = {EXIT_REFUSED: "refused", EXIT_FAILED: "failed", EXIT_WAITING: "waiting"}
_SIGNALS = 128  # an exit code above it tells of a signal
_PREFIX = "primum.device."


@dataclass(eq=False, kw_only=True)
class Narrator:
    """Follows a journal from where it stood when the run began.

    Attributes:
        say: takes one line.
        events: what happened in a single run; a resident one keeps none, it may last for years.
        single: whether it is a single run.
        fetching: says how far fetching is, where something is fetched.
    """

    say: Callable[[str], None]
    single: bool
    events: list[dict[str, Any]] = field(default_factory=list)
    fetching: Callable[[], Fetching | None] = lambda: None
    _seen: int | None = None
    _told: int = 0

    def begin(self, journal: Journal) -> None:
        """What lies in the journal already is no news."""
        if self._seen is None:
            self._seen = journal.last_sequence()

    def look(self, journal: Journal) -> None:
        """Tell what is new."""
        if self._seen is None:
            return
        for line in journal.events(after=self._seen):
            event = json.loads(line)
            self._seen = int(event["sequence"])
            told = {
                "time": event["time"],
                "kind": event["type"].removeprefix(_PREFIX),
                "subject": event.get("subject", ""),
                "reasons": event["data"].get("reasons", []),
            }
            if self.single:
                self.events.append(told)
            parts = (told["time"], told["kind"], told["subject"], ", ".join(told["reasons"]))
            self.say("  ".join(part for part in parts if part))
        self._tell_fetching()

    def _tell_fetching(self) -> None:
        """One line for each further tenth of what is fetched; what is fetched at once has none."""
        found = self.fetching()
        tenth = 0 if found is None else found.percent // 10
        if found is not None and tenth > self._told:
            self.say(f"fetching  {found.line}")
        self._told = tenth

    def saw(self, kind: EventKind) -> bool:
        """Whether an event of this kind came in this single run."""
        return any(item["kind"] == kind for item in self.events)


def last_line(
    *,
    code: int,
    events: Sequence[Mapping[str, Any]],
    poll: Mapping[str, Any],
    runs: str,
    state_folder: str,
) -> tuple[str, list[str]]:
    """How a single run ended, and the reason codes for it.

    Args:
        code: its exit code.
        events: what happened in it, as :class:`Narrator` keeps it.
        poll: what the last poll came to, as :func:`primum_agent.remembered.last_poll` gives it.
        runs: component and version of what runs now; empty in safe mode.
        state_folder: for the command that explains more.
    """
    newest = {str(item["kind"]): item for item in events}
    explain = f"primum-agent explain --state {state_folder}"
    if code > _SIGNALS:
        return f"interrupted: signal {code - _SIGNALS}", ["interrupted"]
    if EventKind.UPDATE_COMMITTED in newest:
        return f"committed {newest[EventKind.UPDATE_COMMITTED]['subject']}", []
    if EventKind.UPDATE_ROLLING_BACK in newest:
        event = newest[EventKind.UPDATE_ROLLING_BACK]
        version = str(event["subject"]).rpartition(" ")[2]
        why = "health was not proven; was the application running?"
        return f"rolled back {event['subject']}: {why} {explain} {version}", _reasons(event)
    for kind, words in (
        (EventKind.SAFE_MODE_ENTERED, "safe mode"),
        (EventKind.UPDATE_ROLLED_BACK, f"back on {runs}"),
    ):
        if kind in newest:
            return f"{words}: {', '.join(_reasons(newest[kind]))}", _reasons(newest[kind])
    if code == EXIT_DONE:
        return f"nothing new: {f'{runs} runs' if runs else 'safe mode, no release runs'}", []
    word, _, found = str(poll.get("text", "")).partition(": ")
    word = word if word == "staged" else _WORDS.get(code, "failed")
    reasons = [item.partition(":")[0] for item in found.split(", ") if "=" not in item and item]
    version = str(poll.get("name", "")).rpartition(" ")[2]
    more = f"{explain} {version}" if version else f"primum-agent status --state {state_folder}"
    return f"{word}: {', '.join(reasons) or 'the agent could not work'}; {more}", reasons


def busy_line(state: DeviceState | None, *, state_folder: str) -> tuple[str, list[str]]:
    """What a single run says that was turned away by another attempt, and the reason code for it.

    It began nothing: whatever happened meanwhile is the other's, and so is the last poll.

    Args:
        state: the present state; None where nobody can say.
        state_folder: for the command that shows when the other is over.
    """
    at = ""
    if state is not None:
        named = "" if state.candidate is None else f" {state.candidate.name}"
        at = " (polling)" if state.lifecycle is State.IDLE else f" ({state.lifecycle}{named})"
    going_on = f"another attempt is under way{at}, and nothing was begun"
    again = f"give the order again once it is over: primum-agent status --state {state_folder}"
    return f"busy: {Reason.STATE_BUSY}: {going_on}; {again}", [str(Reason.STATE_BUSY)]


def _reasons(event: Mapping[str, Any]) -> list[str]:
    return [str(item) for item in event["reasons"]]
