"""Trains the small premature-beat classifier: same recordings and settings, same bits, anywhere.

The network is a perceptron with one hidden layer over a quarter-rate, baseline-free window and two
relative RR intervals. ``normalised`` is the numpy twin of what the model's graph does to its
inputs; ``exact.py`` says why the bits do not depend on the machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from primum_device_sim.demo.exact import Floats, RandomIntegers, in_steps, product, sigmoid
from primum_device_sim.demo.features import WINDOW_SAMPLES, beat_inputs
from primum_device_sim.demo.recordings import Recording

# 0.6 s at 360 Hz, odd so that the mean is centred.
BASELINE_SAMPLES: Final = 217
POOL_SAMPLES: Final = 4
POOLED_SAMPLES: Final = WINDOW_SAMPLES // POOL_SAMPLES
# Relative intervals: beyond a quarter and three times the mean, more says nothing more.
RR_RATIO_LOW: Final = 0.25
RR_RATIO_HIGH: Final = 3.0
# Makes a relative interval weigh as much as a millivolt or two.
RR_SCALE: Final = 3.0
INPUT_COUNT: Final = POOLED_SAMPLES + 2

# Steps of 2**-bits in which the factors of every product are written (see exact.py).
_MILLIVOLT_BITS: Final = 20
_INPUT_BITS: Final = 10
WEIGHT_BITS: Final = 14
_HIDDEN_BITS: Final = 12
_ERROR_BITS: Final = 14
# Scoring takes no gradients, so there is room for finer steps: the difference to float32 is lost
# in that of float32 itself.
_SCORING_BITS: Final = 20

_BATCH: Final = 512
_MEAN_DECAY: Final = 0.9
_SQUARE_DECAY: Final = 0.999
_EPSILON: Final = 1e-8
# The detector's peaks lie up to this many samples beside the annotated ones.
_LARGEST_SHIFT: Final = 12
_LARGEST_BEAT_WEIGHT: Final = 60.0
_INVERTED_SEED_STEP: Final = 100


@dataclass(frozen=True)
class Settings:
    """Everything that decides what a training run yields, beside the recordings.

    Attributes:
        patients: record numbers to train on.
        units: hidden units.
        seed: of the initial weights, the order of the beats and the shifts.
        epochs: passes over the beats.
        rate: step size of the optimiser (Adam).
        decay: pull of the weights towards zero.
    """

    patients: tuple[str, ...]
    units: int
    seed: int
    epochs: int
    rate: float = 3e-3
    decay: float = 1e-4


@dataclass(frozen=True)
class Weights:
    """The trained numbers, each a whole number of steps of 2**-14.

    Attributes:
        hidden: float64 [110, units]; 108 rows for the signal, two for the intervals.
        hidden_bias: float64 [units].
        output: float64 [units, 1].
        output_bias: float64 [1].
    """

    hidden: Floats
    hidden_bias: Floats
    output: Floats
    output_bias: Floats


@dataclass(frozen=True)
class Beats:
    """Beats made ready: inputs float64 [n, 110], labels float64 [n] (1 for PVC), patients [n]."""

    inputs: Floats
    labels: Floats
    patients: NDArray[np.str_]


def normalised(ecg_mv: NDArray[np.float32], rr_s: NDArray[np.float32]) -> Floats:
    """What the graph makes of its inputs before the first layer, in numpy.

    Args:
        ecg_mv: float32 [n, 432], raw millivolts.
        rr_s: float32 [n, 3], seconds.

    Returns:
        float64 [n, 110]: the window less its moving mean over 0.6 s, averaged over four samples;
        then the RR intervals before and after the beat, relative to the mean.
    """
    signal = in_steps(ecg_mv.astype(np.float64), _MILLIVOLT_BITS)
    sums = np.cumsum(np.pad(signal, ((0, 0), (1, 0))), axis=1)
    middle = np.arange(WINDOW_SAMPLES)
    low = np.maximum(middle - BASELINE_SAMPLES // 2, 0)
    high = np.minimum(middle + BASELINE_SAMPLES // 2 + 1, WINDOW_SAMPLES)
    level = signal - (sums[:, high] - sums[:, low]) / (high - low)
    # Rounded before it is averaged: then the order of the additions does not matter.
    level = in_steps(level, _MILLIVOLT_BITS)
    pooled = level.reshape(-1, POOLED_SAMPLES, POOL_SAMPLES).sum(axis=2) / POOL_SAMPLES
    intervals = rr_s.astype(np.float64)
    ratios = np.clip(intervals[:, :2] / intervals[:, 2:], RR_RATIO_LOW, RR_RATIO_HIGH)
    return np.concatenate([pooled, (ratios - 1.0) * RR_SCALE], axis=1)


def beats_of(recording: Recording) -> Beats:
    """A recording's beats made ready for scoring."""
    return _beats(recording, shift=None)


def training_beats_of(recording: Recording, *, seed: int) -> Beats:
    """A recording's beats made ready for training: each as it is, and upside down.

    A wearable may be worn upside down, and a lead may see a heart from the other side; with few
    patients this is also what keeps the network from learning their leads by heart. Windows are
    moved at random, as an unsteady beat detector would move them.
    """
    upright = _beats(recording, shift=_shifts(recording, seed))
    inverted = _beats(recording, shift=_shifts(recording, seed + _INVERTED_SEED_STEP))
    inverted.inputs[:, :POOLED_SAMPLES] *= -1.0
    return joined([upright, inverted])


def _shifts(recording: Recording, seed: int) -> NDArray[np.int64]:
    random = RandomIntegers(seed * 1000 + int(recording.patient))
    return random.integers(recording.r_peaks.size, _LARGEST_SHIFT)


def _beats(recording: Recording, *, shift: NDArray[np.int64] | None) -> Beats:
    rows = beat_inputs(recording.ecg_mv, recording.r_peaks, shift=shift)
    return Beats(
        inputs=normalised(rows.ecg_mv, rows.rr_s),
        labels=recording.is_pvc[rows.beat].astype(np.float64),
        patients=np.full(rows.beat.size, recording.patient),
    )


def joined(parts: list[Beats]) -> Beats:
    """Several patients' beats as one."""
    return Beats(
        inputs=np.concatenate([part.inputs for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        patients=np.concatenate([part.patients for part in parts]),
    )


def train(recordings: dict[str, Recording], settings: Settings) -> Weights:
    """Train on the patients that the settings name, and on no other.

    Args:
        recordings: by patient; more than the settings name do no harm.
        settings: what to do.
    """
    beats = joined(
        [training_beats_of(recordings[name], seed=settings.seed) for name in settings.patients]
    )
    inputs = in_steps(beats.inputs, _INPUT_BITS)
    importance = beat_weights(beats)
    random = RandomIntegers(settings.seed)
    spread = (INPUT_COUNT**-0.5, settings.units**-0.5)
    state = [
        random.uniform((INPUT_COUNT, settings.units)) * spread[0],
        np.zeros(settings.units),
        random.uniform((settings.units, 1)) * spread[1],
        np.zeros(1),
    ]
    means = [np.zeros_like(part) for part in state]
    squares = [np.zeros_like(part) for part in state]
    mean_left, square_left = 1.0, 1.0
    for _ in range(settings.epochs):
        order = random.permutation(beats.labels.size)
        for begin in range(0, order.size, _BATCH):
            batch = order[begin : begin + _BATCH]
            slopes = _slopes(state, inputs[batch], beats.labels[batch], importance[batch])
            slopes[0] = slopes[0] + settings.decay * state[0]
            mean_left, square_left = mean_left * _MEAN_DECAY, square_left * _SQUARE_DECAY
            for index, slope in enumerate(slopes):
                means[index] = _MEAN_DECAY * means[index] + (1 - _MEAN_DECAY) * slope
                squares[index] = (
                    _SQUARE_DECAY * squares[index] + (1 - _SQUARE_DECAY) * slope * slope
                )
                step = (means[index] / (1 - mean_left)) / (
                    np.sqrt(squares[index] / (1 - square_left)) + _EPSILON
                )
                state[index] = state[index] - settings.rate * step
    return Weights(*[in_steps(part, WEIGHT_BITS) for part in state])


def forward(weights: Weights, inputs: Floats) -> Floats:
    """The network in numpy: float64 [n, 110] of normalised inputs to float64 [n] of probability."""
    before = product(inputs, _SCORING_BITS, weights.hidden, WEIGHT_BITS) + weights.hidden_bias
    hidden = np.maximum(before, 0.0)
    logits = product(hidden, _SCORING_BITS, weights.output, WEIGHT_BITS) + weights.output_bias
    return sigmoid(logits[:, 0])


def beat_weights(beats: Beats) -> Floats:
    """How much each beat counts: both classes alike, and no patient by the number of beats alone.

    Within a class a patient counts by the square root of the beats in it; one beat counts at most
    sixty times the average one.
    """
    weights = np.zeros(beats.labels.size)
    for label in (0.0, 1.0):
        of_label = beats.labels == label
        groups = [of_label & (beats.patients == patient) for patient in np.unique(beats.patients)]
        counts = [int(np.count_nonzero(group)) for group in groups]
        total = math.fsum(math.sqrt(count) for count in counts)
        for group, count in zip(groups, counts, strict=True):
            if count:
                weights[group] = beats.labels.size / 2 / math.sqrt(count) / total
    return in_steps(np.minimum(weights, _LARGEST_BEAT_WEIGHT), _ERROR_BITS)


def _slopes(
    state: list[Floats], inputs: Floats, labels: Floats, importance: Floats
) -> list[Floats]:
    """The slope of the weighted cross-entropy in each part of the state, exactly summed."""
    hidden_weights = in_steps(state[0], WEIGHT_BITS)
    output_weights = in_steps(state[2], WEIGHT_BITS)
    before = product(inputs, _INPUT_BITS, hidden_weights, WEIGHT_BITS) + state[1]
    hidden = in_steps(np.maximum(before, 0.0), _HIDDEN_BITS)
    logits = product(hidden, _HIDDEN_BITS, output_weights, WEIGHT_BITS)[:, 0] + state[3]
    error = in_steps(importance * (sigmoid(logits) - labels), _ERROR_BITS)[:, None]
    back = in_steps(error * output_weights[:, 0], _ERROR_BITS) * (before > 0)
    count = float(labels.size)
    return [
        product(inputs.T, _INPUT_BITS, back, _ERROR_BITS) / count,
        back.sum(axis=0) / count,
        product(hidden.T, _HIDDEN_BITS, error, _ERROR_BITS) / count,
        error.sum(axis=0) / count,
    ]
