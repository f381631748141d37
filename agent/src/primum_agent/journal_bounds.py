"""How large and how old a journal may grow, and what gives way first.

Provenance that nobody acknowledged is never dropped, whatever the bounds say.  What the receiver
has acknowledged is pruned under a signed checkpoint once it is old, or once there is too much of
it.  Where nothing is acknowledged, telemetry goes first; then no new update is begun, so that the
space left serves what has to be recorded: what runs, and what is taken away.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass, fields

MIB = 1024 * 1024


@dataclass(frozen=True)
class JournalBounds:
    """The bounds of one journal.

    Attributes:
        keep_days: how long an acknowledged event stays on the device.
        keep_events: how many of the newest events stay whatever their age, so that a clock that
            jumps forward leaves something to look at.
        max_bytes: the pages of the database in use; above it acknowledged events go whatever
            their age, and where there are none no new update is begun.
        telemetry_rows: the most reports of health and monitors that wait for the broker.
        telemetry_bytes: the most bytes of them.
        wait_for_receipt: whether an event is pruned only once a receipt covers it; a broker's
            acknowledgement alone says that a message was taken, not that a receiver has it.
    """

    keep_days: float = 90.0
    keep_events: int = 1000
    max_bytes: int = 64 * MIB
    telemetry_rows: int = 3000
    telemetry_bytes: int = 4 * MIB
    wait_for_receipt: bool = False

    @property
    def prune_above(self) -> int:
        """Bytes in use from which acknowledged events are pruned whatever their age."""
        return self.max_bytes * 7 // 8

    @property
    def prune_down_to(self) -> int:
        """Bytes in use down to which they are pruned then."""
        return self.max_bytes * 3 // 4

    @property
    def late_days(self) -> float:
        """Age of the oldest event at which pruning begins: not for every event by itself."""
        return self.keep_days * 1.1


def as_arguments(bounds: JournalBounds) -> list[str]:
    """The bounds as a child is told them."""
    words = []
    for name, value in asdict(bounds).items():
        option = f"--{name.replace('_', '-')}"
        words += [option] * value if isinstance(value, bool) else [option, str(value)]
    return words


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that :func:`as_arguments` writes; without them the defaults hold."""
    defaults = JournalBounds()
    for item in fields(JournalBounds):
        default = getattr(defaults, item.name)
        option = f"--{item.name.replace('_', '-')}"
        if isinstance(default, bool):
            parser.add_argument(option, action="store_true")
        else:
            parser.add_argument(option, type=type(default), default=default)


def bounds_of(arguments: argparse.Namespace) -> JournalBounds:
    """The bounds that a child was told."""
    return JournalBounds(
        **{item.name: getattr(arguments, item.name) for item in fields(JournalBounds)}
    )
