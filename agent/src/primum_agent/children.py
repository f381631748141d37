"""The supervisor's children: started in their own session, bounded in time, never left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason

GRACE_SECONDS = 2.0
"""Between SIGTERM and SIGKILL."""

SUPERVISOR = "PRIMUM_SUPERVISOR_PID"
"""The variable by which a child knows whose it is."""

_ISOLATED = ("-I", "-B") if sys.dont_write_bytecode else ("-I",)


class Task(StrEnum):
    """What a child is for."""

    ATTEMPT = "attempt"
    SIGN_HEAD = "sign_head"
    TAKE_RECEIPTS = "take_receipts"


class Running(Protocol):
    """A child as the supervisor sees it.

    Attributes:
        task: what it is for.
        deadline: when it has hung, on the supervisor's clock.
        reason: why an attempt was started.
    """

    task: Task
    deadline: float
    reason: str

    def poll(self) -> int | None:
        """Its exit code, below zero for a signal; None while it runs."""

    def signal(self, number: int) -> None:
        """Send a signal to it and to everything it started; one that is gone needs none."""

    def stop(self, *, grace: float = GRACE_SECONDS) -> None:
        """End it and everything it started: asked first, after ``grace`` seconds killed."""


class Start(Protocol):
    """The port: starts a child."""

    def __call__(
        self, task: Task, arguments: list[str], *, deadline: float, reason: str = ""
    ) -> Running:
        """Start one; see :func:`start`."""


@dataclass(eq=False)
class Child:
    """One child process.

    Attributes:
        task: what it is for.
        process: the process, leader of its own session.
        deadline: when it has hung, on the supervisor's clock.
    """

    task: Task
    process: subprocess.Popen[bytes]
    deadline: float
    reason: str = ""

    def poll(self) -> int | None:
        """See :class:`Running`."""
        return self.process.poll()

    def stop(self, *, grace: float = GRACE_SECONDS) -> None:
        """See :class:`Running`."""
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=grace)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self.process.wait()

    def signal(self, number: int) -> None:
        """See :class:`Running`."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)


def start(task: Task, arguments: list[str], *, deadline: float, reason: str = "") -> Child:
    """Start ``python -m primum_agent.<task>``.

    A child reads nothing from the terminal and is no part of its process group, so that Ctrl-C
    reaches the supervisor alone, which then ends its children in order.

    Raises:
        FailedError: ``resource.memory``: no memory or process is left, or no interpreter; what
            runs goes on, and a later start may succeed.
    """
    environment = {**os.environ, SUPERVISOR: str(os.getpid())}
    try:
        process = subprocess.Popen(
            # Neither the folder that the command was given in nor a variable brings code in.
            [sys.executable, *_ISOLATED, "-m", f"primum_agent.{task}", *arguments],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=environment,
        )
    except OSError as error:
        raise FailedError(
            "A child of the agent cannot be started.",
            reason=Reason.RESOURCE_MEMORY,
            where=f"{sys.executable} -m primum_agent.{task}",
            found=error.strerror or str(error),
            expected="a process of its own",
            remedy="Free memory and processes, and check that the agent is installed whole.",
        ) from error
    return Child(task=task, process=process, deadline=deadline, reason=reason)


def stop_all(running: Sequence[Running]) -> None:
    """End these together: all are asked before one is waited for, so that they share the grace."""
    for child in running:
        child.signal(signal.SIGTERM)
    until = time.monotonic() + GRACE_SECONDS
    for child in running:
        child.stop(grace=max(0.0, until - time.monotonic()))


def end_with_parent() -> None:
    """Called by a child: let the kernel end it when the supervisor dies, however that dies."""
    import ctypes  # noqa: PLC0415 - children only; the supervisor does without

    set_parent_death_signal = 1
    ctypes.CDLL(None, use_errno=True).prctl(set_parent_death_signal, signal.SIGKILL)
    supervisor = os.environ.get(SUPERVISOR, "")
    if supervisor.isdigit() and os.getppid() != int(supervisor):
        sys.exit(128 + signal.SIGTERM)
