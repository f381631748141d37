"""What the judgement of one test may look at, and what it comes to.

A test that cannot be judged is *not-run*; one that asks about what the fixtures do not have is
*absent*.
"""

from __future__ import annotations

from dataclasses import dataclass

from primum_verifier.core.errors import RefusedError
from primum_verifier.proof.bench_contract import BenchRun, Ending, Observations
from primum_verifier.proof.fixtures import Fixtures
from primum_verifier.proof.selftest_result import Baselines, CaseDeviation, Subject, TestStatus
from primum_verifier.proof.selftest_spec import SafetyFunctionTest, SelfTestSpec

_RELEASE_ENDINGS = frozenset(
    {Ending.CRASHED, Ending.NO_REPORT, Ending.MALFORMED_REPORT, Ending.TOO_MUCH_OUTPUT}
)
"""Ends that the model itself brought about once the bench was ready: they happen again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one test came to, before the members that every outcome repeats."""

    status: TestStatus
    found: str
    expected: str
    worst: str = ""
    cases: tuple[CaseDeviation, ...] = ()


@dataclass(frozen=True, slots=True)
class Trial:
    """Everything that the judgement of one test may look at."""

    spec: SelfTestSpec
    subject: Subject
    fixtures: Fixtures | None
    problems: tuple[str, ...]
    refusal: RefusedError | None
    run: BenchRun | None
    baselines: Baselines | None
    hardware: str | None

    @property
    def observations(self) -> Observations | None:
        """The report of a bench that ended by reporting; None otherwise."""
        return self.run.observations if self.run is not None else None

    @property
    def computed(self) -> Observations | None:
        """The report, when its values can be compared.

        The model was loaded and had the memory it needs, and the fixtures fit the interface.
        """
        seen = None if self.problems else self.observations
        return seen if seen is not None and seen.loaded and not seen.out_of_memory else None

    @property
    def broken_by_model(self) -> bool:
        """Whether the bench was ready and then ended in a way that the model brought about."""
        run = self.run
        return run is not None and run.ready is not None and run.ending in _RELEASE_ENDINGS

    def safety_cohorts(self) -> frozenset[str]:
        """Cohorts of faults; they have tests of their own and count in no other."""
        return frozenset(
            test.cohort for test in self.spec.tests if isinstance(test, SafetyFunctionTest)
        )


def not_run(trial: Trial, expected: str) -> Finding:
    """It could not be judged, and why as far as that is known."""
    if trial.refusal is not None:
        found = "not run: the model was not loaded"
    elif trial.problems:
        found = "not run: " + "; ".join(trial.problems)
    elif trial.run is not None and trial.run.ending is not Ending.REPORTED:
        found = f"not run: {trial.run.ending}"
    elif trial.observations is not None and trial.observations.error:
        found = f"not run: {trial.observations.error}"
    else:
        found = "not run"
    return Finding(status=TestStatus.NOT_RUN, found=found, expected=expected)


def not_evaluable(found: str, expected: str) -> Finding:
    """It could not be judged on this device, which says nothing about the release."""
    return Finding(status=TestStatus.NOT_RUN, found=found, expected=expected)


def absent(found: str, expected: str) -> Finding:
    """It asks about what the release does not have, on every device alike."""
    return Finding(status=TestStatus.ABSENT, found=found, expected=expected)
