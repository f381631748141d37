"""Stolen keys beyond the repositories' own: one approver, online keys of both, a device's key.

What each set of keys reaches is tried from end to end for ``docs/compromise.md``; here stand the
cases that once succeeded, or that have a name of their own.  A CI that builds another commit, and
a replaced dependency, are refused on the release side; a mirror alone, and an old image, are
staged in ``test_stolen_repository_keys.py``.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.scenarios.compromise.cells import false_reports
from tests.scenarios.compromise.world import DAY, HOUR, PEOPLE, key
from tests.unit.verifier.conftest import NOW

from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import Capability, Phase


@pytest.mark.parametrize("person", PEOPLE)
def test_s07_one_stolen_eligibility_function_approves_nothing(staged: Any, person: str) -> None:
    """He signs all three lines with the one key that he has."""
    for approval in staged.better.approvals:
        approval["signer"] = person
    staged.publish()
    staged.refused(Reason.ELIGIBILITY_APPROVALS)
    staged.still_runs()
    staged.ends_well()


@pytest.mark.parametrize("person", PEOPLE)
def test_s07_one_stolen_eligibility_function_withdraws_nothing(staged: Any, person: str) -> None:
    """A withdrawal with one signature is none, also with that key twice."""
    staged.world.notice("running", person)
    staged.world.notice("running", person, person)
    staged.publish()
    staged.still_runs()
    assert staged.ask("running", Phase.INSTALL).capability is Capability.CLINICAL
    staged.ends_well()


@pytest.mark.parametrize("years", [1, 10, 99])
def test_both_timestamp_keys_take_nothing_away_at_once(staged: Any, years: int) -> None:
    """They sign that it is years later: what people signed ends in days, and bounds the claim."""
    staged.world.correct(NOW + HOUR)
    for authority in staged.world.authorities.values():
        authority.at = NOW + years * 365 * DAY
        authority.timestamp.expires = authority.at + DAY
        authority.publish_timestamp()
    staged.poll()
    proven = staged.device.proven(staged.at)
    assert proven <= NOW + 3 * DAY + HOUR
    staged.still_runs()
    for authority in staged.world.authorities.values():
        authority.set_keys("timestamp", [key(f"new.{authority.name}")], threshold=1)
        authority.publish_root()
    staged.ends_well()


def test_both_timestamp_keys_end_no_hold_before_its_time(staged: Any) -> None:
    """The hold ends for the device's own clock as well, or it has not ended."""
    staged.world.correct(NOW + HOUR)
    for authority in staged.world.authorities.values():
        authority.at = NOW + 71 * HOUR
        authority.timestamp.expires = authority.at + DAY
        authority.publish_timestamp()
    assert not staged.poll().problems
    assert staged.device.proven(staged.at) >= NOW + 70 * HOUR
    staged.refused(Reason.ELIGIBILITY_HELD, "held")
    staged.journal.close()


def test_device_key_tells_tales_of_this_device_only() -> None:
    """A stolen device key invents this device's reports, and nobody else's."""
    assert false_reports(frozenset())[0] == set()
    assert false_reports(frozenset({"person.clinical", "clinical.root.1"}))[0] == set()
    assert false_reports(frozenset({"device"}))[0] == {"this device's own"}
