r"""Run the device's own TUF client against any TUF repository.

Without --target it only refreshes the trusted metadata in --metadata-dir, which persists between
calls and holds the metadata under the names that tuf gives it. Each --target lands in --output
under its percent-encoded name, whole or not at all.

A target that lies in --output already, byte for byte, is not fetched again.

file: addresses read a plain copy of a repository, a stick for example, with the same checks. For a
device that was provisioned as offline, --offline-days says how long timestamp and snapshot may have
expired; root, targets and delegated roles never may.

A --metadata-dir that cannot be written serves as long as there is nothing new to keep. A version
that was signed with two contents is told as trust.equivocation; what was trusted first is kept, and
so are both files, as proof, in primum.proofs.

Exit codes: 0 trusted; 1 refused, with the reason code, also when the server answers with something
else than the bytes or cuts them short; 2 usage; 3 failed (server not reachable, disk); 4 another
process works over --metadata-dir.

Examples:
  primum-verify fetch --trusted-root 1.root.json --metadata-dir trusted \
      --metadata-url https://updates.example.com/metadata/
  primum-verify fetch --trusted-root 1.root.json --metadata-dir trusted \
      --metadata-url http://127.0.0.1:8001/metadata/ --allow-http \
      --targets-url http://127.0.0.1:8001/targets/ --target rollout/plan.json --output got
  primum-verify fetch --trusted-root 1.root.json --metadata-dir trusted --offline-days 30 \
      --metadata-url file:///media/stick/engineering/metadata/
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, unquote

from primum_verifier.core.errors import EXIT_DONE, FailedError, RefusedError, UsageError
from primum_verifier.core.limits import MAX_DOCUMENT_BYTES, MAX_ROOT_BYTES
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.addresses import parts_of
from primum_verifier.shell.durable import storage_error, write_file
from primum_verifier.shell.fetching import Fetcher, FolderFetcher
from primum_verifier.shell.http_fetching import HttpFetcher, Wire
from primum_verifier.shell.trust_store import FolderTrustStore, TrustedSet, read_floors
from primum_verifier.shell.tuf_client import BuiltIn, TufClient, TufSession
from primum_verifier.shell.tuf_views import role_states

MAX_OFFLINE_DAYS = 366
"""Above this an allowance would hide a forgotten device rather than serve an offline one."""

_MAX_FILE_NAME = 255


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--trusted-root", type=Path, required=True, metavar="FILE")
    parser.add_argument("--metadata-dir", type=Path, required=True, metavar="DIR")
    parser.add_argument("--metadata-url", required=True, metavar="URL")
    parser.add_argument("--targets-url", metavar="URL")
    parser.add_argument("--target", action="append", default=[], metavar="NAME")
    parser.add_argument("--output", type=Path, metavar="DIR")
    parser.add_argument("--at", type=moment, metavar="RFC3339", help="judge as at this time")
    parser.add_argument(
        "--offline-days", type=days, default=timedelta(0), metavar="N", help="allow stale copies"
    )
    parser.add_argument(
        "--floors", type=Path, metavar="FILE", help="accept nothing below this primum.floors"
    )
    parser.add_argument("--allow-http", action="store_true", help="allow plain http")
    parser.add_argument("--ca-file", type=Path, metavar="FILE", help="trust only these CAs")


def moment(text: str) -> datetime:
    """A time with a zone, as RFC 3339 writes it."""
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no RFC 3339 time") from error
    raise argparse.ArgumentTypeError(f"{text!r} has no time zone; write for example ...Z")


def days(text: str) -> timedelta:
    """A number of days that a device may be without news."""
    if not text.isdecimal() or int(text) > MAX_OFFLINE_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to {MAX_OFFLINE_DAYS}")
    return timedelta(days=int(text))


def read_input(path: Path, what: str, max_bytes: int) -> bytes:
    """The bytes of a file that the caller named.

    Raises:
        UsageError: it cannot be read, or is larger than such a file ever is.
    """
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise UsageError(
            f"The {what} cannot be read.",
            reason=Reason.USAGE,
            where=str(path),
            found=error.strerror or str(error),
            remedy="Name a file that exists and is readable.",
        ) from error
    if len(data) > max_bytes:
        raise UsageError(
            f"The {what} is too large.",
            reason=Reason.USAGE,
            where=str(path),
            found=f"more than {max_bytes} bytes",
            expected=f"at most {max_bytes} bytes",
        )
    return data


def run(options: argparse.Namespace) -> int:
    """Refresh, then fetch each target."""
    try:
        return _run(options)
    except FailedError as error:
        if error.reason not in {Reason.TRANSPORT_INTERRUPTED, Reason.TRANSPORT_STATUS}:
            raise
        # It was reached, and what it answered is nothing to trust: a refusal of the repository.
        raise RefusedError(
            error.message,
            reason=error.reason,
            where=error.where,
            found=error.found,
            expected=error.expected,
            remedy=error.remedy,
        ) from error


def _run(options: argparse.Namespace) -> int:
    if options.target and (options.targets_url is None or options.output is None):
        raise UsageError(
            "A target needs to come from somewhere and to go somewhere.",
            reason=Reason.USAGE,
            where="--target",
            expected="--targets-url URL and --output DIR besides",
        )
    store = FolderTrustStore(options.metadata_dir)
    client = TufClient(
        authority=options.metadata_url,
        bootstrap=read_input(options.trusted_root, "trusted root", MAX_ROOT_BYTES),
        metadata_url=_with_slash(options.metadata_url),
        targets_url=_with_slash(options.targets_url or options.metadata_url),
        fetcher=_fetcher(options),
        store=store,
        built_in=_built_in(options.floors),
    )
    with client.session(
        at=options.at or datetime.now(UTC), allowance=options.offline_days
    ) as session:
        session.refresh()
        written = [_fetch_target(session, name, options.output) for name in options.target]
    alarms = [found.error(options.metadata_url) for found in session.equivocations]
    trusted = store.load() or TrustedSet()
    states = role_states(dict(trusted.metadata))
    roles = {
        name: {"version": state.version, "expires": state.expires.isoformat()}
        for name, state in states.items()
    }
    if options.json:
        told = {"outcome": "trusted", "roles": roles, "targets": [str(path) for path in written]}
        print(json.dumps(told | {"alarms": [alarm.as_dict() for alarm in alarms]}))  # noqa: T201
    else:
        for name, role in roles.items():
            print(f"{name:<12} version {role['version']:<6} expires {role['expires']}")  # noqa: T201
        for path in written:
            print(f"fetched {path}")  # noqa: T201
        for alarm in alarms:
            print(alarm.for_people(), file=sys.stderr)  # noqa: T201
    return EXIT_DONE


def _fetcher(options: argparse.Namespace) -> Fetcher:
    """http(s), or a plain folder when every address is a ``file:`` one."""
    urls = [parts_of(url) for url in (options.metadata_url, options.targets_url) if url is not None]
    if any(url.scheme != "file" for url in urls):
        return HttpFetcher(Wire(allow_http=options.allow_http, ca_file=options.ca_file))
    folders = [unquote(url.path) for url in urls]
    if any(url.netloc or not url.path.startswith("/") or "\0" in unquote(url.path) for url in urls):
        raise UsageError(
            "This is no address of a folder on this machine.",
            reason=Reason.USAGE,
            where="--metadata-url, --targets-url",
            found=", ".join(url.geturl() for url in urls),
            expected="file:///path/to/metadata/",
        )
    return FolderFetcher(Path(os.path.commonpath(folders)))


def _built_in(floors: Path | None) -> BuiltIn:
    if floors is None:
        return BuiltIn()
    data = read_input(floors, "file of floors", MAX_DOCUMENT_BYTES)
    # Not the time in the file: a machine whose clock ran ahead may have written it.
    return BuiltIn(floors=read_floors(data, where=str(floors))[0])


def _fetch_target(session: TufSession, name: str, folder: Path) -> Path:
    found = session.target(name)
    if found is None:
        raise RefusedError(
            "No trusted role signs this target.",
            reason=Reason.TRUST_NOT_FOUND,
            where=name,
            expected="a target that the repository lists",
            remedy="Check the name, letter by letter.",
        )
    file_name = quote(name, safe="")
    if not file_name.strip("."):
        # "." and ".." are names of folders on every file system.
        file_name = file_name.replace(".", "%2E")
    if len(file_name) > _MAX_FILE_NAME:
        raise RefusedError(
            "The target's name is too long for a file.",
            reason=Reason.TRUST_LIMIT,
            where=name[:80],
            found=f"{len(file_name)} characters",
            expected=f"at most {_MAX_FILE_NAME}",
        )
    path = folder / file_name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, folder) from error
    if not session.is_whole(path, found):
        write_file(path, session.stream(name, found))
    return path


def _with_slash(url: str) -> str:
    return url if url.endswith("/") else f"{url}/"
