"""The decisions of earlier releases, which the fixtures of a later one have to hold.

A device whose active release is missing there could never evaluate the comparison, and would keep
what it has.  Which releases a fleet still runs only its engineers know; the last one is the least
that is asked for, and any number of others may stand beside it.
"""

from __future__ import annotations

from primum_repo_tools.release_plan import ReleasePlan
from primum_repo_tools.releases import open_draft
from primum_repo_tools.workbench import Workbench
from primum_verifier.core.document import parse_document
from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.fixtures import read_fixtures
from primum_verifier.proof.selftest_spec import Baseline, SelfTestSpec


def check_decisions(
    workbench: Workbench, plan: ReleasePlan, *, specification: bytes, fixtures: bytes, where: str
) -> None:
    """Check that the fixtures hold the decisions of what the release has to be no worse than.

    Args:
        workbench: holds the earlier releases that the plan names.
        plan: of the release.
        specification: of its self-test; it was read already.
        fixtures: the file; it was read already.
        where: the name a person knows the fixtures by.

    Raises:
        UsageError: a test asks for a release that the plan does not name, or whose decisions the
            fixtures lack.
    """
    spec = parse_document(SelfTestSpec, specification, where="self-test specification")
    wanted = {
        one for test in spec.tests if test.level == "functional" for one in test.no_worse_than
    }
    held = read_fixtures(fixtures, where=where).baselines
    for baseline, version in ((Baseline.ORIGINAL, plan.original), (Baseline.ACTIVE, plan.previous)):
        if baseline not in wanted:
            continue
        if version is None:
            if baseline is Baseline.ACTIVE:
                continue  # a first release: on no device is there another one
            raise UsageError(
                "A test compares with the original release, and the plan names none.",
                reason=Reason.USAGE,
                where="release.toml: no_worse_than",
                found="no original",
                expected='original = "VERSION", or a test that does not ask for it',
            )
        earlier = open_draft(workbench, plan.component, version)
        if earlier.sha256 not in held:
            raise UsageError(
                "The fixtures lack the decisions of an earlier release.",
                reason=Reason.USAGE,
                where=where,
                found="decisions of " + (", ".join(sorted(held)) or "no release"),
                expected=f"an array decision.{earlier.sha256}, those of {earlier.manifest.name}",
                remedy="Let it decide on these cases: primum-repo fixtures decide "
                f"{where} --workbench {workbench.folder} --release {plan.component}/{version} "
                f"--output {where} --self-test release.toml",
            )
