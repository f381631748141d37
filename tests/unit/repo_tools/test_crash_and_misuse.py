"""Interrupted at every write, called wrongly, locked out: the old state stands, the next works."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primum_repo_tools import files
from primum_repo_tools.cli import main
from primum_repo_tools.moments import parse_life, parse_moment
from primum_repo_tools.reading import read_web
from primum_verifier.core.errors import PrimumError, UsageError
from primum_verifier.shell import durable
from primum_verifier.shell.trust_store import MemoryTrustStore
from primum_verifier.shell.tuf_views import stored_view

COMPONENT = "pvc-classifier"


class Cut(BaseException):
    """The power went: nothing below may catch it."""


def versions(web: Path, authority: str) -> dict[str, int]:
    """What a device sees in a web root, by its own client; fails if that is not whole."""
    root = (web / "metadata/1.root.json").read_bytes()
    now = datetime.now(UTC).replace(microsecond=0)
    store = MemoryTrustStore()
    with read_web(web, authority=authority, root=root, store=store, now=now) as session:
        for name in (
            f"releases/{COMPONENT}/1.0.0/manifest.json", "eligibility/index.json",
            "rollout/plan.json", "policy/approval-policy.json", "provisioning/keys.json",
            "safety/notices.jsonl",
        ):  # fmt: skip
            session.document(name)
    view = stored_view(authority, store.load())
    assert view is not None
    return {name: state.version for name, state in view.roles.items()}


def cut_after(monkeypatch: pytest.MonkeyPatch, count: int) -> list[Path]:
    """Let ``count`` writes pass, then cut the power in front of the next one."""
    written: list[Path] = []
    whole = durable.write_file

    def write_file(path: Path, *rest: Any, **more: Any) -> None:
        if len(written) == count:
            raise Cut
        written.append(path)
        whole(path, *rest, **more)

    monkeypatch.setattr(files, "write_file", write_file)
    return written


def test_publishing_cut_at_every_write_shows_the_old_or_the_new(
    story: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For each write of publish: before the timestamp the old state, then the new, never half."""
    story.build("1.0.0")
    story.sign("1.0.0")
    start = shutil.copytree(story.engineering, story.folder / "start")
    old = versions(story.engineering / "web", "engineering")
    cuts = 0
    for count in range(100):
        shutil.rmtree(story.engineering)
        shutil.copytree(start, story.engineering)
        with monkeypatch.context() as patch:
            cut_after(patch, count)
            try:
                code = main(["publish", str(story.engineering)])
            except Cut:
                code = -1
        if code == 0:
            break
        cuts += 1
        seen = versions(story.engineering / "web", "engineering")
        done = seen["timestamp"] > old["timestamp"]
        assert done == (seen.get("model", 0) > old.get("model", 0))
        again = story.try_run("publish", story.engineering)
        assert again.code == 0 or done, again.err
        new = versions(story.engineering / "web", "engineering")
        assert new["timestamp"] == old["timestamp"] + 1
    assert cuts > 8, "the loop must have met every kind of write"


def test_creating_an_authority_cut_at_every_write_can_be_finished(
    story: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [story.folder / f"station-{i}/provisioning.public.json" for i in (1, 2)]
    options = [item for key in keys for item in ("--provisioning-key", str(key))]
    for count in range(0, 100, 7):
        folder = story.folder / f"cut-{count}"
        story.run("init", folder, "--authority", "clinical")
        with monkeypatch.context() as patch:
            cut_after(patch, count)
            try:
                code = main(["authority", "create", str(folder), *options])
            except Cut:
                code = -1
        if code == 0:
            break
        again = story.try_run("authority", "create", folder, *options)
        assert again.code == 0 or "exists already" in again.err
        assert versions(folder / "web", "clinical")["timestamp"] == 1


def test_a_withdrawal_cut_at_every_write_is_obeyed_or_absent(
    published: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notice comes first and alone, then the index, then the policy that burns."""
    start = shutil.copytree(published.clinical, published.folder / "start")
    people = [published.folder / "people" / name for name in ("a.berg", "q.lee")]
    command = [
        "withdraw", published.clinical, "--component", COMPONENT, "--version", "1.0.0",
        "--reason", "x", "--hazard", "HAZ-1", "--yes", "--as", people[0], "--as", people[1],
    ]  # fmt: skip
    web = published.clinical / "web"
    old = versions(web, "clinical")
    stages = set()
    for count in range(100):
        shutil.rmtree(published.clinical)
        shutil.copytree(start, published.clinical)
        with monkeypatch.context() as patch:
            cut_after(patch, count)
            try:
                code = main([str(item) for item in command])
            except Cut:
                code = -1
        if code == 0:
            break
        seen = versions(web, "clinical")
        roles = ("safety", "eligibility", "targets")
        noticed, listed, burned = (seen[role] - old[role] for role in roles)
        assert noticed >= listed >= burned
        stages.add((noticed, listed, burned))
        published.run("authority", "refresh", published.clinical)
        after = versions(web, "clinical")
        for role in roles:
            assert after[role] == seen[role], "refresh can change nothing else"
        published.run(*command)
        again = versions(web, "clinical")
        for role in ("eligibility", "targets"):
            assert again[role] == old[role] + 1, "the same command finishes what was begun"
    assert stages == {(0, 0, 0), (1, 0, 0), (1, 1, 0)}, "the last write shows the policy"
    whole = versions(web, "clinical")
    assert whole["safety"] == old["safety"] + 1
    assert whole["eligibility"] == old["eligibility"] + 1, "the index says it as well"
    assert whole["targets"] == old["targets"] + 1, "and the policy burns the statement"


def test_a_second_command_at_the_same_time_is_told_to_wait(story: Any) -> None:
    with (story.engineering / ".lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        answer = story.try_run("authority", "refresh", story.engineering, "--json")
    assert answer.code == 4
    assert answer.json["error"]["reason"] == "state.busy"
    story.run("authority", "refresh", story.engineering)


@pytest.mark.parametrize("passphrase", ["wrong passphrase", "short", ""])
def test_a_wrong_passphrase_changes_nothing(
    story: Any, monkeypatch: pytest.MonkeyPatch, passphrase: str
) -> None:
    monkeypatch.setenv("PRIMUM_PASSPHRASE", passphrase)
    before = story.tree("engineering")
    answer = story.try_run("authority", "refresh", story.engineering)
    assert answer.code == 2
    assert "passphrase" in answer.err
    assert story.tree("engineering") == before


def test_no_passphrase_and_nobody_to_ask(story: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRIMUM_PASSPHRASE")
    answer = story.try_run("authority", "refresh", story.engineering)
    assert answer.code == 2
    assert "--passphrase-file" in answer.err


def test_a_passphrase_comes_from_a_file(
    story: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "passphrase"
    path.write_text(os.environ["PRIMUM_PASSPHRASE"] + "\n")
    monkeypatch.setenv("PRIMUM_PASSPHRASE", "another one entirely")
    story.run("authority", "refresh", story.engineering, "--passphrase-file", path)


def test_a_missing_key_is_named(story: Any) -> None:
    (story.engineering / "keys/online-1.pem").unlink()
    answer = story.try_run("authority", "refresh", story.engineering)
    assert answer.code == 2
    assert "keys/online-1.pem" in answer.err


def test_a_key_of_another_role_does_not_publish(story: Any) -> None:
    """The device's client is asked at the end; what it refuses is a failure, aloud."""
    keys = story.clinical / "keys"
    shutil.copy(keys / "safety-1.pem", keys / "eligibility-1.pem")
    answer = story.try_run("authority", "renew", story.clinical, "--role", "eligibility")
    assert answer.code == 3
    assert "refused by the client" in answer.err


def test_private_keys_are_encrypted_and_their_owner_s_alone(story: Any) -> None:
    found = [*story.folder.rglob("*.pem")]
    assert len(found) > 15
    for path in found:
        assert path.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
        assert path.stat().st_mode & 0o077 == 0


def test_no_key_serves_two_roles_or_both_authorities(story: Any) -> None:
    publics = [
        json.loads(path.read_bytes())["public"] for path in story.folder.rglob("*.public.json")
    ]
    assert len(set(publics)) == len(publics)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"file:keys/model-2.pem"', '"file:keys/root-1.pem"'),
        ('"file:keys/model-2.pem"', '"file:keys/model-1.pem"'),
        ('"file:keys/model-2.pem"', '"https://example.org/key"'),
        ("threshold = 2\nlife_days = 90", "threshold = 3\nlife_days = 90"),
        ("[roles.rollout]", "[roles.rolout]"),
        ('authority = "engineering"', 'authority = "clinical"'),
        ("schema_version", "schema_version ="),
    ],
)
def test_wrong_settings_are_a_usage_error(story: Any, old: str, new: str) -> None:
    path = story.engineering / "workbench.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    answer = story.try_run("status", story.engineering)
    assert answer.code == 2
    assert "workbench.toml" in answer.err


def test_an_address_that_leaves_the_workbench_is_refused(story: Any) -> None:
    path = story.engineering / "workbench.toml"
    path.write_text(path.read_text().replace("keys/online-1.pem", "../clinical/keys/online-1.pem"))
    answer = story.try_run("authority", "refresh", story.engineering)
    assert answer.code == 2
    assert "inside the workbench" in answer.err


def test_damaged_metadata_is_said_so(story: Any) -> None:
    (story.engineering / "web/metadata/timestamp.json").write_bytes(b"{")
    answer = story.try_run("status", story.engineering)
    assert answer.code == 3
    assert answer.err.startswith("state.damaged")


@pytest.mark.parametrize("command", ["status", "authority refresh", "publish"])
def test_a_folder_that_is_no_workbench(story: Any, tmp_path: Path, command: str) -> None:
    answer = story.try_run(*command.split(), tmp_path / "nothing")
    assert answer.code == 2
    assert "no workbench" in answer.err


def test_the_other_authority_s_workbench_is_refused(story: Any) -> None:
    answer = story.try_run("release", "build", story.clinical, story.plan("1.0.0"))
    assert answer.code == 2
    assert "other authority" in answer.err


def test_an_authority_is_created_once(story: Any) -> None:
    keys = [story.folder / f"station-{i}/provisioning.public.json" for i in (1, 2)]
    options = [item for key in keys for item in ("--provisioning-key", key)]
    before = story.tree("engineering/web")
    answer = story.try_run("authority", "create", story.engineering, *options)
    assert answer.code == 2
    assert story.tree("engineering/web") == before


def test_one_provisioning_key_is_too_few(story: Any) -> None:
    story.run("init", story.folder / "new", "--authority", "clinical")
    key = story.folder / "station-1/provisioning.public.json"
    options = ["--provisioning-key", key, "--provisioning-key", key]
    assert story.try_run("authority", "create", story.folder / "new", *options).code == 2


def test_one_person_holds_one_function(story: Any) -> None:
    again = [
        "person", "add", story.clinical, "--id", "a.berg", "--name", "Dr Anna Berg",
        "--function", "quality", "--output", story.folder / "people/a.berg",
    ]  # fmt: skip
    answer = story.try_run(*again)
    assert answer.code == 2
    assert "listed already" in answer.err
    other = ["twin" if item == "a.berg" else item for item in again]
    answer = story.try_run(*other)
    assert answer.code == 2
    assert "at home in this folder" in answer.err


DRY = [
    ["person", "add", "{clinical}", "--id", "n.ew", "--name", "N", "--function", "clinical",
     "--output", "{folder}/people/n.ew"],
    ["authority", "refresh", "{engineering}"],
    ["authority", "renew", "{clinical}", "--role", "safety"],
    ["release", "sign", "{engineering}", COMPONENT, "1.1.0"],
    ["publish", "{engineering}"],
    ["rollout", "{engineering}", "--component", COMPONENT, "--version", "1.0.0",
     "--percentage", "5"],
    ["withdraw", "{clinical}", "--component", COMPONENT, "--version", "1.0.0", "--reason", "x",
     "--hazard", "HAZ-1", "--as", "{folder}/people/a.berg"],
    ["approve", "sign", "{clinical}", COMPONENT, "1.0.0", "--as", "{folder}/people/a.berg"],
    ["approve", "prepare", "{clinical}", COMPONENT, "1.0.0", "--terms", "{folder}/terms.toml"],
]  # fmt: skip


def test_a_dry_run_signs_and_changes_nothing(published: Any) -> None:
    published.build("1.1.0", previous="1.0.0", weights=(2.5, -1.0))
    names = {"engineering": published.engineering, "clinical": published.clinical}
    for command in DRY:
        # What was read of the other authority is remembered; nothing else may change.
        watched = [
            f"{name}/{part}"
            for name in names
            for part in ("web", "staging", "statements", "records")
        ]
        before = published.tree(*watched)
        filled = [part.format(folder=published.folder, **names) for part in command]
        answer = published.run(*filled, "--dry-run", "--json")
        assert answer.json["dryRun"] is True, command
        published.run(*filled, "--dry-run")
        after = published.tree(*watched)
        assert {k: v for k, v in after.items() if "log.jsonl" not in k} == {
            k: v for k, v in before.items() if "log.jsonl" not in k
        }, command


def test_nothing_is_signed_when_nobody_confirms(published: Any) -> None:
    before = published.tree("clinical")
    answer = published.try_run(
        "approve", "sign", published.clinical, COMPONENT, "1.0.0",
        "--as", published.folder / "people/a.berg",
    )  # fmt: skip
    assert answer.code == 2
    assert "--yes" in answer.err
    assert published.tree("clinical") == before


def test_a_frozen_timestamp_dies_in_seconds_and_refresh_revives_it(story: Any) -> None:
    story.run("authority", "refresh", story.engineering, "--timestamp-life", "3s")
    root = (story.engineering / "web/metadata/1.root.json").read_bytes()
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=10)

    def look() -> None:
        with read_web(
            story.engineering / "web",
            authority="engineering",
            root=root,
            store=MemoryTrustStore(),
            now=later,
        ):
            pass

    with pytest.raises(PrimumError) as refused:
        look()
    assert refused.value.reason == "trust.expired"
    story.run("authority", "refresh", story.engineering)
    look()


def test_a_web_root_from_an_old_backup_is_found_before_the_field_finds_it(story: Any) -> None:
    """Numbers that devices have seen would be used again, and every device would refuse them."""
    backup = shutil.copytree(story.engineering / "web", story.folder / "backup")
    story.run("authority", "refresh", story.engineering)
    story.run("authority", "refresh", story.engineering)
    shutil.rmtree(story.engineering / "web")
    backup.rename(story.engineering / "web")
    answer = story.try_run("authority", "refresh", story.engineering)
    assert answer.code == 3
    assert answer.err.startswith("trust.rollback")


def test_the_timestamp_carries_its_issue_time_and_stays_in_history(story: Any) -> None:
    story.run("authority", "refresh", story.engineering)
    metadata = story.engineering / "web/metadata"
    numbered = sorted(metadata.glob("*.timestamp.json"))
    assert [path.name for path in numbered] == ["1.timestamp.json", "2.timestamp.json"]
    assert (metadata / "timestamp.json").read_bytes() == numbered[-1].read_bytes()
    signed = json.loads(numbered[-1].read_bytes())["signed"]
    assert abs(datetime.now(UTC) - datetime.fromisoformat(signed["issuedAt"])) < timedelta(
        minutes=1
    )


@pytest.mark.parametrize(
    "command",
    [
        [], ["authority"], ["bogus"], ["publish"], ["publish", "x", "--bogus"],
        ["init", "x", "--authority", "both"], ["rollout", "x", "--percentage", "200"],
    ],
)  # fmt: skip
def test_a_wrong_call_is_usage_and_never_a_traceback(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "primum_repo_tools.cli", *command],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "usage:" in done.stderr
    assert "Traceback" not in done.stderr


def every_command() -> list[list[str]]:
    """Each command by its words, read from the application itself."""
    import typer

    from primum_repo_tools.cli import app

    found = []
    for name, item in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        children = getattr(item, "commands", None)
        found += [[name]] if children is None else [[name, child] for child in children]
    return found


@pytest.mark.parametrize("command", every_command(), ids=" ".join)
def test_every_command_has_help_with_an_example_and_its_exit_codes(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--help"]) == 0
    told = capsys.readouterr().out
    assert f"Example:\n    primum-repo {' '.join(command)}" in told
    assert "Exit codes: 0 done, 1 refused" in told
    assert "--json" in told


def test_help_needs_neither_tuf_nor_numpy_nor_onnxruntime() -> None:
    code = (
        "import sys; from primum_repo_tools.cli import main; main(['publish', '--help']);"
        "assert not {'tuf', 'numpy', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@given(st.text(max_size=30))
def test_any_text_as_a_length_of_time_is_read_or_refused(text: str) -> None:
    with suppress(UsageError):
        assert timedelta(0) < parse_life(text) <= timedelta(days=3660)


@given(st.text(max_size=40))
def test_any_text_as_a_moment_is_read_or_refused(text: str) -> None:
    with suppress(UsageError):
        assert parse_moment(text).tzinfo is UTC


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--jurisdiction", "Germany"), ("--site", "Site A!"), ("--udi", ""), ("--number", "0"),
        ("--broker", "nowhere"), ("--engineering-url", "ftp://x/"), ("--component", 'a"b'),
        ("--hardware-revision", "\n"), ("--life", "3 days"), ("--fleet", 'x"\ny = "'),
        ("--enrolment", "/nonexistent"),
    ],
)  # fmt: skip
def test_a_wrong_fact_about_a_device_is_a_usage_error(
    story: Any, enrolment: Path, option: str, value: str
) -> None:
    arguments = {
        "--engineering": story.engineering, "--clinical": story.clinical, "--enrolment": enrolment,
        "--component": COMPONENT, "--jurisdiction": "DE", "--site": "site-a",
        "--care-setting": "home", "--udi": "1", "--engineering-url": "http://127.0.0.1/",
        "--clinical-url": "http://127.0.0.1/", "--broker": "mqtt://127.0.0.1:18830",
        "--output": story.folder / "provisioning", option: value,
    }  # fmt: skip
    options = [item for pair in arguments.items() for item in pair]
    stations = [item for i in (1, 2) for item in ("--as", story.folder / f"station-{i}")]
    answer = story.try_run("device", "provision", *options, *stations)
    assert answer.code == 2, answer.err
    assert not (story.folder / "provisioning/agent.toml").exists()


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_ctrl_c_ends_every_command_with_130(
    story: Any, monkeypatch: pytest.MonkeyPatch, as_json: list[str]
) -> None:
    def pressed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("primum_repo_tools.status.workbench_status", pressed)
    answer = story.try_run("status", story.engineering, *as_json)
    assert answer.code == 130
    assert "Nothing half-done is visible to devices" in answer.err
    if as_json:
        assert json.loads(answer.err)["exitCode"] == 130
    assert "130 Ctrl-C" in " ".join(story.run("status", "--help").out.split())
