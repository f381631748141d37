"""Health that systemd's watchdog vouches for: a service that was started with the release and held.

The supervisor starts this module as its probe where ``[health]`` names a unit.  Exit code 0 says
that the service was started after the switch, has a watchdog, and kept it satisfied without a
restart for at least two of its periods; 1 that nothing is proven yet, with the reason on the
standard output.  A service without a watchdog proves nothing: that it runs does not say that it
works.

One that was started with the release and does not hold counts against the release, as the word of
an application that opened it would.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from primum_agent.clock import SystemClock
from primum_agent.desk import ask
from primum_agent.journal import Journal
from primum_agent.layout import Layout
from primum_agent.programs import run_program
from primum_agent.settings import Health
from primum_agent.switch_time import switched_at
from primum_verifier.core.errors import FailedError, PrimumError
from primum_verifier.core.reasons import Reason

SYSTEMCTL = "systemctl"

PERIODS = 2
"""Periods of the watchdog that a service has to hold: after one, it need not have been asked."""

_SECONDS = 20.0
_MICRO = 1_000_000
_PROPERTIES = (
    "LoadState",
    "Type",
    "ActiveState",
    "WatchdogUSec",
    "NRestarts",
    "ExecMainStartTimestampMonotonic",
    "ActiveEnterTimestampMonotonic",
)
_UNITS = {
    "y": 31_557_600.0,
    "month": 2_629_800.0,
    "w": 604_800.0,
    "d": 86_400.0,
    "h": 3600.0,
    "min": 60.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
}
_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)(y|month|w|d|h|min|ms|us|s)")
_TYPES = {"notify", "notify-reload"}


@dataclass(frozen=True)
class UnitSeen:
    """What systemd says of a service; seconds are those of ``CLOCK_MONOTONIC``.

    Attributes:
        loaded: whether there is such a service.
        type: its ``Type=``.
        state: ``active`` where it said that it is ready, and was not ended since.
        watchdog: its period, in seconds; 0 for none.
        restarts: how often systemd started it anew by itself.
        started: when its main process was started.
        ready: when it became active.
    """

    loaded: bool
    type: str
    state: str
    watchdog: float
    restarts: int
    started: float
    ready: float


def read_shown(text: str) -> UnitSeen:
    """What ``systemctl show`` printed, one property a line.

    Raises:
        ValueError: it is something else.
    """
    said = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    try:
        return UnitSeen(
            loaded=said["LoadState"] == "loaded",
            type=said["Type"],
            state=said["ActiveState"],
            watchdog=seconds_of(said["WatchdogUSec"]),
            restarts=int(said["NRestarts"]),
            started=int(said["ExecMainStartTimestampMonotonic"]) / _MICRO,
            ready=int(said["ActiveEnterTimestampMonotonic"]) / _MICRO,
        )
    except KeyError as error:
        raise ValueError(f"no {error.args[0]}") from error


def seconds_of(span: str) -> float:
    """A time span as systemd prints it, such as ``1min 30s``, in seconds; ``infinity`` is 0.

    Raises:
        ValueError: it is none.
    """
    if span in {"0", "infinity", ""}:
        return 0.0
    parts = [_SPAN.fullmatch(word) for word in span.split()]
    if not parts or None in parts:
        raise ValueError(f"no time span: {span[:40]!r}")
    return sum(float(part[1]) * _UNITS[part[2]] for part in parts if part is not None)


def never_proves(seen: UnitSeen) -> str:
    """Why a service could never vouch for a release; empty where it could."""
    if not seen.loaded:
        return "no such service"
    if seen.type not in _TYPES:
        return f"Type={seen.type}: it never says that it is ready"
    if not seen.watchdog:
        return "no WatchdogSec=: that it runs does not say that it works"
    return ""


def answers_for_it(seen: UnitSeen, *, switched: float | None) -> bool:
    """Whether a service was started with the release, so that its end is the release's own.

    Args:
        seen: what systemd says of it.
        switched: when the release was switched to; None where nobody knows.
    """
    with_it = switched is not None and seen.started > 0.0 and seen.started >= switched
    return with_it and not never_proves(seen)


def needed(seen: UnitSeen, *, least: float) -> float:
    """Seconds that a service has to hold."""
    return max(PERIODS * seen.watchdog, least)


def not_proven(seen: UnitSeen, *, switched: float | None, now: float, least: float) -> str:
    """Why a service does not vouch for the release yet; empty where it does.

    Args:
        seen: what systemd says of it.
        switched: when the release was switched to; None where nobody knows.
        now: the present time, on the same clock.
        least: seconds that it has to hold at least, whatever its watchdog.
    """
    if why := never_proves(seen):
        return why
    if seen.state != "active":
        return f"it is {seen.state}"
    if switched is None:
        return "nobody noted when the release was switched to"
    if seen.started < switched:
        return "it runs since before the release was switched to"
    held, wanted = now - seen.ready, needed(seen, least=least)
    if held >= wanted:
        return ""
    return f"held for {held:.0f} s of {wanted:.0f}; started anew {seen.restarts} times"


def look(unit: str) -> UnitSeen:
    """What systemd says of a service now.

    Raises:
        FailedError: it cannot be asked.
    """
    command = [SYSTEMCTL, "show", f"--property={','.join(_PROPERTIES)}", unit]
    ended = run_program(command, seconds=_SECONDS, may_fail=frozenset())
    try:
        return read_shown(ended.printed.decode("utf-8", "replace"))
    except ValueError as error:
        raise FailedError(
            "systemd does not say how a service is.",
            reason=Reason.RESOURCE_PROGRAM,
            where=" ".join(command),
            found=str(error),
            expected="the properties of a service",
            remedy="Name a service of this device: `systemctl show NAME.service`.",
        ) from error


def probe_of(health: Health, layout: Layout) -> tuple[str, ...]:
    """The command that proves health, by the settings; empty for none.

    Args:
        health: the settings; they name a program, a unit, or neither.
        layout: the state folder's names.
    """
    if not health.unit:
        return health.probe
    words = ["--state", str(layout.root), "--unit", health.unit]
    least = ["--seconds", f"{health.unit_seconds:g}"]
    return (sys.executable, "-P", "-m", "primum_agent.unit_health", *words, *least)


def main() -> int:
    """Look at one service once, for the generation that the environment names."""
    parser = argparse.ArgumentParser(prog="unit_health")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--unit", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    number = int(os.environ["PRIMUM_GENERATION"])
    clock, layout = SystemClock(), Layout(options.state)
    try:
        journal = Journal.open_to_read(layout, clock=clock)
        try:
            switched = switched_at(journal, number, clock=clock)
        finally:
            journal.close()
        seen, now = look(options.unit), time.monotonic()
        why = not_proven(seen, switched=switched, now=now, least=options.seconds)
        if answers_for_it(seen, switched=switched):
            # As an application that opened it: a window without health counts against the release.
            ask(layout.socket, {"do": "activated", "generation": number})
    except PrimumError as error:
        why = f"{error.message} {error.found}"
    sys.stdout.write(f"{why or 'held'}\n")
    return 1 if why else 0


if __name__ == "__main__":
    sys.exit(main())
