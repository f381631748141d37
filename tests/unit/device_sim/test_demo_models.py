"""The committed series: files that fit their cards, and inputs on which a model must not decide."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from primum_device_sim.demo import models
from primum_device_sim.demo.evaluation import Answers, evaluate, paired_difference
from primum_device_sim.demo.features import beat_inputs
from primum_device_sim.demo.graph import ECG_INPUT, OPSET, OUTPUT, RR_INPUT
from primum_device_sim.demo.inference import run_model
from primum_device_sim.demo.model_report import report_text
from primum_device_sim.demo.models import (
    card_from_json,
    load_model,
    locked_predictions_bytes,
    read_locked_predictions,
)
from primum_device_sim.demo.series import LOCKED_PATIENTS, SERIES
from primum_device_sim.demo.strip import load_strip, load_strip_labels
from primum_verifier.core.errors import FailedError

VERSIONS = [version.version for version in SERIES]
REPOSITORY = Path(__file__).parents[3]


def strip_rows() -> tuple[np.ndarray, np.ndarray]:
    rows = beat_inputs(load_strip(), np.array([beat.sample for beat in load_strip_labels()]))
    return rows.ecg_mv[:40], rows.rr_s[:40]


def answers_of(version: str) -> tuple[Answers, np.ndarray, np.ndarray]:
    locked = read_locked_predictions(locked_predictions_bytes(version))
    threshold = load_model(version).card.threshold
    return Answers(locked.score, threshold), locked.label, locked.patient


@pytest.mark.parametrize("version", VERSIONS)
def test_a_model_fits_its_card(version: str) -> None:
    model = load_model(version)
    assert hashlib.sha256(model.onnx).hexdigest() == model.card.model_sha256
    assert len(model.onnx) == model.card.model_bytes < 16_000
    assert card_from_json(model.card.to_json()) == model.card
    parsed = onnx.load_from_string(model.onnx)
    onnx.checker.check_model(parsed, full_check=True)
    assert [(opset.domain, opset.version) for opset in parsed.opset_import] == [("", OPSET)]
    assert 8 <= parsed.ir_version <= 10


@pytest.mark.parametrize("version", VERSIONS)
def test_one_row_and_many_rows_get_the_same_answers(version: str) -> None:
    """A declared dynamic batch that fails at two is a trap seen in released models."""
    ecg_mv, rr_s = strip_rows()
    model = load_model(version).onnx
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    together = session.run([OUTPUT], {ECG_INPUT: ecg_mv, RR_INPUT: rr_s})[0]
    assert together.shape == (40, 1)
    np.testing.assert_allclose(together, run_model(model, ecg_mv, rr_s), atol=1e-6)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sample_or_interval_that_is_no_number_gives_no_decision(
    version: str, value: float
) -> None:
    ecg_mv, rr_s = (rows[:1].repeat(435, axis=0) for rows in strip_rows())
    everything = np.concatenate([ecg_mv, rr_s], axis=1)
    np.fill_diagonal(everything, value)
    ecg_mv, rr_s = everything[:, :432].copy(), everything[:, 432:].copy()
    assert np.isnan(run_model(load_model(version).onnx, ecg_mv, rr_s)).all()


def test_only_the_broken_release_differs_from_what_was_intended() -> None:
    ecg_mv, rr_s = strip_rows()
    for version in VERSIONS:
        model = load_model(version)
        broken = version == "1.3.0"
        assert (model.onnx != model.intended_onnx) == broken
    model = load_model("1.3.0")
    far = np.abs(run_model(model.onnx, ecg_mv, rr_s) - run_model(model.intended_onnx, ecg_mv, rr_s))
    assert far.max() > 0.1


@pytest.mark.parametrize("version", VERSIONS)
def test_locked_predictions_hold_each_patient_with_both_kinds_of_beat(version: str) -> None:
    locked = read_locked_predictions(locked_predictions_bytes(version))
    assert set(locked.patient) == set(LOCKED_PATIENTS)
    assert set(locked.cohort) == {"female", "male"}
    assert locked.score.dtype == np.dtype(np.float32)
    assert locked.label.dtype == np.dtype(np.uint8)
    assert np.isfinite(locked.score).all()
    no_decision = sum(load_model(version).card.no_decision.values())
    assert locked.score.size + no_decision == 11_002


def test_the_series_trades_off_as_the_story_says() -> None:
    """1.1.0 is better in everything; 1.1.1 gains AUC and loses sensitivity; 1.3.0 is broken."""
    first, label, patient = answers_of("1.0.0")
    better, _, _ = answers_of("1.1.0")
    sibling, _, _ = answers_of("1.1.1")
    gain = paired_difference(better, first, label, patient)
    assert gain.sensitivity.value > 0.02
    assert gain.specificity.value > 0.02
    assert gain.auc.value > 0.005
    assert gain.sensitivity.low is not None
    assert gain.specificity.low is not None
    assert min(gain.sensitivity.low, gain.specificity.low) > -0.02
    trade = paired_difference(sibling, better, label, patient)
    assert trade.auc.value > 0
    assert trade.sensitivity.high is not None
    assert trade.sensitivity.value < -0.05
    assert trade.sensitivity.high < 0
    broken, _, _ = answers_of("1.3.0")
    figures = evaluate(broken.scores, label, patient, threshold=broken.threshold)
    assert figures.sensitivity.value < 0.5


def test_the_report_is_the_one_that_the_code_writes() -> None:
    assert (REPOSITORY / "docs" / "demo-model.md").read_text("utf-8") == report_text()


def test_an_unknown_version_is_a_failure_with_a_remedy() -> None:
    with pytest.raises(FailedError) as failed:
        load_model("9.9.9")
    assert failed.value.remedy


@pytest.mark.parametrize("name", ["1.3.0.onnx", "1.3.0-intended.onnx", "1.3.0.json"])
def test_a_damaged_file_of_a_release_is_noticed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed = Path(models.__file__).parent / "models"
    shutil.copytree(committed, tmp_path / "models")
    monkeypatch.setattr(models, "_data", tmp_path.joinpath)
    load_model("1.3.0")
    content = (tmp_path / "models" / name).read_bytes()
    (tmp_path / "models" / name).write_bytes(content[: len(content) - 40])
    with pytest.raises(FailedError, match="damaged"):
        load_model("1.3.0")


def run_train(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "PRIMUM_DATA"}
    return subprocess.run(
        [sys.executable, "-m", "primum_device_sim.demo.train", *arguments],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_training_without_recordings_says_where_to_get_them(tmp_path: Path) -> None:
    for arguments in ((), ("--data", str(tmp_path))):
        done = run_train(*arguments, "--out", str(tmp_path / "out"))
        assert done.returncode == 2
        assert "primum-sim data fetch" in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "out").exists()


def test_the_report_needs_no_recordings(tmp_path: Path) -> None:
    done = run_train("--report", str(tmp_path / "page.md"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "page.md").read_text("utf-8") == report_text()
    (tmp_path / "file").write_text("")
    done = run_train("--report", str(tmp_path / "file" / "page.md"))
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
