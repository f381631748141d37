"""Whether a device may be served at all: a reset that was cut, or a device that was decommissioned.

Two files of the state folder say so, and both outlast everything else in it: ``reset.json`` is the
intent of a reset from before the first thing is removed until after the last, and
``decommissioned.json`` is what is left of a device that nobody is to use any more.  Standard
library only: the supervisor asks first of all.
"""

from __future__ import annotations

import json
from enum import StrEnum

from primum_agent.contexts import read_object
from primum_agent.durable import disk_errors, sync_folder, write_file
from primum_agent.layout import Layout
from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason


class ResetKind(StrEnum):
    """How much is removed; the value is the command."""

    FACTORY = "reset"
    DECOMMISSION = "decommission"


def refuse_out_of_service(layout: Layout) -> None:
    """Refuse to work on a device whose reset is unfinished, or that was decommissioned.

    Raises:
        UsageError: ``device.reset-unfinished`` or ``device.decommissioned``.
    """
    kind = unfinished(layout)
    if kind is not None:
        flag = " --factory" if kind is ResetKind.FACTORY else ""
        raise UsageError(
            "The removal of what is on this device was cut, and is not finished.",
            reason=Reason.DEVICE_RESET_UNFINISHED,
            where=str(layout.reset_intent),
            remedy=f"Finish it: `primum-agent {kind}{flag} --state DIR --by PERSON --yes`.",
        )
    if layout.tombstone.exists():
        when = read_object(layout.tombstone).get("at", "an unknown time")
        raise UsageError(
            "The device was decommissioned: it has no key and serves nobody.",
            reason=Reason.DEVICE_DECOMMISSIONED,
            where=str(layout.tombstone),
            found=f"decommissioned {when}",
            remedy="To use it again, enrol it (`primum-agent enroll`) and provision it anew with "
            "a higher context number; what may never fall has stayed.",
        )


def unfinished(layout: Layout) -> ResetKind | None:
    """The reset that was begun and not finished; None where there is none.

    An intent that cannot be read is the one that removes more: nothing is half kept by it.
    """
    if not layout.reset_intent.exists():
        return None
    kind = read_object(layout.reset_intent).get("kind")
    return ResetKind.FACTORY if kind == ResetKind.FACTORY else ResetKind.DECOMMISSION


def write_intent(layout: Layout, kind: ResetKind, *, by: str, at: str) -> None:
    """Say, before anything is removed, that it will be.

    Raises:
        FailedError: the disk did not take it; nothing was removed.
    """
    content = {"kind": str(kind), "by": by, "at": at}
    write_file(layout.reset_intent, json.dumps(content).encode() + b"\n", mode=0o640)


def end_intent(layout: Layout) -> None:
    """Say that everything was removed.

    Raises:
        FailedError: the disk did not take it; the same command finishes.
    """
    with disk_errors(layout.reset_intent):
        layout.reset_intent.unlink(missing_ok=True)
        sync_folder(layout.root)
