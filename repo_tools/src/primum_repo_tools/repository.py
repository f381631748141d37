"""The signed metadata of one authority: read as published, edited in staging, signed by its keys.

*Published* is what the timestamp reaches and nothing else (TUF 5.4 to 5.6): a file that a cut
left in the web root is not published, because no client can be led to it.  Edits go to
``staging/metadata/<role>.json``; only :mod:`primum_repo_tools.publishing` writes to the web root.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    TOP_LEVEL_ROLE_NAMES,
    Metadata,
    MetaFile,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer
from tuf.repository import Repository

from primum_repo_tools.clock import require_not_after, require_not_before
from primum_repo_tools.files import read_input, remove_tree, write_durably
from primum_repo_tools.keys import Secrets, Signer, open_signer
from primum_repo_tools.moments import parse_moment, plain
from primum_repo_tools.workbench import Workbench
from primum_verifier.core.errors import FailedError
from primum_verifier.core.limits import MAX_TARGETS_BYTES
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.tuf_views import ISSUED_AT

_NEW: dict[str, Callable[[], Signed]] = {
    "root": lambda: Root(consistent_snapshot=True),
    "snapshot": Snapshot,
    "timestamp": Timestamp,
}
_SERIALIZER = JSONSerializer(compact=False)
_Role = TypeVar("_Role", Root, Snapshot, Timestamp, Targets)


class AuthorityRepository(Repository):
    """The metadata of one workbench, for the length of one command.

    Args:
        workbench: whose metadata.
        now: the moment from which lives are counted.
        secrets: opens the private keys; None where nothing is signed.
        timestamp_life: another life for the timestamp than the settings say.
    """

    def __init__(
        self,
        workbench: Workbench,
        *,
        now: datetime,
        secrets: Secrets | None = None,
        timestamp_life: timedelta | None = None,
    ) -> None:
        self._workbench = workbench
        self._now = now
        self._secrets = secrets
        self._timestamp_life = timestamp_life
        self._signers: dict[str, Signer] = {}

    # What is published and what is staged

    @property
    def workbench(self) -> Workbench:
        """The workbench whose metadata this is."""
        return self._workbench

    @property
    def web_metadata(self) -> Path:
        """The folder of published metadata."""
        return self._workbench.web / "metadata"

    def staged_path(self, role: str) -> Path:
        """Where the staged metadata of a role lies."""
        return self._workbench.staging / "metadata" / f"{role}.json"

    def published_bytes(self, role: str) -> bytes | None:
        """The exact published metadata of a role, or None when it never was published."""
        if role == Root.type:
            versions = [
                int(path.name.split(".")[0]) for path in self.web_metadata.glob("*.root.json")
            ]
            name = f"{max(versions)}.root.json" if versions else ""
        elif role == Timestamp.type:
            name = "timestamp.json"
        elif role == Snapshot.type:
            reaching = self.published(Timestamp.type, Timestamp)
            name = f"{reaching.snapshot_meta.version}.snapshot.json" if reaching else ""
        else:
            snapshot = self.published(Snapshot.type, Snapshot)
            meta = snapshot.meta.get(f"{role}.json") if snapshot else None
            # A snapshot is born naming version 1 of a role targets that may not exist yet.
            name = f"{meta.version}.{role}.json" if meta else ""
        path = self.web_metadata / name
        return (
            read_input(path, what="metadata", max_bytes=MAX_TARGETS_BYTES)
            if path.is_file()
            else None
        )

    def published(self, role: str, kind: type[_Role]) -> _Role | None:
        """The published content of a role, or None."""
        data = self.published_bytes(role)
        return None if data is None else _parsed(data, kind, self.web_metadata / role)

    def published_version(self, role: str) -> int:
        """The published version of a role; 0 when it never was published."""
        return self.published_state(role)[0]

    def published_state(self, role: str) -> tuple[int, datetime | None]:
        """Version and expiry of a role as published; 0 and None when it never was."""
        data = self.published_bytes(role)
        if data is None:
            return 0, None
        signed = _metadata(data, self.web_metadata / role).signed
        return int(signed.version), signed.expires

    def published_targets(self, role: str) -> dict[str, TargetFile]:
        """The published targets of a role by name; empty when it never was published."""
        found = self.published(role, Targets)
        return {} if found is None else dict(found.targets)

    def staged_roles(self) -> list[str]:
        """The roles that differ in staging from what is published, sorted.

        A staged file that is published already is a rest of an interrupted command, and no change.
        """
        folder = self._workbench.staging / "metadata"
        roles = sorted(path.stem for path in folder.glob("[a-z]*.json"))
        return [role for role in roles if self.staged_bytes(role) != self.published_bytes(role)]

    def staged_bytes(self, role: str) -> bytes | None:
        """The exact staged metadata of a role, or None."""
        path = self.staged_path(role)
        return (
            read_input(path, what="metadata", max_bytes=MAX_TARGETS_BYTES)
            if path.is_file()
            else None
        )

    def staged(self, role: str, kind: type[_Role]) -> _Role | None:
        """The staged content of a role, or None."""
        data = self.staged_bytes(role)
        return None if data is None else _parsed(data, kind, self.staged_path(role))

    def staged_version(self, role: str) -> int:
        """The staged version of a role; 0 when nothing is staged."""
        data = self.staged_bytes(role)
        return 0 if data is None else int(_metadata(data, self.staged_path(role)).signed.version)

    def discard(self, *roles: str) -> None:
        """Drop what an earlier, interrupted command left staged for these roles."""
        for role in roles:
            self.staged_path(role).unlink(missing_ok=True)

    def discard_all(self) -> None:
        """Drop everything staged."""
        remove_tree(self._workbench.staging)

    def check_clock(self) -> None:
        """Refuse to sign with a clock that stands before what this authority signed already.

        Devices take issue times as proof of time; a time that went back proves nothing.

        Raises:
            RefusedError: ``trust.time-unknown``.
        """
        timestamp = self.published(Timestamp.type, Timestamp)
        signed = None if timestamp is None else timestamp.unrecognized_fields.get(ISSUED_AT)
        if signed is not None:
            require_not_before(self._now, signed=parse_moment(str(signed)))

    # The three things tuf's editing helper asks for

    def open(self, role: str) -> Metadata[Any]:
        """The staged, else the published, else a new first version of a role."""
        data = self.staged_bytes(role) or self.published_bytes(role)
        if data is None:
            return Metadata(_NEW.get(role, Targets)())
        return _metadata(data, self.staged_path(role))

    def close(self, role: str, md: Metadata[Any]) -> None:
        """Number, date and sign an edited role with every key of it, and stage it.

        Raises:
            RefusedError: ``trust.time-unknown``; the clock cannot be right.
        """
        self.check_clock()
        md.signed.version = self.published_version(role) + 1
        md.signed.expires = self._now + self._life(role)
        if isinstance(md.signed, Timestamp):
            require_not_after(self._now, end=md.signed.expires)
            md.signed.unrecognized_fields[ISSUED_AT] = plain(self._now)
        md.signatures.clear()
        for signer in self.signers(role):
            md.sign(signer.backend, append=True)
        write_durably(self.staged_path(role), md.to_bytes(_SERIALIZER))

    @property
    def targets_infos(self) -> dict[str, MetaFile]:
        """Version of each role of targets, as published or, for those chosen, as staged."""
        return {f"{role}.json": MetaFile(version) for role, version in self._versions.items()}

    @property
    def snapshot_info(self) -> MetaFile:
        """The version of the snapshot, staged or published."""
        return MetaFile(self.open(Snapshot.type).signed.version)

    _versions: dict[str, int]

    def stage_online(self, roles: list[str]) -> None:
        """Stage snapshot and timestamp: ``roles`` as staged, all others as published.

        Args:
            roles: roles of targets whose staged version is to be published; may be empty.
        """
        self.discard(Snapshot.type, Timestamp.type)
        snapshot = self.published(Snapshot.type, Snapshot)
        self._versions = {}
        if snapshot is not None:
            names = [name.removesuffix(".json") for name in snapshot.meta]
            self._versions = {name: snapshot.meta[f"{name}.json"].version for name in names}
        for role in roles:
            self._versions[role] = self.open(role).signed.version
        self.do_snapshot(force=True)
        self.do_timestamp(force=True)

    # Keys and lives

    def signers(self, role: str) -> list[Signer]:
        """The signers of a role, each key opened once in a command."""
        if self._secrets is None:
            raise RuntimeError("nothing can be signed without secrets")
        for address in self._workbench.settings.roles[role].keys:
            if address not in self._signers:
                self._signers[address] = open_signer(
                    address, base=self._workbench.folder, secrets=self._secrets
                )
        return [self._signers[address] for address in self._workbench.settings.roles[role].keys]

    def _life(self, role: str) -> timedelta:
        if role == Timestamp.type and self._timestamp_life is not None:
            return self._timestamp_life
        return timedelta(days=self._workbench.settings.roles[role].life_days)

    # Targets

    def put_target(self, role: str, name: str, data: bytes) -> None:
        """Put a document into the open edit of a role, its bytes into staging.

        The bytes are staged first: signed metadata never names bytes that are not there.
        """
        target = TargetFile.from_data(name, data, ["sha256"])
        write_durably(self._workbench.staging / "targets" / consistent_name(target), data)
        with self.edit_targets(role) as targets:
            targets.targets[name] = target

    def document(self, role: str, name: str) -> bytes | None:
        """The bytes of a published target, or None when it is not published."""
        target = self.published_targets(role).get(name)
        if target is None:
            return None
        path = self._workbench.web / "targets" / consistent_name(target)
        data = read_input(path, what="published document")
        if (
            target.hashes.get("sha256")
            != TargetFile.from_data(name, data, ["sha256"]).hashes["sha256"]
        ):
            raise _damaged(path)
        return data


def consistent_name(target: TargetFile) -> str:
    """Where a target lies below ``targets/``: its digest before its base name (TUF 6.2)."""
    folder, slash, base = target.path.rpartition("/")
    return f"{folder}{slash}{target.hashes['sha256']}.{base}"


def published_name(role: str, version: int) -> str:
    """The file name of a published version of a role (TUF 6.2)."""
    return "timestamp.json" if role == Timestamp.type else f"{version}.{role}.json"


def is_delegated(role: str) -> bool:
    """Whether a role is delegated from targets."""
    return role not in TOP_LEVEL_ROLE_NAMES


def _bytes_at(path: Path) -> bytes | None:
    if not path.is_file():
        return None
    return read_input(path, what="metadata", max_bytes=MAX_TARGETS_BYTES)


def _metadata(data: bytes, where: Path) -> Metadata[Any]:
    try:
        return Metadata.from_bytes(data)
    except RepositoryError as error:
        raise _damaged(where) from error


def _parsed(data: bytes, kind: type[_Role], where: Path) -> _Role:
    signed = _metadata(data, where).signed
    if not isinstance(signed, kind):
        raise _damaged(where)
    return signed


def _damaged(where: Path) -> FailedError:
    return FailedError(
        "A file of this workbench is damaged.",
        reason=Reason.STATE_DAMAGED,
        where=str(where),
        remedy="Restore the workbench from its backup; what devices fetched stays valid.",
    )
