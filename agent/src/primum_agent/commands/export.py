"""Export the journal to a folder or a stick, for a device that reaches no broker.

Below FOLDER, in a folder of the device's name: history.jsonl (events, signed heads and the signed
checkpoint), the device's public key, its enrolment, and with --provisioning its signed context.
`primum-verify history` proves it; the key to prove it with is the one that you know the device by.
Exporting acknowledges nothing: what no broker took stays on the device.

Example:
  primum-agent export --state /var/lib/primum /media/usb
  primum-verify history /media/usb/wearable-001 --device-key enrolment.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from primum_agent.commands.shared import (
    add_provisioning,
    journal_to_read,
    layout_of,
    show,
    show_json,
)
from primum_agent.contexts import context_path, read_object
from primum_agent.exporting import export
from primum_agent.settings import read_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``export``."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the folder or mounted stick")
    add_provisioning(parser, required=False)


def run(options: argparse.Namespace) -> int:
    """Export it."""
    layout = layout_of(options)
    # Says it where the agent never ran.
    journal_to_read(layout).close()
    context = None
    if options.provisioning is not None:
        key = str(read_object(layout.device_public).get("keyId", ""))
        context = context_path(read_settings(options.provisioning), key)
    found = export(layout, options.folder, context=context)
    if options.json:
        content = {"folder": str(found.folder), "lines": found.lines, "signed": found.proven}
        show_json(content)
    else:
        show(f"{found.lines} lines in {found.folder}")
        if not found.proven:
            show("not signed to its end: the device's key cannot be used from here")
    return 0
