"""Which agent runs is seen by the agent that runs: a command that root typed is another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from primum_agent.agent_choice import AgentChoice, write_choice
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


@pytest.mark.parametrize(
    ("choice", "holds"),
    [
        (AgentChoice(chosen="generations/2/.agent.env", identity="new"), True),
        (AgentChoice(chosen="generations/2/.agent.env", identity="new", proven=False), True),
        (AgentChoice(chosen="generations/2/.agent.env", identity="new", fell_back=1), True),
        (AgentChoice(), True),
        (
            AgentChoice(
                chosen="generations/2/.agent.env", identity="new", proven=False, fell_back=1
            ),
            False,
        ),
    ],
)
def test_only_a_new_agent_that_the_loader_gave_up_is_out_of_effect(
    layout: Layout, choice: AgentChoice, holds: bool
) -> None:
    """A proven one that stopped working, and a note that is lost, take no model away."""
    write_choice(layout, choice)
    assert in_effect(layout) is holds
