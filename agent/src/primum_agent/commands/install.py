"""Install from a folder or a stick with copies of the repositories' web roots.

The checks are those of a poll over the network: signatures, freshness, eligibility, self-test,
gates.  MEDIUM holds engineering/ and clinical/ (and site/ where the device has one), each copied
whole as it was published.  A device that is seldom online carries a staleness allowance in its
trust map; nothing else makes an old stick good.

Where a supervisor runs, this adds one attempt to it and waits until the release is committed or
rolled back; otherwise it supervises that one update itself, as `run --once` does.

Example:
  primum-agent install --state /var/lib/primum --provisioning /etc/primum /media/usb
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from primum_agent import children
from primum_agent.children import Child, Task
from primum_agent.commands.run import supervise, tell_the_end
from primum_agent.commands.shared import add_provisioning, journal_to_read, layout_of, show
from primum_agent.desk import ask
from primum_agent.events import EventKind
from primum_agent.identity import check_identity
from primum_agent.layout import Layout
from primum_agent.lifecycle import State
from primum_agent.medium import settings_for
from primum_agent.narrating import Narrator
from primum_agent.settings import Settings, read_settings
from primum_verifier.core.errors import EXIT_DONE, EXIT_FAILED, EXIT_REFUSED, EXIT_WAITING

_LOOK_SECONDS = 0.2
_PATIENCE = 3
"""Health windows after which nobody is waited for: a roll-back tests the old release again."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``install``."""
    parser.add_argument("medium", type=Path, metavar="MEDIUM", help="the folder or mounted stick")
    add_provisioning(parser)


def run(options: argparse.Namespace) -> int:
    """Install; the exit code is that of the attempt, 1 where it was rolled back."""
    layout = layout_of(options)
    settings = read_settings(options.provisioning)
    # Before anything is started: a mistyped path is no failed attempt.
    settings_for(settings, options.medium)
    if ask(layout.socket, {"do": "status"}) is None:
        return supervise(options, once=True, medium=options.medium)
    check_identity(settings, layout)
    narrator = Narrator(say=(lambda _: None) if options.json else show, single=True)
    code = _beside_the_supervisor(options, layout, settings, narrator)
    tell_the_end(layout, narrator, code, options)
    return code


def _beside_the_supervisor(
    options: argparse.Namespace, layout: Layout, settings: Settings, narrator: Narrator
) -> int:
    """One attempt under the update lock, then what the resident supervisor makes of it."""
    journal = journal_to_read(layout)
    try:
        narrator.begin(journal)
        child = children.start(
            Task.ATTEMPT,
            [
                *("--state", str(layout.root), "--provisioning", str(options.provisioning)),
                *("--reason", "poll", "--from", str(options.medium)),
            ],
            deadline=time.monotonic() + settings.timing.attempt_seconds,
        )
        code = _ended(child, lambda: narrator.look(journal))
        used = journal.state().in_use
        patience = 0
        # An attempt that was turned away activated nothing that could be waited for.
        if code == EXIT_DONE and used is not None:
            patience = _PATIENCE * used.health_window
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if journal.state().lifecycle in {State.IDLE, State.WAITING}:
                break
            # The question wakes it, so that it opens the health window now.
            ask(layout.socket, {"do": "status"})
            narrator.look(journal)
            time.sleep(_LOOK_SECONDS)
        narrator.look(journal)
        decided = journal.state().lifecycle in {State.IDLE, State.WAITING}
    finally:
        journal.close()
    if code == EXIT_DONE and not decided:
        return EXIT_WAITING
    rolled_back = narrator.saw(EventKind.UPDATE_ROLLING_BACK)
    return EXIT_REFUSED if code == EXIT_DONE and rolled_back else code


def _ended(child: Child, look: Callable[[], None]) -> int:
    """Wait for the attempt; its exit code.  One that hangs or is interrupted is ended."""
    try:
        while child.process.poll() is None and time.monotonic() < child.deadline:
            look()
            time.sleep(_LOOK_SECONDS)
    finally:
        if child.process.poll() is None:
            child.stop()
    code = child.process.returncode
    return code if code >= 0 else EXIT_FAILED
