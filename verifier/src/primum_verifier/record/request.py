"""What may be asked of a device through a broker; it carries no authority, so nobody signs it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from primum_verifier.core.document import Document, Positive

MAX_REQUEST_BYTES = 1024

Word = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""What a device says in its status, and a request repeats."""


class DeviceRequest(Document):
    """A device is asked to poll, to report its health, or to send its journal again.

    ``from`` and ``to`` are the numbers of the first and the last event that are wanted, with the
    heads between them; without them all are.
    """

    word: Word
    do: Literal["poll", "status", "journal"]
    begin: Annotated[Positive | None, Field(alias="from")] = None
    end: Annotated[Positive | None, Field(alias="to")] = None

    @model_validator(mode="after")
    def _only_a_journal_begins_and_ends(self) -> Self:
        if self.do != "journal" and (self.begin, self.end) != (None, None):
            raise ValueError("from and to stand with journal alone")
        if self.end is not None and self.end < (self.begin or 1):
            raise ValueError("it ends before it begins")
        return self
