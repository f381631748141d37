"""Builds the self-test fixtures: known inputs with the answers that the intended model gives.

Forty-eight beats of the strip, half of them premature, each labelled with certainty, and sixteen
disturbed ones. A disturbed input's expected decision is what the intended model makes of it; for
most of them that is "no decision". The file is the same, byte for byte, however often it is built
on one machine; the reference outputs may differ in the last bits from one processor to another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from primum_device_sim.demo.features import beat_inputs
from primum_device_sim.demo.inference import run_model
from primum_device_sim.demo.models import load_model
from primum_device_sim.demo.strip import BeatLabel, Certainty, load_strip, load_strip_labels
from primum_repo_tools.fixture_file import fixture_bytes
from primum_repo_tools.given_cases import plain_bytes
from primum_verifier.proof.element_types import ElementType
from primum_verifier.proof.fixtures import FixtureArray, Fixtures

BEATS_PER_LABEL: Final = 24
# Past an electrode artefact the intervals span beats that nobody could see: no fixtures there.
LONGEST_RR_S: Final = 1.6
LONGEST_MEAN_RR_S: Final = 0.9
CONVERTER_LOW_MV: Final = -5.12
CONVERTER_HIGH_MV: Final = 5.115
ADU_PER_MV: Final = 200.0
PEAK_COLUMN: Final = 216
# The last fifth of a second is missing.
DROPOUT_COLUMN: Final = 360

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Case:
    """One row of the fixtures.

    Attributes:
        name: unique in the file.
        cohort: ``normal``, ``pvc`` or ``fault``.
        label: 1 premature, 0 not, -1 unlabelled.
        ecg_mv: float32 [432].
        rr_s: float32 [3].
    """

    name: str
    cohort: str
    label: int
    ecg_mv: Samples
    rr_s: Samples


def fixtures_of(version: str) -> bytes:
    """The fixtures of a committed version, with its own threshold and its intended model."""
    model = load_model(version)
    return build_fixtures(model.intended_onnx, threshold=model.card.threshold)


def build_fixtures(reference_model: bytes, *, threshold: float) -> bytes:
    """The fixtures as the bytes of an ``.npz``, written as ``primum-repo fixtures`` writes them.

    Args:
        reference_model: the ONNX bytes of the intended model; its answers are the reference.
        threshold: the signed operating threshold, for the expected decisions.
    """
    cases = all_cases()
    ecg_mv = np.stack([case.ecg_mv for case in cases])
    rr_s = np.stack([case.rr_s for case in cases])
    reference = run_model(reference_model, ecg_mv, rr_s)
    return fixture_bytes(
        Fixtures(
            cases=tuple(case.name for case in cases),
            cohorts=tuple(case.cohort for case in cases),
            labels=tuple(case.label for case in cases),
            expected_decisions=tuple(decisions(reference[:, 0], threshold).tolist()),
            references={"pvc_probability": _array("pvc_probability", reference)},
            inputs=(_array("ecg_mv", ecg_mv), _array("rr_s", rr_s)),
            baselines={},
        )
    )


def _array(name: str, rows: Samples) -> FixtureArray:
    dtype = ElementType.FLOAT32
    return FixtureArray(name, dtype, rows.shape, plain_bytes(rows, dtype))


def decisions(probability: Samples, threshold: float) -> NDArray[np.int8]:
    """1 at or above the threshold, 0 below, -1 (no decision) for NaN: int8 [n]."""
    limit = np.float32(threshold)
    return np.where(np.isnan(probability), -1, probability >= limit).astype(np.int8)


def all_cases() -> tuple[Case, ...]:
    """The beats of the strip in the order of time, then the disturbed ones."""
    beats = _strip_cases()
    return (*beats, *_fault_cases(beats))


def _strip_cases() -> tuple[Case, ...]:
    labelled = load_strip_labels()
    peaks = np.array([beat.sample for beat in labelled], dtype=np.int64)
    rows = beat_inputs(load_strip(), peaks)
    plausible = (rows.rr_s.max(axis=1) <= LONGEST_RR_S) & (rows.rr_s[:, 2] <= LONGEST_MEAN_RR_S)
    chosen: dict[int, Case] = {}
    for label, cohort, truth in ((BeatLabel.NORMAL, "normal", 0), (BeatLabel.PVC, "pvc", 1)):
        eligible = [
            row
            for row, beat in enumerate(rows.beat.tolist())
            if plausible[row]
            and labelled[beat].label is label
            and labelled[beat].certainty is Certainty.CERTAIN
        ]
        # Spread evenly over the strip, so that no stretch of it decides alone.
        for place in range(BEATS_PER_LABEL):
            row = eligible[place * (len(eligible) - 1) // (BEATS_PER_LABEL - 1)]
            chosen[row] = Case(
                name=f"strip208-beat-{int(rows.beat[row]):03d}",
                cohort=cohort,
                label=truth,
                ecg_mv=rows.ecg_mv[row],
                rr_s=rows.rr_s[row],
            )
    return tuple(chosen[row] for row in sorted(chosen))


def _fault_cases(beats: tuple[Case, ...]) -> tuple[Case, ...]:
    """What a loose electrode, a wrong unit or a broken detector makes of a beat."""
    pvc = next(case for case in beats if case.label == 1)
    normal = next(case for case in beats if case.label == 0)
    samples = np.arange(pvc.ecg_mv.size)
    signals = {
        "fault-nan": np.where(samples == PEAK_COLUMN, np.nan, pvc.ecg_mv),
        "fault-dropout": np.where(samples < DROPOUT_COLUMN, pvc.ecg_mv, np.nan),
        "fault-all-nan": np.full_like(pvc.ecg_mv, np.nan),
        "fault-infinite": np.where(samples == 0, np.inf, pvc.ecg_mv),
        "fault-lead-off": np.zeros_like(pvc.ecg_mv),
        "fault-constant": np.full_like(pvc.ecg_mv, 1.3),
        "fault-saturated": np.full_like(pvc.ecg_mv, CONVERTER_HIGH_MV),
        "fault-clipped": np.clip(pvc.ecg_mv * 40.0, CONVERTER_LOW_MV, CONVERTER_HIGH_MV),
        "fault-gain-counts": pvc.ecg_mv * ADU_PER_MV,
        "fault-gain-volts": pvc.ecg_mv / 1000.0,
        "fault-gain-double": pvc.ecg_mv * 2.0,
        "fault-offset": pvc.ecg_mv + 1.0,
    }
    intervals = {
        "fault-rr-zero": np.array([0.0, *pvc.rr_s[1:]]),
        "fault-rr-nan": np.array([np.nan, *pvc.rr_s[1:]]),
        "fault-rr-negative": np.array([*pvc.rr_s[:2], -0.6]),
    }
    disturbed = [(name, signal, pvc.rr_s) for name, signal in signals.items()]
    disturbed += [(name, pvc.ecg_mv, interval) for name, interval in intervals.items()]
    disturbed.append(("fault-gain-half", normal.ecg_mv * 0.5, normal.rr_s))
    return tuple(
        Case(
            name=name,
            cohort="fault",
            label=-1,
            ecg_mv=signal.astype(np.float32),
            rr_s=interval.astype(np.float32),
        )
        for name, signal, interval in disturbed
    )
