"""From the switched link to components that run, and back where one of them cannot.

Only what differs from what is in effect is touched, one component after the other; what is in
effect is noted around each.  A cut before anything was touched leaves what runs in peace.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from primum_agent.component_settings import HOOK
from primum_agent.components import (
    Act,
    ComponentFailedError,
    LostSettingsError,
    NotYetInEffectError,
)
from primum_agent.components_record import (
    in_effect,
    note_in_effect,
    note_left,
    note_touched,
)
from primum_agent.device import Device
from primum_agent.device_state import DeviceState, Generation
from primum_agent.events import Entry, EventKind
from primum_agent.fail_points import FailPoint, fail_here
from primum_agent.gates import is_idle
from primum_agent.lifecycle import State, Stimulus
from primum_agent.switch_time import note_switch
from primum_agent.transitions import UNCONFIRMED, Unproven, tried_again_later
from primum_agent.way_back import came_back, count_try, is_given_up, lose
from primum_verifier.core.errors import FailedError, PrimumError, RefusedError
from primum_verifier.core.reasons import Reason

TOUCHED = "components-touched"
"""The counter that holds the generation whose components may be in effect in part."""

_STARTED = "components-started"
_UNTOLD = "components-untold"
_RESTART = "restart"
_SETTINGS = "component settings"
_ASKED = "components-asked"
_BLAMED = "components-blamed"

_OF_THE_BYTES = {
    Reason.ARTIFACT_DIGEST,
    Reason.ARTIFACT_SIZE,
    Reason.ARTIFACT_UNSUPPORTED,
    Reason.DOCUMENT_INVALID,
}
"""Refusals of what was signed itself: the same bytes are the same tomorrow."""


def bring_into_effect(device: Device, target: Generation) -> tuple[str, ...]:
    """Bring the components of a generation into effect, after the link was switched to it.

    Args:
        device: the device; its lifecycle is ``activating``.
        target: the generation.

    Returns:
        What was done, for the report.

    Raises:
        NotYetInEffectError: a restart was asked for, or a patient is being served by now; the
            next attempt goes on from here.
        FailedError: a component cannot be brought into effect.
    """
    note_switch(device.journal, target.number, clock=device.clock)
    acts = device.installer.acts(target.number, known=in_effect(device.journal), back=False)
    changes = tuple(f"{part.name}: {act}" for act, part in acts)
    if not changes:
        return ()
    known = in_effect(device.journal)
    lost = device.installer.lost_to_settings(target.number, known=known, back=False)
    if lost:
        raise _no_installer(lost)
    if not is_idle(device.settings.gates, device.ask):
        raise NotYetInEffectError(
            "A patient may be being served by now: no component is restarted under an application.",
            reason=Reason.SAFETY_IN_USE,
            where=target.name,
            found="clinical use, or somebody who could not say that there is none",
            expected="no clinical use, said by everybody who may know",
            remedy="Nothing has to be done: it goes on at the next look.",
        )
    if device.journal.counter(TOUCHED, "") != str(target.number):
        device.journal.record(
            Entry(
                kind=EventKind.UPDATE_TAKING_EFFECT,
                subject=target.name,
                attempt=device.attempt,
                result="accepted",
                # Stored data may have a new form from here on, in effect or not, proven or not.
                change={"counterFloor": target.data_floor_counter},
                detail={"components": list(changes)},
            )
        )
        device.journal.set_counters(
            components_touched=str(target.number), components_unconfirmed=str(target.number)
        )
    fail_here(FailPoint.ACTIVATING_BEFORE_EFFECT)
    _take_effect(device, target.number, back=False, name=target.name)
    fail_here(FailPoint.ACTIVATING_AFTER_EFFECT)
    return changes


def _no_installer(lost: Sequence[str]) -> FailedError:
    """The gate and the verdict knew it; the settings were changed since: nothing is touched."""
    return FailedError(
        "A component of the release has no installer on this device any more.",
        reason=Reason.STATE_COMPONENT,
        where=", ".join(lost),
        found="no installer in agent.toml",
        expected=", ".join(f"[components.{part}]" for part in lost),
        remedy="Put the component back into agent.toml.",
    )


def go_back_in_effect(device: Device, number: int | None, *, left: int | None, name: str) -> None:
    """Bring the components of an earlier generation back into effect, in reverse order.

    Args:
        device: the device.
        number: the generation that is to run; None for safe mode, where nothing is touched.
        left: the generation that is left.
        name: what is left, for the report.

    Raises:
        NotYetInEffectError: a restart was asked for, or the settings lost a component.
        FailedError: the device did not take it back; the next attempt tries again.
    """
    back = left is not None and number is not None and number < left
    if number is None or not device.installer.acts(
        number, known=in_effect(device.journal), back=back
    ):
        return
    wait_for_settings(device, number, name=name)
    device.journal.set_counters(components_unconfirmed=str(number))
    try:
        _take_effect(device, number, back=back, name=name)
    except FailedError:
        count_try(device.journal, number)
        raise


def wait_for_settings(device: Device, number: int, *, name: str) -> None:
    """Hold a way back over a component in effect that the settings do not name any more.

    Trying mends nothing, so it is told and not counted; the application is in safe mode, or goes
    on with what it had, until the settings are back.

    Args:
        device: the device.
        number: the generation that would be gone back to.
        name: what is left, for the report.

    Raises:
        LostSettingsError: there is one.
    """
    journal = device.journal
    known = in_effect(journal)
    lost = device.installer.lost_to_settings(number, known=known, back=True)
    # What is not in effect is no way back, and holds nothing.
    lost = tuple(part for part in lost if part in known)
    if not lost:
        journal.clear_problem(_SETTINGS)
        return
    tables = ", ".join(f"[components.{part}]" for part in lost)
    error = LostSettingsError(
        "What is in effect cannot be left: the settings do not name its installer any more.",
        reason=Reason.STATE_COMPONENT,
        where=f"agent.toml: {tables}",
        found="no installer in agent.toml",
        expected="the installer that brought it into effect",
        remedy=f"Put {tables} back into agent.toml; it goes on by itself then.",
    )
    if journal.note_problem(topic=_SETTINGS, what=tables, text=error.for_people()):
        journal.record(
            Entry(
                kind=EventKind.UPDATE_WAITING,
                subject=name,
                attempt=device.attempt,
                result="waiting",
                reasons=(Reason.STATE_COMPONENT,),
                detail={**error.as_dict()},
            )
        )
    raise error


def _take_effect(device: Device, number: int, *, back: bool, name: str) -> None:
    journal = device.journal
    try:
        for act, part in device.installer.acts(number, known=in_effect(journal), back=back):
            note_touched(journal, part)
            device.installer.act(act, part)
            (note_left if act is Act.LEAVE else note_in_effect)(journal, part)
    except NotYetInEffectError as error:
        if journal.note_problem(
            topic=_RESTART, what=f"{number}: {error.where}: {error.reason}", text=error.for_people()
        ):
            journal.record(
                Entry(
                    kind=EventKind.UPDATE_WAITING,
                    subject=name,
                    attempt=device.attempt,
                    result="waiting",
                    reasons=(error.reason,),
                    detail={**error.as_dict()},
                )
            )
        raise
    journal.clear_problem(_RESTART)
    came_back(journal)


def count_asks(device: Device, *, release: str, later: Mapping[str, str]) -> None:
    """Count that components of a release asked for patience, while nothing else held it.

    Args:
        device: the device.
        release: SHA-256 of its manifest.
        later: what each of them said.

    Raises:
        ComponentFailedError: one asked more often than its settings allow.
    """
    known = json.loads(device.journal.counter(_ASKED, "") or "{}")
    counts: dict[str, int] = known.get(release, {})
    settings = device.settings.components
    for name, why in later.items():
        counts[name] = counts.get(name, 0) + 1
        asks = settings.get(name)
        if asks is not None and asks.installer == HOOK and counts[name] > asks.asks_at_most:
            # Whoever lets it be tried again gives it all its patience again.
            device.journal.set_counters(components_asked="")
            raise ComponentFailedError(
                "A component asked for more patience than it is given.",
                reason=Reason.STATE_ASKED_LATER,
                where=f"agent.toml: components.{name}",
                found=f"{why}; asked {counts[name]} times",
                expected=f"at most {asks.asks_at_most} times",
                remedy="Look at the component; `primum-agent retry` lets it be tried again.",
            )
    device.journal.set_counters(components_asked=json.dumps({release: counts}) if later else "")


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
    touched = target is not None and journal.counter(TOUCHED, "") == str(target.number)
    if target is not None and touched:
        # Before what ran comes back: that may take a restart, and must not hide what happened.
        _blame(device, target, error)
    # Where it was the journal that failed, the switch is done: it is taken back.
    if device.installer.active() != state.active:
        device.installer.switch(state.active)
    take_back(device)
    change: dict[str, object] = {"candidate": None, "target": None, "collected": [state.target]}
    if touched:
        journal.record(
            Entry(
                kind=EventKind.UPDATE_INTERRUPTED,
                stimulus=Stimulus.BROKEN_OFF,
                subject="" if target is None else target.name,
                attempt=device.attempt,
                result="failed",
                reasons=(str(error.reason),),
                change=change,
                detail={"found": str(state.lifecycle), "by": "a component"},
            )
        )
        return
    journal.record(_told(device, target, error, stimulus=Stimulus.BROKEN_OFF, change=change))


def _blame(device: Device, target: Generation, error: PrimumError) -> None:
    """Tell once for each try what stood in the way, and hold it against whoever it was."""
    if device.journal.counter(_BLAMED, "") != str(target.number):
        device.journal.record(_told(device, target, error, stimulus=None, change={}))
        device.journal.set_counters(components_blamed=str(target.number))


def _told(
    device: Device,
    target: Generation | None,
    error: PrimumError,
    *,
    stimulus: Stimulus | None,
    change: Mapping[str, object],
) -> Entry:
    refused = isinstance(error, RefusedError)
    return Entry(
        kind=EventKind.UPDATE_REFUSED if refused else EventKind.UPDATE_FAILED,
        stimulus=stimulus,
        subject="" if target is None else target.name,
        attempt=device.attempt,
        result="refused" if refused else "failed",
        reasons=(str(error.reason),),
        change={**change, **({} if target is None else _held_against(device, target, error))},
        detail={**error.as_dict()},
    )


def _held_against(device: Device, target: Generation, error: PrimumError) -> dict[str, object]:
    state = device.journal.state()
    change: dict[str, object] = {"conclusion": {target.release: concluded(error)}}
    if isinstance(error, RefusedError) and error.reason in _OF_THE_BYTES:
        change["fault"] = {target.release: str(error.reason)}
    elif isinstance(error, ComponentFailedError):
        change |= setback(state, target.release, most=target.max_attempts, error=error)
    elif device.journal.counter(TOUCHED, "") == str(target.number):
        # A device that did not do its part is nobody's fault, but nothing is restarted for it at
        # every poll.
        poll_seconds = device.settings.timing.poll_seconds
        change |= tried_again_later(
            device.journal, target.release, poll_seconds=poll_seconds, why=Unproven.NOT_BROUGHT
        )
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
    used = state.in_use
    unreadable = used is not None and used.counter < state.counter_floor
    if used is not None and (unreadable or is_given_up(device.journal, used.number)):
        # The review leaves it: it could not read the data that is there now, or was tried often
        # enough; a device that tried for ever would take no release any more.
        lose(device.journal, used.number)
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
