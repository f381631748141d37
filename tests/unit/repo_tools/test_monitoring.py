"""A monitoring specification made from data is one that devices read, and says what it can hold."""

from __future__ import annotations

import csv
import json
import re
import shlex
from math import inf, isclose
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from tests.unit.repo_tools.test_guide import GUIDE, blocks, commands

from primum_repo_tools.cli import main
from primum_repo_tools.statistics.chi_square import chi_square_below, chi_square_quantile
from primum_repo_tools.statistics.cusum_runs import average_run_length, interval_for
from primum_repo_tools.statistics.overdispersion import correlation_within, overdispersion_of
from primum_verifier.core.document import parse_document, sha256_hex
from primum_verifier.record.cusum import run_length
from primum_verifier.record.monitoring import MonitoringSpecification

DONE, USAGE = 0, 2
PLAN = next(block for block in blocks("toml") if "persons_per_window" in block)


# The statistics


@pytest.mark.parametrize(
    ("probability", "degrees", "value"),
    # Any printed table of the chi-square distribution.
    [(0.95, 9, 16.919), (0.99, 6, 16.812), (0.999, 6, 22.458), (0.95, 1, 3.841), (0.9, 30, 40.256)],
)
def test_quantiles_are_those_of_the_tables(probability: float, degrees: int, value: float) -> None:
    assert isclose(chi_square_quantile(probability, degrees), value, abs_tol=6e-4)


@given(st.floats(0.5, 0.99999), st.integers(1, 400))
def test_quantiles_are_those_of_scipy(probability: float, degrees: int) -> None:
    found = chi_square_quantile(probability, degrees)
    assert isclose(found, stats.chi2.ppf(probability, degrees), rel_tol=1e-7)
    assert isclose(chi_square_below(found, degrees), probability, rel_tol=1e-9)


def test_what_is_no_probability_has_no_quantile() -> None:
    assert chi_square_below(-1.0, 3) == 0.0
    for probability, degrees in ((1.0, 3), (0.0, 3), (0.5, 0)):
        with pytest.raises(ValueError, match="no quantile"):
            chi_square_quantile(probability, degrees)


@pytest.mark.parametrize(
    ("slack", "interval", "shift", "days"),
    [
        # Montgomery, Statistical Quality Control, table 9.3: two-sided, k = 1/2.
        (0.5, 4.0, 0.0, 168.0), (0.5, 4.0, 0.5, 26.6), (0.5, 4.0, 1.0, 8.38), (0.5, 4.0, 2.0, 3.34),
        (0.5, 5.0, 0.0, 465.0), (0.5, 5.0, 0.5, 38.0), (0.5, 5.0, 1.0, 10.4), (0.5, 5.0, 3.0, 2.57),
    ],
)  # fmt: skip
def test_run_lengths_are_the_published_ones(
    slack: float, interval: float, shift: float, days: float
) -> None:
    found = average_run_length(slack, interval, sides=2, shift=shift)
    assert isclose(found, days, rel_tol=0.012)


@pytest.mark.parametrize(
    ("slack", "interval"),
    [(0.25, 8.01), (0.5, 4.77), (0.75, 3.34), (1.0, 2.52), (1.25, 1.99), (1.5, 1.61)],
)
def test_intervals_for_a_run_length_of_370_are_the_published_ones(
    slack: float, interval: float
) -> None:
    """The same, table 9.4 (Hawkins, 1993), as it rounds."""
    assert isclose(interval_for(slack, 370.0, sides=2), interval, abs_tol=0.0101)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.05, 1.0), st.integers(30, 5000), st.sampled_from([1, 2]))
def test_an_interval_is_silent_as_long_as_was_asked_and_a_device_reads_it(
    slack: float, days: int, sides: int
) -> None:
    """What the exact run length gives, the bound by which a device refuses lies above."""
    interval = interval_for(slack, days, sides=sides)
    assert isclose(average_run_length(slack, interval, sides=sides), days, rel_tol=1e-3)
    assert days <= run_length(slack, interval, sides=sides) * 1.05


def test_days_that_lean_to_one_side_get_a_wider_interval() -> None:
    """Exponential days: a CUSUM that is silent for 100 normal days alarms on them after 40."""
    seen = np.random.default_rng(3).exponential(size=4000) - 1.0
    normal, wider = interval_for(0.5, 100, sides=1), interval_for(0.5, 100, sides=1, seen=seen)
    assert average_run_length(0.5, normal, sides=1, seen=seen) < 60
    assert isclose(average_run_length(0.5, wider, sides=1, seen=seen), 100, rel_tol=0.02)
    assert average_run_length(0.5, normal, sides=1, seen=-np.abs(seen)) == inf
    assert average_run_length(0.5, normal, sides=2, seen=np.full(9, 0.1)) == inf
    simulated = []
    rng = np.random.default_rng(4)
    for _ in range(400):
        total, day = 0.0, 0
        while total <= wider:
            total, day = max(0.0, total + rng.choice(seen) - 0.5), day + 1
        simulated.append(day)
    assert isclose(float(np.mean(simulated)), 100, rel_tol=0.15)


def test_what_no_interval_gives_is_told() -> None:
    with pytest.raises(ValueError, match="no interval"):
        interval_for(0.000001, 1e9, sides=1)
    with pytest.raises(ValueError, match="silent for longer"):
        interval_for(2.0, 30, sides=1)


@pytest.mark.parametrize("correlation", [0.0, 0.02, 0.2])
def test_how_alike_persons_are_is_found_again(correlation: float) -> None:
    """Persons drawn from a Dirichlet distribution, whose correlation is known."""
    rng = np.random.default_rng(5)
    shares = np.array([0.5, 0.3, 0.15, 0.05])
    own = (
        np.tile(shares, (400, 1))
        if correlation == 0.0
        else rng.dirichlet(shares * (1.0 - correlation) / correlation, 400)
    )
    counts = np.array([rng.multinomial(500, one) for one in own])
    found = correlation_within(counts)
    assert isclose(found, correlation, rel_tol=0.15, abs_tol=0.001)
    assert isclose(overdispersion_of(counts, persons_per_window=2), found * (1 / 2 + 1 / 400))


def test_one_sample_of_each_person_says_nothing_of_likeness() -> None:
    assert correlation_within(np.eye(4, dtype=np.int64)) == 0.0


# The command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder ``monitoring`` of the guide, with reference data in it."""
    monkeypatch.chdir(tmp_path)
    made = tmp_path / "monitoring"
    made.mkdir()
    (made / "monitoring.toml").write_text(PLAN)
    rng = np.random.default_rng(11)
    persons = np.repeat(np.arange(30), 400)
    means = rng.normal(0.3, 0.03, 30)
    score = np.clip(rng.normal(means[persons], 0.15), 0.0, 1.0)
    score[:7] = np.nan
    np.savez(made / "reference.npz", score=score, person=persons.astype(np.str_))
    with (made / "days.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["low-quality.events", "low-quality.of"])
        table.writerows([int(n), 20_000] for n in rng.normal(1200, 300, 90).clip(0))
        table.writerow([5, 900])
    return made


def guide_commands() -> list[list[str]]:
    return [shlex.split(line)[1:] for line in commands() if " monitoring " in line]


def test_the_commands_of_the_guide_make_what_a_device_reads(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend, make, show = guide_commands()
    assert main(pretend) == DONE
    assert not (folder / "monitoring.json").exists(), "nothing is written to try it"
    assert main(make) == DONE
    data = (folder / "monitoring.json").read_bytes()
    spec = parse_document(MonitoringSpecification, data, where="made")
    assert main([*make, "--json"]) == DONE
    assert (folder / "monitoring.json").read_bytes() == data, "the same data, the same bytes"
    assert main(show) == DONE
    out = capsys.readouterr().out
    found = re.search(r"once in (\d+) days", out)
    assert found is not None
    assert int(found[1]) >= 365, "of normal days; these lean a little"
    assert "1 window in 1000" in out
    assert "HZ-11 missed beats" in out
    told = json.loads(next(line for line in out.splitlines() if line.startswith("{")))
    assert told["sha256"] == sha256_hex(data)
    score, quality, times = spec.channels
    assert score.kind == "distribution"
    assert score.reference.n == 30 * 400 - 7, "what is no number is in no bin"
    assert len(score.edges) == 7
    assert float(score.reference.overdispersion) > 0.0
    reference = score.reference.made_by
    assert reference.name == "reference.npz"
    assert reference.digest.sha256 == sha256_hex((folder / "reference.npz").read_bytes())
    assert isclose(float(score.alarms[0].chi_square_quantile), 24.3219, abs_tol=1e-4)
    assert quality.kind == "rate"
    assert quality.reference.n == 90, "a day of too little is no day"
    assert isclose(float(quality.reference.rate), 0.06, rel_tol=0.1)
    assert times.kind == "latency"


def edited(folder: Path, **replaced: str) -> None:
    text = PLAN
    for old, new in replaced.items():
        pattern = re.compile(rf"^{old} = .*$", re.MULTILINE)
        assert pattern.search(text), old
        text = pattern.sub(f"{old} = {new}", text)
    (folder / "monitoring.toml").write_text(text)


def save(folder: Path, **arrays: Any) -> None:
    np.savez(folder / "reference.npz", **arrays)


FEW = np.linspace(0.0, 1.0, 400)
PERSONS = np.repeat([f"p{number}" for number in range(10)], 40)
WRONG: dict[str, tuple[Any, str]] = {
    "nobody knows whose the samples are": (lambda to: save(to, score=FEW), "a column person"),
    "too few persons": (
        lambda to: save(to, score=FEW, person=np.repeat(["a", "b"], 200)),
        "at least 5 persons",
    ),
    "persons of other samples": (
        lambda to: save(to, score=FEW, person=PERSONS[:-1]),
        "399 rows",
    ),
    "no such column": (lambda to: save(to, other=FEW), "a column score"),
    "texts for numbers": (lambda to: save(to, score=PERSONS), "numbers in one dimension"),
    "no number at all": (
        lambda to: save(to, score=np.full(400, np.nan), person=PERSONS),
        "no number",
    ),
    "a bin that nothing is expected in": (
        lambda to: edited(to, bins='8\nedges = ["5.0"]'),
        "bins or edges",
    ),
    "an edge beyond all data": (
        lambda to: (
            (to / "monitoring.toml").write_text(
                re.sub(r"bins = 8.*", 'edges = ["0.5", "7"]', PLAN)
            ),
        ),
        "nothing from 7 to inf",
    ),
    "a stop without a hazard": (
        lambda to: (to / "monitoring.toml").write_text(
            PLAN.replace('hazard_ref = "HZ-11 missed beats", ', "")
        ),
        "needs a hazardRef",
    ),
    "a shift that is none": (lambda to: edited(to, shift='"0"'), "0.1 to 2 deviations"),
    "a shift that a day's limit finds": (
        lambda to: edited(to, shift='"2.1"'),
        "0.1 to 2 deviations",
    ),
    "an alarm every other week": (
        lambda to: (to / "monitoring.toml").write_text(PLAN.replace("= 365", "= 14")),
        "greater than or equal to 30",
    ),
    "too few days": (lambda to: edited(to, least_per_day="30000"), "at least 20 days"),
    "every day alike": (
        lambda to: (to / "days.csv").write_text(
            "low-quality.events,low-quality.of\n" + "100,20000\n" * 30
        ),
        "days that differ",
    ),
    "more events than samples": (
        lambda to: (to / "days.csv").write_text(
            "low-quality.events,low-quality.of\n" + "30000,20000\n" * 30
        ),
        "more events than of",
    ),
    "a day without its samples": (
        lambda to: (to / "days.csv").write_text("low-quality.events,low-quality.of\n100,\n"),
        "a row for each day",
    ),
    "a row of another length": (
        lambda to: (to / "days.csv").write_text("low-quality.events,low-quality.of\n100\n"),
        "row 2 of another length",
    ),
    "an empty table": (lambda to: (to / "days.csv").write_text(""), "0 names"),
    "no text": (lambda to: (to / "days.csv").write_bytes(b"a,b\n\xff,1\n"), "a table in CSV"),
    "one column twice": (
        lambda to: (to / "days.csv").write_text("score\n1\n"),
        "a second column score",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_would_make_a_monitor_that_misleads_is_told_and_nothing_is_written(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, words = WRONG[name]
    spoil(folder)
    _, make, _ = guide_commands()
    assert main(make) == USAGE
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error
    assert not (folder / "monitoring.json").exists()


def test_samples_of_people_who_were_asked_once_need_no_persons(folder: Path) -> None:
    (folder / "monitoring.toml").write_text(PLAN.replace("# independent", "independent"))
    save(folder, score=FEW)
    _, make, _ = guide_commands()
    assert main(make) == DONE
    spec = parse_document(
        MonitoringSpecification, (folder / "monitoring.json").read_bytes(), where="made"
    )
    assert spec.channels[0].kind == "distribution"
    assert spec.channels[0].reference.overdispersion == "0"


def test_a_score_that_is_nearly_always_the_same_makes_fewer_bins(folder: Path) -> None:
    score = np.concatenate([np.zeros(380), np.linspace(0.1, 1.0, 20)])
    save(folder, score=score, person=PERSONS)
    _, make, _ = guide_commands()
    assert main(make) == DONE
    spec = parse_document(
        MonitoringSpecification, (folder / "monitoring.json").read_bytes(), where="made"
    )
    assert spec.channels[0].kind == "distribution"
    assert len(spec.channels[0].edges) == 1
    assert spec.channels[0].reference.proportions[0] != "0.000000000000"


def test_a_folder_of_arrays_is_read_like_a_file(folder: Path) -> None:
    arrays = folder / "arrays"
    arrays.mkdir()
    np.save(arrays / "score.npy", FEW)
    np.save(arrays / "score.person.npy", PERSONS)
    _, make, _ = guide_commands()
    given = [word if word != "monitoring/reference.npz" else str(arrays) for word in make]
    assert main(given) == DONE
    assert b'"name":"score.npy"' in (folder / "monitoring.json").read_bytes()


def test_the_guide_names_the_section_of_the_device() -> None:
    assert "device.md#the-monitor" in GUIDE.read_text()
