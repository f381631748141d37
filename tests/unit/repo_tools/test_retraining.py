"""A retraining is recorded with what it was made from; nobody is seen and tested."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

PLAN = """\
schema_version = "0.1"
inclusion = ["adults", "single-lead ECG"]
added = ["train-2"]
removed = ["train-1"]
seed = 7
hyper_parameters = "parameters.json"

[trigger]
kind = "drift"
reference = "TRIAGE-118"
text = "score drift with the new electrode"

[window]
begin = 2025-06-01T00:00:00Z
end = 2025-12-31T00:00:00Z

[[data_sets]]
name = "train-2"
role = "train"
manifest = "train.json"
patients = "train.txt"

[[data_sets]]
name = "tune-2"
role = "tune"
manifest = "train.json"
patients = "tune.txt"

[[data_sets]]
name = "locked-5"
role = "test"
manifest = "test.json"
patients = "locked.npz"

[labels]
method = "annotations of cardiologists"
readers = 2
adjudication = "a third where two differ"

[code]
repository = "training pipeline"
archive = "code.tar"
"""


def sources(story: Any) -> Path:
    """What the retraining left."""
    folder: Path = story.folder / "retraining"
    return folder


@pytest.fixture
def retrained(published: Any, make_predictions: Any) -> Any:
    """Release 1.1.0 with another model over a published 1.0.0, and what it was retrained from."""
    published.build("1.1.0", weights=(2.1, -1.0), previous="1.0.0")
    folder = sources(published)
    folder.mkdir()
    make_predictions(folder / "locked.npz")
    (folder / "retraining.toml").write_text(PLAN)
    (folder / "train.txt").write_text("t01\nt02\n\nt03\n")
    (folder / "tune.txt").write_text("u01\n")
    for name in ("parameters.json", "train.json", "test.json", "code.tar"):
        (folder / name).write_text(name)
    return published


def record(story: Any) -> Any:
    return story.try_run(
        "release", "retrained", story.engineering, "pvc-classifier", "1.1.0",
        sources(story) / "retraining.toml", "--json",
    )  # fmt: skip


def kept(story: Any) -> Path:
    path: Path = story.engineering / "releases/pvc-classifier/1.1.0/retraining.json"
    return path


def test_a_retraining_is_recorded_beside_its_draft(retrained: Any) -> None:
    answer = record(retrained)
    assert answer.code == 0, answer.err
    content = json.loads(kept(retrained).read_bytes())
    assert content["parent"]["version"] == "1.0.0"
    assert content["result"]["model"] != content["parent"]["model"]
    assert [(item["name"], item["patients"]) for item in content["dataSets"]] == [
        ("train-2", 3), ("tune-2", 1), ("locked-5", 8),
    ]  # fmt: skip
    assert "cases" in content["dataSets"][2]
    assert content["overlaps"] == [
        {"seen": "train-2", "tested": "locked-5", "patients": 0},
        {"seen": "tune-2", "tested": "locked-5", "patients": 0},
    ]
    assert "t01" not in kept(retrained).read_text(), "pseudonyms stay where they are"
    assert record(retrained).code == 0
    assert json.loads(kept(retrained).read_bytes()) == content


@pytest.mark.parametrize("name", ["train.txt", "tune.txt"])
def test_a_patient_who_was_seen_and_tested_is_named(retrained: Any, name: str) -> None:
    (sources(retrained) / name).write_text("t09\np03\np05\n")
    answer = record(retrained)
    assert answer.code == 1
    error = answer.json["error"]
    assert error["reason"] == "validation.retraining"
    assert error["found"].startswith("2 of locked-5 in t")
    assert error["found"].endswith("p03, p05")
    assert not kept(retrained).exists()


def test_a_record_without_a_tested_set_or_with_a_missing_file_is_a_usage_error(
    retrained: Any,
) -> None:
    path = sources(retrained) / "retraining.toml"
    path.write_text(PLAN.replace('role = "test"', 'role = "tune"'))
    assert record(retrained).code == 2
    path.write_text(PLAN)
    (sources(retrained) / "code.tar").unlink()
    assert record(retrained).code == 2
    assert not kept(retrained).exists()


def test_a_first_release_was_retrained_from_nothing(retrained: Any) -> None:
    answer = retrained.try_run(
        "release", "retrained", retrained.engineering, "pvc-classifier", "1.0.0",
        sources(retrained) / "retraining.toml",
    )  # fmt: skip
    assert answer.code == 2
    assert "retrained from" in answer.err


def publish(story: Any) -> Any:
    assert story.compare("1.1.0").code == 0
    story.sign("1.1.0")
    return story.try_run("publish", story.engineering, "--json")


def test_publishing_tells_whether_a_retraining_was_recorded(retrained: Any) -> None:
    missing = publish(retrained)
    assert missing.code == 0, missing.err
    assert '"retraining record": "missing"' in missing.out


def test_a_record_about_another_release_stops_publishing_and_approval(retrained: Any) -> None:
    """Somebody copies the record of another retraining beside this one."""
    assert record(retrained).code == 0
    content = json.loads(kept(retrained).read_bytes())
    content["result"]["release"]["sha256"] = "e" * 64
    kept(retrained).write_text(json.dumps(content))
    refused = publish(retrained)
    assert refused.code == 1
    assert refused.json["error"]["reason"] == "validation.retraining"
    assert record(retrained).code == 0
    answer = retrained.try_run("publish", retrained.engineering, "--json")
    assert '"retraining record": "recorded"' in answer.out
    other = retrained.folder / "other.json"
    other.write_text(json.dumps(content))
    comparison = retrained.engineering / "releases/pvc-classifier/1.1.0/comparison.json"
    for path, code in ((other, 1), (kept(retrained), 0)):
        prepared = retrained.prepare(
            "1.1.0", "--comparison", comparison, "--evidence", f"retraining.json={path}"
        )
        assert prepared.code == code, prepared.err


def test_an_empty_list_of_patients_is_no_data_set(retrained: Any) -> None:
    (sources(retrained) / "train.txt").write_text("\n")
    assert record(retrained).code == 2
