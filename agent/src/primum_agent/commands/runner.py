"""Run the active model confined, for applications that ask over a socket.

The model computes in the same confinement in which this device proved it: no network, no files,
no new programs, bounded memory and time.  An application opens a session on run/runner.sock, asks
for one case at a time, and gets outputs that are stamped with release and statement.  A session
keeps the release that it was opened with; the next one gets what is active then.

Example:
  primum-agent runner --state /var/lib/primum
"""

from __future__ import annotations

import argparse

from primum_agent.commands.shared import layout_of, show
from primum_agent.runner_service import RunnerService
from primum_verifier.proof.confinement import ALWAYS_POSSIBLE, Confinement


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``runner``."""
    parser.add_argument(
        "--answer-seconds",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="within which one case is computed (%(default)s)",
    )
    parser.add_argument(
        "--require",
        type=Confinement,
        choices=list(Confinement),
        action="append",
        default=[],
        metavar="CONFINEMENT",
        help="do not run without it; repeat it: " + ", ".join(Confinement),
    )


def run(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    service = RunnerService(
        layout=layout_of(options),
        answer_seconds=options.answer_seconds,
        required=ALWAYS_POSSIBLE | frozenset(options.require),
    )
    if not options.json:
        show(f"serving on {service.path}")
    return service.run()
