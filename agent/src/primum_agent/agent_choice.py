"""Which agent the loader starts: the note that the two share, ``agent.json`` in the state folder.

The loader lies outside what an update replaces and reads nothing else.  Standard library only:
the supervisor reads it, too.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from primum_agent.durable import write_file
from primum_agent.layout import Layout

LOADER = "PRIMUM_LOADER"
"""The variable by which the loader says that it started this agent."""

NOTE = "agent.json"

STARTS_UNPROVEN = 3
"""Starts without proven health that a new agent is given before the one before it comes back."""

STARTS_PROVEN = 10
"""Starts in a row in which a proven agent never came to stand; a good one needs one."""


@dataclass(frozen=True)
class AgentChoice:
    """What the note says.

    Attributes:
        chosen: the agent to start, a folder below the state folder; empty for the installed one.
        before: the one to start where that one fails.
        identity: equal for two agents with the same bytes; empty for the installed one.
        limit: starts that it is given.
        starts: starts so far.
        proven: whether it proved health.
        fell_back: how many the loader gave up: 1 starts the one before, 2 the installed one.
    """

    chosen: str = ""
    before: str = ""
    identity: str = ""
    limit: int = STARTS_PROVEN
    starts: int = 0
    proven: bool = True
    fell_back: int = 0

    @property
    def now(self) -> str:
        """The one that the loader starts now; empty for the installed one."""
        return (self.chosen, self.before, "")[min(self.fell_back, 2)]

    @property
    def kept(self) -> frozenset[int]:
        """The generations whose files the loader may start."""
        parts = (name.split("/") for name in (self.chosen, self.before))
        return frozenset(int(part[1]) for part in parts if len(part) > 1 and part[1].isdigit())


def read_choice(layout: Layout) -> AgentChoice:
    """What the note says; the installed agent where there is none that can be read."""
    with suppress(OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        content = json.loads((layout.root / NOTE).read_bytes())
        return AgentChoice(
            chosen=str(content["chosen"]),
            before=str(content["before"]),
            identity=str(content["identity"]),
            limit=int(content["limit"]),
            starts=int(content["starts"]),
            proven=bool(content["proven"]),
            fell_back=int(content["fellBack"]),
        )
    return AgentChoice()


def write_choice(layout: Layout, choice: AgentChoice) -> None:
    """Replace the note.

    Raises:
        FailedError: the disk did not take it; the old one stands.
    """
    content = asdict(choice)
    content["fellBack"] = content.pop("fell_back")
    write_file(layout.root / NOTE, json.dumps(content).encode(), mode=0o640)


def stands(layout: Layout) -> None:
    """The agent came to stand: a proven one may be started as often again.

    Raises:
        FailedError: the disk did not take it.
    """
    choice = read_choice(layout)
    settled = choice.proven or choice.fell_back
    if settled and choice.starts and choice.now == running(layout):
        write_choice(layout, replace(choice, starts=0))


def uncount(layout: Layout) -> None:
    """A start that another agent or a mistake in the call ended at once counts for nothing."""
    choice = read_choice(layout)
    if loader() and choice.starts and choice.now == running(layout):
        write_choice(layout, replace(choice, starts=choice.starts - 1))


def is_unproven(layout: Layout) -> bool:
    """Whether the agent that runs has yet to prove health, so that the loader may take it back."""
    choice = read_choice(layout)
    return bool(loader()) and not choice.proven and choice.now == running(layout) != ""


def loader() -> str:
    """The loader that started this agent; empty where none did."""
    return os.environ.get(LOADER, "")


def running(layout: Layout) -> str:
    """The folder of the agent that runs now, below the state folder; empty for the installed."""
    with suppress(ValueError):
        return str(Path(sys.prefix).resolve().relative_to(layout.root.resolve()))
    return ""


def wants_restart(layout: Layout) -> bool:
    """Whether the loader would start another agent than the one that runs."""
    choice = read_choice(layout)
    if not loader() or choice.fell_back or choice.chosen == running(layout):
        return False
    # What cannot be started would not be: to end for it again and again helps nobody.
    python = layout.root / choice.chosen / "bin" / "python3"
    return not choice.chosen or os.access(python, os.X_OK)
