"""The page for integrators names every event, fail point, command and request there is."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.agent.test_monitor import specification

from primum_agent.cli import COMMANDS
from primum_agent.events import EventKind
from primum_agent.fail_points import DeltaPoint, FailPoint, IdentityPoint, ShadowPoint
from primum_agent.standing import Standing
from primum_verifier.core.vocabulary import EpisodeRule, NoticeAction
from primum_verifier.keeping.episode import _LAYER

PAGE = (Path(__file__).parents[3] / "docs" / "device.md").read_text()


@pytest.mark.parametrize(
    "name",
    [
        *EventKind,
        *DeltaPoint,
        *FailPoint,
        *IdentityPoint,
        *ShadowPoint,
        *COMMANDS,
        *NoticeAction,
        *EpisodeRule,
    ],
)
def test_the_page_names_it(name: str) -> None:
    assert f"`{name}" in PAGE


def test_the_page_names_every_member_that_the_application_reads() -> None:
    """Of ``standing.json`` and of the terms; other languages have nothing but this page."""
    for member in (*Standing().as_dict(), *_LAYER):
        assert f"`{member}`" in PAGE, member


@pytest.mark.parametrize("word", ["`safe`", "`investigational`", "`device-function`"])
def test_the_page_names_the_words(word: str) -> None:
    assert word in PAGE


def run_example(state: Path, number: int = 0) -> dict[str, Any]:
    """Run an example of the page over another state folder; what it left in its variables."""
    found = [part for part in PAGE.split("```")[1::2] if part.startswith("python\n")][number]
    script = state.parent / "example.py"
    script.write_text(found.removeprefix("python\n").replace("/var/lib/primum", str(state)))
    return runpy.run_path(str(script))


def test_the_example_of_the_monitor_hands_over_what_is_signed(
    in_the_field: Any, attempt_now: Callable[..., int], eventually: Callable[..., Any]
) -> None:
    """As written: without an agent it waits, with one it is counted."""
    in_the_field.release("1.0.0", counter=1, monitoring=specification())
    assert attempt_now() == 0
    in_the_field.commit()
    assert run_example(in_the_field.state, 1)["monitor"].held == 4
    with in_the_field.running():
        eventually(lambda: run_example(in_the_field.state, 1)["monitor"].held == 0)
    status = json.loads(in_the_field.agent("status", "--json").stdout)
    assert status["monitor"]["window"] == 1
    assert status["monitor"]["alarms"] == []
    assert "no alarm" in in_the_field.agent("status").stdout


def test_the_example_serves_an_episode(in_the_field: Any, attempt_now: Callable[..., int]) -> None:
    """As written, on a device that runs a release, and in safe mode."""
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == 0
    known = run_example(in_the_field.state)
    assert known["output"]["version"] == "1.0.0"
    in_the_field.commit()
    in_the_field.withdraw("1.0.0")
    attempt_now()
    known = run_example(in_the_field.state)
    assert known["release"].notice
    assert "output" not in known
