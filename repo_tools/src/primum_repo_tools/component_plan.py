"""The components of a set as code: ``[[components]]`` in ``release.toml``, in their order.

Each names the installer on the device that takes it, and what that installer takes: a tree a
folder, RAUC an image, a maker's hook files with their kinds.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from primum_repo_tools.settings import FileName
from primum_verifier.core.component import InstallerKind
from primum_verifier.core.document import Document, Slug, Version

MAX_COMPONENTS = 20
ComponentId = Annotated[Slug, StringConstraints(max_length=40)]
"""Short: the names of the component's files begin with it."""


class HookFile(Document):
    """One file that a maker's hook is handed; the kind says how heavy a change of it weighs."""

    file: FileName
    kind: Literal["application", "configuration", "driver", "runtime"]


class ComponentPlan(Document):
    """One component: ``tree`` for a tree, ``image`` for RAUC, ``files`` for a hook.

    ``pack`` says how a tree's files are carried: ``xz`` makes the first download small, ``plain``
    the ones after it, because a delta finds nothing alike in what was compressed.
    """

    id: ComponentId
    version: Version
    installer: InstallerKind
    tree: FileName | None = None
    image: FileName | None = None
    files: tuple[HookFile, ...] = Field(default=(), max_length=50)
    pack: Literal["xz", "plain"] = "xz"

    @model_validator(mode="after")
    def _names_what_its_installer_takes(self) -> ComponentPlan:
        given = {"tree": self.tree, "image": self.image, "files": self.files or None}
        wanted = {
            InstallerKind.TREE: "tree",
            InstallerKind.RAUC: "image",
            InstallerKind.HOOK: "files",
        }[self.installer]
        if [name for name, value in given.items() if value is not None] != [wanted]:
            raise ValueError(f"installer {self.installer} takes {wanted}, and nothing else")
        if self.pack != "xz" and self.installer is not InstallerKind.TREE:
            raise ValueError(f"installer {self.installer} takes no pack")
        return self
