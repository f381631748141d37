"""Noticing that nobody serves anything newer, while what was read last is still good.

Whoever holds back what an authority signs cannot be told apart from an authority that is silent,
until its timestamp ends and everything is refused.  Long before, a device that reads every server
to its end and finds the same timestamp on all of them says so.
"""

from __future__ import annotations

from primum_agent.clock import plain_time
from primum_agent.device import Device
from primum_agent.events import Entry, EventKind
from primum_agent.mirrors import FROZEN_SHARE, is_older
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
