"""Whose fault it is where a service of a set does not run: the release's, or the device's."""

from __future__ import annotations

from pathlib import Path

import pytest

from primum_agent.components import ComponentFailedError, Part
from primum_agent.install_tree import TreeInstaller
from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason

PART = Part(
    id="bedside-app",
    version="2.0.0",
    generation=1,
    release="a" * 64,
    folder=Path("/nowhere"),
    stored={},
    kinds={},
    files={},
    identity="b" * 64,
)
UP = 'case "$*" in *show*) echo active;; esac\n'


def service_manager(folder: Path, monkeypatch: pytest.MonkeyPatch, does: str) -> TreeInstaller:
    """An installer whose ``systemctl`` is a program of the test."""
    program = folder / "systemctl"
    program.write_text(f'#!/bin/sh\necho "$*" >> {folder}/asked\n{does}')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return TreeInstaller(
        folder / "components",
        unit="app.service",
        step_seconds=1.0,
        make_room=lambda _: None,
        held=lambda _: lambda _: None,
    )


def refuses(verb: str, said: str, code: int) -> str:
    return f'case "$*" in *{verb}*) echo "{said}" >&2; exit {code};; esac\n{UP}'


def test_a_service_is_ready_before_it_is_in_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service_manager(tmp_path, monkeypatch, UP).take_effect(PART)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert [line.split()[1] for line in asked] == ["reset-failed", "restart", "show"]
    assert all(line.split()[0] == "--no-ask-password" for line in asked)


@pytest.mark.parametrize(
    ("does", "found"),
    [
        (f'case "$*" in *restart*) sleep 60;; esac\n{UP}', "did not end within 1 s"),
        (refuses("restart", "Job for app.service failed.", 1), "Job for app.service failed."),
        ('case "$*" in *show*) echo failed;; esac\n', "app.service is failed"),
    ],
)
def test_a_service_that_does_not_come_up_counts_against_the_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, found: str
) -> None:
    with pytest.raises(ComponentFailedError) as failed:
        service_manager(tmp_path, monkeypatch, does).take_effect(PART)
    assert found in failed.value.found
    assert failed.value.reason is Reason.STATE_COMPONENT


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("Failed to restart app.service: Access denied", 4),
        ("Failed to restart app.service: Interactive authentication required.", 1),
        ("Failed to connect to bus: No such file or directory", 1),
    ],
)
@pytest.mark.parametrize("verb", ["restart", "stop"])
def test_a_device_that_may_not_ask_is_to_blame_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, code: int, verb: str
) -> None:
    installer = service_manager(tmp_path, monkeypatch, refuses(verb, said, code))
    with pytest.raises(FailedError) as failed:
        (installer.take_effect if verb == "restart" else installer.leave)(PART)
    assert not isinstance(failed.value, ComponentFailedError)
    assert failed.value.reason is Reason.RESOURCE_PROGRAM
    assert failed.value.found == said


def test_a_device_without_a_service_manager_is_to_blame_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installer = service_manager(tmp_path, monkeypatch, "")
    (tmp_path / "systemctl").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FailedError) as failed:
        installer.take_effect(PART)
    assert not isinstance(failed.value, ComponentFailedError)
