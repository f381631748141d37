"""A role spread over hash bins: what a bin carries counts as the role's, as fresh as both."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tuf.api.metadata import Delegations, MetaFile, SuccinctRoles

from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import AuthorityView
from primum_verifier.shell.trust_store import MemoryTrustStore
from primum_verifier.shell.tuf_views import stored_view

SECOND = timedelta(seconds=1)
MANIFEST = "releases/pvc/1.0.0/manifest.json"
BINNED = "releases/pvc/2.0.0/manifest.json"
RIGHTLY = frozenset({"timestamp.json", "snapshot.json", "targets.json", "model.json"})


@pytest.fixture(params=[4, 8], ids=["16_bins", "256_bins"])
def bin_name(request: pytest.FixtureRequest, publisher: Any, device: Any) -> str:
    """The model role spread over bins with two keys each; the bin that carries a new manifest."""
    del device
    bins = publisher.spread("model", bits=request.param, signers=publisher.strangers(2))
    name = str(bins.get_role_for_target(BINNED))
    publisher.add(BINNED, b'{"release":2}', role=name)
    publisher.publish()
    return name


def view(device: Any, *names: str, **moment: Any) -> AuthorityView:
    """What is judged by after a run: a store that keeps views, over the device's own repository."""
    device.store = MemoryTrustStore()
    device.run(*names, **moment)
    found = stored_view("engineering", device.store.load())
    assert found is not None
    return found


def test_what_a_bin_carries_counts_as_carried_by_its_role(device: Any, bin_name: str) -> None:
    with device.session() as session:
        document = session.document(BINNED)
        direct = session.document(MANIFEST)
    assert (document.data, document.role) == (b'{"release":2}', "model")
    assert direct.role == "model"
    used = {name for name in device.files() if name.startswith("model-")}
    assert used == {f"{bin_name}.json"}
    device.next_run_succeeds()


def test_stored_view_gives_the_document_to_the_role_and_names_the_bin(
    device: Any, bin_name: str
) -> None:
    found = view(device, BINNED)
    assert found.documents[BINNED].role == "model"
    assert found.document(BINNED, roles=frozenset({"model"})) == b'{"release":2}'
    assert bin_name in found.roles


def test_role_is_as_fresh_as_its_stalest_bin(publisher: Any, device: Any, bin_name: str) -> None:
    """A rule that asks for the role sees the earlier end; a bin that was not used says nothing."""
    publisher.delegated[bin_name].expires = publisher.now + SECOND
    publisher.publish()
    assert view(device, BINNED).roles["model"].expires == publisher.now + SECOND
    assert view(device, MANIFEST).roles["model"].expires == publisher.later
    publisher.delegated[bin_name].expires = publisher.later
    publisher.delegated["model"].expires = publisher.now + SECOND
    publisher.publish()
    assert view(device, BINNED).roles["model"].expires == publisher.now + SECOND


def test_another_bin_changes_the_name_of_the_view(
    publisher: Any, device: Any, bin_name: str
) -> None:
    """A verdict names the exact metadata it was judged over, that of bins too."""
    before = view(device, BINNED)
    publisher.delegated[bin_name].targets["releases/x/y/z"] = publisher.add(BINNED, b"x")
    del publisher.targets.targets[BINNED]
    files = publisher.all_files()
    publisher.publish()
    assert view(device, BINNED).view_id != before.view_id
    publisher.restore(files)


def test_expired_bin_is_refused(publisher: Any, device: Any, bin_name: str) -> None:
    publisher.delegated[bin_name].expires = publisher.now + SECOND
    publisher.publish()
    device.run(BINNED, at=publisher.now)
    device.survives(Reason.TRUST_EXPIRED, BINNED, at=publisher.now + SECOND)
    device.next_run_succeeds(at=publisher.now + SECOND)


def test_bin_signed_by_one_of_two_keys_is_refused(
    publisher: Any, device: Any, bin_name: str
) -> None:
    publisher.publish_listing(bin_name, publisher.strangers(2)[:1])
    publisher.publish_snapshot()
    publisher.publish_timestamp()
    device.survives(Reason.TRUST_THRESHOLD, BINNED, accepted=RIGHTLY)
    device.next_run_succeeds()


def test_bin_signed_by_the_keys_of_another_role_is_refused(
    publisher: Any, device: Any, bin_name: str
) -> None:
    """Not even the role's own key signs for its bins: they have keys of their own."""
    publisher.publish_listing(bin_name, publisher.signers["model"])
    publisher.publish_snapshot()
    publisher.publish_timestamp()
    device.survives(Reason.TRUST_THRESHOLD, BINNED, accepted=RIGHTLY)
    device.next_run_succeeds()


def test_one_key_twice_does_not_meet_the_threshold_of_bins(
    publisher: Any, device: Any, bin_name: str
) -> None:
    del bin_name
    delegations = publisher.delegated["model"].delegations
    keyid = delegations.succinct_roles.keyids[0]
    first = delegations.keys[keyid]
    delegations.keys["f" * 64] = type(first)("f" * 64, first.keytype, first.scheme, first.keyval)
    delegations.succinct_roles.keyids.append("f" * 64)
    publisher.publish()
    device.survives(Reason.TRUST_THRESHOLD, BINNED)
    delegations.succinct_roles.keyids.remove("f" * 64)
    del delegations.keys["f" * 64]
    device.next_run_succeeds()


def test_bin_rolled_back_is_refused(publisher: Any, device: Any, bin_name: str) -> None:
    """A snapshot of today lists the bin of yesterday."""
    publisher.publish()
    device.run(BINNED)
    publisher.snapshot.meta[f"{bin_name}.json"] = MetaFile(1)
    publisher.publish_snapshot()
    publisher.publish_timestamp()
    device.survives(Reason.TRUST_ROLLBACK, BINNED, accepted={"timestamp.json"})
    device.next_run_succeeds()


def test_bin_rolled_back_behind_a_damaged_cache_is_refused(
    publisher: Any, device: Any, bin_name: str
) -> None:
    """The floors remember the bin although every metadata file was emptied."""
    old = publisher.all_files()
    publisher.publish()
    device.run(BINNED)
    for path in device.trusted.glob("*.json"):
        path.write_bytes(b"")
    assert [name for name in device.floors() if name.startswith(f"{bin_name}@")]
    floors = device.floors()
    publisher.restore(old)
    before = device.files()
    with pytest.raises(Exception, match="older repository"):
        device.run(BINNED)
    device.assert_untouched(before)
    assert device.floors() == floors
    publisher.publish()
    device.next_run_succeeds()


def test_bins_under_new_keys_are_counted_anew(publisher: Any, device: Any, bin_name: str) -> None:
    """A stolen key of the bins signed an enormous version; the role gives its bins other keys."""
    publisher.delegated[bin_name].version = 2**31
    publisher.publish()
    device.run(BINNED)
    publisher.signers[bin_name] = publisher.strangers(4)[:2]
    delegations = publisher.delegated["model"].delegations
    for keyid in list(delegations.succinct_roles.keyids):
        publisher.delegated["model"].revoke_key(keyid)
    for signer in publisher.signers[bin_name]:
        publisher.delegated["model"].add_key(signer.public_key)
    publisher.delegated[bin_name].version = 5
    publisher.publish("model", bin_name)
    # The cached snapshot is lost, else it alone would hold the version (5.5.5).
    (device.trusted / "snapshot.json").write_bytes(b"")
    device.run(BINNED)
    assert device.versions()[bin_name] == 6


def test_bin_outside_the_paths_of_its_role_carries_nothing(
    publisher: Any, device: Any, bin_name: str
) -> None:
    """The role may speak for releases only, and so may its bins."""
    del bin_name
    bins = publisher.delegated["model"].delegations.succinct_roles
    publisher.add("policy.json", b"{}", role=bins.get_role_for_target("policy.json"))
    publisher.publish()
    assert device.run("policy.json") == {"policy.json": None}
    device.next_run_succeeds()


@pytest.mark.parametrize("prefix", ["rollout", "targets", "model-", "mode"])
def test_bins_under_a_foreign_name_are_refused(publisher: Any, device: Any, prefix: str) -> None:
    """Bins are named after their own role, so that they can never be taken for another's."""
    bins = publisher.spread("model", bits=4, signers=publisher.strangers(), prefix=prefix)
    publisher.add(BINNED, b"{}", role=bins.get_role_for_target(BINNED))
    publisher.publish()
    accepted = RIGHTLY | {f"{bins.get_role_for_target(BINNED)}.json"}
    device.survives(Reason.TRUST_METADATA, BINNED, accepted=accepted)
    publisher.delegated["model"].delegations = None
    device.next_run_succeeds()


def test_bin_with_the_name_of_another_role_is_refused(publisher: Any, device: Any) -> None:
    """The top role also delegates to ``model-f``: two roles could answer under one name."""
    publisher.delegate("model-f", ["elsewhere/*"], signer=publisher.strangers(3)[0])
    bins = publisher.spread("model", bits=4, signers=publisher.strangers(2))
    publisher.add(BINNED, b"{}", role=bins.get_role_for_target(BINNED))
    publisher.publish()
    accepted = RIGHTLY | {f"{bins.get_role_for_target(BINNED)}.json"}
    device.survives(Reason.TRUST_METADATA, BINNED, accepted=accepted)
    publisher.delegated["model"].delegations = None
    device.next_run_succeeds()


def test_bin_that_spreads_further_is_refused(publisher: Any, device: Any, bin_name: str) -> None:
    """Bins of bins: nothing below a bin counts."""
    bins = publisher.spread(bin_name, bits=4, signers=publisher.strangers())
    inner = bins.get_role_for_target(BINNED)
    del publisher.delegated[bin_name].targets[BINNED]
    publisher.add(BINNED, b"{}", role=inner)
    publisher.publish()
    accepted = RIGHTLY | {f"{bin_name}.json", f"{inner}.json"}
    device.survives(Reason.TRUST_METADATA, BINNED, accepted=accepted)
    publisher.delegated[bin_name].delegations = None
    device.next_run_succeeds()


def test_bins_of_the_top_role_speak_for_no_role(publisher: Any, make_device: Any) -> None:
    """Carried under the bin's own name, which no rule trusts with anything."""
    bins = SuccinctRoles([], 1, 4, "eligibility")
    publisher.targets.delegations = Delegations({}, succinct_roles=bins)
    (signer,) = publisher.strangers()
    publisher.targets.add_key(signer.public_key)
    name = bins.get_role_for_target("eligibility/index.json")
    publisher.delegated.clear()
    publisher.add_role(name, [signer])
    publisher.add("eligibility/index.json", b"{}", role=name)
    publisher.publish()
    fresh = make_device(publisher)
    found = view(fresh, "eligibility/index.json")
    assert found.documents["eligibility/index.json"].role == name
