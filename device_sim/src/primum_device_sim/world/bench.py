"""A self-test is run once for each release and kind of hardware; the others of a fleet share it.

The first run is a real one, in the real bench.  Whoever reads the result of a fleet is told how
many were run and how many shared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from primum_verifier.proof.bench_contract import BenchRun
from primum_verifier.proof.fixtures import Fixtures
from primum_verifier.proof.selftest_spec import SelfTestSpec
from primum_verifier.shell.bench import Bench

PACE_US = 1000
"""How long a played device takes for one inference, and to load, in microseconds."""


@dataclass
class SharedRuns:
    """What was run so far, for all devices of a world.

    Attributes:
        bench: the bench that runs what was not run yet.
        run: how many self-tests were run.
        shared: how many were answered by one of them.
    """

    bench: Bench
    run: int = 0
    shared: int = 0
    _known: dict[tuple[str, str, str], BenchRun] = field(default_factory=dict)

    def of(self, key: tuple[str, str, str], make: Callable[[], BenchRun]) -> BenchRun:
        """The run for this model, specification and hardware."""
        known = self._known.get(key)
        if known is None:
            self.run += 1
            self._known[key] = known = _unmeasured(make())
        else:
            self.shared += 1
        return known


def _unmeasured(run: BenchRun) -> BenchRun:
    """The run without what this machine measured: a played device has a pace of its own."""
    seen = run.observations
    if seen is not None:
        loads, times = seen.loads_us, seen.latencies_us
        measured = {
            "loads_us": (PACE_US,) * len(loads),
            "latencies_us": (PACE_US,) * len(times),
            "again_us": (),
        }
        seen = seen.model_copy(update=measured)
    return replace(run, observations=seen, wall_seconds=0.0, peak_rss_kib=1, cpu_features=())


@dataclass
class PlayedBench:
    """See :class:`primum_verifier.shell.bench.Bench`.

    Attributes:
        runs: what all devices share.
        spend: lets time pass on the device's clock.
        seconds: how long a self-test takes on this device.
    """

    runs: SharedRuns
    spend: Callable[[float], None] = field(repr=False)
    seconds: float = 2.0

    def run(
        self,
        *,
        model: Path,
        fixtures: Fixtures,
        spec: SelfTestSpec,
        scratch: Path,
        hardware: str | None = None,
    ) -> BenchRun:
        """See :class:`primum_verifier.shell.bench.Bench`."""
        self.spend(self.seconds)
        digest = hashlib.sha256(model.read_bytes()).hexdigest()
        key = (digest, spec.fixtures.digest.sha256, hardware or "")
        return self.runs.of(
            key,
            lambda: self.runs.bench.run(
                model=model, fixtures=fixtures, spec=spec, scratch=scratch, hardware=hardware
            ),
        )
