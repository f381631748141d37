"""Which agent runs is seen by the agent that runs: a command that root typed is another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from primum_agent.agent_choice import AgentChoice, write_choice
from primum_agent.children import SUPERVISOR
from primum_agent.components import Part
from primum_agent.install_agent import AgentInstaller
from primum_agent.layout import Layout
from primum_agent.tree_files import Held

PART = Part(
    id="agent",
    version="2.0.0",
    generation=2,
    release="",
    folder=Path("/nowhere"),
    stored={},
    kinds={},
    files={},
    identity="new",
)


def _no_room(_: int) -> None:
    """Nothing is laid out here."""


def _nothing(_: Part) -> Held:
    return lambda _: None


def in_effect(layout: Layout) -> bool:
    installer = AgentInstaller(layout, step_seconds=1.0, make_room=_no_room, held=_nothing)
    return installer.in_effect(PART)


def test_a_command_that_root_typed_takes_no_agent_out_of_effect(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SUPERVISOR, raising=False)
    write_choice(layout, AgentChoice(chosen="generations/2/agent.env", identity="new"))
    assert in_effect(layout)
    monkeypatch.setenv(SUPERVISOR, "1")
    assert not in_effect(layout), "the loader started another one"


@pytest.mark.parametrize(
    "choice",
    [
        AgentChoice(chosen="generations/1/agent.env", identity="old"),
        AgentChoice(chosen="generations/2/agent.env", identity="new", fell_back=True),
        AgentChoice(),
    ],
)
def test_an_agent_that_was_not_chosen_or_was_given_up_is_out_of_effect_for_everybody(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, choice: AgentChoice
) -> None:
    monkeypatch.delenv(SUPERVISOR, raising=False)
    write_choice(layout, choice)
    assert not in_effect(layout)
