"""Two real authorities in a folder, made by the commands that a person types."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from primum_repo_tools.cli import main
from primum_verifier.core.device import TrustMap
from primum_verifier.core.document import parse_document, sha256_hex
from primum_verifier.core.envelope import public_key_of
from primum_verifier.core.question import ArtifactsFact, Question, SelfTestFact
from primum_verifier.core.verdict import judge
from primum_verifier.core.view import proven_time
from primum_verifier.core.vocabulary import Phase
from primum_verifier.shell.authorities import Authorities
from primum_verifier.shell.fetching import FolderFetcher
from primum_verifier.shell.trust_store import MemoryTrustStore
from primum_verifier.shell.ways import AuthorityAddress, FixedWays

DATA = Path(__file__).parent / "data"
PASSPHRASE = "correct horse battery"  # noqa: S105 - of keys that live for one test
COMPONENT = "pvc-classifier"
CASES = 40
FOLDERS = {"site": "hospital"}
"""The workbench of an authority, where it is not called like it."""

PLAN = """\
schema_version = "0.1"
component = "pvc-classifier"
version = "{version}"
release_counter = {counter}
created_at = 2026-01-01T00:00:00Z
hardware = ["cardiowear-2"]
min_agent_version = "0.1.0"
max_stage = "production"
change_tier = "minor"
summary = "Version {version}"
ifu_version = "1"
udi_di = "04012345678901"
floor_counter = 0
health_window_seconds = 30
max_attempts = 3
{baselines}
[files]
model = "model.onnx"
fixtures = "fixtures.npz"
intended_use = "intended-use.txt"

[self_test]
opset_min = 13
opset_max = 25
allowed_domains = [""]
origin = "made by the test"
licence = "CC0-1.0"
min_tests = 2
total_time_limit_seconds = 30
memory_limit_mib = 1024
golden_vectors_origin = "synthetic"

[self_test.interface]
inputs = [{{ name = "x", dtype = "float32", shape = ["batch", 2] }}]
outputs = [{{ name = "p", dtype = "float32", shape = ["batch", 1] }}]

[self_test.operating_point]
output = "p"
threshold = "0.5"
positive_when = "at-or-above"

[[self_test.tests]]
id = "numeric"
level = "numeric"
quality_criterion = "accuracy"
risk_control_ref = "RC-1"
mandatory = true
on_failure = "refuse"
abs_tol = "0.0001"
rel_tol = "0.0001"

[[self_test.tests]]
id = "functional"
level = "functional"
quality_criterion = "accuracy"
risk_control_ref = "RC-1"
mandatory = true
on_failure = "refuse"
max_decision_flips = 0
max_decision_flips_by_cohort = {{}}
"""

TERMS = """\
schema_version = "0.1"
stage = "production"
decision = "eligible"
mode = "clinical"
jurisdictions = ["DE", "US"]
sites = "all"
hardware = ["cardiowear-2"]
max_percentage = 100
valid_days = 365
max_index_age_hours = 720
offline_grace_hours = 72

[intended_use]
file = "intended-use.txt"
significance = "inform"
decision_role = "decision-support"

[on_expiry]
action = "continue-with-notice"
hazard_ref = "HAZ-07"

[on_withdrawal]
action = "fall-back"
hazard_ref = "HAZ-03"

[fail_safe]
mode = "ai-function-off"
user_notice = "Beat classification is off. Read the rhythm strip."
hazard_ref = "HAZ-01"
"""


def tiny_model(weights: tuple[float, float]) -> bytes:
    """A logistic regression over two numbers, as ONNX."""
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["z"]),
            helper.make_node("Sigmoid", ["z"], ["p"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["batch", 1])],
        [numpy_helper.from_array(np.array(weights, np.float32).reshape(2, 1), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def tiny_fixtures(weights: tuple[float, float]) -> bytes:
    """Known inputs with what a model of these weights makes of them."""
    x = np.random.default_rng(1).normal(size=(CASES, 2)).astype(np.float32)
    p = (1 / (1 + np.exp(-(x @ np.array(weights, np.float32))))).astype(np.float32)
    stream = io.BytesIO()
    arrays: dict[str, Any] = {
        "input.x": x,
        "reference.p": p.reshape(-1, 1),
        "case": np.array([f"case-{i}" for i in range(CASES)]),
        "cohort": np.array(["adult"] * CASES),
        "label": (p >= 0.5).astype(np.int8),
        "expected_decision": (p >= 0.5).astype(np.int8),
    }
    np.savez(stream, **arrays)
    return stream.getvalue()


@dataclass(frozen=True)
class Answer:
    """What a command left: its exit code and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The answer of ``--json``, or the error of it."""
        return json.loads(self.out if self.code == 0 else self.err)


@dataclass(frozen=True)
class Story:
    """Two authorities, two stations and three people in one folder."""

    folder: Path
    capture: Callable[[], Any]

    @property
    def engineering(self) -> Path:
        return self.folder / "engineering"

    @property
    def clinical(self) -> Path:
        return self.folder / "clinical"

    def try_run(self, *arguments: object) -> Answer:
        """Run a command; whatever happens, nothing but an answer may come of it."""
        self.capture()
        code = main([str(item) for item in arguments])
        told = self.capture()
        return Answer(code, told.out, told.err)

    def run(self, *arguments: object) -> Answer:
        """Run a command that must succeed."""
        answer = self.try_run(*arguments)
        assert answer.code == 0, answer.err
        return answer

    def plan(
        self,
        version: str,
        *,
        weights: tuple[float, float] = (2.0, -1.0),
        expected: tuple[float, float] | None = None,
        previous: str | None = None,
        original: str = "1.0.0",
        counter: int | None = None,
        folder: Path | None = None,
    ) -> Path:
        """Write a release as code; ``expected``: the weights that the fixtures were made with."""
        source = folder or self.folder / "source" / version
        source.mkdir(parents=True, exist_ok=True)
        (source / "model.onnx").write_bytes(tiny_model(weights))
        (source / "fixtures.npz").write_bytes(tiny_fixtures(expected or weights))
        (source / "intended-use.txt").write_text("Aid the reading of single-lead ECG.\n")
        counter = counter or sum(
            int(part) * 100**place for place, part in enumerate(reversed(version.split(".")))
        )
        baselines = f'previous = "{previous}"\noriginal = "{original}"' if previous else ""
        plan = source / "release.toml"
        plan.write_text(PLAN.format(version=version, counter=counter, baselines=baselines))
        return plan

    def build(self, version: str, **how: Any) -> Answer:
        return self.run("release", "build", self.engineering, self.plan(version, **how), "--json")

    def sign(self, version: str) -> Answer:
        return self.run("release", "sign", self.engineering, COMPONENT, version)

    def compare(self, version: str, **arms: Path) -> Answer:
        locked = {name: predictions(self.folder / f"{name}.npz") for name in ("last", "original")}
        paths = {"candidate": locked["last"], **locked, **arms}
        options = [item for name, path in paths.items() for item in (f"--{name}", path)]
        protocol = DATA / "protocol-demonstration.toml"
        return self.try_run(
            "compare", *options, "--protocol", protocol,
            "--workbench", self.engineering, "--release", f"{COMPONENT}/{version}",
        )  # fmt: skip

    def publish_first(self) -> None:
        """Build, sign and publish release 1.0.0; clinical has not spoken yet."""
        self.build("1.0.0")
        self.sign("1.0.0")
        self.run("publish", self.engineering)

    def prepare(self, version: str, *more: object, terms_text: str = TERMS) -> Answer:
        (self.folder / "terms.toml").write_text(terms_text)
        (self.folder / "intended-use.txt").write_text("Aid the reading of single-lead ECG.")
        terms = self.folder / "terms.toml"
        return self.try_run(
            "approve", "prepare", self.clinical, COMPONENT, version, "--terms", terms, *more
        )

    def approve(self, version: str, *people: str) -> None:
        for person in people:
            self.run(
                "approve", "sign", self.clinical, COMPONENT, version,
                "--as", self.folder / "people" / person, "--yes",
            )  # fmt: skip

    def make_eligible(self, version: str, *more: object, terms_text: str = TERMS) -> None:
        """From nothing to eligible for a release that is published."""
        prepared = self.prepare(version, *more, terms_text=terms_text)
        assert prepared.code == 0, prepared.err
        self.approve(version, "a.berg", "q.lee", "r.novak")
        self.run("publish", self.clinical)

    def tree(self, *names: str) -> dict[str, bytes]:
        """Every file below some folders, to see whether anything changed."""
        roots = [self.folder / name for name in names]
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for root in roots
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }


def predictions(
    path: Path,
    *,
    flip_positives: int = 0,
    flip_negatives: int = 0,
    patients: int = 8,
    per_patient: int = 100,
) -> Path:
    """Predictions of an arm that misses and invents as many as said; the rest is right."""
    n = patients * per_patient
    label = (np.arange(n) % 2).astype(np.uint8)
    score = np.where(label == 1, 0.9, 0.1).astype(np.float32)
    score[np.flatnonzero(label == 1)[:flip_positives]] = 0.2
    score[np.flatnonzero(label == 0)[:flip_negatives]] = 0.8
    np.savez(
        path,
        patient=np.repeat([f"p{i:02d}" for i in range(patients)], per_patient),
        label=label,
        score=score,
        cohort=np.array(["female", "male"])[np.arange(n) // per_patient % 2],
    )
    return path


class Device:
    """What a device concludes from the two web roots and its provisioning folder."""

    def __init__(self, folder: Path, provisioning: Path, key: str) -> None:
        self.folder, self.provisioning, self.key = folder, provisioning, key
        where = "trust-map.json"
        self.trust_map = parse_document(TrustMap, (provisioning / where).read_bytes(), where=where)
        names = [
            name
            for name in ("engineering", "clinical", "site")
            if (provisioning / f"{name}.root.json").exists()
        ]
        self.authorities = Authorities(
            trust_map=self.trust_map,
            roots={name: (provisioning / f"{name}.root.json").read_bytes() for name in names},
            ways=FixedWays(
                {
                    name: AuthorityAddress(
                        *(
                            f"{(folder / FOLDERS.get(name, name) / 'web').as_uri()}/{part}/"
                            for part in ("metadata", "targets", "artifacts")
                        )
                    )
                    for name in names
                }
            ),
            fetcher=FolderFetcher(folder),
            stores={name: MemoryTrustStore() for name in names},
        )

    def verdict(self, version: str, *, phase: Phase = Phase.INSTALL) -> Any:
        now = datetime.now(UTC).replace(microsecond=0)
        seen = self.authorities.refresh(
            now=now, device_id="wearable-001", held=[("pvc-classifier", version)]
        )
        assert set(seen.problems) <= {"site"}
        assert seen.engineering is not None
        assert seen.clinical is not None
        manifest = self.folder / f"engineering/releases/pvc-classifier/{version}/manifest.json"
        return judge(
            Question(
                phase=phase,
                release=sha256_hex(manifest.read_bytes()),
                trust_map=self.trust_map,
                engineering=seen.engineering,
                clinical=seen.clinical,
                site=seen.site,
                device_context=(self.provisioning / "device-context.dsse.json").read_bytes(),
                agent_version="0.1.0",
                hardware_id="cardiowear-2",
                device_key=self.key,
                clock=now,
                proven=proven_time(seen.engineering, seen.clinical, powered_seconds=0),
                artifacts=ArtifactsFact.WHOLE,
                self_test=SelfTestFact.PASSED,
            )
        )


def provisioned(story: Story, enrolment: Path, *more: object) -> Device:
    output = story.folder / "provisioning"
    story.run(
        "device", "provision", "--engineering", story.engineering, "--clinical", story.clinical,
        "--as", story.folder / "station-1", "--as", story.folder / "station-2",
        "--enrolment", enrolment, "--component", "pvc-classifier", "--jurisdiction", "DE",
        "--site", "site-a", "--care-setting", "home", "--udi", "04012345678901",
        "--engineering-url", "http://127.0.0.1:8001/", "--clinical-url", "http://127.0.0.1:8002",
        "--broker", "mqtt://127.0.0.1:18830", "--output", output, "--poll-seconds", "2",
        *more,
    )  # fmt: skip
    key = json.loads(enrolment.read_text())["publicKey"]["public"]
    return Device(story.folder, output, key)


@pytest.fixture(scope="session")
def _born(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both authorities, made once and copied for each test."""
    folder = tmp_path_factory.mktemp("born")
    patch = pytest.MonkeyPatch()
    patch.setenv("PRIMUM_PASSPHRASE", PASSPHRASE)

    def run(*arguments: object) -> None:
        assert main([str(item) for item in arguments]) == 0

    for station in ("station-1", "station-2"):
        run("device", "key", folder / station)
    for name, peer in (("engineering", "clinical"), ("clinical", "engineering")):
        run("init", folder / name, "--authority", name, "--peer", folder / peer / "web")
        keys = [folder / f"station-{i}" / "provisioning.public.json" for i in (1, 2)]
        options = [item for key in keys for item in ("--provisioning-key", key)]
        run("authority", "create", folder / name, *options)
    for person, function in (
        ("a.berg", "clinical"),
        ("q.lee", "quality"),
        ("r.novak", "regulatory"),
    ):
        run(
            "person", "add", folder / "clinical", "--id", person, "--name", f"Dr {person}",
            "--function", function, "--output", folder / "people" / person,
        )  # fmt: skip
    patch.undo()
    return folder


@pytest.fixture
def story(
    _born: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Story:
    """Two fresh authorities with three approvers."""
    monkeypatch.setenv("PRIMUM_PASSPHRASE", PASSPHRASE)
    shutil.copytree(_born, tmp_path / "story")
    return Story(tmp_path / "story", capsys.readouterr)


def _told_to_pytest() -> Any:
    """Of a command that pytest itself listens to: it shows what was said where one fails."""
    return SimpleNamespace(out="", err="")


@pytest.fixture(scope="session")
def _grown(_born: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with release 1.0.0 built, signed, published and eligible, made once."""
    story = Story(tmp_path_factory.mktemp("grown") / "story", _told_to_pytest)
    shutil.copytree(_born, story.folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRIMUM_PASSPHRASE", PASSPHRASE)
        story.publish_first()
        story.make_eligible("1.0.0")
    return story.folder


@pytest.fixture
def published(story: Story, _grown: Path) -> Story:
    """Two authorities of the test's own with release 1.0.0 published and eligible."""
    shutil.rmtree(story.folder)
    shutil.copytree(_grown, story.folder)
    return story


@pytest.fixture
def terms_text() -> str:
    """The terms that the story's releases get."""
    return TERMS


@pytest.fixture
def published_to_half(story: Story) -> Story:
    """The same, but clinical signed for half of all devices at most."""
    story.publish_first()
    half = TERMS.replace("max_percentage = 100", "max_percentage = 50")
    story.make_eligible("1.0.0", terms_text=half)
    return story


@pytest.fixture
def enrolment(tmp_path: Path) -> Path:
    """What a device writes when its key was made on it."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from securesystemslib.signer import SSlibKey

    key = public_key_of(SSlibKey.from_crypto(Ed25519PrivateKey.generate().public_key()))
    path = tmp_path / "enrolment.json"
    content = {
        "deviceId": "wearable-001",
        "hardwareId": "cardiowear-2",
        "serialNumber": "SN-1",
        "publicKey": key.model_dump(mode="json", by_alias=True),
    }
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def device(story: Story, enrolment: Path) -> Device:
    """A provisioned device of the story."""
    return provisioned(story, enrolment)


@pytest.fixture
def provision(story: Story, enrolment: Path) -> Callable[..., Device]:
    """Provisions the device of the story with further options."""
    return lambda *more: provisioned(story, enrolment, *more)


@pytest.fixture
def digest() -> Callable[[bytes], str]:
    """SHA-256 as the documents write it."""
    return sha256_hex


@pytest.fixture
def make_predictions() -> Callable[..., Path]:
    """Writes the predictions of an arm."""
    return predictions
