"""Prove that a run of events is whole, in order, and from one device.

FILE holds JSON lines: events, signed heads, signed checkpoints and receipts, as `primum-agent
history --export` writes them or as a subscriber of the device's topics collects them; a folder is
one that `primum-agent export` made. Several are read as one history: with the events that a device
has pruned since, what it still holds can be seen to join them. The key comes from the device's
enrolment, from its signed context, or from a public key document; that this file is the right one
is yours to know. Receipts of receivers that --receiver-key names are held against the events: a
history that lacks what a receiver countersigned has a gap.

Exit codes: 0 whole and every event proven, 1 refused (a gap, an unsigned end of what joins, another
key), 2 usage.

Example:
  primum-verify history events.jsonl --device-key provisioning/device-context.dsse.json
  primum-verify history collected.jsonl /media/stick/wearable-001 --device-key device.public.json
"""

from __future__ import annotations

import argparse
import base64
import binascii
import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from primum_verifier.core.document import canonical_json, parse_document, read_json
from primum_verifier.core.envelope import PublicKey
from primum_verifier.core.errors import EXIT_DONE, EXIT_REFUSED, RefusedError, UsageError
from primum_verifier.core.limits import MAX_DOCUMENT_BYTES
from primum_verifier.core.reasons import Reason
from primum_verifier.record.chain import MAX_EVENT_BYTES, HistoryReport, check_history
from primum_verifier.record.signatures import told as written
from primum_verifier.shell.commands.fetch import read_input

EXPORTED_HISTORY = "history.jsonl"
"""The history in a folder that `primum-agent export` made."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("files", type=Path, metavar="FILE", nargs="+")
    parser.add_argument("--device-key", type=Path, required=True, metavar="FILE")
    add_receivers(parser)


def run(options: argparse.Namespace) -> int:
    """Check the chain and the heads, and say what they prove."""
    key = read_device_key(options.device_key)
    report = check_history(
        chain.from_iterable(map(history_lines, options.files)),
        device_key=key,
        receivers=read_receivers(options),
    )
    told = {
        "outcome": "whole" if report.whole else "refused",
        "device": key.key_id,
        "events": report.events,
        "first": report.first,
        "last": report.last,
        "provenTo": report.proven_to,
        "heads": report.heads,
        "duplicates": report.duplicates,
        "checkpoints": report.checkpoints,
        "pruned": [
            {"after": part.after, "before": part.before, "signedAt": written(part.signed_at)}
            for part in report.pruned
        ],
        "unsigned": [{"first": part.first, "last": part.last} for part in report.unsigned],
        "keyChanges": [
            {"event": change.sequence, "key": change.key.key_id} for change in report.key_changes
        ],
        "receipts": report.receipts,
        "receivedTo": report.received_to,
        "unknownReceipts": report.unknown_receipts,
        "gaps": [{"after": gap.after, "before": gap.before, "why": gap.why} for gap in report.gaps],
    }
    if options.json:
        print(json.dumps(told))  # noqa: T201
    else:
        print(  # noqa: T201
            f"{report.events} events, {report.first} to {report.last}; "
            f"{report.heads} signed heads prove them to {report.proven_to}"
        )
        for line in _not_here(report):
            print(line)  # noqa: T201
        for gap in report.gaps:
            print(f"gap between {gap.after} and {gap.before}: {gap.why}")  # noqa: T201
        for part in report.unsigned:
            print(  # noqa: T201
                f"{part.first} to {part.last} are unsigned: no head proves that they are the "
                "device's own, however well they join"
            )
        if report.whole:
            print(f"whole, in order, and from the device with key {key.key_id[:16]}")  # noqa: T201
        else:
            print("refused: the run is not whole, or no head proves all of it")  # noqa: T201
    return EXIT_DONE if report.whole else EXIT_REFUSED


def _not_here(report: HistoryReport) -> Iterator[str]:
    """What is not in the files without being missing, for people."""
    for part in report.pruned:
        yield (
            f"{part.after + 1} to {part.before - 1} were pruned on the device, under a checkpoint "
            f"that it signed {written(part.signed_at)}; whoever holds them can check that they join"
        )
    begins = report.pruned[0].after + 1 if report.pruned else report.first
    if min(begins, report.first) > 1:
        yield f"it begins at {min(begins, report.first)}: what came before is not in this file"
    for change in report.key_changes:
        yield (
            f"event {change.sequence} changed the device's key to {change.key.key_id[:16]}, "
            "signed by the key before it"
        )
    if report.checkpoints > len(report.pruned):
        yield f"{report.checkpoints} signed checkpoints agree with the events"
    if report.receipts:
        yield f"{report.receipts} receipts: a receiver holds them to {report.received_to}"
    if report.unknown_receipts:
        yield f"{report.unknown_receipts} receipts are by no receiver that --receiver-key names"


def read_device_key(path: Path) -> PublicKey:
    """The public key of a device from an enrolment, a signed context or a key document.

    Raises:
        UsageError: there is none in the file.
    """
    data = read_input(path, "device key", MAX_DOCUMENT_BYTES)
    try:
        content: Any = read_json(data, where=str(path))
        if "payload" in content:
            inner = base64.b64decode(content["payload"], validate=True)
            content = read_json(inner, where=str(path))["factory"]
        if "publicKey" in content:
            content = content["publicKey"]
        return parse_document(PublicKey, canonical_json(content), where=str(path))
    except (RefusedError, KeyError, TypeError, binascii.Error) as error:
        raise UsageError(
            "There is no device key in this file.",
            reason=Reason.USAGE,
            where=str(path),
            found=str(error)[:200],
            expected="an enrolment, a signed device context or a public key document",
        ) from error


def add_receivers(parser: argparse.ArgumentParser) -> None:
    """The option that names the receivers whose receipts are believed."""
    parser.add_argument(
        "--receiver-key",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="public key of a receiver whose receipts are believed; repeat it",
    )


def read_receivers(options: argparse.Namespace) -> list[PublicKey]:
    """The keys that were named.

    Raises:
        UsageError: there is none in a file.
    """
    return [read_device_key(path) for path in options.receiver_key]


def history_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, or of the history in an exported folder, without their ends.

    Raises:
        UsageError: it cannot be read.
    """
    if path.is_dir():
        path /= EXPORTED_HISTORY
    try:
        with path.open("rb") as file:
            while line := file.readline(2 * MAX_EVENT_BYTES):
                yield line.rstrip(b"\r\n")
    except OSError as error:
        raise UsageError(
            "The history cannot be read.",
            reason=Reason.USAGE,
            where=str(path),
            found=error.strerror or str(error),
        ) from error
