"""Every refusal between a draft and a device, and what is left after it: nothing published."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

COMPONENT = "pvc-classifier"


def records(workbench: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line) for line in (workbench / "records/log.jsonl").read_bytes().splitlines()
    ]


def second(story: Any, **how: Any) -> Path:
    """Release 1.1.0 built over a published 1.0.0; the path of its comparison report."""
    story.build("1.1.0", weights=(2.5, -1.0), previous="1.0.0", **how)
    report: Path = story.engineering / "releases" / COMPONENT / "1.1.0/comparison.json"
    return report


def test_a_release_that_fails_its_self_test_is_not_published(story: Any) -> None:
    story.build("1.0.0", weights=(2.0, -1.0), expected=(2.0, 1.0))
    story.sign("1.0.0")
    before = story.tree("engineering/web")
    answer = story.try_run("publish", story.engineering)
    assert answer.code == 1
    assert answer.err.startswith("selftest.failed")
    assert story.tree("engineering/web") == before


def test_an_override_publishes_and_is_never_forgotten(story: Any) -> None:
    story.build("1.0.0", weights=(2.0, -1.0), expected=(2.0, 1.0))
    story.sign("1.0.0")
    story.run("publish", story.engineering, "--unsafe-publish-failing-selftest")
    used = [item for item in records(story.engineering) if item["act"] == "unsafe.override"]
    assert [item["override"] for item in used] == ["unsafe-publish-failing-selftest"]
    assert used[0]["refused"] == "selftest.failed"
    assert "OVERRIDDEN GATES" in story.run("status", story.engineering).out
    assert story.run("status", story.engineering, "--json").json["unsafe"] == used


def test_an_override_of_one_gate_opens_no_other(published: Any) -> None:
    second(published)
    published.sign("1.1.0")
    answer = published.try_run(
        "publish", published.engineering, "--unsafe-publish-failing-selftest"
    )
    assert answer.code == 1
    assert answer.err.startswith("validation.not-met")


def test_a_changed_release_needs_a_comparison(published: Any) -> None:
    second(published)
    published.sign("1.1.0")
    answer = published.try_run("publish", published.engineering)
    assert answer.code == 1
    assert "no comparison" in answer.err
    published.run("publish", published.engineering, "--unsafe-publish-without-validation")
    used = [item for item in records(published.engineering) if item["act"] == "unsafe.override"]
    assert [item["override"] for item in used] == ["unsafe-publish-without-validation"]


def test_a_comparison_that_was_not_met_stops_publishing(
    published: Any, make_predictions: Any
) -> None:
    report = second(published)
    worse = make_predictions(published.folder / "worse.npz", flip_positives=60)
    assert published.compare("1.1.0", candidate=worse).code == 1
    assert report.exists(), "a failed report is a record"
    published.sign("1.1.0")
    answer = published.try_run("publish", published.engineering)
    assert answer.code == 1
    assert "sensitivity vs last in all" in answer.err


def test_a_later_comparison_replaces_no_earlier_report(
    published: Any, make_predictions: Any
) -> None:
    """Compared until it fits: the report that failed and the record of it stay."""
    report = second(published)
    worse = make_predictions(published.folder / "worse.npz", flip_positives=60)
    assert published.compare("1.1.0", candidate=worse).code == 1
    failed = report.read_bytes()
    assert published.compare("1.1.0").code == 0
    assert report.read_bytes() != failed
    kept = {path.read_bytes() for path in (report.parent / "comparisons").iterdir()}
    assert kept == {failed, report.read_bytes()}
    records = (published.engineering / "records/log.jsonl").read_text().splitlines()
    acts = [json.loads(line) for line in records if '"release.compared"' in line]
    assert [item["overall"] for item in acts] == ["not-met", "met"]


def test_a_comparison_about_other_bytes_does_not_count(published: Any, tmp_path: Path) -> None:
    """The report of one build must not carry another build of the same version."""
    report = second(published)
    assert published.compare("1.1.0").code == 0
    kept = shutil.copy(report, tmp_path)
    published.build("1.1.0", weights=(2.6, -1.0), previous="1.0.0")
    shutil.copy(kept, report)
    published.sign("1.1.0")
    answer = published.try_run("publish", published.engineering)
    assert answer.code == 1
    assert "about other releases" in answer.err


def test_publishing_again_with_nothing_new_is_no_mistake(story: Any) -> None:
    for workbench in (story.engineering, story.clinical):
        assert "Nothing to publish; none was" in story.run("publish", workbench).out
    story.build("1.0.0")
    story.sign("1.0.0")
    story.run("publish", story.engineering)
    story.make_eligible("1.0.0")
    before = story.tree("engineering/web", "clinical/web")
    told = story.run("publish", story.engineering).out
    assert told == f"Nothing to publish; newest published is {COMPONENT} 1.0.0.\n"
    named = ("--component", COMPONENT, "--version", "1.0.0")
    for more in ((), named, ("--dry-run",)):
        told = story.run("publish", story.clinical, *more).out
        assert told == f"Nothing to publish; newest published is {COMPONENT} 1.0.0 (eligible).\n"
    assert story.tree("engineering/web", "clinical/web") == before


def test_a_signed_release_is_taken_out_of_staging_again(published: Any) -> None:
    """A release that no gate lets pass must not stand in the way of all others for ever."""
    second(published)
    published.sign("1.1.0")
    assert published.try_run("publish", published.engineering).code == 1
    unsign = ("release", "unsign", published.engineering, COMPONENT)
    published.run(*unsign, "1.1.0", "--dry-run")
    assert published.try_run("publish", published.engineering).code == 1
    published.run(*unsign, "1.1.0")
    assert records(published.engineering)[-1]["act"] == "release.unsigned"
    assert "newest published is" in published.run("publish", published.engineering).out
    assert published.try_run(*unsign, "1.1.0").code == 2
    answer = published.try_run(*unsign, "1.0.0")
    assert answer.code == 1
    assert "is published" in answer.err


def test_unsigning_one_release_leaves_the_other_staged(story: Any) -> None:
    story.build("1.0.0")
    story.sign("1.0.0")
    story.build("1.1.0", weights=(2.5, -1.0), previous="1.0.0")
    story.sign("1.1.0")
    story.run("release", "unsign", story.engineering, COMPONENT, "1.1.0")
    story.run("publish", story.engineering)
    releases = story.run("status", story.engineering, "--json").json["releases"]
    assert [item["published"] for item in releases] == [True, False]


def test_a_draft_changed_after_it_was_signed_is_not_published(story: Any) -> None:
    story.build("1.0.0")
    story.sign("1.0.0")
    manifest = story.engineering / "releases" / COMPONENT / "1.0.0/manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"Version 1.0.0", b"Version 9.9.9"))
    answer = story.try_run("publish", story.engineering)
    assert answer.code == 1
    assert answer.err.startswith("artifact.digest")


def test_clinical_names_the_functions_that_are_missing(story: Any) -> None:
    story.build("1.0.0")
    story.sign("1.0.0")
    story.run("publish", story.engineering)
    assert story.prepare("1.0.0").code == 0
    story.approve("1.0.0", "a.berg")
    before = story.tree("clinical/web")
    answer = story.try_run("publish", story.clinical)
    assert answer.code == 1
    assert answer.err.startswith("eligibility.approvals")
    assert "quality 1" in answer.err
    assert "regulatory 1" in answer.err
    assert story.tree("clinical/web") == before
    listed = story.run("approve", "list", story.clinical, "--json").json["statements"][0]
    assert listed["missing"] == {"quality": 1, "regulatory": 1}


def test_a_rejection_stops_publishing_and_is_named(story: Any) -> None:
    story.build("1.0.0")
    story.sign("1.0.0")
    story.run("publish", story.engineering)
    story.prepare("1.0.0")
    story.approve("1.0.0", "a.berg", "q.lee")
    story.run(
        "approve", "sign", story.clinical, COMPONENT, "1.0.0", "--yes", "--decision", "reject",
        "--comment", "Label is wrong", "--as", story.folder / "people/r.novak",
    )  # fmt: skip
    answer = story.try_run("publish", story.clinical)
    assert answer.code == 1
    assert "Label is wrong" in answer.err


def test_a_rejected_draft_takes_no_more_signatures(story: Any) -> None:
    story.build("1.0.0")
    story.sign("1.0.0")
    story.run("publish", story.engineering)
    story.prepare("1.0.0")
    sign = ["approve", "sign", story.clinical, COMPONENT, "1.0.0", "--yes", "--as"]
    berg = story.folder / "people/a.berg"
    story.run(*sign, berg)
    assert "signed this statement already at" in story.run(*sign, berg).out
    reject = ("--decision", "reject")
    assert story.try_run(*sign, berg, *reject).code == 2
    told = story.run(*sign, berg, *reject, "--comment", "Label is wrong").out
    assert "REJECTED: Label is wrong" in told
    assert "Signed: rejected." in told
    answer = story.try_run(*sign, story.folder / "people/q.lee")
    assert answer.code == 1
    assert "Label is wrong" in answer.err
    assert f"approve prepare {story.clinical} {COMPONENT} 1.0.0" in answer.err
    assert story.try_run(*sign, berg).code == 1, "nor of the person who rejected it"
    story.prepare("1.0.0")
    story.run(*sign, berg)


def test_an_approval_of_an_older_draft_does_not_count(story: Any) -> None:
    """Approvals are bound to bytes: a new draft starts without any, even if they are copied."""
    story.build("1.0.0")
    story.sign("1.0.0")
    story.run("publish", story.engineering)
    story.prepare("1.0.0")
    story.approve("1.0.0", "a.berg", "q.lee", "r.novak")
    folder = story.clinical / "statements" / COMPONENT / "1.0.0/approvals"
    kept = shutil.copytree(folder, story.folder / "kept")
    story.prepare("1.0.0")
    assert list(folder.iterdir()) == []
    shutil.copytree(kept, folder, dirs_exist_ok=True)
    answer = story.try_run("publish", story.clinical)
    assert answer.code == 1
    assert answer.err.startswith("eligibility.approvals")


def test_a_stranger_cannot_approve(story: Any, tmp_path: Path) -> None:
    """A key that the policy does not list, in a folder that claims to be a listed person."""
    story.build("1.0.0")
    story.sign("1.0.0")
    story.run("publish", story.engineering)
    story.prepare("1.0.0")
    stranger = tmp_path / "stranger"
    story.run("device", "key", stranger)
    shutil.copy(story.folder / "people/a.berg/person.toml", stranger)
    (stranger / "provisioning.pem").rename(stranger / "key.pem")
    answer = story.try_run(
        "approve", "sign", story.clinical, COMPONENT, "1.0.0", "--as", stranger, "--yes"
    )
    assert answer.code == 1
    assert answer.err.startswith("eligibility.approvals")


def test_eligibility_needs_the_comparison_too(published: Any) -> None:
    second(published)
    published.sign("1.1.0")
    published.run("publish", published.engineering, "--unsafe-publish-without-validation")
    answer = published.prepare("1.1.0")
    assert answer.code == 1
    assert answer.err.startswith("validation.not-met")


def test_clinical_has_no_way_past_a_gate(published: Any) -> None:
    answer = published.try_run("publish", published.clinical, "--unsafe-publish-without-validation")
    assert answer.code == 2
    assert "No gate of clinical" in answer.err


def test_terms_for_another_intended_use_are_refused(story: Any) -> None:
    story.build("1.0.0")
    story.sign("1.0.0")
    story.run("publish", story.engineering)
    story.prepare("1.0.0")
    (story.folder / "intended-use.txt").write_text("Diagnose on its own.")
    answer = story.try_run(
        "approve", "prepare", story.clinical, COMPONENT, "1.0.0",
        "--terms", story.folder / "terms.toml",
    )  # fmt: skip
    assert answer.code == 1
    assert "intended use" in answer.err


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ('hardware = ["cardiowear-2"]', 'hardware = ["cardiowear-3"]', 1),
        ('jurisdictions = ["DE", "US"]', 'jurisdictions = ["EU*"]', 2),
        ('action = "fall-back"', 'action = "hope"', 2),
        ("valid_days = 365", "valid_days = 0", 2),
        ("[fail_safe]", "[failsafe]", 2),
    ],
)
def test_terms_that_do_not_fit_are_refused(story: Any, old: str, new: str, code: int) -> None:
    story.build("1.0.0")
    story.sign("1.0.0")
    story.run("publish", story.engineering)
    story.prepare("1.0.0")
    terms = story.folder / "terms.toml"
    text = terms.read_text()
    assert old in text
    terms.write_text(text.replace(old, new))
    answer = story.try_run(
        "approve", "prepare", story.clinical, COMPONENT, "1.0.0", "--terms", terms
    )
    assert answer.code == code, answer.err


def test_eligibility_begins_no_later_than_devices_can_prove(story: Any) -> None:
    """Proven time is the older of both authorities' issue times: "from now" would be "not yet"."""
    story.build("1.0.0")
    story.sign("1.0.0")
    story.run("publish", story.engineering)
    timestamp = json.loads((story.engineering / "web/metadata/timestamp.json").read_bytes())
    time.sleep(1.1)  # times are whole seconds; the two must differ
    story.prepare("1.0.0")
    path = story.clinical / "statements" / COMPONENT / "1.0.0/statement.json"
    validity = json.loads(path.read_bytes())["predicate"]["validity"]
    assert validity["notBefore"] == timestamp["signed"]["issuedAt"]


def test_what_engineering_has_not_published_cannot_be_prepared(story: Any) -> None:
    story.build("1.0.0")
    story.sign("1.0.0")
    answer = story.prepare("1.0.0")
    assert answer.code == 1
    assert answer.err.startswith("trust.not-found")


def test_a_replaced_engineering_root_is_refused_by_clinical(published: Any, tmp_path: Path) -> None:
    """Somebody puts a whole other repository where engineering's was."""
    other = tmp_path / "other"
    key = published.folder / "station-1/provisioning.public.json"
    key_2 = published.folder / "station-2/provisioning.public.json"
    published.run("init", other, "--authority", "engineering")
    published.run(
        "authority", "create", other, "--provisioning-key", key, "--provisioning-key", key_2
    )
    shutil.rmtree(published.engineering / "web")
    shutil.copytree(other / "web", published.engineering / "web")
    answer = published.prepare("1.0.0")
    assert answer.code == 1
    assert answer.err.startswith("trust.signature")


def test_a_replayed_engineering_repository_is_refused_by_clinical(published: Any) -> None:
    old = shutil.copytree(published.engineering / "web", published.folder / "old")
    published.run("authority", "refresh", published.engineering)
    assert published.prepare("1.0.0").code == 0
    shutil.rmtree(published.engineering / "web")
    old.rename(published.engineering / "web")
    answer = published.prepare("1.0.0")
    assert answer.code == 1
    assert answer.err.startswith("trust.rollback")


def test_one_function_cannot_take_away(published: Any) -> None:
    before = published.tree("clinical/web")
    people = ["--as", published.folder / "people/a.berg"]
    answer = published.try_run(
        "withdraw", published.clinical, "--component", COMPONENT, "--version", "1.0.0",
        "--reason", "x", "--hazard", "HAZ-1", "--yes", *people, *people,
    )  # fmt: skip
    assert answer.code == 1
    assert "2 different functions" in answer.err
    assert published.tree("clinical/web") == before


def test_one_function_can_hold_and_the_hold_ends(published: Any) -> None:
    answer = published.run(
        "hold", published.clinical, "--component", COMPONENT, "--version", "1.0.0",
        "--reason", "Complaint 118", "--hazard", "HAZ-1", "--yes", "--json",
        "--as", published.folder / "people/q.lee",
    )  # fmt: skip
    notice = answer.json["notice"]["predicate"]
    assert notice["kind"] == "hold"
    assert notice["expiresAt"] > notice["issuedAt"]
    index = published.run("status", published.clinical, "--json").json["index"]
    assert [item["status"] for item in index["entries"]] == ["eligible"]


def test_what_was_never_eligible_needs_no_notice(story: Any) -> None:
    answer = story.try_run(
        "withdraw", story.clinical, "--component", COMPONENT, "--version", "1.0.0",
        "--reason", "x", "--hazard", "HAZ-1", "--yes", "--as", story.folder / "people/a.berg",
    )  # fmt: skip
    assert answer.code == 2


def test_old_approvals_do_not_bring_a_withdrawn_release_back(published: Any) -> None:
    published.run(
        "withdraw", published.clinical, "--component", COMPONENT, "--version", "1.0.0",
        "--reason", "x", "--hazard", "HAZ-1", "--yes",
        "--as", published.folder / "people/a.berg", "--as", published.folder / "people/q.lee",
    )  # fmt: skip
    again = ["publish", published.clinical, "--component", COMPONENT, "--version", "1.0.0"]
    answer = published.try_run(*again)
    assert answer.code == 1
    assert answer.err.startswith("eligibility.withdrawn")


def test_a_rollout_beyond_what_clinical_signed_is_refused(published_to_half: Any) -> None:
    published = published_to_half
    step = ["rollout", published.engineering, "--component", COMPONENT, "--version", "1.0.0"]
    answer = published.try_run(*step, "--percentage", "51")
    assert answer.code == 1
    assert "at most 50 %" in answer.err
    published.run(*step, "--percentage", "50")


def test_a_growing_rollout_keeps_its_other_rings(published: Any) -> None:
    step = ["rollout", published.engineering, "--component", COMPONENT, "--version", "1.0.0"]
    first = published.run(
        *step, "--ring", "pilot", "--devices", "a,b", "--percentage", "50", "--json"
    )
    second_step = published.run(*step, "--percentage", "20", "--json")
    before, after = first.json["plan"], second_step.json["plan"]
    assert (before["number"], after["number"]) == (1, 2)
    assert [ring["name"] for ring in after["assignments"][0]["rings"]] == ["pilot", "everyone"]


def test_what_is_not_published_is_not_rolled_out(story: Any) -> None:
    story.build("1.0.0")
    story.sign("1.0.0")
    step = ["rollout", story.engineering, "--component", COMPONENT, "--version", "1.0.0"]
    assert story.try_run(*step).code == 2


def test_publishing_a_plan_does_not_publish_a_staged_release(published: Any) -> None:
    """A signed, ungated release must not slip out with something else."""
    second(published)
    published.sign("1.1.0")
    published.run(
        "rollout", published.engineering, "--component", COMPONENT, "--version", "1.0.0",
        "--percentage", "50",
    )  # fmt: skip
    published.run("authority", "refresh", published.engineering)
    releases = published.run("status", published.engineering, "--json").json["releases"]
    assert [(item["signed"], item["published"]) for item in releases] == [
        (True, True),
        (True, False),
    ]
    model = list((published.engineering / "web/targets/releases").rglob("*.json"))
    assert len(model) == 1


@pytest.mark.parametrize("stations", [["station-1"], ["station-1", "station-1"]])
def test_one_station_cannot_place_a_device(
    story: Any, enrolment: Path, stations: list[str]
) -> None:
    signers = [item for name in stations for item in ("--as", story.folder / name)]
    answer = story.try_run(
        "device", "provision", "--engineering", story.engineering, "--clinical", story.clinical,
        *signers, "--enrolment", enrolment, "--component", COMPONENT, "--jurisdiction", "DE",
        "--site", "site-a", "--care-setting", "home", "--udi", "1",
        "--engineering-url", "http://127.0.0.1/", "--clinical-url", "http://127.0.0.1/",
        "--broker", "mqtt://127.0.0.1:18830", "--output", story.folder / "provisioning",
    )  # fmt: skip
    assert answer.code == 1
    assert answer.err.startswith("eligibility.context-untrusted")
    assert not (story.folder / "provisioning").exists()
