"""Where a key on a token is found: one RFC 7512 ``pkcs11:`` URI, parsed strictly.

An address names one private key on one token, the module that reaches it, and the file that holds
the PIN.  It never holds the PIN: ``pin-value`` is refused, and so is a command as ``pin-source``.
What is not known is refused, as RFC 7512 asks of a consumer that cannot honour an attribute.

Example::

    pkcs11:token=device;object=primum?module-path=/usr/lib/softhsm/libsofthsm2.so
        &pin-source=credential:primum.pin
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason

SCHEME = "pkcs11:"
MAX_ADDRESS = 2048
"""Characters; longer is no address that a person or a tool wrote."""

_TOKEN_ATTRIBUTES = ("token", "serial", "manufacturer", "model")
_PATH = (*_TOKEN_ATTRIBUTES, "object", "id", "type")
_QUERY = ("module-path", "pin-source")
_ESCAPED = re.compile(r"(?:[A-Za-z0-9._~:\[\]@!$'()*+,=&/?|-]|%[0-9A-Fa-f]{2})*")
_MEANT = (
    "pkcs11:token=LABEL;object=LABEL?module-path=/path/to/module.so&pin-source=file:/path/to/pin"
)


@dataclass(frozen=True, kw_only=True)
class TokenAddress:
    """One private key on one token.

    Attributes:
        token: what the token must be, by RFC 7512 name: ``token`` (its label), ``serial``,
            ``manufacturer``, ``model``; at least one of them.
        label: the key's label (``object``); empty where only the id counts.
        id: the key's id; empty where only the label counts.
        module: the absolute path of the PKCS#11 module; empty in an address that only says what
            a key must be.
        pin_source: where the PIN lies: an absolute path, or ``credential:NAME``; empty for a
            token that asks for none.
    """

    token: Mapping[str, str] = field(default_factory=dict)
    label: str = ""
    id: bytes = b""
    module: str = ""
    pin_source: str = ""

    def __str__(self) -> str:
        parts = [f"{name}={quote(value, safe='')}" for name, value in self.token.items()]
        if self.label:
            parts.append(f"object={quote(self.label, safe='')}")
        if self.id:
            parts.append(f"id={quote_from_bytes(self.id, safe='')}")
        asked = []
        if self.module:
            asked.append(f"module-path={quote(self.module)}")
        if self.pin_source:
            asked.append(f"pin-source={quote(self.pin_source, safe='/:')}")
        return SCHEME + ";".join(parts) + ("?" + "&".join(asked) if asked else "")

    def covers(self, other: TokenAddress) -> bool:
        """Whether what this address asks for is true of ``other``, as RFC 7512 matches URIs."""
        return (
            all(other.token.get(name) == value for name, value in self.token.items())
            and self.label in {"", other.label}
            and self.id in {b"", other.id}
            and self.module in {"", other.module}
            and self.pin_source in {"", other.pin_source}
        )

    def with_id(self, number: bytes) -> TokenAddress:
        """The same with the id that the token gave the key."""
        return replace(self, id=number)


def is_address(text: str) -> bool:
    """Whether a text means a key on a token, rather than being a key."""
    return text.lstrip()[: len(SCHEME)].lower() == SCHEME


def parse_address(text: str, *, where: str) -> TokenAddress:
    """The address of a key that can be opened.

    Args:
        text: the URI.
        where: the option or file that it stands in.

    Raises:
        UsageError: it is none, or names no module, no token or no key.
    """
    found = parse_pattern(text, where=where)
    if not found.module:
        raise _wrong(where, "no module-path")
    if not found.token:
        raise _wrong(where, "neither token nor serial")
    if not found.label and not found.id:
        raise _wrong(where, "neither object nor id")
    return found


def parse_pattern(text: str, *, where: str) -> TokenAddress:
    """What an address must be like; each attribute may be left away.

    Raises:
        UsageError: it is no ``pkcs11:`` URI that the agent can honour.
    """
    if len(text) > MAX_ADDRESS or not text.startswith(SCHEME):
        raise _wrong(where, "no pkcs11: URI" if len(text) <= MAX_ADDRESS else "a longer one")
    path, _, query = text.removeprefix(SCHEME).partition("?")
    parts = _attributes(path, ";", _PATH, where=where)
    asked = _attributes(query, "&", _QUERY, where=where)
    texts = {name: _text(value, name, where) for name, value in parts.items() if name != "id"}
    if texts.pop("type", "private") != "private":
        raise _wrong(where, "another type than private")
    module = _text(asked.get("module-path", b""), "module-path", where)
    if module and not module.startswith("/"):
        raise _wrong(where, "a module-path that is not absolute")
    return TokenAddress(
        token={name: texts[name] for name in _TOKEN_ATTRIBUTES if name in texts},
        label=texts.get("object", ""),
        id=parts.get("id", b""),
        module=module,
        pin_source=_pin_source(_text(asked.get("pin-source", b""), "pin-source", where), where),
    )


def _attributes(text: str, mark: str, known: tuple[str, ...], *, where: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in filter(None, text.split(mark)):
        name, equals, value = part.partition("=")
        if name == "pin-value":
            raise _wrong(where, "pin-value: a PIN lies in a file, never in an address")
        if not equals or name not in known or not value:
            raise _wrong(where, f"the attribute {name[:40]!r}")
        if name in found:
            raise _wrong(where, f"{name} twice")
        if not _ESCAPED.fullmatch(value):
            raise _wrong(where, f"a character in {name} that must be escaped")
        found[name] = unquote_to_bytes(value)
    return found


def _text(value: bytes, name: str, where: str) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise _wrong(where, f"{name} that is no UTF-8") from error
    if not text.isprintable():
        raise _wrong(where, f"{name} with characters that do not print")
    return text


def _pin_source(text: str, where: str) -> str:
    """A path or a credential; ``file:`` is taken off, as RFC 8089 writes a local file."""
    if text.startswith("credential:"):
        return text
    path = text.removeprefix("file://") if text.startswith("file:///") else text
    path = path.removeprefix("file:")
    if path and not path.startswith("/"):
        raise _wrong(where, "a pin-source that is no absolute path and no credential:NAME")
    return path


def _wrong(where: str, found: str) -> UsageError:
    return UsageError(
        "This is no address of a key on a token.",
        reason=Reason.USAGE,
        where=where,
        found=found,
        expected=_MEANT,
        remedy="Write it as RFC 7512 says, with module-path and pin-source, and without a PIN.",
    )
