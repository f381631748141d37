"""What is refused of what devices and receivers record says what, where, and what to do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.verifier.record import test_key_change as keyed
from tests.unit.verifier.record.lives import KEY as LIFE_KEY
from tests.unit.verifier.record.lives import Life
from tests.unit.verifier.record.test_key_change import FIRST, KEYS, SECOND, THIEF, THIRD, TWICE
from tests.unit.verifier.record.test_monitor_events import EXAMPLES, FINDING, event
from tests.unit.verifier.record.test_receipt import KEY, THIEFS_KEY, opened, receipt
from tests.unit.verifier.record.test_request import read as read_request

from primum_verifier.core.document import parse_document
from primum_verifier.core.errors import RefusedError
from primum_verifier.record.event import parse_event
from primum_verifier.record.monitor_report import MonitorReport
from primum_verifier.record.receipt import open_receipt
from primum_verifier.record.served import served
from primum_verifier.record.words import EventKind

REMEDY = "Give the context of the device that wrote this history."


def refusal(act: Any) -> dict[str, Any]:
    with pytest.raises(RefusedError) as caught:
        act()
    error = caught.value
    return {
        "message": error.message,
        "reason": str(error.reason),
        "where": error.where,
        "found": error.found,
        "expected": error.expected,
        "remedy": error.remedy,
    }


def test_a_receipt_of_nobody_known() -> None:
    line = receipt()
    found = refusal(lambda: opened(line, THIEFS_KEY, THIEFS_KEY))
    assert found == {
        "message": "No receiver that is known here signed this receipt.",
        "reason": "trust.signature",
        "where": "receipt",
        "found": "",
        "expected": f"{THIEFS_KEY.key_id} or {THIEFS_KEY.key_id}",
        "remedy": "",
    }


def test_a_receipt_of_another_device() -> None:
    line = receipt(deviceId="wearable-002")
    found = refusal(
        lambda: open_receipt(line, keys=[KEY], fleet="demo", device_id="wearable-001", where="r")
    )
    assert found == {
        "message": "The receipt is another device's.",
        "reason": "trust.signature",
        "where": "r",
        "found": "demo/wearable-002",
        "expected": "demo/wearable-001",
        "remedy": "",
    }


def said(act: Any) -> str:
    """What a document's own check says, without the library's words around it."""
    return str(refusal(act)["found"]).partition("Value error, ")[2].partition("[")[0].strip()


def test_what_ends_before_it_begins() -> None:
    ends = "it ends before it begins"
    assert said(lambda: opened(receipt(firstSequence=8))) == ends
    assert said(lambda: read_request(do="journal", **{"from": 2, "to": 1})) == ends
    assert read_request(do="journal", to=1).end == 1


def test_what_stands_with_a_journal_alone() -> None:
    found = said(lambda: read_request(do="poll", **{"from": 1}))
    assert found == "from and to stand with journal alone"


def test_an_alarm_that_takes_away_without_a_hazard() -> None:
    finding = FINDING | {"action": "suspend-request"}
    data = event(EventKind.MONITOR_ALARMED, monitor=finding)
    found = said(lambda: parse_event(data, where="event"))
    assert found == "an action that reduces function needs a hazardRef"


def test_a_summary_of_an_hour() -> None:
    content = json.loads((EXAMPLES / "monitor-report.json").read_text("utf-8"))
    content["time"] = content["time"].replace("T00:", "T01:")
    data = json.dumps(content).encode()
    found = said(lambda: parse_document(MonitorReport, data, where="report"))
    assert found == "a summary says the day and no more of when it was"


def by_another_key(where: str, found: str, expected: int) -> dict[str, Any]:
    return {
        "message": "The head or checkpoint was not signed by this device.",
        "reason": "trust.signature",
        "where": where,
        "found": found,
        "expected": KEYS[expected].key_id,
        "remedy": REMEDY,
    }


def test_what_another_key_signed() -> None:
    lines = [*TWICE, keyed.head(TWICE, 9, by=THIEF)]
    found = refusal(lambda: keyed.check(*lines))
    assert found == by_another_key("line 10", "another key", THIRD)
    broken = keyed.events(9, {3: keyed.changing(FIRST, SECOND), 6: keyed.changing(THIEF, THIRD)})
    found = refusal(lambda: keyed.check(*broken))
    assert found == by_another_key("event 6", "changes that do not follow each other", FIRST)
    found = refusal(lambda: keyed.check(*TWICE, known=THIEF))
    assert found == by_another_key("event 3", "a change between other keys", THIEF)


def test_a_history_of_others() -> None:
    life = Life(name="wearable-003")
    others = [
        Life(name=f"wearable-00{number}").events[0].replace(b'0001",', b'000%d",' % number)
        for number in (9, 8, 7, 5)
    ]
    lines = [*life.events, *others]
    found = refusal(lambda: served(lines, device_key=LIFE_KEY, at=life.now))
    assert found == {
        "message": "The history is another device's.",
        "reason": "trust.signature",
        "where": "",
        "found": "wearable-005, wearable-007, wearable-008",
        "expected": "wearable-003",
        "remedy": "Give the history and the key of the device that is asked about.",
    }
