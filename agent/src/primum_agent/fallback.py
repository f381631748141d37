"""Going back: to the newest held release that is deployable, eligible now and proven again.

If none is left the device is in its declared safe mode, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from primum_agent.device import Device
from primum_agent.device_state import DeviceState, Generation
from primum_agent.events import Entry, EventKind
from primum_agent.fail_points import FailPoint, fail_here
from primum_agent.held_release import sign_tried, try_held
from primum_agent.in_force import keep_in_force, record_in_force, terms_in_force
from primum_agent.judging import Judge
from primum_agent.lifecycle import Stimulus
from primum_agent.serving import SAFE_NOTICE, safe, serve
from primum_agent.standing import AI_FUNCTION, DEVICE_FUNCTION
from primum_agent.taking_effect import go_back_in_effect, wait_for_settings
from primum_verifier.core.errors import FailedError
from primum_verifier.core.question import ArtifactsFact, Verdict
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import NoticeAction, Phase

SUSPENDS = {
    NoticeAction.SUSPEND_AI_FUNCTION: AI_FUNCTION,
    NoticeAction.SUSPEND_DEVICE_FUNCTION: DEVICE_FUNCTION,
}
"""What an order that leaves no release suspends, as ``standing.json`` says it."""

FALLBACK_TRIES = "fallback-tries"
"""The counter of tries at one roll-back whose self-tests could not be run."""

MOST_FALLBACK_TRIES = 6
"""With the delay that doubles between attempts about a minute; after that it is safe mode.

Nothing is learnt about a release by a test that a busy processor or short memory did not let run,
and safe mode ends by a newer release alone.
"""

SUSPENDED = "suspended"
"""The counter that keeps it while the device is in safe mode for it."""


def roll_back(
    device: Device,
    judge: Judge | None,
    *,
    reasons: Sequence[str],
    notice: str = "",
    preferred: Sequence[str] = (),
    suspended: str = "",
    chosen: Generation | None = None,
) -> Generation | None:
    """Finish a roll-back whose intent is recorded.

    Args:
        device: the device; its lifecycle is ``rolling-back``.
        judge: the judge of this attempt, or None while nothing can be judged.
        reasons: why it is rolled back, for the report and the application.
        notice: what the user is to be told.
        preferred: manifests to go back to first, where a notice names them.
        suspended: which function a notice suspends, so that no release at all may be used: one
            of :data:`SUSPENDS`; empty where it suspends none.
        chosen: a generation that was judged and proven for this roll-back already.

    Returns:
        The generation that runs now, or None: safe mode.

    Raises:
        LostSettingsError: a component in effect stands in the way back, and the settings lost it.
        FailedError: ``selftest.incomplete``: none may run, and of one nothing was learnt; the
            intent stands, the application is in safe mode, and the next attempt tries again.
    """
    journal = device.journal
    state = journal.state()
    # What was taken away stops now, not after the search.
    in_safe_mode = f"{notice} {_safe_notice(device)}".strip()
    safe(
        device.layout,
        clock=device.clock,
        reasons=reasons,
        notice=in_safe_mode,
        suspended=suspended or (AI_FUNCTION if state.stopped else ""),
    )
    tried: dict[str, str] = {}
    statements: dict[str, object] = {}
    found = None if state.stopped else chosen
    if state.stopped:
        tried["all"] = str(Reason.SAFETY_STOPPED)
    elif judge is not None and not suspended and found is None:
        for held in (*_in_order(state, preferred), *_set_aside(state)):
            asked = try_held(device, judge, held)
            statements |= {held.name: told} if (told := sign_tried(device, held, asked)) else {}
            if asked.obstacle is None:
                found = held
                break
            tried[held.name] = asked.obstacle
        if found is None:
            _try_again(device, tried)
            for held in _in_order(state, preferred):
                # Every other one is out; a new release would be held by the same component.
                wait_for_settings(device, held.number, name=held.name)
    elif judge is None:
        tried["all"] = "no trusted view of both authorities"
    fail_here(FailPoint.ROLLING_BACK_BEFORE_SWITCH)
    device.installer.switch(None if found is None else found.number)
    fail_here(FailPoint.ROLLING_BACK_AFTER_SWITCH)
    left = state.in_use
    go_back_in_effect(
        device,
        None if found is None else found.number,
        left=None if left is None else left.number,
        name="" if left is None else left.name,
    )
    fail_here(FailPoint.ROLLING_BACK_AFTER_EFFECT)
    # Before the step is taken: after it nothing says any more why no release is in use.
    journal.set_counters(suspended=suspended, ending="", fallback_tries="")
    detail: dict[str, object] = {
        "left": "" if left is None else left.name,
        "tried": tried,
        "notice": notice,
        **({"selfTests": statements} if statements else {}),
    }
    if found is None:
        journal.record(
            Entry(
                kind=EventKind.SAFE_MODE_ENTERED,
                stimulus=Stimulus.NONE_LEFT,
                subject="" if left is None else left.name,
                attempt=device.attempt,
                result="done",
                reasons=(*reasons, Reason.FALLBACK_NONE),
                change={"active": None, "target": None, "candidate": None, "eligibility": ""},
                detail={**detail, "why": _why_none(suspended, stopped=state.stopped)},
            )
        )
    else:
        journal.record(
            Entry(
                kind=EventKind.UPDATE_ROLLED_BACK,
                stimulus=Stimulus.REVERTED,
                subject=found.name,
                attempt=device.attempt,
                result="done",
                reasons=(*reasons, Reason.FALLBACK_USED),
                change={
                    "active": found.number,
                    "target": None,
                    "candidate": None,
                    "eligibility": "",
                    **({"forgiven": found.release} if found is left else {}),
                },
                detail={**detail, "generation": found.number},
            )
        )
    terms = None
    if judge is not None and found is not None:
        running = judge.ask(
            found.release, phase=Phase.CONTINUE, artifacts=ArtifactsFact.WHOLE, keep=False
        )
        keep_in_force(device, running)
        terms = terms_in_force(device, running)
    ended = (*reasons, Reason.FALLBACK_NONE if found is None else Reason.FALLBACK_USED)
    serve(
        device.layout,
        clock=device.clock,
        store=device.store,
        state=journal.state(),
        reasons=[str(reason) for reason in ended],
        notice=in_safe_mode if found is None else notice,
        terms=terms,
        suspended=suspended,
    )
    return found


def _try_again(device: Device, tried: dict[str, str]) -> None:
    """Leave the roll-back to the next attempt where a self-test could not be run, within a bound.

    Raises:
        FailedError: see :func:`roll_back`.
    """
    untold = [name for name, why in tried.items() if why == Reason.SELFTEST_INCOMPLETE]
    tries = int(device.journal.counter(FALLBACK_TRIES, "") or "0") + 1
    if not untold or tries >= MOST_FALLBACK_TRIES:
        return
    device.journal.set_counters(fallback_tries=str(tries))
    raise FailedError(
        "The self-test of a release to go back to could not be run.",
        reason=Reason.SELFTEST_INCOMPLETE,
        where=", ".join(untold),
        found=f"{tries} of {MOST_FALLBACK_TRIES} tries",
        expected="an answer of the bench",
        remedy="It is tried again by itself; meanwhile the application is in safe mode. Where it "
        "lasts, free memory and processor, and check that the bench is installed.",
    )


def _why_none(suspended: str, *, stopped: str) -> str:
    if stopped:
        return f"the use was stopped: {stopped}"
    if suspended:
        return f"the signed order suspends the {suspended.replace('-', ' ')}"
    return "no held release may be used"


def _safe_notice(device: Device) -> str:
    """What the statement of the release that is left says to the user for when none is left."""
    left = device.journal.state().in_use
    record = None if left is None else record_in_force(device.store, left)
    return str((record or {}).get("safeNotice") or SAFE_NOTICE)


def roll_back_as_ordered(
    device: Device,
    judge: Judge,
    verdict: Verdict,
    *,
    reasons: Sequence[str],
    preferred: Sequence[str] = (),
) -> Generation | None:
    """Finish a roll-back with what the verdict on the active release says of it.

    Args:
        device: the device; its lifecycle is ``rolling-back``.
        judge: the judge of this attempt.
        verdict: the verdict on the release that is being left.
        reasons: why it is left.
        preferred: manifests to go back to first; what the verdict names comes before them.
    """
    return roll_back(
        device,
        judge,
        reasons=reasons,
        notice=verdict.user_notice,
        preferred=(*verdict.fallback, *preferred),
        suspended="" if verdict.ordered is None else SUSPENDS.get(verdict.ordered, ""),
    )


def _in_order(state: DeviceState, preferred: Sequence[str]) -> list[Generation]:
    """Held generations that once proved health, those a notice prefers first, then the newest."""
    held = [
        item
        for item in reversed(state.generations)
        if item.proven and item.number != state.active and item.release not in state.faults
    ]
    left = state.in_use
    if left is not None:
        held = [item for item in held if item.release != left.release]
    rank = {release: place for place, release in enumerate(preferred)}
    return sorted(held, key=lambda item: rank.get(item.release, len(rank)))


def _set_aside(state: DeviceState) -> tuple[Generation, ...]:
    """What a person leaves, where nothing older may run after all: better than nothing."""
    left = state.in_use
    by_hand = state.leaving == Reason.STATE_SET_ASIDE
    return (left,) if by_hand and left is not None and left.proven else ()
