"""The demo's series of models: who trains on whom, how, and how each threshold was fixed.

The series is chosen to show what an update agent must deal with, and so was looked at on the
locked patients; the figures therefore flatter it. Within each version nothing but its training
patients decides weights and threshold.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np

from primum_device_sim.demo.exact import Floats
from primum_device_sim.demo.recordings import Recording
from primum_device_sim.demo.training import Settings, Weights, beats_of, forward, joined, train

# Every locked patient but 116 has demographics that were read in an original header; all have
# beats of both kinds, four of them premature beats in number; both sexes are there. The seven left
# for training include 200 and 119, two of the three patients with most premature beats.
LOCKED_PATIENTS: Final = ("100", "105", "106", "108", "116")
_FIVE: Final = ("102", "114", "121", "123", "200")
_SEVEN: Final = ("102", "104", "114", "119", "121", "123", "200")
_WOMEN: Final = ("102", "114", "123")
_FOLDS: Final = 4
_THRESHOLD_STEPS: Final = 1000


class Aim(StrEnum):
    """What a threshold was fixed to reach on patients held out of training."""

    SENSITIVITY = "sensitivity"
    SPECIFICITY = "specificity"


@dataclass(frozen=True)
class Version:
    """One member of the series.

    Attributes:
        version: the release version.
        purpose: what it is for in the demo.
        settings: of its training.
        aim: what its threshold was fixed to reach.
        target: how much of that, as a share, on held-out training patients.
        swap_intervals: exported with the mistake that ``graph.onnx_bytes`` describes.
    """

    version: str
    purpose: str
    settings: Settings
    aim: Aim
    target: float
    swap_intervals: bool = False


SERIES: Final = (
    Version(
        "1.0.0",
        "the first release: fewer patients, four units",
        Settings(patients=_FIVE, units=4, seed=2, epochs=6),
        Aim.SENSITIVITY,
        0.95,
    ),
    Version(
        "1.0.1",
        "a retraining on women alone: better overall, and twice the false alarms in men",
        Settings(patients=_WOMEN, units=16, seed=2, epochs=10),
        Aim.SPECIFICITY,
        0.97,
    ),
    Version(
        "1.1.0",
        "better in sensitivity, in specificity and in AUC",
        Settings(patients=_SEVEN, units=12, seed=1, epochs=10),
        Aim.SENSITIVITY,
        0.95,
    ),
    Version(
        "1.1.1",
        "gains AUC, and loses sensitivity to a threshold set against false alarms",
        Settings(patients=_SEVEN, units=24, seed=2, epochs=30),
        Aim.SPECIFICITY,
        0.999,
    ),
    Version(
        "1.2.0",
        "a sound retraining",
        Settings(patients=_SEVEN, units=16, seed=3, epochs=40),
        Aim.SENSITIVITY,
        0.95,
    ),
    Version(
        "1.3.0",
        "broken on purpose: exported with the two RR intervals in each other's place",
        Settings(patients=_SEVEN, units=16, seed=4, epochs=40),
        Aim.SENSITIVITY,
        0.95,
        swap_intervals=True,
    ),
)


@dataclass(frozen=True)
class Trained:
    """What one version's training yields: the weights and the operating threshold."""

    weights: Weights
    threshold: float


def train_version(recordings: dict[str, Recording], version: Version) -> Trained:
    """Train on all of the version's patients; fix the threshold on them, held out by turns.

    Args:
        recordings: by patient, the version's training patients among them.
        version: what to train.
    """
    patients = version.settings.patients
    scores: list[Floats] = []
    labels: list[Floats] = []
    for fold in range(min(_FOLDS, len(patients))):
        held_out = patients[fold::_FOLDS]
        kept = tuple(name for name in patients if name not in held_out)
        part = replace(version.settings, patients=kept)
        beats = joined([beats_of(recordings[name]) for name in held_out])
        scores.append(forward(train(recordings, part), beats.inputs))
        labels.append(beats.labels)
    threshold = fixed_threshold(
        np.concatenate(scores), np.concatenate(labels), aim=version.aim, target=version.target
    )
    return Trained(weights=train(recordings, version.settings), threshold=threshold)


def fixed_threshold(scores: Floats, labels: Floats, *, aim: Aim, target: float) -> float:
    """The threshold in whole thousandths that just reaches the target.

    Args:
        scores: float64 [n] of beats of held-out training patients.
        labels: float64 [n], 1 for premature.
        aim: of sensitivity the highest, of specificity the lowest threshold that reaches it.
        target: the share to reach.
    """
    if aim is Aim.SENSITIVITY:
        limit = np.quantile(scores[labels == 1], 1.0 - target, method="lower")
        thousandths = int(np.floor(limit * _THRESHOLD_STEPS))
    else:
        limit = np.quantile(scores[labels == 0], target, method="higher")
        thousandths = int(np.ceil(limit * _THRESHOLD_STEPS))
    return min(max(thousandths, 1), _THRESHOLD_STEPS - 1) / _THRESHOLD_STEPS


def version_named(name: str) -> Version:
    """The member of the series with that version.

    Raises:
        RuntimeError: there is none; the demo's own code asks.
    """
    for version in SERIES:
        if version.version == name:
            return version
    raise RuntimeError(
        f"no version {name} in the series: {json.dumps([v.version for v in SERIES])}"
    )
