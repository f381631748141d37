"""From the switched link to components that run, and back where one of them cannot.

Only what differs is touched.  That something may be touched is noted before it is, so that a cut
in the middle is taken back, and a cut before it leaves what runs in peace.
"""

from __future__ import annotations

from primum_agent.component_settings import HOOK
from primum_agent.components import ComponentFailedError, NotYetInEffectError
from primum_agent.device import Device
from primum_agent.device_state import DeviceState, Generation
from primum_agent.events import Entry, EventKind
from primum_agent.fail_points import FailPoint, fail_here
from primum_agent.lifecycle import State, Stimulus
from primum_agent.switch_time import note_switch
from primum_agent.transitions import UNCONFIRMED
from primum_agent.way_back import came_back, count_try, is_given_up, lose
from primum_verifier.core.errors import FailedError, PrimumError, RefusedError
from primum_verifier.core.reasons import Reason

TOUCHED = "components-touched"
"""The counter that holds the generation whose components may be in effect in part."""

_STARTED = "components-started"
_UNTOLD = "components-untold"
_RESTART = "restart"
_ASKED = "components-asked"


def bring_into_effect(device: Device, target: Generation) -> tuple[str, ...]:
    """Bring the components of a generation into effect, after the link was switched to it.

    Args:
        device: the device; its lifecycle is ``activating``.
        target: the generation.

    Returns:
        What was done, for the report.

    Raises:
        NotYetInEffectError: a restart was asked for; the next attempt goes on from here.
        FailedError: a component cannot be brought into effect.
    """
    note_switch(device.journal, target.number, clock=device.clock)
    since = device.journal.state().active
    changes = device.installer.changes(target.number, since=since)
    if not changes:
        return ()
    if device.journal.counter(TOUCHED, "") != str(target.number):
        device.journal.set_counters(
            components_touched=str(target.number), components_unconfirmed=str(target.number)
        )
    fail_here(FailPoint.ACTIVATING_BEFORE_EFFECT)
    _take_effect(device, target.number, since=since, name=target.name)
    fail_here(FailPoint.ACTIVATING_AFTER_EFFECT)
    return changes


def go_back_in_effect(device: Device, number: int | None, *, left: int | None, name: str) -> None:
    """Bring the components of an earlier generation back into effect, in reverse order.

    Args:
        device: the device.
        number: the generation that is to run; None for safe mode, where nothing is touched.
        left: the generation that is left.
        name: what is left, for the report.

    Raises:
        NotYetInEffectError: a restart was asked for.
        FailedError: the device did not take it back; the next attempt tries again.
    """
    if number is None or not device.installer.changes(number, since=left):
        return
    device.journal.set_counters(components_unconfirmed=str(number))
    try:
        _take_effect(device, number, since=left, name=name)
    except FailedError:
        count_try(device.journal, number)
        raise


def _take_effect(device: Device, number: int, *, since: int | None, name: str) -> None:
    try:
        device.installer.take_effect(number, since=since)
    except NotYetInEffectError as error:
        if device.journal.note_problem(
            topic=_RESTART, what=f"{number}: {error.where}", text=error.for_people()
        ):
            device.journal.record(
                Entry(
                    kind=EventKind.UPDATE_WAITING,
                    subject=name,
                    attempt=device.attempt,
                    result="waiting",
                    reasons=(Reason.STATE_RESTART,),
                    detail={**error.as_dict()},
                )
            )
        raise
    device.journal.clear_problem(_RESTART)
    came_back(device.journal)


def count_ask(device: Device, *, release: str, answer: str) -> None:
    """Count that the components of a release asked for patience, while nothing else held it.

    Args:
        device: the device.
        release: SHA-256 of its manifest.
        answer: what they said.

    Raises:
        ComponentFailedError: more often than the settings allow.
    """
    asked, _, times = device.journal.counter(_ASKED, "").partition(" ")
    count = int(times) + 1 if asked == release else 1
    hooks = (one for one in device.settings.components.values() if one.installer == HOOK)
    most = max((one.asks_at_most for one in hooks), default=None)
    if most is not None and count > most:
        raise ComponentFailedError(
            "A component asked for more patience than it is given.",
            reason=Reason.STATE_ASKED_LATER,
            where="agent.toml: components",
            found=f"{answer}; asked {count} times",
            expected=f"at most {most} times",
            remedy="Look at the component; `primum-agent retry` lets the release be tried again.",
        )
    device.journal.set_counters(components_asked=f"{release} {count}")


def break_off(device: Device, error: PrimumError) -> None:
    """End an activation that cannot be finished: what ran before runs again, and it is told.

    Args:
        device: the device; where its lifecycle is not ``activating`` nothing is done.
        error: what stood in the way.

    Raises:
        FailedError: what ran before could not be brought back; the next attempt tries again.
    """
    journal = device.journal
    state = journal.state()
    if state.lifecycle is not State.ACTIVATING:
        return
    target = state.generation(state.target)
    # Where it was the journal that failed, the switch is done: it is taken back.
    if device.installer.active() != state.active:
        device.installer.switch(state.active)
    take_back(device)
    refused = isinstance(error, RefusedError)
    journal.record(
        Entry(
            kind=EventKind.UPDATE_REFUSED if refused else EventKind.UPDATE_FAILED,
            stimulus=Stimulus.BROKEN_OFF,
            subject=target.name if target is not None else "",
            attempt=device.attempt,
            result="refused" if refused else "failed",
            reasons=(str(error.reason),),
            change={
                "candidate": None,
                "target": None,
                "collected": [state.target],
                **({} if target is None else _held_against(state, target, error)),
            },
            detail={**error.as_dict()},
        )
    )


def _held_against(state: DeviceState, target: Generation, error: PrimumError) -> dict[str, object]:
    change: dict[str, object] = {"conclusion": {target.release: concluded(error)}}
    if isinstance(error, RefusedError):
        # What was signed is not what it says it is: the same bytes are the same tomorrow.
        change["fault"] = {target.release: str(error.reason)}
    if isinstance(error, ComponentFailedError):
        change |= setback(state, target.release, most=target.max_attempts, error=error)
    return change


def concluded(error: PrimumError) -> str:
    """What is concluded about a release of which a step ended with an error."""
    return f"{'refused' if isinstance(error, RefusedError) else 'failed'}: {error.reason}"


def setback(
    state: DeviceState, release: str, *, most: int, error: PrimumError
) -> dict[str, object]:
    """A component that does not come into effect counts like a release that proves no health.

    Args:
        state: the present state.
        release: SHA-256 of the manifest.
        most: how many setbacks make it the release's own fault.
        error: what stood in the way; a component that asked for too much patience is a fault.
    """
    change: dict[str, object] = {"setback": release}
    final = error.reason is Reason.STATE_ASKED_LATER
    if final or state.setbacks.get(release, 0) + 1 >= most:
        change["fault"] = {release: str(error.reason)}
    return change


def take_back(device: Device) -> None:
    """Undo what an activation that was not finished may have brought into effect.

    Raises:
        FailedError: it could not be; the next attempt tries again.
    """
    state = device.journal.state()
    target = state.generation(state.target)
    if target is None or device.journal.counter(TOUCHED, "") != str(target.number):
        return
    if state.active is not None and is_given_up(device.journal, state.active):
        # The review leaves it; a device that tried for ever would take no release any more.
        lose(device.journal, state.active)
    else:
        go_back_in_effect(device, state.active, left=target.number, name=target.name)
    device.journal.set_counters(components_touched="")


def tell_good(device: Device) -> None:
    """Tell the components of a proven generation that it is, and once after each start.

    That one cannot be told is noted and tried again; what is taken away does not wait for it.
    """
    try:
        confirm(device)
        _tell_start(device)
    except FailedError as error:
        journal = device.journal
        text = error.for_people()
        if journal.note_problem(topic=_UNTOLD, what=f"{error.where}: {error.reason}", text=text):
            journal.record(
                Entry(
                    kind=EventKind.ATTEMPT_FAILED,
                    attempt=device.attempt,
                    result="failed",
                    reasons=(str(error.reason),),
                    detail={**error.as_dict()},
                )
            )
        return
    device.journal.clear_problem(_UNTOLD)


def _tell_start(device: Device) -> None:
    used, boot = device.journal.state().in_use, device.clock.boot_id()
    if used is None or not used.proven or device.journal.counter(_STARTED, "") == boot:
        return
    device.installer.started(used.number)
    device.journal.set_counters(components_started=boot)


def confirm(device: Device) -> None:
    """Tell the components of a proven generation that they need not go back by themselves.

    Raises:
        FailedError: one of them could not be told; the next attempt tries again.
    """
    waits = device.journal.counter(UNCONFIRMED, "")
    used = device.journal.state().in_use
    if not waits or used is None or not used.proven:
        return
    if waits == str(used.number):
        device.installer.confirm(used.number)
    device.journal.set_counters(
        components_unconfirmed="",
        components_touched="",
        components_started=device.clock.boot_id(),
    )
