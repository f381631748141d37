"""The attempt that only holds what runs against its digests, at an idle hour.

What it finds is acted on as at a start: the review does both.  A patient, an empty battery or
heat put it off, by one period at most: a release that is damaged is worse than a busy disk.
"""

from __future__ import annotations

from collections.abc import Collection

from primum_agent.device import Device
from primum_agent.gate_keeping import GateKeeper
from primum_agent.gate_rules import GateId
from primum_agent.gates import clinical_use
from primum_agent.hashed import hash_age
from primum_agent.judging import Judge
from primum_agent.lifecycle import State
from primum_agent.review import review
from primum_verifier.core.errors import EXIT_DONE, EXIT_WAITING

_PUT_OFF_BY = frozenset({GateId.CLINICAL_USE, GateId.BATTERY, GateId.TEMPERATURE})
LONGEST_PERIODS = 2
"""Periods since the last time after which nothing puts it off any more."""


def rehash(device: Device, judge: Judge | None) -> int:
    """Hold what runs against its digests, and act on what is found.

    Args:
        device: the device.
        judge: the judge over the stored views; None while nothing can be judged.

    Returns:
        An exit code of the one table: 5 where it was put off.
    """
    state = device.journal.state()
    used = state.in_use
    if used is None or state.lifecycle not in {State.IDLE, State.WAITING}:
        return EXIT_DONE
    longest = LONGEST_PERIODS * device.settings.timing.rehash_seconds
    if hash_age(device.journal, used) < longest and is_put_off(device, judge, by=_PUT_OFF_BY):
        return EXIT_WAITING
    review(device, judge)
    return EXIT_DONE


def is_put_off(device: Device, judge: Judge | None, *, by: Collection[GateId]) -> bool:
    """Whether a gate holds now that puts off what is done at an idle hour.

    Args:
        device: the device.
        judge: the judge of this attempt; None while nothing can be judged.
        by: the gates that count.
    """
    keeper = GateKeeper(device, proven=None if judge is None else judge.proven)
    gates = keeper.look(None, declared=clinical_use(device.ask))
    return any(item.holds and item.gate in by for item in gates)
