"""Two whole authorities, a hospital, everyone's keys, and a device over them: what attacks bend.

Everything is real: Ed25519 keys (made once), TUF metadata, DSSE documents, the refresh of all
authorities over their trust stores, and the judge.  Only the web is a dictionary in memory.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from securesystemslib.signer import CryptoSigner
from tests.scenarios.dangers.conftest import Publisher, unpublished
from tests.unit.verifier.conftest import NOW, World, envelope, moment, urn
from tuf.api.metadata import Delegations, Root, Snapshot, TargetFile, Targets, Timestamp

from primum_agent.passed_time import passed_time
from primum_verifier.core.device import TrustMap
from primum_verifier.core.document import canonical_json, sha256_hex
from primum_verifier.core.eligibility import approvals_target, statement_target
from primum_verifier.core.envelope import CONTEXT_PAYLOAD_TYPE, public_key_of
from primum_verifier.core.manifest import manifest_target
from primum_verifier.core.question import ArtifactsFact, Question, SeenHold, SelfTestFact, Verdict
from primum_verifier.core.verdict import judge
from primum_verifier.core.view import CLINICAL, ENGINEERING, SITE, AuthorityView
from primum_verifier.core.vocabulary import Phase
from primum_verifier.shell.authorities import Authorities, Refreshed
from primum_verifier.shell.fetching import FakeFetcher
from primum_verifier.shell.trust_store import MemoryTrustStore, TrustStore
from primum_verifier.shell.ways import AuthorityAddress, FixedWays

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ATTACK = NOW + 2 * HOUR
"""When attacks are staged: one hour after the honest side published something new."""

COMPONENT = "pvc-classifier"
TOP = ("root", "targets", "snapshot", "timestamp")
ROLES: dict[str, dict[str, tuple[int, int, timedelta]]] = {
    ENGINEERING: {
        "root": (3, 2, 365 * DAY),
        "targets": (3, 2, 90 * DAY),
        "snapshot": (1, 1, 7 * DAY),
        "timestamp": (1, 1, DAY),
        "model": (1, 1, 60 * DAY),
        "rollout": (1, 1, 30 * DAY),
    },
    CLINICAL: {
        "root": (3, 2, 365 * DAY),
        "targets": (3, 2, 90 * DAY),
        "snapshot": (1, 1, 7 * DAY),
        "timestamp": (1, 1, DAY),
        "eligibility": (3, 2, 14 * DAY),
        "safety": (1, 1, 3 * DAY),
    },
    SITE: {
        "root": (1, 1, 365 * DAY),
        "targets": (1, 1, 90 * DAY),
        "snapshot": (1, 1, 7 * DAY),
        "timestamp": (1, 1, DAY),
    },
}
"""For each role: how many keys it has, how many must sign, and how long a signature lasts."""

PATHS = {
    "model": ["releases/*/*/*"],
    "rollout": ["rollout/*"],
    "eligibility": ["eligibility/*", "eligibility/*/*"],
    "safety": ["safety/*"],
}
PEOPLE = ("clinical", "quality", "regulatory")
INDEX_HOURS, GRACE_HOURS = 14 * 24, 48
ADULT = 18
"""Years: the trial was restricted to patients of this age."""

ALLOWED = timedelta(hours=INDEX_HOURS + GRACE_HOURS)
"""How long the signed statements let a running release go on without a newer list."""


@cache
def key(label: str) -> CryptoSigner:
    """The key of this name: made once, the same in every world of a run."""
    del label
    return CryptoSigner.generate_ed25519()


_MEMORY = Path("/dev/shm")  # noqa: S108 - a run leaves nothing there, and waits for no disk


class Authority(Publisher):
    """One authority's repository in memory; every version of every file stays there.

    Args:
        name: which of the three.
        files: the web, by address; shared with the other authorities of the world.
    """

    def __init__(self, name: str, files: dict[str, bytes]) -> None:
        self.name, self.files, self.at, self.announces = name, files, NOW, False
        self.tells: Callable[[datetime], str | None] = moment
        self.folder = Path(name)
        self.spec, self.delegated = ROLES[name], {}
        self.signers = {
            role: [key(f"{name}.{role}.{number}") for number in range(1, count + 1)]
            for role, (count, _, _) in self.spec.items()
        }
        self.root = unpublished(Root(expires=self.end("root"), consistent_snapshot=True))
        for role in TOP:
            self.set_keys(role, self.signers[role], threshold=self.spec[role][1])
        self.targets = unpublished(Targets(expires=self.end("targets")))
        self.targets.delegations = Delegations({}, {})
        for role in self.spec.keys() - set(TOP):
            self.hand_over(role, self.signers[role], threshold=self.spec[role][1])
        self.snapshot = unpublished(Snapshot(expires=self.end("snapshot")))
        self.timestamp = unpublished(Timestamp(expires=self.end("timestamp")))
        self.first_root = self.publish_root()

    def end(self, role: str) -> datetime:
        """When a signature of this role, made now, ends."""
        return self.at + self.spec[role][2]

    def hand_over(self, role: str, signers: list[CryptoSigner], *, threshold: int) -> None:
        """Let these keys alone sign for a delegated role; what it lists stays."""
        listed = self.delegated.get(role)
        assert self.targets.delegations is not None
        if listed is not None:
            for keyid in list((self.targets.delegations.roles or {})[role].keyids):
                self.targets.revoke_key(keyid, role)
        self.signers[role] = signers
        self.delegate(role, PATHS[role])
        assert self.targets.delegations.roles is not None
        self.targets.delegations.roles[role].threshold = threshold
        if listed is not None:
            self.delegated[role] = listed
        self.delegated[role].expires = self.end(role)

    def part(self, role: str) -> Any:
        """What this role signs."""
        return self.delegated.get(role) or getattr(self, role)

    def put(self, name: str, data: bytes) -> Path:
        self.files[f"https://{self.name}.test/metadata/{name}"] = data
        return Path(name)

    def add(self, name: str, data: bytes, *, role: str = "targets") -> TargetFile:
        info = TargetFile.from_data(name, data, ["sha256"])
        self.part(role).targets[name] = info
        folder, slash, base = name.rpartition("/")
        path = f"{folder}{slash}{info.hashes['sha256']}.{base}"
        self.files[f"https://{self.name}.test/targets/{path}"] = data
        return info

    def renew(self, at: datetime) -> None:
        """From now on sign at this moment, with the usual terms."""
        self.at = at
        for role in self.spec:
            self.part(role).expires = self.end(role)

    def publish_timestamp(self, signers: Iterable[Any] | None = None) -> bytes:
        self.timestamp.version += 1
        self.timestamp.unrecognized_fields.pop("issuedAt", None)
        told = self.tells(self.at)
        if told is not None:
            self.timestamp.unrecognized_fields["issuedAt"] = told
        data = self.sign(self.timestamp, self.signers["timestamp"] if signers is None else signers)
        self.put("timestamp.json", data)
        return data

    def fork(self, files: dict[str, bytes]) -> Authority:
        """A copy that goes its own way, over a copy of the web."""
        made = copy.copy(self)
        made.files, made.signers = files, dict(self.signers)
        made.root, made.targets = copy.deepcopy(self.root), copy.deepcopy(self.targets)
        made.snapshot, made.timestamp = (
            copy.deepcopy(self.snapshot),
            copy.deepcopy(self.timestamp),
        )
        made.delegated = copy.deepcopy(self.delegated)
        return made


COUNTERS = {
    "older": ("1.0.0", 1),
    "trial": ("1.0.5", 2),
    "running": ("1.1.0", 3),
    "withdrawn": ("1.1.1", 4),
    "recalled": ("1.1.4", 4),
    "lapsed": ("1.1.5", 4),
    "elsewhere": ("1.1.2", 5),
    "held": ("1.1.3", 6),
    "unapproved": ("1.3.0", 7),
    "unfinished": ("1.4.0", 8),
    "better": ("1.2.0", 9),
    "forged": ("1.2.0", 99),
}
"""The releases of every world, by what they are, with version and counter.

What is *recalled* was withdrawn by a notice that the list has not followed yet; the *trial* is
for investigation only, was restricted by a notice, and ends soon.
"""

TRIAL_ENDS = NOW + 20 * DAY

STAGED = tuple(name for name in COUNTERS if name not in {"better", "forged"})
LISTED = tuple(name for name in STAGED if name not in {"unapproved", "unfinished"})


def artifact(name: str) -> bytes:
    """The bytes of a release's model."""
    return f"the model of {name}".encode()


class Release(World):
    """One release with its documents, as dictionaries until they are signed."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.people = {person: key(f"person.{person}") for person in PEOPLE}
        self.provisioning = [key(f"provisioning.{number}") for number in (1, 2)]
        self.device = key("device")
        self.device_public = public_key_of(self.device.public_key)
        self.name = name
        version, counter = COUNTERS[name]
        self.manifest["bundle"] |= {"version": version, "releaseCounter": counter}
        self.manifest["items"][0] |= {
            "length": len(artifact(name)),
            "digest": {"sha256": sha256_hex(artifact(name))},
        }
        self.statement["validity"] |= {
            "maxIndexAgeHours": INDEX_HOURS,
            "offlineGraceHours": GRACE_HOURS,
        }
        # The hardest case for what may be taken away: the signed statement ends it by itself.
        self.statement["onExpiry"] = {"action": "fall-back", "hazardRef": "HZ-1"}
        if name == "elsewhere":
            self.statement["constraints"]["sites"]["ids"] = ["ward-9"]
        if name == "lapsed":
            self.statement["validity"]["notAfter"] = moment(NOW + HOUR / 2)
        if name == "trial":
            self.decide("investigational")
            self.statement["validity"]["notAfter"] = moment(TRIAL_ENDS)
        if name == "unfinished":
            self.manifest["maxStage"] = "validation"
        public = self.device_public.model_dump(mode="json", by_alias=True)
        self.context["factory"]["publicKey"] = public
        for person in self.policy["people"]:
            signer = self.people[person["function"]]
            person["key"] = public_key_of(signer.public_key).model_dump(mode="json", by_alias=True)

    @property
    def version(self) -> str:
        return str(self.manifest["bundle"]["version"])

    def entry(self, statement: str, status: str = "eligible") -> dict[str, Any]:
        """Its line of the index."""
        return {
            "component": COMPONENT,
            "version": self.version,
            "release": {"sha256": self.release},
            "statement": {"sha256": statement},
            "status": status,
            "effectiveAt": moment(NOW),
        }


class TwoAuthorities:
    """A fleet's whole world: both authorities (and the site), published and in order.

    Args:
        site: whether a hospital stands on the trust map.
    """

    def __init__(self, *, site: bool = False) -> None:
        self.files: dict[str, bytes] = {}
        self.releases = {name: Release(name) for name in COUNTERS}
        self.first = self.releases["running"]
        names = (ENGINEERING, CLINICAL, *((SITE,) if site else ()))
        self.authorities = {name: Authority(name, self.files) for name in names}
        self.context = envelope(
            canonical_json(self.first.context), CONTEXT_PAYLOAD_TYPE, *self.first.provisioning
        )
        self.number = 1
        self.listed: dict[str, str] = dict.fromkeys(LISTED, "eligible")
        self.assigned = "running"
        self.listed["withdrawn"] = "withdrawn"
        self.notice("withdrawn", "clinical", "quality")
        self.notice("recalled", "clinical", "quality")
        # What runs here was withdrawn once, and a statement that everybody approved answered it.
        self.notice("running", "clinical", "quality")
        answered = [said["id"] for said, _ in self.first.notices]
        self.first.statement["answers"] = answered
        self.notice(
            "trial",
            "clinical",
            "quality",
            kind="restriction",
            action="restrict",
            restriction={"population": {"enforce": "inference", "ageYearsMin": ADULT}},
        )
        # What runs here was withdrawn in another country, too.
        self.notice(
            "running",
            "clinical",
            "quality",
            scope={"mode": "jurisdictions", "jurisdictions": ["FR"]},
        )
        # The time of a hold is short, so that whoever ends it early is seen to.
        self.notice(
            "held",
            "clinical",
            kind="hold",
            action="no-new-activation",
            expiresAt=moment(NOW + 70 * HOUR),
        )
        for name in STAGED:
            self.put_manifest(self.releases[name])
        for name in (ENGINEERING, CLINICAL):
            self.authorities[name].add("provisioning/keys.json", self.provisioning_keys())
        self.write()
        self.publish(NOW)

    @property
    def engineering(self) -> Authority:
        return self.authorities[ENGINEERING]

    @property
    def clinical(self) -> Authority:
        return self.authorities[CLINICAL]

    def provisioning_keys(self, signers: Iterable[CryptoSigner] = ()) -> bytes:
        """The list of keys that may sign a device context."""
        listed = tuple(signers) or tuple(self.first.provisioning)
        content = {
            "type": "urn:primum:provisioning-keys:v0.1",
            "schemaVersion": "0.1",
            "id": urn(),
            "number": 1,
            "issuedAt": moment(NOW),
            "threshold": 2,
            "keys": [
                public_key_of(signer.public_key).model_dump(mode="json", by_alias=True)
                for signer in listed
            ],
        }
        return canonical_json(content)

    def notice(self, name: str, *signers: str, **changes: Any) -> None:
        """A notice about a release, signed by these people, with the next publication."""
        self.releases[name].notice(*signers, **changes)

    def put_manifest(self, release: Release) -> None:
        target = manifest_target(COMPONENT, release.version)
        self.engineering.add(target, release.manifest_bytes, role="model")
        data = artifact(release.name)
        self.files[f"https://{ENGINEERING}.test/artifacts/{sha256_hex(data)}"] = data

    def statement_of(self, name: str) -> str:
        """The digest of a release's statement as it stands now."""
        return sha256_hex(self.releases[name].statement_bytes())

    def plan(self, *names: str, **changes: Any) -> bytes:
        """A rollout plan that gives every device the first of these releases."""
        return canonical_json(
            {
                "type": "urn:primum:rollout-plan:v0.1",
                "schemaVersion": "0.1",
                "id": urn(),
                "number": self.number,
                "issuedAt": moment(NOW),
                "assignments": [
                    {
                        "component": COMPONENT,
                        "version": self.releases[name].version,
                        "release": {"sha256": self.releases[name].release},
                        "notBefore": moment(NOW),
                        "rings": [{"name": "all", "devices": "all", "percentage": 100}],
                        **changes,
                    }
                    for name in names
                ],
            }
        )

    def index(self, listed: Mapping[str, str], *, at: datetime, number: int) -> bytes:
        """An allow-list of these releases, each with its status."""
        return canonical_json(
            {
                "type": "urn:primum:eligibility-index:v0.1",
                "schemaVersion": "0.1",
                "id": urn(),
                "number": number,
                "issuedAt": moment(at),
                "entries": [
                    self.releases[name].entry(self.statement_of(name), status)
                    for name, status in listed.items()
                ],
            }
        )

    def approvals_of(self, name: str) -> bytes:
        """The approvals of a release's statement."""
        return self.releases[name].approval_lines(self.statement_of(name))

    def put_statement(self, name: str) -> None:
        """Statement and approvals of a release, by the clinical role for them."""
        release, digest = self.releases[name], self.statement_of(name)
        self.clinical.add(statement_target(digest), release.statement_bytes(), role="eligibility")
        self.clinical.add(approvals_target(digest), self.approvals_of(name), role="eligibility")

    def notices(self) -> bytes:
        """Every notice that was ever issued."""
        return b"".join(release.notice_lines() for release in self.releases.values())

    def acceptance(self, names: Iterable[str]) -> bytes:
        """What the hospital lets in."""
        return canonical_json(
            {
                "type": "urn:primum:site-acceptance:v0.1",
                "schemaVersion": "0.1",
                "id": urn(),
                "number": self.number,
                "issuedAt": moment(NOW),
                "organisation": "Hospital",
                "sites": ["ward-7"],
                "accepted": [
                    {
                        "statement": {"sha256": self.statement_of(name)},
                        "acceptedFrom": moment(NOW),
                        "person": "Head of technology",
                    }
                    for name in names
                ],
            }
        )

    def write(self) -> None:
        """All documents as they now stand, into the roles that carry them."""
        for name in self.listed:
            self.put_statement(name)
        at, clinical = self.clinical.at, self.clinical
        index = self.index(self.listed, at=at, number=self.number)
        clinical.add("eligibility/index.json", index, role="eligibility")
        clinical.add("policy/approval-policy.json", canonical_json(self.first.policy))
        clinical.add("safety/notices.jsonl", self.notices(), role="safety")
        self.engineering.add("rollout/plan.json", self.plan(self.assigned), role="rollout")
        if SITE in self.authorities:
            self.authorities[SITE].add("site/acceptance.json", self.acceptance(self.listed))

    def publish(self, at: datetime) -> None:
        """Everything anew, right and whole, at this moment."""
        self.number += 1
        for authority in self.authorities.values():
            authority.renew(at)
        self.write()
        for authority in self.authorities.values():
            authority.publish()

    def correct(self, at: datetime) -> None:
        """The honest news: a better release, approved, listed, accepted and given to everybody."""
        self.put_manifest(self.releases["better"])
        self.listed["better"] = "eligible"
        self.assigned = "better"
        self.publish(at)

    def fork(self) -> TwoAuthorities:
        """A copy that goes its own way."""
        made = copy.copy(self)
        made.files = dict(self.files)
        made.authorities = {
            name: authority.fork(made.files) for name, authority in self.authorities.items()
        }
        made.releases = {name: copy.copy(release) for name, release in self.releases.items()}
        for release in made.releases.values():
            for part in ("notices", "manifest", "statement", "approvals"):
                setattr(release, part, copy.deepcopy(getattr(release, part)))
        made.first = made.releases["running"]
        # The policy and the context of the whole world stand with this one release.
        made.first.policy = copy.deepcopy(self.first.policy)
        made.first.context = copy.deepcopy(self.first.context)
        made.listed = dict(self.listed)
        return made

    def trust_map(self, **changes: Any) -> TrustMap:
        """What devices are provisioned with."""
        roots = {
            f"{name}Root": {"sha256": sha256_hex(authority.first_root)}
            for name, authority in self.authorities.items()
        }
        content = {
            "type": "urn:primum:trust-map:v0.1",
            "schemaVersion": "0.1",
            "id": urn(),
            "number": 1,
            "issuedAt": moment(NOW),
            "stage": "production",
            "component": COMPONENT,
            **roots,
            **changes,
        }
        return TrustMap.model_validate_json(json.dumps(content))


@cache
def day_by_day(world: TwoAuthorities, days: tuple[int, ...]) -> dict[int, TwoAuthorities]:
    """The honest world on each of these days: everything published anew, always a version on."""
    made: dict[int, TwoAuthorities] = {}
    for day in days:
        world = world.fork()
        world.publish(max(NOW + day * DAY + HOUR / 60, ATTACK))
        made[day] = world
    return made


@dataclass
class Device:
    """One device: pinned roots, a trust store for each authority, its context and its clock.

    Attributes:
        world: who it was provisioned by.
        stores: where it keeps what it accepted.
        context: its signed device context.
        clock: how far its clock is from the truth.
        seen_holds: the holds that it remembers.
        counters: what the agent's journal keeps of the time.
        last_context: the context that it trusted last.
        last_list: the issue time of the last list that it could read.
    """

    world: TwoAuthorities
    stores: dict[str, TrustStore] = field(default_factory=dict)
    context: bytes = b""
    clock: timedelta = timedelta(0)
    seen_holds: tuple[SeenHold, ...] = ()
    counters: dict[str, str] = field(default_factory=dict)
    last_list: datetime | None = None
    scratch: Path | None = None
    trust_map: TrustMap = field(init=False)

    def __post_init__(self) -> None:
        self.trust_map = self.world.trust_map()
        self.context = self.context or self.world.context
        for name in self.world.authorities:
            self.stores.setdefault(name, MemoryTrustStore())
        self.last_context = self.context
        self.running = self.world.releases["running"]
        self.kept = {item.release: item.statement_bytes() for item in self.world.releases.values()}
        self.last: Refreshed | None = None

    def twin(self) -> Device:
        """Another device in the very same state."""
        made = copy.copy(self)
        made.counters, made.stores = dict(self.counters), {}
        for name, store in self.stores.items():
            made.stores[name] = MemoryTrustStore()
            held = store.load()
            if held is not None:
                made.stores[name].save(held)
        return made

    def authorities(self, files: Mapping[str, bytes]) -> Authorities:
        return Authorities(
            trust_map=self.trust_map,
            roots={n: authority.first_root for n, authority in self.world.authorities.items()},
            ways=FixedWays(
                {
                    name: AuthorityAddress(
                        metadata_url=f"https://{name}.test/metadata/",
                        targets_url=f"https://{name}.test/targets/",
                    )
                    for name in self.world.authorities
                }
            ),
            fetcher=FakeFetcher(dict(files)),
            stores=self.stores,
            scratch=self.scratch or (_MEMORY if _MEMORY.is_dir() else None),
        )

    def poll(self, files: Mapping[str, bytes], at: datetime) -> Refreshed:
        """Ask all authorities at this moment."""
        self.last = self.authorities(files).refresh(
            now=at + self.clock,
            device_id="wearable-001",
            held=[(COMPONENT, COUNTERS[name][0]) for name in STAGED],
        )
        return self.last

    @property
    def views(self) -> tuple[AuthorityView, AuthorityView]:
        assert self.last is not None
        assert self.last.engineering is not None
        assert self.last.clinical is not None
        return self.last.engineering, self.last.clinical

    def proven(self, at: datetime) -> datetime | None:
        """Proven time as the agent keeps it: its own function, over counters in memory."""

        def set_counters(**values: str) -> None:
            self.counters.update({name.replace("_", "-"): said for name, said in values.items()})

        journal = SimpleNamespace(
            powered_total=(at - NOW).total_seconds,
            counter=self.counters.get,
            set_counters=set_counters,
        )
        return passed_time(cast("Any", journal), *self.views)

    def ask(self, release: str, phase: Phase, at: datetime, **facts: Any) -> Verdict:
        """What may be done with a release, by its digest."""
        engineering, clinical = self.views
        floors = {Phase.FALL_BACK: 1}
        assert self.last is not None
        question: dict[str, Any] = {
            "phase": phase,
            "release": release,
            "trust_map": self.trust_map,
            "engineering": engineering,
            "clinical": clinical,
            "site": self.last.site,
            "device_context": self.context,
            "agent_version": "0.1.0",
            "hardware_id": "cardiowear-2",
            "device_key": public_key_of(key("device").public_key).public,
            "clock": at + self.clock,
            "proven": self.proven(at),
            "counter_floor": floors.get(phase, COUNTERS["running"][1]),
            "context_floor": 1,
            "last_context": self.last_context,
            "last_list_issued_at": self.last_list,
            "asks_per_episode": True,
            "artifacts": ArtifactsFact.WHOLE,
            "self_test": SelfTestFact.PASSED,
            "seen_holds": self.seen_holds,
        }
        if phase is Phase.CONTINUE:
            question["activated_under"] = self.kept.get(release)
        verdict = judge(Question(**{**question, **facts}))
        self.remember(verdict)
        return verdict

    def remember(self, verdict: Verdict) -> None:
        """What the agent keeps of a verdict: of which moment the last list was that it read."""
        if verdict.list_issued_at is not None:
            self.last_list = verdict.list_issued_at

    def manifests(self) -> dict[str, bytes]:
        """Every manifest in the stored view, by its digest."""
        return {
            sha256_hex(document.data): document.data
            for target, document in self.views[0].documents.items()
            if target.endswith("/manifest.json")
        }
