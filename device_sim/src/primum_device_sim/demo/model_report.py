"""Writes the report on the demo's models, ``docs/demo-model.md``, from the files of the package.

Every figure is computed here from the committed answers on the locked patients and the committed
models on the strip; none is typed in.
"""

from __future__ import annotations

import importlib.resources
from typing import Final

import numpy as np

from primum_device_sim.demo.evaluation import (
    Answers,
    Figures,
    Measure,
    evaluate,
    paired_difference,
    wilson,
)
from primum_device_sim.demo.features import beat_inputs
from primum_device_sim.demo.fixtures import decisions
from primum_device_sim.demo.inference import run_model
from primum_device_sim.demo.models import (
    DemoModel,
    LockedPredictions,
    load_model,
    locked_predictions_bytes,
    read_locked_predictions,
)
from primum_device_sim.demo.recordings import COHORT_BY_PATIENT
from primum_device_sim.demo.series import LOCKED_PATIENTS, SERIES
from primum_device_sim.demo.strip import (
    BeatLabel,
    Certainty,
    LabelledBeat,
    load_strip,
    load_strip_labels,
)

TEMPLATE: Final = "model_report.md.in"
# Who is compared with whom: the order in which the demo offers them.
COMPARISONS: Final = (
    ("1.0.1", "1.0.0"),
    ("1.1.0", "1.0.0"),
    ("1.1.1", "1.1.0"),
    ("1.2.0", "1.1.0"),
    ("1.3.0", "1.1.0"),
)


def report_text() -> str:
    """The whole page, in Markdown."""
    models = {version.version: load_model(version.version) for version in SERIES}
    locked = {name: read_locked_predictions(locked_predictions_bytes(name)) for name in models}
    parts = {
        "@SERIES@": _series_table(models),
        "@FIGURES@": _figures_table(models, locked),
        "@COMPARISONS@": _comparison_table(models, locked),
        "@COHORTS@": _cohort_table(models, locked),
        "@PATIENTS@": _patient_table(models, locked),
        "@NO_DECISION@": _no_decision_text(models),
        "@LOCKED@": ", ".join(LOCKED_PATIENTS),
        "@LABELS@": _label_table(load_strip_labels()),
        "@STRIP@": _strip_table(models),
    }
    text = importlib.resources.files(__package__).joinpath(TEMPLATE).read_text("utf-8")
    for mark, part in parts.items():
        text = text.replace(mark, part)
    return text


def _series_table(models: dict[str, DemoModel]) -> str:
    rows = [
        [
            name,
            model.card.purpose,
            str(model.card.units),
            ", ".join(model.card.training_patients),
            f"{model.card.threshold:.3f}",
            model.card.threshold_aim.split(" on ")[0],
            str(model.card.model_bytes),
        ]
        for name, model in models.items()
    ]
    head = ["version", "what it is for", "units", "trained on", "threshold", "set for", "bytes"]
    return _table(head, rows)


def _figures_table(models: dict[str, DemoModel], locked: dict[str, LockedPredictions]) -> str:
    rows = []
    for name, model in models.items():
        figures = _figures(model, locked[name])
        rows.append(
            [
                name,
                _shown(figures.sensitivity),
                _shown(figures.specificity),
                _shown(figures.auc),
                f"{figures.pvc} / {figures.other}",
            ]
        )
    return _table(["version", "sensitivity", "specificity", "AUC", "PVC / other beats"], rows)


def _comparison_table(models: dict[str, DemoModel], locked: dict[str, LockedPredictions]) -> str:
    rows = []
    for candidate, predecessor in COMPARISONS:
        answers = locked[candidate]
        difference = paired_difference(
            Answers(answers.score, models[candidate].card.threshold),
            Answers(locked[predecessor].score, models[predecessor].card.threshold),
            answers.label,
            answers.patient,
        )
        rows.append(
            [
                f"{candidate} less {predecessor}",
                _shown(difference.sensitivity, sign="+"),
                _shown(difference.specificity, sign="+"),
                _shown(difference.auc, sign="+"),
            ]
        )
    return _table(["comparison", "sensitivity", "specificity", "AUC"], rows)


def _cohort_table(models: dict[str, DemoModel], locked: dict[str, LockedPredictions]) -> str:
    rows = [
        [name, cohort, *_counted(locked[name], locked[name].cohort == cohort, model)]
        for name, model in models.items()
        for cohort in ("female", "male")
    ]
    head = ["version", "cohort", "patients", "sensitivity", "of PVC", "specificity", "of others"]
    return _table(head, rows)


def _patient_table(models: dict[str, DemoModel], locked: dict[str, LockedPredictions]) -> str:
    rows = []
    for patient in LOCKED_PATIENTS:
        for name, model in models.items():
            answers = locked[name]
            counted = _counted(answers, answers.patient == patient, model)
            rows.append([patient, COHORT_BY_PATIENT[patient], name, *counted[1:]])
    head = ["patient", "sex", "version", "sensitivity", "of PVC", "specificity", "of others"]
    return _table(head, rows)


def _counted(
    answers: LockedPredictions, chosen: np.typing.NDArray[np.bool_], model: DemoModel
) -> list[str]:
    positive = answers.score >= np.float32(model.card.threshold)
    pvc, other = chosen & (answers.label == 1), chosen & (answers.label == 0)
    found = wilson(int(np.count_nonzero(positive & pvc)), int(np.count_nonzero(pvc)))
    spared = wilson(int(np.count_nonzero(~positive & other)), int(np.count_nonzero(other)))
    return [
        str(np.unique(answers.patient[chosen]).size),
        _shown(found),
        str(np.count_nonzero(pvc)),
        _shown(spared),
        str(np.count_nonzero(other)),
    ]


def _no_decision_text(models: dict[str, DemoModel]) -> str:
    counts = {tuple(model.card.no_decision.items()) for model in models.values()}
    if len(counts) != 1:
        raise RuntimeError("the versions decline to decide on different beats")
    (one,) = counts
    return ", ".join(f"{count} of patient {name}" for name, count in one if count)


def _label_table(beats: tuple[LabelledBeat, ...]) -> str:
    words = {BeatLabel.NORMAL: "N, normal", BeatLabel.PVC: "V, premature", BeatLabel.OTHER: "other"}
    rows = []
    for label, word in words.items():
        certain = [beat.certainty is Certainty.CERTAIN for beat in beats if beat.label is label]
        rows.append([word, str(sum(certain)), str(len(certain) - sum(certain))])
    return _table(["label", "certain", "uncertain"], rows)


def _strip_table(models: dict[str, DemoModel]) -> str:
    beats = load_strip_labels()
    inputs = beat_inputs(load_strip(), np.array([beat.sample for beat in beats]))
    labels = np.array([beats[row].label.value for row in inputs.beat.tolist()])
    certain = np.array([beats[row].certainty is Certainty.CERTAIN for row in inputs.beat.tolist()])
    rows = []
    for name, model in models.items():
        decided = decisions(
            run_model(model.onnx, inputs.ecg_mv, inputs.rr_s)[:, 0], model.card.threshold
        )
        pvc = certain & (labels == BeatLabel.PVC.value)
        normal = certain & (labels == BeatLabel.NORMAL.value)
        rows.append(
            [
                name,
                f"{np.count_nonzero(decided[pvc] == 1)} of {np.count_nonzero(pvc)}",
                f"{np.count_nonzero(decided[normal] == 0)} of {np.count_nonzero(normal)}",
            ]
        )
    return _table(["version", "certain V called premature", "certain N not called so"], rows)


def _figures(model: DemoModel, answers: LockedPredictions) -> Figures:
    return evaluate(answers.score, answers.label, answers.patient, threshold=model.card.threshold)


def _shown(measure: Measure, *, sign: str = "") -> str:
    value = f"{measure.value:{sign}.3f}"
    if measure.low is None or measure.high is None:
        return value
    return f"{value} ({measure.low:{sign}.3f} to {measure.high:{sign}.3f})"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
