"""The device's events, oldest first, or all of them with their signed heads into a file.

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
from primum_agent.durable import write_file
from primum_agent.journal import Journal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``history``."""
    parser.add_argument(
        "--export", type=Path, metavar="FILE", help="events and heads as JSON lines"
    )
    parser.add_argument("--last", type=int, default=0, metavar="N", help="only the last N events")


def run(options: argparse.Namespace) -> int:
    """Show or export them."""
    journal = journal_to_read(layout_of(options))
    try:
        if options.export is not None:
            return _export(journal, options)
        events = [json.loads(line) for line in journal.events()]
    finally:
        journal.close()
    events = events[-options.last :] if options.last > 0 else events
    if options.json:
        show_json(events)
    elif events:
        show(table(("no", "time", "event", "subject", "reasons"), [_row(item) for item in events]))
    return 0


def _export(journal: Journal, options: argparse.Namespace) -> int:
    lines = [line + b"\n" for line in journal.history()]
    write_file(options.export.resolve(), lines, mode=0o640)
    if options.json:
        show_json({"lines": len(lines), "file": str(options.export)})
    else:
        show(f"{len(lines)} lines in {options.export}")
    return 0


def _row(event: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(int(event["sequence"])),
        event["time"],
        event["type"].removeprefix("primum.device."),
        event.get("subject", ""),
        ", ".join(event["data"].get("reasons", [])),
    )
