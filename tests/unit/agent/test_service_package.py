"""The Debian packages and the service in a real life: installed, started, upgraded, taken away.

``dpkg`` and ``systemd`` are this machine's own, in a root where everything written is thrown away.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from tests.unit.packaging.installed import (
    CHECKOUT,
    STATE,
    UNIT,
    agent,
    build,
    dpkg,
    install,
    processes,
    prove_health,
    provision,
    serves,
    start,
    status,
    unit,
)
from tests.unit.packaging.room import SHOWN, Room, open_room

PROBE = """
import json, tempfile
from pathlib import Path
from primum_verifier.proof.confinement import COMPLETE
from primum_verifier.shell.bench import ConfinedBench
from primum_verifier.shell.selftest import self_test
state = Path("/var/lib/primum")
files = state / "generations" / "1"
seen = []
class Seen(ConfinedBench):
    def run(self, **asked):
        seen.append(super().run(**asked))
        return seen[-1]
with tempfile.TemporaryDirectory() as scratch:
    result = self_test(
        model=next(files.glob("*.onnx")),
        spec=(files / "selftest.json").read_bytes(),
        fixtures=files / "fixtures.npz",
        scratch=Path(scratch),
        bench=Seen(required=COMPLETE),
    )
told = {"overall": str(result.overall), "peakKiB": seen[0].peak_rss_kib}
(state / "run" / "probe.json").write_text(json.dumps(told))
"""

pytestmark = pytest.mark.timeout(300)


def set_up_as_the_page_says(room: Room) -> None:
    """The commands of the page, as they stand there, on a device whose key was made before."""
    page = (CHECKOUT / "docs" / "device.md").read_text()
    block = page.partition("## As a service")[2].split("```")[1].strip()
    first, _, rest = block.partition("\n")
    room.run("sh", "-ec", f"cd {SHOWN}\n{first}")
    assert unit(room, "ActiveState") == "inactive", "not provisioned: nothing to run by"
    assert room.run("systemctl", "is-enabled", UNIT) == "enabled"
    room.run("sh", "-c", f"cp {SHOWN}/state/device.* {STATE}/; chown -R primum: {STATE}")
    room.run("sh", "-ec", f"cd {SHOWN}\n{rest}")
    assert unit(room, "ActiveState") == "active"


def test_the_same_sources_give_the_same_package(packages: list[Path], tmp_path: Path) -> None:
    """P6: another place, time zone, language and umask, and the same bytes."""
    again = build(tmp_path, "--without-bench", TZ="Asia/Kathmandu", LC_ALL="C", PYTHONHASHSEED="77")
    assert again[0].name == packages[0].name
    assert again[0].read_bytes() == packages[0].read_bytes()


def test_a_package_holds_nothing_of_the_place_it_was_built_at(packages: list[Path]) -> None:
    for package in packages:
        listed = subprocess.run(
            ["dpkg-deb", "--contents", package], check=True, capture_output=True, text=True
        ).stdout.splitlines()
        assert all(" root/root " in line for line in listed)
        assert not [line for line in listed if line.endswith(("/direct_url.json", "/RECORD"))]
        files = [line for line in listed if line[0] != "l"]
        assert not [line for line in files if "w" in line[5] + line[8]], "root's alone"
    asked = ["dpkg-deb", "--fsys-tarfile", str(packages[0])]
    whole = subprocess.run(asked, check=True, capture_output=True).stdout
    assert b"primum-package-" not in whole, "the folder it was built in"
    assert str(CHECKOUT).encode() not in whole


def test_the_life_of_a_package_under_systemd(world: Any) -> None:
    """Installed, started, updated, hung, killed, upgraded, removed, purged, installed again."""
    with open_room(world.folder, service_manager="systemd") as room:
        set_up_as_the_page_says(room)
        world.release("1.0.0", counter=1)
        room.until(lambda: serves(room, "1.0.0"))
        prove_health(room)
        room.until(lambda: status(room)["proven"])
        room.until(lambda: "pvc-classifier 1.0.0 runs" in unit(room, "StatusText"))
        self_test_is_fully_confined(room, world)
        a_hung_agent_is_started_again(room)
        a_stop_is_quick_and_leaves_nobody(room)
        start(room)
        dpkg(room, "-i", f"{SHOWN}/newer.deb")
        assert "0.1.0+1" in room.run("dpkg-query", "-W", "primum-agent")
        assert unit(room, "ActiveState") == "active"
        assert serves(room, "1.0.0")
        key = room.run("sha256sum", f"{STATE}/device.key")
        dpkg(room, "--remove", "primum-bench", "primum-agent")
        assert processes(room) == []
        room.run("test", "!", "-e", "/usr/bin/primum-agent")
        room.run("test", "!", "-e", "/usr/lib/primum")
        said = dpkg(room, "--purge", "primum-agent")
        assert "are records" in said
        assert room.run("sha256sum", f"{STATE}/device.key") == key
        dpkg(room, "-i", f"{SHOWN}/newer.deb")
        room.until(lambda: unit(room, "ActiveState") == "active")
        assert serves(room, "1.0.0")
        agent(room, "doctor")


def self_test_is_fully_confined(room: Room, world: Any) -> None:
    """Inside the unit's own settings the bench holds all of its own, and its peak is seen."""
    (world.folder / "probe.py").write_text(PROBE)
    asked = (
        f"sed -e 's/^Type=.*/Type=oneshot/' -e 's/^Restart.*//'"
        f" -e 's|^ExecStart=.*|ExecStart=/usr/lib/primum/bin/python3 -I {SHOWN}/probe.py|'"
        f" /usr/lib/systemd/system/{UNIT} > /run/systemd/system/probe.service"
    )
    room.run("sh", "-c", asked)
    room.run("systemctl", "daemon-reload")
    room.run("sh", "-c", "systemctl start probe || (journalctl -u probe --no-pager; false)")
    seen = json.loads(room.run("cat", f"{STATE}/run/probe.json"))
    assert seen["overall"] == "passed"
    assert seen["peakKiB"] > 10_000


def a_hung_agent_is_started_again(room: Room) -> None:
    room.run("mkdir", "-p", f"/run/systemd/system/{UNIT}.d")
    short = "printf '[Service]\\nWatchdogSec=2s\\nRestartSec=100ms\\n'"
    room.run("sh", "-c", f"{short} > /run/systemd/system/{UNIT}.d/short.conf")
    room.run("systemctl", "daemon-reload")
    room.run("systemctl", "restart", UNIT)
    before = unit(room, "MainPID")
    time.sleep(2.5)
    assert unit(room, "MainPID") == before, "a loop that turns gives signs of life"
    room.run("kill", "-STOP", before)
    room.until(lambda: unit(room, "MainPID") not in {before, "0"})
    assert int(unit(room, "NRestarts")) == 1
    room.until(lambda: unit(room, "ActiveState") == "active")
    room.run("rm", f"/run/systemd/system/{UNIT}.d/short.conf")
    room.run("systemctl", "daemon-reload")


def a_stop_is_quick_and_leaves_nobody(room: Room) -> None:
    began = time.monotonic()
    room.run("systemctl", "stop", UNIT)
    assert time.monotonic() - began < 10
    assert unit(room, "Result") == "success"
    assert processes(room) == []


def test_without_systemd_it_installs_runs_once_and_is_taken_away(world: Any) -> None:
    world.release("1.0.0", counter=1, health_window=2)
    with open_room(world.folder) as room:
        install(room)
        provision(room)
        assert room.run("primum-agent", "--version") == "primum-agent 0.1.0"
        assert "release" in room.run("primum-verify", "--help")
        agent(room, "doctor")
        a_command_of_root_acts_as_the_owner(room)
        dpkg(room, "-i", f"{SHOWN}/newer.deb")
        agent(room, "doctor")
        dpkg(room, "--purge", "primum-bench", "primum-agent")
        room.run("test", "-f", f"{STATE}/journal.db")


def a_command_of_root_acts_as_the_owner(room: Room) -> None:
    """As root the self-test could not read the model, and the release would be given up for it."""
    folders = ("--state", STATE, "--provisioning", "/etc/primum")
    said = room.run("primum-agent", "run", "--once", *folders, ok=False)
    assert "rolled back" in said, "activated, and no application proved health"
    room.run("primum-agent", "retry", "1.0.0", "--state", STATE)
    room.run("primum-agent", "doctor", *folders)
    assert room.run("find", STATE, "-user", "root") == ""


def test_an_image_gets_the_package_and_nothing_is_started(
    packages: list[Path], tmp_path: Path
) -> None:
    """As who builds an OS image does it: scripts run outside the root that they work on."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to give folders to another user")
    root = tmp_path / "image"
    for name in ("info", "updates", "triggers"):
        (root / "var/lib/dpkg" / name).mkdir(parents=True)
    (root / "etc").mkdir()
    (root / "var/lib/dpkg/status").touch()

    def image(*words: str) -> str:
        asked = ["dpkg", f"--root={root}", "--force-script-chrootless", "--force-depends"]
        done = subprocess.run([*asked, *words], check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    image("-i", str(packages[0]))
    wanted = root / "etc/systemd/system/multi-user.target.wants" / UNIT
    assert wanted.is_symlink()
    assert (root / "var/lib/primum").stat().st_mode & 0o777 == 0o750
    assert "primum:" in (root / "etc/passwd").read_text()
    (root / "var/lib/primum/device.key").write_text("a record")
    image("-r", "primum-agent")
    assert not (root / "usr/lib/primum").exists()
    assert "are records" in image("-P", "primum-agent")
    assert (root / "var/lib/primum/device.key").read_text() == "a record"
    assert not wanted.is_symlink()
