"""A file or command of the integrator: whatever is wrong with it, nobody is called idle."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primum_agent.clock import FakeClock
from primum_agent.gate_probe import MAX_ANSWER_BYTES, Answer, ask_command, ask_file
from primum_agent.gate_rules import GateReadings, Use
from primum_agent.gate_settings import GateSettings, Probe
from primum_agent.gates import read_gates
from primum_agent.sensors import FakeSensors, Readings
from primum_verifier.core.question import ClinicalUse


def asked(
    *, use: Probe | None = None, metered: Probe | None = None, declared: str = "idle"
) -> GateReadings:
    return read_gates(
        GateSettings(clinical_use=use or Probe(), metered=metered or Probe()),
        declared=ClinicalUse(declared),
        sensors=FakeSensors(),
        clock=FakeClock(),
        proven=None,
        asked=None,
        expected_seconds=0.0,
    )


def script(folder: Path, text: str, *, seconds: float = 5.0) -> Probe:
    path = folder / "probe"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return Probe(command=(str(path),), command_seconds=seconds)


def written(folder: Path, data: bytes, *, age: float = 0.0, seconds: float = 300.0) -> Probe:
    path = folder / "use"
    path.write_bytes(data)
    moment = time.time() - age
    os.utime(path, (moment, moment))
    return Probe(file=str(path), file_seconds=seconds)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"idle\n", "idle"),
        (b"  in-use since noon", "in-use"),
        (b"", ""),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"idle" * 10_000, "idle" * (MAX_ANSWER_BYTES // 4)),
    ],
)
def test_the_first_word_of_a_file_is_its_answer(tmp_path: Path, data: bytes, word: str) -> None:
    assert ask_file(written(tmp_path, data)).word == word


@pytest.mark.parametrize(("age", "seconds"), [(301.0, 300.0), (-60.0, 300.0)])
def test_an_old_file_and_one_from_the_future_say_nothing(
    tmp_path: Path, age: float, seconds: float
) -> None:
    """An application that died an hour ago left the word "idle" behind."""
    found = ask_file(written(tmp_path, b"idle", age=age, seconds=seconds))
    assert found.word == ""
    assert "was written" in found.found


def test_a_file_of_any_age_is_believed_where_the_maker_says_so(tmp_path: Path) -> None:
    assert ask_file(written(tmp_path, b"idle", age=1e6, seconds=0.0)).word == "idle"


def test_a_missing_file_a_folder_and_a_pipe_without_a_writer_say_nothing(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    before = time.monotonic()
    for path in (tmp_path / "none", tmp_path, pipe, Path("/dev/zero"), tmp_path / "a\0b"):
        assert ask_file(Probe(file=str(path))).word == "", path
    assert time.monotonic() - before < 1.0


def test_a_word_that_waits_in_a_pipe_is_none(tmp_path: Path) -> None:
    """Who wrote it, and when, nobody can say: it would be believed once and be gone."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    both_ends = os.open(pipe, os.O_RDWR)
    try:
        os.write(both_ends, b"idle\n")
        assert ask_file(Probe(file=str(pipe), file_seconds=0.0)).word == ""
    finally:
        os.close(both_ends)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("echo idle", "idle"),
        ("echo in-use", "in-use"),
        ("echo idle; exit 1", ""),
        ("exit 0", ""),
        ("echo idle >&2", ""),
        ("kill -9 $$", ""),
        ("yes idle", ""),
        ("head -c 5000 /dev/zero", ""),
    ],
)
def test_a_command_answers_by_its_word_and_only_where_it_ends_well(
    tmp_path: Path, text: str, word: str
) -> None:
    assert ask_command(script(tmp_path, text)).word == word


def alive_in(session: str) -> list[str]:
    """States of the processes of a session; a machine that reaps nobody still lists the dead."""
    words = ["ps", "-o", "stat=", "-g", session]
    listed = subprocess.run(words, capture_output=True, text=True, check=False).stdout.split()
    return [state for state in listed if not state.startswith("Z")]


@pytest.mark.parametrize("text", ["sleep 60", "echo idle; sleep 60", "sleep 60 & echo idle"])
def test_a_command_that_hangs_is_ended_with_all_that_it_started(
    tmp_path: Path, text: str, eventually: Callable[..., Any]
) -> None:
    mark = tmp_path / "pid"
    probe = script(tmp_path, f"ps -o sid= -p $$ > {mark}\n{text}", seconds=0.5)
    before = time.monotonic()
    found = ask_command(probe)
    assert time.monotonic() - before < 3.0
    assert found.word == ""
    assert "0.5 s" in found.found
    group = mark.read_text().strip()
    eventually(lambda: not alive_in(group))


@pytest.mark.parametrize("name", ["/nowhere/probe", "/etc", "/usr/bin/a\0b"])
def test_a_command_that_cannot_be_started_says_nothing(name: str) -> None:
    assert ask_command(Probe(command=(name,))).word == ""


def test_idle_is_said_by_everybody_or_by_nobody(tmp_path: Path) -> None:
    idle = written(tmp_path, b"idle")
    busy = script(tmp_path, "echo in-use")
    odd = script(tmp_path / ".", "echo maybe")
    assert asked(use=idle).use is Use.IDLE
    assert asked(use=idle, declared="in-use").use is Use.IN_USE
    assert asked(use=Probe(file=idle.file, command=odd.command)).use is Use.UNKNOWN
    busy = script(tmp_path, "echo in-use")
    both = Probe(file=idle.file, command=busy.command)
    assert asked(use=both).use is Use.IN_USE
    unknown_and_busy = Probe(file=str(tmp_path / "none"), command=busy.command)
    assert asked(use=unknown_and_busy).use is Use.IN_USE


@pytest.mark.parametrize(
    ("text", "metered"),
    [("unmetered", False), ("metered", True), ("perhaps", None), ("", None)],
)
def test_a_network_is_free_only_where_it_is_said(
    tmp_path: Path, text: str, metered: bool | None
) -> None:
    assert asked(metered=written(tmp_path, text.encode())).metered is metered


def test_of_two_answers_about_the_network_the_dearer_counts(tmp_path: Path) -> None:
    free = written(tmp_path, b"unmetered")
    for text, metered in (("metered", True), ("unmetered", False), ("what", None)):
        both = Probe(file=free.file, command=script(tmp_path, f"echo {text}").command)
        assert asked(metered=both).metered is metered


@given(data=st.binary(max_size=100))
def test_no_other_content_than_the_word_is_idle(tmp_path_factory: object, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("use")  # type: ignore[attr-defined]
    found = asked(use=written(folder, data))
    assert (found.use is Use.IDLE) == (data.split()[:1] == [b"idle"])


def test_a_sensor_that_raises_is_unknown_and_ends_nothing() -> None:
    class Broken:
        def read(self) -> Readings:
            raise OSError("the bus does not answer")

    found = read_gates(
        GateSettings(),
        declared=ClinicalUse.IDLE,
        sensors=Broken(),
        clock=FakeClock(),
        proven=None,
        asked=None,
        expected_seconds=0.0,
    )
    assert (found.battery, found.disk_free, found.memory_free) == (None, None, None)


def test_what_is_shown_of_an_answer_cannot_spoil_a_terminal(tmp_path: Path) -> None:
    found = ask_file(written(tmp_path, b"\x1b[2Jidle"))
    assert isinstance(found, Answer)
    assert "\x1b" not in found.found
