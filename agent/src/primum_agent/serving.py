"""Telling the application what it may use: ``standing.json`` from the present state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from primum_agent.clock import Clock
from primum_agent.content_store import FolderStore
from primum_agent.device_state import DeviceState
from primum_agent.fail_points import FailPoint, fail_here
from primum_agent.installer import TEST_ONLY
from primum_agent.layout import Layout
from primum_agent.standing import OperatingPoint, Standing, write_standing
from primum_verifier.core.reasons import Reason

SAFE_NOTICE = "No eligible model is active. The device measures only."
"""What the user is told where no signed statement says it better."""


def serve(
    layout: Layout,
    *,
    clock: Clock,
    store: FolderStore,
    state: DeviceState,
    reasons: Sequence[str] = (),
    notice: str = "",
) -> None:
    """Let ``standing.json`` say what the state says.

    Args:
        layout: the state folder's names.
        clock: the clock port.
        store: the content store, which holds the terms of each generation.
        state: the present state.
        reasons: reason codes, for a notice or for safe mode.
        notice: what the user is to be told.

    Raises:
        FailedError: the run folder cannot be written; the old file stands.
    """
    used = state.in_use
    fail_here(FailPoint.PROVISIONAL_BEFORE_STANDING)
    record: dict[str, Any] | None = None if used is None else store.record_of(used.number)
    if used is None or record is None:
        safe(layout, clock=clock, reasons=reasons, notice=notice)
        return
    point = record.get("operatingPoint")
    write_standing(
        layout,
        Standing(
            generation=used.number,
            component=used.component,
            version=used.version,
            release=used.release,
            statement=used.statement,
            statement_number=used.statement_number,
            folder=str(store.folder_of(used.number).resolve()),
            files=[item for item in store.items_of(used.number) if item.kind not in set(TEST_ONLY)],
            operating_point=OperatingPoint(**point) if isinstance(point, dict) else None,
            not_after=str(record.get("notAfter", "")),
            on_expiry=str(record.get("onExpiry", "")),
            reasons=reasons,
            notice=notice,
        ),
        clock=clock,
    )


def safe(layout: Layout, *, clock: Clock, reasons: Sequence[str] = (), notice: str = "") -> None:
    """Declare safe mode to the application.

    Raises:
        FailedError: the run folder cannot be written.
    """
    write_standing(
        layout,
        Standing(reasons=reasons or (str(Reason.FALLBACK_NONE),), notice=notice or SAFE_NOTICE),
        clock=clock,
    )
