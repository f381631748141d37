"""Runs one model on the fixtures' inputs in a confined process, and leaves no process behind.

Whatever the model does to the process that loads it (crash, hang, endless output, no report), the
caller gets one :class:`BenchRun` that says how it ended.  The confined process is told the inputs
only; time and peak memory are measured from here, where it cannot change them.

Starts processes, so it must be called from the thread that goes on living: the kernel ends the
confined process when that thread ends.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from primum_verifier.core.bench_contract import (
    BenchRun,
    Ending,
    Observations,
    Problem,
    Ready,
    Unable,
)
from primum_verifier.core.confinement import ALWAYS_POSSIBLE, Confinement
from primum_verifier.core.document import parse_document, read_json
from primum_verifier.core.errors import FailedError, PrimumError, RefusedError
from primum_verifier.core.fixtures import Fixtures
from primum_verifier.core.limits import KIB, MIB
from primum_verifier.core.reasons import Reason
from primum_verifier.core.selftest_spec import BATCH, SelfTestSpec

REFERENCE_BENCH = (sys.executable, "-I", "-B", "-m", "primum_verifier.shell.bench_child")
"""The bench that comes with the verifier; ``-I`` keeps environment and current folder out."""

MAX_REPORT_BYTES = 8 * MIB
"""A report of the most cases allowed is far below this; more is a flood."""

MAX_STDERR_BYTES = 8 * KIB
"""What of a bench's chatter is kept, to show to a person; it is never judged by."""

_READ = 64 * KIB
_SLICE_SECONDS = 0.25
"""How often a silent bench is asked whether it is still there."""

_COLOURS = re.compile(rb"\x1b\[[0-9;]*m")
_CHATTER = "device_discovery"
"""The runtime complains at every start that it may not look for graphics processors."""

_Frame = TypeVar("_Frame", Ready, Observations, Unable)
_FEATURES = frozenset(
    {
        "amx_bf16", "amx_int8", "amx_tile", "avx", "avx2", "avx512_bf16", "avx512_fp16",
        "avx512_vnni", "avx512bw", "avx512f", "avx512vl", "avx_vnni", "fma", "sse4_1", "sse4_2",
        "asimd", "asimddp", "asimdhp", "bf16", "i8mm", "neon", "sve", "sve2", "vfpv4",
    }
)  # fmt: skip
_FRAMES = 2
"""A whole report has two lines: ready, result."""

_CRASHES = frozenset(
    {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGSYS}
)


@dataclass(slots=True)
class _Heard:
    """What came out of the bench so far."""

    report: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)

    @property
    def lines(self) -> list[bytes]:
        """The complete lines of the report."""
        return bytes(self.report).split(b"\n")[:-1]


def run_bench(
    *,
    model: Path,
    fixtures: Fixtures,
    spec: SelfTestSpec,
    scratch: Path,
    required: frozenset[Confinement] = ALWAYS_POSSIBLE,
    command: tuple[str, ...] = REFERENCE_BENCH,
    clock: Callable[[], float] = time.monotonic,
) -> BenchRun:
    """Run ``model`` on every case of ``fixtures``, confined.

    Args:
        model: the model file, screened already.
        fixtures: known inputs; they fit the interface of ``spec``.
        spec: names the interface, the time limit (seconds) and the memory limit (MiB).
        scratch: an existing folder; a folder inside it is made, used as home and removed.
        required: confinements without which the model must not be loaded.
        command: the bench; the number of the report's descriptor is added as last argument.
        clock: seconds that never go back; measures the time limit.

    Returns:
        How it ended and what was reported.  No process of it is left.

    Raises:
        FailedError: the bench could not begin, which says nothing about the release: no runtime,
            a required confinement that this system does not hold, no disk, no process.
    """
    begin = clock()
    heard = _Heard()
    reading, writing = os.pipe()
    home = _make_home(scratch)
    try:
        with os.fdopen(_request(model, fixtures, spec, required), "rb") as request:
            process = _start((*command, str(writing)), request.fileno(), writing, home)
        os.close(writing)
        writing = -1
        try:
            deadline = begin + spec.total_time_limit_seconds
            cause = _listen(process, reading, heard, deadline=deadline, clock=clock)
            peak = _peak_rss_kib(process.pid)
            gone = _has_ended(process.pid)
        finally:
            _end(process)
    finally:
        for descriptor in (reading, writing):
            if descriptor >= 0:
                os.close(descriptor)
        shutil.rmtree(home, ignore_errors=True)
    return _conclude(
        heard,
        cause=cause if cause is not None else _ending_of(process.returncode, gone=gone),
        detail=_told(process.returncode, heard.stderr) if gone else "",
        wall_seconds=clock() - begin,
        peak_rss_kib=peak,
    )


def _request(
    model: Path, fixtures: Fixtures, spec: SelfTestSpec, required: frozenset[Confinement]
) -> int:
    """The request in memory: one line of JSON, then the inputs case by case."""
    tensors = {tensor.name: tensor for tensor in spec.interface.inputs}
    arrays = {array.name: array for array in fixtures.inputs}
    head = {
        "contract": "0.1",
        "model": str(model.resolve()),
        "memoryMiB": spec.memory_limit_mib,
        "cpuSeconds": spec.total_time_limit_seconds + 1,
        "parent": os.getpid(),
        "required": sorted(required),
        "cases": len(fixtures.cases),
        "inputs": [
            {
                "name": tensor.name,
                "shape": [1 if part == BATCH else part for part in tensor.shape],
                "elements": tensor.elements,
            }
            for tensor in tensors.values()
        ],
        "outputs": [
            {"name": tensor.name, "elements": tensor.elements} for tensor in spec.interface.outputs
        ],
    }
    descriptor = os.memfd_create("primum-bench-request")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(json.dumps(head).encode() + b"\n")
        for case in range(len(fixtures.cases)):
            for name in tensors:
                file.write(arrays[name].of_case(case))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _make_home(scratch: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="bench-", dir=scratch))
    except OSError as error:
        raise FailedError(
            "The self-test has no place to run in.",
            reason=Reason.RESOURCE_STORAGE,
            where=str(scratch),
            found=str(error.strerror or error),
            expected="a folder that can be written",
            remedy="Free some space or name another scratch folder.",
        ) from error


def _start(
    command: tuple[str, ...], request: int, report: int, home: Path
) -> subprocess.Popen[bytes]:
    environment = {
        "ORT_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "HOME": str(home),
        "TMPDIR": str(home),
        "XDG_CACHE_HOME": str(home),
        "LANG": "C.UTF-8",
    }
    try:
        return subprocess.Popen(
            command,
            stdin=request,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(report,),
            start_new_session=True,
            cwd=home,
            env=environment,
        )
    except OSError as error:
        raise FailedError(
            "The bench of the self-test cannot be started.",
            reason=Reason.SELFTEST_INCOMPLETE,
            where=command[0],
            found=str(error.strerror or error),
            expected="a program that can be started",
            remedy="Check the installation, and that processes and memory are left.",
        ) from error


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
            if not events and _has_ended(process.pid):
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
                    _await_end(process.pid, deadline=deadline, clock=clock)
                if not chunk or lines >= _FRAMES:
                    return None


def _has_ended(pid: int) -> bool:
    """Whether the process has ended; it is left unreaped, so that its number is not reused."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _await_end(pid: int, *, deadline: float, clock: Callable[[], float]) -> None:
    """Give a process that closed its report the moment it needs to end by itself."""
    until = min(deadline, clock() + 1.0)
    while clock() < until and not _has_ended(pid):
        time.sleep(0.005)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the whole session, then reap its leader: in this order, its number is still its own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stderr is not None:
        process.stderr.close()


def _peak_rss_kib(pid: int) -> int:
    """Highest resident memory of the process, from the kernel; 0 when it cannot be known."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def _cpu_features() -> tuple[str, ...]:
    """The instruction sets that matter and are there; empty when it cannot be known."""
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        for line in text.splitlines():
            name, _, flags = line.partition(":")
            if name.strip() in ("flags", "Features"):  # x86; arm
                return tuple(sorted(_FEATURES.intersection(flags.split())))
    return ()


def _ending_of(status: int, *, gone: bool) -> Ending:
    if not gone:
        return Ending.REPORTED
    if -status in _CRASHES:
        return Ending.CRASHED
    return Ending.KILLED if status < 0 else Ending.NO_REPORT


def _conclude(
    heard: _Heard, *, cause: Ending, detail: str, wall_seconds: float, peak_rss_kib: int
) -> BenchRun:
    """What the bench's words come to, now that it is gone."""
    ready: Ready | None = None
    observations: Observations | None = None
    ending = cause
    lines = heard.lines
    try:
        if lines:
            ready = _first_frame(lines[0])
        if len(lines) >= _FRAMES and cause in (Ending.REPORTED, Ending.NO_REPORT):
            observations = _parse(Observations, lines[1])
            ending = Ending.REPORTED
        elif cause is Ending.REPORTED:
            ending = Ending.NO_REPORT
    except RefusedError as error:
        ending, detail = Ending.MALFORMED_REPORT, error.found
    if ready is None and ending in (Ending.NO_REPORT, Ending.CRASHED, Ending.MALFORMED_REPORT):
        raise FailedError(
            "The bench of the self-test ended before it opened the model.",
            reason=Reason.SELFTEST_INCOMPLETE,
            where="bench",
            found=detail,
            expected="a bench that says it is ready",
            remedy="Check the installation of the bench; nothing was learnt about the release.",
        )
    return BenchRun(
        ending=ending,
        ready=ready,
        observations=observations,
        detail="" if ending is Ending.REPORTED else detail,
        wall_seconds=wall_seconds,
        peak_rss_kib=peak_rss_kib,
        cpu_features=_cpu_features(),
    )


def _first_frame(line: bytes) -> Ready:
    content = read_json(line, where="bench report")
    if isinstance(content, dict) and content.get("frame") == "unable":
        raise _unable(_parse(Unable, line))
    return _parse(Ready, line)


def _parse(model: type[_Frame], line: bytes) -> _Frame:
    return parse_document(model, line, where="bench report", max_bytes=MAX_REPORT_BYTES)


def _unable(frame: Unable) -> PrimumError:
    remedies = {
        Problem.RUNTIME_MISSING: "Install the bench: pip install 'primum-verifier[bench]'.",
        Problem.RUNTIME_UNUSABLE: "Check the installed onnxruntime, and the memory limit that"
        " the specification grants.",
        Problem.CONFINEMENT: "Use a kernel with Landlock and seccomp and install libseccomp 2,"
        " or ask for less.",
        Problem.TELEMETRY: "Start the bench through run_bench, which sets the switch.",
        Problem.REQUEST: "Use a bench and a verifier of the same version.",
    }
    return FailedError(
        "The bench of the self-test cannot begin.",
        reason=Reason.SELFTEST_INCOMPLETE,
        where="bench",
        found=f"{frame.problem}: {frame.text}",
        expected="a bench that can run a model confined",
        remedy=remedies[frame.problem],
    )


def _told(status: int, stderr: bytearray) -> str:
    """One line for people: how the process ended and the last thing it said."""
    if status < 0:
        try:
            how = f"ended by {signal.Signals(-status).name}"
        except ValueError:
            how = f"ended by signal {-status}"
    else:
        how = f"exit code {status}"
    lines = _COLOURS.sub(b"", bytes(stderr)).decode("utf-8", "replace").strip().splitlines()
    last = [line for line in lines if _CHATTER not in line][-1:]
    said = "".join(letter if letter.isprintable() else " " for letter in "".join(last)[:300])
    return f"{how}: {said}" if said else how
