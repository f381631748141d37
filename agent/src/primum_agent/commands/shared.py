"""What the commands share: opening settings and journal, and printing."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from primum_agent.clock import SystemClock
from primum_agent.journal import Journal
from primum_agent.layout import Layout
from primum_verifier.core.errors import UsageError
from primum_verifier.core.limits import MAX_NAME
from primum_verifier.core.reasons import Reason


def add_provisioning(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """The option that names the provisioning folder."""
    parser.add_argument(
        "--provisioning",
        type=Path,
        metavar="DIR",
        required=required,
        help="the folder that `primum-repo device` made: agent.toml, trust map, roots, context",
    )


def layout_of(options: argparse.Namespace) -> Layout:
    """The names below the state folder that the caller gave."""
    return Layout(options.state.resolve())


def journal_to_read(layout: Layout) -> Journal:
    """The journal, for looking only.

    Raises:
        UsageError: there is none: the agent never ran here.
    """
    if not layout.journal.is_file():
        raise UsageError(
            "There is no journal: the agent has never run on this state folder.",
            reason=Reason.USAGE,
            where=str(layout.journal),
            remedy="Start it with `primum-agent run --state DIR --provisioning DIR`.",
        )
    return Journal.open_to_read(layout, clock=SystemClock())


def person_named(text: str, *, where: str) -> str:
    """A person's name as the journal keeps it.

    Args:
        text: what the caller typed.
        where: the option it was typed for.

    Raises:
        UsageError: it is no name.
    """
    person = " ".join(text.split())
    if not person or len(person) > MAX_NAME or not person.isprintable():
        raise UsageError(
            "The journal names the person who did this.",
            reason=Reason.USAGE,
            where=where,
            found=repr(text[:80]),
            expected=f"a name of 1 to {MAX_NAME} characters",
        )
    return person


def show(text: str) -> None:
    """One line, or a few, for the terminal."""
    print(text)  # noqa: T201 - a command


def show_json(content: object) -> None:
    """The answer as JSON."""
    print(json.dumps(content, indent=2, sort_keys=True))  # noqa: T201 - a command


def pairs(content: Mapping[str, object]) -> str:
    """Names and values, one a line, aligned."""
    width = max(len(name) for name in content)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in content.items())


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A plain table."""
    widths = [max(len(str(row[place])) for row in [heads, *rows]) for place in range(len(heads))]
    lines = [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [heads, *rows]
    ]
    return "\n".join(lines)
