"""What a receiver concludes from the messages of a device, whatever their order and number."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner
from tests.unit.repo_tools.fleet.conftest import AT, Fleet
from tests.unit.repo_tools.fleet.devices import Device, generation

from primum_repo_tools.fleet.exporting import history
from primum_repo_tools.fleet.messages import End, Message
from primum_repo_tools.fleet.views import device_view, fleet_status
from primum_verifier.core.document import sha256_hex
from primum_verifier.core.envelope import PublicKey
from primum_verifier.core.errors import RefusedError
from primum_verifier.record.chain import check_history


def view(fleet: Fleet, device: Device) -> dict:  # type: ignore[type-arg]
    return device_view(fleet.store.database, fleet="demo", name=device.name, last=1000, now=AT)


def exported(fleet: Fleet, device: Device) -> list[bytes]:
    return list(history(fleet.store.database, fleet="demo", name=device.name, unproven=False))


def test_a_life_is_stored_byte_for_byte_and_proven_to_its_head(fleet: Fleet) -> None:
    device = Device()
    fleet.enroll(device)
    taken = fleet.take(*device.life(5), device.event())
    assert (taken.events, taken.heads, taken.refused) == (6, 1, [])
    seen = view(fleet, device)
    assert (seen["provenTo"], seen["lastEvent"], seen["gaps"]) == (5, 6, [])
    lines = exported(fleet, device)
    assert lines[:5] == device.events[:5]
    report = check_history(lines, device_key=device.key)
    assert report.whole
    assert report.proven_to == 5


def test_the_same_messages_again_change_nothing(fleet: Fleet) -> None:
    device = Device()
    fleet.enroll(device)
    messages = device.life(4)
    fleet.take(*messages)
    before = fleet.content()
    taken = fleet.take(*messages, *messages)
    assert (taken.events, taken.heads, taken.duplicates) == (0, 0, 10)
    assert fleet.content() == before


def test_a_missing_event_is_a_gap_by_name_until_it_comes(fleet: Fleet) -> None:
    device = Device()
    fleet.enroll(device)
    *events, head = device.life(6)
    fleet.take(*events[:2], *events[4:], head)
    seen = view(fleet, device)
    (gap,) = seen["gaps"]
    assert (gap["after"], gap["before"], gap["why"]) == (2, 5, "2 events missing")
    assert gap["proven"], "a head covers what stands behind it"
    fleet.take(*events[2:4])
    seen = view(fleet, device)
    assert (seen["gaps"], seen["provenTo"]) == ([], 6)
    assert all(item["proven"] for item in seen["timeline"])
    assert check_history(exported(fleet, device), device_key=device.key).whole


def test_a_signed_head_whose_event_never_came_is_a_gap(fleet: Fleet) -> None:
    device = Device()
    fleet.enroll(device)
    *events, head = device.life(3)
    fleet.take(*events[:2], head)
    (gap,) = view(fleet, device)["gaps"]
    assert gap["why"] == "a signed head names an event not here"
    assert view(fleet, device)["provenTo"] == 0
    fleet.take(events[2])
    assert view(fleet, device)["provenTo"] == 3


def test_a_cloned_device_is_an_alarm_with_both_lives_as_evidence(fleet: Fleet) -> None:
    """One key, two devices: both sign; nothing behind the fork is taken as proven."""
    device = Device()
    fleet.enroll(device)
    fleet.take(*device.life(3))
    clone = device.fork()
    fleet.take(*device.life(2))
    assert view(fleet, device)["provenTo"] == 5
    taken = fleet.take(*clone.life(1))
    assert [alarm[1] for alarm in taken.alarms] == ["two-events-of-one-number"]
    seen = view(fleet, device)
    (alarm,) = seen["alarms"]
    assert alarm["isClone"]
    assert {item["hash"] for item in alarm["events"]} == {
        sha256_hex(device.events[3]),
        sha256_hex(clone.events[3]),
    }
    assert seen["provenTo"] == 3, "up to the fork, and no further"
    stored = {line for *_, line in fleet.content()["events"]}
    assert {*device.events, *clone.events} == stored
    assert fleet.take(*clone.life(1)).alarms == [], "told once"
    report = check_history(exported(fleet, device), device_key=device.key)
    assert (report.proven_to, report.gaps) == (3, ()), "no head of what is disputed either"


def test_a_second_successor_with_another_number_is_an_alarm_too(fleet: Fleet) -> None:
    device = Device()
    fleet.enroll(device)
    fleet.take(*device.life(3))
    clone = device.fork()
    fleet.take(*device.life(2))
    clone.begin += 7  # it goes on behind the same event with another number
    taken = fleet.take(clone.event(), clone.head(clone.sequence))
    assert [alarm[1] for alarm in taken.alarms] == ["two-successors-of-one-event"]
    seen = view(fleet, device)
    assert seen["alarms"][0]["isClone"]
    assert seen["provenTo"] == 3


def test_a_forged_event_takes_nothing_away_from_what_the_key_signed(fleet: Fleet) -> None:
    """Whoever may publish on the topic, without the key: an alarm, and the truth stands."""
    device = Device()
    fleet.enroll(device)
    liar = device.fork()
    forged = liar.event("journal.begun", detail={"by": "a liar"})
    fleet.take(forged)
    fleet.take(*device.life(3))
    seen = view(fleet, device)
    (alarm,) = seen["alarms"]
    assert not alarm["isClone"]
    assert [item["proven"] for item in alarm["events"]].count(True) == 1
    assert seen["provenTo"] == 3
    lines = exported(fleet, device)
    assert forged.payload not in lines
    assert check_history(lines, device_key=device.key).whole


def test_a_forged_head_is_refused_and_counted(fleet: Fleet) -> None:
    device = Device()
    fleet.enroll(device)
    *events, head = device.life(3)
    thief = CryptoSigner.generate_ed25519()
    taken = fleet.take(*events, device.head(signer=thief))
    assert [(item.reason, item.device) for item in taken.refused] == [
        ("trust.signature", device.name)
    ]
    assert view(fleet, device)["provenTo"] == 0
    (refused,) = fleet_status(fleet.store.database, fleet="demo", now=AT)["refused"]
    assert (refused["device"], refused["reason"], refused["times"]) == (
        device.name,
        "trust.signature",
        1,
    )
    spoilt = head.payload.replace(b'"sig":"', b'"sig":"AAAA', 1)
    assert fleet.take(Message(device.name, End.HEAD, spoilt)).refused
    assert fleet.take(head).heads == 1
    assert view(fleet, device)["provenTo"] == 3


def test_a_head_over_an_event_that_is_another_here_is_an_alarm(fleet: Fleet) -> None:
    """The device's key signed an event of this number that never came: who has it?"""
    device = Device()
    fleet.enroll(device)
    clone = device.fork()
    fleet.take(*device.life(2))
    clone.event()
    clone.event()
    fleet.take(clone.head())
    assert "head-over-another-event" in {item["kind"] for item in view(fleet, device)["alarms"]}


def test_another_devices_event_on_this_devices_topic_is_refused(fleet: Fleet) -> None:
    device, other = Device(), Device("wearable-002")
    fleet.enroll(device, other)
    for message in other.life(1):
        taken = fleet.take(Message(device.name, message.end, message.payload))
        assert [item.reason for item in taken.refused] == ["trust.signature"]
    assert fleet.content()["events"] == []


def test_a_change_of_the_key_is_followed(fleet: Fleet) -> None:
    device = Device()
    first = device.key
    fleet.enroll(device)
    fleet.take(*device.life(2), *device.change_key(), *device.life(2))
    seen = view(fleet, device)
    assert (seen["provenTo"], seen["headsNotCounting"]) == (5, 0)
    assert [(item["from"], item["to"]) for item in seen["keys"]] == [(1, 3), (4, None)]
    lines = exported(fleet, device)
    for key in (first, device.key):
        assert check_history(lines, device_key=key).whole


def test_a_stolen_former_key_proves_nothing_after_the_change(fleet: Fleet) -> None:
    device = Device()
    fleet.enroll(device)
    former = device.signer
    fleet.take(*device.life(2), *device.change_key())
    device.event()
    fleet.take(Message(device.name, End.PROVENANCE, device.events[-1]), device.head(signer=former))
    seen = view(fleet, device)
    assert (seen["provenTo"], seen["headsNotCounting"]) == (3, 1)


def test_a_change_that_the_former_key_did_not_sign_is_not_followed(fleet: Fleet) -> None:
    """Whoever may publish names a key of his own; the device's key never signed for it."""
    device = Device()
    fleet.enroll(device)
    fleet.take(*device.life(2))
    liar = device.fork()
    event, _ = liar.change_key()
    fleet.take(event, liar.event(), liar.head())
    seen = view(fleet, device)
    assert seen["provenTo"] == 2
    assert [item["to"] for item in seen["keys"]] == [None]
    fleet.take(*device.life(2))
    assert view(fleet, device)["provenTo"] == 4


def test_an_unknown_device_is_kept_apart_and_believed_once_enrolled(fleet: Fleet) -> None:
    device = Device()
    messages = [*device.life(3), device.health()]
    taken = fleet.take(*messages, *messages)
    assert (taken.events, taken.quarantined) == (0, 10)
    seen = fleet_status(fleet.store.database, fleet="demo", now=AT)
    assert seen["devices"] == []
    (waiting,) = seen["quarantine"]
    assert (waiting["device"], waiting["messages"], waiting["times"]) == (device.name, 5, 10)
    fleet.enroll(device)
    assert view(fleet, device)["provenTo"] == 3
    assert fleet.content()["quarantine"] == []


def test_the_quarantine_is_bounded(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("primum_repo_tools.fleet.quarantine.MAX_MESSAGES_OF_ONE", 3)
    monkeypatch.setattr("primum_repo_tools.fleet.quarantine.MAX_MESSAGES", 5)
    for name in ("a", "b", "c"):
        device = Device(name)
        for message in device.life(5):
            fleet.take(message)
    assert len(fleet.content()["quarantine"]) == 5
    (refused,) = fleet_status(fleet.store.database, fleet="demo", now=AT)["refused"]
    assert (refused["device"], refused["reason"], refused["times"]) == (None, "trust.limit", 13)


def test_one_name_cannot_fill_the_quarantine(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("primum_repo_tools.fleet.quarantine.MAX_MESSAGES_OF_ONE", 3)
    assert fleet.take(*Device("loud").life(9)).quarantined == 3
    assert fleet.take(*Device("quiet").life(2)).quarantined == 3
    assert len(fleet.content()["quarantine"]) == 6


def test_the_bytes_in_quarantine_are_bounded(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("primum_repo_tools.fleet.quarantine.MAX_BYTES", 2000)
    taken = fleet.take(*Device().life(20))
    assert 0 < taken.quarantined < 10
    assert sum(len(row[-1]) for row in fleet.content()["quarantine"]) <= 2000


def test_heads_by_keys_that_only_a_lie_names_are_bounded(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may publish names a key of his own, and signs heads without end."""
    monkeypatch.setattr("primum_repo_tools.fleet.chain_store.MAX_IDLE_HEADS", 3)
    device = Device()
    fleet.enroll(device)
    fleet.take(*device.life(1))
    liar = device.fork()
    event, _ = liar.change_key()
    fleet.take(event)
    heads = [liar.head(signedAt=f"2026-06-01T12:00:0{n}Z") for n in range(6)]
    for head in heads:
        fleet.take(head)
    assert len(fleet.content()["heads"]) == 1 + 3
    assert fleet.take(device.event(), device.head()).heads == 1, "the device's own has room"


def test_two_events_of_one_id_are_an_alarm(fleet: Fleet) -> None:
    device = Device()
    fleet.enroll(device)
    first = device.event()
    device.event()
    name = json.loads(first.payload)["id"]
    again = json.loads(device.events[1]) | {"id": name}
    device.events[1] = json.dumps(again).encode()
    fleet.take(first, Message(device.name, End.PROVENANCE, device.events[1]))
    (alarm,) = view(fleet, device)["alarms"]
    assert (alarm["kind"], alarm["isClone"]) == ("two-events-of-one-id", False)
    assert [item["sequence"] for item in alarm["events"]] == [1, 2]


def test_events_that_nobody_proves_are_bounded(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A liar may not fill the disk; what is proven has its room again."""
    monkeypatch.setattr("primum_repo_tools.fleet.chain_store.MAX_UNPROVEN", 4)
    device = Device()
    fleet.enroll(device)
    events = [device.event() for _ in range(6)]
    taken = fleet.take(*events)
    assert taken.events == 4
    assert {item.reason for item in taken.refused} == {"trust.limit"}
    fleet.take(device.head(4))
    assert fleet.take(*events[4:]).events == 2


def test_a_device_cannot_be_enrolled_twice_under_two_keys_by_mistake(fleet: Fleet) -> None:
    device, same_name = Device(), Device()
    fleet.enroll(device)
    with pytest.raises(RefusedError):
        fleet.enroll(same_name)
    assert fleet.take(*same_name.life(1)).heads == 0
    fleet.store.enroll(same_name.name, same_name.key, now=AT, another_key=True)
    assert len(fleet.content()["device_keys"]) == 2


def test_a_device_enrolled_with_the_key_its_chain_named_is_known_already(fleet: Fleet) -> None:
    device = Device()
    fleet.enroll(device)
    fleet.take(*device.life(1), *device.change_key())
    fleet.enroll(device)
    assert len(fleet.content()["device_keys"]) == 2


def test_one_release_counter_with_two_digests_is_an_alarm_for_the_fleet(fleet: Fleet) -> None:
    """Two devices were shown two releases under one number: somebody signed both."""
    devices = [Device("wearable-001"), Device("wearable-002")]
    fleet.enroll(*devices)
    for number, device in enumerate(devices):
        made = generation(f"{number}" * 64, counter=7, statement="c" * 64, number=1)
        device.event()
        device.event("update.activating", change=made)
        events = [Message(device.name, End.PROVENANCE, line) for line in device.events]
        fleet.take(*events)
    seen = fleet_status(fleet.store.database, fleet="demo", now=AT)
    assert seen["alarms"] == [], "nobody has proven that they said it"
    for device in devices:
        fleet.take(device.head())
    (alarm,) = fleet_status(fleet.store.database, fleet="demo", now=AT)["alarms"]
    assert (alarm["kind"], alarm["version"]) == ("one-version-with-two-digests", 7)
    named = {place[0]["device"] for place in alarm["digests"].values()}
    assert named == {"wearable-001", "wearable-002"}


def test_a_device_that_saw_a_version_signed_twice_is_an_alarm(fleet: Fleet) -> None:
    device = Device()
    fleet.enroll(device)
    device.event()
    detail = {"authority": "clinical", "role": "timestamp", "version": 4}
    device.event("trust.refused", reasons=["trust.equivocation"], detail=detail)
    lines = [Message(device.name, End.PROVENANCE, line) for line in device.events]
    fleet.take(*lines, device.head())
    (alarm,) = view(fleet, device)["alarms"]
    assert (alarm["kind"], alarm["detail"]["role"]) == (
        "device-saw-one-version-signed-twice",
        "timestamp",
    )


def test_an_event_of_a_newer_agent_is_kept_in_the_chain(fleet: Fleet) -> None:
    device = Device()
    fleet.enroll(device)
    device.event()
    device.event("something.of-tomorrow", futureMember={"x": 1})
    lines = [Message(device.name, End.PROVENANCE, line) for line in device.events]
    assert fleet.take(*lines, device.head()).refused == []
    seen = view(fleet, device)
    assert seen["provenTo"] == 2
    assert [item["understood"] for item in seen["timeline"]] == [True, False]


def test_reports_are_the_newest_and_bounded(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("primum_repo_tools.fleet.report_store.MAX_REPORTS", 3)
    device = Device()
    fleet.enroll(device)
    reports = [device.health(f"2026-06-01T12:0{n}:00Z", statementNumber=n + 1) for n in range(6)]
    random.Random(1).shuffle(reports)
    fleet.take(*reports[:3])
    fleet.take(*reports[3:], device.status())
    seen = view(fleet, device)
    assert (seen["statementNumber"], seen["mode"], seen["presence"]) == (6, "clinical", "online")
    assert seen["eligibilityAgeSeconds"] == 55 * 60
    kept = [row for row in fleet.content()["reports"] if row[1] == "health"]
    assert [row[3] for row in kept if row] and len(kept) == 3  # noqa: PT018


def _story() -> tuple[PublicKey, list[Message]]:
    """A life with two keys, a clone, a lie, a forged head, a beginning anew, and reports."""
    device = Device()
    first = device.key
    messages = device.life(3)
    messages += device.change_key()
    messages += device.life(2)
    clone = device.fork()
    messages += device.life(2)
    messages += [clone.event(), clone.head()]
    liar = device.fork()
    messages += [liar.event(), liar.head(signer=CryptoSigner.generate_ed25519())]
    messages += [device.health("2026-06-01T12:01:00Z"), device.health("2026-06-01T12:02:00Z")]
    messages += [Message(device.name, End.PROVENANCE, b"[]")]
    again = Device()
    again.signer, again.begin = device.signer, 20
    return first, messages + again.life(2)


STORY_KEY, STORY = _story()


@given(st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_order_and_number_of_messages_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any order, any repetition, cut into any batches: the same database in the end."""
    expected = _ingested(tmp_path_factory.mktemp("order"), [STORY])
    repeated = data.draw(st.lists(st.sampled_from(STORY), max_size=10))
    order = data.draw(st.permutations([*STORY, *repeated]))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(order)), max_size=12)))
    batches = [order[a:b] for a, b in zip([0, *cuts], [*cuts, len(order)], strict=True)]
    assert _ingested(tmp_path_factory.mktemp("order"), batches) == expected


@pytest.mark.parametrize("seed", range(3))
def test_both_databases_come_to_the_same(fleet: Fleet, tmp_path: Path, seed: int) -> None:
    order = [*STORY, *STORY]
    random.Random(seed).shuffle(order)
    fleet.store.enroll("wearable-001", STORY_KEY, now=AT)
    for place in range(0, len(order), 7):
        fleet.take(*order[place : place + 7])
    alarms = fleet_status(fleet.store.database, fleet="demo", now=AT)["alarms"]
    assert (fleet.content(), alarms) == _ingested(tmp_path, [STORY])


def _ingested(folder: Path, batches: list[list[Message]]) -> object:
    fleet = Fleet(f"sqlite:///{folder / 'expected.db'}")
    fleet.store.enroll("wearable-001", STORY_KEY, now=AT)
    for batch in batches:
        fleet.take(*batch)
    found = fleet.content(), fleet_status(fleet.store.database, fleet="demo", now=AT)["alarms"]
    fleet.close()
    return found
