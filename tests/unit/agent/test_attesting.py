"""The device's signed word on a self-test: kept, exported, checked by its public key alone."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.unit.agent.tested_again import DONE, idle, in_use, runs, tested

from primum_agent.attesting import KEPT, statements
from primum_agent.clock import FakeClock
from primum_agent.signer import KeySigner, read_public
from primum_verifier.core.document import sha256_hex
from primum_verifier.core.errors import RefusedError
from primum_verifier.proof.selftest_result import Overall
from primum_verifier.proof.selftest_statement import Occasion, SelfTest, open_statement

Attempt = Callable[..., int]
__all__ = ["idle", "tested"]


def verify(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "primum_verifier.shell.cli", "selftest", *map(str, words)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_what_a_device_tested_is_signed_named_in_the_journal_and_exported(
    in_the_field: Any, tmp_path: Path
) -> None:
    """Real bench, real key: the statement says runtime, processor, provider and worst deviation."""
    release = in_the_field.release("1.0.0", counter=1)
    in_the_field.once()
    (path,) = statements(in_the_field.layout)
    assert path.name == f"{release}.dsse.json"
    event = in_the_field.event("selftest.passed")["data"]
    assert event["detail"]["statement"] == {"sha256": sha256_hex(path.read_bytes())}
    key = read_public(in_the_field.layout.device_public)
    statement = open_statement(path.read_bytes(), keys=(key,), where="test")
    assert statement.release == release
    report = statement.predicate.report
    assert report.overall is Overall.PASSED
    assert report.hardware == "cardiowear-2"
    assert report.environment is not None
    assert report.environment.runtime.onnxruntime
    assert report.environment.provider == "CPUExecutionProvider"
    assert report.cpu_features
    assert any(test.worst for test in report.tests)
    stick = tmp_path / "stick"
    stick.mkdir()
    assert in_the_field.agent("export", stick).returncode == 0
    (exported,) = stick.rglob("self-tests/*.dsse.json")
    assert exported.read_bytes() == path.read_bytes()
    (public,) = stick.rglob("device.public.json")
    shown = verify("--report", exported, "--device-key", public)
    assert shown.returncode == 0, shown.stderr
    assert f"signed by the key {key.key_id[:16]}" in shown.stdout


def test_a_statement_that_was_changed_or_is_another_device_s_is_refused(
    in_the_field: Any, tmp_path: Path
) -> None:
    """Attack: a failed report is made a passed one, or another device's is shown."""
    in_the_field.release("1.3.0", counter=1, scale=-1.0)
    in_the_field.once()
    (path,) = statements(in_the_field.layout)
    public = in_the_field.layout.device_public
    told = verify("--report", path, "--device-key", public)
    assert told.returncode == 1, "a failed self-test, and truly this device's"
    assert "signed by the key" in told.stdout
    other = tmp_path / "other.json"
    other.write_bytes(KeySigner(Ed25519PrivateKey.generate()).public_key().to_bytes())
    refused = verify("--report", path, "--device-key", other)
    assert refused.returncode == 1
    assert "trust.signature" in refused.stderr
    envelope = json.loads(path.read_bytes())
    payload = base64.b64decode(envelope["payload"])
    forged = payload.replace(b'"overall":"failed"', b'"overall":"passed"')
    assert forged != payload
    envelope["payload"] = base64.b64encode(forged).decode()
    with pytest.raises(RefusedError):
        open_statement(json.dumps(envelope).encode(), keys=(read_public(public),), where="test")
    unnamed = verify("--report", path)
    assert unnamed.returncode == 2
    assert "--device-key" in unnamed.stderr


def test_a_disk_that_takes_no_statement_changes_no_verdict(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    """Danger: evidence that cannot be written stands in the way of an update, or is missed."""
    in_the_field.layout.self_tests.parent.mkdir(parents=True, exist_ok=True)
    in_the_field.layout.self_tests.write_text("no folder")
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == 0
    detail = in_the_field.event("selftest.passed")["data"]["detail"]
    assert set(detail["statement"]) == {"missing"}


def test_what_could_not_be_run_is_stated_by_nobody(in_the_field: Any) -> None:
    in_the_field.more_settings = '[bench]\ncommand = ["/no/such/bench"]\n'
    in_the_field.write("agent.toml", in_the_field.settings().encode())
    in_the_field.release("1.0.0", counter=1)
    in_the_field.once()
    assert "statement" not in in_the_field.event("selftest.failed")["data"]["detail"]
    assert statements(in_the_field.layout) == ()


def test_the_oldest_make_room(in_the_field: Any, attempt_now: Attempt) -> None:
    folder = in_the_field.layout.self_tests
    folder.mkdir(parents=True)

    for number in range(KEPT):
        path = folder / f"{number:064x}.dsse.json"
        path.write_text("{}")
        os.utime(path, (number, number))
    release = in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == 0
    kept = statements(in_the_field.layout)
    assert len(kept) == KEPT
    assert kept[0].name.startswith(release)
    assert not (folder / f"{0:064x}.dsse.json").exists()


# Every other test of a release


@pytest.mark.usefixtures("idle")
def test_what_runs_is_stated_each_time_and_what_was_signed_before_it_was_activated_stays(
    in_the_field: Any, attempt_now: Attempt, tested: Callable[..., int]
) -> None:
    """Danger: the daily test replaces the evidence that a release was activated on."""
    field = runs(in_the_field, attempt_now, 1.0)
    (first,) = statements(field.layout)
    before = first.read_bytes()
    seen = set()
    for boot in ("one", "two"):
        assert tested(clock=FakeClock(boot=boot)) == DONE
        newest, *others = statements(field.layout)
        assert newest.name == f"{field.releases['1.0.0']}.in-use.dsse.json"
        assert others == [first]
        seen.add(newest.read_bytes())
    assert len(seen) == 2, "the newest one stands"
    assert first.read_bytes() == before
    daily, activated = said_by(field, newest), said_by(field, first)
    assert (daily.occasion, activated.occasion) == (Occasion.IN_USE, Occasion.UPDATE)
    assert daily.report.overall is Overall.PASSED
    assert daily.report.environment is not None
    assert daily.report.environment.provider == "CPUExecutionProvider", "the real bench"
    told = verify("--report", newest, "--device-key", field.layout.device_public)
    assert told.returncode == 0, told.stderr
    assert "(in-use)" in told.stdout


@pytest.mark.usefixtures("idle")
def test_what_is_left_and_what_is_gone_back_to_are_both_stated_and_named_in_the_journal(
    in_the_field: Any, attempt_now: Attempt, tested: Callable[..., int]
) -> None:
    field = runs(in_the_field, attempt_now, 1.0, 2.0)
    assert tested() == DONE
    assert in_use(field) == "1.0.0"
    left = field.layout.self_tests / f"{field.releases['1.1.0']}.in-use.dsse.json"
    back = field.layout.self_tests / f"{field.releases['1.0.0']}.way-back.dsse.json"
    assert said_by(field, left).report.overall is Overall.FAILED
    assert said_by(field, back).report.overall is Overall.PASSED
    assert said_by(field, back).occasion is Occasion.WAY_BACK
    failed, went = field.event("active-test.failed"), field.event("update.rolled-back")
    assert failed["data"]["detail"]["statement"] == {"sha256": sha256_hex(left.read_bytes())}
    assert went["data"]["detail"]["selfTests"] == {
        "pvc-classifier 1.0.0": {"statement": {"sha256": sha256_hex(back.read_bytes())}}
    }


@pytest.mark.usefixtures("idle")
def test_a_key_that_cannot_be_used_keeps_no_device_on_what_fails(
    in_the_field: Any, attempt_now: Attempt, tested: Callable[..., int]
) -> None:
    """Danger: a token is pulled, and what computes wrongly runs on for want of a signature."""
    field = runs(in_the_field, attempt_now, 1.0, 2.0)
    before = statements(field.layout)
    field.layout.device_key.chmod(0o644)
    tested()
    assert in_use(field) == "1.0.0"
    assert field.opened().version == "1.0.0"
    failed, went = field.event("active-test.failed"), field.event("update.rolled-back")
    unsigned = {"missing": "state.damaged"}
    assert failed["data"]["detail"]["statement"] == unsigned
    assert went["data"]["detail"]["selfTests"] == {"pvc-classifier 1.0.0": {"statement": unsigned}}
    assert statements(field.layout) == before


@pytest.mark.usefixtures("idle")
def test_a_full_disk_keeps_no_device_on_what_fails(
    in_the_field: Any, attempt_now: Attempt, tested: Callable[..., int]
) -> None:
    field = runs(in_the_field, attempt_now, 1.0, 2.0)
    shutil.rmtree(field.layout.self_tests)
    field.layout.self_tests.write_text("no folder")
    assert tested() == DONE
    assert in_use(field) == "1.0.0"
    assert set(field.event("active-test.failed")["data"]["detail"]["statement"]) == {"missing"}


def said_by(field: Any, path: Path) -> SelfTest:
    """What the device's own key signed in a file, about the release that its name says."""
    key = read_public(field.layout.device_public)
    statement = open_statement(path.read_bytes(), keys=(key,), where=path.name)
    assert path.name.startswith(statement.release)
    return statement.predicate
