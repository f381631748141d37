"""Record that the person who uses this device says "later" to the release that waits for it.

It is bounded: so many times, each for so many powered hours; silence counts as "later" too.  Then
the release no longer waits for an answer, or, where an answer is mandatory, goes on waiting.  It
is an event in the journal.

RELEASE is the version or the start of the digest; without it the release that is asked about.

Exit code 1 when no deferral is left.

Example:
  primum-agent defer --state /var/lib/primum --by "R. Meyer"
"""

from __future__ import annotations

import argparse

from primum_agent.commands.shared import (
    add_answer,
    journal_to_write,
    layout_of,
    person_named,
    release_meant,
    show,
    show_json,
)
from primum_agent.consenting import defer, told_question


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``defer``."""
    add_answer(parser, who="who says so")


def run(options: argparse.Namespace) -> int:
    """Record it."""
    by = person_named(options.by, where="--by")
    with journal_to_write(layout_of(options)) as journal:
        release = release_meant(journal, options.release)
        later = defer(journal, release=release, by=by, using="primum-agent defer")
        told = told_question(journal) or {}
    if options.json:
        show_json({"ok": True, "by": by, **told})
    else:
        left = told.get("deferralsLeft", 0)
        show(f"{later.name}: deferred for {later.hours:g} powered hours; deferrals left: {left}.")
    return 0
