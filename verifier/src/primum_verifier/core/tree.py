"""A software tree: a signed list of plain files, and the pack that carries their bytes.

The list names each file with its length and digest.  The pack is the bytes of the files in the
order of the list, one after the other, compressed; it holds no names, so there is no archive
format to attack: no links, no devices, no owners, no member that the list does not name.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from primum_verifier.core.document import Document, SchemaVersion, Sha256
from primum_verifier.core.limits import MAX_TREE_BYTES, MAX_TREE_DEPTH, MAX_TREE_FILES

TREE_TYPE = "urn:primum:tree-list:v0.1"

_PART = r"[A-Za-z0-9_+@=,~-][A-Za-z0-9._+@=,~-]{0,199}"

TreePath = Annotated[
    str, StringConstraints(max_length=1000, pattern=rf"^(\.?{_PART})(/\.?{_PART})*$")
]
"""A relative path in plain ASCII; no part is empty, ``.`` or ``..``, none holds a separator."""


class TreeFile(Document):
    """One plain file."""

    path: TreePath
    length: Annotated[int, Field(ge=0, le=MAX_TREE_BYTES)]
    sha256: Sha256
    executable: bool = False


class TreeList(Document):
    """Every file of a tree, in the order in which the pack carries their bytes."""

    type: Literal["urn:primum:tree-list:v0.1"]
    schema_version: SchemaVersion
    compression: Literal["xz", "none"]
    files: tuple[TreeFile, ...] = Field(min_length=1, max_length=MAX_TREE_FILES)

    @model_validator(mode="after")
    def _files_fit_together(self) -> TreeList:
        # One name for one file, also where the file system does not tell upper from lower case.
        names = [file.path.lower() for file in self.files]
        files = set(names)
        if len(files) != len(names):
            raise ValueError("two files share a path, or differ in letter case alone")
        if [file.path for file in self.files] != sorted(file.path for file in self.files):
            raise ValueError("the files are not in the order of their paths")
        for name in names:
            parts = name.split("/")
            if len(parts) - 1 > MAX_TREE_DEPTH:
                raise ValueError(f"a path is deeper than {MAX_TREE_DEPTH} folders")
            if any("/".join(parts[:depth]) in files for depth in range(1, len(parts))):
                raise ValueError("a file is also a folder")
        if self.length > MAX_TREE_BYTES:
            raise ValueError(f"the files are longer than {MAX_TREE_BYTES} bytes together")
        return self

    @property
    def length(self) -> int:
        """Bytes of all files together."""
        return sum(file.length for file in self.files)
