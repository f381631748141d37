"""The trust store port: what one authority last had accepted, loaded and saved as one set.

A folder for people and assessors stands here, and :class:`MemoryTrustStore`, the double.
The agent keeps the same set in its journal's database.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from primum_verifier.core.document import canonical_json, read_json
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.durable import storage_error, write_file

FLOORS_FILE = "primum.floors"
"""No name that TUF could give to a role's file."""
_SUFFIX = ".json"
_HISTORY = "root_history"


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
    """

    metadata: Mapping[str, bytes] = field(default_factory=dict)
    view: Mapping[str, bytes] = field(default_factory=dict)
    documents: Mapping[str, bytes] = field(default_factory=dict)
    floors: Mapping[str, int] = field(default_factory=dict)
    reference_time: datetime | None = None


class TrustStore(Protocol):
    """Keeps one authority's trusted set through power cuts."""

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

    def load(self) -> TrustedSet | None:
        """See :class:`TrustStore`."""
        return self.saved[-1] if self.saved else None

    def save(self, trusted: TrustedSet) -> None:
        """See :class:`TrustStore`."""
        self.saved.append(trusted)


class FolderTrustStore:
    """A folder that holds the metadata under the names ``tuf`` gives it, and the floors.

    It serves ``fetch``, which judges nothing, so it keeps neither view nor documents.

    A metadata file that is damaged or emptied is harmless: the client asks for it again, and
    the floors, kept in a file of their own, still refuse an older version.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self) -> TrustedSet | None:
        """See :class:`TrustStore`."""
        try:
            if not self._folder.is_dir():
                return None
            metadata = {
                path.name: path.read_bytes() for path in sorted(self._folder.glob(f"*{_SUFFIX}"))
            }
            for path in sorted((self._folder / _HISTORY).glob(f"*{_SUFFIX}")):
                metadata[f"{_HISTORY}/{path.name}"] = path.read_bytes()
            floors, reference_time = self._load_floors()
        except OSError as error:
            raise storage_error(error, self._folder) from error
        return TrustedSet(metadata=metadata, floors=floors, reference_time=reference_time)

    def _load_floors(self) -> tuple[dict[str, int], datetime | None]:
        path = self._folder / FLOORS_FILE
        if not path.exists():
            return {}, None
        content = read_json(path.read_bytes(), where=str(path))
        try:
            floors = {str(role): int(version) for role, version in content["floors"].items()}
            moment = datetime.fromisoformat(content["referenceTime"]).astimezone(UTC)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RefusedError(
                "The floors of the trusted versions cannot be read.",
                reason=Reason.STATE_DAMAGED,
                where=str(path),
                found=json.dumps(content)[:200],
                expected="floors and referenceTime",
                remedy="Restore the file from a copy; without it an old repository looks new.",
            ) from error
        return floors, moment

    def save(self, trusted: TrustedSet) -> None:
        """See :class:`TrustStore`. The floors go first, so that a cut never loses them."""
        try:
            (self._folder / _HISTORY).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(error, self._folder) from error
        moment = trusted.reference_time or datetime.fromtimestamp(0, UTC)
        content = {"floors": dict(trusted.floors), "referenceTime": moment.isoformat()}
        self._write_if_changed(self._folder / FLOORS_FILE, canonical_json(content))
        for name, data in trusted.metadata.items():
            self._write_if_changed(self._folder / name, data)

    @staticmethod
    def _write_if_changed(path: Path, data: bytes) -> None:
        try:
            same = path.is_file() and path.read_bytes() == data
        except OSError:
            same = False
        if not same:
            write_file(path, data)
