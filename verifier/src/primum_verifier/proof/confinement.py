"""The confinements a self-test can run under, by the names that its report uses.

Standard library only: the confined process imports this module before it is confined.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Confinement(StrEnum):
    """One thing that the confined process can no longer do; reported only when it was held."""

    RLIMITS = "rlimits"
    """Memory, processor time, file size, core dumps and open files are limited."""

    SESSION = "session"
    """It leads a session of its own, so that ending the session ends all of it."""

    PARENT_DEATH = "parent-death"
    """It is killed when the process that started it dies."""

    NON_DUMPABLE = "non-dumpable"
    """No other process of the same user may trace it, and it leaves no core."""

    NO_NEW_PRIVS = "no-new-privs"
    """No program it could start would gain privileges."""

    NO_CAPABILITIES = "no-capabilities"
    """It holds no capability, also when it was started by root."""

    LANDLOCK = "landlock"
    """It reads listed files only and changes none."""

    SECCOMP = "seccomp"
    """It may make listed system calls only: no new program, no new process, no tracing."""

    NETWORK = "network"
    """It can open no socket, or only in a network of its own that leads nowhere."""


ALWAYS_POSSIBLE: Final = frozenset(
    {Confinement.RLIMITS, Confinement.SESSION, Confinement.NO_NEW_PRIVS}
)
"""What every Linux since 3.5 can do; a self-test that does not hold these does not run."""

COMPLETE: Final = frozenset(Confinement)
"""Everything; what a production device should ask for where its kernel and libseccomp can."""
