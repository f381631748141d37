"""Benches that do what a hostile model could make the process do (D11): none may pass or stay."""

from __future__ import annotations

import base64
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.confinement import ALWAYS_POSSIBLE, Confinement
from primum_verifier.proof.selftest_result import Blame, Overall
from primum_verifier.shell import bench as bench_module
from primum_verifier.shell.bench import ConfinedBench

_PRELUDE = """
import json, os, sys, time, base64, struct, signal
fd = int(sys.argv[1])
def send(text): os.write(fd, text.encode() if isinstance(text, str) else text)
READY = json.dumps({"frame": "ready", "contract": "0.1",
    "runtime": {"onnxruntime": "0", "numpy": "0", "python": "0"}, "provider": "none",
    "architecture": "none", "confinements": ["rlimits", "session", "no-new-privs"],
    "landlockAbi": 0}) + "\\n"
def result(value, cases=12, **members):
    block = base64.b64encode(struct.pack("<%df" % cases, *[value] * cases)).decode()
    return json.dumps({"frame": "result", "loaded": True, "outOfMemory": False, "error": "",
        "inputs": [{"name": "x", "dtype": "float32", "shape": ["n", 8]}],
        "outputs": [{"name": "p", "dtype": "float32", "shape": ["n", 1]}],
        "values": [{"name": "p", "dtype": "float32", "data": block}], "failedCases": [],
        "loadsUs": [1], "latenciesUs": [1] * 12, **members}) + "\\n"
"""


def bench(body: str, *, clock: Callable[[], float] = time.monotonic) -> ConfinedBench:
    command = (sys.executable, "-I", "-c", _PRELUDE + body)
    return ConfinedBench(command=command, clock=clock)


_AFTER_READY = {
    "no report, exit 0": "send(READY); sys.exit(0)",
    "crash": "send(READY); os.kill(os.getpid(), signal.SIGSEGV)",
    "abort": "send(READY); os.abort()",
    "forged values": "send(READY + result(0.5))",
    "too few values": "send(READY + result(0.5, cases=3))",
    "no numbers": "send(READY + result(float('nan')))",
    "unknown member": "send(READY + result(0.5, passed=True))",
    "not json": "send(READY + 'passed\\n')",
    "not utf-8": "send(READY.encode() + b'\\xff\\xfe\\n')",
    "deep json": "send(READY + '[' * 100000 + '\\n')",
    "half a report": "send(READY + result(0.5)[:-20])",
    "not loaded": "send(READY + result(0.5, loaded=False, error='x' * 500))",
    "endless line": "send(READY)\nwhile True: send(b'x' * 65536)",
    "endless chatter": "send(READY)\nfor _ in range(3000): os.write(2, b'x' * 4096)\nsys.exit(0)",
}


@pytest.mark.parametrize("body", _AFTER_READY.values(), ids=_AFTER_READY.keys())
def test_a_bench_that_a_model_broke_fails_the_release(release: Any, body: str) -> None:
    result = release.run(bench=bench(body))
    assert result.overall is Overall.FAILED
    assert result.reason is Reason.SELFTEST_FAILED
    assert result.blame is Blame.RELEASE
    assert result.summary


def test_only_the_beginning_of_what_a_bench_says_is_kept(
    release: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: gigabytes on stderr fill the memory of whoever listens.  End: a bounded part."""
    monkeypatch.setattr(bench_module, "MAX_STDERR_BYTES", 10)
    body = "send(READY); os.write(2, b'0123456789'); time.sleep(0.2); os.write(2, b'more')"
    result = release.run(bench=bench(body))
    assert result.report.detail == "exit code 0: 0123456789"


def test_a_bench_that_lies_about_its_memory_gains_nothing(release: Any) -> None:
    """Out of memory, as the bench says it: never passed, and no fault of the release."""
    result = release.run(bench=bench("send(READY + result(0.5, outOfMemory=True, loaded=False))"))
    assert result.overall is not Overall.PASSED


def test_what_a_bench_starts_dies_with_it(release: Any, tmp_path: Path) -> None:
    """Attack: a child that holds the report open after its parent is gone.  End: both are gone."""
    note = tmp_path / "pid"
    body = (
        "send(READY)\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        f"    open({str(note)!r}, 'w').write(str(os.getpid()))\n"
        "    time.sleep(60)\n"
        "time.sleep(0.3)\n"
        "os._exit(0)\n"
    )
    begin = time.monotonic()
    result = release.run(bench=bench(body))
    assert time.monotonic() - begin < 10
    assert result.overall is Overall.FAILED
    assert _is_gone(int(note.read_text()))


def _is_gone(pid: int) -> bool:
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":  # dead; whoever inherited it has not looked yet
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(
    "body",
    ["sys.exit(0)", "os.kill(os.getpid(), signal.SIGSEGV)", "send('nonsense\\n')"],
    ids=["exit", "crash", "nonsense"],
)
def test_a_bench_that_never_got_ready_says_nothing_about_the_release(
    release: Any, body: str
) -> None:
    with pytest.raises(FailedError) as caught:
        release.run(bench=bench(body))
    assert caught.value.reason is Reason.SELFTEST_INCOMPLETE


def test_a_bench_that_never_gets_ready_is_ended_and_retried(release: Any) -> None:
    release.changes["totalTimeLimitSeconds"] = 1
    result = release.run(bench=bench("time.sleep(60)"))
    assert result.overall is Overall.INCOMPLETE
    assert result.reason is Reason.SELFTEST_TIMEOUT
    assert result.blame is Blame.CIRCUMSTANCE


def test_a_bench_that_holds_less_than_is_required_is_not_believed(release: Any) -> None:
    """Danger: a maker's own bench does not know the word, and runs the model unconfined.

    End: whatever it computed says nothing about the release.
    """
    perfect = expected_answer(release)
    assert release.run(bench=bench(perfect)).passed, "right, and as confined as every system can"
    strict = replace(bench(perfect), required=ALWAYS_POSSIBLE | {Confinement.NETWORK})
    with pytest.raises(FailedError) as caught:
        release.run(bench=strict)
    assert caught.value.found == "not held: network"
    assert caught.value.reason is Reason.SELFTEST_INCOMPLETE


def expected_answer(release: Any) -> str:
    """A body that reports what the fixtures expect."""
    data = base64.b64encode(release.arrays["reference.p"].tobytes()).decode()
    values = [{"name": "p", "dtype": "float32", "data": data}]
    return f"send(READY + result(0.5, values={values!r})); time.sleep(5)"


def test_a_missing_runtime_names_the_extra_to_install(release: Any) -> None:
    body = (
        "from primum_verifier.shell import bench_child\n"
        "sys.modules['onnxruntime'] = None\n"
        "bench_child.main()"
    )
    with pytest.raises(FailedError) as caught:
        release.run(bench=bench(body))
    assert "primum-verifier[bench]" in caught.value.remedy


def test_a_bench_that_is_not_there_is_a_failure_with_its_name(release: Any) -> None:
    with pytest.raises(FailedError) as caught:
        release.run(bench=ConfinedBench(command=("/no/such/bench",)))
    assert caught.value.where == "/no/such/bench"


def test_the_bench_is_never_told_what_is_expected(release: Any, tmp_path: Path) -> None:
    """Attack: a model reads the answers where it runs.  End: they are not there."""
    heard = tmp_path / "heard"
    release.run(
        bench=bench(
            f"open({str(heard)!r}, 'wb').write(sys.stdin.buffer.read()); send(READY + result(0.5))"
        )
    )
    told = heard.read_bytes()
    assert release.arrays["input.x"][3].tobytes() in told
    assert b"case-03" not in told
    assert b"fixtures" not in told
    assert release.arrays["reference.p"].tobytes() not in told
    for value in release.arrays["reference.p"][:9]:
        assert value.tobytes() not in told


def test_an_interrupted_caller_leaves_no_bench(release: Any) -> None:
    """Ctrl-C in the middle: the clock raises as a signal would.  End: nothing is left."""
    ticks = iter([0.0, 0.0, 0.0])

    def clock() -> float:
        try:
            return next(ticks)
        except StopIteration:
            raise KeyboardInterrupt from None

    with pytest.raises(KeyboardInterrupt):
        release.run(bench=bench("time.sleep(60)", clock=clock))
    assert list((release.folder / "scratch").iterdir()) == []
