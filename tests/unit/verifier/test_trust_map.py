"""Who is believed changes only by a document that every manufacturer root signed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tests.unit.verifier.conftest import NOW, envelope, moment

from primum_verifier.core.device import TrustMap
from primum_verifier.core.document import canonical_json
from primum_verifier.core.envelope import (
    CONTEXT_PAYLOAD_TYPE,
    TRUST_MAP_PAYLOAD_TYPE,
    public_key_of,
)
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import AuthorityView, RootKeys
from primum_verifier.keeping.trust_map import next_trust_map

KEYS = {
    name: CryptoSigner.generate_ed25519()
    for name in ("e1", "e2", "e3", "c1", "c2", "shared", "stranger")
}


def view(authority: str, *names: str, threshold: int = 2, rootless: bool = False) -> AuthorityView:
    keys = tuple(public_key_of(KEYS[name].public_key) for name in names)
    return AuthorityView(
        authority,
        {},
        NOW,
        {},
        frozenset(key.public for key in keys),
        root_keys=None if rootless else RootKeys(keys, threshold),
    )


ENGINEERING = view("engineering", "e1", "e2", "e3", "shared")
CLINICAL = view("clinical", "c1", "c2", "shared")
ROOTLESS = view("clinical", "c1", "c2", rootless=True)


def trust_map(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "type": "urn:primum:trust-map:v0.1",
        "schemaVersion": "0.1",
        "id": "urn:uuid:00000000-0000-4000-8000-000000000000",
        "number": number,
        "issuedAt": moment(NOW),
        "stage": "production",
        "component": "pvc-classifier",
        "engineeringRoot": {"sha256": "1" * 64},
        "clinicalRoot": {"sha256": "2" * 64},
        **changes,
    }


CURRENT = TrustMap.model_validate_json(canonical_json(trust_map(3)))


def signed(*names: str, number: int = 4, kind: str = TRUST_MAP_PAYLOAD_TYPE, **said: Any) -> bytes:
    payload = canonical_json(trust_map(number, **said))
    return envelope(payload, kind, *(KEYS[name] for name in names))


def changed(data: bytes, **views: AuthorityView) -> TrustMap:
    return next_trust_map(
        CURRENT, data, **{"engineering": ENGINEERING, "clinical": CLINICAL, **views}
    )


@pytest.mark.parametrize("engineers", [("e1", "e2"), ("e2", "e3"), ("e1", "e2", "e3")])
def test_both_roots_at_their_threshold_change_it(engineers: tuple[str, ...]) -> None:
    found = changed(signed(*engineers, "c1", "c2", siteRoot={"sha256": "3" * 64}))
    assert found.number == 4
    assert found.site_root is not None


REFUSALS: dict[str, tuple[Callable[[], object], Reason]] = {
    "engineering alone": (lambda: changed(signed("e1", "e2", "e3")), Reason.TRUST_THRESHOLD),
    "clinical alone": (lambda: changed(signed("c1", "c2")), Reason.TRUST_THRESHOLD),
    "nobody": (lambda: changed(signed()), Reason.TRUST_THRESHOLD),
    "one short of engineering": (lambda: changed(signed("e1", "c1", "c2")), Reason.TRUST_THRESHOLD),
    "one short of clinical": (lambda: changed(signed("e1", "e2", "c1")), Reason.TRUST_THRESHOLD),
    "a stranger instead": (
        lambda: changed(signed("e1", "e2", "c1", "stranger")),
        Reason.TRUST_THRESHOLD,
    ),
    "a key of both roots counts for neither": (
        lambda: changed(signed("e1", "shared", "c1")),
        Reason.TRUST_THRESHOLD,
    ),
    "a root that was never loaded": (
        lambda: changed(signed("e1", "e2", "c1", "c2"), clinical=ROOTLESS),
        Reason.TRUST_THRESHOLD,
    ),
    "the same number": (
        lambda: changed(signed("e1", "e2", "c1", "c2", number=3)),
        Reason.TRUST_ROLLBACK,
    ),
    "a lower number": (
        lambda: changed(signed("e1", "e2", "c1", "c2", number=2)),
        Reason.TRUST_ROLLBACK,
    ),
    "another kind of record": (
        lambda: changed(signed("e1", "e2", "c1", "c2", kind=CONTEXT_PAYLOAD_TYPE)),
        Reason.TRUST_SIGNATURE,
    ),
    "no trust map": (
        lambda: changed(signed("e1", "e2", "c1", "c2", stage="soon")),
        Reason.DOCUMENT_INVALID,
    ),
    "a member that must be understood": (
        lambda: changed(signed("e1", "e2", "c1", "c2", later=True, crit=["later"])),
        Reason.ELIGIBILITY_CRIT_UNKNOWN,
    ),
    "no envelope": (lambda: changed(b"{}"), Reason.DOCUMENT_INVALID),
}


@pytest.mark.parametrize("case", REFUSALS, ids=str)
def test_anything_else_leaves_the_map_in_force(case: str) -> None:
    act, reason = REFUSALS[case]
    with pytest.raises(RefusedError) as caught:
        act()
    assert caught.value.reason == reason


MISSING: dict[str, tuple[Callable[[], object], str]] = {
    "one short": (lambda: changed(signed("e1", "c1", "c2")), "engineering root: 1 of 2"),
    "one root did not sign": (lambda: changed(signed("e1", "e2")), "clinical root: 0 of 2"),
    "both are short": (
        lambda: changed(signed("e1", "c1")),
        "engineering root: 1 of 2; clinical root: 1 of 2",
    ),
    "a root that was never loaded": (
        lambda: changed(signed("e1", "e2", "c1", "c2"), clinical=ROOTLESS),
        "clinical root: 0 of 1",
    ),
}


@pytest.mark.parametrize("case", MISSING, ids=str)
def test_a_refusal_says_which_root_is_missing(case: str) -> None:
    """Danger: nobody knows who has to sign yet, and a key is handed about for it."""
    act, found = MISSING[case]
    with pytest.raises(RefusedError) as caught:
        act()
    assert caught.value.as_dict() == {
        "reason": "trust.threshold",
        "message": "The trust map is not signed by every root on the one in force.",
        "where": "trust map",
        "found": found,
        "expected": "both roots at their threshold",
        "remedy": "Collect the missing signatures of the root keys; the map in force stands.",
    }


def test_a_refusal_says_which_number_comes_next() -> None:
    """Danger: an older map is signed again and again, and nobody is told why it stays out."""
    with pytest.raises(RefusedError) as caught:
        changed(signed("e1", "e2", "c1", "c2", number=2))
    assert caught.value.as_dict() == {
        "reason": "trust.rollback",
        "message": "The trust map is not newer than the one in force.",
        "where": "trust map",
        "found": "number 2",
        "expected": "a number above 3",
    }
