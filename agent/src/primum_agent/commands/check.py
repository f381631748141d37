"""What would happen now, and why: fetch both authorities, judge, activate nothing.

Exit code 0: nothing is new, or the new release may be tested and activated.  1: the new release,
or what an authority sends, is refused.  2: the provisioning folder is another device's.  3: a
repository cannot be reached.  4: an attempt is under way.  5: a gate would hold it: clinical use in
progress, battery, a window, a person who is asked, and so on.

What is fetched and accepted is kept, so that an older repository is refused ever after.
Where the last whole poll left nothing under way and both authorities still serve what it accepted,
that is the answer, with the gates as judged then; --whole looks at everything all the same.

Example:
  primum-agent check --state /var/lib/primum --provisioning /etc/primum
"""

from __future__ import annotations

import argparse
from typing import Any

from primum_agent.checking_quickly import check_quickly
from primum_agent.clock import SystemClock
from primum_agent.commands.explain import for_people
from primum_agent.commands.shared import (
    add_provisioning,
    gate_table,
    layout_of,
    show,
    show_json,
)
from primum_agent.identity import check_identity
from primum_agent.settings import read_settings
from primum_verifier.core.errors import EXIT_DONE, EXIT_FAILED, EXIT_REFUSED, EXIT_WAITING


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``check``."""
    add_provisioning(parser)
    parser.add_argument("--whole", action="store_true", help="also where nothing seems new")


def run(options: argparse.Namespace) -> int:
    """Fetch and judge."""
    settings, layout = read_settings(options.provisioning), layout_of(options)
    check_identity(settings, layout)
    known = None if options.whole else check_quickly(settings=settings, layout=layout)
    if known is not None:
        if options.json:
            show_json(known.as_dict())
        else:
            show(gate_table(known.gates))
            show(f"current: {known.message}")
        return EXIT_DONE
    # The trust client is heavy; only this command needs it, and only here.
    from primum_agent.checking import check_now  # noqa: PLC0415

    found = check_now(settings=settings, layout=layout, clock=SystemClock())
    if options.json:
        show_json(found.as_dict())
    else:
        for name, error in found.problems.items():
            show(f"{name}: {error.for_people()}")
        if found.verdict is not None:
            content: dict[str, Any] = {**found.verdict, "judged": "now"}
            show(for_people(content))
        show(gate_table([item.as_dict() for item in found.gates]))
        show(found.outcome)
    codes = {"refused": EXIT_REFUSED, "waiting": EXIT_WAITING, "unreachable": EXIT_FAILED}
    return codes.get(found.outcome.partition(":")[0], EXIT_DONE)
