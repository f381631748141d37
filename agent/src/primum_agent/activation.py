"""Activating a release: intent, files, switch, provisional; each recorded before it is done."""

from __future__ import annotations

from dataclasses import asdict

from primum_agent.device import Device
from primum_agent.device_state import Generation
from primum_agent.events import Entry, EventKind
from primum_agent.fail_points import FailPoint, fail_here
from primum_agent.installer import generation_for
from primum_agent.judging import Judge
from primum_agent.lifecycle import Stimulus
from primum_agent.serving import serve
from primum_verifier.core.question import ArtifactsFact, Verdict
from primum_verifier.core.vocabulary import Phase


def activate(device: Device, judge: Judge, verdict: Verdict, *, manifest: bytes) -> Generation:
    """Make a release the active one, provisionally.

    1. The intent is recorded, with the number of the generation.
    2. The generation is laid out beside the active one.
    3. The link is switched: one rename.
    4. The switch is recorded; from here on the application has to prove health.
    5. The application is told.

    Args:
        device: the device; its lifecycle is ``waiting``.
        judge: the judge that gave the verdict.
        verdict: a verdict that lets the release be used, over the newest views.
        manifest: the exact bytes of the manifest.

    Raises:
        FailedError: the disk did not take it.  The old generation is active, unless it was the
            journal that did not take the switch: the caller asks the installer.
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
    fail_here(FailPoint.ACTIVATING_BEFORE_SWITCH)
    device.installer.switch(generation.number)
    fail_here(FailPoint.ACTIVATING_AFTER_SWITCH)
    switched(device, generation)
    return generation


def switched(device: Device, generation: Generation) -> None:
    """Record the switch that the disk shows, and tell the application."""
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
            },
            detail={
                "generation": generation.number,
                "healthWindowSeconds": generation.health_window,
            },
        )
    )
    serve(device.layout, clock=device.clock, store=device.store, state=device.journal.state())
