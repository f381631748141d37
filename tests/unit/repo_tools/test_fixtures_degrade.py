"""Robustness cases: what is done to a strip, what is expected of it, and what is never assumed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.repo_tools.conftest import Answer
from tests.unit.repo_tools.fixture_world import RAIL, SAMPLES, Bench, strip_model, strips

from primum_repo_tools.cli import main
from primum_repo_tools.degradations import NEEDS_NOISE, Field, FlatSignalError, Kind, degrade
from primum_repo_tools.self_test_file import read_self_test
from primum_verifier.proof.fixtures import Fixtures, read_fixtures

FIELD = Field(seed=1, rails=(-5.0, 5.0), rate_hz=100.0)
STRIP = strips()["input.ecg"][0].astype(np.float64)
RAILS = ("--rails", f"-{RAIL},{RAIL}")


DRAWN = ["-0x1.435b2580d3ddap+0", "-0x1.28f5c28f5c290p-1", "-0x1.0375ab4c90f3fp-2"]
"""Of wander, motion and muscle noise, in this order."""


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Bench:
    """Clean fixtures of a model that declines at the rails and on flat strips."""

    def run(*arguments: object) -> Answer:
        capsys.readouterr()
        code = main([str(item) for item in arguments])
        told = capsys.readouterr()
        return Answer(code, told.out, told.err)

    (tmp_path / "model.onnx").write_bytes(strip_model())
    made = Bench(tmp_path, run)
    answer = made.make()
    assert answer.code == 0, answer.err
    return made


def of(bench: Bench, name: str = "all.npz") -> Fixtures:
    return read_fixtures((bench.folder / name).read_bytes())


@pytest.mark.parametrize("kind", Kind)
@given(
    strip=st.lists(st.floats(-4, 4, width=32), min_size=2, max_size=80),
    seed=st.integers(0, 2**40),
    name=st.text(max_size=5),
)
@settings(max_examples=30, deadline=None)
def test_a_degraded_strip_is_one_that_a_device_could_deliver(
    kind: Kind, strip: list[float], seed: int, name: str
) -> None:
    where = Field(seed=seed, rails=(-5.0, 5.0), rate_hz=100.0)
    clean = np.array(strip)
    before = clean.copy()
    try:
        found = degrade(clean, kind, where, name=name)
    except FlatSignalError:
        assert kind in NEEDS_NOISE
        return
    assert np.array_equal(clean, before), "what was recorded stays as it is"
    assert found.shape == clean.shape
    assert np.isnan(found).any() == (kind in {Kind.NAN, Kind.MISSING_NAN})
    assert not np.isinf(found).any()
    again = degrade(clean, kind, where, name=name)
    assert found.tobytes() == again.tobytes()


def test_each_kind_does_what_it_says() -> None:
    done = {kind: degrade(STRIP, kind, FIELD, name="a") for kind in Kind}
    assert int(np.isnan(done[Kind.MISSING_NAN]).sum()) == round(0.2 * SAMPLES)
    held = done[Kind.MISSING_HOLD]
    gap = np.flatnonzero(held != STRIP)
    assert gap.size >= round(0.2 * SAMPLES) - 2
    assert set(held[gap].tolist()) == {STRIP[gap[0] - 1]}
    off = done[Kind.LEAD_OFF]
    onset = int(np.flatnonzero(off == 5.0)[0])
    assert onset < SAMPLES // 2
    assert (off[onset:] == 5.0).all()
    clipped = done[Kind.SATURATION]
    assert clipped.min() == -5.0
    assert clipped.max() == 5.0
    assert int(np.isnan(done[Kind.NAN]).sum()) == 1
    assert np.ptp(done[Kind.CONSTANT]) == 0
    assert np.array_equal(done[Kind.POLARITY], -STRIP)
    assert np.array_equal(done[Kind.GAIN_UNIT], STRIP * 1000)


@pytest.mark.parametrize("kind", sorted(NEEDS_NOISE))
@pytest.mark.parametrize("snr_db", [-6.0, 0.0, 12.0])
def test_noise_has_the_power_that_is_asked_for(kind: Kind, snr_db: float) -> None:
    where = Field(seed=1, rate_hz=100.0, snr_db=snr_db)
    noise = degrade(STRIP, kind, where, name="a") - STRIP
    assert 10 * math.log10(np.var(STRIP) / np.var(noise)) == pytest.approx(snr_db, abs=1e-6)


def test_recorded_noise_takes_the_place_of_synthetic() -> None:
    recorded = np.sin(np.arange(1000) / 3.0)
    where = Field(seed=1, snr_db=0.0, noise={Kind.MOTION: recorded})
    noise = degrade(STRIP, Kind.MOTION, where, name="a") - STRIP
    windows = np.lib.stride_tricks.sliding_window_view(recorded, SAMPLES)
    assert max(np.corrcoef(noise, window)[0, 1] for window in windows) > 0.999999


def test_what_is_drawn_is_the_same_on_every_machine() -> None:
    """The numbers stand here: another machine, numpy or libm that draws others is seen."""
    strip = np.arange(200.0) * 37 % 101 / 50 - 1
    found = [degrade(strip, kind, FIELD, name="a")[77] for kind in sorted(NEEDS_NOISE)]
    assert [float(number).hex() for number in found] == DRAWN


def test_each_kind_is_a_cohort_with_a_test_of_its_own(bench: Bench) -> None:
    answer = bench.degrade(
        "lead-off=no-decision", "constant=no-decision", "gain-half=as-clean",
        more=(*RAILS, "--json", "--cases", "4"),
    )  # fmt: skip
    assert answer.code == 0, answer.err
    made, clean = of(bench), of(bench, "fixtures.npz")
    assert made.cases[:12] == clean.cases
    assert made.inputs[0].data.startswith(clean.inputs[0].data)
    assert made.references["p"].data.startswith(clean.references["p"].data)
    rows = list(zip(made.cohorts, made.labels, made.expected_decisions, strict=True))[12:]
    assert rows[:8] == [("degraded-lead-off", -1, -1)] * 4 + [("degraded-constant", -1, -1)] * 4
    assert (
        sorted(rows[8:]) == [("degraded-gain-half", 0, 0)] * 2 + [("degraded-gain-half", 1, 1)] * 2
    )
    plan = read_self_test(bench.folder / "all.self-test.toml")
    assert [test.cohort for test in plan.tests if test.level == "safety-function"] == [
        "degraded-lead-off", "degraded-constant", "degraded-gain-half",
    ]  # fmt: skip
    assert plan.min_tests == len(plan.tests)
    assert "seed 1: lead-off (no-decision), constant (no-decision), gain-half" in plan.origin
    assert plan.origin.count("References: ") == 1


def test_more_kinds_later_leave_the_others_as_they_are(bench: Bench) -> None:
    bench.degrade("motion=as-clean", "nan=no-decision", output="one.npz", more=("--rate", 100))
    bench.degrade(
        "polarity=as-computed", "nan=no-decision", "motion=as-clean", output="two.npz",
        more=("--rate", 100, "--accept-computed"),
    )  # fmt: skip
    found = bench.run(
        "fixtures", "diff", bench.folder / "one.npz", bench.folder / "two.npz", "--json"
    )
    assert found.json["removed"] == []
    assert found.json["changed"] == {}
    assert len(found.json["added"]) == 4
    assert found.json["elsewhere"] == ["the cases stand in another order"]


def test_a_model_that_answers_on_a_fault_is_refused(bench: Bench) -> None:
    """Danger: a fixture expects what no model of the release does, or takes it for granted."""
    before = {path.name for path in bench.folder.iterdir()}
    answer = bench.degrade("gain-double=no-decision", "polarity=as-clean", more=RAILS)
    assert answer.code == 1
    assert "gain-double 4 of 4" in answer.err
    assert "polarity 4 of 4" in answer.err
    assert "--accept-computed" in answer.err
    assert {path.name for path in bench.folder.iterdir()} == before


def test_what_is_computed_is_signed_only_openly(bench: Bench) -> None:
    answer = bench.degrade("polarity=as-computed")
    assert answer.code == 2
    assert "as-computed with --accept-computed" in answer.err
    answer = bench.degrade("polarity=as-computed", more=("--accept-computed",))
    assert answer.code == 0, answer.err
    assert "ACCEPTED AS COMPUTED" in answer.out
    assert "2 positive, 2 negative" in answer.out
    made = of(bench)
    assert made.labels[12:] == (-1,) * 4, "nobody knows what is true of a strip upside down"


def test_another_model_than_the_fixtures_were_made_with_is_refused(bench: Bench) -> None:
    """Danger: the clean cases hold references of one model and the degraded ones of another."""
    bench.model.write_bytes(strip_model(scale=0.5))
    answer = bench.degrade("constant=no-decision")
    assert answer.code == 1
    assert "other outputs in 12 of 12 cases" in answer.err
    assert not (bench.folder / "all.npz").exists()


@pytest.mark.parametrize(
    ("expect", "more", "told"),
    [
        ((), (), "KIND=EXPECTATION"),
        (("humid=as-clean",), (), "lead-off"),
        (("nan=maybe",), (), "no-decision"),
        (("nan",), (), "no-decision"),
        (("nan=no-decision", "nan=as-clean"), (), "nan twice"),
        (("lead-off=no-decision",), (), "--rails"),
        (("motion=as-clean",), (), "--rate"),
        (("saturation=no-decision",), ("--rails", "5,-5"), "LOW,HIGH"),
        (("saturation=no-decision",), ("--rails", "nan,5"), "LOW,HIGH"),
        (("motion=as-clean",), ("--rate", "0"), "samples a second"),
        (("motion=as-clean",), ("--rate", "nan"), "samples a second"),
        (("muscle-noise=as-clean",), ("--snr-db", "99"), "dB"),
        (("missing-nan=no-decision",), ("--gap", "1"), "a share"),
        (("nan=no-decision",), ("--input", "rr"), "ecg"),
        (("nan=no-decision",), ("--time-axis", "3"), "axis of time"),
        (("nan=no-decision",), ("--from", "nowhere"), "no cohort nowhere"),
        (("motion=as-clean",), ("--noise", "nan=x.npy"), "--noise"),
        (("motion=as-clean",), ("--noise", "motion=missing.npy"), "missing.npy"),
        (("nan=no-decision",), ("--self-test", "nowhere.toml"), "nowhere.toml"),
    ],
)
def test_what_cannot_be_done_is_told_with_what_can(
    bench: Bench, expect: tuple[str, ...], more: tuple[str, ...], told: str
) -> None:
    answer = bench.degrade(*expect, more=more)
    assert answer.code == 2, answer.out
    assert told in answer.err
    assert not (bench.folder / "all.npz").exists()


def test_recorded_noise_that_is_too_short_is_told(bench: Bench) -> None:
    np.save(bench.folder / "noise.npy", np.ones(SAMPLES - 1))
    noise = f"motion={bench.folder / 'noise.npy'}"
    answer = bench.degrade("motion=as-clean", more=("--noise", noise))
    assert answer.code == 2
    assert "199 samples of noise" in answer.err


def test_a_kind_twice_and_earlier_decisions_are_told(bench: Bench) -> None:
    assert bench.degrade("nan=no-decision").code == 0
    again = bench.run(
        "fixtures", "degrade", bench.folder / "all.npz", "--model", bench.model,
        "--output", bench.folder / "more.npz", "--risk-control", "RC-06",
        "--expect", "nan=no-decision",
    )  # fmt: skip
    assert again.code == 2
    assert "there already" in again.err
    decided: Any = {f"decision__{'a' * 64}": strips()["label"]}
    assert bench.make(**decided).code == 0
    answer = bench.degrade("nan=no-decision", output="more.npz")
    assert answer.code == 2
    assert "Degrade first" in answer.err


def test_the_release_with_them_passes_and_a_model_that_answers_does_not(
    bench: Bench, story: Any
) -> None:
    """The safety-function tests are real: without the model's own checks they fail."""
    assert bench.degrade("lead-off=no-decision", more=RAILS).code == 0
    plan = story.plan("1.0.0", folder=bench.folder)
    table = (bench.folder / "all.self-test.toml").read_text()
    (bench.folder / "model.onnx").write_bytes(strip_model())
    head, _, _ = plan.read_text().partition("[self_test]")
    plan.write_text(head.replace('"fixtures.npz"', '"all.npz"') + table)
    story.run("release", "build", story.engineering, plan)
    story.run("release", "check", story.engineering, "pvc-classifier", "1.0.0")
    model = onnx.ModelProto.FromString(strip_model())
    for tensor in model.graph.initializer:
        if tensor.name == "rail":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(1e9, np.float32), "rail"))
    (bench.folder / "model.onnx").write_bytes(model.SerializeToString())
    story.run("release", "build", story.engineering, plan)
    answer = story.try_run(
        "release", "check", story.engineering, "pvc-classifier", "1.0.0", "--json"
    )
    assert answer.code == 1
    assert "safety-degraded-lead-off" in answer.out + answer.err
