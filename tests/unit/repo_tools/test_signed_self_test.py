"""Engineering's signed word on a self-test: by the keys of releases, evidence, and no gate."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.unit.repo_tools.test_gates import COMPONENT, records

from primum_repo_tools.keys import read_public_key
from primum_verifier.core.document import sha256_hex
from primum_verifier.proof.selftest_result import Overall
from primum_verifier.proof.selftest_statement import Occasion, SelfTestStatement, open_statement


def folder_of(story: Any, version: str) -> Path:
    return Path(story.engineering) / "releases" / COMPONENT / version


def statement_of(story: Any, version: str) -> Path:
    return folder_of(story, version) / "self-test.dsse.json"


def keys_of(story: Any) -> list[Path]:
    """The public halves of the role that signs releases."""
    return sorted((Path(story.engineering) / "keys").glob("model-*.public.json"))


def opened(story: Any, version: str) -> SelfTestStatement:
    """The statement, by each key of the role on its own."""
    path = statement_of(story, version)
    data = path.read_bytes()
    (said, *others) = [
        open_statement(data, keys=(read_public_key(key),), where=path.name)
        for key in keys_of(story)
    ]
    assert others == [said], "two of two keys signed"
    manifest = (folder_of(story, version) / "manifest.json").read_bytes()
    assert said.release == sha256_hex(manifest)
    return said


def verify(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "primum_verifier.shell.cli", "selftest", *map(str, words)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_what_was_tested_before_publishing_is_signed_and_can_be_shown_to_whoever_approves(
    story: Any,
) -> None:
    story.build("1.0.0")
    story.sign("1.0.0")
    answer = story.run("publish", story.engineering, "--json").json
    assert answer["releases"][f"{COMPONENT} 1.0.0"]["self-test statement"] == "signed"
    said = opened(story, "1.0.0").predicate
    assert (said.occasion, said.tester) == (Occasion.PUBLICATION, "engineering")
    assert said.report.overall is Overall.PASSED
    kept = json.loads((folder_of(story, "1.0.0") / "self-test.json").read_bytes())
    assert kept == json.loads(said.report.to_bytes())
    (last,) = [item for item in records(story.engineering) if item["act"] == "release.published"]
    assert last["gates"]["self-test statement"] == "signed"
    path = statement_of(story, "1.0.0")
    told = verify(folder_of(story, "1.0.0"), "--report", path, "--device-key", keys_of(story)[0])
    assert told.returncode == 0, told.stderr
    assert "engineering tested pvc-classifier 1.0.0" in " ".join(told.stdout.split())
    # Clinical names it by digest among the evidence of its statement.
    prepared = story.prepare("1.0.0", "--evidence", f"self-test.dsse.json={path}", "--json")
    assert prepared.code == 0, prepared.err
    evidence = prepared.json["statement"]["predicate"]["evidence"]
    assert evidence == [
        {"name": "self-test.dsse.json", "digest": {"sha256": sha256_hex(path.read_bytes())}}
    ]


def test_a_failure_that_was_overridden_is_signed_as_a_failure(story: Any) -> None:
    """Danger: the way past a gate leaves evidence that all was well, or none."""
    story.build("1.0.0", weights=(2.0, -1.0), expected=(2.0, 1.0))
    story.sign("1.0.0")
    assert story.try_run("publish", story.engineering).code == 1
    assert opened(story, "1.0.0").predicate.report.overall is Overall.FAILED
    story.run("publish", story.engineering, "--unsafe-publish-failing-selftest")
    assert opened(story, "1.0.0").predicate.report.overall is Overall.FAILED


def test_who_holds_the_online_keys_alone_publishes_and_is_told_that_nothing_was_signed(
    story: Any,
) -> None:
    """Danger: evidence that nobody can sign here stops a correction, or is missed by nobody."""
    story.build("1.0.0")
    story.sign("1.0.0")
    for key in keys_of(story):
        key.with_name(key.name.replace(".public.json", ".pem")).unlink()
    told = story.run("publish", story.engineering).out
    assert "self-test passed" in told
    assert "self-test statement missing: " in told
    assert not statement_of(story, "1.0.0").exists()
    assert (Path(story.engineering) / "web/metadata/2.model.json").exists()


def test_a_check_signs_where_it_is_asked_to_and_says_why_it_cannot(story: Any) -> None:
    story.build("1.0.0")
    check = ("release", "check", story.engineering, COMPONENT, "1.0.0")
    story.run(*check)
    assert not statement_of(story, "1.0.0").exists()
    answer = story.run(*check, "--sign", "--json").json
    assert answer["statement"] == str(statement_of(story, "1.0.0"))
    assert opened(story, "1.0.0").predicate.report.overall is Overall.PASSED
    before = statement_of(story, "1.0.0").read_bytes()
    keys_of(story)[0].with_name("model-1.pem").unlink()
    refused = story.try_run(*check, "--sign")
    assert refused.code == 2, refused.err
    assert "model-1.pem" in refused.err
    assert statement_of(story, "1.0.0").read_bytes() == before


def test_a_statement_about_a_release_with_the_same_files_is_not_one_about_this(
    story: Any,
) -> None:
    """Attack: a release with another label, or in another set, is shown under a tested one's."""
    story.build("1.0.0")
    story.run("release", "check", story.engineering, COMPONENT, "1.0.0", "--sign")
    story.build("1.1.0")
    words = ("--report", statement_of(story, "1.0.0"), "--device-key", keys_of(story)[0])
    refused = verify(folder_of(story, "1.1.0"), *words)
    assert refused.returncode == 1
    assert "about another release" in refused.stderr
    assert verify(folder_of(story, "1.0.0"), *words).returncode == 0
