"""Ask the running supervisor to poll now, without waiting for its period or back-off.

Example:
  primum-agent poll --state /var/lib/primum
"""

from __future__ import annotations

import argparse

from primum_agent.commands.shared import layout_of, show, show_json
from primum_agent.desk import ask
from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason


def add_arguments(_: argparse.ArgumentParser) -> None:
    """``poll`` has no options of its own."""


def run(options: argparse.Namespace) -> int:
    """Ask; 0 when the supervisor took it, 3 when none answers."""
    layout = layout_of(options)
    answer = ask(layout.socket, {"do": "poll"})
    if answer is None or not answer.get("ok"):
        raise FailedError(
            "No supervisor answers on this state folder.",
            reason=Reason.STATE_BUSY,
            where=str(layout.socket),
            remedy="Start it with `primum-agent run`.",
        )
    if options.json:
        show_json(answer)
    else:
        show("The supervisor polls now.")
    return 0
