"""An address names one key and no secret; whatever else it may be is refused."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primum_agent.key_address import TokenAddress, is_address, parse_address, parse_pattern
from primum_verifier.core.errors import UsageError

GOOD = "pkcs11:token=My%20token;object=device?module-path=/lib/x.so&pin-source=file:/etc/pin"


def test_an_address_as_rfc_7512_writes_it() -> None:
    found = parse_address(GOOD, where="--key")
    assert found.token == {"token": "My token"}
    assert (found.label, found.id) == ("device", b"")
    assert (found.module, found.pin_source) == ("/lib/x.so", "/etc/pin")
    assert is_address(GOOD)
    assert parse_address(str(found), where="again") == found


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("/etc/pin", "/etc/pin"),
        ("file:///etc/pin", "/etc/pin"),
        ("credential:primum.pin", "credential:primum.pin"),
    ],
)
def test_where_a_pin_may_lie(source: str, path: str) -> None:
    text = f"pkcs11:serial=1;id=%01%ff?module-path=/m.so&pin-source={source}"
    found = parse_address(text, where="--key")
    assert (found.pin_source, found.id) == (path, b"\x01\xff")


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (GOOD.replace("pin-source=file:/etc/pin", "pin-value=1234"), "pin-value"),
        (GOOD + "&pin-value=1234", "pin-value"),
        (GOOD.replace("file:/etc/pin", "%7Cecho%201234"), "pin-source"),
        (GOOD.replace("file:/etc/pin", "pin"), "pin-source"),
        (GOOD.replace("/lib/x.so", "x.so"), "absolute"),
        (GOOD.replace("object=device", "object=a;object=b"), "twice"),
        (GOOD.replace("object=device", "object="), "object"),
        (GOOD.replace(";object=device", ""), "neither object nor id"),
        (GOOD.replace("token=My%20token;", ""), "neither token nor serial"),
        (GOOD.replace("module-path=/lib/x.so&", ""), "module-path"),
        (GOOD.replace("object", "slot-id"), "slot-id"),
        (GOOD.replace("object=device", "object=device;type=public"), "private"),
        (GOOD.replace("My%20token", "My token"), "escaped"),
        (GOOD.replace("My%20token", "%ff"), "UTF-8"),
        (GOOD.replace("My%20token", "a%00b"), "print"),
        (GOOD.replace("My%20token", "a%0ab"), "print"),
        ("PKCS11:" + GOOD.partition(":")[2], "no pkcs11: URI"),
        ("pkcs11:" + "a" * 3000, "longer"),
    ],
)
def test_what_cannot_be_honoured_is_refused(wrong: str, found: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_address(wrong, where="--key")
    assert found in refused.value.found
    assert "1234" not in refused.value.for_people()


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1)


@given(
    token=st.dictionaries(st.sampled_from(["token", "serial", "model"]), NAMES, min_size=1),
    label=NAMES,
    number=st.binary(max_size=40),
    module=NAMES,
)
def test_what_is_written_is_read_again(
    token: dict[str, str], label: str, number: bytes, module: str
) -> None:
    made = TokenAddress(token=token, label=label, id=number, module=f"/{module}")
    if len(str(made)) <= 2048:
        assert parse_address(str(made), where="x") == made


@given(st.text(max_size=200))
def test_any_text_is_an_address_or_a_refusal(text: str) -> None:
    with suppress(UsageError):
        found = parse_pattern(f"pkcs11:{text}", where="x")
        assert found.covers(found)


def test_what_a_key_must_be_is_a_part_of_what_it_is() -> None:
    key = parse_address(GOOD, where="x")
    for pattern in ("pkcs11:", "pkcs11:token=My%20token", "pkcs11:?module-path=/lib/x.so", GOOD):
        assert parse_pattern(pattern, where="x").covers(key)
    for pattern in ("pkcs11:token=other", "pkcs11:serial=1", "pkcs11:object=b", "pkcs11:id=%01"):
        assert not parse_pattern(pattern, where="x").covers(key)
