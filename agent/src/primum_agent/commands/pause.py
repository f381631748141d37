"""Have nothing fetched for releases for some hours; `--hours 0` lets it go on.

What came so far is kept, and fetching goes on there when the pause ends: by itself after so many
powered hours or by the clock, whichever comes first.  The authorities are read as ever, so that a
withdrawal arrives; what runs goes on.  Who paused it and until when is an event in the journal.

Example:
  primum-agent pause --state /var/lib/primum --hours 8 --by "R. Meyer"
"""

from __future__ import annotations

import argparse

from primum_agent.clock import SystemClock
from primum_agent.commands.shared import (
    journal_to_write,
    layout_of,
    person_named,
    polls_now,
    show,
    show_json,
)
from primum_agent.pausing import MAX_PAUSE_HOURS, pause_fetching


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``pause``."""
    parser.add_argument("--by", required=True, metavar="PERSON", help="who answers for it")
    parser.add_argument(
        "--hours",
        required=True,
        type=float,
        metavar="N",
        help=f"for how long, up to {MAX_PAUSE_HOURS:g}; 0 ends it",
    )


def run(options: argparse.Namespace) -> int:
    """Record it; where it ends, let a running supervisor poll now."""
    by, layout = person_named(options.by, where="--by"), layout_of(options)
    with journal_to_write(layout) as journal:
        pause = pause_fetching(journal, SystemClock(), by=by, hours=options.hours)
    polls = pause is None and polls_now(layout)
    if options.json:
        until = "" if pause is None else pause.until
        show_json({"ok": True, "paused": pause is not None, "until": until, "polls": polls})
    elif pause is None:
        show("Fetching goes on.")
    else:
        end = pause.until or f"{options.hours:g} powered hours from now"
        show(f"Nothing is fetched until {end}.")
    return 0
