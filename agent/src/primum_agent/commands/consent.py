"""Record that the person who uses this device agrees to the release that waits for it.

It answers the one question that stands, as `primum-agent status` shows it; the answer is an event
in the journal.  It opens the gate `consent` and nothing else: no rule and no other gate.

RELEASE is the version or the start of the digest; without it the release that is asked about.

Example:
  primum-agent consent --state /var/lib/primum --by "R. Meyer"
"""

from __future__ import annotations

import argparse

from primum_agent.commands.shared import (
    add_answer,
    journal_to_write,
    layout_of,
    person_named,
    polls_now,
    release_meant,
    show,
    show_json,
)
from primum_agent.consenting import agree, asked_about


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``consent``."""
    add_answer(parser, who="who agrees")


def run(options: argparse.Namespace) -> int:
    """Record it, and let a running supervisor poll now."""
    by, layout = person_named(options.by, where="--by"), layout_of(options)
    with journal_to_write(layout) as journal:
        question = asked_about(journal, release_meant(journal, options.release))
        release, name = question.release, question.name
        agree(journal, release=release, name=name, by=by, using="primum-agent consent")
    polls = polls_now(layout)
    if options.json:
        show_json({"ok": True, "release": release, "name": name, "by": by, "polls": polls})
    else:
        when = "now" if polls else "at the next poll"
        show(f"{name}: {by} agrees; it is judged again {when}.")
    return 0
