"""Going back because a person says so, to a release that is held, eligible now and proven again.

Nothing is fetched: it is judged over the stored views.  What is left is set aside on this device
until a person lets it be tried again; a signed plan that still gives it does not bring it back.
"""

from __future__ import annotations

from dataclasses import dataclass

from primum_agent.device import Device
from primum_agent.device_state import DeviceState, Generation
from primum_agent.events import Entry, EventKind
from primum_agent.fallback import roll_back
from primum_agent.gates import is_idle
from primum_agent.held_release import sign_tried, try_held
from primum_agent.judging import Judge
from primum_agent.lifecycle import State, Stimulus, UnlistedStimulusError
from primum_verifier.core.errors import BusyError, RefusedError, UsageError, WaitingError
from primum_verifier.core.reasons import Reason

AT_REST = {State.IDLE, State.WAITING, State.PROVISIONAL}
"""States in which a person may order it; in all others an attempt is in the middle of something."""


@dataclass(frozen=True)
class Order:
    """What a person orders.

    Attributes:
        version: the version to go back to; empty for the newest one that may run.
        by: who orders it.
        why: for the journal.
        pretend: judge and test only; change nothing.
    """

    version: str
    by: str
    why: str
    pretend: bool = False


def go_back(device: Device, judge: Judge | None, order: Order) -> Generation:
    """Go back to a held release, or refuse and leave what runs.

    Args:
        device: the device, converged.
        judge: the judge over the stored views; None while nothing can be judged.
        order: what is ordered.

    Returns:
        The generation that runs now, or would with ``pretend``.

    Raises:
        UsageError: there is no such release, or nothing runs that could be left.
        RefusedError: no release that is meant may run; what runs goes on.
        WaitingError: a patient is being served.
        BusyError: what runs is being left already.
    """
    state = device.journal.state()
    left = state.in_use
    if left is not None and state.lifecycle not in AT_REST:
        # The supervisor gave it up between two looks, and starts the attempt that leaves it.
        raise _left_already()
    if left is None:
        raise UsageError(
            "No release is in use that could be left.",
            reason=Reason.USAGE,
            found=f"{state.lifecycle}, safe mode",
            remedy="`primum-agent status` shows what runs.",
        )
    found, signed = _chosen(device, judge, _meant(state, left, order.version), order=order)
    if order.pretend:
        return found
    if not is_idle(device.settings.gates, device.ask):
        raise WaitingError(
            "A patient may be being served: nothing is switched under an application.",
            reason=Reason.SAFETY_IN_USE,
            found="clinical use, or somebody who could not say that there is none",
            remedy="End the episode, or start `primum-agent run`, and order it again.",
        )
    intent = Entry(
        kind=EventKind.UPDATE_ROLLING_BACK,
        stimulus=Stimulus.TAKEN_AWAY,
        subject=left.name,
        attempt=device.attempt,
        result="accepted",
        reasons=(Reason.STATE_SET_ASIDE,),
        change={
            "candidate": None,
            "target": found.number,
            "forgiven": found.release,
            "fault": {left.release: str(Reason.STATE_SET_ASIDE)},
        },
        detail={
            "by": order.by,
            "why": order.why,
            "to": found.name,
            **signed,
        },
    )
    try:
        device.journal.record(intent)
    except UnlistedStimulusError as error:
        # The health window ended, or something was taken away, while this one was tested.
        raise _left_already() from error
    roll_back(device, judge, reasons=(str(Reason.STATE_SET_ASIDE),), notice=order.why, chosen=found)
    return found


def _left_already() -> BusyError:
    return BusyError(
        "What runs is being left already.",
        reason=Reason.STATE_BUSY,
        remedy="`primum-agent status` shows what runs then; order it again if need be.",
    )


def _meant(state: DeviceState, left: Generation, version: str) -> list[Generation]:
    """The generations that the order may mean, the newest first."""
    set_aside = str(Reason.STATE_SET_ASIDE)
    held = [
        item
        for item in reversed(state.generations)
        if item.proven
        and item.release != left.release
        and state.faults.get(item.release, set_aside) == set_aside
    ]
    meant = [item for item in held if version in {"", item.version}]
    if not version:
        # Somebody set it aside by its name: only its name brings it back.
        meant = [item for item in meant if item.release not in state.faults]
    if not meant:
        raise UsageError(
            "This device holds no such release that once proved health.",
            reason=Reason.USAGE,
            found=version or "none",
            expected=", ".join(item.version for item in held) or "nothing is held to go back to",
            remedy="`primum-agent status` shows what is held.",
        )
    return meant


def _chosen(
    device: Device, judge: Judge | None, meant: list[Generation], *, order: Order
) -> tuple[Generation, dict[str, object]]:
    """The first that may run, with what its signed self-test adds to the journal."""
    tried: dict[str, str] = {}
    if judge is not None:
        for held in meant:
            asked = try_held(device, judge, held)
            signed = {} if order.pretend else sign_tried(device, held, asked)
            if asked.obstacle is None:
                return held, signed
            tried[held.name] = asked.obstacle
    raise RefusedError(
        "No release that is meant may run here now; what runs goes on.",
        reason=Reason.FALLBACK_NONE,
        found="; ".join(f"{name}: {why}" for name, why in tried.items())
        or "no trusted view of both authorities",
        expected="a held release that is eligible now and passes its self-test",
        remedy="`primum-agent explain VERSION` shows the rules in its way.",
    )
