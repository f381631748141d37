"""Metadata that its keys have signed and this build cannot read: a newer form, not an attack.

``tuf`` refuses a root with one key of a type that it does not know as if it were noise, and no
later root is ever reached.  A captive portal's page looks the same to it.  The difference is the
signatures: only what carries enough of the keys trusted now asks for a newer agent.
"""

from __future__ import annotations

import json
from typing import Any

from securesystemslib.exceptions import FormatError
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import Signature
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Targets

from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason


def unreadable(
    data: bytes, *, role: str, voucher: Root | Targets, authority: str
) -> RefusedError | None:
    """The error for signed metadata that cannot be read; None when ``data`` is anything else.

    Args:
        data: strict JSON of bounded size, otherwise hostile.
        role: the role it was served for.
        voucher: whose metadata says which keys sign the role.
        authority: for the error.
    """
    try:
        Metadata.from_bytes(data)
    except RepositoryError as error:
        if not _is_signed(data, role=role, voucher=voucher):
            return None
        cause: BaseException = error.__cause__ or error
        return RefusedError(
            f"{role} not readable: its keys signed it in a form that this build does not know.",
            reason=Reason.TRUST_METADATA,
            where=f"{authority}: {role}",
            found=str(cause)[:300],
            expected="metadata of a form that this build knows",
            remedy="Update the agent; until then the device keeps running on what it has.",
        )
    return None


def _is_signed(data: bytes, *, role: str, voucher: Root | Targets) -> bool:
    try:
        content: Any = json.loads(data)
        payload = encode_canonical(content["signed"])
        signatures = {
            str(item["keyid"]): Signature(str(item["keyid"]), str(item["sig"]))
            for item in content["signatures"]
        }
        if payload is None:
            return False
        voucher.verify_delegate(role, payload.encode(), signatures)
    except (RepositoryError, FormatError, ValueError, TypeError, KeyError, AttributeError):
        return False
    return True
