"""Locked predictions: what each arm said about the same cases of the same patients."""

from __future__ import annotations

import io
import struct
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from primum_repo_tools.files import read_input
from primum_verifier.core.document import sha256_hex
from primum_verifier.core.errors import UsageError
from primum_verifier.core.limits import MIB
from primum_verifier.core.reasons import Reason

MAX_PREDICTION_BYTES = 512 * MIB
_EXPECTED = "arrays patient (text), label (0 or 1), score (number), cohort (text), row by row"


_FOREIGN = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What numpy and zipfile raise over a file that is damaged, encrypted or no npz at all."""


@dataclass(frozen=True)
class Predictions:
    """One arm; every array has shape [cases].

    Attributes:
        sha256: the digest of the file.
        patient: whose case it is.
        label: true where the reference standard says positive.
        score: what the model said; higher is more positive; NaN where it gave no decision.
        cohort: the group of the case.
    """

    sha256: str
    patient: NDArray[np.str_]
    label: NDArray[np.bool_]
    score: NDArray[np.float64]
    cohort: NDArray[np.str_]


def _wrong(path: Path, found: str) -> UsageError:
    return UsageError(
        "The predictions cannot be used.",
        reason=Reason.USAGE,
        where=str(path),
        found=found,
        expected=_EXPECTED,
        remedy="Write the four arrays with numpy.savez; text as text, no objects.",
    )


def read_predictions(path: Path) -> Predictions:
    """Read the predictions of one arm from an ``.npz`` file; nothing is unpickled.

    Raises:
        UsageError: missing, unreadable, or arrays that are not what they should be.
    """
    data = read_input(path, what="predictions", max_bytes=MAX_PREDICTION_BYTES)
    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise UsageError(
            "This is no .npz file.",
            reason=Reason.USAGE,
            where=str(path),
            expected=_EXPECTED,
            remedy="Write the arrays with numpy.savez.",
        )
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            missing = {"patient", "label", "score", "cohort"} - set(archive.files)
            if missing:
                raise _wrong(path, f"no array {', '.join(sorted(missing))}")
            arrays = {name: archive[name] for name in ("patient", "label", "score", "cohort")}
    except _FOREIGN as error:
        raise _wrong(path, f"an array that cannot be read ({type(error).__name__})") from error
    _check(path, arrays)
    return Predictions(
        sha256=sha256_hex(data),
        patient=arrays["patient"].astype(np.str_),
        label=arrays["label"] == 1,
        score=arrays["score"].astype(np.float64),
        cohort=arrays["cohort"].astype(np.str_),
    )


def _check(path: Path, arrays: dict[str, NDArray[np.generic]]) -> None:
    kinds = {"patient": "U", "cohort": "U", "label": "uib", "score": "f"}
    count = len(arrays["label"]) if arrays["label"].ndim == 1 else -1
    for name, allowed in kinds.items():
        array = arrays[name]
        if array.dtype.kind not in allowed or array.shape != (count,):
            raise _wrong(path, f"{name}: {array.dtype} of shape {array.shape}")
    if count == 0:
        raise _wrong(path, "no case")
    if not np.isin(arrays["label"], (0, 1)).all():
        raise _wrong(path, "a label that is neither 0 nor 1")
    if np.isinf(arrays["score"].astype(np.float64)).any():
        raise _wrong(path, "an infinite score")


def check_aligned(arms: dict[str, tuple[Path, Predictions]]) -> None:
    """See to it that all arms speak of the same cases in the same order.

    Raises:
        UsageError: they do not; a comparison would pair strangers.
    """
    (reference_path, reference), *others = arms.values()
    for path, arm in others:
        for name in ("patient", "label", "cohort"):
            if not np.array_equal(getattr(reference, name), getattr(arm, name)):
                raise UsageError(
                    "Two arms do not speak of the same cases.",
                    reason=Reason.USAGE,
                    where=str(path),
                    found=f"{name} differs from {reference_path}",
                    expected="the same patient, label and cohort in every row",
                    remedy="Run all arms over the same locked data set in the same order.",
                )
