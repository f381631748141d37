"""What the supervisor watches between attempts: health, a stop, an episode's end, a check due.

It hashes nothing and judges no release.  What has to be done about a release is an attempt's to
do; here stands only when one is due.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from primum_agent.attempt_plan import AttemptPlan
from primum_agent.clock import Clock, SystemClock
from primum_agent.device_state import DeviceState, Generation
from primum_agent.hashed import hash_age
from primum_agent.health_probe import HealthProbe
from primum_agent.health_proof import say_healthy, settle
from primum_agent.health_window import HealthWindow
from primum_agent.journal import Journal
from primum_agent.lifecycle import State, UnlistedStimulusError
from primum_agent.running_episode import EpisodeWatch
from primum_agent.settings import Settings
from primum_agent.tested import probes_are_due, seconds_until_test
from primum_agent.timing import jittered
from primum_agent.transitions import not_proven
from primum_agent.unit_health import probe_of
from primum_agent.untold import Untold, is_told

LOG = logging.getLogger("primum.supervisor")

_REACH_SECONDS = 5.0  # between two polls that a provisional release waits for
_LEAVE_SECONDS = 30.0  # between two attempts to leave what was stopped, where one could not
_FAR = 3600.0
_REHASH_RETRY_SECONDS = 60.0  # where the gates are looked at more often than that
_TEST_RETRY_SECONDS = 900.0  # a self-test that could not be run cost time and battery, too


@dataclass(eq=False, kw_only=True)
class Watch:
    """The watch of one supervisor.

    Attributes:
        settings: the device's settings.
        plan: the attempts that it asks for.
        wake: lets the loop look again.
        changed: tells the supervisor that health was proven.
        clock: the clock port: which start of the device this is.
        monotonic: seconds of a clock that never goes back.
    """

    settings: Settings
    plan: AttemptPlan
    wake: Callable[[], None]
    changed: Callable[[], None]
    clock: Clock = field(default_factory=SystemClock)
    monotonic: Callable[[], float] = time.monotonic
    window: HealthWindow = field(default_factory=HealthWindow)
    _episode: EpisodeWatch = field(init=False)
    _probe: HealthProbe = field(init=False)
    _untold: Untold = field(default_factory=Untold)
    _next_reach: float = 0.0
    _next_leave: float = 0.0
    _next_rehash: float = 0.0
    _rehash_draw: float = field(init=False)
    _next_test: float = 0.0
    _next_test_of: int = 0
    _test_draw: float = field(init=False)

    def __post_init__(self) -> None:
        health = self.settings.health
        self._rehash_draw, self._test_draw = self.plan.draw(), self.plan.draw()
        gates = self.settings.gates
        asked = gates.look_seconds if gates.clinical_use.is_set else None
        self._episode = EpisodeWatch(look_seconds=asked)
        self._probe = HealthProbe(
            command=probe_of(health, self.plan.layout), seconds=health.probe_seconds
        )

    def stop(self) -> None:
        """End what was started."""
        self._probe.stop()

    def look(self, journal: Journal, now: float, *, episodes: int) -> float:
        """Do what is due, and ask for the attempts that are; when to look again at the latest.

        Args:
            journal: the open journal.
            now: seconds of a clock that never goes back.
            episodes: how many episodes are declared over the socket.
        """
        return min(
            self.watch_window(journal, now),
            self.watch_told(journal, now),
            self._watch_episode(journal, now, episodes=episodes),
            self._watch_stop(journal, now),
            self.watch_hash(journal, now),
            self.watch_test(journal, now),
        )

    def watch_window(self, journal: Journal, now: float) -> float:
        """Roll back what does not prove health in its window; when to look again."""
        state = journal.state()
        told = is_told(self.plan.layout, state)
        ends = self.window.watch(state, now, told=told)
        look_again = min(ends, self._probe_health(journal, state, now))
        state = journal.state()
        if self.window.is_over(now) and state.in_use is not None:
            # Closed only once it is recorded: a full disk gives no release a second window.
            self._give_up(journal, state.in_use)
            self.window.close()
            state = journal.state()
        plan = self.plan
        if state.lifecycle is State.ROLLING_BACK and plan.child is None and plan.cuts == 0:
            plan.resume(now)
        return look_again

    def watch_told(self, journal: Journal, now: float) -> float:
        """Let the application be told what is active, where it was not; when to look again."""
        state = journal.state()
        told = is_told(self.plan.layout, state)
        look_again = self._untold.watch(state, now, told=told)
        if self.plan.child is None and not self._untold.is_due(now):
            return look_again
        if self.plan.child is None and self.plan.tell(now):
            LOG.warning("the application was not told what is active; an attempt tells it")
            self._untold.tried(now)
        # An attempt is under way or due, and tells it too: its end is a turn of the loop.
        return now + _FAR

    def _probe_health(self, journal: Journal, state: DeviceState, now: float) -> float:
        """Let the integrator's probe speak for a provisional release; when to look again."""
        watched = state.in_use if state.lifecycle is State.PROVISIONAL else None
        works, look_again = self._probe.watch(watched, now)
        needs_repositories = self.settings.health.repositories_reached
        try:
            if works and watched is not None:
                if say_healthy(journal, watched, needs_repositories=needs_repositories):
                    self.changed()
                else:
                    self.reach()
            elif needs_repositories and self.plan.child is None and settle(journal):
                self.changed()
        except UnlistedStimulusError:
            # Somebody took the release away between the look and the step; nothing was recorded.
            LOG.info("the release was left already")
        return look_again

    def reach(self) -> None:
        """Ask the authorities for the sake of health, and not at every word that is said of it."""
        now = self.monotonic()
        if now >= self._next_reach:
            self._next_reach = now + _REACH_SECONDS
            self.plan.reach(now)
            self.wake()

    def _watch_episode(self, journal: Journal, now: float, *, episodes: int) -> float:
        """Let what waits for the end of an episode be taken away; when to look at the latest."""
        look_again = self._episode.watch(journal, now)
        if self.plan.child is None and self._episode.is_due(episodes=episodes, now=now):
            self.plan.resume(now)
        return look_again

    def _watch_stop(self, journal: Journal, now: float) -> float:
        """Let what was stopped be left; when to look at the latest."""
        state = journal.state()
        if not state.stopped or state.in_use is None:
            self._next_leave = now
            return now + _FAR
        if self.plan.child is None and now >= self._next_leave:
            self._next_leave = now + _LEAVE_SECONDS
            self.plan.resume(now)
        return self._next_leave

    def watch_hash(self, journal: Journal, now: float) -> float:
        """Let what runs be held against its digests once in a period; when to look at the latest.

        The period is powered time.  Who puts it off is asked in the attempt.
        """
        state, timing = journal.state(), self.settings.timing
        used = state.in_use
        if used is None or state.lifecycle not in {State.IDLE, State.WAITING}:
            return now + _FAR
        period = jittered(timing.rehash_seconds, jitter=timing.poll_jitter, draw=self._rehash_draw)
        due = max(self._next_rehash, now + period - hash_age(journal, used))
        if now < due:
            return due
        if not self.plan.rehash(now):
            # An attempt is under way or due: its end is a turn of the loop.
            return now + _FAR
        again = max(_REHASH_RETRY_SECONDS, self.settings.gates.look_seconds)
        self._next_rehash, self._rehash_draw = now + min(again, period), self.plan.draw()
        return self._next_rehash

    def watch_test(self, journal: Journal, now: float) -> float:
        """Let what runs be tested again when that is due; when to look at the latest.

        After a start of the device, once in a period of powered time, and where a probe has not
        spoken of what runs yet, or not well.  Who puts it off is asked in the attempt.
        """
        state, settings = journal.state(), self.settings.self_test
        used = state.in_use
        if used is None or state.lifecycle not in {State.IDLE, State.WAITING}:
            return now + _FAR
        jitter, period = self.settings.timing.poll_jitter, settings.period
        if period is not None:
            period = jittered(period, jitter=jitter, draw=self._test_draw)
        boot = self.clock.boot_id()
        due_in = seconds_until_test(journal, used, settings=settings, boot=boot, period=period)
        if probes_are_due(journal, used, settings=settings):
            due_in = 0.0
        if due_in is None:
            return now + _FAR
        # The wait for another try is not one for the first try of another release.
        due = max(self._next_test if self._next_test_of == used.number else now, now + due_in)
        if now < due:
            return due
        if not self.plan.test(now):
            # An attempt is under way or due: its end is a turn of the loop.
            return now + _FAR
        again = _TEST_RETRY_SECONDS if period is None else min(_TEST_RETRY_SECONDS, period)
        self._next_test_of = used.number
        self._next_test, self._test_draw = now + again, self.plan.draw()
        return self._next_test

    def _give_up(self, journal: Journal, used: Generation) -> None:
        why = f"no health within {used.health_window} s"
        poll_seconds = self.settings.timing.poll_seconds
        told = self.window.told
        try:
            journal.record(not_proven(journal, used, why=why, poll_seconds=poll_seconds, told=told))
        except UnlistedStimulusError:
            # An attempt took the release away between the look and the step; nothing was recorded.
            LOG.info("the release was left already")
