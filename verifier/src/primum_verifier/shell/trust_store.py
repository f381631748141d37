"""The trust store port: what one authority last had accepted, loaded and saved as one set.

A folder for people and assessors stands here, and :class:`MemoryTrustStore`, the double.
The agent keeps the same set in its journal's database.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from primum_verifier.core.document import canonical_json, read_json
from primum_verifier.core.errors import BusyError, FailedError, PrimumError, RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.durable import remove_leftovers, storage_error, write_file

FLOORS_FILE = "primum.floors"
FLOORS_COPY = "primum.floors.copy"
PROOFS_FOLDER = "primum.proofs"
"""No names that TUF could give to a role's file: those end in ``.json``."""

_SUFFIX = ".json"
_HISTORY = "root_history"
_NEVER = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class TrustedSet:
    """What was accepted of one authority.

    Attributes:
        metadata: TUF metadata by the file name that ``tuf`` gives it, for example
            ``timestamp.json`` or ``root_history/2.root.json``.
        view: the metadata of the last run that ended well, whole: what is judged by. A run that
            ended early may have left newer files in ``metadata``, and changes nothing here.
        documents: the small signed documents that belong to ``view``, by target name.
        floors: for each role and set of keys, the highest version ever accepted
            (TUF 5.4.3, 5.5.5); a role's floor starts anew only with a root that changes its keys.
        reference_time: the time at which it was accepted.
        proofs: versions that were signed with two contents, by name; evidence for people, which
            nothing is judged by (see ``tuf_equivocation``).
    """

    metadata: Mapping[str, bytes] = field(default_factory=dict)
    view: Mapping[str, bytes] = field(default_factory=dict)
    documents: Mapping[str, bytes] = field(default_factory=dict)
    floors: Mapping[str, int] = field(default_factory=dict)
    reference_time: datetime | None = None
    proofs: Mapping[str, bytes] = field(default_factory=dict)

    def with_proofs(self, proofs: Mapping[str, bytes]) -> TrustedSet:
        """The same set with other proofs."""
        return replace(self, proofs=proofs)


class TrustStore(Protocol):
    """Keeps one authority's trusted set through power cuts."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Be the only one over this store from loading to saving.

        Otherwise a slower run with older metadata could save over a newer one.

        Raises:
            BusyError: ``state.busy`` at once, when another process is.
        """
        ...

    def load(self) -> TrustedSet | None:
        """What was saved last, or None when nothing ever was."""
        ...

    def save(self, trusted: TrustedSet) -> None:
        """Keep ``trusted`` instead of what was there.

        Raises:
            FailedError: it could not be kept; what was there still is.
        """
        ...


class MemoryTrustStore:
    """The double of the port: keeps the set in memory and counts the saves."""

    def __init__(self) -> None:
        self.saved: list[TrustedSet] = []

    def exclusive(self) -> AbstractContextManager[None]:
        """See :class:`TrustStore`; one process alone has this memory."""
        return nullcontext()

    def load(self) -> TrustedSet | None:
        """See :class:`TrustStore`."""
        return self.saved[-1] if self.saved else None

    def save(self, trusted: TrustedSet) -> None:
        """See :class:`TrustStore`."""
        self.saved.append(trusted)


class FolderTrustStore:
    """A folder that holds the metadata under the names ``tuf`` gives it, floors and proofs.

    It serves ``fetch``, which judges nothing, so it keeps neither view nor documents.

    A metadata file that is damaged or emptied is harmless: the client asks for it again, and the
    floors, in files of their own, still refuse an older version. One copy of the floors mends the
    other; when neither can be read, nothing is trusted until a person has looked.

    Args:
        folder: made when it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Lock the folder itself, which works where nothing can be written, and tidy it.

        The kernel holds the lock, so a dead process leaves none behind. Whoever comes second is
        told at once: waiting would hide a process that hangs.
        """
        try:
            if not self._folder.is_dir():
                self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise storage_error(error, self._folder) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BusyError(
                    "Another process works over this folder of trusted metadata.",
                    reason=Reason.STATE_BUSY,
                    where=str(self._folder),
                    found="locked",
                    remedy="Try again when it has ended.",
                ) from error
            for folder in (self._folder, self._folder / _HISTORY, self._folder / PROOFS_FOLDER):
                remove_leftovers(folder)
            yield
        finally:
            os.close(descriptor)

    def load(self) -> TrustedSet | None:
        """See :class:`TrustStore`."""
        try:
            if not self._folder.is_dir():
                return None
            metadata = self._files(self._folder, _SUFFIX)
            history = self._files(self._folder / _HISTORY, _SUFFIX)
            metadata |= {f"{_HISTORY}/{name}": data for name, data in history.items()}
            proofs = self._files(self._folder / PROOFS_FOLDER, "")
            floors, moment = self._load_floors()
        except OSError as error:
            raise storage_error(error, self._folder) from error
        return TrustedSet(metadata=metadata, floors=floors, reference_time=moment, proofs=proofs)

    @staticmethod
    def _files(folder: Path, suffix: str) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(folder.glob(f"*{suffix}"))}

    def _load_floors(self) -> tuple[dict[str, int], datetime | None]:
        """The higher of both copies; a cut may have come between the two."""
        readable: list[tuple[dict[str, int], datetime]] = []
        problems: list[PrimumError] = []
        for name in (FLOORS_FILE, FLOORS_COPY):
            path = self._folder / name
            if path.exists():
                try:
                    readable.append(read_floors(path.read_bytes(), where=str(path)))
                except PrimumError as error:
                    problems.append(error)
        if readable:
            return highest(*(floors for floors, _ in readable)), max(at for _, at in readable)
        if problems:
            raise problems[0]
        return {}, None

    def save(self, trusted: TrustedSet) -> None:
        """See :class:`TrustStore`. The floors go first, so that a cut never loses them.

        In a folder that cannot be written this succeeds when all that would change is the time
        of acceptance: whoever only looks needs no permission to write.
        """
        moment = trusted.reference_time or _NEVER
        files = {**trusted.metadata}
        files |= {f"{PROOFS_FOLDER}/{name}": data for name, data in trusted.proofs.items()}
        changed = {name: data for name, data in files.items() if not self._holds(name, data)}
        content = {"floors": dict(trusted.floors), "referenceTime": moment.isoformat()}
        floors = canonical_json(content)
        try:
            for name in (FLOORS_FILE, FLOORS_COPY):
                if not self._holds(name, floors):
                    write_file(self._folder / name, floors)
        except FailedError as error:
            if changed or error.reason is not Reason.STATE_READ_ONLY or self._lacks(trusted):
                raise
        for name, data in changed.items():
            path = self._folder / name
            try:
                path.parent.mkdir(exist_ok=True)
            except OSError as error:
                raise storage_error(error, path.parent) from error
            write_file(path, data)

    def _holds(self, name: str, data: bytes) -> bool:
        path = self._folder / name
        try:
            return path.is_file() and path.read_bytes() == data
        except OSError:
            return False

    def _lacks(self, trusted: TrustedSet) -> bool:
        """Whether a floor would be lost if it were not written."""
        try:
            return self._load_floors()[0] != dict(trusted.floors)
        except (OSError, PrimumError):
            return True


def read_floors(data: bytes, *, where: str) -> tuple[dict[str, int], datetime]:
    """The floors, and the time of acceptance, that a folder keeps.

    Raises:
        RefusedError: ``state.damaged``.
    """
    try:
        content = read_json(data, where=where)
        floors = {str(role): int(version) for role, version in content["floors"].items()}
        moment = datetime.fromisoformat(content["referenceTime"]).astimezone(UTC)
    except (PrimumError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RefusedError(
            "The floors of the trusted versions cannot be read.",
            reason=Reason.STATE_DAMAGED,
            where=where,
            found=data[:200].decode(errors="replace") or "nothing",
            expected="floors and referenceTime",
            remedy="Restore the file from a copy; without it an old repository looks new.",
        ) from error
    return floors, moment


def highest(*floors: Mapping[str, int]) -> dict[str, int]:
    """The highest version of each role and set of keys in any of ``floors``."""
    found: dict[str, int] = {}
    for some in floors:
        for name, version in some.items():
            found[name] = max(version, found.get(name, 0))
    return found
