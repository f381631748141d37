"""The confined process of a self-test: loads one model, runs the cases it is given, reports.

Run as ``python -I -m primum_verifier.shell.bench_child REPORT_FD`` by
:mod:`primum_verifier.shell.bench`; :mod:`primum_verifier.proof.bench_contract` has the contract.
It knows the inputs and nothing of what is expected.  It imports no pydantic and builds its JSON by
hand, because its start is most of a self-test's time.

The order: read the request, close files, import the runtime, close calls, say "ready", load, run,
report, then wait to be ended, so that whoever started it can read its peak memory.
"""

from __future__ import annotations

import base64
import json
import math
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from primum_verifier.proof.confinement import Confinement
from primum_verifier.proof.element_types import BY_RUNTIME
from primum_verifier.shell.bench_timing import Timing
from primum_verifier.shell.sandbox import Limits, Sandbox

CONTRACT = "0.1"
TELEMETRY_SWITCH = "ORT_DISABLE_TELEMETRY"
PROVIDER = "CPUExecutionProvider"

_MAX_TEXT = 600
_MAX_FACT = 120
_MAX_RANK = 8
_LINGER_SECONDS = 5.0
"""How long a finished bench waits to be ended before it ends by itself."""

_MIB = 1024 * 1024


class Report:
    """The descriptor that the answer goes to."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def send(self, frame: dict[str, object]) -> None:
        """Write one frame as one line."""
        line = memoryview(json.dumps(frame, separators=(",", ":")).encode() + b"\n")
        while line:
            line = line[os.write(self._descriptor, line) :]

    def unable(self, problem: str, text: str) -> NoReturn:
        """Say why the run cannot begin, and end."""
        self.send({"frame": "unable", "problem": problem, "text": _plain(text, _MAX_TEXT)})
        os._exit(3)


def main() -> None:
    """Answer the one request on standard input."""
    report = Report(int(sys.argv[1]))
    if os.environ.get(TELEMETRY_SWITCH) != "1":
        report.unable("telemetry", f"{TELEMETRY_SWITCH}=1 is not set: the runtime would call home")
    try:
        head, _, body = sys.stdin.buffer.read().partition(b"\n")
        request: dict[str, Any] = json.loads(head)
        model = Path(request["model"])
        sandbox = Sandbox()
        sandbox.close_files(
            limits=Limits(
                memory_bytes=request["memoryMiB"] * _MIB, cpu_seconds=request["cpuSeconds"]
            ),
            readable=(model,),
            parent=request["parent"],
        )
    except (ValueError, KeyError, TypeError) as error:
        report.unable("request", f"{type(error).__name__}: {error}")
    np, ort = import_runtime(report)
    sandbox.close_calls()
    missing = sorted({Confinement(name) for name in request["required"]} - sandbox.held)
    if missing:
        report.unable("confinement", "this system does not hold: " + ", ".join(missing))
    report.send(
        {
            "frame": "ready",
            "contract": CONTRACT,
            "runtime": runtime_of(np, ort),
            "provider": PROVIDER,
            "architecture": os.uname().machine,
            "confinements": sorted(sandbox.held),
            "landlockAbi": sandbox.landlock_abi,
        }
    )
    report.send(_run(request, body, np=np, ort=ort))
    time.sleep(_LINGER_SECONDS)
    os._exit(0)


def import_runtime(report: Report) -> tuple[Any, Any]:
    """Numpy and the runtime, only after files are closed; where they cannot be had, it is told."""
    try:
        import numpy as np  # noqa: PLC0415
        import onnxruntime as ort  # noqa: PLC0415
    except ModuleNotFoundError as error:
        report.unable("runtime-missing", str(error))
    except Exception as error:  # noqa: BLE001 - an import of native code may raise anything
        report.unable("runtime-unusable", f"{type(error).__name__}: {error}")
    return np, ort


def runtime_of(np: Any, ort: Any) -> dict[str, str]:  # noqa: ANN401 - modules
    """Which software computes: versions as they are found."""
    return {
        "onnxruntime": str(ort.__version__)[:_MAX_FACT],
        "numpy": str(np.__version__)[:_MAX_FACT],
        "python": platform.python_version(),
    }


def _run(request: dict[str, Any], body: bytes, *, np: Any, ort: Any) -> dict[str, object]:  # noqa: ANN401 - modules
    """Load the model, run every case, and give the result frame; no error leaves it."""
    frame: dict[str, object] = {
        "frame": "result", "loaded": False, "outOfMemory": False, "error": "",
        "inputs": [], "outputs": [], "values": [], "failedCases": [],
        "loadsUs": [], "latenciesUs": [], "againUs": [],
    }  # fmt: skip
    timing = Timing(request["timing"])
    try:
        session = timing.loaded(lambda: load(request["model"], ort))
        frame["loaded"] = True
        frame["inputs"] = [_found(tensor) for tensor in session.get_inputs()]
        frame["outputs"] = [_found(tensor) for tensor in session.get_outputs()]
    except Exception as error:  # noqa: BLE001 - whatever native code says is evidence, not ours
        frame["error"], frame["outOfMemory"] = _told(error)
        return frame
    _compute(session, request, body, frame, timing=timing, np=np)
    if timing.loads_too_slowly:
        del session
        timing.load_again(lambda: load(request["model"], ort))
    frame["loadsUs"], (frame["latenciesUs"], *frame["againUs"]) = timing.loads, timing.rounds
    return frame


def _compute(
    session: Any,  # noqa: ANN401 - the runtime's own class
    request: dict[str, Any],
    body: bytes,
    frame: dict[str, object],
    *,
    timing: Timing,
    np: Any,  # noqa: ANN401 - a module
) -> None:
    """Run every case, then as often as times are wanted; what came of it goes into the frame."""
    feeds = _feeds(request, body, np)
    names = [output["name"] for output in request["outputs"]]
    blocks = [
        np.zeros((len(feeds), *output["shape"]), dtype=little_endian(output, np))
        for output in request["outputs"]
    ]
    failed: list[int] = []

    def infer(case: int) -> list[Any]:
        results: list[Any] = session.run(names, feeds[case])
        return results

    def fail(case: int, error: Exception) -> None:
        failed.append(case)
        if not frame["error"]:
            frame["error"], frame["outOfMemory"] = _told(error)

    timing.warm_up(infer, cases=len(feeds))
    for case in range(len(feeds)):
        try:
            for block, values in zip(blocks, timing.timed(infer, case), strict=True):
                _keep(block, case, values)
        except Exception as error:  # noqa: BLE001 - whatever native code says is evidence, not ours
            fail(case, error)
    if not failed:  # what did not run, or ran out of memory, is not timed any further
        try:
            timing.go_on(infer, cases=len(feeds))
        except Exception as error:  # noqa: BLE001 - as above; it ran before, and does not now
            fail(timing.case, error)
    frame["values"] = [
        {
            "name": output["name"],
            "dtype": output["dtype"],
            "data": base64.b64encode(block.tobytes()).decode(),
        }
        for output, block in zip(request["outputs"], blocks, strict=True)
    ]
    frame["failedCases"] = failed


def load(model: str, ort: Any) -> Any:  # noqa: ANN401 - a module and its session
    """A session of the runtime with the settings that a device uses: one thread, no spinning."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, options, providers=[PROVIDER])


def _feeds(request: dict[str, Any], body: bytes, np: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    """The inputs of each case by name, as views of the request's bytes."""
    feeds = []
    at = 0
    for _ in range(request["cases"]):
        feed = {}
        for tensor in request["inputs"]:
            dtype = little_endian(tensor, np)
            values = np.frombuffer(body, dtype=dtype, count=math.prod(tensor["shape"]), offset=at)
            at += values.nbytes
            # Inputs of several types stand one after the other: a number may begin anywhere.
            feed[tensor["name"]] = np.require(values.reshape(tensor["shape"]), requirements="A")
        feeds.append(feed)
    return feeds


def little_endian(tensor: dict[str, Any], np: Any) -> Any:  # noqa: ANN401 - a module's own type
    """The element type of a tensor as numpy knows it."""
    return np.dtype(tensor["dtype"]).newbyteorder("<")


def _keep(block: Any, case: int, values: Any) -> None:  # noqa: ANN401 - arrays
    if values.dtype != block.dtype or values.shape != block.shape[1:]:
        raise TypeError(f"an output of type {values.dtype} and shape {list(values.shape)}")
    block[case] = values


def _found(tensor: Any) -> dict[str, object]:  # noqa: ANN401 - the runtime's own class
    shape = [
        part if isinstance(part, int) else _plain(str(part), _MAX_FACT)
        for part in list(tensor.shape)[:_MAX_RANK]
    ]
    dtype = BY_RUNTIME.get(tensor.type, tensor.type)
    return {
        "name": _plain(tensor.name, _MAX_FACT),
        "dtype": _plain(dtype, _MAX_FACT),
        "shape": shape,
    }


def _told(error: Exception) -> tuple[str, bool]:
    text = str(error)
    starved = isinstance(error, MemoryError) or "bad_alloc" in text or "allocate memory" in text
    return _plain(f"{type(error).__name__}: {text}", _MAX_TEXT), starved


def _plain(text: str, most: int) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text[:most])


if __name__ == "__main__":
    main()
