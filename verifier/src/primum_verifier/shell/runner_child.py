"""The confined process of a runner: loads one model and computes for as long as it is asked.

Run as ``python -I -B -m primum_verifier.shell.runner_child ANSWER_FD`` by
:mod:`primum_verifier.shell.runner`, under the same confinement and in the same order as the bench
of a self-test: read the request, close files, import the runtime, close calls, load, say
"serving", then answer.

A question is the bytes of every input in the order of the interface, little-endian, nothing else:
its length is known.  An answer is one byte 0 and the bytes of every output, or one byte 1, two
bytes of length and a text.  It imports no pydantic, and nothing that came over the pipe is parsed
beyond these numbers.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

from primum_verifier.proof.confinement import Confinement
from primum_verifier.shell import bench_child
from primum_verifier.shell.sandbox import Limits, Sandbox

_STDIN = 0
_MOST_HEAD = 65_536
_MOST_TEXT = 600
_FOR_EVER = 10**9
"""Seconds of processor time: a model that serves is bounded by question, from outside."""

COMPUTED, NOT_COMPUTED = b"\x00", b"\x01"


def main() -> None:
    """Serve until the other side closes its end."""
    report = bench_child.Report(int(sys.argv[1]))
    if os.environ.get(bench_child.TELEMETRY_SWITCH) != "1":
        switch = bench_child.TELEMETRY_SWITCH
        report.unable("telemetry", f"{switch}=1 is not set: the runtime would call home")
    try:
        request: dict[str, Any] = json.loads(_line())
        model = Path(request["model"])
        sandbox = Sandbox()
        sandbox.close_files(
            limits=Limits(memory_bytes=request["memoryMiB"] * 1024 * 1024, cpu_seconds=_FOR_EVER),
            readable=(model,),
            parent=request["parent"],
        )
    except (ValueError, KeyError, TypeError) as error:
        report.unable("request", f"{type(error).__name__}: {error}")
    np, ort = bench_child.import_runtime(report)
    sandbox.close_calls()
    missing = sorted({Confinement(name) for name in request["required"]} - sandbox.held)
    if missing:
        report.unable("confinement", "this system does not hold: " + ", ".join(missing))
    begin = time.perf_counter_ns()
    try:
        session = bench_child.load(request["model"], ort)
    except Exception as error:  # noqa: BLE001 - whatever native code says is told, not ours
        report.unable("model", f"{type(error).__name__}: {error}")
    report.send(
        {
            "frame": "serving",
            "runtime": bench_child.runtime_of(np, ort),
            "provider": bench_child.PROVIDER,
            "confinements": sorted(sandbox.held),
            "landlockAbi": sandbox.landlock_abi,
            "loadUs": (time.perf_counter_ns() - begin) // 1000,
        }
    )
    _serve(int(sys.argv[1]), request, session, np)


def _serve(answers: int, request: dict[str, Any], session: Any, np: Any) -> None:  # noqa: ANN401 - modules
    inputs, outputs = request["inputs"], request["outputs"]
    names = [tensor["name"] for tensor in outputs]
    types = [bench_child.little_endian(tensor, np) for tensor in inputs]
    sizes = [
        kind.itemsize * math.prod(tensor["shape"])
        for tensor, kind in zip(inputs, types, strict=True)
    ]
    while (body := _exactly(sum(sizes))) is not None:
        try:
            feed, at = {}, 0
            for tensor, kind, size in zip(inputs, types, sizes, strict=True):
                values = np.frombuffer(body[at : at + size], dtype=kind)
                feed[tensor["name"]] = values.reshape(tensor["shape"])
                at += size
            found = session.run(names, feed)
            answer = COMPUTED + b"".join(
                _bytes_of(values, tensor, np) for values, tensor in zip(found, outputs, strict=True)
            )
        except Exception as error:  # noqa: BLE001 - as above
            text = f"{type(error).__name__}: {error}".encode()[:_MOST_TEXT]
            answer = NOT_COMPUTED + len(text).to_bytes(2, "little") + text
        _write(answers, answer)


def _bytes_of(values: Any, tensor: dict[str, Any], np: Any) -> bytes:  # noqa: ANN401 - arrays
    wanted = bench_child.little_endian(tensor, np)
    if values.dtype != wanted or list(values.shape) != tensor["shape"]:
        raise TypeError(f"an output of type {values.dtype} and shape {list(values.shape)}")
    return bytes(values.astype(wanted, copy=False).tobytes())


def _line() -> bytes:
    """The request: nothing follows it before this process has answered."""
    found = b""
    while not found.endswith(b"\n"):
        piece = os.read(_STDIN, _MOST_HEAD)
        if not piece or len(found) > _MOST_HEAD:
            raise ValueError("no request")
        found += piece
    return found


def _exactly(count: int) -> bytes | None:
    """So many bytes; None where the other side has closed its end."""
    found = bytearray()
    while len(found) < count:
        piece = os.read(_STDIN, count - len(found))
        if not piece:
            return None
        found += piece
    return bytes(found)


def _write(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


if __name__ == "__main__":
    main()
