"""A release that is a set, through the commands: built, shown, signed, published, judged."""

from __future__ import annotations

import json
import lzma
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.unit.repo_tools.conftest import provisioned

from primum_repo_tools import engineering
from primum_repo_tools.evidence import gate_release
from primum_repo_tools.release_plan import ReleasePlan
from primum_repo_tools.settings import parse_settings
from primum_verifier.core.document import parse_document, sha256_hex
from primum_verifier.core.errors import UsageError
from primum_verifier.core.manifest import ReleaseManifest
from primum_verifier.core.tree import TreeList

RELEASE = "releases/pvc-classifier"
FILES = {"bin/bedside": b"#!/bin/sh\nexec true\n" * 40, "etc/gain": b"2\n", "lib/x.so": b"x" * 999}
COMPONENTS = """
[[components]]
id = "os"
version = "3.4.0"
installer = "rauc"
image = "os.raucb"

[[components]]
id = "pump"
version = "1.0.2"
installer = "hook"
files = [
    { file = "pump/firmware.bin", kind = "driver" },
    { file = "pump/limits.json", kind = "configuration" },
]

[[components]]
id = "bedside-app"
version = "2.1.0"
installer = "tree"
tree = "app"
"""


def add_components(plan: Path, *, text: str = COMPONENTS, first: str = "") -> Path:
    """Put a set beside the model: a tree, an image, and files for a hook."""
    folder = plan.parent
    for name, data in FILES.items():
        (folder / "app" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "app" / name).write_bytes(data)
        (folder / "app" / name).chmod(0o755 if name.startswith("bin/") else 0o644)
    (folder / "app/var").mkdir(exist_ok=True)
    (folder / "pump").mkdir(exist_ok=True)
    (folder / "pump/firmware.bin").write_bytes(b"firmware")
    (folder / "pump/limits.json").write_bytes(b"{}")
    (folder / "os.raucb").write_bytes(b"image" * 1000)
    plan.write_text(first + plan.read_text() + text)
    return plan


def build(story: Any, version: str = "1.0.0", *, first: str = "", **how: Any) -> Any:
    plan = add_components(story.plan(version, **how), first=first)
    return story.run("release", "build", story.engineering, plan, "--json").json


def manifest_of(story: Any, version: str = "1.0.0") -> ReleaseManifest:
    data = (story.engineering / RELEASE / version / "manifest.json").read_bytes()
    return parse_document(ReleaseManifest, data, where="manifest")


def test_a_set_holds_its_components_in_order_beside_the_model(story: Any) -> None:
    answer = build(story, first="data_floor_counter = 10000\n")
    manifest = manifest_of(story)
    assert (manifest.installer, manifest.bundle.track) == ("set", "combined")
    assert manifest.rollback.data_floor_counter == 10000
    assert [(c.id, c.version, str(c.installer)) for c in manifest.components] == [
        ("os", "3.4.0", "rauc"),
        ("pump", "1.0.2", "hook"),
        ("bedside-app", "2.1.0", "tree"),
    ]
    assert {item.id: (str(item.kind), item.path) for item in manifest.items} == {
        "model": ("model", "model.onnx"),
        "fixtures": ("self-test-fixtures", "fixtures.npz"),
        "self-test": ("self-test-specification", "self-test.json"),
        "os.image": ("os-image", "os.raucb"),
        "pump.firmware.bin": ("driver", "pump.firmware.bin"),
        "pump.limits.json": ("configuration", "pump.limits.json"),
        "bedside-app.tree-list": ("tree-list", "bedside-app.tree-list.json"),
        "bedside-app.tree-pack": ("tree-pack", "bedside-app.tree-pack"),
    }
    assert answer["components"] == {"os": "3.4.0", "pump": "1.0.2", "bedside-app": "2.1.0"}
    assert answer["leftOut"] == {"bedside-app": ["var"]}
    files = story.engineering / RELEASE / "1.0.0/files"
    assert {path.name for path in files.iterdir()} == {item.path for item in manifest.items}
    for item in manifest.items:
        data = (files / item.path).read_bytes()
        assert (len(data), sha256_hex(data)) == (item.length, item.digest.sha256)
    listed = parse_document(
        TreeList, (files / "bedside-app.tree-list.json").read_bytes(), where="list"
    )
    assert [(f.path, f.executable) for f in listed.files] == [
        ("bin/bedside", True),
        ("etc/gain", False),
        ("lib/x.so", False),
    ]
    pack = (files / "bedside-app.tree-pack").read_bytes()
    assert lzma.decompress(pack) == b"".join(FILES[name] for name in sorted(FILES))


def test_a_release_of_a_model_stays_one(story: Any) -> None:
    answer = story.build("1.0.0").json
    manifest = manifest_of(story)
    assert (manifest.installer, manifest.bundle.track, manifest.components) == (
        *("model", "model"),
        (),
    )
    assert (answer["components"], answer["leftOut"]) == ({}, {})


def test_two_folders_two_times_two_users_give_the_same_set(story: Any, tmp_path: Path) -> None:
    first = build(story)["sha256"]
    other = tmp_path / "elsewhere"
    shutil.copytree(story.engineering, other, ignore=shutil.ignore_patterns("releases"))
    plan = add_components(story.plan("1.0.0", folder=tmp_path / "another source"))
    for path in plan.parent.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(path.stat().st_mode & 0o700)
    command = [
        sys.executable,
        "-m",
        "primum_repo_tools.cli",
        "release",
        "build",
        str(other),
        str(plan),
    ]
    environment = {**os.environ, "TZ": "Asia/Tokyo", "USER": "other", "LANG": "C", "HOME": "/"}
    subprocess.run(command, check=True, env=environment, capture_output=True)
    ours, theirs = (root / RELEASE / "1.0.0" for root in (story.engineering, other))
    for path in sorted(ours.rglob("*")):
        if path.is_file() and path.name != "release.toml":
            assert path.read_bytes() == (theirs / path.relative_to(ours)).read_bytes(), path
    assert build(story)["sha256"] == first


def test_people_see_what_a_set_changes_before_they_sign(story: Any) -> None:
    """Danger: an operating system goes out under the name of a model."""
    plan = add_components(story.plan("1.0.0"), first="data_floor_counter = 10000\n")
    built = story.run("release", "build", story.engineering, plan).out
    assert "Left out of bedside-app" in built
    signing = story.run(
        "release", "sign", story.engineering, "pvc-classifier", "1.0.0", "--dry-run"
    ).out
    story.sign("1.0.0")
    publishing = story.run("publish", story.engineering).out
    assert story.prepare("1.0.0").code == 0
    approving = story.run(
        "approve", "sign", story.clinical, "pvc-classifier", "1.0.0",
        "--as", story.folder / "people/a.berg", "--dry-run",
    ).out  # fmt: skip
    for shown in (built, signing, publishing, approving):
        for told in ("3.4.0, installer rauc", "1.0.2, installer hook", "2.1.0, installer tree"):
            assert told in shown
        assert "never below release counter 10000" in shown


def test_a_set_is_published_approved_and_judged(story: Any, enrolment: Path) -> None:
    build(story)
    story.sign("1.0.0")
    story.run("publish", story.engineering)
    manifest = manifest_of(story)
    for item in manifest.items:
        served = story.engineering / "web/artifacts" / item.digest.sha256
        assert sha256_hex(served.read_bytes()) == item.digest.sha256
    story.make_eligible("1.0.0")
    device = provisioned(story, enrolment)
    verdict = device.verdict("1.0.0")
    assert verdict.primary == "compat.installer"
    for kinds, reason in (
        ((), "compat.installer"),
        (("os=rauc", "pump=hook"), "compat.installer"),
        (("os=rauc", "pump=tree", "bedside-app=tree"), "compat.installer"),
        (("os=rauc", "pump=hook", "bedside-app=tree"), None),
    ):
        assert asked(story, device, *kinds)["primary"] == reason
    pack = story.engineering / "web/artifacts" / manifest.items[-1].digest.sha256
    whole = pack.read_bytes()
    for spoilt in (whole[:-1], whole + b"x", whole[:-1] + bytes([whole[-1] ^ 1])):
        pack.write_bytes(spoilt)
        assert asked(story, device, *kinds)["primary"] == "artifact.digest"


def verify(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "primum_verifier.shell.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def asked(story: Any, device: Any, *kinds: str, version: str = "1.0.0") -> Any:
    """What ``primum-verify release`` says of a device with these installers."""
    done = verify(
        *("release", "pvc-classifier", version, "--provisioning", device.provisioning),
        *("--engineering", story.engineering / "web", "--clinical", story.clinical / "web"),
        *(word for kind in kinds for word in ("--installer", kind)),
        "--json",
    )
    told = json.loads(done.stdout)
    assert done.returncode == (0 if told["primary"] is None else 1), done.stdout + done.stderr
    return told


@pytest.mark.parametrize("text", ["app", "app=", "=tree", "app=script", "app=model", ""])
def test_an_installer_that_nobody_knows_is_a_mistake(tmp_path: Path, text: str) -> None:
    """Danger: a word that is spelt wrongly reads as a device that refuses, or that does not."""
    folders = ("--provisioning", tmp_path, "--engineering", tmp_path, "--clinical", tmp_path)
    done = verify("release", "pvc-classifier", "1.0.0", *folders, "--installer", text)
    assert (done.returncode, "--installer" in done.stderr) == (2, True)
    assert "Traceback" not in done.stderr


def test_the_set_in_the_guide_is_built_and_judged(story: Any, enrolment: Path) -> None:
    """What people copy out of the guide is what the programs take."""
    guide = (Path(__file__).parents[3] / "docs/release-engineer.md").read_text()
    blocks = re.findall(r"```(?:toml|console)\n(.*?)```", guide, re.DOTALL)
    first, _, tables = next(text for text in blocks if "[[components]]" in text).partition("\n\n")
    plan = add_components(story.plan("1.2.0"), text=f"\n{tables}", first=f"{first}\n")
    (plan.parent / "images").mkdir()
    (plan.parent / "os.raucb").rename(plan.parent / "images/os.raucb")
    story.run("release", "build", story.engineering, plan)
    story.sign("1.2.0")
    story.run("publish", story.engineering)
    story.make_eligible("1.2.0")
    device = provisioned(story, enrolment)
    line = next(text for text in blocks if "primum-verify release" in text)
    _, *words = line.replace("\\\n", " ").removeprefix("$ ").split()
    places = {
        "wearable/provisioning": device.provisioning,
        "engineering/web": story.engineering / "web",
        "clinical/web": story.clinical / "web",
    }
    done = verify(*(places.get(word, word) for word in words))
    assert done.returncode == 0, done.stdout + done.stderr
    assert manifest_of(story, "1.2.0").rollback.data_floor_counter == 10200


def test_an_artifact_that_two_releases_share_is_published_once(story: Any) -> None:
    build(story)
    story.sign("1.0.0")
    story.run("publish", story.engineering)
    served = story.engineering / "web/artifacts"
    before = {path.name: path.stat().st_mtime_ns for path in served.iterdir()}
    build(story, "1.1.0", previous="1.0.0", weights=(2.5, -1.0))
    story.sign("1.1.0")
    assert story.compare("1.1.0").code == 0
    story.run("publish", story.engineering)
    after = {path.name: path.stat().st_mtime_ns for path in served.iterdir()}
    assert {name: after[name] for name in before} == before
    kinds = {i.digest.sha256: str(i.kind) for i in manifest_of(story, "1.1.0").items}
    assert {kinds[name] for name in after.keys() - before.keys()} == {
        *("model", "self-test-fixtures", "self-test-specification")
    }


def test_the_role_for_models_signs_every_set(story: Any) -> None:
    """Attack: the keys of another role than that for models bring a model out in a set."""
    build(story)
    told = story.run("release", "sign", story.engineering, "pvc-classifier", "1.0.0", "--json").json
    assert told["role"] == "model"
    staged = json.loads((story.engineering / "staging/metadata/model.json").read_bytes())
    assert list(staged["signed"]["targets"]) == ["releases/pvc-classifier/1.0.0/manifest.json"]
    assert len(staged["signatures"]) == 2


WRONG: dict[str, tuple[str, str, str]] = {
    "a tree that is not there": ('tree = "app"', 'tree = "missing"', "no folder"),
    "a tree that is a file": ('tree = "app"', 'tree = "os.raucb"', "no folder"),
    "an image that is not there": ('"os.raucb"', '"missing.raucb"', "No such file"),
    "an image that is a folder": ('"os.raucb"', '"app"', "no plain file"),
    "an image that never ends": ('"os.raucb"', '"/dev/zero"', "no plain file"),
    "an empty file": ("pump/limits.json", "empty", "0 bytes"),
    "a name in capitals": ("pump/limits.json", "LIMITS", "LIMITS"),
    "two files of one name": ("pump/limits.json", "other/firmware.bin", "pump.firmware.bin"),
    "a kind that a hook does not take": ('"driver"', '"model"', "kind"),
    "an installer that nobody knows": ('"hook"', '"script"', "installer"),
    "what another installer takes": ('tree = "app"', 'image = "app"', "takes tree"),
    "two things at once": ('tree = "app"', 'tree = "app"\nimage = "os.raucb"', "takes tree"),
    "nothing at all": ('tree = "app"', "", "takes tree"),
    "an id twice": ('id = "pump"', 'id = "os"', "share an id"),
    "an id that is a path": ('id = "pump"', 'id = "../pump"', "id"),
    "an id that is too long": ('id = "pump"', f'id = "{"p" * 41}"', "id"),
    "an id that is the name of a file": ('id = "pump"', 'id = "model.onnx"', "share a name"),
    "no version": ('version = "3.4.0"', "", "version"),
    "a misspelt member": ('image = "', 'imagge = "', "imagge"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_set_that_cannot_be_built_is_told_and_leaves_nothing(story: Any, name: str) -> None:
    old, new, told = WRONG[name]
    plan = add_components(story.plan("1.0.0"))
    (plan.parent / "empty").touch()
    (plan.parent / "LIMITS").write_bytes(b"{}")
    (plan.parent / "other").mkdir()
    (plan.parent / "other/firmware.bin").write_bytes(b"more")
    text = plan.read_text()
    assert old in text
    plan.write_text(text.replace(old, new))
    answer = story.try_run("release", "build", story.engineering, plan)
    assert answer.code == 2, answer.err
    assert told in answer.err
    assert not list((story.engineering / "releases").rglob("*.raucb"))
    assert not list((story.engineering / "releases").rglob("manifest.json"))


def test_a_data_floor_above_the_release_itself_is_refused(story: Any) -> None:
    plan = add_components(story.plan("1.0.0"), first="data_floor_counter = 10001\n")
    with pytest.raises(UsageError) as caught:
        parse_settings(ReleasePlan, plan.read_bytes(), where="release.toml")
    assert "data_floor_counter" in caught.value.found


def test_a_build_that_fails_leaves_the_draft_that_was_there(story: Any) -> None:
    build(story)
    before = story.tree("engineering/releases")
    plan = add_components(story.plan("1.0.0"))
    (plan.parent / "app/link").symlink_to("bin")
    answer = story.try_run("release", "build", story.engineering, plan)
    assert (answer.code, "a symbolic link" in answer.err) == (2, True)
    assert story.tree("engineering/releases") == before


def test_a_file_of_a_set_that_changed_after_the_build_is_not_signed(story: Any) -> None:
    build(story)
    pack = story.engineering / RELEASE / "1.0.0/files/bedside-app.tree-pack"
    pack.write_bytes(pack.read_bytes()[:-1] + b"x")
    answer = story.try_run("release", "sign", story.engineering, "pvc-classifier", "1.0.0")
    assert (answer.code, answer.err.startswith("artifact.digest")) == (1, True)


def test_an_artifact_that_changes_while_it_is_published_is_never_served(
    story: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: the file is exchanged after the gates have read it and before it is copied."""
    build(story)
    story.sign("1.0.0")
    image = story.engineering / RELEASE / "1.0.0/files/os.raucb"
    before = story.tree("engineering/web")

    def gated(*given: Any, **how: Any) -> Any:
        passed = gate_release(*given, **how)
        image.write_bytes(b"x" * image.stat().st_size)
        return passed

    monkeypatch.setattr(engineering, "gate_release", gated)
    answer = story.try_run("publish", story.engineering)
    assert (answer.code, answer.err.startswith("artifact.digest")) == (3, True)
    served = {name: data for name, data in story.tree("engineering/web").items() if "meta" in name}
    assert served == {name: data for name, data in before.items() if "meta" in name}
    digest = manifest_of(story).item("os.image").digest.sha256
    assert not list((story.engineering / "web/artifacts").glob(f"*{digest}*"))
