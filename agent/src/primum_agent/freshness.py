"""Noticing that nobody serves anything newer, while what was read last is still good.

Whoever holds back what an authority signs cannot be told apart from an authority that is silent,
until its timestamp ends and everything is refused.  Long before, a device that reads every server
to its end and finds the same timestamp on all of them says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from primum_agent.clock import plain_time
from primum_agent.device import Device
from primum_agent.events import Entry, EventKind
from primum_agent.lifecycle import State
from primum_agent.mirrors import DOUBTFUL_SHARE, FROZEN_SHARE, is_older
from primum_agent.standing import read_standing
from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import CLINICAL, ENGINEERING, SITE, AuthorityView
from primum_verifier.shell.authorities import Refreshed


def tell_freshness(device: Device, refreshed: Refreshed) -> None:
    """Tell once of each authority whose timestamp grows old; a lasting trouble until it is renewed.

    Args:
        device: the device.
        refreshed: what was read just now; an authority that could not be read is told elsewhere.
    """
    views = {
        ENGINEERING: refreshed.engineering,
        CLINICAL: refreshed.clinical,
        SITE: refreshed.site,
    }
    for name, view in views.items():
        if view is None or name in refreshed.problems:
            continue
        if is_older(view, FROZEN_SHARE, now=device.clock.now()):
            _tell(device, name, view)
        else:
            device.journal.clear_problem(f"freshness {name}")


def quiet_until(device: Device, refreshed: Refreshed) -> float | None:
    """Powered seconds until which nothing is to be looked at again but whether anything is new.

    Args:
        device: the device, at rest after a whole poll.
        refreshed: what that poll read.

    Returns:
        None where something is under way, wrong, narrowed or about to end.
    """
    state, standing = device.journal.state(), read_standing(device.layout)
    assigned = None if refreshed.assignment is None else refreshed.assignment.release.sha256
    used = state.in_use
    settled = used is not None and used.proven and assigned in {None, used.release}
    busy = state.lifecycle is not State.IDLE or state.shadow is not None or state.stopped
    if refreshed.problems or not settled or busy or device.from_medium or standing is None:
        return None
    if any(standing.get(name) for name in ("reasons", "notice", "ordered", "ending", "suspended")):
        return None
    now = device.clock.now()
    seconds = device.settings.timing.refresh_seconds
    for moment in _moments(refreshed, standing):
        if moment > now:
            seconds = min(seconds, (moment - now).total_seconds())
    return device.journal.powered_total() + seconds if seconds > 0.0 else None


def _moments(refreshed: Refreshed, standing: Mapping[str, object]) -> Iterator[datetime]:
    """When something has to be judged anew by time alone."""
    for view in (refreshed.engineering, refreshed.clinical, refreshed.site):
        if view is None:
            continue
        yield from (role.expires for role in view.roles.values())
        timestamp = view.roles.get("timestamp")
        if timestamp is not None and view.issued_at is not None:
            life = timestamp.expires - view.issued_at
            yield from (view.issued_at + life * share for share in (DOUBTFUL_SHARE, FROZEN_SHARE))
    ends = standing.get("notAfter")
    if isinstance(ends, str):
        yield datetime.fromisoformat(ends)


def newest_timestamps(refreshed: Refreshed) -> dict[str, str]:
    """SHA-256 of the timestamp that was accepted, by authority."""
    views = (refreshed.engineering, refreshed.clinical, refreshed.site)
    return {
        view.authority: view.roles["timestamp"].sha256
        for view in views
        if view is not None and "timestamp" in view.roles
    }


def _tell(device: Device, name: str, view: AuthorityView) -> None:
    ends = plain_time(view.roles["timestamp"].expires)
    news = device.journal.note_problem(
        topic=f"freshness {name}",
        what=str(Reason.TRUST_FROZEN),
        text=f"No server has anything newer of {name}; what was read last ends {ends}, and from "
        "then on nothing new is accepted. Ask the publisher, and look who answers for its servers.",
    )
    if news:
        device.journal.record(
            Entry(
                kind=EventKind.TRANSPORT_FAILED,
                attempt=device.attempt,
                result="failed",
                reasons=(str(Reason.TRUST_FROZEN),),
                detail={"authority": name, "ends": ends},
            )
        )
