"""The scratch folder that ``tuf`` works in: filled from the trust store, read back, always removed.

``tuf`` keeps its cache in a folder and syncs nothing, so it never sees the trust store itself.
A run that was killed leaves its folder behind; the next run takes it away.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Targets

from primum_verifier.shell.durable import storage_error

_PREFIX = "primum-tuf-"
_SUFFIX = ".json"
_HISTORY = "root_history"
_SETTLED_SECONDS = 60.0
"""A folder younger than this may belong to a run that is just about to lock it."""


def file_of(role: str) -> str:
    """The name that ``tuf`` gives to the file of a role."""
    return f"{quote(role, '')}{_SUFFIX}"


def role_of_file(file_name: str) -> str:
    """The role whose file it is."""
    return unquote(file_name.removesuffix(_SUFFIX))


@contextmanager
def scratch_folder(parent: Path | None) -> Iterator[Path]:
    """A folder of this run's own, locked while it lasts; what killed runs left goes first.

    Args:
        parent: where to make it; the system's temporary folder when None.

    Raises:
        FailedError: it cannot be made.
    """
    where = Path(tempfile.gettempdir()) if parent is None else parent
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=where))
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise storage_error(error, where) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        _sweep(where, now=os.fstat(descriptor).st_mtime)
        yield folder
    finally:
        os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(where: Path, *, now: float) -> None:
    """Remove the folders of dead runs: nobody holds their lock any more."""
    for folder in where.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            descriptor = os.open(
                folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            )
            try:
                status = os.fstat(descriptor)
                if status.st_uid != os.geteuid() or now - status.st_mtime < _SETTLED_SECONDS:
                    continue
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


class Scratch:
    """What lies in the scratch folder, beside what lay in the trust store before the run.

    Args:
        folder: the empty folder.
        before: the metadata of the trust store, by the file name that ``tuf`` gives it.
    """

    def __init__(self, folder: Path, before: Mapping[str, bytes]) -> None:
        self.folder = folder
        self.before = before
        self._data: dict[str, bytes | None] = {}
        self._parsed: dict[str, tuple[bytes, Metadata[Any] | None]] = {}

    def fill(self) -> None:
        """Lay out what the trust store held; ``tuf`` makes its own link to the newest root."""
        (self.folder / _HISTORY).mkdir()
        for name, data in self.before.items():
            if name != "root.json":
                (self.folder / name).write_bytes(data)

    def changed(self) -> None:
        """Forget what was read: ``tuf`` may have written since."""
        self._data.clear()

    def files(self) -> dict[str, bytes]:
        """Everything there now, by file name."""
        found = {path.name: path.read_bytes() for path in sorted(self.folder.glob(f"*{_SUFFIX}"))}
        for path in sorted((self.folder / _HISTORY).glob(f"*{_SUFFIX}")):
            found[f"{_HISTORY}/{path.name}"] = path.read_bytes()
        return found

    def roles(self) -> list[str]:
        """The roles that have a file, in the order of their file names."""
        return [role_of_file(path.name) for path in sorted(self.folder.glob(f"*{_SUFFIX}"))]

    def data(self, role: str) -> bytes | None:
        """The file of a role; None when there is none."""
        if role not in self._data:
            try:
                self._data[role] = (self.folder / file_of(role)).read_bytes()
            except OSError:
                self._data[role] = None
        return self._data[role]

    def metadata(self, role: str) -> Metadata[Any] | None:
        """The file of a role, parsed; None when there is none or it is damaged.

        A damaged file stems from the trust store. It says nothing, and ``tuf`` asks again for it.
        """
        data = self.data(role)
        if data is None:
            return None
        known = self._parsed.get(role)
        if known is None or known[0] != data:
            try:
                known = (data, Metadata.from_bytes(data))
            except RepositoryError:
                known = (data, None)
            self._parsed[role] = known
        return known[1]

    def root(self) -> Root:
        """The root that is trusted now."""
        found = self.metadata(Root.type)
        if found is None or not isinstance(found.signed, Root):
            raise RuntimeError("the library has not yet said which root is trusted")
        return found.signed

    def targets(self, role: str) -> Targets | None:
        """What a role that lists targets says; None when it has no readable file."""
        found = self.metadata(role)
        return found.signed if found is not None and isinstance(found.signed, Targets) else None

    def put_back(self, role: str) -> None:
        """Undo what the run did to the file of a role."""
        name = file_of(role)
        kept = self.before.get(name)
        if kept is None:
            (self.folder / name).unlink(missing_ok=True)
        else:
            (self.folder / name).write_bytes(kept)
        self.changed()
