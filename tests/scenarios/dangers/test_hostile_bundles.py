"""Releases that are hostile themselves, most of them validly signed by engineering.

Archives there are none: a release is a list of files by digest.  What concerns the files on the
device, and its disk, is staged with the agent.
"""

from __future__ import annotations

import gzip
import json
import time
from typing import Any

import pytest
from tests.scenarios.compromise.world import COMPONENT, HOUR
from tests.unit.verifier.conftest import NOW

from primum_verifier.core.document import canonical_json, sha256_hex
from primum_verifier.core.manifest import manifest_target
from primum_verifier.core.question import ArtifactsFact
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import Capability, Phase


def manifest_url(staged: Any) -> str:
    """Where the manifest of the better release lies."""
    folder, _, name = manifest_target(COMPONENT, staged.better.version).rpartition("/")
    digest = sha256_hex(staged.better.manifest_bytes)
    return f"https://engineering.test/targets/{folder}/{digest}.{name}"


def served(staged: Any, data: bytes) -> None:
    """The mirror serves other bytes under the name of the manifest; nothing of them stays."""
    staged.world.correct(NOW + HOUR)
    files = {**staged.world.files, manifest_url(staged): data}
    refreshed = staged.poll(files=files)
    assert refreshed.problems["engineering"].reason in {
        Reason.ARTIFACT_DIGEST,
        Reason.ARTIFACT_SIZE,
        Reason.TRUST_LIMIT,
    }
    stored = staged.device.stores["engineering"].load()
    assert data not in stored.documents.values() or not data
    assert staged.ask().capability < Capability.SHADOW
    staged.still_runs()
    staged.ends_well()


@pytest.mark.parametrize(
    "bend",
    [
        lambda data: b"x" * len(data),
        lambda data: data[:-7] + b"another",
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    ],
    ids=["other bytes", "other tail", "one bit"],
)
def test_b01_wrong_bytes_of_the_right_length(staged: Any, bend: Any) -> None:
    served(staged, bend(staged.better.manifest_bytes))


@pytest.mark.parametrize(
    "bend",
    [lambda data: data + b" ", lambda data: data[:-1], lambda _: b""],
    ids=["one more", "one less", "empty"],
)
def test_b02_one_byte_too_long_too_short_or_none(staged: Any, bend: Any) -> None:
    served(staged, bend(staged.better.manifest_bytes))


def test_b10_the_same_content_in_another_compression(staged: Any) -> None:
    """What is used is hashed, not what was packed: packed bytes are other bytes."""
    served(staged, gzip.compress(staged.better.manifest_bytes))


def test_b10_files_packed_otherwise_are_damaged_files(staged: Any) -> None:
    staged.publish()
    staged.refused(Reason.ARTIFACT_DIGEST, artifacts=ArtifactsFact.DAMAGED)
    staged.ends_well()


@pytest.mark.parametrize(
    ("hardware", "measured", "reason"),
    [
        (["cardiowear-1"], "cardiowear-2", Reason.COMPAT_HARDWARE),
        (["CARDIOWEAR-2"], "cardiowear-2", Reason.TRUST_NOT_FOUND),
        (["cardiowear-2"], "cardiowear-9", Reason.COMPAT_HARDWARE),
    ],
)
def test_b11_made_for_other_hardware(
    staged: Any, hardware: list[str], measured: str, reason: Reason
) -> None:
    """Validly signed, approved and listed: the hardware that is measured here decides."""
    staged.better.manifest["compatibility"]["hardware"] = hardware
    staged.publish()
    verdict = staged.ask(hardware_id=measured)
    assert verdict.capability < Capability.SHADOW
    assert verdict.primary in {reason, Reason.DOCUMENT_INVALID}
    staged.still_runs()
    staged.ends_well()


def test_b11_another_revision_or_product_than_clinical_signed_for(staged: Any) -> None:
    hardware = {"hardwareId": "cardiowear-2", "revisions": ["Z"]}
    staged.better.statement["constraints"]["hardware"] = [hardware]
    staged.publish()
    staged.refused(Reason.COMPAT_HARDWARE)
    staged.ends_well()


@pytest.mark.parametrize("phase", [Phase.INSTALL, Phase.ACTIVATE])
def test_b12_older_release_that_is_still_signed_and_listed(staged: Any, phase: Phase) -> None:
    """The rollout plan itself names it: a plan is no order to go back."""
    staged.world.assigned = "older"
    staged.world.publish(NOW + HOUR)
    refreshed = staged.poll()
    assert refreshed.assignment.version == "1.0.0"
    staged.refused(Reason.TRUST_ROLLBACK, "older", phase)
    staged.still_runs()
    staged.ends_well()


@pytest.mark.parametrize("explicit", [True, False])
def test_b12_below_the_floor_only_a_notice_that_names_it_leads_back(
    staged: Any, *, explicit: bool
) -> None:
    """Two functions order it, for that very digest, and say that it is below the floor."""
    older = staged.world.releases["older"].release
    fallback = {"order": [{"sha256": older}], "explicitDowngrade": explicit}
    staged.world.notice("running", "clinical", "quality", fallback=fallback)
    staged.publish()
    verdict = staged.ask("older", Phase.FALL_BACK, counter_floor=2)
    assert (verdict.capability is Capability.CLINICAL) is explicit
    order = staged.ask("running", Phase.CONTINUE).order
    assert order.fallback == (older,)
    staged.disk_is_clean()
    staged.journal.close()


@pytest.mark.parametrize(
    "path", ["../journal.db", "/etc/passwd", "a/b", "C:\\x", "model.onnx\0", "x" * 300, ".", ""]
)
def test_b13_item_named_like_a_file_of_the_agents_own(staged: Any, path: str) -> None:
    """A manifest with such a path is no manifest, whoever signed it."""
    staged.better.manifest["items"][0]["path"] = path
    staged.publish()
    assert staged.ask().capability < Capability.STORE
    staged.still_runs()
    staged.ends_well()


@pytest.mark.parametrize(
    "bend",
    [
        lambda data: data.replace(b'"releaseCounter":9', b'"releaseCounter":NaN'),
        lambda data: data.replace(b'"releaseCounter":9', b'"releaseCounter":1e999'),
        lambda data: data.replace(b'"installer":', b'"installer":"x","installer":', 1),
        lambda data: data[:-1] + b',"x":' + b"[" * 5000 + b"]" * 5000 + b"}",
        lambda data: data[:-1] + b',"x":' + b"9" * 6000 + b"}",
        lambda data: data[:-1] + b',"x":"' + b"y" * 900_000 + b'"}',
        lambda _: b"null",
        lambda _: b"\xff\xfe",
    ],
    ids=["NaN", "1e999", "duplicate", "deep", "digits", "large", "null", "no text"],
)
def test_b14_manifest_that_is_no_plain_json(staged: Any, bend: Any) -> None:
    """Signed by engineering, listed and approved by its digest: it is refused inside a bound."""
    world, good = staged.world, staged.better.manifest_bytes
    data = bend(good)
    assert data != good
    world.correct(NOW + HOUR)
    target = manifest_target(COMPONENT, staged.better.version)
    world.engineering.add(target, data, role="model")
    world.engineering.publish()
    index = json.loads(world.index(world.listed, at=NOW + HOUR, number=99))
    for entry in index["entries"]:
        if entry["version"] == staged.better.version:
            entry["release"] = {"sha256": sha256_hex(data)}
    world.clinical.add("eligibility/index.json", canonical_json(index), role="eligibility")
    world.clinical.publish()
    began = time.monotonic()
    staged.poll()
    verdict = staged.device.ask(sha256_hex(data), Phase.INSTALL, staged.at)
    assert time.monotonic() - began < 5
    assert verdict.capability < Capability.STAGE
    staged.still_runs()
    staged.ends_well()


def test_b14_manifest_of_two_hundred_megabytes_is_refused_by_what_is_signed(staged: Any) -> None:
    """The signed length alone refuses it: nothing of it is asked for."""
    staged.world.correct(NOW + HOUR)
    target = manifest_target(COMPONENT, staged.better.version)
    listed = staged.world.engineering.part("model").targets[target]
    listed.length = 200 * 1024 * 1024
    staged.world.engineering.publish()
    refreshed = staged.poll()
    assert refreshed.problems["engineering"].reason == Reason.ARTIFACT_SIZE
    staged.still_runs()
    staged.ends_well()
