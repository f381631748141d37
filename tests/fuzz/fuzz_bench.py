"""The parsers around the self-test: model files, fixtures and what a bench reports."""

from __future__ import annotations

import io
import json
import math
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

from fuzz_oracle import Subject, attempt, joined, sections
from primum_verifier.core.document import parse_document, sha256_hex
from primum_verifier.proof.bench_contract import Ending
from primum_verifier.proof.fixtures import Fixtures, read_fixtures
from primum_verifier.proof.selftest import judge_selftest
from primum_verifier.proof.selftest_result import SelfTestReport
from primum_verifier.proof.selftest_result import Subject as Tested
from primum_verifier.proof.selftest_spec import SelfTestSpec
from primum_verifier.shell.bench_report import conclude
from primum_verifier.shell.onnx_screen import screen_model_bytes
from primum_verifier.shell.protobuf_walk import MalformedError, Walk

_CASES = 3
_FEATURES = 2
_MAX_STEPS = 1000


def _npy(kind: str, shape: tuple[int, ...], data: bytes) -> bytes:
    head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


def _texts(*texts: str) -> bytes:
    width = max(map(len, texts))
    data = "".join(text.ljust(width, "\0") for text in texts).encode("utf-32-le")
    return _npy(f"<U{width}", (len(texts),), data)


def _floats(shape: tuple[int, ...]) -> bytes:
    return _npy("<f4", shape, struct.pack(f"<{math.prod(shape)}f", *range(math.prod(shape))))


_ARRAYS = {
    "input.x": _floats((_CASES, _FEATURES)),
    "reference.p": _floats((_CASES, 1)),
    "case": _texts("one", "two", "three"),
    "cohort": _texts("sinus", "sinus", "fault"),
    "label": _npy("|i1", (_CASES,), b"\x00\x01\xff"),
    "expected_decision": _npy("|i1", (_CASES,), b"\x00\x01\x01"),
    f"decision.{'a' * 64}": _npy("|i1", (_CASES,), b"\x00\x01\xff"),
}


def _archive(arrays: Mapping[str, bytes], *, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")
            member.compress_type = compression
            archive.writestr(member, data)
    return buffer.getvalue()


_FIXTURES_FILE = _archive(_ARRAYS)
_FIXTURES = read_fixtures(_FIXTURES_FILE)


def _test(name: str, level: str, **members: Any) -> dict[str, Any]:
    return {
        "id": name,
        "level": level,
        "qualityCriterion": "QC-1",
        "riskControlRef": "RC-1",
        "mandatory": True,
        "onFailure": "refuse",
        **members,
    }


_SPEC = SelfTestSpec.model_validate_json(
    json.dumps(
        {
            "schemaVersion": "0.1",
            "id": "urn:uuid:3f0c5a60-0000-4000-8000-000000000001",
            "component": "pvc-classifier",
            "interface": {
                "inputs": [{"name": "x", "dtype": "float32", "shape": ["batch", _FEATURES]}],
                "outputs": [{"name": "p", "dtype": "float32", "shape": ["batch", 1]}],
            },
            "opsetMin": 13,
            "opsetMax": 21,
            "allowedDomains": [""],
            "operatingPoint": {"output": "p", "threshold": "0.5", "positiveWhen": "at-or-above"},
            "fixtures": {
                "digest": {"sha256": sha256_hex(_FIXTURES_FILE)},
                "cases": _CASES,
                "origin": "counted",
                "licence": "Apache-2.0",
            },
            "tests": [
                _test("bytes", "integrity"),
                _test("loads", "load"),
                _test("signature", "interface"),
                _test("numbers", "numeric", absTol="0.00001", relTol="0.0001"),
                _test(
                    "decisions",
                    "functional",
                    maxDecisionFlips=0,
                    maxDecisionFlipsByCohort={"sinus": 0},
                ),
                _test("faults", "safety-function", cohort="fault"),
                _test(
                    "speed",
                    "performance",
                    warmUp=1,
                    repetitions=1,
                    rounds=3,
                    limits={"cardiowear-2": {"p95Ms": 2000, "peakRssMiB": 512}},
                    onFailure="warn",
                ),
            ],
            "minTests": 6,
            "totalTimeLimitSeconds": 30,
            "memoryLimitMiB": 1024,
            "goldenVectorsOrigin": "synthetic",
        }
    )
)


def _check(fixtures: Fixtures) -> None:
    count = len(fixtures.cases)
    assert count == len(set(fixtures.cases)) > 0
    tuples = (fixtures.cohorts, fixtures.labels, fixtures.expected_decisions)
    assert {len(one) for one in fixtures.baselines.values()} <= {count}
    assert {len(one) for one in tuples} == {count}
    for one in (*fixtures.inputs, *fixtures.references.values()):
        assert one.shape[0] == count
        assert len(one.numbers()) == math.prod(one.shape)
        assert b"".join(one.of_case(index) for index in range(count)) == one.data


def fixtures_file(data: bytes) -> None:
    """The file of fixtures as it stands."""
    found = attempt(lambda: read_fixtures(data))
    if found is not None:
        _check(found)


def fixture_arrays(data: bytes) -> None:
    """The arrays inside: packed here, because no search gets past the checksums of a zip."""
    arrays = {name: raw for name, raw in sections(data, first="case").items() if "\0" not in name}
    fixtures_file(_archive(arrays))


def model_file(data: bytes) -> None:
    """The screen over a model file."""
    attempt(lambda: screen_model_bytes(data, spec=_SPEC, where="model.onnx"))


def protobuf(data: bytes) -> None:
    """The walk over the wire format: every field lies inside, in order, within the steps."""
    seen = at = 0
    try:
        walk = Walk(memoryview(data), max_fields=_MAX_STEPS)
        for field in walk.fields(0, len(data)):
            assert at < field.start <= field.end <= len(data)
            at = field.end
            seen += 1
            if field.wire == 2:
                walk.text(field, max_bytes=1024)
    except MalformedError:
        pass
    assert seen <= _MAX_STEPS


def bench_report(data: bytes) -> None:
    """What a bench wrote, concluded and judged; the evidence can be kept and read again."""
    endings = list(Ending)
    cause = endings[data[0] % len(endings)] if data else Ending.NO_REPORT
    run = attempt(
        lambda: conclude(
            data[1:].split(b"\n"),
            cause=cause,
            detail="exit code 1",
            wall_seconds=1.5,
            peak_rss_kib=2048,
            cpu_features=("avx2",),
        )
    )
    if run is None:
        return
    tested = Tested(spec="1" * 64, model="2" * 64, fixtures=_SPEC.fixtures.digest.sha256)
    result = judge_selftest(
        spec=_SPEC, subject=tested, fixtures=_FIXTURES, run=run, hardware="cardiowear-2"
    )
    if run.observations is None:
        assert not result.passed, "a bench that reported nothing passed"
    written = result.report.to_bytes()
    assert parse_document(SelfTestReport, written, where="written") == result.report


def _field(number: int, data: bytes | int) -> bytes:
    if isinstance(data, int):
        return bytes([number << 3, data])
    return bytes([number << 3 | 2, len(data)]) + data


def _tensor_info(name: bytes, last: int) -> bytes:
    shape = _field(1, _field(2, b"n")) + _field(1, _field(1, last))
    return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, shape)))


def _model_seeds() -> Mapping[str, bytes]:
    """A small model as the wire format has it: one multiplication, a graph inside a graph."""
    inner = _field(1, _field(4, b"Sin"))
    nested = _field(5, _field(1, b"body") + b"\x32" + bytes([len(inner)]) + inner)
    weights = _field(1, 2) + _field(2, 1) + _field(8, b"w")
    graph = (
        _field(1, _field(1, b"x") + _field(1, b"w") + _field(2, b"p") + _field(4, b"MatMul"))
        + _field(1, _field(4, b"Loop") + nested)
        + _field(5, weights)
        + _field(11, _tensor_info(b"x", _FEATURES))
        + _field(12, _tensor_info(b"p", 1))
    )
    opset = _field(8, _field(1, b"") + _field(2, 17))
    whole = (
        _field(1, 8) + b"\x3a" + bytes([len(graph) & 0x7F | 0x80, len(graph) >> 7]) + graph + opset
    )
    return {"model": whole, "empty-graph": _field(1, 8) + _field(7, b"") + opset}


def _report_seeds() -> Mapping[str, bytes]:
    reported = bytes([list(Ending).index(Ending.REPORTED)])
    ready = {
        "frame": "ready",
        "contract": "0.1",
        "runtime": {"onnxruntime": "1.31.0", "numpy": "2.4.0", "python": "3.11.7"},
        "provider": "CPUExecutionProvider",
        "architecture": "x86_64",
        "confinements": ["rlimits", "session", "no-new-privs"],
        "landlockAbi": 2,
    }
    result = {
        "frame": "result",
        "loaded": True,
        "outOfMemory": False,
        "error": "",
        "inputs": [{"name": "x", "dtype": "float32", "shape": ["batch", _FEATURES]}],
        "outputs": [{"name": "p", "dtype": "float32", "shape": ["batch", 1]}],
        "values": [{"name": "p", "dtype": "float32", "data": "AAAAAAAAgD8AAABA"}],
        "failedCases": [],
        "loadsUs": [900],
        "latenciesUs": [100, 110, 120],
        "againUs": [[100, 110, 90]],
    }
    unable = {"frame": "unable", "problem": "telemetry", "text": "the switch is not set"}
    return {
        "passed": reported + json.dumps(ready).encode() + b"\n" + json.dumps(result).encode(),
        "failed-case": reported
        + json.dumps(ready).encode()
        + b"\n"
        + json.dumps(result | {"failedCases": [1], "values": [], "error": "killed"}).encode(),
        "unable": reported + json.dumps(unable).encode(),
        "cut": reported + json.dumps(ready).encode()[:40],
    }


BENCH_SUBJECTS = {
    "fixtures": Subject(
        run=fixtures_file,
        seeds=lambda: {"stored": _FIXTURES_FILE, "deflated": _archive(_ARRAYS, compression=8)},
    ),
    "fixture-arrays": Subject(
        run=fixture_arrays,
        seeds=lambda: {"arrays": joined(_ARRAYS)},
        words=lambda: (
            "<f4",
            "<f2",
            "<f8",
            "<i8",
            "<u2",
            "|b1",
            "|i1",
            "<U",
            "(3,), }",
            "== input.",
            "== reference.",
            "== label\n",
        ),
        max_bytes=2048,
    ),
    "model": Subject(run=model_file, seeds=_model_seeds, words=lambda: ("ai.onnx", "n")),
    "protobuf": Subject(run=protobuf, seeds=_model_seeds, max_bytes=512),
    "bench-report": Subject(
        run=bench_report,
        seeds=_report_seeds,
        words=lambda: ('"frame":"ready"', '"frame":"unable"', '"shape":[', '"data":"', "null"),
    ),
}
