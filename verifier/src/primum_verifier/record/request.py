"""What may be asked of a device through a broker; it carries no authority, so nobody signs it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from primum_verifier.core.document import Document, Positive

MAX_REQUEST_BYTES = 1024

Word = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""What a device says in its status, and a request repeats."""


class DeviceRequest(Document):
    """A device is asked to poll, to report its health, or to send its journal again."""

    word: Word
    do: Literal["poll", "status", "journal"]
    begin: Annotated[Positive | None, Field(alias="from")] = None

    @model_validator(mode="after")
    def _only_a_journal_begins(self) -> Self:
        if self.begin is not None and self.do != "journal":
            raise ValueError("from stands with journal alone")
        return self
