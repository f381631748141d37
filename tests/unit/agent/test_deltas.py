"""Deltas through the agent: what is taken, what is refused, and that the whole file is behind it.

Each ends by looking at the store, at what was asked of the server, and at the journal.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.unit.agent.field import Field
from tests.unit.agent.hostile_server import Mood
from tests.unit.agent.served import Served

from primum_agent import delta_memory
from primum_agent.content_store import FolderStore
from primum_agent.delta_memory import MOST_FAILED, failed_deltas, remember_failed
from primum_agent.fail_points import DeltaPoint
from primum_device_sim.authorities.documents import (
    COMPONENT,
    fixture_bytes,
    model_bytes,
    moment,
    specification_bytes,
)
from primum_device_sim.authorities.origin import THIS_MACHINE
from primum_verifier.core.document import canonical_json, sha256_hex
from primum_verifier.delta.applying import EDIT
from primum_verifier.delta.choosing import Power
from primum_verifier.delta.delta_list import delta_list_target
from primum_verifier.delta.packed_stream import number_bytes

FAILED = 3
NOISE = random.Random(11).randbytes(200_000)
OWN = random.Random(12).randbytes(60_000)
NEW = OWN + NOISE
NAME, NEW_DIGEST, OLD_DIGEST = "calibration", sha256_hex(NEW), sha256_hex(NOISE)


def edit(*, fresh: bytes = OWN, place: int = 0, length: int = len(NEW)) -> bytes:
    """Fresh bytes, then the whole old file: what makes the new one, unless a test says other."""
    run = length - len(fresh)
    moved = place - len(fresh)
    folded = moved << 1 if moved >= 0 else (-moved << 1) - 1
    numbers = [number_bytes(item) for item in (len(fresh), run, folded)]
    sections = [*numbers, b"", b"", b"", fresh]
    head = number_bytes(EDIT) + number_bytes(length)
    return b"PRD1s" + head + b"".join(number_bytes(len(part)) + part for part in sections)


GOOD = edit()


@dataclass
class Deltas:
    """A device that runs 1.0.0, with 1.1.0 to come; a file of it changed by sixty of 260 kB."""

    served: Served

    @property
    def field(self) -> Field:
        return self.served.field

    def release(self, version: str, counter: int, data: bytes) -> None:
        fixtures = fixture_bytes()
        contents = {
            "model": ("model", f"model-{version}.onnx", model_bytes(1.0)),
            "spec": ("self-test-specification", "selftest.json", specification_bytes(fixtures)),
            "fixtures": ("self-test-fixtures", "fixtures.npz", fixtures),
            NAME: (NAME, "calibration.bin", data),
        }
        items = []
        for name, (kind, path, content) in contents.items():
            self.put(content)
            item = {"id": name, "kind": kind, "path": path, "length": len(content)}
            items.append({**item, "digest": {"sha256": sha256_hex(content)}})
        self.field.release(version, counter=counter, items=items)

    def put(self, data: bytes) -> str:
        digest = sha256_hex(data)
        (self.field.engineering.web / "artifacts" / digest).write_bytes(data)
        return digest

    def offer(self, data: bytes = GOOD, *, role: str = "model", **changed: Any) -> str:
        """Publish a delta to the new file, and the list that names it."""
        entry = {
            "result": {"sha256": NEW_DIGEST},
            "resultLength": len(NEW),
            "base": {"sha256": OLD_DIGEST},
            "baseLength": len(NOISE),
            "length": len(data),
            "digest": {"sha256": self.put(data)},
            "computedBytes": 0,
        } | changed
        listed = {
            "type": "urn:primum:delta-list:v0.1",
            "schemaVersion": "0.1",
            "id": THIS_MACHINE.urn(),
            "number": 1,
            "issuedAt": moment(THIS_MACHINE.now()),
            "release": {"sha256": self.field.releases["1.1.0"]},
            "deltas": [entry],
        }
        target = delta_list_target(COMPONENT, "1.1.0")
        self.field.engineering.put(role, target, canonical_json(listed))
        self.field.publish()
        return sha256_hex(data)

    def update(self) -> dict[str, Any]:
        """One attempt that takes the new release; what its event tells of the download."""
        self.served.own.asked.clear()
        assert self.served.attempt_now() == 0
        return self.told()

    def told(self) -> dict[str, Any]:
        opened = self.field.opened()
        assert opened is not None
        assert opened.version == "1.1.0"
        path = self.field.layout.store / "sha256" / NEW_DIGEST
        assert sha256_hex(path.read_bytes()) == NEW_DIGEST
        assert not self.served.left()
        detail: dict[str, Any] = self.served.events("update.downloaded")[-1]["data"]["detail"]
        return detail

    def break_off(self, after: int) -> None:
        """The link dies in a file, and nothing comes any more."""
        self.served.own.asked.clear()
        self.served.own.mood_of = lambda path: (
            Mood(
                cut_after=after
                if self.served.artifacts().count(re.sub(".*/", "", path)) < 2
                else 100
            )
            if "/artifacts/" in path
            else None
        )

    def stored(self) -> set[str]:
        return {path.name for path in (self.field.layout.store / "sha256").iterdir()}


@pytest.fixture
def deltas(
    in_the_field: Field, attempt_now: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Deltas]:
    monkeypatch.setattr("primum_agent.transfer.FIRST_PAUSE", 0.0)
    served = Served(in_the_field, attempt_now)
    made = Deltas(served)
    made.release("1.0.0", 1, NOISE)
    served.serve()
    assert attempt_now() == 0
    in_the_field.commit()
    made.release("1.1.0", 2, NEW)
    yield made
    served.close()


def test_a_delta_is_fetched_in_place_of_the_file(deltas: Deltas) -> None:
    digest = deltas.offer()
    detail = deltas.update()
    saved = len(NEW) - len(GOOD)
    assert detail["saved"] == saved
    assert detail["deltas"] == [{"file": NAME, "delta": digest, "saved": saved}]
    asked = deltas.served.artifacts()
    assert digest in asked
    assert NEW_DIGEST not in asked
    assert digest not in deltas.stored(), "what was applied is thrown away"
    told = json.loads(deltas.field.agent("status", "--json").stdout)
    assert told["savedByDeltas"] == saved
    assert "saved by deltas" in deltas.field.agent("status").stdout


def test_without_a_list_the_whole_file_is_fetched(deltas: Deltas) -> None:
    detail = deltas.update()
    assert "deltas" not in detail
    assert NEW_DIGEST in deltas.served.artifacts()
    assert json.loads(deltas.field.agent("status", "--json").stdout)["savedByDeltas"] == 0


BAD = {
    "no delta at all": (b"PRD1x" + b"\xff" * 50, "delta.malformed"),
    "cut": (GOOD[:-1], "delta.malformed"),
    "another file": (edit(fresh=OWN[::-1]), "delta.result"),
    "bytes that the old file does not have": (edit(place=1), "delta.base"),
    "a file that is longer": (edit(length=len(NEW) + 9), "delta.malformed"),
    "more than a device holds": (
        b"PRD1s" + number_bytes(EDIT) + number_bytes(9) + number_bytes(2**40),
        "delta.limit",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_delta_that_fails_is_remembered_and_the_whole_file_taken(
    deltas: Deltas, name: str
) -> None:
    data, reason = BAD[name]
    digest = deltas.offer(data)
    detail = deltas.update()
    assert detail["deltas"] == [{"file": NAME, "delta": digest, "saved": 0, "reason": reason}]
    asked = deltas.served.artifacts()
    assert asked.index(digest) < asked.index(NEW_DIGEST)
    assert digest not in deltas.stored()
    assert failed_deltas(deltas.field.journal()) == {digest}
    # Where the file is lost, that delta is not asked for again.
    (deltas.field.layout.store / "sha256" / NEW_DIGEST).unlink()
    deltas.release("1.2.0", 3, NEW)
    target = delta_list_target(COMPONENT, "1.1.0")
    listed = deltas.field.engineering.files["model"].pop(target)
    deltas.field.engineering.put("model", delta_list_target(COMPONENT, "1.2.0"), listed)
    deltas.field.publish()
    deltas.field.commit()
    deltas.served.own.asked.clear()
    assert deltas.served.attempt_now() == 0
    assert digest not in deltas.served.artifacts()
    assert NEW_DIGEST in deltas.served.artifacts()


def test_a_server_without_the_delta_costs_one_question(deltas: Deltas) -> None:
    digest = deltas.offer()
    (deltas.field.engineering.web / "artifacts" / digest).unlink()
    detail = deltas.update()
    assert detail["deltas"][0]["reason"] == "transport.status"
    assert NEW_DIGEST in deltas.served.artifacts()
    assert failed_deltas(deltas.field.journal()) == frozenset()


def test_a_server_that_lies_about_a_delta_bans_none(deltas: Deltas) -> None:
    """Whoever holds a mirror and no key must not make a device pay for whole files for ever."""
    digest = deltas.offer()
    (deltas.field.engineering.web / "artifacts" / digest).write_bytes(b"?" * len(GOOD))
    detail = deltas.update()
    assert detail["deltas"][0]["reason"] == "artifact.digest"
    assert failed_deltas(deltas.field.journal()) == frozenset()


def test_a_list_of_another_role_is_no_list(deltas: Deltas) -> None:
    deltas.field.engineering.delegated["rollout"].append("releases/*/*/deltas.json")
    digest = deltas.offer(role="rollout")
    deltas.update()
    assert digest not in deltas.served.artifacts()


def test_a_list_that_cannot_be_read_is_no_list(deltas: Deltas) -> None:
    digest = deltas.offer(length=len(NEW))
    deltas.update()
    assert digest not in deltas.served.artifacts()


def test_a_list_that_is_missing_stops_no_refresh(deltas: Deltas) -> None:
    digest = deltas.offer()
    for path in (deltas.field.engineering.web / "targets").rglob("*.deltas.json"):
        path.unlink()
    deltas.update()
    assert digest not in deltas.served.artifacts()


def test_an_old_file_that_is_damaged_is_no_base(deltas: Deltas) -> None:
    digest = deltas.offer()
    path = deltas.field.layout.store / "sha256" / OLD_DIGEST
    path.chmod(0o640)
    path.write_bytes(NOISE[:-1] + b"?")
    deltas.update()
    assert digest not in deltas.served.artifacts()


@pytest.mark.parametrize(
    ("table", "battery", "taken"),
    [
        ("enabled = false", 90.0, False),
        ("min_saving_percent_low_battery = 80", 29.0, False),
        ("min_saving_percent_low_battery = 80", 30.0, True),
    ],
)
def test_what_a_device_wants_of_a_delta_stands_in_its_settings(
    deltas: Deltas,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    battery: float | None,
    taken: bool,
) -> None:
    monkeypatch.setattr("primum_agent.delta_files.power_of", lambda _: Power(battery))
    digest = deltas.offer(computedBytes=len(NEW))
    settings = deltas.field.provisioning / "agent.toml"
    settings.write_text(settings.read_text() + f"[deltas]\n{table}\n")
    deltas.update()
    assert (digest in deltas.served.artifacts()) is taken
    assert (NEW_DIGEST in deltas.served.artifacts()) is not taken


@pytest.mark.parametrize("percent", ["-1", "101"])
def test_a_percentage_that_is_none_is_refused(deltas: Deltas, percent: str) -> None:
    settings = deltas.field.provisioning / "agent.toml"
    settings.write_text(settings.read_text() + f"[deltas]\nlow_battery_percent = {percent}\n")
    answer = deltas.field.agent("check", "--provisioning", str(deltas.field.provisioning))
    assert answer.returncode == 2
    assert "deltas.low_battery_percent" in answer.stderr


def test_most_of_the_file_being_there_it_is_fetched_to_its_end(deltas: Deltas) -> None:
    deltas.break_off(220_000)
    assert deltas.served.attempt_now() == FAILED
    digest = deltas.offer()
    deltas.served.own.mood_of = lambda _: None
    deltas.update()
    assert digest not in deltas.served.artifacts()
    (asked,) = deltas.served.own.of_files()
    assert asked.offset >= 220_000


def test_what_came_of_the_whole_file_goes_where_a_delta_made_it(deltas: Deltas) -> None:
    deltas.break_off(50_000)
    assert deltas.served.attempt_now() == FAILED
    assert deltas.served.left()
    deltas.offer()
    deltas.served.own.mood_of = lambda _: None
    assert deltas.update()["saved"] > 0


def test_a_link_that_breaks_in_a_delta_costs_no_byte_twice(deltas: Deltas) -> None:
    digest = deltas.offer()
    deltas.break_off(30_000)
    assert deltas.served.attempt_now() == FAILED
    offset = (deltas.field.layout.partial / digest).stat().st_size
    assert offset >= 30_000
    deltas.served.own.mood_of = lambda _: None
    detail = deltas.update()
    assert [item.offset for item in deltas.served.own.of_files()] == [offset]
    assert detail["saved"] == len(NEW) - len(GOOD)
    assert failed_deltas(deltas.field.journal()) == frozenset()


@pytest.mark.parametrize("point", DeltaPoint)
def test_killed_while_a_file_is_made_of_another(deltas: Deltas, point: DeltaPoint) -> None:
    digest = deltas.offer()
    cut = deltas.field.once(PRIMUM_TEST_FAIL_POINTS="1", PRIMUM_FAIL_POINT=str(point))
    assert cut.returncode == -9, cut.stderr
    opened = deltas.field.opened()
    assert opened is not None
    assert opened.version == "1.0.0"
    store = deltas.field.layout.store / "sha256"
    made = store / NEW_DIGEST
    assert made.exists() is (point is DeltaPoint.AFTER_FILE)
    assert not made.exists() or sha256_hex(made.read_bytes()) == NEW_DIGEST
    # As a supervisor does when it starts.
    FolderStore(deltas.field.layout).prepare()
    deltas.update()
    assert deltas.served.artifacts() == [], "the delta lies there already, or is not needed"
    deltas.field.commit()
    assert deltas.served.attempt_now() == 0
    assert digest not in deltas.stored(), "nobody waits for it any more"
    assert not [name for name in deltas.stored() if "." in name]


def test_what_is_remembered_of_deltas_is_bounded(in_the_field: Field, attempt_now: Any) -> None:
    attempt_now()
    with in_the_field.journal_to_write() as journal:
        for number in range(MOST_FAILED + 10):
            remember_failed(journal, f"{number:064x}")
        known = failed_deltas(journal)
        assert len(known) == MOST_FAILED
        assert f"{MOST_FAILED + 9:064x}" in known
        assert delta_memory.saved_bytes(journal) == 0
