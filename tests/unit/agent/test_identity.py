"""A device works under its own name only: every place that names it must name the same one."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

COMMANDS = ["run", "check", "doctor"]


def asked(field: Any, command: str) -> subprocess.CompletedProcess[str]:
    words = ["--once"] if command == "run" else []
    done: subprocess.CompletedProcess[str] = field.agent(
        command, *words, "--provisioning", field.provisioning
    )
    return done


def contradicted(field: Any, command: str, found: str) -> None:
    """The contradiction is named with a remedy, and nothing was published or begun."""
    done = asked(field, command)
    text = done.stdout + done.stderr
    assert done.returncode == 2, text
    assert found in text
    assert "primum-repo device" in text
    assert "Traceback" not in text
    assert not field.layout.journal.exists()
    assert not field.layout.run.exists()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("member", "mine", "other"),
    [("device_id", "wearable-001", "wearable-002"), ("hardware_id", "cardiowear-2", "cardio-9")],
)
def test_settings_that_name_another_device_are_not_run(
    in_the_field: Any, command: str, member: str, mine: str, other: str
) -> None:
    toml = in_the_field.settings().replace(f'{member} = "{mine}"', f'{member} = "{other}"')
    in_the_field.write("agent.toml", toml.encode())
    contradicted(in_the_field, command, other)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_provisioning_folder_of_another_key_is_not_run(in_the_field: Any, command: str) -> None:
    """Same names, another key: the folder was made for a device that was enrolled elsewhere."""
    state, mine = in_the_field.state, in_the_field.folder / "mine"
    state.rename(mine)
    in_the_field.enroll()
    shutil.rmtree(state)
    mine.rename(state)
    contradicted(in_the_field, command, "key of another device")


def test_the_journal_of_another_device_is_not_gone_on_with(in_the_field: Any) -> None:
    assert in_the_field.once().returncode == 0
    before = in_the_field.kinds()
    first, second = "wearable-001", "wearable-002"
    in_the_field.layout.enrolment.unlink()
    (in_the_field.provisioning / "device-context.dsse.json").write_text("{}")
    in_the_field.write("agent.toml", in_the_field.settings().replace(first, second).encode())
    done = asked(in_the_field, "run")
    assert done.returncode == 2
    assert "journal is another device's" in done.stderr
    assert in_the_field.kinds() == before


@pytest.mark.parametrize("missing", ["device.key", "trust-map.json", "clinical.root.json"])
def test_what_is_missing_for_good_ends_the_run_at_once(in_the_field: Any, missing: str) -> None:
    folder = in_the_field.state if missing == "device.key" else in_the_field.provisioning
    (folder / missing).unlink()
    done = in_the_field.agent("run", "--provisioning", in_the_field.provisioning)
    assert done.returncode == 2
    assert missing in done.stderr
    assert not in_the_field.layout.journal.exists()


def test_settings_for_another_component_end_the_run_at_once(in_the_field: Any) -> None:
    toml = in_the_field.settings().replace('"pvc-classifier"', '"af-classifier"')
    in_the_field.write("agent.toml", toml.encode())
    done = in_the_field.agent("run", "--provisioning", in_the_field.provisioning)
    assert done.returncode == 2
    assert "af-classifier" in done.stderr


def enrolled(output: Path, field: Any, **other: str) -> tuple[int, str]:
    names = {"--device-id": "wearable-001", "--hardware-id": "cardiowear-2"}
    names |= {f"--{name.replace('_', '-')}": value for name, value in other.items()}
    words = [word for pair in names.items() for word in pair]
    done = field.agent("enroll", *words, "--output", output)
    return done.returncode, done.stderr


def test_an_enrolled_device_is_not_enrolled_under_another_name(in_the_field: Any) -> None:
    output = in_the_field.folder / "again.json"
    code, told = enrolled(output, in_the_field, device_id="wearable-002")
    assert code == 2
    assert "wearable-001" in told
    code, told = enrolled(output, in_the_field, hardware_id="cardio-9")
    assert code == 2
    assert "cardiowear-2" in told
    assert not output.exists()
    code, _ = enrolled(output, in_the_field)
    assert code == 0
    first = json.loads((in_the_field.folder / "enrolment.json").read_text())
    assert json.loads(output.read_text()) == first


def test_doctor_and_enroll_name_the_key_alike(in_the_field: Any) -> None:
    enrolment = json.loads((in_the_field.folder / "enrolment.json").read_text())
    done = asked(in_the_field, "doctor")
    assert f"key {enrolment['publicKey']['keyId'][:16]}" in done.stdout
