"""A command that root types acts as the owner of the state folder, or says why it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

NOBODY = 65_534
ASKED = "import sys; from primum_agent.cli import main; sys.exit(main())"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def ask(state: Path, *, interpreter: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.executable = {interpreter!r}\n{ASKED}"
    command = [sys.executable, "-c", code, "status", "--state", str(state)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    made = tmp_path / "state"
    made.mkdir()
    return made


def test_the_command_begins_again_as_the_owner(state: Path) -> None:
    """What is started in its place is told who it is: the program ``id`` stands for it here."""
    os.chown(state, NOBODY, NOBODY)
    teller = Path("/usr/bin/env")
    code = f"import sys; sys.orig_argv = ['', 'id', '-u']; sys.executable = {str(teller)!r}\n"
    command = [sys.executable, "-c", code + ASKED, "status", "--state", str(state)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.stdout.strip() == str(NOBODY)


def test_an_owner_who_may_not_run_the_agent_is_told(state: Path) -> None:
    os.chown(state, NOBODY, NOBODY)
    done = ask(state, interpreter="/nowhere/python3")
    assert done.returncode == 2
    assert f"user {NOBODY}" in done.stderr
    assert "Traceback" not in done.stderr


def test_roots_own_folder_and_a_missing_one_are_roots(state: Path) -> None:
    for folder in (state, state / "missing"):
        done = ask(folder, interpreter="/nowhere/python3")
        assert "never run on this state folder" in done.stderr
