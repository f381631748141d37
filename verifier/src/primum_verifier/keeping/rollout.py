"""The rollout plan: which release engineering means for which device, ring by ring."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from primum_verifier.core.document import (
    DigestSet,
    Document,
    OpenDocument,
    Positive,
    SchemaVersion,
    Slug,
    Text,
    Time,
    Urn,
    Version,
)
from primum_verifier.core.limits import MAX_LIST
from primum_verifier.core.share import share_of

ROLLOUT_TARGET = "rollout/plan.json"


class Ring(Document):
    """A part of the fleet: named devices, or every device, and the share of them that goes."""

    name: Slug
    devices: Literal["all"] | Annotated[tuple[Slug, ...], Field(min_length=1, max_length=MAX_LIST)]
    percentage: Annotated[int, Field(ge=0, le=100)]


class Pause(Document):
    """A stop that ends by itself, so that a lost key cannot withhold a correction for ever."""

    until: Time
    why: Text


class Assignment(Document):
    """One release and the rings it is meant for."""

    component: Slug
    version: Version
    release: DigestSet
    not_before: Time
    rings: tuple[Ring, ...] = Field(min_length=1, max_length=50)
    pause: Pause | None = None


class RolloutPlan(OpenDocument):
    """The plan as a whole; the first assignment that fits a device is its release."""

    type: Literal["urn:primum:rollout-plan:v0.1"]
    schema_version: SchemaVersion
    id: Urn
    number: Positive
    issued_at: Time
    assignments: tuple[Assignment, ...] = Field(max_length=MAX_LIST)


def assigned_release(
    plan: RolloutPlan, *, component: str, device_id: str, now: datetime
) -> Assignment | None:
    """The release that the plan gives this device now, or None when it gives none.

    Args:
        plan: the signed plan.
        component: the component that is asked about.
        device_id: the device that asks; it draws its own share of a percentage.
        now: the moment judged; a pause that has ended no longer holds.
    """
    for assignment in plan.assignments:
        if assignment.component != component or now < assignment.not_before:
            continue
        if assignment.pause is not None and now < assignment.pause.until:
            continue
        for ring in assignment.rings:
            named = ring.devices == "all" or device_id in ring.devices
            if named and share_of(assignment.release.sha256, device_id) < ring.percentage:
                return assignment
    return None
