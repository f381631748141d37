"""The resident supervisor: journal, socket, timers, reports, and one child at a time for updates.

It stays small and decides nothing about a release: what may be done is judged in the attempt, a
child that may crash, leak or hang and costs one attempt; :mod:`primum_agent.attempt_plan` says
when.  What it does itself:

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
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from primum_agent import children
from primum_agent.agent_choice import is_unproven, stands, wants_restart
from primum_agent.attempt_plan import RETRY_SECONDS, AttemptPlan, ended_or_hung
from primum_agent.children import Running, Start, Task
from primum_agent.clock import Clock
from primum_agent.content_store import FolderStore
from primum_agent.contexts import read_object
from primum_agent.durable import make_folder, write_file
from primum_agent.entrance import Entrance, SocketEntrance
from primum_agent.episode_asked import answer_may_use
from primum_agent.events import Entry, EventKind
from primum_agent.folder_access import refuse_exposed
from primum_agent.glance import Glance, Glancing
from primum_agent.journal import Journal
from primum_agent.journal_bounds import as_arguments
from primum_agent.journal_schema import DamagedJournalError, UnreadableJournalError
from primum_agent.layout import Layout
from primum_agent.lifecycle import State
from primum_agent.locking import held
from primum_agent.monitor import Monitor
from primum_agent.narrating import Narrator
from primum_agent.receipts import BETWEEN_SECONDS
from primum_agent.reporter import Link, Reporter
from primum_agent.requests import Requests
from primum_agent.salvage import salvage
from primum_agent.service import ServiceManager, status_line
from primum_agent.settings import Settings
from primum_agent.stopping import tell_stop
from primum_agent.transitions import PLANNED_STOP, is_unconfirmed
from primum_agent.watching import Watch
from primum_verifier.core.errors import (
    EXIT_BUSY,
    EXIT_FAILED,
    EXIT_REFUSED,
    EXIT_WAITING,
    PrimumError,
)

LOG = logging.getLogger("primum.supervisor")

REOPEN_SECONDS = 30.0
"""Between two looks at a state folder that could not be written."""

_MOST_CRASHES = 3
"""Attempts in a row that a new agent may fail as only a broken one does; then it gives way."""

_MOST_STUCK = 3
"""Attempts in a row that a single run lets end in the middle, or be held up; then it says so.

It bears with a supervisor that cannot do its own work for about as long.
"""

_SIGNALS = 128  # the exit code of a program that a signal ended begins above it
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
        medium: a folder with copies of the web roots, polled in place of the servers.
        narrator: tells a person what happens; None tells nobody.
        service: whoever started this as a service; told how it stands at every turn.
        entrance: how the world reaches it.
        start: starts its children.
        make_glance: makes what looks whether anything is new, from the call that wakes the loop.
        monotonic: seconds of a clock that never goes back.
        draw: numbers in [0, 1) for jitter.
        journal: the open journal; None while there is none.
    """

    settings: Settings
    layout: Layout
    clock: Clock
    reporter: Reporter | None
    once: bool = False
    medium: Path | None = None
    narrator: Narrator | None = None
    service: ServiceManager = field(default_factory=ServiceManager)
    entrance: Entrance = field(default_factory=SocketEntrance)
    start: Start = children.start
    make_glance: Callable[[Callable[[], None]], Glancing | None] = lambda _: None
    monotonic: Callable[[], float] = time.monotonic
    draw: Callable[[], float] = random.random
    journal: Journal | None = None
    _head: Running | None = None
    _taking: Running | None = None
    _next_open: float = 0.0
    _next_head: float = 0.0
    _next_taking: float = 0.0
    _signed: float = 0.0
    _unusable: bool = False
    _unread: int = 0
    _failing_since: float | None = None
    _warned: str = ""
    _trouble: str = ""
    _line: str = ""
    _gives_way: bool = False
    _crashes: int = 0
    _plan: AttemptPlan = field(init=False)
    _watch: Watch = field(init=False)
    _monitor: Monitor = field(init=False)

    def __post_init__(self) -> None:
        self._monitor = Monitor(
            layout=self.layout,
            clock=self.clock,
            device_id=self.settings.device_id,
            stopped=self._tell_stop,
            breakdowns=self.settings.reports.breakdowns,
        )
        self._plan = AttemptPlan(
            settings=self.settings,
            layout=self.layout,
            draw=self.draw,
            once=self.once,
            medium=self.medium,
            glance=self.make_glance(self.wake),
            start=self.start,
        )
        self._watch = Watch(
            settings=self.settings,
            plan=self._plan,
            wake=self.wake,
            changed=self.look_again,
            clock=self.clock,
            monotonic=self.monotonic,
        )

    def wake(self) -> None:
        """Let the loop look again; called from the network thread too."""
        self.entrance.ring()

    def run(self) -> int:
        """Supervise until told to stop.

        Returns:
            An exit code: 0, also when told to stop; after ``once`` the code of the attempt, 1
            where what it activated was rolled back, and 128 + signal where it was told to stop
            before its end.

        Raises:
            BusyError: another supervisor holds the state folder.
        """
        with self.entrance.listening(), self._lock():
            try:
                self.begin()
                over = self._single_run_is_over()
                while not self.entrance.signal and not over and not self._gives_way:
                    self.entrance.wait(self.turn())
                    over = self._single_run_is_over()
            finally:
                self.end()
        return self._single_code() if over else self._stopped_code()

    def _stopped_code(self) -> int:
        if self._unusable:
            return EXIT_FAILED
        if self._gives_way:
            return EXIT_WAITING if self.once else 0
        return _SIGNALS + self.entrance.signal if self.once else 0

    def _single_code(self) -> int:
        if self._unusable:
            return EXIT_FAILED
        if self._is_held_up():
            return EXIT_BUSY
        code = self._plan.last_code
        told = self.narrator
        rolled_back = told is not None and told.saw(EventKind.UPDATE_ROLLING_BACK)
        return EXIT_REFUSED if code == 0 and rolled_back else code

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

    def begin(self) -> None:
        """Open journal and socket; a folder that cannot be written is tried again later."""
        try:
            refuse_exposed(self.layout)
            make_folder(self.layout.run)
            FolderStore(self.layout).prepare()
            self.journal = Journal.open_or_restart(
                self.layout,
                clock=self.clock,
                device_id=self.settings.device_id,
                salvage=lambda: salvage(self.layout),
                bounds=self.settings.journal,
                unread=self._unread,
            )
            self._unread = 0
            if self.narrator is not None:
                self.narrator.begin(self.journal)
            self._plan.begin(self.journal, self.monotonic())
            before = self.journal.counter("ended", "")
            self.journal.set_counters(begun_after=before, ended="")
            self.journal.record(Entry(kind=EventKind.AGENT_STARTED))
            self.entrance.open(self.layout.socket, self._requests().answer)
        except PrimumError as error:
            self._warn(error)
            self._unread += isinstance(error, UnreadableJournalError)
            self._close_journal()
            self._report_reasons(str(error.reason))
            self._next_open = self.monotonic() + REOPEN_SECONDS
            return
        self._report_reasons()

    def _requests(self) -> Requests:
        return Requests(
            journal=lambda: self.journal,
            clock=self.clock,
            poll_now=self.poll_now,
            status=self.status,
            changed=self.look_again,
            stopped=self._tell_stop,
            reach=self._watch.reach,
            may_use=partial(answer_may_use, state_dir=self.layout.root, now=self.clock.now),
            observe=self._monitor.take,
            needs_repositories=self.settings.health.repositories_reached,
        )

    def _close_journal(self) -> None:
        if self.journal is not None:
            self.journal.close()
        self.journal = None

    def _report_reasons(self, *reasons: str) -> None:
        self._trouble = ", ".join(reasons)
        if self.reporter is not None:
            self.reporter.reasons = reasons

    def end(self) -> None:
        """Say goodbye: to the children, to visitors, in the journal and to the broker."""
        self.service.stopping()
        self._watch.stop()
        children.stop_all(self._children())
        if self._plan.glance is not None:
            self._plan.glance.close()
        self.entrance.close()
        with contextlib.suppress(PrimumError):
            if self.journal is not None:
                self._say_goodbye(self.journal)
                self._narrate(self.journal)
            if self.reporter is not None:
                self.reporter.close(self.journal)
        self._close_journal()

    def _narrate(self, journal: Journal) -> None:
        if self.narrator is not None:
            self.narrator.look(journal)

    def _warn(self, error: PrimumError) -> None:
        """Log a trouble once, not each time it is met again."""
        text = error.for_people()
        if text != self._warned:
            LOG.warning("%s", text)
        self._warned = text

    def _say_goodbye(self, journal: Journal) -> None:
        """Record the end, sign it, and give the broker a moment to take it; the rest waits."""
        with contextlib.suppress(PrimumError):
            self._monitor.save(journal, self.monotonic())
        journal.record(Entry(kind=EventKind.AGENT_STOPPED))
        journal.set_counters(ended=PLANNED_STOP)
        deadline = self.monotonic() + _GOODBYE_SECONDS
        signer = self._start_signing(deadline)
        while self.monotonic() < deadline:
            connected = self.reporter is not None and self.reporter.link is Link.UP
            if self.reporter is not None and connected:
                self.reporter.work(journal, now=self.monotonic())
                if self.reporter.is_drained(journal):
                    break
            elif signer.poll() is not None:
                break
            self.entrance.wait(_GOODBYE_STEP)
        signer.stop(grace=_GOODBYE_STEP)

    # The loop

    def turn(self) -> float:
        """One turn: do what is due; seconds until something is, if nothing happens before."""
        now = self.monotonic()
        try:
            wait = self._do_what_is_due(now) - self.monotonic()
            if self.journal is not None:
                self._narrate(self.journal)
                self._warned = ""
            self._failing_since = None
        except DamagedJournalError as error:
            self._warn(error)
            self._close_journal()
            self.begin()
            wait = 0.0
        except PrimumError as error:
            self._warn(error)
            if self._failing_since is None:
                self._failing_since = now
            wait = RETRY_SECONDS
        # After the work, also where it failed: a loop that cannot write lives all the same.
        wait = min(wait, self._tell_manager(now) - self.monotonic())
        return min(max(wait, 0.0), _LONGEST_SLEEP)

    def _tell_manager(self, now: float) -> float:
        """Say that the loop turns and how the device stands; when to say it again at the latest."""
        attempt = "" if self._plan.child is None else self._plan.child.reason
        with contextlib.suppress(PrimumError):
            state = None if self.journal is None else self.journal.state()
            self._line = status_line(state, attempt=attempt, trouble=self._trouble)
        return self.service.tell(self._line, now)

    def _do_what_is_due(self, now: float) -> float:
        """Do it; when to look again at the latest."""
        due = [now + _LONGEST_SLEEP]
        if self.journal is None:
            if now >= self._next_open:
                self.begin()
            due.append(self._next_open)
        before = self._plan.ended
        self._plan.look_after(self.journal, now)
        if self._plan.ended != before:
            self._attempt_ended()
        if self._plan.child is None and wants_restart(self.layout):
            LOG.info("another agent takes over")
            self._gives_way = True
        if self._head is not None and ended_or_hung(self._head, now) is not None:
            self._head = None
        if self.journal is not None:
            due.append(self._watch.look(self.journal, now, episodes=self._episodes()))
            due.append(self._look_after_monitor(self.journal, now))
            due.append(self._plan.start_if_due(now, self.journal))
        if self.reporter is not None:
            due.append(self.reporter.work(self.journal, now=now))
        if self.journal is not None:
            due.append(self._sign_head_if_due(self.journal, now))
            due.append(self._take_receipts_if_due(now))
        due += [child.deadline for child in self._children()]
        if self.once:
            due.append(now if self._single_run_is_over() else now + 1.0)
        return min(due)

    def _look_after_monitor(self, journal: Journal, now: float) -> float:
        """Let it count and conclude; a disk that does not take it holds up nothing else.

        Returns:
            When to look again at the latest.
        """
        try:
            return self._monitor.look(journal, now)
        except DamagedJournalError:
            raise
        except PrimumError as error:
            self._warn(error)
            return now + RETRY_SECONDS

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

    def _children(self) -> list[Running]:
        return [one for one in (self._plan.child, self._head, self._taking) if one is not None]

    def _take_receipts_if_due(self, now: float) -> float:
        """Let a child look at what came as receipts, where the device knows a receiver at all.

        Returns:
            When to look again at the latest.
        """
        later = now + _LONGEST_SLEEP
        if self._taking is not None and ended_or_hung(self._taking, now) is not None:
            self._taking = None
        reporter = self.reporter
        if reporter is None or self._taking is not None or not reporter.receipts.lines:
            return later
        if now < self._next_taking:
            return self._next_taking
        self._next_taking = now + BETWEEN_SECONDS
        waiting = reporter.receipts.hand_over()
        if not read_object(self.settings.trust_map).get("receivers"):
            return later
        write_file(self.layout.arrived_receipts, b"\n".join(waiting))
        arguments = ["--state", str(self.layout.root), "--device-id", self.settings.device_id]
        arguments += ["--fleet", reporter.fleet, "--trust-map", str(self.settings.trust_map)]
        self._taking = self.start(Task.TAKE_RECEIPTS, arguments, deadline=now + _HEAD_SECONDS)
        return later

    def _start_signing(self, deadline: float) -> Running:
        arguments = ["--state", str(self.layout.root), "--device-id", self.settings.device_id]
        arguments += as_arguments(self.settings.journal)
        return self.start(Task.SIGN_HEAD, arguments, deadline=deadline)

    def _single_run_is_over(self) -> bool:
        if not self.once:
            return False
        if self.journal is None:
            self._unusable = True
            return True
        since = self._failing_since
        failing = since is not None and self.monotonic() - since >= _MOST_STUCK * RETRY_SECONDS
        if failing or self._plan.cuts >= _MOST_STUCK:
            self._unusable = True
            return True
        at_rest = self.journal.state().lifecycle in {State.IDLE, State.WAITING}
        if self._plan.polls == 0 or self._plan.child is not None or not at_rest:
            return self._is_held_up()
        reporter = self.reporter
        if reporter is None or (reporter.link is Link.DOWN and reporter.failures > 0):
            return True
        drained = reporter.link is Link.UP and reporter.is_drained(self.journal)
        return drained or self.monotonic() > self._plan.ended + _DRAIN_SECONDS

    def _is_held_up(self) -> bool:
        """Another attempt holds the lock, at work or stopped: a single run has not even begun."""
        return self._plan.polls == 0 and self._plan.busy >= _MOST_STUCK

    # Attempts

    def _attempt_ended(self) -> None:
        """This agent came to stand; one that is new and cannot do its work gives way in the end."""
        lifecycle = None if self.journal is None else self.journal.state().lifecycle
        if self._plan.crashed(lifecycle):
            self._crashes += 1
            if self._crashes >= _MOST_CRASHES and is_unproven(self.layout):
                LOG.error("this agent cannot do its work; the loader decides what starts")
                self._gives_way, self._unusable = True, True
            return
        self._crashes = 0
        with contextlib.suppress(PrimumError):
            stands(self.layout)

    def poll_now(self) -> None:
        """Poll as soon as no attempt is under way."""
        self._plan.poll(self.monotonic())
        self._plan.failures = 0
        self.wake()

    def look_again(self) -> None:
        """The application proved health, or ended an episode that an update waits for."""
        waits = self.journal is not None and self.journal.state().lifecycle is State.WAITING
        if waits and not self._episodes():
            self._plan.poll(self.monotonic())
        elif self.journal is not None and (is_unconfirmed(self.journal) or self._waits_within()):
            self._plan.resume(self.monotonic())
        self.wake()

    def _waits_within(self) -> bool:
        """Whether an update waits in the middle, for a restart that an episode may have held."""
        waits = self._plan.waits_within and self._plan.child is None
        return waits and not self._episodes()

    def _tell_stop(self, journal: Journal) -> None:
        """The use of every release was stopped: the application is told before anything else."""
        self.wake()
        tell_stop(self.layout, journal.state(), clock=self.clock)

    def _episodes(self) -> int:
        """How many episodes are declared over the socket."""
        return self.entrance.episodes()

    # What the socket tells

    def status(self) -> dict[str, Any]:
        """What ``status`` shows besides the present state."""
        now = self.monotonic()
        answer: dict[str, Any] = {
            "pid": os.getpid(),
            "clinicalUse": "in-use" if self._episodes() else "idle",
            "attempt": None if self._plan.child is None else self._plan.child.reason,
            "nextPollSeconds": round(max(0.0, self._plan.due - now), 1),
            "pollFailures": self._plan.failures,
            "glances": self._plan.glances,
            "clock": str(self.clock.quality()),
            "storeMaxBytes": self.settings.store.max_bytes,
        }
        left = self._watch.window.seconds_left(now)
        if left is not None:
            answer["healthWindowSeconds"] = round(left, 1)
        if self.reporter is not None:
            answer["broker"] = {
                "address": self.reporter.address,
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
    medium: Path | None = None,
    narrator: Narrator | None = None,
) -> Supervisor:
    """A supervisor whose reporter can wake it.

    Args:
        settings: the device's settings.
        layout: the state folder's names.
        clock: the clock port.
        make_reporter: makes the reporter from the call that wakes the loop.
        once: end after one poll.
        medium: what that poll reads in place of the servers.
        narrator: tells a person what happens.
    """
    supervisor = Supervisor(
        settings=settings,
        layout=layout,
        clock=clock,
        reporter=None,
        once=once,
        medium=medium,
        narrator=narrator,
        make_glance=lambda wake: Glance(settings, client=layout.client, wake=wake),
    )
    supervisor.reporter = make_reporter(supervisor.wake)
    if supervisor.reporter is not None and not once:
        supervisor.reporter.asked.poll_now = supervisor.poll_now
    return supervisor
