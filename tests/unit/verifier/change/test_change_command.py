"""``primum-verify plan`` as a person types it: on files, and out of both web roots."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from primum_verifier.change.answer import ADVICE
from primum_verifier.change.plan import PLAN_TARGET
from primum_verifier.core.document import canonical_json, sha256_hex
from primum_verifier.shell import cli

AT = ("--at", "2026-06-01T12:00:00Z")


def write(folder: Path, case: Any) -> None:
    """Every paper of a case as a file."""
    case.link()
    folder.mkdir(exist_ok=True)
    papers = {
        "plan": case.plan,
        "base": case.base,
        "original": case.original,
        "candidate": case.candidate,
        "change": case.change,
        "history": case.history(),
        **{f"report-{place}": report for place, report in enumerate(case.reports)},
    }
    for name, content in papers.items():
        if content is not None:
            (folder / f"{name}.json").write_bytes(canonical_json(content))


def words(folder: Path, case: Any) -> list[str]:
    """The command line over the files of a case."""
    found = [str(folder / "plan.json"), *papers(folder, case)]
    for name in ("candidate", "base", "original"):
        found += [f"--{name}", str(folder / f"{name}.json")]
    return found


def papers(folder: Path, case: Any) -> list[str]:
    found = ["--change", str(folder / "change.json"), "--jurisdiction", case.jurisdiction, *AT]
    if case.entries is not None:
        found += ["--history", str(folder / "history.json")]
    for place in range(len(case.reports)):
        found += ["--report", str(folder / f"report-{place}.json")]
    return found


@pytest.fixture
def plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Any]]:
    """Write a case, run the command over its files, and read its JSON."""

    def run(case: Any, *more: str) -> tuple[int, Any]:
        write(tmp_path / "papers", case)
        code = cli.main(["plan", "--json", *words(tmp_path / "papers", case), *more])
        return code, json.loads(capsys.readouterr().out)

    return run


def test_a_change_within_its_plan_ends_with_0_and_all_its_evidence(
    case: Any, plan: Callable[..., tuple[int, Any]]
) -> None:
    code, told = plan(case)
    assert (code, told["outcome"], told["answer"]) == (0, "consistent", "consistent")
    assert told["advice"] == ADVICE
    assert told["plan"]["sha256"] == sha256_hex(canonical_json(case.plan))
    assert told["releases"]["candidate"]["name"] == "pvc-classifier 1.2.0"
    assert told["tierFloor"] == "minor"
    assert len(told["checks"]) == len(case.ask().checks)
    assert {item["outcome"] for item in told["checks"]} == {"satisfied"}


def test_a_change_outside_its_plan_ends_with_1(
    case: Any, plan: Callable[..., tuple[int, Any]]
) -> None:
    case.jurisdiction = "FR"
    code, told = plan(case)
    assert (code, told["outcome"], told["primary"]) == (1, "not-listed", "pccp.inconsistent")
    case.jurisdiction = "DE"
    case.entries = None
    code, told = plan(case)
    assert (code, told["outcome"]) == (1, "protocol-not-followed")


def test_people_read_each_rule_with_its_evidence_and_that_it_is_advice(
    case: Any, tmp_path: Path
) -> None:
    """Also that a document's words never steer the terminal they are shown on."""
    case.plan["title"] = "a plan\x1b[2J that clears"
    case.plan["colour"] = "green"
    case.change["guardrails"][0]["value"] = "199"
    write(tmp_path, case)
    done = subprocess.run(
        [sys.executable, "-m", "primum_verifier.shell.cli", "plan", *words(tmp_path, case)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert lines[0] == (
        "pvc-classifier 1.2.0 in DE: not-listed (guardrail:retrain:training-patients)"
    )
    assert "\x1b" not in done.stdout
    assert "colour" in done.stdout
    assert lines[-1] == ADVICE
    row = next(n for n, line in enumerate(lines) if "NO  guardrail" in line)
    assert [line.split() for line in lines[row + 1 : row + 3]] == [
        ["found:", "199"],
        ["expected:", "200", "to", "5000"],
    ]


@pytest.mark.parametrize(
    ("drop", "more"),
    [
        ("--jurisdiction", ["--jurisdiction", "eu"]),
        ("--change", []),
        ("--candidate", []),
        ("--at", ["--at", "2026-06-01T12:00:00"]),
    ],
)
def test_a_command_that_is_not_whole_is_a_usage_error(
    case: Any, tmp_path: Path, drop: str, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, case)
    line = words(tmp_path, case)
    place = line.index(drop)
    with pytest.raises(SystemExit) as ended:
        cli.main(["plan", *line[:place], *line[place + 2 :], *more])
    assert ended.value.code == 2
    capsys.readouterr()


def test_where_the_plan_comes_from_is_said_in_one_way(
    case: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, case)
    line = words(tmp_path, case)
    web = ["--provisioning", "p", "--engineering", "e", "--clinical", "c"]
    for wrong in (line[1:], [*line, *web], [*line[1:], *web[:4]]):
        assert cli.main(["plan", *wrong]) == 2
        assert "is not stated in one way" in capsys.readouterr().err
    assert cli.main(["plan", *line, *["--report", "r"] * 51]) == 2
    assert cli.main(["plan", str(tmp_path / "nothing"), *line[1:]]) == 2


@pytest.mark.parametrize("name", ["plan", "base", "change", "history", "report-0"])
def test_a_paper_that_is_none_is_refused_by_name(
    case: Any, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, case)
    (tmp_path / f"{name}.json").write_bytes(b'{"type": "something"}')
    assert cli.main(["plan", "--json", *words(tmp_path, case)]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["reason"], told["where"]) == ("document.invalid", f"{name}.json")


class Web:
    """Both authorities as folders of plain files, and the folder that pins their roots."""

    def __init__(self, folder: Path, make_repository: Callable[[], Any], case: Any) -> None:
        self.folder = folder
        self.engineering, self.clinical = make_repository(), make_repository()
        case.link()
        for release in (case.original, case.base, case.candidate):
            bundle = release["bundle"]
            self.engineering.add_target(
                f"releases/{bundle['component']}/{bundle['version']}/manifest.json",
                canonical_json(release),
                role="model",
            )
        self.clinical.add_target(PLAN_TARGET, canonical_json(case.plan))
        pins = folder / "provisioning"
        pins.mkdir(parents=True)
        roots = {}
        for name in ("engineering", "clinical"):
            root = getattr(self, name).root_bytes
            (pins / f"{name}.root.json").write_bytes(root)
            roots[f"{name}Root"] = {"sha256": sha256_hex(root)}
        (pins / "trust-map.json").write_bytes(
            canonical_json(
                {
                    "type": "urn:primum:trust-map:v0.1",
                    "schemaVersion": "0.1",
                    "id": "urn:uuid:" + "1" * 36,
                    "number": 1,
                    "issuedAt": "2026-01-01T00:00:00Z",
                    "stage": "production",
                    "component": "pvc-classifier",
                    **roots,
                }
            )
        )

    def publish(self) -> None:
        for name in ("engineering", "clinical"):
            repository = getattr(self, name)
            repository.publish()
            for url, data in repository.fetcher.files.items():
                path = self.folder / name / unquote(urlsplit(url).path).lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)

    def words(self) -> list[str]:
        found = []
        for name in ("provisioning", "engineering", "clinical"):
            found += [f"--{name}", str(self.folder / name)]
        for name, version in (("candidate", "1.2.0"), ("base", "1.1.0"), ("original", "1.0.0")):
            found += [f"--{name}", f"pvc-classifier/{version}"]
        return found


@pytest.fixture
def web(tmp_path: Path, repository: Any, case: Any) -> Web:
    return Web(tmp_path / "web", type(repository), case)


def ask(
    tmp_path: Path, web: Web, case: Any, capsys: pytest.CaptureFixture[str]
) -> tuple[int, dict[str, Any]]:
    web.publish()
    write(tmp_path / "papers", case)
    code = cli.main(["plan", "--json", *web.words(), *papers(tmp_path / "papers", case)])
    return code, json.loads(capsys.readouterr().out)


def test_plan_and_releases_are_read_out_of_web_roots_with_public_keys_alone(
    tmp_path: Path, web: Web, case: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = ask(tmp_path, web, case, capsys)
    assert (code, told["outcome"]) == (0, "consistent")
    sources = {item["source"] for item in told["checks"]}
    assert any(source.startswith(PLAN_TARGET) for source in sources)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"web", "papers"}


def test_a_plan_that_clinical_does_not_sign_is_no_plan(
    tmp_path: Path, web: Web, case: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    del web.clinical.targets.targets[PLAN_TARGET]
    code, told = ask(tmp_path, web, case, capsys)
    assert (code, told["reason"], told["where"]) == (1, "trust.not-found", PLAN_TARGET)


def test_a_plan_signed_by_a_delegated_role_is_no_plan(
    tmp_path: Path, web: Web, case: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key that is near the network must not widen what an authority allowed."""
    info = web.clinical.targets.targets.pop(PLAN_TARGET)
    web.clinical.targets.delegations.roles["model"].paths.append("policy/*")
    web.clinical.model.targets[PLAN_TARGET] = info
    code, told = ask(tmp_path, web, case, capsys)
    assert (code, told["reason"], told["where"]) == (1, "trust.not-found", PLAN_TARGET)


def test_a_plan_with_other_bytes_than_were_signed_is_refused(
    tmp_path: Path, web: Web, case: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for url in web.clinical.fetcher.files:
        if "change-control-plan" in url:
            web.clinical.fetcher.files[url] = b"x" * len(web.clinical.fetcher.files[url])
    code, told = ask(tmp_path, web, case, capsys)
    assert (code, told["reason"]) == (1, "artifact.digest")


def test_a_release_that_engineering_does_not_sign_is_none(
    tmp_path: Path, web: Web, case: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    del web.engineering.model.targets["releases/pvc-classifier/1.1.0/manifest.json"]
    code, told = ask(tmp_path, web, case, capsys)
    assert (code, told["reason"], told["where"]) == (1, "trust.not-found", "pvc-classifier 1.1.0")


def test_a_release_needs_component_and_version(
    tmp_path: Path, web: Web, case: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    web.publish()
    write(tmp_path / "papers", case)
    line = [*web.words(), *papers(tmp_path / "papers", case)]
    assert cli.main(["plan", *line, "--base", "1.1.0"]) == 2
    assert "COMPONENT/VERSION" in capsys.readouterr().err


def test_a_site_that_is_left_out_or_silent_keeps_nobody_from_reading_a_plan(
    tmp_path: Path, web: Web, case: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A site only narrows what runs; the plan is clinical's."""
    pins = web.folder / "provisioning"
    root = web.clinical.root_bytes
    content = json.loads((pins / "trust-map.json").read_bytes())
    content["siteRoot"] = {"sha256": sha256_hex(root)}
    (pins / "trust-map.json").write_bytes(canonical_json(content))
    assert ask(tmp_path, web, case, capsys)[0] == 0
    (pins / "site.root.json").write_bytes(root)
    line = [*web.words(), *papers(tmp_path / "papers", case), "--site", str(tmp_path / "silent")]
    assert cli.main(["plan", *line]) == 0
    (pins / "site.root.json").write_bytes(web.engineering.root_bytes)
    assert cli.main(["plan", *line]) == 1
    assert capsys.readouterr().err.startswith("trust.signature")


def test_a_root_that_the_map_does_not_pin_is_refused(
    tmp_path: Path, web: Web, case: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (web.folder / "provisioning" / "clinical.root.json").write_bytes(web.engineering.root_bytes)
    code, told = ask(tmp_path, web, case, capsys)
    assert (code, told["reason"]) == (1, "trust.signature")
