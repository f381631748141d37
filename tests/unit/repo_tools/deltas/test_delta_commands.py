"""Deltas through the commands: made, listed, signed, published, and read as a device reads them."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.unit.repo_tools.conftest import COMPONENT, PASSPHRASE, Story
from tuf.api.metadata import Metadata, Targets

from primum_repo_tools.authority_settings import DELTA_LIST_PATHS
from primum_repo_tools.moments import now_utc
from primum_repo_tools.repository import AuthorityRepository
from primum_repo_tools.workbench import open_created
from primum_verifier.core.document import parse_document, sha256_hex
from primum_verifier.core.manifest import ReleaseManifest
from primum_verifier.delta.applying import apply_delta
from primum_verifier.delta.delta_list import DeltaList, delta_list_target

PROGRAM = random.Random(1).randbytes(60_000)
TREE = """
[[components]]
id = "app"
version = "{version}"
installer = "tree"
tree = "app"
pack = "{pack}"
"""


def plan(story: Any, version: str, *, pack: str = "plain", **how: Any) -> Path:
    """A set whose program changes in every tenth kilobyte with each version."""
    path: Path = story.plan(version, **how)
    (path.parent / "app").mkdir(exist_ok=True)
    program = bytearray(PROGRAM)
    for place in range(0, len(program), 10_000):
        program[place] = int(version.replace(".", "")) % 256
    (path.parent / "app/program").write_bytes(program)
    path.write_text(path.read_text() + TREE.format(version=version, pack=pack))
    return path


def publish(story: Any, version: str, *, previous: str | None = None, **how: Any) -> None:
    story.run("release", "build", story.engineering, plan(story, version, previous=previous, **how))
    if previous is not None:
        assert story.compare(version).code == 0
    story.sign(version)
    story.run("publish", story.engineering)


def make(story: Any, version: str, *more: object) -> Any:
    return story.try_run("delta", "make", story.engineering, COMPONENT, version, *more, "--json")


def manifest(story: Any, version: str) -> ReleaseManifest:
    path = story.engineering / f"releases/{COMPONENT}/{version}/manifest.json"
    return parse_document(ReleaseManifest, path.read_bytes(), where="manifest")


def published_list(story: Any, version: str) -> DeltaList | None:
    bench = open_created(story.engineering, authority="engineering")
    repository = AuthorityRepository(bench, now=now_utc())
    data = repository.document("model", delta_list_target(COMPONENT, version))
    return None if data is None else parse_document(DeltaList, data, where="deltas")


@pytest.fixture(scope="session")
def _two(_born: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two releases that are published, made once."""
    folder = tmp_path_factory.mktemp("two") / "story"
    shutil.copytree(_born, folder)
    story = Story(folder, lambda: type("Told", (), {"out": "", "err": ""}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRIMUM_PASSPHRASE", PASSPHRASE)
        publish(story, "1.0.0")
        publish(story, "1.1.0", previous="1.0.0")
    return folder


@pytest.fixture
def two(story: Any, _two: Path) -> Any:
    shutil.rmtree(story.folder)
    shutil.copytree(_two, story.folder)
    return story


def test_a_delta_is_made_listed_signed_published_and_makes_the_file(two: Any) -> None:
    before = two.tree("engineering/web", "engineering/staging")
    told = make(two, "1.1.0", "--dry-run")
    assert told.json["dryRun"] is True
    assert {"file": "app.tree-pack", "from": "1.0.0", "bytes": 60_000} in told.json["deltas"]
    assert two.tree("engineering/web", "engineering/staging") == before

    made = make(two, "1.1.0").json
    pack = next(row for row in made["deltas"] if row["file"] == "app.tree-pack")
    assert pack["delta"] < 200
    assert published_list(two, "1.1.0") is None
    staged = two.run("publish", two.engineering, "--dry-run", "--json").json
    assert staged["releases"] == []
    assert staged["deltas"] == {
        f"{COMPONENT} 1.1.0": sum(isinstance(row["delta"], int) for row in made["deltas"])
    }
    done = two.run("publish", two.engineering, "--json").json
    assert done["deltas"] == staged["deltas"]

    listed = published_list(two, "1.1.0")
    assert listed is not None
    assert listed.number == 1
    path = two.engineering / f"releases/{COMPONENT}/1.1.0/manifest.json"
    assert listed.release.sha256 == sha256_hex(path.read_bytes())
    for delta in listed.deltas:
        served = two.engineering / "web/artifacts"
        old = (served / delta.base.sha256).read_bytes()
        data = (served / delta.digest.sha256).read_bytes()
        assert (len(old), len(data)) == (delta.base_length, delta.length)
        pieces = apply_delta(
            [data],
            base=lambda place, count, old=old: old[place : place + count],  # type: ignore[misc]
            base_length=len(old),
            length=delta.result_length,
        )
        assert sha256_hex(b"".join(pieces)) == delta.result.sha256
    shown = two.run("delta", "list", two.engineering, COMPONENT, "1.1.0", "--json").json
    assert [item["length"] for item in shown["deltas"]] == [item.length for item in listed.deltas]
    assert "app.tree-pack" in two.run("delta", "list", two.engineering, COMPONENT, "1.1.0").out
    # There is nothing left to publish, and what was made is not made again.
    assert two.run("publish", two.engineering, "--json").json["nothingToPublish"] is True
    again = make(two, "1.1.0").json
    assert again["deltas"] == made["deltas"]
    events = (two.engineering / "records/log.jsonl").read_text()
    assert events.count('"deltas.signed"') == 2


def test_a_delta_can_be_published_with_its_release(two: Any) -> None:
    two.run("release", "build", two.engineering, plan(two, "1.2.0", previous="1.1.0"))
    assert two.compare("1.2.0").code == 0
    unsigned = make(two, "1.2.0")
    assert unsigned.code == 2
    assert "release sign" in unsigned.err
    two.sign("1.2.0")
    made = make(two, "1.2.0").json
    assert {row["from"] for row in made["deltas"]} == {"1.0.0", "1.1.0"}
    done = two.run("publish", two.engineering, "--json").json
    assert list(done["releases"]) == [f"{COMPONENT} 1.2.0"]
    assert list(done["deltas"]) == [f"{COMPONENT} 1.2.0"]


def test_a_release_that_is_no_longer_signed_takes_its_deltas_with_it(two: Any) -> None:
    two.run("release", "build", two.engineering, plan(two, "1.2.0", previous="1.1.0"))
    two.sign("1.2.0")
    assert make(two, "1.2.0", "--from", "1.1.0").code == 0
    two.run("release", "unsign", two.engineering, COMPONENT, "1.2.0")
    assert not (two.engineering / "staging/metadata/model.json").exists()
    assert two.run("publish", two.engineering, "--json").json["nothingToPublish"] is True


def test_unsigning_one_release_leaves_the_deltas_of_another(two: Any) -> None:
    assert make(two, "1.1.0").code == 0
    two.run("release", "build", two.engineering, plan(two, "1.2.0", previous="1.1.0"))
    two.sign("1.2.0")
    two.run("release", "unsign", two.engineering, COMPONENT, "1.2.0")
    assert two.run("publish", two.engineering, "--json").json["deltas"] != {}
    assert published_list(two, "1.1.0") is not None


@pytest.mark.parametrize("version", ["9.9.9", "1.1.0"])
def test_a_delta_leads_only_from_an_earlier_release(two: Any, version: str) -> None:
    answer = make(two, "1.1.0", "--from", version)
    assert answer.code == 2
    assert answer.json["error"]["expected"] == "1.0.0"


def test_the_first_release_has_no_deltas(two: Any) -> None:
    assert make(two, "1.0.0").json["deltas"] == []
    assert make(two, "1.0.0").json["signed"] is False
    assert two.run("delta", "list", two.engineering, COMPONENT, "1.0.0", "--json").json == {
        "release": f"{COMPONENT} 1.0.0",
        "number": None,
        "deltas": [],
    }


def test_no_delta_is_made_of_a_file_that_is_not_the_signed_one(two: Any) -> None:
    pack = manifest(two, "1.0.0").item("app.tree-pack").digest.sha256
    path = two.engineering / "web/artifacts" / pack
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    answer = make(two, "1.1.0")
    assert answer.code == 1
    assert answer.json["error"]["reason"] == "artifact.digest"
    assert not (two.engineering / "staging/metadata/model.json").exists()


def test_a_compressed_pack_is_told_and_left_out(story: Any) -> None:
    publish(story, "1.0.0", pack="xz")
    story.run(
        *("release", "build", story.engineering),
        plan(story, "1.1.0", previous="1.0.0", pack="plain"),
    )
    story.sign("1.1.0")
    rows = {row["file"]: row["delta"] for row in make(story, "1.1.0").json["deltas"]}
    # Random bytes are not compressed at all; a program that repeats itself is.
    assert isinstance(rows["app.tree-pack"], int)
    listed = manifest(story, "1.1.0").item("app.tree-list")
    assert listed.length < 400


def test_a_pack_that_was_compressed_is_no_base(story: Any) -> None:
    for version, previous in (("1.0.0", None), ("1.1.0", "1.0.0")):
        path = plan(story, version, previous=previous, pack="xz")
        (path.parent / "app/program").write_bytes(PROGRAM[:100] * 400 + version.encode())
        story.run("release", "build", story.engineering, path)
        story.sign(version)
        if previous is None:
            story.run("publish", story.engineering)
    rows = {row["file"]: row["delta"] for row in make(story, "1.1.0").json["deltas"]}
    assert 'pack = "plain"' in rows["app.tree-pack"]


def test_only_a_tree_has_a_pack(story: Any) -> None:
    path = story.plan("1.0.0")
    (path.parent / "image").write_bytes(b"image")
    wrong = TREE.format(version="1.0.0", pack="plain").replace('"tree"', '"rauc"')
    path.write_text(path.read_text() + wrong.replace('tree = "app"', 'image = "image"'))
    answer = story.try_run("release", "build", story.engineering, path)
    assert answer.code == 2
    assert "takes no pack" in answer.err


def test_an_authority_from_before_there_were_deltas_says_that_there_may_be_some(
    two: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = open_created(two.engineering, authority="engineering")
    metadata = two.engineering / "web/metadata"
    newest = max(metadata.glob("*.targets.json"), key=lambda path: int(path.name.split(".")[0]))
    content = json.loads(newest.read_bytes())
    role = next(
        item for item in content["signed"]["delegations"]["roles"] if item["name"] == "model"
    )
    role["paths"].remove(DELTA_LIST_PATHS)
    monkeypatch.setattr(
        AuthorityRepository,
        "published_bytes",
        _with_old_targets(AuthorityRepository.published_bytes, json.dumps(content).encode()),
    )
    assert make(two, "1.1.0").code == 0
    staged = (
        Metadata[Targets].from_bytes((bench.staging / "metadata/targets.json").read_bytes()).signed
    )
    assert staged.delegations is not None
    assert staged.delegations.roles is not None
    assert DELTA_LIST_PATHS in (staged.delegations.roles["model"].paths or ())
    monkeypatch.undo()
    monkeypatch.setenv("PRIMUM_PASSPHRASE", PASSPHRASE)
    two.run("publish", two.engineering)
    assert published_list(two, "1.1.0") is not None
    assert not (bench.staging / "metadata/targets.json").exists()


def _with_old_targets(real: Any, old: bytes) -> Any:
    def published_bytes(self: AuthorityRepository, role: str) -> bytes | None:
        found: bytes | None = old if role == "targets" else real(self, role)
        return found

    return published_bytes
