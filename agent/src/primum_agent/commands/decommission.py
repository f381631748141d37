"""Remove what is on the device, its keys too: it serves nobody any more.

Releases, events, and whatever names a patient or a person go, and then every key, on a token as
well.  A tombstone stays, with which the agent refuses to start, and so do the floors: a device that
is enrolled again runs nothing older than before.

Shown first and done with --yes.  Events that nobody but this device has are exported with --export,
or refused.  The supervisor has to be stopped.  What was cut is finished by the same command.  Where
the key is lost or its token broken, --without-key goes on without its signature.  Exit code 1:
refused; 2: without --yes; 3: the key or the disk; 4: an agent runs.

Example:
  primum-agent decommission --state /var/lib/primum --by "R. Meyer" --dry-run
  primum-agent decommission --state /var/lib/primum --by "R. Meyer" --export /media/usb --yes
"""

from __future__ import annotations

import argparse

from primum_agent.commands.removing import add_removal, remove
from primum_agent.out_of_service import ResetKind


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``decommission``."""
    add_removal(parser)
    parser.add_argument("--without-key", action="store_true", help="the key is lost or broken")


def run(options: argparse.Namespace) -> int:
    """Show it, or do it."""
    return remove(options, ResetKind.DECOMMISSION)
