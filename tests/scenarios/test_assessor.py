"""What an assessor sees of the story with public keys alone; nothing here holds a private key."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from primum_verifier.core.verdict import RULES

pytestmark = pytest.mark.timeout(300)

DEVICE = "wearable-001"


@pytest.fixture
def ask(
    told: Any, tmp_path: Path, run_command: Callable[..., Any]
) -> Callable[..., tuple[int, Any, str]]:
    """Runs `primum-verify` over copies of the web roots: what it needs, and nothing else."""
    for authority in ("engineering", "clinical"):
        shutil.copytree(told.folder / authority / "web", tmp_path / authority)
    provisioning = told.folder / DEVICE / "provisioning"
    shutil.copytree(provisioning, tmp_path / "provisioning")
    web = [
        *("--provisioning", str(tmp_path / "provisioning")),
        *("--engineering", str(tmp_path / "engineering")),
        *("--clinical", str(tmp_path / "clinical")),
    ]

    def run(command: str, *words: str, roots: bool = True) -> tuple[int, Any, str]:
        more = [*words, *(web if roots else [])]
        shown = run_command("primum_verifier.shell.cli", command, *more, code=None)
        done = run_command("primum_verifier.shell.cli", command, *more, "--json", code=None)
        assert shown.returncode == done.returncode
        return done.returncode, json.loads(done.stdout), shown.stdout + shown.stderr

    return run


def test_a_withdrawn_release_is_told_with_its_files_and_signatures(
    ask: Callable[..., tuple[int, Any, str]],
) -> None:
    code, found, shown = ask("release", "pvc-classifier", "1.1.0")
    assert (code, found["primary"], found["capability"]) == (1, "eligibility.withdrawn", "stage")
    counted = {item["function"] for item in found["signatures"] if item["counts"]}
    assert counted == {"clinical", "quality", "regulatory"}
    for words in ("Signatures (21 CFR 11.50)", "model.onnx", "Dr Anna Berg", "withdrawal:"):
        assert words in shown


def test_every_rule_is_explained_with_its_source_and_clause(
    ask: Callable[..., tuple[int, Any, str]],
) -> None:
    code, found, shown = ask("explain", "pvc-classifier", "1.2.0", "--phase", "activate")
    assert (code, found["primary"]) == (1, "eligibility.absent")
    assert [check["name"] for check in found["checks"]] == [rule.name for rule in RULES]
    assert all(check["source"] and check["clause"] for check in found["checks"])
    for rule in RULES:
        assert rule.name in shown


def test_another_devices_context_changes_the_answer(
    told: Any, ask: Callable[..., tuple[int, Any, str]]
) -> None:
    other = told.folder / "wearable-002" / "provisioning" / "device-context.dsse.json"
    asked = ("pvc-classifier", "1.0.0", "--phase", "continue")
    mine, theirs = (ask("explain", *asked), ask("explain", *asked, "--context", str(other)))
    assert mine[1]["engineeringView"] == theirs[1]["engineeringView"]
    assert mine[1]["release"] == theirs[1]["release"]


def test_what_time_it_is_decides(ask: Callable[..., tuple[int, Any, str]]) -> None:
    code, found, shown = ask("explain", "pvc-classifier", "1.0.0", "--at", "2099-01-01T00:00:00Z")
    assert (code, found["reason"]) == (1, "trust.expired")
    assert "remedy" in shown


def test_the_policy_names_people_and_needs(ask: Callable[..., tuple[int, Any, str]]) -> None:
    code, found, shown = ask("policy")
    assert code == 0
    assert {person["function"] for person in found["people"]} == {
        "clinical",
        "quality",
        "regulatory",
    }
    assert "to take away   2 functions" in shown


def test_trust_shows_both_roots_and_what_stands_between_them(
    ask: Callable[..., tuple[int, Any, str]],
) -> None:
    code, found, shown = ask("trust")
    assert (code, found["keysInBoth"]) == (0, 0)
    assert set(found["authorities"]) == {"engineering", "clinical"}
    assert found["authorities"]["clinical"]["rootThreshold"] == 2
    assert found["provisioning"] == {"keysBothList": 2, "threshold": 2}
    assert "keys in both   none" in shown


def test_a_pinned_root_that_was_swapped_is_refused(
    ask: Callable[..., tuple[int, Any, str]], tmp_path: Path
) -> None:
    swapped = (tmp_path / "provisioning" / "clinical.root.json").read_bytes()
    (tmp_path / "provisioning" / "engineering.root.json").write_bytes(swapped)
    code, found, _ = ask("trust")
    assert (code, found["reason"]) == (1, "trust.signature")


def test_a_change_of_the_trust_map_that_nobody_signed_is_refused(
    ask: Callable[..., tuple[int, Any, str]], tmp_path: Path
) -> None:
    context = tmp_path / "provisioning" / "device-context.dsse.json"
    code, found, _ = ask("trust", "--change", str(context))
    assert (code, found["reason"]) == (1, "trust.signature")


def test_a_tampered_file_of_a_release_is_named(
    ask: Callable[..., tuple[int, Any, str]], tmp_path: Path
) -> None:
    for path in (tmp_path / "engineering" / "artifacts").iterdir():
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    code, found, shown = ask("release", "pvc-classifier", "1.2.0")
    assert (code, found["primary"], found["capability"]) == (1, "artifact.digest", "none")
    assert "every file has its signed digest" in shown


def test_an_assessor_runs_what_the_device_ran(
    ask: Callable[..., tuple[int, Any, str]], tmp_path: Path
) -> None:
    """The model of the story, fetched and verified with public keys alone; 1.3.0 fails here too."""
    page = tmp_path / "self-test.html"
    code, found, shown = ask("selftest", "pvc-classifier", "1.1.0", "--html", str(page))
    assert (code, found["outcome"], found["release"]) == (0, "passed", "pvc-classifier 1.1.0")
    assert {one["what"] for one in found["checked"] if one["standing"] == "verified"} == {
        "manifest",
        "files",
    }
    assert found["observed"]["recorded"]["sensitivity"]["right"] == 24
    assert "24/24 1.000" in shown
    assert "<script" not in page.read_text("utf-8")
    code, found, shown = ask("selftest", "pvc-classifier", "1.3.0")
    assert (code, found["reason"]) == (1, "selftest.failed")
    assert "FAIL     numeric-agreement" in shown


def test_what_was_kept_is_drawn_as_it_was_made(
    told: Any, ask: Callable[..., tuple[int, Any, str]]
) -> None:
    """The commands of the guide over the workbench and over what a generation of a device holds."""
    release = told.folder / "engineering" / "releases" / "pvc-classifier" / "1.1.0"
    code, found, _ = ask("selftest", str(release), roots=False)
    assert (code, found["checked"][0]["standing"]) == (0, "not verified")
    kept = ("--report", str(release / "self-test.json"))
    code, stored, _ = ask("selftest", *kept, roots=False)
    assert (code, stored["report"]["subject"]) == (0, found["report"]["subject"])
    states = told.folder.glob("wearable-*/state/generations/*/manifest.json")
    for manifest in sorted(states):
        assert ask("selftest", str(manifest.parent))[1]["checked"][0]["standing"] == "verified"


def test_a_rule_is_listed_with_what_it_is_for(ask: Callable[..., tuple[int, Any, str]]) -> None:
    code, found, shown = ask("rules", roots=False)
    assert code == 0
    assert [rule["name"] for rule in found] == [rule.name for rule in RULES]
    assert all(rule["purpose"].endswith(".") and rule["clause"] for rule in found)
    assert "approvals" in shown
    code, found, _ = ask("rules", "no-such-rule", roots=False)
    assert (code, found["reason"]) == (2, "usage")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("explain", ["pvc-classifier", "1.2.0", "--agent-version", "new"]),
        ("explain", ["pvc-classifier", "1.2.0", "--installed", "runtime"]),
        ("release", ["pvc-classifier", "9.9.9"]),
        ("policy", ["nothing.json"]),
    ],
    ids=str,
)
def test_bad_input_is_told_and_nothing_breaks(
    ask: Callable[..., Any],
    run_command: Callable[..., Any],
    tmp_path: Path,
    command: str,
    words: list[str],
) -> None:
    del ask
    web = ["--provisioning", str(tmp_path / "provisioning")]
    web += [
        "--engineering",
        str(tmp_path / "engineering"),
        "--clinical",
        str(tmp_path / "clinical"),
    ]
    done = run_command("primum_verifier.shell.cli", command, *words, *web, code=None)
    assert done.returncode in {1, 2}
    assert done.stderr.strip()
