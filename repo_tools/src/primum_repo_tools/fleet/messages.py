"""One message of a device as it arrived: an event, a head, a report, or why it is none.

Nothing here is believed yet: whose word it is, is the chain's and the keys' to say.  An event of a
kind that this build does not know is an event all the same: it is part of the chain, and a receiver
that is older than a device must not break it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from primum_verifier.core.document import parse_document, read_json, sha256_hex
from primum_verifier.core.envelope import HEAD_PAYLOAD_TYPE, open_envelope
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.limits import KIB
from primum_verifier.core.reasons import Reason
from primum_verifier.record.chain import MAX_EVENT_BYTES, ChainHead
from primum_verifier.record.health import MAX_HEALTH_BYTES, HealthReport, StatusReport
from primum_verifier.record.key_change import KeyChange, read_key_change
from primum_verifier.record.monitor_report import MAX_MONITOR_BYTES, MonitorReport

Told = TypeVar("Told", bound=BaseModel)

MAX_SEQUENCE = 2**53
MAX_REPORT_BYTES = max(MAX_HEALTH_BYTES, MAX_MONITOR_BYTES)
MAX_PACKET_BYTES = MAX_EVENT_BYTES + 4 * KIB
"""The largest packet that a broker is asked for: an event with its topic and properties."""

_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
_URN = re.compile(r"urn:uuid:[0-9a-f-]{36}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SEQUENCE = re.compile(r"[0-9]{20}")
_KIND = re.compile(r"[a-z0-9.-]{1,200}")


class End(StrEnum):
    """The last part of a topic: what a message on it claims to be."""

    PROVENANCE = "provenance"
    HEAD = "head"
    HEALTH = "health"
    STATUS = "status"
    MONITOR = "monitor"


@dataclass(frozen=True)
class Message:
    """What a broker handed over.

    Attributes:
        device: the device that the topic names; empty where it names none.
        end: what it claims to be.
        payload: its exact bytes.
    """

    device: str
    end: End
    payload: bytes


@dataclass(frozen=True)
class Claim:
    """What an event says of a thing that exists once for all devices: its version, its digest."""

    subject: str
    version: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class Event:
    """A link of a device's chain, by its own word."""

    sequence: int
    hash: str
    previous: str
    id: str
    kind: str
    line: bytes
    change: KeyChange | None
    claims: tuple[Claim, ...]


@dataclass(frozen=True, kw_only=True)
class Head:
    """What some key signed over an event; which key, the store looks at."""

    sequence: int
    hash: str
    digest: str
    line: bytes


@dataclass(frozen=True, kw_only=True)
class Report:
    """A status, a report of health or a window.

    Attributes:
        end: which of the two.
        said_at: when it was said; empty for a status, which says no time.
        roles: the versions and digests of trusted roles that a report of health names.
    """

    end: End
    said_at: str
    roles: tuple[Claim, ...] = ()
    digest: str
    line: bytes


Parsed = Event | Head | Report


def is_name(text: str) -> bool:
    """Whether a text can name a fleet, a device or a receiver: one part of a topic, no wildcard."""
    return _SLUG.fullmatch(text) is not None


def split_topic(topic: str, *, fleet: str) -> tuple[str, End]:
    """Device and end of a topic of this fleet.

    Raises:
        RefusedError: ``document.invalid``: it is none of the topics of a device.
    """
    parts = topic.split("/")
    ends = {str(end) for end in End}
    named = len(parts) == len(("primum", "FLEET", "DEVICE", "END"))
    if not named or parts[:2] != ["primum", fleet] or parts[3] not in ends:
        raise _refused("no topic of a device", topic[:200])
    if not is_name(parts[2]):
        raise _refused("no name of a device", parts[2][:100])
    return parts[2], End(parts[3])


def parse(message: Message) -> Parsed:
    """What a message is.

    Raises:
        RefusedError: it is none of what it claims to be; nothing of it is believed.
    """
    if b"\n" in message.payload or b"\r" in message.payload:
        # A history is one document a line, and the digest covers the exact bytes.
        raise _refused("more than one line", f"{len(message.payload)} bytes")
    match message.end:
        case End.PROVENANCE:
            return _event(message.payload, device=message.device)
        case End.HEAD:
            return _head(message.payload, device=message.device)
        case End.HEALTH:
            health = _told(HealthReport, message.payload, where="health")
            _same_device(health.source.rpartition(":")[2], message.device)
            said, roles = health.time.strftime("%Y-%m-%dT%H:%M:%SZ"), tuple(_roles(health))
        case End.MONITOR:
            window = _told(MonitorReport, message.payload, where="monitor")
            _same_device(window.source.rpartition(":")[2], message.device)
            said, roles = window.time.strftime("%Y-%m-%dT%H:%M:%SZ"), ()
        case End.STATUS:
            status = _told(StatusReport, message.payload, where="status")
            _same_device(status.device_id, message.device)
            said, roles = "", ()
    return Report(
        end=message.end,
        said_at=said,
        digest=sha256_hex(message.payload),
        line=message.payload,
        roles=roles,
    )


def _told(model: type[Told], payload: bytes, *, where: str) -> Told:
    """A report; members that only a newer agent writes are kept in its bytes and not looked at.

    Whatever a report restricts, it restricts nobody: it is a device's word, and shown as that.
    """
    read_json(payload, where=where, max_bytes=MAX_REPORT_BYTES)
    try:
        return model.model_validate_json(payload, by_alias=True, by_name=False, extra="ignore")
    except ValidationError:
        # The published form says what is wrong with it.
        return parse_document(model, payload, where=where, max_bytes=MAX_REPORT_BYTES)


def _roles(health: HealthReport) -> Iterator[Claim]:
    """One version of a role exists once below the root that a trust map pins."""
    for authority, told in sorted(health.data.roles.items()):
        for role, found in sorted(told.roles.items()):
            if told.pinned_root is not None and found.version <= MAX_SEQUENCE:
                subject = f"role {role} of {authority} {told.pinned_root}"
                yield Claim(subject, found.version, found.sha256)


def _event(line: bytes, *, device: str) -> Event:
    content = read_json(line, where="event", max_bytes=MAX_EVENT_BYTES)
    if not isinstance(content, dict) or not isinstance(content.get("data"), dict):
        raise _refused("no event", type(content).__name__)
    data: dict[str, Any] = content["data"]
    forms = {
        "id": (content.get("id"), _URN),
        "type": (content.get("type"), _KIND),
        "sequence": (content.get("sequence"), _SEQUENCE),
        "data.prevEventHash": (data.get("prevEventHash"), _SHA256),
    }
    for name, (value, form) in forms.items():
        if not isinstance(value, str) or not form.fullmatch(value):
            raise _refused("no event", f"{name} is not what it is in an event")
    sequence, digest = int(content["sequence"]), sha256_hex(line)
    if not 1 <= sequence <= MAX_SEQUENCE:
        raise _refused("no event", "its number is none that a device reaches")
    source = content.get("source")
    _same_device(
        source.removeprefix("urn:primum:device:") if isinstance(source, str) else "", device
    )
    return Event(
        sequence=sequence,
        hash=digest,
        previous=data["prevEventHash"],
        id=content["id"],
        kind=content["type"],
        line=line,
        change=read_key_change(content, sequence=sequence, event_hash=digest, where="event"),
        claims=tuple(_claims(data)),
    )


def _claims(data: dict[str, Any]) -> list[Claim]:
    """The release and the statement that an event puts in use, where it names them in full."""
    change = data.get("change")
    made = change.get("generation") if isinstance(change, dict) else None
    if not isinstance(made, dict):
        return []
    component, release, statement = (
        made.get(name) for name in ("component", "release", "statement")
    )
    counter, number = made.get("counter"), made.get("statement_number")
    named = all(isinstance(item, str) for item in (component, release, statement))
    numbered = all(
        isinstance(item, int) and not isinstance(item, bool) and 0 < item <= MAX_SEQUENCE
        for item in (counter, number)
    )
    if not named or not numbered:
        return []
    if not _SLUG.fullmatch(str(component)) or not all(
        _SHA256.fullmatch(str(item)) for item in (release, statement)
    ):
        return []
    return [
        Claim(f"release counter of {component}", int(str(counter)), str(release)),
        Claim(f"eligibility statement of {release}", int(str(number)), str(statement)),
    ]


def _head(line: bytes, *, device: str) -> Head:
    opened = open_envelope(line, payload_type=HEAD_PAYLOAD_TYPE, keys=(), where="head")
    head = parse_document(ChainHead, opened.payload, where="head")
    _same_device(head.device_id, device)
    return Head(sequence=head.sequence, hash=head.event_hash, digest=sha256_hex(line), line=line)


def _same_device(found: str, expected: str) -> None:
    if found != expected:
        raise RefusedError(
            "A message of one device came on the topic of another.",
            reason=Reason.TRUST_SIGNATURE,
            found=found[:100],
            expected=expected,
        )


def _refused(message: str, found: str) -> RefusedError:
    return RefusedError(f"The message is {message}.", reason=Reason.DOCUMENT_INVALID, found=found)
