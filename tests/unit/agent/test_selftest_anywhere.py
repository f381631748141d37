"""What a device tested is tested again elsewhere: at the web roots, and in its own generation."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

COMPONENT = "pvc-classifier"
Asked = Callable[..., tuple[int, Any]]


@pytest.fixture
def selftest(in_the_field: Any) -> Asked:
    """Runs ``primum-verify selftest --json``, with the web roots unless it is told otherwise."""

    def run(*words: object, roots: bool = True) -> tuple[int, Any]:
        web = [
            *("--provisioning", in_the_field.provisioning),
            *("--engineering", in_the_field.engineering.web),
            *("--clinical", in_the_field.clinical.web),
        ]
        done = subprocess.run(
            [
                *(sys.executable, "-m", "primum_verifier.shell.cli", "selftest", "--json"),
                *map(str, [*words, *(web if roots else [])]),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert "Traceback" not in done.stderr
        return done.returncode, json.loads(done.stdout)

    return run


def standings(told: Any) -> dict[str, str]:
    return {one["what"]: one["standing"] for one in told["checked"]}


def test_a_published_release_is_verified_fetched_and_run(
    in_the_field: Any, selftest: Asked
) -> None:
    """Nobody has approved it, and that is not what is asked here."""
    digest = in_the_field.release("1.0.0", counter=1, approved_by=())
    code, told = selftest(COMPONENT, "1.0.0")
    assert (code, told["outcome"], told["release"]) == (0, "passed", "pvc-classifier 1.0.0")
    assert standings(told) == {
        "manifest": "verified",
        "files": "verified",
        "eligibility": "not verified",
    }
    assert told["checked"][0]["sha256"] == digest
    assert told["observed"]["recorded"]["cases"] == 6


def test_a_release_that_computes_something_else_fails_wherever_it_is_run(
    in_the_field: Any, selftest: Asked
) -> None:
    in_the_field.release("1.0.0", counter=1, scale=-3.0)
    code, told = selftest(COMPONENT, "1.0.0")
    assert (code, told["outcome"], told["reason"]) == (1, "failed", "selftest.failed")


def test_a_release_that_engineering_does_not_sign_is_not_run(
    in_the_field: Any, selftest: Asked
) -> None:
    in_the_field.release("1.0.0", counter=1)
    code, told = selftest(COMPONENT, "1.0.1")
    assert (code, told["reason"]) == (1, "trust.not-found")


def test_a_manifest_by_another_role_than_that_for_models_is_not_run(
    in_the_field: Any, selftest: Asked
) -> None:
    """The role that pauses rollouts cannot slip a release in."""
    from primum_verifier.core.manifest import manifest_target

    in_the_field.release("1.0.0", counter=1)
    target = manifest_target(COMPONENT, "1.0.0")
    manifest = in_the_field.engineering.files["model"].pop(target)
    in_the_field.engineering.delegated["rollout"].append("releases/*/*/manifest.json")
    in_the_field.engineering.put("rollout", target, manifest)
    in_the_field.publish()
    code, told = selftest(COMPONENT, "1.0.0")
    assert (code, told["reason"]) == (1, "trust.not-found")


@pytest.mark.parametrize("spoil", [lambda data: data[:-1] + b"!", lambda data: data[:-1]])
def test_a_file_that_a_server_changed_is_not_run(
    in_the_field: Any, selftest: Asked, spoil: Callable[[bytes], bytes]
) -> None:
    in_the_field.release("1.0.0", counter=1)
    for path in (in_the_field.engineering.web / "artifacts").iterdir():
        path.write_bytes(spoil(path.read_bytes()))
    code, told = selftest(COMPONENT, "1.0.0")
    assert (code, told["reason"]) == (1, "artifact.digest")


def test_a_file_that_a_server_withholds_cannot_be_run(in_the_field: Any, selftest: Asked) -> None:
    in_the_field.release("1.0.0", counter=1)
    shutil.rmtree(in_the_field.engineering.web / "artifacts")
    assert selftest(COMPONENT, "1.0.0")[0] == 3


def test_expired_metadata_is_refused_and_a_time_can_be_named(
    in_the_field: Any, selftest: Asked
) -> None:
    in_the_field.release("1.0.0", counter=1)
    code, told = selftest(COMPONENT, "1.0.0", "--at", "2150-01-01T00:00:00Z")
    assert (code, told["reason"]) == (1, "trust.expired")


def test_what_a_device_runs_is_held_against_what_was_signed(
    in_the_field: Any, selftest: Asked, eventually: Callable[..., Any]
) -> None:
    """The generation of a real update; then one byte of its manifest is another."""
    digest = in_the_field.release("1.0.0", counter=1)
    with in_the_field.running():
        release = eventually(in_the_field.opened)
        assert eventually(release.prove_health)
    active = in_the_field.layout.active
    before = sorted(path.name for path in active.iterdir())
    code, told = selftest(active, roots=False)
    assert (code, told["outcome"], standings(told)["manifest"]) == (0, "passed", "not verified")
    code, told = selftest(active)
    assert (code, standings(told)["manifest"]) == (0, "verified")
    assert told["checked"][0]["sha256"] == digest
    assert sorted(path.name for path in active.iterdir()) == before

    copy = in_the_field.folder / "copy"
    shutil.copytree(active, copy)
    manifest = copy / "manifest.json"
    manifest.chmod(0o600)
    manifest.write_bytes(manifest.read_bytes().replace(b'"a release"', b'"A release"'))
    code, told = selftest(copy, roots=False)
    assert (code, standings(told)["manifest"]) == (0, "not verified")
    code, told = selftest(copy)
    assert (code, told["reason"], told["expected"]) == (1, "artifact.digest", f"sha256 {digest}")
