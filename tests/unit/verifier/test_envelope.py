"""Envelopes: whose key signed exactly these bytes, and nothing that merely looks like it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

from primum_verifier.core.document import canonical_json, parse_document
from primum_verifier.core.envelope import (
    CONTEXT_PAYLOAD_TYPE,
    INTOTO_PAYLOAD_TYPE,
    PublicKey,
    envelope_lines,
    key_id_of,
    open_envelope,
    plain_public,
    public_key_of,
)
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.limits import MAX_SIGNATURES
from primum_verifier.core.reasons import Reason

ONE, OTHER = CryptoSigner.generate_ed25519(), CryptoSigner.generate_ed25519()
KEY, OTHER_KEY = public_key_of(ONE.public_key), public_key_of(OTHER.public_key)
PAYLOAD = b'{"said":1}'


def made(*signers: CryptoSigner, payload_type: str = INTOTO_PAYLOAD_TYPE) -> dict[str, Any]:
    """An envelope over the payload, as a dictionary that a test bends."""
    envelope = Envelope(PAYLOAD, payload_type, {})
    for signer in signers:
        signature = signer.sign(envelope.pae())
        signature.keyid = public_key_of(signer.public_key).key_id
        envelope.signatures[signature.keyid] = signature
    content: dict[str, Any] = envelope.to_dict()
    return content


def opened(content: dict[str, Any], *keys: PublicKey) -> tuple[PublicKey, ...]:
    found = open_envelope(
        canonical_json(content), payload_type=INTOTO_PAYLOAD_TYPE, keys=keys, where="test"
    )
    assert found.payload == base64.b64decode(content["payload"])
    return found.signers


def test_each_listed_key_that_signed_is_found_once() -> None:
    content = made(ONE, OTHER)
    assert opened(content, KEY, OTHER_KEY) == (KEY, OTHER_KEY)
    assert opened(content, OTHER_KEY) == (OTHER_KEY,)
    assert opened(content) == ()
    assert opened(content, KEY, KEY) == (KEY,)


def test_a_signature_under_another_key_id_signs_nothing() -> None:
    content = made(ONE)
    content["signatures"][0]["keyid"] = OTHER_KEY.key_id
    assert opened(content, KEY, OTHER_KEY) == ()


def test_a_payload_that_was_exchanged_has_no_signer() -> None:
    content = made(ONE)
    content["payload"] = base64.b64encode(b'{"said":2}').decode()
    assert opened(content, KEY) == ()


def test_a_record_of_another_kind_is_refused_though_it_is_signed() -> None:
    """Attack: a signed device context is handed in as an approval (21 CFR 11.70)."""
    with pytest.raises(RefusedError) as caught:
        opened(made(ONE, payload_type=CONTEXT_PAYLOAD_TYPE), KEY)
    assert caught.value.reason is Reason.TRUST_SIGNATURE
    content = made(ONE, payload_type=CONTEXT_PAYLOAD_TYPE)
    content["payloadType"] = INTOTO_PAYLOAD_TYPE
    assert opened(content, KEY) == ()


@pytest.mark.parametrize("text", ["A", "A===", "AA AA", "AA-_", "\u00e4"])
@pytest.mark.parametrize("member", ["payload", "sig"])
def test_what_is_not_base64_is_refused(member: str, text: str) -> None:
    content = made(ONE)
    holder = content if member == "payload" else content["signatures"][0]
    holder[member] = text
    with pytest.raises(RefusedError) as caught:
        opened(content, KEY)
    assert caught.value.reason is Reason.DOCUMENT_INVALID


def test_more_signatures_than_are_read_are_refused() -> None:
    content = made(ONE)
    signature = content["signatures"][0]
    content["signatures"] = [{**signature, "keyid": f"k{n}"} for n in range(MAX_SIGNATURES)]
    opened(content, KEY)
    content["signatures"].append(signature)
    with pytest.raises(RefusedError) as caught:
        opened(content, KEY)
    assert "signatures" in caught.value.found


def test_lines_are_counted_without_the_empty_ones() -> None:
    data = b"\n one\n\ntwo \n  \n"
    assert envelope_lines(data, where="test", at_most=2) == [b" one", b"two "]
    with pytest.raises(RefusedError) as caught:
        envelope_lines(data, where="test", at_most=1)
    assert caught.value.reason is Reason.TRUST_LIMIT


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"keyId": "0" * 64}, "keyId is not the digest"),
        ({"public": KEY.public.upper()}, "one spelling"),
        ({"public": KEY.public + "00"}, "64 hexadecimal digits"),
        ({"keyType": "rsa"}, "keyType"),
        ({"scheme": "ed448"}, "scheme"),
    ],
)
def test_a_key_in_another_spelling_is_no_second_key(changes: dict[str, str], told: str) -> None:
    """Attack: one key listed twice counts as two people."""
    content = {**json.loads(KEY.to_bytes()), **changes}
    if "public" in changes:
        content["keyId"] = key_id_of("ed25519", "ed25519", changes["public"])
    with pytest.raises(RefusedError) as caught:
        parse_document(PublicKey, canonical_json(content), where="key")
    assert told in caught.value.found


def test_keys_of_both_kinds_are_read_and_verify() -> None:
    signer = CryptoSigner.generate_ecdsa()
    key = public_key_of(signer.public_key)
    assert parse_document(PublicKey, key.to_bytes(), where="key") == key
    assert opened(made(signer), key) == (key,)


def test_one_ecdsa_key_has_one_spelling_and_one_id() -> None:
    """In two PEM spellings it would count as two people, or hide in two authorities."""
    signer = CryptoSigner.generate_ecdsa()
    key = public_key_of(signer.public_key)
    assert key.public == key.public.strip()
    body = "".join(key.public.splitlines()[1:-1])
    wrapped = f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----"
    for other in (wrapped, f"{key.public}\n"):
        with pytest.raises(ValueError, match="spelling"):
            PublicKey.model_validate(
                {
                    "keyId": key_id_of("ecdsa", key.scheme, other),
                    "keyType": "ecdsa",
                    "scheme": key.scheme,
                    "public": other,
                }
            )
        assert plain_public("ecdsa", other) == key.public


def test_a_text_that_is_no_key_has_the_spelling_that_it_has() -> None:
    """It verifies nothing; it must only be told apart from every other."""
    assert plain_public("ecdsa", " no key at all\n") == "no key at all"
