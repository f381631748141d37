"""The committed models are what the committed code makes of the recordings, bit for bit."""

import os
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from primum_device_sim.demo.exact import RandomIntegers, in_steps, product, sigmoid
from primum_device_sim.demo.features import beat_inputs
from primum_device_sim.demo.graph import onnx_bytes
from primum_device_sim.demo.inference import run_model
from primum_device_sim.demo.models import (
    load_model,
    locked_predictions_bytes,
    read_locked_predictions,
)
from primum_device_sim.demo.recordings import Recording
from primum_device_sim.demo.series import (
    LOCKED_PATIENTS,
    SERIES,
    Aim,
    fixed_threshold,
    train_version,
    version_named,
)
from primum_device_sim.demo.train import make_series
from primum_device_sim.demo.training import Settings, beats_of, forward, normalised, train

DEMO = Path(beat_inputs.__code__.co_filename).parent
# onnxruntime computes in float32; other processors may differ in the last bits.
SCORE_TOLERANCE = 1e-5


def pretend_recording(seed: int) -> Recording:
    """Noise with two shapes of beat in it: enough to train on where there are no recordings."""
    random = np.random.default_rng(seed)
    ecg = random.integers(-20, 20, 60_000)
    r_peaks = np.arange(300, 59_000, 280) + random.integers(-20, 20, 210)
    is_pvc = np.arange(210) % 5 == 2
    for peak, pvc in zip(r_peaks, is_pvc, strict=True):
        width = 40 if pvc else 8
        ecg[peak - width : peak + width] += 300
    return Recording(
        patient=str(100 + seed), ecg_adu=ecg.astype(np.int16), r_peaks=r_peaks, is_pvc=is_pvc
    )


def test_products_are_exact_whatever_the_order_of_the_sum() -> None:
    random = RandomIntegers(7)
    left, right = random.uniform((5, 110)) * 10, random.uniform((110, 3))
    result = product(left, 10, right, 14)
    order = random.permutation(110)
    assert np.array_equal(result, product(left[:, order], 10, right[order], 14))
    by_hand = sum(
        Fraction(float(one)) * Fraction(float(other))
        for one, other in zip(in_steps(left, 10)[2], in_steps(right, 14)[:, 1], strict=True)
    )
    assert Fraction(float(result[2, 1])) == by_hand


def test_a_product_that_could_round_is_refused() -> None:
    with pytest.raises(RuntimeError, match="not exact"):
        product(np.full((1, 100), 1000.0), 20, np.full((100, 1), 1000.0), 20)


def test_the_sigmoid_is_the_sigmoid() -> None:
    logits = np.linspace(-30, 30, 1001)
    np.testing.assert_allclose(sigmoid(logits), 1 / (1 + np.exp(-logits)), rtol=1e-14)


SMALL_RUN = """
import hashlib
from test_demo_training import pretend_recording, train, Settings
recordings = {str(100 + seed): pretend_recording(seed) for seed in (1, 2)}
weights = train(recordings, Settings(patients=("101", "102"), units=6, seed=3, epochs=3))
digest = hashlib.sha256(weights.hidden.tobytes() + weights.output.tobytes())
print(digest.hexdigest())
"""


@pytest.mark.parametrize("kernel", ["Nehalem", "Sandybridge", "Haswell"])
def test_training_gives_the_same_bits_with_other_vector_units(kernel: str) -> None:
    """Another BLAS kernel sums in another order, and numpy without AVX takes other code."""
    digests = set()
    for machine in ({}, {"OPENBLAS_CORETYPE": kernel, "NPY_DISABLE_CPU_FEATURES": "X86_V3"}):
        environment = {**os.environ, **machine, "PYTHONPATH": str(Path(__file__).parent)}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", SMALL_RUN],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        digests.add(done.stdout)
    assert len(digests) == 1


def test_the_graph_computes_what_the_training_code_computes() -> None:
    recordings = {str(100 + seed): pretend_recording(seed) for seed in (1, 2)}
    weights = train(recordings, Settings(patients=("101",), units=6, seed=3, epochs=150))
    rows = beat_inputs(recordings["102"].ecg_mv, recordings["102"].r_peaks)
    expected = forward(weights, normalised(rows.ecg_mv, rows.rr_s))
    found = run_model(onnx_bytes(weights, version="0.0.1"), rows.ecg_mv, rows.rr_s)
    np.testing.assert_allclose(found[:, 0], expected, atol=SCORE_TOLERANCE)
    labels = beats_of(recordings["102"]).labels
    assert expected[labels == 1].min() > expected[labels == 0].max(), "it learned nothing"


def spoiled(index: int, value: float) -> tuple[np.ndarray, np.ndarray]:
    """A healthy row of 432 samples and three intervals with one number replaced."""
    row = np.concatenate([np.sin(np.arange(432) / 20), [0.8, 0.8, 0.8]]).astype(np.float32)
    row[index] = value
    return row[None, :432], row[None, 432:]


@pytest.mark.parametrize(
    ("index", "value"),
    [(0, np.nan), (216, np.nan), (431, np.inf), (432, np.nan), (434, np.nan), (434, np.inf),
     (9, 6.1), (9, -6.1), (432, 0.14), (433, 0.0), (434, -1.0)],
)  # fmt: skip
def test_the_graph_does_not_decide_on_an_impossible_number(index: int, value: float) -> None:
    recordings = {"101": pretend_recording(1)}
    weights = train(recordings, Settings(patients=("101",), units=2, seed=3, epochs=1))
    model = onnx_bytes(weights, version="0.0.1")
    assert np.isfinite(run_model(model, *spoiled(0, 0.0))).all()
    assert np.isnan(run_model(model, *spoiled(index, value))).all()


def test_no_patient_is_on_both_sides() -> None:
    for version in SERIES:
        assert not set(version.settings.patients) & set(LOCKED_PATIENTS)


def test_a_threshold_is_fixed_to_reach_its_target_and_no_more() -> None:
    scores = np.arange(1, 1001) / 1001
    labels = np.ones(1000)
    sensitive = fixed_threshold(scores, labels, aim=Aim.SENSITIVITY, target=0.95)
    assert 0.95 <= (scores >= sensitive).mean() < 0.953
    specific = fixed_threshold(scores, 1 - labels, aim=Aim.SPECIFICITY, target=0.98)
    assert 0.98 <= (scores < specific).mean() < 0.983


@pytest.mark.recordings
def test_locked_recordings_have_no_part_in_training(
    twelve_recordings: dict[str, Recording],
) -> None:
    """With the locked patients taken away, training and threshold are the same."""
    version = version_named("1.0.0")
    kept = {
        name: recording
        for name, recording in twelve_recordings.items()
        if name not in LOCKED_PATIENTS
    }
    trained = train_version(kept, version)
    assert onnx_bytes(trained.weights, version="1.0.0") == load_model("1.0.0").onnx
    assert trained.threshold == load_model("1.0.0").card.threshold


@pytest.mark.timeout(400)
def test_the_committed_series_is_made_again_bit_for_bit(recordings: Path) -> None:
    """Models and cards to the bit; answers on the locked patients to what processors differ by.

    One test, because the whole series is trained for it: half a minute on two cores.
    """
    made_again = make_series(recordings)
    committed = {
        f"{folder}/{path.name}": path.read_bytes()
        for folder in ("models", "validation")
        for path in (DEMO / folder).iterdir()
    }
    assert set(made_again) == set(committed)
    models = {name for name in committed if name.startswith("models/")}
    assert {name for name in models if made_again[name] != committed[name]} == set()
    for version in SERIES:
        again = read_locked_predictions(made_again[f"validation/locked-{version.version}.npz"])
        before = read_locked_predictions(locked_predictions_bytes(version.version))
        assert np.array_equal(again.patient, before.patient)
        assert np.array_equal(again.label, before.label)
        assert np.array_equal(again.cohort, before.cohort)
        np.testing.assert_allclose(again.score, before.score, atol=SCORE_TOLERANCE)


@pytest.fixture(autouse=True)
def no_stray_files() -> Iterator[None]:
    """Training writes nothing but where it was told to."""
    before = {path: path.stat().st_mtime_ns for path in (DEMO / "models").iterdir()}
    yield
    assert before == {path: path.stat().st_mtime_ns for path in (DEMO / "models").iterdir()}
