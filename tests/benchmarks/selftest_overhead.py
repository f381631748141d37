"""What confinement and judgement cost: a self-test against a plain process that does as little.

Both load the same one-dimensional convolutional network of about 430 kB and run ten cases with
one thread.  The plain process imports the runtime, loads and runs; the self-test goes from call
to verdict.  Runs are interleaved, so that a busy machine slows both; medians are compared.

Two plain processes, because a bench is ended right after its report and never takes its runtime
down, which alone is a fifth of a plain run: ``ratio`` is against one that leaves at once after its
last inference and reads its inputs as raw bytes, as the bench does; ``ratioToOrdinaryExit`` is
against one that is written and ends as people write it.  Only the first says what confinement and
judgement cost.

``ratio`` begins where the bench's process is started and ends with the verdict, in a process that
has the verifier in memory already, as an agent's attempt has.  ``ratioFromNothing`` also starts
that process and imports the verifier into it.  Memory is the highest resident memory as the kernel
knows it: of the process that judges, of the bench that it started, and of the plain process.

Run: ``python -m tests.benchmarks.selftest_overhead [ROUNDS] [--json FILE]`` (5 by default).
Target: at most 1.25.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tests.benchmarks.figures import arguments, keep

from primum_verifier.core.document import sha256_hex
from primum_verifier.shell.selftest import self_test

_SAMPLES = 500
_CASES = 10
_CHANNELS = (1, 64, 128, 192)

_ORDINARY = """
import sys
import numpy as np
import onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
for case in np.load(sys.argv[2])["input.x"]:
    session.run(None, {"x": case[None]})
"""
_PLAIN = (
    _ORDINARY.replace(
        'np.load(sys.argv[2])["input.x"]', f'np.fromfile("raw", "<f4").reshape(-1, 1, {_SAMPLES})'
    )
    + """
import os
status = open("/proc/self/status").read().splitlines()
print(next(line.split()[1] for line in status if line.startswith("VmHWM")), flush=True)
os._exit(0)
"""
)
_JUDGE = """
import json
from pathlib import Path
from primum_verifier.shell.selftest import self_test
result = self_test(
    model=Path("model.onnx"), spec=Path("spec.json").read_bytes(), fixtures=Path("fixtures.npz"),
    scratch=Path("."),
)
status = Path("/proc/self/status").read_text().splitlines()
print(json.dumps({
    "passed": result.passed,
    "judge": int(next(line.split()[1] for line in status if line.startswith("VmHWM"))),
    "bench": result.report.peak_rss_kib,
}))
"""
"""A process that does nothing but one self-test; it imports neither the runtime nor numpy."""


def network() -> bytes:
    """Three convolutions, a mean and a sigmoid, with fixed random weights."""
    random = np.random.default_rng(1)
    nodes, weights, name = [], [], "x"
    for layer, (before, after) in enumerate(itertools.pairwise(_CHANNELS)):
        values = random.normal(size=(after, before, 3)).astype(np.float32) * 0.1
        weights.append(numpy_helper.from_array(values, f"w{layer}"))
        nodes.append(
            helper.make_node("Conv", [name, f"w{layer}"], [f"c{layer}"], strides=[2], pads=[1, 1])
        )
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]))
        name = f"r{layer}"
    weights.append(
        numpy_helper.from_array(random.normal(size=(_CHANNELS[-1], 1)).astype("f4"), "h")
    )
    nodes += [
        helper.make_node("GlobalAveragePool", [name], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("MatMul", ["f", "h"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["p"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, _SAMPLES])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", 1])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    onnx.checker.check_model(content, full_check=True)
    return content


def known_cases(model: bytes) -> bytes:
    """Ten cases with the outputs that this machine's own runtime computes."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime as ort  # only after its telemetry is off

    x = np.random.default_rng(2).normal(size=(_CASES, 1, _SAMPLES)).astype(np.float32)
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    reference = np.concatenate([session.run(None, {"x": case[None]})[0] for case in x])
    buffer = io.BytesIO()
    np.savez(
        buffer,
        **{"input.x": x, "reference.p": reference},  # type: ignore[arg-type]
        case=np.array([f"case-{index}" for index in range(_CASES)]),
        cohort=np.array(["all"] * _CASES),
        label=np.zeros(_CASES, np.int8),
        expected_decision=(reference[:, 0] >= 0.5).astype(np.int8),
    )
    return buffer.getvalue()


def specification(fixtures: bytes) -> bytes:
    """One numeric and one functional test."""
    common = {
        "qualityCriterion": "QC", "riskControlRef": "RC", "mandatory": True, "onFailure": "refuse",
    }  # fmt: skip
    flips = {"maxDecisionFlips": 0, "maxDecisionFlipsByCohort": {}}
    content = {
        "schemaVersion": "0.1",
        "id": "urn:uuid:00000000-0000-4000-8000-000000000000",
        "component": "network",
        "interface": {
            "inputs": [{"name": "x", "dtype": "float32", "shape": ["batch", 1, _SAMPLES]}],
            "outputs": [{"name": "p", "dtype": "float32", "shape": ["batch", 1]}],
        },
        "opsetMin": 17,
        "opsetMax": 17,
        "allowedDomains": [""],
        "operatingPoint": {"output": "p", "threshold": "0.5", "positiveWhen": "at-or-above"},
        "fixtures": {
            "digest": {"sha256": sha256_hex(fixtures)},
            "cases": _CASES,
            "origin": "drawn from a seeded generator",
            "licence": "Apache-2.0",
        },
        "tests": [
            {"id": "numbers", "level": "numeric", "absTol": "0.0001", "relTol": "0", **common},
            {"id": "decisions", "level": "functional", **flips, **common},
        ],
        "minTests": 2,
        "totalTimeLimitSeconds": 60,
        "memoryLimitMiB": 1024,
        "goldenVectorsOrigin": "synthetic",
    }
    return json.dumps(content).encode()


def main() -> None:
    """Measure and print one line of JSON."""
    parser = arguments(__doc__)
    parser.add_argument("rounds", type=int, nargs="?", default=5, help="5 by default")
    options = parser.parse_args()
    rounds: int = options.rounds
    model = network()
    fixtures = known_cases(model)
    spec = specification(fixtures)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    seconds: dict[str, list[float]] = {"plain": [], "ordinary": [], "proven": [], "whole": []}
    peaks: dict[str, int] = {"plain": 0, "judge": 0, "bench": 0}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.onnx").write_bytes(model)
        (folder / "fixtures.npz").write_bytes(fixtures)
        (folder / "spec.json").write_bytes(spec)
        np.load(io.BytesIO(fixtures))["input.x"].tofile(folder / "raw")

        def run(script: str) -> tuple[float, str]:
            begin = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", script, "model.onnx", "fixtures.npz"],
                cwd=folder, env=environment, check=True, capture_output=True, text=True,
            )  # fmt: skip
            return time.perf_counter() - begin, done.stdout

        for turn in range(rounds + 1):
            took = {}
            took["plain"], told = run(_PLAIN)
            peaks["plain"] = max(peaks["plain"], int(told))
            took["ordinary"], _ = run(_ORDINARY)
            begin = time.perf_counter()
            result = self_test(
                model=folder / "model.onnx",
                spec=spec,
                fixtures=folder / "fixtures.npz",
                scratch=folder,
            )
            took["proven"] = time.perf_counter() - begin
            if not result.passed:
                raise SystemExit(result.summary)
            took["whole"], told = run(_JUDGE)
            judged = json.loads(told)
            if not judged["passed"]:
                raise SystemExit("the self-test in a process of its own did not pass")
            for process in ("judge", "bench"):
                peaks[process] = max(peaks[process], judged[process])
            if turn:  # the first round warms the page cache for all
                for what, one in took.items():
                    seconds[what].append(one)
    median = {what: statistics.median(times) for what, times in seconds.items()}
    environment_of_bench = result.report.environment
    figures = {
        "benchmark": "selftest_overhead",
        "modelBytes": len(model),
        "rounds": rounds,
        "plainSeconds": round(median["plain"], 4),
        "ordinarySeconds": round(median["ordinary"], 4),
        "selfTestSeconds": round(median["proven"], 4),
        "fromNothingSeconds": round(median["whole"], 4),
        "ratio": round(median["proven"] / median["plain"], 3),
        "ratioToOrdinaryExit": round(median["proven"] / median["ordinary"], 3),
        "ratioFromNothing": round(median["whole"] / median["ordinary"], 3),
        "target": 1.25,
        "judgePeakMiB": round(peaks["judge"] / 1024, 1),
        "benchPeakMiB": round(peaks["bench"] / 1024, 1),
        "plainPeakMiB": round(peaks["plain"] / 1024, 1),
        "confinements": sorted(environment_of_bench.confinements) if environment_of_bench else [],
    }
    keep(figures, options.json)
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
