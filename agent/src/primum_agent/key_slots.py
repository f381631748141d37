"""The key in use and the one that is to come, and the one step from the first to the second.

The chain says which key is in use: once the event that changes it is recorded, this module gives
the next key the place of the former, on every start until it is done.  Standard library only: the
supervisor asks at its start.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from primum_agent.clock import SystemClock
from primum_agent.durable import disk_errors, sync_folder, write_file
from primum_agent.fail_points import IdentityPoint, fail_here
from primum_agent.journal import Journal
from primum_agent.layout import Layout
from primum_verifier.core.errors import PrimumError

_MAX_BYTES = 65_536


def settle_key(layout: Layout) -> bool:
    """Finish a change of the key that the chain tells of; whether there was one to finish.

    Args:
        layout: the state folder's names.

    Raises:
        FailedError: the disk did not take it; the next start tries again.
    """
    if not layout.next_public.exists():
        return False
    public = _read(layout.next_public)
    if not public.get("keyId") or public["keyId"] != _key_by_the_chain(layout):
        return False
    with disk_errors(layout.device_key):
        # Gone already where the power failed after it; what follows is done again.
        with contextlib.suppress(FileNotFoundError):
            layout.next_key.replace(layout.device_key)
        sync_folder(layout.root)
    fail_here(IdentityPoint.KEY_CHANGE_AFTER_SWITCH)
    write_file(layout.device_public, layout.next_public.read_bytes(), mode=0o644)
    enrolment = _read(layout.enrolment)
    if enrolment:
        data = json.dumps({**enrolment, "publicKey": public}, indent=2).encode() + b"\n"
        write_file(layout.enrolment, data, mode=0o644)
    drop_next(layout)
    return True


def drop_next(layout: Layout) -> None:
    """Forget the key that was to come: the key first, so that no half of it is taken for one."""
    with disk_errors(layout.next_public):
        for path in (layout.next_key, layout.next_public):
            path.unlink(missing_ok=True)
            sync_folder(layout.root)


def next_key_id(layout: Layout) -> str:
    """The id of the key that is to come; empty where none is."""
    return str(_read(layout.next_public).get("keyId", ""))


def _key_by_the_chain(layout: Layout) -> str:
    """The key that the chain says is in use; empty where it never changed or cannot be read."""
    with contextlib.suppress(PrimumError):
        journal = Journal.open_to_read(layout, clock=SystemClock())
        try:
            return journal.state().device_key
        finally:
            journal.close()
    return ""


def _read(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        content = json.loads(path.read_bytes()[:_MAX_BYTES])
        if isinstance(content, dict):
            return content
    return {}
