"""The classes of reports beside provenance: what goes first, how long it is worth something.

Provenance is no class: it has no time to live, no bound in size, and goes before all of these.
A report here is bounded three times: one of them by its bytes, all of a class by a share of the
journal's bounds, and each by the time after which nobody asks for it any more.  That time counts
while the device is powered, since its clock may be wrong, and goes with the message, so that a
broker does not hand on what is over.
"""

from __future__ import annotations

from dataclasses import dataclass

_DAY = 86_400.0
KIB = 1024


@dataclass(frozen=True)
class ReportClass:
    """One class of reports.

    Attributes:
        kind: its name, and the end of the topic that it goes to.
        rank: the lower goes first, and gives way last where there is no room.
        lasts: seconds after which a report is worth nothing.
        max_bytes: the largest report; a larger one is not kept.
        share: of the journal's ``telemetry_rows`` and ``telemetry_bytes`` that the class may take.
    """

    kind: str
    rank: int
    lasts: float
    max_bytes: int
    share: float


MONITOR = ReportClass(kind="monitor", rank=1, lasts=90 * _DAY, max_bytes=64 * KIB, share=0.75)
"""Sums over a day or longer: no later one says the same again."""

HEALTH = ReportClass(kind="health", rank=2, lasts=7 * _DAY, max_bytes=16 * KIB, share=1.0)
"""How the device felt: the next one is about as good, and an old one is good for little."""

CLASSES = (MONITOR, HEALTH)


def class_of(kind: str) -> ReportClass:
    """The class of a kind; one that this agent does not know is treated as health is."""
    return next((item for item in CLASSES if item.kind == kind), HEALTH)
