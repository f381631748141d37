"""The unit takes away what the agent does not need, and nothing that it does."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "packaging" / "systemd"
UNIT = FOLDER / "primum-agent.service"
EXPOSURE = 20
"""Tenths of a point of ``systemd-analyze security``: 10.0 is bare, 2.0 and less is "OK"."""


def analyse(*words: object) -> str:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    done = subprocess.run(
        ["systemd-analyze", *map(str, words)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def service() -> dict[str, list[str]]:
    """The settings of the ``[Service]`` section, each with all of its values."""
    found: dict[str, list[str]] = {}
    section = UNIT.read_text().partition("[Service]\n")[2].partition("\n[Install]")[0]
    for line in section.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def test_the_unit_is_one_that_systemd_accepts(tmp_path: Path) -> None:
    """Also its own command is there, as the package lays it."""
    agent = tmp_path / "usr/bin/primum-agent"
    agent.parent.mkdir(parents=True)
    agent.write_text("#!/bin/sh\n")
    agent.chmod(0o755)
    (tmp_path / UNIT.name).write_text(UNIT.read_text().replace("/usr/bin/primum-agent", str(agent)))
    assert analyse("verify", "--man=no", tmp_path / UNIT.name) == ""


def test_the_unit_exposes_little() -> None:
    told = analyse("security", "--offline=true", f"--threshold={EXPOSURE}", UNIT)
    assert re.search(r"Overall exposure level for primum-agent.service: [01]\.\d", told)


def test_a_memory_image_with_the_devices_key_is_never_left(service: dict[str, list[str]]) -> None:
    """A watchdog ends the agent with SIGABRT, which would write one."""
    assert service["LimitCORE"] == ["0"]


def test_the_manager_waits_longer_than_the_agent_promises_and_then_ends_everything(
    service: dict[str, list[str]],
) -> None:
    (seconds,) = service["TimeoutStopSec"]
    assert int(seconds.removesuffix("s")) > 10
    # The agent ends its children in order; only what is left after it is killed.
    assert service["KillMode"] == ["mixed"]


def test_a_self_test_that_outgrows_the_memory_does_not_end_the_agent(
    service: dict[str, list[str]],
) -> None:
    assert service["OOMPolicy"] == ["continue"]
    assert service["MemoryMax"] == ["50%"]


def test_an_agent_that_ends_is_started_again_for_ever(service: dict[str, list[str]]) -> None:
    """Only what a person has to put right, another device's provisioning, is left alone."""
    assert service["Restart"] == ["always"]
    assert service["RestartPreventExitStatus"] == ["2"]
    assert "StartLimitIntervalSec=0" in UNIT.read_text().splitlines()


def test_children_speak_to_nobody_in_the_agents_name(service: dict[str, list[str]]) -> None:
    assert service["Type"] == ["notify"]
    assert service["NotifyAccess"] == ["main"]


def test_what_the_self_test_confines_itself_with_is_let_through(
    service: dict[str, list[str]],
) -> None:
    allowed = " ".join(service["SystemCallFilter"])
    for call in ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"):
        assert call in allowed
    # A refused call is an error that the library answers to, not the process's end.
    assert service["SystemCallErrorNumber"] == ["EPERM"]
    assert "ProtectProc" not in service, "the peak memory of a self-test would be hidden"


@pytest.mark.parametrize(
    ("program", "name"),
    [("systemd-sysusers", "primum.sysusers.conf"), ("systemd-tmpfiles", "primum.tmpfiles.conf")],
)
def test_user_and_folders_are_made_in_an_empty_root(
    tmp_path: Path, program: str, name: str
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("primum:x:990:990::/var/lib/primum:/usr/sbin/nologin\n")
    (tmp_path / "etc/group").write_text("primum:x:990:\n")
    if program == "systemd-sysusers":
        for file in ("passwd", "group"):
            (tmp_path / "etc" / file).write_text("")
    words = ["--create"] if program == "systemd-tmpfiles" else []
    asked = [program, f"--root={tmp_path}", *words, str(FOLDER / name)]
    done = subprocess.run(asked, check=False, capture_output=True, text=True)
    if done.returncode and "ermission" in done.stderr:
        pytest.skip("needs root, to give folders to another user")
    assert done.returncode == 0, done.stderr
    if program == "systemd-sysusers":
        assert "primum:" in (tmp_path / "etc/passwd").read_text()
    else:
        for folder in ("var/lib/primum", "etc/primum"):
            found = (tmp_path / folder).stat()
            assert (found.st_uid, oct(found.st_mode & 0o777)) == (990, "0o750")
