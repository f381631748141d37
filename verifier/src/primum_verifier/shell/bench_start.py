"""Starting a confined process: with the switches that keep the runtime quiet, and nothing else.

What starts here gives up files, network and programs by itself, before it opens a model.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason


def make_home(scratch: Path) -> Path:
    """A folder of its own for one confined process; the caller removes it.

    Raises:
        FailedError: ``resource.storage``.
    """
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


def start_confined(
    command: tuple[str, ...], request: int, report: int, home: Path
) -> subprocess.Popen[bytes]:
    """Start a program that confines itself and loads a model.

    Args:
        command: program and arguments.
        request: becomes its standard input.
        report: stays open in it; its number is in the command.
        home: its home and working folder.

    Raises:
        FailedError: there is no such program, no process or no memory.
    """
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
