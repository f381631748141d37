"""Judges a self-test: what was signed and what was observed go in, a result comes out.

1. The fixtures are the signed ones and fit the signed interface (:func:`fixture_problems`).
2. Each test of the specification is judged by the observations alone
   (:mod:`primum_verifier.proof.selftest_levels`).
3. The tests together, the way the bench ended and the minimum number of tests make the whole:
   a failed test that asks for refusal makes it *failed*; anything missing makes it *incomplete*;
   only what is neither is *passed*.

A wish to *degrade* refuses, as long as a release cannot state a degraded mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from primum_verifier.core.document import DigestSet
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.bench_contract import BenchRun, Ending
from primum_verifier.proof.fixtures import FixtureArray, Fixtures
from primum_verifier.proof.selftest_levels import LEVELS
from primum_verifier.proof.selftest_result import (
    Baselines,
    Blame,
    Overall,
    SelfTestReport,
    SelfTestResult,
    Subject,
    SubjectDigests,
    TestOutcome,
    TestStatus,
)
from primum_verifier.proof.selftest_spec import (
    MAX_OUTPUT_BYTES,
    OnFailure,
    SelfTestSpec,
    TensorSpec,
    Test,
)
from primum_verifier.proof.trial import Trial

_ENDING_WORDS = {
    Ending.REPORTED: "reported",
    Ending.NO_REPORT: "ended without a report",
    Ending.MALFORMED_REPORT: "gave a report that cannot be read",
    Ending.CRASHED: "crashed",
    Ending.KILLED: "was killed from outside",
    Ending.TIMED_OUT: "had not finished and was ended",
    Ending.TOO_MUCH_OUTPUT: "gave more output than a report can have",
}


def fixture_problems(
    spec: SelfTestSpec, fixtures: Fixtures, *, fixtures_sha256: str
) -> tuple[str, ...]:
    """What keeps these fixtures from being the signed ones for this interface; empty when none."""
    problems = []
    if fixtures_sha256 != spec.fixtures.digest.sha256:
        problems.append("the fixtures are not the ones that the specification names by digest")
    if len(fixtures.cases) != spec.fixtures.cases:
        problems.append(f"{len(fixtures.cases)} cases instead of {spec.fixtures.cases}")
    inputs = {array.name: array for array in fixtures.inputs}
    problems += _misfits("input", inputs, spec.interface.inputs)
    problems += _misfits("reference", fixtures.references, spec.interface.outputs)
    size = sum(tensor.case_bytes for tensor in spec.interface.outputs) * len(fixtures.cases)
    if size > MAX_OUTPUT_BYTES:
        problems.append(f"{size} bytes of outputs instead of at most {MAX_OUTPUT_BYTES}")
    return tuple(problems)


def _misfits(
    what: str, arrays: Mapping[str, FixtureArray], tensors: tuple[TensorSpec, ...]
) -> Iterator[str]:
    if set(arrays) != {tensor.name for tensor in tensors}:
        yield f"the {what}s are not those of the interface"
        return
    for tensor in tensors:
        array = arrays[tensor.name]
        found = f"{array.dtype}{list(array.shape[1:])}"
        expected = f"{tensor.dtype}{list(tensor.case_shape)}"
        if found != expected:
            yield f"{what} {tensor.name} is {found} in a case instead of {expected}"


def judge_selftest(
    *,
    spec: SelfTestSpec,
    subject: Subject,
    fixtures: Fixtures | None,
    run: BenchRun | None,
    refusal: RefusedError | None = None,
    baselines: Baselines | None = None,
    hardware: str | None = None,
) -> SelfTestResult:
    """Judge one self-test.

    Args:
        spec: the signed specification.
        subject: digests of what was tested.
        fixtures: known inputs and expectations; None when they could not be read.
        run: how the bench ended and what it reported; None when it was not started.
        refusal: why the bench was not started: the model's or the fixtures' own fault.
        baselines: the earlier releases; None where nobody said which, and then no comparison with
            them is evaluable.
        hardware: the kind of hardware whose limits count; None where nobody said which, and then
            no budget is evaluable.

    Returns:
        The result.  It is *passed* only when a bench reported, no test asks for refusal, every
        mandatory test succeeded and at least ``minTests`` ran.
    """
    problems: tuple[str, ...] = ()
    if fixtures is not None:
        problems = fixture_problems(spec, fixtures, fixtures_sha256=subject.fixtures)
    trial = Trial(spec, subject, fixtures, problems, refusal, run, baselines, hardware)
    tests = tuple(_outcome(test, trial) for test in spec.tests)
    overall, blame = _whole(tests, trial)
    reason = _reason(overall, trial)
    summary = _summary(overall, tests, trial)
    return SelfTestResult(
        overall=overall,
        reason=reason,
        blame=blame,
        summary=summary,
        tests=tests,
        warnings=tuple(
            test.id
            for test in tests
            if test.status is TestStatus.FAIL and test.on_failure is OnFailure.WARN
        ),
        report=_report(
            overall=overall,
            blame=blame,
            reason=reason,
            summary=summary,
            tests=tests,
            trial=trial,
        ),
    )


def _outcome(test: Test, trial: Trial) -> TestOutcome:
    finding = LEVELS[test.level](test, trial)
    return TestOutcome(
        id=test.id,
        level=test.level,
        status=finding.status,
        mandatory=test.mandatory,
        on_failure=test.on_failure,
        quality_criterion=test.quality_criterion,
        risk_control_ref=test.risk_control_ref,
        found=finding.found[:1000],
        expected=finding.expected[:1000],
        worst=finding.worst[:120],
        cases=finding.cases,
    )


def _whole(tests: tuple[TestOutcome, ...], trial: Trial) -> tuple[Overall, Blame]:
    refusing = [
        test
        for test in tests
        if test.status is TestStatus.FAIL and test.on_failure is not OnFailure.WARN
    ]
    own_fault = trial.refusal is not None or bool(trial.problems) or trial.broken_by_model
    if own_fault or any(test.level != "performance" for test in refusing):
        return Overall.FAILED, Blame.RELEASE
    if refusing:
        return Overall.FAILED, Blame.CIRCUMSTANCE
    mandatory = {test.status for test in tests if test.mandatory}
    ran = sum(test.status in (TestStatus.SUCCESS, TestStatus.FAIL) for test in tests)
    if trial.observations is not None and TestStatus.ABSENT in mandatory:
        return Overall.INCOMPLETE, Blame.RELEASE
    complete = (
        trial.observations is not None
        and TestStatus.NOT_RUN not in mandatory
        and ran >= trial.spec.min_tests
    )
    return (Overall.PASSED, Blame.NONE) if complete else (Overall.INCOMPLETE, Blame.CIRCUMSTANCE)


def _reason(overall: Overall, trial: Trial) -> Reason | None:
    if overall is Overall.PASSED:
        return None
    if trial.refusal is not None:
        return trial.refusal.reason
    if overall is Overall.FAILED:
        return Reason.SELFTEST_FAILED
    if trial.run is not None and trial.run.ending is Ending.TIMED_OUT:
        return Reason.SELFTEST_TIMEOUT
    return Reason.SELFTEST_INCOMPLETE


def _summary(overall: Overall, tests: tuple[TestOutcome, ...], trial: Trial) -> str:
    if overall is Overall.PASSED:
        return f"{len(tests)} tests passed on {trial.spec.fixtures.cases} cases."
    if trial.refusal is not None:
        return f"{trial.refusal.message} {trial.refusal.found}"[:1000]
    if trial.run is not None and trial.run.ending is not Ending.REPORTED:
        how = _ENDING_WORDS[trial.run.ending]
        detail = f" ({trial.run.detail})" if trial.run.detail else ""
        return f"The process that ran the model {how} after {trial.run.wall_seconds:.1f} s{detail}."
    told = []
    for test in tests:
        if test.status is not TestStatus.SUCCESS:
            cases = ", ".join(
                f"{one.case} ({one.found} instead of {one.expected})" for one in test.cases[:3]
            )
            told.append(f"{test.id} {test.status}: {test.found}" + (f": {cases}" if cases else ""))
    return "; ".join(told)[:1500] + "."


def _report(
    *,
    overall: Overall,
    blame: Blame,
    reason: Reason | None,
    summary: str,
    tests: tuple[TestOutcome, ...],
    trial: Trial,
) -> SelfTestReport:
    run = trial.run
    return SelfTestReport(
        schema_version="0.1",
        mode="test",
        specification_id=trial.spec.id,
        component=trial.spec.component,
        subject=SubjectDigests(
            specification=DigestSet(sha256=trial.subject.spec),
            model=DigestSet(sha256=trial.subject.model),
            fixtures=DigestSet(sha256=trial.subject.fixtures),
        ),
        active=_digest(trial.baselines.active) if trial.baselines is not None else None,
        original=_digest(trial.baselines.original) if trial.baselines is not None else None,
        hardware=trial.hardware,
        overall=overall,
        reason=reason,
        blame=blame,
        summary=summary,
        tests=tests,
        environment=run.ready if run is not None else None,
        ending=run.ending.value if run is not None else "not-started",
        detail=run.detail[:600] if run is not None else "",
        wall_milliseconds=round(run.wall_seconds * 1000) if run is not None else 0,
        peak_rss_kib=run.peak_rss_kib if run is not None else 0,
        cpu_features=run.cpu_features if run is not None else (),
    )


def _digest(sha256: str | None) -> DigestSet | None:
    return None if sha256 is None else DigestSet(sha256=sha256)
