"""A device with the packages installed, in a room: what a person there would type."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.unit.packaging.room import SHOWN, Room

CHECKOUT = Path(__file__).parents[3]
BUILD = CHECKOUT / "packaging" / "debian" / "build_packages.py"
UNIT = "primum-agent.service"
NEWER = "newer.deb"
STATE = "/var/lib/primum"
AS_AGENT = ("runuser", "-u", "primum", "--")
APPLICATION = """
import sys, time
from pathlib import Path
from primum_agent.application import ActiveRelease, open_active
found = open_active(Path("/var/lib/primum"))
sys.exit(not (isinstance(found, ActiveRelease) and found.prove_health()))
"""


def build(folder: Path, *words: str, **variables: str) -> list[Path]:
    """The files that ``make package`` would leave in a folder, by its script's own words."""
    done = subprocess.run(
        [sys.executable, "-I", BUILD, "--output", folder, *words],
        check=False,
        capture_output=True,
        text=True,
        # A commit meanwhile would be another time.
        env={**os.environ, "SOURCE_DATE_EPOCH": "1790000000", **variables},
    )
    assert done.returncode == 0, done.stderr
    return [Path(line) for line in done.stdout.split()]


def build_with_newer(folder: Path) -> None:
    """Builds agent and bench into a folder, and beside them the same agent as a later version."""
    agent = build(folder)[0]
    newer = folder / "newer"
    subprocess.run(["dpkg-deb", "-R", agent, newer], check=True)
    control = newer / "DEBIAN" / "control"
    control.write_text(control.read_text().replace("Version: 0.1.0", "Version: 0.1.0+1"))
    pack = ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "-b", str(newer)]
    subprocess.run([*pack, str(folder / NEWER)], check=True, capture_output=True)
    shutil.rmtree(newer)


def made_packages(folder: Path) -> list[Path]:
    """Agent and bench, in that order, of a folder that :func:`build_with_newer` filled."""
    return [*folder.glob("primum-agent_*.deb"), *folder.glob("primum-bench_*.deb")]


def lay_before(field: Any, packages: list[Path]) -> None:
    """Shows a room one device's provisioning, its state, the packages, and a newer one.

    Args:
        field: the world; it serves from the folder that the room sees.
        packages: agent and bench, with the newer agent beside them.
    """
    lay_settings(field)
    for package in [*packages, packages[0].with_name(NEWER)]:
        (field.folder / package.name).hardlink_to(package)
    field.folder.chmod(0o755)


def lay_settings(field: Any, more: str = "") -> None:
    """The settings as the room is to see them, with further lines at their end."""
    field.more_settings = more
    settings = field.settings(2.0, None).replace(field.folder.as_uri(), f"file://{SHOWN}")
    field.write("agent.toml", settings.encode())


def dpkg(room: Room, *words: str) -> str:
    return room.run("env", "DEBIAN_FRONTEND=noninteractive", "dpkg", *words)


def install(room: Room) -> None:
    room.run("sh", "-c", f"dpkg -i {SHOWN}/primum-*.deb")


def provision(room: Room) -> None:
    """As a person on the device would: key and names, then the provisioning."""
    room.run(
        "sh", "-c", f"cp {SHOWN}/state/device.* {STATE}/; cp -r {SHOWN}/provisioning/. /etc/primum/"
    )
    room.run("chown", "-R", "primum:primum", STATE, "/etc/primum")


def agent(room: Room, command: str, *words: str, ok: bool = True) -> str:
    provisioned = ("--provisioning", "/etc/primum") if command in {"run", "doctor"} else ()
    ask = [*AS_AGENT, "primum-agent", command, "--state", STATE, *provisioned, *words]
    return room.run(*ask, ok=ok)


def status(room: Room) -> dict[str, Any]:
    ask = [*AS_AGENT, "sh", "-c", f"primum-agent status --json --state {STATE}; true"]
    answer: dict[str, Any] = json.loads(room.run(*ask))
    return answer


def events(room: Room, kind: str) -> list[dict[str, Any]]:
    """The data of the device's events of one kind, oldest first."""
    ask = [*AS_AGENT, "primum-agent", "history", "--state", STATE, "--json"]
    every = json.loads(room.run(*ask))
    return [item["data"] for item in every if item["type"] == f"primum.device.{kind}"]


def rests_on(room: Room, version: str) -> bool:
    """Whether this version serves, is proven, and no update is under way."""
    seen = status(room)
    return bool(seen["version"] == version and seen["proven"] and seen["state"] == "idle")


def serves(room: Room, version: str) -> bool:
    return str(status(room)["version"]) == version


def unit(room: Room, name: str, *, of: str = UNIT) -> str:
    return room.run("systemctl", "show", "--value", "--property", name, of)


def start(room: Room) -> None:
    # With what it said where it does not start.
    asked = f"systemctl start {UNIT} || (journalctl -u {UNIT} -n 30 --no-pager; false)"
    room.run("sh", "-c", asked)
    assert unit(room, "ActiveState") == "active"


def prove_health(room: Room) -> None:
    room.run(*AS_AGENT, "/usr/lib/primum/bin/python3", "-I", "-c", APPLICATION)


def processes(room: Room) -> list[str]:
    return room.run("sh", "-c", "ps -u primum -o args= || true").splitlines()
