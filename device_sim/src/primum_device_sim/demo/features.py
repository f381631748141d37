"""Turns a signal and its beats into what the model reads: raw millivolts and RR intervals.

One row a beat: 432 samples (1.2 s at 360 Hz) around the R peak as they were measured, and three
intervals in seconds. Nothing is normalised here: that happens inside the model's graph, so that a
device and the bench cannot do it differently.

A beat is known one beat late: its row needs the RR interval that follows it. Everything else lies
in the past, but for 0.6 s of signal after the peak.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

SAMPLING_RATE_HZ: Final = 360
WINDOW_SAMPLES: Final = 432
SAMPLES_BEFORE_PEAK: Final = 216
RR_NAMES: Final = ("preceding", "following", "mean of the last eight")
RR_COUNT: Final = len(RR_NAMES)
RR_MEAN_OVER: Final = 8


@dataclass(frozen=True)
class BeatInputs:
    """What the model reads, one row for each beat that has all of it.

    Attributes:
        beat: int64 [n], which beats of the list handed in these rows are.
        ecg_mv: float32 [n, 432], raw millivolts, the R peak at column 216.
        rr_s: float32 [n, 3], seconds: the RR interval that ends at the beat, the one that starts
            there, and the mean of the last eight that end at or before it.
    """

    beat: NDArray[np.int64]
    ecg_mv: NDArray[np.float32]
    rr_s: NDArray[np.float32]


def beat_inputs(
    ecg_mv: NDArray[np.float32],
    r_peaks: NDArray[np.int64],
    *,
    shift: NDArray[np.int64] | None = None,
) -> BeatInputs:
    """Cut windows and measure intervals.

    The first eight beats (no mean yet), the last beat (no following one) and beats too near an
    end of the signal have no row.

    Args:
        ecg_mv: float32 [samples], millivolts at 360 Hz.
        r_peaks: int64 [beats], ascending sample numbers.
        shift: int64 [beats], samples by which to move each window, as an unsteady beat detector
            would; intervals are not touched. Used in training only.
    """
    beats = np.arange(RR_MEAN_OVER, max(r_peaks.size - 1, RR_MEAN_OVER))
    moved = r_peaks if shift is None else r_peaks + shift
    start = moved[beats] - SAMPLES_BEFORE_PEAK
    whole = (start >= 0) & (start + WINDOW_SAMPLES <= ecg_mv.size)
    beats, start = beats[whole], start[whole]
    # Intervals stay whole numbers of samples until one division: the same bits on every machine.
    rr = np.diff(r_peaks)
    in_the_past = beats[:, None] - np.arange(RR_MEAN_OVER) - 1
    mean = rr[in_the_past].sum(axis=1) / (RR_MEAN_OVER * SAMPLING_RATE_HZ)
    intervals = np.stack(
        [rr[beats - 1] / SAMPLING_RATE_HZ, rr[beats] / SAMPLING_RATE_HZ, mean], axis=1
    )
    return BeatInputs(
        beat=beats,
        ecg_mv=ecg_mv[start[:, None] + np.arange(WINDOW_SAMPLES)].astype(np.float32),
        rr_s=intervals.astype(np.float32),
    )
