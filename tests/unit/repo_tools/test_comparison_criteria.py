"""What a protocol may ask besides: each measure, each way of counting, nothing by default met."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from primum_repo_tools.cli import main
from primum_repo_tools.predictions import cases_sha256, read_predictions
from primum_repo_tools.protocol import ALONE, BESIDE, PARAMETERS, Measured, Protocol
from primum_repo_tools.settings import parse_settings
from primum_verifier.core.errors import PrimumError

PROTOCOL = """\
schemaVersion = "0.1"
id = "criteria"
author = "tests"
frozenAt = 2026-01-10T08:00:00Z
rung = "offline"
unit = "patient"
unitRationale = "cases of one patient are alike"
confidence = "0.95"
replicates = 200
seed = 7
minimum = { patients = 10, cases = 50 }
margins = { sensitivity = "0.10", specificity = "0.10", rationale = "test" }
latencyMeasuredOn = "bench"
"""
ALERTS = "alerts = { mergeSeconds = 30 }\n"
POINTS = [
    item for arm in ("candidate", "last", "original") for item in ("--threshold", f"{arm}=0.5")
]
Spoil = Callable[[dict[str, Any]], object]


def arrays_of(seed: int, *, gain: float = 1.6, patients: int = 40) -> dict[str, Any]:
    """One arm with everything that a file may hold."""
    rng = np.random.default_rng(0)
    per_patient, n = 30, patients * 30
    names = np.array([f"p{number:03d}" for number in range(patients)])
    label = rng.random(n) < 0.3
    own = np.random.default_rng(seed)
    logit = gain * (2.0 * label - 1.0) + own.normal(size=n)
    return {
        "patient": np.repeat(names, per_patient),
        "label": label.astype(np.uint8),
        "score": 1.0 / (1.0 + np.exp(-logit)),
        "cohort": np.repeat(np.where(np.arange(patients) % 2, "male", "female"), per_patient),
        "rejected": np.zeros(n, dtype=np.uint8),
        "time_s": np.tile(np.linspace(100.0, 80_000.0, per_patient), patients),
        "monitored_patient": names,
        "monitored_s": np.full(patients, 86_400.0),
        "decided_after_s": np.where(label, own.exponential(8.0, n), np.nan),
        "latency_ms": own.gamma(9.0, 1.2, 300),
        "repeats": np.linspace(0.1, 0.9, 12)[:, None] + own.normal(size=(12, 4)) * 0.02,
    }


class Bench:
    """Three arms and a protocol in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.arms = {
            "candidate": arrays_of(1, gain=2.0),
            "last": arrays_of(2),
            "original": arrays_of(3),
        }
        self.protocol = PROTOCOL

    def spoil(self, spoil: Spoil, *arms: str) -> None:
        for arm in arms or tuple(self.arms):
            spoil(self.arms[arm])

    def run(self) -> tuple[int, Any]:
        words: list[str] = []
        for arm, arrays in self.arms.items():
            np.savez(self.folder / f"{arm}.npz", **arrays)
            words += [f"--{arm}", str(self.folder / f"{arm}.npz")]
        path, output = self.folder / "protocol.toml", self.folder / "report.json"
        path.write_text(self.protocol)
        output.unlink(missing_ok=True)
        code = main(["compare", *words, "--protocol", str(path), "--output", str(output), *POINTS])
        return code, json.loads(output.read_bytes()) if output.exists() else None


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def criterion(measure: str, **members: object) -> str:
    lines = [f'measure = "{measure}"', 'rationale = "test"']
    lines += [f"{k} = {json.dumps(v)}" for k, v in ({"decides": False} | members).items()]
    return "\n[[criteria]]\n" + "\n".join(lines) + "\n"


def parameter(measure: Measured) -> dict[str, str]:
    return {"parameter": "0.5"} if measure in PARAMETERS else {}


def found(report: Any, start: str) -> Any:
    return next(item for item in report["analysis"]["criteria"] if item["id"].startswith(start))


# ------------------------------------------------------------------------------------- measures


def test_every_measure_gives_an_interval_that_holds_its_estimate(bench: Bench) -> None:
    bench.protocol += ALERTS
    asked = []
    for measure in Measured:
        if measure not in BESIDE:
            bench.protocol += criterion(measure, **parameter(measure))
            asked.append(measure)
        if measure not in ALONE:
            bench.protocol += criterion(measure, versus="last", **parameter(measure))
            asked.append(measure)
    code, report = bench.run()
    assert code == 0
    answered = [c for c in report["analysis"]["criteria"] if c.get("population") != "worst-case"]
    answered = [c for c in answered if c.get("population") != "as-decided"]
    assert [item["metric"] for item in answered] == [str(one) for one in asked]
    for item in answered:
        value = item["value"]
        assert float(value["low"]) <= float(value["estimate"]) <= float(value["high"])
        assert item["decision"] == "not-evaluable", "shown without a limit is never met"


def test_the_better_arm_is_better_by_every_measure_of_being_right(bench: Bench) -> None:
    bench.protocol += ALERTS
    for measure in ("auc", "brier", "ppv", "npv", "actionable"):
        bench.protocol += criterion(measure, versus="last")
    bench.protocol += criterion("partial-auc", versus="last", parameter="0.2")
    bench.protocol += criterion("net-benefit", versus="last", parameter="0.3")
    _, report = bench.run()
    for measure, sign in {
        "auc": 1, "partial-auc": 1, "brier": -1, "ppv": 1, "npv": 1, "net-benefit": 1,
        "actionable": 1,
    }.items():  # fmt: skip
        assert sign * float(found(report, measure)["value"]["estimate"]) > 0, measure


NEEDS = [
    ("alert-ratio", {"versus": "last"}, ("time_s", "monitored_patient", "monitored_s")),
    ("time-to-decision", {"versus": "last", "parameter": "0.5"}, ("decided_after_s",)),
    ("latency", {"parameter": "0.95"}, ("latency_ms",)),
]


@pytest.mark.parametrize(("measure", "members", "arrays"), NEEDS, ids=[one[0] for one in NEEDS])
def test_what_the_predictions_do_not_hold_is_not_evaluable_and_never_met(
    bench: Bench, measure: str, members: dict[str, str], arrays: tuple[str, ...]
) -> None:
    bench.protocol += ALERTS
    bench.protocol += criterion(measure, atMost="1000", decides=True, **members)
    code, report = bench.run()
    assert (code, found(report, measure)["decision"]) == (0, "met")
    bench.spoil(lambda arm: [arm.pop(name) for name in arrays])
    code, report = bench.run()
    assert (code, report["overall"]) == (1, "not-evaluable")


def test_scores_that_are_no_probabilities_have_no_calibration(bench: Bench) -> None:
    bench.protocol += criterion("calibration-slope", atLeast="0.1", decides=True)
    bench.spoil(lambda arm: arm.update(score=arm["score"] * 3.0 - 1.0))
    code, report = bench.run()
    assert (code, report["overall"]) == (1, "not-evaluable")
    assert "calibration" not in report["analysis"]["arms"]["candidate"]


def test_too_few_runs_bound_no_latency(bench: Bench) -> None:
    """58 runs are one too few before the slowest bounds a P95: an estimate decides nothing."""
    bench.protocol += criterion("latency", parameter="0.95", atMost="1000", decides=True)
    bench.spoil(lambda arm: arm.update(latency_ms=arm["latency_ms"][:58]))
    assert bench.run()[1]["overall"] == "not-evaluable"
    bench.spoil(lambda arm: arm.update(latency_ms=np.append(arm["latency_ms"], 9.0)))
    assert bench.run()[1]["overall"] == "met"


def test_more_alerts_turn_a_gain_in_sensitivity_into_a_loss(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.protocol += ALERTS + criterion("alert-ratio", versus="last", atMost="1.20", decides=True)
    bench.arms["candidate"] = dict(bench.arms["last"])
    score = bench.arms["candidate"]["score"].copy()
    score[np.flatnonzero(bench.arms["last"]["label"] == 0)[::12]] = 0.9
    bench.arms["candidate"]["score"] = np.maximum(score, bench.arms["last"]["score"])
    code, report = bench.run()
    assert code == 1
    assert "alert-ratio vs last in all: not-met" in capsys.readouterr().err
    endpoints = [item for item in report["endpoints"] if item["role"] == "co-primary"]
    assert {item["decision"] for item in endpoints} == {"met"}
    assert report["crit"] == ["analysis"]


# ------------------------------------------------------------------------------------ undecided


def test_undecided_cases_are_counted_three_ways(bench: Bench) -> None:
    """A tenth undecided by the candidate: as good where it decides, worse where all count."""
    bench.arms["candidate"] = {k: v.copy() for k, v in bench.arms["last"].items()}
    arm = bench.arms["candidate"]
    arm["score"][::5] = np.nan
    arm["rejected"][::10] = 1
    code, report = bench.run()
    assert code == 1
    analysed = report["analysis"]["arms"]["candidate"]
    n = len(arm["score"])
    assert (analysed["indeterminate"], analysed["qualityRejected"]) == (n // 10, n // 10)
    assert sum(analysed["rejectedByCohort"].values()) == n // 10
    by_id = {item["id"]: item for item in report["analysis"]["criteria"]}
    name = "sensitivity vs last in all"
    assert next(e for e in report["endpoints"] if e["id"] == name)["decision"] == "not-met"
    assert by_id[f"{name} as-decided"]["decision"] == "met"
    assert by_id[f"{name} worst-case"]["decision"] == "not-met"


def test_the_worst_case_is_in_favour_of_the_baseline_and_may_decide(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    """A baseline that leaves cases open makes the candidate look better than it is."""
    bench.arms["candidate"] = {k: v.copy() for k, v in bench.arms["last"].items()}
    bench.arms["candidate"]["score"][1::7] = 1.0 - bench.arms["candidate"]["score"][1::7]
    for name in ("last", "original"):
        bench.arms[name]["score"][::5] = np.nan
        bench.arms[name]["label"] = bench.arms["candidate"]["label"]
    assert bench.run()[0] == 0
    capsys.readouterr()
    bench.protocol += 'worstCase = "decides"\n'
    code, report = bench.run()
    assert (code, report["overall"]) == (1, "not-met")
    assert "in all worst-case: not-met" in capsys.readouterr().err


# ----------------------------------------------------------------------------------- accounting


def test_every_case_is_accounted_for_before_anything_is_compared(bench: Bench) -> None:
    bench.protocol += "enrolled = { patients = 43, cases = 1290 }\n"
    bench.protocol += 'excluded = [{ reason = "paced", patients = 2, cases = 60 }]\n'
    assert bench.run() == (2, None)
    bench.protocol = bench.protocol.replace("patients = 2, cases = 60", "patients = 3, cases = 90")
    code, report = bench.run()
    assert code == 0
    assert report["analysis"]["excluded"] == [{"reason": "paced", "patients": 3, "cases": 90}]


def test_without_a_reference_standard_it_is_agreement(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.protocol += 'referenceStandard = "none"\n'
    assert bench.run()[1]["analysis"]["agreement"] is True
    assert "positive agreement" in capsys.readouterr().out


@pytest.mark.parametrize(("margin", "decision"), [("0.12", "not-met"), ("0.14", "met")])
def test_so_few_independent_pairs_are_tested_exactly(
    bench: Bench, make_predictions: Any, margin: str, decision: str
) -> None:
    """30 equal pairs: the interval ends at -0.1135, and 0.12 is still not shown by exact count."""
    path = make_predictions(bench.folder / "a.npz", patients=60, per_patient=1)
    arrays = dict(np.load(path))
    for name in bench.arms:
        bench.arms[name] = {k: v.copy() for k, v in arrays.items()}
    bench.protocol = PROTOCOL.replace("cases = 50", "cases = 10").replace("0.10", margin)
    _, report = bench.run()
    asked = {item["id"]: item for item in report["endpoints"]}["sensitivity vs last in all"]
    assert (asked["difference"]["low"], asked["decision"]) == ("-0.113513", decision)
    assert "exact unconditional p" in asked["why"]


# ------------------------------------------------------------------------------------- protocol


@pytest.mark.parametrize(
    "text",
    [
        criterion("alert-ratio", versus="last", atMost="1.2"),
        ALERTS + criterion("alert-ratio", atMost="1.2"),
        criterion("latency", parameter="0.95", versus="last"),
        criterion("auc", parameter="0.5"),
        criterion("partial-auc"),
        criterion("auc", decides=True),
        criterion("auc", atLeast="0.9", atMost="0.8"),
        criterion("auc", atLeast="0.00000001"),
        criterion("accuracy"),
        criterion("auc") + criterion("auc"),
    ],
)
def test_a_criterion_that_cannot_be_answered_is_refused_when_it_is_written(text: str) -> None:
    with pytest.raises(PrimumError):
        parse_settings(Protocol, (PROTOCOL + text).encode(), where="protocol")


def test_latency_is_of_a_named_hardware() -> None:
    text = PROTOCOL.replace('latencyMeasuredOn = "bench"\n', "") + criterion(
        "latency", parameter="0.95"
    )
    with pytest.raises(PrimumError, match=r".*"):
        parse_settings(Protocol, text.encode(), where="protocol")


@pytest.mark.parametrize("rationale", ["test", " "])
def test_a_wider_margin_of_a_cohort_needs_a_reason_of_its_own(rationale: str) -> None:
    cohort = '\n[[cohorts]]\nid = "male"\nclaim = true\nminimum = { patients = 5, cases = 9 }\n'
    margins = 'margins = { sensitivity = "0.20", specificity = "0.10", rationale = "%s" }\n'
    with pytest.raises(PrimumError):
        parse_settings(Protocol, (PROTOCOL + cohort + margins % rationale).encode(), where="p")
    parse_settings(Protocol, (PROTOCOL + cohort + margins % "smaller, RA-12").encode(), where="p")


# ---------------------------------------------------------------------------------- predictions


@pytest.mark.parametrize(
    "spoil",
    [
        lambda arm: arm["rejected"].__setitem__(0, 1),
        lambda arm: arm.update(rejected=arm["rejected"][:-1]),
        lambda arm: arm.update(time_s=arm["time_s"] - 200.0),
        lambda arm: arm.update(time_s=arm["time_s"] + 86_400.0),
        lambda arm: arm.pop("monitored_s"),
        lambda arm: arm.update(monitored_patient=np.repeat("p000", 40)),
        lambda arm: arm.update(monitored_patient=arm["monitored_patient"][1:]),
        lambda arm: arm.update(
            monitored_patient=arm["monitored_patient"][1:], monitored_s=arm["monitored_s"][1:]
        ),
        lambda arm: arm.update(latency_ms=np.array([1.0, np.nan])),
        lambda arm: arm.update(decided_after_s=np.full(len(arm["score"]), np.inf)),
        lambda arm: arm.update(repeats=arm["repeats"][:, 0]),
        lambda arm: arm.update(repeats=np.full((3, 2), np.nan)),
        lambda arm: arm.update(latency_ms=np.array([object()])),
    ],
)
def test_a_further_array_that_cannot_be_is_a_usage_error(bench: Bench, spoil: Spoil) -> None:
    bench.spoil(spoil)
    assert bench.run() == (2, None)


def test_arms_whose_times_differ_are_not_paired(bench: Bench) -> None:
    bench.spoil(lambda arm: arm.update(time_s=arm["time_s"] + 1.0), "candidate")
    assert bench.run() == (2, None)


@pytest.mark.parametrize("name", ["patient", "label", "cohort", "time_s", "monitored_s"])
def test_the_digest_of_the_cases_is_of_every_value_and_of_no_arm(tmp_path: Path, name: str) -> None:
    base = arrays_of(1)
    digests = []
    changed = {k: v.copy() for k, v in base.items()}
    other = {"patient": "p001", "label": 1 - base["label"][3], "cohort": "male"}
    changed[name][3] = other[name] if name in other else base[name][3] + 1.0
    for number, arrays in enumerate((base, arrays_of(2), changed)):
        np.savez(tmp_path / f"{number}.npz", **arrays)
        digests.append(cases_sha256(read_predictions(tmp_path / f"{number}.npz")))
    assert digests[0] == digests[1] != digests[2]
