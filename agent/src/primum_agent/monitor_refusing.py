"""The attempt's side of the monitor: a release whose specification nobody could read is not used.

The supervisor believes the form of the file; here it is read strictly, once, before the release is
tested.
"""

from __future__ import annotations

from primum_agent.device import Device
from primum_agent.shadow_kept import monitoring_of
from primum_verifier.core.component import ItemKind
from primum_verifier.core.question import Verdict


def refuse_unwatchable(device: Device, verdict: Verdict) -> None:
    """Refuse a release that carries a monitoring specification which this device cannot read.

    Args:
        device: the device; the files of the release lie whole in its store.
        verdict: the verdict on the release.

    Raises:
        RefusedError: ``document.invalid``.
        OSError: it is not there.
    """
    manifest = verdict.manifest
    item = None if manifest is None else manifest.item_of_kind(ItemKind.MONITORING_SPECIFICATION)
    if item is not None:
        monitoring_of(device, item.digest.sha256)
