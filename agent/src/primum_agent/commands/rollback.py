"""Go back to a release that this device holds, without fetching anything.

It must be eligible now, by what the device last accepted of its authorities, and pass its
self-test again; it must have proved health once.  VERSION names it; without one it is the newest
that may run.  What is left is set aside on this device until `primum-agent retry VERSION`.

Nothing is switched while a patient may be being served, so a supervisor has to run.

Example:
  primum-agent rollback --state /var/lib/primum --provisioning /etc/primum 1.1.0 --dry-run
      --by "R. Meyer, ward 7" --why "alarms too often since Monday"
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from primum_agent.clock import SystemClock
from primum_agent.commands.shared import (
    add_provisioning,
    journal_to_read,
    layout_of,
    person_named,
    show,
    show_json,
)
from primum_agent.desk import ask
from primum_agent.identity import check_identity
from primum_agent.settings import read_settings
from primum_agent.stopping import one_line
from primum_verifier.core.errors import EXIT_DONE, PrimumError

if TYPE_CHECKING:
    from primum_agent.device import Device
    from primum_agent.judging import Judge


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``rollback``."""
    parser.add_argument("version", metavar="VERSION", nargs="?", default="", help="such as 1.2.0")
    parser.add_argument("--by", required=True, metavar="PERSON", help="who orders it")
    parser.add_argument("--why", required=True, metavar="TEXT", help="for journal and user")
    parser.add_argument("--dry-run", action="store_true", help="judge and test; change nothing")
    add_provisioning(parser)


def run(options: argparse.Namespace) -> int:
    """Go back; 0 when the device runs what was meant, 1 refused, 5 while a patient is served."""
    # Trust client and bench are heavy; only this command needs them.
    from primum_agent.attempt import run_attempt, unforeseen  # noqa: PLC0415
    from primum_agent.by_hand import Order, go_back  # noqa: PLC0415

    order = Order(
        version=options.version,
        by=person_named(options.by, where="--by"),
        why=one_line(options.why, where="--why"),
        pretend=options.dry_run,
    )
    settings, layout = read_settings(options.provisioning), layout_of(options)
    check_identity(settings, layout)
    journal_to_read(layout).close()
    went_to: list[str] = []

    def work(device: Device, judge: Judge | None) -> int:
        went_to.append(go_back(device, judge, order).name)
        return EXIT_DONE

    try:
        run_attempt(
            settings=settings, layout=layout, clock=SystemClock(), reason="order", work=work
        )
    except PrimumError:
        raise
    except Exception as error:
        # The attempt runs in this process: what its own border would tell is told here.
        raise unforeseen(error) from error
    # The question wakes the supervisor, so that status and reports say it now.
    ask(layout.socket, {"do": "status"})
    done = "would be" if order.pretend else "is"
    if options.json:
        show_json({"ok": True, "dryRun": order.pretend, "name": went_to[0]})
    else:
        show(f"{went_to[0]} may run here, passed its self-test, and {done} in use.")
    return EXIT_DONE
