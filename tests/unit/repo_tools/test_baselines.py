"""Nobody gets past the comparison by leaving out what the release must be compared with."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from primum_repo_tools import building, eligibility, engineering

COMPONENT = "pvc-classifier"
REASON = "validation.not-met"


def unchecked(monkeypatch: pytest.MonkeyPatch, *places: Any) -> None:
    """Let an earlier gate sleep, so that a later one is seen to refuse by itself."""
    for place in places:
        monkeypatch.setattr(place, "check_baselines", lambda *_args, **_more: None)


def make_eligible(story: Any, version: str) -> None:
    report = story.engineering / "releases" / COMPONENT / version / "comparison.json"
    story.make_eligible(version, "--comparison", report)


def publish(story: Any, version: str, *, previous: str | None, **how: Any) -> None:
    """A release that is built, compared, signed and published by engineering."""
    story.build(version, previous=previous, **how)
    if previous is not None:
        assert story.compare(version).code == 0
    story.sign(version)
    story.run("publish", story.engineering)


def test_a_changed_release_without_baselines_is_not_built(published: Any) -> None:
    plan = published.plan("1.1.0")
    answer = published.try_run("release", "build", published.engineering, plan, "--json")
    assert answer.code == 1
    error = answer.json["error"]
    assert error["reason"] == REASON
    assert error["found"] == "previous: none"
    assert error["expected"].startswith("previous: 1.0.0, sha256 ")
    assert 'previous = "1.0.0" and original = "1.0.0"' in error["remedy"]
    assert not (published.engineering / "releases" / COMPONENT / "1.1.0").exists()


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
def test_a_changed_release_without_baselines_is_not_signed(
    published: Any, monkeypatch: pytest.MonkeyPatch, dry_run: list[str]
) -> None:
    with monkeypatch.context() as patch:
        unchecked(patch, building)
        published.build("1.1.0")
    answer = published.try_run(
        "release", "sign", published.engineering, COMPONENT, "1.1.0", *dry_run
    )
    assert answer.code == 1
    assert answer.err.startswith(REASON)
    assert "previous: none" in answer.err


def test_a_changed_release_without_baselines_is_not_published(
    published: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        unchecked(patch, building, engineering)
        published.build("1.1.0")
        published.sign("1.1.0")
    before = published.tree("engineering/web")
    answer = published.try_run("publish", published.engineering)
    assert answer.code == 1
    assert answer.err.startswith(REASON)
    assert published.tree("engineering/web") == before
    published.run("publish", published.engineering, "--unsafe-publish-without-validation")
    unsafe = published.run("status", published.engineering, "--json").json["unsafe"]
    assert [item["found"] for item in unsafe] == ["previous: none"]


def test_two_releases_published_together_are_compared_as_well(story: Any) -> None:
    """Signed before there was anything to compare with; then both go out in one step."""
    for version in ("1.1.0", "1.0.0"):
        story.build(version)
        story.sign(version)
    answer = story.try_run("publish", story.engineering)
    assert answer.code == 1
    assert "pvc-classifier 1.1.0" in answer.err
    assert "previous: 1.0.0" in answer.err


def test_clinical_does_not_draft_what_is_not_compared_with_what_patients_got(
    published: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Engineering may be careless or worse: clinical asks for itself."""
    with monkeypatch.context() as patch:
        unchecked(patch, building, engineering)
        published.build("1.1.0")
        published.sign("1.1.0")
        published.run("publish", published.engineering, "--unsafe-publish-without-validation")
    answer = published.prepare("1.1.0", "--dry-run")
    assert answer.code == 1
    assert answer.err.startswith(REASON)
    assert "previous: none" in answer.err
    assert "Ask engineering" in answer.err
    with monkeypatch.context() as patch:
        patch.setattr(eligibility, "require_place", lambda *_args, **_more: None)
        assert published.prepare("1.1.0").code == 0
    published.approve("1.1.0", "a.berg", "q.lee", "r.novak")
    before = published.tree("clinical/web")
    answer = published.try_run("publish", published.clinical)
    assert answer.code == 1
    assert answer.err.startswith(REASON)
    assert published.tree("clinical/web") == before


def test_clinical_lists_no_two_at_once_that_were_not_compared(
    story: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        unchecked(patch, building, engineering)
        for version in ("1.0.0", "1.1.0"):
            story.build(version)
            story.sign(version)
    story.run("publish", story.engineering, "--unsafe-publish-without-validation")
    for version in ("1.0.0", "1.1.0"):
        assert story.prepare(version).code == 0
        story.approve(version, "a.berg", "q.lee", "r.novak")
    answer = story.try_run("publish", story.clinical)
    assert answer.code == 1
    assert "previous: 1.0.0" in answer.err


def test_the_baseline_is_what_patients_got_and_not_what_engineering_only_published(
    published: Any,
) -> None:
    """1.2.0 was published and never eligible: 1.3.0 is compared with 1.1.0, not with 1.2.0."""
    publish(published, "1.1.0", previous="1.0.0", weights=(2.1, -1.0))
    make_eligible(published, "1.1.0")
    publish(published, "1.2.0", previous="1.1.0", weights=(2.2, -1.0))
    plan = published.plan("1.3.0", previous="1.2.0", weights=(2.3, -1.0))
    answer = published.try_run("release", "build", published.engineering, plan)
    assert answer.code == 1
    assert "expected: previous: 1.1.0" in answer.err
    plan = published.plan("1.3.0", previous="1.1.0", original="1.1.0", weights=(2.3, -1.0))
    answer = published.try_run("release", "build", published.engineering, plan)
    assert answer.code == 1
    assert "original: 1.0.0" in answer.err
    publish(published, "1.3.0", previous="1.1.0", weights=(2.3, -1.0))
    make_eligible(published, "1.3.0")


def test_before_clinical_lists_anything_the_newest_published_counts(story: Any) -> None:
    publish(story, "1.0.0", previous=None)
    publish(story, "1.1.0", previous="1.0.0", weights=(2.1, -1.0))
    plan = story.plan("1.2.0", previous="1.0.0", weights=(2.2, -1.0))
    answer = story.try_run("release", "build", story.engineering, plan)
    assert answer.code == 1
    assert "previous: 1.1.0" in answer.err


def test_what_was_withdrawn_is_no_baseline_while_another_is_eligible(published: Any) -> None:
    publish(published, "1.1.0", previous="1.0.0", weights=(2.1, -1.0))
    make_eligible(published, "1.1.0")
    published.run(
        "withdraw", published.clinical, "--component", COMPONENT, "--version", "1.1.0",
        "--reason", "x", "--hazard", "HAZ-1", "--yes",
        "--as", published.folder / "people/a.berg", "--as", published.folder / "people/q.lee",
    )  # fmt: skip
    publish(published, "1.2.0", previous="1.0.0", weights=(2.2, -1.0))
    make_eligible(published, "1.2.0")


def test_a_clinical_web_root_that_vanished_is_no_way_past_either(published: Any) -> None:
    """Known once, never ignored: otherwise unplugging clinical would change the baseline."""
    publish(published, "1.1.0", previous="1.0.0", weights=(2.1, -1.0))
    shutil.move(published.clinical / "web", published.folder / "away")
    answer = published.try_run(
        "release", "build", published.engineering, published.plan("1.2.0", previous="1.1.0")
    )
    assert answer.code == 2
    assert "web root is not there" in answer.err


def test_a_counter_below_one_that_is_published_is_refused(published: Any) -> None:
    """It would have nothing before it, and so nothing to be compared with."""
    answer = published.try_run(
        "release", "build", published.engineering, published.plan("1.1.0", counter=5)
    )
    assert answer.code == 1
    assert answer.err.startswith(REASON)
    assert "above 10000, the counter of 1.0.0" in answer.err


def without_counter(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    for place in (building, engineering):
        monkeypatch.setattr(place, "check_counter", lambda *_args, **_more: None)
    return monkeypatch.undo


@pytest.mark.parametrize("from_step", ["sign", "publish"])
def test_a_low_counter_is_refused_at_every_later_step(
    published: Any, monkeypatch: pytest.MonkeyPatch, from_step: str
) -> None:
    with monkeypatch.context() as patch:
        without_counter(patch)
        published.build("1.1.0", counter=5)
        if from_step == "publish":
            published.sign("1.1.0")
    words = {
        "sign": ["release", "sign", published.engineering, COMPONENT, "1.1.0"],
        "publish": ["publish", published.engineering, "--unsafe-publish-without-validation"],
    }[from_step]
    answer = published.try_run(*words)
    assert answer.code == 1
    assert "above 10000" in answer.err


def test_clinical_refuses_a_counter_below_a_listed_one(
    published: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from primum_repo_tools import evidence

    with monkeypatch.context() as patch:
        without_counter(patch)
        patch.setattr(evidence, "check_counter", lambda *_args, **_more: None)
        published.build("1.1.0", counter=5)
        published.sign("1.1.0")
        published.run("publish", published.engineering)
    answer = published.prepare("1.1.0")
    assert answer.code == 1
    assert answer.err.startswith(REASON)
    assert "above 10000" in answer.err


def test_what_is_published_is_built_again_and_approved_again(published: Any) -> None:
    """A first release stays a first release when others have come after it."""
    publish(published, "1.1.0", previous="1.0.0", weights=(2.1, -1.0))
    make_eligible(published, "1.1.0")
    published.build("1.0.0")
    published.make_eligible("1.0.0")


def test_a_dry_run_of_clinical_asks_every_gate(published: Any) -> None:
    publish(published, "1.1.0", previous="1.0.0", weights=(2.1, -1.0))
    report = published.engineering / "releases" / COMPONENT / "1.1.0/comparison.json"
    assert published.prepare("1.1.0", "--comparison", report).code == 0
    published.approve("1.1.0", "a.berg")
    before = published.tree("clinical/web", "clinical/staging")
    answer = published.try_run("publish", published.clinical, "--dry-run")
    assert answer.code == 1
    assert answer.err.startswith("eligibility.approvals")
    assert "quality 1" in answer.err
    published.approve("1.1.0", "q.lee", "r.novak")
    answer = published.run("publish", published.clinical, "--dry-run")
    assert "all gates passed" in answer.out
    assert published.tree("clinical/web", "clinical/staging") == before


def test_a_key_of_both_authorities_stops_clinical(story: Any) -> None:
    """One theft would count twice: what devices refuse is not listed."""
    shutil.rmtree(story.clinical)
    story.run(
        "init", story.clinical, "--authority", "clinical", "--peer", story.engineering / "web"
    )
    for end in ("pem", "public.json"):
        shutil.copy(
            story.engineering / f"keys/rollout-1.{end}", story.clinical / f"keys/safety-1.{end}"
        )
    keys = [story.folder / f"station-{i}/provisioning.public.json" for i in (1, 2)]
    options = [item for key in keys for item in ("--provisioning-key", key)]
    story.run("authority", "create", story.clinical, *options)
    for person, function in (
        ("a.berg", "clinical"), ("q.lee", "quality"), ("r.novak", "regulatory"),
    ):  # fmt: skip
        story.run(
            "person", "add", story.clinical, "--id", person, "--name", f"Dr {person}",
            "--function", function, "--output", story.folder / "people" / person,
        )  # fmt: skip
    publish(story, "1.0.0", previous=None)
    assert story.prepare("1.0.0").code == 0
    story.approve("1.0.0", "a.berg", "q.lee", "r.novak")
    answer = story.try_run("publish", story.clinical)
    assert answer.code == 1, answer.out
    assert "authorities-disjoint" in answer.err or "share" in answer.err


@pytest.mark.parametrize(
    ("decision", "mode", "fits"),
    [
        ("eligible", "shadow", "clinical"),
        ("eligible-with-conditions", "investigational", "clinical"),
        ("investigational", "clinical", "investigational"),
        ("shadow-only", "clinical", "shadow"),
    ],
)
def test_terms_whose_decision_and_mode_contradict_are_a_usage_error(
    story: Any, decision: str, mode: str, fits: str
) -> None:
    publish(story, "1.0.0", previous=None)
    story.prepare("1.0.0")
    terms: Path = story.folder / "terms.toml"
    text = re.sub(r"\ndecision = .*\nmode = .*\n", "\n", terms.read_text())
    terms.write_text(
        text.replace(
            "[intended_use]", f'decision = "{decision}"\nmode = "{mode}"\n[intended_use]', 1
        )
    )
    answer = story.try_run(
        "approve", "prepare", story.clinical, COMPONENT, "1.0.0", "--terms", terms, "--json"
    )
    assert answer.code == 2, answer.err
    found = json.dumps(answer.json["error"])
    assert f"decision {decision} goes with mode {fits}" in found
