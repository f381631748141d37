"""Proving a release on this device: its self-test, run on the device's bench."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from primum_agent.content_store import ContentStore
from primum_agent.fail_points import FailPoint, fail_here
from primum_verifier.core.component import ItemKind
from primum_verifier.core.errors import FailedError, RefusedError
from primum_verifier.core.manifest import ReleaseManifest
from primum_verifier.core.question import SelfTestFact
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.selftest_result import Baselines, SelfTestReport
from primum_verifier.shell.bench import Bench
from primum_verifier.shell.selftest import self_test

_SHOWN_TESTS = 5
_SHOWN_CASES = 5


@dataclass(frozen=True)
class Proof:
    """What the self-test came to.

    Attributes:
        fact: what the core is told.
        reason: why not passed.
        own_fault: whether the failure may be remembered against the release.
        summary: one sentence for people.
        detail: failing tests with their worst cases and by how much, for the report.
        report: the evidence; None where the test could not be run.
    """

    fact: SelfTestFact
    reason: Reason | None
    own_fault: bool
    summary: str
    detail: dict[str, object]
    report: SelfTestReport | None = None


def prove(
    manifest: ReleaseManifest,
    *,
    store: ContentStore,
    bench: Bench,
    scratch: Path,
    hardware: str,
    active: str | None = None,
) -> Proof:
    """Run the self-test of a release whose files are whole in the store.

    Args:
        manifest: the signed manifest.
        store: the content store.
        bench: what runs the model.
        scratch: an existing folder to work in; nothing is left in it.
        hardware: the kind of hardware that this device is.
        active: the manifest of the release that the device would leave for this one; None where
            nothing is active, and on the way back: an older release cannot know the decisions of
            the one that came after it, and a device must always be able to go back.

    Nothing is learnt about the release where the device could not run the test: that is
    *incomplete* and never the release's fault.
    """
    fail_here(FailPoint.TESTING_BEFORE_TEST)
    model = manifest.item_of_kind(ItemKind.MODEL)
    if model is None:
        raise RuntimeError("a manifest without a model was let through")
    specification = manifest.item(manifest.self_test.specification)
    fixtures = manifest.item(manifest.self_test.fixtures)
    try:
        spec = store.path_of(specification.digest.sha256).read_bytes()
        with tempfile.TemporaryDirectory(prefix="test-", dir=scratch) as folder:
            result = self_test(
                model=store.path_of(model.digest.sha256),
                spec=spec,
                fixtures=store.path_of(fixtures.digest.sha256),
                scratch=Path(folder),
                bench=bench,
                baselines=Baselines(
                    active=active,
                    original=manifest.original.sha256 if manifest.original else None,
                ),
                hardware=hardware,
            )
    except RefusedError as error:
        return Proof(
            fact=SelfTestFact.FAILED,
            reason=error.reason,
            own_fault=True,
            summary=str(error),
            detail={**error.as_dict()},
        )
    except (FailedError, OSError) as error:
        return _not_run(error)
    fail_here(FailPoint.TESTING_BEFORE_EVENT)
    failing = [test for test in result.tests if str(test.status) == "fail"]
    detail: dict[str, object] = {
        "mode": result.report.mode,
        "summary": result.summary,
        "failing": [
            {
                "test": test.id,
                "found": str(test.found),
                "expected": str(test.expected),
                "worst": str(test.worst),
                "cases": [
                    {
                        "case": str(case.case),
                        "found": str(case.found),
                        "expected": str(case.expected),
                        "by": str(case.by),
                    }
                    for case in test.cases[:_SHOWN_CASES]
                ],
            }
            for test in failing[:_SHOWN_TESTS]
        ],
        "tests": len(result.tests),
        "wallMilliseconds": result.report.wall_milliseconds,
    }
    return Proof(
        fact=SelfTestFact(str(result.overall)),
        reason=result.reason,
        own_fault=str(result.blame) == "release",
        summary=result.summary,
        detail=detail,
        report=result.report,
    )


def _not_run(error: FailedError | OSError) -> Proof:
    detail: dict[str, object] = {"summary": str(error)}
    if isinstance(error, FailedError):
        detail |= error.as_dict()
    return Proof(
        fact=SelfTestFact.INCOMPLETE,
        reason=Reason.SELFTEST_INCOMPLETE,
        own_fault=False,
        summary=str(error),
        detail=detail,
    )
