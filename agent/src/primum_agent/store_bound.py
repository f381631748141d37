"""How much of the disk the releases on a device use, and the bound that a device may set to it."""

from __future__ import annotations

from pathlib import Path

from primum_agent.layout import Layout
from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason


def used_bytes(layout: Layout) -> int:
    """Bytes in files and generations; a file that lies there under several names counts once."""
    found: dict[tuple[int, int], int] = {}
    for top in (layout.store, layout.generations):
        for path in _files_below(top):
            try:
                known = path.lstat()
            except OSError:
                # Removed meanwhile.
                continue
            found[known.st_dev, known.st_ino] = known.st_size
    return sum(found.values())


def partial_bytes(layout: Layout) -> int:
    """Bytes of files on their way; they count in :func:`used_bytes`, too."""
    found = 0
    for path in _files_below(layout.partial):
        try:
            found += path.lstat().st_size if path.suffix != ".note" else 0
        except OSError:
            # Removed, or renamed to its digest, meanwhile.
            continue
    return found


def _files_below(top: Path) -> list[Path]:
    try:
        return [path for path in top.rglob("*") if path.is_symlink() or not path.is_dir()]
    except OSError:
        return []


def refuse_beyond(layout: Layout, *, max_bytes: int, needed: int) -> None:
    """Refuse what would not fit into the bound.

    Args:
        layout: the state folder's names.
        max_bytes: the bound.
        needed: bytes still to come.

    Raises:
        FailedError: ``resource.storage``; nothing was written.
    """
    used = used_bytes(layout)
    if used + needed > max_bytes:
        raise FailedError(
            "The release does not fit into the bound of the content store.",
            reason=Reason.RESOURCE_STORAGE,
            where=str(layout.store),
            found=f"{used} bytes used, {needed} to come",
            expected=f"at most {max_bytes} bytes: max_bytes of [store] in agent.toml",
            remedy="Raise max_bytes, or have the plan give a smaller release; what is needed to "
            "go back is not given up for it, and what runs goes on.",
        )
