"""Whether the device has what the components of a set need, before a release relies on it.

Looked at by ``doctor``; nothing is changed, and no hook is started.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from primum_agent.agent_choice import read_choice
from primum_agent.component_settings import HOOK, RAUC, ComponentSettings
from primum_agent.install_tree import SYSTEMCTL
from primum_agent.layout import Layout
from primum_agent.programs import run_program
from primum_agent.rauc import Rauc
from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason

_SECONDS = 10.0


def component_checks(
    components: Mapping[str, ComponentSettings], layout: Layout
) -> Iterator[tuple[str, Callable[[], str]]]:
    """What to look at, component by component.

    Args:
        components: the settings.
        layout: the state folder's names.

    Yields:
        The name for people, and what says what was found or raises a ``FailedError``.
    """
    for name, settings in components.items():
        yield f"component {name}", _check_of(settings, layout)


def _check_of(settings: ComponentSettings, layout: Layout) -> Callable[[], str]:
    if settings.installer == RAUC:
        return lambda: _image(settings)
    if settings.installer == HOOK:
        return lambda: f"{_program(settings.command[0])} can be started"
    return lambda: _tree(settings, layout)


def _image(settings: ComponentSettings) -> str:
    rauc = Rauc(Path(settings.rauc_config), install_seconds=settings.step_seconds)
    rauc.check()
    slots = rauc.slots()
    _program(settings.reboot[0])
    return f"RAUC answers; {slots.booted.name} runs, {slots.other.name} takes the next image"


def _tree(settings: ComponentSettings, layout: Layout) -> str:
    if settings.agent:
        return _agent(layout)
    if not settings.unit:
        return "files alone; no service is restarted"
    asked = run_program(
        [SYSTEMCTL, "show", "--property=LoadState", "--value", settings.unit], seconds=_SECONDS
    )
    found = asked.printed.decode("utf-8", "replace").strip()
    if asked.code or found != "loaded":
        raise _unfit(
            settings.unit,
            found=found or asked.complaint or f"{SYSTEMCTL} ended with {asked.code}",
            expected="a service that systemd has loaded",
            remedy="Install its unit file and run `systemctl daemon-reload`.",
        )
    return f"{settings.unit} is known to systemd"


def _agent(layout: Layout) -> str:
    choice = read_choice(layout)
    if choice.fell_back:
        raise _unfit(
            "the agent",
            found=f"{choice.chosen} did not come to stand and was left",
            expected="the agent of the release that is active",
            remedy="Its log says why: `journalctl --unit primum-agent`; assign another release.",
        )
    return f"the loader starts {choice.now or 'the agent that was installed'}"


def _program(name: str) -> str:
    """The program, where it can be started and only its owner can write to it."""
    path = Path(name)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        found = str(error.strerror)
    else:
        if stat.S_ISREG(mode) and os.access(path, os.X_OK):
            if not mode & (stat.S_IWGRP | stat.S_IWOTH):
                return name
            found = f"others than its owner may write to it (mode {stat.S_IMODE(mode):o})"
        else:
            found = "no program that may be started"
    raise _unfit(
        name,
        found=found,
        expected="a program that the agent may start and only its owner may change",
        remedy="Correct agent.toml, or the program: chmod 755.",
    )


def _unfit(where: str, *, found: str, expected: str, remedy: str) -> FailedError:
    return FailedError(
        "The device lacks what a component needs.",
        reason=Reason.RESOURCE_PROGRAM,
        where=where,
        found=found,
        expected=expected,
        remedy=remedy,
    )
