"""Who may write to the state folder: floors that anybody can put back are no floors.

The folder is the agent's user's and nobody else writes to it, nor renames it away.  Permission
bits decide; a group that may write was chosen by the integrator.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from primum_agent.layout import Layout
from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason

_ROOT = 0


def exposure(folder: Path) -> tuple[str, str] | None:
    """How others may change what is in a folder, and the remedy; None where nobody may.

    Args:
        folder: an existing folder, no link.

    Raises:
        OSError: it cannot be looked at.
    """
    status, above = folder.stat(), folder.parent.stat()
    if status.st_uid not in {os.geteuid(), _ROOT}:
        return f"owned by user {status.st_uid}", f"Run as that user, or chown {folder}"
    if status.st_mode & stat.S_IWOTH:
        return "anybody may write to it", f"chmod o-w {folder}"
    # Where the sticky bit is set, only an owner takes away what is his.
    if above.st_mode & stat.S_IWOTH and not above.st_mode & stat.S_ISVTX:
        return "anybody may put another in its place", f"chmod o-w {folder.parent}"
    return None


def refuse_exposed(layout: Layout) -> None:
    """Begin nothing in a state folder that others may change; one that is not there is made.

    Raises:
        FailedError: ``state.exposed``.
    """
    try:
        found = exposure(layout.root)
    except OSError:
        # What it is then, whoever needs it says: absent, unreadable, or on a disk that fails.
        return
    if found is not None:
        what, remedy = found
        raise FailedError(
            "Others may change the state folder; nothing is begun in it.",
            reason=Reason.STATE_EXPOSED,
            where=str(layout.root),
            found=what,
            expected="a folder of the agent's user that nobody else may write to",
            remedy=f"{remedy}; then look who wrote to it, and export the history.",
        )
