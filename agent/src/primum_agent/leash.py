"""Programs of the integrator on a leash: none outlives the process that started it.

A program is started in a session of its own, so that all of it can be ended; but then nobody ends
it where the supervisor or an attempt is killed.  The kernel's parent-death signal would reach the
program alone and not what it started, and a number written down for the next start may belong to
another process by then.  So a small stage stands in between and holds the other end of a pipe:
when this process is gone, the stage kills the session that it leads.  A program that leaves the
session by itself is its own master; a service manager's group holds it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_STAGE = Path(__file__).with_name("leash_stage.py")


@dataclass(eq=False)
class Leashed:
    """A program that runs.

    Attributes:
        process: the stage, leader of the program's session; its exit code is the program's.
        lifeline: while it is open, the program may run.
    """

    process: subprocess.Popen[bytes]
    lifeline: int

    def end(self) -> None:
        """End it and everything it started; one that has ended leaves nothing behind."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                # What was not taken any more is no error of whoever wrote it.
                with contextlib.suppress(OSError):
                    stream.close()
        os.close(self.lifeline)


def start_leashed(
    command: Sequence[str],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
    stderr: int = subprocess.DEVNULL,
    known: Mapping[str, str] | None = None,
) -> Leashed:
    """Start a program without a shell, in a session of its own that ends with this process.

    Args:
        command: program and arguments.
        stdin: what it reads, as :class:`subprocess.Popen` takes it.
        stdout: where its output goes.
        stderr: where its complaints go.
        known: what it finds in its environment besides what the agent finds in its own.

    Raises:
        OSError: there is no such program, or no process for it.
        ValueError: a word that no program can be given.
    """
    if shutil.which(command[0]) is None:
        raise FileNotFoundError(errno.ENOENT, "no program of this name that may be run")
    # Neither end is inherited but by the stage: only this process holds the other one.
    read_end, lifeline = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_STAGE), str(read_end), *command],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            pass_fds=(read_end,),
            env={**os.environ, **(known or {})},
        )
    except (OSError, ValueError):
        os.close(lifeline)
        raise
    finally:
        os.close(read_end)
    return Leashed(process=process, lifeline=lifeline)
