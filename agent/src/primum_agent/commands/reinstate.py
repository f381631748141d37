"""End a stop: the application said that no release may be used any more, and now one may again.

Nothing else ends it, a newer release neither: whether the reason for it is gone is known at the
device.  What runs then must be eligible now and pass its self-test again.  A release that waits
for this alone is activated at the next poll; otherwise the newest held one that may run is used.

Nothing is switched while a patient may be being served, so a supervisor has to run.

Example:
  primum-agent reinstate --state /var/lib/primum --provisioning /etc/primum
      --by "R. Meyer, ward 7" --why "electrodes replaced, signal checked"
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
    polls_now,
    show,
    show_json,
)
from primum_agent.identity import check_identity
from primum_agent.settings import read_settings
from primum_agent.stopping import one_line
from primum_verifier.core.errors import EXIT_DONE, PrimumError

if TYPE_CHECKING:
    from primum_agent.device import Device
    from primum_agent.judging import Judge


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``reinstate``."""
    parser.add_argument("--by", required=True, metavar="PERSON", help="who orders it")
    parser.add_argument("--why", required=True, metavar="TEXT", help="why it may be used again")
    add_provisioning(parser)


def run(options: argparse.Namespace) -> int:
    """End it; 0 when it has ended, 2 when there was none, 5 while a patient is served."""
    # Trust client and bench are heavy; only this command needs them.
    from primum_agent.attempt import run_attempt, unforeseen  # noqa: PLC0415
    from primum_agent.reinstating import reinstate  # noqa: PLC0415

    by = person_named(options.by, where="--by")
    why = one_line(options.why, where="--why")
    settings, layout = read_settings(options.provisioning), layout_of(options)
    check_identity(settings, layout)
    journal_to_read(layout).close()
    runs: list[str] = []

    def work(device: Device, judge: Judge | None) -> int:
        found = reinstate(device, judge, by=by, why=why)
        runs.extend([] if found is None else [found.name])
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
    polls = polls_now(layout)
    if options.json:
        show_json({"ok": True, "name": runs[0] if runs else None, "polls": polls})
    elif runs:
        show(f"The stop has ended; {runs[0]} is in use.")
    else:
        when = "now" if polls else "at the next poll"
        show(f"The stop has ended; what the plan gives is judged {when}.")
    return EXIT_DONE
