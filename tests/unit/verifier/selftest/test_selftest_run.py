"""The whole self-test on a real model, a real runtime and real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from primum_verifier.core.errors import FailedError, RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.bench_contract import Ending
from primum_verifier.proof.confinement import ALWAYS_POSSIBLE, Confinement
from primum_verifier.proof.selftest_result import Blame, Overall, SelfTestReport, TestStatus
from primum_verifier.shell import seccomp
from primum_verifier.shell.bench import ConfinedBench, FakeBench
from primum_verifier.shell.landlock import landlock_abi
from primum_verifier.shell.selftest import self_test

Build = dict[str, Callable[..., Any]]


def outcome(result: Any, name: str) -> Any:
    return next(test for test in result.tests if test.id == name)


def test_a_sound_model_passes_and_leaves_its_evidence(release: Any) -> None:
    result = release.run()
    assert result.overall is Overall.PASSED, result.summary
    assert result.reason is None
    assert result.blame is Blame.NONE
    assert {test.status for test in result.tests} == {TestStatus.SUCCESS}
    report = SelfTestReport.model_validate_json(result.report.to_json())
    assert report == result.report
    assert report.mode == "test"
    assert report.environment is not None
    assert set(report.environment.confinements) >= ALWAYS_POSSIBLE
    assert report.environment.runtime.onnxruntime
    assert report.peak_rss_kib > 10_000
    assert report.cpu_features, "the processor of this machine is named nowhere"


def test_the_model_meets_every_confinement_that_this_system_offers(release: Any) -> None:
    held = set(release.run().report.environment.confinements)
    if landlock_abi() > 0:
        assert Confinement.LANDLOCK in held
    try:
        seccomp.load_library()
    except OSError:
        pytest.skip("no libseccomp on this machine")
    assert {Confinement.SECCOMP, Confinement.NETWORK, Confinement.NO_CAPABILITIES} <= held


def test_a_model_that_computes_otherwise_is_refused_naming_the_cases(
    release: Any, build: Build
) -> None:
    """Attack: valid, approved, wrong numbers.  End: refused, with which cases and by how much."""
    release.model = build["classifier"](scale=1.2).SerializeToString()
    result = release.run()
    assert result.overall is Overall.FAILED
    assert result.reason is Reason.SELFTEST_FAILED
    assert result.blame is Blame.RELEASE
    numbers = outcome(result, "numbers")
    assert numbers.status is TestStatus.FAIL
    worst = numbers.cases[0]
    assert worst.case in release.arrays["case"]
    by = abs(float(worst.found) - float(worst.expected))
    assert float(worst.by) == pytest.approx(by, rel=0.01)
    assert worst.case in result.summary


def test_decisions_that_flip_are_named_with_their_cohort(release: Any, build: Build) -> None:
    """Attack: the sign of the weights is turned.  End: the decisions that differ are named."""
    release.model = build["classifier"](scale=-1.0).SerializeToString()
    decisions = outcome(release.run(), "decisions")
    assert decisions.status is TestStatus.FAIL
    assert "in sinus" in decisions.found
    assert decisions.cases[0].found != decisions.cases[0].expected


def test_a_model_that_decides_otherwise_on_a_fault_fails_its_safety_function(
    release: Any,
) -> None:
    """Attack: a saturated channel gets the other decision.  End: the case is named."""
    release.arrays["expected_decision"][-1] = 1 - release.arrays["expected_decision"][-1]
    faults = outcome(release.run(), "faults")
    assert faults.status is TestStatus.FAIL
    assert [case.case for case in faults.cases] == ["case-11"]


def test_no_decision_agrees_with_no_decision(release: Any) -> None:
    assert release.arrays["expected_decision"][-2] == -1
    assert np.isnan(release.arrays["reference.p"][-2, 0])
    assert outcome(release.run(), "faults").status is TestStatus.SUCCESS


def test_other_fixtures_than_the_signed_ones_are_refused_unread(release: Any) -> None:
    release.changes["fixtures"] = {
        **release.spec()["fixtures"],
        "digest": {"sha256": "0" * 64},
    }
    result = release.run()
    assert result.overall is Overall.FAILED
    assert result.reason is Reason.ARTIFACT_DIGEST
    assert outcome(result, "bytes").status is TestStatus.FAIL
    assert outcome(result, "numbers").status is TestStatus.NOT_RUN
    assert result.report.ending == "not-started"


def test_fixtures_for_another_interface_are_the_release_s_fault(release: Any) -> None:
    release.arrays["input.x"] = release.arrays["input.x"][:, :5]
    result = release.run()
    assert result.overall is Overall.FAILED
    assert result.blame is Blame.RELEASE
    assert "input x is float32[5] in a case" in outcome(result, "bytes").found


def test_another_interface_than_the_signed_one_is_not_loaded(release: Any) -> None:
    release.changes["interface"] = {
        "inputs": [{"name": "x", "dtype": "float32", "shape": ["batch", 2, 4]}],
        "outputs": [{"name": "p", "dtype": "float32", "shape": ["batch", 1]}],
    }
    result = release.run()
    assert result.reason is Reason.COMPAT_CONTRACT
    assert outcome(result, "signature").status is TestStatus.FAIL
    assert result.report.ending == "not-started"


def test_a_graph_without_sense_fails_to_load_and_is_the_release_s_fault(
    release: Any, build: Build
) -> None:
    """Attack: well-formed protobuf, senseless graph.  End: load fails in the runtime's words."""
    model = build["classifier"]()
    model.graph.node[0].input[1] = "nowhere"
    release.model = model.SerializeToString()
    result = release.run()
    assert result.overall is Overall.FAILED
    assert result.blame is Blame.RELEASE
    assert outcome(result, "loads").status is TestStatus.FAIL
    assert "nowhere" in outcome(result, "loads").found


def test_a_hang_is_ended_and_not_held_against_the_release(release: Any, build: Build) -> None:
    """Attack: a loop of 2**62 rounds.  End: incomplete within the limit, no process left."""
    release.model = build["hanging"]().SerializeToString()
    release.changes["totalTimeLimitSeconds"] = 1
    begin = time.monotonic()
    result = release.run()
    assert time.monotonic() - begin < 5
    assert result.overall is Overall.INCOMPLETE
    assert result.reason is Reason.SELFTEST_TIMEOUT
    assert result.blame is Blame.CIRCUMSTANCE


def test_a_bench_killed_from_outside_is_not_held_against_the_release(
    release: Any, build: Build
) -> None:
    """Attack: the kernel (or anyone) kills the bench in the middle.  End: incomplete, retried."""
    release.model = build["hanging"]().SerializeToString()
    own = Path(f"/proc/self/task/{threading.get_native_id()}/children")

    def kill() -> None:
        for _ in range(500):
            for pid in own.read_text().split():
                if "bench_child" in Path(f"/proc/{pid}/cmdline").read_text():
                    time.sleep(0.3)
                    os.kill(int(pid), signal.SIGKILL)
                    return
            time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    result = release.run()
    killer.join()
    assert result.overall is Overall.INCOMPLETE
    assert result.reason is Reason.SELFTEST_INCOMPLETE
    assert result.blame is Blame.CIRCUMSTANCE
    assert "SIGKILL" in result.summary


@pytest.mark.parametrize(
    ("ending", "blame"),
    [
        (Ending.TIMED_OUT, Blame.CIRCUMSTANCE),
        (Ending.KILLED, Blame.CIRCUMSTANCE),
        (Ending.CRASHED, Blame.RELEASE),
        (Ending.TOO_MUCH_OUTPUT, Blame.RELEASE),
    ],
)
def test_only_what_a_model_can_do_by_itself_is_held_against_it(
    release: Any, ending: Ending, blame: Blame
) -> None:
    result = release.run(bench=FakeBench(ending))
    assert not result.passed
    assert result.blame is blame


def test_what_keeps_the_bench_from_beginning_is_no_result(release: Any) -> None:
    """Nothing was learnt about the release, so nothing is said about it."""
    broken = FailedError("No runtime.", reason=Reason.SELFTEST_INCOMPLETE, where="bench")
    with pytest.raises(FailedError) as caught:
        release.run(bench=FakeBench(broken))
    assert caught.value is broken


def test_any_bench_is_believed_only_as_far_as_its_numbers(release: Any) -> None:
    """A device may bring its own bench: the judgement over what it reports is the same."""
    bench = FakeBench()
    result = release.run(bench=bench)
    assert result.passed, result.summary
    assert bench.asked == [release.folder / "model.onnx"]
    release.arrays["expected_decision"][0] = 1 - release.arrays["expected_decision"][0]
    assert release.run(bench=FakeBench()).blame is Blame.RELEASE


def test_a_model_that_was_refused_unopened_never_reaches_a_bench(release: Any) -> None:
    bench = FakeBench()
    release.model = b"no model"
    assert not release.run(bench=bench).passed
    assert bench.asked == []


def test_a_killed_caller_takes_its_bench_with_it(release: Any, build: Build) -> None:
    """Attack: kill -9 of the attempt in the middle of a self-test.  End: no bench is left."""
    release.run()
    folder = release.folder
    (folder / "model.onnx").write_bytes(build["hanging"]().SerializeToString())
    (folder / "spec.json").write_text(json.dumps(release.spec()))
    attempt = subprocess.Popen(
        [sys.executable, "-c", _ATTEMPT, *map(str, _files(folder))], stdout=subprocess.PIPE
    )
    with attempt:
        children = Path(f"/proc/{attempt.pid}/task/{attempt.pid}/children")
        bench = 0
        for _ in range(500):
            pids = children.read_text().split()
            held = [pid for pid in pids if _seccomp_mode(pid) == "2"]
            if held:
                bench = int(held[0])
                break
            time.sleep(0.01)
        assert bench, "the bench never got so far as to be confined"
        attempt.kill()
    for _ in range(200):
        if _seccomp_mode(str(bench)) == "":
            return
        time.sleep(0.01)
    pytest.fail("the bench outlived the attempt")


def _seccomp_mode(pid: str) -> str:
    """The seccomp mode of a process; empty when it is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    lines = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    return "" if lines["State"].startswith("Z") else lines["Seccomp"].strip()


_ATTEMPT = """
import sys, pathlib
from primum_verifier.shell.selftest import self_test
model, spec, fixtures, scratch = map(pathlib.Path, sys.argv[1:])
result = self_test(
    model=model, spec=spec.read_bytes(), fixtures=fixtures, scratch=scratch, hardware="cardiowear-2"
)
print(result.overall)
"""


def _files(folder: Path) -> list[Path]:
    return [folder / name for name in ("model.onnx", "spec.json", "fixtures.npz", "scratch")]


def test_a_model_too_large_for_its_memory_is_incomplete(release: Any) -> None:
    """Attack: the memory limit holds the runtime but not the model's work."""
    release.changes["memoryLimitMiB"] = 64
    with pytest.raises(FailedError) as caught:
        release.run()
    assert caught.value.reason is Reason.SELFTEST_INCOMPLETE


def test_slowness_fails_but_is_not_held_against_the_release(release: Any, build: Build) -> None:
    tests = release.spec()["tests"]
    tests[-1] |= {"onFailure": "refuse", **build["budget"](peakRssMiB=1)}
    release.changes["tests"] = tests
    result = release.run()
    assert result.overall is Overall.FAILED
    assert result.blame is Blame.CIRCUMSTANCE


def test_a_failed_test_that_only_warns_is_told_and_passes(release: Any, build: Build) -> None:
    tests = release.spec()["tests"]
    tests[-1] |= build["budget"](peakRssMiB=1)
    release.changes["tests"] = tests
    result = release.run()
    assert result.overall is Overall.PASSED
    assert result.warnings == ("speed",)


def test_a_cohort_that_the_fixtures_lack_is_absent_and_never_passes(release: Any) -> None:
    release.arrays["cohort"] = np.array(["sinus"] * 12)
    result = release.run()
    assert result.overall is Overall.INCOMPLETE
    assert outcome(result, "faults").status is TestStatus.ABSENT


_NO_LIBRARY = """
from primum_verifier.shell import bench_child, sandbox
sandbox.Sandbox.__init__.__kwdefaults__["library"] = "libno-such-library.so.9"
bench_child.main()
"""
_WITHOUT_SECCOMP = (sys.executable, "-I", "-c", _NO_LIBRARY)
"""The reference bench on a system without libseccomp."""


def test_an_older_system_holds_less_and_says_so(release: Any) -> None:
    """A device without libseccomp still tests, and its report names what was not held."""
    result = release.run(bench=ConfinedBench(command=_WITHOUT_SECCOMP))
    assert result.passed
    held = set(result.report.environment.confinements)
    assert Confinement.SECCOMP not in held
    assert held >= ALWAYS_POSSIBLE


def test_a_confinement_that_is_required_and_not_held_ends_before_the_model_is_opened(
    release: Any,
) -> None:
    strict = ConfinedBench(command=_WITHOUT_SECCOMP, required=frozenset({Confinement.SECCOMP}))
    with pytest.raises(FailedError) as caught:
        release.run(bench=strict)
    assert "confinement" in caught.value.found
    assert "seccomp" in caught.value.found


def test_a_specification_that_is_no_specification_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(RefusedError) as caught:
        self_test(model=tmp_path / "f", spec=b"{}", fixtures=tmp_path / "f", scratch=tmp_path)
    assert caught.value.reason is Reason.DOCUMENT_INVALID


def test_the_runtime_calls_nobody_and_writes_nothing(release: Any, tmp_path: Path) -> None:
    """Attack: onnxruntime's telemetry, hidden where CI is set.  End: no file in any home."""
    home = tmp_path / "home"
    home.mkdir()
    release.run()
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(release.spec()))
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", _ATTEMPT, *map(str, _files(tmp_path))],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "passed"
    assert list(home.rglob("*")) == []
    assert list((tmp_path / "scratch").rglob("*")) == []


_IN_A_NETWORK_OF_ITS_OWN = """
import ctypes, os, pathlib, runpy, sys
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(0x40000000) != 0 and libc.unshare(0x10000000 | 0x40000000) != 0:
    sys.exit(77)
def tried():
    ip, _, rows = {}, None, pathlib.Path("/proc/net/snmp").read_text().splitlines()
    names, values = [row.split()[1:] for row in rows if row.startswith("Ip:")]
    ip = dict(zip(names, map(int, values)))
    six = dict(row.split() for row in pathlib.Path("/proc/net/snmp6").read_text().splitlines())
    return (ip["OutRequests"] + ip["OutNoRoutes"]
        + int(six.get("Ip6OutRequests", 0)) + int(six.get("Ip6OutNoRoutes", 0)))
before = tried()
exec(sys.argv.pop(1))
print(tried() - before)
"""
"""Counts every packet that was sent, or could not be for want of a way out."""

_SENDS = """
import socket
try:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"id", ("192.0.2.1", 53))
except OSError:
    pass
"""


def test_the_runtime_sends_nothing_and_looks_nobody_up(release: Any, tmp_path: Path) -> None:
    """Attack: telemetry at import, before calls are closed.  End: not a packet, not a lookup.

    The counter is the kernel's, in a network that leads nowhere; that it counts is shown first.
    """
    release.run()
    (tmp_path / "spec.json").write_text(json.dumps(release.spec()))
    environment = {name: value for name, value in os.environ.items() if name != "CI"}

    def packets(act: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", _IN_A_NETWORK_OF_ITS_OWN, act, *map(str, _files(tmp_path))],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode == 77:
            pytest.skip("this system gives no process a network of its own")
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    assert packets(_SENDS) == ["1"]
    assert packets(_ATTEMPT) == ["passed", "0"]


def test_a_bench_refuses_to_start_where_telemetry_is_not_switched_off() -> None:
    """Attack: someone starts the bench without the switch.  End: it says so and imports nothing."""
    reading, writing = os.pipe()
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    done = subprocess.run(
        [sys.executable, "-I", "-m", "primum_verifier.shell.bench_child", str(writing)],
        pass_fds=(writing,), env=environment, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    os.close(writing)
    with os.fdopen(reading, "rb") as report:
        assert json.loads(report.read())["problem"] == "telemetry"
    assert done.returncode == 3


def test_the_process_that_judges_never_imports_the_runtime() -> None:
    """The attempt that starts a self-test stays small: no numpy and no runtime in it."""
    script = (
        "import sys, primum_verifier.shell.selftest\n"
        "print(sorted({'numpy','onnxruntime','onnx'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
