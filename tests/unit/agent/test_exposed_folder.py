"""A state folder that others may change (D08): nothing is begun in it, and what runs goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Eventually = Callable[..., Any]
NOBODY = 65534


def written(folder: Path) -> dict[str, bytes]:
    """Every file of a device but those that say who is there now, and a reader's of the journal."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
        and path.parent != folder / "run"
        and not path.name.startswith("journal.db-")
    }


@pytest.fixture
def runs(in_the_field: Any, attempt_now: Callable[..., int]) -> Any:
    """A device that runs 1.0.0, for which 1.1.0 is out."""
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == 0
    in_the_field.commit()
    in_the_field.release("1.1.0", counter=2)
    return in_the_field


@pytest.mark.parametrize("which", ["itself", "above it"])
def test_a_folder_that_anybody_may_change_is_not_worked_in_until_that_is_mended(
    runs: Any, which: str
) -> None:
    folder = runs.state if which == "itself" else runs.state.parent
    before, kept = folder.stat().st_mode, written(runs.state)
    folder.chmod(0o777)
    done = runs.once()
    assert done.returncode == 3
    assert "state.exposed" in done.stderr
    assert f"chmod o-w {folder}" in done.stderr, "the remedy"
    assert "Traceback" not in done.stderr
    assert written(runs.state) == kept
    assert runs.opened().version == "1.0.0", "what runs goes on"
    doctor = runs.agent("doctor", "--provisioning", runs.provisioning)
    assert doctor.returncode == 3
    assert "BAD  state folder" in doctor.stdout
    folder.chmod(before)
    runs.release("1.2.0", counter=3, health_window=1)
    assert runs.once().returncode == 1, "nobody proved its health"
    assert "1.2.0" in {item["subject"].split()[-1] for item in runs.events() if "subject" in item}


def test_where_others_may_add_files_but_not_take_away_ours_it_is_worked_in(runs: Any) -> None:
    """As below ``/tmp``: the sticky bit keeps what is the agent's where it is."""
    runs.state.parent.chmod(0o1777)
    runs.release("1.2.0", counter=3, health_window=1)
    before = runs.kinds()
    runs.once()
    assert len(runs.kinds()) > len(before)


def test_a_folder_that_is_opened_while_the_agent_runs_gets_nothing_new(
    runs: Any, eventually: Eventually
) -> None:
    with runs.running():
        eventually(lambda: (found := runs.opened()).version == "1.1.0" and found.prove_health())
        runs.state.chmod(0o777)
        runs.release("1.2.0", counter=3)
        runs.agent("poll")
        eventually(lambda: "state.exposed" in (runs.folder / "supervisor.log").read_text())
    assert runs.opened().version == "1.1.0"
    assert "1.2.0" not in str(runs.events())


def test_no_key_is_made_where_others_may_take_it(
    tmp_path: Path, new_field: Callable[..., Any]
) -> None:
    field = new_field(tmp_path)
    field.state.mkdir()
    field.state.chmod(0o777)
    words = ["--device-id", "wearable-001", "--hardware-id", "cardiowear-2"]
    done = field.agent("enroll", *words, "--output", tmp_path / "enrolment.json")
    assert done.returncode == 3
    assert "state.exposed" in done.stderr
    assert list(field.state.iterdir()) == []
    assert not (tmp_path / "enrolment.json").exists()


@pytest.mark.parametrize("by", ["its own", "a link"])
def test_a_folder_of_another_user_is_not_worked_in(runs: Any, by: str) -> None:
    """Also where the name that the agent knows leads there by a link."""
    if os.geteuid() != 0:
        pytest.skip("needs root: a folder is given to another user")
    state = runs.state
    if by == "a link":
        elsewhere = runs.folder / "elsewhere"
        state.rename(elsewhere)
        state.symlink_to(elsewhere)
        state = elsewhere
    os.chown(state, NOBODY, NOBODY)
    kept = written(state)
    command = [sys.executable, "-m", "primum_agent.attempt", "--reason", "poll", *runs.folders]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 3
    assert f"owned by user {NOBODY}" in done.stderr
    assert "Traceback" not in done.stderr
    assert written(state) == kept
