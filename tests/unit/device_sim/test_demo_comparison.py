"""The demo's retrainings before the gate: one is better, one gains overall and loses a cohort."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.made_once import made_once

from primum_device_sim.demo.models import load_model
from primum_device_sim.demo.release_folders import write_release_folders
from primum_repo_tools.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `primum-sim data releases` writes."""
    return made_once(tmp_path_factory, "releases", write_release_folders)


def compared(folder: Path, tmp_path: Path, candidate: str, last: str) -> tuple[int, Any]:
    output = tmp_path / "comparison.json"
    words: list[object] = ["--protocol", folder / "protocol-cohorts.toml", "--output", output]
    for arm, version in (("candidate", candidate), ("last", last), ("original", "1.0.0")):
        words += [f"--{arm}", folder / version / "locked.npz"]
        words += ["--threshold", f"{arm}={load_model(version).card.threshold}"]
    code = main(["compare", *map(str, words)])
    return code, json.loads(output.read_bytes())


@pytest.mark.parametrize(("candidate", "last"), [("1.1.0", "1.0.0"), ("1.2.0", "1.1.0")])
def test_a_better_retraining_is_met(
    folder: Path, tmp_path: Path, candidate: str, last: str
) -> None:
    code, report = compared(folder, tmp_path, candidate, last)
    assert (code, report["overall"]) == (0, "met")
    claims = [item for item in report["endpoints"] if item["role"] == "cohort-claim"]
    assert len(claims) == 8


def test_a_retraining_that_gains_overall_and_loses_a_cohort_is_refused_by_name(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trained on women alone: better in every overall figure, twice the false alarms in men."""
    code, report = compared(folder, tmp_path, "1.0.1", "1.0.0")
    assert (code, report["overall"]) == (1, "not-met")
    by_id = {item["id"]: item for item in report["endpoints"]}
    for metric in ("sensitivity", "specificity", "auc"):
        assert float(by_id[f"{metric} vs last in all"]["difference"]["estimate"]) > 0.005
    not_met = {item["id"] for item in report["endpoints"] if item["decision"] == "not-met"}
    assert not_met == {"specificity vs last in male", "specificity vs original in male"}
    assert "specificity vs last in male: not-met" in capsys.readouterr().err
    arms = report["analysis"]["arms"]
    assert arms["candidate"]["alerts"]["alerts"] < arms["last"]["alerts"]["alerts"]


def test_beats_that_the_model_declines_are_counted(folder: Path, tmp_path: Path) -> None:
    """Seven beats at the rails: rejected for quality by every version, and against each."""
    _, report = compared(folder, tmp_path, "1.1.0", "1.0.0")
    for arm in report["analysis"]["arms"].values():
        assert (arm["qualityRejected"], arm["indeterminate"]) == (7, 0)
        assert arm["rejectedByCohort"] == {"male": 7}
    assert report["accounting"]["cases"] == 11_002
