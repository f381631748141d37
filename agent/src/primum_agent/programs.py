"""Running a program of the device to its end, in bounded time and bytes, and leaving none behind.

It runs without a shell, in a session of its own.  What it prints is kept for people up to a bound;
the rest is read and thrown away, so that a talkative program neither fills memory nor blocks.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason

MAX_KEPT_BYTES = 4096
"""Kept of each of the two outputs; enough for one line of an answer or of a complaint."""

_PIECE = 65_536
_SHOWN = 240


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    Attributes:
        code: its exit code; negative for the signal that ended it.
        printed: the beginning of its standard output.
        complaint: the end of its standard error, as one printable line.
    """

    code: int
    printed: bytes
    complaint: str


def run_program(
    command: Sequence[str],
    *,
    seconds: float,
    known: Mapping[str, str] | None = None,
    handed: bytes = b"",
    may_fail: frozenset[int] | None = None,
    kept: int = MAX_KEPT_BYTES,
) -> Ended:
    """Run a program to its end.

    Args:
        command: program and arguments.
        seconds: after which it is ended, with everything that it started.
        known: what it finds in its environment besides what the agent finds in its own.
        handed: its standard input.
        may_fail: exit codes besides 0 that the caller understands; None for all.
        kept: bytes kept of each of the two outputs.

    Raises:
        FailedError: ``resource.program``: it cannot be started, did not end in time, or ended
            with another code.
    """
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, **(known or {})},
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _failed(command, f"cannot be started: {reason}") from error
    try:
        deadline = time.monotonic() + seconds
        printed, complaint = _talk(process, handed, deadline=deadline, most=kept)
        code = process.wait(timeout=max(0.0, deadline - time.monotonic()))
    except (subprocess.TimeoutExpired, TimeoutError) as error:
        raise _failed(command, f"did not end within {seconds:g} s") from error
    finally:
        _end(process)
    ended = Ended(code, printed, _line(complaint))
    if may_fail is not None and code not in {0, *may_fail}:
        raise _failed(command, f"ended with {code}: {ended.complaint}"[:300])
    return ended


def _talk(
    process: subprocess.Popen[bytes], handed: bytes, *, deadline: float, most: int
) -> tuple[bytes, bytes]:
    """Hand over the input and read both outputs until they end."""
    kept: dict[IO[bytes], bytearray] = {}
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as open_streams:
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                kept[stream] = bytearray()
                selector.register(stream, selectors.EVENT_READ)
        if process.stdin is not None:
            open_streams.callback(_close, process.stdin)
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE)
        while selector.get_map():
            left = deadline - time.monotonic()
            found = selector.select(left) if left > 0.0 else []
            if not found:
                raise TimeoutError
            for key, _ in found:
                if key.fileobj is process.stdin:
                    handed = _write(key.fd, handed)
                    if not handed:
                        selector.unregister(process.stdin)
                        _close(process.stdin)
                    continue
                stream = next(item for item in kept if item is key.fileobj)
                piece = os.read(key.fd, _PIECE)
                kept[stream] += piece[: most - len(kept[stream])]
                if not piece:
                    selector.unregister(stream)
    outputs = [bytes(item) for item in kept.values()]
    return outputs[0], outputs[1]


def _write(descriptor: int, handed: bytes) -> bytes:
    """What is left to be handed over; nothing where nobody reads it."""
    try:
        return handed[os.write(descriptor, handed) :] if handed else b""
    except BlockingIOError:
        return handed
    except OSError:
        return b""


def _close(stream: IO[bytes]) -> None:
    with contextlib.suppress(OSError):
        stream.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            _close(stream)


def _line(data: bytes) -> str:
    text = " ".join(data.decode("utf-8", "replace").split())
    return "".join(char if char.isprintable() else "?" for char in text)[-_SHOWN:]


def _failed(command: Sequence[str], found: str) -> FailedError:
    return FailedError(
        "A program of the device did not do its part.",
        reason=Reason.RESOURCE_PROGRAM,
        where=command[0],
        found=found,
        expected="exit code 0 in time",
        remedy="Run it by hand as the agent's user; its own log says more.",
    )
