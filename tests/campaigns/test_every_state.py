"""Every state of the table crossed with "error", "killed" and "hangs", by the real processes.

The cases are made from the table: each state is reached in one of the acts, and in it fails each
port that the undisturbed act uses there; a state that no act reaches fails the test.
Afterwards the next start, undisturbed, converges on the same release as if nothing had happened.
"""

from __future__ import annotations

import sysconfig
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.campaigns import crash_worlds
from tests.campaigns.crash_checks import after_fault, converged
from tests.campaigns.crash_tracer import KILL, cannot
from tests.campaigns.crash_worlds import CHECKOUT, SUBJECTS, Run, World
from tests.campaigns.state_faults import FAULT, FOLDER, MET, SEEN, STATE, Fault
from tests.unit.agent.field import AGENT

from primum_agent.fail_points import FailPoint
from primum_agent.lifecycle import TABLE, State, Stimulus

ACT_OF = {
    State.ROLLING_BACK: "withdrawal",
}
"""In which act a state is reached, where it is not an update."""

EVERYWHERE = (Fault.JOURNAL, Fault.KILLED, Fault.HANGS)
USED = {
    Fault.FETCH: {State.IDLE, State.DOWNLOADING},
    Fault.BENCH: {State.TESTING, State.ROLLING_BACK},
    Fault.STORAGE: {
        State.IDLE,
        State.DOWNLOADING,
        State.TESTING,
        State.ACTIVATING,
        State.PROVISIONAL,
        State.ROLLING_BACK,
    },
}
"""Where an undisturbed attempt uses the port: held against what it does."""

CASES = [
    (state, fault)
    for state in State
    for fault in Fault
    if fault in EVERYWHERE or state in USED[fault]
]


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], World]:
    """The acts, each built once."""
    built: dict[str, World] = {}

    def world_of(act: str) -> World:
        if act not in built:
            built[act] = World(tmp_path_factory.mktemp(act), SUBJECTS[act])
        built[act].begin()
        return built[act]

    return world_of


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of :mod:`state_faults`, with every process of the agent under its eyes.

    The agent's children take no code from the environment, so that it is brought by the Python that
    runs them: a virtual environment before the real one.
    """
    if why := cannot():
        pytest.skip(why)
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    packages = Path(
        sysconfig.get_path("purelib", scheme="venv", vars={"base": str(tmp_path / "venv")})
    )
    (packages / "watched.pth").write_text(
        f"{CHECKOUT}\nimport site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    )
    (packages / "sitecustomize.py").write_text(
        "from tests.campaigns.state_faults import install\n\ninstall()\n"
    )
    monkeypatch.setattr(crash_worlds, "AGENT", [str(python), *AGENT[1:]])
    monkeypatch.setenv(FOLDER, str(tmp_path))
    yield tmp_path
    assert not list(tmp_path.glob("core*"))


def test_what_an_undisturbed_attempt_uses_in_each_state_is_what_is_let_fail(
    worlds: Callable[[str], World], watched: Path
) -> None:
    """Every state is reached, and no use of a port stays untried."""
    for act in {"update", *ACT_OF.values()}:
        world = worlds(act)
        run = world.run()
        assert list(converged(world, run, version=SUBJECTS[act].ends_with)) == []
    seen = {tuple(line.split()) for line in (watched / SEEN).read_text().splitlines()}
    assert seen == {(str(state), str(fault)) for state, fault in CASES}


@pytest.mark.parametrize(("state", "fault"), CASES, ids=str)
def test_whatever_happens_in_a_state_the_next_start_converges(
    worlds: Callable[[str], World],
    watched: Path,
    monkeypatch: pytest.MonkeyPatch,
    state: State,
    fault: Fault,
) -> None:
    """Old or new is served meanwhile, and then what the act has to end with."""
    act = ACT_OF.get(state, "update")
    world = worlds(act)
    monkeypatch.setenv(STATE, str(state))
    monkeypatch.setenv(FAULT, str(fault))
    run = world.run()
    assert (watched / MET).exists(), "it never came to it"
    assert list(after_fault(world, run, fault=KILL if fault is Fault.KILLED else fault)) == []
    if fault is Fault.HANGS:
        assert "took too long" in run.output, "the supervisor ends it at its deadline"
    monkeypatch.delenv(FOLDER)
    run = world.run()
    assert list(converged(world, run, version=SUBJECTS[act].ends_with)) == [], run.output
    assert_told_once(world, run)


def assert_told_once(world: World, run: Run) -> None:
    """What happened once is in the journal once."""
    journal = world.journal()
    try:
        kinds = [line.count(b'"primum.device.update.committed"') for line in journal.history()]
        assert journal.problems() == [], run.output
    finally:
        journal.close()
    assert sum(kinds) <= len(world.subject.may_run)


def test_every_state_has_its_cases() -> None:
    """A state that is added here and there alike is crossed with all of them."""
    assert {state for state, _ in CASES} == set(State)
    for state in State:
        assert {fault for at, fault in CASES if at is state} >= set(EVERYWHERE)
    assert set(TABLE.values()) == set(State)
    assert {stimulus for _, stimulus in TABLE} == set(Stimulus)


def test_every_fail_point_is_in_a_state_of_the_table() -> None:
    """Where the power fails by name is tried elsewhere; its state is one of these."""
    named = {point.value.partition(".")[0] for point in FailPoint} - {"commit"}
    assert named <= {str(state) for state in State}
