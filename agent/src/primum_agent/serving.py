"""Telling the application what it may use: ``standing.json`` from the present state."""

from __future__ import annotations

from collections.abc import Sequence

from primum_agent.clock import Clock
from primum_agent.content_store import FolderStore
from primum_agent.device_state import DeviceState, Generation
from primum_agent.fail_points import FailPoint, fail_here
from primum_agent.in_force import record_in_force
from primum_agent.installer import is_for_application
from primum_agent.layout import Layout
from primum_agent.served_terms import ServedTerms, terms_of_record
from primum_agent.standing import Ending, Standing, read_standing, write_standing
from primum_agent.stopping import stopped_standing
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
    terms: ServedTerms | None = None,
    ending: Ending | None = None,
    suspended: str = "",
) -> None:
    """Let ``standing.json`` say what the state says.

    Args:
        layout: the state folder's names.
        clock: the clock port.
        store: the content store, which holds the terms of each generation.
        state: the present state.
        reasons: reason codes, for a notice or for safe mode.
        notice: what the user is to be told.
        terms: the terms of the newest verdict on what is active, under the statement that the
            state names; None leaves those that stand under it.
        ending: set while what is active waits for the end of a running episode.
        suspended: in safe mode, what a signed order suspends.

    Raises:
        FailedError: the run folder cannot be written; the old file stands.
    """
    if state.stopped:
        narrowed = stopped_standing(state, notice=notice, reasons=reasons, suspended=suspended)
        write_standing(layout, narrowed, clock=clock)
        return
    used = state.in_use
    fail_here(FailPoint.PROVISIONAL_BEFORE_STANDING)
    record = None if used is None else record_in_force(store, used)
    if used is None or record is None:
        safe(layout, clock=clock, reasons=reasons, notice=notice, suspended=suspended)
        return
    served = terms or _standing_terms(layout, used) or terms_of_record(record)
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
            files=[item for item in store.items_of(used.number) if is_for_application(item)],
            mode=served.mode or used.mode,
            operating_point=served.point,
            not_after=served.not_after,
            on_expiry=served.on_expiry,
            reasons=reasons,
            notice=notice,
            terms=served.per_episode,
            ordered=served.ordered,
            ending=ending,
        ),
        clock=clock,
    )


def _standing_terms(layout: Layout, used: Generation) -> ServedTerms | None:
    """The terms that stand now, if they are of this generation under this statement."""
    old = read_standing(layout)
    if old is None or not isinstance(old.get("terms"), dict):
        return None
    if (old.get("generation"), old.get("statement")) != (used.number, used.statement):
        return None
    return terms_of_record(old)


def safe(
    layout: Layout,
    *,
    clock: Clock,
    reasons: Sequence[str] = (),
    notice: str = "",
    suspended: str = "",
) -> None:
    """Declare safe mode to the application.

    Raises:
        FailedError: the run folder cannot be written.
    """
    write_standing(
        layout,
        Standing(
            reasons=reasons or (str(Reason.FALLBACK_NONE),),
            notice=notice or SAFE_NOTICE,
            suspended=suspended,
        ),
        clock=clock,
    )
