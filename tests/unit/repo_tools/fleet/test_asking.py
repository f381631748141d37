"""What a broker took and lost is asked for, of the device that keeps it still; and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.repo_tools.fleet.conftest import AT, Fleet
from tests.unit.repo_tools.fleet.devices import Device
from tests.unit.repo_tools.fleet.receivers import end, primum_repo, start

from primum_device_sim.authorities.documents import DEVICE
from primum_device_sim.broker import running_broker
from primum_repo_tools.fleet.asking import Asking
from primum_repo_tools.fleet.messages import Message

Eventually = Callable[..., Any]
WORD = "0f" * 16


class Asked:
    """Who asks, and what for."""

    def __init__(self, fleet: Fleet, *, after: float = 10.0) -> None:
        self.requests: list[tuple[str, str, Any]] = []
        self.asking = Asking(fleet.store, self._publish, after=after)

    def _publish(self, device: str, topic_end: str, payload: bytes) -> None:
        self.requests.append((device, topic_end, json.loads(payload)))

    def look(self, *times: float) -> list[tuple[str, str, Any]]:
        for now in times:
            self.asking.look(now)
        found, self.requests = self.requests, []
        return found


@pytest.fixture
def device(fleet: Fleet) -> Device:
    made = Device()
    fleet.enroll(made)
    return made


def status(device: Device, **members: object) -> Message:
    message = device.status()
    content = {**json.loads(message.payload), "word": WORD, **members}
    return replace(message, payload=json.dumps(content).encode())


def wanted(begin: int, end: int | None = None) -> list[tuple[str, str, Any]]:
    to = {} if end is None else {"to": end}
    return [(DEVICE, "request", {"do": "journal", "from": begin, **to, "word": WORD})]


def test_what_stays_missing_is_asked_for_and_ever_more_rarely(fleet: Fleet, device: Device) -> None:
    life = device.life(6)
    fleet.take(*life[:2], *life[4:], status(device))
    asked = Asked(fleet)
    assert asked.look(0.0, 5.0) == [], "it may be under way"
    assert asked.look(10.0) == wanted(3, 4)
    assert asked.look(20.0, 300.0, 600.0) == []
    assert asked.look(610.0) == wanted(3), "an earlier agent takes no request that names an end"
    assert asked.look(1300.0, 1800.0) == []
    assert asked.look(1810.0) == wanted(3)
    fleet.take(life[2])
    assert asked.look(9000.0) == []
    assert asked.look(9010.0) == wanted(4, 4), "the next one is another"
    fleet.take(life[3])
    assert asked.look(1e6, 2e6) == []
    assert asked.asking.asked == 4


def test_a_head_alone_says_that_everything_before_it_is_missing_too(
    fleet: Fleet, device: Device
) -> None:
    """A device takes one such request an hour: asked for the head's event alone, the rest waits."""
    life = device.life(5)
    fleet.take(life[0], life[5], status(device))
    assert Asked(fleet).look(0.0, 20.0)[0][2]["from"] == 2


def test_a_lost_end_is_found_by_the_word_of_health_or_a_head(fleet: Fleet, device: Device) -> None:
    life = device.life(5)
    fleet.take(*life[:3], status(device), device.health(lastSent=3))
    asked = Asked(fleet)
    assert asked.look(0.0, 50.0) == []
    fleet.take(device.health(at="2026-06-01T12:30:00Z", lastSent=5))
    assert asked.look(60.0, 70.0) == wanted(4)
    fleet.take(life[3], life[-1])
    assert asked.look(80.0, 90.0) == wanted(5)
    fleet.take(life[4])
    assert asked.look(1e6, 2e6) == []


@pytest.mark.parametrize(
    "said",
    [{"presence": "offline"}, {"word": ""}, None],
    ids=["it left", "it says no word", "it said nothing"],
)
def test_who_is_not_there_is_not_asked(
    fleet: Fleet, device: Device, said: dict[str, object] | None
) -> None:
    life = device.life(3)
    fleet.take(life[0], life[2])
    if said is not None:
        fleet.take(status(device, **said))
    asked = Asked(fleet)
    assert asked.look(0.0, 20.0, 5000.0) == []
    fleet.store.take([status(device)], now=AT + timedelta(minutes=1))
    assert asked.look(5010.0) == wanted(2, 2)


def test_a_word_that_was_old_is_followed_by_the_new_one(fleet: Fleet, device: Device) -> None:
    """It changed while the request was under way; a few times at most, then there is a pause."""
    life = device.life(3)
    fleet.take(life[0], life[2], status(device))
    asked = Asked(fleet)
    assert asked.look(0.0, 10.0) == wanted(2, 2)
    words = []
    for turn in range(1, 7):
        told = status(device, word=f"{turn:032x}")
        fleet.store.take([told], now=AT + timedelta(minutes=turn))
        words += [request["word"] for _, _, request in asked.look(10.0 + 12 * turn)]
    assert words == [f"{turn:032x}" for turn in (1, 2, 3)]


def test_runs_near_each_other_are_asked_for_together_and_far_ones_one_after_the_other(
    fleet: Fleet, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device takes one such request an hour; what lies between two runs is sent again, too."""
    monkeypatch.setattr("primum_repo_tools.fleet.asking._NEAR", 3)
    life = device.life(14)
    here = (1, 4, 5, 7, 8, 9, 10, 13)
    fleet.take(*(life[number - 1] for number in here), status(device))
    asked = Asked(fleet)
    assert asked.look(0.0, 10.0) == wanted(2, 6)
    fleet.take(*(life[number - 1] for number in (2, 3, 6)))
    assert asked.look(20.0, 30.0) == wanted(11, 12)
    fleet.take(device.health(lastSent=14))
    assert asked.look(700.0) == wanted(11), "how many follow nobody knows"
    fleet.take(*(life[number - 1] for number in (11, 12)))
    assert asked.look(800.0, 900.0) == wanted(14)


def test_what_no_answer_mends_is_not_asked_for(fleet: Fleet, device: Device) -> None:
    """Two events of one number, and a journal that was begun anew: nothing is missing there."""
    life = device.life(3)
    other = device.fork()
    fleet.take(*life, status(device), device.event(), other.event())
    assert Asked(fleet).look(0.0, 20.0) == []
    assert Asked(fleet, after=0.0).look(0.0, 20.0) == []


def test_a_broker_that_dies_and_forgets_costs_no_event(
    in_the_field: Any,
    broker_executable: Path,
    tmp_path: Path,
    fleet: Fleet,
    eventually: Eventually,
) -> None:
    """Act: while no receiver is there the device is told that all was taken; then all is lost."""
    field = in_the_field
    told = primum_repo("enroll", tmp_path / "enrolment.json", "--database", fleet.address)
    assert told.returncode == 0, told.stderr

    def held() -> int:
        with fleet.store.database.reading() as session:
            return int(session.rows("SELECT count(*) FROM events")[0][0])

    with running_broker(broker_executable, tmp_path / "first") as broker:
        port = broker.port
        field.write("agent.toml", field.settings(3600, port).encode())
        field.release("1.0.0", counter=1)
        with field.running():
            eventually(lambda: "update.activated" in field.kinds())
            eventually(lambda: _waiting(field) == 0)
    with running_broker(broker_executable, tmp_path / "second", port=port):
        receiver = start(fleet.address, port, "--ask-after", 0.5)
        try:
            with field.running():
                eventually(lambda: held() >= len(field.events()))
        finally:
            said = end(receiver)
    assert said["asked"] >= 1
    assert said["refused"] == {}


def _waiting(field: Any) -> int:
    journal = field.journal()
    try:
        return int(journal.waiting_count())
    finally:
        journal.close()
