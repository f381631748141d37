"""The self-test specification of a release: as its plan names or states it, about its fixtures.

What no device could ever pass is told when a release is built: other fixtures than were signed,
hardware without limits, another component.
"""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from primum_repo_tools.files import read_input
from primum_repo_tools.release_plan import ReleasePlan
from primum_verifier.core.document import canonical_json, parse_document, sha256_hex
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.fixtures import read_fixtures
from primum_verifier.proof.selftest_spec import SelfTestSpec


def specification_bytes(plan: ReleasePlan, folder: Path, fixtures: bytes) -> bytes:
    """The specification that a plan names or states, held against its fixtures and hardware.

    Args:
        plan: of the release.
        folder: of the plan; the files that it names are relative to it.
        fixtures: the file.

    Raises:
        UsageError: the fixtures cannot be read, or the specification is about something else.
    """
    where = str(folder / plan.files.fixtures)
    try:
        cases = len(read_fixtures(fixtures, where=where).cases)
    except RefusedError as error:
        raise UsageError(
            "The fixtures cannot be read.", reason=Reason.USAGE, where=where, found=error.found
        ) from error
    if plan.files.self_test is not None:
        path = folder / plan.files.self_test
        data = read_input(path, what="self-test specification")
        spec = parse_document(SelfTestSpec, data, where=str(path))
    else:
        content = _spec_content(plan, fixtures, cases)
        data = canonical_json(content)
        spec = parse_document(SelfTestSpec, data, where="[self_test]")
    digest = sha256_hex(fixtures)
    if (spec.fixtures.digest.sha256, spec.fixtures.cases) != (digest, cases):
        raise UsageError(
            "The self-test specification is about other fixtures.",
            reason=Reason.USAGE,
            where=where,
            found=f"sha256 {digest}, {cases} cases",
            expected=f"sha256 {spec.fixtures.digest.sha256}, {spec.fixtures.cases} cases",
        )
    performance = spec.performance
    if performance is not None and not set(plan.hardware) <= set(performance.limits):
        raise UsageError(
            "The self-test states no limits for hardware that the release is for.",
            reason=Reason.USAGE,
            where=where,
            found="limits for " + ", ".join(sorted(performance.limits)),
            expected="limits for " + ", ".join(sorted(plan.hardware)),
            remedy="No device of that kind could ever pass it: state them, or leave it out.",
        )
    if spec.component != plan.component:
        raise UsageError(
            "The self-test specification is about another component.",
            reason=Reason.USAGE,
            where=where,
            found=spec.component,
            expected=plan.component,
        )
    return data


def _spec_content(plan: ReleasePlan, fixtures: bytes, cases: int) -> dict[str, object]:
    if plan.self_test is None:
        raise RuntimeError("the plan was checked to hold a self-test")
    content = plan.self_test.model_dump(mode="json", by_alias=True, exclude_none=True)
    digest = sha256_hex(fixtures)
    content["fixtures"] = {
        "digest": {"sha256": digest},
        "cases": cases,
        "origin": content.pop("origin"),
        "licence": content.pop("licence"),
    }
    content |= {"schemaVersion": "0.1", "component": plan.component}
    return {**content, "id": derived_id(canonical_json(content))}


def derived_id(data: bytes) -> str:
    """An id that is a name of its content (RFC 9562, version 8), so that a rebuild has the same."""
    octets = bytearray(bytes.fromhex(sha256_hex(data))[:16])
    octets[6] = octets[6] & 0x0F | 0x80
    octets[8] = octets[8] & 0x3F | 0x80
    return UUID(bytes=bytes(octets)).urn
