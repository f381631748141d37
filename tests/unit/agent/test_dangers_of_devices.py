"""Dangers of a device's own making: its clock, its disk, what killed runs left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from primum_agent.clock import FakeClock
from primum_agent.floors import read_floors
from primum_verifier.record.chain import check_history

Attempt = Callable[..., int]
DONE, REFUSED, FAILED, WAITING = 0, 1, 3, 5


def committed(field: Any, attempt_now: Attempt, *versions: str) -> None:
    for version in versions:
        field.release(version, counter=int(version.split(".")[1]) + 1)
        assert attempt_now() == DONE
        field.commit()


def damage(model: Path) -> None:
    """Other bytes of the same length in its place; what other generations share stays whole."""
    data = model.read_bytes()
    model.unlink()
    model.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def model_of(field: Any, generation: int) -> Path:
    found: Iterator[Path] = (field.layout.generations / str(generation)).glob("model-*.onnx")
    return next(iter(found))


def test_d04_a_clock_ten_years_ahead_begins_nothing_and_is_forgotten_once_it_is_right(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    field = in_the_field
    committed(field, attempt_now, "1.0.0")
    floors = read_floors(field.layout.floors)
    field.release("1.1.0", counter=2)
    ahead = FakeClock(moment=datetime.now(UTC) + timedelta(days=3650))
    for _ in range(2):
        assert attempt_now(clock=ahead) in {REFUSED, FAILED, WAITING}
    assert field.opened() is None or field.opened().version == "1.0.0"
    now = read_floors(field.layout.floors)
    assert now is not None
    assert floors is not None
    assert replace(now, reference=floors.reference) == floors, "a wrong clock raises no floor"
    codes = [attempt_now(), attempt_now()]
    assert DONE in codes
    assert field.opened().version == "1.1.0"
    assert check_history(field.history(), device_key=field.device_key).gaps == ()


def test_d13_d14_where_the_way_back_is_damaged_too_the_one_before_is_taken_and_then_none(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    """Never what is damaged, never a loop; with nothing whole left it is the declared safe mode."""
    field = in_the_field
    committed(field, attempt_now, "1.0.0", "1.1.0", "1.2.0")
    held = sorted(item.number for item in field.journal().state().generations)
    for number in held[1:]:
        damage(model_of(field, number))
    attempt_now("resume")
    assert field.opened().generation == held[0]
    damage(model_of(field, held[0]))
    for _ in range(3):
        attempt_now("resume")
    assert field.opened() is None
    assert field.standing()["mode"] == "safe"
    assert field.kinds().count("safe-mode.entered") == 1, "said once"
    field.release("1.3.0", counter=4)
    assert attempt_now() == DONE
    assert field.opened().version == "1.3.0", "the next good release is taken"


def test_d15_a_small_folder_for_temporary_files_is_not_needed(in_the_field: Any) -> None:
    """A megabyte comes where 64 KiB of ``/tmp`` are: it never goes there."""
    if os.geteuid() != 0:
        pytest.skip("needs root: a folder of 64 KiB is mounted")
    field = in_the_field
    small = field.folder / "small"
    small.mkdir()
    field.release("1.0.0", counter=1, health_window=1)
    script = (
        f"mount -t tmpfs -o size=64k tmpfs {small} && export TMPDIR={small} && "
        f"{sys.executable} -m primum_agent.cli run --once {' '.join(map(str, field.folders))};"
        f" code=$?; ls -A {small}; exit $code"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], check=False, capture_output=True, text=True
    )
    assert "update.activated" in field.kinds(), done.stdout + done.stderr
    assert "No space left" not in done.stderr


def test_d16_what_a_thousand_killed_runs_left_behind_is_gone_after_one_start(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    field = in_the_field
    committed(field, attempt_now, "1.0.0")
    layout = field.layout
    made = []
    for number in range(1000):
        for folder, name in (
            (layout.store / "sha256", f".{number:064x}.partial"),
            (layout.root, f".{number:016x}.partial"),
            (layout.run, f".{number:016x}.partial"),
            (layout.scratch, f"test-{number}"),
            (layout.generations, f"{number + 100}"),
        ):
            made.append(folder / name)
            folder.mkdir(parents=True, exist_ok=True)
            if name.endswith(".partial"):
                (folder / name).write_bytes(b"left")
            else:
                (folder / name).mkdir()
    done = field.once()
    assert "Traceback" not in done.stderr
    left = [path for path in made if path.exists()]
    assert left == []
    assert field.opened().version == "1.0.0"
