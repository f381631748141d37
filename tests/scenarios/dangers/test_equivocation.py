"""One version, two contents, both validly signed: the trusted one is kept, both are the proof."""

from __future__ import annotations

from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest

from primum_verifier.core.reasons import Reason
from primum_verifier.shell.tuf_equivocation import (
    MAX_PROOF_BYTES,
    MAX_PROOFS,
    Contradiction,
    Equivocation,
    read_proof,
    with_proofs,
)

SECOND = timedelta(seconds=1)
MANIFEST = "releases/pvc/1.0.0/manifest.json"


def proofs(device: Any) -> list[Equivocation]:
    return [
        read_proof(data)
        for name, data in device.files().items()
        if name.startswith("primum.proofs/")
    ]


def alarms(device: Any, *names: str) -> list[Equivocation]:
    """What a run that goes on tells its caller."""
    with device.session() as session:
        for name in names:
            session.document(name)
        session.complete()
    return list(session.equivocations)


def again(publisher: Any, role: str) -> None:
    """Sign the present version of a role once more, with another content."""
    listing = {"targets": publisher.targets, "snapshot": publisher.snapshot}.get(
        role
    ) or publisher.delegated.get(role, publisher.timestamp)
    listing.version -= 1
    listing.unrecognized_fields["said"] = "to others"
    {
        "snapshot": publisher.publish_snapshot,
        "timestamp": publisher.publish_timestamp,
    }.get(role, lambda: publisher.publish_listing(role))()


def test_x04_second_timestamp_of_one_version_is_kept_as_proof(publisher: Any, device: Any) -> None:
    """Two populations are shown two timestamps; the run goes on with the one trusted first."""
    trusted = publisher.read("timestamp.json")
    again(publisher, "timestamp")
    before = device.files()
    (found,) = alarms(device, MANIFEST)
    assert (found.role, found.version, found.kind) == ("timestamp", 1, Contradiction.SERVED)
    assert found.error("engineering").reason is Reason.TRUST_EQUIVOCATION
    (kept,) = proofs(device)
    assert (kept.trusted, kept.other) == (trusted, publisher.read("timestamp.json"))
    device.assert_untouched(before, accepted={f"primum.proofs/{found.name}"})
    assert alarms(device, MANIFEST)
    assert proofs(device) == [kept]
    device.next_run_succeeds()
    assert proofs(device) == [kept]


def test_x04_same_timestamp_signed_again_is_no_equivocation(publisher: Any, device: Any) -> None:
    """Other bytes, other signatures, the same words: nobody lied."""
    publisher.set_keys("timestamp", [*publisher.signers["timestamp"], *publisher.strangers()])
    publisher.root.roles["timestamp"].threshold = 1
    publisher.publish_root()
    publisher.publish_timestamp(publisher.signers["timestamp"][:1])
    device.run()
    publisher.timestamp.version -= 1
    publisher.publish_timestamp(publisher.signers["timestamp"][1:])
    assert not alarms(device)
    assert not proofs(device)
    device.next_run_succeeds()


def test_x04_second_timestamp_that_nobody_signed_is_no_proof(publisher: Any, device: Any) -> None:
    """A mirror without a key can neither alarm nor fill the disk."""
    publisher.timestamp.version -= 1
    publisher.timestamp.unrecognized_fields["said"] = "to others"
    publisher.publish_timestamp(publisher.strangers())
    device.survives(Reason.TRUST_THRESHOLD)
    assert not proofs(device)
    device.next_run_succeeds()


@pytest.fixture
def announcing(make_publisher: Any, make_device: Any) -> Any:
    """A device over a repository whose timestamp and snapshot announce digests."""
    device = make_device(make_publisher("announcing", announces=True))
    device.run(MANIFEST)
    return device


def test_x04_second_snapshot_of_one_version_is_kept_as_proof(announcing: Any) -> None:
    """The library takes its cached snapshot although the timestamp announces another digest."""
    publisher = announcing.publisher
    trusted = publisher.read("1.snapshot.json")
    again(publisher, "snapshot")
    publisher.publish_timestamp()
    before = announcing.files()
    (found,) = alarms(announcing, MANIFEST)
    assert (found.role, found.version, found.kind) == ("snapshot", 1, Contradiction.SERVED)
    assert (found.trusted, found.other) == (trusted, publisher.read("1.snapshot.json"))
    proof = f"primum.proofs/{found.name}"
    announcing.assert_untouched(before, accepted={"timestamp.json", proof})
    assert announcing.files()["snapshot.json"] == trusted
    announcing.next_run_succeeds()


@pytest.mark.parametrize("withheld", [False, True])
def test_x04_snapshot_announced_otherwise_and_not_to_be_had_is_kept_as_proof(
    announcing: Any, withheld: bool
) -> None:
    """A stolen timestamp key announces a digest that nothing has: alarm, and the device goes on."""
    publisher = announcing.publisher
    publisher.timestamp.snapshot_meta.hashes = {"sha256": "0" * 64}
    publisher.publish_timestamp()
    if withheld:
        (publisher.folder / "metadata" / "1.snapshot.json").unlink()
    (found,) = alarms(announcing, MANIFEST)
    assert (found.role, found.kind) == ("snapshot", Contradiction.ANNOUNCED)
    assert found.other == publisher.read("timestamp.json")
    assert [one.name for one in proofs(announcing)] == [found.name]
    announcing.next_run_succeeds()


def test_x04_snapshot_signed_again_under_a_new_digest_is_no_equivocation(announcing: Any) -> None:
    """The same words with one more signature have another digest."""
    publisher = announcing.publisher
    extra = publisher.strangers()
    publisher.snapshot.version -= 1
    publisher.signers["snapshot"] = [*publisher.signers["snapshot"], *extra]
    publisher.publish_snapshot()
    publisher.publish_timestamp()
    assert not alarms(announcing)
    publisher.signers["snapshot"] = publisher.signers["snapshot"][:1]
    announcing.next_run_succeeds()


@pytest.mark.parametrize("role", ["targets", "model"])
def test_x04_second_listing_of_one_version_ends_the_run(announcing: Any, role: str) -> None:
    """The library would put the second content in place of the trusted one; the next version mends.

    What is newer speaks of the second content, so nothing is built on either; the view stays.
    """
    publisher = announcing.publisher
    trusted = announcing.files()[f"{role}.json"]
    again(publisher, role)
    publisher.publish_snapshot()
    publisher.publish_timestamp()
    accepted = {"timestamp.json", "snapshot.json"}
    expected = Equivocation(
        role=role,
        version=1,
        kind=Contradiction.REPLACING,
        trusted=trusted,
        other=publisher.read(f"1.{role}.json"),
    )
    error = announcing.survives(
        Reason.TRUST_EQUIVOCATION, MANIFEST, accepted=accepted | {f"primum.proofs/{expected.name}"}
    )
    assert "key may be stolen" in error.remedy
    assert proofs(announcing) == [expected]
    announcing.survives(Reason.TRUST_EQUIVOCATION, MANIFEST)
    assert proofs(announcing) == [expected]
    announcing.next_run_succeeds()


def test_x04_second_snapshot_behind_an_expired_one_ends_the_run(
    publisher: Any, device: Any
) -> None:
    """The cached snapshot has expired, and the same version comes back with a later end."""
    publisher.snapshot.expires = publisher.now + SECOND
    publisher.publish()
    device.run(MANIFEST)
    publisher.snapshot.version -= 1
    publisher.snapshot.expires = publisher.later
    publisher.publish_snapshot()
    publisher.publish_timestamp()
    before = device.files()
    with pytest.raises(Exception, match="two contents"):
        device.run(MANIFEST, at=publisher.now + SECOND)
    (found,) = proofs(device)
    assert (found.role, found.kind) == ("snapshot", Contradiction.REPLACING)
    accepted = {"timestamp.json", f"primum.proofs/{found.name}"}
    device.assert_untouched(before, accepted=accepted)
    device.next_run_succeeds(at=publisher.now + SECOND)


def test_x04_same_version_under_new_keys_is_no_equivocation(announcing: Any) -> None:
    """After a recovery from stolen keys the count starts anew: the old file contradicts nothing."""
    publisher = announcing.publisher
    publisher.set_keys("targets", publisher.strangers(2))
    publisher.publish_root()
    again(publisher, "targets")
    publisher.publish_snapshot()
    publisher.publish_timestamp()
    assert not alarms(announcing, MANIFEST)
    assert announcing.versions()["targets"] == 1
    announcing.next_run_succeeds()


def test_x04_device_provisioned_again_with_another_first_root_is_no_equivocation(
    publisher: Any, device: Any
) -> None:
    """The root's holders made the first root anew before the launch; the pin decides."""
    publisher.root.expires += SECOND
    publisher.root.version = 0
    device.root = publisher.publish_root()
    assert not alarms(device, MANIFEST)
    assert device.files()["root.json"] == device.root
    device.next_run_succeeds()


def test_x04_proof_stays_also_when_the_run_breaks_another_rule(publisher: Any, device: Any) -> None:
    """Nothing of the run is kept, one key stood twice in a role; the proof is."""
    again(publisher, "timestamp")
    first = publisher.signers["snapshot"][0].public_key
    twin = type(first)("f" * 64, first.keytype, first.scheme, dict(first.keyval))
    publisher.root.add_key(twin, "snapshot")
    publisher.publish_root()
    before = device.files()
    with pytest.raises(Exception, match="two ids"):
        device.run(MANIFEST)
    (found,) = proofs(device)
    device.assert_untouched(before, accepted={f"primum.proofs/{found.name}"})
    publisher.root.revoke_key("f" * 64, "snapshot")
    publisher.root.version = 1
    device.next_run_succeeds()


def test_x04_proofs_are_bounded_and_the_first_ones_stay(publisher: Any, device: Any) -> None:
    """A stolen key signs one version twenty times: the disk does not fill, the start is kept."""
    names = []
    for number in range(MAX_PROOFS + 12):
        publisher.timestamp.unrecognized_fields["said"] = f"to population {number}"
        publisher.timestamp.version -= 1
        publisher.publish_timestamp()
        publisher.timestamp.unrecognized_fields["said"] = ""
        names += [found.name for found in alarms(device)]
    assert len(set(names)) == MAX_PROOFS + 12
    assert sorted(found.name for found in proofs(device)) == sorted(names[:MAX_PROOFS])
    device.next_run_succeeds()


def test_x04_contents_too_large_to_keep_are_told_and_not_kept() -> None:
    """What is found stays an alarm when there is no room for it."""
    small = Equivocation(
        role="targets", version=1, kind=Contradiction.REPLACING, trusted=b"{}", other=b"[]"
    )
    large = deepcopy(small)
    object.__setattr__(large, "other", b" " * MAX_PROOF_BYTES)
    assert list(with_proofs({}, [large, small])) == [small.name]
