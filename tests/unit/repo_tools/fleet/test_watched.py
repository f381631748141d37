"""Drift and remarks of a fleet: what lasts is shown, and nobody's word is taken for another's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.repo_tools.fleet.conftest import Fleet
from tests.unit.repo_tools.fleet.devices import Device

from primum_repo_tools.cli import main
from primum_repo_tools.fleet.messages import End, Message

EXAMPLES = Path(__file__).parents[4] / "docs" / "examples"
WINDOW: dict[str, Any] = json.loads((EXAMPLES / "monitor-report.json").read_text("utf-8"))
IN_USE = {"activeManifest": "a" * 64, "eligibility": {"digest": "b" * 64, "number": 4}}


def finding(alarm: str, **more: Any) -> dict[str, Any]:
    return {
        "monitoringSpecification": "c" * 64,
        "release": "a" * 64,
        "statement": "b" * 64,
        "statementNumber": 4,
        "channel": "score",
        "alarm": alarm,
        "action": "notify",
        "ratio": 1.7,
        "number": 3,
        **more,
    }


def window(device: Device, **data: Any) -> Message:
    content = {**WINDOW, "source": f"urn:primum:device:{device.name}"}
    content["data"] = {**WINDOW["data"], **data}
    return Message(device.name, End.MONITOR, json.dumps(content).encode())


def remark(device: Device, **more: Any) -> Message:
    said = {"role": "clinician", "category": "missed-finding", "severity": "could-harm", **more}
    return device.event("feedback.given", feedback=said, **IN_USE)


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main(["fleet", *words]) == 0
    out = capsys.readouterr().out
    return json.loads(out) if "--json" in words else out


def test_drift_that_lasts_is_shown_until_it_is_quiet(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    device = Device()
    fleet.enroll(device)
    messages = [
        device.event(),
        device.event("monitor.alarmed", monitor=finding("score-drift"), **IN_USE),
        device.event("monitor.alarmed", monitor=finding("other-drift"), **IN_USE),
        device.event("monitor.quiet", monitor=finding("other-drift", ratio=0.4), **IN_USE),
        device.head(),
    ]
    # In another order than they were written: the newest word counts, not the last that came.
    fleet.take(*reversed(messages))
    words = ("--database", fleet.address)
    (found,) = shown(capsys, "status", *words, "--json")["devices"]
    assert [item["alarm"] for item in found["drift"]] == ["score-drift"]
    assert found["drift"][0]["proven"] is True
    assert found["drift"][0]["statementNumber"] == 4
    out = shown(capsys, "device", device.name, *words)
    assert "Drift that lasts" in out
    assert "1.7 times its limit" in out
    assert "other-drift" not in out.split("Drift that lasts")[1]


def test_a_remark_is_shown_classified_and_its_text_stays_where_it_is(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    device = Device()
    fleet.enroll(device)
    kept = {"characters": 42, "digest": "d" * 64}
    fleet.take(device.event(), remark(device, text=kept), remark(device, severity="serious-harm"))
    words = ("--database", fleet.address)
    found = shown(capsys, "device", device.name, *words, "--json")
    assert [item["severity"] for item in found["remarks"]] == ["serious-harm", "could-harm"]
    assert found["remarks"][1]["text"] == kept
    assert found["remarks"][0]["release"] == "a" * 64
    assert found["remarks"][0]["proven"] is False, "no head vouches for it yet"
    assert "not proven" in shown(capsys, "status", *words).split("Remarks")[1]


def test_a_window_is_stored_once_and_the_newest_is_shown(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    device = Device()
    fleet.enroll(device)
    fleet.take(window(device), window(device))
    fleet.take(window(device, window=4))
    assert len(fleet.content()["reports"]) == 2
    out = shown(capsys, "device", device.name, "--database", fleet.address)
    assert "Window 4 of 168 h" in out
    assert "score-drift 0" in out


def test_a_window_of_another_device_or_with_small_cells_is_not_believed(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = Device("one"), Device("other")
    fleet.enroll(one)
    fleet.enroll(other)
    forged = Message(one.name, End.MONITOR, window(other).payload)
    channels = json.loads(json.dumps(WINDOW["data"]["channels"]))
    channels["score"]["cells"][0] = 3
    fleet.take(forged, window(one, channels=channels))
    assert fleet.content()["reports"] == []
    status = shown(capsys, "status", "--database", fleet.address, "--json")
    assert {item["reason"] for item in status["refused"]} == {
        "trust.signature",
        "document.invalid",
    }


def test_an_event_of_a_newer_agent_is_no_alarm(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    device = Device()
    fleet.enroll(device)
    fleet.take(device.event(), device.event("monitor.alarmed", monitor={"form": "of later"}))
    (found,) = shown(capsys, "status", "--database", fleet.address, "--json")["devices"]
    assert found["drift"] == []
    assert found["lastEvent"] == 2
