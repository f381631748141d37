"""What a device had in use after each event, told by its own events in their order.

Each event names the release and the statement that are in use after it.  A device records its
intent before it switches and the switch after it: between the two, what may have served is more
than one thing, and that is what is said.  Events of a newer agent are read as far as they are
understood; a state that this build does not know is told as that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from primum_verifier.record.words import EventKind, LifecycleState

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHORT = 200


class Change(StrEnum):
    """What was being done with what is in use."""

    NONE = "none"
    SWITCHING = "switching"
    """To another release: before the switch or after it."""

    LEAVING = "leaving"
    """What was in use is taken away: the application is told at once, and goes back if it can."""

    REMOVING = "removing"
    """What is on the device is being removed."""

    NOT_UNDERSTOOD = "not-understood"
    """In a state, or in a form, that this build does not know."""


@dataclass(frozen=True)
class Release:
    """A release in use, and the statement under which it was.

    Attributes:
        digest: SHA-256 of its manifest.
        statement: SHA-256 of the eligibility statement.
        statement_number: that statement's number.
        name: component and version; empty where no event here tells them.
        mode: ``clinical`` or ``investigational``; empty where no event here tells it.
    """

    digest: str
    statement: str
    statement_number: int
    name: str = ""
    mode: str = ""


@dataclass(frozen=True)
class SelfTest:
    """The device's last self-test of a release that an event tells of.

    Attributes:
        event: the number of that event.
        result: ``passed`` or ``failed``.
        statement: SHA-256 of the signed statement; empty where there is none.
        why_none: why the device could not state it.
    """

    event: int
    result: str
    statement: str = ""
    why_none: str = ""


@dataclass(frozen=True)
class Situation:
    """What is in use after an event.

    Attributes:
        release: the release in use; None: no release was allowed to run (safe mode).
        change: what was being done with it.
        target: the release that was being switched to.
        self_test: the newest self-test of the release in use.
        why: reason codes of the event that left no release in use, and its words for it.
    """

    release: Release | None
    change: Change = Change.NONE
    target: Release | None = None
    self_test: SelfTest | None = None
    why: tuple[str, ...] = ()


_CHANGES = {
    LifecycleState.ACTIVATING: Change.SWITCHING,
    LifecycleState.ROLLING_BACK: Change.LEAVING,
}
_REMOVALS = {EventKind.RESET_BEGUN, EventKind.DECOMMISSION_BEGUN}
_TESTS = {
    EventKind.SELFTEST_PASSED: "passed",
    EventKind.SELFTEST_FAILED: "failed",
    EventKind.ACTIVE_TEST_PASSED: "passed",
    EventKind.ACTIVE_TEST_FAILED: "failed",
}
_STATES = frozenset(LifecycleState)


@dataclass
class Telling:
    """Follows the events of one device; call :meth:`after` for each in the order of its number."""

    _stopped: bool = False
    _why: tuple[str, ...] = ()
    _target: int | None = None
    _removing: bool = False
    _generations: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    _by_release: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _self_tests: dict[str, SelfTest] = field(default_factory=dict)
    _tested_before: dict[str, SelfTest] = field(default_factory=dict)

    def interrupted(self) -> None:
        """Events are missing here: what was going on is not known any more."""
        self._stopped = self._removing = False
        self._why, self._target = (), None

    def after(self, line: bytes, *, number: int) -> Situation:
        """What is in use after an event.

        Args:
            line: its exact bytes; that they are JSON with ``data`` was looked at before.
            number: its place in the chain.
        """
        content = json.loads(line)
        data = _object(content["data"])
        change = _object(data.get("change"))
        self._fold(change)
        kind = _text(content.get("type"))
        if kind in _REMOVALS:
            self._removing = True
        elif kind == EventKind.RESET_DONE:
            self._removing = False
        active = data.get("activeManifest")
        eligibility = _object(data.get("eligibility"))
        if active is None:
            release = None
            if change.get("active", 0) is None:
                self._why = _why(data)
        elif _is_digest(active) and _is_digest(eligibility.get("digest")):
            release = self._release(active, eligibility["digest"], eligibility.get("number"))
            self._why = ()
        else:
            return Situation(None, Change.NOT_UNDERSTOOD)
        self._note_test(content, data, number=number)
        return self._situation(release, data.get("state"))

    def from_checkpoint(self, state: str) -> Situation:
        """What is in use after the events that a checkpoint stands for.

        Args:
            state: their sum, as the device stores it; that it is an object was looked at before.
        """
        self.interrupted()
        content = json.loads(state)
        for item in _list(content.get("generations")):
            self._note_generation(_object(item))
        self._fold({"stopped": content.get("stopped"), "target": content.get("target")})
        active = self._generations.get(_number(content.get("active")))
        release = None if active is None else self._of_generation(active)
        if release is None and content.get("active") is not None:
            return Situation(None, Change.NOT_UNDERSTOOD)
        return self._situation(release, content.get("lifecycle"))

    # Inside

    def _situation(self, release: Release | None, state: object) -> Situation:
        if not isinstance(state, str) or state not in _STATES:
            return Situation(release, Change.NOT_UNDERSTOOD)
        change = _CHANGES.get(LifecycleState(state), Change.NONE)
        if change is Change.NONE and release is not None:
            change = Change.LEAVING if self._stopped else change
            change = Change.REMOVING if self._removing else change
        target = None
        if change is Change.SWITCHING:
            made = self._generations.get(self._target or 0)
            target = None if made is None else self._of_generation(made)
        return Situation(
            release,
            change,
            target,
            None if release is None else self._self_tests.get(release.digest),
            () if release is not None else self._why,
        )

    def _fold(self, change: Mapping[str, Any]) -> None:
        self._note_generation(_object(change.get("generation")))
        if "target" in change:
            self._target = _number(change["target"]) or None
        if "stopped" in change:
            self._stopped = bool(change["stopped"])

    def _note_generation(self, made: Mapping[str, Any]) -> None:
        if _is_digest(made.get("release")) and _number(made.get("number")):
            self._generations[made["number"]] = made
            self._by_release[made["release"]] = made

    def _of_generation(self, made: Mapping[str, Any]) -> Release | None:
        statement = made.get("statement")
        if not _is_digest(statement):
            return None
        return self._release(made["release"], str(statement), made.get("statement_number"))

    def _release(self, digest: str, statement: str, number: object) -> Release:
        told = self._by_release.get(digest, {})
        named = [_text(told.get(name)) for name in ("component", "version")]
        same = told.get("statement") == statement
        # An agent of an earlier version said no mode: it knew one alone.
        mode = _text(told.get("mode", "clinical")) if same else ""
        return Release(digest, statement, _number(number), " ".join(filter(None, named)), mode)

    def _note_test(
        self, content: Mapping[str, Any], data: Mapping[str, Any], *, number: int
    ) -> None:
        """The self-test that an event tells of, before an update, on a way back, or in use."""
        detail = _object(data.get("detail"))
        kind = _text(content.get("type"))
        result = _TESTS.get(EventKind(kind)) if kind in frozenset(EventKind) else None
        active = data.get("activeManifest")
        if result is not None:
            if kind in {EventKind.SELFTEST_PASSED, EventKind.SELFTEST_FAILED}:
                candidate = _object(_object(data.get("change")).get("candidate"))
                tested = candidate.get("release")
            else:
                tested = active
            if _is_digest(tested):
                self._self_tests[str(tested)] = _self_test(detail, result, number)
        elif kind == EventKind.UPDATE_ROLLING_BACK and _object(detail.get("statement")):
            # Ordered by a person: what is gone back to was tested before the order was taken.
            self._tested_before[_text(detail.get("to"))] = _self_test(detail, "passed", number)
        elif kind == EventKind.UPDATE_ROLLED_BACK and _is_digest(active):
            name = _text(content.get("subject"))
            told = _object(_object(detail.get("selfTests")).get(name))
            test = _self_test(told, "passed", number) if told else self._tested_before.get(name)
            if test is not None:
                self._self_tests[str(active)] = test


def _self_test(detail: Mapping[str, Any], result: str, number: int) -> SelfTest:
    told = _object(detail.get("statement"))
    digest = told.get("sha256")
    return SelfTest(
        number, result, str(digest) if _is_digest(digest) else "", _text(told.get("missing"))
    )


def _why(data: Mapping[str, Any]) -> tuple[str, ...]:
    reasons = [_text(item) for item in _list(data.get("reasons"))]
    words = _text(_object(data.get("detail")).get("why"))
    return tuple(filter(None, [*reasons[:20], words]))


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value[:_SHORT] if isinstance(value, str) else ""


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None
