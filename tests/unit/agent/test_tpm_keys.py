"""A key in a TPM 2: it signs, survives the power, cannot be taken along, and is let go of."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.agent.test_key_rotation import prepared, with_context
from tests.unit.agent.tpm import Tpm

from primum_agent.key_errors import UnusableKeyError
from primum_agent.token_signer import TokenSigner
from primum_verifier.core.envelope import PublicKey
from primum_verifier.record.chain import check_history
from primum_verifier.shell import cli

Eventually = Callable[..., Any]
DEVICE = "wearable-001"


@pytest.fixture
def tpm(tpm_programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tpm]:
    made = Tpm(tpm_programs, tmp_path / "tpm")
    try:
        made.make()
        for name, value in made.settings.items():
            monkeypatch.setenv(name, value)
        yield made
    finally:
        made.power_off()


@pytest.fixture
def in_a_tpm(tmp_path: Path, tpm: Tpm, new_field: Callable[..., Any]) -> Any:
    """A device whose key lies in its TPM, in the field."""
    field = new_field(tmp_path)
    field.enroll(key=str(tpm.address()))
    return field


def updated(field: Any, eventually: Eventually, version: str) -> None:
    """The next release came, and proved its health."""

    def proves() -> Any:
        found = field.opened()
        return found is not None and found.version == version and found.prove_health()

    field.release(version, counter=int(version.split(".")[1]) + 1)
    with field.running():
        eventually(proves)


def test_a_device_with_its_key_in_a_tpm_updates_and_proves_its_history(
    in_a_tpm: Any, eventually: Eventually, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert b"PRIVATE" not in in_a_tpm.layout.device_key.read_bytes()
    updated(in_a_tpm, eventually, "1.0.0")
    doctor = in_a_tpm.agent("doctor", "--provisioning", in_a_tpm.provisioning)
    assert doctor.returncode == 0, doctor.stdout
    exported = in_a_tpm.agent("export", tmp_path)
    assert exported.returncode == 0
    assert "not signed" not in exported.stdout
    words = ["history", str(tmp_path / DEVICE), "--device-key"]
    assert cli.main([*words, str(in_a_tpm.folder / "enrolment.json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "whole"


def test_a_key_in_a_tpm_outlives_the_power_and_not_the_tpm(
    in_a_tpm: Any, tpm: Tpm, eventually: Eventually
) -> None:
    """Another TPM, or one that was cleared, signs nothing; what runs goes on, and is told once."""
    field = in_a_tpm
    updated(field, eventually, "1.0.0")
    tpm.power_off()
    tpm.power_on()
    updated(field, eventually, "1.1.0")
    assert "key.failed" not in field.kinds()
    signed = field.heads()
    tpm.clear()
    field.release("1.2.0", counter=3)
    for _ in range(2):
        done = field.once()
        assert done.returncode == 3
        assert "Traceback" not in done.stdout + done.stderr
    assert field.kinds().count("key.failed") == 1
    assert field.opened().version == "1.1.0"
    assert field.heads() == signed
    assert not check_history(field.history(), device_key=field.device_key).gaps


def test_a_kind_of_key_that_a_tpm_has_not_is_named_with_the_kind_that_it_has(
    tmp_path: Path, tpm: Tpm, new_field: Callable[..., Any]
) -> None:
    field = new_field(tmp_path)
    words = [
        "--device-id",
        DEVICE,
        "--hardware-id",
        "cardiowear-2",
        "--output",
        tmp_path / "e.json",
    ]
    done = field.agent("enroll", *words, "--key", tpm.address(), "--key-type", "ed25519")
    assert done.returncode == 3
    assert "key.unusable" in done.stderr
    assert "--key-type p256" in done.stderr
    assert "Traceback" not in done.stderr
    assert not field.layout.device_key.exists()
    assert not (tmp_path / "e.json").exists()


def test_the_next_key_in_the_tpm_takes_over_and_what_is_decommissioned_is_gone(
    in_a_tpm: Any, tpm: Tpm, eventually: Eventually
) -> None:
    field = in_a_tpm
    updated(field, eventually, "1.0.0")
    first = field.device_key
    enrolment = prepared(field, "--key", tpm.address("second"))
    done = with_context(field, field.context(enrolment, number=2))
    assert done.returncode == 0, done.stderr
    report = check_history(field.history(), device_key=first)
    assert report.whole
    assert [change.key.key_id for change in report.key_changes] == [
        PublicKey.model_validate(enrolment["publicKey"]).key_id
    ]
    done = field.agent("decommission", "--by", "R. Meyer", "--export", field.folder, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not field.layout.device_key.exists()
    with pytest.raises(UnusableKeyError) as gone:
        TokenSigner(tpm.address("second"), refused=field.layout.refused_pin)
    assert gone.value.reason == "key.absent"
