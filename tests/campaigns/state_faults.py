"""Lets one port of a real attempt fail, or the attempt die or hang, in one state of its update.

:func:`install` is called at the start of every process of the agent by a ``sitecustomize`` in
the environment that a test makes for it; it acts in the attempt alone, once, and where it is asked
to.  Where nothing is asked for it writes down which port is used in which state.
"""

from __future__ import annotations

import errno
import functools
import os
import signal
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from primum_agent.children import Running
    from primum_agent.events import Entry, Recorded

STATE, FAULT, FOLDER = "PRIMUM_TEST_STATE", "PRIMUM_TEST_FAULT", "PRIMUM_TEST_FOLDER"
MET, ENDED, SEEN = "met", "ended", "seen"
"""In the folder: that it happened; that who hangs was ended; which state and fault were seen."""


class Fault(StrEnum):
    """What happens to an attempt in a state."""

    JOURNAL = "journal"
    """The step out of the state is not taken down."""

    STORAGE = "storage"
    """A file or folder cannot be made durable."""

    FETCH = "fetch"
    """What is fetched does not come."""

    BENCH = "bench"
    """The bench cannot run the test."""

    KILLED = "killed"
    """SIGKILL to supervisor and attempt, right after the state was taken down."""

    HANGS = "hangs"
    """The attempt stops there and hears no signal but SIGKILL."""


_state = ""


def install() -> None:
    """Wrap the ports of this process, if it is one that a test watches."""
    if FOLDER not in os.environ:
        return
    words = " ".join(sys.orig_argv)
    if "primum_agent.cli run" in words:
        # The supervisor takes the steps out of the health window.
        _watch_steps()
        if os.environ.get(FAULT) == Fault.HANGS:
            _be_impatient()
    if "primum_agent.attempt" in words:
        _watch_steps()
        _watch_states(polls="--reason poll" in words)
        _watch_ports()


def _be_impatient() -> None:
    """The supervisor takes the attempt that hangs for hung at once; in use that is an hour."""
    from primum_agent import attempt_plan

    real = attempt_plan.ended_or_hung

    @functools.wraps(real)
    def ended_or_hung(child: Running, now: float) -> int | None:
        folder = Path(os.environ[FOLDER])
        if (folder / MET).exists() and not (folder / ENDED).exists():
            (folder / ENDED).touch()
            child.deadline = now
        return real(child, now)

    attempt_plan.ended_or_hung = ended_or_hung


def _watch_steps() -> None:
    from primum_agent.journal import Journal

    real = Journal.record

    @functools.wraps(real)
    def record(self: Journal, entry: Entry) -> Recorded:
        if entry.stimulus is not None:
            _meet(Fault.JOURNAL, state=str(self.state().lifecycle))
        return real(self, entry)

    Journal.record = record  # type: ignore[method-assign]


def _watch_states(*, polls: bool) -> None:
    from primum_agent.journal import Journal

    real_open, real_record = Journal.__dict__["open"].__func__, Journal.record

    def opened(cls: type[Journal], *words: Any, **members: Any) -> Journal:
        journal: Journal = real_open(cls, *words, **members)
        state = str(journal.state().lifecycle)
        # At rest nothing is entered: a poll begins there, before it has done anything.
        _note(state, entered=polls and state == "idle")
        return journal

    @functools.wraps(real_record)
    def record(self: Journal, entry: Entry) -> Recorded:
        recorded = real_record(self, entry)
        if entry.stimulus is not None:
            _note(str(self.state().lifecycle), entered=True)
        return recorded

    Journal.open = classmethod(opened)  # type: ignore[assignment,method-assign]
    Journal.record = record  # type: ignore[method-assign]


def _watch_ports() -> None:
    from primum_agent.device import SchemeFetcher
    from primum_verifier.shell.bench import ConfinedBench

    _before(SchemeFetcher, "fetch", Fault.FETCH)
    _before(SchemeFetcher, "open", Fault.FETCH)
    _before(ConfinedBench, "run", Fault.BENCH)
    _before(os, "fsync", Fault.STORAGE)


def _before(owner: Any, name: str, fault: Fault) -> None:
    real: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(real)
    def call(*words: Any, **members: Any) -> Any:
        _meet(fault)
        return real(*words, **members)

    setattr(owner, name, call)


def _note(state: str, *, entered: bool) -> None:
    """The journal says that this is where the update stands."""
    global _state  # noqa: PLW0603 - one attempt a process
    _state = state
    if entered:
        _meet(Fault.KILLED)
        _meet(Fault.HANGS)


def _meet(fault: Fault, *, state: str = "") -> None:
    """Here a fault may happen; it does if it was asked for and has not happened yet."""
    folder, state = Path(os.environ[FOLDER]), state or _state
    if not state:
        # The journal is not open yet: nobody knows where the update stands.
        return
    if FAULT not in os.environ:
        with (folder / SEEN).open("a") as seen:
            seen.write(f"{state} {fault}\n")
        return
    if (os.environ[STATE], os.environ[FAULT]) != (state, fault):
        return
    try:
        (folder / MET).touch(exist_ok=False)
    except FileExistsError:
        return
    _fail(fault)


def _fail(fault: Fault) -> None:
    from primum_verifier.core.errors import FailedError
    from primum_verifier.core.reasons import Reason

    if fault is Fault.KILLED:
        os.kill(int(os.environ["PRIMUM_SUPERVISOR_PID"]), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault is Fault.HANGS:
        # A tracer would take SIGSTOP for its own.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        os.read(os.pipe()[0], 1)
    elif fault is Fault.STORAGE:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    else:
        reason = {
            Fault.JOURNAL: Reason.RESOURCE_STORAGE,
            Fault.FETCH: Reason.TRANSPORT_UNREACHABLE,
            Fault.BENCH: Reason.SELFTEST_INCOMPLETE,
        }[fault]
        raise FailedError("A test lets it fail.", reason=reason, where=str(fault))
