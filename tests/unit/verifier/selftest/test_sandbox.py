"""What a process inside the sandbox tries and must not manage; each in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

import primum_verifier
from primum_verifier.proof.confinement import COMPLETE, Confinement

_SCRIPT = """
import ctypes, json, os, socket, subprocess, sys, threading
from pathlib import Path
from primum_verifier.shell.sandbox import Limits, Sandbox
folder = Path(sys.argv[1])
box = Sandbox()
box.close_files(
    limits=Limits(memory_bytes=512 * 2**20, cpu_seconds=5),
    readable=(folder / "readable",), parent=int(sys.argv[2]))
libc = ctypes.CDLL(None, use_errno=True)
signal_at_death = ctypes.c_int()
libc.prctl(2, ctypes.byref(signal_at_death))
status = Path("/proc/self/status").read_text()
facts = {
    "dumpable": libc.prctl(3, 0, 0, 0, 0),
    "signal at parent's death": signal_at_death.value,
    "capabilities": [line.split()[1] for line in status.splitlines() if line[:6] == "CapEff"],
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "file size": resource.getrlimit(resource.RLIMIT_FSIZE),
    "processor time": resource.getrlimit(resource.RLIMIT_CPU),
}
box.close_calls()

def write(): (folder / "written").write_text("x")
def overwrite(): (folder / "readable").write_text("x")
def secret(): (folder / "secret").read_text()
def listing(): list(folder.iterdir())
def shadow(): Path("/etc/passwd").read_text()
def connections(): Path("/proc/self/net/tcp").read_text()
def mounts(): Path("/proc/self/mountinfo").read_text()
def environment(): Path("/proc/self/environ").read_text()
def unlink(): (folder / "readable").unlink()
def tcp(): socket.socket()
def udp(): socket.socket(type=socket.SOCK_DGRAM)
def local(): socket.socket(socket.AF_UNIX)
def pair(): socket.socketpair()
def program(): os.execv("/bin/true", ["true"])
def spawn(): subprocess.run(["/bin/true"])
def fork():
    if os.fork() == 0: os._exit(0)
def kill(): os.kill(os.getppid(), 0)
def change_limits(): resource.setrlimit(resource.RLIMIT_NOFILE, (10, 10))
def raise_limits():
    resource.setrlimit(resource.RLIMIT_AS, (100 * 2**30, 100 * 2**30))
def trace():
    if libc.ptrace(16, os.getppid(), 0, 0) < 0: raise OSError(ctypes.get_errno(), "ptrace")
def mount():
    if libc.mount(b"none", b"/mnt", b"tmpfs", 0, None) < 0:
        raise OSError(ctypes.get_errno(), "mount")
def executable_memory():
    import mmap
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
def much_memory(): bytearray(2**30)
def allowed_read(): (folder / "readable").read_text()
def allowed_thread():
    thread = threading.Thread(target=lambda: None); thread.start(); thread.join()

answers = {}
for name in %r:
    try:
        globals()[name]()
        answers[name] = "done"
    except (OSError, MemoryError, RuntimeError, ValueError) as error:
        answers[name] = type(error).__name__
print(json.dumps({"held": sorted(box.held), "answers": answers, "facts": facts}))
"""
_IMPORTS = """
import mmap, resource, sys
sys.path.append(sys.argv[1] + "/source")
"""
"""Imported before it is confined; the folder holds a copy of the package where there is need."""

_FORBIDDEN = (
    "write", "overwrite", "secret", "listing", "shadow", "unlink", "tcp", "udp", "local", "pair",
    "program", "spawn", "fork", "kill", "raise_limits", "change_limits", "trace", "mount",
    "executable_memory", "much_memory", "connections", "mounts", "environment",
)  # fmt: skip
_ALLOWED = ("allowed_read", "allowed_thread")


def _inside(
    folder: Path, *, user: int | None = None, interpreter: str = sys.executable
) -> dict[str, dict[str, Any]]:
    (folder / "readable").write_text("r")
    (folder / "secret").write_text("s")
    script = _SCRIPT % ((*_FORBIDDEN, *_ALLOWED),)
    done = subprocess.run(
        [interpreter, "-I", "-c", _IMPORTS + script, str(folder), str(os.getpid())],
        capture_output=True, text=True, start_new_session=True, user=user, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    answer: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return _inside(tmp_path_factory.mktemp("sandbox"))


def test_privileges_and_limits_are_gone(inside: dict[str, dict[str, Any]]) -> None:
    assert inside["facts"] == {
        "dumpable": 0,
        "signal at parent's death": 9,
        "capabilities": ["0" * 16],
        "core": [0, 0],
        "file size": [0, 0],
        "processor time": [5, 5],
    }


def test_the_network_is_not_said_to_be_closed_where_a_socket_opens(tmp_path: Path) -> None:
    """A kernel that refuses the filter: less is held, and that is what is said."""
    broken = (
        "from primum_verifier.shell import seccomp\n"
        "def refuse(library): raise OSError(22, 'no such thing')\n"
        "seccomp.restrict_calls = refuse\n"
    )
    script = _IMPORTS + broken + _SCRIPT % (("local",),)
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, str(tmp_path), str(os.getpid())],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    answer = json.loads(done.stdout)
    assert answer["answers"] == {"local": "done"}
    assert Confinement.NETWORK not in answer["held"]
    assert Confinement.SECCOMP not in answer["held"]


def test_without_landlock_files_can_still_not_be_changed(tmp_path: Path) -> None:
    """An old kernel: files may be read that should not, and it says so; none can be changed."""
    (tmp_path / "readable").write_text("r")
    older = (
        "from primum_verifier.shell import landlock\n"
        "def refuse(readable): raise OSError(38, 'no such call')\n"
        "landlock.restrict_files = refuse\n"
    )
    script = _IMPORTS + older + _SCRIPT % (("write", "overwrite", "unlink"),)
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, str(tmp_path), str(os.getpid())],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    answer = json.loads(done.stdout)
    assert Confinement.LANDLOCK not in answer["held"]
    if Confinement.SECCOMP not in answer["held"]:
        pytest.skip("no seccomp on this machine")
    assert set(answer["answers"].values()) == {"PermissionError"}
    assert [path.name for path in tmp_path.iterdir()] == ["readable"]
    assert (tmp_path / "readable").read_text() == "r"


def test_an_orphan_ends_before_it_does_anything(tmp_path: Path) -> None:
    """The parent died before its death could be signalled.  End: gone, and silent."""
    nobody_s_child = "0"
    done = subprocess.run(
        [sys.executable, "-I", "-c", _IMPORTS + _SCRIPT % ((),), str(tmp_path), nobody_s_child],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def _skip_unless_held(inside: dict[str, dict[str, Any]]) -> None:
    if not {Confinement.LANDLOCK, Confinement.SECCOMP} <= set(inside["held"]):
        pytest.skip(f"this system holds only {inside['held']}")


@pytest.mark.parametrize("attempt", _FORBIDDEN)
def test_a_confined_process_cannot(inside: dict[str, dict[str, Any]], attempt: str) -> None:
    _skip_unless_held(inside)
    assert inside["answers"][attempt] != "done"


@pytest.mark.parametrize("act", _ALLOWED)
def test_a_confined_process_still_can(inside: dict[str, dict[str, Any]], act: str) -> None:
    assert inside["answers"][act] == "done"


def test_what_is_said_to_be_held_is_everything_where_the_system_can(
    inside: dict[str, dict[str, Any]],
) -> None:
    _skip_unless_held(inside)
    assert set(inside["held"]) == COMPLETE


def test_an_ordinary_user_is_confined_as_root_is() -> None:
    """The same attempts by a user without any privilege."""
    if os.geteuid() != 0:
        pytest.skip("already an ordinary user: the tests above are this one")
    nobody = 65534
    interpreter = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    version = "import sys; assert sys.version_info >= (3, 11)"
    if interpreter is None or subprocess.run([interpreter, "-c", version], check=False).returncode:
        pytest.skip("no Python 3.11 that an ordinary user can start")
    # The checkout and pytest's own folders may lie where an ordinary user cannot read.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(Path(primum_verifier.__file__).parent, folder / "source/primum_verifier")
        folder.chmod(0o777)
        answers = _inside(folder, user=nobody, interpreter=interpreter)
    _skip_unless_held(answers)
    assert {name for name in _FORBIDDEN if answers["answers"][name] == "done"} == set()
    assert {name for name in _ALLOWED if answers["answers"][name] != "done"} == set()
