"""The tables of a fleet: what was received, as it was received, and what was concluded from it.

``events``, ``heads``, ``reports`` and ``quarantine`` hold exact bytes.  What is concluded
(``joined``, ``proven``, ``counts``, ``device_keys``, ``proven_to``) is a function of those alone,
whatever order they came in, so that it can be computed anew.
"""

from __future__ import annotations

from primum_repo_tools.fleet.database import PostgresDatabase, Session, SqliteDatabase
from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason

GENERATION = 3

AnyDatabase = SqliteDatabase | PostgresDatabase

ROLE_CLAIMS = """CREATE TABLE role_claims (
        device {int} NOT NULL REFERENCES devices (number),
        subject TEXT NOT NULL,
        version {int} NOT NULL,
        digest TEXT NOT NULL,
        first_at TEXT NOT NULL,
        PRIMARY KEY (device, subject, version, digest)) {end}"""
"""What reports of health say of trusted roles: a device's word, and compared across devices."""

ROLE_CLAIMS_INDEXES = ("CREATE INDEX role_claims_by_version ON role_claims (subject, version)",)

CAMPAIGNS = """CREATE TABLE campaigns (
        fleet TEXT NOT NULL,
        name TEXT NOT NULL,
        begins TEXT NOT NULL,
        ends TEXT NOT NULL,
        secret {bytes} NOT NULL,
        PRIMARY KEY (fleet, name)) {end}"""
"""Under which names devices stand in what was handed on; nothing is concluded from it."""

STEPS = {1: (ROLE_CLAIMS, *ROLE_CLAIMS_INDEXES), 2: (CAMPAIGNS,)}
"""What brings a database of a generation to the next one."""

TABLES = (
    """CREATE TABLE fleet_generation (number {int} PRIMARY KEY) {end}""",
    """CREATE TABLE devices (
        number {int} PRIMARY KEY,
        fleet TEXT NOT NULL,
        name TEXT NOT NULL,
        enrolled_at TEXT NOT NULL,
        last_seen TEXT,
        proven_to {int} NOT NULL DEFAULT 0,
        proven_hash TEXT NOT NULL DEFAULT '',
        disputed {int} NOT NULL DEFAULT 0,
        unproven {int} NOT NULL DEFAULT 0,
        UNIQUE (fleet, name)) {end}""",
    # Keys that the user named: they count from the beginning.
    """CREATE TABLE enrolments (
        device {int} NOT NULL REFERENCES devices (number),
        key_id TEXT NOT NULL,
        document {bytes} NOT NULL,
        enrolled_at TEXT NOT NULL,
        PRIMARY KEY (device, key_id)) {end}""",
    # Between which events a key counts: above since, up to until.
    """CREATE TABLE device_keys (
        device {int} NOT NULL REFERENCES devices (number),
        key_id TEXT NOT NULL,
        since {int} NOT NULL,
        until {int} NOT NULL,
        PRIMARY KEY (device, key_id, since)) {end}""",
    """CREATE TABLE events (
        device {int} NOT NULL REFERENCES devices (number),
        sequence {int} NOT NULL,
        hash TEXT NOT NULL,
        previous TEXT NOT NULL,
        id TEXT NOT NULL,
        kind TEXT NOT NULL,
        joined {int} NOT NULL,
        proven {int} NOT NULL,
        received_at TEXT NOT NULL,
        line {bytes} NOT NULL,
        PRIMARY KEY (device, sequence, hash)) {end}""",
    """CREATE INDEX events_by_previous ON events (device, previous)""",
    """CREATE INDEX events_by_id ON events (device, id)""",
    """CREATE INDEX events_not_joined ON events (device, sequence) WHERE joined = 0""",
    """CREATE INDEX events_that_change_keys ON events (device)
        WHERE kind = 'primum.device.key.changed'""",
    """CREATE INDEX events_for_people ON events (device, sequence)
        WHERE kind IN ('primum.device.monitor.alarmed', 'primum.device.monitor.quiet',
            'primum.device.feedback.given')""",
    """CREATE INDEX events_that_refuse_trust ON events (device)
        WHERE kind = 'primum.device.trust.refused'""",
    """CREATE TABLE heads (
        device {int} NOT NULL REFERENCES devices (number),
        sequence {int} NOT NULL,
        hash TEXT NOT NULL,
        key_id TEXT NOT NULL,
        digest TEXT NOT NULL,
        counts {int} NOT NULL,
        received_at TEXT NOT NULL,
        line {bytes} NOT NULL,
        PRIMARY KEY (device, sequence, digest)) {end}""",
    # Where events contradict each other: all of them stand in events, as evidence.
    """CREATE TABLE contradictions (
        device {int} NOT NULL REFERENCES devices (number),
        kind TEXT NOT NULL,
        mark TEXT NOT NULL,
        noticed_at TEXT NOT NULL,
        PRIMARY KEY (device, kind, mark)) {end}""",
    # What a device's events say of things that exist once for all devices.
    """CREATE TABLE claims (
        fleet TEXT NOT NULL,
        subject TEXT NOT NULL,
        version {int} NOT NULL,
        digest TEXT NOT NULL,
        device {int} NOT NULL REFERENCES devices (number),
        sequence {int} NOT NULL,
        hash TEXT NOT NULL,
        PRIMARY KEY (fleet, subject, version, digest, device, sequence, hash)) {end}""",
    """CREATE TABLE reports (
        device {int} NOT NULL REFERENCES devices (number),
        kind TEXT NOT NULL,
        digest TEXT NOT NULL,
        said_at TEXT NOT NULL,
        received_at TEXT NOT NULL,
        line {bytes} NOT NULL,
        PRIMARY KEY (device, kind, digest)) {end}""",
    """CREATE TABLE receipts (
        device {int} NOT NULL REFERENCES devices (number),
        sequence {int} NOT NULL,
        hash TEXT NOT NULL,
        issued_at TEXT NOT NULL,
        published {int} NOT NULL,
        line {bytes} NOT NULL,
        PRIMARY KEY (device, sequence, hash)) {end}""",
    ROLE_CLAIMS,
    *ROLE_CLAIMS_INDEXES,
    CAMPAIGNS,
    """CREATE TABLE quarantine (
        fleet TEXT NOT NULL,
        name TEXT NOT NULL,
        kind TEXT NOT NULL,
        digest TEXT NOT NULL,
        why TEXT NOT NULL,
        times {int} NOT NULL,
        first_at TEXT NOT NULL,
        last_at TEXT NOT NULL,
        line {bytes} NOT NULL,
        PRIMARY KEY (fleet, name, kind, digest)) {end}""",
    """CREATE TABLE refusals (
        fleet TEXT NOT NULL,
        name TEXT NOT NULL,
        reason TEXT NOT NULL,
        times {int} NOT NULL,
        last_at TEXT NOT NULL,
        last_why TEXT NOT NULL,
        PRIMARY KEY (fleet, name, reason)) {end}""",
)


def prepare(database: AnyDatabase) -> None:
    """Make the tables where there are none, and bring those of an earlier generation forward.

    Either is one transaction: a cut leaves what was there, and of several that start at once one
    does it.

    Raises:
        UsageError: they are of a later generation, which this version does not know.
    """
    with database.reading() as session:
        found = _generation(database, session)
    if found is None or found in STEPS:
        with database.writing() as session:
            # Two that start at once: one makes the tables, the other finds them.
            session.enter(alone=True)
            found = _generation(database, session)
            statements: tuple[str, ...] = ()
            if found is None:
                statements, found = TABLES, GENERATION
            while found in STEPS:
                statements, found = (*statements, *STEPS[found]), found + 1
            for statement in statements:
                session.do(statement.format(**database.types))
            session.do("DELETE FROM fleet_generation")
            session.do("INSERT INTO fleet_generation (number) VALUES (?)", found)
    if found != GENERATION:
        raise UsageError(
            "The database is of a later generation, or of one that is not known.",
            reason=Reason.USAGE,
            where=database.name,
            found=str(found),
            expected=str(GENERATION),
            remedy="Use the version of primum-repo that made it; nothing was changed.",
        )


def _generation(database: AnyDatabase, session: Session) -> int | None:
    """Of the tables that are there; None where there are none."""
    there = session.rows(
        "SELECT 1 FROM information_schema.tables WHERE table_name = 'fleet_generation'"
        " AND table_schema = current_schema()"
        if isinstance(database, PostgresDatabase)
        else "SELECT 1 FROM sqlite_master WHERE name = 'fleet_generation'"
    )
    if not there:
        return None
    ((number,),) = session.rows("SELECT number FROM fleet_generation")
    return int(number)
