"""The guide is what the program reads: every file in it parses, every command in it exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from primum_repo_tools.authority_settings import PolicySettings
from primum_repo_tools.cli import app
from primum_repo_tools.component_plan import ComponentPlan
from primum_repo_tools.monitoring_plan import MonitoringPlan
from primum_repo_tools.protocol import Measured, Protocol
from primum_repo_tools.release_plan import ReleasePlan
from primum_repo_tools.retraining import RetrainingPlan
from primum_repo_tools.settings import parse_settings
from primum_repo_tools.terms import Terms
from primum_verifier.core.document import Count, Document

GUIDE = Path(__file__).parents[3] / "docs/release-engineer.md"
FLEET = GUIDE.with_name("fleet.md")
"""Its commands are run by a test of their own."""


class SetFile(Document):
    """What a release that is a set says besides."""

    data_floor_counter: Count
    components: tuple[ComponentPlan, ...]


class PolicyFile(Document):
    """The part of ``workbench.toml`` that the guide shows."""

    policy: PolicySettings


FILES: dict[str, type[Document]] = {
    "[[policy.requirements]]": PolicyFile,
    "release_counter": ReleasePlan,
    "[[components]]": SetFile,
    "persons_per_window": MonitoringPlan,
    "[margins]": Protocol,
    "[failSafe]": Terms,
    "hyper_parameters": RetrainingPlan,
}


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", GUIDE.read_text(), re.DOTALL)


@pytest.mark.parametrize("mark", FILES)
def test_every_file_in_the_guide_is_valid(mark: str) -> None:
    text = next(block for block in blocks("toml") if mark in block)
    parse_settings(FILES[mark], text.encode(), where="guide")


def test_the_further_terms_in_the_guide_are_valid_beside_the_first() -> None:
    """People copy lines out of it into their own file."""
    first = next(block for block in blocks("toml") if "[failSafe]" in block)
    keys, _, tables = next(block for block in blocks("toml") if "care_settings" in block).partition(
        "\n[market]"
    )
    text = f"{keys}\n{first}\n[market]{tables}".replace(
        'decision = "eligible"', 'decision = "eligible-with-conditions"'
    )
    terms = parse_settings(Terms, text.encode(), where="guide")
    left = {name for name in Terms.model_fields if name not in terms.model_fields_set}
    assert left == {"review_by", "study", "use_environments", "user_roles"}


def test_what_a_protocol_may_ask_besides_is_valid_beside_the_first() -> None:
    """People copy it into their own protocol, above its tables and below them."""
    first = next(block for block in blocks("toml") if "[margins]" in block)
    keys, _, tables = next(block for block in blocks("toml") if "[[criteria]]" in block).partition(
        "\n[alerts]"
    )
    bound = next(block for block in blocks("toml") if "[testSet]" in block)
    bound = bound.replace('"..."', '"' + "a" * 64 + '"')
    text = f"{keys}\n{first}\n[alerts]{tables}\n{bound}"
    protocol = parse_settings(Protocol, text.encode(), where="guide")
    assert protocol.test_set is not None
    assert [item.measure for item in protocol.criteria] == ["alert-ratio", "sensitivity-at"]
    told = GUIDE.read_text()
    assert not [item for item in Measured if f"`{item}`" not in told]


def commands() -> list[str]:
    text = "\n".join(blocks("console")).replace("\\\n", " ")
    return [line[2:].split(" #")[0] for line in text.splitlines() if line.startswith("$ ")]


@pytest.mark.parametrize("line", commands(), ids=lambda line: " ".join(line.split()[:4]))
def test_every_command_in_the_guide_parses(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each option of each example is one that the command has, in a form that it takes."""
    program, *words = line.replace('"', "").split()
    if program != "primum-repo":
        others = ("primum-sim data releases ", "primum-agent enroll ", "primum-verify ")
        assert line.startswith(others)
        return
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
    told = " ".join(commands()) + FLEET.read_text()
    for name, item in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        for child in getattr(item, "commands", {"": None}):
            if (name, child) in {("authority", "show"), ("person", "list")}:
                continue
            assert f"primum-repo {name} {child}".strip() in told


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the guide is typed with."""
    folder = tmp_path_factory.mktemp("guide") / "model"
    made = subprocess.run(
        [sys.executable, "-m", "primum_device_sim.cli", "data", "releases", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return folder


def test_every_file_that_the_guide_names_is_there(model: Path) -> None:
    named = set(re.findall(r"(?<![\w/.-])model/[\w./-]*\w", GUIDE.read_text()))
    assert {"model/1.0.0/release.toml", "model/1.1.0/locked.npz"} <= named
    assert not [name for name in sorted(named) if not (model.parent / name).is_file()]


@pytest.mark.parametrize(("mark", "name"), [("[margins]", "protocol"), ("[failSafe]", "terms")])
def test_the_files_in_the_guide_are_those_of_the_folder(model: Path, mark: str, name: str) -> None:
    text = next(block for block in blocks("toml") if mark in block)
    assert text == (model / f"{name}.toml").read_text()
