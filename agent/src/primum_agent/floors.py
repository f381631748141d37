"""What must never fall, kept once more beside the journal for the day the journal is damaged.

The file holds the versions accepted of each authority, the floors of the release counter, the
device context and the trust map, the releases known to be faulty, a stop that stands, and a
sequence number that was never used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from primum_agent.durable import write_file
from primum_verifier.core.limits import MAX_DOCUMENT_BYTES

SEQUENCE_RESERVE = 1000
"""Numbers set aside at a time, so that the file is not written for every event."""


@dataclass(frozen=True)
class Floors:
    """The copy.

    Attributes:
        first_unused: no event ever carried this sequence number or a higher one.
        counter: the release counter's floor.
        context: the device context's floor.
        trust_map: the number of the newest trust map that was in force.
        boots: boots counted so far.
        faults: releases that failed by their own fault, with the reason.
        stopped: why no release may be used until a person says otherwise; empty without a stop.
        trust: for each authority, the highest version accepted of each role.
        reference: for each authority, when its set was last accepted.
    """

    first_unused: int = 1
    counter: int = 0
    context: int = 0
    trust_map: int = 0
    boots: int = 0
    faults: Mapping[str, str] = field(default_factory=dict)
    stopped: str = ""
    trust: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    reference: Mapping[str, str] = field(default_factory=dict)


def read_floors(path: Path) -> Floors | None:
    """The copy, or None when it is missing or cannot be read."""
    try:
        content = json.loads(path.read_bytes()[:MAX_DOCUMENT_BYTES])
        return Floors(**content)
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def write_floors(path: Path, floors: Floors) -> None:
    """Replace the copy durably.

    Raises:
        FailedError: ``resource.storage`` or ``state.read-only``; the old copy stands.
    """
    write_file(path, json.dumps(asdict(floors), indent=1).encode() + b"\n", mode=0o640)
