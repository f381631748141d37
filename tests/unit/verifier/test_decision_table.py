"""The decision table, line by line, and the page that people read it on."""

from __future__ import annotations

import pytest
from tests.unit.verifier.bending import asked
from tests.unit.verifier.conftest import World
from tests.unit.verifier.decision_table import CELLS, PAGE, ROWS, Cell, as_page


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: f"{cell.row}-{cell.phase}-{cell.told}")
def test_what_a_device_may_do(world: World, cell: Cell) -> None:
    verdict = asked(world, cell.bend, phase=cell.phase)
    assert (verdict.capability, verdict.ordered, verdict.primary) == (
        cell.may,
        cell.ordered,
        cell.reason,
    )


def test_every_row_has_a_line() -> None:
    assert set(ROWS) == {cell.row for cell in CELLS} == set(range(1, 19))


def test_the_page_is_the_table() -> None:
    assert PAGE.read_text() == as_page(), "python -m tests.unit.verifier.decision_table"
