"""The life of an update as hypothesis plays it, over the real table, journal, store and activation.

Rules are stimuli, in any order: releases, polls whose parts fail, health, its absence, withdrawals,
orders to go back, restarts, cuts at every fail point, and damage to files.  Each attempt runs in a
process of its own, so that a cut is a SIGKILL; fetch, bench, installer, store and journal fail
through their ports.  After each rule the invariants are looked at.

``PRIMUM_LIFE_EXAMPLES`` plays more lives than the few of a test run.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.unit.agent.field import Field

from primum_agent.application import ActiveRelease, StandingError, open_active
from primum_agent.attempt import run_attempt
from primum_agent.by_hand import Order, go_back
from primum_agent.clock import SystemClock
from primum_agent.collecting import KEPT_TO_GO_BACK
from primum_agent.content_store import FakeContentStore, FolderStore
from primum_agent.device import Device, Ports, real_ports
from primum_agent.device_state import DeviceState
from primum_agent.events import EventKind
from primum_agent.fail_points import CUT, ENABLE, WHERE, FailPoint
from primum_agent.floors import Floors, read_floors
from primum_agent.installer import Step
from primum_agent.journal import Journal
from primum_agent.journal_port import FakeJournal
from primum_agent.judging import Judge
from primum_agent.lifecycle import State
from primum_agent.settings import read_settings
from primum_agent.transitions import committed, not_proven, unhealthy
from primum_device_sim.authorities.documents import DEVICE
from primum_verifier.core.errors import EXIT_WAITING, FailedError, PrimumError
from primum_verifier.core.question import ClinicalUse
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.bench_contract import Ending
from primum_verifier.shell.bench import FakeBench
from primum_verifier.shell.fetching import Body, RangeFetcher

EXAMPLES = int(os.environ.get("PRIMUM_LIFE_EXAMPLES", "10"))
STEPS = 14
AT_REST = {State.IDLE, State.WAITING, State.PROVISIONAL}
LINKED = "the link is the journal's again after every attempt that ended at rest"
_KILLED = -int(signal.SIGKILL)
_PARTS = ["none", "none", "fetch", "bench", "bench-times-out", "store", *map(str, Step)]
_STEPS_OUT = [
    EventKind.UPDATE_FOUND,
    EventKind.UPDATE_DOWNLOADED,
    EventKind.SELFTEST_PASSED,
    EventKind.UPDATE_ACTIVATING,
    EventKind.UPDATE_ACTIVATED,
    EventKind.UPDATE_ROLLING_BACK,
    EventKind.UPDATE_ROLLED_BACK,
    EventKind.SAFE_MODE_ENTERED,
]


class Damage(StrEnum):
    """What happens to the files of a device."""

    STANDING = "standing"
    FLOORS = "floors"
    MODEL = "model"
    LEFTOVER = "leftover"


@dataclass(frozen=True)
class Unreachable:
    """A fetcher that reaches nobody."""

    def fetch(self, url: str, *, max_bytes: int, offset: int = 0) -> Iterator[bytes]:
        """See :class:`RangeFetcher`."""
        del max_bytes, offset
        raise FailedError("Nobody answers.", reason=Reason.TRANSPORT_UNREACHABLE, where=url)

    def open(
        self, url: str, *, max_bytes: int, offset: int = 0, validator: str = ""
    ) -> AbstractContextManager[Body]:
        """See :class:`RangeFetcher`."""
        del max_bytes, offset, validator
        raise FailedError("Nobody answers.", reason=Reason.TRANSPORT_UNREACHABLE, where=url)


class FailingInstaller:
    """The real installer, whose storage fails at one step.

    Args:
        real: what does the work.
        fails_at: the step.
    """

    def __init__(self, real: Any, fails_at: Step) -> None:
        self._real = real
        self._fails_at = fails_at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def lay_out(self, *words: Any, **members: Any) -> None:
        """See :class:`Installer`."""
        self._take(Step.LAY_OUT)
        self._real.lay_out(*words, **members)

    def switch(self, number: int | None) -> None:
        """See :class:`Installer`."""
        self._take(Step.SWITCH)
        self._real.switch(number)

    def _take(self, step: Step) -> None:
        if step is self._fails_at:
            raise FailedError("No room.", reason=Reason.RESOURCE_STORAGE, where=str(step))


@contextmanager
def nobody_is_served() -> Iterator[None]:
    """No supervisor runs beside the attempts, which would make everything wait."""
    with (
        mock.patch("primum_agent.candidate_gates.clinical_use", return_value=ClinicalUse.IDLE),
        mock.patch("primum_agent.by_hand.is_idle", return_value=True),
    ):
        yield


_template: dict[str, Field] = {}


def new_field() -> Field:
    """The one field of this process; its device is as new."""
    if not _template:
        folder = Path(tempfile.mkdtemp(prefix="primum-life-"))
        field = Field(folder)
        field.numbers = itertools.count(1)
        field.enroll()
        shutil.copytree(field.state, folder / "enrolled")
        _template["field"] = field
    made = _template["field"]
    shutil.rmtree(made.state)
    shutil.copytree(made.folder / "enrolled", made.state)
    made.entries.clear()
    made.releases.clear()
    made.forget_notices()
    for files in (made.engineering.files["model"], made.clinical.files["eligibility"]):
        files.clear()
    made.assign(None)
    made.listed({"version": ""})
    made.entries.clear()
    return made


class Life(RuleBasedStateMachine):
    """One device, from its enrolment on."""

    def __init__(self) -> None:
        super().__init__()
        self.field = new_field()
        self.layout = self.field.layout
        self.version = 0
        self.withdrawn: set[str] = set()
        self.floor = Floors()
        self.counter_floor = 0
        self.damaged: set[int] = set()
        self.link_damaged = False
        self.proven: list[int] = []

    # What the device does

    @initialize(committed_before=st.sampled_from([2, 1, 0]))
    def first_start(self, committed_before: int) -> None:
        """The supervisor begins the journal; releases were committed before, or none was."""
        for folder in (self.layout.run, self.layout.scratch):
            folder.mkdir(parents=True, exist_ok=True)
        FolderStore(self.layout).prepare()
        self._open().close()
        for _ in range(committed_before):
            self.a_release_is_published()
            self.attempt("poll")
            self.health_is_proven()

    def _open(self) -> Journal:
        return Journal.open_or_restart(self.layout, clock=SystemClock(), device_id=DEVICE)

    def state(self) -> DeviceState:
        journal = self._open()
        try:
            return journal.state()
        finally:
            journal.close()

    def attempt(
        self,
        reason: str,
        *,
        part: str = "none",
        loses: EventKind | None = None,
        cut: FailPoint | None = None,
        work: Callable[[Device, Judge | None], int] | None = None,
    ) -> int:
        """One attempt in a process of its own; its exit code, or the signal that ended it."""
        pid = os.fork()
        if pid == 0:
            try:
                os._exit(self._in_the_child(reason, part, loses, cut, work))
            except BaseException:  # noqa: BLE001 - told by the exit code, and printed
                traceback.print_exc()
                os._exit(99)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert code == _KILLED or 0 <= code <= EXIT_WAITING, "an error of the table, or the cut"
        if code != _KILLED and part == "none" and loses is None:
            self.link_damaged = False
        return code

    def _in_the_child(
        self,
        reason: str,
        part: str,
        loses: EventKind | None,
        cut: FailPoint | None,
        work: Callable[[Device, Judge | None], int] | None,
    ) -> int:
        os.environ.pop("PRIMUM_SUPERVISOR_PID", None)
        if cut is not None:
            os.environ.update({ENABLE: CUT, WHERE: str(cut)})
        FakeJournal.fails_at = loses
        settings_ = read_settings(self.field.provisioning)
        with nobody_is_served(), mock.patch("primum_agent.attempt.Journal", FakeJournal):
            try:
                return run_attempt(
                    settings=settings_,
                    layout=self.layout,
                    clock=SystemClock(),
                    reason=reason,
                    work=work,
                    ports=self._ports(real_ports(settings_, self.layout), part),
                )
            except PrimumError as error:
                return error.exit_code

    def _ports(self, real: Ports, part: str) -> Ports:
        bench = FakeBench()
        ports = replace(real, bench=bench)
        if part == "fetch":
            nobody: RangeFetcher = Unreachable()
            return replace(ports, fetcher=nobody)
        if part == "bench":
            bench.answer = FailedError("None.", reason=Reason.SELFTEST_INCOMPLETE, where="bench")
        elif part == "bench-times-out":
            bench.answer = Ending.TIMED_OUT
        elif part == "store":
            return replace(ports, store=FakeContentStore(self.layout, room=0))
        elif part in set(map(str, Step)):
            return replace(ports, installer=FailingInstaller(real.installer, Step(part)))
        return ports

    def _record(self, make: Callable[[Journal, Any], Any]) -> None:
        """What the supervisor writes down about a provisional release; else there is nothing to."""
        journal = self._open()
        try:
            if journal.state().lifecycle is State.PROVISIONAL:
                journal.record(make(journal, journal.state().in_use))
        finally:
            journal.close()

    def lifecycle(self) -> State:
        return self.state().lifecycle

    # Stimuli

    @rule()
    def a_release_is_published(self) -> None:
        self.version += 1
        self.field.release(f"1.{self.version}.0", counter=self.version)

    @rule(part=st.sampled_from(_PARTS))
    def it_polls(self, part: str) -> None:
        self.attempt("poll", part=part)

    @rule(kind=st.sampled_from(_STEPS_OUT))
    def it_polls_and_the_journal_does_not_take_a_step(self, kind: EventKind) -> None:
        self.attempt("poll", loses=kind)

    @rule(point=st.sampled_from(FailPoint), reason=st.sampled_from(["poll", "resume"]))
    def the_power_is_cut(self, point: FailPoint, reason: str) -> None:
        self.attempt(reason, cut=point)

    @rule()
    def it_starts_again(self) -> None:
        self.attempt("resume")

    @rule()
    def health_is_proven(self) -> None:
        self._record(lambda _, used: committed(used))

    @rule()
    def the_application_cannot_work_with_it(self) -> None:
        self._record(lambda _, used: unhealthy(used, why="a test"))

    @rule()
    def the_window_passes(self) -> None:
        self._record(
            lambda journal, used: not_proven(journal, used, why="late", poll_seconds=1, told=True)
        )

    @rule()
    def what_runs_is_withdrawn(self) -> None:
        used = self.state().in_use
        if used is not None and used.version not in self.withdrawn:
            self.withdrawn.add(used.version)
            self.field.withdraw(used.version)

    @rule()
    def a_person_orders_it_back(self) -> None:
        def work(device: Device, judge: Judge | None) -> int:
            go_back(device, judge, Order(version="", by="R. Meyer", why="a test"))
            return 0

        self.attempt("order", work=work)

    @rule()
    def the_link_is_lost(self) -> None:
        self.layout.active.unlink(missing_ok=True)
        self.link_damaged = True

    @rule(what=st.sampled_from(Damage))
    def a_file_is_damaged(self, what: Damage) -> None:
        if what is Damage.STANDING:
            self.layout.standing.unlink(missing_ok=True)
        elif what is Damage.FLOORS:
            self.layout.floors.write_bytes(b"{")
            self.floor = Floors()
        elif what is Damage.LEFTOVER:
            (self.layout.run / ".0123456789abcdef.partial").write_bytes(b"half")
            (self.layout.scratch / "half").mkdir(parents=True, exist_ok=True)
        else:
            for path in (self.layout.store / "sha256").glob("*"):
                data = path.read_bytes()
                path.chmod(0o640)
                path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
                self.damaged |= {item.number for item in self.state().generations}
                break

    # What holds after each

    @invariant()
    def the_state_is_what_the_events_add_up_to(self) -> None:
        journal = self._open()
        try:
            assert journal.state() == journal.replayed()
            journal.check(whole=True)
        finally:
            journal.close()

    @invariant()
    def what_is_active_is_proven_or_provisional(self) -> None:
        state = self.state()
        used = state.in_use
        if used is not None and not used.proven:
            assert state.lifecycle in {State.PROVISIONAL, State.ROLLING_BACK}
        assert (state.active is None) == (used is None), "what is active is held"

    @invariant()
    def at_rest_the_link_is_the_journals(self) -> None:
        state = self.state()
        if state.lifecycle in AT_REST and not self.link_damaged:
            assert FolderStore(self.layout).active() == state.active, LINKED

    @invariant()
    def no_floor_falls(self) -> None:
        found = read_floors(self.layout.floors) or Floors()
        for name in ("first_unused", "counter", "context", "trust_map", "boots"):
            assert getattr(found, name) >= getattr(self.floor, name), name
        for authority, roles in self.floor.trust.items():
            for role, version in roles.items():
                assert found.trust[authority][role] >= version
        self.floor = found
        counter = self.state().counter_floor
        assert counter >= self.counter_floor
        self.counter_floor = counter

    @invariant()
    def what_is_needed_to_go_back_is_there(self) -> None:
        state, store = self.state(), FolderStore(self.layout)
        for item in state.generations:
            if item.number not in self.damaged and item.number != state.target:
                assert store.generation_is_whole(item.number, release=item.release)
        proven = [item.number for item in state.generations if item.proven]
        gone = [number for number in self.proven if number not in proven]
        assert len(proven) > KEPT_TO_GO_BACK or not gone, "it held what it could go back to"
        self.proven = proven

    @invariant()
    def the_application_is_served_what_the_journal_says(self) -> None:
        try:
            found = open_active(self.layout.root)
        except StandingError:
            return
        state = self.state()
        if isinstance(found, ActiveRelease) and state.lifecycle in AT_REST:
            assert found.generation == state.active
            assert state.in_use is not None
            assert found.release == state.in_use.release

    def teardown(self) -> None:
        """Whatever happened, undisturbed it comes to rest; with a good release it runs one."""
        self.attempt("resume")
        self.at_rest_the_link_is_the_journals()
        self.health_is_proven()
        self.a_release_is_published()
        self.attempt("poll")
        self.health_is_proven()
        self.at_rest_the_link_is_the_journals()
        state = self.state()
        assert state.lifecycle is State.IDLE
        assert state.in_use is not None
        assert state.in_use.version == f"1.{self.version}.0"
        assert FolderStore(self.layout).generation_is_whole(
            state.in_use.number, release=state.in_use.release
        )
        opened = open_active(self.layout.root)
        assert isinstance(opened, ActiveRelease)
        assert opened.version == state.in_use.version
        assert not list(self.layout.run.glob(".*.partial"))


pytestmark = pytest.mark.timeout(120 + 30 * EXAMPLES)

TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    derandomize="PRIMUM_LIFE_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@pytest.fixture(scope="module", autouse=True)
def _cleared() -> Iterator[None]:
    yield
    if _template:
        shutil.rmtree(_template.pop("field").folder)
