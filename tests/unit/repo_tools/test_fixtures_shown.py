"""What fixtures hold, in what two of them differ, and the table that lies beside them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tests.unit.repo_tools.conftest import Answer
from tests.unit.repo_tools.fixture_world import SAMPLES, Bench, strip_model, strips

from primum_repo_tools.cli import main
from primum_repo_tools.model_interface import interface_of
from primum_repo_tools.self_test_file import (
    Stated,
    changed,
    derived_self_test,
    read_self_test,
    self_test_toml,
    was_edited,
)
from primum_verifier.proof.fixtures import read_fixtures


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Bench:
    def run(*arguments: object) -> Answer:
        capsys.readouterr()
        code = main([str(item) for item in arguments])
        told = capsys.readouterr()
        return Answer(code, told.out, told.err)

    (tmp_path / "model.onnx").write_bytes(strip_model())
    return Bench(tmp_path, run)


def test_show_counts_what_is_there(bench: Bench) -> None:
    decided: Any = {f"decision__{'a' * 64}": strips()["label"]}
    bench.make(**decided)
    found = bench.run("fixtures", "show", bench.fixtures, "--json").json
    assert found["bytes"] == bench.fixtures.stat().st_size
    assert found["arrays"]["input.ecg"] == {
        "dtype": "float32", "shape": [12, SAMPLES], "bytes": 12 * SAMPLES * 4,
    }  # fmt: skip
    assert found["cohorts"]["ward"]["labels"] == {"positive": 2, "negative": 2, "unlabelled": 0}
    assert found["earlierReleases"] == ["a" * 64]
    assert found["cases"] == strips()["case"].tolist()
    told = bench.run("fixtures", "show", bench.fixtures).out
    assert f"Decisions of the earlier release {'a' * 64}" in told


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"label": 1 - strips()["label"]}, {"label"}),
        ({"cohort": np.array(["other"] * 12)}, {"cohort"}),
        ({"expected_decision": 1 - strips()["label"]}, {"expected decision"}),
        ({"input__ecg": strips()["input.ecg"] * 2}, {"input ecg", "reference p"}),
    ],
)
def test_diff_tells_what_is_other_in_each_case(
    bench: Bench, changes: dict[str, Any], found: set[str]
) -> None:
    bench.make()
    before = bench.folder / "before.npz"
    before.write_bytes(bench.fixtures.read_bytes())
    assert bench.make(**changes).code == 0
    told = bench.run("fixtures", "diff", before, bench.fixtures, "--json").json
    assert set(told["changed"]) == set(strips()["case"].tolist())
    assert {part for parts in told["changed"].values() for part in parts} == found
    assert (told["same"], told["sameBytes"], told["added"], told["removed"]) == (0, 0, [], [])


def test_diff_tells_cases_that_come_and_go_and_what_is_shared(bench: Bench) -> None:
    bench.make()
    before = bench.folder / "before.npz"
    before.write_bytes(bench.fixtures.read_bytes())
    given = strips()
    fewer: dict[str, Any] = {
        name.replace(".", "__"): rows[::-1][:9] for name, rows in given.items()
    }
    assert bench.make(**fewer).code == 0
    told = bench.run("fixtures", "diff", before, bench.fixtures, "--json").json
    assert told["removed"] == ["rec00", "rec01", "rec02"]
    assert (told["same"], told["sameBytes"]) == (9, 9 * (SAMPLES + 1) * 4)
    assert told["elsewhere"] == ["the cases stand in another order"]
    size = bench.fixtures.stat().st_size
    assert f"fetches {size} bytes" in bench.run("fixtures", "diff", before, bench.fixtures).out


def test_a_file_that_is_no_fixture_is_told(bench: Bench) -> None:
    np.savez(bench.fixtures, other=np.zeros(3))
    answer = bench.run("fixtures", "show", bench.fixtures)
    assert answer.code == 2
    assert "primum-repo fixtures make --help" in answer.err


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Any:
    model = tmp_path_factory.mktemp("model") / "model.onnx"
    model.write_bytes(strip_model())
    said = Stated(
        origin="o", licence="l", vectors="derived", risk_control="RC", decides=("p", None),
        threshold="0.5", abs_tol="0.1", rel_tol="0.1", fault_cohorts=("f/1:x",),
    )  # fmt: skip
    return derived_self_test(interface_of(model), said)


@given(text=st.text(min_size=1, max_size=40), seconds=st.integers(1, 600))
@settings(max_examples=150, deadline=None)
def test_whatever_an_origin_says_the_table_reads_back(
    plan: Any, tmp_path_factory: pytest.TempPathFactory, text: str, seconds: int
) -> None:
    """Danger: a quote, a line end or a control character in a text adds members to the table."""
    said = changed(plan, origin=text, total_time_limit_seconds=seconds)
    data = self_test_toml(said, fixtures="f.npz", sha256="0" * 64)
    assert not was_edited(data)
    assert was_edited(data + b"\n")
    assert tomllib.loads(data.decode())["self_test"]["origin"] == text
    path = tmp_path_factory.mktemp("table") / "x.toml"
    path.write_bytes(data)
    assert read_self_test(path) == said


def test_a_model_that_eats_all_memory_is_told(bench: Bench) -> None:
    model = onnx.ModelProto.FromString(strip_model())
    model.graph.node[-1].output[0] = "q"
    shape = onnx.numpy_helper.from_array(np.array([2**20, 2**13], np.int64), "huge")
    model.graph.initializer.append(shape)
    model.graph.node.extend(
        [
            helper.make_node("ConstantOfShape", ["huge"], ["hall"]),
            helper.make_node("ReduceMax", ["hall"], ["nothing"], keepdims=0),
            helper.make_node("Add", ["q", "nothing"], ["p"]),
        ]
    )
    bench.model.write_bytes(model.SerializeToString())
    answer = bench.make()
    assert answer.code == 2
    assert "does not compute these cases" in answer.err
    assert "Raise the limits" in answer.err
    assert not bench.fixtures.exists()


def test_counts_of_two_channels_with_time_first_are_degraded(bench: Bench) -> None:
    """Whole numbers of a converter stay whole numbers within their type."""
    flat = [helper.make_node("Cast", ["adc"], ["x"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["x"], ["m"], axes=[1, 2], keepdims=0),
            helper.make_node("Unsqueeze", ["m", "one"], ["p"])]  # fmt: skip
    graph = helper.make_graph(
        flat,
        "counts",
        [helper.make_tensor_value_info("adc", TensorProto.INT16, ["n", 50, 2])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", 1])],
        [onnx.numpy_helper.from_array(np.array([1], np.int64), "one")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    bench.model.write_bytes(model.SerializeToString())
    rng = np.random.default_rng(3)
    adc = (
        rng.integers(-500, 500, (12, 50, 2)) + strips()["label"].astype(int)[:, None, None] * 2000
    ).astype(np.int16)
    counts: dict[str, Any] = {"input.ecg": None, "input__ecg": None, "input__adc": adc}
    assert bench.make(**counts).code == 0
    answer = bench.degrade("nan=no-decision")
    assert answer.code == 2
    assert "a whole number cannot be missing" in answer.err
    answer = bench.degrade(
        "gain-unit=as-computed", "missing-hold=as-computed",
        more=("--time-axis", "0", "--accept-computed", "--cases", "2"),
    )  # fmt: skip
    assert answer.code == 0, answer.err
    made = read_fixtures((bench.folder / "all.npz").read_bytes())
    found = np.frombuffer(made.inputs[0].data, "<i2").reshape(-1, 50, 2)
    assert (found.min(), found.max()) == (-(2**15), 2**15 - 1), "clipped, not wrapped around"
    places = [made.cases.index(case.partition(".")[0]) for case in made.cases[14:]]
    for place, held in zip(places, found[14:], strict=True):
        differ = (held != adc[place]).any(axis=1)
        assert 8 <= differ.sum() <= 20, "a gap of each channel, along time"
