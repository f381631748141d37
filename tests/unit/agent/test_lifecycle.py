"""The state table: every state crossed with every stimulus, generated from the table itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from primum_agent.lifecycle import (
    RESUME,
    TABLE,
    Resume,
    State,
    Stimulus,
    UnlistedStimulusError,
    as_mermaid,
    as_page,
    resume_point,
    step,
)

PAGE = Path(__file__).parents[3] / "docs" / "lifecycle.md"


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("stimulus", Stimulus)
def test_every_state_crossed_with_every_stimulus(state: State, stimulus: Stimulus) -> None:
    if (state, stimulus) in TABLE:
        assert step(state, stimulus) in State
    else:
        with pytest.raises(UnlistedStimulusError):
            step(state, stimulus)


@pytest.mark.parametrize("state", State)
def test_every_state_can_be_resumed_and_comes_to_rest(state: State) -> None:
    assert resume_point(state) is RESUME[state]
    reached, frontier = {state}, [state]
    while frontier:
        here = frontier.pop()
        for (origin, _), target in TABLE.items():
            if origin is here and target not in reached:
                reached.add(target)
                frontier.append(target)
    assert State.IDLE in reached


def test_a_state_that_the_map_does_not_have_rolls_back() -> None:
    assert resume_point("unheard-of") is Resume.ROLL_BACK  # type: ignore[arg-type]


def test_only_what_was_proven_and_cleared_is_activated() -> None:
    into = {origin for (origin, _), target in TABLE.items() if target is State.ACTIVATING}
    assert into == {State.WAITING}
    into = {origin for (origin, _), target in TABLE.items() if target is State.WAITING}
    # From activating only where an episode began before anything was switched.
    assert into == {State.TESTING, State.WAITING, State.ACTIVATING}


def test_what_is_cut_while_working_goes_back_without_touching_what_is_active() -> None:
    for state, point in RESUME.items():
        if point is Resume.BEGIN_AGAIN:
            assert TABLE[state, Stimulus.INTERRUPTED] is State.IDLE


def test_the_page_in_the_docs_is_drawn_from_the_table() -> None:
    assert PAGE.read_text() == as_page(), "write it again: primum_agent.lifecycle.as_page()"
    assert as_mermaid().rstrip() in as_page()
