"""The device context for another key of the same device: signed like every context, and newer.

A device takes another key into use only once its context is here, so that there is no moment in
which it holds a key that nobody signed for.
"""

from __future__ import annotations

from datetime import datetime

from primum_verifier.core.device import (
    PROVISIONING_TARGET,
    DeviceContext,
    FactoryFacts,
    ProvisioningKeys,
)
from primum_verifier.core.document import parse_document
from primum_verifier.core.envelope import CONTEXT_PAYLOAD_TYPE, PublicKey, open_envelope
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import AuthorityView

_WHERE = "device context"
_TOP = frozenset({"targets"})


def next_context(
    data: bytes,
    *,
    key: PublicKey,
    device_id: str,
    hardware_id: str,
    above: int,
    now: datetime,
    engineering: AuthorityView,
    clinical: AuthorityView,
) -> DeviceContext:
    """The context that lets a device use another key.

    Args:
        data: the DSSE envelope.
        key: the key that is to come.
        device_id: the device's name, which stays.
        hardware_id: the device's hardware, which stays.
        above: the number of the newest context that was in force.
        now: the time it must not have ended at.
        engineering: the last accepted view of engineering.
        clinical: the last accepted view of clinical.

    Raises:
        RefusedError: ``document.invalid`` when it is none, ``eligibility.context-untrusted`` when
            it is not for this key of this device, is not newer, has ended, or too few provisioning
            keys that both authorities list signed it.
    """
    listed = [_listed(view) for view in (engineering, clinical)]
    both = {item.public for item in listed[0].keys} & {item.public for item in listed[1].keys}
    keys = tuple(item for item in listed[0].keys if item.public in both)
    needed = max(item.threshold for item in listed)
    opened = open_envelope(data, payload_type=CONTEXT_PAYLOAD_TYPE, keys=keys, where=_WHERE)
    context = parse_document(DeviceContext, opened.payload, where=_WHERE)
    factory = context.factory
    faults = [
        *_of_the_device(factory, key=key, device_id=device_id, hardware_id=hardware_id),
        *([f"number {context.number}, not above {above}"] if context.number <= above else []),
        *(["it has ended"] if context.not_after <= now else []),
    ]
    if len(opened.signers) < needed:
        faults.append(f"{len(opened.signers)} of {needed} signatures")
    if faults:
        raise RefusedError(
            "The device context does not let this device use its next key.",
            reason=Reason.ELIGIBILITY_CONTEXT_UNTRUSTED,
            where=_WHERE,
            found="; ".join(faults),
            expected=f"a newer context of {device_id} for key {key.key_id}, signed at threshold",
            remedy="Make it with `primum-repo device provision` from the enrolment of the next "
            "key, with a higher --number; the key in use stays.",
        )
    return context


def _of_the_device(
    factory: FactoryFacts, *, key: PublicKey, device_id: str, hardware_id: str
) -> list[str]:
    faults = []
    if factory.public_key != key:
        faults.append(f"key {factory.public_key.key_id}")
    if factory.device_id != device_id:
        faults.append(f"device {factory.device_id}")
    if factory.hardware_id != hardware_id:
        faults.append(f"hardware {factory.hardware_id}")
    return faults


def _listed(view: AuthorityView) -> ProvisioningKeys:
    """The provisioning keys that an authority lists.

    Raises:
        RefusedError: ``eligibility.context-untrusted``: it lists none.
    """
    where = f"{view.authority}: {PROVISIONING_TARGET}"
    data = view.document(PROVISIONING_TARGET, roles=_TOP)
    if data is None:
        raise RefusedError(
            "The authority lists no provisioning keys.",
            reason=Reason.ELIGIBILITY_CONTEXT_UNTRUSTED,
            where=where,
            remedy="Let the device poll once; the key in use stays.",
        )
    return parse_document(ProvisioningKeys, data, where=where)
