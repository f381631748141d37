"""One stolen key, or none: what it reaches in one authority's repository, and how that ends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tuf.api.metadata import MetaFile

from primum_verifier.core.reasons import Reason
from primum_verifier.shell.trust_store import FolderTrustStore
from primum_verifier.shell.tuf_client import BuiltIn

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
MANIFEST = "releases/pvc/1.0.0/manifest.json"
PLAN = "rollout/plan.json"


def replace_key(publisher: Any, role: str) -> None:
    """A ceremony of the root's holders: another key for an online role."""
    publisher.set_keys(role, publisher.strangers())
    publisher.publish_root()


def test_s01_stolen_timestamp_key_can_freeze_until_the_snapshot_expires(
    publisher: Any, device: Any
) -> None:
    """Fresh timestamps for ever; the snapshot was signed by another key and ends it."""
    publisher.snapshot.expires = publisher.now + DAY
    publisher.publish()
    device.run(MANIFEST)
    publisher.timestamp.expires = publisher.now + 900 * DAY
    publisher.publish_timestamp()
    device.run(MANIFEST, at=publisher.now + DAY - SECOND)
    device.survives(Reason.TRUST_EXPIRED, MANIFEST, at=publisher.now + DAY)
    publisher.snapshot.expires = publisher.later
    device.next_run_succeeds(at=publisher.now + DAY)


def test_s01_stolen_timestamp_key_cannot_name_a_huge_snapshot(publisher: Any, device: Any) -> None:
    """He signs a length of a terabyte; the cap of the role holds."""
    publisher.publish_snapshot()
    name = f"{publisher.snapshot.version}.snapshot.json"
    publisher.timestamp.snapshot_meta = MetaFile(publisher.snapshot.version, length=10**12)
    publisher.publish_timestamp()
    good = publisher.read(name)
    publisher.put(name, good + b" " * 2_000_001)
    device.survives(Reason.TRUST_LIMIT, accepted={"timestamp.json"})
    device.next_run_succeeds()


def test_s01_stolen_timestamp_key_cannot_fast_forward_for_good(publisher: Any, device: Any) -> None:
    """Version 2^31 blocks every honest timestamp, until the root names a new key (5.3.11)."""
    publisher.timestamp.version = 2**31
    publisher.publish_timestamp()
    device.run()
    publisher.timestamp.version = 1
    publisher.publish()
    device.survives(Reason.TRUST_ROLLBACK)
    replace_key(publisher, "timestamp")
    device.next_run_succeeds()


def test_s01_stolen_timestamp_key_cannot_fast_forward_the_snapshot(
    publisher: Any, device: Any
) -> None:
    """A timestamp that names snapshot 2^31 leads nowhere, and a new key ends it."""
    publisher.timestamp.snapshot_meta = MetaFile(2**31)
    publisher.publish_timestamp()
    device.survives(Reason.TRUST_NOT_FOUND, accepted={"timestamp.json"})
    replace_key(publisher, "timestamp")
    device.next_run_succeeds()


def test_s02_stolen_snapshot_and_timestamp_keys_can_hide_a_version_until_it_expires(
    publisher: Any, device: Any
) -> None:
    """The newest model listing is never announced; no version falls, and its expiry ends it."""
    publisher.delegated["model"].expires = publisher.now + DAY
    publisher.publish()
    device.run(MANIFEST)
    publisher.delegated["model"].expires = publisher.later
    publisher.publish_listing("model")
    publisher.snapshot.meta["model.json"] = MetaFile(2)
    publisher.publish_snapshot()
    publisher.publish_timestamp()
    device.run(MANIFEST)
    assert device.versions()["model"] == 2
    device.survives(Reason.TRUST_EXPIRED, MANIFEST, at=publisher.now + DAY)
    device.next_run_succeeds(at=publisher.now + DAY)


@pytest.mark.parametrize("role", ["targets", "model", "rollout"])
def test_s02_stolen_snapshot_and_timestamp_keys_cannot_take_a_version_back(
    publisher: Any, device: Any, role: str
) -> None:
    """Mix and match: Monday's listing of one role with Tuesday's of the others."""
    publisher.publish()
    device.run(MANIFEST, PLAN)
    publisher.snapshot.meta[f"{role}.json"] = MetaFile(1)
    publisher.publish_snapshot()
    publisher.publish_timestamp()
    device.survives(Reason.TRUST_ROLLBACK, MANIFEST, accepted={"timestamp.json"})
    device.next_run_succeeds()


def test_s02_stolen_snapshot_and_timestamp_keys_cannot_fast_forward_for_good(
    publisher: Any, device: Any
) -> None:
    """Enormous versions of what the snapshot lists are forgotten with its keys."""
    for role in ("targets", "model"):
        publisher.snapshot.meta[f"{role}.json"] = MetaFile(2**31)
    publisher.snapshot.version = 2**31
    publisher.publish_snapshot()
    publisher.publish_timestamp()
    accepted = {"timestamp.json", "snapshot.json"}
    device.survives(Reason.TRUST_NOT_FOUND, MANIFEST, accepted=accepted)
    publisher.snapshot.version, publisher.timestamp.version = 1, 1
    replace_key(publisher, "snapshot")
    publisher.set_keys("timestamp", publisher.strangers(2)[:1])
    device.next_run_succeeds()


def test_s03_one_stolen_targets_key_of_two_reaches_nothing(publisher: Any, device: Any) -> None:
    """Even with the online keys: the threshold of the offline role is two."""
    publisher.add(MANIFEST, b'{"release":"evil"}')
    publisher.publish_listing("targets", publisher.signers["targets"][:1])
    publisher.publish_snapshot()
    publisher.publish_timestamp()
    accepted = {"timestamp.json", "snapshot.json"}
    device.survives(Reason.TRUST_THRESHOLD, MANIFEST, accepted=accepted)
    del publisher.targets.targets[MANIFEST]
    device.next_run_succeeds()


def test_s04_stolen_key_of_a_delegated_role_reaches_its_own_paths_only(
    publisher: Any, device: Any
) -> None:
    """The rollout key lists a manifest and a policy; neither is ever taken from it."""
    publisher.add(PLAN, b'{"plan":"evil"}', role="rollout")
    publisher.add(MANIFEST, b'{"release":"evil"}', role="rollout")
    publisher.add("policy/approval-policy.json", b'{"policy":"evil"}', role="rollout")
    publisher.publish("rollout")
    assert device.run(PLAN, MANIFEST, "policy/approval-policy.json") == {
        PLAN: b'{"plan":"evil"}',
        MANIFEST: b'{"release":1}',
        "policy/approval-policy.json": None,
    }
    with device.session() as session:
        assert session.document(PLAN).role == "rollout"
        assert session.document(MANIFEST).role == "model"
    device.next_run_succeeds()


def test_s05_one_stolen_root_key_of_two_reaches_nothing(publisher: Any, device: Any) -> None:
    """A root that names the thief's keys for everything, signed by one holder and the thief."""
    stolen, thief = publisher.signers["root"][0], publisher.strangers(2)
    honest = {role: publisher.signers[role] for role in ("root", "targets")}
    for role in ("root", "targets"):
        publisher.set_keys(role, thief)
    publisher.publish_root([stolen, *thief])
    device.survives(Reason.TRUST_THRESHOLD)
    assert device.versions()["root"] == 1
    for role, signers in honest.items():
        publisher.set_keys(role, signers)
    publisher.root.version = 1
    device.next_run_succeeds()


def test_s06_root_threshold_reached_takes_one_authority_and_nothing_of_the_other(
    publisher: Any, device: Any, make_publisher: Any, make_device: Any
) -> None:
    """Everything of engineering's TUF; what clinical signs stays out of reach of those keys."""
    clinical = make_publisher("clinical", first_key=10)
    clinical.add("eligibility/index.json", b'{"entries":[]}')
    clinical.publish()
    beside = make_device(clinical, "beside")
    beside.run("eligibility/index.json")
    thief = publisher.strangers(2)
    everything = [*publisher.signers["root"], *thief]
    for role in ("root", "targets"):
        publisher.set_keys(role, thief)
    publisher.publish_root(everything)
    publisher.add(MANIFEST, b'{"release":"evil"}')
    publisher.publish()
    assert device.run(MANIFEST) == {MANIFEST: b'{"release":"evil"}'}
    # The thief turns to the other authority with every key that he has.
    clinical.add("eligibility/index.json", b'{"entries":["evil"]}')
    stolen = [key for keys in publisher.signers.values() for key in keys]
    clinical.publish_listing("targets", stolen)
    clinical.publish_snapshot()
    clinical.publish_timestamp(stolen)
    beside.survives(Reason.TRUST_THRESHOLD, "eligibility/index.json")
    honest = clinical.read(f"{clinical.root.version}.root.json")
    clinical.set_keys("targets", thief)
    clinical.publish_root(stolen)
    beside.survives(Reason.TRUST_THRESHOLD, "eligibility/index.json")
    assert beside.files()["root.json"] == honest


def test_s10_mirror_without_any_key_can_freeze_until_expiry_and_no_longer(
    publisher: Any, device: Any
) -> None:
    """Mirror, names and broker in one hand; what is trusted says beforehand when it ends."""
    publisher.timestamp.expires = publisher.now + DAY
    publisher.publish()
    device.run(MANIFEST)
    frozen = publisher.all_files()
    publisher.timestamp.expires = publisher.later
    publisher.publish()
    newest = publisher.all_files()
    publisher.restore(frozen)
    before = device.files()
    device.run(MANIFEST, at=publisher.now + DAY - SECOND)
    device.assert_untouched(before)
    error = device.survives(Reason.TRUST_EXPIRED, at=publisher.now + DAY)
    assert "frozen mirror" in error.remedy
    publisher.restore(newest)
    device.next_run_succeeds(at=publisher.now + DAY)


@pytest.fixture
def image(publisher: Any, device: Any, tmp_path: Any) -> BuiltIn:
    """What an agent image built today carries: the floors of today, and the day."""
    publisher.publish_root()
    publisher.publish()
    builder = FolderTrustStore(tmp_path / "builder")
    device.store, store = builder, device.store
    device.run(MANIFEST)
    device.store = store
    trusted = builder.load()
    assert trusted is not None
    return BuiltIn(floors=trusted.floors, at=trusted.reference_time)


def test_s11_wiped_state_and_an_old_repository_are_refused_by_the_image(
    publisher: Any, make_device: Any, image: BuiltIn
) -> None:
    """The store is empty, the old metadata unexpired: what the image knows still refuses it."""
    newest = publisher.all_files()
    old = {name: newest[name] for name in newest if name.startswith("1.")}
    # The old timestamp, as the mirror kept it.
    publisher.timestamp.version, publisher.timestamp.snapshot_meta = 0, MetaFile(1)
    publisher.publish_timestamp()
    old["timestamp.json"] = publisher.read("timestamp.json")
    for name in newest:
        (publisher.folder / "metadata" / name).unlink()
    publisher.restore(old)
    wiped = make_device(publisher, built_in=image)
    wiped.survives(Reason.TRUST_ROLLBACK, MANIFEST)
    naive = make_device(publisher, "naive")
    assert naive.run(MANIFEST), "without what the image knows the replay would succeed"
    publisher.restore(newest)
    publisher.timestamp.version = 2
    wiped.next_run_succeeds()


def test_s11_clock_before_the_image_was_built_is_not_believed(
    publisher: Any, make_device: Any, image: BuiltIn
) -> None:
    """Metadata that had expired when the image was built is refused whatever the clock says."""
    publisher.timestamp.expires = publisher.now - DAY
    publisher.publish()
    wiped = make_device(publisher, built_in=image)
    accepted = {"root.json", "root_history/1.root.json", "root_history/2.root.json"}
    wiped.survives(
        Reason.TRUST_EXPIRED, MANIFEST, accepted=accepted, at=publisher.now - 20_000 * DAY
    )
    wiped.next_run_succeeds()
