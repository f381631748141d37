"""A refusal explains itself: what a person reads is held word by word."""

from __future__ import annotations

import pytest
from tests.unit.verifier.conftest import World
from tests.unit.verifier.words_of_rules import (
    PAGE,
    SITUATIONS,
    as_page,
    kept_lines,
    lines_of,
)

from primum_verifier.core.vocabulary import Phase

_KEPT = kept_lines()
_AGAIN = "python -m tests.unit.verifier.words_of_rules"


@pytest.mark.parametrize("asked", SITUATIONS, ids=lambda asked: f"{asked[1]}-{asked[0]}")
def test_what_is_said_is_what_was_read(world: World, asked: tuple[str, Phase]) -> None:
    situation, phase = asked
    kept = [line for line in _KEPT if (line.situation, line.asked) == (situation, str(phase))]
    assert lines_of(world, situation, phase) == kept, _AGAIN


def test_nothing_is_kept_that_is_not_said() -> None:
    known = {(situation, str(phase)) for situation, phase in SITUATIONS}
    assert {(line.situation, line.asked) for line in _KEPT} <= known, _AGAIN


def test_the_page_is_what_is_kept() -> None:
    assert PAGE.read_text() == as_page(_KEPT), _AGAIN
