"""When the next attempt is due, starting it, and what follows from how it ended.

One attempt at a time.  A poll that went well is followed by the next after the poll period; one
that failed backs off; one that was cut, or left something in the middle, is followed by an offline
attempt that converges.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from primum_agent import children
from primum_agent.children import Running, Start, Task
from primum_agent.events import Entry, EventKind
from primum_agent.gate_memory import gates_of
from primum_agent.glance import Glancing, Seen, servers_to_ask
from primum_agent.journal_port import JournalPort
from primum_agent.layout import Layout
from primum_agent.lifecycle import RESUME, Resume, State
from primum_agent.quiet import quiet_of
from primum_agent.settings import Settings
from primum_agent.timing import LONGEST_BACK_OFF, backed_off, jittered
from primum_verifier.core.errors import EXIT_BUSY, EXIT_FAILED, EXIT_WAITING

LOG = logging.getLogger("primum.supervisor")

RETRY_SECONDS = 2.0
"""Before an attempt that was cut or found the lock taken is started again; it doubles."""

_FAR = 3600.0
_MOST_SPREAD = 60.0
_LAST_CODE = EXIT_FAILED + 2  # of the one table of exit codes
_BETWEEN_POLLS = {"rehash", "self-test", "tell"}
_MIDDLE = {None, Resume.BEGIN_AGAIN, Resume.FOLLOW_LINK, Resume.ROLL_BACK}


@dataclass(eq=False, kw_only=True)
class AttemptPlan:
    """The attempts of one supervisor.

    Attributes:
        settings: the device's settings.
        layout: the state folder's names.
        draw: numbers in [0, 1) for jitter.
        once: one poll only, which follows the first start without a spread.
        medium: a folder with copies of the web roots, polled in place of the servers.
        start: starts an attempt.
        child: the attempt under way.
        due: when the next one is started, on the supervisor's clock.
        failures: polls that failed in a row.
        cuts: attempts in a row that were cut or left something in the middle.
        waits_within: whether the last attempt left an update waiting in the middle, for a restart.
        busy: attempts in a row that another attempt held up.
        polls: polls that ended.
        ended: when the last attempt ended.
        last_code: exit code of the last poll.
        glance: asks whether anything is new where a whole poll left that to it; None asks nobody.
        glances: polls in a row that were no more than that.
    """

    settings: Settings
    layout: Layout
    draw: Callable[[], float]
    once: bool
    medium: Path | None = None
    start: Start = children.start
    child: Running | None = None
    due: float = 0.0
    failures: int = 0
    cuts: int = 0
    waits_within: bool = False
    busy: int = 0
    polls: int = 0
    ended: float = 0.0
    last_code: int = 0
    glance: Glancing | None = None
    glances: int = 0
    _code: int = 0
    _reason: str = "resume"
    _next_poll: float = 0.0
    _asked: bool = False
    _reaching: bool = False
    _routine: bool = False
    _looked: bool = False

    def begin(self, journal: JournalPort, now: float) -> None:
        """A journal was opened: what a cut left is converged first."""
        self.failures = int(journal.counter("poll-failures", "0"))
        self.resume(now)

    def resume(self, now: float) -> None:
        """Converge and review, offline, as soon as no attempt is under way."""
        self.due, self._reason = now, "resume"

    def poll(self, now: float) -> None:
        """Poll as soon as no attempt is under way; asked for during one, right after it."""
        if self.child is not None:
            self._asked = True
            return
        self.due, self._reason, self._routine = now, "poll", False

    def reach(self, now: float) -> None:
        """Poll for the sake of a provisional release, in a single run too."""
        self._reaching = True
        self.poll(now)

    def rehash(self, now: float) -> bool:
        """Hold what runs against its digests now, between two polls; whether that is possible.

        Whatever else is due does it by itself, and a single run ends with its poll.
        """
        return not self.once and self._between_polls(now, "rehash")

    def test(self, now: float) -> bool:
        """Test what runs again now, between two polls; whether that is possible."""
        return not self.once and self._between_polls(now, "self-test")

    def tell(self, now: float) -> bool:
        """Tell the application what is active now, between two polls; whether that is possible.

        In a single run too: it ends with what its poll made provisional.
        """
        return self._between_polls(now, "tell")

    def _between_polls(self, now: float, reason: str) -> bool:
        if self.child is not None or self._reason != "poll" or self.due <= now:
            return False
        self._next_poll, self.due, self._reason = self.due, now, reason
        return True

    def start_if_due(self, now: float, journal: JournalPort | None = None) -> float:
        """Start the next attempt when it is due; when to look again at the latest.

        Args:
            now: seconds of a clock that never goes back.
            journal: says whether a glance is enough; without one it never is.
        """
        if self.child is not None:
            return self.child.deadline
        if self.once and self.polls and self._reason == "poll" and not self._reaching:
            return now + _FAR
        if self._routine and self._reason == "poll" and not self.once and journal is not None:
            self._glance(now, journal)
        if now >= self.due:
            arguments = ["--state", str(self.layout.root)]
            arguments += ["--provisioning", str(self.settings.folder)]
            arguments += ["--reason", self._reason]
            if self.medium is not None:
                arguments += ["--from", str(self.medium)]
            self.child = self.start(
                Task.ATTEMPT,
                arguments,
                deadline=now + self.settings.timing.attempt_seconds,
                reason=self._reason,
            )
            self.due, self._reaching, self._looked = now + _FAR, False, False
            self.glances = 0
        return self.due

    def _glance(self, now: float, journal: JournalPort) -> None:
        """Look whether anything is new before a whole poll is begun; put it off where not."""
        glance = self.glance
        if glance is None or (now < self.due and not self._looked):
            return
        if not self._looked:
            quiet = quiet_of(journal)
            if quiet is None or not glance.is_possible:
                return
            servers = servers_to_ask(self.settings, journal, quiet.newest)
            self.due, self._looked = glance.begin(quiet.newest, servers), True
            return
        found = glance.found()
        if found is None:
            return
        self._looked = False
        if found is Seen.NOTHING_NEW:
            timing = self.settings.timing
            usual = jittered(timing.poll_seconds, jitter=timing.poll_jitter, draw=self.draw())
            self.due = now + usual
            self.glances += 1
        else:
            self.due, self._routine = now, False

    def look_after(self, journal: JournalPort | None, now: float) -> None:
        """End an attempt that hangs; once it has ended, plan what follows.

        Args:
            journal: the open journal; without one an attempt that ended waits to be noted.
            now: seconds of a clock that never goes back.
        """
        child = self.child
        code = None if child is None else ended_or_hung(child, now)
        if child is None or code is None or journal is None:
            return
        self.child, self.ended, self._code = None, now, code
        if code == EXIT_BUSY:
            self._try_again(child, now)
            return
        self.busy = 0
        if child.reason == "poll":
            if self.polls == 0 or not self.once:
                # A single run ends with what its own poll came to, not with one for health.
                self.last_code = code if code >= 0 else EXIT_FAILED
            self.polls += 1
        if code < 0 or code > _LAST_CODE:
            _note_crash(journal, code)
        self.waits_within = False
        left_in_the_middle = RESUME.get(journal.state().lifecycle) in _MIDDLE
        if code < 0 or left_in_the_middle:
            self.cuts += 1
            self.waits_within = code == EXIT_WAITING
            # While it waits for a restart, withdrawals are heard no later than at any other time.
            longest = self.settings.timing.poll_seconds if self.waits_within else LONGEST_BACK_OFF
            delay = backed_off(
                RETRY_SECONDS,
                failures=self.cuts - 1,
                jitter=0.2,
                draw=self.draw(),
                longest=longest,
            )
            # Where a restart was asked for, a withdrawal has to be heard meanwhile.
            self.due, self._reason = now + delay, "poll" if self.waits_within else "resume"
            return
        self.cuts = 0
        if child.reason == "resume":
            # After a power cut in a whole house the devices must not all ask at once.
            timing = self.settings.timing
            spread = min(timing.poll_seconds * timing.poll_jitter, _MOST_SPREAD)
            self.poll(now + (0.0 if self.once else spread) * self.draw())
        elif child.reason in _BETWEEN_POLLS:
            self.poll(max(now, self._next_poll))
        else:
            self.poll(now + self._until_next_poll(journal, code=code))
            self._routine = True
        if self._asked:
            self._asked = False
            self.poll(now)

    def crashed(self, lifecycle: State | None) -> bool:
        """Whether the last attempt ended as only an agent that cannot do its work would end it.

        Args:
            lifecycle: where the update stands; None where nobody can say.
        """
        abnormal = self._code < 0 or self._code > _LAST_CODE
        in_the_middle = lifecycle is not None and RESUME.get(lifecycle) in _MIDDLE
        return abnormal or (self._code == EXIT_FAILED and in_the_middle)

    def _try_again(self, child: Running, now: float) -> None:
        """Nothing was done: what was asked for is still to do once the other attempt has ended.

        It is no cut: what the other has made provisional meanwhile was not interrupted.
        """
        self.busy += 1
        delay = backed_off(RETRY_SECONDS, failures=self.busy - 1, jitter=0.2, draw=self.draw())
        self.due, self._reason = now + delay, child.reason
        self._reaching = child.reason == "poll"

    def _until_next_poll(self, journal: JournalPort, *, code: int) -> float:
        """Seconds until the next poll, after one that ended with ``code``."""
        timing = self.settings.timing
        failures = self.failures + 1 if code == EXIT_FAILED else 0
        if failures != self.failures:
            journal.set_counters(poll_failures=str(failures))
        self.failures = failures
        if failures:
            return backed_off(
                timing.poll_seconds,
                failures=failures - 1,
                jitter=timing.poll_jitter,
                draw=self.draw(),
            )
        journal.clear_problem("attempt")
        usual = jittered(timing.poll_seconds, jitter=timing.poll_jitter, draw=self.draw())
        wait = gates_of(journal).wait
        if code != EXIT_WAITING or wait is None:
            return usual
        # A window opens for a whole fleet at once: its devices must not all ask at once.
        spread = min(timing.poll_seconds * timing.poll_jitter, _MOST_SPREAD) * self.draw()
        return min(usual, wait.look_seconds + spread)


def ended_or_hung(child: Running, now: float) -> int | None:
    """A child's exit code once it has ended; one that hangs is ended here."""
    code = child.poll()
    if code is None and now >= child.deadline:
        LOG.warning("%s took too long and is ended", child.task)
        child.stop()
        code = child.poll()
    return code


def _note_crash(journal: JournalPort, code: int) -> None:
    text = f"signal {-code}" if code < 0 else f"exit code {code}"
    if journal.note_problem(topic="attempt", what=text, text="the attempt ended abnormally"):
        journal.record(
            Entry(kind=EventKind.ATTEMPT_FAILED, result="failed", detail={"ended": text})
        )
