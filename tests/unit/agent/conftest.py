"""The fixtures of the agent's tests: a device in the field, an attempt, a journal, a clock."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.made_once import made_once
from tests.unit.agent.field import Field
from tests.unit.agent.waiting import wait_for
from tests.unit.packaging.installed import build, build_with_newer, lay_before, made_packages

from primum_agent.attempt import run_attempt
from primum_agent.clock import FakeClock, SystemClock
from primum_agent.content_store import FolderStore
from primum_agent.device import real_ports
from primum_agent.journal import Journal
from primum_agent.layout import Layout
from primum_agent.settings import read_settings
from primum_device_sim.authorities.documents import (
    DEVICE,
)
from primum_verifier.core.question import ClinicalUse
from primum_verifier.shell.bench import FakeBench


@pytest.fixture
def eventually() -> Callable[..., Any]:
    return wait_for


@pytest.fixture
def new_field() -> Callable[[Path], Field]:
    """Two authorities and a device that is not enrolled yet, in a folder."""
    return Field


@pytest.fixture(scope="session")
def _enrolled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the real ``enroll`` leaves, made once: it was never started."""
    made = Field(tmp_path_factory.mktemp("enrolled"))
    made.enroll()
    return made.folder


@pytest.fixture
def in_the_field(tmp_path: Path, _enrolled: Path) -> Field:
    """Two authorities and one enrolled device; nothing released yet."""
    made = Field(tmp_path)
    made.enroll(like=_enrolled)
    return made


@pytest.fixture
def attempt_now(in_the_field: Field, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """One attempt in this process, over settings read anew, with a bench that finds all well.

    The journal is begun as a supervisor would; nobody is served unless a test says so.
    """
    monkeypatch.setattr("primum_agent.candidate_gates.clinical_use", lambda _: ClinicalUse.IDLE)
    monkeypatch.setattr("primum_agent.taking_effect.is_idle", lambda *_: True)
    monkeypatch.setattr("primum_agent.restart_gates.clinical_use", lambda _: ClinicalUse.IDLE)
    layout = in_the_field.layout
    for folder in (layout.run, layout.scratch):
        folder.mkdir(parents=True, exist_ok=True)
    FolderStore(layout).prepare()
    Journal.open_or_restart(layout, clock=SystemClock(), device_id=DEVICE).close()

    def run(reason: str = "poll", *, clock: Any = None, work: Any = None) -> int:
        settings = read_settings(in_the_field.provisioning)
        ports = replace(real_ports(settings, layout), bench=FakeBench())
        return run_attempt(
            settings=settings,
            layout=layout,
            clock=clock or SystemClock(),
            reason=reason,
            work=work,
            ports=ports,
        )

    return run


@pytest.fixture
def with_two(in_the_field: Field, attempt_now: Callable[..., int]) -> Field:
    """A device that runs 1.1.0 and holds 1.0.0; both proved health."""
    for counter, version in enumerate(("1.0.0", "1.1.0"), start=1):
        in_the_field.release(version, counter=counter)
        assert attempt_now() == 0
        in_the_field.commit()
    found = in_the_field.opened()
    assert found is not None
    assert found.version == "1.1.0"
    return in_the_field


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An empty state folder with its run folder."""
    made = Layout(tmp_path / "state")
    made.run.mkdir(parents=True)
    return made


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def journal(layout: Layout, clock: FakeClock) -> Iterator[Journal]:
    opened = Journal.open_or_restart(layout, clock=clock, device_id=DEVICE)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Agent and bench, as ``make package`` builds them."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("needs dpkg-deb")
    return made_packages(made_once(tmp_path_factory, "packages", build_with_newer))


@pytest.fixture(scope="session")
def agent_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agent as a component of a set, as ``make package-tree`` builds it."""
    if shutil.which("dpkg") is None:
        pytest.skip("needs dpkg, which names the machine")
    folder = made_once(tmp_path_factory, "tree", lambda empty: build(empty, "--tree"))
    (made,) = folder.iterdir()
    return made


@pytest.fixture
def world(in_the_field: Field, packages: list[Path]) -> Field:
    """One device's provisioning and state as a room sees them, and the packages beside."""
    lay_before(in_the_field, packages)
    return in_the_field
