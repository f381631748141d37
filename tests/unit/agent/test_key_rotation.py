"""A device gets another key; whoever knew it by the first one can follow it from there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from primum_agent.checkpointing import prune
from primum_agent.clock import SystemClock
from primum_agent.events import Entry, EventKind
from primum_agent.fail_points import IdentityPoint
from primum_agent.journal import Journal
from primum_agent.journal_bounds import JournalBounds
from primum_agent.sign_head import sign_head
from primum_agent.signer import open_device_key
from primum_verifier.core.envelope import PublicKey
from primum_verifier.core.errors import BusyError
from primum_verifier.record.chain import check_history
from primum_verifier.record.event import parse_event
from primum_verifier.shell import cli

DEVICE = "wearable-001"


@pytest.fixture
def device(in_the_field: Any, attempt_now: Callable[..., int]) -> Any:
    """A device that runs a release and has reached both authorities."""
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == 0
    in_the_field.commit()
    return in_the_field


def prepared(device: Any, *words: object) -> dict[str, Any]:
    """The enrolment of the next key."""
    output = device.folder / "next.json"
    done = device.agent("rotate", "--output", output, *words)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(output.read_text())
    return found


def with_context(device: Any, data: bytes, *words: str, **extra: str) -> Any:
    path = device.folder / "next-context.dsse.json"
    path.write_bytes(data)
    folders = ["--provisioning", device.provisioning]
    return device.agent("rotate", "--context", path, *folders, *words, **extra)


def rotated(device: Any, number: int = 2) -> PublicKey:
    """Prepare and finish; the next key."""
    enrolment = prepared(device)
    done = with_context(device, device.context(enrolment, number=number))
    assert done.returncode == 0, done.stderr
    return PublicKey.model_validate(enrolment["publicKey"])


def key_in_use(device: Any) -> PublicKey:
    return open_device_key(device.layout).public_key()


def snapshot(device: Any) -> list[tuple[str, bytes]]:
    names = ["device.key", "device.public.json", "device.enrolment.json"]
    paths = [device.state / name for name in names] + [device.folder / "next.json"]
    return [(str(path), path.read_bytes()) for path in [*paths, *device.provisioning.iterdir()]]


def test_a_history_over_a_change_is_proven_from_either_key(
    device: Any, attempt_now: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = device.device_key
    second = rotated(device)
    assert key_in_use(device) == second != first
    device.release("1.1.0", counter=2)
    assert attempt_now() == 0
    assert device.opened().version == "1.1.0", "the next context carries what comes after"
    for key in (first, second):
        device.agent("export", tmp_path)
        path = tmp_path / f"{key.key_id}.json"
        path.write_bytes(key.to_bytes())
        words = ["history", str(tmp_path / DEVICE), "--json", "--device-key", str(path)]
        assert cli.main(words) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["outcome"] == "whole"
        assert [change["key"] for change in told["keyChanges"]] == [second.key_id]
    kinds = device.kinds()
    places = [kinds.index(kind) for kind in ("key.announced", "key.changed", "key.in-use")]
    assert places == sorted(places)
    assert {kinds.count(kind) for kind in ("key.announced", "key.changed", "key.in-use")} == {1}
    for line in device.history():
        if b"payloadType" not in line:
            parse_event(line, where="journal")
    done = device.agent("doctor", "--provisioning", device.provisioning)
    assert done.returncode == 0, done.stdout
    assert f"key {second.key_id[:16]}" in done.stdout
    third = rotated(device, number=3)
    report = check_history(device.history(), device_key=first)
    assert report.whole
    assert [change.key for change in report.key_changes] == [second, third]
    left = {path.name for path in (*device.state.iterdir(), *device.provisioning.iterdir())}
    assert not [name for name in left if "next" in name or name.endswith(".partial")]
    assert not [name for name in left if name.startswith("device-context.") and "dsse" not in name]


WRONG: dict[str, Callable[[Any, dict[str, Any]], bytes]] = {
    "for the key in use": lambda d, _: d.context(
        {"publicKey": d.device_key.model_dump(mode="json", by_alias=True), "serialNumber": "1"},
        number=2,
    ),
    "not newer": lambda d, e: d.context(e, number=1),
    "signed by one station": lambda d, e: d.context(e, d.stations[0], number=2),
    "signed by nobody listed": lambda d, e: d.context(e, d.people["clinical"], number=2),
    "of another device": lambda d, e: d.context(e, number=2, deviceId="wearable-002"),
    "of other hardware": lambda d, e: d.context(e, number=2, hardwareId="cardio-9"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_the_key_in_use_stays_until_its_successor_has_a_context(device: Any, wrong: str) -> None:
    enrolment = prepared(device)
    before, kinds = snapshot(device), device.kinds()
    done = with_context(device, WRONG[wrong](device, enrolment))
    assert done.returncode == 1, done.stderr
    assert "eligibility.context-untrusted" in done.stderr
    assert snapshot(device) == before
    assert device.kinds() == kinds
    assert key_in_use(device) == device.device_key


def test_a_context_that_ended_lets_no_key_in(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from primum_agent.key_rotation import finish
    from primum_agent.settings import read_settings
    from primum_verifier.core.errors import RefusedError

    path = device.folder / "context"
    path.write_bytes(device.context(prepared(device), number=2))
    late = datetime.now(UTC) + timedelta(days=301)
    clock = SystemClock()
    monkeypatch.setattr(clock, "now", lambda: late)
    settings = read_settings(device.provisioning)
    with pytest.raises(RefusedError):
        finish(device.layout, settings=settings, context=path, clock=clock, dry_run=False)
    assert key_in_use(device) == device.device_key


def test_a_dry_run_and_a_cancelled_change_leave_the_key_in_use(device: Any) -> None:
    enrolment = prepared(device)
    assert prepared(device) == enrolment, "a next key is made once"
    done = with_context(device, device.context(enrolment, number=2), "--dry-run")
    assert done.returncode == 0
    assert "would sign" in done.stdout
    assert key_in_use(device) == device.device_key
    assert device.agent("rotate", "--cancel").returncode == 0
    done = with_context(device, device.context(enrolment, number=2))
    assert done.returncode == 2
    assert "key.changed" not in device.kinds()
    assert device.agent("rotate", "--cancel").returncode == 2


def test_without_views_of_both_authorities_nobody_knows_who_may_sign(in_the_field: Any) -> None:
    Journal.open_or_restart(in_the_field.layout, clock=SystemClock(), device_id=DEVICE).close()
    enrolment = prepared(in_the_field)
    done = with_context(in_the_field, in_the_field.context(enrolment, number=2))
    assert done.returncode == 5
    assert key_in_use(in_the_field) == in_the_field.device_key


@pytest.mark.parametrize(
    "point", [point for point in IdentityPoint if point.startswith("key-change")]
)
def test_a_cut_at_any_step_leaves_exactly_the_former_key_or_the_next(
    device: Any, attempt_now: Callable[..., int], point: IdentityPoint
) -> None:
    enrolment = prepared(device)
    context = device.context(enrolment, number=2)
    next_key = PublicKey.model_validate(enrolment["publicKey"])
    cut = {"PRIMUM_TEST_FAIL_POINTS": "1", "PRIMUM_FAIL_POINT": str(point)}
    assert with_context(device, context, **cut).returncode == -9
    changed = "key.changed" in device.kinds()
    expected = next_key if changed else device.device_key
    # What starts next has one key, and the context that names it: a release is let in with it.
    device.release("1.1.0", counter=2)
    assert attempt_now() == 0
    assert device.opened().version == "1.1.0"
    assert key_in_use(device) == expected
    done = device.agent("doctor", "--provisioning", device.provisioning)
    assert done.returncode == 0, done.stdout
    assert with_context(device, context).returncode == 0
    assert key_in_use(device) == next_key
    assert device.kinds().count("key.changed") == 1
    assert device.kinds().count("key.in-use") == 1
    assert check_history(device.history(), device_key=device.device_key).whole
    assert {path.name for path in device.provisioning.glob("device-context*")} == {
        "device-context.dsse.json"
    }


def test_a_context_that_is_laid_down_before_the_key_changes_stops_nothing(
    device: Any, attempt_now: Callable[..., int]
) -> None:
    """The whole new folder is copied over the old one first: what runs goes on."""
    enrolment = prepared(device)
    device.write("device-context.dsse.json", device.context(enrolment, number=2))
    device.release("1.1.0", counter=2)
    done = device.agent("check", "--provisioning", device.provisioning)
    assert done.returncode == 1, "nothing new is begun by a key that the context does not name"
    attempt_now()
    assert device.opened().version == "1.0.0"
    context = (device.provisioning / "device-context.dsse.json").read_bytes()
    assert with_context(device, context).returncode == 0
    assert attempt_now() == 0
    assert device.opened().version == "1.1.0"


def test_a_head_that_the_former_key_signed_meanwhile_is_not_stored(device: Any) -> None:
    """A child had the key open while it was changed: nobody would believe its head."""
    former = open_device_key(device.layout)
    rotated(device)
    with device.journal_to_write() as journal:
        journal.record(Entry(kind=EventKind.ATTEMPT_FAILED))
        with pytest.raises(BusyError) as refused:
            sign_head(journal, signer=former, device_id=DEVICE, clock=SystemClock())
        assert refused.value.reason == "key.changed"
        key = open_device_key(device.layout)
        sign_head(journal, signer=key, device_id=DEVICE, clock=SystemClock())
    assert check_history(device.history(), device_key=device.device_key).whole


def test_what_proves_the_keys_outlives_the_events_that_were_pruned(
    device: Any, tmp_path: Path
) -> None:
    """The auditor has the first key and the newest export, and nothing in between."""
    first = device.device_key
    rotated(device)
    rotated(device, number=3)
    journal = Journal.open(
        device.layout, clock=SystemClock(), device_id=DEVICE, bounds=JournalBounds(keep_events=1)
    )
    for _ in range(5):
        journal.record(Entry(kind=EventKind.ATTEMPT_FAILED))
    rows = [row.sequence for row in journal.waiting_events(999)]
    heads = [row.sequence for row in journal.waiting_heads(999)]
    journal.acknowledge(events=rows, heads=heads)
    journal.close()
    assert prune_late(device, datetime.now(UTC) + timedelta(days=400)) > 5
    assert "key.changed" not in device.kinds()
    device.agent("export", tmp_path)
    lines = (tmp_path / DEVICE / "history.jsonl").read_bytes().splitlines()
    report = check_history(lines, device_key=first)
    assert report.whole, report.gaps
    assert len(report.key_changes) == 2
    assert check_history(lines, device_key=key_in_use(device)).whole


class _At(SystemClock):
    """A clock some time later."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment

    def now(self) -> datetime:
        return self._moment


def prune_late(device: Any, moment: datetime) -> int:
    clock = _At(moment)
    journal = Journal.open(
        device.layout, clock=clock, device_id=DEVICE, bounds=JournalBounds(keep_events=1)
    )
    try:
        key = open_device_key(device.layout)
        return prune(journal, signer=key, device_id=DEVICE, clock=clock)
    finally:
        journal.close()


def test_a_copy_of_the_former_key_signs_nothing_that_is_believed(device: Any) -> None:
    """Attack: the former key was copied before it was changed, and signs a head of its own."""
    stolen = device.folder / "stolen"
    shutil.copytree(device.state, stolen)
    rotated(device)
    from primum_agent.events import Recorded
    from primum_agent.layout import Layout
    from primum_agent.sign_head import head_over
    from primum_verifier.core.errors import RefusedError

    journal = device.journal()
    number, found = journal.head()
    journal.close()
    forged = head_over(
        Recorded(number, b"", found),
        signer=open_device_key(Layout(stolen)),
        device_id=DEVICE,
        clock=SystemClock(),
    )
    with pytest.raises(RefusedError):
        check_history([*device.history(), forged], device_key=device.device_key)
