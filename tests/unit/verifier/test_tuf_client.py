"""The TUF client against hostile repositories: what is refused, and what is left on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, TargetFile, Targets

from primum_verifier.core.errors import FailedError, PrimumError, RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.fetching import FakeFetcher
from primum_verifier.shell.trust_store import FolderTrustStore
from primum_verifier.shell.tuf_client import TufClient
from primum_verifier.shell.tuf_views import role_states


class Device:
    """A client with a trust store in a folder, over one repository."""

    def __init__(self, repository: Any, folder: Path) -> None:
        self.repository = repository
        self.folder = folder
        self.store = FolderTrustStore(folder)

    def client(self, fetcher: Any = None) -> TufClient:
        return TufClient(
            authority="engineering",
            bootstrap=self.repository.root_bytes,
            metadata_url=f"{self.repository.base}metadata/",
            targets_url=f"{self.repository.base}targets/",
            fetcher=fetcher or self.repository.fetcher,
            store=self.store,
        )

    def refresh(self, fetcher: Any = None, *, at: Any = None) -> None:
        with self.client(fetcher).session(at=at or self.repository.now) as session:
            session.refresh()

    def fetch(self, name: str) -> bytes:
        with self.client().session(at=self.repository.now) as session:
            session.refresh()
            document = session.document(name)
            assert document is not None
            return document.data

    def versions(self) -> dict[str, int]:
        trusted = self.store.load()
        if trusted is None:
            return {}
        states = role_states(dict(trusted.metadata))
        return {name: state.version for name, state in states.items()}

    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }


@pytest.fixture
def device(repository: Any, tmp_path: Path) -> Device:
    return Device(repository, tmp_path / "trusted")


def refused(device: Device, reason: Reason, fetcher: Any = None, *, at: Any = None) -> PrimumError:
    with pytest.raises(PrimumError) as caught:
        device.refresh(fetcher, at=at)
    assert caught.value.reason == reason
    return caught.value


def test_a_good_repository_is_trusted_and_kept(device: Device) -> None:
    device.repository.add_target("releases/pvc/1.0.0/manifest.json", b"{}", role="model")
    device.repository.publish()
    assert device.fetch("releases/pvc/1.0.0/manifest.json") == b"{}"
    assert device.versions() == {"root": 1, "timestamp": 2, "snapshot": 2, "targets": 2, "model": 2}
    assert not list(device.folder.rglob("*.partial"))


def test_root_rotation_is_followed_and_each_root_kept(device: Device) -> None:
    device.refresh()
    device.repository.publish_root()
    device.repository.publish_root()
    device.refresh()
    assert device.versions()["root"] == 3
    names = {path.name for path in (device.folder / "root_history").iterdir()}
    assert names == {"1.root.json", "2.root.json", "3.root.json"}


def test_root_signed_below_threshold_is_refused(device: Device) -> None:
    device.refresh()
    before = device.files()
    device.repository.publish_root("root")
    refused(device, Reason.TRUST_THRESHOLD)
    assert device.files() == before


def test_freeze_attack_is_refused_one_second_after_expiry(device: Device) -> None:
    device.refresh(at=device.repository.timestamp.expires - timedelta(seconds=1))
    refused(device, Reason.TRUST_EXPIRED, at=device.repository.timestamp.expires)


def test_replayed_older_repository_is_refused(device: Device) -> None:
    old = FakeFetcher(dict(device.repository.fetcher.files))
    device.repository.publish()
    device.refresh()
    before = device.versions()
    refused(device, Reason.TRUST_ROLLBACK, old)
    assert device.versions() == before


@pytest.mark.parametrize("damage", [b"", b"{", None], ids=["emptied", "truncated", "deleted"])
def test_floor_holds_when_the_stored_files_are_damaged(
    device: Device, damage: bytes | None
) -> None:
    old = FakeFetcher(dict(device.repository.fetcher.files))
    device.repository.publish()
    device.repository.publish()
    device.refresh()
    for name in ("timestamp.json", "snapshot.json", "targets.json"):
        path = device.folder / name
        path.unlink() if damage is None else path.write_bytes(damage)
    refused(device, Reason.TRUST_ROLLBACK, old)
    device.refresh()
    assert device.versions()["timestamp"] == 3


def test_fast_forwarded_timestamp_is_recovered_by_new_keys(device: Device) -> None:
    repository = device.repository
    repository.timestamp.version = 10_000
    repository.publish_timestamp()
    device.refresh()
    stolen = repository.signers["timestamp"].public_key.keyid
    repository.root.revoke_key(stolen, "timestamp")
    repository.signers["timestamp"] = CryptoSigner.generate_ed25519()
    repository.root.add_key(repository.signers["timestamp"].public_key, "timestamp")
    repository.publish_root()
    repository.timestamp.version = 5
    repository.publish()
    device.refresh()
    assert device.versions()["timestamp"] == 6


def test_fast_forwarded_targets_are_recovered_by_new_keys_of_the_snapshot(device: Device) -> None:
    repository = device.repository
    repository.targets.version = 10_000
    repository.publish()
    device.refresh()
    stolen = repository.signers["snapshot"].public_key.keyid
    repository.root.revoke_key(stolen, "snapshot")
    repository.signers["snapshot"] = CryptoSigner.generate_ed25519()
    repository.root.add_key(repository.signers["snapshot"].public_key, "snapshot")
    repository.publish_root()
    repository.targets.version = 5
    repository.publish()
    device.refresh()
    assert device.versions()["targets"] == 6


def test_one_key_under_two_ids_does_not_meet_a_threshold(device: Device) -> None:
    root = device.repository.root
    first = root.keys[root.roles["timestamp"].keyids[0]]
    twin = type(first)("f" * 64, first.keytype, first.scheme, dict(first.keyval))
    root.add_key(twin, "timestamp")
    device.repository.publish_root()
    refused(device, Reason.TRUST_THRESHOLD)
    assert device.versions() == {}


HOSTILE = {
    "captive_portal": b"<html>Please log in</html>",
    "empty": b"",
    "null": b"null",
    "array": b"[]",
    "not_utf8": b"\xff\xfe{}",
    "byte_order_mark": b"\xef\xbb\xbf{}",
    "deep": b"[" * 100_000,
    "huge_integer": b'{"a":' + b"9" * 6000 + b"}",
    "duplicate_member": b'{"signed":{},"signed":{}}',
}


@pytest.mark.parametrize("case", HOSTILE, ids=str)
def test_hostile_timestamp_is_refused_and_nothing_cached(device: Device, case: str) -> None:
    device.refresh()
    before = device.files()
    device.repository.put("timestamp.json", HOSTILE[case])
    with pytest.raises(RefusedError):
        device.refresh()
    assert device.files() == before


def test_duplicate_member_in_signed_metadata_is_refused(device: Device) -> None:
    url = f"{device.repository.base}metadata/timestamp.json"
    data = device.repository.fetcher.files[url]
    device.repository.put("timestamp.json", data.replace(b"{", b'{"signed":{},', 1))
    refused(device, Reason.DOCUMENT_INVALID)


def test_what_was_accepted_before_a_failure_counts(device: Device) -> None:
    device.refresh()
    device.repository.publish()
    device.repository.put("2.snapshot.json", b"{}")
    with pytest.raises(RefusedError):
        device.refresh()
    assert device.versions()["timestamp"] == 2
    assert device.versions()["snapshot"] == 1


def test_endless_metadata_is_cut_at_its_limit(device: Device) -> None:
    class Endless:
        def fetch(self, url: str, *, max_bytes: int, offset: int = 0) -> Iterator[bytes]:
            del offset
            sent = 0
            while sent <= max_bytes:
                sent += 65536
                yield b" " * 65536
            raise RefusedError("more", reason=Reason.TRUST_LIMIT, where=url)

    refused(device, Reason.TRUST_LIMIT, Endless())


def test_wrong_bytes_of_the_right_length_are_refused(device: Device) -> None:
    device.repository.add_target("plan.json", b"right")
    device.repository.publish()
    (url,) = [url for url in device.repository.fetcher.files if "plan.json" in url]
    device.repository.fetcher.files[url] = b"wrong"
    with pytest.raises(RefusedError) as caught:
        device.fetch("plan.json")
    assert caught.value.reason == Reason.ARTIFACT_DIGEST


@pytest.mark.parametrize("data", [b"righ", b"right!", b""])
def test_wrong_length_is_refused(device: Device, data: bytes) -> None:
    device.repository.add_target("plan.json", b"right")
    device.repository.publish()
    (url,) = [url for url in device.repository.fetcher.files if "plan.json" in url]
    device.repository.fetcher.files[url] = data
    with pytest.raises(RefusedError) as caught:
        device.fetch("plan.json")
    assert caught.value.reason in {Reason.ARTIFACT_SIZE, Reason.TRUST_LIMIT}


def test_a_target_with_a_weak_digest_only_is_refused(device: Device) -> None:
    device.repository.targets.targets["x"] = TargetFile(1, {"md5": "0" * 32}, "x")
    device.repository.publish()
    with pytest.raises(RefusedError) as caught:
        device.fetch("x")
    assert caught.value.reason == Reason.TRUST_METADATA


def test_forty_delegations_answer_limit_reached_and_not_not_found(device: Device) -> None:
    repository = device.repository
    roles = [f"bin-{number:02}" for number in range(40)]
    key = repository.signers["model"].public_key
    assert isinstance(repository.targets.delegations, Delegations)
    assert repository.targets.delegations.roles is not None
    for name in roles:
        repository.targets.delegations.roles[name] = DelegatedRole(
            name, [key.keyid], 1, terminating=False, paths=["wanted"]
        )
    repository.targets.delegations.keys[key.keyid] = key
    repository.publish()
    for name in roles:
        made = Metadata(Targets(expires=repository.model.expires))
        made.sign(repository.signers["model"])
        repository.put(f"1.{name}.json", made.to_bytes())
        repository.snapshot.meta[f"{name}.json"] = type(repository.snapshot.meta["targets.json"])(1)
    repository.snapshot.version += 1
    repository.put(
        f"{repository.snapshot.version}.snapshot.json",
        repository._sign(repository.snapshot, "snapshot"),
    )
    repository.publish_timestamp()
    with pytest.raises(RefusedError) as caught:
        device.fetch("wanted")
    assert caught.value.reason == Reason.TRUST_LIMIT


def test_delegated_role_may_not_sign_outside_its_paths(device: Device) -> None:
    device.repository.add_target("policy.json", b"{}", role="model")
    device.repository.publish()
    with device.client().session(at=device.repository.now) as run:
        run.refresh()
        assert run.target("policy.json") is None


def test_a_full_disk_is_told_and_nothing_is_lost(device: Device) -> None:
    device.refresh()
    before = device.files()
    device.repository.publish()
    (device.folder / "timestamp.json").unlink()
    (device.folder / "timestamp.json").mkdir()
    with pytest.raises(FailedError) as caught:
        device.refresh()
    assert caught.value.remedy
    (device.folder / "timestamp.json").rmdir()
    (device.folder / "timestamp.json").write_bytes(before["timestamp.json"])
    device.refresh()
    assert device.versions()["timestamp"] == 2


def test_floors_that_cannot_be_read_stop_the_client(device: Device) -> None:
    device.refresh()
    for name in ("primum.floors", "primum.floors.copy"):
        (device.folder / name).write_bytes(json.dumps({"floors": []}).encode())
    refused(device, Reason.STATE_DAMAGED)
