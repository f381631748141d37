"""A signed checkpoint: what a device's chain came to up to one event, after which it was pruned.

It holds the digest of that event and the state that all events up to it add up to, so that the
chain goes on from it, and whoever holds the earlier events can see that it joins them.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, StringConstraints, model_validator

from primum_verifier.core.document import Document, Positive, Sha256, Slug, Time, Version
from primum_verifier.core.limits import KIB

CHECKPOINT_PAYLOAD_TYPE = "application/vnd.primum.chain-checkpoint+json"

MAX_STATE_CHARACTERS = 96 * KIB
"""Characters of one state; in its envelope it stays below what one line of a history may hold."""


def _is_an_object(text: str) -> str:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("the state is not JSON") from error
    if not isinstance(content, dict):
        raise ValueError("the state is not an object")  # noqa: TRY004 - what a validator raises
    return text


StateText = Annotated[
    str, StringConstraints(max_length=MAX_STATE_CHARACTERS), AfterValidator(_is_an_object)
]
"""A device's state as JSON, exactly as the device stores it: the order of its members is their
age, so that it is carried as text."""


class ChainCheckpoint(Document):
    """What a device's events up to one of them add up to, signed by the device before it prunes.

    ``firstSequence`` is the number of the event with which this chain began: 1, or more where a
    journal was lost and begun anew.
    """

    type: Literal["urn:primum:chain-checkpoint:v0.1"]
    device_id: Slug
    first_sequence: Positive
    sequence: Positive
    event_hash: Sha256
    state: StateText
    agent_version: Version
    signed_at: Time

    @model_validator(mode="after")
    def _it_covers_events(self) -> Self:
        if self.first_sequence > self.sequence:
            raise ValueError("it ends before it begins")
        return self
