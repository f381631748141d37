"""The process of a release in shadow: takes live inputs, compares, counts; nothing comes back.

Started by the runner, ``python -m primum_agent.shadow_process`` with a socket's number, the
state folder, a folder to work in, the seconds of an answer and the confinements to hold.

1. It stands back behind everything else first; what it starts does, too.
2. It opens only what ``run/shadow.json`` names, with the digests that the device proved, in the
   confinement of the self-test.
3. Before each input, and once in a second without any, it looks whether it may still run; where
   it may not, the model is ended before anything else.
4. Of an output nothing is kept but one comparison in the counters.
"""

from __future__ import annotations

import math
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from primum_agent.clock import Clock, SystemClock, plain_time
from primum_agent.deciding import decision_of
from primum_agent.layout import Layout
from primum_agent.lowest_priority import stand_back
from primum_agent.shadow_counts import ShadowCounts, identity_of, read_counts, write_counts
from primum_agent.shadow_run import ShadowLook, ShadowRun, shadow_beside
from primum_agent.shadow_wire import EndedError, Handed, Receiver
from primum_verifier.core.document import parse_document
from primum_verifier.core.errors import EXIT_DONE, EXIT_FAILED, FailedError, PrimumError
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.confinement import Confinement
from primum_verifier.proof.selftest_spec import SelfTestSpec
from primum_verifier.record.monitoring import MonitoringSpecification
from primum_verifier.record.shadow import (
    Compared,
    Decided,
    ShadowOutcome,
    outcome_of,
)
from primum_verifier.shell.onnx_screen import screen_model
from primum_verifier.shell.runner import ConfinedModel

LOOK_SECONDS = 1.0
SAVE_SECONDS = 300.0
"""Between two writings of the counters: what a cut costs, and what a flash card is spared."""

MOST_AT_ONCE = 60.0
"""Seconds that one turn may add: a process that was stopped has observed nothing meanwhile."""

MOST_UNANSWERED = 10
"""Inputs in a row without an answer; then it ends, and is started again later."""

_HOUR = 3600.0


@dataclass(eq=False, kw_only=True)
class ShadowProcess:
    """One release in shadow.

    Attributes:
        layout: the state folder's names.
        run: what it was started for.
        model: the confined model.
        spec: its signed self-test specification.
        counts: what is counted.
        answer_seconds: within which one input is answered.
    """

    layout: Layout
    run: ShadowRun
    model: ConfinedModel
    spec: SelfTestSpec
    counts: ShadowCounts
    answer_seconds: float
    clock: Clock = field(default_factory=SystemClock)
    monotonic: Callable[[], float] = time.monotonic
    _unanswered: int = field(default=0, init=False)
    _saved: float = field(default=0.0, init=False)
    _seen: float = field(default=0.0, init=False)
    _look: ShadowLook = field(init=False)

    def __post_init__(self) -> None:
        self._look = ShadowLook(self.layout)

    def serve(self, receiver: Receiver) -> None:
        """Compare what comes until it may not run any more, or nobody hands it anything.

        Raises:
            FailedError: the counters cannot be written, or it answers nothing.
        """
        self._saved = self._seen = self.monotonic()
        try:
            while self.may_run():
                try:
                    handed = receiver.next(seconds=LOOK_SECONDS)
                except EndedError:
                    return
                # Looked at again: it may have waited a second for this input.
                if handed is not None and self.may_run():
                    self.take(handed)
                self._let_time_pass()
        finally:
            self.model.close()
            write_counts(self.layout, self.counts)

    def may_run(self) -> bool:
        """Whether it is what may be run in shadow now, beside what is in use now."""
        return self._look.now() == self.run and not self.run.is_over(self.clock.now())

    def take(self, handed: Handed) -> None:
        """Compute one input and count how the two compare.

        Raises:
            FailedError: it answered none of the last inputs.
        """
        self.counts.miss(dropped=handed.dropped)
        began = self.monotonic()
        try:
            found = self.model.compute(handed.inputs, seconds=self.answer_seconds)
        except FailedError as error:
            if error.reason is Reason.COMPAT_CONTRACT:
                failed = Compared(outcome=ShadowOutcome.FAILED, groups=handed.cohorts)
                self.counts.add(failed)
            else:
                # Too slow at the lowest priority, or ended first: no fault of the release.
                self.counts.miss(unanswered=1)
                self._unanswered += 1
                if self._unanswered >= MOST_UNANSWERED:
                    raise
            return
        self._unanswered = 0
        took = self.monotonic() - began
        decided = decision_of(
            self.spec, found, output=self.run.output, threshold=self.run.threshold
        )
        if decided is None:
            raise RuntimeError("a release that decides nothing was let into shadow")
        distance = abs(decided.score - handed.score)
        self.counts.add(
            Compared(
                outcome=outcome_of(_word(handed.decision), decided.word),
                difference=distance if math.isfinite(distance) else None,
                latency_ms=took * 1000.0,
                groups=handed.cohorts,
            )
        )

    def _let_time_pass(self) -> None:
        now = self.monotonic()
        passed, self._seen = now - self._seen, now
        ended = self.counts.pass_time(min(passed, MOST_AT_ONCE))
        if ended or now - self._saved >= SAVE_SECONDS:
            write_counts(self.layout, self.counts)
            self._saved = now


def _word(found: str) -> Decided:
    if found == "positive":
        return "positive"
    return "negative" if found == "negative" else "no decision"


def open_shadow(
    layout: Layout,
    run: ShadowRun,
    *,
    scratch: Path,
    required: frozenset[Confinement],
    answer_seconds: float,
    clock: Clock,
) -> ShadowProcess:
    """Everything that a shadow needs, held against the digests that the device proved.

    Raises:
        PrimumError: a file is another one, or cannot be read.
    """
    for item in (run.model, run.specification, run.monitoring):
        if not item.is_whole():
            raise FailedError(
                "A file of the release in shadow is not the one that was proven.",
                reason=Reason.ARTIFACT_DIGEST,
                where=item.path,
                expected=f"sha256 {item.sha256}",
                remedy="The agent looks at it at its next poll; nothing runs in shadow until then.",
            )
    spec = parse_document(
        SelfTestSpec, Path(run.specification.path).read_bytes(), where=run.specification.path
    )
    monitoring = parse_document(
        MonitoringSpecification, Path(run.monitoring.path).read_bytes(), where=run.monitoring.path
    )
    shape = monitoring.shadow_shape
    if shape is None:
        raise RuntimeError("a release without bins was let into shadow")
    screen_model(Path(run.model.path), spec=spec)
    identity, window = identity_of(run), monitoring.window_hours * _HOUR
    kept = read_counts(layout, identity=identity, shape=shape, window_seconds=window)
    return ShadowProcess(
        layout=layout,
        run=run,
        model=ConfinedModel(
            model=Path(run.model.path),
            interface=spec.interface,
            memory_mib=spec.memory_limit_mib,
            scratch=scratch,
            required=required,
        ),
        spec=spec,
        counts=kept
        or ShadowCounts(
            identity=identity,
            shape=shape,
            window_seconds=window,
            since=plain_time(clock.now()),
        ),
        answer_seconds=answer_seconds,
        clock=clock,
    )


def main() -> int:
    """Run in shadow what may be; the exit code follows the one table."""
    descriptor, state, scratch, seconds, confinements = sys.argv[1:]
    link = socket.socket(fileno=int(descriptor))
    layout, clock = Layout(Path(state)), SystemClock()
    with ExitStack() as stack:
        stack.callback(link.close)
        # Ended in order, so that its folder goes with it and the counters are written.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_DONE))
        try:
            stand_back()
            run = shadow_beside(layout)
            if run is None:
                return EXIT_DONE
            shadow = open_shadow(
                layout,
                run,
                scratch=Path(scratch),
                required=frozenset(Confinement(name) for name in confinements.split(",")),
                answer_seconds=float(seconds),
                clock=clock,
            )
            shadow.serve(Receiver(link))
        except (PrimumError, OSError) as error:
            told = error.for_people() if isinstance(error, PrimumError) else str(error)
            os.write(2, f"shadow: {told}\n".encode())
            return EXIT_FAILED
    return EXIT_DONE


if __name__ == "__main__":
    from primum_agent.children import end_with_parent

    end_with_parent()
    sys.exit(main())
