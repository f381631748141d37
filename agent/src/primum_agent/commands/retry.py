"""Let a release be tried again that was given up because it was not proven in use, or set aside.

What the device remembers of it (state.health, state.component, state.asked-later, state.set-aside,
its setbacks, a delay) is cleared, and that is an event in the journal.  A release whose self-test
failed stays refused: it needs a new release.
Start the application first, or it will be rolled back again.

Example:
  primum-agent retry --state /var/lib/primum 1.2.0
"""

from __future__ import annotations

import argparse

from primum_agent.clock import SystemClock
from primum_agent.commands.shared import journal_to_read, layout_of, show, show_json
from primum_agent.desk import ask
from primum_agent.events import Entry, EventKind
from primum_agent.identity import journal_owner
from primum_agent.journal import Journal
from primum_agent.layout import Layout
from primum_agent.remembered import Memory, memories
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.core.reasons import Reason


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``retry``."""
    parser.add_argument("version", metavar="VERSION", help="such as 1.2.0, as `status` shows it")


def run(options: argparse.Namespace) -> int:
    """Clear it, and let a running supervisor poll now."""
    layout = layout_of(options)
    found = _find(layout, options.version)
    journal = Journal.open(
        layout, clock=SystemClock(), device_id=journal_owner(layout) or str(layout.root.name)
    )
    try:
        journal.record(
            Entry(
                kind=EventKind.UPDATE_FORGIVEN,
                subject=found.name,
                result="accepted",
                reasons=(found.reason,),
                change={"forgiven": found.release},
                detail={"by": "primum-agent retry", "was": found.text},
            )
        )
    finally:
        journal.close()
    polls = (ask(layout.socket, {"do": "poll"}) or {}).get("ok") is True
    if options.json:
        show_json({"ok": True, "release": found.release, "name": found.name, "polls": polls})
    else:
        when = "now" if polls else "at the next poll"
        show(f"{found.name} is tried again {when}; the application must be running.")
    return 0


def _find(layout: Layout, version: str) -> Memory:
    reading = journal_to_read(layout)
    try:
        known = memories(reading)
    finally:
        reading.close()
    for item in known:
        if item.name.rpartition(" ")[2] == version or item.release.startswith(version):
            if item.retry:
                return item
            raise RefusedError(
                "This release failed by its own fault and is not tried again.",
                reason=Reason.SELFTEST_FAILED,
                found=f"{item.name}: {item.text}",
                remedy="Publish a corrected release under a new version.",
            )
    raise UsageError(
        "Nothing is remembered against this release.",
        reason=Reason.USAGE,
        found=version,
        expected=", ".join(item.name for item in known if item.retry) or "a release given up",
        remedy="`primum-agent status` shows what was given up.",
    )
