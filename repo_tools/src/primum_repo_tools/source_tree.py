"""A folder of software as it lies on the builder's disk: what of it a release can carry.

A tree list says of a file its path, its bytes and whether it may be run, and nothing else.  What
would be lost on the way, a link, an owner's right, a device, a name that is another name
elsewhere, is refused here with every place where it was found.  A folder without files cannot be
said; it is left out, and told.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from primum_verifier.core.errors import UsageError
from primum_verifier.core.limits import MAX_TREE_BYTES, MAX_TREE_DEPTH, MAX_TREE_FILES, MIB
from primum_verifier.core.reasons import Reason
from primum_verifier.core.tree import TreePath

_PIECE_BYTES = MIB
_SHOWN_FAULTS = 8
_PATH: TypeAdapter[str] = TypeAdapter(TreePath)
_OTHERS_RIGHTS = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX

_LINK = "Put the file itself there, or let the application make its links when it starts."
_SPECIAL = "Leave it out: pipes, sockets and devices are made by the device itself."
_RIGHTS = "Take the bits away (chmod u-s,g-s,-t); what a service may do stands in its unit."
_NAME = (
    "Rename it: ASCII letters, digits and _ + @ = , ~ - with dots inside, or one dot in front; "
    "200 characters a name, 1000 a path."
)
_CASE = "Rename one: some file systems do not tell upper from lower case."
_DEEP = f"Put it at most {MAX_TREE_DEPTH} folders deep."
_REMEDIES = (_LINK, _SPECIAL, _RIGHTS, _NAME, _CASE, _DEEP)


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One plain file of the tree.

    Attributes:
        path: as the list names it.
        source: where it lies here.
        length: bytes, when the folder was read.
        executable: whether its owner may run it.
    """

    path: str
    source: Path
    length: int
    executable: bool

    def pieces(self) -> Iterator[bytes]:
        """Its bytes, piece by piece; it is opened only as the plain file that it was.

        Raises:
            UsageError: it cannot be read, or has become something else.
        """
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(self.source, flags), "rb") as stream:
                if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                    raise changed(self)
                while piece := stream.read(_PIECE_BYTES):
                    yield piece
        except OSError as error:
            raise _unreadable(self.source, error) from error


@dataclass(frozen=True)
class SourceTree:
    """Everything in the folder that a list carries, and the folders that it cannot.

    Attributes:
        folder: the top.
        files: in the order of their paths.
        empty_folders: folders without any file below, which are left out.
    """

    folder: Path
    files: tuple[SourceFile, ...]
    empty_folders: tuple[str, ...]

    @property
    def length(self) -> int:
        """Bytes of all files together."""
        return sum(file.length for file in self.files)


def read_tree(folder: Path) -> SourceTree:
    """Read what lies in a folder, without reading any file.

    Raises:
        UsageError: it is no readable folder, holds no file, or holds what no list can carry.
    """
    if not folder.is_dir():
        raise UsageError(
            "The tree of a component cannot be read.",
            reason=Reason.USAGE,
            where=os.path.normpath(folder),
            found="no folder",
            expected="a folder with the files of the component",
            remedy="Check the path; a path inside a file starts at the folder of that file.",
        )
    walk = _Walk()
    walk.enter(folder, "")
    walk.compare_names()
    if walk.faults:
        raise _refused(folder, walk.faults)
    files = tuple(sorted(walk.files, key=lambda file: file.path))
    tree = SourceTree(folder, files, tuple(sorted(walk.empty)))
    _require_size(tree)
    return tree


def changed(file: SourceFile) -> UsageError:
    """A file did not stay the same while the release was built."""
    return UsageError(
        "A file of the tree changed while it was read.",
        reason=Reason.USAGE,
        where=str(file.source),
        remedy="Build again, once nothing else writes into the folder.",
    )


@dataclass
class _Walk:
    """One walk over a folder; faults are gathered, so that a person mends them at once."""

    files: list[SourceFile] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    faults: list[tuple[str, str, str]] = field(default_factory=list)
    """Path, what it is, and what to do about it."""

    def enter(self, folder: Path, path: str) -> bool:
        """Take one folder in; whether any file lies below."""
        if path.count("/") + 1 > MAX_TREE_DEPTH:
            self._fault(path, "too many folders deep", _DEEP)
            return True
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            raise _unreadable(folder, error) from error
        # A list and not any(): every entry has to be looked at.
        has_files = [self._take(entry, path) for entry in entries]
        if path:
            self.folders.append(path)
            if not any(has_files):
                self.empty.append(path)
        return any(has_files)

    def _take(self, entry: os.DirEntry[str], above: str) -> bool:
        path = f"{above}/{entry.name}" if above else entry.name
        try:
            found = entry.stat(follow_symlinks=False)
        except OSError as error:
            raise _unreadable(Path(entry.path), error) from error
        if stat.S_ISDIR(found.st_mode):
            return self.enter(Path(entry.path), path)
        if stat.S_ISLNK(found.st_mode):
            self._fault(path, "a symbolic link", _LINK)
        elif not stat.S_ISREG(found.st_mode):
            self._fault(path, "no plain file", _SPECIAL)
        elif found.st_mode & _OTHERS_RIGHTS:
            self._fault(path, f"mode {stat.S_IMODE(found.st_mode):04o}", _RIGHTS)
        elif not _is_path(path):
            self._fault(path, "a name that a list refuses", _NAME)
        else:
            if len(self.files) == MAX_TREE_FILES:
                raise _too_much(above or ".", f"more than {MAX_TREE_FILES} files")
            executable = bool(found.st_mode & stat.S_IXUSR)
            file = SourceFile(
                path=path, source=Path(entry.path), length=found.st_size, executable=executable
            )
            self.files.append(file)
        return True

    def compare_names(self) -> None:
        """Find the names that are one name where letter case is not told apart."""
        seen = {path.lower(): path for path in self.folders}
        for file in self.files:
            other = seen.setdefault(file.path.lower(), file.path)
            if other != file.path:
                self._fault(file.path, f"differs from {other} in letter case alone", _CASE)

    def _fault(self, path: str, what: str, remedy: str) -> None:
        self.faults.append((path, what, remedy))


def _is_path(path: str) -> bool:
    try:
        _PATH.validate_python(path)
    except ValidationError:
        return False
    return True


def _shown(path: str) -> str:
    return path.encode("ascii", "backslashreplace").decode()[:200]


def _refused(folder: Path, faults: list[tuple[str, str, str]]) -> UsageError:
    told = [f"{_shown(path)}: {what}" for path, what, _ in faults[:_SHOWN_FAULTS]]
    if len(faults) > _SHOWN_FAULTS:
        told.append(f"{len(faults) - _SHOWN_FAULTS} more")
    remedies = {remedy for *_, remedy in faults}
    return UsageError(
        "The tree holds what a release cannot carry.",
        reason=Reason.USAGE,
        where=str(folder),
        found="; ".join(told),
        expected="plain files and folders, with plain names",
        remedy=" ".join(remedy for remedy in _REMEDIES if remedy in remedies),
    )


def _require_size(tree: SourceTree) -> None:
    if not tree.files:
        raise _too_much(str(tree.folder), "no file")
    if tree.length > MAX_TREE_BYTES:
        raise _too_much(str(tree.folder), f"{tree.length} bytes")


def _too_much(where: str, found: str) -> UsageError:
    return UsageError(
        "The tree is not of a size that a device takes.",
        reason=Reason.USAGE,
        where=where,
        found=found,
        expected=f"1 to {MAX_TREE_FILES} files of {MAX_TREE_BYTES} bytes together at most",
        remedy="Leave out what the device does not need, or make two components of it.",
    )


def _unreadable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        "A part of the tree cannot be read.",
        reason=Reason.USAGE,
        where=str(path),
        found=error.strerror or str(error),
        expected="files and folders that whoever builds the release may read",
    )
