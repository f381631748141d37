"""Let one gate be passed for some hours, where its hardware is broken or waiting would harm more.

It opens the gate that it names and no other: battery, temperature, disk, memory, window or
metered.  Clinical use cannot be overridden, and neither can anything that is signed: eligibility
and self-test are judged as ever.  Who, why and until when is an event in the journal.  It ends by
powered hours or by the clock, whichever comes first; `--hours 0` ends it now.

Exit code 1 for a gate that cannot be overridden.

Example:
  primum-agent override --state /var/lib/primum battery --hours 4 --by "R. Meyer" --reason "gauge"
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
from primum_agent.gate_overrides import MAX_OVERRIDE_HOURS, give_override


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``override``."""
    parser.add_argument("gate", metavar="GATE", help="such as battery, as `status` shows it")
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why")
    parser.add_argument("--by", required=True, metavar="PERSON", help="who answers for it")
    parser.add_argument(
        "--hours",
        required=True,
        type=float,
        metavar="N",
        help=f"for how long, up to {MAX_OVERRIDE_HOURS:g}; 0 ends it",
    )


def run(options: argparse.Namespace) -> int:
    """Record it, and let a running supervisor poll now."""
    by = person_named(options.by, where="--by")
    why = person_named(options.reason, where="--reason")
    layout = layout_of(options)
    with journal_to_write(layout) as journal:
        given = give_override(
            journal, SystemClock(), gate=options.gate, by=by, why=why, hours=options.hours
        )
    polls = polls_now(layout)
    if options.json:
        show_json({"ok": True, "gate": given.gate, "until": given.until, "polls": polls})
    elif options.hours:
        end = given.until or f"{options.hours:g} powered hours from now"
        show(f"{given.gate} may be passed until {end}.")
    else:
        show(f"{given.gate} is judged as ever.")
    return 0
