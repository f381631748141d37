"""When the release that is being proven was switched to, on the clock that systemd goes by.

A service that runs since before the switch says nothing about what came with it.  The clock is the
kernel's ``CLOCK_MONOTONIC``: nobody can set it, and it starts anew with each boot, before which
nothing that runs now was started.
"""

from __future__ import annotations

import time
from contextlib import suppress

from primum_agent.clock import Clock
from primum_agent.journal_port import JournalPort

_NOTE = "switched"


def note_switch(journal: JournalPort, number: int, *, clock: Clock) -> None:
    """Note that the link names a generation from now on; said again, the first time stands.

    Args:
        journal: the open journal.
        number: the generation, which is used once.
        clock: names the boot.
    """
    if journal.counter(_NOTE, "").partition(" ")[0] != str(number):
        journal.set_counters(switched=f"{number} {clock.boot_id()} {time.monotonic():.6f}")


def switched_at(journal: JournalPort, number: int, *, clock: Clock) -> float | None:
    """Seconds of ``CLOCK_MONOTONIC`` at the switch; 0 where that was before this boot.

    None where nobody noted it.
    """
    with suppress(ValueError):
        noted, boot, seconds = journal.counter(_NOTE, "").split(" ")
        if noted == str(number):
            return float(seconds) if boot == clock.boot_id() else 0.0
    return None
