"""Trains the demo's whole series again: models, cards and answers on the locked patients.

Examples::

    python -m primum_device_sim.demo.train --data DIR               # over the committed files
    python -m primum_device_sim.demo.train --data DIR --out ELSEWHERE
    python -m primum_device_sim.demo.train --report docs/demo-model.md

``DIR`` is the folder that holds ``mitdb-12``; without the option, what ``PRIMUM_DATA`` names. The
report is made from the files of the package and needs no recordings.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from numpy.typing import NDArray

from primum_device_sim.demo.features import beat_inputs
from primum_device_sim.demo.graph import onnx_bytes
from primum_device_sim.demo.inference import run_model
from primum_device_sim.demo.model_report import report_text
from primum_device_sim.demo.models import ModelCard
from primum_device_sim.demo.npz import npz_bytes
from primum_device_sim.demo.recordings import SAMPLING_RATE_HZ, Recording, load_recordings
from primum_device_sim.demo.series import LOCKED_PATIENTS, SERIES, Version, train_version
from primum_verifier.core.errors import FailedError, PrimumError, UsageError
from primum_verifier.core.reasons import Reason

DATA_VARIABLE: Final = "PRIMUM_DATA"
DEMONSTRATION_ONLY: Final = (
    "Demonstration only: not a medical device, no clinical claim. Trained on and measured with "
    "records of the MIT-BIH Arrhythmia Database (Moody and Mark 2001; PhysioNet, Goldberger et "
    "al. 2000; ODC-By 1.0)."
)


@dataclass(frozen=True)
class Locked:
    """What a model answers on the locked patients, and where it declines to.

    Attributes:
        arrays: what the file of locked predictions holds.
        no_decision: beats on which it says nothing, by patient.
    """

    arrays: dict[str, NDArray[np.generic]]
    no_decision: dict[str, int]


def make_version(recordings: dict[str, Recording], version: Version) -> dict[str, bytes]:
    """Train one version and evaluate it: the files it consists of, by path inside the demo.

    Args:
        recordings: by patient, those of training and the locked ones.
        version: what to make.
    """
    trained = train_version(recordings, version)
    shipped = onnx_bytes(
        trained.weights, version=version.version, swap_intervals=version.swap_intervals
    )
    intended = onnx_bytes(trained.weights, version=version.version)
    locked = answer_locked(shipped, recordings)
    card = ModelCard(
        version=version.version,
        purpose=version.purpose,
        threshold=trained.threshold,
        threshold_aim=f"{version.aim} of {version.target} on training patients held out by turns",
        units=version.settings.units,
        seed=version.settings.seed,
        epochs=version.settings.epochs,
        training_patients=version.settings.patients,
        locked_patients=LOCKED_PATIENTS,
        model_sha256=hashlib.sha256(shipped).hexdigest(),
        model_bytes=len(shipped),
        intended_sha256=hashlib.sha256(intended).hexdigest(),
        no_decision=locked.no_decision,
        demonstration_only=DEMONSTRATION_ONLY,
    )
    files = {
        f"models/{version.version}.onnx": shipped,
        f"models/{version.version}.json": card.to_json().encode(),
        f"validation/locked-{version.version}.npz": locked_bytes(locked),
    }
    if intended != shipped:
        files[f"models/{version.version}-intended.onnx"] = intended
        # What was validated before the export went wrong: the comparison alone cannot see it.
        answers = answer_locked(intended, recordings)
        files[f"validation/locked-{version.version}-intended.npz"] = locked_bytes(answers)
    return files


def answer_locked(model: bytes, recordings: dict[str, Recording]) -> Locked:
    """Run a model over every beat of the locked patients.

    Beats on which the model declines to decide have NaN for a score: its own checks of the input
    rejected them. Each beat has its time, and each patient the time of the whole recording.
    """
    columns: dict[str, list[NDArray[np.generic]]] = {}
    no_decision, monitored = {}, []
    for name in LOCKED_PATIENTS:
        recording = recordings[name]
        rows = beat_inputs(recording.ecg_mv, recording.r_peaks)
        answers = run_model(model, rows.ecg_mv, rows.rr_s)[:, 0]
        declined = ~np.isfinite(answers)
        no_decision[name] = int(np.count_nonzero(declined))
        monitored.append(recording.ecg_mv.size / SAMPLING_RATE_HZ)
        for column, values in (
            ("patient", np.full(answers.size, name)),
            ("label", recording.is_pvc[rows.beat].astype(np.uint8)),
            ("score", np.where(declined, np.float32(np.nan), answers)),
            ("cohort", np.full(answers.size, recording.cohort)),
            ("rejected", declined.astype(np.uint8)),
            ("time_s", np.round(recording.r_peaks[rows.beat] / SAMPLING_RATE_HZ, 3)),
        ):
            columns.setdefault(column, []).append(values)
    arrays = {column: np.concatenate(parts) for column, parts in columns.items()}
    arrays["monitored_patient"] = np.array(LOCKED_PATIENTS)
    arrays["monitored_s"] = np.round(np.array(monitored), 3)
    return Locked(arrays=arrays, no_decision=no_decision)


def locked_bytes(locked: Locked) -> bytes:
    """The answers as the bytes of an ``.npz``."""
    return npz_bytes(locked.arrays, compression=zipfile.ZIP_DEFLATED)


def make_series(data: Path) -> dict[str, bytes]:
    """Every file of every version, by path inside the demo's folder.

    Args:
        data: the folder that holds ``mitdb-12``.

    Raises:
        UsageError: a recording is missing, damaged, or not the known one.
    """
    names = set(LOCKED_PATIENTS).union(*(version.settings.patients for version in SERIES))
    recordings = load_recordings(data, tuple(sorted(names)))
    files: dict[str, bytes] = {}
    for version in SERIES:
        files.update(make_version(recordings, version))
    return files


def main(
    data: Annotated[
        Path | None,
        typer.Option(help="folder that holds mitdb-12", envvar=DATA_VARIABLE, show_envvar=True),
    ] = None,
    out: Annotated[Path, typer.Option(help="where models/ and validation/ are written")] = Path(
        __file__
    ).parent,
    report: Annotated[
        Path | None,
        typer.Option(help="write the report here instead, for example docs/demo-model.md"),
    ] = None,
) -> None:
    """Train the demo's models again, for example: --data ~/recordings --out /tmp/series."""
    try:
        files = {report.name: report_text().encode()} if report else make_series(_given(data))
        _write(report.parent if report else out, files)
    except PrimumError as error:
        typer.echo(error.for_people(), err=True)
        raise typer.Exit(error.exit_code) from error


def _given(data: Path | None) -> Path:
    if data is None:
        raise UsageError(
            "no recordings were named",
            reason=Reason.USAGE,
            where="--data",
            expected="the folder that holds mitdb-12",
            remedy=f"give --data or set {DATA_VARIABLE}; `primum-sim data fetch` gets them",
        )
    return data


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(content)
            beside.replace(path)
        except OSError as error:
            raise FailedError(
                "a file cannot be written",
                reason=Reason.RESOURCE_STORAGE,
                where=str(path),
                found=str(error),
                remedy="name a folder that can be written to with --out",
            ) from error
        typer.echo(f"{hashlib.sha256(content).hexdigest()[:16]}  {len(content):>7}  {path}")


if __name__ == "__main__":
    typer.run(main)
