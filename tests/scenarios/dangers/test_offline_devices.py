"""A device that was provisioned as offline: what may be late, by how much, and what never may."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason

SECOND = timedelta(seconds=1)
ALLOWANCE = timedelta(days=7)
MANIFEST = "releases/pvc/1.0.0/manifest.json"
RIGHTLY = frozenset({"timestamp.json", "snapshot.json", "targets.json"})


@pytest.mark.parametrize("role", ["timestamp", "snapshot"])
def test_expired_online_role_is_accepted_up_to_the_allowance(
    publisher: Any, device: Any, role: str
) -> None:
    """One second before the allowance ends the stick still counts; at its end it does not."""
    getattr(publisher, role).expires = publisher.now
    publisher.publish()
    end = publisher.now + ALLOWANCE
    assert device.run(MANIFEST, at=end - SECOND, allowance=ALLOWANCE)
    assert device.versions()["timestamp"] == 2
    device.survives(Reason.TRUST_EXPIRED, MANIFEST, at=end, allowance=ALLOWANCE)
    device.survives(Reason.TRUST_EXPIRED, MANIFEST, at=publisher.now)
    device.next_run_succeeds()


@pytest.mark.parametrize("role", ["targets", "model"])
def test_no_allowance_covers_what_is_signed_offline(publisher: Any, device: Any, role: str) -> None:
    """The offline-signed roles bound every freeze, also that of an offline device."""
    listing = publisher.targets if role == "targets" else publisher.delegated[role]
    listing.expires = publisher.now + SECOND
    publisher.publish()
    accepted = {"timestamp.json", "snapshot.json"} | (
        {"targets.json"} if role == "model" else set()
    )
    moment = {"at": publisher.now + SECOND, "allowance": ALLOWANCE}
    error = device.survives(Reason.TRUST_EXPIRED, MANIFEST, accepted=accepted, **moment)
    assert role in error.where
    assert not [
        name
        for name in device.floors()
        if name.startswith(f"{role}@") and device.floors()[name] > 1
    ]
    device.run(MANIFEST, at=publisher.now, allowance=ALLOWANCE)
    device.next_run_succeeds(**moment)


def test_refusal_that_a_caller_swallows_is_given_again(publisher: Any, device: Any) -> None:
    """Within the run the library still trusts the expired role; asking twice must not help."""
    publisher.delegated["model"].expires = publisher.now + SECOND
    publisher.publish()
    before = device.files()
    with device.session(at=publisher.now + SECOND, allowance=ALLOWANCE) as session:
        for ask in (session.document, session.document, session.target):
            with pytest.raises(RefusedError) as caught:
                ask(MANIFEST)
            assert caught.value.reason is Reason.TRUST_EXPIRED
        for ask in (session.refresh, session.complete):
            with pytest.raises(RefusedError):
                ask()
    device.assert_untouched(before, accepted=RIGHTLY)
    device.next_run_succeeds()


def test_no_allowance_covers_a_hash_bin(publisher: Any, device: Any) -> None:
    """A bin is as strict as the role that it belongs to."""
    bins = publisher.spread("model", bits=4, signers=publisher.strangers())
    target = "releases/pvc/2.0.0/manifest.json"
    name = bins.get_role_for_target(target)
    publisher.add(target, b"{}", role=name)
    publisher.delegated[name].expires = publisher.now + SECOND
    publisher.publish()
    accepted = RIGHTLY | {"model.json"}
    moment = {"at": publisher.now + SECOND, "allowance": ALLOWANCE}
    device.survives(Reason.TRUST_EXPIRED, target, accepted=accepted, **moment)
    device.run(target, at=publisher.now, allowance=ALLOWANCE)
    device.next_run_succeeds(**moment)


def test_under_an_expired_root_nothing_of_the_run_counts(publisher: Any, device: Any) -> None:
    """Whoever has keys of the past cannot use an allowance to bring them back (5.3.10)."""
    publisher.root.expires = publisher.now + SECOND
    publisher.publish_root()
    publisher.publish()
    moment = {"at": publisher.now + SECOND, "allowance": ALLOWANCE}
    accepted = {"root.json", "root_history/2.root.json"}
    error = device.survives(Reason.TRUST_EXPIRED, MANIFEST, accepted=accepted, **moment)
    assert "root" in error.where
    assert device.versions()["timestamp"] == 1
    device.next_run_succeeds(**moment)


def test_under_an_expired_root_nothing_counts_of_a_run_that_fails_anyway(
    publisher: Any, device: Any
) -> None:
    """The snapshot is missing besides; the timestamp before it is not kept either."""
    publisher.root.expires = publisher.now + SECOND
    publisher.publish_root()
    publisher.publish()
    (publisher.folder / "metadata" / "2.snapshot.json").unlink()
    moment = {"at": publisher.now + SECOND, "allowance": ALLOWANCE}
    accepted = {"root.json", "root_history/2.root.json"}
    device.survives(Reason.TRUST_NOT_FOUND, MANIFEST, accepted=accepted, **moment)
    assert device.versions()["timestamp"] == 1
    device.next_run_succeeds(**moment)


def test_expired_role_is_not_kept_of_a_run_that_fails_behind_it(
    publisher: Any, device: Any
) -> None:
    """The library took the late role and then could not get the next one for the same target."""
    publisher.delegate("more", ["releases/*/*/*"], signer=publisher.strangers()[0])
    publisher.delegated["model"].expires = publisher.now + SECOND
    publisher.publish()
    (publisher.folder / "metadata" / "1.more.json").unlink()
    moment = {"at": publisher.now + SECOND, "allowance": ALLOWANCE}
    device.survives(Reason.TRUST_NOT_FOUND, "releases/x/y/z", accepted=RIGHTLY, **moment)
    assert device.versions()["model"] == 1
    device.next_run_succeeds(**moment)


def test_older_stick_is_refused_with_an_allowance_too(publisher: Any, device: Any) -> None:
    """Lateness is allowed, going back is not."""
    old = publisher.all_files()
    publisher.publish()
    device.run(MANIFEST)
    publisher.restore(old)
    device.survives(Reason.TRUST_ROLLBACK, MANIFEST, allowance=ALLOWANCE)
    publisher.publish()
    device.next_run_succeeds()


def test_allowance_at_the_beginning_of_time_is_no_fault(publisher: Any, device: Any) -> None:
    """A clock that says the year one makes no traceback; everything looks unexpired to it."""
    del publisher
    device.run(MANIFEST, at=datetime(1, 1, 1, tzinfo=UTC), allowance=ALLOWANCE)


def test_negative_allowance_is_a_fault_of_ours(device: Any) -> None:
    with pytest.raises(RuntimeError, match="never negative"):
        device.run(allowance=-SECOND)
