"""Clinical use in progress: it holds a switch, and what is taken away may wait for its end.

The two sides of doubt differ.  Where nobody can say, nothing new is activated, and nothing that a
signed order takes away goes on.
"""

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


def episode_runs(layout: Layout) -> bool:
    """Whether an application has declared an episode that has not ended.

    Where no supervisor answers no episode is declared: they end with the supervisor's socket.
    """
    answer = ask(layout.socket, {"do": "status"})
    return answer is not None and answer.get("clinicalUse") == ClinicalUse.IN_USE
