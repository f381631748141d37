"""Activating a release: intent, files, switch, provisional; each recorded before it is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict

from primum_agent.device import Device
from primum_agent.device_state import Generation
from primum_agent.events import Entry, EventKind
from primum_agent.fail_points import FailPoint, fail_here
from primum_agent.installer import generation_for
from primum_agent.judging import Judge
from primum_agent.lifecycle import Stimulus
from primum_agent.serving import serve
from primum_agent.taking_effect import bring_into_effect
from primum_verifier.core.errors import WaitingError
from primum_verifier.core.question import ArtifactsFact, Verdict
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import Phase


def activate(
    device: Device, judge: Judge, verdict: Verdict, *, manifest: bytes, idle: Callable[[], bool]
) -> Generation:
    """Make a release the active one, provisionally.

    1. The intent is recorded, with the number of the generation.
    2. The generation is laid out beside the active one.
    3. The link is switched: one rename.
    4. The components that differ are brought into effect, in order.
    5. The switch is recorded; from here on the application has to prove health.
    6. The application is told.

    Args:
        device: the device; its lifecycle is ``waiting``.
        judge: the judge that gave the verdict.
        verdict: a verdict that lets the release be used, over the newest views.
        manifest: the exact bytes of the manifest.
        idle: whether nobody is being served, asked once more when it lies ready.

    Raises:
        WaitingError: an episode began while it was made ready; nothing was switched.
        NotYetInEffectError: a restart was asked for; the next attempt goes on from there.
        FailedError: the device did not take it.  The caller breaks the activation off.
    """
    journal = device.journal
    generation = generation_for(journal.state(), verdict)
    # A restriction in force chooses its operating point from the first episode on.
    running = judge.ask(
        verdict.release, phase=Phase.CONTINUE, artifacts=ArtifactsFact.WHOLE, keep=False
    )
    journal.record(
        Entry(
            kind=EventKind.UPDATE_ACTIVATING,
            stimulus=Stimulus.CLEARED,
            subject=generation.name,
            attempt=device.attempt,
            result="accepted",
            change={"generation": asdict(generation), "target": generation.number},
            detail={
                "generation": generation.number,
                "views": list(verdict.views.values()),
            },
        )
    )
    fail_here(FailPoint.ACTIVATING_BEFORE_GENERATION)
    device.installer.lay_out(generation, manifest=manifest, verdict=running)
    if not idle():
        raise WaitingError(
            "A patient is being served by now: nothing is switched.",
            reason=Reason.SAFETY_IN_USE,
            found="clinical use began while the release was made ready",
            expected="no clinical use",
            remedy="Nothing has to be done: it goes on at the next look.",
        )
    fail_here(FailPoint.ACTIVATING_BEFORE_SWITCH)
    device.installer.switch(generation.number)
    fail_here(FailPoint.ACTIVATING_AFTER_SWITCH)
    switched(device, generation, changes=bring_into_effect(device, generation))
    return generation


def switched(device: Device, generation: Generation, *, changes: Sequence[str]) -> None:
    """Record the switch that the disk shows, and tell the application.

    Args:
        device: the device; its lifecycle is ``activating``.
        generation: what is active, by the disk.
        changes: what was done to components, for the report.
    """
    device.journal.set_counters(suspended="", ending="")
    device.journal.record(
        Entry(
            kind=EventKind.UPDATE_ACTIVATED,
            stimulus=Stimulus.SWITCHED,
            subject=generation.name,
            attempt=device.attempt,
            result="done",
            change={
                "active": generation.number,
                "target": None,
                "candidate": None,
                "eligibility": "",
                "conclusion": {generation.release: "activated"},
                # Stored data may have a new form from here on, proven or not.
                "counterFloor": generation.data_floor_counter,
            },
            detail={
                "generation": generation.number,
                "healthWindowSeconds": generation.health_window,
                **({"components": list(changes)} if changes else {}),
            },
        )
    )
    serve(device.layout, clock=device.clock, store=device.store, state=device.journal.state())
