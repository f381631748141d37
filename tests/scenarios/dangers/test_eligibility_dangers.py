"""What clinical signs, bent in every way that somebody may try, over both whole repositories.

The metadata is signed as it should be unless a test says otherwise: the document itself is bent.
"""

from __future__ import annotations

import base64
import json
import time
from datetime import timedelta
from typing import Any

import pytest
from tests.scenarios.compromise.world import ATTACK, DAY, HOUR, key
from tests.unit.verifier.conftest import NOW, envelope, moment

from primum_verifier.core.document import canonical_json, sha256_hex
from primum_verifier.core.eligibility import approvals_target, statement_target
from primum_verifier.core.envelope import INTOTO_PAYLOAD_TYPE
from primum_verifier.core.question import ArtifactsFact
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import Capability, Phase

SECOND = timedelta(seconds=1)
INDEX = "eligibility/index.json"


@pytest.mark.parametrize(
    ("bound", "ends", "reason"),
    [
        ("notAfter", -SECOND, Reason.ELIGIBILITY_EXPIRED),
        ("notAfter", timedelta(0), Reason.ELIGIBILITY_EXPIRED),
        ("notAfter", SECOND, None),
        ("notBefore", SECOND, Reason.ELIGIBILITY_NOT_YET_VALID),
        ("notBefore", timedelta(0), None),
    ],
)
def test_e01_expired_or_not_yet_valid_by_one_second(
    staged: Any, bound: str, ends: timedelta, reason: Reason | None
) -> None:
    """Ending counts by the later of clock and proven time, beginning by the earlier."""
    start = ATTACK if bound == "notAfter" else NOW + HOUR
    staged.better.statement["validity"][bound] = moment(start + ends)
    staged.publish()
    if reason is None:
        assert staged.ask().capability is Capability.CLINICAL
    else:
        staged.refused(reason)
    staged.still_runs()
    staged.ends_well()


@pytest.mark.parametrize(
    ("countries", "reason"),
    [
        (["CH"], Reason.ELIGIBILITY_JURISDICTION),
        ([], Reason.ELIGIBILITY_ABSENT),
        (["*"], Reason.ELIGIBILITY_ABSENT),
        (["EU"], Reason.ELIGIBILITY_ABSENT),
        (["de"], Reason.ELIGIBILITY_ABSENT),
        (["D\u0415"], Reason.ELIGIBILITY_ABSENT),
    ],
)
def test_e02_wrong_country_wildcard_group_or_look_alike(
    staged: Any, countries: list[str], reason: Reason
) -> None:
    """No wildcard and no group of countries; a Cyrillic letter is no Latin one."""
    staged.better.statement["constraints"]["jurisdictions"] = countries
    staged.publish()
    staged.refused(reason)
    staged.still_runs()
    staged.ends_well()


def test_e03_key_of_another_function_fills_no_other_line(staged: Any) -> None:
    """The clinical key signs under the regulatory line, with the regulatory person's name."""
    for approval in staged.better.approvals:
        if approval["function"] == "regulatory":
            approval["signer"] = "clinical"
    staged.publish()
    assert "regulatory 1" in staged.refused(Reason.ELIGIBILITY_APPROVALS).in_the_way[0].found
    staged.still_runs()
    staged.ends_well()


def test_e03_one_key_in_two_functions_is_refused_with_the_policy(staged: Any) -> None:
    """A policy that lists one key for two functions is no policy: the view of before stays."""
    people = staged.world.first.policy["people"]
    people[1]["key"] = people[0]["key"]
    staged.publish()
    staged.refused(Reason.TRUST_METADATA)
    staged.ends_well()


def test_e03_one_person_with_two_keys_is_refused_with_the_policy(staged: Any) -> None:
    """One person stands in it twice, for two functions with two keys."""
    people = staged.world.first.policy["people"]
    people[1]["personId"] = people[0]["personId"]
    staged.publish()
    staged.refused(Reason.TRUST_METADATA)
    staged.ends_well()


@pytest.mark.parametrize("status", ["left", "compromised"])
def test_e04_key_that_was_rotated_out_or_revoked_counts_no_more(staged: Any, status: str) -> None:
    """By the list of today, whatever date the approval itself bears."""
    staged.world.first.policy["people"][0]["status"] = status
    staged.publish()
    staged.refused(Reason.ELIGIBILITY_APPROVALS)
    order = staged.ask("running", Phase.CONTINUE).order
    assert order is not None, "what it approved before is under review"
    assert not order.action.takes_away
    staged.ends_well()


@pytest.mark.parametrize("stage", ["limited-release", "validation", "development"])
def test_e05_statement_for_an_earlier_stage_serves_no_production_device(
    staged: Any, stage: str
) -> None:
    """Approved by everybody, for another stage than the device was provisioned for."""
    staged.better.statement["stage"] = stage
    for approval in staged.better.approvals:
        approval["scope"] = {**approval["scope"], "stage": stage}
    requirement = {**staged.world.first.policy["requirements"][0], "stage": stage}
    staged.world.first.policy["requirements"].append(requirement)
    staged.publish()
    staged.refused(Reason.ELIGIBILITY_STAGE)
    staged.still_runs()
    staged.ends_well()


@pytest.mark.parametrize("means", ["number", "digest"])
def test_e06_older_statement_replayed_after_withdrawal_is_refused(staged: Any, means: str) -> None:
    """The list itself names the old statement again; the policy has ended it for good."""
    if means == "number":
        staged.world.first.policy["minStatementNumber"] = 6
        for name, release in staged.world.releases.items():
            release.statement["statementNumber"] = 5 if name == "better" else 6
    else:
        burned = {"sha256": staged.world.statement_of("better")}
        staged.world.first.policy["burnedStatements"] = [burned]
    staged.publish()
    staged.refused(Reason.ELIGIBILITY_SUPERSEDED)
    staged.ends_well()


def test_e07_withdrawal_suppressed_by_the_mirror_ends_with_the_list(staged: Any) -> None:
    """The mirror shows clinical as it was; installs end, then what runs, as was signed."""
    staged.world.notice("better", "clinical", "quality")
    shown = staged.good.after.fork()
    staged.poll(files=shown.files)
    staged.world.correct(NOW + HOUR)
    assert staged.ask(phase=Phase.INSTALL).capability is Capability.CLINICAL, "not seen yet"
    for later, phase, reason in (
        (1 * DAY + 2 * HOUR, Phase.INSTALL, Reason.TRUST_EXPIRED),
        (3 * DAY + 2 * HOUR, Phase.ACTIVATE, Reason.TRUST_EXPIRED),
    ):
        assert staged.poll(files=shown.files, at=NOW + later).problems
        staged.refused(reason, phase=phase, at=NOW + later)
    over = NOW + 17 * DAY
    order = staged.ask("running", Phase.CONTINUE, at=over).order
    assert order is not None
    assert order.reason == Reason.TRUST_STALE_INDEX
    assert order.action.takes_away
    # What the mirror hid comes through: the withdrawal stands, and everything else is good again.
    staged.at = over + HOUR
    staged.world.publish(over)
    assert not staged.poll().problems
    staged.refused(Reason.ELIGIBILITY_WITHDRAWN)
    staged.still_runs()
    staged.disk_is_clean()
    staged.journal.close()


@pytest.mark.parametrize(
    ("devices", "reason"),
    [
        ({"scope": "serial-numbers", "ranges": [("SN", 2, 9)]}, Reason.ELIGIBILITY_DEVICE),
        ({"scope": "serial-numbers", "ranges": [("SN", 9, 1)]}, Reason.ELIGIBILITY_ABSENT),
        ({"scope": "serial-numbers", "ranges": [("SN", "1", 9)]}, Reason.ELIGIBILITY_ABSENT),
        ({"scope": "serial-numbers"}, Reason.ELIGIBILITY_ABSENT),
    ],
)
def test_e08_serial_numbers_of_others_or_a_range_that_is_none(
    staged: Any, devices: dict[str, Any], reason: Reason
) -> None:
    """Another site's range, a range that ends before it starts, a number that is text."""
    scope = {
        **devices,
        "ranges": [
            {"prefix": prefix, "first": first, "last": last}
            for prefix, first, last in devices.get("ranges", [])
        ],
    }
    staged.better.statement["constraints"]["devices"] = scope
    staged.publish()
    staged.refused(reason)
    staged.still_runs()
    staged.ends_well()


def replace_statement(staged: Any, data: bytes) -> None:
    """List other bytes as the statement of the better release, with approvals over them."""
    world, digest = staged.world, sha256_hex(data)
    index = json.loads(world.index(world.listed, at=NOW + HOUR, number=99))
    for entry in index["entries"]:
        if entry["version"] == staged.better.version:
            entry["statement"] = {"sha256": digest}
    clinical = world.clinical
    clinical.add(statement_target(digest), data, role="eligibility")
    clinical.add(approvals_target(digest), staged.better.approval_lines(digest), role="eligibility")
    clinical.add(INDEX, canonical_json(index), role="eligibility")
    clinical.publish()
    assert not staged.poll().problems


@pytest.mark.parametrize("what", ["role file", "index", "policy", "approval"])
def test_e09_another_kind_of_document_in_place_of_the_statement(staged: Any, what: str) -> None:
    """Each is validly signed as what it is, and is no statement."""
    staged.publish()
    lines = staged.world.approvals_of("better").splitlines()
    data = {
        "role file": staged.world.files["https://clinical.test/metadata/timestamp.json"],
        "index": staged.world.index(staged.world.listed, at=NOW, number=5),
        "policy": canonical_json(staged.world.first.policy),
        "approval": base64.b64decode(json.loads(lines[0])["payload"]),
    }[what]
    replace_statement(staged, data)
    staged.refused(Reason.ELIGIBILITY_ABSENT)
    staged.still_runs()
    staged.ends_well()


def _reordered(line: bytes) -> bytes:
    content = json.loads(line)
    payload = json.loads(base64.b64decode(content["payload"]))
    turned = json.dumps(dict(reversed(payload.items()))).encode()
    return canonical_json({**content, "payload": base64.b64encode(turned).decode()})


def _extra(line: bytes) -> bytes:
    return canonical_json({**json.loads(line), "comment": "not signed"})


def _twice(line: bytes) -> bytes:
    return line.replace(b'"payload":', b'"payload":"e30=","payload":', 1)


def _other_length(line: bytes) -> bytes:
    """The same bytes in PAE, cut elsewhere: type and payload trade a part."""
    content = json.loads(line)
    payload = base64.b64decode(content["payload"])
    kind = f"{content['payloadType']} {len(payload)}"
    return canonical_json({**content, "payloadType": kind})


@pytest.mark.parametrize("change", [_reordered, _extra, _twice, _other_length])
def test_e10_signature_over_other_bytes_than_those_that_are_read(staged: Any, change: Any) -> None:
    """One approval of three is bent; the other two stay good and are not enough."""
    staged.publish()
    digest = staged.world.statement_of("better")
    first, *others = staged.world.approvals_of("better").splitlines(keepends=True)
    lines = change(first.strip()) + b"\n" + b"".join(others)
    staged.world.clinical.add(approvals_target(digest), lines, role="eligibility")
    staged.world.clinical.publish()
    assert not staged.poll().problems
    staged.refused(Reason.ELIGIBILITY_APPROVALS)
    staged.still_runs()
    staged.ends_well()


@pytest.mark.parametrize("member", ["functions", "requirements", "threshold", "people"])
def test_e11_threshold_or_functions_in_the_statement_itself_are_ignored(
    staged: Any, member: str
) -> None:
    """The statement asks for nobody; the policy asks for three people all the same."""
    staged.better.statement[member] = {"clinical": 1}
    staged.better.approvals = staged.better.approvals[:1]
    staged.publish()
    staged.refused(Reason.ELIGIBILITY_APPROVALS)
    staged.ends_well()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"crit": ["moonPhase"], "moonPhase": "full"}, Reason.ELIGIBILITY_CRIT_UNKNOWN),
        ({"schemaVersion": "9.0"}, Reason.ELIGIBILITY_ABSENT),
    ],
)
def test_e12_unknown_critical_member_or_unknown_version(
    staged: Any, changes: dict[str, Any], reason: Reason
) -> None:
    """What this build cannot understand it does not act on."""
    staged.better.statement.update(changes)
    staged.publish()
    staged.refused(reason)
    staged.still_runs()
    staged.ends_well()


def test_e13_model_inside_was_swapped(staged: Any) -> None:
    """The chain holds from statement to manifest to model: each link is a digest."""
    approved = staged.world.statement_of("better")
    old = staged.better.release
    staged.better.manifest["items"][0]["digest"]["sha256"] = sha256_hex(b"another model")
    assert staged.better.release != old
    staged.world.correct(NOW + HOUR)
    # The statement of the old manifest, with its good approvals, for the new one.
    index = json.loads(staged.world.index(staged.world.listed, at=NOW + HOUR, number=99))
    for entry in index["entries"]:
        if entry["version"] == staged.better.version:
            entry["statement"] = {"sha256": approved}
    honest = staged.good.after
    clinical = staged.world.clinical
    data = honest.releases["better"].statement_bytes()
    clinical.add(statement_target(approved), data, role="eligibility")
    lines = honest.approvals_of("better")
    clinical.add(approvals_target(approved), lines, role="eligibility")
    clinical.add(INDEX, canonical_json(index), role="eligibility")
    clinical.publish()
    assert not staged.poll().problems
    staged.refused(Reason.ELIGIBILITY_ABSENT)
    staged.ends_well()


def test_e13_right_manifest_with_other_files_is_refused_by_digest(staged: Any) -> None:
    staged.publish()
    staged.refused(Reason.ARTIFACT_DIGEST, artifacts=ArtifactsFact.DAMAGED)
    staged.ends_well()


@pytest.mark.parametrize("worse", ["held", "withdrawn", "restricted"])
@pytest.mark.parametrize("first", [True, False])
def test_e14_two_entries_that_contradict_hold_it_by_the_stricter(
    staged: Any, worse: str, *, first: bool
) -> None:
    """In either order on one list; what runs already goes on and is told."""
    staged.publish()
    world = staged.world
    index = json.loads(world.index(world.listed, at=NOW + HOUR, number=99))
    for name in ("better", "running"):
        entry = world.releases[name].entry(world.statement_of(name), worse)
        index["entries"].insert(0 if first else len(index["entries"]), entry)
    world.clinical.add(INDEX, canonical_json(index), role="eligibility")
    world.clinical.publish()
    staged.poll()
    assert "contradict" in staged.refused(Reason.ELIGIBILITY_HELD).in_the_way[0].found
    order = staged.ask("running", Phase.CONTINUE).order
    assert order is not None
    assert not order.action.takes_away
    staged.ends_well()


@pytest.mark.parametrize("what", ["signatures", "approvals", "statement", "index"])
def test_e15_ten_thousand_signatures_or_a_document_of_megabytes(staged: Any, what: str) -> None:
    """Refused inside a bound: a second, not minutes."""
    staged.publish()
    world, clinical = staged.world, staged.world.clinical
    digest = world.statement_of("better")
    line = world.approvals_of("better").splitlines()[0]
    if what == "signatures":
        content = json.loads(line)
        content["signatures"] *= 10_000
        lines = canonical_json(content)[: 1024 * 1024] + b"\n"
        clinical.add(approvals_target(digest), lines, role="eligibility")
    elif what == "approvals":
        clinical.add(approvals_target(digest), (line + b"\n") * 1500, role="eligibility")
    elif what == "statement":
        big = {**json.loads(staged.better.statement_bytes()), "junk": "x" * 3_000_000}
        replace_bytes = canonical_json(big)
        clinical.add(statement_target(digest), replace_bytes, role="eligibility")
    else:
        index = json.loads(world.index(world.listed, at=NOW, number=99))
        index["entries"] *= 900
        clinical.add(INDEX, canonical_json(index), role="eligibility")
    clinical.publish()
    began = time.monotonic()
    refreshed = staged.poll()
    verdict = staged.ask()
    assert time.monotonic() - began < 5
    assert refreshed.problems or verdict.capability < Capability.SHADOW
    if refreshed.problems:
        assert staged.ask(phase=Phase.INSTALL).capability < Capability.SHADOW
        verdict = staged.ask("running", Phase.CONTINUE)
        assert verdict.order is None or not verdict.order.action.takes_away
    staged.ends_well()


def test_approval_for_another_statement_counts_for_none(staged: Any) -> None:
    """The approvals of what runs, offered under the statement of what is new."""
    for approval in staged.better.approvals:
        approval["over"] = staged.world.statement_of("running")
    staged.publish()
    staged.refused(Reason.ELIGIBILITY_APPROVALS)
    staged.ends_well()


def test_eligibility_of_another_digest_of_the_same_version(staged: Any) -> None:
    """Same component, same version, other bytes: the list names a digest, not a version."""
    staged.publish()
    staged.better.manifest["labelling"]["summary"] = "built once more"
    staged.world.put_manifest(staged.better)
    staged.world.engineering.publish()
    staged.poll()
    staged.refused(Reason.ELIGIBILITY_ABSENT)
    staged.ends_well()


def test_an_approval_by_a_stranger_in_a_persons_name(staged: Any) -> None:
    """Right words, right name, and a key that no policy lists."""
    release = staged.better
    release.people = {**release.people, "quality": key("stranger")}
    staged.publish()
    assert "quality 1" in staged.refused(Reason.ELIGIBILITY_APPROVALS).in_the_way[0].found
    staged.ends_well()


def test_an_approval_signed_as_another_type_of_record(staged: Any) -> None:
    """The words of an approval under the type of a device context are no approval."""
    staged.publish()
    digest = staged.world.statement_of("better")
    lines = staged.world.approvals_of("better").splitlines()
    payload = base64.b64decode(json.loads(lines[0])["payload"])
    other = "application/vnd.primum.device-context+json"
    assert other != INTOTO_PAYLOAD_TYPE
    bent = envelope(payload, other, staged.better.people["clinical"])
    data = b"".join(line + b"\n" for line in (bent.strip(), *lines[1:]))
    staged.world.clinical.add(approvals_target(digest), data, role="eligibility")
    staged.world.clinical.publish()
    staged.poll()
    staged.refused(Reason.ELIGIBILITY_APPROVALS)
    staged.ends_well()
