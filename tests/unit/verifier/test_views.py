"""What is judged by: only what arrived whole, with times that somebody vouches for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tuf.api.metadata import DelegatedRole, Delegations

from primum_verifier.core.errors import PrimumError, RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import AuthorityView
from primum_verifier.shell.trust_store import MemoryTrustStore
from primum_verifier.shell.tuf_client import TufClient
from primum_verifier.shell.tuf_views import stored_view

MANIFEST = "releases/pvc/1.0.0/manifest.json"


class Device:
    """A client that asks for one document and says when it has all it wanted."""

    def __init__(self, repository: Any) -> None:
        self.repository = repository
        self.store = MemoryTrustStore()
        self.client = TufClient(
            authority="engineering",
            bootstrap=repository.root_bytes,
            metadata_url=f"{repository.base}metadata/",
            targets_url=f"{repository.base}targets/",
            fetcher=repository.fetcher,
            store=self.store,
        )

    def run(self, *, complete: bool = True) -> None:
        with self.client.session(at=self.repository.now) as session:
            session.refresh()
            session.document(MANIFEST)
            if complete:
                session.complete()

    def view(self) -> AuthorityView | None:
        return stored_view("engineering", self.store.load())


@pytest.fixture
def device(repository: Any) -> Device:
    repository.add_target(MANIFEST, b'{"release":1}', role="model")
    repository.publish()
    return Device(repository)


def test_nothing_is_judged_by_before_a_run_ended_well(device: Device) -> None:
    device.run(complete=False)
    assert device.view() is None
    device.run()
    view = device.view()
    assert view is not None
    assert view.documents[MANIFEST].role == "model"
    assert view.issued_at == device.repository.now
    assert view.awaited == ""
    assert set(view.roles) == {"root", "timestamp", "snapshot", "targets", "model"}


def test_a_run_that_ended_early_changes_nothing_but_what_is_awaited(device: Device) -> None:
    device.run()
    before = device.view()
    repository = device.repository
    repository.add_target(MANIFEST, b'{"release":2}', role="model")
    repository.publish()
    (url,) = [
        url
        for url, data in repository.fetcher.files.items()
        if "manifest.json" in url and data == b'{"release":2}'
    ]
    whole = repository.fetcher.files.pop(url)
    with pytest.raises(PrimumError):
        device.run()
    after = device.view()
    assert before is not None
    assert after is not None
    assert after.view_id == before.view_id
    assert after.documents == before.documents
    assert "timestamp 3" in after.awaited
    repository.fetcher.files[url] = whole
    device.run()
    healed = device.view()
    assert healed is not None
    assert healed.awaited == ""
    assert healed.documents[MANIFEST].data == b'{"release":2}'


def test_the_first_role_that_lists_a_document_is_the_one_to_believe(device: Device) -> None:
    """The top role lists other bytes than the delegated one: the kept bytes are nobody's then."""
    device.run()
    repository = device.repository
    repository.add_target(MANIFEST, b'{"release":"of the top role"}')
    repository.add_target("releases/pvc/1.0.0/other", b"{}", role="model")
    repository.publish()
    with device.client.session(at=repository.now) as session:
        session.refresh()
        session.document("releases/pvc/1.0.0/other")
        session.document(MANIFEST)
        session.complete()
    trusted = device.store.load()
    assert trusted is not None
    view = stored_view("engineering", trusted)
    assert view is not None
    assert view.documents[MANIFEST].role == "targets"
    other = replace(trusted, documents={MANIFEST: b'{"release":1}'})
    view = stored_view("engineering", other)
    assert view is not None
    assert MANIFEST not in view.documents


def test_a_document_that_is_there_already_is_not_fetched_again(device: Device) -> None:
    device.run()
    device.repository.fetcher.requests.clear()
    device.run()
    assert not [url for url in device.repository.fetcher.requests if "manifest" in url]


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59Z",
        "2026-06-01T12:00:00",
        "yesterday",
        "2026-07-01T12:00:01Z",
    ],
    ids=["overflow", "far", "no_zone", "no_time", "after_its_own_end"],
)
def test_an_issue_time_that_nobody_vouches_for_is_refused(device: Device, text: str) -> None:
    device.run()
    before = device.view()
    repository = device.repository
    repository.timestamp.version += 1
    repository.timestamp.unrecognized_fields["issuedAt"] = text
    repository.put("timestamp.json", repository._sign(repository.timestamp, "timestamp"))
    with pytest.raises(RefusedError) as caught:
        device.run()
    assert caught.value.reason == Reason.TRUST_METADATA
    after = device.view()
    assert before is not None
    assert after is not None
    assert after.issued_at == before.issued_at
    repository.publish_timestamp()
    device.run()
    healed = device.view()
    assert healed is not None
    assert healed.awaited == ""


def test_an_issue_time_exactly_at_its_end_counts(device: Device) -> None:
    repository = device.repository
    repository.timestamp.unrecognized_fields.clear()
    repository.now = repository.timestamp.expires
    repository.publish_timestamp()
    repository.now -= timedelta(days=1)
    device.run()
    view = device.view()
    assert view is not None
    assert view.issued_at == repository.timestamp.expires


def test_a_repository_without_issue_times_proves_no_time(device: Device) -> None:
    repository = device.repository
    repository.timestamp.version += 1
    repository.timestamp.unrecognized_fields.clear()
    repository.put("timestamp.json", repository._sign(repository.timestamp, "timestamp"))
    device.run()
    view = device.view()
    assert view is not None
    assert view.issued_at is None


def test_a_delegated_role_that_delegates_is_refused(device: Device) -> None:
    repository = device.repository
    key = repository.signers["model"].public_key
    repository.model.delegations = Delegations({key.keyid: key}, {})
    repository.model.delegations.roles = {
        "targets2": DelegatedRole("targets2", [key.keyid], 1, terminating=False, paths=["x"])
    }
    repository.publish()
    with pytest.raises(RefusedError) as caught:
        device.run()
    assert caught.value.reason == Reason.TRUST_METADATA
    assert device.view() is None


def test_new_keys_of_the_timestamp_begin_a_new_epoch_of_time(device: Device) -> None:
    device.run()
    before = device.view()
    repository = device.repository
    repository.root.revoke_key(repository.signers["timestamp"].public_key.keyid, "timestamp")
    repository.signers["timestamp"] = type(repository.signers["model"]).generate_ed25519()
    repository.root.add_key(repository.signers["timestamp"].public_key, "timestamp")
    repository.publish_root()
    repository.publish()
    device.run()
    after = device.view()
    assert before is not None
    assert after is not None
    assert before.time_epoch != after.time_epoch
    assert before.view_id != after.view_id
