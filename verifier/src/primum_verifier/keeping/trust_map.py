"""A change of the trust map: only a document that every manufacturer root signed at threshold.

The map says whom a device believes, so whoever could change it alone would be believed alone.
"""

from __future__ import annotations

from primum_verifier.core.device import TrustMap
from primum_verifier.core.document import parse_document
from primum_verifier.core.envelope import TRUST_MAP_PAYLOAD_TYPE, open_envelope
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import AuthorityView

_WHERE = "trust map"


def next_trust_map(
    current: TrustMap, data: bytes, *, engineering: AuthorityView, clinical: AuthorityView
) -> TrustMap:
    """The trust map that a signed document puts in the place of the current one.

    Args:
        current: the map in force.
        data: a DSSE envelope with the next one.
        engineering: the last accepted view of the engineering root on the current map.
        clinical: likewise of clinical.

    Raises:
        RefusedError: ``document.invalid`` when it is none, ``trust.rollback`` when it is not
            newer, ``trust.threshold`` when a root has not signed it at its threshold. A key
            that both roots list counts for neither.
    """
    faults = []
    for view, other in ((engineering, clinical), (clinical, engineering)):
        root = view.root_keys
        keys = () if root is None else root.keys
        mine = tuple(key for key in keys if key.public not in other.public_keys)
        opened = open_envelope(data, payload_type=TRUST_MAP_PAYLOAD_TYPE, keys=mine, where=_WHERE)
        needed = 1 if root is None else root.threshold
        if len(opened.signers) < needed:
            faults.append(f"{view.authority} root: {len(opened.signers)} of {needed}")
    changed = parse_document(TrustMap, opened.payload, where=_WHERE)
    if changed.number <= current.number:
        raise RefusedError(
            "The trust map is not newer than the one in force.",
            reason=Reason.TRUST_ROLLBACK,
            where=_WHERE,
            found=f"number {changed.number}",
            expected=f"a number above {current.number}",
        )
    if faults:
        raise RefusedError(
            "The trust map is not signed by every root on the one in force.",
            reason=Reason.TRUST_THRESHOLD,
            where=_WHERE,
            found="; ".join(faults),
            expected="both roots at their threshold",
            remedy="Collect the missing signatures of the root keys; the map in force stands.",
        )
    return changed
