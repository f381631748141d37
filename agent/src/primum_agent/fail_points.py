"""Named points at which a test lets the power fail. On a device in use they do nothing.

Only where ``PRIMUM_TEST_FAIL_POINTS`` is ``1`` is ``PRIMUM_FAIL_POINT`` read at all.  At the
point that it names, the supervisor and then the process itself are killed with SIGKILL, as a cut
would end both.  Where it is ``hang`` the process stops there, deaf to every other signal.

Whoever plays many devices in one process lets the power of one of them fail by a call of its own.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from enum import StrEnum

ENABLE = "PRIMUM_TEST_FAIL_POINTS"
WHERE = "PRIMUM_FAIL_POINT"
SUPERVISOR = "PRIMUM_SUPERVISOR_PID"
CUT, HANG = "1", "hang"


class FailPoint(StrEnum):
    """Every point, in the order in which an update passes them."""

    DOWNLOADING_IN_FILE = "downloading.in-file"
    DOWNLOADING_BEFORE_NAME = "downloading.before-name"
    DOWNLOADING_AFTER_FILE = "downloading.after-file"
    TESTING_BEFORE_TEST = "testing.before-test"
    TESTING_BEFORE_EVENT = "testing.before-event"
    ACTIVATING_BEFORE_GENERATION = "activating.before-generation"
    ACTIVATING_BEFORE_SWITCH = "activating.before-switch"
    ACTIVATING_AFTER_SWITCH = "activating.after-switch"
    ACTIVATING_BEFORE_EFFECT = "activating.before-effect"
    ACTIVATING_AFTER_EFFECT = "activating.after-effect"
    PROVISIONAL_BEFORE_STANDING = "provisional.before-standing"
    COMMIT_BEFORE_EVENT = "commit.before-event"
    ROLLING_BACK_BEFORE_SWITCH = "rolling-back.before-switch"
    ROLLING_BACK_AFTER_SWITCH = "rolling-back.after-switch"
    ROLLING_BACK_AFTER_EFFECT = "rolling-back.after-effect"


class DeltaPoint(StrEnum):
    """Every point at which a file is made of another one."""

    BEFORE_FILE = "delta.before-file"
    IN_FILE = "delta.in-file"
    AFTER_FILE = "delta.after-file"


class IdentityPoint(StrEnum):
    """Every point at which the device's identity changes."""

    KEY_CHANGE_BEFORE_EVENT = "key-change.before-event"
    KEY_CHANGE_AFTER_EVENT = "key-change.after-event"
    KEY_CHANGE_AFTER_SWITCH = "key-change.after-switch"
    RESET_AFTER_INTENT = "reset.after-intent"
    RESET_AFTER_RELEASES = "reset.after-releases"
    RESET_AFTER_EVENTS = "reset.after-events"
    RESET_AFTER_KEYS = "reset.after-keys"


class ShadowPoint(StrEnum):
    """Every point around a release in shadow."""

    BEFORE_EVENT = "shadow.before-event"
    AFTER_EVENT = "shadow.after-event"
    BEFORE_END = "shadow.before-end"
    BEFORE_ENDED = "shadow.before-ended"


Point = FailPoint | DeltaPoint | IdentityPoint | ShadowPoint


def _by_environment(point: Point) -> None:
    act = os.environ.get(ENABLE)
    if act not in {CUT, HANG} or os.environ.get(WHERE) != point:
        return
    if act == HANG:
        os.kill(os.getpid(), signal.SIGSTOP)
        return
    supervisor = os.environ.get(SUPERVISOR, "")
    if supervisor.isdigit():
        with suppress(ProcessLookupError):
            os.kill(int(supervisor), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


_POWER: ContextVar[Callable[[Point], None]] = ContextVar("power", default=_by_environment)


def fail_here(point: Point) -> None:
    """Let the power fail here, if a test asks for it."""
    _POWER.get()(point)


@contextmanager
def power_from(power: Callable[[Point], None]) -> Iterator[None]:
    """Ask ``power`` at every point while the block runs; where it raises, the power failed."""
    token = _POWER.set(power)
    try:
        yield
    finally:
        _POWER.reset(token)
