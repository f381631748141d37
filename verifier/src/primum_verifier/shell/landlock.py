"""Landlock: from here on this process reads the listed files and changes none.

Plain calls through ctypes, because the C library has no wrapper.  The three call numbers are
the same on every architecture (the kernel unified the tables before Landlock came).  What the
running kernel can handle is asked of it first; older ones handle less, and the caller reports it.
Source: ``Documentation/userspace-api/landlock.rst`` of the Linux kernel.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_RULE_PATH_BENEATH = 1

_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_HANDLED_FILES = ((1, (1 << 13) - 1), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
"""(since which ABI, which rights over files): handled and, unless a rule says so, denied."""

_NETWORK_ABI, _TCP_BIND_AND_CONNECT = 4, 0b11
_SCOPE_ABI, _SIGNALS_AND_ABSTRACT_SOCKETS = 6, 0b11


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result: int = libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def landlock_abi() -> int:
    """The version of Landlock that the running kernel offers; 0 where it has none."""
    try:
        return _call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION))
    except OSError:
        return 0


def restrict_files(readable: tuple[Path, ...]) -> int:
    """Leave this thread, and every later one, nothing but reading below ``readable``.

    ``no_new_privs`` must be set already.  Paths that do not exist are left out: a file that is
    missing needs no permission.

    Args:
        readable: files and folders that may be read.

    Returns:
        The ABI that was used.

    Raises:
        OSError: the kernel has no Landlock or refused; nothing was restricted.
    """
    abi = landlock_abi()
    if abi == 0:
        raise OSError("this kernel has no Landlock")
    handled = 0
    for since, rights in _HANDLED_FILES:
        handled |= rights if abi >= since else 0
    ruleset = _Ruleset(handled_access_fs=handled)
    # The kernel refuses a structure whose tail it does not know unless that tail is zero.
    if abi >= _NETWORK_ABI:
        ruleset.handled_access_net = _TCP_BIND_AND_CONNECT
    if abi >= _SCOPE_ABI:
        ruleset.scoped = _SIGNALS_AND_ABSTRACT_SOCKETS
    rules = _call(
        _CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(ctypes.sizeof(ruleset)),
        ctypes.c_uint32(0),
    )  # fmt: skip
    try:
        for path in readable:
            _allow_reading(rules, path)
        _call(_RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint32(0))
    finally:
        os.close(rules)
    return abi


def _allow_reading(rules: int, path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rights = _READ_FILE | (_READ_DIR if path.is_dir() else 0)
        rule = _PathBeneath(allowed_access=rights, parent_fd=descriptor)
        _call(
            _ADD_RULE, ctypes.c_int(rules), ctypes.c_int(_RULE_PATH_BENEATH), ctypes.byref(rule),
            ctypes.c_uint32(0),
        )  # fmt: skip
    finally:
        os.close(descriptor)
