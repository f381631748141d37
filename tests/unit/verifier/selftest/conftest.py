"""A tiny real classifier with its fixtures and specification, built for each test that asks."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from primum_verifier.core.document import sha256_hex
from primum_verifier.proof.selftest_result import Baselines, SelfTestResult
from primum_verifier.shell.bench import REFERENCE_BENCH, Bench
from primum_verifier.shell.selftest import self_test

FEATURES = 8
CASES = 12
HARDWARE = "cardiowear-2"
WEIGHTS = np.linspace(-1.0, 1.0, FEATURES, dtype=np.float32).reshape(FEATURES, 1)


def classifier(*, scale: float = 1.0, nodes: list[Any] | None = None) -> onnx.ModelProto:
    """Sigmoid of a weighted sum; ``scale`` multiplies the weights."""
    graph = helper.make_graph(
        nodes
        if nodes is not None
        else [
            helper.make_node("MatMul", ["x", "w"], ["z"]),
            helper.make_node("Sigmoid", ["z"], ["p"]),
        ],
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", FEATURES])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(WEIGHTS * np.float32(scale), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def hanging_model() -> onnx.ModelProto:
    """A loop of 2**62 rounds around the classifier's sum: valid, and never done."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["still"]),
            helper.make_node("Sin", ["carried"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
    )
    model = classifier(
        nodes=[
            helper.make_node("MatMul", ["x", "w"], ["z"]),
            helper.make_node("Loop", ["rounds", "yes", "z"], ["p"], body=body),
        ]
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(2**62), "rounds"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(1, dtype=np.bool_), "yes"))
    return model


def known_cases() -> dict[str, np.ndarray[Any, Any]]:
    """Twelve cases; the last two are faults: a dropout (NaN) and a saturated channel."""
    x = np.random.default_rng(7).normal(size=(CASES, FEATURES)).astype(np.float32)
    x[-2, 0] = np.nan
    x[-1] = 1e30
    x[-1, :4] = -1e30
    with np.errstate(over="ignore", invalid="ignore"):
        reference = (1 / (1 + np.exp(-(x.astype(np.float64) @ WEIGHTS)))).astype(np.float32)
    decisions = np.where(np.isnan(reference[:, 0]), -1, reference[:, 0] >= 0.5).astype(np.int8)
    return {
        "input.x": x,
        "reference.p": reference,
        "case": np.array([f"case-{index:02}" for index in range(CASES)]),
        "cohort": np.array(["sinus"] * 6 + ["ectopic"] * 4 + ["fault"] * 2),
        "label": np.maximum(decisions, 0).astype(np.int8),
        "expected_decision": decisions,
    }


def npz(arrays: dict[str, np.ndarray[Any, Any]]) -> bytes:
    """The arrays as the release side writes them."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def budget(**limits: int) -> dict[str, Any]:
    """The members of a performance test that states these limits for the tests' hardware."""
    return {"warmUp": 1, "repetitions": 1, "rounds": 3, "limits": {HARDWARE: limits}}


def specification(fixtures: bytes) -> dict[str, Any]:
    """A specification with one test of each level, for the fixtures given."""

    def test(name: str, level: str, **members: Any) -> dict[str, Any]:
        return {
            "id": name,
            "level": level,
            "qualityCriterion": "QC-1",
            "riskControlRef": "RC-1",
            "mandatory": True,
            "onFailure": "refuse",
            **members,
        }

    return {
        "schemaVersion": "0.1",
        "id": "urn:uuid:3f0c5a60-0000-4000-8000-000000000001",
        "component": "pvc-classifier",
        "interface": {
            "inputs": [{"name": "x", "dtype": "float32", "shape": ["batch", FEATURES]}],
            "outputs": [{"name": "p", "dtype": "float32", "shape": ["batch", 1]}],
        },
        "opsetMin": 13,
        "opsetMax": 21,
        "allowedDomains": [""],
        "operatingPoint": {"output": "p", "threshold": "0.5", "positiveWhen": "at-or-above"},
        "fixtures": {
            "digest": {"sha256": sha256_hex(fixtures)},
            "cases": CASES,
            "origin": "drawn from a seeded generator",
            "licence": "Apache-2.0",
        },
        "tests": [
            test("bytes", "integrity"),
            test("loads", "load"),
            test("signature", "interface"),
            test("numbers", "numeric", absTol="0.00001", relTol="0.0001"),
            test(
                "decisions", "functional", maxDecisionFlips=0, maxDecisionFlipsByCohort={"sinus": 0}
            ),
            test("faults", "safety-function", cohort="fault"),
            test("speed", "performance", onFailure="warn", **budget(p95Ms=2000, peakRssMiB=512)),
        ],
        "minTests": 6,
        "totalTimeLimitSeconds": 30,
        "memoryLimitMiB": 1024,
        "goldenVectorsOrigin": "synthetic",
    }


@dataclass
class Release:
    """The three files of a self-test in one folder, changed by a test before it runs them."""

    folder: Path
    model: bytes = b""
    arrays: dict[str, Any] = field(default_factory=known_cases)
    changes: dict[str, Any] = field(default_factory=dict)

    def spec(self) -> dict[str, Any]:
        """The specification with this release's changes."""
        return {**specification(npz(self.arrays)), **self.changes}

    def run(
        self,
        *,
        bench: Bench = REFERENCE_BENCH,
        baselines: Baselines | None = None,
        hardware: str | None = HARDWARE,
    ) -> SelfTestResult:
        """The self-test over what is in the folder."""
        model, fixtures = self.folder / "model.onnx", self.folder / "fixtures.npz"
        scratch = self.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        model.write_bytes(self.model or classifier().SerializeToString())
        fixtures.write_bytes(npz(self.arrays))
        spec = json.dumps(self.spec()).encode()
        result = self_test(
            model=model,
            spec=spec,
            fixtures=fixtures,
            scratch=scratch,
            bench=bench,
            baselines=baselines,
            hardware=hardware,
        )
        assert list(scratch.iterdir()) == [], "a self-test left something behind"
        return result


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """A release whose self-test passes."""
    return Release(tmp_path)


def _children() -> set[int]:
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(pid) for task in tasks for pid in task.read_text().split()}


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """Whatever a self-test did, no process of it is left."""
    before = _children()
    yield
    assert _children() <= before


@pytest.fixture(scope="session")
def build() -> dict[str, Callable[..., Any]]:
    """The makers of this file, for tests that change what they make."""
    return {
        "classifier": classifier,
        "hanging": hanging_model,
        "cases": known_cases,
        "npz": npz,
        "specification": specification,
        "budget": budget,
    }
