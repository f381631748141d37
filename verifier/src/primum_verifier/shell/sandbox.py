"""Takes from the calling process what a self-test does not need, and says what it really took.

A model file is hostile input to native code, so the process that loads it gives up files,
network, programs, processes and memory first.  Two steps, because the runtime's own import opens
files that the run does not need:

1. :meth:`Sandbox.close_files`: limits, privileges, the parent's death, Landlock;
2. :meth:`Sandbox.close_calls`: seccomp and the network, once everything is imported.

Nothing here refuses: an old kernel holds less, and whoever asked decides by what was held.  The
network counts as held only after opening a socket was tried and failed.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from primum_verifier.proof.confinement import Confinement
from primum_verifier.shell import landlock, seccomp

_SET_PARENT_DEATH_SIGNAL, _SET_DUMPABLE, _SET_NO_NEW_PRIVS = 1, 4, 38  # prctl(2)
_CAPABILITY_VERSION_3 = 0x2008_0522  # capset(2)
_NEW_USER, _NEW_NETWORK = 0x1000_0000, 0x4000_0000  # unshare(2)
_SOCKET_FAMILIES = (1, 2, 10, 16)  # local, IPv4, IPv6, netlink
_STREAM, _RAW = 1, 3

SYSTEM_LIBRARIES = tuple(
    Path(name)
    for name in (
        "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache",
        "/proc/self/status", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu",
        "/dev/null", "/dev/urandom",
    )
)  # fmt: skip
"""What loading a shared library and counting processors reads.

Of ``/proc/self`` one file and not the folder: it also says which connections and mounts the device
has, and what its environment holds.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the confined process may use.

    Attributes:
        memory_bytes: address space.
        cpu_seconds: processor time; beyond it the kernel ends the process.
        open_files: descriptors at one time.
    """

    memory_bytes: int
    cpu_seconds: int
    open_files: int = 64


class Sandbox:
    """The confinement of this process; each step adds to :attr:`held` what it achieved.

    Args:
        library: the name of libseccomp for the dynamic linker.
    """

    def __init__(self, *, library: str = seccomp.LIBRARY) -> None:
        self.held: set[Confinement] = set()
        self.landlock_abi = 0
        self._library_name = library
        self._seccomp: ctypes.CDLL | None = None
        self._libc = ctypes.CDLL(None, use_errno=True)

    def close_files(self, *, limits: Limits, readable: tuple[Path, ...], parent: int) -> None:
        """Limits, privileges, the parent's death signal and Landlock.

        Args:
            limits: memory, time and descriptors.
            readable: what may be read besides system libraries and the interpreter's own path.
            parent: the process id of whoever started this one; when it is gone already, this
                process ends at once, because nobody would.
        """
        self._try(Confinement.RLIMITS, lambda: _set_limits(limits))
        if os.getsid(0) == os.getpid():
            self.held.add(Confinement.SESSION)
        self._try(Confinement.NO_NEW_PRIVS, lambda: self._prctl(_SET_NO_NEW_PRIVS, 1))
        self._try(Confinement.NON_DUMPABLE, lambda: self._prctl(_SET_DUMPABLE, 0))
        self._try(
            Confinement.PARENT_DEATH,
            lambda: self._prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL),
        )
        if os.getppid() != parent:
            os._exit(1)
        with suppress(OSError):
            self._seccomp = seccomp.load_library(self._library_name)
        if self._seccomp is None:
            # Without seccomp a network namespace of its own is the next best; it needs the
            # capabilities that the next step drops.
            self._try(Confinement.NETWORK, self._leave_network)
        self._try(Confinement.NO_CAPABILITIES, self._drop_capabilities)
        self._try(Confinement.LANDLOCK, lambda: self._restrict_files(readable))

    def close_calls(self) -> None:
        """seccomp, then proof that no socket opens.  After this, import nothing."""
        if self._seccomp is None:
            # A process limit also forbids threads, but it is all that is left; root ignores it.
            with suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
            return
        library = self._seccomp
        self._try(Confinement.SECCOMP, lambda: seccomp.restrict_calls(library))
        if not any(self._opens(family) for family in _SOCKET_FAMILIES):
            self.held.add(Confinement.NETWORK)

    def _try(self, confinement: Confinement, act: Callable[[], None]) -> None:
        with suppress(OSError, ValueError, AttributeError):
            act()
            self.held.add(confinement)

    def _prctl(self, option: int, value: int) -> None:
        zero = ctypes.c_ulong(0)
        self._check(self._libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero))

    def _drop_capabilities(self) -> None:
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        nothing = (ctypes.c_uint32 * 6)()
        self._check(self._libc.capset(header, nothing))

    def _leave_network(self) -> None:
        if self._libc.unshare(ctypes.c_int(_NEW_NETWORK)) != 0:
            self._check(self._libc.unshare(ctypes.c_int(_NEW_USER | _NEW_NETWORK)))

    def _restrict_files(self, readable: tuple[Path, ...]) -> None:
        interpreter = tuple(Path(entry) for entry in sys.path if entry)
        interpreter += (Path(sys.base_prefix) / "lib",)
        self.landlock_abi = landlock.restrict_files(SYSTEM_LIBRARIES + interpreter + readable)

    def _opens(self, family: int) -> bool:
        kind = _RAW if family == _SOCKET_FAMILIES[-1] else _STREAM
        descriptor: int = self._libc.socket(family, kind, 0)
        if descriptor >= 0:
            os.close(descriptor)
        return descriptor >= 0

    def _check(self, result: int) -> None:
        if result != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))


def _set_limits(limits: Limits) -> None:
    for what, most in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (wanted, wanted))
