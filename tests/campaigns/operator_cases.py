"""The operator tests of the ``onnx`` package as releases: fixtures that nobody here wrote.

What lies in the package as files (``simple``, ``pytorch-*``) is read from there, what it makes when
it is asked (``node``) is made by its own code, and the models of ``real`` get the inputs that its
own runner gives them.  Nothing is changed on the way: neither model nor numbers nor tolerances.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from pydantic import ValidationError

from primum_verifier.core.document import sha256_hex
from primum_verifier.proof.element_types import BY_ONNX
from primum_verifier.proof.selftest_spec import Interface

KINDS = ("simple", "pytorch-converted", "pytorch-operator", "real", "node")
TIME_LIMIT_SECONDS = 60
MEMORY_MIB = 4096
"""The largest of the models in ``real`` makes half a gigabyte of weights."""

_DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
_URN = "urn:uuid:00000000-0000-4000-8000-0000000000a2"
_COMMON = {
    "qualityCriterion": "QC", "riskControlRef": "RC", "mandatory": True, "onFailure": "refuse",
}  # fmt: skip

Array = NDArray[Any]


class NoFixturesError(Exception):
    """Why a case cannot be stated as a self-test: a group, and the detail."""

    def __init__(self, group: str, detail: str) -> None:
        super().__init__(f"{group}: {detail}")
        self.group = group
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Case:
    """One test of the package.

    Attributes:
        kind: its folder.
        name: its name there.
        model: the file.
        data: inputs and expected outputs of each data set, as the package holds them.
        rtol: relative tolerance.
        atol: absolute tolerance.
    """

    kind: str
    name: str
    model: bytes
    data: tuple[tuple[list[Any], list[Any]], ...]
    rtol: float
    atol: float


@dataclass(frozen=True, slots=True)
class Stated:
    """One case as the files of a self-test."""

    model: bytes
    spec: bytes
    fixtures: bytes


def stored_cases() -> Iterator[Case]:
    """Those that lie in the package with model, inputs and outputs, and its real models."""
    for kind in KINDS[:3]:
        for folder in sorted((_DATA / kind).iterdir()):
            if (folder / "model.onnx").is_file():
                sets = sorted(folder.glob("test_data_set_*"))
                data = tuple((_protos(one, "input"), _protos(one, "output")) for one in sets)
                model = (folder / "model.onnx").read_bytes()
                yield Case(kind, folder.name, model, data, 1e-3, 1e-7)
    for folder in sorted((_DATA / "real").iterdir()):
        if (folder / "data.json").is_file():
            yield _real(folder)


def made_cases() -> Iterator[Case]:
    """Those of single operators, which the package computes with numpy when it is asked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what operators do at their limits is their test
        from onnx.backend.test.case.node import collect_testcases

        found = collect_testcases(None)
    for one in sorted(found, key=lambda case: case.name):
        assert one.model is not None
        assert one.data_sets is not None
        data = tuple((list(inputs), list(outputs)) for inputs, outputs in one.data_sets)
        yield Case("node", one.name, one.model.SerializeToString(), data, one.rtol, one.atol)


def _protos(folder: Path, what: str) -> list[Any]:
    return [
        (folder / f"{what}_{number}.pb").read_bytes()
        for number in range(len(list(folder.glob(f"{what}_*.pb"))))
    ]


def _real(folder: Path) -> Case:
    from onnx.backend.test.runner import Runner

    says = json.loads((folder / "data.json").read_text("utf-8"))
    path = _DATA.parents[3] / says["url"]
    model = onnx.load(path)
    inputs = [
        Runner.generate_dummy_data(value, seed=0, name=says["model_name"], random=False)
        for value in _without_weights(model)
    ]
    outputs: list[Any] = [path.with_name(f"{path.stem}_output_0.pb").read_bytes()]
    content = path.read_bytes()
    return Case("real", folder.name, content, ((inputs, outputs),), says["rtol"], says["atol"])


def _without_weights(model: onnx.ModelProto) -> list[Any]:
    weights = {one.name for one in model.graph.initializer}
    return [one for one in model.graph.input if one.name not in weights]


def state(case: Case) -> Stated:
    """The case as a specification with fixtures, for the model as it is.

    Raises:
        NoFixturesError: the case asks for what a self-test does not state.
    """
    model = onnx.load_model_from_string(case.model)
    inputs = [_tensor(value) for value in _without_weights(model)]
    outputs = [_tensor(value) for value in model.graph.output]
    if not inputs:
        raise NoFixturesError("no input", "there is nothing to give to the model")
    columns = _columns(case, inputs, outputs)
    for one in (*inputs, *outputs):
        _check_shape(one, columns[one["name"]])
    interface = {"inputs": inputs, "outputs": outputs}
    _check_interface(interface)
    count = len(next(iter(columns.values())))
    fixtures = io.BytesIO()
    arrays: dict[str, Array] = {
        **{f"input.{one['name']}": np.stack(columns[one["name"]]) for one in inputs},
        **{f"reference.{one['name']}": np.stack(columns[one["name"]]) for one in outputs},
        "case": np.array([f"set-{number}" for number in range(count)]),
        "cohort": np.array(["all"] * count),
        "label": np.full(count, -1, np.int8),
        "expected_decision": np.full(count, -1, np.int8),
    }
    ordered = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    np.savez(fixtures, **ordered)  # type: ignore[arg-type]
    spec = _specification(case, model, interface, fixtures.getvalue(), count)
    return Stated(case.model, json.dumps(spec).encode(), fixtures.getvalue())


def _tensor(value: Any) -> dict[str, Any]:
    """One input or output as the file states it."""
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise NoFixturesError("no tensor", str(kind).removesuffix("_type"))
    tensor = value.type.tensor_type
    if tensor.elem_type not in BY_ONNX:
        name = TensorProto.DataType.Name(tensor.elem_type).lower()
        raise NoFixturesError("element type", name)
    if not tensor.HasField("shape"):
        raise NoFixturesError("open shape", "no shape is stated")
    shape: list[int | str] = []
    for place, dimension in enumerate(tensor.shape.dim):
        if dimension.HasField("dim_value"):
            shape.append(dimension.dim_value)
        elif place == 0 and dimension.dim_param:
            shape.append("batch")
        else:
            raise NoFixturesError("open shape", "a dimension is not fixed")
    return {"name": value.name, "dtype": str(BY_ONNX[tensor.elem_type]), "shape": shape}


def _columns(
    case: Case, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]
) -> dict[str, list[Array]]:
    """The numbers of each tensor, a case at a time and without the batch."""
    columns: dict[str, list[Array]] = {one["name"]: [] for one in (*inputs, *outputs)}
    for given, expected in case.data:
        if len(given) != len(inputs) or len(expected) != len(outputs):
            raise NoFixturesError("no tensor", "an input or output has no value")
        for one, value in zip((*inputs, *outputs), (*given, *expected), strict=True):
            array = _array(value)
            if str(array.dtype) != one["dtype"]:
                detail = f"{array.dtype} stored for {one['dtype']}"
                raise NoFixturesError("data of another type or shape", detail)
            columns[one["name"]] += list(array) if one["shape"][:1] == ["batch"] else [array]
    if len({len(column) for column in columns.values()}) != 1:
        raise NoFixturesError("open shape", "the batch is not the first dimension of all")
    return columns


def _array(value: Any) -> Array:
    if isinstance(value, bytes):
        tensor = TensorProto()
        tensor.ParseFromString(value)
        value = tensor
    if isinstance(value, TensorProto):
        value = numpy_helper.to_array(value)
    return np.asarray(value)


def _check_shape(one: dict[str, Any], column: list[Array]) -> None:
    wanted = tuple(one["shape"][1:] if one["shape"][:1] == ["batch"] else one["shape"])
    if any(array.size == 0 for array in column) or not column or 0 in wanted:
        raise NoFixturesError("empty tensor", "a dimension is 0")
    for array in column:
        if array.shape != wanted:
            detail = f"shape {list(array.shape)} stored for {list(wanted)}"
            raise NoFixturesError("data of another type or shape", detail)


def _check_interface(interface: dict[str, Any]) -> None:
    try:
        Interface.model_validate_json(json.dumps(interface))
    except ValidationError as error:
        place = "/".join(str(part) for part in error.errors()[0]["loc"])
        raise NoFixturesError("interface", f"{place}: {error.errors()[0]['msg']}") from error


def _specification(
    case: Case, model: onnx.ModelProto, interface: dict[str, Any], fixtures: bytes, count: int
) -> dict[str, Any]:
    versions = {one.domain: one.version for one in model.opset_import}
    opset = versions.get("", versions.get("ai.onnx", 1))
    numeric = {"absTol": _decimal(case.atol), "relTol": _decimal(case.rtol)}
    return {
        "schemaVersion": "0.1",
        "id": _URN,
        "component": "operator",
        "interface": interface,
        "opsetMin": opset,
        "opsetMax": opset,
        "allowedDomains": sorted(versions),
        "fixtures": {
            "digest": {"sha256": sha256_hex(fixtures)},
            "cases": count,
            "origin": f"onnx {onnx.__version__}, backend/test/data/{case.kind}/{case.name}",
            "licence": "Apache-2.0",
        },
        "tests": [
            {"id": "loads", "level": "load", **_COMMON},
            {"id": "signature", "level": "interface", **_COMMON},
            {"id": "numbers", "level": "numeric", **numeric, **_COMMON},
        ],
        "minTests": 3,
        "totalTimeLimitSeconds": TIME_LIMIT_SECONDS,
        "memoryLimitMiB": MEMORY_MIB,
        "goldenVectorsOrigin": "synthetic",
    }


def _decimal(value: float) -> str:
    return f"{Decimal(repr(value)):f}"
