"""A workbench: one folder in which the people of one authority keep keys, drafts and records.

::

    workbench.toml     settings: roles, thresholds, lives, the other authority's web root
    keys/              private keys, encrypted, and their public halves
    releases/          drafts of releases (engineering)
    statements/        drafts of eligibility statements with their approvals (clinical)
    staging/           signed, not yet published
    web/               the published web root: metadata/, targets/, artifacts/
    records/           what was signed, approved, published and overridden; only ever appended
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from primum_repo_tools.authority_settings import (
    AuthorityName,
    WorkbenchSettings,
    first_settings,
)
from primum_repo_tools.files import append_durably, make_folder, read_input, write_durably
from primum_repo_tools.moments import plain
from primum_repo_tools.settings import parse_settings, read_settings
from primum_verifier.core.document import canonical_json, read_json
from primum_verifier.core.errors import BusyError, FailedError, RefusedError, UsageError
from primum_verifier.core.reasons import Reason

SETTINGS_FILE = "workbench.toml"
_WITH_STATIONS = (
    " --provisioning-key station-1/provisioning.public.json --provisioning-key "
    "station-2/provisioning.public.json; make a station's key before: "
    "primum-repo device key station-1"
)


@dataclass(frozen=True)
class Workbench:
    """The folders of one workbench and its settings.

    Attributes:
        folder: the workbench itself, absolute.
        settings: what ``workbench.toml`` says.
    """

    folder: Path
    settings: WorkbenchSettings

    @property
    def authority(self) -> AuthorityName:
        """Which authority works here."""
        return self.settings.authority

    @property
    def web(self) -> Path:
        """The published web root."""
        return self.folder / "web"

    @property
    def staging(self) -> Path:
        """What is signed and not yet published."""
        return self.folder / "staging"

    @property
    def peer(self) -> Path | None:
        """The other authority's web root, or None where the settings name none."""
        return (self.folder / self.settings.peer).resolve() if self.settings.peer else None

    @property
    def is_created(self) -> bool:
        """Whether the authority's first root was published."""
        return (self.web / "metadata" / "timestamp.json").exists()

    def release(self, component: str, version: str) -> Path:
        """The folder of one release's draft."""
        return self.folder / "releases" / component / version

    def statement(self, component: str, version: str) -> Path:
        """The folder of one eligibility statement's draft."""
        return self.folder / "statements" / component / version

    def record(self, act: str, *, at: datetime, **facts: object) -> None:
        """Append one line to the workbench's records.

        Args:
            act: what was done, noun and verb, such as ``release.signed``.
            at: when.
            **facts: what a reader needs to find the thing again: names, versions, digests.
        """
        line = canonical_json({"at": plain(at), "act": act, **facts})
        append_durably(self.folder / "records" / "log.jsonl", line)

    def records(self) -> list[dict[str, object]]:
        """Every record, oldest first; a line cut short by a power loss is left out."""
        path = self.folder / "records" / "log.jsonl"
        if not path.exists():
            return []
        found = []
        for line in path.read_bytes().splitlines():
            try:
                record = read_json(line, where=str(path))
            except RefusedError:
                continue
            if isinstance(record, dict):
                found.append(record)
        return found

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the workbench for one command; the lock ends with the process.

        Raises:
            BusyError: ``state.busy``; another command is at work here.
        """
        try:
            descriptor = os.open(
                self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644
            )
        except OSError as error:
            raise FailedError(
                "The workbench cannot be locked.",
                reason=Reason.STATE_READ_ONLY,
                where=str(self.folder),
                found=error.strerror or str(error),
                remedy="Work as a user who may write here.",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise BusyError(
                "Another command is at work in this workbench.",
                reason=Reason.STATE_BUSY,
                where=str(self.folder),
                remedy="Wait until it has ended, then run this again.",
            ) from error
        try:
            yield
        finally:
            os.close(descriptor)


def create_workbench(
    folder: Path,
    *,
    authority: AuthorityName,
    title: str,
    peer: Path | None,
    now: datetime,
    sites: Sequence[str] = (),
) -> Workbench:
    """Make the folders and the settings of a new workbench; nothing is signed yet.

    Raises:
        UsageError: ``folder`` holds a workbench or anything else already.
    """
    if (folder / SETTINGS_FILE).exists():
        raise UsageError(
            "This folder is a workbench already.",
            reason=Reason.USAGE,
            where=str(folder),
            remedy="Choose another folder, or go on with this one.",
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            "This folder is not empty and no workbench.",
            reason=Reason.USAGE,
            where=str(folder),
            expected="an empty folder, or one that is not there yet",
            remedy="Choose another folder: keys and records lie in one of their own.",
        )
    relative = os.path.relpath(peer.resolve(), folder.resolve()) if peer is not None else ""
    content = first_settings(authority, title=title, peer=relative, sites=sites)
    parse_settings(WorkbenchSettings, content, where="--title, --site")
    make_folder(folder)
    make_folder(folder / "keys", mode=0o700)
    write_durably(folder / SETTINGS_FILE, content)
    workbench = open_workbench(folder)
    workbench.record("workbench.made", at=now, authority=authority, title=title)
    return workbench


def open_workbench(folder: Path, *, authority: AuthorityName | None = None) -> Workbench:
    """Open the workbench in ``folder``.

    Args:
        folder: the workbench.
        authority: the authority that the command is for, or None for either.

    Raises:
        UsageError: it is no workbench, its settings are wrong, or it is the other authority's.
    """
    if not (folder / SETTINGS_FILE).is_file():
        raise UsageError(
            "This folder is no workbench.",
            reason=Reason.USAGE,
            where=str(folder),
            expected=f"a folder with {SETTINGS_FILE}",
            remedy=f"Make one: primum-repo init {folder} --authority {authority or 'engineering'}",
        )
    settings = read_settings(
        WorkbenchSettings, folder / SETTINGS_FILE, what="settings of the workbench"
    )
    if authority is not None and settings.authority != authority:
        raise UsageError(
            "This is another authority's workbench.",
            reason=Reason.USAGE,
            where=str(folder),
            found=settings.authority,
            expected=authority,
            remedy=f"Run the command in the {authority} workbench.",
        )
    return Workbench(folder=folder.resolve(), settings=settings)


def open_created(folder: Path, *, authority: AuthorityName | None = None) -> Workbench:
    """Open a workbench whose authority exists; see :func:`open_workbench`.

    Raises:
        UsageError: also when the authority was not created yet.
    """
    workbench = open_workbench(folder, authority=authority)
    if not workbench.is_created:
        raise UsageError(
            "This authority was not created yet.",
            reason=Reason.USAGE,
            where=str(folder),
            remedy=f"Create it: primum-repo authority create {folder}"
            + ("" if workbench.authority == "site" else _WITH_STATIONS),
        )
    return workbench


def draft_bytes(path: Path, *, what: str, remedy: str) -> bytes:
    """The bytes of a draft that an earlier command leaves.

    Raises:
        UsageError: there is none; ``remedy`` names the command that makes it.
    """
    if not path.is_file():
        raise UsageError(
            f"There is no {what}.", reason=Reason.USAGE, where=str(path), remedy=remedy
        )
    return read_input(path, what=what)
