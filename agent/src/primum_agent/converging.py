"""After a cut: from whatever the journal says to a state at rest, by the resume map alone."""

from __future__ import annotations

from primum_agent.activation import switched
from primum_agent.device import Device
from primum_agent.events import Entry, EventKind
from primum_agent.fallback import roll_back, roll_back_as_ordered
from primum_agent.judging import Judge
from primum_agent.lifecycle import Resume, State, Stimulus, resume_point
from primum_agent.transitions import unhealthy
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
    if point in {Resume.REST, Resume.STAY}:
        _follow_active(device)
        return
    if point is Resume.BEGIN_AGAIN:
        _interrupted(device, change={"candidate": None})
    elif point is Resume.FOLLOW_LINK:
        _follow_link(device)
    elif point is Resume.WATCH_AGAIN:
        _watch_again(device, judge)
    else:
        _finish_roll_back(device, judge)


def _interrupted(device: Device, *, change: dict[str, object] | None = None) -> None:
    state = device.journal.state()
    device.journal.record(
        Entry(
            kind=EventKind.UPDATE_INTERRUPTED,
            stimulus=Stimulus.INTERRUPTED,
            subject=_subject(device),
            attempt=device.attempt,
            result="failed",
            reasons=(Reason.STATE_POWER_LOSS,),
            change=change or {},
            detail={"found": str(state.lifecycle), "resumptions": state.resumptions + 1},
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


def _follow_link(device: Device) -> None:
    """While activating, the link decides: it is the act, and everything else follows it."""
    state = device.journal.state()
    target = state.generation(state.target)
    on_disk = device.store.active()
    if target is not None and on_disk == target.number:
        if device.store.generation_is_whole(target.number, release=target.release):
            switched(device, target)
            return
        # Switched, and then the disk lost what it had promised to keep: back to the old one.
        device.store.activate(state.active)
    collected = [] if target is None else [target.number]
    _interrupted(device, change={"candidate": None, "target": None, "collected": collected})
    _follow_active(device)


def _watch_again(device: Device, judge: Judge | None) -> None:
    """Restarts before health was proven are counted; too many are a roll-back."""
    state = device.journal.state()
    used = state.in_use
    _follow_active(device)
    if used is None or state.lifecycle is not State.PROVISIONAL:
        return
    if state.resumptions < used.max_attempts:
        _interrupted(device)
        return
    why = f"{state.resumptions} restarts without proven health"
    device.journal.record(unhealthy(state, used, why=why, own_fault=False))
    _finish_roll_back(device, judge)


def _finish_roll_back(device: Device, judge: Judge | None) -> None:
    """The intent stands in the journal; what a notice orders is asked of the core again."""
    state = device.journal.state()
    reasons = (state.leaving or str(Reason.STATE_POWER_LOSS),)
    if judge is None or state.in_use is None:
        roll_back(device, judge, reasons=reasons)
        return
    roll_back_as_ordered(
        device,
        judge,
        judge.ask(state.in_use.release, phase=Phase.CONTINUE, artifacts=ArtifactsFact.WHOLE),
        reasons=reasons,
    )
