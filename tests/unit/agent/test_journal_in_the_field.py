"""The bounds of the journal on a whole device: pruned by its own children, held by a full one."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from primum_agent.clock import FakeClock, SystemClock
from primum_agent.events import Entry, EventKind
from primum_agent.journal import Journal
from primum_agent.lifecycle import State
from primum_verifier.core.errors import EXIT_WAITING
from primum_verifier.record.chain import check_history

DEVICE = "wearable-001"
Eventually = Callable[..., Any]


def with_old_events(field: Any, count: int, *, acknowledged: bool, size: int = 1) -> None:
    """A journal that was written half a year ago."""
    clock = FakeClock(moment=SystemClock().now() - timedelta(days=180))
    journal = Journal.open_or_restart(field.layout, clock=clock, device_id=DEVICE)
    for _ in range(count):
        journal.record(Entry(kind=EventKind.ATTEMPT_FAILED, detail={"x": "y" * size}))
    if acknowledged:
        events = [row.sequence for row in journal.waiting_events(count + 9)]
        journal.acknowledge(events=events, heads=[])
    journal.close()


def test_a_running_device_prunes_by_itself_and_its_history_still_proves_it(
    in_the_field: Any, eventually: Eventually
) -> None:
    with_old_events(in_the_field, 40, acknowledged=True)
    in_the_field.more_settings = "[journal]\nkeep_events = 10\n"
    in_the_field.write("agent.toml", in_the_field.settings().encode())
    in_the_field.release("1.0.0", counter=1)
    with in_the_field.running():
        eventually(lambda: "update.activated" in in_the_field.kinds())
    first = int(in_the_field.events()[0]["sequence"])
    assert first > 20, "what is old and acknowledged is gone, the newest stay"
    assert "store.collected" not in in_the_field.kinds()
    journal = in_the_field.journal()
    report = check_history(list(journal.history()), device_key=in_the_field.device_key)
    assert report.whole
    assert [part.before for part in report.pruned] == [first]
    assert journal.state() == journal.replayed()
    assert journal.waiting_count() > 5, "nothing that waits is pruned"
    journal.check(whole=True)
    journal.close()


def test_a_full_journal_holds_a_new_update_and_takes_away_what_was_withdrawn(
    in_the_field: Any, attempt_now: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody took a report for years: what runs goes on, a withdrawal acts and is recorded."""
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == 0
    in_the_field.commit()
    monkeypatch.setattr(Journal, "used_bytes", lambda _: 1 << 40)
    in_the_field.release("1.1.0", counter=2)
    assert attempt_now() == EXIT_WAITING
    assert in_the_field.opened().version == "1.0.0"
    assert "update.found" not in in_the_field.kinds()[-3:]
    told = json.loads(in_the_field.agent("status", "--json").stdout)
    assert told["lastPoll"]["text"] == "waiting: resource.storage"
    assert told["problems"][0]["what"] == "resource.storage"
    assert "resource.storage" in in_the_field.agent("status").stdout
    in_the_field.withdraw("1.0.0")
    attempt_now()
    assert "eligibility.lost" in in_the_field.kinds()
    monkeypatch.undo()


def test_once_reports_are_taken_the_update_goes_on(
    in_the_field: Any, attempt_now: Callable[..., int]
) -> None:
    in_the_field.release("1.0.0", counter=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "used_bytes", lambda _: 1 << 40)
        assert attempt_now() == EXIT_WAITING
    attempt_now()
    journal = in_the_field.journal()
    assert journal.state().lifecycle is State.PROVISIONAL
    assert journal.problems() == []
    journal.close()
