"""Every element type and shape through a real model, the real runtime and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from primum_verifier.core.reasons import Reason
from primum_verifier.proof.element_types import BY_ONNX, ElementType
from primum_verifier.proof.selftest_result import Blame, Overall, TestStatus

CASES = 5
_ONNX = {kind: number for number, kind in BY_ONNX.items()}
Shape = tuple[int | str, ...]


def of_case(shape: Shape) -> tuple[int, ...]:
    """The shape of one case in the fixtures: without the batch."""
    return tuple(int(part) for part in shape if part != "batch")


def info(name: str, dtype: str, shape: Shape | None) -> onnx.ValueInfoProto:
    number = _ONNX[ElementType(dtype)] if dtype != "string" else TensorProto.STRING
    return helper.make_tensor_value_info(name, number, shape)


def model(nodes: list[Any], inputs: list[Any], outputs: list[Any], *weights: Any) -> bytes:
    graph = helper.make_graph(nodes, "tensors", inputs, outputs, list(weights))
    opsets = [helper.make_opsetid("", 17)]
    made: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    return made


def passing(dtype: str, shape: Shape) -> bytes:
    """The input itself: whatever goes in comes out."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return model([node], [info("x", dtype, shape)], [info("y", dtype, shape)])


def numbers(dtype: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Numbers that use the type: the extremes, and what only floats have."""
    random = np.random.default_rng(11)
    if dtype == "bool":
        return random.integers(0, 2, size=shape).astype(np.bool_)
    if dtype.startswith("float"):
        made = random.normal(size=shape).astype(dtype)
        made.reshape(-1)[:3] = [np.nan, np.inf, np.finfo(dtype).max]
        return made
    limits = np.iinfo(dtype)
    made = random.integers(0, 100, size=shape).astype(dtype)
    made.reshape(-1)[:2] = [limits.min, limits.max]
    return made


def arrays(**tensors: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Fixtures of five cases around the given inputs and references."""
    return {
        **{name.replace("__", "."): array for name, array in tensors.items()},
        "case": np.array([f"case-{index}" for index in range(CASES)]),
        "cohort": np.array(["all"] * CASES),
        "label": np.full(CASES, -1, dtype=np.int8),
        "expected_decision": np.full(CASES, -1, dtype=np.int8),
    }


def prepare(release: Any, inputs: list[Any], outputs: list[Any], **members: Any) -> None:
    """The release's specification for this interface: it loads, and its numbers agree."""

    def stated(tensors: list[Any]) -> list[dict[str, Any]]:
        return [{"name": n, "dtype": d, "shape": list(s)} for n, d, s in tensors]

    release.changes.pop("fixtures", None)
    kept = {"bytes", "loads", "signature", "numbers"}
    release.changes |= {
        "interface": {"inputs": stated(inputs), "outputs": stated(outputs)},
        "operatingPoint": None,
        "tests": [test for test in release.spec()["tests"] if test["id"] in kept],
        "minTests": 4,
        "fixtures": {**release.spec()["fixtures"], "cases": CASES},
        **members,
    }


def outcome(result: Any, name: str) -> Any:
    return next(test for test in result.tests if test.id == name)


@pytest.mark.parametrize("dtype", ElementType)
def test_each_element_type_is_carried_and_compared(release: Any, dtype: str) -> None:
    x = numbers(dtype, (CASES, 3))
    release.model = passing(dtype, ("batch", 3))
    release.arrays = arrays(input__x=x, reference__y=x)
    prepare(release, [("x", dtype, ("batch", 3))], [("y", dtype, ("batch", 3))])
    result = release.run()
    assert result.overall is Overall.PASSED, result.summary
    wrong = x.copy()
    wrong[4, 2] = not wrong[4, 2] if dtype == "bool" else wrong[4, 2] + 1
    release.arrays["reference.y"] = wrong
    prepare(release, [("x", dtype, ("batch", 3))], [("y", dtype, ("batch", 3))])
    result = release.run()
    assert result.blame is Blame.RELEASE
    (worst,) = outcome(result, "numbers").cases
    assert (worst.case, worst.output, worst.index) == ("case-4", "y", (2,))
    assert outcome(result, "numbers").worst.startswith("case-4, y[2]: ")
    assert outcome(result, "numbers").found == "1 of 15 numbers outside the tolerance"


@pytest.mark.parametrize(
    "shape",
    [
        (),
        (1,),
        ("batch",),
        (4,),
        (1, 4),
        ("batch", 2, 1, 3),
        (2, 3),
        ("batch", 1, 1, 1, 1, 1, 1, 2),
    ],
    ids=str,
)
def test_each_shape_is_carried_with_and_without_a_batch(release: Any, shape: Shape) -> None:
    """A model without a batch gets the whole tensor of one case; one with it gets a batch of 1."""
    inner = of_case(shape)
    x = np.arange(CASES * math.prod(inner), dtype=np.float32).reshape(CASES, *inner)
    release.model = passing("float32", shape)
    release.arrays = arrays(input__x=x, reference__y=x)
    prepare(release, [("x", "float32", shape)], [("y", "float32", shape)])
    result = release.run()
    assert result.overall is Overall.PASSED, result.summary


def test_inputs_of_several_types_come_out_as_they_went_in(release: Any) -> None:
    """Danger: bytes of mixed types are read off their places.  Odd sizes, every number checked."""
    mixed: list[tuple[str, str, Shape]] = [
        ("a", "bool", (3,)),
        ("b", "float64", ("batch", 2)),
        ("c", "int16", ()),
    ]
    mixed += [("d", "float16", (1, 1)), ("e", "uint64", (2, 2))]
    nodes = [helper.make_node("Identity", [name], [f"{name}.out"]) for name, _, _ in mixed]
    outputs = [(f"{name}.out", dtype, shape) for name, dtype, shape in mixed]
    release.model = model(nodes, [info(*one) for one in mixed], [info(*one) for one in outputs])
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    for number, (name, dtype, shape) in enumerate(mixed):
        random = np.random.default_rng(number)
        values = random.integers(0, 2, size=(CASES, *of_case(shape))).astype(dtype)
        tensors |= {f"input__{name}": values, f"reference__{name}.out": values}
    release.arrays = arrays(**tensors)
    prepare(release, mixed, outputs)
    result = release.run()
    assert result.overall is Overall.PASSED, result.summary


def test_an_output_of_another_shape_than_signed_fails_though_its_numbers_are_as_many(
    release: Any,
) -> None:
    """Attack: the file states a shape and computes another one, which the runtime lets pass."""
    nodes = [helper.make_node("Reshape", ["x", "to"], ["y"])]
    x = np.zeros((CASES, 2, 3), dtype=np.float32)
    to = numpy_helper.from_array(np.array([3, 2]), "to")
    shape = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])
    release.model = model(nodes, [info("x", "float32", (2, 3))], [shape], to)
    release.arrays = arrays(input__x=x, reference__y=x)
    prepare(release, [("x", "float32", (2, 3))], [("y", "float32", (2, 3))])
    result = release.run()
    assert result.overall is Overall.FAILED
    assert result.blame is Blame.RELEASE


def test_a_smaller_output_is_not_stretched_over_the_signed_shape(release: Any) -> None:
    """Attack: one row is computed instead of two, and repeating it would agree with both."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], axes=[1], keepdims=0),
        helper.make_node("Cast", ["most"], ["chosen"], to=TensorProto.BOOL),
        helper.make_node("Compress", ["x", "chosen"], ["y"], axis=0),
    ]
    x = np.zeros((CASES, 2, 3), dtype=np.float32)
    x[:, 0] = 1.0
    release.model = model(nodes, [info("x", "float32", (2, 3))], [info("y", "float32", (2, 3))])
    release.arrays = arrays(input__x=x, reference__y=np.ones_like(x))
    prepare(release, [("x", "float32", (2, 3))], [("y", "float32", (2, 3))])
    result = release.run()
    assert result.overall is Overall.FAILED
    assert "shape [1, 3]" in outcome(result, "loads").found


def test_a_model_of_texts_is_refused_in_so_many_words(release: Any) -> None:
    x = np.zeros((CASES, 2), dtype=np.float32)
    release.model = passing("string", (2,))
    release.arrays = arrays(input__x=x, reference__y=x)
    prepare(release, [("x", "float32", (2,))], [("y", "float32", (2,))])
    result = release.run()
    assert result.reason is Reason.COMPAT_CONTRACT
    assert "'x': texts[2]" in outcome(result, "signature").found


def test_a_shape_that_is_not_stated_is_no_single_number(release: Any) -> None:
    """Attack: no shape in the file, which the runtime shows like the shape of a single number."""
    x = np.zeros(CASES, dtype=np.float32)
    node = helper.make_node("Identity", ["x"], ["y"])
    unstated = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    release.model = model([node], [info("x", "float32", ())], [unstated])
    release.arrays = arrays(input__x=x, reference__y=x)
    prepare(release, [("x", "float32", ())], [("y", "float32", ())])
    result = release.run()
    assert result.reason is Reason.COMPAT_CONTRACT
    assert result.report.ending == "not-started"


@pytest.mark.parametrize("dtype", ["float16", "float64", "int64", "uint8"])
def test_one_number_of_a_larger_output_decides(release: Any, dtype: str) -> None:
    """Danger: the score of another class is taken for the decision."""
    scores = np.array([[9, 1], [1, 9], [5, 5], [0, 4], [7, 6]]).astype(dtype)
    release.model = passing(dtype, ("batch", 2))
    release.arrays = arrays(input__x=scores, reference__y=scores)
    release.arrays["expected_decision"] = np.array([0, 1, 1, 0, 1], dtype=np.int8)
    release.arrays["cohort"] = np.array(["sinus", "fault"] + ["sinus"] * 3)
    point = {"output": "y", "element": 1, "threshold": "5", "positiveWhen": "at-or-above"}
    interface = [("x", dtype, ("batch", 2))], [("y", dtype, ("batch", 2))]
    tests = release.spec()["tests"]
    prepare(release, *interface, operatingPoint=point, tests=tests, minTests=7)
    result = release.run()
    assert result.overall is Overall.PASSED, result.summary
    point["element"] = 0
    decisions = outcome(release.run(), "decisions")
    assert decisions.status is TestStatus.FAIL
    assert decisions.found == "1 flips, 1 in sinus"


def test_outputs_beyond_what_a_report_carries_are_refused_before_anything_runs(
    release: Any,
) -> None:
    """Danger: a device compares number after number for minutes.  End: refused, nothing run."""
    side = 1000
    x = np.zeros((CASES, side, side), dtype=np.int16)
    release.model = passing("int16", (side, side))
    release.arrays = arrays(input__x=x, reference__y=x)
    prepare(release, [("x", "int16", (side, side))], [("y", "int16", (side, side))])
    result = release.run()
    assert result.overall is Overall.FAILED
    assert "bytes of outputs instead of at most" in outcome(result, "bytes").found
    assert outcome(result, "numbers").status is TestStatus.NOT_RUN
