"""Makes the numbers that are drawn of a self-test from what its bench was asked and reported.

No drawing is made on a device: it keeps the report alone.
"""

from __future__ import annotations

from primum_verifier.proof.bench_contract import BenchRun
from primum_verifier.proof.case_shares import case_shares
from primum_verifier.proof.decision_counts import (
    all_recorded,
    baseline_counts,
    cohort_counts,
)
from primum_verifier.proof.fixtures import Fixtures
from primum_verifier.proof.latency_histogram import latencies_of
from primum_verifier.proof.observed import MAX_DRAWN_COHORTS, Observed
from primum_verifier.proof.selftest_levels import decisions_of
from primum_verifier.proof.selftest_result import Baselines
from primum_verifier.proof.selftest_spec import SafetyFunctionTest, SelfTestSpec


def observe(
    *,
    spec: SelfTestSpec,
    fixtures: Fixtures,
    run: BenchRun,
    baselines: Baselines | None = None,
    hardware: str | None = None,
) -> Observed | None:
    """The numbers of one self-test; None when the bench did not report.

    Args:
        spec: the signed specification.
        fixtures: what the bench was asked, and what is expected; they fit the interface.
        run: how it ended and what it said.
        baselines: the earlier releases; None where nobody said which.
        hardware: the kind of hardware whose limits count; None where nobody said which.
    """
    seen = run.observations
    if seen is None:
        return None
    latencies = latencies_of(spec, seen, hardware=hardware)
    if not seen.loaded or seen.out_of_memory:
        return Observed(latencies=latencies)
    observed = Observed(shares=case_shares(spec, seen, fixtures), latencies=latencies)
    if spec.operating_point is None:
        return observed
    faults = {test.cohort for test in spec.tests if isinstance(test, SafetyFunctionTest)}
    decisions = decisions_of(spec, seen, count=len(fixtures.cases))
    cohorts = tuple(cohort_counts(fixtures, decisions, faults=faults))
    return Observed(
        shares=observed.shares,
        cohorts=cohorts[:MAX_DRAWN_COHORTS],
        cohorts_left_out=max(0, len(cohorts) - MAX_DRAWN_COHORTS),
        recorded=all_recorded(fixtures, decisions, faults=faults),
        baselines=tuple(baseline_counts(fixtures, decisions, faults=faults, baselines=baselines)),
        latencies=latencies,
    )
