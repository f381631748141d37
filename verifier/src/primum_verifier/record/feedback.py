"""A remark of a person at the device as an event carries it, or a refusal.

It is classified by words from fixed lists.  What the person wrote stays on the device: a remark
may name a patient.  Its digest goes with the event, so that a text that is handed on later, by a
person who decided so, can be held against it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from primum_verifier.core.document import Document, Sha256
from primum_verifier.record.words import (
    MAX_REMARK,
    FeedbackCategory,
    FeedbackRole,
    FeedbackSeverity,
)


class RemarkKept(Document):
    """A text that stays on the device: how long it is, and its salted SHA-256."""

    characters: Annotated[int, Field(ge=1, le=MAX_REMARK)]
    digest: Sha256


class Feedback(Document):
    """Who remarked what, and how bad it is or could have been."""

    role: FeedbackRole
    category: FeedbackCategory
    severity: FeedbackSeverity
    text: RemarkKept | None = None
