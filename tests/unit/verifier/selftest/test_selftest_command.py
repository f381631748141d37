"""``primum-verify selftest`` as a person types it: real models, real processes, real files."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from primum_verifier.core.document import canonical_json, parse_document, sha256_hex
from primum_verifier.proof.confinement import Confinement
from primum_verifier.proof.selftest_result import SelfTestReport
from primum_verifier.shell.selftest_view import SelfTestView
from primum_verifier.shell.terminal import WIDTH

COMMAND = (sys.executable, "-m", "primum_verifier.shell.cli", "selftest")


@dataclass
class Drafted:
    """A release in a folder, as the workbench builds it, and the command over it."""

    folder: Path
    release: Any
    build: dict[str, Callable[..., Any]]
    scratch: Path
    more: dict[str, bytes] = field(default_factory=dict)
    members: dict[str, Any] = field(default_factory=dict)

    def write(self, *, under: str = "files") -> None:
        """Write the files, and the manifest that names them."""
        arrays, model = self.release.arrays, self.release.model
        files = {
            "model.onnx": ("model", model or self.build["classifier"]().SerializeToString()),
            "selftest.json": (
                "self-test-specification",
                json.dumps(self.release.spec()).encode(),
            ),
            "fixtures.npz": ("self-test-fixtures", self.build["npz"](arrays)),
            **{name: ("threshold-set", data) for name, data in self.more.items()},
        }
        (self.folder / under).mkdir(parents=True, exist_ok=True)
        for name, (_, data) in files.items():
            (self.folder / under / name).write_bytes(data)
        manifest = {
            "type": "urn:primum:release-manifest:v0.1",
            "schemaVersion": "0.1",
            "id": f"urn:uuid:{uuid.uuid4()}",
            "issuedAt": "2026-01-01T00:00:00Z",
            "bundle": {
                "component": "pvc-classifier", "version": "1.2.3", "releaseCounter": 3,
                "track": "model", "createdAt": "2026-01-01T00:00:00Z",
            },
            "items": [
                {
                    "id": name.partition(".")[0], "kind": kind, "path": name,
                    "length": len(data), "digest": {"sha256": sha256_hex(data)},
                }
                for name, (kind, data) in files.items()
            ],
            "compatibility": {"hardware": ["cardiowear-2"], "minAgentVersion": "0.1.0"},
            "installer": "model",
            "selfTest": {"specification": "selftest", "fixtures": "fixtures"},
            "activation": {"healthWindowSeconds": 60, "maxAttempts": 3},
            "rollback": {"floorCounter": 1},
            "labelling": {"ifuVersion": "1", "udiDi": "01234", "summary": "s"},
            "maxStage": "production",
            "intendedUse": {"sha256": "ab" * 32},
            "changeTier": "minor",
            **self.members,
        }  # fmt: skip
        (self.folder / "manifest.json").write_bytes(canonical_json(manifest))

    def run(
        self, *words: object, code: int | None = None, **extra: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the command over the folder, or with other words; nothing may be left behind."""
        done = subprocess.run(
            [*COMMAND, *map(str, words or (self.folder,))],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, "TMPDIR": str(self.scratch), **extra},
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert list(self.scratch.iterdir()) == [], "something was left behind"
        if code is not None:
            assert done.returncode == code, done.stdout + done.stderr
        return done

    def json(self, *words: object, code: int = 0) -> Any:
        """The same, read by a program."""
        done = self.run(*(words or (self.folder,)), "--json", code=code)
        assert done.stderr == ""
        return json.loads(done.stdout)


@pytest.fixture
def draft(release: Any, tmp_path: Path, build: dict[str, Callable[..., Any]]) -> Drafted:
    """A release that passes, as a folder of the workbench."""
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    made = Drafted(tmp_path / "draft", release, build, scratch)
    made.write()
    return made


def test_a_release_that_passes_is_drawn(draft: Drafted, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = draft.run(draft.folder, "--html", page, code=0)
    lines = done.stdout.splitlines()
    assert lines[0] == "pvc-classifier 1.2.3: passed"
    assert max(map(len, lines)) <= WIDTH
    assert "\x1b" not in done.stdout
    assert done.stderr == ""
    for words in ("Tests", "Deviation from", "Decisions by cohort", "Latency", "Confinement"):
        assert f"  {words}" in done.stdout
    text = page.read_text("utf-8")
    assert "Self-test of pvc-classifier 1.2.3" in text
    assert text.count("<svg") >= 2


def test_what_was_verified_and_what_was_not_is_said(draft: Drafted) -> None:
    found = {one["what"]: one for one in draft.json()["checked"]}
    manifest = sha256_hex((draft.folder / "manifest.json").read_bytes())
    assert found["manifest"]["sha256"] == manifest
    assert found["manifest"]["standing"] == "not verified"
    assert found["files"]["standing"] == "verified"
    assert found["files"]["found"].startswith("3 of 3 have the digest")
    assert found["eligibility"]["standing"] == "not verified"


def test_json_holds_the_report_that_a_device_would_keep(draft: Drafted) -> None:
    told = draft.json()
    report = parse_document(SelfTestReport, canonical_json(told["report"]), where="report")
    assert (told["outcome"], str(report.overall)) == ("passed", "passed")
    assert [test.id for test in report.tests][:2] == ["bytes", "loads"]
    assert told["observed"]["latencies"]["runs"] >= 12
    assert parse_document(SelfTestView, canonical_json(told), where="view").exit_code == 0


def test_a_model_that_computes_something_else_fails(draft: Drafted) -> None:
    draft.release.model = draft.build["classifier"](scale=-3.0).SerializeToString()
    draft.write()
    done = draft.run(code=1)
    assert done.stdout.startswith("pvc-classifier 1.2.3: failed (selftest.failed)")
    assert "FAIL     numbers: numeric, mandatory" in done.stdout
    assert "FAIL     decisions: functional, mandatory" in done.stdout
    told = draft.json(code=1)
    assert (told["outcome"], told["reason"]) == ("failed", "selftest.failed")
    assert not all(one["agrees"] for one in told["observed"]["shares"])


def test_a_model_that_cannot_be_loaded_fails_without_numbers(draft: Drafted) -> None:
    draft.release.model = b"\x08\x08no model"
    draft.write()
    told = draft.json(code=1)
    assert told["outcome"] == "failed"
    assert "observed" not in told
    assert "No values of single cases" in draft.run(code=1).stdout


def test_a_test_that_does_not_end_could_not_be_run(draft: Drafted) -> None:
    """Nothing was learnt about the release: 3, and never 0 or 1."""
    draft.release.model = draft.build["hanging"]().SerializeToString()
    draft.release.changes = {"totalTimeLimitSeconds": 1}
    draft.write()
    told = draft.json(code=3)
    assert (told["outcome"], told["reason"]) == ("incomplete", "selftest.timeout")


@pytest.mark.parametrize("name", ["model.onnx", "selftest.json", "fixtures.npz", "limits.json"])
def test_a_file_that_the_manifest_does_not_name_is_not_run(draft: Drafted, name: str) -> None:
    """Also one that no self-test needs: a release is whole or it is another one."""
    draft.more = {"limits.json": b'{"threshold":"0.5"}'}
    draft.write()
    path = draft.folder / "files" / name
    whole = path.read_bytes()
    for spoilt in (whole + b" ", whole[:-1] + bytes([whole[-1] ^ 1])):
        path.write_bytes(spoilt)
        told = draft.json(code=1)
        assert (told["outcome"], told["reason"]) == ("error", "artifact.digest")
        assert told["where"] == name
        assert "Nothing was run" in told["remedy"]


def test_a_length_that_is_not_the_files_is_not_run(draft: Drafted) -> None:
    """A device refuses such a release too, whatever its digests are."""
    path = draft.folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["items"][0]["length"] += 1
    path.write_bytes(canonical_json(manifest))
    assert draft.json(code=1)["reason"] == "artifact.digest"


@pytest.mark.parametrize("name", ["model.onnx", "selftest.json", "fixtures.npz"])
def test_a_file_of_the_self_test_that_is_missing_is_named(draft: Drafted, name: str) -> None:
    (draft.folder / "files" / name).unlink()
    told = draft.json(code=1)
    assert (told["reason"], told["found"]) == ("artifact.digest", "no file")
    assert told["expected"].startswith(name)


def test_a_file_that_is_not_needed_and_not_there_is_said(draft: Drafted) -> None:
    draft.more = {"limits.json": b"{}"}
    draft.write()
    (draft.folder / "files" / "limits.json").unlink()
    found = {one["what"]: one["found"] for one in draft.json()["checked"]}
    assert found["files"].startswith("3 of 4 have")
    assert found["files"].endswith("not in this folder: limits.json")


def test_a_file_that_leads_out_of_the_folder_is_not_followed(draft: Drafted) -> None:
    path = draft.folder / "files" / "model.onnx"
    path.rename(draft.folder.parent / "elsewhere.onnx")
    path.symlink_to(draft.folder.parent / "elsewhere.onnx")
    assert draft.json(code=3)["reason"] == "transport.insecure"


def test_a_generation_on_a_device_is_tested_where_it_lies(draft: Drafted, tmp_path: Path) -> None:
    """Its files stand beside the manifest, and `active` is a link to it."""
    draft.folder = tmp_path / "state" / "generations" / "7"
    draft.write(under="")
    link = tmp_path / "state" / "active"
    link.symlink_to("generations/7")
    assert draft.json(link)["outcome"] == "passed"


@pytest.mark.parametrize("kept", [b"", b"{", b"[]", b'{"type":"urn:primum:release-manifest:v0.1"}'])
def test_a_manifest_that_is_none_is_refused(draft: Drafted, kept: bytes) -> None:
    (draft.folder / "manifest.json").write_bytes(kept)
    assert draft.json(code=1)["reason"] == "document.invalid"


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("no-such-folder",),
        ("pvc-classifier", "1.2.3"),
        ("pvc-classifier", "1.2.3", "--provisioning", "somewhere"),
        ("--report", "no-such-file"),
    ],
)
def test_a_release_that_is_not_named_is_a_wrong_call(
    draft: Drafted, words: tuple[str, ...]
) -> None:
    assert draft.json(*words or ("--json",), code=2)["reason"] == "usage"


def test_a_release_is_held_against_the_earlier_ones(draft: Drafted) -> None:
    """The previous release counts as the active one; --active names another."""
    previous, original, another = ("11" * 32, "22" * 32, "33" * 32)
    arrays = draft.release.arrays
    right = arrays["label"].copy()
    arrays["label"][0] = 1 - arrays["label"][0]  # decided wrongly, as signed
    arrays[f"decision.{previous}"] = arrays[f"decision.{original}"] = arrays["expected_decision"]
    arrays[f"decision.{another}"] = arrays["label"].copy()
    assert (right != arrays["label"]).sum() == 1
    draft.members = {"previous": {"sha256": previous}, "original": {"sha256": original}}
    tests = draft.release.spec()["tests"]
    tests[4]["noWorseThan"] = ["active", "original"]
    draft.release.changes = {"tests": tests}
    draft.write()
    told = draft.json()
    named = {one["baseline"]: one["release"] for one in told["observed"]["baselines"]}
    assert named == {"active": previous, "original": original}
    assert told["report"]["active"]["sha256"] == previous
    told = draft.json(draft.folder, "--active", another, code=1)
    assert told["observed"]["baselines"][0]["release"] == another
    assert "worse than the active release" in told["report"]["summary"]
    assert "--active" in draft.run(draft.folder, "--active", "AB" * 32, code=2).stderr


@pytest.mark.parametrize("bench", ["''", "'one"])
def test_a_bench_that_is_no_command_is_a_wrong_call(draft: Drafted, bench: str) -> None:
    assert "--bench" in draft.run(draft.folder, "--bench", bench, code=2).stderr


def test_a_stored_report_is_drawn_without_running_anything(draft: Drafted, tmp_path: Path) -> None:
    ran = draft.json()
    kept = tmp_path / "self-test.json"
    kept.write_bytes(canonical_json(ran["report"]))
    told = draft.json("--report", kept)
    assert told["report"] == ran["report"]
    assert "observed" not in told
    assert [one["standing"] for one in told["checked"]] == ["not verified"]
    shown = draft.run("--report", kept, "--html", tmp_path / "page.html", code=0).stdout
    assert shown.startswith("pvc-classifier: passed")
    assert "No values of single cases" in (tmp_path / "page.html").read_text("utf-8")


def test_what_json_wrote_is_drawn_again_to_the_letter(draft: Drafted, tmp_path: Path) -> None:
    kept = tmp_path / "all.json"
    kept.write_text(draft.run(draft.folder, "--json", "--html", tmp_path / "1.html").stdout)
    again = draft.run("--report", kept, draft.folder, "--html", tmp_path / "2.html", code=0)
    first, second = (
        re.sub(r'(?s)<section id="checked">.*?</section>', "", path.read_text("utf-8"))
        for path in (tmp_path / "1.html", tmp_path / "2.html")
    )
    assert first == second
    assert "who made it was not verified" in again.stdout


def test_a_stored_file_cannot_say_what_was_verified(draft: Drafted, tmp_path: Path) -> None:
    """What it claims to have been verified was verified by nobody here."""
    told = draft.json()
    for one in told["checked"]:
        one["standing"] = "verified"
    told["release"] = "another-release 9.9.9"
    kept = tmp_path / "all.json"
    kept.write_bytes(canonical_json(told))
    again = draft.json("--report", kept)
    assert [one["standing"] for one in again["checked"]] == ["not verified"]
    assert "release" not in again


def test_a_report_cannot_say_another_outcome_than_its_own(draft: Drafted, tmp_path: Path) -> None:
    told = draft.json()
    told["report"]["overall"] = "failed"
    kept = tmp_path / "all.json"
    kept.write_bytes(canonical_json(told))
    assert draft.json("--report", kept, code=1)["outcome"] == "failed"


def test_a_report_is_held_against_the_release_that_it_is_about(
    draft: Drafted, tmp_path: Path
) -> None:
    kept = tmp_path / "self-test.json"
    kept.write_bytes(canonical_json(draft.json()["report"]))
    told = draft.json("--report", kept, draft.folder)
    assert told["release"] == "pvc-classifier 1.2.3"
    standings = {one["what"]: one["standing"] for one in told["checked"]}
    assert (standings["report"], standings["subject"]) == ("not verified", "verified")
    draft.release.model = draft.build["classifier"](scale=1.001).SerializeToString()
    draft.write()
    told = draft.json("--report", kept, draft.folder, code=1)
    assert (told["reason"], told["where"]) == ("artifact.digest", "model.onnx")


@pytest.mark.parametrize("kept", [b"", b"{}", b"[]", b'{"report":{}}', b'{"report":1}'])
def test_a_file_that_is_no_report_is_refused(draft: Drafted, tmp_path: Path, kept: bytes) -> None:
    path = tmp_path / "kept.json"
    path.write_bytes(kept)
    assert draft.json("--report", path, code=1)["reason"] == "document.invalid"


def test_a_confinement_that_is_asked_for_and_not_held_runs_nothing(
    draft: Drafted, tmp_path: Path
) -> None:
    """The bench is told what it must hold; one that cannot says so before it opens the model."""
    bench = tmp_path / "bench.py"
    bench.write_text(
        "import json, os, sys\n"
        "asked = json.loads(sys.stdin.buffer.readline())['required']\n"
        "said = {'frame': 'unable', 'problem': 'confinement', 'text': ' '.join(asked)}\n"
        "os.write(int(sys.argv[1]), json.dumps(said).encode() + b'\\n')\n"
    )
    words = ("--bench", f"{sys.executable} {bench}", "--require", "landlock")
    told = draft.json(draft.folder, *words, "--require", "seccomp", code=3)
    assert (told["outcome"], told["reason"]) == ("error", "selftest.incomplete")
    assert {"landlock", "seccomp", "rlimits"} <= set(told["found"].split())
    assert "landlock" in draft.run(draft.folder, "--require", "no-such", code=2).stderr


def test_what_the_bench_held_is_told(draft: Drafted) -> None:
    told = draft.json(draft.folder, "--require", "rlimits")
    held = told["report"]["environment"]["confinements"]
    shown = draft.run(code=0).stdout.split("  Confinement\n")[1].split("  Where it ran")[0]
    assert {name for name in Confinement if name in held} <= set(re.split(r"[\s,]+", shown))


def test_a_page_that_cannot_be_written_is_told(draft: Drafted, tmp_path: Path) -> None:
    told = draft.json(draft.folder, "--html", tmp_path / "no" / "page.html", code=3)
    assert told["reason"] == "resource.storage"


@pytest.mark.parametrize(
    ("extra", "coloured"),
    [({"TERM": "xterm"}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colours_are_for_a_person_who_wants_them(
    draft: Drafted, extra: dict[str, str], coloured: bool
) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "TMPDIR": str(draft.scratch), **extra}
    if "NO_COLOR" not in extra:
        environment.pop("NO_COLOR", None)
    kept = draft.scratch.parent / "kept.json"
    kept.write_bytes(canonical_json(draft.json()["report"]))
    process = subprocess.Popen([*COMMAND, "--report", str(kept)], stdout=theirs, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:
        pass  # the other side is gone: everything was read
    os.close(ours)
    assert process.wait(timeout=60) == 0
    assert (b"\x1b[" in shown) == coloured
