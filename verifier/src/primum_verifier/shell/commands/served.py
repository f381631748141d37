r"""Say which release served a device at an instant, under which statement, and what proves it.

It is told in the terminal, and with --html FILE as one page that draws it over time.

FILE is read as `primum-verify history` reads it: JSON lines of events, heads, checkpoints and
receipts, or a folder that `primum-agent export` made, or one that holds folders of several devices.
The answer rests on the device's key alone. It lies between two events, and each event between two
moments: a synchronised clock is believed to 16 seconds, one that runs freely or was never set not
at all, unless --free-running says to how many seconds; what a receiver countersigned happened
before its receipt (--receiver-key). What the record lets be used is told, not that a patient was
served.

Exit codes: 0 one answer, proven (a release, or that none was allowed to run), 1 no one answer: it
was being changed, the clocks do not tell, nothing is known of the instant, or the history is
refused; all that may be true is named, 2 usage.

Example:
  primum-verify served history.jsonl --device wearable-001 --device-key enrolment.json \
      --at 2026-06-01T12:00:00Z --html served.html
"""

from __future__ import annotations

import argparse
import json
import math
from itertools import chain
from pathlib import Path

from primum_verifier.core.document import sha256_hex
from primum_verifier.core.errors import EXIT_DONE, EXIT_REFUSED
from primum_verifier.core.limits import MAX_DOCUMENT_BYTES
from primum_verifier.record.served import Served, served
from primum_verifier.shell.commands.fetch import moment, read_input
from primum_verifier.shell.commands.history import (
    EXPORTED_HISTORY,
    add_receivers,
    history_lines,
    read_device_key,
    read_receivers,
)
from primum_verifier.shell.durable import write_file
from primum_verifier.shell.served_page import served_page
from primum_verifier.shell.served_text import as_dict, for_people

_SELF_TESTS = "self-tests"
_MAX_FREE_RUNNING = 366 * 86_400.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("files", type=Path, metavar="FILE", nargs="+")
    parser.add_argument("--device-key", type=Path, required=True, metavar="FILE")
    parser.add_argument("--device", metavar="DEVICE", help="the device that the history is of")
    parser.add_argument("--at", type=moment, required=True, metavar="RFC3339", help="the instant")
    parser.add_argument(
        "--free-running",
        type=_seconds,
        metavar="SECONDS",
        help="believe a clock of the device that nothing synchronised to so many seconds",
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write it as one page")
    add_receivers(parser)


def run(options: argparse.Namespace) -> int:
    """Answer, and end with 0 where one thing is proven."""
    folders = [_folder(path, options.device) for path in options.files]
    found = served(
        chain.from_iterable(map(history_lines, folders)),
        device_key=read_device_key(options.device_key),
        at=options.at,
        device=options.device,
        receivers=read_receivers(options),
        free_running=options.free_running,
    )
    files = _statements(folders, found)
    if options.html is not None:
        write_file(options.html, served_page(found, files).encode())
    if options.json:
        print(json.dumps(as_dict(found, files)))  # noqa: T201
    else:
        print("\n".join(for_people(found, files)))  # noqa: T201
    return EXIT_DONE if found.is_certain else EXIT_REFUSED


def _folder(path: Path, device: str | None) -> Path:
    """The device's own folder on a medium that holds several, or the path as it was given."""
    is_medium = device is not None and path.is_dir() and not (path / EXPORTED_HISTORY).exists()
    return path / str(device) if is_medium and (path / str(device)).is_dir() else path


def _statements(folders: list[Path], found: Served) -> dict[str, Path]:
    """Where the signed statements that the answer names lie, in folders that were exported."""
    wanted = {
        item.situation.self_test.statement
        for item in found.possible
        if item.situation is not None and item.situation.self_test is not None
    }
    files = {}
    for folder in folders:
        for path in sorted((folder / _SELF_TESTS).glob("*.json")) if folder.is_dir() else ():
            digest = sha256_hex(read_input(path, "self-test statement", 2 * MAX_DOCUMENT_BYTES))
            if digest in wanted:
                files[digest] = path
    return files


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found <= _MAX_FREE_RUNNING:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds up to a year")
    return found
