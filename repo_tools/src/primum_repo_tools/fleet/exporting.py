"""A device's history out of the database: for an auditor, who need not believe the receiver."""

from __future__ import annotations

from collections.abc import Iterator

from primum_repo_tools.fleet.device_rows import device_row, proven_to
from primum_repo_tools.fleet.schema import AnyDatabase


def history(database: AnyDatabase, *, fleet: str, name: str, unproven: bool) -> Iterator[bytes]:
    """A device's events, heads and receipts as `primum-verify history` reads them, line by line.

    Args:
        database: where it is.
        fleet: the fleet.
        name: the device.
        unproven: whether what no head covers yet follows behind, and all that contradicts.

    Raises:
        UsageError: no device of this name is enrolled.
    """
    with database.reading() as session:
        number, _, _, _, stored, disputed = device_row(
            session, fleet=fleet, name=name, where=database.name
        )
        last = proven_to(stored, disputed)
        place, digest = 0, ""
        while rows := session.rows(
            "SELECT sequence, hash, line, proven FROM events WHERE device = ?"
            " AND (sequence > ? OR (sequence = ? AND hash > ?)) ORDER BY sequence, hash LIMIT 500",
            number,
            place,
            place,
            digest,
        ):
            for sequence, found, line, proven in rows:
                place, digest = sequence, found
                if unproven or (proven and sequence <= last):
                    yield bytes(line)
        for sequence, line in session.rows(
            "SELECT sequence, line FROM heads WHERE device = ? AND counts = 1"
            " ORDER BY sequence, digest",
            number,
        ):
            if unproven or sequence <= last:
                yield bytes(line)
        for sequence, line in session.rows(
            "SELECT sequence, line FROM receipts WHERE device = ? ORDER BY sequence, hash", number
        ):
            if unproven or sequence <= last:
                yield bytes(line)
