"""A service of a set under a real systemd: restarted by rule, left where it fails, vouched for.

The agent runs as its own user under the unit of the package; polkit and the bus are this
machine's, and the rule is the example of the package.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.agent.set_releases import Part, publish_parts, tree_part
from tests.unit.packaging.installed import (
    AS_AGENT,
    STATE,
    UNIT,
    agent,
    events,
    install,
    lay_settings,
    prove_health,
    provision,
    rests_on,
    start,
    status,
    unit,
)
from tests.unit.packaging.room import Room, open_room

APP = "bedside-app.service"
SETTINGS = f"""
[health]
unit = "{APP}"
probe_seconds = 0.3
[components.bedside-app]
installer = "tree"
unit = "{APP}"
step_seconds = 20
"""
SERVICE = f"""
[Service]
Type=notify
ExecStart={STATE}/components/bedside-app/bin/bedside-app
User=bedside
Group=primum
WatchdogSec=1s
TimeoutStartSec=3s
Restart=on-failure
RestartSec=200ms
"""
BEGINS = """#!/usr/bin/python3 -I
import os, socket, sys, time
def tell(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.sendto(text.encode(), os.environ["NOTIFY_SOCKET"])
"""
WORKS = 'tell("READY=1")\nwhile True:\n    tell("WATCHDOG=1")\n    time.sleep(0.2)\n'
NEVER_READY = "time.sleep(600)\n"
DIES = 'tell("READY=1")\ntime.sleep(0.4)\nsys.exit(7)\n'
HANGS = 'tell("READY=1")\ntime.sleep(600)\n'

RULE = "/usr/share/doc/primum-agent/examples/primum-components.rules"

pytestmark = pytest.mark.timeout(600)


def app(version: str, does: str) -> Part:
    files = {"bin/bedside-app": (BEGINS + does).encode(), "version": version.encode()}
    return tree_part(files, version=version)


def let_the_agent_restart_it(room: Room) -> None:
    room.run("cp", RULE, "/etc/polkit-1/rules.d/50-primum.rules")


def in_a_room(world: Any, *services: str) -> Iterator[Room]:
    lay_settings(world, SETTINGS)
    with open_room(world.folder, service_manager="systemd", with_services=services) as opened:
        install(opened)
        provision(opened)
        opened.run("useradd", "--system", "--gid", "primum", "bedside")
        (world.folder / APP).write_text(SERVICE)
        opened.run("cp", f"/srv/world/{APP}", f"/etc/systemd/system/{APP}")
        opened.run("systemctl", "daemon-reload")
        start(opened)
        yield opened


@pytest.fixture
def room(world: Any) -> Iterator[Room]:
    yield from in_a_room(world, "dbus", "polkit")


@pytest.fixture
def room_without_a_bus(world: Any) -> Iterator[Room]:
    yield from in_a_room(world)


def runs(room: Room) -> str:
    """The version of the application that runs now; empty where none does."""
    if unit(room, "ActiveState", of=APP) != "active":
        return ""
    return room.run("cat", f"{STATE}/components/bedside-app/version")


def process(room: Room) -> str:
    return unit(room, "MainPID", of=APP)


def test_the_life_of_a_service_of_a_set(world: Any, room: Room) -> None:
    """No rule yet, a rule, a dead agent, three that fail, and a set that has it no more."""
    publish_parts(world, "1.0.0", app("1.0.0", WORKS), counter=1)
    an_agent_without_a_rule_says_so_and_holds_it_against_nobody(room)
    let_the_agent_restart_it(room)
    room.until(lambda: rests_on(room, "1.0.0"))
    assert runs(room) == "1.0.0", "systemd's watchdog vouched for it"
    assert "proves a release once it held for 2 s" in agent(room, "doctor")
    a_dead_agent_neither_stops_nor_starts_it(room)
    for counter, does in enumerate((NEVER_READY, DIES, HANGS), start=2):
        one_that_fails_is_left(world, room, counter, does)
    nothing_else_may_be_restarted(room)
    world.release("2.0.0", counter=9)
    room.until(lambda: status(room)["version"] == "2.0.0")
    assert unit(room, "ActiveState", of=APP) == "inactive", "the set has it no more"
    prove_health(room)
    room.until(lambda: rests_on(room, "2.0.0"))


def an_agent_without_a_rule_says_so_and_holds_it_against_nobody(room: Room) -> None:
    room.until(lambda: events(room, "update.failed"))
    failed = events(room, "update.failed")[-1]
    assert failed["reasons"] == ["resource.program"]
    assert "manage this one service" in failed["detail"]["expected"]
    assert "polkit rule" in failed["detail"]["remedy"]
    told = status(room)
    assert (told["version"], told["faults"]) == (None, {})
    assert not any(item["final"] for item in told["remembered"]), "it is tried again, less often"
    assert unit(room, "ActiveState", of=APP) == "inactive"


def a_dead_agent_neither_stops_nor_starts_it(room: Room) -> None:
    before = process(room)
    room.run("kill", "-KILL", unit(room, "MainPID"))
    room.run("systemctl", "stop", UNIT)
    assert process(room) == before
    room.run("kill", "-KILL", before)
    room.until(lambda: runs(room) and process(room) != before), "systemd's own business"
    room.run("systemctl", "stop", APP)
    polls = len(events(room, "agent.started"))
    start(room)
    room.until(lambda: status(room)["lastPoll"] and len(events(room, "agent.started")) > polls)
    assert unit(room, "ActiveState", of=APP) == "inactive", "a person stopped it"
    room.run("systemctl", "start", APP)


def one_that_fails_is_left(world: Any, room: Room, counter: int, does: str) -> None:
    version, back = f"1.{counter}.0", len(events(room, "update.rolled-back"))
    failed = len(events(room, "update.failed"))
    before = process(room)
    part = app(version, does)
    publish_parts(world, version, part, counter=counter, max_attempts=1, health_window=6)
    began = time.monotonic()

    def left() -> bool:
        if does == NEVER_READY:
            return len(events(room, "update.failed")) > failed
        return len(events(room, "update.rolled-back")) > back

    room.until(left)
    room.until(lambda: runs(room) == "1.0.0")
    print(f"{does!r}: back after {time.monotonic() - began:.1f} s")
    assert rests_on(room, "1.0.0")
    assert process(room) != before
    if does == NEVER_READY:
        assert events(room, "update.failed")[-1]["reasons"] == ["state.component"]
        assert list(status(room)["faults"].values()) == ["state.component"]
    else:
        assert "state.health" in events(room, "update.rolling-back")[-1]["reasons"]


def nothing_else_may_be_restarted(room: Room) -> None:
    """The rule names one service and three verbs; the agent's user has no others."""
    for words in (("restart", "systemd-journald.service"), ("start", APP), ("mask", APP)):
        asked = [*AS_AGENT, "systemctl", "--no-ask-password", *words]
        assert "authentication required" in room.run(*asked, ok=False).lower()


def test_without_a_bus_the_release_is_blamed_for_nothing(
    world: Any, room_without_a_bus: Room
) -> None:
    room = room_without_a_bus
    publish_parts(world, "1.0.0", app("1.0.0", WORKS), counter=1)
    room.until(lambda: events(room, "update.failed"))
    assert events(room, "update.failed")[-1]["reasons"] == ["resource.program"]
    assert not any(item["final"] for item in status(room)["remembered"])
    said = agent(room, "doctor", ok=False)
    assert f"BAD  health by {APP}" in said
