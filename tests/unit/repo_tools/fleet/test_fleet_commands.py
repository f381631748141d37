"""The commands as people and scripts use them: what is shown, what is refused, how they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.repo_tools.fleet.conftest import Fleet
from tests.unit.repo_tools.fleet.devices import Device

from primum_repo_tools.cli import main
from primum_repo_tools.fleet.database import without_password
from primum_repo_tools.fleet.messages import End, Message
from primum_verifier.core.document import canonical_json


class Answer:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def reason(self) -> str:
        return str(json.loads(self.err)["error"]["reason"])


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def runs(*words: object) -> Answer:
        code = main(["fleet", *map(str, words)])
        told = capsys.readouterr()
        return Answer(code, told.out, told.err)

    return runs


def enrolment(device: Device) -> bytes:
    return canonical_json(
        {
            "deviceId": device.name,
            "hardwareId": "cardiowear-2",
            "serialNumber": "1",
            "publicKey": device.key.model_dump(mode="json", by_alias=True),
        }
    )


def test_a_folder_of_enrolments_is_shown_first_and_then_taken(
    run: Any, fleet: Fleet, tmp_path: Path
) -> None:
    folder = tmp_path / "enrolled"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.json").write_bytes(enrolment(Device(name)))
    words = ("enroll", folder, "--database", fleet.address, "--json")
    shown = run(*words, "--dry-run")
    assert shown.code == 0
    assert [item["device"] for item in json.loads(shown.out)["enrolled"]] == ["a", "b"]
    assert fleet.content()["devices"] == []
    assert run(*words).code == 0
    assert run(*words).code == 0, "the same again changes nothing"
    assert [row[0] for row in fleet.content()["devices"]] == ["a", "b"]


def test_a_bare_public_key_needs_the_name_of_its_device(
    run: Any, fleet: Fleet, tmp_path: Path
) -> None:
    device = Device()
    (tmp_path / "device.public.json").write_bytes(device.key.to_bytes())
    words = ("enroll", tmp_path / "device.public.json", "--database", fleet.address)
    assert run(*words).code == 2
    assert run(*words, "--device", "Not A Name").code == 2
    assert run(*words, "--device", device.name).code == 0
    fleet.take(*device.life(1))
    assert fleet.content()["heads"]


@pytest.mark.parametrize(
    "content", [b"", b"no json", b"[]", b"{}", b'{"payload":"!"}', b'{"deviceId":"a"}']
)
def test_what_is_no_enrolment_is_refused_and_enrols_nobody(
    run: Any, fleet: Fleet, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "file.json").write_bytes(content)
    answer = run("enroll", tmp_path / "file.json", "--database", fleet.address, "--json")
    assert (answer.code, answer.reason) == (2, "usage")
    assert fleet.content()["devices"] == []


def test_another_key_for_a_device_must_be_meant(run: Any, fleet: Fleet, tmp_path: Path) -> None:
    first, second = Device(), Device()
    fleet.enroll(first)
    (tmp_path / "second.json").write_bytes(enrolment(second))
    words = ("enroll", tmp_path / "second.json", "--database", fleet.address, "--json")
    answer = run(*words)
    assert (answer.code, answer.reason) == (1, "trust.signature")
    assert "--another-key" in answer.err
    assert run(*words, "--another-key").code == 0


def test_status_and_device_are_shown_to_people_with_alarms_and_gaps(run: Any, fleet: Fleet) -> None:
    device = Device()
    fleet.enroll(device)
    messages = device.life(4)
    clone = device.fork()
    fleet.take(messages[0], *messages[2:], device.health(), device.status())
    fleet.take(messages[1], *device.life(2), *clone.life(1), clone.event())
    fleet.take(*Device("stranger").life(1))
    fleet.take(Message(device.name, End.HEALTH, b"{}"))
    shown = run("status", "--database", fleet.address)
    assert shown.code == 1, "an alarm stands"
    for word in (
        device.name, "pvc-classifier 1.0.0", "clinical", "4 of 6", "ALARMS",
        "the device's key signed both", "stranger", "document.invalid",
    ):  # fmt: skip
        assert word in shown.out, word
    shown = run("device", device.name, "--database", fleet.address, "--last", 4)
    assert "agent.started" in shown.out
    assert "not proven" in shown.out
    assert "two-events-of-one-number" in shown.out


def test_a_missing_event_is_shown_to_people(run: Any, fleet: Fleet) -> None:
    device = Device()
    fleet.enroll(device)
    messages = device.life(4)
    fleet.take(messages[0], *messages[2:])
    assert "1 events missing" in run("device", device.name, "--database", fleet.address).out


def test_a_device_that_nobody_knows_is_a_wrong_call(run: Any, fleet: Fleet) -> None:
    for words in (("device", "nobody"), ("export", "out.jsonl", "--device", "nobody")):
        answer = run(*words, "--database", fleet.address, "--json")
        assert (answer.code, answer.reason) == (2, "usage")
    assert not Path("out.jsonl").exists()


def test_an_export_that_is_only_tried_writes_nothing(
    run: Any, fleet: Fleet, tmp_path: Path
) -> None:
    device = Device()
    fleet.enroll(device)
    fleet.take(*device.life(3), device.event())
    words = ("export", tmp_path / "out.jsonl", "--device", device.name, "--database", fleet.address)
    assert json.loads(run(*words, "--dry-run", "--json").out)["lines"] == 4
    assert not (tmp_path / "out.jsonl").exists()
    assert json.loads(run(*words, "--unproven", "--json").out)["lines"] == 5
    assert (tmp_path / "out.jsonl").read_bytes().count(b"\n") == 5


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (("status", "--database", "mysql://somewhere"), 2, "usage"),
        (("status", "--database", "sqlite:///missing.db"), 2, "usage"),
        (("status", "--database", "postgresql://a:secret@127.0.0.1:1/x"), 3,
         "transport.unreachable"),
        (("ingest", "--broker", "nowhere"), 2, "usage"),
        (("ingest", "--broker", "mqtt://broker.example.org"), 2, "usage"),
        (("ingest", "--broker", "mqtts://h:99999"), 2, "usage"),
        (("ingest", "--broker", "mqtt://127.0.0.1", "--certificate", "c.pem"), 2, "usage"),
        (("ingest", "--broker", "mqtts://h", "--name", "a/b"), 2, "usage"),
        (("ingest", "--broker", "mqtts://h", "--fleet", "a/+"), 2, "usage"),
        (("ingest", "--broker", "mqtts://127.0.0.1:1", "--ca", "missing.pem"), 2, "usage"),
    ],
)  # fmt: skip
def test_a_wrong_call_is_told_by_one_reason(
    run: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    code: int,
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = run(*words, "--json")
    assert (answer.code, answer.reason) == (code, reason)
    assert "secret" not in answer.err


def test_a_file_that_is_no_database_is_left_as_it_is(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"no database at all, but somebody's notes" * 100)
    answer = run("status", "--database", f"sqlite:///{path}", "--json")
    assert (answer.code, answer.reason) == (3, "state.damaged")
    assert path.read_bytes() == b"no database at all, but somebody's notes" * 100


def test_a_database_of_another_generation_is_left_as_it_is(run: Any, fleet: Fleet) -> None:
    with fleet.store.database.writing() as session:
        session.do("UPDATE fleet_generation SET number = 9")
    answer = run("status", "--database", fleet.address, "--json")
    assert (answer.code, answer.reason) == (2, "usage")


def test_a_password_is_never_shown() -> None:
    shown = without_password("postgresql://primum:secret@db.example:5432/fleet")
    assert shown == "postgresql://primum@db.example:5432/fleet"
    assert "secret" not in without_password("postgresql://db.example/fleet?password=secret")
