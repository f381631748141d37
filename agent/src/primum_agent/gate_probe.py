"""Asking a file or a command of the integrator one thing, in bounded time and bytes.

The answer is one word.  Whatever goes wrong is no answer: the file is missing, old, from the
future or no regular file; the command is missing, slow, talkative, or ends with another code
than 0.  Who asked decides what no answer means, and that is never "go on".
"""

from __future__ import annotations

import os
import select
import stat
import subprocess
import time
from dataclasses import dataclass

from primum_agent.gate_settings import Probe
from primum_agent.leash import start_leashed

MAX_ANSWER_BYTES = 4096
"""One word is asked for; a program that prints for ever is ended."""

_FUTURE_SECONDS = 2.0  # a file is written by the same clock that it is read by
_MOST_SHOWN = 40


@dataclass(frozen=True)
class Answer:
    """What was answered.

    Attributes:
        word: the word; empty where there is no answer.
        found: the same for people, or why there is none.
    """

    word: str
    found: str


def ask_file(probe: Probe, *, now: float | None = None) -> Answer:
    """The first word in the file of a probe.

    Args:
        probe: which file, and how old it may be.
        now: seconds since 1970; the clock's when None.
    """
    path = probe.file
    try:
        # A pipe without a writer would be waited on for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        return Answer("", f"{path}: {getattr(error, 'strerror', None) or 'no such name'}")
    try:
        known = os.fstat(descriptor)
        if not stat.S_ISREG(known.st_mode):
            return Answer("", f"{path} is no regular file")
        age = (time.time() if now is None else now) - known.st_mtime
        if probe.file_seconds and not -_FUTURE_SECONDS <= age <= probe.file_seconds:
            return Answer("", f"{path} was written {age:.0f} s ago")
        return _answer(os.read(descriptor, MAX_ANSWER_BYTES), path)
    except OSError as error:
        return Answer("", f"{path}: {error.strerror}")
    finally:
        os.close(descriptor)


def ask_command(probe: Probe) -> Answer:
    """The first word that the command of a probe prints; it is ended when its time is over.

    It runs without a shell and on a leash, so that nothing it started is left behind.
    """
    name = probe.command[0]
    deadline = time.monotonic() + probe.command_seconds
    try:
        running = start_leashed(probe.command, stdout=subprocess.PIPE)
    except (OSError, ValueError) as error:
        return Answer("", f"{name}: {getattr(error, 'strerror', None) or 'cannot be started'}")
    try:
        printed = _printed(running.process, deadline)
        if printed is None:
            return Answer("", f"{name} printed too much or took over {probe.command_seconds:g} s")
        code = running.process.wait(timeout=max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return Answer("", f"{name} took over {probe.command_seconds:g} s")
    finally:
        running.end()
    return _answer(printed, name) if code == 0 else Answer("", f"{name} ended with {code}")


def _printed(process: subprocess.Popen[bytes], deadline: float) -> bytes | None:
    """Everything that is printed; None where it is too much, or not over in time."""
    if process.stdout is None:
        raise RuntimeError("a command without its output was started")
    printed, descriptor = b"", process.stdout.fileno()
    while len(printed) <= MAX_ANSWER_BYTES:
        left = deadline - time.monotonic()
        if left <= 0.0 or not select.select([descriptor], [], [], left)[0]:
            return None
        piece = os.read(descriptor, MAX_ANSWER_BYTES)
        if not piece:
            return printed
        printed += piece
    return None


def _answer(data: bytes, where: str) -> Answer:
    words = data.decode("utf-8", "replace").split()
    if not words:
        return Answer("", f"{where} says nothing")
    shown = words[0][:_MOST_SHOWN]
    return Answer(words[0], f"{where} says {shown if shown.isprintable() else repr(shown)}")
