"""The resident supervisor: journal, socket, timers, reports, and one child at a time for updates.

It stays small and decides nothing about a release: what may be done is judged in the attempt, a
child that may crash, leak or hang and costs one attempt.  What it does itself:

1. One supervisor on a state folder; the journal is opened, or set aside when damaged.
2. A child first converges what a cut left, before anything else.
3. It polls with jitter and back-off, serves the socket, watches the health window, reports.
4. On SIGTERM or SIGINT it ends its children, says goodbye and is gone within ten seconds.

Where the state folder cannot be written it starts all the same, reports that, and what runs
keeps running.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import selectors
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from primum_agent import children
from primum_agent.bell import Bell
from primum_agent.children import Child, Task
from primum_agent.clock import Clock
from primum_agent.content_store import FolderStore
from primum_agent.desk import Desk, Visitor
from primum_agent.durable import make_folder
from primum_agent.events import Entry, EventKind
from primum_agent.health_window import HealthWindow
from primum_agent.journal import Journal
from primum_agent.journal_schema import DamagedJournalError
from primum_agent.layout import Layout
from primum_agent.lifecycle import RESUME, Resume, State
from primum_agent.locking import held
from primum_agent.reporter import Link, Reporter
from primum_agent.requests import Requests
from primum_agent.salvage import salvage
from primum_agent.settings import Settings
from primum_agent.timing import backed_off, jittered
from primum_agent.transitions import unhealthy
from primum_verifier.core.errors import EXIT_BUSY, EXIT_FAILED, PrimumError

LOG = logging.getLogger("primum.supervisor")

RETRY_SECONDS = 2.0
"""Before an attempt that was cut or found the lock taken is started again; it doubles."""

REOPEN_SECONDS = 30.0
"""Between two looks at a state folder that could not be written."""

_LONGEST_SLEEP = 3600.0
_HEAD_SECONDS = 30.0
_ALONE_SECONDS = 300.0  # between two signatures while no broker takes a batch
_GOODBYE_SECONDS = 3.0
_GOODBYE_STEP = 0.05
_DRAIN_SECONDS = 8.0  # how long a single run waits for a broker to take its reports


@dataclass(eq=False)
class Supervisor:
    """One device's supervisor.

    Attributes:
        settings: the device's settings.
        layout: the state folder's names.
        clock: the clock port.
        reporter: the reports; None where no broker is configured.
        once: end after one poll, for use without a resident process.
    """

    settings: Settings
    layout: Layout
    clock: Clock
    reporter: Reporter | None
    once: bool = False
    monotonic: Callable[[], float] = time.monotonic
    draw: Callable[[], float] = random.random
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    journal: Journal | None = None
    _desk: Desk | None = None
    _attempt: Child | None = None
    _head: Child | None = None
    _next_attempt: float = 0.0
    _next_reason: str = "resume"
    _next_open: float = 0.0
    _next_head: float = 0.0
    _signed: float = 0.0
    _failures: int = 0
    _cuts: int = 0
    _polls: int = 0
    _ended: float = 0.0
    _last_code: int = 0
    _bell: Bell = field(default_factory=Bell)
    _window: HealthWindow = field(default_factory=HealthWindow)

    def wake(self) -> None:
        """Let the loop look again; called from the network thread too."""
        self._bell.ring()

    def run(self) -> int:
        """Supervise until told to stop.

        Returns:
            An exit code: 0, or after ``once`` the code of the attempt.

        Raises:
            BusyError: another supervisor holds the state folder.
        """
        with self._bell.listening(self.selector), self._lock():
            try:
                self._open()
                while not self._bell.told_to_stop and not self._single_run_is_over():
                    self._turn()
            finally:
                self._close()
        return self._last_code if self.once else 0

    # Beginning and end

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        try:
            make_folder(self.layout.run)
            lock = held(
                self.layout.agent_lock,
                what="Another agent is already running",
                remedy="Use that one: `primum-agent status`, `primum-agent poll`.",
            )
            lock.__enter__()
        except PrimumError as error:
            if error.exit_code == EXIT_BUSY:
                raise
            # A disk that cannot be written holds no lock either; what runs is only reported.
            LOG.warning("%s", error.for_people())
            yield
            return
        with contextlib.ExitStack() as stack:
            stack.push(lock)
            yield

    def _open(self) -> None:
        """Open journal and socket; a folder that cannot be written is tried again later."""
        try:
            make_folder(self.layout.run)
            FolderStore(self.layout).prepare()
            self.journal = Journal.open_or_restart(
                self.layout,
                clock=self.clock,
                device_id=self.settings.device_id,
                salvage=lambda: salvage(self.layout),
            )
            self._failures = int(self.journal.counter("poll-failures", "0"))
            self.journal.record(Entry(kind=EventKind.AGENT_STARTED))
            if self._desk is None:
                self._desk = self._open_desk()
        except PrimumError as error:
            LOG.warning("%s", error.for_people())
            self._close_journal()
            self._report_reasons(str(error.reason))
            self._next_open = self.monotonic() + REOPEN_SECONDS
            return
        self._report_reasons()
        self._next_attempt, self._next_reason = self.monotonic(), "resume"

    def _open_desk(self) -> Desk:
        requests = Requests(
            journal=lambda: self.journal,
            poll_now=self.poll_now,
            status=self.status,
            changed=self.look_again,
        )
        desk = Desk(path=self.layout.socket, selector=self.selector, answer=requests.answer)
        desk.open()
        return desk

    def _close_journal(self) -> None:
        if self.journal is not None:
            self.journal.close()
        self.journal = None

    def _report_reasons(self, *reasons: str) -> None:
        if self.reporter is not None:
            self.reporter.reasons = reasons

    def _close(self) -> None:
        for child in (self._attempt, self._head):
            if child is not None:
                child.stop()
        if self._desk is not None:
            self._desk.close()
        with contextlib.suppress(PrimumError):
            if self.journal is not None:
                self._say_goodbye(self.journal)
            if self.reporter is not None:
                self.reporter.close(self.journal)
        self._close_journal()

    def _say_goodbye(self, journal: Journal) -> None:
        """Record the end, sign it, and give the broker a moment to take it; the rest waits."""
        journal.record(Entry(kind=EventKind.AGENT_STOPPED))
        deadline = self.monotonic() + _GOODBYE_SECONDS
        signer = self._start_signing(deadline)
        while self.monotonic() < deadline:
            connected = self.reporter is not None and self.reporter.link is Link.UP
            if self.reporter is not None and connected:
                self.reporter.work(journal, now=self.monotonic())
                if self.reporter.is_drained(journal):
                    break
            elif signer.process.poll() is not None:
                break
            self.selector.select(timeout=_GOODBYE_STEP)
            self._bell.hear()
        signer.stop()

    # The loop

    def _turn(self) -> None:
        """One turn: do what is due, then sleep until something happens."""
        now = self.monotonic()
        try:
            wait = self._do_what_is_due(now) - self.monotonic()
        except DamagedJournalError as error:
            LOG.warning("%s", error.for_people())
            self._close_journal()
            self._open()
            wait = 0.0
        except PrimumError as error:
            LOG.warning("%s", error.for_people())
            wait = RETRY_SECONDS
        for key, _ in self.selector.select(timeout=min(max(wait, 0.0), _LONGEST_SLEEP)):
            if key.data is None:
                self._bell.hear()
            elif self._desk is not None and isinstance(key.data, (Desk, Visitor)):
                self._desk.handle(key.data)

    def _do_what_is_due(self, now: float) -> float:
        """Do it; when to look again at the latest."""
        due = [now + _LONGEST_SLEEP]
        if self.journal is None:
            if now >= self._next_open:
                self._open()
            due.append(self._next_open)
        self._look_after_children(now)
        if self.journal is not None:
            due.append(self._watch_window(self.journal, now))
            if self._attempt is None:
                if now >= self._next_attempt:
                    self._start_attempt(now)
                due.append(self._next_attempt)
        if self.reporter is not None:
            due.append(self.reporter.work(self.journal, now=now))
        if self.journal is not None:
            due.append(self._sign_head_if_due(self.journal, now))
        due += [child.deadline for child in (self._attempt, self._head) if child is not None]
        if self.once:
            due.append(now + 1.0)
        return min(due)

    def _look_after_children(self, now: float) -> None:
        if self._attempt is not None:
            self._look_after_attempt(self._attempt, now)
        if self._head is not None and self._ended_or_hung(self._head, now) is not None:
            self._head = None

    def _sign_head_if_due(self, journal: Journal, now: float) -> float:
        """One signature for one drained batch, or now and then while nobody takes a batch.

        Returns:
            When to look again at the latest; acknowledgements wake the loop by themselves.
        """
        later = now + _LONGEST_SLEEP
        if self._head is not None or journal.last_head() >= journal.last_sequence():
            return later
        reporter = self.reporter
        if reporter is None or reporter.link is not Link.UP:
            due = max(self._next_head, self._signed + _ALONE_SECONDS)
        elif reporter.wants_head(journal):
            due = self._next_head
        else:
            return later
        if now < due:
            return due
        self._head = self._start_signing(now + _HEAD_SECONDS)
        # A key that cannot be used must not start a child at every turn.
        self._signed, self._next_head = now, now + RETRY_SECONDS
        return later

    def _start_signing(self, deadline: float) -> Child:
        arguments = ["--state", str(self.layout.root), "--device-id", self.settings.device_id]
        return children.start(Task.SIGN_HEAD, arguments, deadline=deadline)

    def _single_run_is_over(self) -> bool:
        if not self.once:
            return False
        if self.journal is None:
            self._last_code = EXIT_FAILED
            return True
        at_rest = self.journal.state().lifecycle in {State.IDLE, State.WAITING}
        if self._polls == 0 or self._attempt is not None or not at_rest:
            return False
        reporter = self.reporter
        if reporter is None or (reporter.link is Link.DOWN and reporter.failures > 0):
            return True
        drained = reporter.link is Link.UP and reporter.is_drained(self.journal)
        return drained or self.monotonic() > self._ended + _DRAIN_SECONDS

    # Attempts

    def poll_now(self) -> None:
        """Poll as soon as no attempt is under way."""
        self._next_attempt, self._next_reason = self.monotonic(), "poll"
        self._failures = 0
        self.wake()

    def look_again(self) -> None:
        """The application proved health, or ended an episode that an update waits for."""
        busy = self._desk is not None and self._desk.episodes() > 0
        waits = self.journal is not None and self.journal.state().lifecycle is State.WAITING
        if waits and not busy:
            self._next_attempt, self._next_reason = self.monotonic(), "poll"
        self.wake()

    def _start_attempt(self, now: float) -> None:
        arguments = ["--state", str(self.layout.root)]
        arguments += ["--provisioning", str(self.settings.folder)]
        arguments += ["--reason", self._next_reason]
        self._attempt = children.start(
            Task.ATTEMPT,
            arguments,
            deadline=now + self.settings.timing.attempt_seconds,
            reason=self._next_reason,
        )
        self._next_attempt = now + _LONGEST_SLEEP

    def _ended_or_hung(self, child: Child, now: float) -> int | None:
        """Its exit code once it has ended; one that hangs is ended here."""
        code = child.process.poll()
        if code is None and now >= child.deadline:
            LOG.warning("%s took too long and is ended", child.task)
            child.stop()
            code = child.process.poll()
        return code

    def _look_after_attempt(self, child: Child, now: float) -> None:
        code = self._ended_or_hung(child, now)
        if code is None or self.journal is None:
            return
        self._attempt, self._ended = None, now
        if child.reason == "poll":
            self._polls += 1
            self._last_code = code if code >= 0 else EXIT_FAILED
        if code < 0 or code > EXIT_FAILED + 2:
            self._note_crash(self.journal, code)
        left_in_the_middle = RESUME.get(self.journal.state().lifecycle) in {
            None,
            Resume.BEGIN_AGAIN,
            Resume.FOLLOW_LINK,
            Resume.ROLL_BACK,
        }
        if code < 0 or code == EXIT_BUSY or left_in_the_middle:
            self._cuts += 1
            delay = backed_off(RETRY_SECONDS, failures=self._cuts - 1, jitter=0.2, draw=self.draw())
            self._next_attempt, self._next_reason = now + delay, "resume"
            return
        self._cuts = 0
        self._plan_poll(self.journal, now, reason=child.reason, code=code)

    def _note_crash(self, journal: Journal, code: int) -> None:
        text = f"signal {-code}" if code < 0 else f"exit code {code}"
        if journal.note_problem(topic="attempt", what=text, text="the attempt ended abnormally"):
            journal.record(
                Entry(kind=EventKind.ATTEMPT_FAILED, result="failed", detail={"ended": text})
            )

    def _plan_poll(self, journal: Journal, now: float, *, reason: str, code: int) -> None:
        timing = self.settings.timing
        self._next_reason = "poll"
        if reason == "resume":
            # After a power cut in a whole house the devices must not all ask at once.
            spread = 0.0 if self.once else min(timing.poll_seconds * timing.poll_jitter, 60.0)
            self._next_attempt = now + spread * self.draw()
            return
        failures = self._failures + 1 if code == EXIT_FAILED else 0
        if failures != self._failures:
            journal.set_counters(poll_failures=str(failures))
        self._failures = failures
        if failures:
            delay = backed_off(
                timing.poll_seconds,
                failures=failures - 1,
                jitter=timing.poll_jitter,
                draw=self.draw(),
            )
        else:
            delay = jittered(timing.poll_seconds, jitter=timing.poll_jitter, draw=self.draw())
            journal.clear_problem("attempt")
        self._next_attempt = now + delay

    def _watch_window(self, journal: Journal, now: float) -> float:
        """Roll back what does not prove health in its window; when to look again."""
        state = journal.state()
        look_again = self._window.watch(state, now)
        if self._window.is_over(now) and state.in_use is not None:
            why = f"no health within {state.in_use.health_window} s"
            journal.record(unhealthy(state, state.in_use, why=why, own_fault=False))
            self._window.close()
            state = journal.state()
        if state.lifecycle is State.ROLLING_BACK and self._attempt is None and self._cuts == 0:
            self._next_attempt, self._next_reason = now, "resume"
        return look_again

    # What the socket tells

    def status(self) -> dict[str, Any]:
        """What ``status`` shows besides the present state."""
        now = self.monotonic()
        answer: dict[str, Any] = {
            "pid": os.getpid(),
            "clinicalUse": "in-use" if self._desk and self._desk.episodes() else "idle",
            "attempt": None if self._attempt is None else self._attempt.reason,
            "nextPollSeconds": round(max(0.0, self._next_attempt - now), 1),
            "pollFailures": self._failures,
            "clock": str(self.clock.quality()),
        }
        left = self._window.seconds_left(now)
        if left is not None:
            answer["healthWindowSeconds"] = round(left, 1)
        if self.reporter is not None:
            answer["broker"] = {
                "address": asdict(self.settings.broker) if self.settings.broker else None,
                "link": str(self.reporter.link),
                "why": self.reporter.why,
                "refused": self.reporter.refused,
            }
        if self.journal is not None:
            answer["eventsWaiting"] = self.journal.waiting_count()
        return answer


def make_supervisor(
    *,
    settings: Settings,
    layout: Layout,
    clock: Clock,
    make_reporter: Callable[[Callable[[], None]], Reporter | None],
    once: bool = False,
) -> Supervisor:
    """A supervisor whose reporter can wake it.

    Args:
        settings: the device's settings.
        layout: the state folder's names.
        clock: the clock port.
        make_reporter: makes the reporter from the call that wakes the loop.
        once: end after one poll.
    """
    supervisor = Supervisor(settings=settings, layout=layout, clock=clock, reporter=None, once=once)
    supervisor.reporter = make_reporter(supervisor.wake)
    return supervisor
