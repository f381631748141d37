"""A locked test set and its ledger: a folder with the signed entries and every report, met or not.

Whoever keeps the set locks it once, freezes protocols in it, and signs each use before anything is
compared; a set that was changed by one byte, or used more often than allowed, is refused by name.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from primum_repo_tools.files import digest_of, make_folder, read_input, write_durably
from primum_repo_tools.keys import Secrets, Signer, load_key, sign_envelope
from primum_repo_tools.people import KEY_FILE, PERSON_FILE, PersonSettings
from primum_repo_tools.predictions import Predictions, cases_sha256
from primum_repo_tools.protocol import Protocol, TestSetProtocol
from primum_repo_tools.settings import read_settings
from primum_verifier.change.comparison_analysis import LockedSetUse
from primum_verifier.change.comparison_report import ComparisonReport
from primum_verifier.change.test_set_ledger import (
    ENTRY_PAYLOAD_TYPE,
    Ledger,
    LedgerEntry,
    read_ledger,
)
from primum_verifier.core.document import canonical_json, parse_document, sha256_hex
from primum_verifier.core.envelope import PublicKey
from primum_verifier.core.errors import BusyError, RefusedError, UsageError
from primum_verifier.core.limits import MIB
from primum_verifier.core.reasons import Reason

LEDGER_FILE = "ledger.jsonl"
REPORTS_FOLDER = "reports"
MAX_LEDGER_BYTES = 256 * MIB


@dataclass(frozen=True)
class Custodian:
    """Who keeps the set, with the key at hand.

    Attributes:
        person: the id under which entries are made.
        signer: the person's key.
    """

    person: str
    signer: Signer


def open_custodian(folder: Path, *, secrets: Secrets) -> Custodian:
    """Open a person's folder, as ``primum-repo person add`` makes it.

    Raises:
        UsageError: no person's folder, or a wrong passphrase.
    """
    settings = read_settings(PersonSettings, folder / PERSON_FILE, what="person")
    return Custodian(settings.person_id, load_key(folder / KEY_FILE, secrets=secrets))


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a ledger for one command; the lock ends with the process.

    Raises:
        BusyError: ``state.busy``; another command writes to it.
    """
    make_folder(folder)
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise BusyError(
            "Another command is at work with this ledger.",
            reason=Reason.STATE_BUSY,
            where=str(folder),
            remedy="Wait until it has ended, then run this again.",
        ) from error
    try:
        yield
    finally:
        os.close(descriptor)


def open_ledger(folder: Path) -> Ledger:
    """Read a ledger, prove it, and hold it against the reports that lie beside it.

    Raises:
        RefusedError: ``validation.ledger``; an entry is wrong or gone.
        UsageError: there is none.
    """
    path = folder / LEDGER_FILE
    ledger = read_ledger(
        read_input(path, what="ledger", max_bytes=MAX_LEDGER_BYTES), where=str(path)
    )
    for report_path in sorted((folder / REPORTS_FOLDER).glob("*.json")):
        data = read_input(report_path, what="comparison report")
        report = parse_document(ComparisonReport, data, where=str(report_path))
        use = report.analysis.test_set if report.analysis else None
        # The end of a chain can be taken off unseen; who kept what came later sees it.
        if use is None or use.entry not in ledger.digests:
            raise _gone(folder, f"the use that {report_path.name} reports on")
    kept = {path.stem for path in (folder / REPORTS_FOLDER).glob("*.json")}
    for entry in ledger.entries:
        if entry.reported is not None and entry.reported.report.sha256 not in kept:
            raise _gone(folder, f"the report on use {entry.reported.use_number}")
    return ledger


def _gone(folder: Path, what: str) -> RefusedError:
    return RefusedError(
        "Something of the ledger is gone: what was recorded is kept for ever.",
        reason=Reason.VALIDATION_LEDGER,
        where=str(folder),
        found=f"missing: {what}",
        expected="every entry and every report that was ever made, met or not",
        remedy="Put back the ledger's folder from its last copy.",
    )


def lock_set(
    folder: Path,
    cases: Predictions,
    *,
    set_id: str,
    uses_allowed: int,
    custodian: Custodian,
    further: tuple[PublicKey, ...],
    data: Path | None,
    now: datetime,
) -> Ledger:
    """Begin the ledger of a test set; the caller holds it.

    Args:
        folder: where the ledger will lie.
        cases: any arm's predictions: the cases of the set are read from them.
        set_id: its name.
        uses_allowed: how often it may be used at all.
        custodian: who locks it.
        further: the keys of others who may write to the ledger.
        data: the folder with what the cases were read from, None where that lies elsewhere.
        now: the moment.

    Raises:
        UsageError: there is a ledger already.
    """
    path = folder / LEDGER_FILE
    if path.exists():
        raise UsageError(
            "There is a ledger already, and a ledger is never begun anew.",
            reason=Reason.USAGE,
            where=str(path),
            remedy="Name another folder for another test set.",
        )
    locked = {
        "id": set_id,
        "cases": {"sha256": cases_sha256(cases)},
        "patients": len(set(cases.patient.tolist())),
        "rows": len(cases.label),
        "usesAllowed": uses_allowed,
        "custodians": [
            key.model_dump(mode="json", by_alias=True)
            for key in (custodian.signer.public, *further)
        ],
        "files": [
            {"name": name, "digest": {"sha256": sha256}} for name, sha256 in _files(data).items()
        ],
    }
    return add_entry(folder, None, custodian, now, locked=locked)


def _files(data: Path | None) -> dict[str, str]:
    """Every file below a folder by its path, with its digest."""
    if data is None:
        return {}
    paths = sorted(path for path in data.rglob("*") if path.is_file())
    return {
        path.relative_to(data).as_posix(): digest_of(path, what="file of the test set")
        for path in paths
    }


def freeze_protocol(
    folder: Path, protocol: Protocol, protocol_sha256: str, custodian: Custodian, now: datetime
) -> Ledger:
    """Record a protocol before its run; doing it twice records it once.

    Raises:
        RefusedError: ``validation.test-set``; it is bound to another set.
    """
    ledger = open_ledger(folder)
    check_bound(ledger, binding_of(protocol), where=str(folder))
    if ledger.frozen(protocol_sha256) is not None:
        return ledger
    frozen = {"protocol": {"sha256": protocol_sha256}, "protocolId": protocol.id}
    return add_entry(folder, ledger, custodian, now, frozen=frozen)


def binding_of(protocol: Protocol) -> TestSetProtocol:
    """The test set that a protocol is bound to.

    Raises:
        UsageError: it is bound to none.
    """
    if protocol.test_set is None:
        raise UsageError(
            "The protocol is bound to no test set.",
            reason=Reason.USAGE,
            where=protocol.id,
            expected="a table [testSet] with id, cases, ledger and usesAllowed",
            remedy="See: primum-repo test-set show LEDGER, which prints it.",
        )
    return protocol.test_set


def check_bound(ledger: Ledger, bound: TestSetProtocol, *, where: str) -> None:
    """Refuse a ledger that is not the one a protocol is bound to.

    Raises:
        RefusedError: ``validation.test-set``.
    """
    locked = ledger.locked
    for what, found, expected in (
        ("ledger", ledger.origin, bound.ledger),
        ("test set", locked.id, bound.id),
        ("cases", locked.cases.sha256, bound.cases.sha256),
    ):
        if found != expected:
            raise other_set(where, f"{what} {found}", f"{what} {expected}")


def other_set(where: str, found: str, expected: str) -> RefusedError:
    """What is raised where another set, or a changed one, was found."""
    return RefusedError(
        "This is not the test set that was locked, or not that of the protocol.",
        reason=Reason.VALIDATION_TEST_SET,
        where=where,
        found=found,
        expected=expected,
        remedy="Compare on the locked cases, unchanged; a changed set is another set, with a "
        "protocol and a ledger of its own.",
    )


def keep_report(
    folder: Path, report: ComparisonReport, use: LockedSetUse, custodian: Custodian, now: datetime
) -> None:
    """Keep what came of a use, met or not, and record it; the caller holds the ledger."""
    data = report.to_bytes()
    sha256 = sha256_hex(data)
    write_durably(folder / REPORTS_FOLDER / f"{sha256}.json", data)
    reported = {
        "useNumber": use.use_number,
        "report": {"sha256": sha256},
        "overall": report.overall,
    }
    add_entry(folder, open_ledger(folder), custodian, now, reported=reported)


def add_entry(
    folder: Path,
    ledger: Ledger | None,
    custodian: Custodian,
    now: datetime,
    **happened: Mapping[str, object],
) -> Ledger:
    """Sign one more entry, write it, and read the whole again as anybody would."""
    if ledger is not None and custodian.signer.public not in ledger.locked.custodians:
        raise RefusedError(
            "Only who keeps the test set writes to its ledger.",
            reason=Reason.VALIDATION_LEDGER,
            where=str(folder),
            found=f"{custodian.person}, key {custodian.signer.public.key_id[:12]}",
            expected="one of the custodians whom its first entry names",
        )
    path = folder / LEDGER_FILE
    before = b"" if ledger is None else read_input(path, what="ledger", max_bytes=MAX_LEDGER_BYTES)
    entry = LedgerEntry.model_validate_json(
        canonical_json(
            {
                "type": "urn:primum:test-set-entry:v0.1",
                "schemaVersion": "0.1",
                "number": 1 if ledger is None else len(ledger.entries) + 1,
                "previous": None if ledger is None else ledger.head,
                "at": f"{now:%Y-%m-%dT%H:%M:%SZ}",
                "by": custodian.person,
                **happened,
            }
        )
    )
    line = sign_envelope(
        entry.to_bytes(), payload_type=ENTRY_PAYLOAD_TYPE, signers=[custodian.signer]
    )
    data = before + line
    found = read_ledger(data, where=str(path))
    # Written whole, beside and renamed: a cut leaves the ledger with this entry or without it.
    write_durably(path, data)
    return found
