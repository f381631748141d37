"""The device's own self-test on a workbench: run before a release is published, kept, signed.

Its report lies beside the manifest of the draft.  Engineering states it as a device states its own,
by the keys that sign releases: evidence for whoever approves, which opens no gate by itself.
"""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path

from primum_repo_tools.files import read_input, write_durably
from primum_repo_tools.keys import sign_envelope
from primum_repo_tools.releases import SELF_TEST_FILE, SELF_TEST_STATEMENT, Draft
from primum_repo_tools.repository import AuthorityRepository
from primum_verifier.core.component import ItemKind
from primum_verifier.core.envelope import INTOTO_PAYLOAD_TYPE
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.core.manifest import MANIFEST_ROLE
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.selftest_result import Baselines, SelfTestReport, SelfTestResult
from primum_verifier.proof.selftest_statement import Occasion, state


def run_self_test(draft: Draft) -> SelfTestResult:
    """Run the device's own self-test on this machine and keep its report beside the manifest.

    Raises:
        FailedError: the bench could not begin; nothing was learnt about the release.
    """
    result = self_tested(draft)
    write_durably(draft.folder / SELF_TEST_FILE, result.report.to_bytes())
    return result


def self_tested(draft: Draft) -> SelfTestResult:
    """Run the device's own self-test on this machine.

    As on a device where the previous release is the active one, and held to the limits of the
    first hardware that the release is for: what is too slow or too large here will be so there.

    Its files were held against the manifest already.

    Raises:
        FailedError: the bench could not begin; nothing was learnt about the release.
    """
    from primum_verifier.shell.selftest import self_test  # noqa: PLC0415 - only where it is run

    model = draft.manifest.item_of_kind(ItemKind.MODEL)
    if model is None:
        raise RuntimeError("a manifest was checked to hold a model")
    specification = draft.file(draft.manifest.self_test.specification)
    with tempfile.TemporaryDirectory(prefix="primum-self-test-") as scratch:
        return self_test(
            model=draft.file(model.id),
            spec=read_input(specification, what="self-test specification"),
            fixtures=draft.file(draft.manifest.self_test.fixtures),
            scratch=Path(scratch),
            baselines=Baselines(
                active=draft.manifest.previous.sha256 if draft.manifest.previous else None,
                original=draft.manifest.original.sha256 if draft.manifest.original else None,
            ),
            hardware=draft.manifest.compatibility.hardware[0],
        )


def require_passed(draft: Draft, result: SelfTestResult) -> SelfTestResult:
    """Refuse a release that its own self-test does not pass.

    Raises:
        RefusedError: ``selftest.*``, with the fixtures and by how much.
    """
    if not result.passed:
        raise RefusedError(
            "The release does not pass its own self-test.",
            reason=result.reason or Reason.SELFTEST_INCOMPLETE,
            where=draft.manifest.name,
            found=result.summary,
            expected="passed",
            remedy="A device would refuse it too; build a corrected release.",
        )
    return result


def sign_report(
    repository: AuthorityRepository, draft: Draft, report: SelfTestReport, *, now: datetime
) -> Path:
    """State what the self-test came to, by the keys of the role that signs releases.

    Returns:
        The file of the statement, beside the manifest.

    Raises:
        UsageError: a key of the role cannot be opened here.
    """
    signers = repository.signers(MANIFEST_ROLE)
    statement = state(
        report,
        name=draft.manifest.name,
        release=draft.sha256,
        tester=repository.workbench.authority,
        occasion=Occasion.PUBLICATION,
        at=now,
    )
    path = draft.folder / SELF_TEST_STATEMENT
    write_durably(
        path,
        sign_envelope(statement.to_bytes(), payload_type=INTOTO_PAYLOAD_TYPE, signers=signers),
    )
    return path


def sign_if_possible(
    repository: AuthorityRepository, draft: Draft, report: SelfTestReport, *, now: datetime
) -> str:
    """State it where the keys are at hand; who publishes may hold the online keys alone.

    Returns:
        ``signed``, or why there is no statement.
    """
    try:
        sign_report(repository, draft, report, now=now)
    except UsageError as error:
        return f"missing: {error.message}"
    return "signed"
