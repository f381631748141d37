"""What a device says of itself: the retained status, and the periodic report of its health.

Neither is provenance: they are not chained, and one that is lost is replaced by the next.  A
report says when it was written: it may have waited for the broker.  What must be proven later is
an event.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from primum_verifier.core.document import (
    Count,
    Document,
    Name,
    OpenDocument,
    Positive,
    Sha256,
    Slug,
    Time,
    Urn,
    Version,
)
from primum_verifier.core.limits import KIB, MAX_NAME
from primum_verifier.core.reasons import Reason
from primum_verifier.record.event import Clock, DeviceUri
from primum_verifier.record.request import Word
from primum_verifier.record.words import LifecycleState

MAX_HEALTH_BYTES = 64 * KIB
"""One report; a device sends it every few minutes for years."""

MAX_PROBLEMS = 200
"""Lasting troubles named in one report."""

MAX_PARTS = 100
"""Files, components and gates named in one report."""

MAX_AUTHORITIES = 4
MAX_ROLES = 64
"""Roles of one authority."""

_Told = Annotated[str, StringConstraints(max_length=2 * MAX_NAME)]
_Amount = Annotated[float, Field(ge=0)]


class Readings(Document):
    """One set of readings; null where the device has no such sensor.

    ``uptime`` is in seconds, ``load`` 1.0 for all processors, memory and disk in bytes,
    ``battery`` in percent and ``temperature`` in degrees Celsius.
    """

    model_config = ConfigDict(alias_generator=None)

    uptime: _Amount
    load: _Amount
    memory_free: Count
    agent_memory: Count
    disk_free: Count | None = None
    battery: Annotated[float, Field(ge=0, le=100)] | None = None
    charging: bool | None = None
    temperature: Annotated[float, Field(ge=-100, le=200)] | None = None


class WhatRuns(Document):
    """The release in use, or the declared safe mode, in which no release is in use."""

    mode: Literal["safe", "clinical", "investigational"]
    state: LifecycleState
    component: Slug | None = None
    version: Version | None = None
    release: Sha256 | None = None
    statement_number: Positive | None = None
    proven: bool | None = None

    @model_validator(mode="after")
    def _safe_mode_runs_nothing(self) -> Self:
        _agree(self.mode, self)
        return self


class Requests(Document):
    """How much was asked of the device since its agent started, and how much of it was refused."""

    taken: Count
    refused: Count


class ItemInUse(Document):
    """One signed file of the release in use."""

    id: Name
    kind: Slug
    sha256: Sha256


class EligibilityTold(Document):
    """The statement in force, and how old what the device knows of the clinical side is.

    ``acceptedAt`` is when the device accepted that, ``ageSeconds`` how long ago by its own clock;
    null where it never was, and where the clock was never set.
    """

    number: Positive
    sha256: Sha256
    accepted_at: Time | None
    age_seconds: Count | None


class RoleTold(Document):
    """One trusted role: its version, and the digest of what was signed, in canonical form."""

    version: Positive
    sha256: Sha256


class RolesTold(Document):
    """The trusted roles of one authority, and the root that the trust map pins for it."""

    pinned_root: Sha256 | None
    roles: Annotated[dict[Name, RoleTold], Field(max_length=MAX_ROLES)]


class GateTold(Document):
    """A gate as it was judged last."""

    gate: Slug
    standing: _Told
    since: Time | None


class LastResult(Document):
    """What the last poll came to, with the exit code of the one table."""

    at: Time
    code: Annotated[int, Field(ge=-255, le=255)]
    text: _Told


class SelfTestTold(Document):
    """When what runs passed its self-test here last, and when a test of it last came to an end."""

    passed_at: Time | None
    ended_at: Time | None


class HealthData(WhatRuns):
    """What runs, on which agent, how the device feels, and what it has not yet sent.

    ``reportsDropped`` counts earlier reports that made room for newer ones and were never sent.
    ``lastSent`` is the newest event that a broker acknowledged; who holds less has to ask.
    ``roles`` are by authority, ``attackIndicators`` by name with how often each happened.  An agent
    of an earlier version says nothing of ``requests``, ``lastSent`` and what follows ``problems``.
    """

    agent_version: Version
    clock: Clock
    readings: Readings
    events_waiting: Count
    boot_count: Count
    requests: Requests | None = None
    reports_dropped: Count = 0
    last_sent: Count = 0
    problems: Annotated[tuple[_Told, ...], Field(max_length=MAX_PROBLEMS)]
    items: Annotated[tuple[ItemInUse, ...], Field(max_length=MAX_PARTS)] = ()
    components: Annotated[dict[Slug, Version], Field(max_length=MAX_PARTS)] = Field(
        default_factory=dict
    )
    eligibility: EligibilityTold | None = None
    roles: Annotated[dict[Slug, RolesTold], Field(max_length=MAX_AUTHORITIES)] = Field(
        default_factory=dict
    )
    gates: Annotated[tuple[GateTold, ...], Field(max_length=MAX_PARTS)] = ()
    last_result: LastResult | None = None
    self_test: SelfTestTold | None = None
    attack_indicators: Annotated[dict[_Told, Count], Field(max_length=MAX_PROBLEMS)] = Field(
        default_factory=dict
    )


class HealthReport(OpenDocument):
    """The periodic report of a device's health, as CloudEvents 1.0.2 structured JSON."""

    specversion: Literal["1.0"]
    id: Urn
    source: DeviceUri
    type: Literal["primum.device.health.reported"]
    time: Time
    datacontenttype: Literal["application/json"]
    data: HealthData


class StatusReport(OpenDocument):
    """The retained status of a device: whether it is there, and what runs.

    What runs is absent while the device cannot read its own journal, and ``word``, which a request
    has to repeat, where it is gone.  It says no time: it is sent again only when it says something
    else.
    """

    device_id: Slug
    presence: Literal["online", "offline"]
    agent_version: Version
    reasons: Annotated[tuple[Reason, ...], Field(max_length=len(Reason))]
    word: Word | None = None
    mode: Literal["safe", "clinical", "investigational"] | None = None
    state: LifecycleState | None = None
    component: Slug | None = None
    version: Version | None = None
    release: Sha256 | None = None
    statement_number: Positive | None = None
    proven: bool | None = None

    @model_validator(mode="after")
    def _what_runs_is_whole(self) -> Self:
        if (self.mode is None) != (self.state is None):
            raise ValueError("mode and state stand together")
        _agree(self.mode, self)
        return self


def _agree(mode: str | None, told: WhatRuns | StatusReport) -> None:
    """Only a device on which a release is in use names a release, and it names it in full."""
    named = (told.component, told.version, told.release, told.statement_number, told.proven)
    if {item is not None for item in named} != {mode not in {None, "safe"}}:
        raise ValueError("a release is named in full unless the mode is safe, and only then")
