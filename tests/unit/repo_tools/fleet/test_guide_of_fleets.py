"""Every command of docs/fleet.md is run, in its order, over a real broker and a real device."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.unit.repo_tools.fleet.receivers import PASSPHRASE

from primum_device_sim.broker import BrokerHandle

PAGE = Path(__file__).parents[4] / "docs/fleet.md"
PROGRAMS = {"primum-repo": "primum_repo_tools.cli", "primum-verify": "primum_verifier.shell.cli"}


def commands() -> list[list[str]]:
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert all(line.startswith("$ ") for line in lines)
    return [line[2:].split() for line in lines]


def split_exit(words: list[str]) -> tuple[list[str], int]:
    """A command, and the code that the page says it ends with."""
    if words[-3:-1] == ["#", "exit"]:
        return words[:-3], int(words[-1])
    return words, 0


def test_the_page_is_done_as_it_is_written(
    in_the_field: Any, broker: BrokerHandle, tmp_path: Path
) -> None:
    field = in_the_field
    field.write("agent.toml", field.settings(3600, broker.port).encode())
    folder = tmp_path / "typed"
    folder.mkdir()
    (folder / "passphrase.txt").write_text(PASSPHRASE)
    shutil.copy(field.folder / "enrolment.json", folder)
    ingesting = [words for words in commands() if words[2] == "ingest"]
    assert len(ingesting) == 1
    shown = []
    for words in commands():
        if words in ingesting:
            # The receiver's session stands before the device says its first word.
            _run(words, folder, broker.port)
            assert field.once().returncode == 0
        told = _run(words, folder, broker.port)
        shown.append(told)
    assert any("whole, in order, and from the device" in told for told in shown)


def _run(words: list[str], folder: Path, port: int) -> str:
    words, code = split_exit(words)
    program, *rest = (word.replace(":1883", f":{port}") for word in words)
    ends = ["--until-idle", "0.5"] if "ingest" in rest else []
    done = subprocess.run(
        [sys.executable, "-m", PROGRAMS[program], *rest, *ends],
        cwd=folder, capture_output=True, text=True, check=False, timeout=60, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == code, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout
