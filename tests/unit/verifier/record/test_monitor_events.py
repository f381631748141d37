"""An alarm of a monitor and a remark of a person are events of their own form, and of no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from primum_verifier.core.errors import RefusedError
from primum_verifier.record.event import parse_event
from primum_verifier.record.words import MAX_REMARK, EventKind

EXAMPLES = Path(__file__).parents[4] / "docs" / "examples"
EVENT: dict[str, Any] = json.loads((EXAMPLES / "event.json").read_text("utf-8"))
FINDING: dict[str, Any] = {
    "monitoringSpecification": "c" * 64,
    "release": "a" * 64,
    "statement": "b" * 64,
    "statementNumber": 4,
    "channel": "score",
    "alarm": "score-drift",
    "action": "notify",
    "ratio": 1.7,
    "number": 3,
}
REMARK: dict[str, Any] = {
    "role": "clinician",
    "category": "missed-finding",
    "severity": "could-harm",
    "text": {"characters": 42, "digest": "d" * 64},
}


def event(kind: EventKind, **data: Any) -> bytes:
    rest = {
        name: value
        for name, value in EVENT["data"].items()
        if name not in {"stimulus", "from", "to", "change", "shadow"}
    }
    return json.dumps({**EVENT, "type": str(kind), "data": {**rest, **data}}).encode()


@pytest.mark.parametrize("kind", [EventKind.MONITOR_ALARMED, EventKind.MONITOR_QUIET])
def test_an_alarm_names_release_statement_and_limit(kind: EventKind) -> None:
    found = parse_event(event(kind, monitor=FINDING), where="test").data.monitor
    assert found is not None
    assert (found.alarm, found.ratio, found.statement_number) == ("score-drift", 1.7, 4)


def test_a_remark_is_classified_and_carries_no_text() -> None:
    found = parse_event(event(EventKind.FEEDBACK_GIVEN, feedback=REMARK), where="test")
    assert found.data.feedback is not None
    assert found.data.feedback.text is not None
    assert "text" not in parse_event(
        event(
            EventKind.FEEDBACK_GIVEN,
            feedback={name: REMARK[name] for name in REMARK if name != "text"},
        ),
        where="test",
    ).to_bytes().decode("utf-8")


@pytest.mark.parametrize(
    "line",
    [
        event(EventKind.MONITOR_ALARMED),
        event(EventKind.FEEDBACK_GIVEN),
        event(EventKind.AGENT_STARTED, monitor=FINDING),
        event(EventKind.AGENT_STARTED, feedback=REMARK),
        event(EventKind.MONITOR_ALARMED, monitor={**FINDING, "action": "suspend-request"}),
        event(EventKind.MONITOR_ALARMED, monitor={**FINDING, "ratio": 1001}),
        event(EventKind.MONITOR_ALARMED, monitor={**FINDING, "counts": [1, 2]}),
        event(EventKind.FEEDBACK_GIVEN, feedback={**REMARK, "text": "J. Smith, ward 7"}),
        event(EventKind.FEEDBACK_GIVEN, feedback={**REMARK, "by": "Dr. Meyer"}),
        event(EventKind.FEEDBACK_GIVEN, feedback={**REMARK, "category": "anything"}),
        event(
            EventKind.FEEDBACK_GIVEN,
            feedback={**REMARK, "text": {"characters": MAX_REMARK + 1, "digest": "d" * 64}},
        ),
    ],
)
def test_what_is_neither_is_refused(line: bytes) -> None:
    with pytest.raises(RefusedError):
        parse_event(line, where="test")


def test_a_stop_that_was_weighed_names_its_hazard() -> None:
    finding = {**FINDING, "action": "suspend-request", "hazardRef": "HZ-07 alarm fatigue"}
    found = parse_event(event(EventKind.MONITOR_ALARMED, monitor=finding), where="test")
    assert found.data.monitor is not None
    assert found.data.monitor.action.reduces_function
