"""A key on a token signs like a key in a file; what is wrong with it is named, and told once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.agent.token import LABEL, SoftToken

from primum_agent.clock import FakeClock
from primum_agent.events import Entry, EventKind
from primum_agent.journal import Journal
from primum_agent.key_address import TokenAddress
from primum_agent.layout import Layout
from primum_agent.sign_head import sign_head
from primum_agent.signer import (
    RecordedKey,
    address_in,
    make_device_key,
    open_device_key,
    open_or_recorded,
)
from primum_agent.token_signer import (
    TokenKeyType,
    TokenSigner,
    make_token_key,
    remove_token_key,
)
from primum_verifier.core.envelope import HEAD_PAYLOAD_TYPE, open_envelope
from primum_verifier.core.errors import FailedError, UsageError
from primum_verifier.record.chain import check_history
from primum_verifier.shell import cli

Eventually = Callable[..., Any]
DEVICE = "wearable-001"
PAYLOAD = b'{"type":"test"}'


@pytest.fixture
def token(softhsm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftToken:
    made = SoftToken(softhsm, tmp_path / "token")
    made.make()
    for name, value in made.settings.items():
        monkeypatch.setenv(name, value)
    unload_modules()
    return made


def unload_modules() -> None:
    """Let the module read its settings anew, as in a process of its own."""
    import pkcs11

    for path in list(pkcs11._loaded):
        pkcs11.unload(path)


@pytest.mark.parametrize("kind", TokenKeyType)
def test_a_key_is_made_on_the_token_and_signs_the_journal(
    token: SoftToken, layout: Layout, kind: TokenKeyType
) -> None:
    signer = make_device_key(layout, address=token.address(), kind=kind)
    assert b"PRIVATE" not in layout.device_key.read_bytes()
    assert signer.public_key().key_type == ("ecdsa" if kind is TokenKeyType.P256 else "ed25519")
    journal = Journal.open_or_restart(layout, clock=FakeClock(), device_id=DEVICE)
    journal.record(Entry(kind=EventKind.ATTEMPT_FAILED))
    again = open_device_key(layout)
    assert again.public_key() == signer.public_key()
    sign_head(journal, signer=again, device_id=DEVICE, clock=FakeClock())
    report = check_history(list(journal.history()), device_key=signer.public_key())
    journal.close()
    assert report.whole
    assert report.heads == 1


def test_a_key_that_is_there_is_used_and_not_made_again(token: SoftToken, layout: Layout) -> None:
    there = make_token_key(token.address(), kind=TokenKeyType.P256, refused=layout.refused_pin)
    found = make_device_key(layout, address=token.address())
    assert found.public_key() == there.public_key()


def test_a_key_that_can_be_read_out_is_not_taken(token: SoftToken, layout: Layout) -> None:
    """It would protect no more than a file, and look as if it did."""
    import pkcs11
    from pkcs11.util.ec import encode_named_curve_parameters

    with (
        pkcs11.lib(str(token.module))
        .get_token(token_label=LABEL)
        .open(rw=True, user_pin=token.pin.read_text().strip()) as session
    ):
        curve = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
        parameters = session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True)
        parameters.generate_keypair(
            store=True, label="device", id=b"1",
            private_template={pkcs11.Attribute.EXTRACTABLE: True},
        )  # fmt: skip
    with pytest.raises(FailedError) as refused:
        make_device_key(layout, address=token.address())
    assert refused.value.reason == "key.unusable"
    assert not layout.device_key.exists()


def two_of_one_label(token: SoftToken, layout: Layout) -> TokenAddress:
    """Each is known by its id; by the label alone it is not."""
    address = token.address("twice")
    for _ in range(2):
        make_token_key(address, kind=TokenKeyType.P256, refused=layout.refused_pin)
    return address


WRONG: dict[str, tuple[str, Callable[[SoftToken, Layout], TokenAddress]]] = {
    "no module": ("key.module", lambda t, _: t.address(module="/nowhere/lib.so")),
    "a module that is none": ("key.module", lambda t, _: t.address(module=str(t.pin))),
    "no token": ("key.token", lambda t, _: t.address(token={"token": "another"})),
    "a token of another serial": (
        "key.token",
        lambda t, _: t.address(token={"token": LABEL, "serial": "0"}),
    ),
    "no object": ("key.absent", lambda t, _: t.address("nothing")),
    "no PIN": ("key.absent", lambda t, _: t.address(pin_source="")),
    "no PIN file": ("key.secret", lambda t, _: t.address(pin_source="/nowhere/pin")),
    "no credential": ("key.secret", lambda t, _: t.address(pin_source="credential:pin")),
    "two objects": ("key.ambiguous", two_of_one_label),
}


@pytest.mark.parametrize("what", WRONG)
def test_each_thing_that_can_be_wrong_has_a_reason_of_its_own(
    token: SoftToken, layout: Layout, what: str
) -> None:
    make_token_key(token.address(), kind=TokenKeyType.P256, refused=layout.refused_pin)
    reason, address = WRONG[what]
    with pytest.raises(FailedError) as refused:
        TokenSigner(address(token, layout), refused=layout.refused_pin)
    assert refused.value.reason == reason
    assert refused.value.remedy
    assert refused.value.where


def test_a_pin_that_was_refused_is_not_tried_until_the_token_locks(
    token: SoftToken, layout: Layout
) -> None:
    """A supervisor tries to sign for years; a token takes a few wrong PINs and locks for ever."""
    make_device_key(layout, address=token.address())
    token.write_pin("wrong-one")
    tried = []
    for _ in range(3):
        with pytest.raises(FailedError) as refused:
            open_device_key(layout)
        assert refused.value.reason == "key.secret"
        tried.append("not tried again" in refused.value.message)
    assert tried == [False, True, True]
    token.pin.unlink()
    token.write_pin("1234567")
    open_device_key(layout)
    assert not layout.refused_pin.exists()


def test_a_pin_that_others_may_read_is_not_used(token: SoftToken, layout: Layout) -> None:
    token.pin.chmod(0o644)
    with pytest.raises(FailedError) as refused:
        make_device_key(layout, address=token.address())
    assert refused.value.reason == "key.secret"


def test_a_pin_may_be_a_credential_of_the_service(
    token: SoftToken, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(token.folder))
    token.pin.chmod(0o440)
    make_device_key(layout, address=token.address(pin_source="credential:pin"))
    with pytest.raises(FailedError):
        TokenSigner(token.address(pin_source="credential:../pin"), refused=layout.refused_pin)


def test_a_token_that_goes_away_in_the_middle_signs_nothing_and_says_so(
    token: SoftToken, layout: Layout
) -> None:
    signer = make_device_key(layout, address=token.address())
    with token.pulled_out(), pytest.raises(FailedError) as refused:
        signer.envelope(PAYLOAD, payload_type=HEAD_PAYLOAD_TYPE)
    assert refused.value.reason == "key.token"
    unload_modules()
    line = signer.envelope(PAYLOAD, payload_type=HEAD_PAYLOAD_TYPE)
    opened = open_envelope(
        line, payload_type=HEAD_PAYLOAD_TYPE, keys=(signer.public_key(),), where="line"
    )
    assert opened.signers


def test_a_token_that_holds_another_key_now_signs_nothing(
    token: SoftToken, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The halves on the token do not belong together: no head that nobody could verify."""
    signer = make_device_key(layout, address=token.address())
    other = make_token_key(
        token.address("other"), kind=TokenKeyType.P256, refused=layout.refused_pin
    )
    monkeypatch.setattr(signer, "_token", Mixed(signer._token, other))  # type: ignore[attr-defined]
    with pytest.raises(FailedError) as refused:
        signer.envelope(PAYLOAD, payload_type=HEAD_PAYLOAD_TYPE)
    assert refused.value.reason == "key.unusable"


class Mixed:
    """A token whose halves do not belong together."""

    def __init__(self, public: TokenSigner, private: TokenSigner) -> None:
        self.public_key, self.sign = public.public_key, private.sign


def test_where_the_key_cannot_be_used_its_record_judges_and_signs_nothing(
    token: SoftToken, layout: Layout
) -> None:
    made = make_device_key(layout, address=token.address())
    with token.pulled_out():
        unload_modules()
        found = open_or_recorded(layout)
    assert isinstance(found, RecordedKey)
    assert found.public_key() == made.public_key()
    with pytest.raises(FailedError):
        found.envelope(PAYLOAD, payload_type=HEAD_PAYLOAD_TYPE)


def test_an_enrolled_device_keeps_its_key(token: SoftToken, layout: Layout) -> None:
    made = make_device_key(layout, address=token.address()).public_key()
    assert make_device_key(layout, address=token.address()).public_key() == made
    assert make_device_key(layout).public_key() == made
    with pytest.raises(UsageError):
        make_device_key(layout, address=token.address("other"))


def test_what_is_decommissioned_is_destroyed_on_the_token_too(
    token: SoftToken, layout: Layout
) -> None:
    signer = make_device_key(layout, address=token.address())
    make_token_key(token.address("another"), kind=TokenKeyType.P256, refused=layout.refused_pin)
    address = address_in(layout.device_key.read_bytes(), where=layout.device_key)
    assert address is not None
    assert remove_token_key(address, refused=layout.refused_pin) == 2, "both halves"
    with pytest.raises(FailedError) as refused:
        signer.envelope(PAYLOAD, payload_type=HEAD_PAYLOAD_TYPE)
    assert refused.value.reason == "key.absent"
    TokenSigner(token.address("another"), refused=layout.refused_pin)


@pytest.fixture
def on_a_token(tmp_path: Path, token: SoftToken, new_field: Callable[..., Any]) -> Any:
    """A device whose key lies on a token, in the field."""
    field = new_field(tmp_path)
    field.enroll(key=str(token.address()))
    return field


def test_a_device_with_its_key_on_a_token_updates_and_proves_its_history(
    on_a_token: Any, eventually: Eventually, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    on_a_token.release("1.0.0", counter=1)
    with on_a_token.running():
        eventually(eventually(on_a_token.opened).prove_health)
    done = on_a_token.agent("doctor", "--provisioning", on_a_token.provisioning)
    assert done.returncode == 0, done.stdout
    exported = on_a_token.agent("export", tmp_path)
    assert exported.returncode == 0
    assert "not signed" not in exported.stdout
    words = ["history", str(tmp_path / DEVICE), "--device-key"]
    assert cli.main([*words, str(on_a_token.folder / "enrolment.json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "whole"


def test_a_device_whose_token_is_gone_keeps_running_takes_away_and_begins_nothing(
    on_a_token: Any, token: SoftToken, eventually: Eventually
) -> None:
    """The token is pulled out: one event, events wait unsigned, a withdrawal acts all the same."""
    field = on_a_token
    field.release("1.0.0", counter=1)
    with field.running():
        eventually(eventually(field.opened).prove_health)
    signed = field.heads()
    with token.pulled_out():
        field.release("1.1.0", counter=2)
        for _ in range(2):
            assert field.once().returncode == 3
        assert field.kinds().count("key.failed") == 1
        assert field.event("key.failed")["data"]["reasons"] == ["key.token"]
        assert field.opened().version == "1.0.0"
        assert "device key" in field.agent("status").stdout
        field.withdraw("1.0.0")
        assert field.once().returncode == 3
        assert field.opened() is None
        assert field.heads() == signed, "nothing was signed meanwhile, and nothing is lost"
    assert field.once().returncode in {0, 1}
    assert field.kinds().count("key.works") == 1
    assert field.heads() > signed
    report = check_history(field.history(), device_key=field.device_key)
    assert report.whole
