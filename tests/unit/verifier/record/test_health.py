"""A report of health or a status that contradicts itself is refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from primum_verifier.core.document import OpenDocument, parse_document
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.record.health import HealthReport, StatusReport

EXAMPLES = Path(__file__).parents[4] / "docs" / "examples"
HEALTH: dict[str, Any] = json.loads((EXAMPLES / "health-report.json").read_text("utf-8"))
STATUS: dict[str, Any] = json.loads((EXAMPLES / "status-report.json").read_text("utf-8"))
NOTHING_RUNS = dict.fromkeys(("component", "version", "release", "statementNumber", "proven"))


def health(**data: Any) -> dict[str, Any]:
    content = copy.deepcopy(HEALTH)
    content["data"] |= data
    return content


def readings(**members: Any) -> dict[str, Any]:
    return health(readings={**HEALTH["data"]["readings"], **members})


def status(*without: str, **members: Any) -> dict[str, Any]:
    return {name: value for name, value in {**STATUS, **members}.items() if name not in without}


WHAT_RUNS = ("mode", "state", *NOTHING_RUNS)
WRONG: dict[str, tuple[type[OpenDocument], dict[str, Any], str]] = {
    "a release in safe mode": (HealthReport, health(mode="safe"), "named in full"),
    "clinical use of nothing": (HealthReport, health(**NOTHING_RUNS), "named in full"),
    "a release half named": (HealthReport, health(release=None), "named in full"),
    "a battery beyond full": (HealthReport, readings(battery=101.0), "data.readings.battery"),
    "memory below nought": (HealthReport, readings(memory_free=-1), "data.readings.memory_free"),
    "an unknown reading": (HealthReport, readings(heartRate=60), "data.readings.heartRate"),
    "a report of another kind": (
        HealthReport,
        {**HEALTH, "type": "primum.device.update.activated"},
        "type",
    ),
    "a status of a release in safe mode": (StatusReport, status(mode="safe"), "named in full"),
    "a status of half a release": (StatusReport, status("version"), "named in full"),
    "a mode without a state": (StatusReport, status("state"), "mode and state stand together"),
    "a release without a mode": (StatusReport, status("mode", "state"), "named in full"),
    "neither online nor offline": (StatusReport, status(presence="away"), "presence"),
}


@pytest.mark.parametrize("name", WRONG)
def test_it_is_refused(name: str) -> None:
    model, content, words = WRONG[name]
    with pytest.raises(RefusedError) as caught:
        parse_document(model, json.dumps(content).encode(), where="test")
    assert caught.value.reason is Reason.DOCUMENT_INVALID
    assert words in caught.value.found


RIGHT: dict[str, tuple[type[OpenDocument], dict[str, Any]]] = {
    "safe mode": (HealthReport, health(mode="safe", **NOTHING_RUNS)),
    "no sensors": (
        HealthReport,
        readings(battery=None, charging=None, temperature=None, disk_free=None),
    ),
    "a status without a journal": (
        StatusReport,
        status(*WHAT_RUNS, reasons=["state.read-only"]),
    ),
    "a status in safe mode": (StatusReport, status(mode="safe", **NOTHING_RUNS)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_it_is_read(name: str) -> None:
    model, content = RIGHT[name]
    found = parse_document(model, json.dumps(content).encode(), where="test")
    assert parse_document(model, found.to_bytes(), where="again") == found


AT_THE_EDGE: dict[str, tuple[Callable[[int], dict[str, Any]], int, int]] = {
    "length of a problem": (lambda size: health(problems=["x" * size]), 400, 401),
    "problems": (lambda count: health(problems=["x"] * count), 200, 201),
    "uptime": (lambda value: readings(uptime=value), 0, -1),
    "an empty battery": (lambda value: readings(battery=value), 0, -1),
    "cold": (lambda value: readings(temperature=value), -100, -101),
    "heat": (lambda value: readings(temperature=value), 200, 201),
}


@pytest.mark.parametrize("name", AT_THE_EDGE)
def test_a_bound_is_where_it_is_said_to_be(name: str) -> None:
    build, last_good, first_bad = AT_THE_EDGE[name]
    parse_document(HealthReport, json.dumps(build(last_good)).encode(), where="test")
    with pytest.raises(RefusedError):
        parse_document(HealthReport, json.dumps(build(first_bad)).encode(), where="test")
