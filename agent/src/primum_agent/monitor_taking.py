"""What an application hands to the monitor in one request: checked whole, then counted or not.

==============  ==================================================================================
``release``     SHA-256 of the release that it is of, ``statement`` and ``specification`` likewise
``values``      for each distribution or latency a list of numbers; null is a value that is missing
``rates``       for each rate two whole numbers: events, and of how many samples or seconds
``groups``      the group of each cohort key, for all of it
``dropped``     values that could not be handed over before
==============  ==================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from primum_agent.monitor_kept import Watched
from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason
from primum_verifier.record.monitor_plan import MonitorPlan
from primum_verifier.record.monitor_tally import MonitorTally

MOST_AT_ONCE = 10**9
"""Events, samples or dropped values in one request."""

_DIGESTS = ("release", "statement", "specification")
_MEMBERS = frozenset({"do", *_DIGESTS, "values", "rates", "groups", "dropped"})


@dataclass(frozen=True)
class Handed:
    """One request in the form that it has to have."""

    release: str
    statement: str
    specification: str
    values: Mapping[str, list[float | None]]
    rates: Mapping[str, tuple[int, int]]
    groups: Mapping[str, str]
    dropped: int

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> Self:
        """The request, taken apart.

        Raises:
            UsageError: it is none.
        """
        unknown = sorted(request.keys() - _MEMBERS)
        if unknown:
            raise _wrong(unknown[0][:80], "no member of observe")
        for name in _DIGESTS:
            if not isinstance(request.get(name), str):
                raise _wrong(name, "the digests of what was opened")
        groups = _table(request, "groups")
        if not all(isinstance(group, str) for group in groups.values()):
            raise _wrong("groups", "a group for each cohort key")
        return cls(
            release=request["release"],
            statement=request["statement"],
            specification=request["specification"],
            values={
                name: _numbers(name, found) for name, found in _table(request, "values").items()
            },
            rates={name: _pair(name, found) for name, found in _table(request, "rates").items()},
            groups=groups,
            dropped=_whole("dropped", request.get("dropped", 0)),
        )

    def is_of(self, watched: Watched) -> bool:
        """Whether it is of what is watched."""
        wanted = (watched.release, watched.statement, watched.specification)
        return (self.release, self.statement, self.specification) == wanted

    def count_in(self, tally: MonitorTally, plan: MonitorPlan) -> int:
        """Count all of it; how many values there were.

        Raises:
            UsageError: a channel that is not signed, or events that cannot have been; nothing of
                the request was counted.
        """
        # Tried on counters of its own first: half a request is not counted.
        self._add_to(MonitorTally(plan))
        self._add_to(tally)
        tally.dropped += self.dropped
        return sum(len(found) for found in self.values.values())

    def _add_to(self, tally: MonitorTally) -> None:
        try:
            for channel, values in self.values.items():
                for value in values:
                    tally.observe(channel, value, self.groups)
            for channel, (events, of) in self.rates.items():
                tally.happened(channel, events, of, self.groups)
        except KeyError as error:
            raise _wrong(str(error)[:80], "a channel of the signed specification") from error
        except ValueError as error:
            raise _wrong(str(error)[:80], "values of a distribution, events of a rate") from error


def _table(request: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = request.get(name, {})
    if not isinstance(found, dict):
        raise _wrong(name, "an object")
    return found


def _numbers(name: str, found: object) -> list[float | None]:
    if not isinstance(found, list):
        raise _wrong(f"values.{name[:80]}", "a list of numbers")
    numbers: list[float | None] = []
    for value in found:
        if value is not None and type(value) not in {int, float}:
            raise _wrong(f"values.{name[:80]}", "numbers and null alone")
        try:
            numbers.append(None if value is None else float(value))
        except OverflowError as error:
            raise _wrong(f"values.{name[:80]}", "numbers that a computer holds") from error
    return numbers


def _pair(name: str, found: object) -> tuple[int, int]:
    if not isinstance(found, list) or len(found) != 2:  # noqa: PLR2004 - said in the message
        raise _wrong(f"rates.{name[:80]}", "two whole numbers: events, and of how much")
    events, of = (_whole(f"rates.{name[:80]}", one) for one in found)
    return events, of


def _whole(where: str, found: object) -> int:
    if type(found) is not int or not 0 <= found <= MOST_AT_ONCE:
        raise _wrong(where, f"whole numbers from 0 to {MOST_AT_ONCE}")
    return found


def _wrong(where: str, expected: str) -> UsageError:
    return UsageError(
        "What was handed over cannot be counted.",
        reason=Reason.USAGE,
        where=where,
        expected=expected,
        remedy="Compare with the device's guide, The monitor.",
    )
