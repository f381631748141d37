"""The self-test's fixtures: the bench's layout, the same bytes twice, no borderline case."""

from pathlib import Path

import numpy as np
import pytest

from primum_device_sim.demo.fixtures import all_cases, build_fixtures, decisions, fixtures_of
from primum_device_sim.demo.inference import run_model
from primum_device_sim.demo.models import load_model
from primum_device_sim.demo.release_folders import write_release_folders
from primum_device_sim.demo.series import SERIES
from primum_repo_tools.fixture_file import fixture_bytes
from primum_repo_tools.release_plan import ReleasePlan
from primum_repo_tools.settings import parse_settings
from primum_verifier.proof.fixtures import read_fixtures

VERSIONS = [version.version for version in SERIES]
# Far more than processors differ by, so that no expected decision hangs on rounding.
MARGIN = 1e-3
MUST_DECIDE = {"fault-gain-double", "fault-gain-half", "fault-offset"}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_verifier_reads_what_is_built(version: str) -> None:
    built = fixtures_of(version)
    assert built == fixtures_of(version)
    fixtures = read_fixtures(built)
    assert len(fixtures.cases) == 64
    assert {each.name: each.shape for each in fixtures.inputs} == {
        "ecg_mv": (64, 432),
        "rr_s": (64, 3),
    }
    assert list(fixtures.references) == ["pvc_probability"]
    assert fixtures.labels.count(1) == fixtures.labels.count(0) == 24
    assert {fixtures.cohorts.count(name) for name in ("normal", "pvc")} == {24}


@pytest.mark.parametrize("version", VERSIONS)
def test_no_expected_decision_hangs_on_rounding(version: str) -> None:
    fixtures = read_fixtures(fixtures_of(version))
    threshold = load_model(version).card.threshold
    away = np.abs(np.array(fixtures.references["pvc_probability"].numbers()) - threshold)
    assert np.nanmin(away) > MARGIN


@pytest.mark.parametrize("version", VERSIONS)
def test_faults_give_no_decision_but_where_the_signal_is_still_one(version: str) -> None:
    fixtures = read_fixtures(fixtures_of(version))
    decided = {
        case
        for case, cohort, decision in zip(
            fixtures.cases, fixtures.cohorts, fixtures.expected_decisions, strict=True
        )
        if cohort == "fault" and decision != -1
    }
    assert decided == MUST_DECIDE


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0", "1.1.1", "1.2.0"])
def test_a_sound_release_meets_its_own_expectations(version: str) -> None:
    model = load_model(version)
    fixtures = read_fixtures(fixtures_of(version))
    labelled = [
        (decision, label)
        for decision, label in zip(fixtures.expected_decisions, fixtures.labels, strict=True)
        if label >= 0
    ]
    assert sum(decision != label for decision, label in labelled) <= 1
    cases = all_cases()
    found = run_model(
        model.onnx,
        np.stack([case.ecg_mv for case in cases]),
        np.stack([case.rr_s for case in cases]),
    )
    assert decisions(found[:, 0], model.card.threshold).tolist() == list(
        fixtures.expected_decisions
    )


def test_the_broken_release_misses_its_expectations() -> None:
    """Only the fixtures of the intended model tell: the broken one agrees with itself."""
    model = load_model("1.3.0")
    intended = read_fixtures(fixtures_of("1.3.0"))
    own = read_fixtures(build_fixtures(model.onnx, threshold=model.card.threshold))
    pairs = zip(
        intended.references["pvc_probability"].numbers(),
        own.references["pvc_probability"].numbers(),
        strict=True,
    )
    assert sum(abs(one - other) > MARGIN for one, other in pairs) >= 20
    assert intended.expected_decisions != own.expected_decisions


def test_the_file_is_written_as_all_fixtures_are() -> None:
    """Danger: a second writer, whose files a device would have to fetch again."""
    built = fixtures_of("1.0.0")
    assert fixture_bytes(read_fixtures(built)) == built


def test_every_release_but_the_first_is_held_to_those_before(tmp_path: Path) -> None:
    """The plan asks for it; the decisions come by a command, so that no build passes without."""
    for home in write_release_folders(tmp_path):
        plan = parse_settings(ReleasePlan, (home / "release.toml").read_bytes(), where=home.name)
        assert plan.self_test is not None
        (asked,) = [test for test in plan.self_test.tests if test.level == "functional"]
        expected = () if home.name == "1.0.0" else ("active", "original")
        assert tuple(asked.no_worse_than) == expected
        assert read_fixtures((home / "fixtures.npz").read_bytes()).baselines == {}
