"""Whoever is refused reads what to type next: the right command, the right workbench, no riddle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

COMPONENT = "pvc-classifier"


def notice(story: Any, version: str, *more: object) -> Any:
    return story.try_run(
        "withdraw", story.clinical, "--component", COMPONENT, "--version", version,
        "--reason", "x", "--hazard", "HAZ-1", "--yes", *more,
        "--as", story.folder / "people/a.berg", "--as", story.folder / "people/q.lee",
    )  # fmt: skip


def provision(story: Any, enrolment: Path, **other: object) -> Any:
    options: dict[str, object] = {
        "engineering": story.engineering, "clinical": story.clinical, "enrolment": enrolment,
        "component": COMPONENT, "jurisdiction": "DE", "site": "site-a", "care-setting": "home",
        "udi": "1", "engineering-url": "http://127.0.0.1/", "clinical-url": "http://127.0.0.1/",
        "broker": "mqtt://127.0.0.1:18830", "output": story.folder / "provisioning",
        **{name.replace("_", "-"): value for name, value in other.items()},
    }  # fmt: skip
    words = [item for name, value in options.items() for item in (f"--{name}", value)]
    return story.try_run("device", "provision", *words, "--as", story.folder / "station-1")


@pytest.mark.parametrize("command", ["sign", "check", "compare"])
def test_before_a_build_the_build_is_named(story: Any, command: str) -> None:
    if command == "compare":
        answer = story.compare("1.0.0")
    else:
        answer = story.try_run("release", command, story.engineering, COMPONENT, "1.0.0")
    assert answer.code == 2
    assert f"primum-repo release build {story.engineering} RELEASE.toml" in answer.err


def test_a_workbench_that_was_not_created_is_told_how(
    story: Any, enrolment: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    story.run("init", new, "--authority", "engineering")
    answer = story.try_run("publish", new)
    assert f"authority create {new} --provisioning-key" in answer.err
    assert "primum-repo device key" in answer.err
    answer = provision(story, enrolment, engineering=new)
    assert answer.code == 2
    assert "engineering was not created yet" in answer.err
    assert f"primum-repo authority create {new}" in answer.err
    assert "1.root.json" not in answer.err


def test_a_notice_about_what_is_not_listed_names_what_is(published: Any) -> None:
    assert f"{COMPONENT} 1.0.0 (eligible)" in notice(published, "9.9.9").err
    answer = notice(published, "1.0.0", "--fallback-version", "0.9.0")
    assert answer.code == 2
    assert "is not eligible" in answer.err
    assert "--fallback-version" in answer.err
    assert notice(published, "1.0.0", "--fallback-version", "1.0.0").code == 2, "nor to itself"


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("jurisdiction", "Germany", "two capital letters, such as DE"),
        ("site", "Site A!", "--site"),
        ("broker", "nowhere", "mqtts://HOST[:PORT]"),
        ("engineering_url", "nowhere", "--engineering-url"),
    ],
)
def test_a_wrong_fact_of_a_device_is_told_without_riddles(
    story: Any, enrolment: Path, option: str, value: str, told: str
) -> None:
    answer = provision(story, enrolment, **{option: value})
    assert answer.code == 2
    assert told in answer.err
    assert "remedy:" in answer.err
    assert "PlacementFacts" not in answer.err


@pytest.mark.parametrize("name", ["terms.toml", "release.toml"])
def test_no_class_is_named_to_people(published: Any, name: str) -> None:
    path = published.folder / name
    path.write_text("x = 1")
    if name == "terms.toml":
        answer = published.try_run(
            "approve", "prepare", published.clinical, COMPONENT, "1.0.0", "--terms", path
        )
    else:
        answer = published.try_run("release", "build", published.engineering, path)
    assert answer.code == 2
    assert "of Terms" not in answer.err
    assert "ReleasePlan" not in answer.err
    assert str(path) in answer.err


def test_what_is_no_npz_is_told_so_and_no_unsafe_way_is_named(published: Any) -> None:
    published.build("1.1.0", weights=(2.5, -1.0), previous="1.0.0")
    answer = published.compare("1.1.0", last=published.folder / "source/1.0.0/release.toml")
    assert answer.code == 2
    assert "This is no .npz file." in answer.err
    assert "pickle" not in answer.err


def test_a_short_passphrase_is_told_what_to_do(
    story: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PRIMUM_PASSPHRASE", "short")
    answer = story.try_run("device", "key", tmp_path / "station")
    assert answer.code == 2
    assert "remedy:" in answer.err


def test_a_folder_with_other_things_becomes_no_workbench(story: Any, tmp_path: Path) -> None:
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "thesis.txt").write_text("x")
    answer = story.try_run("init", folder, "--authority", "clinical")
    assert answer.code == 2
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_a_rollout_says_what_it_replaces(published: Any) -> None:
    step = [
        "rollout", published.engineering, "--component", COMPONENT, "--version", "1.0.0",
        "--ring", "pilot", "--percentage", "50",
    ]  # fmt: skip
    assert "Replaces nothing." in published.run(*step, "--devices", "a,b").out
    told = f"ring pilot, {COMPONENT} 1.0.0: 50 % of a, b."
    assert f"Would replace {told}" in published.run(*step, "--devices", "c", "--dry-run").out
    assert f"Replaces {told}" in published.run(*step, "--devices", "c").out
