"""When what runs was last self-tested and its probes asked, and when that is due, over restarts.

A release is tested before it is activated, and again once after each start of the device and in
each period of powered time.  Standard library only, for the supervisor and ``status``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from primum_agent.clock import Clock, plain_time
from primum_agent.device_state import Generation
from primum_agent.journal_port import JournalPort
from primum_agent.self_test_settings import SelfTestSettings

TESTED = "tested"
"""The counter with the last self-test of each release, as JSON."""

PROBED = "probed"
"""The counter with what the probes said last, as JSON; empty before the first time."""

MAX_KEPT = 8
"""Releases of which the last self-test is kept: those that a device keeps to go back, and some."""

TOPIC, DISPLAY, ALARM = "self-test of what runs", "display", "alarm path"
"""The lasting troubles under which they stand in ``status`` and ``doctor``."""

NOT_CHECKED = "not checked"
"""What is shown of a probe that the maker of the device does not bring."""


@dataclass(frozen=True)
class Tested:
    """The last self-test of one release that came to an end.

    Attributes:
        powered: powered seconds then.
        boot: the start of the device that it was in.
        time: when, by the clock.
        passed: when one was passed last, by the clock; empty where that is not known.
    """

    powered: float
    boot: str
    time: str
    passed: str = ""


@dataclass(frozen=True)
class Probed:
    """What the probes said last.

    Attributes:
        generation: what was in use.
        display: what the display probe came to, in words.
        alarm: what the alarm probe came to.
        well: whether both are well or not checked.
        time: when, by the clock.
        waits: whether the alarm probe was put off, so that it was not asked of this generation.
    """

    generation: int
    display: str
    alarm: str
    well: bool
    time: str
    waits: bool = False


def last_tested(journal: JournalPort, release: str) -> Tested | None:
    """The last self-test of a release; None where there was none."""
    found = _all(journal).get(release)
    return None if found is None else Tested(**found)


def note_tested(journal: JournalPort, *, release: str, clock: Clock, passed: bool) -> None:
    """A self-test of a release came to an end just now.

    Args:
        journal: the open journal.
        release: SHA-256 of its manifest.
        clock: the clock port.
        passed: whether it was passed; otherwise the release itself failed it.
    """
    known = _all(journal)
    before = known.pop(release, {})
    now = plain_time(clock.now())
    found = Tested(
        powered=round(journal.powered_total(), 3),
        boot=clock.boot_id(),
        time=now,
        passed=now if passed else str(before.get("passed", "")),
    )
    kept = list({**known, release: asdict(found)}.items())[-MAX_KEPT:]
    journal.set_counters(tested=json.dumps(dict(kept), separators=(",", ":")))


def last_probed(journal: JournalPort, used: Generation) -> Probed | None:
    """What the probes said of what runs; None where they were not asked since it runs."""
    text = journal.counter(PROBED, "")
    found = Probed(**json.loads(text)) if text else None
    return found if found is not None and found.generation == used.number else None


def note_probed(journal: JournalPort, probed: Probed) -> None:
    """Keep what the probes said."""
    journal.set_counters(probed=json.dumps(asdict(probed), separators=(",", ":")))


def seconds_until_test(
    journal: JournalPort,
    used: Generation,
    *,
    settings: SelfTestSettings,
    boot: str,
    period: float | None = None,
) -> float | None:
    """Powered seconds until what runs is to be tested again; 0 or less is now, None is never.

    Args:
        journal: the open journal.
        used: what runs.
        settings: the maker's.
        boot: this start of the device.
        period: seconds to take in place of the settings', such as with jitter.
    """
    last = last_tested(journal, used.release)
    if settings.at_start and (last is None or last.boot != boot):
        return 0.0
    if settings.period is None:
        return None
    age = journal.powered_seen() - (0.0 if last is None else last.powered)
    return (settings.period if period is None else period) - age


def probes_are_due(journal: JournalPort, used: Generation, *, settings: SelfTestSettings) -> bool:
    """Whether the probes have something to say of what runs that they did not say, or not well.

    What is not proven yet may still be starting; it is asked once it is.
    """
    if not used.proven or not (settings.alarm_probe or settings.display_probe):
        return False
    last = last_probed(journal, used)
    return last is None or not last.well or last.waits


def told_tests(journal: JournalPort, used: Generation | None) -> dict[str, str]:
    """What ``status`` and ``doctor`` say of the self-test of what runs, and of the probes.

    Returns:
        ``passed`` and ``ended``: when one was passed and when one came to an end last, empty for
        never; ``display`` and ``alarm``: what the probes came to; ``probed``: when.
    """
    tested = None if used is None else last_tested(journal, used.release)
    probed = None if used is None else last_probed(journal, used)
    return {
        "passed": "" if tested is None else tested.passed,
        "ended": "" if tested is None else tested.time,
        "display": NOT_CHECKED if probed is None else probed.display,
        "alarm": NOT_CHECKED if probed is None else probed.alarm,
        "probed": "" if probed is None else probed.time,
    }


def _all(journal: JournalPort) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = json.loads(journal.counter(TESTED, "") or "{}")
    return found
