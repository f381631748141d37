"""seccomp: from here on this process makes the listed system calls and no other.

The filter is built by libseccomp, which knows the number of each call on each architecture; a
table of our own would be right on one of them.  Where the library is missing the caller reports
that this confinement was not held.  Source: ``seccomp_rule_add(3)``.
"""

from __future__ import annotations

import ctypes
import errno
import os

LIBRARY = "libseccomp.so.2"

_ALLOW = 0x7FFF_0000
_REFUSE = 0x0005_0000
"""The call returns an error: native code then fails in its own words instead of vanishing."""

_EQUAL, _MASKED_EQUAL = 4, 7
_ALL_THREADS = 4  # SCMP_FLTATR_CTL_TSYNC
_UNKNOWN = -1

_CLONE_THREAD = 0x0001_0000
_PROT_EXEC = 4
_OPENS_TO_CHANGE = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC

_ALLOWED = (
    # memory
    "brk", "madvise", "mremap", "munmap", "membarrier",
    # files that are open, or that Landlock lets it open for reading
    "access", "close", "dup", "faccessat", "faccessat2", "fcntl", "fcntl64", "fstat", "fstat64",
    "fstatat64", "getcwd", "getdents64", "lseek", "_llseek", "lstat", "lstat64", "newfstatat",
    "pread64", "read", "readlink", "readlinkat", "readv", "stat", "stat64", "statx", "write",
    "writev", "poll", "ppoll", "ppoll_time64",
    # threads, waiting, signals to itself
    "futex", "futex_time64", "futex_waitv", "get_robust_list", "set_robust_list", "rseq",
    "set_tid_address", "gettid", "restart_syscall", "rt_sigaction", "rt_sigprocmask",
    "rt_sigreturn", "sigreturn", "sigaltstack", "sched_yield", "sched_getaffinity",
    "sched_getparam", "sched_getscheduler", "sched_get_priority_max", "sched_get_priority_min",
    "nanosleep", "clock_nanosleep", "clock_nanosleep_time64", "pause", "exit", "exit_group",
    # facts
    "clock_getres", "clock_getres_time64", "clock_gettime", "clock_gettime64", "getcpu",
    "getegid", "getegid32", "geteuid", "geteuid32", "getgid", "getgid32", "getpid", "getppid",
    "getrandom", "getrlimit", "ugetrlimit", "getrusage", "gettimeofday", "getuid", "getuid32",
    "sysinfo", "time", "times", "uname",
)  # fmt: skip
"""What a loaded Python and onnxruntime need to load one model from a file and run it."""


class _Comparison(ctypes.Structure):
    """One condition on an argument (``struct scmp_arg_cmp``)."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def _without(argument: int, bits: int) -> _Comparison:
    return _Comparison(argument, _MASKED_EQUAL, bits, 0)


def load_library(name: str = LIBRARY) -> ctypes.CDLL:
    """libseccomp, found by the dynamic linker.

    To be called before files are confined.

    Raises:
        OSError: this system has none.
    """
    library = ctypes.CDLL(name)
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = (ctypes.c_uint32,)
    library.seccomp_attr_set.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32)
    library.seccomp_rule_add_array.argtypes = (
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint,
        ctypes.POINTER(_Comparison),
    )  # fmt: skip
    library.seccomp_syscall_resolve_name.argtypes = (ctypes.c_char_p,)
    library.seccomp_load.argtypes = (ctypes.c_void_p,)
    library.seccomp_release.argtypes = (ctypes.c_void_p,)
    library.seccomp_release.restype = None
    return library


def restrict_calls(library: ctypes.CDLL) -> None:
    """Leave every thread of this process only the listed system calls.

    ``no_new_privs`` must be set already.

    Raises:
        OSError: the kernel or the library refused; no filter was loaded.
    """
    context = library.seccomp_init(_REFUSE | errno.EPERM)
    if not context:
        raise OSError("libseccomp made no filter")

    def rule(name: str, *conditions: _Comparison, action: int = _ALLOW) -> None:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number == _UNKNOWN:
            return  # an older library does not know this call, so nothing is allowed
        array = (_Comparison * len(conditions))(*conditions)
        _check(
            library.seccomp_rule_add_array(context, action, number, len(conditions), array), name
        )

    try:
        for name in _ALLOWED:
            rule(name)
        # New memory is never executable: what is written cannot be run.
        for name in ("mmap", "mmap2", "mprotect"):
            rule(name, _without(2, _PROT_EXEC))
        # Files open for reading only, whatever Landlock says.
        rule("open", _without(1, _OPENS_TO_CHANGE))
        rule("openat", _without(2, _OPENS_TO_CHANGE))
        # Threads, but no processes.  The filter cannot look behind clone3's pointer; "no such
        # call" makes the C library fall back to clone.
        rule("clone", _Comparison(0, _MASKED_EQUAL, _CLONE_THREAD, _CLONE_THREAD))
        rule("clone3", action=_REFUSE | errno.ENOSYS)
        # abort() signals its own thread; nobody else may be signalled.
        rule("tgkill", _Comparison(0, _EQUAL, os.getpid(), 0))
        # Limits may be read, not set.
        rule("prlimit64", _Comparison(2, _EQUAL, 0, 0))
        _check(library.seccomp_attr_set(context, _ALL_THREADS, 1), "all threads")
        _check(library.seccomp_load(context), "load")
    finally:
        library.seccomp_release(context)


def _check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(-result, f"libseccomp: {what}: {os.strerror(-result)}")
