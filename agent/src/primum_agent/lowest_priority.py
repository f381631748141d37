"""Standing back behind everything else on the device: processor, disk, and memory that runs out.

What this process starts afterwards inherits all of it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason

NICEST = 19
FIRST_TO_STOP = 1000
"""The score of a process that the kernel ends before every other when memory runs out."""


def stand_back() -> None:
    """Take the lowest priority there is.

    The kernel's idle class and the idle class of the disk are taken where the system has them;
    niceness and being the first to be ended are not done without.

    Raises:
        FailedError: ``resource.memory``: the system does not let this process stand back.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, 0, NICEST)
        Path("/proc/self/oom_score_adj").write_text(str(FIRST_TO_STOP), encoding="ascii")
    except OSError as error:
        raise FailedError(
            "A release in shadow cannot be made the first to stop.",
            reason=Reason.RESOURCE_MEMORY,
            where=str(error.filename or "setpriority"),
            found=error.strerror or str(error),
            expected=f"niceness {NICEST} and oom_score_adj {FIRST_TO_STOP}",
            remedy="Let the service lower its own priority; until then nothing runs in shadow.",
        ) from error
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    import psutil  # noqa: PLC0415 - the resident supervisor does without

    with suppress(OSError, psutil.Error):
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)
