"""What ``reset`` and ``decommission`` share: showing what would go, and asking before it does."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from primum_agent.clock import SystemClock
from primum_agent.commands.shared import layout_of, person_named, show, show_json
from primum_agent.contexts import read_object
from primum_agent.identity import journal_owner
from primum_agent.layout import Layout
from primum_agent.out_of_service import ResetKind, refuse_out_of_service, unfinished
from primum_verifier.core.errors import EXIT_DONE, EXIT_USAGE, UsageError
from primum_verifier.core.reasons import Reason


def add_removal(parser: argparse.ArgumentParser) -> None:
    """The options that both take."""
    parser.add_argument("--by", required=True, metavar="PERSON", help="who does it")
    parser.add_argument("--export", type=Path, metavar="DIR", help="export the journal first")
    sure = parser.add_mutually_exclusive_group()
    sure.add_argument("--dry-run", action="store_true", help="show what would go; change nothing")
    sure.add_argument("--yes", action="store_true", help="do it")


def remove(options: argparse.Namespace, kind: ResetKind) -> int:
    """Show what would go, and with ``--yes`` remove it."""
    # The signer brings the cryptography that few commands need.
    from primum_agent.resetting import KEPT, Wish, plan_reset, reset  # noqa: PLC0415

    layout, clock = layout_of(options), SystemClock()
    if unfinished(layout) is None:
        refuse_out_of_service(layout)
    device_id = _device(layout)
    wish = Wish(
        kind=kind,
        by=person_named(options.by, where="--by"),
        medium=options.export,
        without_key=getattr(options, "without_key", False),
    )
    plan = plan_reset(layout, wish, device_id=device_id, clock=clock)
    if options.yes:
        reset(layout, wish, device_id=device_id, clock=clock)
    if options.json:
        show_json({"done": options.yes, "kept": KEPT, **asdict(plan)})
    else:
        show(f"{device_id}: {'removed' if options.yes else 'would be removed'}")
        for item in plan.removed:
            show(f"  {item}")
        show("kept")
        for item in KEPT:
            show(f"  {item}")
    if options.yes or options.dry_run:
        return EXIT_DONE
    if not options.json:
        show("Nothing was removed; give the command again with --yes.")
    return EXIT_USAGE


def _device(layout: Layout) -> str:
    found = read_object(layout.enrolment).get("deviceId") or journal_owner(layout)
    if not found:
        raise UsageError(
            "There is no device here: it was never enrolled.",
            reason=Reason.USAGE,
            where=str(layout.root),
            remedy="Name the device's state folder with --state DIR.",
        )
    return str(found)
