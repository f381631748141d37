"""A room of its own for a package: this machine's system, where everything written is thrown away.

The root is an overlay over the real one, with its own processes, mounts and host name, so that
``dpkg`` and ``systemd`` themselves are run and nothing of this machine is changed.  Needs root.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SYSTEMD = Path("/lib/systemd/systemd")
CGROUPS = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
SHOWN = "/srv/world"
"""Where the room sees the one folder of the test that it is shown."""

# Each command that a test runs as another user is noted there twice; that says nothing.
JOURNAL = ("sh", "-c", "journalctl --no-pager | grep -v pam_unix | tail -n 40")

# What a machine does at its start that a room must not do to the machine that it stands on.
KEPT_AT_START = ("systemd-journald", "systemd-journal-flush")

ENTER = f"""
set -e
root=$1 upper=$2 work=$3 shown=$4
mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=/,upperdir=$upper,workdir=$work" "$root"
mkdir -p "$root{SHOWN}"
mount --bind "$shown" "$root{SHOWN}"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755 run "$root/run"
mount -t tmpfs -o mode=755 dev "$root/dev"
for name in null zero full random urandom tty; do
    touch "$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
ln -s /proc/self/fd "$root/dev/fd"
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=0666 pts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs shm "$root/dev/shm"
shift 4
if [ "$1" = /lib/systemd/systemd ]; then
    mount -t cgroup2 cgroup "$root/sys/fs/cgroup"
    export container=primum-room
fi
exec chroot "$root" "$@"
"""


@dataclass(frozen=True)
class Room:
    """A root in which commands are run.

    Attributes:
        root: the room's files, as far as they were written in it.
        process: its first process, by the number that this machine knows it by.
    """

    root: Path
    process: int

    def run(self, *words: object, ok: bool = True, seconds: float = 120) -> str:
        """Runs one command to its end; what it printed, errors among it."""
        enter = ["nsenter", f"--target={self.process}", "-m", "-p", "-u", "-i", "-C", "-r", "-w"]
        done = subprocess.run(
            [*enter, *map(str, words)],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
        )
        assert (done.returncode == 0) is ok, f"{words}: {done.returncode}: {done.stdout}"
        return done.stdout.strip()

    def until(self, what: Callable[[], Any], *, seconds: float = 60) -> Any:
        """Looks again until it is there."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := what():
                return found
            time.sleep(0.2)
        raise AssertionError(f"it did not happen in time; {self.run(*JOURNAL)}")


def _needs(what: object, reason: str) -> None:
    if not what:
        pytest.skip(f"needs {reason}")


@contextlib.contextmanager
def open_room(
    shown: Path, *, service_manager: str = "none", with_services: tuple[str, ...] = ()
) -> Iterator[Room]:
    """A room for as long as the block runs.

    Args:
        shown: a folder of the test that the room sees at ``/srv/world``.
        service_manager: ``systemd`` starts this machine's own in the room.
        with_services: names of this machine's services that may be started there.
    """
    _needs(os.geteuid() == 0, "root, for a root of its own")
    booted = service_manager == "systemd"
    first = [str(SYSTEMD), "--unit=room.target"] if booted else ["/bin/sleep", "infinity"]
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="primum-room-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for name in ("root", "upper", "work"):
            (folder / name).mkdir()
        begin = ["sh", "-c", ENTER, "sh", *(str(folder / one) for one in ("root", "upper", "work"))]
        apart = [
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--uts",
            "--ipc",
            "--cgroup",
        ]
        command = [*apart, *begin, str(shown), *first]
        if booted:
            _needs(SYSTEMD.is_file(), "systemd")
            for name in with_services:
                _needs(Path(f"/usr/lib/systemd/system/{name}.service").is_file(), name)
            group = _group(folder.name)
            stack.callback(_leave_group, group)
            _prepare_start(folder / "upper", kept=(*KEPT_AT_START, *with_services))
            command = ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh", *command]
        log = (folder / "log").open("wb")
        stack.callback(log.close)
        holder = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        stack.callback(_end, holder)
        process = _first_process(holder, folder / "log", first[0])
        room = Room(folder / "upper", process)
        if booted:
            room.until(lambda: _is_up(room), seconds=60)
        yield room


def _end(holder: subprocess.Popen[bytes]) -> None:
    """Ends the room: with its first process every other one goes, and with them the mounts."""
    holder.kill()
    holder.wait(timeout=30)


def _is_up(room: Room) -> bool:
    with contextlib.suppress(AssertionError):
        return "active" in room.run("systemctl", "is-active", "room.target").split()
    return False


def _first_process(holder: subprocess.Popen[bytes], log: Path, program: str) -> int:
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if holder.poll() is not None:
            pytest.skip(f"needs an overlay over the root: {log.read_text().strip()[-300:]}")
        with contextlib.suppress(OSError, IndexError):
            process = int(children.read_text().split()[0])
            words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
            if words[0] == program.encode():
                return process
        time.sleep(0.05)
    raise AssertionError("the room was never ready")


def _group(name: str) -> Path:
    """A control group that the room's systemd may have for itself."""
    for parent in CGROUPS:
        if (parent / "cgroup.procs").is_file():
            group = parent / name
            try:
                group.mkdir()
            except OSError as error:
                pytest.skip(f"needs a control group: {error.strerror}")
            return group
    pytest.skip("needs control groups of the second version")


def _leave_group(group: Path) -> None:
    folders = sorted(group.rglob("*/"), key=lambda path: len(path.parts), reverse=True)
    for path in [*folders, group]:
        for _ in range(50):
            try:
                path.rmdir()
                break
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.1)


def _prepare_start(upper: Path, *, kept: tuple[str, ...]) -> None:
    """Lets systemd start nothing of this machine's, and touch no device and no setting of it."""
    system = upper / "etc/systemd/system"
    system.mkdir(parents=True)
    wanted = [*Path("/usr/lib/systemd/system").glob("*.target.wants/*")]
    wanted += [*Path("/etc/systemd/system").glob("*.wants/*")]
    names = {path.name for path in wanted} | {"systemd-remount-fs.service", "systemd-udevd.service"}
    for name in sorted(names):
        if not name.startswith(kept) and not name.endswith(".target"):
            (system / name).symlink_to("/dev/null")
    # Many a container forbids its packages to start services; a device does not.
    policy = upper / "usr/sbin/policy-rc.d"
    policy.parent.mkdir(parents=True)
    policy.write_text("#!/bin/sh\nexit 0\n")
    policy.chmod(0o755)
    (system / "room.target").write_text(
        "[Unit]\nDescription=A room for a test\nRequires=basic.target\nAfter=basic.target\n"
    )
