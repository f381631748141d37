"""Remove what is on the device: releases, events, and whatever names a patient or a person.

The device keeps its key and its names, and needs no new provisioning: it begins again with what its
authorities give it.  No floor is lowered, and what ran last is the oldest that runs again.

Shown first and done with --yes.  Events that nobody but this device has are exported with --export,
or refused.  The supervisor has to be stopped.  What was cut is finished by the same command; until
then nothing starts.  Exit code 1: refused; 2: without --yes; 3: the key or the disk; 4: an agent
runs.

Example:
  primum-agent reset --state /var/lib/primum --factory --by "R. Meyer" --dry-run
  primum-agent reset --state /var/lib/primum --factory --by "R. Meyer" --export /media/usb --yes
"""

from __future__ import annotations

import argparse

from primum_agent.commands.removing import add_removal, remove
from primum_agent.out_of_service import ResetKind


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``reset``."""
    parser.add_argument(
        "--factory", action="store_true", required=True, help="say what kind of reset is meant"
    )
    add_removal(parser)


def run(options: argparse.Namespace) -> int:
    """Show it, or do it."""
    return remove(options, ResetKind.FACTORY)
