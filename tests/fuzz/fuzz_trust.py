"""What a hostile repository or a damaged disk hands to the TUF side: metadata, stores, floors.

In ``tuf-session`` the metadata is signed by the right keys, whatever it says: the question is
what a key in the wrong hands can bring about beyond what its role may say.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from fuzz_oracle import Subject, attempt, joined, sections
from primum_verifier.core.document import canonical_json
from primum_verifier.shell.fetching import FakeFetcher, NotThereError
from primum_verifier.shell.trust_store import (
    FLOORS_FILE,
    FolderTrustStore,
    MemoryTrustStore,
    TrustedSet,
)
from primum_verifier.shell.tuf_client import TufClient
from primum_verifier.shell.tuf_views import awaited_by, role_states, stored_view

_AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
_UNTIL = _AT + timedelta(days=30)
_TARGET = "releases/a/1/manifest.json"
_CONTENT = b"{}\n"
_ROLES = ("root", "timestamp", "snapshot", "targets", "model")
_SIGNERS = {
    role: CryptoSigner(Ed25519PrivateKey.from_private_bytes(bytes([place + 1]) * 32))
    for place, role in enumerate(_ROLES)
}
_MEMORY = Path("/dev/shm")  # noqa: S108 - scratch folders in memory, where there is such a place
_SCRATCH = _MEMORY if _MEMORY.is_dir() else None
_MOST_ROOTS = 3


def _valid() -> dict[str, dict[str, Any]]:
    """The signed part of each role's metadata, as a small good repository has it."""
    root = Root(expires=_UNTIL, consistent_snapshot=True)
    for role in ("root", "timestamp", "snapshot", "targets"):
        root.add_key(_SIGNERS[role].public_key, role)
    targets = Targets(expires=_UNTIL, delegations=Delegations({}, {}))
    assert targets.delegations is not None
    targets.delegations.roles = {
        "model": DelegatedRole("model", [], 1, terminating=False, paths=["releases/*/*/*"])
    }
    targets.add_key(_SIGNERS["model"].public_key, "model")
    model = Targets(expires=_UNTIL)
    model.targets[_TARGET] = TargetFile.from_data(_TARGET, _CONTENT, ["sha256"])
    snapshot = Snapshot(
        expires=_UNTIL, meta={"targets.json": MetaFile(1), "model.json": MetaFile(1)}
    )
    timestamp = Timestamp(expires=_UNTIL, unrecognized_fields={"issuedAt": "2026-06-01T11:00:00Z"})
    parts = {
        "root": root,
        "timestamp": timestamp,
        "snapshot": snapshot,
        "targets": targets,
        "model": model,
    }
    return {role: part.to_dict() for role, part in parts.items()}


_VALID = _valid()


def _signed(role: str, part: dict[str, Any]) -> bytes:
    """The metadata file, signed by the role's key if it can be signed at all."""
    plain = json.dumps({"signatures": [], "signed": part}).encode()
    with suppress(Exception):
        metadata = Metadata[Any].from_dict(
            {"signatures": [], "signed": json.loads(plain)["signed"]}
        )
        metadata.sign(_SIGNERS[role])
        return metadata.to_bytes()
    return plain


_BOOTSTRAP = _signed("root", _VALID["root"])
_WHOLE = {f"{role}.json": _signed(role, part) for role, part in _VALID.items()}


class _AnyVersion(FakeFetcher):
    """Serves a role's file whatever version is asked for, and a few new roots at most."""

    def __init__(self, roles: Mapping[str, bytes]) -> None:
        super().__init__()
        self._roles = roles

    def fetch(self, url: str, *, max_bytes: int, offset: int = 0) -> Iterator[bytes]:
        """See :class:`Fetcher`."""
        name = url.rpartition("/")[2]
        number, _, role = name.removesuffix(".json").rpartition(".")
        known = self._roles.get(role)
        if role == "root" and (not number.isdigit() or int(number) > _MOST_ROOTS):
            known = None
        if "/targets/" in url:
            known = _CONTENT
        self.files[url] = NotThereError(url, 404) if known is None else known
        return super().fetch(url, max_bytes=max_bytes, offset=offset)


def tuf_session(data: bytes) -> None:
    """A whole run of the client over signed metadata, parts of which the input replaces.

    A section names a role; its JSON object replaces members of the role's signed part.
    """
    roles = {role: _WHOLE[f"{role}.json"] for role in _ROLES if role != "root"}
    for role, text in sections(data, first="timestamp").items():
        if role in _VALID and text.strip():
            try:
                changes = json.loads(text)
                roles[role] = _signed(role, {**_VALID[role], **changes})
            except (ValueError, TypeError, RecursionError):
                roles[role] = text
    store = MemoryTrustStore()

    def run() -> None:
        client = TufClient(
            authority="engineering",
            bootstrap=_BOOTSTRAP,
            metadata_url="https://repo.test/metadata/",
            targets_url="https://repo.test/targets/",
            fetcher=_AnyVersion(roles),
            store=store,
            scratch=_SCRATCH,
        )
        with client.session(at=_AT) as session:
            session.refresh()
            document = session.document(_TARGET)
            session.complete()
            assert document is None or document.data == _CONTENT

    attempt(run)
    trusted = store.load()
    attempt(lambda: stored_view("engineering", trusted))
    if trusted is not None:
        assert all(version > 0 for version in trusted.floors.values())


def tuf_files(data: bytes) -> None:
    """Metadata files as they may stand in a damaged store."""
    files = {name: text for name, text in sections(data, first="timestamp.json").items() if name}
    trusted = TrustedSet(metadata=files, view=files, documents={_TARGET: _CONTENT})
    attempt(lambda: role_states(files))
    attempt(lambda: awaited_by(trusted))
    view = attempt(lambda: stored_view("engineering", trusted))
    if view is not None:
        assert len(view.view_id) == len("0" * 64)


def trust_store(data: bytes) -> None:
    """The floors and metadata in a folder: read, kept, read again."""
    with tempfile.TemporaryDirectory(dir=_SCRATCH) as scratch:
        folder = Path(scratch)
        files = sections(data, first=FLOORS_FILE)
        for name in (FLOORS_FILE, "timestamp.json"):
            if name in files:
                (folder / name).write_bytes(files[name])
        store = FolderTrustStore(folder)
        found = attempt(store.load)
        if found is None:
            return
        store.save(found)
        again = attempt(store.load)
        assert again is not None, "what was kept is refused"
        assert again.floors == found.floors
        assert again.metadata == found.metadata


def _session_seeds() -> Mapping[str, bytes]:
    made = {
        role: joined({role: json.dumps(part, separators=(",", ":")).encode()})
        for role, part in _VALID.items()
    }
    return made | {
        "late-issue": joined({"timestamp": b'{"issuedAt":"2999-01-01T00:00:00Z"}'}),
        "next-root": joined({"root": b'{"version":2}'}),
        "versions": joined({"timestamp": b'{"version":3}', "snapshot": b'{"version":1}'}),
    }


TRUST_SUBJECTS = {
    "tuf-session": Subject(
        run=tuf_session,
        seeds=_session_seeds,
        words=lambda: (
            *(f"== {role}\n" for role in _ROLES),
            *(f'"{word}":' for word in ("version", "expires", "meta", "delegations", "issuedAt")),
            *(
                f'"{word}":'
                for word in ("targets", "roles", "keys", "keyids", "threshold", "hashes")
            ),
            *(f'"{word}":' for word in ("length", "spec_version", "paths", "path_hash_prefixes")),
            *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "succinct_roles", "bit_length"),
        ),
        max_bytes=2048,
    ),
    "tuf-files": Subject(
        run=tuf_files,
        seeds=lambda: {
            **{name.removesuffix(".json"): joined({name: data}) for name, data in _WHOLE.items()},
            "year-one": joined(
                {"timestamp.json": _WHOLE["timestamp.json"].replace(b"2026-07", b"0001-07")}
            ),
        },
        words=lambda: (
            *(f"== {role}.json\n" for role in _ROLES),
            *(f'"{word}":' for word in ("signatures", "signed", "_type", "version", "expires")),
            *("timestamp", "snapshot", "targets", "root", "0001-01-01T00:00:00Z", "1e999"),
        ),
    ),
    "trust-store": Subject(
        run=trust_store,
        seeds=lambda: {
            "kept": canonical_json(
                {"floors": {"timestamp": 3, "root": 1}, "referenceTime": _AT.isoformat()}
            )
            + joined({"timestamp.json": b"{}"}),
            "zone": b'{"floors":{},"referenceTime":"0001-01-01T00:00:00+23:59"}',
        },
        words=lambda: ('"floors":', '"referenceTime":', "1e999", "NaN", "+23:59", "9999-12-31"),
        max_bytes=512,
    ),
}
