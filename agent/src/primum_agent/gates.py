"""What must hold before a switch: for now one gate, clinical use in progress."""

from __future__ import annotations

from primum_agent.desk import ask
from primum_agent.layout import Layout
from primum_verifier.core.question import ClinicalUse


def clinical_use(layout: Layout) -> ClinicalUse:
    """Whether a patient is being served, as the application declared it to the supervisor.

    Where nobody can say, the answer is yes: unknown never opens a gate.
    """
    answer = ask(layout.socket, {"do": "status"})
    if answer is None or answer.get("clinicalUse") != ClinicalUse.IDLE:
        return ClinicalUse.IN_USE
    return ClinicalUse.IDLE
