"""The device's events, oldest first, or all of them with their signed heads into a file.

Old events that the broker acknowledged are pruned; the signed checkpoint in their place is exported
with the rest.
`primum-verify history FILE` proves an exported file from the device's public key alone.

Example:
  primum-agent history --state /var/lib/primum
  primum-agent history --state /var/lib/primum --export history.jsonl
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from primum_agent.commands.shared import journal_to_read, layout_of, show, show_json, table
from primum_agent.layout import Layout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``history``."""
    parser.add_argument(
        "--export", type=Path, metavar="FILE", help="events and heads as JSON lines"
    )
    parser.add_argument("--last", type=int, default=0, metavar="N", help="only the last N events")


def run(options: argparse.Namespace) -> int:
    """Show or export them."""
    layout = layout_of(options)
    if options.export is not None:
        return _export(layout, options)
    journal = journal_to_read(layout)
    try:
        pruned = journal.checkpoint()
        events = [json.loads(line) for line in journal.events()]
    finally:
        journal.close()
    if pruned is not None and not options.json and not 0 < options.last <= len(events):
        show(f"events up to {pruned.sequence} were pruned, under a checkpoint that is exported")
    events = events[-options.last :] if options.last > 0 else events
    if options.json:
        show_json(events)
    elif events:
        show(table(("no", "time", "event", "subject", "reasons"), [_row(item) for item in events]))
    return 0


def _export(layout: Layout, options: argparse.Namespace) -> int:
    # Signing brings the cryptography that looking alone does without.
    from primum_agent.exporting import sign_to_the_end, write_history  # noqa: PLC0415

    seal = sign_to_the_end(layout)
    journal = journal_to_read(layout)
    try:
        lines = write_history(journal, options.export.resolve(), seal=seal)
    finally:
        journal.close()
    if options.json:
        show_json({"lines": lines, "file": str(options.export)})
    else:
        show(f"{lines} lines in {options.export}")
    return 0


def _row(event: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(int(event["sequence"])),
        event["time"],
        event["type"].removeprefix("primum.device."),
        event.get("subject", ""),
        ", ".join(event["data"].get("reasons", [])) or _found(event["data"]),
    )


def _found(data: dict[str, Any]) -> str:
    """What a monitor found, or how a person classified a remark."""
    monitor, feedback = data.get("monitor"), data.get("feedback")
    if monitor:
        return f"{monitor['alarm']}: {monitor['ratio']:g} times its limit"
    if feedback:
        return f"{feedback['severity']}, {feedback['category']}, {feedback['role']}"
    return ""
