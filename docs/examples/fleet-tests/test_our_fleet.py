"""What a maker of devices asks of a fleet before a release reaches it."""

from __future__ import annotations

HOUR = 3600.0


def test_a_release_reaches_every_device_within_four_hours(fleet):
    ours = fleet(devices=3)
    ours.release("1.1.0")
    ours.after(4 * HOUR)
    assert ours.runs() == ["1.1.0"] * 3


def test_a_model_that_computes_something_else_serves_nobody(fleet):
    ours = fleet(devices=2)
    ours.release("1.1.0", scale=1.5)
    ours.after(4 * HOUR)
    assert ours.runs() == ["1.0.0"] * 2


def test_a_withdrawal_is_heard_within_two_polls(fleet):
    ours = fleet(devices=2)
    ours.withdraw("1.0.0")
    ours.after(2 * HOUR)
    assert ours.runs() == ["safe"] * 2


def test_a_device_keeps_a_journal_of_its_first_hours(device):
    assert b"update.committed" in b"".join(device.history())


def test_authorities_publish_what_people_approved(authorities):
    digest = authorities.release("1.0.0", counter=1)
    assert authorities.entries[0]["release"]["sha256"] == digest


def test_the_scenarios_that_our_risk_file_names_hold(scenario):
    assert scenario("withdrawn-while-offline").runs == {"safe": 3}
    assert scenario("our-ward.toml").ok


def test_a_broker_is_there(broker):
    assert broker.port > 0
