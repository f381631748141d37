"""What the reference runtime computes of some cases, as a device would: screened and confined.

The model is run by the bench that a device uses, in a confined process, one case at a time.
Nothing that is expected enters that process.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from primum_repo_tools.given_cases import GivenCases, shown
from primum_repo_tools.release_plan import SelfTestPlan
from primum_repo_tools.self_test_file import specification_of
from primum_verifier.core.errors import PrimumError, RefusedError, UsageError
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.bench_contract import BenchRun, Ending, Observations, Ready
from primum_verifier.proof.fixtures import FixtureArray, Fixtures
from primum_verifier.proof.selftest_spec import MAX_OUTPUT_BYTES, SelfTestSpec, TensorSpec

_NOT_WRITTEN = "0" * 64
"""The digest of a file that is not there yet; the bench is told no digest."""


@dataclass(frozen=True, kw_only=True)
class Computed:
    """What a model computed.

    Attributes:
        references: by output, in the order of the interface.
        runtime: which software computed them, and on what.
    """

    references: dict[str, FixtureArray]
    runtime: str


def compute_references(model: Path, given: GivenCases, plan: SelfTestPlan) -> Computed:
    """Run the model on every case.

    Args:
        model: the ONNX file; it is screened before anything opens it.
        given: the cases; they fit the interface of ``plan``.
        plan: interface, limits of time and memory, allowed operators.

    Raises:
        UsageError: the model is another one than the interface says, is refused by the screen,
            does not load, does not run every case, or ends the process that runs it.
        FailedError: the bench could not begin; nothing was learnt about the model.
    """
    unanswered = Fixtures(
        cases=given.cases,
        cohorts=given.cohorts,
        labels=given.labels,
        expected_decisions=given.labels,
        references={},
        inputs=given.inputs,
        baselines={},
    )
    return compute_outputs(model, unanswered, _specification(plan, given), where=given.where)


def compute_outputs(model: Path, cases: Fixtures, spec: SelfTestSpec, *, where: str) -> Computed:
    """Run a model on the inputs of some fixtures; nothing else of them is looked at.

    Args:
        model: the ONNX file; it is screened before anything opens it.
        cases: their inputs fit the interface of ``spec``.
        spec: interface, limits of time and memory, allowed operators.
        where: the name a person knows the cases by.

    Raises:
        UsageError: see :func:`compute_references`; or the outputs are more than a self-test
            compares.
        FailedError: the bench could not begin; nothing was learnt about the model.
    """
    # The runtime is only loaded where it is needed: most commands need none.
    from primum_verifier.shell.bench import REFERENCE_BENCH  # noqa: PLC0415
    from primum_verifier.shell.onnx_screen import screen_model  # noqa: PLC0415

    size = sum(tensor.case_bytes for tensor in spec.interface.outputs) * len(cases.cases)
    if size > MAX_OUTPUT_BYTES:
        raise UsageError(
            "The outputs of all cases together are more than a self-test compares.",
            reason=Reason.USAGE,
            where=where,
            found=f"{size} bytes in {len(cases.cases)} cases",
            expected=f"at most {MAX_OUTPUT_BYTES} bytes",
            remedy="Take fewer cases.",
        )
    try:
        screen_model(model, spec=spec)
    except RefusedError as error:
        raise _not_run(
            model,
            f"{error.message} {error.found}",
            error.expected,
            "Name the model that the self-test is about, or state its interface and operators.",
        ) from error
    with tempfile.TemporaryDirectory(prefix="primum-fixtures-") as scratch:
        run = REFERENCE_BENCH.run(model=model, fixtures=cases, spec=spec, scratch=Path(scratch))
    ready, seen = _reported(model, run, spec)
    return Computed(
        references={
            tensor.name: _output(model, tensor, seen, cases.cases)
            for tensor in spec.interface.outputs
        },
        runtime=f"onnxruntime {ready.runtime.onnxruntime}, {ready.provider}, {ready.architecture}",
    )


def _specification(plan: SelfTestPlan, given: GivenCases) -> SelfTestSpec:
    try:
        return specification_of(plan, sha256=_NOT_WRITTEN, cases=len(given.cases))
    except PrimumError as error:
        raise UsageError(
            "The self-test states what no specification may state.",
            reason=Reason.USAGE,
            where="[self_test]",
            found=error.found,
            expected=error.expected,
            remedy="Correct the table; docs/self-test.md says what each level needs.",
        ) from error


def _reported(model: Path, run: BenchRun, spec: SelfTestSpec) -> tuple[Ready, Observations]:
    """What the bench said, if it said anything that can be used."""
    limits = f"{spec.total_time_limit_seconds} s, {spec.memory_limit_mib} MiB"
    remedy = "Raise the limits of [self_test] where they are too small; else correct the model."
    if run.ready is None or run.observations is None:
        ended = "" if run.ending is Ending.REPORTED else f"{run.ending}: {run.detail}"
        raise _not_run(model, ended, f"a model that computes within {limits}", remedy)
    seen = run.observations
    if not seen.loaded or seen.out_of_memory:
        raise _not_run(model, seen.error, f"a model that loads and runs within {limits}", remedy)
    return run.ready, seen


def _output(
    model: Path, tensor: TensorSpec, seen: Observations, cases: tuple[str, ...]
) -> FixtureArray:
    found = seen.of_cases(tensor, count=len(cases))
    values = [value for value in found if value is not None]
    if len(values) != len(found):
        failed = [case for case, value in zip(cases, found, strict=True) if value is None]
        raise _not_run(
            model,
            f"no {tensor.name} for {len(failed)} cases: {shown(failed)}; {seen.error}",
            f"{tensor.name}: {tensor.dtype}{list(tensor.shape)} for every case",
            "A model that cannot take an input stops a device's application: let it answer, with"
            " NaN where it has nothing to say, or leave the case out.",
        )
    shape = (len(found), *tensor.case_shape)
    return FixtureArray(tensor.name, tensor.dtype, shape, b"".join(values))


def _not_run(model: Path, found: str, expected: str, remedy: str) -> UsageError:
    return UsageError(
        "The model does not compute these cases.",
        reason=Reason.USAGE,
        where=str(model),
        found=found,
        expected=expected,
        remedy=remedy,
    )
