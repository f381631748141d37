"""Watching over the download of a candidate: telling how far it is, and ending it at a gate.

A gate may shut in the middle: the network becomes a metered one, a window ends, a person pauses.
What came is kept, and the download goes on once the gate opens.
"""

from __future__ import annotations

from collections.abc import Callable

from primum_agent.candidate_gates import CandidateAtGates
from primum_agent.candidate_report import CandidateReport
from primum_agent.delta_files import DeltaFiles
from primum_agent.device import Device
from primum_agent.downloading import Fetched, download
from primum_agent.events import EventKind
from primum_agent.fetching_told import Fetching, end_fetching, tell_fetching
from primum_agent.gate_rules import Gate, GateId, Step, holding
from primum_agent.pausing import pause_of
from primum_verifier.core.errors import WaitingError
from primum_verifier.core.manifest import ReleaseManifest
from primum_verifier.core.question import Verdict
from primum_verifier.core.reasons import Reason

GATE_SECONDS = 30.0
"""Between two looks at all gates while something is fetched; a pause is seen within a second."""

EVENT_SECONDS = 900.0
"""Between two events on how far it is: a slow download is seen, a fast one is not talked about."""


class HeldError(WaitingError):
    """A gate shut while a release was fetched.

    Attributes:
        gates: which ones.
    """

    def __init__(self, gates: tuple[Gate, ...]) -> None:
        first = gates[0]
        super().__init__(
            "A gate shut while the release was fetched; what came is kept.",
            reason=first.reason or Reason.TRANSPORT_PAUSED,
            where=str(first.gate),
            found=first.reading,
            expected=first.opens,
        )
        self.gates = gates


class CandidateFetching:
    """The download of one candidate in one attempt.

    Args:
        device: the device.
        report: what is said about the candidate.
        gates: the gates that it passes.
        verdict: on the candidate, before it is fetched.
        monotonic: a clock that never goes back, in seconds.
    """

    def __init__(
        self,
        device: Device,
        *,
        report: CandidateReport,
        gates: CandidateAtGates,
        verdict: Verdict,
        monotonic: Callable[[], float],
    ) -> None:
        self._device = device
        self._report = report
        self._gates = gates
        self._verdict = verdict
        self._monotonic = monotonic
        self._begun = self._looked = self._told = monotonic()

    def run(self, manifest: ReleaseManifest, *, deltas: DeltaFiles) -> int:
        """Fetch what is missing; bytes that came over the wire.

        Args:
            manifest: the signed manifest.
            deltas: takes in what came of deltas.

        Raises:
            HeldError: a gate shut in the middle.
            PrimumError: see :func:`primum_agent.downloading.download`.
        """
        try:
            return download(manifest, device=self._device, watch=self._watch, deltas=deltas)
        finally:
            end_fetching(self._device.layout)

    def _watch(self, fetched: Fetched) -> None:
        now = self._monotonic()
        rate = fetched.received / (now - self._begun) if now > self._begun else 0.0
        told = Fetching(
            name=self._report.candidate.name,
            done=fetched.done,
            total=fetched.total,
            rate=round(rate, 1),
            server=fetched.server,
        )
        tell_fetching(self._device.layout, told)
        if now - self._told >= EVENT_SECONDS:
            self._told = now
            self._report.say(EventKind.UPDATE_PROGRESS, None, detail=told.as_dict())
        paused = pause_of(self._device.journal, self._device.clock) is not None
        if paused or now - self._looked >= GATE_SECONDS:
            self._looked = now
            gates = self._gates.look(self._verdict, steps=tuple(Step))
            # A disk that fills up with what is fetched is no gate that shut.
            held = [item for item in holding(gates, Step.DOWNLOAD) if item.gate != GateId.DISK]
            if held:
                raise HeldError(tuple(held))
