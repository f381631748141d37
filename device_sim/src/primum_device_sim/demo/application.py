"""The demo's application: classifies a recorded strip with whatever release may be used now.

It stands where a wearable's own software would. It opens the active release through the agent's
library, proves its health by classifying, stamps every output with release and eligibility,
switches only between episodes, and says so when there is no eligible model.

Example:
  primum-sim application --state wearable-001/state --output outputs.jsonl
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

# Before the runtime is imported: it would otherwise send telemetry.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from primum_agent.application import ActiveRelease, SafeMode, StandingError, open_active
from primum_device_sim.demo.detection import detect_r_peaks
from primum_device_sim.demo.features import BeatInputs, beat_inputs
from primum_device_sim.demo.strip import load_strip
from primum_verifier.shell.durable import storage_error

EPISODE_BEATS = 12
"""Beats of one clinical episode of the demo; between episodes the release may change."""

_PAUSE_SECONDS = 0.2


class Classifier:
    """One opened release: its model in the runtime, at its signed operating point."""

    def __init__(self, release: ActiveRelease) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.release = release
        self._session = onnxruntime.InferenceSession(
            str(release.model), options, providers=["CPUExecutionProvider"]
        )

    def decide(self, ecg_mv: NDArray[np.float32], rr_s: NDArray[np.float32]) -> tuple[float, str]:
        """The score of one beat and what it means: ``pvc``, ``normal`` or ``no-decision``."""
        feeds = {"ecg_mv": ecg_mv[None, :], "rr_s": rr_s[None, :]}
        (output,) = self._session.run([self.release.output], feeds)
        score = float(output[0, 0])
        if np.isnan(score):
            return score, "no-decision"
        return score, "pvc" if score >= self.release.threshold else "normal"


class Application:
    """Runs episodes until it is told to stop.

    Args:
        state: the agent's state folder.
        output: where outputs go, one JSON object a line.
    """

    def __init__(self, *, state: Path, output: TextIO) -> None:
        self._state = state
        self._output = output
        self._stopped = threading.Event()
        self._said = ""

    def stop(self) -> None:
        """Ask for an end after the running episode."""
        self._stopped.set()

    def run(self, rows: BeatInputs) -> None:
        """Classify the strip again and again, an episode at a time."""
        opened: Classifier | None = None
        episodes = self._episodes(rows)
        while not self._stopped.is_set():
            if opened is None or opened.release.changed():
                opened = self._open()
            if opened is None:
                self._stopped.wait(_PAUSE_SECONDS)
                continue
            use = opened.release.may_use()
            if not use:
                self._tell("not-used", reasons=[str(use.reason)], notice="")
                opened = None
                self._stopped.wait(_PAUSE_SECONDS)
                continue
            self._episode(opened, rows, next(episodes))
            opened.release.prove_health()
            self._stopped.wait(_PAUSE_SECONDS)

    @staticmethod
    def _episodes(rows: BeatInputs) -> Iterator[range]:
        place = 0
        while True:
            yield range(place, min(place + EPISODE_BEATS, len(rows.beat)))
            place = (place + EPISODE_BEATS) % max(len(rows.beat) - EPISODE_BEATS, 1)

    def _open(self) -> Classifier | None:
        """Open what may be used now; in safe mode, or before the first release, nothing."""
        try:
            found = open_active(self._state)
        except StandingError as error:
            self._tell("not-used", reasons=[error.reason], notice=str(error))
            return None
        if isinstance(found, SafeMode):
            self._tell("safe-mode", reasons=list(found.reasons), notice=found.notice)
            return None
        opened = Classifier(found)
        found.tell_activated()
        self._tell("opened", reasons=[], notice=found.notice, **found.stamp())
        return opened

    def _episode(self, opened: Classifier, rows: BeatInputs, beats: range) -> None:
        with opened.release.episode():
            for row in beats:
                score, decision = opened.decide(rows.ecg_mv[row], rows.rr_s[row])
                self._write(
                    {
                        "output": "beat",
                        "beat": int(rows.beat[row]),
                        "score": None if np.isnan(score) else round(score, 6),
                        "decision": decision,
                        **opened.release.stamp(),
                    }
                )

    def _tell(self, what: str, *, reasons: list[str], notice: str, **more: object) -> None:
        """Say once what changed; a state that lasts is not repeated."""
        told = {"output": what, "reasons": reasons, "notice": notice, **more}
        if (text := json.dumps(told)) != self._said:
            self._said = text
            self._write(told)

    def _write(self, told: dict[str, object]) -> None:
        told = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), **told}
        self._output.write(json.dumps(told) + "\n")
        self._output.flush()


def run_application(*, state: Path, output: Path) -> None:
    """Run the application until SIGTERM or Ctrl-C.

    Args:
        state: the agent's state folder.
        output: outputs are appended to it, one JSON object a line.
    """
    strip = load_strip()
    rows = beat_inputs(strip, detect_r_peaks(strip))
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("a", encoding="utf-8") as file:
            application = Application(state=state, output=file)
            stops: list[int] = []

            def stop(number: int, _: object) -> None:
                stops.append(number)
                application.stop()

            signal.signal(signal.SIGTERM, stop)
            signal.signal(signal.SIGINT, stop)
            application.run(rows)
            if signal.SIGINT in stops:
                # The episode was ended in order; the shell still learns that it was Ctrl-C.
                raise KeyboardInterrupt
    except OSError as error:
        raise storage_error(error, output) from error
