"""The confined runner as a service: ``run/runner.sock``, one JSON object a line in, one a line out.

=============================  ===============================================================
``{"do": "open"}``             opens what is active now for this session, and says what it is:
                               ``stamp``, ``interface``, ``operatingPoint``, ``notice``
``{"do": "compute",            one case: the bytes of each input, little-endian, in base64; the
"inputs": {name: base64}}``    answer has ``outputs``, ``decision`` and ``stamp``; ``cohorts``
                               may name the group of a signed cohort key
``{"do": "observe",            one case that the application itself computed with the active
"release": …, "inputs": …,     ``release`` (SHA-256 of its manifest, out of the stamp), for what
"outputs": …}``                runs in shadow; ``cohorts`` as above; nothing is computed
=============================  ===============================================================

A session keeps the release that it opened, so that an episode is never served by two; once the
device is in safe mode no session computes any more.  Whether an episode may begin is asked of the
agent as always: the runner computes, it permits nothing.

Where a release may run in shadow, a copy of each input that was answered is offered to a process
of its own; no answer waits for it, and nothing of it is ever answered.  Scores and times go to the
monitor where its signed specification counts them.
"""

from __future__ import annotations

import base64
import json
import selectors
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from primum_agent.application import (
    ActiveRelease,
    SafeMode,
    StandingError,
    open_active,
    standing_now,
)
from primum_agent.bell import Bell
from primum_agent.deciding import Decision, decision_of
from primum_agent.desk import Desk, Visitor
from primum_agent.durable import make_folder
from primum_agent.layout import Layout
from primum_agent.locking import held
from primum_agent.runner_monitors import FLUSH_SECONDS, RunnerMonitors
from primum_agent.runner_questions import (
    check_case,
    cohorts_of,
    specification_of,
    tensors_of,
)
from primum_agent.shadow_feed import WATCH_SECONDS, ShadowFeed
from primum_verifier.core.errors import (
    EXIT_DONE,
    FailedError,
    PrimumError,
    RefusedError,
    UsageError,
)
from primum_verifier.core.limits import MIB
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.confinement import Confinement
from primum_verifier.proof.selftest_spec import SelfTestSpec
from primum_verifier.shell.onnx_screen import screen_model
from primum_verifier.shell.runner import ConfinedModel

MAX_LINE = 32 * MIB
"""Bytes in one question: all inputs of one case, in base64."""

_LOOK_SECONDS = FLUSH_SECONDS
_FOLDERS = "runner-"


@dataclass(eq=False)
class _Served:
    """One release that sessions have open, and the confined model that computes for them."""

    release: ActiveRelease
    spec: SelfTestSpec
    model: ConfinedModel


@dataclass(eq=False, kw_only=True)
class RunnerService:
    """The service of one device; everything is done in the thread that runs it.

    Attributes:
        layout: the state folder's names.
        answer_seconds: within which one case is computed.
        required: confinements without which no model is loaded.
    """

    layout: Layout
    answer_seconds: float
    required: frozenset[Confinement]
    _scratch: Path = field(default=Path(), init=False)
    _sessions: dict[Visitor, _Served] = field(default_factory=dict, init=False)
    _feed: ShadowFeed | None = field(default=None, init=False)
    _observed: tuple[str, SelfTestSpec] | None = field(default=None, init=False)
    _monitors: RunnerMonitors = field(default_factory=RunnerMonitors, init=False)

    @property
    def path(self) -> Path:
        """Where the socket stands."""
        return self.layout.run / "runner.sock"

    def run(self) -> int:
        """Serve until told to stop; the exit code.

        Raises:
            BusyError: another runner serves this state folder.
            FailedError: the run folder cannot be written.
        """
        make_folder(self.layout.run)
        remedy = f"Use that one: {self.path}."
        with held(self.layout.runner_lock, what="Another runner already serves", remedy=remedy):
            # What runners left that were killed; only one runs, so all of it is theirs.
            for left in self.layout.run.glob(f"{_FOLDERS}*"):
                shutil.rmtree(left, ignore_errors=True)
            self._serve()
        return EXIT_DONE

    def _serve(self) -> None:
        bell = Bell()
        with (
            tempfile.TemporaryDirectory(prefix=_FOLDERS, dir=self.layout.run) as folder,
            selectors.DefaultSelector() as selector,
            bell.listening(selector),
        ):
            self._scratch = Path(folder)
            desk = Desk(path=self.path, selector=selector, answer=self.answer, max_line=MAX_LINE)
            feed = self._feed = ShadowFeed(
                layout=self.layout,
                selector=selector,
                scratch=self._scratch,
                answer_seconds=self.answer_seconds,
                required=self.required,
            )
            desk.open()
            try:
                while not bell.told_to_stop:
                    wait = WATCH_SECONDS if feed.runs else _LOOK_SECONDS
                    for key, _ in selector.select(timeout=wait):
                        if key.data is None:
                            bell.hear()
                        elif key.data is not feed:
                            desk.handle(key.data)
                    self._forget_those_who_left()
                    # Only now: every question that was there is answered.
                    feed.tend()
                    self._monitors.tend(time.monotonic())
            finally:
                desk.close()
                self._forget_those_who_left()
                feed.stop()
                self._monitors.close()

    def answer(self, visitor: Visitor, request: dict[str, Any]) -> dict[str, Any]:
        """What one request is answered with."""
        try:
            match request:
                case {"do": "open", **more} if not more:
                    return self._open(visitor)
                case {"do": "compute", "inputs": dict() as inputs, **more} if not more:
                    return self._compute(visitor, inputs, {})
                case {
                    "do": "compute",
                    "inputs": dict() as inputs,
                    "cohorts": dict() as cohorts,
                    **more,
                } if not more:
                    return self._compute(visitor, inputs, cohorts_of(cohorts))
                case {
                    "do": "observe",
                    "release": str() as release,
                    "inputs": dict() as inputs,
                    "outputs": dict() as outputs,
                    **more,
                } if more.keys() <= {"cohorts"} and isinstance(more.get("cohorts", {}), dict):
                    return self._observe(release, inputs, outputs, more.get("cohorts", {}))
            raise UsageError(
                "The request is not one that the runner knows.",
                reason=Reason.USAGE,
                found=json.dumps(request)[:80],
                expected="do: open, compute (inputs), or observe (release, inputs, outputs)",
            )
        except PrimumError as error:
            return {"ok": False, **error.as_dict()}

    def _open(self, visitor: Visitor) -> dict[str, Any]:
        release = self._active()
        served = self._served(release)
        serving = served.model.start()
        self._sessions[visitor] = served
        return {
            "ok": True,
            "stamp": release.stamp(),
            "notice": release.notice,
            "interface": served.spec.interface.model_dump(mode="json", by_alias=True),
            "operatingPoint": {"output": release.output, "threshold": release.threshold_text},
            "confinements": list(serving.confinements),
            "runtime": dict(serving.runtime),
        }

    def _active(self) -> ActiveRelease:
        """What is active now.

        Raises:
            FailedError: it cannot be opened.
            RefusedError: safe mode.
        """
        try:
            release = open_active(self.layout.root)
        except StandingError as error:
            raise FailedError(
                "What is active cannot be opened.",
                reason=Reason(error.reason),
                found=str(error),
                expected="what the agent activated",
                remedy="Treat it as safe mode; `primum-agent status` says more.",
            ) from error
        if isinstance(release, SafeMode):
            raise RefusedError(
                release.notice,
                reason=Reason.FALLBACK_NONE,
                found=", ".join(release.reasons),
                expected="an active release",
            )
        return release

    def _compute(
        self, visitor: Visitor, inputs: dict[str, Any], cohorts: dict[str, str]
    ) -> dict[str, Any]:
        served = self._sessions.get(visitor)
        if served is None:
            raise UsageError(
                "The session has opened no release.",
                reason=Reason.USAGE,
                expected='{"do": "open"} first',
            )
        if standing_now(self.layout.root)["mode"] == "safe":
            raise RefusedError(
                "No release may be used any more.",
                reason=Reason.FALLBACK_NONE,
                found="safe mode",
                expected="a release in use",
                remedy="End the episode; the notice of the standing says what the user is told.",
            )
        given = tensors_of(inputs, where="inputs")
        began = time.monotonic()
        found = served.model.compute(given, seconds=self.answer_seconds)
        took_ms = (time.monotonic() - began) * 1000.0
        decision = _decision(served.release, served.spec, found)
        self._monitors.note(served.release, decision, took_ms=took_ms, cohorts=cohorts)
        self._offer(served.release, inputs=given, decision=decision, cohorts=cohorts)
        return {
            "ok": True,
            "outputs": {name: base64.b64encode(data).decode() for name, data in found.items()},
            "decision": None if decision is None else decision.word,
            "stamp": served.release.stamp(),
        }

    def _observe(
        self,
        release: str,
        inputs: dict[str, Any],
        outputs: dict[str, Any],
        cohorts: dict[str, Any],
    ) -> dict[str, Any]:
        """A case that the application computed and decided by itself is for the shadow alone."""
        active = self._active()
        if active.release != release:
            raise UsageError(
                "Another release is active.",
                reason=Reason.USAGE,
                where="release",
                found=release[:80],
                expected=active.release,
                remedy="Open the active release again; hand over what it computes.",
            )
        if self._observed is None or self._observed[0] != release:
            self._observed = (release, specification_of(active))
        spec = self._observed[1]
        given, found = tensors_of(inputs, where="inputs"), tensors_of(outputs, where="outputs")
        check_case(given, spec.interface.inputs, where="inputs")
        check_case(found, spec.interface.outputs, where="outputs")
        decision = _decision(active, spec, found)
        self._offer(active, inputs=given, decision=decision, cohorts=cohorts_of(cohorts))
        return {"ok": True, "decision": None if decision is None else decision.word}

    def _offer(
        self,
        release: ActiveRelease,
        *,
        inputs: dict[str, bytes],
        decision: Decision | None,
        cohorts: dict[str, str],
    ) -> None:
        if self._feed is not None:
            self._feed.offer(
                release=release.release, inputs=inputs, decision=decision, cohorts=cohorts
            )

    def _served(self, release: ActiveRelease) -> _Served:
        """The release with its confined model; one for all sessions of a generation."""
        for served in self._sessions.values():
            if served.release.generation == release.generation:
                return _Served(release, served.spec, served.model)
        spec = specification_of(release)
        screen_model(release.model, spec=spec)
        model = ConfinedModel(
            model=release.model,
            interface=spec.interface,
            memory_mib=spec.memory_limit_mib,
            scratch=self._scratch,
            required=self.required,
        )
        return _Served(release, spec, model)

    def _forget_those_who_left(self) -> None:
        """End the models that no session has open any more."""
        gone = [visitor for visitor in self._sessions if visitor.gone]
        left = [self._sessions.pop(visitor) for visitor in gone]
        used = {id(served.model) for served in self._sessions.values()}
        for served in left:
            if id(served.model) not in used:
                served.model.close()


def _decision(
    release: ActiveRelease, spec: SelfTestSpec, found: dict[str, bytes]
) -> Decision | None:
    """The decision at the operating point in force; None where the release decides nothing."""
    return decision_of(spec, found, output=release.output, threshold=release.threshold_text)
