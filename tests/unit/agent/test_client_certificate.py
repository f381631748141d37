"""A client certificate is taken only if it fits, and replaced whole."""

from __future__ import annotations

import json
import ssl
import stat
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from primum_agent.certificate_note import holds_until, told
from primum_agent.client_certificate import make_request, take_certificate
from primum_agent.layout import Layout
from primum_verifier.core.errors import FailedError, RefusedError, UsageError

DEVICE = "wearable-001"
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Issuer:
    """An authority of a test: one root, and what it is asked to sign."""

    def __init__(self) -> None:
        self.key = generate_private_key(SECP256R1())
        self.root = self._certificate("root", self.key.public_key(), NOW, 3650, (_CA,))

    def _certificate(
        self,
        name: str,
        key: Any,
        begins: datetime,
        days: float,
        extensions: tuple[x509.ExtensionType, ...],
    ) -> x509.Certificate:
        made = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named("root"))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(begins + timedelta(days=days))
        )
        for extension in extensions:
            made = made.add_extension(extension, critical=False)
        return made.sign(self.key, SHA256())

    def answer(self, request: bytes, order: Order | None = None) -> bytes:
        """The device's certificate and the root, as PEM."""
        wish = order or Order()
        asked = x509.load_pem_x509_csr(request)
        assert asked.is_signature_valid
        key = (
            generate_private_key(SECP256R1()).public_key() if wish.other_key else asked.public_key()
        )
        leaf = self._certificate(wish.name, key, wish.begins, wish.days, wish.extensions)
        return leaf.public_bytes(Encoding.PEM) + self.root.public_bytes(Encoding.PEM)


@dataclass(frozen=True)
class Order:
    """What an issuer is to sign, right unless said."""

    name: str = DEVICE
    begins: datetime = NOW - timedelta(days=1)
    days: float = 90
    other_key: bool = False
    extensions: tuple[x509.ExtensionType, ...] = ()


_CA = x509.BasicConstraints(ca=True, path_length=None)
_SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
_CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])


def uri(device: str) -> x509.SubjectAlternativeName:
    text = f"urn:primum:device:{device}"
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(text)])


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


def test_a_certificate_that_fits_is_put_in_force_with_its_key(
    layout: Layout, issuer: Issuer
) -> None:
    request = make_request(layout, device_id=DEVICE)
    assert x509.load_pem_x509_csr(make_request(layout, device_id=DEVICE)).public_key() == (
        x509.load_pem_x509_csr(request).public_key()
    ), "one key for one request"
    answer = issuer.answer(request, Order(extensions=(uri(DEVICE), _CLIENT)))
    renewed = take_certificate(layout, answer, device_id=DEVICE, now=NOW)
    assert stat.S_IMODE(layout.client.stat().st_mode) == 0o600
    assert holds_until(layout.client) == renewed.not_after
    assert not layout.next_client_key.exists()
    # What a TLS library makes of it: key and certificate belong together.
    ssl.create_default_context().load_cert_chain(layout.client)
    before = layout.client.read_bytes()
    again = issuer.answer(make_request(layout, device_id=DEVICE))
    take_certificate(layout, again, device_id=DEVICE, now=NOW)
    assert layout.client.read_bytes() != before, "each request has a fresh key"


WRONG: dict[str, tuple[Order, str]] = {
    "for another key": (Order(other_key=True), "trust.signature"),
    "for another device": (Order(name="wearable-002"), "trust.signature"),
    "with another device's name beside": (Order(extensions=(uri("x"),)), "trust.signature"),
    "for a server": (Order(extensions=(_SERVER,)), "trust.signature"),
    "of an issuer": (Order(extensions=(_CA,)), "trust.signature"),
    "not yet": (Order(begins=NOW + timedelta(seconds=1)), "trust.expired"),
    "ended": (Order(begins=NOW - timedelta(days=90), days=90), "trust.expired"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_one_that_does_not_fit_leaves_the_one_in_force(
    layout: Layout, issuer: Issuer, wrong: str
) -> None:
    first = issuer.answer(make_request(layout, device_id=DEVICE))
    take_certificate(layout, first, device_id=DEVICE, now=NOW)
    before = layout.client.read_bytes()
    order, reason = WRONG[wrong]
    answer = issuer.answer(make_request(layout, device_id=DEVICE), order)
    with pytest.raises(RefusedError) as refused:
        take_certificate(layout, answer, device_id=DEVICE, now=NOW)
    assert refused.value.reason == reason
    assert layout.client.read_bytes() == before
    assert layout.next_client_key.exists(), "the request still stands"


def test_a_chain_in_which_nobody_signed_the_other_is_refused(
    layout: Layout, issuer: Issuer
) -> None:
    answer = issuer.answer(make_request(layout, device_id=DEVICE))
    leaf = x509.load_pem_x509_certificates(answer)[0].public_bytes(Encoding.PEM)
    stranger = Issuer().root.public_bytes(Encoding.PEM)
    for data in (leaf + stranger, leaf + leaf, leaf * 9, b"", b"-----BEGIN", leaf[:200]):
        with pytest.raises(RefusedError):
            take_certificate(layout, data, device_id=DEVICE, now=NOW)
    assert take_certificate(layout, leaf, device_id=DEVICE, now=NOW).serial


def test_without_a_request_or_with_a_spoilt_key_nothing_is_taken(
    layout: Layout, issuer: Issuer
) -> None:
    with pytest.raises(UsageError):
        take_certificate(layout, b"", device_id=DEVICE, now=NOW)
    answer = issuer.answer(make_request(layout, device_id=DEVICE))
    layout.next_client_key.chmod(0o644)
    with pytest.raises(FailedError):
        take_certificate(layout, answer, device_id=DEVICE, now=NOW)
    layout.next_client_key.write_text("none")
    layout.next_client_key.chmod(0o600)
    with pytest.raises(FailedError):
        take_certificate(layout, answer, device_id=DEVICE, now=NOW)
    assert not layout.client.exists()


def test_its_end_is_told_without_reading_the_key(layout: Layout) -> None:
    assert holds_until(layout.client) is None
    layout.client.write_bytes(b"\xff" * 300)
    assert holds_until(layout.client) is None
    assert told(None, now=NOW) == ""
    assert told(NOW + timedelta(days=40), now=NOW) == "until 2026-07-11"
    assert told(NOW + timedelta(days=3), now=NOW) == "until 2026-06-04, in 3 days"
    assert told(NOW, now=NOW) == "ended 2026-06-01"


def test_renewing_by_the_command_line(
    in_the_field: Any, attempt_now: Callable[..., int], issuer: Issuer, tmp_path: Path
) -> None:
    """The journal of a device that began is where it is told."""
    field, request, answer = in_the_field, tmp_path / "request.pem", tmp_path / "answer.pem"
    now = datetime.now(UTC)
    assert attempt_now() == 0
    assert field.agent("enroll", "--renew").returncode == 2
    assert field.agent("enroll", "--renew", "--output", request).returncode == 0
    soon = Order(begins=now - timedelta(days=1), days=11)
    answer.write_bytes(issuer.answer(request.read_bytes(), soon))
    done = field.agent("enroll", "--renew", "--certificate", answer)
    assert done.returncode == 0, done.stderr
    assert field.kinds()[-1] == "certificate.renewed"
    assert "notAfter" in field.event("certificate.renewed")["data"]["detail"]
    assert "client certificate" in field.agent("status").stdout
    told_by_doctor = field.agent("doctor", "--provisioning", field.provisioning)
    assert "note client certificate" in told_by_doctor.stdout
    assert "enroll --renew" in told_by_doctor.stdout
    wrong = field.agent("enroll", "--renew", "--certificate", answer)
    assert wrong.returncode == 2, "no request is open"
    status = json.loads(field.agent("status", "--json").stdout)
    assert status["clientCertificate"].startswith("until ")
