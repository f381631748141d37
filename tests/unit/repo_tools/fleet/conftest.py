"""A fleet's database on both systems: SQLite in a file, and PostgreSQL where it can be started."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.postgres_server import PostgresServer
from tests.unit.agent.conftest import _enrolled, in_the_field, new_field
from tests.unit.repo_tools.fleet.devices import Device

from primum_repo_tools.fleet.database import open_database
from primum_repo_tools.fleet.messages import Message
from primum_repo_tools.fleet.receipts import Receiver
from primum_repo_tools.fleet.store import FleetStore, Taken

__all__ = ["_enrolled", "in_the_field", "new_field"]

AT = datetime(2026, 6, 1, 13, 0, tzinfo=UTC)
TABLES = ("device_keys", "events", "heads", "contradictions", "claims", "quarantine")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty database is made: each test runs on both kinds."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'fleet.db'}"
    server: PostgresServer = request.getfixturevalue("postgresql")
    return server.new_database()


class Fleet:
    """A store with the short cuts of a test."""

    def __init__(self, address: str, receiver: Receiver | None = None) -> None:
        self.address = address
        self.store = FleetStore(open_database(address), fleet="demo", receiver=receiver)

    def enroll(self, *devices: Device) -> None:
        for device in devices:
            self.store.enroll(device.name, device.key, now=AT)

    def take(self, *messages: Message) -> Taken:
        return self.store.take(messages, now=AT)

    def content(self) -> dict[str, Any]:
        """Everything that was concluded, but for when it was received."""
        return content_of(self.store)

    def close(self) -> None:
        self.store.database.close()


def content_of(store: FleetStore) -> dict[str, Any]:
    found: dict[str, Any] = {}
    columns = {
        "devices": "name, proven_to, proven_hash, disputed, unproven",
        "device_keys": "device, key_id, since, until",
        "events": "device, sequence, hash, previous, id, kind, joined, proven, line",
        "heads": "device, sequence, hash, key_id, digest, counts, line",
        "contradictions": "device, kind, mark",
        "claims": "subject, version, digest, device, sequence, hash",
        "quarantine": "name, kind, digest, why, line",
        "reports": "device, kind, digest, said_at, line",
    }
    with store.database.reading() as session:
        for table, names in columns.items():
            rows = session.rows(f"SELECT {names} FROM {table}")  # noqa: S608 - names of ours
            found[table] = sorted(
                tuple(bytes(cell) if isinstance(cell, memoryview) else cell for cell in row)
                for row in rows
            )
    return found


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Look again until it is there; with a short pause it sees a moment that passes."""

    def wait(what: Callable[[], Any], *, pause: float = 0.05, seconds: float = 30.0) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := what():
                return found
            time.sleep(pause)
        raise AssertionError("it did not happen in time")

    return wait


@pytest.fixture
def fleet(address: str) -> Iterator[Fleet]:
    made = Fleet(address)
    yield made
    made.close()


@pytest.fixture
def another(address: str) -> Iterator[Callable[[], Fleet]]:
    """A further process's view of the same database."""
    made: list[Fleet] = []

    def open_one() -> Fleet:
        made.append(Fleet(address))
        return made[-1]

    yield open_one
    for item in made:
        item.close()
