"""Building: the same inputs give the same bytes; what does not fit together is refused by name."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primum_repo_tools.release_plan import ReleasePlan
from primum_repo_tools.settings import parse_settings
from primum_verifier.core.errors import PrimumError

RELEASE = "releases/pvc-classifier"


def test_two_folders_two_times_two_users_give_the_same_bytes(story: Any, tmp_path: Path) -> None:
    """Built again elsewhere, later, under another name, in another zone and locale: one digest."""
    first = story.build("1.0.0").json["sha256"]
    other = tmp_path / "elsewhere"
    shutil.copytree(story.engineering, other, ignore=shutil.ignore_patterns("releases"))
    plan = story.plan("1.0.0", folder=tmp_path / "another source")
    for path in plan.parent.iterdir():
        os.utime(path, (1, 1))
    command = [sys.executable, "-m", "primum_repo_tools.cli", "release", "build", other, plan]
    environment = {**os.environ, "TZ": "Asia/Tokyo", "USER": "other", "LANG": "C", "HOME": "/"}
    subprocess.run(command, check=True, env=environment, capture_output=True)
    names = ["manifest.json", "files/model.onnx", "files/fixtures.npz", "files/self-test.json"]
    for name in names:
        ours = (story.engineering / RELEASE / "1.0.0" / name).read_bytes()
        theirs = (other / RELEASE / "1.0.0" / name).read_bytes()
        assert ours == theirs, name
    assert story.build("1.0.0").json["sha256"] == first


def test_a_rebuild_keeps_what_was_shown_about_the_same_bytes(story: Any) -> None:
    story.build("1.0.0")
    story.run("release", "check", story.engineering, "pvc-classifier", "1.0.0")
    report = story.engineering / RELEASE / "1.0.0/self-test.json"
    assert report.exists()
    story.build("1.0.0")
    assert report.exists()
    story.build("1.0.0", weights=(3.0, 1.0))
    assert not report.exists(), "evidence about other bytes must not survive"


def test_a_signed_version_is_never_reused(story: Any) -> None:
    story.build("1.0.0")
    story.sign("1.0.0")
    before = story.tree("engineering/releases")
    answer = story.try_run(
        "release", "build", story.engineering, story.plan("1.0.0", weights=(9.0, 1.0))
    )
    assert answer.code == 1
    assert "signed already" in answer.err
    assert story.tree("engineering/releases") == before


def test_a_release_that_fails_its_self_test_is_found_before_it_is_signed(story: Any) -> None:
    story.build("1.0.0", weights=(2.0, -1.0), expected=(2.0, 1.0))
    answer = story.try_run("release", "check", story.engineering, "pvc-classifier", "1.0.0")
    assert answer.code == 1
    assert answer.err.startswith("selftest.failed")
    assert "case-" in answer.err


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("release_counter", "releaseCount", "release_counter|releaseCounter"),
        ('version = "1.0.0"', 'version = "1.0"', "version"),
        ('component = "pvc-classifier"', 'component = "../evil"', "component"),
        ('model = "model.onnx"', 'model = "missing.onnx"', "missing.onnx"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00", "createdAt|created_at"),
        ('max_stage = "production"', 'max_stage = "anything"', "maxStage|max_stage"),
        ("[self_test]", "[self_tset]", "self"),
        ('level = "functional"', 'level = "wishful"', "tests"),
        ("schema_version", "= broken", "TOML"),
    ],
)
def test_a_wrong_plan_is_a_usage_error(story: Any, old: str, new: str, told: str) -> None:
    plan = story.plan("1.0.0")
    text = plan.read_text()
    assert old in text
    plan.write_text(text.replace(old, new, 1))
    answer = story.try_run("release", "build", story.engineering, plan)
    assert answer.code == 2, answer.err
    assert re.search(told, answer.err)
    assert not (story.engineering / RELEASE).exists()


def test_other_fixtures_than_the_specification_names_are_refused(story: Any) -> None:
    plan = story.plan("1.0.0")
    story.run("release", "build", story.engineering, plan)
    spec = story.engineering / RELEASE / "1.0.0/files/self-test.json"
    shutil.copy(spec, plan.parent / "spec.json")
    text = plan.read_text()
    head, _, _ = text.partition("[self_test]")
    plan.write_text(head + 'self_test = "spec.json"\n')
    story.run("release", "build", story.engineering, plan)
    data = (plan.parent / "fixtures.npz").read_bytes()
    story.plan("1.0.0", expected=(5.0, 5.0))
    plan.write_text(head + 'self_test = "spec.json"\n')
    assert (plan.parent / "fixtures.npz").read_bytes() != data
    answer = story.try_run("release", "build", story.engineering, plan)
    assert answer.code == 2
    assert "other fixtures" in answer.err


def test_counters_rise(story: Any) -> None:
    story.build("1.0.0")
    plan = story.plan("1.1.0", previous="1.0.0")
    plan.write_text(re.sub("release_counter = .*", "release_counter = 1", plan.read_text()))
    answer = story.try_run("release", "build", story.engineering, plan)
    assert answer.code == 2
    assert "does not rise" in answer.err


def test_a_file_changed_after_the_build_is_not_signed(story: Any) -> None:
    story.build("1.0.0")
    model = story.engineering / RELEASE / "1.0.0/files/model.onnx"
    model.write_bytes(model.read_bytes() + b"\0")
    answer = story.try_run("release", "sign", story.engineering, "pvc-classifier", "1.0.0")
    assert answer.code == 1
    assert answer.err.startswith("artifact.digest")


@given(st.binary(max_size=300))
def test_any_bytes_as_a_plan_are_refused_clearly(data: bytes) -> None:
    with pytest.raises(PrimumError):
        parse_settings(ReleasePlan, data, where="release.toml")


def test_a_release_for_hardware_without_limits_is_not_built(story: Any) -> None:
    """Danger: devices of the second kind get a release that none of them could ever pass."""
    plan = story.plan("1.0.0")
    speed = """
[[self_test.tests]]
id = "speed"
level = "performance"
quality_criterion = "latency"
risk_control_ref = "RC-2"
mandatory = true
on_failure = "refuse"
warm_up = 1
repetitions = 1
rounds = 3
limits = { cardiowear-2 = { p95_ms = 2000 } }
"""
    plan.write_text(plan.read_text() + speed)
    story.run("release", "build", story.engineering, plan)
    story.run("release", "check", story.engineering, "pvc-classifier", "1.0.0")
    hardware = 'hardware = ["cardiowear-2"]'
    assert hardware in plan.read_text()
    plan.write_text(plan.read_text().replace(hardware, 'hardware = ["cardiowear-2", "patch-1"]'))
    answer = story.try_run("release", "build", story.engineering, plan)
    assert answer.code == 2
    assert "no limits for hardware that the release is for" in answer.err
    assert "patch-1" in answer.err
