"""Cases from ONNX test data: what the ``onnx`` package ships, and folders that are none."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from tests.unit.repo_tools.conftest import Answer
from tests.unit.repo_tools.fixture_world import SAMPLES, strip_model, strips

from primum_repo_tools.cli import main
from primum_repo_tools.self_test_file import read_self_test, specification_of
from primum_verifier.core.document import sha256_hex
from primum_verifier.proof.fixtures import read_fixtures
from primum_verifier.proof.selftest_result import Overall
from primum_verifier.shell.selftest import self_test

SHIPPED = Path(onnx.__file__).parent / "backend/test/data"
SAID = ["--origin", "ONNX backend tests", "--licence", "Apache-2.0", "--vectors", "synthetic",
        "--risk-control", "RC-01"]  # fmt: skip


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def command(*arguments: object) -> Answer:
        capsys.readouterr()
        code = main([str(item) for item in arguments])
        told = capsys.readouterr()
        return Answer(code, told.out, told.err)

    return command


def make(run: Any, model: Path, data: Path, output: Path, *more: object) -> Answer:
    answer: Answer = run(
        "fixtures", "make", model, "--onnx-test-data", data, "--output", output, *SAID, *more
    )
    return answer


@pytest.mark.parametrize("references", ["computed", "given"])
@pytest.mark.parametrize(
    "name",
    [
        "simple/test_single_relu_model",
        "simple/test_sign_model",
        "simple/test_shrink",
        "pytorch-operator/test_operator_exp",
        "pytorch-operator/test_operator_sqrt",
        "pytorch-operator/test_operator_chunk",
        "pytorch-operator/test_operator_permute2",
        "pytorch-operator/test_operator_concat2",
    ],
)
def test_what_onnx_ships_becomes_fixtures_that_a_device_passes(
    run: Any, tmp_path: Path, name: str, references: str
) -> None:
    data, output = SHIPPED / name, tmp_path / "fixtures.npz"
    # The square root of a negative number is NaN there, and meant so.
    more = ["--fault-cohort", "test-data"] if "sqrt" in name else []
    more += ["--references", references, "--json"]
    answer = make(run, data / "model.onnx", data, output, *more)
    assert answer.code == 0, answer.err
    assert answer.json["beyondGiven"] == []
    assert f"References: {references} " in answer.json["origin"]
    made = read_fixtures(output.read_bytes())
    proto = onnx.TensorProto.FromString((data / "test_data_set_0/input_0.pb").read_bytes())
    assert made.inputs[0].data == numpy_helper.to_array(proto).tobytes()
    plan = read_self_test(tmp_path / "fixtures.self-test.toml")
    spec = specification_of(plan, sha256=sha256_hex(output.read_bytes()), cases=len(made.cases))
    result = self_test(
        model=data / "model.onnx", spec=spec.to_bytes(), fixtures=output, scratch=tmp_path
    )
    assert result.overall is Overall.PASSED, result.summary


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("pytorch-converted/test_Linear", "weights among the inputs"),
        ("simple/test_sequence_model3", "no self-test can be stated"),
        ("simple/test_strnorm_model_nostopwords_nochangecase", "element type 8"),
        ("pytorch-operator/test_operator_basic", "could not find an implementation"),
    ],
)
def test_a_model_that_no_self_test_can_be_stated_for_is_told(
    run: Any, tmp_path: Path, name: str, told: str
) -> None:
    data = SHIPPED / name
    answer = make(run, data / "model.onnx", data, tmp_path / "fixtures.npz")
    assert answer.code == 2
    assert told in answer.err.lower()
    assert "remedy:" in answer.err
    assert not list(tmp_path.iterdir())


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """A model with a batch and three sets, as the model zoo lays them out."""
    folder = tmp_path / "zoo"
    given = strips()
    for number in range(3):
        home = folder / f"test_data_set_{number}"
        home.mkdir(parents=True)
        write(home / "input_0.pb", given["input.ecg"][number : number + 1], "ecg")
    (folder / "model.onnx").write_bytes(strip_model())
    return folder


def write(path: Path, array: Any, name: str = "") -> None:
    path.write_bytes(numpy_helper.from_array(np.asarray(array), name).SerializeToString())


def test_each_set_is_a_case_without_its_batch(run: Any, zoo: Path, tmp_path: Path) -> None:
    output = tmp_path / "fixtures.npz"
    decides = ["--decide", "p", "--threshold", "0.5", "--cohort", "bench"]
    answer = make(run, zoo / "model.onnx", zoo, output, *decides)
    assert answer.code == 0, answer.err
    made = read_fixtures(output.read_bytes())
    assert made.cases == ("test_data_set_0", "test_data_set_1", "test_data_set_2")
    assert made.inputs[0].shape == (3, SAMPLES)
    assert (made.labels, made.expected_decisions) == ((-1, -1, -1), (0, 1, 0))
    assert set(made.cohorts) == {"bench"}


def test_given_outputs_that_the_model_does_not_compute_are_never_signed(
    run: Any, zoo: Path, tmp_path: Path
) -> None:
    """Danger: the data of another version of the model become what devices are held against."""
    for number in range(3):
        write(zoo / f"test_data_set_{number}/output_0.pb", np.full((1, 1), 0.5, np.float32), "p")
    output = tmp_path / "fixtures.npz"
    answer = make(run, zoo / "model.onnx", zoo, output, "--references", "given")
    assert answer.code == 1
    assert "3 of 3 cases outside the tolerance" in answer.err
    assert not output.exists()
    answer = make(run, zoo / "model.onnx", zoo, output, "--json")
    assert answer.code == 0, answer.err
    assert len(answer.json["beyondGiven"]) == 3, "computed instead, but told"


def _gone(zoo: Path) -> None:
    shutil.rmtree(zoo / "test_data_set_0")
    shutil.rmtree(zoo / "test_data_set_1")
    shutil.rmtree(zoo / "test_data_set_2")


def _external(zoo: Path) -> None:
    """Attack: a tensor that reads another file of the machine."""
    proto = TensorProto(name="ecg", dims=[1, SAMPLES], data_type=TensorProto.FLOAT)
    proto.data_location = TensorProto.EXTERNAL
    proto.external_data.add(key="location", value="/etc/passwd")
    (zoo / "test_data_set_1/input_0.pb").write_bytes(proto.SerializeToString())


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_gone, "no folder test_data_set_*"),
        (_external, "in another file"),
        (lambda zoo: (zoo / "test_data_set_1/input_0.pb").unlink(), "inputs: none"),
        (lambda zoo: (zoo / "test_data_set_1/input_0.pb").write_bytes(b"\xff" * 9), "TensorProto"),
        (lambda zoo: write(zoo / "test_data_set_1/input_1.pb", np.ones(1)), "input_1.pb"),
        (lambda zoo: write(zoo / "test_data_set_1/output_0.pb", np.ones(1)), "no outputs in"),
        (lambda zoo: write(zoo / "test_data_set_1/input_0.pb", np.ones((1, SAMPLES))), "float64"),
        (
            lambda zoo: write(
                zoo / "test_data_set_1/input_0.pb", np.ones((2, SAMPLES), np.float32)
            ),
            "a batch of 2",
        ),
        (
            lambda zoo: write(zoo / "test_data_set_1/input_0.pb", np.ones((1, 7), np.float32)),
            "shape [1, 7]",
        ),
        (
            lambda zoo: write(
                zoo / "test_data_set_1/input_0.pb", np.ones((1, SAMPLES), np.float32), "other"
            ),
            "a tensor other",
        ),
        (
            lambda zoo: (zoo / "test_data_set_1/input_0.pb").write_bytes(
                numpy_helper.from_array(np.array(["x"], dtype=object), "ecg").SerializeToString()
            ),
            "float32",
        ),
    ],
)
def test_a_folder_that_is_no_test_data_is_told(
    run: Any, zoo: Path, tmp_path: Path, spoil: Any, told: str
) -> None:
    spoil(zoo)
    output = tmp_path / "fixtures.npz"
    answer = make(run, zoo / "model.onnx", zoo, output)
    assert answer.code == 2
    assert told in answer.err
    assert "remedy:" in answer.err
    assert not output.exists()
