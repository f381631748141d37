"""Reviewing what runs: taken away by a notice, lapsed, damaged, or it goes on.

This comes before anything new: a withdrawal outranks every candidate.
"""

from __future__ import annotations

from contextlib import suppress

from primum_agent.collecting import keep_as_evidence
from primum_agent.components import ComponentFailedError
from primum_agent.device import Device
from primum_agent.device_state import Generation
from primum_agent.events import Entry, EventKind
from primum_agent.fallback import SUSPENDED, roll_back, roll_back_as_ordered
from primum_agent.gates import episode_runs
from primum_agent.hashed import note_hashed
from primum_agent.in_force import keep_in_force, terms_in_force
from primum_agent.judging import Judge
from primum_agent.lifecycle import Stimulus
from primum_agent.running_episode import forget, wait_on
from primum_agent.served_terms import ServedTerms
from primum_agent.serving import serve
from primum_agent.standing import Ending, read_standing
from primum_agent.taking_effect import setback
from primum_agent.way_back import out_of_effect
from primum_verifier.core.errors import PrimumError
from primum_verifier.core.question import ArtifactsFact, Verdict
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import Capability, EpisodeRule, NoticeAction, Phase


def review(device: Device, judge: Judge | None) -> Verdict | None:
    """Judge the active release, act on it, and let ``standing.json`` say what is.

    Args:
        device: the device; its lifecycle is at rest, waiting or provisional.
        judge: the judge of this attempt; None leaves what runs as it is.

    Returns:
        The verdict on what ran, or None when nothing ran or nothing could be judged.
    """
    journal, state = device.journal, device.journal.state()
    used = state.in_use
    if used is None:
        _serve_unchanged(device)
        return None
    if state.stopped:
        _leave_stopped(device, used, why=state.stopped)
        return None
    whole = device.store.generation_is_whole(used.number, release=used.release)
    if whole:
        note_hashed(journal, used, clock=device.clock)
    gone = out_of_effect(device, used)
    if judge is None:
        if whole and not gone:
            _serve_unchanged(device)
        return None
    artifacts = ArtifactsFact.WHOLE if whole else ArtifactsFact.DAMAGED
    verdict = judge.ask(used.release, phase=Phase.CONTINUE, artifacts=artifacts)
    reasons = () if verdict.primary is None else (str(verdict.primary),)
    found = [check.found for check in verdict.in_the_way]
    if verdict.capability < Capability.INVESTIGATIONAL:
        _take_away(device, judge, used, verdict, may_end=whole and not gone)
        return verdict
    if gone:
        _leave(device, judge, used, verdict, gone=gone)
        return verdict
    forget(journal)
    lifted = verdict.primary is None and bool(state.eligibility)
    _note_change(device, verdict, reasons=reasons, found=found)
    keep_in_force(device, verdict)
    terms = terms_in_force(device, verdict)
    if verdict.primary is None and not lifted:
        _serve_unchanged(device, terms=terms)
    else:
        serve(
            device.layout,
            clock=device.clock,
            store=device.store,
            state=journal.state(),
            reasons=reasons,
            notice=verdict.user_notice,
            terms=terms,
        )
    return verdict


def _take_away(
    device: Device, judge: Judge, used: Generation, verdict: Verdict, *, may_end: bool
) -> None:
    """Leave what may not run any more, once the episode that runs has ended where it may."""
    journal = device.journal
    found = [check.found for check in verdict.in_the_way]
    if may_end and (ending := _ending(device, used, verdict)) is not None:
        _keep_if_possible(device, verdict)
        _let_the_episode_end(device, verdict, ending=ending, found=found)
        return
    _keep_if_possible(device, verdict)
    forget(journal)
    if verdict.order is not None and verdict.order.preserve_evidence:
        keep_as_evidence(journal, used.number)
    reasons = () if verdict.primary is None else (str(verdict.primary),)
    journal.record(
        Entry(
            kind=EventKind.ELIGIBILITY_LOST,
            stimulus=Stimulus.TAKEN_AWAY,
            subject=used.name,
            attempt=device.attempt,
            result="refused",
            reasons=reasons,
            change={"candidate": None},
            detail={
                "ordered": str(verdict.ordered or NoticeAction.FALL_BACK),
                "found": found,
                "notice": verdict.user_notice,
                "fallback": list(verdict.fallback),
                **_how(verdict),
            },
        )
    )
    roll_back_as_ordered(device, judge, verdict, reasons=reasons)


def _leave_stopped(device: Device, used: Generation, *, why: str) -> None:
    """Leave what the application had stopped; nothing is judged, and no other release is taken."""
    reasons = (str(Reason.SAFETY_STOPPED),)
    forget(device.journal)
    device.journal.record(
        Entry(
            kind=EventKind.UPDATE_ROLLING_BACK,
            stimulus=Stimulus.TAKEN_AWAY,
            subject=used.name,
            attempt=device.attempt,
            result="accepted",
            reasons=reasons,
            change={"candidate": None},
            detail={"why": why, "generation": used.number},
        )
    )
    roll_back(device, None, reasons=reasons)


def _leave(
    device: Device, judge: Judge, used: Generation, verdict: Verdict, *, gone: tuple[str, ...]
) -> None:
    """What was proven is not what runs: a component is out of effect, as by a boot loader.

    It is held against a release that never proved health; a proven one may be installed again.
    """
    forget(device.journal)
    error = ComponentFailedError(
        "A component of what runs is not in effect any more.",
        reason=Reason.STATE_COMPONENT,
        where=used.name,
        found=", ".join(gone),
        expected="every component of the release in effect",
        remedy="See what started the device otherwise, such as the boot loader's own way back.",
    )
    against = setback(device.journal.state(), used.release, most=used.max_attempts, error=error)
    device.journal.record(
        Entry(
            kind=EventKind.ELIGIBILITY_LOST,
            stimulus=Stimulus.TAKEN_AWAY,
            subject=used.name,
            attempt=device.attempt,
            result="failed",
            reasons=(str(error.reason),),
            change={"candidate": None, **({} if used.proven else against)},
            detail={"ordered": str(NoticeAction.FALL_BACK), **error.as_dict()},
        )
    )
    roll_back_as_ordered(device, judge, verdict, reasons=(str(error.reason),))


def _keep_if_possible(device: Device, verdict: Verdict) -> None:
    """Keep a statement that takes something away; a full disk does not hold up the taking away."""
    with suppress(PrimumError):
        keep_in_force(device, verdict)


def _ending(device: Device, used: Generation, verdict: Verdict) -> Ending | None:
    """How what is taken away waits for the episode that runs; None: it is taken away now.

    What is damaged waits for nothing: no order says that it may go on.  There is no safe point
    inside an episode that this device could know of, so the next one is its end.
    """
    order = verdict.order
    if order is None or order.running_episode is EpisodeRule.AT_ONCE:
        return None
    if not episode_runs(device.settings.gates, device.ask):
        return None
    noted = wait_on(device.journal, used.number, max_use_seconds=order.max_use_seconds)
    if noted.seconds_left(device.journal.powered_total()) == 0.0:
        return None
    return Ending(reason=str(order.reason), max_use_seconds=order.max_use_seconds)


def _let_the_episode_end(
    device: Device, verdict: Verdict, *, ending: Ending, found: list[str]
) -> None:
    """Say that no new episode may begin; the one that runs is finished."""
    _note_change(
        device, verdict, reasons=(ending.reason,), found=found, waits="; waits for the episode"
    )
    serve(
        device.layout,
        clock=device.clock,
        store=device.store,
        state=device.journal.state(),
        reasons=(ending.reason,),
        notice=verdict.user_notice,
        ending=ending,
    )


def _serve_unchanged(device: Device, *, terms: ServedTerms | None = None) -> None:
    """Write the standing anew where it says something else; an older notice of ours stays.

    After a fall-back the reason for it stays with the application until something new is
    activated: who looks at the screen a day later still reads why.
    """
    state = device.journal.state()
    kept = _kept_notice(device)
    serve(
        device.layout,
        clock=device.clock,
        store=device.store,
        state=state,
        reasons=kept[0],
        notice=kept[1],
        terms=terms,
        suspended=device.journal.counter(SUSPENDED, ""),
    )


def _kept_notice(device: Device) -> tuple[list[str], str]:
    """The reasons and notice that stand now, if they are about what is active now."""
    old = read_standing(device.layout)
    if old is None or old.get("generation") != device.journal.state().active:
        return [], ""
    reasons = old.get("reasons")
    return (
        [str(item) for item in reasons] if isinstance(reasons, list) else [],
        str(old.get("notice", "")),
    )


def _note_change(
    device: Device,
    verdict: Verdict,
    *,
    reasons: tuple[str, ...],
    found: list[str],
    waits: str = "",
) -> None:
    """One event when the review concludes something else than before."""
    concluded = "" if verdict.primary is None else f"{verdict.primary}: {verdict.ordered}{waits}"
    if concluded == device.journal.state().eligibility:
        return
    device.journal.record(
        Entry(
            kind=EventKind.ELIGIBILITY_CHANGED,
            subject=verdict.name,
            attempt=device.attempt,
            result="waiting" if concluded else "accepted",
            reasons=reasons,
            change={"eligibility": concluded},
            detail={
                "ordered": "" if verdict.ordered is None else str(verdict.ordered),
                **_how(verdict),
                "found": found,
                "notice": verdict.user_notice,
            },
        )
    )


def _how(verdict: Verdict) -> dict[str, object]:
    """What the order says besides its action, for a report."""
    order = verdict.order
    if order is None:
        return {}
    return {
        "runningEpisode": str(order.running_episode),
        "maxUseSeconds": order.max_use_seconds,
        "operatingPoint": order.operating_point,
        "preserveEvidence": order.preserve_evidence,
    }
