"""After a cut: from whatever the journal says to a state at rest, by the resume map alone."""

from __future__ import annotations

from primum_agent.activation import switched
from primum_agent.device import Device
from primum_agent.device_state import Generation
from primum_agent.events import Entry, EventKind
from primum_agent.fallback import roll_back, roll_back_as_ordered
from primum_agent.judging import Judge
from primum_agent.lifecycle import Resume, State, Stimulus, resume_point
from primum_agent.taking_effect import break_off, bring_into_effect, take_back, tell_good
from primum_agent.transitions import BEGUN_AFTER, PLANNED_STOP, not_proven
from primum_agent.untold import is_told
from primum_verifier.core.errors import FailedError
from primum_verifier.core.question import ArtifactsFact
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import Phase


def converge(device: Device, judge: Judge | None) -> None:
    """Bring the device to exactly the old or the new release.

    Args:
        device: the device, in any state.
        judge: the judge over the stored views; a roll-back needs it.

    Raises:
        FailedError: the disk did not take it; the next start tries again.
    """
    state = device.journal.state()
    point = resume_point(state.lifecycle)
    cut = _what_cut(device)
    if point in {Resume.REST, Resume.STAY}:
        _follow_active(device)
        tell_good(device)
        return
    if point is Resume.BEGIN_AGAIN:
        _interrupted(device, cut=cut, change={"candidate": None})
    elif point is Resume.FOLLOW_LINK:
        _follow_link(device, cut=cut)
    elif point is Resume.WATCH_AGAIN:
        _watch_again(device, judge, cut=cut)
    else:
        _finish_roll_back(device, judge)


def _what_cut(device: Device) -> Reason:
    """Only the first look after a start is about what the stop before it left."""
    journal = device.journal
    if journal.counter(BEGUN_AFTER, "") != PLANNED_STOP:
        return Reason.STATE_POWER_LOSS
    journal.set_counters(begun_after="")
    return Reason.INTERRUPTED


def _interrupted(device: Device, *, cut: Reason, change: dict[str, object] | None = None) -> None:
    state = device.journal.state()
    device.journal.record(
        Entry(
            kind=EventKind.UPDATE_INTERRUPTED,
            stimulus=Stimulus.INTERRUPTED,
            subject=_subject(device),
            attempt=device.attempt,
            result="failed",
            reasons=(cut,),
            change=change or {},
            detail={
                "found": str(state.lifecycle),
                "resumptions": state.resumptions + 1,
                "by": "a planned stop" if cut is Reason.INTERRUPTED else "a cut",
            },
        )
    )


def _subject(device: Device) -> str:
    state = device.journal.state()
    for item in (state.candidate, state.generation(state.target), state.in_use):
        if item is not None:
            return item.name
    return ""


def _follow_active(device: Device) -> None:
    """At rest, the journal decides what is active; a link that differs is set right."""
    state = device.journal.state()
    if device.store.active() != state.active:
        device.store.activate(state.active)


def _follow_link(device: Device, *, cut: Reason) -> None:
    """While activating, the link decides: it is the act, and everything else follows it."""
    state = device.journal.state()
    target = state.generation(state.target)
    on_disk = device.store.active()
    if target is not None and on_disk == target.number:
        if device.store.generation_is_whole(target.number, release=target.release):
            _finish_activation(device, target)
            return
        # Switched, and then the disk lost what it had promised to keep: back to the old one.
        device.store.activate(state.active)
    take_back(device)
    collected = [] if target is None else [target.number]
    _interrupted(
        device, cut=cut, change={"candidate": None, "target": None, "collected": collected}
    )
    _follow_active(device)


def _finish_activation(device: Device, target: Generation) -> None:
    """The link is switched: its components come into effect, or what ran before runs again."""
    try:
        changes = bring_into_effect(device, target)
    except FailedError as error:
        break_off(device, error)
        return
    switched(device, target, changes=changes)


def _watch_again(device: Device, judge: Judge | None, *, cut: Reason) -> None:
    """Restarts before health was proven are counted; too many are a roll-back."""
    state = device.journal.state()
    used = state.in_use
    _follow_active(device)
    if used is None or state.lifecycle is not State.PROVISIONAL:
        return
    gone = device.installer.not_in_effect(used.number)
    if state.resumptions < used.max_attempts and not gone:
        _interrupted(device, cut=cut)
        return
    why = f"{state.resumptions} restarts without proven health"
    if gone:
        why = f"no longer in effect: {', '.join(gone)}"
    device.journal.record(
        not_proven(
            device.journal,
            used,
            why=why,
            poll_seconds=device.settings.timing.poll_seconds,
            told=is_told(device.layout, state),
        )
    )
    _finish_roll_back(device, judge)


def _finish_roll_back(device: Device, judge: Judge | None) -> None:
    """The intent stands in the journal; what a notice orders is asked of the core again."""
    state = device.journal.state()
    reasons = (state.leaving or str(Reason.STATE_POWER_LOSS),)
    chosen = state.generation(state.target)
    if judge is None or state.in_use is None:
        roll_back(device, judge, reasons=reasons)
        return
    roll_back_as_ordered(
        device,
        judge,
        judge.ask(state.in_use.release, phase=Phase.CONTINUE, artifacts=ArtifactsFact.WHOLE),
        reasons=reasons,
        # What a person had chosen, where one ordered it.
        preferred=() if chosen is None else (chosen.release,),
    )
