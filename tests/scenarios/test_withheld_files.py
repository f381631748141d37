"""A mirror without any key withholds one file, each in turn: nothing is granted that it hides.

The story's repositories keep every version, so the state before a withdrawal can be served
again: the newest of the older timestamps leads to all the rest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from primum_verifier.core.device import DeviceContext, TrustMap
from primum_verifier.core.document import parse_document
from primum_verifier.core.envelope import CONTEXT_PAYLOAD_TYPE, open_envelope
from primum_verifier.core.question import ArtifactsFact, Question, SelfTestFact, Verdict
from primum_verifier.core.reasons import Reason
from primum_verifier.core.verdict import judge
from primum_verifier.core.view import proven_time
from primum_verifier.core.vocabulary import Capability, Phase
from primum_verifier.shell.authorities import Authorities, Refreshed
from primum_verifier.shell.fetching import FolderFetcher, NotThereError
from primum_verifier.shell.trust_store import MemoryTrustStore
from primum_verifier.shell.ways import AuthorityAddress, FixedWays

pytestmark = pytest.mark.timeout(300)

COMPONENT = "pvc-classifier"
DEVICE = "wearable-001"


@dataclass
class Mirror:
    """Serves the story's web roots, one file withheld, clinical's timestamp as old as wanted."""

    folder: Path
    withheld: str = ""
    timestamp: int | None = None
    requests: list[str] = field(default_factory=list)

    def fetch(self, url: str, *, max_bytes: int, offset: int = 0) -> Iterator[bytes]:
        self.requests.append(url)
        if url == self.withheld:
            raise NotThereError(url, 404)
        if url.endswith("clinical/web/metadata/timestamp.json") and self.timestamp is not None:
            url = url.replace("timestamp.json", f"{self.timestamp}.timestamp.json")
        return FolderFetcher(self.folder).fetch(url, max_bytes=max_bytes, offset=offset)


class Device:
    """A device's trust in memory, over the mirror."""

    def __init__(self, folder: Path, mirror: Mirror) -> None:
        provisioning = folder / DEVICE / "provisioning"
        self.trust_map = parse_document(
            TrustMap, (provisioning / "trust-map.json").read_bytes(), where="trust map"
        )
        self.envelope = (provisioning / "device-context.dsse.json").read_bytes()
        opened = open_envelope(
            self.envelope, payload_type=CONTEXT_PAYLOAD_TYPE, keys=(), where="context"
        )
        self.context = parse_document(DeviceContext, opened.payload, where="context")
        self.folder = folder
        self.authorities = Authorities(
            trust_map=self.trust_map,
            roots={
                name: (provisioning / f"{name}.root.json").read_bytes()
                for name in ("engineering", "clinical")
            },
            ways=FixedWays(
                {
                    name: AuthorityAddress(
                        f"{(folder / name / 'web').as_uri()}/metadata/",
                        f"{(folder / name / 'web').as_uri()}/targets/",
                    )
                    for name in ("engineering", "clinical")
                }
            ),
            fetcher=mirror,
            stores={name: MemoryTrustStore() for name in ("engineering", "clinical")},
        )

    def refresh(self) -> Refreshed:
        return self.authorities.refresh(
            now=datetime.now(UTC),
            device_id=DEVICE,
            held=[(COMPONENT, "1.0.0"), (COMPONENT, "1.1.0")],
        )

    def ask(self, refreshed: Refreshed, version: str, phase: Phase) -> Verdict:
        assert refreshed.engineering is not None
        assert refreshed.clinical is not None
        manifest = self.folder / "engineering" / "releases" / COMPONENT / version / "manifest.json"
        return judge(
            Question(
                phase=phase,
                release=hashlib.sha256(manifest.read_bytes()).hexdigest(),
                trust_map=self.trust_map,
                engineering=refreshed.engineering,
                clinical=refreshed.clinical,
                device_context=self.envelope,
                agent_version="0.1.0",
                hardware_id=self.context.factory.hardware_id,
                device_key=self.context.factory.public_key.public,
                clock=datetime.now(UTC),
                proven=proven_time(refreshed.engineering, refreshed.clinical, powered_seconds=0),
                artifacts=ArtifactsFact.WHOLE,
                self_test=SelfTestFact.PASSED,
            )
        )


def before_the_withdrawal(told: Any, mirror: Mirror) -> tuple[Device, Refreshed]:
    """A device that has seen everything up to the moment before 1.1.0 was withdrawn."""
    folder = told.folder / "clinical" / "web" / "metadata"
    versions = sorted(int(path.name.split(".")[0]) for path in folder.glob("*.timestamp.json"))
    for version in reversed(versions):
        mirror.timestamp = version
        device = Device(told.folder, mirror)
        refreshed = device.refresh()
        assert refreshed.problems == {}
        if device.ask(refreshed, "1.1.0", Phase.CONTINUE).primary is None:
            return device, refreshed
    pytest.fail("no state before the withdrawal is left")


def test_a_mirror_that_withholds_any_one_file_grants_nothing_it_hides(told: Any) -> None:
    mirror = Mirror(told.folder)
    device, before = before_the_withdrawal(told, mirror)
    assert device.ask(before, "1.1.0", Phase.INSTALL).capability == Capability.CLINICAL
    mirror.timestamp = None
    mirror.requests.clear()
    whole = device.refresh()
    assert device.ask(whole, "1.1.0", Phase.INSTALL).primary == Reason.ELIGIBILITY_WITHDRAWN
    assert device.ask(whole, "1.1.0", Phase.CONTINUE).capability == Capability.STAGE
    announced = [
        url for url in mirror.requests if "clinical" in url and not url.endswith("root.json")
    ]
    assert len(announced) >= 6
    for url in announced:
        mirror = Mirror(told.folder)
        device, _ = before_the_withdrawal(told, mirror)
        mirror.timestamp, mirror.withheld = None, url
        found = device.refresh()
        assert "clinical" in found.problems, url
        verdict = device.ask(found, "1.1.0", Phase.INSTALL)
        if url.endswith("timestamp.json"):
            # Nobody can know of what no timestamp announced; it ends with the one that is held.
            assert verdict.capability == Capability.CLINICAL
        else:
            assert (verdict.capability, verdict.primary) == (
                Capability.NONE,
                Reason.TRUST_METADATA,
            ), url
        # What runs is judged by the last whole view, which took nothing away.
        assert device.ask(found, "1.1.0", Phase.CONTINUE).capability == Capability.CLINICAL
        mirror.withheld = ""
        healed = device.refresh()
        assert device.ask(healed, "1.1.0", Phase.CONTINUE).capability == Capability.STAGE, url


def test_a_withdrawal_once_known_is_not_forgotten_when_a_file_is_withheld(told: Any) -> None:
    mirror = Mirror(told.folder)
    device = Device(told.folder, mirror)
    known = device.refresh()
    assert device.ask(known, "1.1.0", Phase.CONTINUE).capability == Capability.STAGE
    for url in sorted(set(mirror.requests)):
        mirror.withheld = url
        found = device.refresh()
        verdict = device.ask(found, "1.1.0", Phase.CONTINUE)
        assert verdict.capability == Capability.STAGE, url
        assert json.dumps(verdict.as_dict())
