"""Which version of each trusted role this device holds, with what digest: kept for its reports.

Whoever compares the reports of many devices sees that one version exists with two contents: a
repository that shows two populations two lists, each signed.  The digest is of what was signed, in
canonical form, so that a further signature over the same content is no other content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from primum_agent.clock import plain_time
from primum_agent.receipts import Counters

ROLES = "trusted-roles"
"""The counter."""

MOST_ROLES = 64
"""Roles of one authority that are told."""


def note_roles(
    journal: Counters, authority: str, metadata: Mapping[str, bytes], *, accepted: datetime | None
) -> None:
    """Keep versions and digests of what is trusted of an authority now.

    Args:
        journal: the open journal.
        authority: whose it is.
        metadata: the trusted metadata by file name.
        accepted: the time at which it was accepted; None where that is not known.
    """
    newest: dict[str, tuple[int, str]] = {}
    for name, data in metadata.items():
        role = "root" if name.startswith("root_history/") else name.removesuffix(".json")
        content = json.loads(data)["signed"]
        found = int(content["version"]), _digest(content)
        newest[role] = max(newest.get(role, found), found)
    kept: dict[str, Any] = json.loads(journal.counter(ROLES, "") or "{}")
    kept[authority] = {
        "accepted": None if accepted is None else plain_time(accepted.astimezone(UTC)),
        "roles": {
            role: {"version": version, "sha256": digest}
            for role, (version, digest) in sorted(newest.items())[:MOST_ROLES]
        },
    }
    journal.set_counters(trusted_roles=json.dumps(kept, separators=(",", ":")))


def trusted_roles(journal: Counters) -> dict[str, Any]:
    """What :func:`note_roles` kept, by authority."""
    found: dict[str, Any] = json.loads(journal.counter(ROLES, "") or "{}")
    return found


def _digest(content: object) -> str:
    # The canonical form of the verifier, which this process is too small to import.
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode() + b"\n").hexdigest()
