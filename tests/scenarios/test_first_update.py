"""The first update, step by step: what each step left on the disk, on the wire, in the journal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.timeout(300)

FIRST, SECOND = "wearable-001", "wearable-002"


def name(version: str) -> str:
    return f"pvc-classifier {version}"


def metadata(told: Any, authority: str, file: str) -> dict[str, Any]:
    path = told.folder / authority / "web" / "metadata" / file
    content: dict[str, Any] = json.loads(path.read_bytes())
    return content


def test_a_two_authorities_share_no_key_and_a_device_pins_both_roots(told: Any) -> None:
    roots = [metadata(told, authority, "1.root.json") for authority in ("engineering", "clinical")]
    keys = [
        {str(key["keyval"]["public"]) for key in root["signed"]["keys"].values()} for root in roots
    ]
    assert keys[0].isdisjoint(keys[1])
    for root in roots:
        assert root["signed"]["roles"]["root"]["threshold"] == 2
        assert len(root["signatures"]) >= 2
    provisioning = told.folder / FIRST / "provisioning"
    pinned = json.loads((provisioning / "trust-map.json").read_bytes())
    for authority in ("engineering", "clinical"):
        data = (provisioning / f"{authority}.root.json").read_bytes()
        assert pinned[f"{authority}Root"]["sha256"] == hashlib.sha256(data).hexdigest()


def test_no_private_key_is_on_the_web_or_readable_by_others(told: Any) -> None:
    keys = list(told.folder.rglob("*.pem"))
    assert len(keys) > 15
    for path in [*keys, told.folder / FIRST / "state" / "device.key"]:
        assert path.stat().st_mode & 0o077 == 0, path
        assert "web" not in path.parts
    for path in keys:
        assert b"ENCRYPTED" in path.read_bytes()


def test_b_release_is_found_tested_activated_proven_and_reported_in_this_order(told: Any) -> None:
    kinds = [
        event["type"].removeprefix("primum.device.")
        for event in told.received(FIRST)
        if event.get("subject") == name("1.0.0")
    ]
    wanted = [
        "update.found",
        "update.downloaded",
        "selftest.started",
        "selftest.passed",
        "update.activating",
        "update.activated",
        "update.committed",
    ]
    assert [kind for kind in kinds if kind in wanted][: len(wanted)] == wanted


def test_c_every_output_carries_release_and_eligibility(told: Any) -> None:
    beats = told.outputs(FIRST, "beat")
    assert {beat["version"] for beat in beats} == {"1.0.0", "1.1.0"}
    assert all(len(beat["release"]) == 64 and len(beat["statement"]) == 64 for beat in beats)
    assert {beat["decision"] for beat in beats} >= {"pvc", "normal"}
    by_version = {beat["version"]: (beat["release"], beat["statement"]) for beat in beats}
    assert by_version["1.0.0"] != by_version["1.1.0"]


def test_d_a_sibling_that_loses_sensitivity_is_refused_by_name(told: Any) -> None:
    report = json.loads((told.folder / "model" / "1.1.1" / "comparison.json").read_bytes())
    text = json.dumps(report)
    assert report["overall"] == "not-met"
    assert "sensitivity" in text
    web = told.folder / "engineering" / "web" / "targets" / "releases" / "pvc-classifier"
    assert not (web / "1.1.1").exists()
    better = json.loads((told.folder / "model" / "1.1.0" / "comparison.json").read_bytes())
    assert better["overall"] == "met"


def test_e_signed_by_engineering_only_is_staged_and_never_active(told: Any) -> None:
    (staged,) = told.events(FIRST, "update.staged", name("1.2.0"))
    assert staged["data"]["reasons"][0] == "eligibility.absent"
    assert not told.events(FIRST, "update.activating", name("1.2.0"))
    assert not [beat for beat in told.outputs(FIRST, "beat") if beat["version"] == "1.2.0"]
    seen = told.table["e"]["seen"]
    for function in ("clinical", "quality", "regulatory"):
        assert f"{function} 1" in seen


def test_f_a_release_that_is_wrong_here_never_serves_and_says_where(told: Any) -> None:
    (failed,) = told.events(FIRST, "selftest.failed", name("1.3.0"))
    cases = failed["data"]["detail"]["failing"][0]["cases"]
    assert cases[0]["case"].startswith("strip208-beat-")
    assert cases[0]["expected"] != cases[0]["found"]
    assert not told.events(FIRST, "update.activating", name("1.3.0"))
    records = "".join(
        path.read_text("utf-8")
        for path in (told.folder / "engineering" / "records").glob("*.jsonl")
    )
    assert "selftest" in records
    assert "unsafe" in records


@pytest.mark.parametrize(
    ("device", "kind", "reason"),
    [
        (SECOND, "update.refused", "artifact.digest"),
        (FIRST, "trust.refused", "trust.rollback"),
        (FIRST, "trust.refused", "trust.expired"),
    ],
)
def test_g_tampered_replayed_frozen_is_refused_with_its_code(
    told: Any, device: str, kind: str, reason: str
) -> None:
    found = [event for event in told.events(device, kind) if reason in event["data"]["reasons"]]
    # One event for a fault that lasts, not one for every poll.
    assert len(found) == 1
    assert not list((told.folder / device / "state").rglob("*.partial"))


def test_h_after_each_cut_exactly_old_or_new_and_then_converged(told: Any) -> None:
    assert "before the switch: exactly 1.0.0" in told.table["h"]["seen"]
    assert "after it: exactly 1.1.0" in told.table["h"]["seen"]
    assert len(told.events(SECOND, "update.committed", name("1.1.0"))) == 1
    assert not told.events(SECOND, "journal.restarted")


def test_i_withdrawn_falls_back_and_then_rests_in_safe_mode(told: Any) -> None:
    for device in (FIRST, SECOND):
        lost = told.events(device, "eligibility.lost")
        assert [event["subject"] for event in lost] == [name("1.1.0"), name("1.0.0")]
        assert all("eligibility.withdrawn" in event["data"]["reasons"] for event in lost)
        assert len(told.events(device, "update.rolled-back", name("1.0.0"))) == 1
        assert len(told.events(device, "safe-mode.entered")) == 1
        standing = json.loads(
            (told.folder / device / "state" / "run" / "standing.json").read_bytes()
        )
        assert standing["mode"] == "safe"
        assert "fallback.none" in standing["reasons"]
    said = told.outputs(FIRST, "safe-mode")[-1]
    assert said["reasons"] == ["eligibility.withdrawn", "fallback.none"]
    assert "withdrawn" in said["notice"]
    assert "No eligible model: measure only." in said["notice"]
    assert said["notice"] in told.table["i"]["seen"]


@pytest.mark.parametrize("device", [FIRST, SECOND])
def test_what_was_received_is_all_that_the_device_wrote_and_nothing_else(
    told: Any, device: str
) -> None:
    """QoS 1 may deliver again what was sent just before a cut: the same event, harmlessly."""
    written = {event["id"]: event for event in told.history(device)}
    received = told.received(device)
    assert all(event == written[event["id"]] for event in received)
    numbers = sorted({int(event["sequence"]) for event in received})
    assert numbers == list(range(1, len(numbers) + 1))
    twice = len(received) - len(numbers)
    if device == FIRST:
        assert twice == 0, "nothing cut this device's supervisor off"


def test_nothing_is_left_running_and_no_half_file_lies_about(told: Any) -> None:
    left = [
        process.pid
        for process in psutil.process_iter()
        if str(told.folder) in " ".join(_command_line(process))
    ]
    assert left == []
    assert not list(told.folder.rglob("*.partial"))


def _command_line(process: Any) -> list[str]:
    try:
        words: list[str] = process.cmdline()
    except psutil.Error:
        return []
    return words


def test_the_page_shows_every_step_verdict_and_event(told: Any) -> None:
    page = (told.folder / "report.html").read_text("utf-8")
    for key in "abcdefghi":
        assert f'<td class="mark">{key}</td>' in page
    for word in ("approvals", "eligibility.withdrawn", "artifact.digest", "<svg", FIRST, SECOND):
        assert word in page
    assert "<script" not in page
    assert "http://" not in page.replace("http://127.0.0.1", "")


def test_an_assessor_reaches_the_same_verdict_offline(
    told: Any, run_command: Callable[..., Any]
) -> None:
    done = run_command(
        "primum_verifier.shell.cli",
        *("release", "pvc-classifier", "1.0.0", "--json"),
        *("--provisioning", str(told.folder / FIRST / "provisioning")),
        *("--engineering", str(told.folder / "engineering" / "web")),
        *("--clinical", str(told.folder / "clinical" / "web")),
        code=1,
    )
    verdict = json.loads(done.stdout)
    assert (verdict["capability"], verdict["primary"]) == ("stage", "eligibility.withdrawn")
