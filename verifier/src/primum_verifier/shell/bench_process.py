"""What the kernel says of a bench's process: its end, its memory, the processor it ran on.

All of it is read from outside, where the process cannot change it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from primum_verifier.proof.bench_contract import Ending

_COLOURS = re.compile(rb"\x1b\[[0-9;]*m")
_CHATTER = "device_discovery"
"""The runtime complains at every start that it may not look for graphics processors."""

_FEATURES = frozenset(
    {
        "amx_bf16", "amx_int8", "amx_tile", "avx", "avx2", "avx512_bf16", "avx512_fp16",
        "avx512_vnni", "avx512bw", "avx512f", "avx512vl", "avx_vnni", "fma", "sse4_1", "sse4_2",
        "asimd", "asimddp", "asimdhp", "bf16", "i8mm", "neon", "sve", "sve2", "vfpv4",
    }
)  # fmt: skip
_CRASHES = frozenset(
    {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGSYS}
)


def has_ended(pid: int) -> bool:
    """Whether the process has ended; it is left unreaped, so that its number is not reused."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def await_end(pid: int, *, deadline: float, clock: Callable[[], float]) -> None:
    """Give a process that closed its report the moment it needs to end by itself."""
    until = min(deadline, clock() + 1.0)
    while clock() < until and not has_ended(pid):
        time.sleep(0.005)


def end(process: subprocess.Popen[bytes]) -> None:
    """End the whole session, then reap its leader: in this order, its number is still its own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stderr is not None:
        process.stderr.close()


def peak_rss_kib(pid: int) -> int:
    """Highest resident memory of the process, from the kernel; 0 when it cannot be known."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def cpu_features() -> tuple[str, ...]:
    """The instruction sets that matter and are there; empty when it cannot be known."""
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        for line in text.splitlines():
            name, _, flags = line.partition(":")
            if name.strip() in ("flags", "Features"):  # x86; arm
                return tuple(sorted(_FEATURES.intersection(flags.split())))
    return ()


def ending_of(status: int, *, gone: bool) -> Ending:
    """How it ended, by its wait status; a bench that was still there when it was ended reported."""
    if not gone:
        return Ending.REPORTED
    if -status in _CRASHES:
        return Ending.CRASHED
    return Ending.KILLED if status < 0 else Ending.NO_REPORT


def told(status: int, stderr: bytearray) -> str:
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
