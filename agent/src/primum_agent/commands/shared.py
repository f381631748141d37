"""What the commands share: opening settings and journal, and printing."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from primum_agent.clock import SystemClock
from primum_agent.consenting import question_of
from primum_agent.desk import ask
from primum_agent.folder_access import refuse_exposed
from primum_agent.identity import journal_owner
from primum_agent.journal import Journal
from primum_agent.layout import Layout
from primum_agent.out_of_service import refuse_out_of_service
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


@contextlib.contextmanager
def journal_to_write(layout: Layout) -> Iterator[Journal]:
    """The journal, for the answer of a person; a running supervisor writes to it as well.

    Raises:
        UsageError: there is none: the agent never ran here.
        FailedError: ``state.exposed``: others may change the folder.
    """
    refuse_out_of_service(layout)
    refuse_exposed(layout)
    journal_to_read(layout).close()
    owner = journal_owner(layout) or str(layout.root.name)
    journal = Journal.open(layout, clock=SystemClock(), device_id=owner)
    try:
        yield journal
    finally:
        journal.close()


def polls_now(layout: Layout) -> bool:
    """Whether a running supervisor took it to poll now."""
    return (ask(layout.socket, {"do": "poll"}) or {}).get("ok") is True


def add_answer(parser: argparse.ArgumentParser, *, who: str) -> None:
    """The arguments of an answer to the question that stands."""
    parser.add_argument("release", metavar="RELEASE", nargs="?", help="such as 1.2.0")
    parser.add_argument("--by", required=True, metavar="PERSON", help=who)


def release_meant(journal: Journal, wanted: str | None) -> str | None:
    """The digest that a version or the start of a digest means, where it is asked about.

    Returns:
        None where nothing was named; what was named where nobody is asked about it.
    """
    question = question_of(journal)
    if wanted is None or question is None:
        return wanted
    meant = wanted == question.name.rpartition(" ")[2] or question.release.startswith(wanted)
    return question.release if meant else wanted


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


def gate_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Every gate with its reading, since when it holds, and what opens it."""
    cells = [
        (
            str(row["gate"]),
            str(row["standing"]) + (f" until {row['until']}" if row["until"] else ""),
            str(row["since"]),
            str(row["reading"]),
            str(row["opens"]),
        )
        for row in rows
    ]
    return table(("gate", "standing", "since", "reading", "opens"), cells)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A plain table."""
    widths = [max(len(str(row[place])) for row in [heads, *rows]) for place in range(len(heads))]
    lines = [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [heads, *rows]
    ]
    return "\n".join(lines)
