"""The agent of the package gives way to one of a set, under its own unit, and one comes back.

The tree is the one that ``make package-tree`` builds, with another version written into it; the
loader, the service and its hardening are those of the package.
"""

from __future__ import annotations

import lzma
import py_compile
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.agent.set_releases import Part, publish_parts, tree_part
from tests.unit.packaging.installed import (
    STATE,
    UNIT,
    agent,
    dpkg,
    events,
    install,
    lay_settings,
    processes,
    prove_health,
    provision,
    rests_on,
    serves,
    start,
    status,
    unit,
)
from tests.unit.packaging.room import SHOWN, Room, open_room

from primum_repo_tools import tree_pack

AGENT = '[components.agent]\ninstaller = "tree"\nagent = true\n'
AS_BEFORE = ("generations/2/.agent.env", "generations/3/.agent.env")
"""The same agent, byte for byte, in two releases."""

SOON = "[Service]\nRestartSec=1s\n"

# What the unit takes for "waits for a person", said by an agent that never proved itself.
GIVES_UP = "sys.exit(2)"
DIES = "__import__('signal').raise_signal(9)"

pytestmark = pytest.mark.timeout(600)


def agent_part(tree: Path, version: str, folder: Path, *, fault: str = "") -> Part:
    """The built agent with another version, and with a fault where it begins to run."""
    other = folder / version
    shutil.copytree(tree, other)
    changes = {
        "primum_agent/journal.py": ('AGENT_VERSION = "0.1.0"', f'AGENT_VERSION = "{version}"')
    }
    if fault:
        changes["primum_agent/commands/run.py"] = (
            # Not where it is only loaded: that is found before anything is switched.
            "    return supervise(options, once",
            f"    {fault}\n        return supervise(options, once",
        )
    for name, (old, new) in changes.items():
        text = (other / name).read_text()
        assert old in text
        (other / name).write_text(text.replace(old, new))
        # What the builder compiled is never held against its source.
        py_compile.compile(
            str(other / name),
            dfile=name,
            # Otherwise what was compiled before would be run.
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
    return laid(other, version)


def laid(tree: Path, version: str) -> Part:
    """The component that the release side makes of a tree."""
    files = [path for path in tree.rglob("*") if path.is_file()]
    held = {str(path.relative_to(tree)): path.read_bytes() for path in files}
    return tree_part(held, name="agent", version=version)


def runs_from(room: Room) -> str:
    """The folder of the agent that the unit runs now; empty for the installed one."""
    process = unit(room, "MainPID")
    words = room.run("sh", "-c", f"tr '\\0' ' ' < /proc/{process}/cmdline || true")
    return words.partition("/bin/python3")[0].removeprefix(STATE).lstrip("/")


def restarts_soon(room: Room) -> None:
    room.run("mkdir", "-p", f"/run/systemd/system/{UNIT}.d")
    room.run("sh", "-c", f"printf '{SOON}' > /run/systemd/system/{UNIT}.d/soon.conf")
    room.run("systemctl", "daemon-reload")


@pytest.fixture
def room(world: Any) -> Iterator[Room]:
    lay_settings(world, AGENT)
    with open_room(world.folder, service_manager="systemd") as opened:
        install(opened)
        provision(opened)
        restarts_soon(opened)
        start(opened)
        yield opened


def test_the_agent_of_a_package_gives_way_to_one_of_a_set(
    world: Any,
    room: Room,
    agent_tree: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Replaced, restarted, broken, upgraded and removed below it, installed again."""
    first = agent_part(agent_tree, "0.2.0", tmp_path)
    # The first is packed as any release is; for the broken ones that took ten seconds each.
    monkeypatch.setattr(tree_pack, "_FILTERS", [{"id": lzma.FILTER_LZMA2, "preset": 0}])
    one_that_the_disk_forbids_to_run_is_found_before_anything_is_switched(world, room, first)
    publish_parts(world, "1.0.0", first, counter=2, health_window=120)
    began = time.monotonic()
    room.until(lambda: serves(room, "1.0.0"), seconds=120)
    print(f"replaced after {time.monotonic() - began:.1f} s")
    prove_health(room)
    room.until(lambda: rests_on(room, "1.0.0"))
    assert runs_from(room) == "generations/2/.agent.env"
    assert [item["agentVersion"] for item in events(room, "agent.started")] == [
        *["0.1.0"] * 3,
        "0.2.0",
    ]
    room.run("systemctl", "restart", UNIT)
    assert runs_from(room) == "generations/2/.agent.env"
    roots_commands_are_the_owners(room)
    # The bench of the package serves an agent of a set, too.
    publish_parts(world, "1.1.0", first, counter=3)
    room.until(lambda: serves(room, "1.1.0"))
    prove_health(room)
    room.until(lambda: rests_on(room, "1.1.0"))
    assert runs_from(room) == "generations/2/.agent.env", "the same bytes are not started anew"
    for counter, fault in enumerate((GIVES_UP, DIES), start=4):
        one_that_never_comes_to_stand_gives_way(
            world, room, agent_part(agent_tree, f"0.{counter}.0", tmp_path, fault=fault), counter
        )
    packages_come_and_go(room)


def one_that_the_disk_forbids_to_run_is_found_before_anything_is_switched(
    world: Any, room: Room, part: Part
) -> None:
    """Compiled modules cannot be loaded from a mount with ``noexec``."""
    room.run("mount", "--bind", STATE, STATE)
    room.run("mount", "-o", "remount,bind,noexec", STATE)
    room.run("systemctl", "restart", UNIT)
    publish_parts(world, "0.9.0", part, counter=1, max_attempts=1)
    room.until(lambda: events(room, "update.failed"), seconds=120)
    failed = events(room, "update.failed")[-1]
    assert failed["reasons"] == ["state.component"]
    assert "failed to map segment" in failed["detail"]["found"]
    room.run("test", "!", "-e", f"{STATE}/agent.json")
    room.run("test", "!", "-e", f"{STATE}/active")
    room.run("systemctl", "stop", UNIT)
    room.run("umount", STATE)
    start(room)


def roots_commands_are_the_owners(room: Room) -> None:
    room.run("primum-agent", "retry", "1.0.0", "--state", STATE, ok=False)
    room.run("primum-agent", "history", "--state", STATE)
    assert room.run("find", STATE, "-user", "root") == ""


def one_that_never_comes_to_stand_gives_way(
    world: Any, room: Room, part: Part, counter: int
) -> None:
    version, since = f"1.{counter}.0", len(events(room, "agent.started"))
    publish_parts(world, version, part, counter=counter, max_attempts=1)
    began = time.monotonic()
    room.until(lambda: version in str(status(room).get("remembered", "")), seconds=150)
    print(f"back after {time.monotonic() - began:.1f} s")
    room.until(lambda: rests_on(room, "1.1.0"))
    assert runs_from(room) in AS_BEFORE
    started = [item["agentVersion"] for item in events(room, "agent.started")][since:]
    assert set(started) == {"0.2.0"}
    failed = events(room, "update.failed")[-1]
    assert failed["reasons"] == ["state.component"]


def packages_come_and_go(room: Room) -> None:
    dpkg(room, "-i", f"{SHOWN}/newer.deb")
    assert unit(room, "ActiveState") == "active"
    assert runs_from(room) in AS_BEFORE
    dpkg(room, "--remove", "primum-bench", "primum-agent")
    assert processes(room) == []
    room.run("test", "!", "-e", "/usr/lib/primum")
    room.run("test", "-d", f"{STATE}/generations/3/.agent.env")
    room.run("sh", "-c", f"dpkg -i {SHOWN}/newer.deb {SHOWN}/primum-bench*.deb")
    room.until(lambda: unit(room, "ActiveState") == "active")
    assert runs_from(room) in AS_BEFORE
    assert rests_on(room, "1.1.0")
    agent(room, "doctor", ok=False)
