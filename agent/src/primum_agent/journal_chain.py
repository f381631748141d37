"""Is the journal's chain what was recorded? Checked over its end at start, over all of it if asked.

Pages and indexes are the database's to check; this module looks at what they hold: an event that
was edited, taken out or put in, a signed head or checkpoint that says otherwise, and an end that
is not there any more.
"""

from __future__ import annotations

import base64
import json
import sqlite3
from dataclasses import dataclass
from typing import Any

from primum_agent.events import FIRST_HASH, event_hash

TAIL_EVENTS = 1000
"""Events looked at when the journal is opened: some tens of milliseconds."""

_BEGINNINGS = ("primum.device.journal.begun", "primum.device.journal.restarted")


@dataclass(frozen=True)
class Checkpoint:
    """Where the journal begins since it was pruned.

    Attributes:
        sequence: the last event that was pruned.
        hash: its hash, which the first event left names.
        first_sequence: the number of the event with which the chain began.
        state: what all events up to it add up to, as the journal stores a state.
    """

    sequence: int
    hash: str
    first_sequence: int
    state: str


def read_checkpoint(connection: sqlite3.Connection) -> Checkpoint | None:
    """The checkpoint after which the journal begins; None when nothing was ever pruned."""
    row = connection.execute(
        "SELECT sequence, hash, first_sequence, state FROM checkpoints "
        "ORDER BY sequence DESC LIMIT 1"
    ).fetchone()
    return None if row is None else Checkpoint(*row)


def fault_in_chain(connection: sqlite3.Connection, *, last: int | None = None) -> str:
    """What is wrong with the newest events, or with all of them; empty when nothing is.

    Args:
        connection: the open database.
        last: how many of the newest events are looked at; None looks at all.
    """
    checkpoint = read_checkpoint(connection)
    newest = int(connection.execute("SELECT max(sequence) FROM events").fetchone()[0] or 0)
    stored = connection.execute("SELECT count(*) FROM state").fetchone()[0]
    if newest == 0:
        return "the events are gone, their sum is there" if stored or checkpoint else ""
    start = 0 if last is None else newest - last + 1
    before = connection.execute(
        "SELECT sequence, hash FROM events WHERE sequence < ? ORDER BY sequence DESC LIMIT 1",
        (start,),
    ).fetchone()
    if before is None:
        before = (0, FIRST_HASH) if checkpoint is None else (checkpoint.sequence, checkpoint.hash)
    heads = dict(
        connection.execute("SELECT sequence, line FROM heads WHERE sequence >= ?", (start,))
    )
    fault = _fault_in_checkpoint(connection)
    number, previous = before
    for sequence, line, stored_hash in connection.execute(
        "SELECT sequence, line, hash FROM events WHERE sequence > ? ORDER BY sequence", (number,)
    ):
        if fault:
            break
        fault = _fault_in_event(
            line, sequence=sequence, stored_hash=stored_hash, number=number, previous=previous
        )
        if not fault and sequence in heads:
            fault = _fault_in_head(heads[sequence], sequence=sequence, event=stored_hash)
        number, previous = sequence, stored_hash
    return fault


def _fault_in_event(
    line: bytes, *, sequence: int, stored_hash: str, number: int, previous: str
) -> str:
    if event_hash(line) != stored_hash:
        return f"event {sequence} was changed"
    try:
        event = json.loads(line)
        named, own = event["data"]["prevEventHash"], int(event["sequence"])
        begins = event["type"] in _BEGINNINGS
    except (ValueError, KeyError, TypeError, RecursionError):
        return f"event {sequence} cannot be read"
    if own != sequence:
        return f"event {sequence} carries the number {own}"
    if number == 0:
        # The first of a chain, and nothing was pruned before it.
        fits = begins and named == FIRST_HASH
    else:
        fits = sequence == number + 1 and named == previous
    return "" if fits else f"event {sequence} does not follow event {number}"


def payload_of(line: bytes) -> dict[str, Any]:
    """What an envelope holds; its signature is not looked at here.

    Raises:
        ValueError: it holds nothing that can be read.
    """
    try:
        content = json.loads(base64.b64decode(json.loads(line)["payload"], validate=True))
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError("no envelope") from error
    if not isinstance(content, dict):
        raise ValueError("no object")  # noqa: TRY004 - one error for whatever is wrong with it
    return content


def _fault_in_head(line: bytes, *, sequence: int, event: str) -> str:
    try:
        signed = payload_of(line)
    except ValueError:
        return f"the signed head of event {sequence} cannot be read"
    agrees = (signed.get("sequence"), signed.get("eventHash")) == (sequence, event)
    return "" if agrees else f"the signed head of event {sequence} names another event"


def _fault_in_checkpoint(connection: sqlite3.Connection) -> str:
    found = read_checkpoint(connection)
    if found is None:
        return ""
    (line,) = connection.execute(
        "SELECT line FROM checkpoints WHERE sequence = ?", (found.sequence,)
    ).fetchone()
    try:
        signed = payload_of(line)
    except ValueError:
        return "the signed checkpoint cannot be read"
    said = tuple(signed.get(name) for name in ("sequence", "eventHash", "firstSequence", "state"))
    stored = (found.sequence, found.hash, found.first_sequence, found.state)
    return "" if said == stored else "the signed checkpoint says otherwise than what is stored"
