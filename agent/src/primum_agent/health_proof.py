"""When health is proven: it was said, and where it is asked for, the repositories were reached.

A version that works and cannot be updated any more would stay for ever.  Both facts are kept by
the number of the generation, in the journal: a restart in between loses neither.
"""

from __future__ import annotations

import contextlib

from primum_agent.device_state import Generation
from primum_agent.fail_points import FailPoint, fail_here
from primum_agent.journal_port import JournalPort
from primum_agent.lifecycle import State
from primum_agent.transitions import HEALTH_SAID, committed
from primum_agent.work_times import health_is_proven
from primum_verifier.core.errors import PrimumError

_REACHED = "repositories-reached"
"""The counter that holds the provisional generation with which both authorities were read."""


def say_healthy(journal: JournalPort, used: Generation, *, needs_repositories: bool) -> bool:
    """The application or a probe says that the provisional generation works.

    Args:
        journal: the open journal.
        used: the provisional generation.
        needs_repositories: whether both authorities must have been read with it, too.

    Returns:
        Whether health is proven, so that the generation is committed now.
    """
    number = str(used.number)
    if needs_repositories and journal.counter(_REACHED, "") != number:
        if journal.counter(HEALTH_SAID, "") != number:
            journal.set_counters(health_said=number)
        return False
    fail_here(FailPoint.COMMIT_BEFORE_EVENT)
    journal.record(committed(used))
    # Health is proven whether or not what it took could be noted.
    with contextlib.suppress(PrimumError):
        health_is_proven(journal, release=used.release)
    return True


def note_reached(journal: JournalPort) -> None:
    """Both authorities were read without trouble, with whatever is provisional now."""
    state = journal.state()
    used = state.in_use
    if state.lifecycle is State.PROVISIONAL and used is not None:
        journal.set_counters(repositories_reached=str(used.number))


def settle(journal: JournalPort) -> bool:
    """Commit what was said to be healthy before the repositories were reached; whether it was."""
    state = journal.state()
    used = state.in_use
    if state.lifecycle is not State.PROVISIONAL or used is None:
        return False
    if journal.counter(HEALTH_SAID, "") != str(used.number):
        return False
    return say_healthy(journal, used, needs_repositories=True)
