"""An attempt whose parts fail one by one: what the device concludes, keeps and uses afterwards.

The attempt runs in this process with the doubles of its ports; repositories, judge, state table
and files are the real ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from primum_agent.application import ActiveRelease, open_active
from primum_agent.attempt import attempt, run_attempt
from primum_agent.clock import SystemClock
from primum_agent.content_store import FakeContentStore, FolderStore
from primum_agent.device import Ports, open_device, real_ports
from primum_agent.events import EventKind
from primum_agent.fallback import FALLBACK_TRIES, MOST_FALLBACK_TRIES
from primum_agent.installer import FakeInstaller, Step
from primum_agent.journal_port import FakeJournal
from primum_agent.layout import Layout
from primum_agent.lifecycle import State
from primum_agent.settings import Settings, read_settings
from primum_agent.transitions import committed
from primum_verifier.core.errors import FailedError
from primum_verifier.core.question import ClinicalUse
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.bench_contract import Ending
from primum_verifier.shell.bench import FakeBench

DEVICE = "wearable-001"


@dataclass
class Here:
    """One device in this process."""

    world: Any
    journal: FakeJournal
    settings: Settings
    layout: Layout
    bench: FakeBench = field(default_factory=FakeBench)

    def ports(self) -> Ports:
        """The real ones, but no model is run."""
        return replace(real_ports(self.settings, self.layout), bench=self.bench)

    def poll(self, ports: Ports | None = None) -> int:
        """One attempt."""
        device = open_device(
            settings=self.settings,
            layout=self.layout,
            clock=SystemClock(),
            journal=self.journal,
            attempt="test",
            ports=ports or self.ports(),
        )
        return attempt(device, reason="poll")

    def prove_health(self) -> None:
        used = self.journal.state().in_use
        assert used is not None
        self.journal.record(committed(used))

    def install(self, version: str, *, counter: int) -> None:
        self.world.release(version, counter=counter)
        assert self.poll() == 0
        self.prove_health()

    def runs(self) -> str | None:
        """The version that an application would open, by the standing and by the link."""
        found = open_active(self.layout.root)
        if not isinstance(found, ActiveRelease):
            return None
        assert FolderStore(self.layout).active() == found.generation
        return found.version

    def told(self, kind: str) -> int:
        return int(self.world.kinds().count(kind))


@pytest.fixture
def here(in_the_field: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    """A device that nobody is using, with no supervisor beside it."""
    monkeypatch.setattr("primum_agent.candidate_gates.clinical_use", lambda _: ClinicalUse.IDLE)
    layout = in_the_field.layout
    layout.run.mkdir(parents=True, exist_ok=True)
    layout.scratch.mkdir(parents=True, exist_ok=True)
    FolderStore(layout).prepare()
    journal = FakeJournal.open_or_restart(layout, clock=SystemClock(), device_id=DEVICE)
    yield Here(in_the_field, journal, read_settings(in_the_field.provisioning), layout)
    journal.close()


@pytest.mark.parametrize("ending", [Ending.TIMED_OUT, Ending.KILLED])
def test_a_test_that_was_cut_short_is_tried_again_and_not_remembered_against_the_release(
    here: Here, ending: Ending
) -> None:
    here.world.release("1.0.0", counter=1)
    here.bench.answer = ending
    for _ in range(2):
        assert here.poll() == 3
    assert here.journal.state().faults == {}
    assert here.told("selftest.failed") == 1, "one problem, one event"
    assert len(here.bench.asked) == 2, "it is tried at every poll"
    here.bench.answer = None
    assert here.poll() == 0
    assert here.runs() == "1.0.0"


def test_a_bench_that_cannot_begin_says_nothing_about_the_release(here: Here) -> None:
    here.world.release("1.0.0", counter=1)
    here.bench.answer = FailedError("No runtime.", reason=Reason.SELFTEST_INCOMPLETE, where="bench")
    assert here.poll() == 3
    assert here.journal.state().faults == {}
    assert here.world.event("selftest.failed")["data"]["reasons"] == ["selftest.incomplete"]


def test_a_model_that_breaks_its_bench_is_remembered_and_never_run_again(here: Here) -> None:
    here.world.release("1.0.0", counter=1)
    here.bench.answer = Ending.CRASHED
    for _ in range(3):
        assert here.poll() == 1
    assert len(here.bench.asked) == 1
    assert list(here.journal.state().faults.values()) == ["selftest.failed"]


def test_no_held_release_is_gone_back_to_unproven(here: Here) -> None:
    """The device changed under a release that was proven once: then it does not run again."""
    here.install("1.0.0", counter=1)
    here.install("1.1.0", counter=2)
    here.world.withdraw("1.1.0")
    here.bench.answer = Ending.TIMED_OUT
    for _ in range(MOST_FALLBACK_TRIES - 1):
        with pytest.raises(FailedError) as found:
            here.poll()
        assert found.value.reason is Reason.SELFTEST_INCOMPLETE
        assert here.runs() is None, "in safe mode meanwhile"
    here.poll()
    assert here.runs() is None
    assert here.journal.state().lifecycle is State.IDLE
    assert here.journal.counter(FALLBACK_TRIES, "") == ""
    tried = here.world.event("safe-mode.entered")["data"]["detail"]["tried"]
    assert tried == {"pvc-classifier 1.0.0": "selftest.incomplete"}


def test_a_busy_device_does_not_lose_the_release_to_go_back_to(here: Here) -> None:
    """Nothing was learnt about it: the roll-back goes on where it was, also after a restart."""
    here.install("1.0.0", counter=1)
    here.install("1.1.0", counter=2)
    here.world.withdraw("1.1.0")
    here.bench.answer = Ending.TIMED_OUT
    for _ in range(2):
        with pytest.raises(FailedError):
            here.poll()
    assert here.journal.state().lifecycle is State.ROLLING_BACK
    here.bench.answer = None
    here.poll()
    assert here.runs() == "1.0.0"
    assert here.journal.counter(FALLBACK_TRIES, "") == ""
    assert here.told("safe-mode.entered") == 0
    assert here.told("attempt.failed") <= 1, "one problem, one event"


@pytest.mark.parametrize("step", list(Step))
def test_storage_that_fails_in_the_middle_of_an_activation_leaves_the_old_release(
    here: Here, step: Step
) -> None:
    here.install("1.0.0", counter=1)
    here.world.release("1.1.0", counter=2)
    installer = FakeInstaller(fails_at=step, on_disk=1)
    with pytest.raises(FailedError):
        here.poll(replace(here.ports(), installer=installer))
    asked = [(Step.LAY_OUT, 2), (Step.SWITCH, 2)]
    assert installer.asked == asked[: 1 + (step is Step.SWITCH)], "and nothing was taken back"
    state = here.journal.state()
    assert (state.lifecycle, state.active, state.target) == (State.IDLE, 1, None)
    assert [item.number for item in state.generations] == [1]
    assert here.runs() == "1.0.0"
    assert here.poll() == 0
    assert here.runs() == "1.1.0"


def test_a_switch_that_the_journal_did_not_take_is_taken_back(here: Here) -> None:
    """The link names the new release already when the journal is full: not for one moment more."""
    here.install("1.0.0", counter=1)
    here.world.release("1.1.0", counter=2)
    here.journal.fails_at = EventKind.UPDATE_ACTIVATED
    with pytest.raises(FailedError):
        here.poll()
    assert here.runs() == "1.0.0"
    assert here.journal.state().active == 1
    here.journal.fails_at = None
    assert here.poll() == 0
    assert here.runs() == "1.1.0"


def test_a_roll_back_that_the_storage_does_not_take_is_safe_at_once_and_finished_later(
    here: Here,
) -> None:
    here.install("1.0.0", counter=1)
    here.install("1.1.0", counter=2)
    here.world.withdraw("1.1.0")
    installer = FakeInstaller(fails_at=Step.SWITCH, on_disk=2)
    with pytest.raises(FailedError):
        here.poll(replace(here.ports(), installer=installer))
    assert installer.asked == [(Step.SWITCH, 1)]
    assert here.world.standing()["mode"] == "safe", "what was withdrawn is not used meanwhile"
    assert here.journal.state().lifecycle is State.ROLLING_BACK
    here.poll()
    assert here.runs() == "1.0.0"


def test_storage_that_fills_up_while_bytes_come_keeps_what_is_whole(here: Here) -> None:
    """The next attempt fetches only what is missing, and the release is not blamed."""
    here.world.release("1.0.0", counter=1)
    offered = {path.name: path for path in (here.world.engineering.web / "artifacts").iterdir()}
    room = sum(path.stat().st_size for path in offered.values()) - 1
    full = FakeContentStore(here.layout, room=room)
    assert here.poll(replace(here.ports(), store=full)) == 3
    assert here.journal.state().faults == {}
    assert here.world.event("update.failed")["data"]["reasons"] == ["resource.storage"]
    status = here.world.agent("status")
    assert status.returncode == 1
    assert "failed: resource.storage (pvc-classifier 1.0.0" in status.stdout
    kept = [path.name for path in (here.layout.store / "sha256").iterdir()]
    assert len(kept) == len(offered) - 1
    for name in kept:
        offered[name].unlink()
    assert here.poll() == 0
    assert here.runs() == "1.0.0"


def test_a_release_that_became_better_is_fetched_and_tested_once(here: Here) -> None:
    """The quiet walk finds out; what it did is reported, not done again."""
    here.world.release("1.0.0", counter=1)
    artifacts = here.world.engineering.web / "artifacts"
    whole = {path: path.read_bytes() for path in artifacts.iterdir()}
    for path, data in whole.items():
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    for _ in range(2):
        assert here.poll() == 1
    for path, data in whole.items():
        path.write_bytes(data)
    assert here.poll() == 0
    assert here.runs() == "1.0.0"
    assert len(here.bench.asked) == 1
    assert here.world.event("update.downloaded")["data"]["detail"]["fetched"] > 0
    assert here.journal.state() == here.journal.replayed()


def test_a_whole_attempt_takes_its_parts_from_whoever_starts_it(here: Here) -> None:
    """A simulator runs the real attempt with its own bench, lock and clean-up included."""
    here.world.release("1.0.0", counter=1)
    code = run_attempt(
        settings=here.settings,
        layout=here.layout,
        clock=SystemClock(),
        reason="poll",
        ports=here.ports(),
    )
    assert code == 0
    assert len(here.bench.asked) == 1
    assert here.runs() == "1.0.0"
    assert not here.layout.scratch.exists()
