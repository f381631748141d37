"""A reset removes what names people, a decommissioning the keys too, and neither lowers a floor."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from primum_agent.clock import SystemClock
from primum_agent.fail_points import IdentityPoint
from primum_agent.floors import read_floors
from primum_agent.journal import Journal
from primum_agent.journal_forgetting import GUARDS
from primum_agent.salvage import salvage
from primum_agent.sign_head import sign_head
from primum_agent.signer import open_device_key
from primum_verifier.core.envelope import PublicKey
from primum_verifier.record.chain import check_history
from primum_verifier.shell import cli

DEVICE = "wearable-001"
PATIENT = "Erika Mustermann"
KINDS = ("reset", "decommission")


@pytest.fixture
def device(in_the_field: Any, attempt_now: Callable[..., int]) -> Any:
    """A device that ran two releases, and whose journal names a patient."""
    field = in_the_field
    for counter, version in enumerate(("1.0.0", "1.1.0"), start=1):
        field.release(version, counter=counter)
        assert attempt_now() == 0
        field.commit()
    folder = field.folder / "early"
    shutil.copytree(field.clinical.web, folder)
    done = field.agent("approve", "1.1.0", "--by", PATIENT)
    assert done.returncode == 0, done.stderr
    with field.journal_to_write() as journal:
        journal.note_problem(topic="a trouble", what="internal", text=PATIENT)
        journal.set_counters(consent=json.dumps({"by": PATIENT}), last_poll="{}")
        verdict = {"release": "a" * 64, "name": PATIENT, "text": PATIENT, "checks": []}
        journal.keep_verdict(release="a" * 64, name=PATIENT, verdict=verdict)
    (field.state / "journal.damaged-20260101T000000Z").write_text(PATIENT)
    assert traces(field)
    return field


def traces(field: Any) -> list[str]:
    """The files of the state folder in which the patient's name stands."""
    return [
        str(path)
        for path in field.state.rglob("*")
        if path.is_file() and PATIENT.encode() in path.read_bytes()
    ]


def removing(field: Any, kind: str, *words: object, **extra: str) -> Any:
    factory = ["--factory"] if kind == "reset" else []
    return field.agent(kind, *factory, "--by", "R. Meyer", *words, **extra)


def guards(field: Any) -> tuple[object, ...]:
    """What must outlive every reset."""
    journal = field.journal()
    try:
        counters = {name: journal.counter(name, "") for name in GUARDS if "digest" not in name}
        trust = {name: journal.trust_rows(name) for name in ("engineering", "clinical")}
    finally:
        journal.close()
    return counters, trust


def everything(field: Any) -> dict[str, bytes]:
    """Every file of the state folder but what locks and logs write."""
    return {
        str(path.relative_to(field.state)): path.read_bytes()
        for path in field.state.rglob("*")
        if path.is_file() and path.parent.name != "run" and not path.name.startswith("journal.db")
    }


def refuses_to_start(field: Any, reason: str) -> None:
    for words in (["run", "--once"], ["check"], ["doctor"]):
        done = field.agent(*words, "--provisioning", field.provisioning)
        assert done.returncode == 2, done.stdout + done.stderr
        assert reason in done.stdout + done.stderr or "doctor" in words
        assert "Traceback" not in done.stderr


def test_a_reset_leaves_no_name_and_every_floor_and_joins_the_export_before_it(
    device: Any, attempt_now: Callable[..., int], tmp_path: Path
) -> None:
    before, floors = guards(device), read_floors(device.layout.floors)
    done = removing(device, "reset", "--export", tmp_path, "--yes")
    assert done.returncode == 0, done.stderr
    assert traces(device) == []
    assert guards(device) == before
    assert not list(device.layout.generations.iterdir())
    assert not device.layout.active.is_symlink()
    assert device.standing()["mode"] == "safe"
    assert device.kinds() == ["reset.done"]
    now = read_floors(device.layout.floors)
    assert floors is not None
    assert now is not None
    assert (now.trust, now.context, now.faults) == (floors.trust, floors.context, floors.faults)
    assert now.counter == 2, "what ran last is the oldest that runs again"
    early = (tmp_path / DEVICE / "history.jsonl").read_bytes().splitlines()
    assert PATIENT.encode() in b"".join(early), "the record is where it was exported to"
    report = check_history([*early, *device.history()], device_key=device.device_key)
    assert report.whole, report.gaps
    assert report.checkpoints == 1
    assert attempt_now() == 0
    assert device.opened().version == "1.1.0", "and the device begins again by itself"
    assert check_history(device.history(), device_key=device.device_key).events > 1


def test_an_older_release_does_not_come_back_by_way_of_a_reset(
    device: Any, attempt_now: Callable[..., int], tmp_path: Path
) -> None:
    """Attack: whoever has the command line and the online key of the plan names an older one."""
    assert removing(device, "reset", "--export", tmp_path, "--yes").returncode == 0
    device.assign("1.0.0")
    device.publish()
    assert attempt_now() == 1
    assert device.opened() is None
    refused = device.event("update.refused")["data"]
    assert "trust.rollback" in refused["reasons"]


@pytest.mark.parametrize("kind", KINDS)
def test_older_lists_are_no_more_believed_after_a_reset_than_before(
    device: Any, attempt_now: Callable[..., int], tmp_path: Path, kind: str
) -> None:
    """Attack: the list from before a withdrawal is served to a device that was reset."""
    device.withdraw("1.1.0")
    attempt_now()
    assert removing(device, kind, "--export", tmp_path, "--yes").returncode == 0
    if kind == "decommission":
        enrolled_again(device, number=2)
    shutil.rmtree(device.clinical.web)
    shutil.copytree(device.folder / "early", device.clinical.web)
    attempt_now()
    assert device.opened() is None
    assert "trust.rollback" in device.event("trust.refused")["data"]["reasons"]


def test_a_withdrawal_outlives_a_reset(
    device: Any, attempt_now: Callable[..., int], tmp_path: Path
) -> None:
    """The repositories are out of reach: what was read of a notice is what is judged by."""
    device.withdraw("1.1.0")
    attempt_now()
    assert removing(device, "reset", "--export", tmp_path, "--yes").returncode == 0
    shutil.move(device.clinical.web, device.folder / "away")
    attempt_now()
    assert device.opened() is None


@pytest.mark.parametrize("kind", KINDS)
def test_what_would_go_is_shown_first_and_nothing_goes_without_yes(device: Any, kind: str) -> None:
    before, kinds = everything(device), device.kinds()
    shown = removing(device, kind, "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "would be removed" in shown.stdout
    assert "floors" in shown.stdout
    assert ("device.key" in shown.stdout) is (kind == "decommission")
    assert removing(device, kind).returncode == 2
    lost = removing(device, kind, "--yes")
    assert lost.returncode == 1, "events would be lost that nobody has"
    assert "--export" in lost.stderr
    nowhere = removing(device, kind, "--yes", "--export", device.folder / "nowhere")
    assert nowhere.returncode == 2
    assert everything(device) == before
    assert device.kinds() == kinds


def test_a_reset_of_another_kind_than_factory_is_no_reset(device: Any) -> None:
    assert device.agent("reset", "--by", "R. Meyer", "--yes").returncode == 2


def test_a_running_agent_is_not_reset_under_its_feet(
    device: Any, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    with device.running():
        eventually(lambda: device.agent("poll").returncode == 0)
        done = removing(device, "decommission", "--export", tmp_path, "--yes")
        assert done.returncode == 4, done.stderr
        assert device.layout.device_key.exists()
    assert device.opened() is not None


def enrolled_again(device: Any, *, number: int) -> PublicKey:
    """Enrol the device anew and give it a context for its new key."""
    output = device.folder / "again.json"
    names = ["--device-id", DEVICE, "--hardware-id", "cardiowear-2", "--output", output]
    done = device.agent("enroll", *names)
    assert done.returncode == 0, done.stderr
    enrolment = json.loads(output.read_text())
    device.write("device-context.dsse.json", device.context(enrolment, number=number))
    # As the supervisor does at its start.
    Journal.open_or_restart(
        device.layout,
        clock=SystemClock(),
        device_id=DEVICE,
        salvage=lambda: salvage(device.layout),
    ).close()
    return PublicKey.model_validate(enrolment["publicKey"])


def test_a_decommissioned_device_has_no_key_no_name_and_does_not_start(
    device: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    device.layout.next_key.write_text("a key that was to come")
    before = guards(device)
    done = removing(device, "decommission", "--export", tmp_path, "--yes")
    assert done.returncode == 0, done.stderr
    assert traces(device) == []
    left = {path.name for path in device.state.iterdir()}
    assert not {name for name in left if "key" in name or "public" in name or "damaged" in name}
    assert not [path for path in device.state.rglob("*") if path.is_file() and is_key(path)]
    assert guards(device) == before
    assert device.standing()["mode"] == "safe"
    refuses_to_start(device, "device.decommissioned")
    words = ["history", str(tmp_path / DEVICE), "--json", "--device-key"]
    assert cli.main([*words, str(device.folder / "enrolment.json")]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "whole"
    exported = (tmp_path / DEVICE / "history.jsonl").read_bytes().splitlines()
    told = [line for line in map(json.loads, exported) if "type" in line]
    assert told[-1]["type"] == "primum.device.decommission.begun"
    again = removing(device, "decommission", "--yes")
    assert again.returncode == 2, "and it is done once"
    assert device.agent("approve", "1.1.0", "--by", PATIENT).returncode == 2
    assert traces(device) == []


def is_key(path: Path) -> bool:
    return b"PRIVATE KEY" in path.read_bytes()


def test_a_device_that_is_enrolled_again_is_another_key_with_the_floors_of_before(
    device: Any, attempt_now: Callable[..., int], tmp_path: Path
) -> None:
    last = device.events()[-1]["sequence"]
    with device.journal_to_write() as journal:
        journal.raise_context_floor(5)
    old = (device.provisioning / "device-context.dsse.json").read_bytes()
    assert removing(device, "decommission", "--export", tmp_path, "--yes").returncode == 0
    key = enrolled_again(device, number=5)
    assert key != device.device_key
    assert attempt_now() == 0
    device.commit()
    with device.journal_to_write() as journal:
        signer = open_device_key(device.layout)
        sign_head(journal, signer=signer, device_id=DEVICE, clock=SystemClock())
    assert device.opened().version == "1.1.0"
    first = device.events()[0]
    assert first["type"] == "primum.device.journal.restarted"
    assert first["sequence"] > last, "no number is used twice"
    assert check_history(device.history(), device_key=key).whole
    enrolment = json.loads((device.folder / "again.json").read_text())
    device.write("device-context.dsse.json", device.context(enrolment, number=4))
    device.release("1.2.0", counter=3)
    attempt_now()
    assert device.opened().version == "1.1.0", "an older context lets nothing in"
    assert "eligibility.context-untrusted" in device.events()[-1]["data"]["reasons"]
    device.write("device-context.dsse.json", old)
    assert device.agent("check", "--provisioning", device.provisioning).returncode == 2
    device.write("device-context.dsse.json", device.context(enrolment, number=6))
    device.assign("1.0.0")
    device.publish()
    attempt_now()
    assert device.opened().version == "1.1.0", "an older release is not let in"


CUTS = [
    (kind, point)
    for kind in KINDS
    for point in IdentityPoint
    if point.startswith("reset") and (kind == "decommission" or "keys" not in point)
]


@pytest.mark.parametrize(("kind", "point"), CUTS)
def test_a_cut_at_any_step_starts_nothing_until_the_same_command_has_finished(
    device: Any, tmp_path: Path, kind: str, point: IdentityPoint
) -> None:
    before = guards(device)
    cut = {"PRIMUM_TEST_FAIL_POINTS": "1", "PRIMUM_FAIL_POINT": str(point)}
    assert removing(device, kind, "--export", tmp_path, "--yes", **cut).returncode == -9
    refuses_to_start(device, "device.reset-unfinished")
    other = KINDS[1 - KINDS.index(kind)]
    assert removing(device, other, "--yes").returncode == 2
    output = device.folder / "again.json"
    names = ["--device-id", DEVICE, "--hardware-id", "cardiowear-2", "--output", output]
    assert device.agent("enroll", *names).returncode == 2
    done = removing(device, kind, "--yes")
    assert done.returncode == 0, done.stderr
    assert traces(device) == []
    assert guards(device) == before
    assert not device.layout.reset_intent.exists()
    assert device.layout.device_key.exists() is (kind == "reset")
    if kind == "reset":
        assert device.kinds() == ["reset.done"]
        assert check_history(device.history(), device_key=device.device_key).whole
    else:
        refuses_to_start(device, "device.decommissioned")


def test_a_lost_key_decommissions_a_device_only_where_somebody_says_so(
    device: Any, tmp_path: Path
) -> None:
    device.layout.device_key.unlink()
    words = ["--export", tmp_path, "--yes"]
    done = removing(device, "decommission", *words)
    assert done.returncode == 2, done.stderr
    assert device.opened() is not None, "and nothing was removed"
    assert removing(device, "decommission", *words, "--without-key").returncode == 0
    assert traces(device) == []
    refuses_to_start(device, "device.decommissioned")


def test_a_passphrase_goes_with_the_key_and_the_file_of_a_link_stays(
    device: Any, tmp_path: Path
) -> None:
    outside = tmp_path / "passphrase"
    outside.write_text("of the platform")
    outside.chmod(0o600)
    device.layout.passphrase.symlink_to(outside)
    done = removing(device, "decommission", "--export", tmp_path, "--yes", "--without-key")
    assert done.returncode == 0, done.stderr
    assert not os.path.lexists(device.layout.passphrase)
    assert outside.read_text() == "of the platform"


def test_the_key_after_a_reset_is_the_one_before(device: Any, tmp_path: Path) -> None:
    assert removing(device, "reset", "--export", tmp_path, "--yes").returncode == 0
    assert open_device_key(device.layout).public_key() == device.device_key
