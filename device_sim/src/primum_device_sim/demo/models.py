"""Gives out the committed models: bytes, cards, and answers on the locked patients."""

from __future__ import annotations

import hashlib
import importlib.resources
import io
import json
from dataclasses import asdict, dataclass
from importlib.resources.abc import Traversable

import numpy as np
from numpy.typing import NDArray

from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason


@dataclass(frozen=True)
class ModelCard:
    """What is said about one version, beside its bytes.

    Attributes:
        version: the release version.
        purpose: what it is for in the demo.
        threshold: a probability at or above it is called premature; NaN is no decision.
        threshold_aim: how the threshold was fixed, in words.
        units: hidden units.
        seed: of the training.
        epochs: passes over the training beats.
        training_patients: record numbers.
        locked_patients: record numbers of those it was measured on; none is in training.
        model_sha256: of ``<version>.onnx``.
        model_bytes: its length.
        intended_sha256: of the model as it should have been exported; the same, unless broken.
        no_decision: locked beats on which the model says nothing, by patient.
        demonstration_only: the sentence that goes with every use.
    """

    version: str
    purpose: str
    threshold: float
    threshold_aim: str
    units: int
    seed: int
    epochs: int
    training_patients: tuple[str, ...]
    locked_patients: tuple[str, ...]
    model_sha256: str
    model_bytes: int
    intended_sha256: str
    no_decision: dict[str, int]
    demonstration_only: str

    def to_json(self) -> str:
        """The card as it lies beside the model."""
        return json.dumps(asdict(self), indent=2) + "\n"


@dataclass(frozen=True)
class DemoModel:
    """One version: its card, the bytes that ship, and the bytes that were meant to.

    Attributes:
        card: what is said about it.
        onnx: the model file.
        intended_onnx: what reference outputs are computed with; differs where the release is
            broken on purpose.
    """

    card: ModelCard
    onnx: bytes
    intended_onnx: bytes


@dataclass(frozen=True)
class LockedPredictions:
    """A version's answers on the locked patients, a row a beat, in order of patient and time.

    Attributes:
        patient: str [n], record numbers.
        label: uint8 [n], 1 for premature.
        score: float32 [n], the probability; finite.
        cohort: str [n], ``female`` or ``male``.
    """

    patient: NDArray[np.str_]
    label: NDArray[np.uint8]
    score: NDArray[np.float32]
    cohort: NDArray[np.str_]


def card_from_json(text: str) -> ModelCard:
    """The card in the text.

    Raises:
        TypeError, ValueError: it is none.
    """
    members = json.loads(text)
    for name in ("training_patients", "locked_patients"):
        members[name] = tuple(members[name])
    return ModelCard(**members)


def load_model(version: str) -> DemoModel:
    """A committed version, checked against its card.

    Raises:
        FailedError: a file is missing or does not fit its card.
    """
    folder = _data("models")
    try:
        card = card_from_json(folder.joinpath(f"{version}.json").read_text("utf-8"))
        shipped = folder.joinpath(f"{version}.onnx").read_bytes()
        intended = shipped
        if card.intended_sha256 != card.model_sha256:
            intended = folder.joinpath(f"{version}-intended.onnx").read_bytes()
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise _damaged(version, str(error)) from error
    for content, digest in ((shipped, card.model_sha256), (intended, card.intended_sha256)):
        found = hashlib.sha256(content).hexdigest()
        if found != digest:
            raise _damaged(version, found)
    return DemoModel(card=card, onnx=shipped, intended_onnx=intended)


def locked_predictions_bytes(version: str) -> bytes:
    """The committed file of a version's answers on the locked patients."""
    try:
        return _data("validation").joinpath(f"locked-{version}.npz").read_bytes()
    except OSError as error:
        raise _damaged(version, str(error)) from error


def read_locked_predictions(content: bytes) -> LockedPredictions:
    """The answers in a file such as ``locked_predictions_bytes`` returns, where there is one.

    Beats on which the model declined to decide stand in the file, and are left out here.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as npz:
        decided = np.isfinite(npz["score"])
        patient, label, score, cohort = (
            npz[name][decided] for name in ("patient", "label", "score", "cohort")
        )
    return LockedPredictions(patient=patient, label=label, score=score, cohort=cohort)


def _data(name: str) -> Traversable:
    return importlib.resources.files(__package__).joinpath(name)


def _damaged(version: str, found: str) -> FailedError:
    return FailedError(
        "the demo's model is missing or damaged",
        reason=Reason.ARTIFACT_DIGEST,
        where=f"model {version}",
        found=found[:200],
        expected="the files that came with the package, as the card describes them",
        remedy="install the package again",
    )
