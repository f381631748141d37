"""One strict way from bytes to a trusted, frozen value, for every document that is signed.

JSON as Python reads it lets the last of two equal members win, accepts NaN and integers of any
length.  A signed document that two readers understand differently is an attack, so everything
goes through :func:`parse_document`: size first, then depth, duplicate members and number forms,
then a frozen pydantic model in strict mode.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

from primum_verifier.core.errors import RefusedError
from primum_verifier.core.limits import (
    MAX_DOCUMENT_BYTES,
    MAX_DOCUMENT_DEPTH,
    MAX_LIST,
    MAX_NAME,
    MAX_TEXT,
)
from primum_verifier.core.reasons import Reason

Model = TypeVar("Model", bound=BaseModel)

_MAX_INTEGER_DIGITS = 19
_HALF_A_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")
"""An escape that may be half a surrogate pair, which is no character and cannot be written."""

_SHOWN_ERRORS = 5

FIRST_YEAR = 2000
LAST_YEAR = 2200
"""Moments outside these years are mistakes or attacks; sums with them overflow."""


def in_range(value: datetime) -> datetime:
    """The moment in UTC, if it lies in the years that a device can compute with.

    Raises:
        ValueError: it does not; sums of dates near the ends of the calendar overflow.
    """
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise ValueError(f"the year is not between {FIRST_YEAR} and {LAST_YEAR}")
    return value.astimezone(UTC)


def _plain_time(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})"
)


def _written_as_a_time(value: object) -> object:
    # The library takes seconds since 1970 and other forms for a time as well.
    if not isinstance(value, str):
        return value
    if not _RFC_3339.fullmatch(value):
        raise ValueError("no time as RFC 3339 writes it")
    return datetime.fromisoformat(value)


Time = Annotated[
    AwareDatetime,
    BeforeValidator(_written_as_a_time),
    AfterValidator(in_range),
    PlainSerializer(_plain_time, return_type=str),
]
"""A moment in UTC (RFC 3339); a time without a zone is refused."""

Name = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=MAX_NAME, pattern=r"^[A-Za-z0-9][A-Za-z0-9._+:@/ -]*$"
    ),
]
"""An identifier in plain ASCII: look-alike letters cannot pass for one another."""

Slug = Annotated[
    str, StringConstraints(min_length=1, max_length=80, pattern=r"^[a-z0-9][a-z0-9._-]*$")
]
"""A lower-case name that is also a safe file and topic segment."""

Version = Annotated[
    str,
    StringConstraints(
        max_length=80,
        pattern=r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
        r"(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$",
    ),
]
"""A version in the form of Semantic Versioning 2.0.0."""

Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]


def _no_group(value: str) -> str:
    # Reserved in ISO 3166-1 for the European Union, the eurozone and the United Nations.
    if value in {"EU", "EZ", "UN"}:
        raise ValueError("a group of countries is no country: write its members out")
    return value


Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$"), AfterValidator(_no_group)]
"""ISO 3166-1 alpha-2, upper case, no wildcard and no group: who signs writes countries out."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Urn = Annotated[str, StringConstraints(pattern=r"^urn:uuid:[0-9a-f-]{36}$")]
Decimal = Annotated[
    str, StringConstraints(max_length=40, pattern=r"^-?[0-9]+(\.[0-9]+)?(e-?[0-9]{1,2})?$")
]
"""A decimal number as text, so that every reader sees the same digits."""

MemberName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z][a-zA-Z0-9]{0,79}$")]
Count = Annotated[int, Field(ge=0, le=2**53)]
Positive = Annotated[int, Field(ge=1, le=2**53)]
SchemaVersion = Annotated[str, StringConstraints(pattern=r"^0\.1$")]
"""The one schema generation that this build reads; below 1.0 each minor is its own generation."""


class UnknownCriticalMemberError(ValueError):
    """A document names a member as critical that this build does not know."""


class Document(BaseModel):
    """The base of every signed document and of its parts: frozen, strict, closed.

    Unknown members are refused: a restriction that a newer tool adds must never be ignored by
    an older device.
    """

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
    )

    def to_bytes(self) -> bytes:
        """The document as canonical bytes: sorted members, no spaces, one newline at the end.

        Members that say what they would say by being left out are left out.
        """
        content = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return canonical_json(content)


class OpenDocument(Document):
    """A document that a newer tool may add to: unknown members are kept, shown and ignored.

    Only the outermost object of a document is open.  ``crit`` names the members that a reader
    must understand: one that it does not know makes the whole document unreadable to it, so a
    restriction added later is never passed over (RFC 7515 4.1.11 has the same rule).  Whatever
    grants or restricts stands in closed objects, which refuse unknown members.
    """

    model_config = ConfigDict(extra="allow")

    crit: Annotated[tuple[MemberName, ...], Field(max_length=50)] = ()

    @model_validator(mode="after")
    def _critical_members_are_known(self) -> Self:
        known = {field.alias or name for name, field in type(self).model_fields.items()}
        for name in self.crit:
            if name not in known:
                raise UnknownCriticalMemberError("a critical member is not known here")
        return self

    @property
    def not_understood(self) -> tuple[str, ...]:
        """The members that this build does not know, for people to see."""
        return tuple(sorted(self.model_extra or {}))


class DigestSet(Document):
    """An in-toto DigestSet; SHA-256 is required and no weaker digest is read."""

    sha256: Sha256


class ResourceDescriptor(Document):
    """An in-toto ResourceDescriptor: one thing by name and digest."""

    name: Name
    digest: DigestSet
    media_type: Name | None = None


def canonical_json(content: object) -> bytes:
    """The one byte form in which this project writes JSON that will be signed or hashed."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode() + b"\n"


def sha256_hex(data: bytes) -> str:
    """SHA-256 of ``data`` in lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"member {twice[:MAX_NAME]!r} stands twice in one object")
    if len(members) > MAX_LIST:
        raise ValueError(f"more than {MAX_LIST} members in one object")
    return members


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number of JSON (RFC 8259)")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number beyond what a computer holds")
    return number


def _bounded_integer(text: str) -> int:
    if len(text) > _MAX_INTEGER_DIGITS:
        raise ValueError(f"integer of {len(text)} digits")
    return int(text)


def _nesting(data: bytes, *, enough: int) -> int:
    """The deepest nesting in ``data``, counted outside strings without building anything.

    Where there are no more than ``enough`` brackets it is their number, which the nesting cannot
    exceed: most documents have few, and walking through one costs as much as parsing it.
    """
    if (brackets := data.count(b"{") + data.count(b"[")) <= enough:
        return brackets
    deepest = depth = 0
    for token in re.finditer(rb'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', data, re.DOTALL):
        first = token.group()[:1]
        if first in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif first in b"]}":
            depth -= 1
    return deepest


def read_json(
    data: bytes,
    *,
    where: str,
    max_bytes: int = MAX_DOCUMENT_BYTES,
    max_depth: int = MAX_DOCUMENT_DEPTH,
) -> Any:  # noqa: ANN401 - whatever JSON holds; a model gives it a type next
    """Read JSON as a hostile input: bounded size and depth, no duplicate members, no NaN.

    Raises:
        RefusedError: ``document.invalid``; nothing about ``data`` may be concluded from it.
    """

    def refuse(found: str, expected: str) -> RefusedError:
        return RefusedError(
            "The document cannot be read.",
            reason=Reason.DOCUMENT_INVALID,
            where=where,
            found=found,
            expected=expected,
            remedy="Ask the publisher for the document again; a device keeps what it has.",
        )

    if len(data) > max_bytes:
        raise refuse(f"{len(data)} bytes", f"at most {max_bytes} bytes")
    if (depth := _nesting(data, enough=max_depth)) > max_depth:
        raise refuse(f"{depth} levels of nesting", f"at most {max_depth} levels")
    try:
        content = json.loads(
            data.decode("utf-8", "strict"),
            object_pairs_hook=_refuse_duplicates,
            parse_constant=_refuse_constant,
            parse_int=_bounded_integer,
            parse_float=_finite,
        )
        if _HALF_A_PAIR.search(data):
            # Whether it stands alone shows when the text is encoded (RFC 8259 8.2).
            canonical_json(content)
        return content
    except (ValueError, RecursionError) as error:
        raise refuse(str(error)[:MAX_NAME], "one JSON value in UTF-8") from error


def parse_document(
    model: type[Model],
    data: bytes,
    *,
    where: str,
    max_bytes: int = MAX_DOCUMENT_BYTES,
    by_name: bool = False,
) -> Model:
    """Parse the bytes of one document into its frozen model.

    Args:
        model: the document's class.
        data: the exact bytes that were signed or hashed.
        where: the name a person knows the document by; it heads the error.
        max_bytes: the largest size that is read at all.
        by_name: whether members may also be spelled as in Python; for what people write by hand
            and nobody signs.

    Raises:
        RefusedError: ``document.invalid`` naming up to five members that are wrong, or
            ``eligibility.crit-unknown`` for a critical member that this build does not know.
            The values found are not quoted: a hostile document must not write into a log.
    """
    read_json(data, where=where, max_bytes=max_bytes)
    try:
        # By the published spelling alone: our own spelling of a member is another member.
        return model.model_validate_json(data, by_alias=True, by_name=by_name)
    except ValidationError as error:
        errors = error.errors(include_input=False, include_url=False)
        problems = [
            f"{'.'.join(str(part)[:MAX_NAME] for part in item['loc']) or 'document'}: {item['msg']}"
            for item in errors[:_SHOWN_ERRORS]
        ]
        unknown = any(
            isinstance(item.get("ctx", {}).get("error"), UnknownCriticalMemberError)
            for item in errors
        )
        name = model.__name__.lstrip("_")
        raise RefusedError(
            f"The document is not a valid {name}.",
            reason=Reason.ELIGIBILITY_CRIT_UNKNOWN if unknown else Reason.DOCUMENT_INVALID,
            where=where,
            found="; ".join(problems),
            expected=f"the members of {name} and no others",
            remedy="Compare with the published schema of this document.",
        ) from error
