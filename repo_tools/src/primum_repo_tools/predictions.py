"""Locked predictions: what each arm said about the same cases of the same patients."""

from __future__ import annotations

import io
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from primum_repo_tools.files import read_input
from primum_verifier.core.document import sha256_hex
from primum_verifier.core.errors import UsageError
from primum_verifier.core.limits import MIB
from primum_verifier.core.reasons import Reason

MAX_PREDICTION_BYTES = 512 * MIB
FURTHER = {
    "rejected": "uib",
    "time_s": "f",
    "monitored_patient": "U",
    "monitored_s": "f",
    "decided_after_s": "f",
    "latency_ms": "f",
    "repeats": "f",
}
"""What a file may hold besides, with the kinds of numbers.

Quality-rejected cases; the moment of a case since monitoring of its patient began, and for how long
each patient was monitored; seconds from an event to its decision; latencies on the target;
[cases, repeats] of repeated scores.
"""

_OF_CASES = frozenset({"rejected", "time_s", "decided_after_s"})
SHARED = ("patient", "label", "cohort", "time_s", "monitored_patient", "monitored_s")
"""What all arms have in common: the cases themselves."""

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
        further: the arrays of :data:`FURTHER` that the file holds besides.
    """

    sha256: str
    patient: NDArray[np.str_]
    label: NDArray[np.bool_]
    score: NDArray[np.float64]
    cohort: NDArray[np.str_]
    further: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)

    @property
    def rejected(self) -> NDArray[np.bool_]:
        """Where the arm's own check of quality gave no decision."""
        found = self.further.get("rejected")
        return np.zeros(len(self.label), dtype=np.bool_) if found is None else found == 1

    def numbers(self, name: str) -> NDArray[np.float64] | None:
        """One of the further arrays of numbers, None where the file has none."""
        found = self.further.get(name)
        return None if found is None else found.astype(np.float64)


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
            further = {name: archive[name] for name in FURTHER if name in archive.files}
    except _FOREIGN as error:
        raise _wrong(path, f"an array that cannot be read ({type(error).__name__})") from error
    _check(path, arrays)
    _check_further(path, arrays, further)
    return Predictions(
        sha256=sha256_hex(data),
        patient=arrays["patient"].astype(np.str_),
        label=arrays["label"] == 1,
        score=arrays["score"].astype(np.float64),
        cohort=arrays["cohort"].astype(np.str_),
        further=further,
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


def _check_further(
    path: Path, arrays: dict[str, NDArray[np.generic]], further: dict[str, NDArray[np.generic]]
) -> None:
    count = len(arrays["label"])
    for name, array in further.items():
        if array.dtype.kind not in FURTHER[name] or (name in _OF_CASES and array.shape != (count,)):
            raise _wrong(path, f"{name}: {array.dtype} of shape {array.shape}")
        if array.dtype.kind == "f" and not _is_usable(name, array.astype(np.float64)):
            raise _wrong(path, f"{name}: a number that is negative or not finite")
    undecided = np.isnan(arrays["score"].astype(np.float64))
    if "rejected" in further and bool(np.any((further["rejected"] == 1) & ~undecided)):
        raise _wrong(path, "a rejected case with a score")
    if "repeats" in further and (further["repeats"].ndim != 2 or 0 in further["repeats"].shape):  # noqa: PLR2004
        raise _wrong(path, f"repeats: shape {further['repeats'].shape}")
    _check_monitored(path, arrays["patient"], further)


def _is_usable(name: str, array: NDArray[np.float64]) -> bool:
    if name == "decided_after_s":
        # NaN where no decision was made; before the event began is possible.
        return not np.isinf(array).any()
    if name == "repeats":
        return bool(np.isfinite(array).all())
    return bool(np.isfinite(array).all() and (array >= 0).all())


def _check_monitored(
    path: Path, patient: NDArray[np.generic], further: dict[str, NDArray[np.generic]]
) -> None:
    names = [name for name in ("time_s", "monitored_patient", "monitored_s") if name in further]
    if not names:
        return
    if len(names) != 3:  # noqa: PLR2004 - all of the three
        raise _wrong(path, f"of time_s, monitored_patient and monitored_s only {', '.join(names)}")
    who, seconds = further["monitored_patient"], further["monitored_s"].astype(np.float64)
    if who.ndim != 1 or who.shape != seconds.shape or len(np.unique(who)) != len(who):
        raise _wrong(path, "monitored_patient: not each patient once, with its seconds")
    order = np.argsort(who)
    place = np.searchsorted(who[order], patient)
    known = np.append(who[order], "")[place] == patient
    if not known.all():
        raise _wrong(path, "a case of a patient who was not monitored")
    if (further["time_s"].astype(np.float64) > seconds[order][place]).any():
        raise _wrong(path, "a case after the end of monitoring")


def check_aligned(arms: dict[str, tuple[Path, Predictions]]) -> None:
    """See to it that all arms speak of the same cases in the same order.

    Raises:
        UsageError: they do not; a comparison would pair strangers.
    """
    (reference_path, reference), *others = arms.values()
    for path, arm in others:
        for name in SHARED:
            if not np.array_equal(_shared(reference, name), _shared(arm, name)):
                raise UsageError(
                    "Two arms do not speak of the same cases.",
                    reason=Reason.USAGE,
                    where=str(path),
                    found=f"{name} differs from {reference_path}",
                    expected="the same patient, label, cohort and times in every row",
                    remedy="Run all arms over the same locked data set in the same order.",
                )


def _shared(arm: Predictions, name: str) -> NDArray[np.generic]:
    found = arm.further.get(name)
    if found is not None:
        return found
    return np.asarray(getattr(arm, name, np.zeros(0)))


def cases_sha256(cases: Predictions) -> str:
    """The digest of the cases themselves, whatever any arm says about them.

    It is SHA-256 over one line for each case (patient, 0 or 1, cohort, and the time where there is
    one) and for each monitored patient (patient, seconds), the parts parted by U+001F, in UTF-8.
    """
    times = cases.numbers("time_s")
    moments = [""] * len(cases.label) if times is None else [repr(one) for one in times.tolist()]
    rows = zip(
        cases.patient.tolist(), cases.label.tolist(), cases.cohort.tolist(), moments, strict=True
    )
    lines = [f"{who}\x1f{int(label)}\x1f{cohort}\x1f{at}" for who, label, cohort, at in rows]
    seconds = cases.numbers("monitored_s")
    if seconds is not None:
        patients = cases.further["monitored_patient"].astype(np.str_).tolist()
        lines += [
            f"{who}\x1f{length!r}" for who, length in zip(patients, seconds.tolist(), strict=True)
        ]
    return sha256_hex("".join(f"{line}\n" for line in lines).encode())
