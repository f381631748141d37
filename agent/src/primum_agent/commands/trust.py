"""Replace the trust map by one that both manufacturer roots on the map in force signed.

FILE is a DSSE envelope.  A root that changes lies beside it, named as in the provisioning folder
(engineering.root.json, clinical.root.json, site.root.json).  It is judged over what the device
last accepted of both authorities; an older map is refused, and so is one that a root did not sign
at its threshold.  Exit code 1: refused; 2: a file is missing; 4: an attempt is under way; 5: an
authority was never reached.

Example:
  primum-agent trust --state /var/lib/primum --provisioning /etc/primum next.dsse.json --dry-run
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from primum_agent.clock import SystemClock
from primum_agent.commands.shared import add_provisioning, layout_of, show, show_json
from primum_agent.desk import ask
from primum_agent.identity import check_identity
from primum_agent.settings import read_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``trust``."""
    add_provisioning(parser)
    parser.add_argument("file", type=Path, metavar="FILE", help="the signed trust map")
    parser.add_argument("--dry-run", action="store_true", help="judge it, change nothing")


def run(options: argparse.Namespace) -> int:
    """Judge it, replace the map, and let a running supervisor poll now."""
    # Reading signed documents is heavy; only this command needs it.
    from primum_agent.trust_change import change_trust_map  # noqa: PLC0415
    from primum_verifier.core.limits import MAX_DOCUMENT_BYTES  # noqa: PLC0415
    from primum_verifier.shell.commands.fetch import read_input  # noqa: PLC0415

    settings, layout = read_settings(options.provisioning), layout_of(options)
    check_identity(settings, layout)
    change = change_trust_map(
        read_input(options.file, "signed trust map", 2 * MAX_DOCUMENT_BYTES),
        beside=options.file.resolve().parent,
        settings=settings,
        layout=layout,
        clock=SystemClock(),
        dry_run=options.dry_run,
    )
    if change.done:
        ask(layout.socket, {"do": "poll"})
    if options.json:
        show_json({"ok": True, **asdict(change)})
    else:
        words = "is in force" if change.done else "would be in force"
        roots = f", new root of {' and '.join(change.roots)}" if change.roots else ""
        show(f"Trust map {change.now} {words} in place of {change.before}{roots}.")
    return 0
