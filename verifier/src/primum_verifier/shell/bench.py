"""The bench port: runs one model on the fixtures' inputs and says what it saw.

:class:`ConfinedBench` does it in a confined process and leaves no process behind.  Whatever the
model does to the process that loads it (crash, hang, endless output, no report), the caller gets
one :class:`BenchRun` that says how it ended.  The confined process is told the inputs only; time
and peak memory are measured from here, where it cannot change them.

It starts processes, so it must be called from the thread that goes on living: the kernel ends the
confined process when that thread ends.  :class:`FakeBench`, the double, starts none.
"""

from __future__ import annotations

import base64
import json
import os
import selectors
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from primum_verifier.core.errors import FailedError
from primum_verifier.core.limits import KIB
from primum_verifier.proof.bench_contract import (
    CONTRACT,
    BenchRun,
    Ending,
    FoundTensor,
    Observations,
    OutputBlock,
    Ready,
    Runtime,
)
from primum_verifier.proof.confinement import ALWAYS_POSSIBLE, Confinement
from primum_verifier.proof.fixtures import Fixtures
from primum_verifier.proof.selftest_spec import SelfTestSpec, TensorSpec
from primum_verifier.shell.bench_process import (
    await_end,
    cpu_features,
    end,
    ending_of,
    has_ended,
    peak_rss_kib,
    told,
)
from primum_verifier.shell.bench_report import FRAMES, MAX_REPORT_BYTES, conclude, require_held
from primum_verifier.shell.bench_start import make_home, start_confined

REFERENCE_COMMAND = (sys.executable, "-I", "-B", "-m", "primum_verifier.shell.bench_child")
"""The bench that comes with the verifier; ``-I`` keeps environment and current folder out."""

MAX_STDERR_BYTES = 8 * KIB
"""What of a bench's chatter is kept, to show to a person; it is never judged by."""

_READ = 64 * KIB
_SLICE_SECONDS = 0.25
"""How often a silent bench is asked whether it is still there."""


@dataclass(slots=True)
class _Heard:
    """What came out of the bench so far."""

    report: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)

    @property
    def lines(self) -> list[bytes]:
        """The complete lines of the report."""
        return bytes(self.report).split(b"\n")[:-1]


class Bench(Protocol):
    """The port: whatever can run a model on known inputs and say what it saw."""

    def run(
        self,
        *,
        model: Path,
        fixtures: Fixtures,
        spec: SelfTestSpec,
        scratch: Path,
        hardware: str | None = None,
    ) -> BenchRun:
        """Run ``model`` on every case of ``fixtures``.

        Args:
            model: the model file, screened already.
            fixtures: known inputs; they fit the interface of ``spec``.
            spec: names the interface, the time limit (seconds) and the memory limit (MiB).
            scratch: an existing folder; nothing is left in it.
            hardware: the kind of hardware whose limits say when enough rounds were timed; without
                it one round is enough.

        Returns:
            How it ended and what was reported.

        Raises:
            FailedError: the bench could not begin, which says nothing about the release.
        """


@dataclass(frozen=True, kw_only=True)
class ConfinedBench:
    """The bench that starts a confined process, and leaves none behind.

    Attributes:
        required: confinements without which the model must not be loaded.
        command: the bench; the number of the report's descriptor is added as last argument.
        clock: seconds that never go back; measures the time limit.
    """

    required: frozenset[Confinement] = ALWAYS_POSSIBLE
    command: tuple[str, ...] = REFERENCE_COMMAND
    clock: Callable[[], float] = time.monotonic

    def run(
        self,
        *,
        model: Path,
        fixtures: Fixtures,
        spec: SelfTestSpec,
        scratch: Path,
        hardware: str | None = None,
    ) -> BenchRun:
        """See :class:`Bench`.

        A folder inside ``scratch`` is made, used as home and removed.

        Raises:
            FailedError: no runtime, a required confinement that this system does not hold, no
                disk, no process.
        """
        begin = self.clock()
        heard = _Heard()
        reading, writing = os.pipe()
        home = make_home(scratch)
        try:
            asked = _request(model, fixtures, spec, required=self.required, hardware=hardware)
            with os.fdopen(asked, "rb") as request:
                process = start_confined(
                    (*self.command, str(writing)), request.fileno(), writing, home
                )
            os.close(writing)
            writing = -1
            try:
                deadline = begin + spec.total_time_limit_seconds
                cause = _listen(process, reading, heard, deadline=deadline, clock=self.clock)
                peak = peak_rss_kib(process.pid)
                gone = has_ended(process.pid)
            finally:
                end(process)
        finally:
            for descriptor in (reading, writing):
                if descriptor >= 0:
                    os.close(descriptor)
            shutil.rmtree(home, ignore_errors=True)
        concluded = conclude(
            heard.lines,
            cause=cause if cause is not None else ending_of(process.returncode, gone=gone),
            detail=told(process.returncode, heard.stderr) if gone else "",
            wall_seconds=self.clock() - begin,
            peak_rss_kib=peak,
            cpu_features=cpu_features(),
        )
        require_held(concluded, self.required)
        return concluded


REFERENCE_BENCH = ConfinedBench()
"""What a self-test runs on where its caller brings no other."""


@dataclass
class FakeBench:
    """The double: opens no model and starts no process; answers as told and remembers.

    Attributes:
        answer: what a run comes to: observations, another ending, or the error that it raises.
            Without one it reports the numbers that the fixtures expect.
        asked: the model file of each run, in order.
    """

    answer: Observations | Ending | FailedError | None = None
    asked: list[Path] = field(default_factory=list)

    def run(
        self,
        *,
        model: Path,
        fixtures: Fixtures,
        spec: SelfTestSpec,
        scratch: Path,  # noqa: ARG002 - it needs no place to run in
        hardware: str | None = None,  # noqa: ARG002 - it takes the same time everywhere
    ) -> BenchRun:
        """See :class:`Bench`."""
        self.asked.append(model)
        if isinstance(self.answer, FailedError):
            raise self.answer
        seen: Observations | None = None
        if not isinstance(self.answer, Ending):
            seen = self.answer or expected_observations(fixtures, spec)
        return BenchRun(
            ending=self.answer if isinstance(self.answer, Ending) else Ending.REPORTED,
            ready=Ready(
                frame="ready",
                contract=CONTRACT,
                runtime=Runtime(onnxruntime="none", numpy="none", python="none"),
                provider="FakeBench",
                architecture="none",
                confinements=(),
                landlock_abi=0,
            ),
            observations=seen,
            detail="",
            wall_seconds=0.0,
            peak_rss_kib=1,
        )


def expected_observations(fixtures: Fixtures, spec: SelfTestSpec) -> Observations:
    """What a bench reports of a model that computes what the fixtures expect."""
    repetitions = 1 if spec.performance is None else spec.performance.repetitions
    return Observations(
        frame="result",
        loaded=True,
        out_of_memory=False,
        error="",
        inputs=tuple(map(_as_found, spec.interface.inputs)),
        outputs=tuple(map(_as_found, spec.interface.outputs)),
        values=tuple(
            OutputBlock(name=name, dtype=array.dtype, data=base64.b64encode(array.data).decode())
            for name, array in fixtures.references.items()
        ),
        failed_cases=(),
        loads_us=(1,),
        latencies_us=(1,) * len(fixtures.cases) * repetitions,
    )


def _as_found(tensor: TensorSpec) -> FoundTensor:
    return FoundTensor(name=tensor.name, dtype=tensor.dtype, shape=tensor.shape)


def _as_asked(tensor: TensorSpec) -> dict[str, object]:
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": tensor.call_shape}


def _timing(spec: SelfTestSpec, hardware: str | None) -> dict[str, object]:
    """How times are to be taken, and what is enough of them.

    A bench that knows the limits gains nothing: one that wanted to could make up any time.
    """
    test = spec.performance
    if test is None:
        return {"warmUp": 1, "repetitions": 1, "rounds": 1, "latencyUs": {}, "loadUs": None}
    budget = test.limits.get(hardware or "")
    return {
        "warmUp": test.warm_up,
        "repetitions": test.repetitions,
        "rounds": 1 if budget is None else test.rounds,
        "latencyUs": {} if budget is None else budget.latency_us,
        "loadUs": None if budget is None or budget.load_ms is None else budget.load_ms * 1000,
    }


def _request(
    model: Path,
    fixtures: Fixtures,
    spec: SelfTestSpec,
    *,
    required: frozenset[Confinement],
    hardware: str | None,
) -> int:
    """The request in memory: one line of JSON, then the inputs case by case."""
    arrays = {array.name: array for array in fixtures.inputs}
    head = {
        "contract": CONTRACT,
        "model": str(model.resolve()),
        "memoryMiB": spec.memory_limit_mib,
        "cpuSeconds": spec.total_time_limit_seconds + 1,
        "parent": os.getpid(),
        "required": sorted(required),
        "cases": len(fixtures.cases),
        "timing": {**_timing(spec, hardware), "seconds": spec.total_time_limit_seconds},
        "inputs": list(map(_as_asked, spec.interface.inputs)),
        "outputs": list(map(_as_asked, spec.interface.outputs)),
    }
    descriptor = os.memfd_create("primum-bench-request")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(json.dumps(head).encode() + b"\n")
        for case in range(len(fixtures.cases)):
            for tensor in spec.interface.inputs:
                file.write(arrays[tensor.name].of_case(case))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _listen(
    process: subprocess.Popen[bytes],
    report: int,
    heard: _Heard,
    *,
    deadline: float,
    clock: Callable[[], float],
) -> Ending | None:
    """Collect until the report is whole.

    Returns:
        Why listening ended early, None when the report is whole or the bench went away.
    """
    stderr = process.stderr.fileno() if process.stderr is not None else -1
    with selectors.DefaultSelector() as ready:
        ready.register(report, selectors.EVENT_READ)
        ready.register(stderr, selectors.EVENT_READ)
        while True:
            left = deadline - clock()
            if left <= 0:
                return Ending.TIMED_OUT
            events = ready.select(min(left, _SLICE_SECONDS))
            if not events and has_ended(process.pid):
                return None  # something it started may hold the pipe open; it is ended with it
            for key, _ in events:
                chunk = os.read(key.fd, _READ)
                if key.fd == stderr:
                    heard.stderr += chunk[: MAX_STDERR_BYTES - len(heard.stderr)]
                    if not chunk:
                        ready.unregister(stderr)
                    continue
                heard.report += chunk
                if len(heard.report) > MAX_REPORT_BYTES:
                    return Ending.TOO_MUCH_OUTPUT
                lines = heard.report.count(b"\n")
                if not chunk:
                    await_end(process.pid, deadline=deadline, clock=clock)
                if not chunk or lines >= FRAMES:
                    return None
