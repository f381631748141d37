"""Whether the device may be restarted now: asked right before it is, on every way to a restart.

Between the first look at the gates and a restart lie minutes: an image is written, other components
come into effect.  So they are looked at once more at the last moment, and at each further request.

Going forward every gate counts that an activation passes.  On a way back only a patient holds: the
device is in safe mode until it is started anew, and no window is worth that.
"""

from __future__ import annotations

import json
from contextlib import suppress

from primum_agent.clock import believed
from primum_agent.components import RestartHold
from primum_agent.device import Device
from primum_agent.gate_overrides import read_overrides
from primum_agent.gate_rules import GateId, Severity, Step, holding, judge_gates
from primum_agent.gates import clinical_use, read_gates
from primum_agent.lifecycle import State
from primum_verifier.core.reasons import Reason


def why_no_restart(device: Device) -> RestartHold | None:
    """What holds a restart of the device now; None where nothing does.

    Args:
        device: the device, in the middle of an activation or of a way back.
    """
    settings, journal = device.settings.gates, device.journal
    state = journal.state()
    forward = state.lifecycle is State.ACTIVATING and device.installer.active() == state.target
    readings = read_gates(
        settings,
        declared=clinical_use(device.ask),
        sensors=device.sensors(),
        clock=device.clock,
        proven=None,
        # Who agreed, agreed to the restart; components were asked before anything was touched.
        asked=None,
        expected_seconds=0.0,
        stopped=state.stopped,
    )
    gates = judge_gates(
        settings,
        readings,
        severity=_severity(device, state.target),
        overrides=read_overrides(
            journal, powered=journal.powered_total(), now=believed(device.clock)
        ),
    )
    for gate in holding(gates, Step.ACTIVATE):
        if forward or gate.gate is GateId.CLINICAL_USE:
            reason = gate.reason or Reason.SAFETY_IN_USE
            return RestartHold(Reason(reason), f"{gate.gate}: {gate.reading}")
    return None


def _severity(device: Device, number: int | None) -> Severity:
    """What the signed manifest calls the release; a critical one skips what is convenience."""
    manifest = None if number is None else device.store.manifest_of(number)
    with suppress(ValueError, AttributeError):
        if json.loads(manifest or b"{}").get("severity") == "critical":
            return "critical"
    return "optional"
