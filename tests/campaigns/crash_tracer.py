"""Runs a command and lets the power, or the disk, fail at exactly one system call of its tree.

Every process that the command starts is traced.  A seccomp filter stops it at the calls that
change, or read, files; those below the watched folder are numbered for each role (which module of
the agent the process runs), so that a number means the same call in the next run.  At the chosen
one, before the kernel has done anything:

- ``kill``: every process of the tree is killed.  One that runs meanwhile is stopped at its next
  change and never let go: the tree ends at one instant, as a power cut ends it.
- an error: the call is not made and fails with that ``errno``, once or from there on.

strace counts for each process, kills one at a time and knows a folder's files only by full name;
a test holds what is seen here against what strace sees.
Only for Linux on x86-64, where the result of a call can be put in its place.

Usage: ``python -m tests.campaigns.crash_tracer PLAN`` with a :class:`Plan` as JSON; the last line
that comes out is a :class:`Traced` as JSON.
Sources: ``ptrace(2)``, ``seccomp(2)``, ``seccomp_rule_add(3)``.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import signal
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from primum_verifier.shell.seccomp import load_library

PATH_CALLS = {
    # name: (place of the path, place of the folder it is relative to)
    "open": (0, None), "openat": (1, 0), "creat": (0, None),
    "mkdir": (0, None), "mkdirat": (1, 0), "rmdir": (0, None),
    "unlink": (0, None), "unlinkat": (1, 0),
    "rename": (1, None), "renameat": (3, 2), "renameat2": (3, 2),
    "link": (1, None), "linkat": (3, 2), "symlink": (1, None), "symlinkat": (2, 1),
    "truncate": (0, None), "chmod": (0, None), "fchmodat": (1, 0),
}  # fmt: skip
WRITES = ("write", "writev", "pwrite64", "pwritev", "ftruncate", "fallocate", "copy_file_range",
          "sendfile")  # fmt: skip
SYNCS = ("fsync", "fdatasync")
READS = ("read", "readv", "pread64", "getdents64")
FILE_CALLS = (*WRITES, *SYNCS, "fchmod", *READS)
"""Calls on an open file, whose descriptor is the first argument but for ``copy_file_range``."""

CHANGES = frozenset((*PATH_CALLS, *WRITES, *SYNCS, "fchmod"))
TAKES_SPACE = frozenset(
    (*WRITES, "open", "openat", "creat", "mkdir", "mkdirat", "rename", "renameat", "renameat2",
     "link", "linkat", "symlink", "symlinkat")
)  # fmt: skip
MEETS_MEDIUM = frozenset((*WRITES, *SYNCS, *READS))
ALL = CHANGES | MEETS_MEDIUM

KILL = "kill"

_ALLOW, _TRACE = 0x7FFF_0000, 0x7FF0_0000
_MASKED_EQUAL = 7
_OPEN_FLAGS = {"open": 1, "openat": 2}
_TRACEME, _CONT, _SETOPTIONS, _GETEVENTMSG = 0, 7, 0x4200, 0x4201
_POKEUSER, _CALL_INFO = 6, 0x420E
_ORIG_RAX, _RAX = 15 * 8, 10 * 8
_FORK, _VFORK, _CLONE, _EXEC, _SECCOMP = 1, 2, 3, 4, 7
_OPTIONS = 0x0010_0000 | sum(1 << event for event in (_FORK, _VFORK, _CLONE, _EXEC, _SECCOMP))
_WALL = 0x4000_0000
_PATH_BYTES = 4096
_AT_FDCWD = -100
_TIMED_OUT = 124


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to run, and what fails.

    Attributes:
        command: the command.
        folder: calls on what lies below it count.
        output: where its standard output and error go.
        seconds: when it has hung.
        calls: names of the calls that are numbered; empty only watches the processes.
        fault: ``kill``, the name of an ``errno``, or empty: nothing fails.
        role: whose call fails.
        number: which of its numbered calls, from 1.
        lasting: from there on every numbered call of every process fails.
        ask: before each change a line goes out, and nothing goes on until one comes back.
    """

    command: list[str]
    folder: str
    output: str
    seconds: float
    calls: list[str]
    fault: str = ""
    role: str = ""
    number: int = 0
    lasting: bool = False
    ask: bool = False


@dataclass(kw_only=True)
class Traced:
    """What happened.

    Attributes:
        code: exit code, negative for a signal; 124 where it hung and was killed.
        hit: the call that failed, as role, number, name and path below the folder; empty: none.
        calls: role, name and path of every numbered call, in order, where nothing was to fail.
        ended: the role of each process that ended and when, in seconds since the start.
        seconds: how long it took.
    """

    code: int = 0
    hit: list[Any] = field(default_factory=list)
    calls: list[list[str]] = field(default_factory=list)
    ended: list[list[Any]] = field(default_factory=list)
    seconds: float = 0.0


class _Comparison(ctypes.Structure):
    """One condition on an argument (``struct scmp_arg_cmp``)."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_LIBC.ptrace.restype = ctypes.c_long


def _ptrace(request: int, pid: int, address: int = 0, data: int = 0) -> int:
    result = int(_LIBC.ptrace(request, pid, address, data))
    if result == -1 and ctypes.get_errno():
        number = ctypes.get_errno()
        ctypes.set_errno(0)
        raise OSError(number, f"ptrace {request:#x}: {os.strerror(number)}")
    return result


class _Filter:
    """The seccomp filter that stops a process at the numbered calls; built before the fork."""

    def __init__(self, names: list[str]) -> None:
        self._library: Any = load_library()
        self._library.seccomp_rule_add_array.argtypes = (
            ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p,
        )  # fmt: skip
        self._context = self._library.seccomp_init(_ALLOW)
        self.names: dict[int, str] = {}
        for name in names:
            number = self._library.seccomp_syscall_resolve_name(name.encode())
            self.names[number] = name
            if name not in _OPEN_FLAGS:
                self._add(number)
                continue
            for bits in (os.O_CREAT, os.O_TRUNC):
                condition = _Comparison(_OPEN_FLAGS[name], _MASKED_EQUAL, bits, bits)
                self._add(number, condition)

    def _add(self, number: int, *conditions: _Comparison) -> None:
        array = (_Comparison * len(conditions))(*conditions)
        found = self._library.seccomp_rule_add_array(
            self._context, _TRACE, number, len(conditions), array
        )
        if found:
            raise OSError(-found, "libseccomp: a rule")

    def load(self) -> None:
        if self._library.seccomp_load(self._context):
            raise OSError("libseccomp: load")


def _start(plan: Plan) -> tuple[int, dict[int, str]]:
    """Fork the command, stopped before its first instruction."""
    stops = _Filter(plan.calls)
    pid = os.fork()
    if pid == 0:
        _become(plan, stops)
    return pid, stops.names


def _become(plan: Plan, stops: _Filter) -> NoReturn:
    """In the child: no terminal, traced, filtered, and then the command itself."""
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        output = os.open(plan.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(nothing, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        _ptrace(_TRACEME, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        if plan.calls:
            stops.load()
        os.execvp(plan.command[0], plan.command)  # noqa: S606 - no shell is wanted
    finally:
        os._exit(127)


class Tracer:
    """Follows one tree to its end.

    Args:
        plan: what to run and what fails.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._names: dict[int, str] = {}
        self._roles: dict[int, str] = {}
        self._programs: dict[int, str] = {}
        self._instances: dict[str, int] = {}
        self._numbers: dict[str, int] = {}
        self._failing = False
        self._cut = False
        self._over = False
        self._began = 0.0
        self._done = Traced()

    def run(self) -> Traced:
        """Run it."""
        signal.signal(signal.SIGALRM, self._hung)
        signal.setitimer(signal.ITIMER_REAL, self._plan.seconds, 0.05)
        self._began = time.monotonic()
        root, self._names = _start(self._plan)
        os.waitpid(root, 0)
        _ptrace(_SETOPTIONS, root, 0, _OPTIONS)
        self._roles[root], code = "", 0
        _ptrace(_CONT, root)
        for pid, status in _waits():
            if os.WIFSTOPPED(status):
                self._stopped(pid, status)
                continue
            self._roles.pop(pid, None)
            if pid in self._programs:
                self._done.ended.append([self._programs.pop(pid), self._since()])
            if pid == root:
                code = os.waitstatus_to_exitcode(status)
        # Reached when every process has ended: one that outlives the command is waited for too.
        self._done.code = _TIMED_OUT if self._over else code
        self._done.seconds = self._since()
        signal.setitimer(signal.ITIMER_REAL, 0)
        return self._done

    def _since(self) -> float:
        return round(time.monotonic() - self._began, 4)

    def _hung(self, *_: object) -> None:
        self._over = True
        self._kill_all()

    def _kill_all(self) -> None:
        for pid in list(self._roles):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def _stopped(self, pid: int, status: int) -> None:
        event, number = status >> 16, os.WSTOPSIG(status)
        self._roles.setdefault(pid, "")
        passed = 0
        try:
            if event in {_FORK, _VFORK, _CLONE}:
                self._born(pid)
            elif event == _EXEC:
                self._roles[pid] = self._programs[pid] = self._role_of(pid)
            elif event == _SECCOMP:
                self._called(pid)
            elif event == 0 and number not in {signal.SIGSTOP, signal.SIGTRAP}:
                passed = number
            if self._cut or self._over:
                os.kill(pid, signal.SIGKILL)
                return
            _ptrace(_CONT, pid, 0, passed)
        except (ProcessLookupError, FileNotFoundError):
            return

    def _born(self, parent: int) -> None:
        message = ctypes.c_ulong()
        _ptrace(_GETEVENTMSG, parent, 0, ctypes.addressof(message))
        self._roles[int(message.value)] = self._roles.get(parent, "")

    def _role_of(self, pid: int) -> str:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        module = next((word for word in words if word.startswith("primum_")), "")
        name = module.rpartition(".")[2].replace("_", "-") or Path(words[0]).name
        name = {"cli": words[words.index(module) + 1] if module else ""}.get(name, name)
        if "--reason" in words:
            name += f"-{words[words.index('--reason') + 1]}"
        self._instances[name] = self._instances.get(name, 0) + 1
        count = self._instances[name]
        return name if count == 1 else f"{name}#{count}"

    # Calls

    def _called(self, pid: int) -> None:
        if self._cut:
            return
        name, arguments = self._call(pid)
        path = self._path(pid, name, arguments)
        if path is None:
            return
        role = self._roles[pid]
        number = self._numbers[role] = self._numbers.get(role, 0) + 1
        if not self._plan.fault:
            self._done.calls.append([role, name, path])
            if self._plan.ask and name in CHANGES:
                sys.stdout.write(f"{role} {number} {name} {path}\n")
                sys.stdout.flush()
                sys.stdin.readline()
            return
        if (role, number) == (self._plan.role, self._plan.number):
            self._done.hit = [role, number, name, path]
            self._failing = True
        elif not (self._failing and self._plan.lasting):
            return
        if self._plan.fault == KILL:
            self._cut = True
            self._kill_all()
            return
        # A call with the number -1 is not made; what stands in the register is its result.
        _ptrace(_POKEUSER, pid, _ORIG_RAX, 2**64 - 1)
        _ptrace(_POKEUSER, pid, _RAX, 2**64 - getattr(errno, self._plan.fault))

    def _call(self, pid: int) -> tuple[str, tuple[int, ...]]:
        """Name and arguments, from ``struct ptrace_syscall_info``."""
        info = ctypes.create_string_buffer(88)
        _ptrace(_CALL_INFO, pid, len(info), ctypes.addressof(info))
        number, *arguments = struct.unpack_from("<7Q", info.raw, 24)
        return self._names[number], tuple(arguments)

    def _path(self, pid: int, name: str, arguments: tuple[int, ...]) -> str | None:
        """What the call is about, below the watched folder; None where it is elsewhere."""
        if name in PATH_CALLS:
            place, folder = PATH_CALLS[name]
            found = _text(pid, arguments[place])
            if not found.startswith("/"):
                base = _AT_FDCWD if folder is None else ctypes.c_int(arguments[folder]).value
                where = "cwd" if base == _AT_FDCWD else f"fd/{base}"
                found = os.path.join(_link(pid, where), found)  # noqa: PTH118 - text, not a file
        else:
            found = _link(pid, f"fd/{arguments[2 if name == 'copy_file_range' else 0]}")
        found = os.path.normpath(found)
        if not found.startswith(self._plan.folder + "/") and found != self._plan.folder:
            return None
        return os.path.relpath(found, self._plan.folder)


def _waits() -> Iterator[tuple[int, int]]:
    while True:
        try:
            yield os.waitpid(-1, _WALL)
        except ChildProcessError:
            return


def _text(pid: int, address: int) -> str:
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:  # noqa: PTH123 - unbuffered
        memory.seek(address)
        return memory.read(_PATH_BYTES).partition(b"\0")[0].decode(errors="surrogateescape")


def _link(pid: int, name: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/{name}")  # noqa: PTH115 - may be no path at all
    except OSError:
        return ""


def cannot() -> str:
    """Why this machine cannot trace; empty where it can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "the tracer knows the registers of Linux on x86-64 only"
    try:
        load_library()
    except OSError:
        return "libseccomp is missing"
    child = os.fork()
    if child == 0:
        try:
            _ptrace(_TRACEME, 0)
        except OSError:
            os._exit(1)
        os._exit(0)
    allowed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return "" if allowed else "this system does not let a process trace its own children"


def main() -> int:
    """Run the plan; the tree's own exit code stands in what is printed."""
    plan = Plan(**json.loads(sys.argv[1]))
    # Ctrl-C ends it and, with it, everything that it traces.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.stdout.write(json.dumps(asdict(Tracer(plan).run())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
