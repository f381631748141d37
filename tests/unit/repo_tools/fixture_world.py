"""A small model that declines what it cannot judge, with strips, for the tests of fixtures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SAMPLES = 200
RAIL = 5.0
STATED = [
    "--origin", "seeded strips", "--licence", "CC0-1.0", "--vectors", "synthetic",
    "--risk-control", "RC-01", "--decide", "p", "--threshold", "0.5",
]  # fmt: skip


def strip_model(*, scale: float = 1.0) -> bytes:
    """The sigmoid of the strip's mean slope; no decision at the rails or where it is flat."""

    def constant(name: str, value: float) -> Any:
        return numpy_helper.from_array(np.array(value, np.float32), name)

    nodes = [
        helper.make_node("ReduceMax", ["ecg"], ["top"], axes=[1], keepdims=1),
        helper.make_node("ReduceMin", ["ecg"], ["bottom"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["top", "bottom"], ["span"]),
        helper.make_node("Less", ["top", "rail"], ["below"]),
        helper.make_node("Greater", ["span", "least"], ["alive"]),
        helper.make_node("And", ["below", "alive"], ["good"]),
        helper.make_node("MatMul", ["ecg", "w"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["s"]),
        helper.make_node("Where", ["good", "s", "none"], ["p"]),
    ]
    slope = np.linspace(-1, 1, SAMPLES, dtype=np.float32).reshape(-1, 1) * np.float32(scale / 20)
    graph = helper.make_graph(
        nodes,
        "strip",
        [helper.make_tensor_value_info("ecg", TensorProto.FLOAT, ["n", SAMPLES])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", 1])],
        [
            constant("rail", RAIL),
            constant("least", 0.05),
            constant("none", float("nan")),
            numpy_helper.from_array(slope, "w"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def strips() -> dict[str, Any]:
    """Twelve strips, half of them rising."""
    rng = np.random.default_rng(5)
    label = np.arange(12, dtype=np.int8) % 2
    ramp = np.linspace(-1, 1, SAMPLES)
    ecg = np.stack([(2 * sign - 1) * ramp + rng.normal(0, 0.1, SAMPLES) for sign in label])
    return {
        "input.ecg": ecg.astype(np.float32),
        "case": np.array([f"rec{index:02}" for index in range(12)]),
        "cohort": np.array(["home"] * 8 + ["ward"] * 4),
        "label": label,
    }


@dataclass(frozen=True)
class Bench:
    """A folder with a model and arrays, and the commands on them."""

    folder: Path
    run: Callable[..., Any]

    @property
    def model(self) -> Path:
        return self.folder / "model.onnx"

    @property
    def fixtures(self) -> Path:
        return self.folder / "fixtures.npz"

    def give(self, **changes: Any) -> Path:
        """Write the arrays with some changed, or left out where None."""
        arrays = {**strips(), **{name.replace("__", "."): one for name, one in changes.items()}}
        path = self.folder / "cases.npz"
        kept: dict[str, Any] = {name: one for name, one in arrays.items() if one is not None}
        np.savez(path, allow_pickle=True, **kept)
        return path

    def make(self, *more: object, stated: list[str] | None = None, **changes: Any) -> Any:
        return self.run(
            "fixtures", "make", self.model, "--arrays", self.give(**changes),
            "--output", self.fixtures, *(STATED if stated is None else stated), *more,
        )  # fmt: skip

    def degrade(self, *expect: str, output: str = "all.npz", more: tuple[object, ...] = ()) -> Any:
        stated = [item for one in expect for item in ("--expect", one)]
        return self.run(
            "fixtures", "degrade", self.fixtures, "--model", self.model,
            "--output", self.folder / output, "--risk-control", "RC-06", *stated, *more,
        )  # fmt: skip
