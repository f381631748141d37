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
    Locked,
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
    return _add(folder, None, custodian, now, locked=locked)


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
    _check_bound(ledger, _binding(protocol), where=str(folder))
    if ledger.frozen(protocol_sha256) is not None:
        return ledger
    frozen = {"protocol": {"sha256": protocol_sha256}, "protocolId": protocol.id}
    return _add(folder, ledger, custodian, now, frozen=frozen)


def _binding(protocol: Protocol) -> TestSetProtocol:
    if protocol.test_set is None:
        raise UsageError(
            "The protocol is bound to no test set.",
            reason=Reason.USAGE,
            where=protocol.id,
            expected="a table [testSet] with id, cases, ledger and usesAllowed",
            remedy="See: primum-repo test-set show LEDGER, which prints it.",
        )
    return protocol.test_set


def _check_bound(ledger: Ledger, bound: TestSetProtocol, *, where: str) -> None:
    locked = ledger.locked
    for what, found, expected in (
        ("ledger", ledger.origin, bound.ledger),
        ("test set", locked.id, bound.id),
        ("cases", locked.cases.sha256, bound.cases.sha256),
    ):
        if found != expected:
            raise _other_set(where, f"{what} {found}", f"{what} {expected}")


def _other_set(where: str, found: str, expected: str) -> RefusedError:
    return RefusedError(
        "This is not the test set that was locked, or not that of the protocol.",
        reason=Reason.VALIDATION_TEST_SET,
        where=where,
        found=found,
        expected=expected,
        remedy="Compare on the locked cases, unchanged; a changed set is another set, with a "
        "protocol and a ledger of its own.",
    )


@dataclass(frozen=True)
class Intent:
    """A comparison that somebody wants to make.

    Attributes:
        protocol: as it was read.
        protocol_sha256: of its file.
        candidate: its predictions.
        release: SHA-256 of its manifest, None where no release is named.
        deviations: from the protocol, each justified.
        repeat_reason: why this candidate is compared by this protocol again; empty at first.
    """

    protocol: Protocol
    protocol_sha256: str
    candidate: Predictions
    release: str | None = None
    deviations: tuple[str, ...] = ()
    repeat_reason: str = ""


def begin_use(
    folder: Path, intent: Intent, custodian: Custodian, *, data: Path | None, now: datetime
) -> LockedSetUse:
    """Record a use of the test set before anything is compared; the caller holds the ledger.

    Args:
        folder: the ledger's.
        intent: what is about to be compared.
        custodian: who opens the set.
        data: the folder with the files of the set, where it has files.
        now: the moment.

    Raises:
        RefusedError: ``validation.test-set`` for another or a changed set, or one used too often;
            ``validation.protocol`` for a protocol that was not frozen, or a repeat without reason.
    """
    ledger, bound = open_ledger(folder), _binding(intent.protocol)
    where = f"{bound.id} in {folder}"
    _check_bound(ledger, bound, where=where)
    found = cases_sha256(intent.candidate)
    if found != bound.cases.sha256:
        raise _other_set(where, f"cases {found}", f"cases {bound.cases.sha256}")
    _check_files(ledger.locked, data, where=where)
    if ledger.frozen(intent.protocol_sha256) is None:
        raise RefusedError(
            "The protocol was not frozen before the run.",
            reason=Reason.VALIDATION_PROTOCOL,
            where=where,
            found=f"protocol {intent.protocol_sha256}",
            expected="a protocol whose digest the ledger recorded before",
            remedy=f"Freeze it first: primum-repo test-set freeze {folder} PROTOCOL --as FOLDER",
        )
    number = len(ledger.uses) + 1
    allowed = min(bound.uses_allowed, ledger.locked.uses_allowed)
    if number > allowed:
        raise RefusedError(
            "The test set was used as often as it may be: what it says by now is no evidence.",
            reason=Reason.VALIDATION_TEST_SET,
            where=where,
            found=f"{number - 1} uses",
            expected=f"fewer than {allowed}",
            remedy="Lock a test set of patients whom no candidate was compared on.",
        )
    repeats = ledger.repeats(intent.protocol_sha256, intent.candidate.sha256)
    if repeats and not intent.repeat_reason.strip():
        raise RefusedError(
            "This candidate was compared by this protocol before.",
            reason=Reason.VALIDATION_PROTOCOL,
            where=where,
            found=f"{repeats} earlier runs",
            expected="a reason for another one",
            remedy="Say why with --repeat-reason; it is kept, and shown with the report.",
        )
    used = {
        "protocol": {"sha256": intent.protocol_sha256},
        "candidate": {"sha256": intent.candidate.sha256},
        "release": None if intent.release is None else {"sha256": intent.release},
        "useNumber": number,
        "repeats": repeats,
        "repeatReason": intent.repeat_reason if repeats else "",
        "deviations": list(intent.deviations),
    }
    ledger = _add(folder, ledger, custodian, now, used=used)
    return LockedSetUse(
        id=bound.id,
        cases=bound.cases,
        entry=ledger.head,
        use_number=number,
        uses_allowed=allowed,
        repeats=repeats,
        repeat_reason=intent.repeat_reason if repeats else "",
    )


def _check_files(locked: Locked, data: Path | None, *, where: str) -> None:
    if not locked.files:
        return
    if data is None:
        raise UsageError(
            "The test set has files, and where they are is not said.",
            reason=Reason.USAGE,
            where=where,
            expected=f"--data and the folder with its {len(locked.files)} files",
        )
    for item in locked.files:
        path = data / item.name
        found = digest_of(path, what="file of the test set") if path.is_file() else "none"
        if found != item.digest.sha256:
            raise _other_set(
                str(path), f"sha256 {found}", f"sha256 {item.digest.sha256}, as it was locked"
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
    _add(folder, open_ledger(folder), custodian, now, reported=reported)


def _add(
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
