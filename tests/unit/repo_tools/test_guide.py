"""The guide is what the program reads: every file in it parses, every command in it exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from primum_repo_tools.cli import app
from primum_repo_tools.protocol import Protocol
from primum_repo_tools.release_plan import ReleasePlan
from primum_repo_tools.settings import parse_settings
from primum_repo_tools.terms import Terms
from primum_verifier.core.document import Document

GUIDE = Path(__file__).parents[3] / "docs/release-engineer.md"
FILES: dict[str, type[Document]] = {
    "release_counter": ReleasePlan,
    "[margins]": Protocol,
    "[fail_safe]": Terms,
}


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", GUIDE.read_text(), re.DOTALL)


@pytest.mark.parametrize("mark", FILES)
def test_every_file_in_the_guide_is_valid(mark: str) -> None:
    text = next(block for block in blocks("toml") if mark in block)
    parse_settings(FILES[mark], text.encode(), where="guide")


def commands() -> list[str]:
    text = "\n".join(blocks("console")).replace("\\\n", " ")
    return [line[2:].split(" #")[0] for line in text.splitlines() if line.startswith("$ ")]


@pytest.mark.parametrize("line", commands(), ids=lambda line: " ".join(line.split()[:4]))
def test_every_command_in_the_guide_parses(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each option of each example is one that the command has, in a form that it takes."""
    program, *words = line.replace('"', "").split()
    assert program == "primum-repo"
    command = typer.main.get_command(app)
    for word in list(words):
        children = getattr(command, "commands", None)
        if children is None:
            break
        command = children[word]
        words.remove(word)
    known = {name for param in command.params for name in param.opts}
    assert {word for word in words if word.startswith("--")} <= known
    capsys.readouterr()


def test_the_guide_names_every_command() -> None:
    told = " ".join(commands())
    for name, item in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        for child in getattr(item, "commands", {"": None}):
            if (name, child) in {("authority", "show"), ("person", "list")}:
                continue
            assert f"primum-repo {name} {child}".strip() in told
