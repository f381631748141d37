"""How large a test set has to be: planning numbers, honest power, and no promise beyond it."""

from __future__ import annotations

import json
from math import isclose
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from primum_repo_tools.cli import main
from primum_repo_tools.statistics.bootstrap import (
    ClusterCounts,
    Draws,
    cluster_difference_interval,
)
from primum_repo_tools.statistics.power import (
    Studies,
    Truth,
    closed_form_pairs,
    power_each,
    shown_by_patients,
    shown_by_tango,
    simulate,
    tango_scores,
)
from primum_repo_tools.statistics.tango import tango_score

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize(
    ("margin", "pairs"),
    [
        (0.02, (526, 1314, 2627, 5254)),
        (0.03, (234, 584, 1168, 2335)),
        (0.05, (85, 211, 421, 841)),
        (0.10, (22, 53, 106, 211)),
    ],
)
def test_the_closed_form_is_the_planning_table(margin: float, pairs: tuple[int, ...]) -> None:
    found = tuple(
        closed_form_pairs(margin=margin, discordant=share, power=0.9)
        for share in (0.02, 0.05, 0.10, 0.20)
    )
    assert found == pairs


@pytest.mark.parametrize(
    ("pairs", "discordant", "margin", "power"),
    [(421, 0.10, 0.05, 0.88), (211, 0.05, 0.05, 0.81), (106, 0.10, 0.10, 0.84)],
)
def test_the_simulation_finds_what_the_closed_form_leaves_out(
    pairs: int, discordant: float, margin: float, power: float
) -> None:
    """Less power than 0.90 where few pairs differ, and never more errors than 2.5 in 100."""

    def share(truth: Truth) -> float:
        generator = np.random.default_rng(3)
        found = simulate(truth, studies=6000, patients=pairs, cases=1, generator=generator)
        return float(shown_by_tango(found, margin=margin).mean())

    assert isclose(share(Truth(discordant, 0.0, 0.0)), power, abs_tol=0.015)
    at_the_margin = share(Truth(max(discordant, margin), -margin, 0.0))
    assert 0.010 < at_the_margin < 0.027


def test_cohorts_that_must_all_pass_need_more_each() -> None:
    assert [round(0.9**count, 2) for count in (4, 6, 8)] == [0.66, 0.53, 0.43]
    assert [round(power_each(0.9, count), 3) for count in (4, 6, 8)] == [0.974, 0.983, 0.987]


@settings(max_examples=50)
@given(st.integers(1, 500), st.data())
def test_many_tables_at_once_are_scored_like_one(n: int, data: st.DataObject) -> None:
    gained = data.draw(st.integers(0, n))
    lost = data.draw(st.integers(0, n - gained))
    found = tango_scores(-0.05, np.array([gained]), np.array([lost]), n)
    assert isclose(found[0], tango_score(-0.05, gained, lost, n), rel_tol=1e-9, abs_tol=1e-9)


def test_a_simulated_study_is_decided_as_the_comparison_would() -> None:
    draws = Draws(seed=5, replicates=300)
    generator = np.random.default_rng(1)
    found = simulate(Truth(0.1, 0.0, 0.1), studies=12, patients=30, cases=8, generator=generator)
    shown = shown_by_patients(found, margin=0.06, draws=draws)
    for number, decided in enumerate(shown):
        counts = ClusterCounts(np.full(30, 8), found.gained[number], found.lost[number])
        interval = cluster_difference_interval(counts, seed=5, replicates=300)
        assert decided == (interval.low > -0.06)
    assert 0 < shown.sum() < 12


def test_patients_are_as_alike_as_was_assumed() -> None:
    generator = np.random.default_rng(2)
    alike = simulate(
        Truth(0.2, 0.0, 0.3), studies=1, patients=20_000, cases=10, generator=generator
    )
    shares = alike.lost[0] / 10
    binomial = 0.1 * 0.9 / 10
    assert isclose(shares.mean(), 0.1, abs_tol=0.01)
    assert isclose(shares.var(), binomial * (1 + 9 * 0.3), rel_tol=0.1)


def test_more_patients_never_show_less_and_likeness_costs() -> None:
    draws = Draws(seed=1, replicates=300)

    def power(patients: int, correlation: float) -> float:
        generator = np.random.default_rng(4)
        found = simulate(
            Truth(0.06, 0.0, correlation), studies=400, patients=patients, cases=10,
            generator=generator,
        )  # fmt: skip
        return float(shown_by_patients(found, margin=0.04, draws=draws).mean())

    assert power(20, 0.0) < power(60, 0.0)
    assert power(60, 0.3) < power(60, 0.0)


@pytest.mark.parametrize("truth", [(1.2, 0.0, 0.0), (0.1, 0.2, 0.0), (0.1, 0.0, 1.0)])
def test_what_cannot_be_true_is_refused(truth: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        Truth(*truth)


def test_some_patients_of_a_study_are_a_study() -> None:
    studies = Studies(np.arange(6).reshape(2, 3), np.zeros((2, 3), dtype=np.int64), 9)
    assert studies.of(np.array([True, False, True])).gained.tolist() == [[0, 2], [3, 5]]


@pytest.fixture
def claimed(tmp_path: Path) -> Path:
    """The protocol by patients with both cohorts claimed, quick to simulate."""
    path = tmp_path / "protocol.toml"
    text = (DATA / "protocol-patients.toml").read_text()
    text = text.replace("claim = false", "claim = true").replace(
        "replicates = 2000", "replicates = 200"
    )
    path.write_text(text)
    return path


def plan(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, Any]:
    code = main(["test-set", "plan", *map(str, words), "--json"])
    said = capsys.readouterr()
    return code, json.loads(said.out if code == 0 else said.err[said.err.index('{"error"') :])


ASSUMED = ("--positives", 20, "--negatives", 60, "--discordant", 0.05, "--studies", 200)
SHARES = ("--share", "female=0.5", "--share", "male=0.4")


def test_a_plan_finds_the_fewest_patients_and_repeats_itself(
    claimed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = plan(capsys, claimed, *ASSUMED, *SHARES)
    assert (code, len(found["each"])) == (0, 12)
    fewest = found["tried"][-1]
    assert fewest["joint"] >= 0.9
    # One question alone would be shown by fewer: all at once is what costs.
    assert min(found["each"].values()) > fewest["joint"]
    assert all(one["joint"] < 0.9 for one in found["tried"] if one["patients"] < fewest["patients"])
    assert plan(capsys, claimed, *ASSUMED, *SHARES) == (code, found)


def test_too_few_patients_of_a_cohort_show_nothing(
    claimed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The minimum of the protocol holds in the plan as well: not evaluable is never met."""
    _, found = plan(capsys, claimed, *ASSUMED, *SHARES, "--patients", 22)
    assert found["tried"][0]["joint"] == 0.0
    assert found["each"]["sensitivity vs last in male"] == 0.0
    assert found["each"]["sensitivity vs last in all"] > 0.0


def test_a_true_loss_is_never_planned_away(
    claimed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("primum_repo_tools.planning.MOST_PATIENTS", 200)
    code, error = plan(capsys, claimed, *ASSUMED, *SHARES, "--difference", -0.05)
    assert (code, error["error"]["expected"]) == (2, "0.9")
    assert "with 200 patients" in error["error"]["found"]


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--share", "female=0.5"),
        ("--share", "female=0.7", "--share", "male=0.7"),
        ("--share", "female=0", "--share", "male=0.5"),
        ("--share", "female=x", "--share", "male=0.5"),
        (*SHARES, "--correlation", "1.5"),
    ],
)
def test_a_plan_without_its_assumptions_is_a_usage_error(
    claimed: Path, capsys: pytest.CaptureFixture[str], words: tuple[object, ...]
) -> None:
    assert plan(capsys, claimed, *ASSUMED, *words)[0] == 2


def test_people_read_the_plan(claimed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*ASSUMED, *SHARES, "--patients", "30"]
    assert main(["test-set", "plan", str(claimed), *map(str, words)]) == 0
    told = capsys.readouterr().out
    assert "30 patients: " in told
    assert "12 independent questions would need 0.991 each" in told
