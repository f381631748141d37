"""An export proves itself to who knows the device's key, also after the journal was pruned."""

from __future__ import annotations

import json
import shutil
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from primum_agent.checkpointing import prune
from primum_agent.clock import FakeClock
from primum_agent.events import Entry, EventKind
from primum_agent.exporting import export
from primum_agent.journal import Journal
from primum_agent.journal_bounds import JournalBounds
from primum_agent.layout import Layout
from primum_agent.signer import make_device_key, open_device_key
from primum_verifier.core.errors import EXIT_DONE, EXIT_REFUSED, FailedError
from primum_verifier.shell import cli

DEVICE = "wearable-001"
BOUNDS = JournalBounds(keep_days=10, keep_events=2)


@pytest.fixture
def device(layout: Layout) -> Layout:
    """A device that recorded thirty events, which its broker took."""
    make_device_key(layout)
    journal = opened(layout, FakeClock())
    for _ in range(30):
        journal.record(Entry(kind=EventKind.ATTEMPT_FAILED))
    journal.acknowledge(events=[row.sequence for row in journal.waiting_events(99)], heads=[])
    journal.close()
    return layout


def opened(layout: Layout, clock: FakeClock) -> Journal:
    return Journal.open_or_restart(layout, clock=clock, device_id=DEVICE, bounds=BOUNDS)


def grow_old_and_prune(layout: Layout) -> int:
    clock = FakeClock(moment=FakeClock().moment + timedelta(days=20))
    journal = opened(layout, clock)
    signer = open_device_key(layout)
    pruned = prune(journal, signer=signer, device_id=DEVICE, clock=clock)
    journal.close()
    return pruned


def verify(layout: Layout, *folders: Path) -> int:
    key = ["--device-key", str(layout.device_public)]
    return cli.main(["history", *map(str, folders), "--json", *key])


def test_an_export_holds_what_proves_it_and_joins_the_one_before_the_pruning(
    device: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    early, late = tmp_path / "early", tmp_path / "late"
    for medium in (early, late):
        medium.mkdir()
    context = tmp_path / "device-context.dsse.json"
    context.write_bytes(b"{}")
    found = export(device, early, context=context)
    assert found.proven
    assert found.folder == early / DEVICE
    names = {path.name for path in found.folder.iterdir()}
    assert names == {"history.jsonl", "device.public.json", "device-context.dsse.json"}
    assert verify(device, early / DEVICE) == EXIT_DONE
    assert grow_old_and_prune(device) == 29
    export(device, late, context=None)
    capsys.readouterr()
    assert verify(device, late / DEVICE) == EXIT_DONE
    told = json.loads(capsys.readouterr().out)
    assert (told["events"], told["provenTo"], told["checkpoints"]) == (2, 31, 1)
    assert (told["pruned"][0]["after"], told["pruned"][0]["before"]) == (0, 30)
    assert verify(device, early / DEVICE, late / DEVICE) == EXIT_DONE
    told = json.loads(capsys.readouterr().out)
    assert (told["events"], told["pruned"]) == (31, [])


def test_an_export_whose_checkpoint_was_taken_out_does_not_join(
    device: Layout, tmp_path: Path
) -> None:
    """Attack: events are cut out of an export where the device pruned nothing."""
    export(device, tmp_path, context=None)
    path = tmp_path / DEVICE / "history.jsonl"
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:5], *lines[9:]]))
    assert verify(device, tmp_path / DEVICE) == EXIT_REFUSED


def test_a_copy_of_the_folder_without_its_key_is_exported_as_far_as_it_is_proven(
    device: Layout, tmp_path: Path
) -> None:
    copy = Layout(tmp_path / "copy")
    shutil.copytree(device.root, copy.root)
    copy.device_key.unlink()
    medium = tmp_path / "medium"
    medium.mkdir()
    assert not export(copy, medium, context=None).proven
    assert verify(device, medium / DEVICE) == EXIT_REFUSED


def test_a_medium_that_is_full_leaves_the_earlier_export(
    device: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(device, tmp_path, context=None)
    before = (tmp_path / DEVICE / "history.jsonl").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(FailedError):
        export(device, tmp_path, context=None)
    monkeypatch.undo()
    assert (tmp_path / DEVICE / "history.jsonl").read_bytes() == before
    assert not list((tmp_path / DEVICE).glob(".*"))


def test_the_commands_export_and_show_where_a_history_begins(
    in_the_field: Any, tmp_path: Path
) -> None:
    device = in_the_field.layout
    journal = opened(device, FakeClock())
    for _ in range(9):
        journal.record(Entry(kind=EventKind.ATTEMPT_FAILED))
    journal.acknowledge(events=list(range(1, 11)), heads=[])
    journal.close()
    assert grow_old_and_prune(device) == 8
    done = in_the_field.agent("export", tmp_path, "--provisioning", in_the_field.provisioning)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / DEVICE / "device-context.dsse.json").is_file()
    assert verify(device, tmp_path / DEVICE) == EXIT_DONE
    assert "events up to 8 were pruned" in in_the_field.agent("history").stdout
    assert "pruned" not in in_the_field.agent("history", "--last", 1).stdout
    output = tmp_path / "history.jsonl"
    assert in_the_field.agent("history", "--export", output).returncode == 0
    # The last line of each is a head of its own moment.
    both = [
        path.read_bytes().splitlines() for path in (output, tmp_path / DEVICE / "history.jsonl")
    ]
    assert both[0][:-1] == both[1][:-1]
    told = in_the_field.agent("export", tmp_path / "missing")
    assert told.returncode == 2
    assert "no such folder" in told.stderr


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE events SET line = flipped(line) WHERE sequence = 9", "event 9 was changed"),
        ("UPDATE heads SET line = replaced(line)", "not signed by this device"),
        ("UPDATE checkpoints SET line = replaced(line)", "not signed by this device"),
    ],
)
def test_doctor_looks_at_every_event_and_every_signature(
    in_the_field: Any, statement: str, found: str
) -> None:
    layout = in_the_field.layout
    journal = opened(layout, FakeClock())
    for _ in range(9):
        journal.record(Entry(kind=EventKind.ATTEMPT_FAILED))
    journal.acknowledge(events=list(range(1, 6)), heads=[])
    journal.close()
    assert grow_old_and_prune(layout) == 5
    in_the_field.agent("history", "--export", layout.root / "unused")
    doctor = ("doctor", "--provisioning", in_the_field.provisioning)
    assert "ok   journal" in in_the_field.agent(*doctor).stdout

    def other_signature(line: bytes) -> bytes:
        content = json.loads(line)
        content["signatures"][0]["sig"] = "A" * 86 + "=="
        return json.dumps(content).encode()

    connection = sqlite3.connect(layout.journal)
    connection.create_function("flipped", 1, lambda line: line.replace(b"failed", b"fbiled"))
    connection.create_function("replaced", 1, other_signature)
    assert connection.execute(statement).rowcount == 1
    connection.commit()
    connection.close()
    before = layout.journal.read_bytes()
    told = in_the_field.agent(*doctor).stdout
    assert "BAD  journal" in told
    assert found in told
    assert layout.journal.read_bytes() == before, "doctor changes nothing"
