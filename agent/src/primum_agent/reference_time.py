"""What time it is for a plan that begins and pauses at signed moments.

Where the clock was never set it says nothing; then the time that the authorities prove counts, as
everywhere else.  Such a device activates nothing new, and has to say so: by its clock no plan would
ever have begun, and it would call itself current for ever.
"""

from __future__ import annotations

from datetime import datetime

from primum_agent.clock import believed
from primum_agent.device import Device
from primum_agent.passed_time import passed_time
from primum_verifier.shell.authorities import Refreshed


def reference_time(device: Device) -> datetime:
    """The clock's time, or where it was never set the time that has certainly passed."""
    clock = device.clock.now()
    if believed(device.clock) is not None:
        return clock
    stored = device.authorities.stored(now=clock, device_id=device.settings.device_id)
    if stored.engineering is None or stored.clinical is None:
        return clock
    return passed_time(device.journal, stored.engineering, stored.clinical) or clock


def refreshed_by(device: Device, held: list[tuple[str, str]]) -> Refreshed:
    """Refresh both authorities as of that time, which the refresh itself may prove.

    Args:
        device: the device.
        held: components and versions whose manifests are kept.
    """
    now = reference_time(device)
    device_id = device.settings.device_id
    refreshed = device.authorities.refresh(now=now, device_id=device_id, held=held)
    proven = reference_time(device)
    if believed(device.clock) is None and proven > now and refreshed.assignment is None:
        # The first contact told the time; what the plan gives now was not asked for yet.
        return device.authorities.refresh(now=proven, device_id=device_id, held=held)
    return refreshed
