"""The monitor of what is in use: counts what the application hands over, and says what follows.

It lives in the resident supervisor: no library, as many counters as were signed.

1. It counts one release, under one statement, by one specification; with another of these a window
   is cut short, which is told, and nothing of it is mixed into the next.
2. A window and a day are time in which the agent ran, by a clock that nobody sets: a wall clock
   that jumps changes nothing.
3. What a window or a day concludes is written down together with the counters that begin anew, and
   is then recorded one after the other: an alarm is said once, whenever the power fails.
4. It takes the use of a release away only where the signed specification says so and names the
   hazard, by the stop that an application has, too; a person ends it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from primum_agent.clock import Clock, plain_time
from primum_agent.content_store import FolderStore
from primum_agent.device_state import DeviceState, Generation
from primum_agent.drawing import fresh_id
from primum_agent.events import Entry, EventKind
from primum_agent.journal import AGENT_VERSION, Journal
from primum_agent.layout import Layout
from primum_agent.monitor_kept import (
    KEPT,
    MonitorKept,
    Watched,
    ended_after,
    is_ended,
    next_window,
)
from primum_agent.monitor_taking import Handed
from primum_agent.monitored import SPECIFICATION
from primum_agent.report_classes import MONITOR
from primum_agent.stopping import MAX_WHY, stop
from primum_verifier.record.monitor_judgement import Found
from primum_verifier.record.monitor_plan import MonitorPlan, read_plan
from primum_verifier.record.monitor_tally import DAY_SECONDS
from primum_verifier.record.monitor_telling import told_channels
from primum_verifier.record.words import MonitorAction

LOG = logging.getLogger("primum.monitor")

PENDING = "monitor-pending"
"""The counter of the journal that keeps what was concluded and is not recorded yet."""

MONITOR_TYPE = "primum.device.monitor.summarised"
SAVE_SECONDS = 300.0
"""Between two writings of the counters: what a cut costs, and what a flash card is spared."""

_HOUR = 3600.0
_FAR = 3600.0
_TOPIC = "monitor "
_ALARMED, _QUIET, _STOP = "alarmed", "quiet", "stop"


@dataclass(eq=False, kw_only=True)
class Monitor:
    """The monitor of one device.

    Attributes:
        layout: the state folder's names.
        clock: the clock port: the date of a summary, and how far it may be believed.
        device_id: whose reports they are.
        stopped: tells the supervisor that the use of every release was stopped.
        breakdowns: whether the site lets counts by group leave the device.
    """

    layout: Layout
    clock: Clock
    device_id: str
    stopped: Callable[[Journal], None]
    breakdowns: bool = True
    kept: MonitorKept | None = None
    _of: tuple[object, ...] = ()
    _seen: float = 0.0
    _saved: float = 0.0
    _changed: bool = False

    def look(self, journal: Journal, now: float) -> float:
        """Let time pass, end what is over, and record what follows; when to look at the latest.

        Args:
            journal: the open journal.
            now: seconds of a clock that never goes back.

        Raises:
            PrimumError: the disk did not take it; nothing is lost, and it is done at a later look.
        """
        self._record_pending(journal)
        self._follow(journal, journal.state(), now)
        kept = self.kept
        if kept is None:
            return now + _FAR
        passed, self._seen = max(0.0, now - self._seen), now
        kept.seconds += passed
        kept.day_seconds += passed
        self._changed = self._changed or passed > 0.0
        if kept.day_seconds >= DAY_SECONDS or kept.seconds >= kept.plan.window_hours * _HOUR:
            kept = self._end_what_is_over(journal, kept, now)
            self._record_pending(journal)
        if self._changed and now - self._saved >= SAVE_SECONDS:
            self.save(journal, now)
        return now + min(DAY_SECONDS - kept.day_seconds, SAVE_SECONDS)

    def take(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Count what an application hands over, or say why nothing of it is counted.

        Raises:
            UsageError: it is nothing that can be counted.
        """
        kept = self.kept
        handed = Handed.of(request)
        if kept is None:
            return {"ok": False, "reason": "usage", "message": "nothing is monitored now"}
        if not handed.is_of(kept.watched):
            # Of an episode that goes on with what was in use before: never mixed.
            return {
                "ok": False,
                "reason": "eligibility.superseded",
                "message": "another release or statement is monitored now",
            }
        counted = handed.count_in(kept.tally, kept.plan)
        self._changed = True
        return {"ok": True, "counted": counted}

    def save(self, journal: Journal, now: float) -> None:
        """Write the counters down.

        Raises:
            FailedError: the disk did not take them; the earlier ones stand.
        """
        if self.kept is not None and self._changed:
            journal.set_counters(monitor=self.kept.to_text())
        self._changed, self._saved = False, now

    # What is watched

    def _follow(self, journal: Journal, state: DeviceState, now: float) -> None:
        """Watch what is in use now; what was counted of another ends here."""
        used = None if state.stopped else state.in_use
        of = () if used is None else (used.number, used.release, used.statement)
        if of == self._of and of:
            return
        found = None if used is None else self._plan_of(used)
        text = journal.counter(KEPT, "")
        if found is None:
            self._end_watching(journal, text)
        else:
            watched, plan = found
            kept = MonitorKept.from_text(text, watched=watched, plan=plan)
            if kept is None:
                self._forget_alarms(journal)
                window, cut_short = next_window(text)
                kept = MonitorKept(watched=watched, plan=plan, window=window, cut_short=cut_short)
                journal.set_counters(monitor=kept.to_text())
            self.kept = kept
        self._of, self._seen, self._saved, self._changed = of, now, now, False

    def _end_watching(self, journal: Journal, text: str) -> None:
        """Nothing is in use, or nothing is signed to be counted: counters end, numbers go on."""
        self.kept = None
        if not is_ended(text):
            self._forget_alarms(journal)
            journal.set_counters(monitor=ended_after(text))

    def _plan_of(self, used: Generation) -> tuple[Watched, MonitorPlan] | None:
        """The signed specification of what is in use; None where it carries none."""
        store = FolderStore(self.layout)
        items = store.items_of(used.number)
        item = next((one for one in items if one.kind == SPECIFICATION), None)
        if item is None:
            return None
        try:
            data = (store.folder_of(used.number) / item.path).read_bytes()
            plan = read_plan(data)
        except (OSError, ValueError) as error:
            LOG.warning("the monitoring specification cannot be used: %s", error)
            return None
        if sha256(data).hexdigest() != item.sha256:
            LOG.warning("the monitoring specification is not the signed one; nothing is counted")
            return None
        watched = Watched(used.release, used.statement, used.statement_number, item.sha256)
        return watched, plan

    # Days and windows

    def _end_what_is_over(self, journal: Journal, kept: MonitorKept, now: float) -> MonitorKept:
        """Conclude, and begin anew; taken only once all of it is on the disk."""
        after, found, summary = kept.copy(), [], None
        if after.day_seconds >= DAY_SECONDS:
            found += [
                self._told(after, one, after.day) for one in after.memory.end_day(after.tally)
            ]
            after.tally.begin_day()
            after.day, after.day_seconds = after.day + 1, 0.0
        if after.seconds >= after.plan.window_hours * _HOUR:
            ended = after.memory.end_window(after.tally)
            found += [self._told(after, one, after.window) for one in ended]
            summary = self._summary(after)
            after.tally.begin_window()
            after.window, after.seconds, after.cut_short = after.window + 1, 0.0, 0
        with journal.deciding():
            if summary is not None:
                journal.keep_telemetry(kind=MONITOR.kind, line=summary)
            pending = [*_list_of(journal.counter(PENDING, "")), *found]
            journal.set_counters(monitor=after.to_text(), monitor_pending=json.dumps(pending))
        self.kept, self._changed, self._saved = after, False, now
        return after

    @staticmethod
    def _told(kept: MonitorKept, found: Found, number: int) -> dict[str, Any]:
        alarm = found.alarm
        return {
            "what": _ALARMED if found.passed else _QUIET,
            "release": kept.watched.release,
            "monitor": {
                "monitoringSpecification": kept.watched.specification,
                "release": kept.watched.release,
                "statement": kept.watched.statement,
                "statementNumber": kept.watched.statement_number,
                "channel": found.channel.id,
                "alarm": alarm.id,
                "action": str(alarm.action),
                "ratio": found.ratio,
                "number": number,
                **({"hazardRef": alarm.hazard} if alarm.hazard else {}),
            },
        }

    def _summary(self, kept: MonitorKept) -> bytes:
        """One window as it leaves the device; breakdowns where site and size allow."""
        line = self._line(kept, groups=self.breakdowns)
        return line if len(line) <= MONITOR.max_bytes else self._line(kept, groups=False)

    def _line(self, kept: MonitorKept, *, groups: bool) -> bytes:
        content = {
            "specversion": "1.0",
            "id": f"urn:uuid:{fresh_id()}",
            "source": f"urn:primum:device:{self.device_id}",
            "type": MONITOR_TYPE,
            # The day and no more: an hour would tell when somebody wears it.
            "time": plain_time(_day_of(self.clock.now())),
            "datacontenttype": "application/json",
            "data": {
                "release": kept.watched.release,
                "statement": kept.watched.statement,
                "statementNumber": kept.watched.statement_number,
                "monitoringSpecification": kept.watched.specification,
                "agentVersion": AGENT_VERSION,
                "clock": {"quality": str(self.clock.quality())},
                "window": kept.window,
                "windowHours": kept.plan.window_hours,
                "minimumCellCount": kept.plan.least_cell,
                "cutShort": kept.cut_short,
                "dropped": kept.tally.dropped,
                "alarms": sorted(kept.memory.passed),
                "channels": told_channels(kept.plan, kept.tally, groups=groups),
            },
        }
        return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()

    # What follows

    def _record_pending(self, journal: Journal) -> None:
        """Record what was concluded, one after the other; each is taken off with its event.

        Stops come last: while one waits nothing is stopped, so that all before it is recorded.
        """
        pending = _list_of(journal.counter(PENDING, ""))
        while pending:
            first, *pending = pending
            used = journal.state().in_use
            about = used if used is not None and used.release == first["release"] else None
            with journal.deciding():
                if first["what"] != _STOP:
                    pending += self._record(journal, first, is_in_use=about is not None)
                elif about is not None:
                    # Only what was counted is stopped: another release may have come meanwhile.
                    stop(journal, about, clock=self.clock, why=first["why"], by="the monitor")
                journal.set_counters(monitor_pending=json.dumps(pending))
            if journal.state().stopped:
                self.stopped(journal)

    @staticmethod
    def _record(
        journal: Journal, first: Mapping[str, Any], *, is_in_use: bool
    ) -> list[dict[str, Any]]:
        """Record one finding; what follows from it."""
        told, passed = first["monitor"], first["what"] == _ALARMED
        action = MonitorAction(told["action"])
        text = f"{told['channel']}: {told['ratio']:g} times its limit ({told['alarm']})"
        journal.record(
            Entry(
                kind=EventKind.MONITOR_ALARMED if passed else EventKind.MONITOR_QUIET,
                result="done",
                monitor=told,
            )
        )
        topic = f"{_TOPIC}{told['alarm']}"
        if not passed:
            journal.clear_problem(topic)
        elif is_in_use and action is not MonitorAction.LOG:
            journal.note_problem(topic=topic, what=f"drift of {told['channel']}", text=text)
        if not passed or not action.reduces_function:
            return []
        why = f"{text}, hazard {told['hazardRef']}"[:MAX_WHY]
        return [{"what": _STOP, "release": first["release"], "why": why}]

    @staticmethod
    def _forget_alarms(journal: Journal) -> None:
        """What lasted of a release that is no longer watched does not last any more."""
        for problem in journal.problems():
            if problem.topic.startswith(_TOPIC):
                journal.clear_problem(problem.topic)


def _list_of(text: str) -> list[dict[str, Any]]:
    return list(json.loads(text or "[]"))


def _day_of(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)
