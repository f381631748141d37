"""The page for integrators names every event, fail point, command and request there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from primum_agent.cli import COMMANDS
from primum_agent.events import EventKind
from primum_agent.fail_points import FailPoint

PAGE = (Path(__file__).parents[3] / "docs" / "device.md").read_text()


@pytest.mark.parametrize("name", [*EventKind, *FailPoint, *COMMANDS])
def test_the_page_names_it(name: str) -> None:
    assert f"`{name}" in PAGE
