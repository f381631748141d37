"""A key file opens with what a file or a credential says, and with nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from primum_agent.identity import check_identity
from primum_agent.key_address import TokenAddress
from primum_agent.layout import Layout
from primum_agent.secret_files import MAX_SECRET_BYTES, read_secret
from primum_agent.settings import read_settings
from primum_agent.signer import (
    PASSPHRASE_CREDENTIAL,
    KeySigner,
    link_passphrase,
    make_device_key,
    open_device_key,
    open_or_recorded,
)
from primum_verifier.core.errors import FailedError, UsageError


def secret(path: Path, text: str = "long and secret\n", mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def refused(layout: Layout) -> str:
    with pytest.raises(FailedError) as found:
        open_device_key(layout)
    return str(found.value.reason)


def test_a_credential_of_the_service_opens_the_key(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As systemd gives it: a folder of the service, its files 0440."""
    secret(tmp_path / PASSPHRASE_CREDENTIAL, mode=0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    made = make_device_key(layout)
    assert b"ENCRYPTED" in layout.device_key.read_bytes()
    assert open_device_key(layout).public_key() == made.public_key()
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    assert refused(layout) == "key.secret"


def test_no_secret_is_taken_from_the_value_of_a_variable(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: another process of the same user reads the environment."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "long and secret")
    with pytest.raises(FailedError):
        make_device_key(layout)
    assert not layout.device_key.exists()


def test_a_passphrase_file_is_linked_to_and_never_copied(layout: Layout, tmp_path: Path) -> None:
    source = secret(tmp_path / "passphrase")
    link_passphrase(layout, source, address=None)
    made = make_device_key(layout)
    assert str(layout.passphrase.readlink()) == str(source)
    assert open_device_key(layout).public_key() == made.public_key()
    link_passphrase(layout, source, address=None)
    with pytest.raises(UsageError):
        link_passphrase(layout, secret(tmp_path / "other"), address=None)
    source.rename(tmp_path / "gone")
    assert refused(layout) == "key.secret"
    assert open_or_recorded(layout).public_key() == made.public_key()


def test_a_passphrase_for_what_it_does_not_encrypt_is_refused(
    layout: Layout, tmp_path: Path
) -> None:
    source = secret(tmp_path / "passphrase")
    with pytest.raises(UsageError):
        link_passphrase(layout, source, address=TokenAddress(label="device"))
    make_device_key(layout)
    with pytest.raises(UsageError):
        link_passphrase(layout, source, address=None)
    assert not os.path.lexists(layout.passphrase)


def test_a_passphrase_beside_a_key_that_is_not_encrypted_is_told(layout: Layout) -> None:
    """Somebody believes that the key is encrypted; it is not."""
    make_device_key(layout)
    secret(layout.passphrase)
    assert refused(layout) == "state.damaged"


@pytest.mark.parametrize("text", ["", "\n", "x" * (MAX_SECRET_BYTES + 1)])
def test_what_is_no_passphrase_makes_no_key(layout: Layout, text: str) -> None:
    """An empty file once meant: no encryption, in silence."""
    secret(layout.passphrase, text)
    with pytest.raises(FailedError):
        make_device_key(layout)
    assert not layout.device_key.exists()


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o602])
def test_a_secret_that_others_may_read_or_write_is_none(tmp_path: Path, mode: int) -> None:
    with pytest.raises(FailedError):
        read_secret(secret(tmp_path / "passphrase", mode=mode))


@pytest.mark.parametrize(
    "content",
    [b"", b"pkcs11:", b"pkcs11:token=a;object=b?module-path=/m.so&pin-value=1", b"\xff" * 99],
)
def test_a_spoilt_key_file_is_damage_and_never_a_traceback(layout: Layout, content: bytes) -> None:
    made = make_device_key(layout)
    assert isinstance(made, KeySigner)
    layout.device_key.write_bytes(content)
    assert refused(layout) == "state.damaged"


@pytest.mark.parametrize(
    ("content", "well"),
    [
        (b"pkcs11:token=a;object=b;id=%01?module-path=/m.so&pin-source=/p\n", True),
        (b"pkcs11:token=other;object=b?module-path=/m.so\n", False),
        (b"-----BEGIN PRIVATE KEY-----\n", False),
        (b"pkcs11:token=a\n", False),
    ],
)
def test_a_device_whose_key_lies_elsewhere_than_provisioned_does_not_start(
    in_the_field: Any, content: bytes, well: bool
) -> None:
    """Attack, or a mistake at the bench: a key file where the maker promised a token."""
    in_the_field.more_settings = '[key]\naddress = "pkcs11:token=a?module-path=/m.so"\n'
    in_the_field.write("agent.toml", in_the_field.settings().encode())
    in_the_field.layout.device_key.write_bytes(content)
    settings = read_settings(in_the_field.provisioning)
    if well:
        check_identity(settings, in_the_field.layout)
        return
    with pytest.raises(UsageError) as refused:
        check_identity(settings, in_the_field.layout)
    assert "device.key" in refused.value.where


def test_a_place_of_a_key_that_is_none_is_a_wrong_setting(in_the_field: Any) -> None:
    in_the_field.more_settings = '[key]\naddress = "pkcs11:token=a?pin-value=1234"\n'
    in_the_field.write("agent.toml", in_the_field.settings().encode())
    with pytest.raises(UsageError) as refused:
        read_settings(in_the_field.provisioning)
    assert "1234" not in refused.value.for_people()
