"""What the application and the commands may ask of the supervisor over its socket.

A request carries no authority: no address, no path, no version.  It can prove health, declare
clinical use, have the use of a release stopped, ask what is, and ask for a poll now.  It can pass
on a person's answer to the one question that stands, about the release that the question names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from primum_agent.clock import Clock
from primum_agent.commands.shared import person_named
from primum_agent.consenting import agree, asked_about, defer, told_question
from primum_agent.desk import Visitor
from primum_agent.gate_memory import gates_of, told_gates
from primum_agent.health import summary_of
from primum_agent.health_proof import say_healthy
from primum_agent.journal import Journal
from primum_agent.lifecycle import State, UnlistedStimulusError
from primum_agent.stopping import one_line, stop
from primum_agent.transitions import OPENED, unhealthy
from primum_verifier.core.errors import PrimumError
from primum_verifier.core.reasons import Reason

MAX_EPISODES = 64
"""Open episodes of one connection; more is a fault of the application."""

_WHY_BYTES = 500


def _text(request: dict[str, Any], name: str, without: str = "") -> str:
    found = request.get(name, without)
    return found if isinstance(found, str) else ""


def _no(reason: Reason, message: str) -> dict[str, Any]:
    return {"ok": False, "reason": str(reason), "message": message}


@dataclass
class Requests:
    """The answers.

    Attributes:
        journal: gives the open journal, or None while there is none.
        clock: the clock port.
        poll_now: asks the supervisor to poll.
        status: what ``status`` adds to the present state.
        changed: tells the supervisor that the state changed.
        stopped: tells the supervisor that the use of every release was stopped.
        reach: asks the supervisor to reach the authorities, so that health can be proven.
        may_use: answers for one episode.
        observe: counts what an application hands to the monitor.
        needs_repositories: whether health is proven only once both authorities were reached.
    """

    journal: Callable[[], Journal | None]
    clock: Clock
    poll_now: Callable[[], None]
    status: Callable[[], dict[str, Any]]
    changed: Callable[[], None]
    stopped: Callable[[Journal], None]
    reach: Callable[[], None]
    may_use: Callable[[dict[str, Any]], dict[str, Any]]
    observe: Callable[[dict[str, Any]], dict[str, Any]]
    needs_repositories: bool = False

    def answer(self, visitor: Visitor, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one request; an error of the disk is an answer too."""
        does = {
            "activated": self._activated,
            "healthy": self._healthy,
            "unhealthy": self._unhealthy,
            "safe-mode": self._safe_mode,
            "may-use": lambda _, asked: self.may_use(asked),
            "observe": lambda _, asked: self.observe(asked),
            "episode-begin": self._episode_begin,
            "episode-end": self._episode_end,
            "status": self._status,
            "poll": self._poll,
            "consent": self._consent,
            "agree": self._agree,
            "defer": self._defer,
        }
        handler = does.get(str(request.get("do")))
        if handler is None:
            return _no(Reason.USAGE, f"unknown request; known are {', '.join(does)}")
        try:
            return handler(visitor, request)
        except PrimumError as error:
            return {"ok": False, **error.as_dict()}
        except UnlistedStimulusError:
            # An attempt changed the state between the look and the step; nothing was recorded.
            return _no(Reason.STATE_BUSY, "the state changed meanwhile; look again")

    def _activated(self, _: Visitor, request: dict[str, Any]) -> dict[str, Any]:
        """The application opened a generation: from now on it is the one to prove its health."""
        return self._about_active(request)

    def _about_active(self, request: dict[str, Any]) -> dict[str, Any]:
        journal = self.journal()
        if journal is None:
            return _no(Reason.STATE_READ_ONLY, "the journal cannot be written")
        state = journal.state()
        used = state.in_use
        if used is None or request.get("generation") != used.number:
            active = "none" if used is None else str(used.number)
            return _no(Reason.USAGE, f"the active generation is {active}")
        number = str(used.number)
        if state.lifecycle is State.PROVISIONAL and journal.counter(OPENED, "") != number:
            # From here on a window without proven health is counted against the release.
            journal.set_counters(opened_generation=number)
        return {"ok": True, "generation": used.number, "proven": used.proven}

    def _healthy(self, _: Visitor, request: dict[str, Any]) -> dict[str, Any]:
        answer = self._about_active(request)
        journal = self.journal()
        if not answer["ok"] or journal is None:
            return answer
        state = journal.state()
        if state.lifecycle is State.PROVISIONAL and state.in_use is not None:
            answer["proven"] = say_healthy(
                journal, state.in_use, needs_repositories=self.needs_repositories
            )
            if answer["proven"]:
                self.changed()
            else:
                answer["waits"] = "until both authorities are reached with it"
                self.reach()
        return answer

    def _unhealthy(self, _: Visitor, request: dict[str, Any]) -> dict[str, Any]:
        """The application itself says that it cannot work with the provisional release."""
        answer = self._about_active(request)
        journal = self.journal()
        if not answer["ok"] or journal is None:
            return answer
        state = journal.state()
        if state.lifecycle is not State.PROVISIONAL or state.in_use is None:
            return _no(Reason.USAGE, "only a provisional release can be called unhealthy")
        why = str(request.get("why", "the application says so"))[:_WHY_BYTES]
        journal.record(unhealthy(state.in_use, why=why))
        self.changed()
        return answer

    def _safe_mode(self, _: Visitor, request: dict[str, Any]) -> dict[str, Any]:
        """The application, or a person at it, wants no release used any more."""
        journal = self.journal()
        why = one_line(_text(request, "why"), where="why")
        by = person_named(_text(request, "by", "the application"), where="by")
        answer = self._about_active(request)
        if not answer["ok"] or journal is None:
            return answer
        used = journal.state().in_use
        if used is not None:
            stop(journal, used, clock=self.clock, why=why, by=by)
        self.stopped(journal)
        return {"ok": True, "stopped": journal.state().stopped}

    def _episode_begin(self, visitor: Visitor, _: dict[str, Any]) -> dict[str, Any]:
        if visitor.episodes >= MAX_EPISODES:
            return _no(Reason.USAGE, "too many open episodes on one connection")
        visitor.episodes += 1
        return {"ok": True, "episodes": visitor.episodes}

    def _episode_end(self, visitor: Visitor, _: dict[str, Any]) -> dict[str, Any]:
        if visitor.episodes == 0:
            return _no(Reason.USAGE, "no episode was begun on this connection")
        visitor.episodes -= 1
        self.changed()
        return {"ok": True, "episodes": visitor.episodes}

    def _status(self, _: Visitor, __: dict[str, Any]) -> dict[str, Any]:
        journal = self.journal()
        if journal is None:
            return {"ok": True, **self.status()}
        gates = {**told_gates(gates_of(journal)), "question": told_question(journal)}
        return {"ok": True, **summary_of(journal.state()), **gates, **self.status()}

    def _consent(self, _: Visitor, __: dict[str, Any]) -> dict[str, Any]:
        """The question that stands, for the application to show."""
        journal = self.journal()
        return {"ok": True, "question": None if journal is None else told_question(journal)}

    def _agree(self, _: Visitor, request: dict[str, Any]) -> dict[str, Any]:
        """A person agreed at the application."""
        journal = self.journal()
        if journal is None:
            return _no(Reason.STATE_READ_ONLY, "the journal cannot be written")
        by = person_named(str(request.get("by", "")), where="by")
        question = asked_about(journal, str(request.get("release")))
        agree(journal, release=question.release, name=question.name, by=by, using="application")
        self.poll_now()
        return {"ok": True, "question": told_question(journal)}

    def _defer(self, _: Visitor, request: dict[str, Any]) -> dict[str, Any]:
        """A person said "later" at the application."""
        journal = self.journal()
        if journal is None:
            return _no(Reason.STATE_READ_ONLY, "the journal cannot be written")
        by = person_named(str(request.get("by", "")), where="by")
        defer(journal, release=str(request.get("release")), by=by, using="application")
        return {"ok": True, "question": told_question(journal)}

    def _poll(self, _: Visitor, __: dict[str, Any]) -> dict[str, Any]:
        self.poll_now()
        return {"ok": True}
