"""What a small world signs: envelopes, and a model with its fixtures and its self-test.

The model is a sigmoid of a weighted sum of four numbers: small, exact, and quick to test.
"""

from __future__ import annotations

import zipfile
from datetime import datetime
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

from primum_device_sim.authorities.origin import THIS_MACHINE, Origin
from primum_device_sim.demo.npz import npz_bytes
from primum_verifier.core.document import canonical_json, sha256_hex
from primum_verifier.core.envelope import public_key_of

COMPONENT = "pvc-classifier"
DEVICE = "wearable-001"
FEATURES = 4
CONSTRAINTS: dict[str, Any] = {
    "jurisdictions": ["DE"],
    "hardware": [{"hardwareId": "cardiowear-2"}],
    "sites": {"mode": "all", "ids": []},
}
"""For whom a release is eligible where nothing else is said."""

_THRESHOLD = 0.5
WEIGHTS = np.linspace(-1.0, 1.0, FEATURES, dtype=np.float32).reshape(FEATURES, 1)


def moment(value: datetime) -> str:
    """A time as documents write it."""
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")


def envelope(payload: bytes, payload_type: str, *signers: CryptoSigner) -> bytes:
    """A DSSE envelope."""
    made = Envelope(payload, payload_type, {})
    for signer in signers:
        key_id = public_key_of(signer.public_key).key_id
        signature = signer.sign(made.pae())
        signature.keyid = key_id
        made.signatures[key_id] = signature
    return canonical_json(made.to_dict())


def public(signer: CryptoSigner) -> dict[str, Any]:
    """The public half of a key as documents write it."""
    return public_key_of(signer.public_key).model_dump(mode="json", by_alias=True)


def model_bytes(scale: float) -> bytes:
    """Sigmoid of a weighted sum; another scale than 1 computes something else."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Sigmoid", ["z"], ["p"])],
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", FEATURES])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(WEIGHTS * np.float32(scale), "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def fixture_bytes() -> bytes:
    """Six inputs, what the reference computes of them, and which decisions are right."""
    x = np.random.default_rng(7).normal(size=(6, FEATURES)).astype(np.float32)
    reference = (1 / (1 + np.exp(-(x.astype(np.float64) @ WEIGHTS)))).astype(np.float32)
    decisions = (reference[:, 0] >= _THRESHOLD).astype(np.int8)
    arrays: dict[str, Any] = {
        "input.x": x,
        "reference.p": reference,
        "case": np.array([f"case-{index:02}" for index in range(6)]),
        "cohort": np.array(["sinus"] * 6),
        "label": decisions,
        "expected_decision": decisions,
    }
    return npz_bytes(arrays, compression=zipfile.ZIP_DEFLATED)


def specification_bytes(fixtures: bytes, *, origin: Origin = THIS_MACHINE) -> bytes:
    """What the self-test asks of the model over these fixtures."""

    def test(name: str, level: str, **members: object) -> dict[str, Any]:
        return {
            "id": name,
            "level": level,
            "qualityCriterion": "QC-1",
            "riskControlRef": "RC-1",
            "mandatory": True,
            "onFailure": "refuse",
            **members,
        }

    return canonical_json(
        {
            "schemaVersion": "0.1",
            "id": origin.urn(),
            "component": COMPONENT,
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
                "cases": 6,
                "origin": "drawn from a seeded generator",
                "licence": "Apache-2.0",
            },
            "tests": [
                test("bytes", "integrity"),
                test("loads", "load"),
                test("signature", "interface"),
                test("numbers", "numeric", absTol="0.00001", relTol="0.0001"),
                test("decisions", "functional", maxDecisionFlips=0, maxDecisionFlipsByCohort={}),
            ],
            "minTests": 5,
            "totalTimeLimitSeconds": 30,
            "memoryLimitMiB": 1024,
            "goldenVectorsOrigin": "synthetic",
        }
    )
