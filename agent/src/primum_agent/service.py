"""Tells the service manager that the agent stands, lives or leaves; silent where nobody asked.

The protocol is that of ``sd_notify(3)``: datagrams of ``NAME=value`` lines to the socket that
``NOTIFY_SOCKET`` names.  A socket that is missing, wrong or full costs a message, never the agent:
what could not be told is told at the next turn.

The sign of life comes from the supervisor's loop itself, at half the time that the manager allows:
a loop that hangs falls silent, and the manager restarts the agent.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass, field

from primum_agent.device_state import DeviceState
from primum_agent.lifecycle import State

MAX_STATUS = 200
"""Characters of the status line: it is one line in ``systemctl status``."""

_NEVER = float("inf")
_MICROSECONDS = 1_000_000
_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


@dataclass(eq=False, kw_only=True)
class ServiceManager:
    """Whoever started the agent as a service.

    Attributes:
        address: the manager's socket: a path, or with a leading NUL an abstract name; empty where
            there is no manager.
        alive_seconds: how often a sign of life is due; None where none is wanted.
    """

    address: str = ""
    alive_seconds: float | None = None
    _ready: bool = False
    _status: str = ""
    _next_sign: float = field(default=-_NEVER)

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> ServiceManager:
        """The manager that an environment names.

        Args:
            environment: read, and rid of the three variables, so that no child speaks in the
                agent's name.
        """
        named, period, process = (environment.pop(name, "") for name in _VARIABLES)
        address = ""
        if named.startswith("/"):
            address = named
        elif named.startswith("@"):
            address = "\0" + named[1:]
        wanted = not process or process == str(os.getpid())
        microseconds = int(period) if wanted and period.isascii() and period.isdigit() else 0
        half = microseconds / _MICROSECONDS / 2
        return cls(address=address, alive_seconds=half or None)

    def tell(self, status: str, now: float) -> float:
        """The agent stands, and this is how: called at every turn of the loop.

        Args:
            status: one line for a person.
            now: seconds of a clock that never goes back.

        Returns:
            When to call again at the latest, on the same clock.
        """
        if not self.address:
            return _NEVER
        lines = [] if self._ready else ["READY=1"]
        if status != self._status:
            lines.append(f"STATUS={_one_line(status)}")
        sign_due = self.alive_seconds is not None and now >= self._next_sign
        if sign_due:
            lines.append("WATCHDOG=1")
        if lines and self._send(lines):
            self._ready, self._status = True, status
            if sign_due and self.alive_seconds is not None:
                self._next_sign = now + self.alive_seconds
        if self.alive_seconds is None:
            return _NEVER
        # What could not be told is told again soon, not at once: a full socket must not spin.
        return max(self._next_sign, now + min(1.0, self.alive_seconds))

    def stopping(self) -> None:
        """The agent was told to leave, and does."""
        if self.address:
            self._send(["STOPPING=1", "STATUS=stopping"])

    def _send(self, lines: list[str]) -> bool:
        message = "\n".join(lines).encode()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
                # A manager that does not read must not hold the loop that it watches.
                link.settimeout(0.0)
                link.sendto(message, self.address)
        except OSError:
            return False
        return True


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text[:MAX_STATUS])


def status_line(state: DeviceState | None, *, attempt: str = "", trouble: str = "") -> str:
    """What runs, and what an update waits for, in one line.

    Args:
        state: the present state; None while there is no journal.
        attempt: why an attempt is under way; empty for none.
        trouble: what keeps the journal from being opened.
    """
    if state is None:
        return f"the state folder cannot be used ({trouble}); what runs goes on"
    used = state.in_use
    runs = "safe mode, no release runs"
    if used is not None:
        runs = f"{used.name} runs" + ("" if used.proven else ", health not proven yet")
    candidate = "an update" if state.candidate is None else state.candidate.name
    match state.lifecycle:
        case State.IDLE | State.PROVISIONAL:
            update = "" if not attempt else f"; looking for releases ({attempt})"
        case State.ROLLING_BACK:
            update = "; rolling back"
        case State.WAITING:
            update = f"; {candidate} waits"
        case doing:
            update = f"; {candidate}: {doing}"
    return runs + update
