r"""Show a comparison report, or draw it as one page with its plots.

The report is read as a gate reads it: one whose own figures contradict each other is refused. With
--html FILE it becomes one page without scripts that loads nothing and prints: differences beside
their margins, ROC, calibration, alerts, latency, and what undecided cases would turn.

Exit codes: 0 shown and met, 1 not met or no valid report, 2 usage, 3 failed.

Examples:
  primum-verify comparison engineering/releases/pvc-classifier/1.1.0/comparison.json
  primum-verify comparison comparison.json --html comparison.html
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from primum_verifier.change.comparison_report import ComparisonReport
from primum_verifier.change.comparison_terms import Decision
from primum_verifier.core.document import parse_document, sha256_hex
from primum_verifier.core.errors import EXIT_DONE, EXIT_REFUSED
from primum_verifier.core.limits import MAX_DOCUMENT_BYTES
from primum_verifier.shell.commands.fetch import read_input
from primum_verifier.shell.comparison_page import comparison_page
from primum_verifier.shell.durable import storage_error, write_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("report", type=Path, metavar="REPORT")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write it as one page")


def run(options: argparse.Namespace) -> int:
    """Read the report and show it."""
    data = read_input(options.report, "comparison report", MAX_DOCUMENT_BYTES)
    report = parse_document(ComparisonReport, data, where=str(options.report))
    if options.html is not None:
        try:
            write_file(options.html, comparison_page(report, sha256_hex(data)).encode())
        except OSError as error:
            raise storage_error(error, options.html) from error
    if options.json:
        print(json.dumps(report.model_dump(mode="json", by_alias=True)))  # noqa: T201
    else:
        print("\n".join(_told(report)))  # noqa: T201
    return EXIT_DONE if report.overall == Decision.MET else EXIT_REFUSED


def _told(report: ComparisonReport) -> Iterator[str]:
    yield f"{report.protocol.id}, unit {report.unit}: {report.overall}"
    for item in report.deciding():
        why = "".join(sign if sign.isprintable() else "?" for sign in item.why)
        yield f"  {item.decision:<14}{item.id}: {why}"
    use = report.analysis.test_set if report.analysis is not None else None
    if use is not None:
        yield f"test set {use.id}: use {use.use_number} of {use.uses_allowed}"
