"""A key that never leaves its token: P-256 or Ed25519 over PKCS#11, one session for each act.

A TPM is a token, too, where a PKCS#11 module stands in front of it.  The module is foreign code
that runs in this process: short-lived children and commands load it, the supervisor never does.
Every error of the module is one of the ``key.*`` reasons here, and a PIN that was refused is not
tried again (:class:`primum_agent.secret_files.RefusedSecret`).
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from securesystemslib.signer import SSlibKey

from primum_agent.key_address import TokenAddress
from primum_agent.key_errors import UnusableKeyError
from primum_agent.secret_files import RefusedSecret, read_secret, secret_path
from primum_verifier.core.envelope import PublicKey, public_key_of
from primum_verifier.core.reasons import Reason

_P256_OID = "1.2.840.10045.3.1.7"
_ED25519_OID = "1.3.101.112"
_COORDINATE_BYTES = 32
_POINT_BYTES = {65: "P-256", 32: "Ed25519"}
_DER_OCTETS = 0x04
_ID_BYTES = 16
_MEANT = "one P-256 or Ed25519 key that signs, with its public half, on a token that is there"


class TokenKeyType(StrEnum):
    """What kind of key is made on a token."""

    P256 = "p256"
    ED25519 = "ed25519"


class TokenSigner:
    """One private key on one token.

    Args:
        address: where it is.
        refused: where a refused PIN is remembered.

    Raises:
        UnusableKeyError: ``key.*``: it cannot be used now.
    """

    def __init__(self, address: TokenAddress, *, refused: Path) -> None:
        self._address = address
        self._refused = RefusedSecret(refused)
        with self._private() as (_, public):
            self._public = public

    @property
    def address(self) -> TokenAddress:
        """Where the key is."""
        return self._address

    def public_key(self) -> PublicKey:
        """See :class:`primum_agent.signer.Signer`."""
        return self._public

    def sign(self, data: bytes) -> bytes:
        """A signature over these bytes, in the form that DSSE carries.

        Raises:
            UnusableKeyError: ``key.*``: it cannot be used now.
        """
        with self._private() as (private, public):
            return _sign(_module(), private, public, data)

    @contextlib.contextmanager
    def _private(self) -> Iterator[tuple[Any, PublicKey]]:
        with _session(self._address, refused=self._refused) as session:
            private = _private_key(session, self._address)
            yield private, _public_half(session, private, self._address)


def make_token_key(address: TokenAddress, *, kind: TokenKeyType, refused: Path) -> TokenSigner:
    """Make a key on the token; it cannot be read out of it.

    Args:
        address: the label, the id or both that it gets; a key that is there already stays.
        kind: what kind of key.
        refused: see :class:`TokenSigner`.

    Raises:
        UnusableKeyError: ``key.*``: the token does not make it.
    """
    pkcs11 = _module()
    number = address.id or secrets.token_bytes(_ID_BYTES)
    ed25519 = kind is TokenKeyType.ED25519
    key_type = pkcs11.KeyType.EC_EDWARDS if ed25519 else pkcs11.KeyType.EC
    oid = _ED25519_OID if ed25519 else _P256_OID
    mechanism = (
        pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN if ed25519 else pkcs11.Mechanism.EC_KEY_PAIR_GEN
    )
    attribute = pkcs11.Attribute
    curve = pkcs11.util.ec.encode_named_curve_parameters(oid)
    with _session(address, refused=RefusedSecret(refused), writes=True) as session:
        parameters = session.create_domain_parameters(
            key_type, {attribute.EC_PARAMS: curve}, local=True
        )
        parameters.generate_keypair(
            id=number,
            label=address.label,
            store=True,
            mechanism=mechanism,
            capabilities=pkcs11.MechanismFlag.SIGN | pkcs11.MechanismFlag.VERIFY,
            # No key on a curve encrypts; a TPM's module does not even take it said that it may not.
            public_template={attribute.ENCRYPT: pkcs11.constants.DEFAULT},
            private_template={
                attribute.DECRYPT: pkcs11.constants.DEFAULT,
                attribute.PRIVATE: True,
                attribute.SENSITIVE: True,
                attribute.EXTRACTABLE: False,
            },
        )
    return TokenSigner(address.with_id(number), refused=refused)


def remove_token_key(address: TokenAddress, *, refused: Path) -> int:
    """Destroy every object of this address on the token; how many there were.

    Raises:
        UnusableKeyError: ``key.*``: the token is not there, or does not let go of it.
    """
    gone = 0
    with _session(address, refused=RefusedSecret(refused), writes=True) as session:
        for item in list(session.get_objects(_wanted(address))):
            item.destroy()
            gone += 1
    return gone


def refuse_what_can_be_read_out(signer: TokenSigner, *, refused: Path) -> None:
    """A key that a token gives away protects no more than a file, and looks as if it did.

    Raises:
        UnusableKeyError: ``key.unusable``.
    """
    attribute = _module().Attribute
    with _session(signer.address, refused=RefusedSecret(refused)) as session:
        private = _private_key(session, signer.address)
        if private[attribute.EXTRACTABLE]:
            raise _error(
                "The key can be read out of the token.",
                signer.address,
                reason=Reason.KEY_UNUSABLE,
                found="CKA_EXTRACTABLE is true",
                remedy="Name an object that is not there yet: enrolment makes it on the token.",
            )


def _module() -> ModuleType:
    """The library that speaks PKCS#11, which only devices with a token have."""
    try:
        import pkcs11  # noqa: PLC0415 - an extra of the distribution
        import pkcs11.util.ec  # noqa: PLC0415 - as above
    except ImportError as error:
        raise UnusableKeyError(
            "This agent was installed without the means to reach a token.",
            reason=Reason.KEY_MODULE,
            where="python-pkcs11",
            found=str(error),
            expected="the extra primum-agent[pkcs11]",
            remedy="Install the agent with its extra: primum-agent[pkcs11].",
        ) from error
    found: ModuleType = pkcs11
    return found


@contextlib.contextmanager
def _session(
    address: TokenAddress, *, refused: RefusedSecret, writes: bool = False
) -> Iterator[Any]:
    """An open session on the one token of an address."""
    pkcs11 = _module()
    with _told(pkcs11, address):
        token = _token(pkcs11, address)
        if not address.pin_source:
            with token.open(rw=writes) as session:
                yield session
            return
        source = secret_path(address.pin_source)
        pin = read_secret(source)
        refused.check(source)
        try:
            opened = token.open(rw=writes, user_pin=pin.decode(errors="surrogateescape"))
        except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange):
            refused.remember(source)
            raise
        refused.forget()
        with opened as session:
            yield session


def _token(pkcs11: ModuleType, address: TokenAddress) -> Any:  # noqa: ANN401 - foreign
    try:
        # The library tells a missing file and a module that does not start alike.
        library = pkcs11.lib(address.module)
    except (RuntimeError, OSError) as error:
        raise _error(
            "The PKCS#11 module cannot be loaded.",
            address,
            reason=Reason.KEY_MODULE,
            found=f"{type(error).__name__}: {error}"[:200],
            remedy="Install the module, or correct module-path in the key's address.",
        ) from error
    tokens = [item for item in library.get_tokens() if _is_meant(item, address)]
    if len(tokens) == 1:
        return tokens[0]
    reason = Reason.KEY_AMBIGUOUS if tokens else Reason.KEY_TOKEN
    raise _error(
        "More than one token is meant." if tokens else "The token is not there.",
        address,
        reason=reason,
        found=f"{len(tokens)} tokens",
        remedy="Name its serial as well." if tokens else "Put the token back, or start its driver.",
    )


def _is_meant(token: Any, address: TokenAddress) -> bool:  # noqa: ANN401 - foreign
    found = {
        "token": token.label,
        "serial": token.serial.decode(errors="replace"),
        "manufacturer": token.manufacturer_id,
        "model": token.model,
    }
    return all(str(found[name]).strip() == value for name, value in address.token.items())


@contextlib.contextmanager
def _told(pkcs11: ModuleType, address: TokenAddress) -> Iterator[None]:
    """Translate whatever the module raises, once."""
    try:
        yield
    except UnusableKeyError:
        raise
    except pkcs11.PKCS11Error as error:
        name = type(error).__name__
        reason, message, remedy = _MEANINGS.get(
            name, (Reason.KEY_UNUSABLE, "The token refused.", "Look at the token with its tools.")
        )
        raise _error(
            message, address, reason=reason, found=f"{name} {error}".strip(), remedy=remedy
        ) from error


_PIN = (
    Reason.KEY_SECRET,
    "The token does not take the PIN.",
    "Write the right PIN into the file that pin-source names; it is not tried again before.",
)
_GONE = (
    Reason.KEY_TOKEN,
    "The token went away, or does not work.",
    "Put the token back, or start its driver; the agent tries again.",
)
_OTHER_KIND = (
    Reason.KEY_UNUSABLE,
    "The token does not make or use this kind of key.",
    "Take a kind that it has: --key-type p256 is the one that every TPM has.",
)
_MEANINGS: dict[str, tuple[Reason, str, str]] = {
    **dict.fromkeys(("MechanismInvalid", "CurveNotSupported", "DomainParamsInvalid"), _OTHER_KIND),
    **dict.fromkeys(
        (
            "PinIncorrect",
            "PinInvalid",
            "PinLenRange",
            "PinExpired",
            "PinLocked",
            "PinTooWeak",
            "UserNotLoggedIn",
            "UserPinNotInitialized",
        ),
        _PIN,
    ),
    **dict.fromkeys(
        (
            "DeviceRemoved",
            "DeviceError",
            "FunctionFailed",
            "GeneralError",
            "TokenNotPresent",
            "TokenNotRecognised",
            "SessionHandleInvalid",
            "SessionClosed",
            "SlotIDInvalid",
            "ObjectHandleInvalid",
            "KeyHandleInvalid",
        ),
        _GONE,
    ),
}


def _wanted(address: TokenAddress) -> dict[Any, Any]:
    attribute = _module().Attribute
    wanted: dict[Any, Any] = {}
    if address.label:
        wanted[attribute.LABEL] = address.label
    if address.id:
        wanted[attribute.ID] = address.id
    return wanted


def _private_key(session: Any, address: TokenAddress) -> Any:  # noqa: ANN401 - foreign
    pkcs11 = _module()
    wanted = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY, **_wanted(address)}
    return _only(list(session.get_objects(wanted)), address, what="private key")


def _only(found: list[Any], address: TokenAddress, *, what: str) -> Any:  # noqa: ANN401 - foreign
    if len(found) == 1:
        return found[0]
    if not found:
        raise _error(
            f"There is no such {what} on the token.",
            address,
            reason=Reason.KEY_ABSENT,
            found="nothing of this label and id that the agent may see",
            remedy="Correct object and id; without pin-source, private objects are not seen.",
        )
    raise _error(
        f"More than one {what} is meant.",
        address,
        reason=Reason.KEY_AMBIGUOUS,
        found=f"{len(found)} objects",
        remedy="Name the id of the right one as well, or remove the others.",
    )


def _public_half(session: Any, private: Any, address: TokenAddress) -> PublicKey:  # noqa: ANN401
    """The public key object with the private one's id: a PKCS#11 token keeps the two apart."""
    pkcs11 = _module()
    attribute = pkcs11.Attribute
    wanted = {attribute.CLASS: pkcs11.ObjectClass.PUBLIC_KEY}
    number = private[attribute.ID]
    wanted |= {attribute.ID: number} if number else {attribute.LABEL: address.label}
    public = _only(list(session.get_objects(wanted)), address, what="public key")
    point = bytes(public[attribute.EC_POINT]) if _is_curve(pkcs11, public) else b""
    # The standard wraps the point in an OCTET STRING; some modules do not.
    if len(point) - 2 in _POINT_BYTES and point[:2] == bytes([_DER_OCTETS, len(point) - 2]):
        point = point[2:]
    key: EllipticCurvePublicKey | Ed25519PublicKey
    try:
        if _POINT_BYTES.get(len(point)) == "P-256":
            key = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point)
        else:
            key = Ed25519PublicKey.from_public_bytes(point)
    except ValueError as error:
        raise _error(
            "The key on the token is of another kind.",
            address,
            reason=Reason.KEY_UNUSABLE,
            found=f"{public.key_type!r}, {len(point)} bytes",
            remedy="Name another object, or let enrolment make one.",
        ) from error
    return public_key_of(SSlibKey.from_crypto(key))


def _is_curve(pkcs11: ModuleType, public: Any) -> bool:  # noqa: ANN401 - foreign
    return public.key_type in {pkcs11.KeyType.EC, pkcs11.KeyType.EC_EDWARDS}


def _sign(pkcs11: ModuleType, private: Any, public: PublicKey, data: bytes) -> bytes:  # noqa: ANN401
    if public.key_type == "ed25519":
        return bytes(private.sign(data, mechanism=pkcs11.Mechanism.EDDSA))
    digest = hashlib.sha256(data).digest()
    raw = bytes(private.sign(digest, mechanism=pkcs11.Mechanism.ECDSA))
    halves = (raw[:_COORDINATE_BYTES], raw[_COORDINATE_BYTES:])
    return encode_dss_signature(*(int.from_bytes(half, "big") for half in halves))


def _error(
    message: str, address: TokenAddress, *, reason: Reason, found: str, remedy: str
) -> UnusableKeyError:
    return UnusableKeyError(
        message, reason=reason, where=str(address), found=found, expected=_MEANT, remedy=remedy
    )
