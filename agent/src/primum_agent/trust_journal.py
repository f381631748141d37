"""The trust store in the journal's database: one authority's set, replaced in one transaction."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any

from primum_agent.journal import Journal
from primum_agent.trusted_roles import note_roles
from primum_verifier.shell.trust_store import TrustedSet

_METADATA = "metadata"
_VIEW = "view"
_DOCUMENT = "document"
_FLOORS = "floors"
_PROOF = "proof"


class JournalTrustStore:
    """See :class:`primum_verifier.shell.trust_store.TrustStore`.

    Args:
        journal: the open journal.
        authority: whose set it is.
    """

    def __init__(self, journal: Journal, authority: str) -> None:
        self._journal = journal
        self._authority = authority

    def exclusive(self) -> AbstractContextManager[None]:
        """See the port: the attempt that runs the client holds the update lock all along."""
        return nullcontext()

    def load(self) -> TrustedSet | None:
        """What was saved last, or None when nothing ever was."""
        rows = self._journal.trust_rows(self._authority)
        if not rows:
            return None
        kept: dict[str, Any] = {"floors": {}, "referenceTime": None}
        for kind, _, value in rows:
            if kind == _FLOORS:
                kept = json.loads(value)
        moment = kept["referenceTime"]
        return TrustedSet(
            metadata={name: value for kind, name, value in rows if kind == _METADATA},
            view={name: value for kind, name, value in rows if kind == _VIEW},
            documents={name: value for kind, name, value in rows if kind == _DOCUMENT},
            floors=kept["floors"],
            reference_time=datetime.fromisoformat(moment) if moment else None,
            proofs={name: value for kind, name, value in rows if kind == _PROOF},
        )

    def save(self, trusted: TrustedSet) -> None:
        """Keep the set instead of what was there; see the port for what it raises."""
        moment = trusted.reference_time
        kept = {
            "floors": dict(trusted.floors),
            "referenceTime": None if moment is None else moment.astimezone(UTC).isoformat(),
        }
        rows = [(_METADATA, name, data) for name, data in trusted.metadata.items()]
        rows += [(_VIEW, name, data) for name, data in trusted.view.items()]
        rows += [(_DOCUMENT, name, data) for name, data in trusted.documents.items()]
        rows += [(_PROOF, name, data) for name, data in trusted.proofs.items()]
        rows.append((_FLOORS, "", json.dumps(kept).encode()))
        self._journal.replace_trust(self._authority, rows)
        note_roles(self._journal, self._authority, trusted.metadata, accepted=moment)


def proofs_of(journal: Journal, authority: str) -> dict[str, bytes]:
    """The versions of an authority that were signed with two contents, by name."""
    return {name: value for kind, name, value in journal.trust_rows(authority) if kind == _PROOF}
