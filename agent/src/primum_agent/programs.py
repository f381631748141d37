"""Running a program of the device to its end, in bounded time and bytes, and leaving none behind.

It runs without a shell and on a leash: when it has ended, or whoever runs it has, whatever it left
in its session is ended, too.  What it prints is kept for people up to a bound; the rest is read
and thrown away, so that a talkative program neither fills memory nor blocks.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from primum_agent.leash import start_leashed
from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason

MAX_KEPT_BYTES = 4096
"""Kept of each of the two outputs; enough for one line of an answer or of a complaint."""

_PIECE = 65_536
_SHOWN = 240
_SLICE_SECONDS = 0.05


class TookTooLongError(FailedError):
    """A program was ended because its time was over."""


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
        FailedError: ``resource.program``: it cannot be started, did not end in time
            (:class:`TookTooLongError`), or ended with another code.
    """
    deadline = time.monotonic() + seconds
    try:
        pipe = subprocess.PIPE
        running = start_leashed(command, stdin=pipe, stdout=pipe, stderr=pipe, known=known)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _failed(command, f"cannot be started: {reason}") from error
    try:
        printed, complaint = _talk(running.process, handed, deadline=deadline, kept=kept)
        code = running.process.wait(timeout=max(0.0, deadline - time.monotonic()))
    except (subprocess.TimeoutExpired, TimeoutError) as error:
        raise _failed(command, f"did not end within {seconds:g} s", TookTooLongError) from error
    finally:
        running.end()
    ended = Ended(code, printed, _line(complaint))
    if may_fail is not None and code not in {0, *may_fail}:
        raise _failed(command, f"ended with {code}: {ended.complaint}"[:300])
    return ended


def _talk(
    process: subprocess.Popen[bytes], handed: bytes, *, deadline: float, kept: int
) -> tuple[bytes, bytes]:
    """Hand over the input, and read both outputs until the program itself has ended.

    Something that it started may hold them open for longer; nobody waits for that.
    """
    with selectors.DefaultSelector() as selector:
        outputs = [_Kept(stream, kept) for stream in (process.stdout, process.stderr) if stream]
        for output in outputs:
            os.set_blocking(output.stream.fileno(), False)
            selector.register(output.stream, selectors.EVENT_READ, output)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE, _Handed(process.stdin, handed))
        while selector.get_map():
            ended = process.poll() is not None
            left = deadline - time.monotonic()
            if left <= 0.0 and not ended:
                raise TimeoutError
            found = selector.select(0.0 if ended else min(left, _SLICE_SECONDS))
            for key, _ in found:
                if not key.data.goes_on():
                    selector.unregister(key.fileobj)
            if ended and not any(isinstance(key.data, _Kept) for key, _ in found):
                break
    printed, complaint = (bytes(output.data) for output in outputs)
    return printed[:kept], complaint[-kept:]


@dataclass(eq=False)
class _Kept:
    """One output, of which beginning and end are kept."""

    stream: IO[bytes]
    most: int
    data: bytearray = field(default_factory=bytearray)

    def goes_on(self) -> bool:
        """Take what is there; whether more may come."""
        try:
            piece = os.read(self.stream.fileno(), _PIECE)
        except BlockingIOError:
            return True
        self.data += piece
        # Between the beginning and the end nothing is looked at.
        del self.data[self.most : -self.most]
        return bool(piece)


@dataclass(eq=False)
class _Handed:
    """What is handed over; closed once it was, or nobody reads it."""

    stream: IO[bytes]
    left: bytes

    def goes_on(self) -> bool:
        """Hand over what is taken now; whether something is left."""
        try:
            self.left = self.left[os.write(self.stream.fileno(), self.left) :] if self.left else b""
        except BlockingIOError:
            return True
        except OSError:
            self.left = b""
        if not self.left:
            with contextlib.suppress(OSError):
                self.stream.close()
        return bool(self.left)


def _line(data: bytes) -> str:
    text = " ".join(data.decode("utf-8", "replace").split())
    return "".join(char if char.isprintable() else "?" for char in text)[-_SHOWN:]


def _failed(
    command: Sequence[str], found: str, kind: type[FailedError] = FailedError
) -> FailedError:
    return kind(
        "A program of the device did not do its part.",
        reason=Reason.RESOURCE_PROGRAM,
        where=command[0],
        found=found,
        expected="exit code 0 in time",
        remedy="Run it by hand as the agent's user; its own log says more.",
    )
