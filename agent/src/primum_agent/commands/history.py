"""The device's events, oldest first, or all of them with their signed heads into a file.

`primum-verify history FILE` proves an exported file from the device's public key alone.

Example:
  primum-agent history --state /var/lib/primum
  primum-agent history --state /var/lib/primum --export history.jsonl
"""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path
from typing import Any

from primum_agent.clock import SystemClock
from primum_agent.commands.shared import journal_to_read, layout_of, show, show_json, table
from primum_agent.durable import write_file
from primum_agent.journal import Journal
from primum_agent.layout import Layout
from primum_verifier.core.errors import PrimumError


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
        _sign_to_the_end(layout)
    journal = journal_to_read(layout)
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


def _sign_to_the_end(layout: Layout) -> None:
    """Let a head cover the newest event, where the device's key can be used from here.

    Where it cannot (another user, a copy of the folder) the export still says how far it is
    proven.
    """
    # The signer brings the cryptography that looking alone does without.
    from primum_agent.sign_head import sign_head  # noqa: PLC0415
    from primum_agent.signer import open_device_key  # noqa: PLC0415

    clock = SystemClock()
    with contextlib.suppress(PrimumError, IndexError, ValueError):
        reading = journal_to_read(layout)
        newest = list(reading.events(after=reading.last_sequence() - 1))
        reading.close()
        device_id = str(json.loads(newest[0])["source"]).removeprefix("urn:primum:device:")
        journal = Journal.open(layout, clock=clock, device_id=device_id)
        try:
            sign_head(journal, signer=open_device_key(layout), device_id=device_id, clock=clock)
        finally:
            journal.close()


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
