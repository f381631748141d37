"""A use of a locked test set: everything that stands in its way, and the entry before it begins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from primum_repo_tools.files import digest_of
from primum_repo_tools.locked_set import (
    Custodian,
    add_entry,
    binding_of,
    check_bound,
    open_ledger,
    other_set,
)
from primum_repo_tools.predictions import Predictions, cases_sha256
from primum_repo_tools.protocol import Protocol
from primum_verifier.change.comparison_analysis import LockedSetUse
from primum_verifier.change.test_set_ledger import Locked
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.core.reasons import Reason


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
    ledger, bound = open_ledger(folder), binding_of(intent.protocol)
    where = f"{bound.id} in {folder}"
    check_bound(ledger, bound, where=where)
    found = cases_sha256(intent.candidate)
    if found != bound.cases.sha256:
        raise other_set(where, f"cases {found}", f"cases {bound.cases.sha256}")
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
    ledger = add_entry(folder, ledger, custodian, now, used=used)
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
            raise other_set(
                str(path), f"sha256 {found}", f"sha256 {item.digest.sha256}, as it was locked"
            )
