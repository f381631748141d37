"""On which terms a release is served: from the newest verdict on it, or as they were served last.

A verdict without a statement says nothing about terms: then what was served before stands, and
after a loss of that what was kept with the generation.  Terms never widen by a loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from primum_agent.standing import OperatingPoint
from primum_verifier.core.question import Verdict


@dataclass(frozen=True)
class ServedTerms:
    """The part of ``standing.json`` that a verdict decides.

    Attributes:
        point: the operating point at which the release runs; None where nobody can say.
        per_episode: what the application asks before each episode; empty where nobody can say.
        not_after: the statement's end, RFC 3339.
        on_expiry: what it orders then.
        ordered: what a signed order makes of the release while it goes on; empty without one.
    """

    point: OperatingPoint | None
    per_episode: Mapping[str, object]
    not_after: str
    on_expiry: str
    ordered: str

    @property
    def mode(self) -> str:
        """The mode of use that the statement names; empty where nobody can say."""
        return str(self.per_episode.get("mode", ""))

    def as_record(self) -> dict[str, object]:
        """As it is kept with the generation, and as ``standing.json`` has it."""
        return {
            "operatingPoint": None
            if self.point is None
            else {"output": self.point.output, "threshold": self.point.threshold},
            "terms": dict(self.per_episode),
            "notAfter": self.not_after,
            "onExpiry": self.on_expiry,
            "ordered": self.ordered,
        }


def terms_of_verdict(verdict: Verdict) -> ServedTerms | None:
    """The terms that a verdict on a running release gives; None where it has no statement.

    A restriction that chooses an operating point chooses among those that the statement
    approved beforehand; the core takes a release away whose restriction cannot be held.
    """
    if verdict.statement is None or not verdict.per_episode:
        return None
    said, order = verdict.statement.predicate, verdict.order
    approved = {item.id: item.threshold for item in said.operating_point.restricted}
    chosen = None if order is None else order.operating_point
    threshold = said.operating_point.threshold if chosen is None else approved.get(chosen)
    return ServedTerms(
        point=None
        if threshold is None
        else OperatingPoint(output=said.operating_point.output, threshold=threshold),
        per_episode=verdict.per_episode,
        not_after=said.validity.not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
        on_expiry=str(said.on_expiry.action),
        ordered="" if order is None else str(order.action),
    )


def terms_of_record(record: Mapping[str, Any]) -> ServedTerms:
    """The terms as :meth:`ServedTerms.as_record` keeps them."""
    point, terms = record.get("operatingPoint"), record.get("terms")
    return ServedTerms(
        point=OperatingPoint(**point) if isinstance(point, dict) else None,
        per_episode=terms if isinstance(terms, dict) else {},
        not_after=str(record.get("notAfter") or ""),
        on_expiry=str(record.get("onExpiry") or ""),
        ordered=str(record.get("ordered") or ""),
    )
