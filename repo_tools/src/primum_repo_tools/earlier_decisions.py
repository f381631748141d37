"""What an earlier release decides on new cases: run as it was signed, and put into the fixtures.

The model of that release runs in the bench of a device, and its own signed operating point makes
the decisions.  They stand in the fixtures as ``decision.SHA256``, by its manifest, so that a device
can count whether a new release is worse than the one it leaves, which need not be there any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from primum_repo_tools.evidence import check_artifacts
from primum_repo_tools.fixture_making import near_threshold
from primum_repo_tools.fixture_summary import DECISION_WORDS
from primum_repo_tools.given_cases import shown
from primum_repo_tools.reference_run import compute_outputs
from primum_repo_tools.releases import Draft, open_draft, signed_digests
from primum_repo_tools.repository import AuthorityRepository
from primum_repo_tools.self_test_run import self_tested
from primum_repo_tools.workbench import Workbench
from primum_verifier.core.component import ItemKind
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.core.manifest import manifest_target
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.element_types import ElementType
from primum_verifier.proof.fixtures import Fixtures
from primum_verifier.proof.selftest_levels import decide
from primum_verifier.proof.selftest_result import Blame
from primum_verifier.proof.selftest_spec import (
    MAX_TIME_LIMIT_SECONDS,
    PerformanceTest,
    SelfTestSpec,
)


class Entered(StrEnum):
    """What became of the decisions of a release in the fixtures."""

    ADDED = "added"
    SAME = "there already"
    REPLACED = "replaced"


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What one earlier release decides on the cases.

    Attributes:
        name: component and version.
        sha256: the digest of its manifest.
        threshold: at which it decides, as it was signed.
        decisions: one for each case, in their order.
        near_threshold: cases that another processor may decide otherwise, within the tolerance
            of its own self-test.
    """

    name: str
    sha256: str
    threshold: str
    decisions: tuple[int, ...]
    near_threshold: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many of each decision, in words."""
        found = Counter(self.decisions)
        return {word: found[sign] for sign, word in DECISION_WORDS.items()}


def signed_release(workbench: Workbench, name: str, *, now: datetime) -> Draft:
    """A release of engineering by its name, whole and as it was signed.

    Args:
        workbench: of engineering.
        name: ``COMPONENT/VERSION``.
        now: the moment at which the metadata is read.

    Raises:
        UsageError: it was not built here, or nobody signed it.
        RefusedError: it is not what was signed, or a file of it is not.
    """
    component, _, version = name.partition("/")
    draft = open_draft(workbench, component, version)
    repository = AuthorityRepository(workbench, now=now)
    signed = signed_digests(repository).get(manifest_target(component, version))
    if signed is None:
        raise UsageError(
            "The release is not signed.",
            reason=Reason.USAGE,
            where=name,
            found="a draft, which may still become another release",
            expected="a release that engineering signed",
            remedy=f"Sign it first: primum-repo release sign {workbench.folder} "
            f"{component} {version}",
        )
    if signed != draft.sha256:
        raise RefusedError(
            "The release is no longer the one that was signed.",
            reason=Reason.ARTIFACT_DIGEST,
            where=str(draft.folder),
            found=f"sha256 {draft.sha256}",
            expected=f"sha256 {signed}",
            remedy="Restore the draft that was signed.",
        )
    check_artifacts(draft)
    return draft


def decide_earlier(fixtures: Fixtures, draft: Draft, *, where: str) -> Decided:
    """Run an earlier release on the cases, and decide by its own operating point.

    Its own self-test is run first: what this machine computes otherwise than was validated is not
    what devices decided.

    Args:
        fixtures: the cases; only their inputs enter.
        draft: the earlier release, from :func:`signed_release`.
        where: the name a person knows the fixtures by.

    Raises:
        UsageError: it takes other inputs, decides nothing, or does not run every case.
        RefusedError: ``selftest.*``: this machine computes something else than it was signed for.
        FailedError: the bench could not begin.
    """
    spec = draft.specification()
    model = draft.manifest.item_of_kind(ItemKind.MODEL)
    if model is None:
        raise RuntimeError("a manifest was checked to hold a model")
    if spec.operating_point is None:
        raise UsageError(
            "The earlier release decides nothing.",
            reason=Reason.USAGE,
            where=draft.manifest.name,
            found="no operating point in its self-test",
            expected="a release whose decisions can be compared",
            remedy="Leave it out, and ask for no comparison with it.",
        )
    _require_inputs(fixtures, draft, spec, where=where)
    _require_right_machine(draft)
    computed = compute_outputs(
        draft.file(model.id), fixtures, limits_for(spec, cases=len(fixtures.cases)), where=where
    )
    point = spec.point
    scores = computed.references[point.output.name]
    numbers = [scores.dtype.unpack(scores.of_case(case)) for case in range(len(fixtures.cases))]
    return Decided(
        name=draft.manifest.name,
        sha256=draft.sha256,
        threshold=str(point.threshold),
        decisions=tuple(decide(one[point.element], threshold=point.threshold) for one in numbers),
        near_threshold=near_threshold(replace(fixtures, references=computed.references), spec),
    )


def with_decisions(
    fixtures: Fixtures, decided: Sequence[Decided], *, may_replace: bool, where: str
) -> tuple[Fixtures, dict[str, Entered]]:
    """The fixtures with the decisions of earlier releases.

    Args:
        fixtures: may hold decisions already, of these releases and of others.
        decided: what was computed.
        may_replace: whether decisions that stand there and say otherwise give way.
        where: the name a person knows the fixtures by.

    Returns:
        The fixtures, and what became of each release, by the digest of its manifest.

    Raises:
        RefusedError: ``selftest.failed``: other decisions of a release stand there.
    """
    baselines, entered = dict(fixtures.baselines), {}
    for one in decided:
        before = baselines.get(one.sha256)
        entered[one.sha256] = Entered.ADDED if before is None else Entered.SAME
        if before is not None and before != one.decisions:
            if not may_replace:
                raise _others_stand_there(fixtures, one, before, where=where)
            entered[one.sha256] = Entered.REPLACED
        baselines[one.sha256] = one.decisions
    return replace(fixtures, baselines=baselines), entered


def limits_for(spec: SelfTestSpec, *, cases: int) -> SelfTestSpec:
    """The limits of a self-test for as many cases as are asked, each run once."""
    times = -(-cases // spec.fixtures.cases)
    limit = min(spec.total_time_limit_seconds * times, MAX_TIME_LIMIT_SECONDS)
    tests = tuple(test for test in spec.tests if not isinstance(test, PerformanceTest))
    return spec.model_copy(update={"total_time_limit_seconds": limit, "tests": tests})


def _require_inputs(fixtures: Fixtures, draft: Draft, spec: SelfTestSpec, *, where: str) -> None:
    held = [_told(array.name, array.dtype, array.shape) for array in fixtures.inputs]
    count = len(fixtures.cases)
    for tensor in spec.interface.inputs:
        wanted = _told(tensor.name, tensor.dtype, (count, *tensor.case_shape))
        if wanted not in held:
            raise UsageError(
                "The earlier release takes other inputs than these cases have.",
                reason=Reason.USAGE,
                where=f"{where}: {draft.manifest.name}",
                found="inputs " + ", ".join(held),
                expected=f"an input {wanted}",
                remedy="It cannot be compared on these cases: ask for no comparison with it.",
            )


def _told(name: str, dtype: ElementType, shape: tuple[int, ...]) -> str:
    return f"{name}: {dtype}{list(shape)}"


def _require_right_machine(draft: Draft) -> None:
    """Only what the release itself fails counts: a workstation keeps no device's limits of time."""
    result = self_tested(draft)
    if not result.passed and result.blame is Blame.RELEASE:
        raise RefusedError(
            "On this machine the earlier release does not compute what it was signed for.",
            reason=result.reason or Reason.SELFTEST_FAILED,
            where=draft.manifest.name,
            found=result.summary,
            expected="its own self-test passed, so that its decisions are those of devices",
            remedy="Decide on a machine with the runtime that it was validated with.",
        )


def _others_stand_there(
    fixtures: Fixtures, one: Decided, before: tuple[int, ...], *, where: str
) -> RefusedError:
    differing = [
        case
        for case, old, new in zip(fixtures.cases, before, one.decisions, strict=True)
        if old != new
    ]
    return RefusedError(
        "Other decisions of this release stand in the fixtures already.",
        reason=Reason.SELFTEST_FAILED,
        where=f"{where}: decision.{one.sha256}",
        found=f"{len(differing)} cases that {one.name} decides otherwise here: {shown(differing)}",
        expected="the same decisions",
        remedy="Find out which are right; --replace puts these in their place.",
    )
