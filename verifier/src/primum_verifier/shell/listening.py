"""A bench that lets somebody listen: what it was asked and reported is kept for drawing.

It stands between a self-test and the bench that runs it, so that neither knows of the other's
listener, and a device, which has none, keeps nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from primum_verifier.proof.bench_contract import BenchRun
from primum_verifier.proof.fixtures import Fixtures
from primum_verifier.proof.observed import Observed
from primum_verifier.proof.observing import observe
from primum_verifier.proof.selftest_result import Baselines
from primum_verifier.proof.selftest_spec import SelfTestSpec
from primum_verifier.shell.bench import Bench
from primum_verifier.shell.elapsed import elapsed_line


@dataclass
class ListeningBench:
    """A :class:`~primum_verifier.shell.bench.Bench` that hands everything on.

    Attributes:
        bench: what runs the model.
        stream: where a person is told how long it has been running.
        baselines: the earlier releases, to be drawn beside this one.
        observed: what there is to draw of the last run; None before, and where it did not report.
    """

    bench: Bench
    stream: TextIO
    baselines: Baselines | None = None
    observed: Observed | None = field(default=None, init=False)

    def run(
        self,
        *,
        model: Path,
        fixtures: Fixtures,
        spec: SelfTestSpec,
        scratch: Path,
        hardware: str | None = None,
    ) -> BenchRun:
        """See :class:`~primum_verifier.shell.bench.Bench`."""
        with elapsed_line(
            "self-test", most_seconds=spec.total_time_limit_seconds, stream=self.stream
        ):
            run = self.bench.run(
                model=model, fixtures=fixtures, spec=spec, scratch=scratch, hardware=hardware
            )
        self.observed = observe(
            spec=spec, fixtures=fixtures, run=run, baselines=self.baselines, hardware=hardware
        )
        return run
