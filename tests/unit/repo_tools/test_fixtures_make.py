"""Fixtures from the arrays of whoever recorded them: what becomes of them, and what is refused."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.unit.repo_tools.conftest import Answer
from tests.unit.repo_tools.fixture_world import SAMPLES, STATED, Bench, strip_model, strips

from primum_repo_tools.cli import main
from primum_repo_tools.self_test_file import read_self_test, was_edited
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


def test_the_references_are_what_the_device_computes(bench: Bench) -> None:
    answer = bench.make("--json")
    assert answer.code == 0, answer.err
    made = read_fixtures(bench.fixtures.read_bytes())
    given = strips()
    assert made.inputs[0].data == given["input.ecg"].tobytes()
    assert made.expected_decisions == tuple(given["label"].tolist())
    assert answer.json["cohorts"]["home"]["decisions"] == {
        "positive": 4, "negative": 4, "no decision": 0,
    }  # fmt: skip
    assert answer.json["origin"].startswith("seeded strips. References: computed by onnxruntime")
    assert answer.json["licence"] == "CC0-1.0"


def test_the_same_arrays_give_the_same_bytes(bench: Bench) -> None:
    """Danger: fixtures that were made twice are two artifacts, and every device fetches both."""
    bench.make()
    first = bench.fixtures.read_bytes()
    os.utime(bench.give(), (0, 0))
    folder = bench.folder / "arrays"
    folder.mkdir()
    for name, array in strips().items():
        np.save(folder / f"{name}.npy", np.asfortranarray(array))
    more = ["--output", bench.folder / "again.npz", *STATED]
    answer = bench.run("fixtures", "make", bench.model, "--arrays", folder, *more)
    assert answer.code == 0, answer.err
    assert (bench.folder / "again.npz").read_bytes() == first
    told = bench.run("fixtures", "diff", bench.fixtures, bench.folder / "again.npz")
    assert "The same bytes: one artifact" in told.out


def test_a_dry_run_writes_nothing(bench: Bench) -> None:
    before = {bench.give().name, bench.model.name}
    answer = bench.make("--dry-run")
    assert answer.code == 0, answer.err
    assert "Nothing was written" in answer.out
    assert {path.name for path in bench.folder.iterdir()} == before


def test_a_case_near_the_threshold_is_told(bench: Bench) -> None:
    """Danger: a device within every tolerance decides otherwise and refuses a sound release."""
    bench.make()
    made = read_fixtures(bench.fixtures.read_bytes())
    scores = made.references["p"].numbers()
    highest = made.cases[scores.index(max(scores))]
    near = [*STATED[:-1], f"{max(scores) + 0.00005:.6f}"]
    answer = bench.make("--json", stated=near)
    assert answer.json["nearThreshold"] == [highest]
    answer = bench.make("--json", "--abs-tol", "0", "--rel-tol", "0", stated=near)
    assert answer.json["nearThreshold"] == []


def test_decisions_that_somebody_expects_stay_and_flips_are_told(bench: Bench) -> None:
    expected = strips()["label"].copy()
    expected[2] = 1
    answer = bench.make("--json", expected_decision=expected)
    assert answer.json["unexpected"] == ["rec02"]
    made = read_fixtures(bench.fixtures.read_bytes())
    assert made.expected_decisions == tuple(expected.tolist())


def test_no_answer_in_a_clean_case_is_refused_until_it_is_meant(bench: Bench) -> None:
    """Danger: a NaN that slipped into a recording is signed as what the model should say."""
    broken = strips()["input.ecg"]
    broken[9] = np.nan
    answer = bench.make(input__ecg=broken)
    assert answer.code == 2
    assert "rec09" in answer.err
    assert "--fault-cohort" in answer.err
    assert not bench.fixtures.exists()
    answer = bench.make("--fault-cohort", "ward", "--json", input__ecg=broken)
    assert answer.code == 0, answer.err
    assert answer.json["cohorts"]["ward"]["decisions"]["no decision"] == 1
    (test,) = [one for one in read_self_test(bench.folder / "fixtures.self-test.toml").tests
               if one.level == "safety-function"]  # fmt: skip
    assert test.cohort == "ward"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"input__ecg": strips()["input.ecg"][:, :-1]}, "shape [12, 199]"),
        ({"input__ecg": strips()["input.ecg"][:, None]}, "shape [12, 1, 200]"),
        ({"input__ecg": strips()["input.ecg"].astype(np.float64)}, 'astype("float32")'),
        ({"input__ecg": strips()["input.ecg"].astype(complex)}, "complex128"),
        ({"input__other": strips()["input.ecg"]}, "inputs of the model: ecg"),
        ({"label": np.full(12, 2)}, "1, 0 and -1 alone"),
        ({"label": np.linspace(0, 1, 12)}, "whole numbers"),
        ({"label": np.ones(11, np.int8)}, "one for each of 12 cases"),
        ({"label": None}, "what is true of each case"),
        ({"cohort": None}, "which group"),
        ({"cohort": np.array(["a b"] * 12)}, "'a b'"),
        ({"case": None}, "leads back to its recording"),
        ({"case": np.array(["same"] * 12)}, "names that stand twice: same"),
        ({"case": np.array([f"Jürgen{i}" for i in range(12)])}, "ASCII"),
        ({"case": np.array([], dtype=str)}, "0 cases"),
        ({"decision__abc": np.ones(12, np.int8)}, "decision.abc"),
        ({"reference__p": np.ones((12, 2), np.float32)}, "reference.p: shape [12, 2]"),
        ({"patient": np.array(["x"] * 12)}, "an array patient"),
    ],
)
def test_arrays_that_do_not_fit_are_told_by_name(
    bench: Bench, changes: dict[str, Any], told: str
) -> None:
    answer = bench.make(**changes)
    assert answer.code == 2, answer.out
    assert told in answer.err
    assert "remedy:" in answer.err
    assert not bench.fixtures.exists()


def test_nothing_is_unpickled(bench: Bench, tmp_path: Path) -> None:
    """Attack: an array of objects that runs a command where it is read."""
    mark = tmp_path / "mark"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (mark,)

    answer = bench.make(label=np.array([Bomb()] * 12, dtype=object))
    assert answer.code == 2
    (tmp_path / "raw.npy").write_bytes(pickle.dumps(Bomb()))
    answer = bench.run("fixtures", "make", bench.model, "--arrays", tmp_path,
                       "--output", bench.fixtures, *STATED)  # fmt: skip
    assert answer.code == 2
    assert not mark.exists()


def test_a_model_of_another_interface_is_told(bench: Bench) -> None:
    bench.make()
    table = bench.folder / "fixtures.self-test.toml"
    table.write_text(table.read_text().replace(f"{SAMPLES}]", "100]"))
    cut = strips()["input.ecg"][:, :100]
    answer = bench.make(stated=["--self-test", str(table)], input__ecg=cut)
    assert answer.code == 2
    assert "not those of the signed interface" in answer.err
    assert "remedy:" in answer.err


def test_a_model_that_never_ends_is_ended(bench: Bench) -> None:
    """Danger: a loop in the model holds the release engineer's machine for ever."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["still"]),
         helper.make_node("Sin", ["carried"], ["next"])],
        "body",
        [helper.make_tensor_value_info("round", TensorProto.INT64, []),
         helper.make_tensor_value_info("going", TensorProto.BOOL, []),
         helper.make_tensor_value_info("carried", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("still", TensorProto.BOOL, []),
         helper.make_tensor_value_info("next", TensorProto.FLOAT, None)],
    )  # fmt: skip
    model = onnx.ModelProto.FromString(strip_model())
    constant = onnx.numpy_helper.from_array
    model.graph.initializer.extend(
        [constant(np.array(2**62), "rounds"), constant(np.array(1, dtype=np.bool_), "yes")]
    )
    model.graph.node[-1].output[0] = "q"
    model.graph.node.append(helper.make_node("Loop", ["rounds", "yes", "q"], ["p"], body=body))
    bench.make()
    table = bench.folder / "fixtures.self-test.toml"
    short = table.read_text().replace(
        "total_time_limit_seconds = 60", "total_time_limit_seconds = 1"
    )
    table.write_text(short)
    bench.model.write_bytes(model.SerializeToString())
    before = bench.fixtures.read_bytes()
    answer = bench.make(stated=["--self-test", str(table)])
    assert answer.code == 2
    assert "timed-out" in answer.err
    assert bench.fixtures.read_bytes() == before


def test_no_model_and_no_statement_are_told(bench: Bench) -> None:
    answer = bench.make(stated=STATED[2:])
    assert answer.code == 2
    assert "--origin" in answer.err
    bench.model.write_bytes(b"no model")
    answer = bench.make()
    assert answer.code == 2
    assert "an ONNX model" in answer.err


def test_a_text_that_is_no_text_is_told(bench: Bench) -> None:
    """Danger: a byte of another encoding on the command line ends in a traceback."""
    answer = bench.make(stated=["--origin", "Universit\udce4t", *STATED[2:]])
    assert answer.code == 2
    assert "not in UTF-8" in answer.err


def test_without_an_operating_point_nothing_is_decided(bench: Bench) -> None:
    answer = bench.make("--json", stated=STATED[:8], expected_decision=strips()["label"])
    assert answer.code == 0, answer.err
    assert answer.json["unexpected"] == []
    assert answer.json["nearThreshold"] == []
    answer = bench.degrade("nan=no-decision")
    assert answer.code == 2
    assert "no operating point" in answer.err


def test_a_table_that_somebody_edited_is_not_replaced(bench: Bench) -> None:
    """Danger: reviewed limits and criteria are gone after the fixtures were made once more."""
    bench.make()
    table = bench.folder / "fixtures.self-test.toml"
    assert not was_edited(table.read_bytes())
    assert bench.make().code == 0, "as it was written it may be replaced"
    table.write_text(table.read_text().replace('"0.0001"', '"0.01"'))
    answer = bench.make()
    assert answer.code == 2
    assert "edited" in answer.err
    assert bench.make(stated=["--self-test", str(table)]).code == 0
    tolerances = [one.abs_tol for one in read_self_test(table).tests if one.level == "numeric"]
    assert tolerances == ["0.01"], "what was edited is carried over"


def test_a_release_is_built_and_passes_with_what_was_written(story: Any) -> None:
    """The table is ready: put into release.toml it builds, and the release passes its own test."""
    plan = story.plan("1.0.0")
    folder = plan.parent
    bench = Bench(folder, story.try_run)
    bench.model.write_bytes(strip_model())
    assert bench.make().code == 0
    head, _, _ = plan.read_text().partition("[self_test]")
    plan.write_text(head + (folder / "fixtures.self-test.toml").read_text())
    first = story.run("release", "build", story.engineering, plan, "--json").json
    story.run("release", "check", story.engineering, "pvc-classifier", "1.0.0")
    specification = (
        story.engineering / "releases/pvc-classifier/1.0.0/files/self-test.json"
    ).read_text()
    assert "seeded strips. References: computed by onnxruntime" in specification
    assert "CC0-1.0" in specification

    # A second release with the same fixtures, made anew, names the same artifact.
    story.run("release", "sign", story.engineering, "pvc-classifier", "1.0.0")
    story.run("publish", story.engineering)
    second = folder.parent / "1.1.0"
    next_plan = story.plan("1.1.0", previous="1.0.0", folder=second)
    again = Bench(second, story.try_run)
    again.model.write_bytes(strip_model())
    assert again.make().code == 0
    head, _, _ = next_plan.read_text().partition("[self_test]")
    next_plan.write_text(head + (second / "fixtures.self-test.toml").read_text())
    answer = story.run("release", "build", story.engineering, next_plan, "--json").json
    digest = first["items"]["fixtures"]
    assert answer["items"]["fixtures"] == digest
    served = [path for path in (story.engineering / "web").rglob("*") if digest in path.name]
    assert len(served) == 1, "one artifact in the repository"
