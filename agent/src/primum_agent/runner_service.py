"""The confined runner as a service: ``run/runner.sock``, one JSON object a line in, one a line out.

=============================  ===============================================================
``{"do": "open"}``             opens what is active now for this session, and says what it is:
                               ``stamp``, ``interface``, ``operatingPoint``, ``notice``
``{"do": "compute",            one case: the bytes of each input, little-endian, in base64; the
"inputs": {name: base64}}``    answer has ``outputs``, ``decision`` and ``stamp``; ``cohorts``
                               may name the group of a signed cohort key
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
import binascii
import json
import selectors
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
from primum_agent.runner_monitors import FLUSH_SECONDS, RunnerMonitors
from primum_agent.shadow_feed import WATCH_SECONDS, ShadowFeed
from primum_verifier.core.document import parse_document, sha256_hex
from primum_verifier.core.errors import (
    EXIT_DONE,
    FailedError,
    PrimumError,
    RefusedError,
    UsageError,
)
from primum_verifier.core.limits import MIB
from primum_verifier.core.manifest import ReleaseManifest
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.confinement import Confinement
from primum_verifier.proof.selftest_spec import SelfTestSpec
from primum_verifier.shell.onnx_screen import screen_model
from primum_verifier.shell.runner import ConfinedModel

MAX_LINE = 32 * MIB
"""Bytes in one question: all inputs of one case, in base64."""

_LOOK_SECONDS = FLUSH_SECONDS
_MAX_COHORTS = 8
_MAX_COHORT_NAME = 80


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
    _monitors: RunnerMonitors = field(default_factory=RunnerMonitors, init=False)

    @property
    def path(self) -> Path:
        """Where the socket stands."""
        return self.layout.run / "runner.sock"

    def run(self) -> int:
        """Serve until told to stop; the exit code.

        Raises:
            FailedError: the run folder cannot be written.
        """
        make_folder(self.layout.run)
        bell = Bell()
        with (
            tempfile.TemporaryDirectory(prefix="runner-", dir=self.layout.run) as folder,
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
        return EXIT_DONE

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
                    return self._compute(visitor, inputs, _cohorts_of(cohorts))
            raise UsageError(
                "The request is not one that the runner knows.",
                reason=Reason.USAGE,
                found=json.dumps(request)[:80],
                expected="do: open, or do: compute with inputs",
            )
        except PrimumError as error:
            return {"ok": False, **error.as_dict()}

    def _open(self, visitor: Visitor) -> dict[str, Any]:
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
        given = {name: _bytes_of(name, value) for name, value in inputs.items()}
        began = time.monotonic()
        found = served.model.compute(given, seconds=self.answer_seconds)
        took_ms = (time.monotonic() - began) * 1000.0
        decision = _decision(served, found)
        self._monitors.note(served.release, decision, took_ms=took_ms, cohorts=cohorts)
        if self._feed is not None:
            self._feed.offer(
                release=served.release.release,
                inputs=given,
                decision=decision,
                cohorts=cohorts,
            )
        return {
            "ok": True,
            "outputs": {name: base64.b64encode(data).decode() for name, data in found.items()},
            "decision": None if decision is None else decision.word,
            "stamp": served.release.stamp(),
        }

    def _served(self, release: ActiveRelease) -> _Served:
        """The release with its confined model; one for all sessions of a generation."""
        for served in self._sessions.values():
            if served.release.generation == release.generation:
                return _Served(release, served.spec, served.model)
        spec = _specification_of(release)
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


def _specification_of(release: ActiveRelease) -> SelfTestSpec:
    """The signed self-test specification of a release, out of its generation.

    Raises:
        FailedError: ``state.damaged``: manifest or specification are not those that were signed.
    """
    try:
        data = (release.folder / "manifest.json").read_bytes()
        manifest = parse_document(ReleaseManifest, data, where="manifest.json")
        item = manifest.item(manifest.self_test.specification)
        spec = (release.folder / item.path).read_bytes()
    except OSError as error:
        raise _damaged(release, error.strerror or str(error)) from error
    if sha256_hex(data) != release.release or sha256_hex(spec) != item.digest.sha256:
        raise _damaged(release, "other bytes than those that were signed")
    return parse_document(SelfTestSpec, spec, where=item.path)


def _damaged(release: ActiveRelease, found: str) -> FailedError:
    return FailedError(
        "The active release is damaged.",
        reason=Reason.STATE_DAMAGED,
        where=str(release.folder),
        found=found,
        expected="the files that were activated",
        remedy="The agent acts on it at its next look; treat it as safe mode until then.",
    )


def _decision(served: _Served, found: dict[str, bytes]) -> Decision | None:
    """The decision at the operating point in force; None where the release decides nothing."""
    release = served.release
    return decision_of(served.spec, found, output=release.output, threshold=release.threshold_text)


def _cohorts_of(found: dict[str, Any]) -> dict[str, str]:
    """The groups that an application names, by their keys.

    Which of them are signed is not asked here: that decides nothing about an answer.
    """
    texts = [*found, *found.values()]
    if len(found) <= _MAX_COHORTS and all(
        isinstance(text, str) and len(text) <= _MAX_COHORT_NAME for text in texts
    ):
        return found
    raise UsageError(
        "The cohorts are not named by short texts.",
        reason=Reason.USAGE,
        where="cohorts",
        expected=f"at most {_MAX_COHORTS} groups by their keys",
    )


def _bytes_of(name: str, value: object) -> bytes:
    try:
        if isinstance(value, str):
            return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise UsageError(
        "An input is not written in base64.",
        reason=Reason.USAGE,
        where=f"inputs.{name[:80]}",
        expected="the bytes of one case in base64",
    )
