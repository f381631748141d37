"""What is written in a question to the runner, and the signed interface that it is about."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from primum_agent.application import ActiveRelease
from primum_verifier.core.document import parse_document, sha256_hex
from primum_verifier.core.errors import FailedError, UsageError
from primum_verifier.core.manifest import ReleaseManifest
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.selftest_spec import SelfTestSpec, TensorSpec

_MAX_COHORTS = 8
_MAX_COHORT_NAME = 80


def specification_of(release: ActiveRelease) -> SelfTestSpec:
    """The signed self-test specification of a release, out of its generation.

    Raises:
        FailedError: ``state.damaged``: manifest or specification are not those that were signed.
    """
    try:
        data = (release.folder / "manifest.json").read_bytes()
        manifest = parse_document(ReleaseManifest, data, where="manifest.json")
        item = manifest.item(manifest.self_test.specification)
        spec = (release.folder / item.path).read_bytes()
    except OSError as error:
        raise _damaged(release, error.strerror or str(error)) from error
    if sha256_hex(data) != release.release or sha256_hex(spec) != item.digest.sha256:
        raise _damaged(release, "other bytes than those that were signed")
    return parse_document(SelfTestSpec, spec, where=item.path)


def _damaged(release: ActiveRelease, found: str) -> FailedError:
    return FailedError(
        "The active release is damaged.",
        reason=Reason.STATE_DAMAGED,
        where=str(release.folder),
        found=found,
        expected="the files that were activated",
        remedy="The agent acts on it at its next look; treat it as safe mode until then.",
    )


def cohorts_of(found: dict[str, Any]) -> dict[str, str]:
    """The groups that an application names, by their keys.

    Which of them are signed is not asked here: that decides nothing about an answer.
    """
    texts = [*found, *found.values()]
    if len(found) <= _MAX_COHORTS and all(
        isinstance(text, str) and len(text) <= _MAX_COHORT_NAME for text in texts
    ):
        return found
    raise UsageError(
        "The cohorts are not named by short texts.",
        reason=Reason.USAGE,
        where="cohorts",
        expected=f"at most {_MAX_COHORTS} groups by their keys",
    )


def tensors_of(found: Mapping[str, Any], *, where: str) -> dict[str, bytes]:
    """The bytes of each input or output, by its name.

    Args:
        found: base64 by name.
        where: the member of the question.

    Raises:
        UsageError: one of them is not written in base64.
    """
    return {name: _bytes_of(value, where=f"{where}.{name[:80]}") for name, value in found.items()}


def check_case(found: Mapping[str, bytes], tensors: Sequence[TensorSpec], *, where: str) -> None:
    """A case that was computed elsewhere is one of the signed interface.

    Args:
        found: the bytes of each tensor.
        tensors: what the interface has.
        where: the member of the question.

    Raises:
        FailedError: ``compat.contract``.
    """
    sizes = {name[:80]: len(data) for name, data in found.items()}
    meant = {tensor.name: tensor.case_bytes for tensor in tensors}
    if sizes != meant:
        raise FailedError(
            "The case is not one of the signed interface.",
            reason=Reason.COMPAT_CONTRACT,
            where=where,
            found=", ".join(f"{name[:80]}: {size} bytes" for name, size in sorted(sizes.items()))[
                :300
            ],
            expected=", ".join(f"{name}: {size} bytes" for name, size in sorted(meant.items()))[
                :300
            ],
            remedy="Hand over each input and output of one case, little-endian.",
        )


def _sizes(found: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {size} bytes" for name, size in sorted(found.items()))[:300]


def _bytes_of(value: object, *, where: str) -> bytes:
    try:
        if isinstance(value, str):
            return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise UsageError(
        "The bytes of a case are not written in base64.",
        reason=Reason.USAGE,
        where=where,
        expected="the bytes of one case in base64",
    )
