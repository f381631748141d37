"""The attempt's side of a shadow: whether a release may run in it, until when, and what it came to.

A release in shadow is no generation: nothing that activates, goes back or falls back can name it.
Its files stay in the store by the mark in the device's state; ``run/shadow.json`` is written after
that mark and taken away before it, so that after a cut nothing runs that is not marked.

Nobody loses anything by its end, so every doubt ends it: it is judged at each look as if it were
to be activated now.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime

from primum_agent.content_store import MANIFEST
from primum_agent.device import Device
from primum_agent.device_state import Generation, Shadow
from primum_agent.events import Entry, EventKind
from primum_agent.fail_points import ShadowPoint, fail_here
from primum_agent.judging import Judge
from primum_agent.lifecycle import State, Stimulus
from primum_agent.shadow_kept import counts_of, monitoring_of
from primum_agent.shadow_period import Period, first_of, passed_of
from primum_agent.shadow_run import ShadowFile, ShadowRun, withdraw_shadow, write_shadow
from primum_verifier.core.component import ItemKind
from primum_verifier.core.document import parse_document, sha256_hex
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.manifest import ReleaseManifest
from primum_verifier.core.question import ArtifactsFact, SelfTestFact, Verdict
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import Capability, Decision, Phase
from primum_verifier.keeping.rollout import Assignment
from primum_verifier.proof.selftest_spec import Interface, SelfTestSpec
from primum_verifier.record.shadow import told_cells


def is_for_shadow(verdict: Verdict) -> bool:
    """Whether its outputs may never be shown, however well it passes its test."""
    statement = verdict.statement
    return statement is not None and statement.predicate.decision is Decision.SHADOW_ONLY


def asks_for_shadow(verdict: Verdict) -> bool:
    """Whether it may run in shadow and no further yet: for ever, or until that time was clean."""
    return is_for_shadow(verdict) or any(
        check.reason is Reason.SAFETY_SHADOW for check in verdict.in_the_way
    )


def refuse_shadow(device: Device, verdict: Verdict) -> None:
    """Refuse what has nothing to run beside, or nothing signed to be counted by.

    Args:
        device: the device; the files of the release lie whole in its store.
        verdict: the verdict on the release.

    Raises:
        RefusedError: it cannot be run in shadow here; the reason says why.
        PrimumError: a signed file of it cannot be read.
    """
    manifest = _manifest_of(verdict)
    state = device.journal.state()
    used = None if state.stopped else state.in_use
    if used is None:
        raise _not_here(Reason.FALLBACK_NONE, "no release in use", "one that it can run beside")
    item = manifest.item_of_kind(ItemKind.MONITORING_SPECIFICATION)
    if item is None or monitoring_of(device, item.digest.sha256).shadow is None:
        raise _not_here(
            Reason.COMPAT_CONTRACT,
            "no bins of a shadow" if item else "no monitoring specification",
            "the bins of a shadow in the signed monitoring specification",
        )
    spec = manifest.item(manifest.self_test.specification)
    data = device.store.path_of(spec.digest.sha256).read_bytes()
    asked = parse_document(SelfTestSpec, data, where=spec.path).interface
    if asked.inputs != _interface_in_use(device, used).inputs:
        raise _not_here(Reason.COMPAT_CONTRACT, "other inputs", f"the inputs of {used.name}")


def shadow_of(device: Device, verdict: Verdict) -> Shadow:
    """What the device's state says of a release that may run in shadow from now on."""
    manifest, statement = _manifest_of(verdict), verdict.statement
    used = device.journal.state().in_use
    model = manifest.item_of_kind(ItemKind.MODEL)
    monitoring = manifest.item_of_kind(ItemKind.MONITORING_SPECIFICATION)
    if used is None or statement is None or model is None or monitoring is None:
        raise RuntimeError("a release that cannot run in shadow was let into it")
    return Shadow(
        component=manifest.bundle.component,
        version=str(manifest.bundle.version),
        release=verdict.release,
        statement=str(verdict.statement_digest),
        statement_number=statement.predicate.statement_number,
        beside=used.release,
        model=model.digest.sha256,
        specification=manifest.item(manifest.self_test.specification).digest.sha256,
        monitoring=monitoring.digest.sha256,
        begun=device.attempt,
    )


def serve_shadow(device: Device, shadow: Shadow, verdict: Verdict) -> None:
    """Let ``run/shadow.json`` name what the state marks.

    Raises:
        FailedError: the run folder cannot be written; the old file stands.
    """
    if verdict.statement is None:
        raise RuntimeError("a verdict without a statement lets nothing run in shadow")
    said = verdict.statement.predicate

    def file_of(sha256: str) -> ShadowFile:
        return ShadowFile(path=str(device.store.path_of(sha256).resolve()), sha256=sha256)

    write_shadow(
        device.layout,
        ShadowRun(
            component=shadow.component,
            version=shadow.version,
            release=shadow.release,
            statement=shadow.statement,
            beside=shadow.beside,
            begun=shadow.begun,
            not_after=_end_of(verdict).isoformat(),
            output=said.operating_point.output,
            threshold=str(said.operating_point.threshold),
            model=file_of(shadow.model),
            specification=file_of(shadow.specification),
            monitoring=file_of(shadow.monitoring),
        ),
    )


def look_after_shadow(device: Device, judge: Judge | None, assigned: Assignment | None) -> None:
    """Judge the release in shadow again: it goes on, with its counts told, or it ends.

    Args:
        device: the device, what runs having been reviewed.
        judge: the judge of this attempt; None while nothing can be judged.
        assigned: what the signed plan gives this device.

    Raises:
        FailedError: the disk did not take it; what the state marks is looked at again.
    """
    shadow = device.journal.state().shadow
    if shadow is None or judge is None:
        withdraw_shadow(device.layout)
        return
    _tell_windows(device, shadow)
    ended = _ended_by_device(device, shadow, assigned)
    if ended is not None:
        _end(device, shadow, (str(ended[0]),), ended[1])
        return
    whole = all(device.store.verify(sha256) for sha256 in sorted(shadow.files))
    verdict = judge.ask(
        shadow.release,
        phase=Phase.ACTIVATE,
        artifacts=ArtifactsFact.WHOLE if whole else ArtifactsFact.DAMAGED,
        self_test=SelfTestFact.PASSED,
    )
    if verdict.capability is not Capability.SHADOW:
        reasons = tuple(
            dict.fromkeys(str(item.reason) for item in verdict.in_the_way if item.reason)
        )
        more = verdict.capability > Capability.SHADOW
        why = "it may be used now" if more else "it may not run in shadow any more"
        _end(device, shadow, reasons, why)
        return
    if verdict.statement_digest != shadow.statement:
        _end(device, shadow, (str(Reason.ELIGIBILITY_SUPERSEDED),), "by another statement")
        return
    first = first_of(verdict)
    period = Period.OPEN if first is None else passed_of(device, shadow).judged_by(first)
    if period is not Period.OPEN:
        _conclude(device, shadow, period)
        return
    serve_shadow(device, shadow, verdict)


def _ended_by_device(
    device: Device, shadow: Shadow, assigned: Assignment | None
) -> tuple[Reason, str] | None:
    """What ends it whatever a verdict says; None where nothing does."""
    state = device.journal.state()
    if state.stopped:
        return Reason.SAFETY_STOPPED, "the use of every release was stopped"
    if state.in_use is None:
        return Reason.FALLBACK_NONE, "safe mode: nothing runs beside which it could run"
    if state.in_use.release != shadow.beside:
        return Reason.ELIGIBILITY_SUPERSEDED, f"{state.in_use.name} is in use now"
    if assigned is None or assigned.release.sha256 != shadow.release:
        return Reason.ELIGIBILITY_SUPERSEDED, "superseded by the plan"
    return None


def _stop(device: Device) -> None:
    """Nothing runs in shadow any more; that is done before it is said."""
    fail_here(ShadowPoint.BEFORE_END)
    withdraw_shadow(device.layout)
    fail_here(ShadowPoint.BEFORE_ENDED)


def _conclude(device: Device, shadow: Shadow, period: Period) -> None:
    """The time in shadow is over: the release may go on to the other gates, or never again here."""
    clean = period is Period.CLEAN
    reason = str(Reason.SELFTEST_SHADOW)
    state = device.journal.state()
    waits = state.candidate is not None and state.candidate.release == shadow.release
    refused = not clean and waits and state.lifecycle is State.WAITING
    change: dict[str, object] = {"shadow": None}
    if clean:
        change["shadowed"] = {shadow.release: shadow.statement}
    else:
        change |= {"candidate": None} if refused else {}
        change |= {
            "fault": {shadow.release: reason},
            "conclusion": {shadow.release: f"fault: {reason}"},
        }
    told = passed_of(device, shadow).told()
    _stop(device)
    device.journal.record(
        Entry(
            kind=EventKind.SHADOW_ENDED,
            stimulus=Stimulus.REFUSED if refused else None,
            subject=shadow.name,
            attempt=device.attempt,
            result="done" if clean else "refused",
            reasons=() if clean else (reason,),
            change=change,
            detail={"why": str(period), "beside": shadow.beside, "found": told},
        )
    )


def _end(device: Device, shadow: Shadow, reasons: tuple[str, ...], why: str) -> None:
    """Stop it first, then say so; the counts of a window that is not over are never told."""
    _stop(device)
    device.journal.record(
        Entry(
            kind=EventKind.SHADOW_ENDED,
            subject=shadow.name,
            attempt=device.attempt,
            result="done",
            reasons=reasons,
            change={"shadow": None, "conclusion": {shadow.release: f"shadow ended: {why}"}},
            detail={"why": why, "beside": shadow.beside},
        )
    )


def _tell_windows(device: Device, shadow: Shadow) -> None:
    """One event for each window that is over, with everything withheld that has to be."""
    counts = counts_of(device, shadow)
    over = [] if counts is None else counts.over
    for window in over:
        if window.number <= shadow.told:
            continue
        spec = monitoring_of(device, shadow.monitoring)
        least = spec.suppression.minimum_cell_count
        shadow = replace(shadow, told=window.number)
        device.journal.record(
            Entry(
                kind=EventKind.SHADOW_SUMMARY,
                subject=shadow.name,
                attempt=device.attempt,
                result="done",
                change={"shadow": asdict(shadow)},
                shadow={
                    "mode": "shadow",
                    "release": shadow.release,
                    "statement": shadow.statement,
                    "beside": shadow.beside,
                    "monitoringSpecification": shadow.monitoring,
                    "window": window.number,
                    "windowHours": spec.window_hours,
                    "minimumCellCount": least,
                    **told_cells(
                        window.tally, least=least, groups=device.settings.reports.breakdowns
                    ),
                },
            )
        )


def _end_of(verdict: Verdict) -> datetime:
    if verdict.statement is None:
        raise RuntimeError("a verdict without a statement has no end")
    said = verdict.statement.predicate
    end: datetime = said.validity.not_after
    return end if said.study is None else min(end, said.study.until)


def _manifest_of(verdict: Verdict) -> ReleaseManifest:
    if verdict.manifest is None:
        raise RuntimeError("a release without a manifest was let into shadow")
    return verdict.manifest


def _interface_in_use(device: Device, used: Generation) -> Interface:
    """The signed interface of what is in use, out of its generation."""
    folder = device.layout.generations / str(used.number)
    data = (folder / MANIFEST).read_bytes()
    if sha256_hex(data) != used.release:
        raise _not_here(Reason.STATE_DAMAGED, "a damaged manifest", f"the manifest of {used.name}")
    manifest = parse_document(ReleaseManifest, data, where=MANIFEST)
    item = manifest.item(manifest.self_test.specification)
    return parse_document(
        SelfTestSpec, (folder / item.path).read_bytes(), where=item.path
    ).interface


def _not_here(reason: Reason, found: str, expected: str) -> RefusedError:
    return RefusedError(
        "The release cannot be run in shadow on this device.",
        reason=reason,
        where="shadow",
        found=found,
        expected=expected,
        remedy="It is kept, inactive; the device looks again at the next poll.",
    )
