"""Windows of monitors for somebody who need not know whose they are.

Of a window goes on what was counted, under the device's name in one campaign
(:mod:`primum_repo_tools.fleet.campaigns`), and of when it was the place in a row of windows, the
same for all devices.  What few devices have in common would tell which they are: it stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from primum_repo_tools.fleet.campaigns import Campaign
from primum_repo_tools.fleet.database import Session
from primum_repo_tools.fleet.messages import End
from primum_verifier.record.monitor_report import MonitorReport

Kind = tuple[str, str]
"""A release, and the specification by which it was counted."""

_HOURS_OF_A_DAY = 24


@dataclass(frozen=True)
class Found:
    """What of a campaign may go on.

    Attributes:
        windows: how many of each kind there are.
        devices: how many devices told one of it.
        least: how many must have, so that it goes on.
    """

    windows: dict[Kind, int]
    devices: dict[Kind, int]
    least: int

    def goes_on(self, kind: Kind) -> bool:
        """Whether enough devices told windows of this kind."""
        return self.devices[kind] >= self.least


def look_through(session: Session, *, fleet: str, campaign: Campaign, least: int) -> Found:
    """Count the windows of a campaign.

    Args:
        session: a transaction.
        fleet: the fleet.
        campaign: the campaign.
        least: by how many devices a release must be used so that its windows go on.
    """
    windows: dict[Kind, int] = defaultdict(int)
    devices: dict[Kind, int] = defaultdict(int)
    for number, _ in _devices(session, fleet):
        told = [_kind(window) for window in _windows(session, number, campaign)]
        for kind in told:
            windows[kind] += 1
        for kind in set(told):
            devices[kind] += 1
    return Found(dict(windows), dict(devices), least)


def handed_on(
    session: Session, *, fleet: str, campaign: Campaign, found: Found
) -> Iterator[dict[str, Any]]:
    """What goes on, window by window, in an order that says nothing about the devices.

    Args:
        session: the transaction of ``found``.
        fleet: the fleet.
        campaign: the campaign.
        found: what was counted.
    """
    named = sorted((campaign.pseudonym(name), number) for number, name in _devices(session, fleet))
    for pseudonym, number in named:
        for window in _windows(session, number, campaign):
            if found.goes_on(_kind(window)):
                yield {"campaign": campaign.name, "device": pseudonym, **_stripped(window)}


def whose(session: Session, *, fleet: str, campaign: Campaign, pseudonym: str) -> str | None:
    """The device of this name in a campaign: for a field action that needs it."""
    for _, name in _devices(session, fleet):
        if campaign.pseudonym(name) == pseudonym:
            return name
    return None


def _devices(session: Session, fleet: str) -> list[tuple[int, str]]:
    rows = session.rows("SELECT number, name FROM devices WHERE fleet = ? ORDER BY number", fleet)
    return [(number, name) for number, name in rows]


def _windows(session: Session, device: int, campaign: Campaign) -> list[MonitorReport]:
    """A device's windows that ended on a day of the campaign."""
    rows = session.rows(
        "SELECT line FROM reports WHERE device = ? AND kind = ? AND said_at >= ? AND said_at < ?"
        " ORDER BY said_at, digest",
        device,
        str(End.MONITOR),
        campaign.days.begins.isoformat(),
        campaign.days.ends.isoformat(),
    )
    # What only a newer agent writes is not known here, and does not go on.
    return [
        MonitorReport.model_validate_json(bytes(line), by_alias=True, by_name=False, extra="ignore")
        for (line,) in rows
    ]


def _kind(window: MonitorReport) -> Kind:
    return window.data.release, window.data.monitoring_specification


def _stripped(window: MonitorReport) -> dict[str, Any]:
    """Without whatever is a device's own from one window to the next: numbers, clock, statement."""
    data = window.data
    told = data.model_dump(mode="json", by_alias=True, exclude_unset=True)
    kept = (
        "release",
        "monitoringSpecification",
        "windowHours",
        "minimumCellCount",
        "dropped",
        "alarms",
        "channels",
    )
    begins = _in_a_row(window.time.date(), data.window_hours // _HOURS_OF_A_DAY)
    return {"endedOnOrAfter": begins.isoformat(), **{name: told[name] for name in kept}}


def _in_a_row(day: date, days: int) -> date:
    """The first day of those that count as one: whole weeks begin on a Monday.

    On which day of the week its windows end would be a mark by which a device is known.
    """
    return day - timedelta(days=(day.toordinal() - 1) % days)
