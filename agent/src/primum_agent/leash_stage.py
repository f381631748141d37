"""The stage between the agent and a program of the integrator: it ends with whoever started it.

Run as a file by :mod:`primum_agent.leash`, leader of a session of its own: ``leash_stage.py
DESCRIPTOR PROGRAM ...``.  The descriptor is the read end of a pipe that only the process which
started it can write to.  It ends when that process does, however that dies, and then everything
in the session is killed.  Standard library only, and little of it: it is started for each asking.
"""

from __future__ import annotations

import os
import select
import signal
import sys

CANNOT_START = 127
_SIGNALS = 128  # the exit code of a program that a signal ended begins above it
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


def main(words: list[str]) -> int:
    """Start the program, and wait for its end or for that of the process which asked for it.

    Args:
        words: the descriptor, the program and its arguments.

    Returns:
        The program's exit code, as a shell would tell it.
    """
    lifeline, command = int(words[0]), words[1:]
    os.set_inheritable(lifeline, False)  # noqa: FBT003 - the signature of the system call
    heard, bell = os.pipe()
    os.set_blocking(bell, False)
    signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        program = os.posix_spawnp(command[0], command, os.environ, setsigdef=_IGNORED_BY_PYTHON)
    except (OSError, ValueError):
        return CANNOT_START
    while True:
        ended, status = os.waitpid(program, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else _SIGNALS - code
        if lifeline in select.select([lifeline, heard], [], [])[0]:
            os.killpg(0, signal.SIGKILL)
        os.read(heard, 4096)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
