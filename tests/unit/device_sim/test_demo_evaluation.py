"""The figures of the report, against cases worked by hand."""

import numpy as np
import pytest

from primum_device_sim.demo.evaluation import Answers, evaluate, paired_difference, wilson

SCORES = np.array([0.9, 0.4, 0.6, 0.1, 0.8, 0.7, 0.2, 0.5], dtype=np.float32)
LABELS = np.array([1, 1, 0, 0, 1, 1, 0, 0], dtype=np.uint8)
PATIENTS = np.array(["a"] * 4 + ["b"] * 4)


def test_shares_and_area_by_hand() -> None:
    figures = evaluate(SCORES, LABELS, PATIENTS, threshold=0.5)
    assert figures.sensitivity.value == 0.75
    assert figures.specificity.value == 0.5
    assert figures.auc.value == 14 / 16
    assert figures.sensitivity.low is None, "two patients give no interval"


def test_ties_count_half() -> None:
    scores = np.array([0.5, 0.5, 0.5, 0.5], dtype=np.float32)
    figures = evaluate(scores, LABELS[:4], PATIENTS[:4], threshold=0.5)
    assert figures.auc.value == 0.5
    assert figures.sensitivity.value == 1.0


def test_the_interval_is_as_wide_as_the_patients_differ() -> None:
    """Four patients found wholly and one missed wholly: no number of beats makes that narrow."""
    patients = np.repeat(["a", "b", "c", "d", "e"], 200)
    labels = np.tile(np.repeat(np.array([1, 0], dtype=np.uint8), 100), 5)
    scores = np.where(labels == 1, 0.9, 0.1).astype(np.float32)
    scores[patients == "e"] = 0.1
    figures = evaluate(scores, labels, patients, threshold=0.5)
    assert figures.sensitivity.value == pytest.approx(0.8)
    assert figures.sensitivity.low == pytest.approx(0.4)
    assert figures.sensitivity.high == 1.0
    assert figures.specificity.low == 1.0


def test_a_difference_is_paired() -> None:
    """Both miss the same patient: the difference is none, with no doubt about it."""
    patients = np.repeat(["a", "b", "c"], 4)
    labels = np.tile(np.array([1, 1, 0, 0], dtype=np.uint8), 3)
    scores = np.where(labels == 1, 0.9, 0.1).astype(np.float32)
    scores[patients == "b"] = 0.1
    same = paired_difference(Answers(scores, 0.5), Answers(scores, 0.6), labels, patients)
    assert (same.sensitivity.low, same.sensitivity.value, same.sensitivity.high) == (0, 0, 0)


def test_no_decision_is_never_measured_in_silence() -> None:
    scores = SCORES.copy()
    scores[0] = np.nan
    with pytest.raises(RuntimeError, match="no decision"):
        evaluate(scores, LABELS, PATIENTS, threshold=0.5)


def test_wilson_against_published_values() -> None:
    """Newcombe 1998, Statistics in Medicine 17:857, table I, method 3: 81/263 and 15/148."""
    for hits, of, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)):
        measure = wilson(hits, of)
        assert measure.low == pytest.approx(low, abs=5e-5)
        assert measure.high == pytest.approx(high, abs=5e-5)
