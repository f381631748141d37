"""Two authorities, and a hospital: one moves on, one does not, and what a device may conclude.

A run that fails half-way, a power cut between the two, and one version with two contents are
staged in ``test_pair_of_authorities.py``.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from tests.scenarios.compromise.world import ATTACK, DAY, HOUR, PEOPLE, key
from tests.unit.verifier.conftest import NOW, envelope, moment, urn

from primum_verifier.core.document import canonical_json, sha256_hex
from primum_verifier.core.envelope import CONTEXT_PAYLOAD_TYPE, public_key_of
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import Capability, Phase

INDEX = "eligibility/index.json"
NOTICES = "safety/notices.jsonl"


def half(staged: Any, frozen: str) -> dict[str, bytes]:
    """One authority as it is, the other as it was."""
    before = staged.good.before.files
    old = {url: data for url, data in before.items() if f"//{frozen}." in url}
    return {url: d for url, d in staged.world.files.items() if f"//{frozen}." not in url} | old


@pytest.mark.parametrize("frozen", ["engineering", "clinical"])
def test_x01_one_authority_frozen_while_the_other_moves_on(staged: Any, frozen: str) -> None:
    """Nothing is granted over a pair whose older half has ended."""
    staged.world.correct(NOW + 2 * DAY)
    refreshed = staged.poll(files=half(staged, frozen), at=NOW + 2 * DAY + HOUR)
    assert set(refreshed.problems) == {frozen}
    staged.at = NOW + 2 * DAY + HOUR
    for name in ("better", "running", "older"):
        assert staged.ask(name, Phase.INSTALL).capability < Capability.SHADOW
    staged.still_runs()
    staged.ends_well()


def test_x01_withdrawal_seen_while_engineering_is_frozen_is_obeyed(staged: Any) -> None:
    """What takes away waits for nobody."""
    staged.world.notice("running", "clinical", "quality")
    staged.world.correct(NOW + 2 * DAY)
    at = NOW + 2 * DAY + HOUR
    assert set(staged.poll(files=half(staged, "engineering"), at=at).problems) == {"engineering"}
    order = staged.ask("running", Phase.CONTINUE, at=at).order
    assert order is not None
    assert order.action.takes_away
    assert staged.ask("older", Phase.FALL_BACK, at=at).capability is Capability.CLINICAL
    staged.disk_is_clean()
    staged.journal.close()


def test_x02_approved_against_an_engineering_view_not_seen_yet_waits(staged: Any) -> None:
    """Clinical lists what this device's view of engineering does not hold."""
    staged.world.correct(NOW + HOUR)
    assert not staged.poll(files=half(staged, "engineering")).problems
    staged.refused(Reason.TRUST_NOT_FOUND)
    staged.still_runs()
    staged.ends_well()


def test_x02_deployable_and_not_listed_yet_waits_as_staged(staged: Any) -> None:
    """Engineering gives it to everybody; clinical's yes has not arrived."""
    staged.world.correct(NOW + HOUR)
    refreshed = staged.poll(files=half(staged, "clinical"))
    assert not refreshed.problems
    assert refreshed.assignment is not None
    assert staged.refused(Reason.ELIGIBILITY_ABSENT).capability is Capability.STAGE
    staged.still_runs()
    staged.ends_well()


def test_x05_withdrawal_followed_by_relisting_with_old_approvals(staged: Any) -> None:
    """The list names it as eligible again; the notice stands until a new statement answers it."""
    staged.world.listed["withdrawn"] = "eligible"
    staged.publish()
    staged.refused(Reason.ELIGIBILITY_WITHDRAWN, "withdrawn")
    staged.still_runs()
    staged.ends_well()


def test_x05_burned_statement_is_refused_also_when_no_notice_speaks_of_it(staged: Any) -> None:
    """Never seen by this device before: the policy alone keeps it out."""
    burned = [{"sha256": staged.world.statement_of("better")}]
    staged.world.first.policy["burnedStatements"] = burned
    staged.publish()
    staged.refused(Reason.ELIGIBILITY_SUPERSEDED)
    staged.ends_well()


def test_withdrawal_does_not_vanish_with_the_file_that_held_it(staged: Any) -> None:
    """The near-line role publishes its file without the notice: the device keeps what it read."""
    recalled = staged.world.releases["recalled"]
    kept, recalled.notices = recalled.notices, []
    refreshed = staged.publish()
    assert refreshed.problems["clinical"].reason == Reason.TRUST_ROLLBACK
    assert kept[0][0]["id"] in refreshed.problems["clinical"].found
    staged.refused(Reason.TRUST_METADATA, "recalled")
    assert staged.ask("recalled", Phase.CONTINUE).order.action.takes_away
    staged.still_runs()
    staged.ends_well()


def relist(staged: Any, change: Any) -> None:
    """Publish a list that was changed as JSON."""
    staged.world.correct(NOW + HOUR)
    world = staged.world
    index = json.loads(world.index(world.listed, at=NOW + HOUR, number=99))
    change(index)
    world.clinical.add(INDEX, canonical_json(index), role="eligibility")
    world.clinical.publish()
    assert not staged.poll().problems


def test_x06_entry_that_this_agent_does_not_know_is_refused_and_the_others_judged(
    staged: Any,
) -> None:
    """One entry of a later form; everything else on the list counts."""

    def later_form(index: dict[str, Any]) -> None:
        for entry in index["entries"]:
            if entry["version"] == staged.better.version:
                entry["status"] = "eligible-on-mars"

    relist(staged, later_form)
    assert "entries unread" in staged.refused(Reason.ELIGIBILITY_ABSENT).in_the_way[0].found
    staged.still_runs()
    staged.ends_well()


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index.update(crit=["phase"], phase=1),
        lambda index: index.update(schemaVersion="9.0"),
        lambda index: index.update(entries="none"),
    ],
)
def test_x06_list_that_cannot_be_read_is_stale_and_not_empty(staged: Any, change: Any) -> None:
    """Nothing new, nothing taken away, and it is said; a withdrawal still counts."""
    staged.world.correct(NOW + HOUR)
    world = staged.world
    index = json.loads(world.index(world.listed, at=NOW + HOUR, number=99))
    change(index)
    world.clinical.add(INDEX, canonical_json(index), role="eligibility")
    world.clinical.publish()
    assert set(staged.poll().problems) == {"clinical"}
    assert staged.ask().capability < Capability.SHADOW
    assert staged.ask(phase=Phase.INSTALL).capability < Capability.SHADOW
    order = staged.ask("running", Phase.CONTINUE).order
    assert order is not None
    assert order.reason == Reason.TRUST_STALE_INDEX
    assert not order.action.takes_away
    staged.ends_well()


def test_x06_withdrawal_beside_a_list_that_cannot_be_read_is_obeyed(staged: Any) -> None:
    """A newer agent's list must not hide the notice that came with it."""
    staged.world.notice("running", "clinical", "quality")
    staged.world.correct(NOW + HOUR)
    index = json.loads(staged.world.index(staged.world.listed, at=NOW + HOUR, number=99))
    index.update(crit=["phase"], phase=1)
    staged.world.clinical.add(INDEX, canonical_json(index), role="eligibility")
    staged.world.clinical.publish()
    staged.poll()
    order = staged.ask("running", Phase.CONTINUE).order
    assert order is not None
    assert order.action.takes_away
    staged.disk_is_clean()
    staged.journal.close()


@pytest.mark.parametrize("how", ["expired", "refusing", "gone", "forged"])
def test_x07_site_expired_refusing_or_gone_stops_new_activations_only(
    staged_with_site: Any, how: str
) -> None:
    """Holds, withdrawals and the way back never wait for a hospital."""
    staged, site = staged_with_site, staged_with_site.world.authorities["site"]
    staged.world.correct(NOW + HOUR)
    world = staged.world
    if how == "refusing":
        site.add("site/acceptance.json", world.acceptance([]))
        site.publish()
    elif how == "expired":
        site.timestamp.expires = NOW + HOUR
        site.publish()
    elif how == "forged":
        site.signers["timestamp"] = [key("stranger")]
        site.publish()
    shown = {u: d for u, d in world.files.items() if how != "gone" or "//site." not in u}
    refreshed = staged.poll(files=shown)
    assert set(refreshed.problems) == (set() if how == "refusing" else {"site"})
    staged.refused(Reason.ELIGIBILITY_SITE_ACCEPTANCE)
    staged.still_runs()
    assert staged.ask("older", Phase.FALL_BACK).capability is Capability.CLINICAL
    staged.refused(Reason.ELIGIBILITY_WITHDRAWN, "recalled", Phase.FALL_BACK)
    site.signers["timestamp"] = [key("site.timestamp.1")]
    staged.ends_well()


def test_x07_withdrawal_is_obeyed_while_the_site_is_gone(staged_with_site: Any) -> None:
    staged = staged_with_site
    staged.world.notice("running", "clinical", "quality")
    staged.world.correct(NOW + HOUR)
    shown = {u: d for u, d in staged.world.files.items() if "//site." not in u}
    assert set(staged.poll(files=shown).problems) == {"site"}
    order = staged.ask("running", Phase.CONTINUE).order
    assert order is not None
    assert order.action.takes_away
    staged.journal.close()


@pytest.mark.parametrize("shift", [3650 * DAY, -3650 * DAY])
def test_x09_clock_ten_years_wrong_takes_nothing_away_and_poisons_nothing(
    staged: Any, shift: timedelta
) -> None:
    """What runs goes on by proven time; nothing new is taken; the right clock mends it."""
    staged.world.correct(NOW + HOUR)
    staged.device.clock = shift
    staged.poll()
    staged.still_runs()
    for phase in (Phase.INSTALL, Phase.ACTIVATE):
        assert staged.ask(phase=phase).capability < Capability.SHADOW
    assert staged.ask("older", Phase.FALL_BACK).capability is Capability.CLINICAL
    staged.ends_well()


def test_x09_clock_set_back_revives_nothing(staged: Any) -> None:
    """A statement that ended stays ended for whoever turns the clock back."""
    staged.publish()
    for back in (HOUR, 2 * HOUR, 20 * DAY):
        staged.device.clock = -back
        ended = {Reason.ELIGIBILITY_EXPIRED, Reason.ELIGIBILITY_NOT_YET_VALID}
        verdict = staged.ask("lapsed", counter_floor=1)
        assert verdict.capability < Capability.SHADOW
        assert verdict.primary in ended
    staged.ends_well()


def context(staged: Any, *signers: Any, **changes: Any) -> bytes:
    """A device context with other words, signed by these keys."""
    content = {**staged.world.first.context, "number": 2, **changes}
    return envelope(canonical_json(content), CONTEXT_PAYLOAD_TYPE, *signers)


def elsewhere(staged: Any) -> dict[str, Any]:
    """The placement of another ward."""
    return {**staged.world.first.context["placement"], "siteId": "ward-9"}


def test_x10_place_changed_by_one_provisioning_key_is_refused(staged: Any) -> None:
    """Two must sign where a device stands."""
    staged.publish()
    one = staged.world.first.provisioning[0]
    staged.device.context = context(staged, one, placement=elsewhere(staged))
    staged.refused(Reason.ELIGIBILITY_CONTEXT_UNTRUSTED, "elsewhere")
    staged.refused(Reason.ELIGIBILITY_CONTEXT_UNTRUSTED)
    staged.ends_well()


def test_x10_place_edited_on_the_device_itself_is_refused(staged: Any) -> None:
    """The words are changed and the two old signatures left in place."""
    staged.publish()
    forged = json.loads(context(staged, placement=elsewhere(staged)))
    forged["signatures"] = json.loads(staged.device.context)["signatures"]
    staged.device.context = canonical_json(forged)
    staged.refused(Reason.ELIGIBILITY_CONTEXT_UNTRUSTED)
    staged.ends_well()


def test_x10_context_replayed_from_another_device_is_refused(staged: Any) -> None:
    """Well signed, for a key that this device does not hold."""
    staged.publish()
    public = public_key_of(key("another device").public_key).model_dump(mode="json", by_alias=True)
    factory = {**staged.world.first.context["factory"], "publicKey": public}
    signers = staged.world.first.provisioning
    staged.device.context = context(staged, *signers, factory=factory)
    staged.refused(Reason.ELIGIBILITY_CONTEXT_UNTRUSTED)
    staged.ends_well()


def test_x10_older_context_is_refused_below_its_floor(staged: Any) -> None:
    """A device that was moved does not move back by an old file."""
    staged.publish()
    staged.refused(Reason.ELIGIBILITY_CONTEXT_UNTRUSTED, context_floor=2)
    staged.ends_well()


def test_x10_key_that_one_authority_alone_lists_signs_no_context(staged: Any) -> None:
    """Engineering's whole top role lists keys of its own: clinical does not."""
    own = [key("own.provisioning.1"), key("own.provisioning.2")]
    staged.world.correct(NOW + HOUR)
    engineering = staged.world.engineering
    engineering.add("provisioning/keys.json", staged.world.provisioning_keys(own))
    engineering.publish()
    assert not staged.poll().problems
    staged.device.context = context(staged, *own, placement=elsewhere(staged))
    staged.refused(Reason.ELIGIBILITY_CONTEXT_UNTRUSTED, "elsewhere")
    engineering.add("provisioning/keys.json", staged.world.provisioning_keys())
    staged.ends_well()


# The cases of revocation: a list, a notice, and what a device does with each.


def test_older_list_replayed_by_the_mirror_is_refused(staged: Any) -> None:
    """The device has read a newer one; the old files, each well signed, are a rollback."""
    staged.publish()
    refreshed = staged.poll(files=staged.good.before.files, at=ATTACK + HOUR)
    assert {error.reason for error in refreshed.problems.values()} == {Reason.TRUST_ROLLBACK}
    assert staged.ask().capability is Capability.CLINICAL, "what it knows already still counts"
    staged.still_runs()
    staged.ends_well()


def test_notice_before_the_list_follows_is_obeyed(staged: Any) -> None:
    """A notice in a hurry; the offline keys of the list come later."""
    staged.publish()
    staged.refused(Reason.ELIGIBILITY_WITHDRAWN, "recalled")
    assert staged.ask("recalled", Phase.CONTINUE).order.action.takes_away
    staged.ends_well()


@pytest.mark.parametrize("status", [None, "withdrawn", "held"])
def test_entry_that_vanishes_or_is_marked_without_a_notice_holds(
    staged: Any, status: str | None
) -> None:
    """Never a reason to go back: it holds what is new, and tells of what runs."""
    if status is None:
        del staged.world.listed["running"]
    else:
        staged.world.listed["running"] = status
    staged.publish()
    assert staged.ask("running", Phase.INSTALL).capability < Capability.SHADOW
    order = staged.ask("running", Phase.CONTINUE).order
    assert order is not None
    assert order.reason == Reason.ELIGIBILITY_HELD
    assert not order.action.takes_away
    staged.ends_well()


def test_hold_that_nobody_confirms_ends_by_itself(staged: Any) -> None:
    """72 hours, whatever end it claims; the same person holds the same release no second time."""
    hold = {"kind": "hold", "action": "no-new-activation", "expiresAt": moment(NOW + 900 * DAY)}
    staged.world.notice("better", "clinical", issuedAt=moment(NOW + HOUR), **hold)
    staged.publish()
    verdict = staged.refused(Reason.ELIGIBILITY_HELD)
    staged.device.seen_holds = verdict.seen_holds
    staged.still_runs()
    staged.at = NOW + 75 * HOUR
    staged.world.notice("better", "clinical", issuedAt=moment(NOW + 74 * HOUR), **hold)
    staged.world.publish(NOW + 74 * HOUR)
    assert not staged.poll().problems
    assert staged.ask().capability is Capability.CLINICAL
    staged.disk_is_clean()
    staged.journal.close()


def test_way_back_to_what_has_ended_is_no_way(staged: Any) -> None:
    """A statement that lapsed, or was withdrawn, is not fallen back to."""
    staged.publish()
    staged.refused(Reason.ELIGIBILITY_EXPIRED, "lapsed", Phase.FALL_BACK)
    staged.refused(Reason.ELIGIBILITY_WITHDRAWN, "withdrawn", Phase.FALL_BACK)
    staged.ends_well()


def test_number_of_the_list_that_jumps_blocks_nobody_for_good(staged: Any) -> None:
    """A thief signs list number 2^53 and role version 2^31; new keys by the root mend it."""
    staged.world.correct(NOW + HOUR)
    thief, clinical = staged.world.fork(), staged.world.clinical
    index = thief.index(thief.listed, at=NOW + HOUR, number=2**53)
    thief.clinical.add(INDEX, index, role="eligibility")
    thief.clinical.delegated["eligibility"].version = 2**31
    thief.clinical.publish()
    assert not staged.poll(files=thief.files).problems
    clinical.snapshot.version, clinical.timestamp.version = 50, 50
    clinical.publish()
    assert staged.poll().problems["clinical"].reason == Reason.TRUST_ROLLBACK
    old = list(clinical.signers["root"])
    clinical.hand_over("eligibility", [key(f"new.{n}") for n in range(3)], threshold=2)
    for role in ("snapshot", "timestamp"):
        clinical.set_keys(role, [key(f"new.{role}")])
    clinical.publish_root(old)
    staged.ends_well()


@pytest.mark.parametrize("person", PEOPLE)
def test_unknown_critical_member_in_a_notice_is_never_read_as_harmless(
    staged: Any, person: str
) -> None:
    """Nobody here knows what it says, so nothing new is granted; nothing is taken away by it."""
    words = {"crit": ["phase"], "phase": urn()}
    staged.world.notice("better", person, "quality" if person != "quality" else "clinical", **words)
    staged.publish()
    staged.refused(Reason.TRUST_STALE_INDEX)
    order = staged.ask("running", Phase.CONTINUE).order
    assert order is not None
    assert not order.action.takes_away
    assert sha256_hex(staged.world.notices())
    staged.ends_well()
