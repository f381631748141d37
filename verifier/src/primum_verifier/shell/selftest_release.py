"""Finds the files of a self-test and checks each against the manifest before anything is run.

A release is a folder (a draft of the workbench, with ``manifest.json`` and ``files/``, or a
generation on a device) or COMPONENT VERSION at the authorities' web roots.  With the web roots
named, the manifest of a folder is held against the signed one; without them it is signed by nobody
as far as this machine knows, and that is said.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from primum_verifier.core.document import parse_document, sha256_hex
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.core.limits import MAX_ARTIFACT_BYTES, MAX_DOCUMENT_BYTES
from primum_verifier.core.manifest import MANIFEST_ROLE, Item, ReleaseManifest, manifest_target
from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import ENGINEERING
from primum_verifier.shell.commands.fetch import moment, read_input
from primum_verifier.shell.durable import write_file
from primum_verifier.shell.fetching import FolderFetcher
from primum_verifier.shell.selftest_view import Checked, Standing
from primum_verifier.shell.tested_release import TestedRelease, asked_items
from primum_verifier.shell.web_roots import WebRoots
from primum_verifier.shell.web_roots import add_arguments as add_web_roots

MANIFEST_FILE = "manifest.json"
DRAFT_FILES = "files"

_WEB = ("provisioning", "engineering", "clinical")
_WEB_WORDS = "--provisioning, --engineering and --clinical"
_NO_DEVICE = "assessor"
"""Who asks; a rollout plan may give even this name a release, which changes nothing here."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say which release."""
    parser.add_argument(
        "release", nargs="?", metavar="RELEASE", help="a release's folder, or a component"
    )
    parser.add_argument(
        "version", nargs="?", metavar="VERSION", help="with a component at the web roots"
    )
    add_web_roots(parser, required=False)
    parser.add_argument(
        "--at", type=moment, metavar="RFC3339", help="judge metadata as at this time"
    )


def find_release(options: argparse.Namespace, *, into: Path) -> TestedRelease:
    """Find the release that the options name, and check every file of it.

    Args:
        options: parsed from :func:`add_arguments`; a release is named.
        into: an existing folder; what is fetched is put there, and is the caller's to remove.

    Raises:
        UsageError: the release is not named in one of the ways, or cannot be read.
        RefusedError: nobody signs it, or a file is not the one that the manifest names.
        FailedError: a web root cannot be reached.
    """
    given = [f"--{name}" for name in _WEB if getattr(options, name) is not None]
    if given and len(given) < len(_WEB):
        raise _unclear(" and ".join(given), f"{_WEB_WORDS} together")
    if options.version is None:
        return _in_folder(options, Path(options.release), asks_web=bool(given))
    if not given:
        raise _unclear(
            f"{options.release} {options.version}",
            f"{_WEB_WORDS} with COMPONENT VERSION, or a folder alone",
        )
    return _at_web_roots(options, into=into)


def _at_web_roots(options: argparse.Namespace, *, into: Path) -> TestedRelease:
    wanted = (options.release, options.version)
    roots, data = _signed(options, *wanted)
    manifest = parse_document(ReleaseManifest, data, where=" ".join(wanted))
    base = roots.addresses[ENGINEERING].artifacts_url
    files = {}
    for item in manifest.items:
        pieces = _checked(
            roots.fetcher.fetch(base + item.digest.sha256, max_bytes=item.length), item
        )
        if item.id in asked_items(manifest):
            files[item.id] = into / item.path
            write_file(files[item.id], pieces, mode=0o440)
        else:
            for _ in pieces:
                pass
    return TestedRelease(
        manifest=manifest,
        sha256=sha256_hex(data),
        checked=(_is_signed(data), _are_whole(manifest, ()), _NOT_ASKED),
        files=files,
    )


def _in_folder(options: argparse.Namespace, folder: Path, *, asks_web: bool) -> TestedRelease:
    path = folder / MANIFEST_FILE
    data = read_input(path, "manifest of the release", MAX_DOCUMENT_BYTES)
    manifest = parse_document(ReleaseManifest, data, where=str(path))
    if asks_web:
        bundle = manifest.bundle
        _, signed = _signed(options, bundle.component, bundle.version)
        if signed != data:
            raise RefusedError(
                "The manifest in this folder is not the one that engineering signed.",
                reason=Reason.ARTIFACT_DIGEST,
                where=str(path),
                found=f"sha256 {sha256_hex(data)}",
                expected=f"sha256 {sha256_hex(signed)}",
                remedy="Copy the release again, or test what was signed: COMPONENT VERSION.",
            )
    root = folder.resolve()
    fetcher = FolderFetcher(root)
    files, absent = {}, []
    for item in manifest.items:
        found = _place(root, manifest, item)
        if found is None:
            if item.id in asked_items(manifest):
                raise _not_here(root, item)
            absent.append(item.path)
            continue
        # However long it is: a wrong length is told as a wrong file, not as a wrong server.
        for _ in _checked(fetcher.fetch(found.as_uri(), max_bytes=MAX_ARTIFACT_BYTES), item):
            pass
        files[item.id] = found
    signed_by = _is_signed(data) if asks_web else _signed_by_nobody(data)
    return TestedRelease(
        manifest=manifest,
        sha256=sha256_hex(data),
        checked=(signed_by, _are_whole(manifest, absent), _NOT_ASKED),
        files=files,
    )


def _signed(options: argparse.Namespace, component: str, version: str) -> tuple[WebRoots, bytes]:
    """The web roots, and the manifest that engineering's role for models signs."""
    roots = WebRoots(options)
    wanted = (component, version)
    now = options.at or datetime.now(UTC)
    views = roots.refresh(now=now, device_id=_NO_DEVICE, held=[wanted])
    target = manifest_target(*wanted)
    data = views.engineering.document(target, roles=frozenset({MANIFEST_ROLE}))
    if data is None:
        raise RefusedError(
            "Engineering signs no such release.",
            reason=Reason.TRUST_NOT_FOUND,
            where=" ".join(wanted),
            remedy="Check component and version, and that the release was published.",
        )
    return roots, data


def _place(root: Path, manifest: ReleaseManifest, item: Item) -> Path | None:
    """Where an item lies: in the workbench, or in a generation, perhaps below its component."""
    owners = [one.id for one in manifest.components if item.id in one.items]
    for folder in (DRAFT_FILES, "", *owners):
        path = root / folder / item.path
        if path.is_file():
            return path
    return None


def _checked(pieces: Iterator[bytes], item: Item) -> Iterator[bytes]:
    """The pieces of a file as they come; at its end it is the one that the manifest names.

    Raises:
        RefusedError: ``artifact.digest``; what came is not to be used.
    """
    seen, received = hashlib.sha256(), 0
    for piece in pieces:
        seen.update(piece)
        received += len(piece)
        yield piece
    if received != item.length or seen.hexdigest() != item.digest.sha256:
        raise RefusedError(
            "A file of the release is not the one that its manifest names.",
            reason=Reason.ARTIFACT_DIGEST,
            where=item.path,
            found=f"{received} bytes, sha256 {seen.hexdigest()}",
            expected=f"{item.length} bytes, sha256 {item.digest.sha256}",
            remedy="Nothing was run; get the release again from where it was published.",
        )


def _is_signed(data: bytes) -> Checked:
    return Checked(
        what="manifest",
        standing=Standing.VERIFIED,
        found=f"signed by engineering's role {MANIFEST_ROLE}",
        sha256=sha256_hex(data),
    )


def _signed_by_nobody(data: bytes) -> Checked:
    return Checked(
        what="manifest",
        standing=Standing.NOT_VERIFIED,
        found=f"no signature was looked for: name {_WEB_WORDS}",
        sha256=sha256_hex(data),
    )


def _are_whole(manifest: ReleaseManifest, absent: list[str] | tuple[str, ...]) -> Checked:
    count = len(manifest.items)
    more = f"; not in this folder: {', '.join(absent)}" if absent else ""
    return Checked(
        what="files",
        standing=Standing.VERIFIED,
        found=f"{count - len(absent)} of {count} have the digest that the manifest names{more}",
    )


_NOT_ASKED = Checked(
    what="eligibility",
    standing=Standing.NOT_VERIFIED,
    found="not asked here: primum-verify release says who signed that it may be used",
)


def _not_here(root: Path, item: Item) -> RefusedError:
    return RefusedError(
        "A file of the self-test is not in the folder.",
        reason=Reason.ARTIFACT_DIGEST,
        where=str(root),
        found="no file",
        expected=f"{item.path}, sha256 {item.digest.sha256}",
        remedy="Name the folder that holds manifest.json and the files, whole.",
    )


def _unclear(found: str, expected: str) -> UsageError:
    return UsageError(
        "Where the release comes from is not stated in one way.",
        reason=Reason.USAGE,
        found=found,
        expected=expected,
    )
