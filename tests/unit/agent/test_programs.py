"""Programs of a device: whatever they print, leave running or do not read, they end in time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.unit.agent.waiting import wait_for

from primum_agent.programs import MAX_KEPT_BYTES, run_program
from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason


def python(body: str) -> list[str]:
    return [sys.executable, "-I", "-c", body]


def test_what_it_is_handed_and_what_it_says_pass_through() -> None:
    body = "import sys; data = sys.stdin.read(); print(data[::-1]); print('x', file=sys.stderr)"
    ended = run_program(python(body), seconds=20, handed=b"abc")
    assert (ended.code, ended.printed, ended.complaint) == (0, b"cba\n", "x")


def test_a_talkative_program_is_heard_out_and_kept_in_part() -> None:
    body = "import sys\nfor to in (sys.stdout, sys.stderr): print('a' * 3_000_000, file=to)"
    ended = run_program(python(f"{body}\nprint('the end', file=sys.stderr)"), seconds=60)
    assert ended.printed == b"a" * MAX_KEPT_BYTES
    assert ended.complaint.endswith("the end"), "what went wrong is said last"


def test_one_that_reads_nothing_is_not_waited_for() -> None:
    assert run_program(python("pass"), seconds=20, handed=b"x" * 3_000_000).code == 0


def test_one_that_does_not_end_is_ended_in_time() -> None:
    with pytest.raises(FailedError) as raised:
        run_program(python("import time; time.sleep(600)"), seconds=0.5)
    assert raised.value.reason is Reason.RESOURCE_PROGRAM
    assert "0.5 s" in raised.value.found


def test_nobody_waits_for_what_it_leaves_running_and_nothing_of_it_stays(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    child = "import time; time.sleep(600)"
    body = (
        "import subprocess, sys\n"
        f"left = subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        f"open({str(note)!r}, 'w').write(str(left.pid))\n"
    )
    began = time.monotonic()
    assert run_program(python(body), seconds=300).code == 0
    assert time.monotonic() - began < 60
    wait_for(lambda: not Path(f"/proc/{note.read_text()}").exists())


def test_it_ends_with_whoever_runs_it(tmp_path: Path) -> None:
    """Attack: the attempt is killed while a hook writes; the next one must not meet it there."""
    note = tmp_path / "pid"
    inner = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    outer = (
        "import sys\nfrom primum_agent.programs import run_program\n"
        f"run_program([sys.executable, '-c', {inner!r}], seconds=600)"
    )
    runner = subprocess.Popen([sys.executable, "-c", outer])
    wait_for(lambda: note.exists() and note.read_text())
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait()
    wait_for(lambda: not Path(f"/proc/{note.read_text()}").exists())


def test_one_that_is_not_there_is_named() -> None:
    with pytest.raises(FailedError) as raised:
        run_program(["/no/such/program"], seconds=1)
    assert raised.value.where == "/no/such/program"


@pytest.mark.parametrize(("code", "well"), [(0, True), (75, True), (1, False)])
def test_only_the_codes_that_the_caller_understands_are_an_answer(code: int, well: bool) -> None:
    command = python(f"raise SystemExit({code})")
    if well:
        assert run_program(command, seconds=20, may_fail=frozenset({75})).code == code
    else:
        with pytest.raises(FailedError):
            run_program(command, seconds=20, may_fail=frozenset({75}))
