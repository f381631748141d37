"""What ``doctor`` says of the components of a device, before a release relies on them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from primum_agent.component_checks import component_checks
from primum_agent.component_settings import ComponentSettings
from primum_agent.layout import Layout
from primum_verifier.core.errors import FailedError

SYSTEMCTL = """\
#!/bin/sh
test "$4" = app.service && echo loaded || echo not-found
"""


def found(settings: ComponentSettings) -> str:
    ((what, look),) = component_checks({"it": settings}, Layout(Path("/nowhere")))
    assert what == "component it"
    return look()


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "hook"
    path.write_text("#!/bin/sh\nexit 1\n")
    path.chmod(0o755)
    return path


def test_a_hook_is_looked_at_and_not_started(program: Path) -> None:
    assert "can be started" in found(ComponentSettings("hook", command=(str(program), "x")))


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o644])
def test_a_hook_that_cannot_be_started_or_that_others_may_change_is_told(
    program: Path, mode: int
) -> None:
    program.chmod(mode)
    with pytest.raises(FailedError) as raised:
        found(ComponentSettings("hook", command=(str(program),)))
    assert (raised.value.reason, raised.value.where) == ("resource.program", str(program))


@pytest.mark.parametrize("name", ["nothing", "."])
def test_a_hook_that_is_no_program_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(FailedError, match="lacks what a component needs"):
        found(ComponentSettings("hook", command=(str(tmp_path / name),)))


def test_a_service_has_to_be_known_to_systemd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "systemctl"
    program.write_text(SYSTEMCTL)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert "known to systemd" in found(ComponentSettings("tree", unit="app.service"))
    with pytest.raises(FailedError) as raised:
        found(ComponentSettings("tree", unit="other.service"))
    assert raised.value.found == "not-found"
    assert "daemon-reload" in raised.value.remedy


def test_what_needs_nothing_of_the_device_is_well() -> None:
    assert "no service" in found(ComponentSettings("tree"))
    assert "loader" in found(ComponentSettings("tree", agent=True))
