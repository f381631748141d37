"""The files of a component, laid into a release: named once for every device, digested on the way.

An item's id and path are made of the component's id, so that a rebuild from another folder has the
same: ``<id>.tree-list.json`` and ``<id>.tree-pack``, ``<id>.raucb``, ``<id>.<file>`` for a hook.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from primum_repo_tools.component_plan import ComponentPlan
from primum_repo_tools.files import pieces_of, write_durably
from primum_repo_tools.progress import Progress
from primum_repo_tools.source_tree import read_tree
from primum_repo_tools.tree_pack import pack_tree
from primum_verifier.core.component import InstallerKind, ItemKind
from primum_verifier.core.document import sha256_hex
from primum_verifier.core.errors import UsageError
from primum_verifier.core.limits import MAX_ARTIFACT_BYTES
from primum_verifier.core.reasons import Reason

_HOOK_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,38}")
"""With the component's id before it, it still is the name of an item."""


@dataclass(frozen=True)
class LaidComponent:
    """A component whose files lie in the release.

    Attributes:
        component: its entry in the manifest.
        items: the items that it claims, as the manifest holds them.
        left_out: folders of the tree that hold no file, by their paths.
    """

    component: dict[str, object]
    items: tuple[dict[str, object], ...]
    left_out: tuple[str, ...] = ()


def lay_component(
    plan: ComponentPlan, folder: Path, into: Path, *, progress: Progress
) -> LaidComponent:
    """Lay the files of one component into the folder of a release.

    Args:
        plan: the component as code.
        folder: the files that it names are relative to it.
        into: where the files of the release lie.
        progress: told over what is read.

    Raises:
        UsageError: a file is missing, empty, too large, or nothing that a release can carry.
        FailedError: the disk failed.
    """
    left_out: tuple[str, ...] = ()
    match plan.installer:
        case InstallerKind.TREE:
            items, left_out = _tree(plan, folder / (plan.tree or ""), into, progress)
        case InstallerKind.RAUC:
            source = folder / (plan.image or "")
            names = (f"{plan.id}.image", f"{plan.id}.raucb")
            items = [_copied(ItemKind.OS_IMAGE, names, source, into, progress)]
        case InstallerKind.HOOK:
            items = [
                _copied(ItemKind(item.kind), _hook_names(plan, item.file), source, into, progress)
                for item, source in ((item, folder / item.file) for item in plan.files)
            ]
            _require_names_of_their_own(plan, items)
    component: dict[str, object] = {
        "id": plan.id,
        "version": plan.version,
        "installer": plan.installer,
        "items": [item["id"] for item in items],
    }
    return LaidComponent(component, tuple(items), left_out)


def _tree(
    plan: ComponentPlan, source: Path, into: Path, progress: Progress
) -> tuple[list[dict[str, object]], tuple[str, ...]]:
    tree = read_tree(source)
    list_path, pack_path = f"{plan.id}.tree-list.json", f"{plan.id}.tree-pack"
    packed = pack_tree(tree, into / pack_path, progress=progress, pack_as=plan.pack)
    write_durably(into / list_path, packed.list_data)
    digest, length = sha256_hex(packed.list_data), len(packed.list_data)
    items = [
        _item(ItemKind.TREE_LIST, (f"{plan.id}.tree-list", list_path), length, digest),
        _item(ItemKind.TREE_PACK, (pack_path, pack_path), packed.pack_length, packed.pack_sha256),
    ]
    return items, tree.empty_folders


def _copied(
    kind: ItemKind, names: tuple[str, str], source: Path, into: Path, progress: Progress
) -> dict[str, object]:
    size = _size(source, kind)
    hasher, length = hashlib.sha256(), 0

    def counted() -> Iterator[bytes]:
        nonlocal length
        pieces = pieces_of(source, what=f"{kind} of the release")
        for piece in progress.over(pieces, what=f"Copying {source.name}", of=size):
            hasher.update(piece)
            length += len(piece)
            yield piece

    write_durably(into / names[1], counted())
    return _item(kind, names, length, hasher.hexdigest())


def _size(source: Path, kind: ItemKind) -> int:
    try:
        found = source.stat()
    except OSError as error:
        raise _not_taken(source, kind, error.strerror or str(error)) from error
    if not stat.S_ISREG(found.st_mode):
        raise _not_taken(source, kind, "no plain file")
    if not 0 < found.st_size <= MAX_ARTIFACT_BYTES:
        raise _not_taken(source, kind, f"{found.st_size} bytes")
    return found.st_size


def _not_taken(source: Path, kind: ItemKind, found: str) -> UsageError:
    return UsageError(
        f"The {kind} of a component cannot be taken.",
        reason=Reason.USAGE,
        where=os.path.normpath(source),
        found=found,
        expected=f"a readable file of 1 to {MAX_ARTIFACT_BYTES} bytes",
        remedy="Check the path; a path inside a file starts at the folder of that file.",
    )


def _hook_names(plan: ComponentPlan, file: str) -> tuple[str, str]:
    name = Path(file).name
    if not _HOOK_NAME.fullmatch(name):
        raise UsageError(
            "A file for a hook has a name that a release cannot carry.",
            reason=Reason.USAGE,
            where=f"component {plan.id}",
            found=name.encode("ascii", "backslashreplace").decode()[:200],
            expected="1 to 39 lower-case letters, digits and . _ -, a letter or digit first",
            remedy="Rename the file; the hook is handed it under this name.",
        )
    return f"{plan.id}.{name}", f"{plan.id}.{name}"


def _require_names_of_their_own(plan: ComponentPlan, items: list[dict[str, object]]) -> None:
    paths = [str(item["path"]) for item in items]
    if len(set(paths)) != len(paths):
        raise UsageError(
            "Two files for a hook have one name.",
            reason=Reason.USAGE,
            where=f"component {plan.id}",
            found=next(path for path in paths if paths.count(path) > 1),
            expected="file names that differ, whatever folders they come from",
        )


def _item(kind: ItemKind, names: tuple[str, str], length: int, sha256: str) -> dict[str, object]:
    item_id, path = names
    digest = {"sha256": sha256}
    return {"id": item_id, "kind": kind, "path": path, "length": length, "digest": digest}
