"""A provenance event of a device, exactly as its agent writes it, or a refusal.

An event is a CloudEvents 1.0.2 document in structured JSON.  Its digest (what a head signs, and
the next event carries as ``prevEventHash``) covers the exact stored bytes, so it cannot stand
inside: take :func:`primum_verifier.core.document.sha256_hex` of the line.  Whether a run of
events is whole is :mod:`primum_verifier.record.chain`'s question; this module's is whether one
event says what an event may say.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from primum_verifier.core.document import (
    Count,
    Document,
    Name,
    OpenDocument,
    Positive,
    Sha256,
    Slug,
    Text,
    Time,
    Urn,
    Version,
    canonical_json,
    parse_document,
)
from primum_verifier.core.envelope import PublicKey
from primum_verifier.core.limits import MAX_LIST, MAX_NAME
from primum_verifier.core.reasons import Reason
from primum_verifier.record.chain import FIRST_PREVIOUS, MAX_EVENT_BYTES
from primum_verifier.record.feedback import Feedback
from primum_verifier.record.monitor_finding import MonitorFinding
from primum_verifier.record.shadow_summary import ShadowSummary
from primum_verifier.record.words import (
    BEGINNINGS,
    ClockQuality,
    EventKind,
    EventResult,
    LifecycleState,
)

EVENT_MEDIA_TYPE = "application/cloudevents+json"

MAX_SHOWN = 100
"""Members of one event's ``detail``: it is for people, and stays on one screen."""

DeviceUri = Annotated[
    str, StringConstraints(max_length=120, pattern=r"^urn:primum:device:[a-z0-9][a-z0-9._-]*$")
]
"""The CloudEvents ``source``: whose event it is."""

Sequence = Annotated[str, StringConstraints(pattern=r"^[0-9]{20}$")]
"""A number of 20 digits, zeros in front, so that the order of texts is the order of numbers."""

_Label = Annotated[str, StringConstraints(max_length=MAX_NAME)]
_TextByRelease = Annotated[dict[Sha256, Text], Field(max_length=MAX_LIST)]
_MAY_BE_TAKEN_AWAY = frozenset({"candidate", "active", "target", "shadow"})


class Clock(Document):
    """How far the device's clock could be believed at that moment."""

    quality: ClockQuality


class EligibilityInUse(Document):
    """The statement under which the active release ran."""

    digest: Sha256
    number: Positive


class _Stored(Document):
    """A part of the device's own state, spelled as the device stores it."""

    model_config = ConfigDict(alias_generator=None)


class StoredCandidate(_Stored):
    """The release that was being worked on."""

    component: Slug
    version: Version
    release: Sha256
    tested: bool


class StoredGeneration(_Stored):
    """One set of files that was, is or may become active."""

    number: Positive
    component: Slug
    version: Version
    release: Sha256
    counter: Positive
    floor_counter: Count
    statement: Sha256
    statement_number: Positive
    health_window: Annotated[int, Field(ge=1, le=86_400)]
    max_attempts: Annotated[int, Field(ge=1, le=20)]
    proven: bool
    mode: Literal["clinical", "investigational"] = "clinical"
    data_floor_counter: Count = 0


class StoredShadow(_Stored):
    """The release that runs in shadow, beside which one, and the last window that was told."""

    component: Slug
    version: Version
    release: Sha256
    statement: Sha256
    statement_number: Positive
    beside: Sha256
    model: Sha256
    specification: Sha256
    monitoring: Sha256
    begun: Slug
    told: Count = 0


class Postponement(Document):
    """How often nobody could prove health in a row, why, and the powered seconds to wait for."""

    times: Positive
    not_before: Annotated[float, Field(ge=0)]
    why: Slug | None = None


class Change(Document):
    """What the event adds to the device's state; a member that is absent leaves it as it was.

    ``candidate``, ``active``, ``target`` and ``shadow`` may be null, which takes away what was
    there.
    """

    candidate: StoredCandidate | None = None
    active: Positive | None = None
    target: Positive | None = None
    shadow: StoredShadow | None = None
    generation: StoredGeneration | None = None
    next_generation: Positive | None = None
    collected: Annotated[tuple[Positive, ...], Field(max_length=MAX_LIST)] | None = None
    counter_floor: Count | None = None
    conclusion: _TextByRelease | None = None
    fault: _TextByRelease | None = None
    setback: Sha256 | None = None
    shadowed: Annotated[dict[Sha256, Sha256], Field(max_length=MAX_LIST)] | None = None
    unproven: Annotated[dict[Sha256, Postponement], Field(max_length=MAX_LIST)] | None = None
    forgiven: Sha256 | None = None
    agreed: _TextByRelease | None = None
    eligibility: Text | None = None
    stopped: Text | None = None
    former_key: PublicKey | None = None
    device_key: PublicKey | None = None
    reset: Literal[True] | None = None

    @model_validator(mode="after")
    def _null_takes_away(self) -> Self:
        for name in self.model_fields_set - _MAY_BE_TAKEN_AWAY:
            if getattr(self, name) is None:
                raise ValueError(f"{to_camel(name)} cannot be taken away")
        return self


class EventData(Document):
    """What happened, in which state, and which event stands before it.

    ``from``, ``to`` and ``stimulus`` stand together: a step of the state table that was taken.
    ``detail`` is for people; nothing may be concluded from its form.
    """

    prev_event_hash: Sha256
    boot_count: Count
    clock: Clock
    agent_version: Version
    state: LifecycleState
    stimulus: Slug | None = None
    left: LifecycleState | None = Field(default=None, alias="from")
    to: LifecycleState | None = None
    attempt: Slug | None = None
    result: EventResult | None = None
    reasons: Annotated[tuple[Reason, ...], Field(max_length=len(Reason))] = ()
    change: Change = Change()
    detail: Annotated[dict[_Label, JsonValue], Field(max_length=MAX_SHOWN)] = Field(
        default_factory=dict
    )
    active_manifest: Sha256 | None = None
    eligibility: EligibilityInUse | None = None
    shadow: ShadowSummary | None = None
    monitor: MonitorFinding | None = None
    feedback: Feedback | None = None

    @model_validator(mode="after")
    def _a_step_is_whole(self) -> Self:
        if len({item is None for item in (self.stimulus, self.left, self.to)}) > 1:
            raise ValueError("stimulus, from and to stand together")
        if self.to is not None and self.to != self.state:
            raise ValueError("state is not where the step led to")
        if (self.active_manifest is None) != (self.eligibility is None):
            raise ValueError("activeManifest and eligibility stand together")
        return self


class ProvenanceEvent(OpenDocument):
    """One event of a device's chain: what happened, when, under which release and eligibility."""

    specversion: Literal["1.0"]
    id: Urn
    source: DeviceUri
    type: EventKind
    sequence: Sequence
    time: Time
    recordedtime: Time = Field(alias="recordedtime")
    datacontenttype: Literal["application/json"]
    subject: Name | None = None
    data: EventData

    @model_validator(mode="after")
    def _it_has_its_place(self) -> Self:
        if self.number < 1:
            raise ValueError("events are numbered from 1")
        if (self.type in BEGINNINGS) != (self.data.prev_event_hash == FIRST_PREVIOUS):
            raise ValueError("only the first event of a journal names none before it")
        for name, part, kinds in (
            ("shadow", self.data.shadow, {EventKind.SHADOW_SUMMARY}),
            ("monitor", self.data.monitor, {EventKind.MONITOR_ALARMED, EventKind.MONITOR_QUIET}),
            ("feedback", self.data.feedback, {EventKind.FEEDBACK_GIVEN}),
        ):
            if (self.type in kinds) != (part is not None):
                raise ValueError(f"{name} stands with its own events, and only there")
        begins = self.number == 1
        if (self.type == EventKind.JOURNAL_BEGUN and not begins) or (
            begins and self.type not in BEGINNINGS
        ):
            raise ValueError("a journal begins with number 1; one that was lost continues above it")
        return self

    @property
    def number(self) -> int:
        """Its place in the device's chain, from 1."""
        return int(self.sequence)

    @property
    def device_id(self) -> str:
        """Whose event it is, by its own word; the signed head proves it."""
        return self.source.rpartition(":")[2]

    def to_bytes(self) -> bytes:
        """The event as canonical JSON, its nulls kept: they mean something in ``change``.

        These are not the bytes that were hashed, unless the device wrote them in this form.
        """
        return canonical_json(self.model_dump(mode="json", by_alias=True, exclude_unset=True))


def parse_event(line: bytes, *, where: str) -> ProvenanceEvent:
    """One event from the exact bytes of its line, without the line end.

    Raises:
        RefusedError: ``document.invalid``; it is no event that an agent writes.
    """
    return parse_document(ProvenanceEvent, line, where=where, max_bytes=MAX_EVENT_BYTES)
