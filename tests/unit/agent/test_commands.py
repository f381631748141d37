"""The commands as users type them: exit codes, remedies, JSON, and never a traceback."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from primum_agent.cli import COMMANDS
from primum_agent.locking import held

Eventually = Callable[..., Any]
AGENT = [sys.executable, "-m", "primum_agent.cli"]


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*AGENT, *map(str, words)], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    assert f"primum-agent {command} --state" in done.stdout
    assert "--json" in done.stdout


@pytest.mark.parametrize("words", [(), ("fly",), ("retry",), ("status",), ("run", "--state", "x")])
def test_a_wrong_call_is_a_usage_error(words: tuple[str, ...]) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["status", "explain", "history"])
def test_looking_at_a_device_that_never_ran_says_what_to_do(tmp_path: Path, command: str) -> None:
    done = run(command, "--state", tmp_path)
    assert done.returncode == 2
    assert "primum-agent run" in done.stderr
    assert list(tmp_path.iterdir()) == []
    done = run(command, "--state", tmp_path, "--json")
    assert json.loads(done.stdout)["reason"] == "usage"


def test_help_and_status_do_not_load_what_they_do_not_need(tmp_path: Path) -> None:
    for words in (["--help"], ["status", "--state", str(tmp_path)]):
        code = (
            "import sys\n"
            "from primum_agent.cli import main\n"
            "try: main(sys.argv[1:])\n"
            "except SystemExit: pass\n"
            "print(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
        )
        heavy = (
            "'tuf'",
            "'pydantic'",
            "'cryptography'",
            "'numpy'",
            "'urllib3'",
            "'paho'",
            "'psutil'",
        )
        assert not [name for name in heavy if name in done.stderr]


def test_enroling_makes_a_key_that_only_the_agent_reads_and_keeps_it(tmp_path: Path) -> None:
    output = tmp_path / "enrolment.json"
    words = ["enroll", "--state", tmp_path / "state", "--device-id", "wearable-001"]
    words += ["--hardware-id", "cardiowear-2", "--output", output]
    old = os.umask(0)
    try:
        assert run(*words).returncode == 0
    finally:
        os.umask(old)
    first = output.read_bytes()
    key = tmp_path / "state" / "device.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert b"BEGIN PRIVATE KEY" in key.read_bytes()
    assert b"PRIVATE" not in first
    content = json.loads(first)
    assert set(content) == {"deviceId", "hardwareId", "serialNumber", "publicKey"}
    assert run(*words).returncode == 0
    assert output.read_bytes() == first, "a key is made once"


def test_a_key_with_a_passphrase_is_encrypted_at_rest(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    secret = state / "device.key.passphrase"
    secret.write_text("long and secret\n")
    words = ["enroll", "--state", state, "--device-id", "wearable-001"]
    words += ["--hardware-id", "cardiowear-2", "--output", tmp_path / "enrolment.json"]
    done = run(*words)
    assert done.returncode == 3, "others may read it"
    assert "key.secret" in done.stderr
    assert not (state / "device.key").exists(), "and no key was made without it"
    secret.chmod(0o600)
    assert run(*words).returncode == 0
    assert b"ENCRYPTED" in (state / "device.key").read_bytes()
    assert run(*words).returncode == 0
    (state / "device.key.passphrase").write_text("another\n")
    done = run(*words)
    assert done.returncode == 3
    assert "key.secret" in done.stderr


@pytest.mark.parametrize("name", ["Wearable", "a/b", "", "x" * 100, "ü"])
def test_a_name_that_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    words = ["enroll", "--state", tmp_path / "state", "--device-id", name]
    words += ["--hardware-id", "cardiowear-2", "--output", tmp_path / "enrolment.json"]
    assert run(*words).returncode == 2
    assert not (tmp_path / "state" / "device.key").exists()


def test_a_key_that_others_may_read_is_not_used(in_the_field: Any) -> None:
    in_the_field.layout.device_key.chmod(0o644)
    assert in_the_field.once().returncode == 3
    done = in_the_field.agent("doctor", "--provisioning", in_the_field.provisioning)
    assert done.returncode == 3
    assert "chmod 600" in done.stdout
    assert in_the_field.event("key.failed")["data"]["reasons"] == ["state.damaged"]
    assert in_the_field.kinds().count("key.failed") == 1


def test_checking_tells_what_would_happen_and_does_nothing(in_the_field: Any) -> None:
    field = in_the_field
    done = field.agent("check", "--provisioning", field.provisioning, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["outcome"] == "current"
    field.release("1.0.0", counter=1)
    done = field.agent("check", "--provisioning", field.provisioning)
    assert done.returncode == 0, done.stderr
    assert "available: pvc-classifier 1.0.0 would be fetched" in done.stdout
    assert "yes  approvals" in done.stdout
    field.release("1.1.0", counter=2, approved_by=("clinical",))
    done = field.agent("check", "--provisioning", field.provisioning, "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["outcome"] == "refused"
    assert "eligibility.approvals" in found["message"]
    assert not field.layout.active.is_symlink()
    assert field.kinds() == []


def test_checking_while_an_attempt_is_under_way_is_busy(in_the_field: Any) -> None:
    in_the_field.layout.run.mkdir(exist_ok=True)
    with held(in_the_field.layout.update_lock, what="An attempt is under way", remedy="wait"):
        done = in_the_field.agent("check", "--provisioning", in_the_field.provisioning)
    assert done.returncode == 4
    assert str(os.getpid()) in done.stderr


def test_a_root_that_the_trust_map_does_not_pin_is_refused(in_the_field: Any) -> None:
    in_the_field.write("clinical.root.json", in_the_field.engineering.root)
    assert in_the_field.once().returncode == 1
    assert in_the_field.event("attempt.failed")["data"]["reasons"] == ["trust.signature"]


@pytest.mark.parametrize(
    "name",
    ["agent.toml", "trust-map.json", "engineering.root.json", "device-context.dsse.json"],
)
@pytest.mark.parametrize("damage", ["missing", "empty", "nonsense"])
def test_a_damaged_provisioning_folder_is_named_and_never_a_traceback(
    in_the_field: Any, name: str, damage: str
) -> None:
    path = in_the_field.provisioning / name
    path.unlink()
    if damage != "missing":
        path.write_bytes(b"" if damage == "empty" else os.urandom(100))
    done = in_the_field.agent("check", "--provisioning", in_the_field.provisioning)
    text = done.stdout + done.stderr
    assert done.returncode in {0, 1, 2}, text
    assert "Traceback" not in text
    if done.returncode:
        assert name.partition(".")[0] in text or "root" in text


def test_asking_a_device_whose_agent_is_not_running(in_the_field: Any) -> None:
    done = in_the_field.agent("poll")
    assert done.returncode == 3
    assert "primum-agent run" in done.stderr


def test_looking_at_a_running_device(in_the_field: Any, eventually: Eventually) -> None:
    field = in_the_field
    field.release("1.0.0", counter=1)
    with field.running():
        eventually(eventually(field.opened).prove_health)
        status = json.loads(field.agent("status", "--json").stdout)
        assert status["version"] == "1.0.0"
        assert status["mode"] == "clinical"
        assert status["proven"] is True
        assert status["supervisor"]["clinicalUse"] == "idle"
        people = field.agent("status")
        assert people.returncode == 0
        assert "pvc-classifier 1.0.0 (generation 1, proven, statement" in people.stdout
        assert "update.committed" in field.agent("history", "--last", "3").stdout
        doctor = field.agent("doctor", "--provisioning", field.provisioning)
        assert doctor.returncode == 0, doctor.stdout
        unknown = field.agent("explain", "9.9.9")
        assert unknown.returncode == 2
        assert "1.0.0" in unknown.stderr
        explained = json.loads(field.agent("explain", "1.0.0", "--json").stdout)
        assert explained["capability"] == "clinical"


def test_doctor_names_each_trouble_and_changes_nothing(tmp_path: Path) -> None:
    done = run("doctor", "--state", tmp_path / "state", "--provisioning", tmp_path / "none")
    assert done.returncode == 3
    assert "BAD  state folder" in done.stdout
    assert "BAD  settings" in done.stdout
    assert "mkdir" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_doctor_before_the_first_run_finds_nothing_bad(in_the_field: Any) -> None:
    done = in_the_field.agent("doctor", "--provisioning", in_the_field.provisioning)
    assert done.returncode == 0, done.stdout
    assert "note supervisor: not running" in done.stdout
    assert "primum-agent run" in done.stdout
    assert "BAD" not in done.stdout


def test_status_names_what_lies_on_the_device_once_and_calls_it_no_hold(
    in_the_field: Any, eventually: Eventually
) -> None:
    field = in_the_field
    for counter, version in enumerate(("1.0.0", "1.1.0"), start=1):
        field.release(version, counter=counter)
        with field.running():
            eventually(
                lambda wanted=version: (
                    (found := field.opened()) and found.version == wanted and found.prove_health()
                )
            )
    told = field.agent("status").stdout
    assert "held" not in told
    line = next(item for item in told.splitlines() if item.startswith("on this device"))
    assert line.split()[3:] == ["pvc-classifier", "1.0.0"]


def test_help_and_status_load_nothing_heavy(in_the_field: Any) -> None:
    in_the_field.once()
    for words in (["--help"], ["status", "--state", str(in_the_field.state)]):
        told = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "primum_agent.cli", *words],
            capture_output=True,
            text=True,
            check=False,
        ).stderr
        loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in told.splitlines()}
        heavy = {"tuf", "onnxruntime", "numpy", "pydantic", "cryptography", "urllib3", "paho"}
        assert not loaded & heavy
        assert "primum_agent" in loaded
