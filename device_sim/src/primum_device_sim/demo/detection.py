"""Finds the beats of a signal that nobody has annotated: what the demo device does with its sensor.

A plain slope detector in the manner of Pan and Tompkins (1985): slope over 22 ms, averaged over
0.12 s, against an adaptive threshold, with a refractory time and a check against T waves. The
detector that comes with ``sleepecg`` is not used: it passes over about twenty wide beats of the
strip, and a missed premature beat is just what this device must not do.

It looks ahead by less than half a second, but for the first ten seconds, from which it learns the
size of a beat. Against the annotations of the twelve recordings (25,311 beats) it misses 53 beats,
4 of them premature, and finds 126 too many; its peaks lie within about 20 samples of the annotated
ones, which is why training moves its windows.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from primum_device_sim.demo.features import SAMPLING_RATE_HZ
from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason

# All in samples at 360 Hz.
_BASELINE: Final = 217
_SMOOTHING: Final = 7
_SLOPE_REACH: Final = 4
_ENERGY: Final = 43
_REFRACTORY: Final = 86
_PEAK_REACH: Final = 36
_SHORTEST_INTERVAL: Final = 60
_T_WAVE_UNTIL: Final = 150
_LEARNING: Final = 10 * SAMPLING_RATE_HZ
# Shares of a typical beat's energy, and of the beat before.
_THRESHOLD: Final = 0.35
_T_WAVE_SHARE: Final = 0.6
_REMEMBERED_BEATS: Final = 8
# Millivolts in 22 ms, averaged over 0.12 s: less is no heart, however quiet the rest is.
_QUIETEST_BEAT_MV: Final = 0.01

Floats = NDArray[np.float64]


def detect_r_peaks(ecg_mv: NDArray[np.float32]) -> NDArray[np.int64]:
    """The sample numbers of the beats: int64 [beats], ascending; none in a flat or short signal.

    Args:
        ecg_mv: float32 [samples], millivolts at 360 Hz.

    Raises:
        FailedError: the signal holds something that is no number; the lead may be off.
    """
    if not np.isfinite(ecg_mv).all():
        raise FailedError(
            "the signal has gaps, so beats cannot be found in it",
            reason=Reason.DOCUMENT_INVALID,
            where="live ECG",
            found="samples that are no numbers",
            expected="millivolts",
            remedy="check the electrodes",
        )
    if ecg_mv.size < SAMPLING_RATE_HZ or np.ptp(ecg_mv) == 0:
        return np.empty(0, dtype=np.int64)
    signal = ecg_mv.astype(np.float64)
    level = moving_mean(signal - moving_mean(signal, _BASELINE), _SMOOTHING)
    energy = _slope_energy(level)
    candidates = _strongest_apart(energy)
    peaks: list[int] = []
    for candidate in _beats_among(candidates, energy):
        low = max(candidate - _PEAK_REACH, 0)
        peak = low + int(np.argmax(np.abs(level[low : candidate + _PEAK_REACH + 1])))
        if not peaks or peak - peaks[-1] >= _SHORTEST_INTERVAL:
            peaks.append(peak)
    return np.array(peaks, dtype=np.int64)


def moving_mean(values: Floats, width: int) -> Floats:
    """The centred mean over ``width`` samples (odd), over fewer at the ends: float64 [samples]."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    middle = np.arange(values.size)
    low = np.maximum(middle - width // 2, 0)
    high = np.minimum(middle + width // 2 + 1, values.size)
    mean: Floats = (sums[high] - sums[low]) / (high - low)
    return mean


def _slope_energy(level: Floats) -> Floats:
    slope = np.zeros_like(level)
    reach = _SLOPE_REACH
    slope[reach:-reach] = np.abs(level[2 * reach :] - level[: -2 * reach])
    return moving_mean(slope, _ENERGY)


def _strongest_apart(energy: Floats) -> list[int]:
    """Local maxima of the energy, the strongest of those that crowd within the refractory time."""
    rising = energy[1:-1] >= energy[:-2]
    falling = energy[1:-1] > energy[2:]
    chosen: list[int] = []
    for index in (np.flatnonzero(rising & falling) + 1).tolist():
        if chosen and index - chosen[-1] < _REFRACTORY:
            if energy[index] > energy[chosen[-1]]:
                chosen[-1] = index
        else:
            chosen.append(index)
    return chosen


def _beats_among(candidates: list[int], energy: Floats) -> list[int]:
    """The candidates that are as strong as beats are here, and no T wave of the beat before."""
    learning = sorted(float(energy[index]) for index in candidates if index < _LEARNING)
    if not learning:
        return []
    typical = float(np.median(learning[-_REMEMBERED_BEATS:]))
    remembered = [typical] * _REMEMBERED_BEATS
    beats: list[int] = []
    for index in candidates:
        strength = float(energy[index])
        if strength <= max(_THRESHOLD * typical, _QUIETEST_BEAT_MV):
            continue
        follows_closely = bool(beats) and index - beats[-1] < _T_WAVE_UNTIL
        if follows_closely and strength < _T_WAVE_SHARE * float(energy[beats[-1]]):
            continue
        beats.append(index)
        # One artefact must not raise the threshold above the beats that follow it.
        remembered = [*remembered[1:], min(strength, 2 * typical)]
        typical = float(np.median(remembered))
    return beats
