"""A device whose releases are tested again: fixtures and what is read off it afterwards.

Releases are activated with a bench that finds all well, so that a model which computes something
else can be in use; the periodic self-test runs the real one, in its real confinement.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from primum_agent.attempt import run_attempt
from primum_agent.clock import FakeClock
from primum_agent.device import real_ports
from primum_agent.settings import read_settings
from primum_verifier.core.question import ClinicalUse
from primum_verifier.shell.bench import REFERENCE_BENCH, Bench

Attempt = Callable[..., int]
DONE, FAILED, WAITING = 0, 3, 5


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is served, though no supervisor is there to say so."""
    monkeypatch.setattr("primum_agent.rehashing.clinical_use", lambda _: ClinicalUse.IDLE)


@pytest.fixture
def tested(in_the_field: Any) -> Callable[..., int]:
    """One self-test attempt in this process, a day after the last one."""

    def run(bench: Bench = REFERENCE_BENCH, *, clock: Any = None) -> int:
        settings = read_settings(in_the_field.provisioning)
        layout = in_the_field.layout
        return run_attempt(
            settings=settings,
            layout=layout,
            clock=clock or FakeClock(boot="the next start"),
            reason="self-test",
            ports=replace(real_ports(settings, layout), bench=bench),
        )

    return run


def runs(field: Any, attempt_now: Attempt, *scales: float) -> Any:
    """A device that ran a release for each scale, the last of them now; 1.0 computes right."""
    for counter, scale in enumerate(scales, start=1):
        field.release(f"1.{counter - 1}.0", counter=counter, scale=scale)
        assert attempt_now() == DONE
        field.commit()
    return field


def say(field: Any, *lines: str) -> None:
    """The maker's table ``[self_test]``."""
    text = field.settings() + "\n".join(["[self_test]", *lines]) + "\n"
    field.write("agent.toml", text.encode())


def in_use(field: Any) -> str:
    journal = field.journal()
    try:
        used = journal.state().in_use
        return "" if used is None else used.version
    finally:
        journal.close()


def status(field: Any) -> Any:
    return json.loads(field.agent("status", "--json").stdout)


def doctor(field: Any, what: str) -> Any:
    told = field.agent("doctor", "--json", "--provisioning", field.provisioning).stdout
    return next(item for item in json.loads(told) if item["what"] == what)


def told(field: Any, kind: str) -> int:
    return int(field.kinds().count(kind))
