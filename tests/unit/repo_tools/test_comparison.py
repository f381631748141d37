"""The gate of comparison: what it lets through, what it names, what it cannot be fooled by."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from primum_repo_tools.cli import main
from primum_repo_tools.predictions import read_predictions
from primum_repo_tools.protocol import Protocol
from primum_repo_tools.settings import parse_settings
from primum_verifier.core.errors import PrimumError, UsageError

DATA = Path(__file__).parent / "data"
POINTS = [
    item for arm in ("candidate", "last", "original") for item in ("--threshold", f"{arm}=0.5")
]


def compare(
    folder: Path, candidate: Path, baseline: Path, protocol: Path | None = None, *more: str
) -> tuple[int, Path]:
    output = folder / "comparison.json"
    arms = ["--candidate", candidate, "--last", baseline, "--original", baseline]
    protocol = protocol or DATA / "protocol-demonstration.toml"
    arguments = [*arms, "--protocol", protocol, "--output", output, *POINTS, *more]
    return main(["compare", *map(str, arguments)]), output


def test_an_equal_candidate_is_met(tmp_path: Path, make_predictions: Any) -> None:
    same = make_predictions(tmp_path / "a.npz")
    code, output = compare(tmp_path, same, same)
    assert code == 0
    assert json.loads(output.read_bytes())["overall"] == "met"


def test_more_auc_cannot_hide_lost_sensitivity(
    tmp_path: Path, make_predictions: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A candidate that invents nothing and misses more is refused, and the endpoint is named."""
    last = make_predictions(tmp_path / "last.npz", flip_negatives=80)
    candidate = make_predictions(tmp_path / "candidate.npz", flip_positives=40)
    code, output = compare(tmp_path, candidate, last)
    assert code == 1
    told = capsys.readouterr().err
    assert told.startswith("validation.not-met")
    assert "sensitivity vs last in all: not-met" in told
    report = json.loads(output.read_bytes())
    by_id = {item["id"]: item for item in report["endpoints"]}
    assert by_id["specificity vs last in all"]["decision"] == "met"
    assert by_id["auc vs last in all"]["role"] == "secondary"
    assert report["overall"] == "not-met"


def test_small_losses_cannot_add_up(tmp_path: Path, make_predictions: Any) -> None:
    """Near enough to the last release, too far from the original one: refused."""
    arms = {
        "original": make_predictions(tmp_path / "o.npz"),
        "last": make_predictions(tmp_path / "l.npz", flip_positives=12),
        "candidate": make_predictions(tmp_path / "c.npz", flip_positives=16),
    }
    options = [item for arm, path in arms.items() for item in (f"--{arm}", str(path))]
    output = tmp_path / "report.json"
    protocol = str(DATA / "protocol-demonstration.toml")
    arguments = [*options, "--protocol", protocol, "--output", str(output), *POINTS]
    assert main(["compare", *arguments]) == 1
    report = json.loads(output.read_bytes())
    failed = [e["id"] for e in report["endpoints"] if e["decision"] == "not-met"]
    assert failed == ["sensitivity vs original in all"]


def test_a_claimed_cohort_that_loses_is_named(
    tmp_path: Path, make_predictions: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    protocol = tmp_path / "protocol.toml"
    text = (DATA / "protocol-demonstration.toml").read_text()
    protocol.write_text(text.replace("claim = false", "claim = true").replace("= 10\n", "= 2\n"))
    arms = {}
    for name, loser in (("last", "male"), ("candidate", "female")):
        arms[name] = make_predictions(tmp_path / f"{name}.npz", patients=40)
        arrays = dict(np.load(arms[name]))
        lost = np.flatnonzero((arrays["cohort"] == loser) & (arrays["label"] == 1))
        arrays["score"][lost[:150]] = 0.1
        np.savez(arms[name], **arrays)
    code, output = compare(tmp_path, arms["candidate"], arms["last"], protocol)
    assert code == 1
    assert "sensitivity vs last in female: not-met" in capsys.readouterr().err
    by_id = {item["id"]: item for item in json.loads(output.read_bytes())["endpoints"]}
    assert by_id["sensitivity vs last in all"]["decision"] == "met"


def test_too_few_patients_never_pass(tmp_path: Path, make_predictions: Any) -> None:
    same = make_predictions(tmp_path / "a.npz", patients=6)
    code, output = compare(tmp_path, same, same, DATA / "protocol-patients.toml")
    assert code == 1
    assert json.loads(output.read_bytes())["overall"] == "not-evaluable"


def test_no_decision_counts_against_the_candidate(tmp_path: Path, make_predictions: Any) -> None:
    last = make_predictions(tmp_path / "last.npz")
    candidate = make_predictions(tmp_path / "candidate.npz")
    arrays = dict(np.load(candidate))
    arrays["score"][:100] = np.nan
    np.savez(candidate, **arrays)
    code, output = compare(tmp_path, candidate, last)
    assert code == 1
    report = json.loads(output.read_bytes())
    assert report["arms"]["candidate"]["noDecision"] == 100
    co_primary = [e for e in report["endpoints"] if e["role"] == "co-primary"]
    assert {e["decision"] for e in co_primary} == {"not-met"}


def test_the_report_is_the_same_to_the_byte(tmp_path: Path, make_predictions: Any) -> None:
    last = make_predictions(tmp_path / "last.npz", flip_positives=2, patients=30)
    found = set()
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        _, output = compare(tmp_path / folder, last, last, DATA / "protocol-patients.toml")
        found.add(output.read_bytes())
    assert len(found) == 1


def test_a_moved_margin_shows_in_the_report(tmp_path: Path, make_predictions: Any) -> None:
    same = make_predictions(tmp_path / "a.npz")
    moved = tmp_path / "moved.toml"
    text = (DATA / "protocol-demonstration.toml").read_text()
    moved.write_text(text.replace('sensitivity = "0.05"', 'sensitivity = "0.30"'))
    _, output = compare(tmp_path, same, same)
    before = json.loads(output.read_bytes())["protocol"]["digest"]
    _, output = compare(tmp_path, same, same, moved)
    assert json.loads(output.read_bytes())["protocol"]["digest"] != before


def test_the_methods_frozen_in_the_protocol_are_repeated_in_the_report(
    tmp_path: Path, make_predictions: Any
) -> None:
    """Whoever checks a change against its plan reads the methods in the report, as frozen."""
    same = make_predictions(tmp_path / "a.npz")
    names = ("data_management", "retraining", "performance_evaluation", "update_procedures")
    lines = [
        f'{name} = {{ method_id = "{name}-1", document_digest = {{ sha256 = "{place * 64}" }} }}'
        for place, name in zip("1234", names, strict=True)
    ]
    text = (DATA / "protocol-demonstration.toml").read_text()
    planned = tmp_path / "planned.toml"
    planned.write_text("\n".join([text, "[methods]", *lines]))
    code, output = compare(tmp_path, same, same, planned)
    methods = json.loads(output.read_bytes())["methods"]
    assert (code, set(methods)) == (
        0,
        {"dataManagement", "retraining", "performanceEvaluation", "updateProcedures"},
    )
    assert methods["retraining"] == {
        "methodId": "retraining-1",
        "documentDigest": {"sha256": "2" * 64},
    }
    planned.write_text("\n".join([text, "[methods]", *lines[:3]]))
    assert compare(tmp_path, same, same, planned)[0] == 2


def test_strangers_are_not_paired(
    tmp_path: Path, make_predictions: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    a = make_predictions(tmp_path / "a.npz")
    b = make_predictions(tmp_path / "b.npz", patients=9)
    assert compare(tmp_path, a, b)[0] == 2
    assert "same cases" in capsys.readouterr().err


@pytest.mark.parametrize(
    "spoil",
    [
        lambda arrays: arrays.pop("cohort"),
        lambda arrays: arrays.update(label=arrays["label"] + 1),
        lambda arrays: arrays.update(score=arrays["score"][:-1]),
        lambda arrays: arrays.update(patient=np.arange(len(arrays["label"]))),
        lambda arrays: arrays.update(score=np.full(len(arrays["label"]), np.inf)),
        lambda arrays: arrays.update(patient=np.array([{}] * len(arrays["label"]))),
        lambda arrays: arrays.update({k: v[:0] for k, v in arrays.items()}),
        lambda arrays: arrays.update(label=np.uint8(1)),
    ],
)
def test_wrong_predictions_are_a_usage_error(
    tmp_path: Path, make_predictions: Any, spoil: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    good = make_predictions(tmp_path / "good.npz")
    arrays = dict(np.load(good))
    spoil(arrays)
    bad = tmp_path / "bad.npz"
    np.savez(bad, **arrays)
    assert compare(tmp_path, bad, good)[0] == 2
    assert "predictions cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["", "candidate=x", "candidate", "candidate=nan", "last=1e999999", "last=.5"]
)
def test_a_wrong_threshold_is_a_usage_error(
    tmp_path: Path, make_predictions: Any, text: str
) -> None:
    same = str(make_predictions(tmp_path / "a.npz"))
    arms = [item for arm in ("candidate", "last", "original") for item in (f"--{arm}", same)]
    protocol = str(DATA / "protocol-demonstration.toml")
    points = [*POINTS[:-2], "--threshold", text]
    assert main(["compare", *arms, "--protocol", protocol, *points]) == 2


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400))
def test_any_bytes_as_predictions_are_refused_clearly(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "any.npz"
    path.write_bytes(data)
    with pytest.raises(PrimumError):
        read_predictions(path)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 4000), st.integers(0, 255))
def test_a_damaged_npz_never_gives_a_traceback(
    tmp_path: Path, make_predictions: Any, place: int, byte: int
) -> None:
    path = make_predictions(tmp_path / "damaged.npz", patients=2, per_patient=4)
    data = bytearray(path.read_bytes())
    data[place % len(data)] = byte
    path.write_bytes(bytes(data))
    # Read as what it is, or refused; anything else that is raised fails the test.
    with suppress(UsageError):
        read_predictions(path)


@given(st.binary(max_size=300))
def test_any_bytes_as_a_protocol_are_refused_clearly(data: bytes) -> None:
    with pytest.raises(PrimumError):
        parse_settings(Protocol, data, where="protocol")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('sensitivity = "0.05"', "sensitivity = 0.05"),
        ('sensitivity = "0.05"', 'sensitivity = "-0.05"'),
        ('sensitivity = "0.05"', 'sensitivity = "1.05"'),
        ("[margins]", "[margin]"),
        ('id = "female"', 'id = "male"'),
        ('id = "female"', 'id = "all"'),
        ('unit = "beat"', 'unit = "window"'),
        ("frozen_at = 2026-11-22T09:55:00Z", "frozen_at = 2026-11-22T09:55:00"),
    ],
)
def test_a_misspelt_protocol_is_refused(old: str, new: str) -> None:
    text = (DATA / "protocol-demonstration.toml").read_text()
    assert old in text
    with pytest.raises(PrimumError):
        parse_settings(Protocol, text.replace(old, new, 1).encode(), where="protocol")
