"""Hostile TUF metadata, row by row: each is refused, and what the device trusts stays as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, MetaFile, TargetFile, Targets

from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.fetching import FolderFetcher
from primum_verifier.shell.http_fetching import HttpFetcher, Wire

SECOND = timedelta(seconds=1)
MANIFEST = "releases/pvc/1.0.0/manifest.json"
UNSIGNED = {Reason.TRUST_THRESHOLD, Reason.TRUST_METADATA}

Change = Callable[[dict[str, Any]], object]


def resigned(data: bytes, signers: list[CryptoSigner], change: Change) -> bytes:
    """Metadata changed below the level that the library lets one write, signed all the same."""
    content = json.loads(data)
    change(content["signed"])
    payload = encode_canonical(content["signed"])
    assert payload is not None
    content["signatures"] = [
        {"keyid": signer.public_key.keyid, "sig": signer.sign(payload.encode()).signature}
        for signer in signers
    ]
    return json.dumps(content).encode()


def roots_on(device: Any) -> set[str]:
    return {name for name in device.files() if name.startswith("root_history/")}


def new_root_keys(publisher: Any) -> tuple[list[CryptoSigner], list[CryptoSigner]]:
    old, new = publisher.signers["root"], publisher.strangers(2)
    publisher.set_keys("root", new)
    return old, new


def test_t01_root_signed_by_new_keys_only_is_refused(publisher: Any, device: Any) -> None:
    """Whoever has only the new keys cannot take over: the old threshold must agree (5.3.4)."""
    old, new = new_root_keys(publisher)
    publisher.publish_root(new)
    device.survives(Reason.TRUST_THRESHOLD)
    assert device.versions()["root"] == 1
    publisher.root.version -= 1
    publisher.publish_root([*old, *new])
    device.next_run_succeeds()
    assert device.versions()["root"] == 3


def test_t02_root_signed_by_old_keys_only_is_refused(publisher: Any, device: Any) -> None:
    """A root that its own keys did not sign would lock everybody out (5.3.4)."""
    old, new = new_root_keys(publisher)
    publisher.publish_root(old)
    device.survives(Reason.TRUST_THRESHOLD)
    publisher.root.version -= 1
    publisher.publish_root([*old, *new])
    device.next_run_succeeds()


def test_t03_root_below_the_new_threshold_and_above_the_old_is_refused(
    publisher: Any, device: Any
) -> None:
    """The threshold rises from two to three, and only two of the new keys signed (5.3.4)."""
    old = publisher.signers["root"]
    publisher.set_keys("root", [*old, *publisher.strangers(1)])
    publisher.publish_root(old)
    device.survives(Reason.TRUST_THRESHOLD)
    publisher.root.version -= 1
    device.next_run_succeeds()


@pytest.mark.parametrize("version", [1, 3, 2**31], ids=["again", "one_too_far", "fast_forward"])
def test_t04_root_file_holding_another_version_is_refused(
    publisher: Any, device: Any, version: int
) -> None:
    """The file 2.root.json holds version 1 again, or 3 already (5.3.5)."""
    publisher.root.version = version - 1
    publisher.put("2.root.json", publisher.publish_root())
    device.survives(Reason.TRUST_ROLLBACK)
    assert roots_on(device) == {"root_history/1.root.json"}
    (publisher.folder / "metadata" / f"{version}.root.json").unlink(missing_ok=version != 1)
    publisher.root.version = 1
    device.next_run_succeeds()


@pytest.mark.parametrize("expired", [False, True], ids=["last_good_root_lives", "expired"])
def test_t05_chain_of_roots_broken_in_the_middle_stops_at_the_last_good_one(
    publisher: Any, device: Any, expired: bool
) -> None:
    """Root 3 is missing, 4 exists: the device works with 2, refuses if 2 has expired (5.3.3)."""
    if expired:
        publisher.root.expires = publisher.now
    publisher.publish_root()
    publisher.root.expires = publisher.later
    publisher.publish_root()
    publisher.publish_root()
    hidden = publisher.read("3.root.json")
    (publisher.folder / "metadata" / "3.root.json").unlink()
    accepted = {"root.json", "root_history/2.root.json"}
    if expired:
        device.survives(Reason.TRUST_EXPIRED, accepted=accepted)
    else:
        before = device.files()
        device.run()
        device.assert_untouched(before, accepted=accepted)
    assert device.versions()["root"] == 2
    publisher.put("3.root.json", hidden)
    device.next_run_succeeds()
    assert device.versions()["root"] == 5


@pytest.mark.parametrize("status", [403, 404])
def test_t06_root_that_is_hidden_for_a_while_is_caught_up_with(
    publisher: Any, device: Any, serve: Any, status: int
) -> None:
    """For one run a server answers 403 or 404 for root 2, later 200 (5.3.3)."""
    served = serve(publisher.folder)
    device.url, device.fetcher = served.url, http_fetcher()
    publisher.publish_root()

    def hides(handler: Any) -> bool:
        if handler.path.endswith("/2.root.json"):
            handler.send_error(status)
            return True
        return False

    served.handler.answer = hides
    before = device.files()
    device.run(MANIFEST)
    device.assert_untouched(before)
    served.handler.answer = None
    device.run(MANIFEST)
    assert device.versions()["root"] == 2
    device.next_run_succeeds()


def test_t07_captive_portal_leaves_nothing(publisher: Any, device: Any, serve: Any) -> None:
    """Every path answers 200 and a page to log in; it is no root that asks for a new agent."""
    served = serve(publisher.folder)
    device.url, device.fetcher = served.url, http_fetcher()

    def portal(handler: Any) -> bool:
        page = b"<html>Please log in</html>"
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(page)))
        handler.end_headers()
        handler.wfile.write(page)
        return True

    served.handler.answer = portal
    error = device.survives({Reason.DOCUMENT_INVALID, Reason.TRUST_METADATA})
    assert "not readable" not in error.message
    assert "agent" not in error.remedy
    served.handler.answer = None
    device.next_run_succeeds()


def test_t08_final_root_is_refused_from_its_expiry_on(publisher: Any, device: Any) -> None:
    """One second before its expiry the root counts, at its expiry it does not (5.3.10)."""
    publisher.root.expires = publisher.now + SECOND
    publisher.publish_root()
    device.run(at=publisher.now)
    device.survives(Reason.TRUST_EXPIRED, at=publisher.now + SECOND)
    device.next_run_succeeds(at=publisher.now + SECOND)


def unknown_key(signed: dict[str, Any]) -> None:
    signed["keys"]["f" * 64] = {
        "keytype": "lattice-of-tomorrow",
        "scheme": "lattice-of-tomorrow",
        "keyval": {"public": "00"},
    }


def test_t09_root_with_a_key_type_of_tomorrow_asks_for_a_newer_agent(
    publisher: Any, device: Any
) -> None:
    """Signed by enough known keys, unreadable here: an alarm of its own, and the device runs on."""
    good = publisher.publish_root()
    publisher.put("2.root.json", resigned(good, publisher.signers["root"], unknown_key))
    error = device.survives(Reason.TRUST_METADATA)
    assert error.message.startswith("root not readable")
    assert "Update the agent" in error.remedy
    assert device.versions()["root"] == 1
    publisher.put("2.root.json", good)
    device.next_run_succeeds()


def test_t09_unreadable_root_that_nobody_signed_is_no_alarm(publisher: Any, device: Any) -> None:
    """A mirror without keys cannot make a fleet ask for a newer agent."""
    good = publisher.publish_root()
    publisher.put("2.root.json", resigned(good, publisher.strangers(2), unknown_key))
    error = device.survives(Reason.TRUST_METADATA)
    assert "not readable" not in error.message
    publisher.put("2.root.json", good)
    device.next_run_succeeds()


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_t09_other_roles_of_a_form_of_tomorrow_ask_for_a_newer_agent(
    publisher: Any, device: Any, role: str
) -> None:
    """What holds for a root with a new key type holds for any role with a new specification."""
    publisher.publish()
    name = {"timestamp": "timestamp.json"}.get(role, f"2.{role}.json")
    signers = publisher.signers[role]
    publisher.put(
        name, resigned(publisher.read(name), signers, lambda s: s.update(spec_version="2.0.0"))
    )
    accepted = {"snapshot": {"timestamp.json"}, "targets": {"timestamp.json", "snapshot.json"}}
    error = device.survives(Reason.TRUST_METADATA, accepted=accepted.get(role, set()))
    assert error.message.startswith(f"{role} not readable")
    device.next_run_succeeds()


def test_t10_one_key_id_twice_in_the_signatures_is_refused(publisher: Any, device: Any) -> None:
    """Two signatures by one key are one signature."""
    publisher.publish()
    content = json.loads(publisher.read("2.targets.json"))
    content["signatures"] = [content["signatures"][0]] * 2
    publisher.put("2.targets.json", json.dumps(content).encode())
    device.survives(UNSIGNED, accepted={"timestamp.json", "snapshot.json"})
    device.next_run_succeeds()


def test_t10_one_key_under_two_ids_is_refused(publisher: Any, device: Any) -> None:
    """Distinct keys are counted, not key ids."""
    first = publisher.signers["targets"][0].public_key
    twin = type(first)("f" * 64, first.keytype, first.scheme, dict(first.keyval))
    publisher.root.add_key(twin, "targets")
    publisher.publish_root()
    device.survives(Reason.TRUST_THRESHOLD)
    publisher.root.revoke_key("f" * 64, "targets")
    publisher.root.version = 1
    device.next_run_succeeds()


def test_t10_one_key_in_two_spellings_is_refused(publisher: Any, device: Any) -> None:
    """The same P-256 key, its PEM with other line breaks, under another id."""
    signer = CryptoSigner.generate_ecdsa()
    publisher.set_keys("targets", [signer])
    key = signer.public_key
    lines = key.keyval["public"].splitlines()
    body = "".join(lines[1:-1])
    spelled = "\n".join(
        [lines[0], *(body[at : at + 40] for at in range(0, len(body), 40)), lines[-1]]
    )
    assert spelled.strip() != key.keyval["public"].strip()
    twin = type(key)("f" * 64, key.keytype, key.scheme, {"public": spelled})
    publisher.root.add_key(twin, "targets")
    publisher.publish_root()
    device.survives(Reason.TRUST_THRESHOLD)
    publisher.root.revoke_key("f" * 64, "targets")
    publisher.root.version = 1
    device.next_run_succeeds()


@pytest.mark.parametrize("threshold", [0, -1, 3, "2", 1.5], ids=str)
def test_t11_impossible_threshold_is_refused(
    publisher: Any, device: Any, threshold: object
) -> None:
    """Zero, negative, more than there are keys, or no whole number at all."""
    good = publisher.publish_root()

    def change(signed: dict[str, Any]) -> None:
        signed["roles"]["targets"]["threshold"] = threshold

    if isinstance(threshold, float):
        content = json.loads(good)
        change(content["signed"])
        bad = json.dumps(content).encode()
    else:
        bad = resigned(good, publisher.signers["root"], change)
    publisher.put("2.root.json", bad)
    publisher.publish()
    rightly = {"root.json", "root_history/2.root.json", "timestamp.json", "snapshot.json"}
    device.survives(UNSIGNED, accepted=rightly if threshold == 3 else ())
    if threshold == 3:
        return  # such a root is well-formed; only a next one can mend it
    publisher.put("2.root.json", good)
    device.next_run_succeeds()


def test_t12_timestamp_of_a_lower_version_is_refused(publisher: Any, device: Any) -> None:
    """Yesterday's repository, whole and validly signed (5.4.3.1)."""
    old = publisher.all_files()
    publisher.publish()
    device.run()
    publisher.restore(old, "timestamp.json")
    device.survives(Reason.TRUST_ROLLBACK)
    device.next_run_succeeds()


def test_t13_timestamp_of_the_same_version_with_other_content_changes_nothing(
    publisher: Any, device: Any
) -> None:
    """The trusted one is kept without an error (5.4.3.1); only the proof is added."""
    publisher.publish_snapshot()
    publisher.timestamp.version -= 1
    publisher.publish_timestamp()
    before = device.files()
    device.run(MANIFEST)
    proofs = {name for name in device.files() if name.startswith("primum.proofs/")}
    assert len(proofs) == 1
    device.assert_untouched(before, accepted=proofs)
    device.next_run_succeeds()


def test_t14_timestamp_naming_a_lower_snapshot_is_refused(publisher: Any, device: Any) -> None:
    """A new timestamp points back at the snapshot of yesterday (5.4.3.2)."""
    publisher.publish()
    device.run()
    publisher.timestamp.snapshot_meta = MetaFile(1)
    publisher.publish_timestamp()
    device.survives(Reason.TRUST_ROLLBACK)
    device.next_run_succeeds()


def test_t15_expired_timestamp_is_refused(publisher: Any, device: Any) -> None:
    """A mirror freezes the device; one second before the expiry it cannot be told (5.4.4)."""
    publisher.timestamp.expires = publisher.now + SECOND
    publisher.publish()
    device.run(at=publisher.now)
    device.survives(Reason.TRUST_EXPIRED, at=publisher.now + SECOND)
    publisher.timestamp.expires = publisher.now + SECOND
    publisher.publish()
    device.survives(Reason.TRUST_EXPIRED, at=publisher.now + SECOND)
    device.next_run_succeeds(at=publisher.now + SECOND)


def test_t16_snapshot_that_drops_a_role_is_refused(publisher: Any, device: Any) -> None:
    """A role that was listed cannot be made to be forgotten (5.5.5)."""
    dropped = publisher.snapshot.meta.pop("rollout.json")
    publisher.publish_snapshot()
    publisher.publish_timestamp()
    device.survives(Reason.TRUST_METADATA, accepted={"timestamp.json"})
    publisher.snapshot.meta["rollout.json"] = dropped
    device.next_run_succeeds()


def test_t17_snapshot_naming_a_lower_version_of_a_role_is_refused(
    publisher: Any, device: Any
) -> None:
    """A snapshot of today lists the model role of yesterday (5.5.5)."""
    publisher.publish()
    device.run(MANIFEST)
    publisher.snapshot.meta["model.json"] = MetaFile(1)
    publisher.publish_snapshot()
    publisher.publish_timestamp()
    device.survives(Reason.TRUST_ROLLBACK, MANIFEST, accepted={"timestamp.json"})
    device.next_run_succeeds()


def test_t18_snapshot_of_another_version_than_announced_is_refused(
    publisher: Any, device: Any
) -> None:
    """The file 2.snapshot.json holds version 3 (5.5.4)."""
    publisher.publish()
    publisher.publish_snapshot()
    publisher.put("2.snapshot.json", publisher.read("3.snapshot.json"))
    device.survives(Reason.TRUST_ROLLBACK, accepted={"timestamp.json"})
    device.next_run_succeeds()


@pytest.mark.parametrize("what", ["hash", "longer", "shorter"])
def test_t19_snapshot_of_another_digest_or_length_than_announced_is_refused(
    publisher: Any, device: Any, what: str
) -> None:
    """The snapshot is validly signed, and is not the one that the timestamp means (5.5.2)."""
    publisher.announces = True
    publisher.publish_snapshot()
    announced = publisher.timestamp.snapshot_meta
    if what == "hash":
        announced.hashes = {"sha256": "0" * 64}
    else:
        announced.length += 1 if what == "longer" else -1
    publisher.publish_timestamp()
    reason = Reason.TRUST_LIMIT if what == "shorter" else Reason.TRUST_METADATA
    device.survives(reason, accepted={"timestamp.json"})
    device.next_run_succeeds()


@pytest.mark.parametrize("role", ["snapshot", "targets", "model"])
def test_t20_expired_listing_is_refused(publisher: Any, device: Any, role: str) -> None:
    """Snapshot, targets or a delegated role at their expiry, and one second before it."""
    listing = {"model": publisher.delegated["model"]}.get(role) or getattr(publisher, role)
    listing.expires = publisher.now + SECOND
    publisher.publish()
    device.run(MANIFEST, at=publisher.now)
    device.survives(Reason.TRUST_EXPIRED, MANIFEST, at=publisher.now + SECOND)
    device.next_run_succeeds(at=publisher.now + SECOND)


def test_t21_role_that_is_in_no_snapshot_is_not_asked_for(
    publisher: Any, make_device: Any, serve: Any
) -> None:
    """The top role delegates, the snapshot knows nothing of it: refused, its file not fetched."""
    publisher.snapshot.meta.pop("model.json")
    publisher.publish_snapshot()
    publisher.publish_timestamp()
    served = serve(publisher.folder)
    fresh = make_device(publisher, url=served.url, fetcher=http_fetcher())
    tops = {"root", "timestamp", "snapshot", "targets"}
    accepted = {f"{role}.json" for role in tops} | {"root_history/1.root.json"}
    fresh.survives(Reason.TRUST_METADATA, MANIFEST, accepted=accepted)
    assert not [path for path in served.requests if "model" in path]
    fresh.next_run_succeeds()


@pytest.mark.parametrize("role", ["targets", "model"])
def test_t22_mix_and_match_is_refused(publisher: Any, device: Any, role: str) -> None:
    """Monday's listing under Tuesday's snapshot, each validly signed (5.6.2, 5.6.4)."""
    publisher.publish()
    monday = publisher.read(f"2.{role}.json")
    publisher.publish()
    publisher.put(f"3.{role}.json", monday)
    rightly = {"timestamp.json", "snapshot.json"} | ({"targets.json"} if role == "model" else set())
    device.survives(Reason.TRUST_ROLLBACK, MANIFEST, accepted=rightly)
    device.next_run_succeeds()


def test_t23_role_with_two_parents_counts_for_neither(publisher: Any, device: Any) -> None:
    """A diamond: model and rollout delegate to one role, signed for one parent only (5.6.7).

    Here no role below the top one delegates to a named role at all, so both ways are shut.
    """
    mine, theirs = publisher.strangers(2)
    for parent, signer in (("model", mine), ("rollout", theirs)):
        key = signer.public_key
        publisher.delegated[parent].delegations = Delegations(
            {key.keyid: key},
            {"both": DelegatedRole("both", [key.keyid], 1, terminating=False, paths=["*", "*/*"])},
        )
    publisher.add_role("both", [mine])
    publisher.add("rollout/plan.json", b"{}", role="both")
    publisher.publish()
    rightly = {"timestamp.json", "snapshot.json", "targets.json", "rollout.json", "model.json"}
    before = device.files()
    device.survives(UNSIGNED, "rollout/plan.json", accepted=rightly)
    assert "both.json" not in device.files()
    device.survives(Reason.TRUST_METADATA, MANIFEST, accepted=rightly)
    device.assert_untouched(before, accepted=rightly)
    for parent in ("model", "rollout"):
        publisher.delegated[parent].delegations = None
    device.next_run_succeeds()


def chained(publisher: Any, names: list[str], paths: list[str]) -> None:
    """Many roles beside each other under the top one, none of which lists anything."""
    key = publisher.signers["model"]
    for name in names:
        publisher.signers[name] = key
        publisher.delegate(name, list(paths))


def test_t24_more_roles_than_are_asked_is_told_as_a_limit(publisher: Any, device: Any) -> None:
    """Forty roles might list the target: the answer is "limit reached", not "not found"."""
    chained(publisher, [f"r{number:02}" for number in range(40)], ["wanted"])
    publisher.publish()
    accepted = {"timestamp.json", "snapshot.json", "targets.json"}
    accepted |= {f"r{number:02}.json" for number in range(40)}
    device.survives(Reason.TRUST_LIMIT, "wanted", accepted=accepted)
    device.next_run_succeeds()


def test_t24_limit_holds_also_for_roles_that_are_all_known(publisher: Any, device: Any) -> None:
    """Every role was fetched before, for a target of its own; together they are still too many."""
    names = [f"r{number:02}" for number in range(40)]
    chained(publisher, names, ["wanted"])
    for name in names:
        publisher.targets.delegations.roles[name].paths.append(f"{name}/own")
    publisher.publish()
    device.run(*(f"{name}/own" for name in names))
    device.survives(Reason.TRUST_LIMIT, "wanted")
    device.next_run_succeeds()


def test_t24_thirty_two_roles_are_asked_and_answer(publisher: Any, device: Any) -> None:
    """At the bound itself the answer is an honest "nobody signs it"."""
    chained(publisher, [f"r{number:02}" for number in range(32)], ["wanted"])
    publisher.publish()
    assert device.run("wanted") == {"wanted": None}
    device.next_run_succeeds()


def test_t24_ten_thousand_delegations_take_bounded_time(publisher: Any, device: Any) -> None:
    """Ten thousand roles in one listing: only those whose paths match are asked for."""
    key = publisher.signers["model"][0].public_key
    roles = publisher.targets.delegations.roles
    for number in range(10_000):
        name = f"role-{number}"
        roles[name] = DelegatedRole(
            name, [key.keyid], 1, terminating=False, paths=[f"elsewhere/{number}/*"]
        )
    publisher.publish()
    assert device.run(MANIFEST) == {MANIFEST: b'{"release":1}'}
    for number in range(10_000):
        del roles[f"role-{number}"]
    device.next_run_succeeds()


@pytest.mark.parametrize("shape", ["itself", "each_other", "chain"])
def test_t24_roles_that_delegate_in_circles_are_refused(
    publisher: Any, device: Any, shape: str
) -> None:
    """A cycle, or a chain below the top role: no role may delegate to another named role."""
    key = publisher.signers["model"][0].public_key
    names = {"itself": ["model"], "each_other": ["rollout"], "chain": ["next"]}[shape]
    for name in names:
        child = DelegatedRole(name, [key.keyid], 1, terminating=False, paths=["releases/*/*/*"])
        publisher.delegated["model"].delegations = Delegations({key.keyid: key}, {name: child})
    publisher.publish()
    accepted = {"timestamp.json", "snapshot.json", "targets.json", "model.json"}
    device.survives(Reason.TRUST_METADATA, MANIFEST, accepted=accepted)
    publisher.delegated["model"].delegations = None
    device.next_run_succeeds()


STRANGE_ROLES = ["..", "/x", "?", "#", "root_history/1.root", "a/../b", "%2e%2e", ".x", "1.root"]


@pytest.mark.parametrize("role", STRANGE_ROLES)
def test_t25_role_with_a_strange_name_is_stored_safely(
    publisher: Any, device: Any, role: str
) -> None:
    """The name of a role never becomes a path; its metadata is an ordinary file of the store."""
    before = device.files()
    publisher.delegate(role, ["strange/*"], signer=publisher.strangers()[0])
    publisher.add("strange/thing", b"thing", role=role)
    publisher.publish()
    assert device.run("strange/thing") == {"strange/thing": b"thing"}
    files = device.files()
    assert files["root_history/1.root.json"] == before["root_history/1.root.json"]
    assert {name.count("/") for name in files} <= {0, 1}
    assert {path.name for path in device.folder.iterdir()} == {"trusted", "scratch"}
    assert device.run("strange/thing") == {"strange/thing": b"thing"}
    device.next_run_succeeds()


def test_t25_role_with_a_name_too_long_for_a_file_is_refused(publisher: Any, device: Any) -> None:
    """Three hundred characters: a reason code, not an error of the file system."""
    role = "x" * 300
    publisher.signers[role] = publisher.signers["model"]
    publisher.delegate(role, ["strange/*"])
    publisher.targets.version += 1
    publisher.put("2.targets.json", publisher.sign(publisher.targets, publisher.signers["targets"]))
    publisher.snapshot_lists("targets", b"", 2)
    publisher.snapshot.meta[f"{role}.json"] = MetaFile(1)
    publisher.publish_snapshot()
    publisher.publish_timestamp()
    listing = Metadata(Targets(expires=publisher.later))
    listing.sign(publisher.signers[role][0])
    device.fetcher = Overlay(device, {f"1.{role}.json": listing.to_bytes()})
    rightly = {"timestamp.json", "snapshot.json", "targets.json"}
    device.survives(Reason.TRUST_LIMIT, "strange/thing", accepted=rightly)
    del publisher.targets.delegations.roles[role], publisher.delegated[role]
    device.next_run_succeeds()


STRANGE_TARGETS = [
    "..",
    ".",
    "a\x00b",
    "a\\b",
    "x" * 300,
    "a/../../b",
    "/etc/hostname",
    "%2e%2e",
    "",
]


@pytest.mark.parametrize("name", STRANGE_TARGETS, ids=repr)
def test_t26_target_with_a_strange_name_is_refused_or_kept_apart_from_paths(
    publisher: Any, device: Any, name: str
) -> None:
    """Its name never becomes a path on the device; where it cannot be served there is a reason."""
    publisher.targets.targets[name] = TargetFile.from_data(name, b"thing", ["sha256"])
    publisher.publish()
    accepted = {"timestamp.json", "snapshot.json", "targets.json"}
    reasons = {Reason.TRUST_NOT_FOUND, Reason.TRANSPORT_UNREACHABLE, Reason.TRANSPORT_INSECURE}
    device.survives(reasons, name, accepted=accepted)
    assert {path.name for path in device.folder.iterdir()} == {"trusted", "scratch"}
    del publisher.targets.targets[name]
    device.next_run_succeeds()


def test_t26_targets_that_differ_in_letter_case_only_are_two(publisher: Any, device: Any) -> None:
    """One is never given for the other."""
    publisher.add("Plan", b"large")
    publisher.add("plan", b"small")
    publisher.publish()
    assert device.run("Plan", "plan") == {"Plan": b"large", "plan": b"small"}
    device.next_run_succeeds()


def test_document_signed_as_larger_than_any_is_not_fetched(publisher: Any, device: Any) -> None:
    """A megabyte is the most that a signed document may be, whatever its role signs."""
    publisher.add("rollout/plan.json", b" " * (2**20 + 1), role="rollout")
    publisher.publish()
    rightly = {f"{role}.json" for role in ("timestamp", "snapshot", "targets", "rollout")}
    device.survives(Reason.ARTIFACT_SIZE, "rollout/plan.json", accepted=rightly)
    del publisher.delegated["rollout"].targets["rollout/plan.json"]
    device.next_run_succeeds()


def test_t27_sibling_of_a_terminating_delegation_is_not_asked(publisher: Any, device: Any) -> None:
    """The terminating role does not list it; the next role does, and is not believed (5.6.7.2)."""
    publisher.delegate("last", ["shared/*"], signer=publisher.strangers()[0], terminating=True)
    publisher.delegate("after", ["shared/*"], signer=publisher.strangers()[0])
    publisher.add("shared/thing", b"slipped in", role="after")
    publisher.publish()
    assert device.run("shared/thing") == {"shared/thing": None}
    assert "after.json" not in device.files()
    device.next_run_succeeds()


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets"])
def test_t28_endless_metadata_is_cut_at_the_limit_of_its_role(
    publisher: Any, device: Any, role: str
) -> None:
    """A body that never ends, also where the metadata around it signs an enormous length."""
    publisher.publish()
    if role == "targets":
        publisher.snapshot.meta["targets.json"].length = 10**12
    publisher.publish_snapshot()
    if role == "snapshot":
        publisher.timestamp.snapshot_meta.length = 10**12
    publisher.publish_timestamp()
    name = {"root": "2.root.json", "timestamp": "timestamp.json"}.get(
        role, f"{getattr(publisher, role).version}.{role}.json"
    )
    device.fetcher = Endless(device, name)
    accepted = {"snapshot": ["timestamp.json"], "targets": ["timestamp.json", "snapshot.json"]}
    device.survives(Reason.TRUST_LIMIT, accepted=accepted.get(role, ()))
    caps = {"root": 512_000, "timestamp": 32_768, "snapshot": 2_000_000, "targets": 5_000_000}
    assert device.fetcher.asked_for == caps[role]
    device.fetcher = None
    device.next_run_succeeds()


HOSTILE = {
    "empty": b"",
    "null": b"null",
    "array": b"[]",
    "number": b"1",
    "not_utf8": b"\xff\xfe{}",
    "byte_order_mark": b"\xef\xbb\xbf{}",
    "nested_100000_deep": b"[" * 100_000,
    "integer_of_6000_digits": b'{"a":' + b"9" * 6000 + b"}",
    "not_a_number": b'{"a":NaN}',
    "lone_surrogate": b'{"a":"\\ud800"}',
    "half": b'{"signed":{"_type":',
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("name", ["2.root.json", "timestamp.json", "2.snapshot.json"])
def test_t29_hostile_json_is_refused(publisher: Any, device: Any, name: str, case: str) -> None:
    """Bytes that are no metadata, in each place where metadata is expected (4.1)."""
    publisher.publish()
    publisher.put(name, HOSTILE[case])
    accepted = ["timestamp.json"] if "snapshot" in name else []
    reasons = {Reason.DOCUMENT_INVALID, Reason.TRUST_METADATA, Reason.TRUST_LIMIT}
    device.survives(reasons, accepted=accepted)
    device.next_run_succeeds()


@pytest.mark.parametrize("where", ["outside", "inside"])
def test_t29_duplicate_member_in_signed_metadata_is_refused(
    publisher: Any, device: Any, where: str
) -> None:
    """The last of two members would win in silence; its signature is right either way."""
    publisher.publish()
    data = publisher.read("timestamp.json")
    twice = {
        "outside": data.replace(b"{", b'{"signed":{},', 1),
        "inside": data.replace(b'"version":', b'"version": 1, "version":', 1),
    }[where]
    assert twice != data
    publisher.put("timestamp.json", twice)
    device.survives(Reason.DOCUMENT_INVALID)
    device.next_run_succeeds()


WRONG_FORMS: dict[str, dict[str, Any]] = {
    "specification_2": {"spec_version": "2.0.0"},
    "type_of_another_role": {"_type": "snapshot"},
    "type_unknown": {"_type": "statement"},
    "expiry_with_an_offset": {"expires": "2026-07-01T12:00:00+01:00"},
    "expiry_with_a_fraction": {"expires": "2026-07-01T12:00:00.5Z"},
    "expiry_without_a_zone": {"expires": "2026-07-01T12:00:00"},
    "version_as_text": {"version": "2"},
    "version_zero": {"version": 0},
}


@pytest.mark.parametrize("case", WRONG_FORMS)
def test_t30_signed_metadata_of_a_wrong_form_is_refused(
    publisher: Any, device: Any, case: str
) -> None:
    """Rightly signed, with a member that the specification does not allow (4.1, 4.3)."""
    publisher.publish()
    good = publisher.read("timestamp.json")
    signers = publisher.signers["timestamp"]
    publisher.put(
        "timestamp.json", resigned(good, signers, lambda signed: signed.update(WRONG_FORMS[case]))
    )
    device.survives(Reason.TRUST_METADATA)
    device.next_run_succeeds()


def http_fetcher() -> Any:
    return HttpFetcher(Wire(allow_http=True))


class Overlay:
    """A folder with some files that a file system could not hold."""

    def __init__(self, device: Any, files: dict[str, bytes]) -> None:
        self.folder = FolderFetcher(device.publisher.folder)
        self.files = files

    def fetch(self, url: str, *, max_bytes: int, offset: int = 0) -> Any:
        name = url.rpartition("/")[2]
        if name in self.files:
            yield self.files[name]
        else:
            yield from self.folder.fetch(url, max_bytes=max_bytes, offset=offset)


class Endless(Overlay):
    """One file has no end; the port's promise to stop at ``max_bytes`` is kept."""

    def __init__(self, device: Any, name: str) -> None:
        super().__init__(device, {})
        self.name = name
        self.asked_for = 0

    def fetch(self, url: str, *, max_bytes: int, offset: int = 0) -> Any:
        if url.rpartition("/")[2] != self.name:
            yield from self.folder.fetch(url, max_bytes=max_bytes, offset=offset)
            return
        self.asked_for, sent = max_bytes, 0
        while sent <= max_bytes:
            sent += 65536
            yield b" " * 65536
        raise RefusedError("more", reason=Reason.TRUST_LIMIT, where=url)
