"""``run/standing.json``: what the application may use now, replaced whole.

The file is the contract with applications in every language.  It is written by the attempt,
from a verdict; the supervisor only ever narrows it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from primum_agent.clock import Clock, plain_time
from primum_agent.content_store import StoredItem
from primum_agent.durable import write_file
from primum_agent.layout import Layout

SCHEMA_VERSION = "0.1"

AI_FUNCTION = "ai-function"
DEVICE_FUNCTION = "device-function"


@dataclass(frozen=True)
class OperatingPoint:
    """The threshold at which the evidence was gathered; a device runs at no other."""

    output: str
    threshold: str


@dataclass(frozen=True)
class Ending:
    """A release that is taken away once the episode that runs has ended; none begins any more.

    Attributes:
        reason: the reason code.
        max_use_seconds: how long the episode may still run, of powered time; None: to its end.
    """

    reason: str
    max_use_seconds: int | None


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What the application may use.

    Attributes:
        generation: number of the active generation; None is the declared safe mode.
        mode: for a generation ``clinical`` or ``investigational``.
        statement: SHA-256 of the statement in force, whose terms these are.
        statement_number: that statement's number.
        notice: what the user is to be told; empty when there is nothing to tell.
        reasons: reason codes for a safe mode or a notice, the primary first.
        not_after: until when the statement lets it be used, RFC 3339.
        on_expiry: what the statement orders then.
        terms: what the application asks before each episode, as the verifier's ``may_use``
            reads them; empty in safe mode.
        ordered: what a signed order makes of the release while it goes on; empty without one.
        ending: set while it waits for the end of a running episode.
        suspended: in safe mode, what a signed order or a stop suspends: :data:`AI_FUNCTION`, or
            :data:`DEVICE_FUNCTION`, the whole function of the device; empty where none does.
    """

    generation: int | None = None
    mode: str = "clinical"
    component: str = ""
    version: str = ""
    release: str = ""
    statement: str = ""
    statement_number: int | None = None
    folder: str = ""
    files: Sequence[StoredItem] = ()
    operating_point: OperatingPoint | None = None
    not_after: str = ""
    on_expiry: str = ""
    reasons: Sequence[str] = ()
    notice: str = ""
    terms: Mapping[str, object] = field(default_factory=dict)
    ordered: str = ""
    ending: Ending | None = None
    suspended: str = ""

    def as_dict(self) -> dict[str, object]:
        """The members of the file, without the time of writing."""
        point = self.operating_point
        return {
            "schemaVersion": SCHEMA_VERSION,
            "mode": "safe" if self.generation is None else self.mode,
            "generation": self.generation,
            "component": self.component or None,
            "version": self.version or None,
            "release": self.release or None,
            "statement": self.statement or None,
            "statementNumber": self.statement_number,
            "folder": self.folder or None,
            "files": [
                {"id": item.id, "kind": item.kind, "path": item.path, "sha256": item.sha256}
                for item in self.files
            ],
            "operatingPoint": None
            if point is None
            else {"output": point.output, "threshold": point.threshold},
            "notAfter": self.not_after or None,
            "onExpiry": self.on_expiry or None,
            "reasons": list(self.reasons),
            "notice": self.notice,
            "terms": dict(self.terms) or None,
            "ordered": self.ordered or None,
            "ending": None
            if self.ending is None
            else {
                "reason": self.ending.reason,
                "maxUseSeconds": self.ending.max_use_seconds,
            },
            "suspended": self.suspended or None,
        }


def read_standing(layout: Layout) -> dict[str, object] | None:
    """What stands in the file; None when there is none or it cannot be read."""
    try:
        content = json.loads(layout.standing.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def write_standing(layout: Layout, standing: Standing, *, clock: Clock) -> bool:
    """Replace the file if it would say something else; whether it did.

    Raises:
        FailedError: ``resource.storage`` or ``state.read-only``; the old file stands.
    """
    content = standing.as_dict()
    old = read_standing(layout)
    if old is not None and {**old, "updatedAt": None} == {**content, "updatedAt": None}:
        return False
    content["updatedAt"] = plain_time(clock.now())
    data = json.dumps(content, indent=1).encode() + b"\n"
    write_file(layout.standing, data, mode=0o644)
    return True
