"""The guide's commands on the demo's strip, and fixtures from recordings that no package ships."""

from __future__ import annotations

import hashlib
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.repo_tools.conftest import Answer

from primum_repo_tools.cli import main
from primum_verifier.proof.fixtures import read_fixtures

GUIDE = Path(__file__).parents[3] / "docs/release-engineer.md"
RATE_HZ = 360
WINDOW = 432
BEFORE = 216


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def command(*arguments: object) -> Answer:
        capsys.readouterr()
        code = main([str(item) for item in arguments])
        told = capsys.readouterr()
        return Answer(code, told.out, told.err)

    return command


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the guide is typed with."""
    folder = tmp_path_factory.mktemp("fixtures") / "model"
    made = subprocess.run(
        [sys.executable, "-m", "primum_device_sim.cli", "data", "releases", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return folder


def before_fixtures(guide: str) -> list[list[str]]:
    """What the guide types before it: an engineering workbench with a signed release."""
    lines = "\n".join(re.findall(r"```console\n(.*?)```", guide, re.DOTALL)).replace("\\\n", " ")
    wanted = (
        "device key",
        "init engineering",
        "authority create engineering",
        "release build engineering model/1.0.0",
        "release sign engineering pvc-classifier 1.0",
    )
    found = [line[2:] for line in lines.splitlines() if line]
    return [
        shlex.split(line)
        for line in found
        if line.startswith(tuple(f"primum-repo {word}" for word in wanted))
    ]


def test_the_commands_of_the_guide_can_be_typed_as_they_stand(
    run: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = GUIDE.read_text()
    section = text[text.index("### Fixtures: known") : text.index("### A set: more")]
    lines = "\n".join(re.findall(r"```console\n(.*?)```", section, re.DOTALL)).replace("\\\n", " ")
    commands = [shlex.split(line[2:]) for line in lines.splitlines() if " fixtures " in line]
    assert [words[2] for words in commands] == ["make", "show", "degrade", "diff", "decide"]
    (tmp_path / "model").symlink_to(model)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRIMUM_PASSPHRASE", "correct horse battery staple")
    for words in (*before_fixtures(text), *commands):
        answer = run(*words[1:])
        assert answer.code == 0, answer.err
    made = read_fixtures((tmp_path / "fixtures/fixtures.npz").read_bytes())
    assert len(made.cases) == 64 + 24
    manifest = tmp_path / "engineering/releases/pvc-classifier/1.0.0/manifest.json"
    assert list(made.baselines) == [hashlib.sha256(manifest.read_bytes()).hexdigest()]
    sizes = [round((tmp_path / f"fixtures/{name}.npz").stat().st_size / 1000)
             for name in ("clean", "fixtures")]  # fmt: skip
    assert sizes == [int(size) for size in re.findall(r"(\d+) kB", section)[:2]]


def test_real_beats_become_fixtures_with_robustness(
    run: Any, model: Path, recordings: Path, tmp_path: Path
) -> None:
    """Recordings stay where they are: nothing but the chosen beats is written."""
    arrays = {name: [] for name in ("ecg", "rr", "case", "cohort", "label")}  # type: ignore[var-annotated]
    for record, cohort in (("106", "female"), ("116", "male")):
        with np.load(recordings / f"mitdb-12/{record}.npz", allow_pickle=False) as strip:
            signal = strip["ecg"] / float(strip["adu_per_mv"])
            peaks, pvc = strip["r_peaks"].astype(np.int64), set(strip["pvc"].tolist())
        labels = np.array([peak in pvc for peak in peaks.tolist()])
        for label in (0, 1):
            for beat in np.flatnonzero(labels[20:-2] == label)[:6] + 20:
                rr = np.diff(peaks[beat - 8 : beat + 2]) / RATE_HZ
                begin = peaks[beat] - BEFORE
                arrays["ecg"].append(signal[begin : begin + WINDOW])
                arrays["rr"].append([rr[-2], rr[-1], rr[:8].mean()])
                arrays["case"].append(f"mitdb-{record}-beat-{beat:04}")
                arrays["cohort"].append(cohort)
                arrays["label"].append(label)
    given: dict[str, Any] = {
        "input.ecg_mv": np.array(arrays["ecg"], np.float32),
        "input.rr_s": np.array(arrays["rr"], np.float32),
        "case": np.array(arrays["case"]),
        "cohort": np.array(arrays["cohort"]),
        "label": np.array(arrays["label"], np.int8),
    }
    np.savez(tmp_path / "cases.npz", **given)
    onnx_file = model / "1.1.0/model.onnx"
    answer = run(
        "fixtures", "make", onnx_file, "--arrays", tmp_path / "cases.npz", "--json",
        "--output", tmp_path / "clean.npz", "--self-test", model / "1.1.0/release.toml",
        "--origin", "MIT-BIH Arrhythmia Database, records 106 and 116",
        "--licence", "ODC-By-1.0",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert set(answer.json["cohorts"]) == {"female", "male"}
    made = read_fixtures((tmp_path / "clean.npz").read_bytes())
    right = [one == other for one, other in zip(made.labels, made.expected_decisions, strict=True)]
    assert sum(right) >= 0.8 * len(right), "real beats, rightly cut"
    answer = run(
        "fixtures", "degrade", tmp_path / "clean.npz", "--model", onnx_file, "--input", "ecg_mv",
        "--output", tmp_path / "all.npz", "--risk-control", "RC-06", "--rails", "-5.12,5.115",
        "--expect", "lead-off=no-decision", "--expect", "missing-nan=no-decision",
        "--expect", "constant=no-decision", "--expect", "motion=as-computed", "--accept-computed",
        "--rate", RATE_HZ, "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert answer.json["cohorts"]["degraded-lead-off"]["decisions"]["no decision"] == 4
