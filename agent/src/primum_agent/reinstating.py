"""Ending a stop because a person says so; what runs then is judged and proven like anything else.

Nothing is fetched: it is judged over the stored views.  Where a release waits for this alone, the
next poll activates it; otherwise the newest held one that may run comes back.
"""

from __future__ import annotations

from primum_agent.device import Device
from primum_agent.device_state import Generation
from primum_agent.events import Entry, EventKind
from primum_agent.fallback import SUSPENDS, roll_back
from primum_agent.gates import is_idle
from primum_agent.held_release import sign_tried, try_held
from primum_agent.judging import Judge
from primum_agent.lifecycle import State, Stimulus
from primum_agent.serving import serve
from primum_agent.stopping import end_stop
from primum_verifier.core.errors import UsageError, WaitingError
from primum_verifier.core.question import ArtifactsFact
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import Phase


def reinstate(device: Device, judge: Judge | None, *, by: str, why: str) -> Generation | None:
    """Let releases be used again.

    Args:
        device: the device, converged.
        judge: the judge over the stored views; None while nothing can be judged.
        by: who orders it.
        why: one line for the journal.

    Returns:
        The generation that runs now; None where none may yet.

    Raises:
        UsageError: nobody had the use stopped.
        WaitingError: a patient is being served.
    """
    state = device.journal.state()
    if not state.stopped:
        raise UsageError(
            "Nobody had the use of releases stopped here.",
            reason=Reason.USAGE,
            found="safe mode for another reason" if state.in_use is None else state.in_use.name,
            remedy="`primum-agent status` shows what runs, and why.",
        )
    chosen: Generation | None = None
    suspended, signed = "", dict[str, object]()
    if judge is not None and state.in_use is None and state.lifecycle is State.IDLE:
        chosen, suspended, signed = _best_held(device, judge)
    if not is_idle(device.settings.gates, device.ask):
        raise WaitingError(
            "A patient may be being served: nothing is switched under an application.",
            reason=Reason.SAFETY_IN_USE,
            found="clinical use, or somebody who could not say that there is none",
            remedy="End the episode, or start `primum-agent run`, and order it again.",
        )
    end_stop(device.journal, why=why, by=by, attempt=device.attempt)
    if chosen is None:
        _serve(device, suspended=suspended)
        return device.journal.state().in_use
    device.journal.record(
        Entry(
            kind=EventKind.UPDATE_ROLLING_BACK,
            stimulus=Stimulus.TAKEN_AWAY,
            subject=chosen.name,
            attempt=device.attempt,
            result="accepted",
            change={"candidate": None, "target": chosen.number},
            detail={"by": by, "why": why, "to": chosen.name, **signed},
        )
    )
    return roll_back(device, judge, reasons=(), chosen=chosen)


def _best_held(device: Device, judge: Judge) -> tuple[Generation | None, str, dict[str, object]]:
    """The newest held release that may run; none below one that a signed order suspends.

    Returns:
        It; which function an order suspends; and what its signed self-test adds to the journal.
    """
    state = device.journal.state()
    for held in reversed(state.generations):
        if not held.proven or held.release in state.faults:
            continue
        whole = device.store.generation_is_whole(held.number, release=held.release)
        verdict = judge.ask(
            held.release,
            phase=Phase.CONTINUE,
            artifacts=ArtifactsFact.WHOLE if whole else ArtifactsFact.DAMAGED,
            keep=False,
            held=held,
        )
        if verdict.ordered in SUSPENDS:
            return None, SUSPENDS[verdict.ordered], {}
        tried = try_held(device, judge, held)
        signed = sign_tried(device, held, tried)
        if tried.obstacle is None:
            return held, "", signed
    return None, "", {}


def _serve(device: Device, *, suspended: str) -> None:
    """Tell the application what is now that the stop has ended."""
    journal = device.journal
    if suspended:
        journal.set_counters(suspended=suspended)
    state = journal.state()
    serve(
        device.layout,
        clock=device.clock,
        store=device.store,
        state=state,
        reasons=() if state.in_use is not None else (str(Reason.FALLBACK_NONE),),
        suspended=suspended,
    )
