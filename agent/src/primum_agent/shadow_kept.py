"""What lies on the disk of the release that runs in shadow: its signed bins, and its counters."""

from __future__ import annotations

from primum_agent.device import Device
from primum_agent.device_state import Shadow
from primum_agent.shadow_counts import ShadowCounts, read_counts
from primum_verifier.core.document import parse_document
from primum_verifier.core.errors import PrimumError
from primum_verifier.record.monitoring import MonitoringSpecification

_HOUR = 3600.0


def monitoring_of(device: Device, sha256: str) -> MonitoringSpecification:
    """The signed monitoring specification, out of the content store.

    Raises:
        RefusedError: ``document.invalid``.
        OSError: it is not there.
    """
    data = device.store.path_of(sha256).read_bytes()
    return parse_document(MonitoringSpecification, data, where="monitoring specification")


def counts_of(device: Device, shadow: Shadow) -> ShadowCounts | None:
    """What was counted of it; None where nothing was, or a file is damaged.

    Damage is not told here: it ends the shadow in the same look.
    """
    try:
        spec = monitoring_of(device, shadow.monitoring)
    except (PrimumError, OSError):
        return None
    shape = spec.shadow_shape
    if shape is None:
        return None
    return read_counts(
        device.layout,
        identity={
            "release": shadow.release,
            "statement": shadow.statement,
            "beside": shadow.beside,
            "monitoring": shadow.monitoring,
            "begun": shadow.begun,
        },
        shape=shape,
        window_seconds=spec.window_hours * _HOUR,
    )
