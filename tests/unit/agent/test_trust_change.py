"""Whom a device believes changes only by a document that both roots in force signed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from primum_agent.clock import SystemClock
from primum_agent.durable import write_file
from primum_agent.journal import Journal
from primum_agent.settings import read_settings
from primum_agent.trust_change import change_trust_map
from primum_agent.trust_in_force import note_trust_map
from primum_agent.trust_journal import JournalTrustStore
from primum_verifier.core.device import TrustMap
from primum_verifier.core.document import parse_document, sha256_hex
from primum_verifier.core.envelope import TRUST_MAP_PAYLOAD_TYPE
from primum_verifier.record.event import parse_event
from primum_verifier.shell.trust_store import TrustedSet

Attempt = Callable[..., int]
DONE, REFUSED, USAGE, FAILED, WAITING = 0, 1, 2, 3, 5


@pytest.fixture
def reached(in_the_field: Any, attempt_now: Attempt) -> Any:
    """A device that serves 1.0.0 and knows both roots."""
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == DONE
    in_the_field.commit()
    return in_the_field


def signed(field: Any, data: bytes, *names: str) -> Path:
    """The map as a document that the roots of these authorities signed."""
    folder = field.folder / "next"
    folder.mkdir(exist_ok=True)
    signers = [getattr(field, name).signers["root"] for name in names]
    path: Path = folder / "trust.dsse.json"
    path.write_bytes(field.envelope(data, TRUST_MAP_PAYLOAD_TYPE, *signers))
    return path


def trust(field: Any, path: Path, *words: str) -> Any:
    return field.agent("trust", "--provisioning", field.provisioning, *words, path)


def number(field: Any) -> int:
    content = json.loads((field.provisioning / "trust-map.json").read_bytes())
    return int(content["number"])


BOTH = ("engineering", "clinical")


def test_both_roots_together_change_the_map_and_it_is_told_once(
    reached: Any, attempt_now: Attempt
) -> None:
    path = signed(reached, reached.trust_map(2, takesDrills=True), *BOTH)
    told = trust(reached, path, "--dry-run", "--json")
    assert json.loads(told.stdout) == {
        "ok": True,
        "before": 1,
        "now": 2,
        "roots": [],
        "done": False,
    }
    assert (number(reached), "trust.changed" in reached.kinds()) == (1, False)
    assert trust(reached, path).returncode == DONE
    assert number(reached) == 2
    assert attempt_now() == DONE
    assert reached.kinds().count("trust.changed") == 1
    event = reached.event("trust.changed")
    parse_event(json.dumps(event).encode(), where="journal")
    assert event["data"]["detail"]["renewedRoots"] == []
    assert reached.standing()["version"] == "1.0.0"


@pytest.mark.parametrize("names", [(), ("engineering",), ("clinical",)])
def test_one_root_alone_changes_nothing(reached: Any, names: tuple[str, ...]) -> None:
    done = trust(reached, signed(reached, reached.trust_map(2), *names))
    assert done.returncode == REFUSED
    assert "trust.threshold" in done.stderr
    assert number(reached) == 1
    assert "trust.changed" not in reached.kinds()


def test_an_older_map_is_refused_also_when_it_is_laid_down_by_hand(
    reached: Any, attempt_now: Attempt
) -> None:
    first = (reached.provisioning / "trust-map.json").read_bytes()
    assert trust(reached, signed(reached, reached.trust_map(3), *BOTH)).returncode == DONE
    done = trust(reached, signed(reached, reached.trust_map(2), *BOTH))
    assert (done.returncode, "trust.rollback" in done.stderr) == (REFUSED, True)
    reached.write("trust-map.json", first)
    done = reached.agent("check", "--provisioning", reached.provisioning)
    assert (done.returncode, "trust.rollback" in done.stderr) == (REFUSED, True)
    # Also when the journal is lost: the number is among the floors.
    assert json.loads(reached.layout.floors.read_bytes())["trust_map"] == 3
    assert reached.standing()["version"] == "1.0.0"
    del attempt_now


def test_a_map_for_another_component_is_refused(reached: Any) -> None:
    done = trust(reached, signed(reached, reached.trust_map(2, component="other"), *BOTH))
    assert done.returncode == REFUSED
    assert number(reached) == 1


def test_a_device_that_never_reached_an_authority_waits(in_the_field: Any) -> None:
    in_the_field.layout.run.mkdir(parents=True)
    done = trust(in_the_field, signed(in_the_field, in_the_field.trust_map(2), *BOTH))
    assert done.returncode == WAITING
    assert number(in_the_field) == 1


def test_a_lost_root_is_replaced_and_the_device_follows_the_new_repository(
    reached: Any, attempt_now: Attempt
) -> None:
    """Clinical lost its root keys: a new repository that begins at version 1 is taken."""
    old = reached.clinical
    signers = (reached.engineering.signers["root"], old.signers["root"])
    reached.replace_clinical()
    data = reached.trust_map(2)
    folder = reached.folder / "next"
    folder.mkdir()
    path = folder / "trust.dsse.json"
    path.write_bytes(reached.envelope(data, TRUST_MAP_PAYLOAD_TYPE, *signers))
    missing = trust(reached, path)
    assert missing.returncode == USAGE
    (folder / "clinical.root.json").write_bytes(old.root)
    assert trust(reached, path).returncode in {REFUSED, USAGE}
    assert number(reached) == 1
    (folder / "clinical.root.json").write_bytes(reached.clinical.root)
    done = trust(reached, path, "--json")
    assert json.loads(done.stdout)["roots"] == ["clinical"]
    assert (reached.provisioning / "clinical.root.json").read_bytes() == reached.clinical.root
    assert not list(reached.provisioning.glob("*.*.root.json"))
    assert reached.event("trust.changed")["data"]["detail"]["renewedRoots"] == ["clinical"]
    # Until the new repository was read nothing is judged, and what runs goes on.
    assert attempt_now("resume") == DONE
    assert reached.standing()["version"] == "1.0.0"
    reached.release("1.1.0", counter=2)
    assert attempt_now() == DONE
    assert reached.standing()["version"] == "1.1.0"


@pytest.mark.parametrize("cut_at", [1, 2, 3])
def test_a_cut_while_the_map_changes_leaves_the_old_one_or_the_new_one(
    reached: Any, attempt_now: Attempt, monkeypatch: pytest.MonkeyPatch, cut_at: int
) -> None:
    """Each map finds the root that it pins, whatever was written when the power went."""
    old = reached.clinical
    signers = (reached.engineering.signers["root"], old.signers["root"])
    reached.replace_clinical()
    data = reached.envelope(reached.trust_map(2), TRUST_MAP_PAYLOAD_TYPE, *signers)
    folder = reached.folder / "next"
    folder.mkdir()
    (folder / "clinical.root.json").write_bytes(reached.clinical.root)
    written = iter(range(1, 10))

    class PowerCutError(BaseException):
        """The power goes before this write."""

    def write(path: Path, content: bytes, *, mode: int) -> None:
        if next(written) == cut_at:
            raise PowerCutError
        write_file(path, content, mode=mode)

    def change() -> None:
        change_trust_map(
            data,
            beside=folder,
            settings=read_settings(reached.provisioning),
            layout=reached.layout,
            clock=SystemClock(),
            dry_run=False,
        )

    with monkeypatch.context() as patch:
        patch.setattr("primum_agent.trust_change.write_file", write)
        with pytest.raises(PowerCutError):
            change()
    assert number(reached) == (1 if cut_at <= 2 else 2)
    # The device opens; the old map no longer finds its repository, and what runs goes on.
    attempt_now()
    assert reached.standing()["version"] == "1.0.0"
    path = folder / "trust.dsse.json"
    path.write_bytes(data)
    assert trust(reached, path).returncode == (DONE if cut_at <= 2 else REFUSED)
    assert (reached.provisioning / "clinical.root.json").read_bytes() == reached.clinical.root
    assert (
        sha256_hex(reached.clinical.root) in (reached.provisioning / "trust-map.json").read_text()
    )
    assert attempt_now() == DONE
    assert reached.kinds().count("trust.changed") == 1


def test_what_was_accepted_under_another_root_is_forgotten_and_its_keys_floors_stay(
    journal: Journal, in_the_field: Any
) -> None:
    """A root file that begins anew at version 1 is no rollback; a role's keys keep their floor."""
    moment = datetime(2026, 6, 1, 12, tzinfo=UTC)
    kept = TrustedSet(
        metadata={"root.json": b'{"signed":{"version":1}}'},
        view={"root.json": b"{}"},
        documents={"a": b"b"},
        floors={"root": 5, "timestamp@abc": 9},
        reference_time=moment,
        proofs={"p": b"{}"},
    )
    stores = {name: JournalTrustStore(journal, name) for name in BOTH}
    for store in stores.values():
        store.save(kept)
    first = parse_document(TrustMap, in_the_field.trust_map(1), where="map")
    note_trust_map(journal, first)
    in_the_field.replace_clinical()
    note_trust_map(journal, parse_document(TrustMap, in_the_field.trust_map(2), where="map"))
    assert stores["engineering"].load() == kept
    anew = stores["clinical"].load()
    assert anew is not None
    assert (dict(anew.metadata), dict(anew.view), dict(anew.documents)) == ({}, {}, {})
    assert dict(anew.floors) == {"timestamp@abc": 9}
    assert (anew.reference_time, dict(anew.proofs)) == (moment, {"p": b"{}"})
