"""What runs is served, stamped and judged by one statement: the newest that was ever in force.

Who can write the list alone could otherwise widen what was narrowed, by taking the entry away.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from primum_agent.application import ActiveRelease, open_active
from primum_agent.clock import FakeClock
from primum_agent.content_store import FolderStore
from primum_agent.device_state import DeviceState, Generation, fold
from primum_agent.events import Entry, EventKind, Recorded
from primum_agent.in_force import kept_statement
from primum_agent.journal import Journal
from primum_agent.salvage import salvage
from primum_agent.serving import serve
from primum_verifier.core.document import sha256_hex
from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason
from primum_verifier.record.event import parse_event

Attempt = Callable[..., int]
DONE = 0
NARROWER = {"operatingPoint": {"output": "p", "threshold": "0.8"}}


@pytest.fixture
def committed(in_the_field: Any, attempt_now: Attempt) -> Any:
    """A device on which 1.0.0 proved health, at the threshold 0.5."""
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == DONE
    in_the_field.commit()
    return in_the_field


def opened(field: Any) -> ActiveRelease:
    found = open_active(field.state)
    assert isinstance(found, ActiveRelease)
    return found


def in_use(field: Any) -> Generation:
    journal = field.journal()
    try:
        assert journal.state() == journal.replayed()
        found = journal.state().in_use
    finally:
        journal.close()
    assert found is not None
    return found  # type: ignore[no-any-return]


def kept(field: Any) -> str | None:
    """SHA-256 of the bytes kept of the statement on record."""
    data = kept_statement(FolderStore(field.layout), in_use(field))
    return None if data is None else sha256_hex(data)


def narrowed(field: Any, attempt_now: Attempt) -> dict[str, Any]:
    """A narrower statement is in force; the list's entry for the one before."""
    entry: dict[str, Any] = field.restated("1.0.0", **NARROWER)
    assert attempt_now() == DONE
    assert opened(field).threshold == 0.8
    return entry


def test_outputs_are_stamped_with_the_statement_whose_terms_are_served(
    committed: Any, attempt_now: Attempt
) -> None:
    release = opened(committed)
    committed.restated("1.0.0", **NARROWER)
    for _ in range(3):
        assert attempt_now() == DONE
    listed = committed.entries[-1]["statement"]["sha256"]
    assert release.changed()
    assert release.may_use().reason is Reason.ELIGIBILITY_SUPERSEDED
    again = opened(committed)
    assert again.may_use()
    assert (again.threshold, again.statement) == (0.8, listed)
    assert again.statement_number > release.statement_number
    assert again.stamp()["statement"] == listed
    assert (in_use(committed).statement, kept(committed)) == (listed, listed)
    assert in_use(committed).proven


def test_another_statement_in_force_is_told_once(committed: Any, attempt_now: Attempt) -> None:
    before = opened(committed)
    committed.restated("1.0.0", **NARROWER)
    for _ in range(3):
        attempt_now()
    assert committed.kinds().count("eligibility.restated") == 1
    event = committed.event("eligibility.restated")
    parse_event(json.dumps(event).encode(), where="journal")
    now = opened(committed)
    assert event["data"]["eligibility"] == {
        "digest": now.statement,
        "number": now.statement_number,
    }
    assert event["data"]["detail"]["before"] == before.statement
    record = json.loads((now.folder / "generation.json").read_bytes())
    assert record["before"]["statement"] == before.statement
    assert "before" not in record["before"]


def test_a_narrower_statement_is_not_forgotten_when_its_entry_vanishes(
    committed: Any, attempt_now: Attempt
) -> None:
    narrowed(committed, attempt_now)
    standing = committed.standing()
    committed.unlisted("1.0.0")
    for _ in range(2):
        attempt_now()
    left = committed.standing()
    for member in ("statement", "statementNumber", "operatingPoint", "notAfter"):
        assert left[member] == standing[member], member
    assert committed.kinds().count("eligibility.restated") == 1


def test_an_older_statement_that_is_listed_again_widens_nothing(
    committed: Any, attempt_now: Attempt
) -> None:
    entry = narrowed(committed, attempt_now)
    now = opened(committed)
    committed.listed(entry)
    for _ in range(2):
        attempt_now()
    assert not now.changed()
    assert (opened(committed).threshold, opened(committed).statement) == (0.8, now.statement)


def test_a_statement_that_too_few_approved_is_not_served(
    committed: Any, attempt_now: Attempt
) -> None:
    now = opened(committed)
    committed.restated("1.0.0", "clinical", operatingPoint={"output": "p", "threshold": "0.1"})
    attempt_now()
    assert (opened(committed).threshold, opened(committed).statement) == (0.5, now.statement)
    assert "eligibility.restated" not in committed.kinds()


def test_a_statement_is_not_exchanged_for_an_older_where_its_bytes_are_lost(
    committed: Any, attempt_now: Attempt
) -> None:
    """Nothing is there to compare by but the number on record."""
    entry = narrowed(committed, attempt_now)
    path = opened(committed).folder / "generation.json"
    record = json.loads(path.read_bytes())
    path.chmod(0o640)
    path.write_text(json.dumps({**record, "statementDocument": "lost"}))
    committed.listed(entry)
    attempt_now()
    assert in_use(committed).statement == record["statement"]
    assert opened(committed).threshold == 0.8
    assert committed.kinds().count("eligibility.restated") == 1
    # Nor for one that too few approved.
    committed.restated("1.0.0", "clinical", operatingPoint={"output": "p", "threshold": "0.1"})
    attempt_now()
    assert opened(committed).threshold == 0.8
    # One that everybody approved heals it.
    committed.restated("1.0.0", operatingPoint={"output": "p", "threshold": "0.9"})
    attempt_now()
    assert opened(committed).threshold == 0.9
    assert kept(committed) == in_use(committed).statement


def test_a_cut_between_the_bytes_and_the_event_loses_neither_statement(
    committed: Any, attempt_now: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = opened(committed)
    committed.restated("1.0.0", **NARROWER)
    record = Journal.record

    def cut(journal: Journal, entry: Entry) -> Recorded:
        if entry.kind is EventKind.ELIGIBILITY_RESTATED:
            raise FailedError("The power is gone.", reason=Reason.RESOURCE_STORAGE, where="disk")
        return record(journal, entry)

    with monkeypatch.context() as during:
        during.setattr(Journal, "record", cut)
        with pytest.raises(FailedError):
            attempt_now()
    assert opened(committed).statement == before.statement
    assert kept(committed) == before.statement
    # The file is lost as well, and nobody can be asked: what stood on record is served.
    committed.layout.standing.unlink()
    with committed.journal_to_write() as journal:
        serve(
            committed.layout,
            clock=FakeClock(),
            store=FolderStore(committed.layout),
            state=journal.state(),
        )
    assert (opened(committed).threshold, opened(committed).statement) == (0.5, before.statement)
    attempt_now()
    assert opened(committed).threshold == 0.8
    assert kept(committed) == opened(committed).statement != before.statement


def test_a_cut_after_the_event_serves_the_terms_of_the_newer_statement(
    committed: Any, attempt_now: Attempt
) -> None:
    """The file that stands is of the statement before: its terms are not taken for the new one."""
    old = committed.layout.standing.read_bytes()
    narrowed(committed, attempt_now)
    now = opened(committed)
    committed.layout.standing.write_bytes(old)
    with committed.journal_to_write() as journal:
        serve(
            committed.layout,
            clock=FakeClock(),
            store=FolderStore(committed.layout),
            state=journal.state(),
        )
    assert (opened(committed).threshold, opened(committed).statement) == (0.8, now.statement)


def test_a_lost_journal_finds_the_newest_statement_again(
    committed: Any, attempt_now: Attempt
) -> None:
    narrowed(committed, attempt_now)
    now = in_use(committed)
    found: Any = salvage(committed.layout)["generation"]
    assert (found["statement"], found["statement_number"]) == (now.statement, now.statement_number)


def test_the_way_back_ends_where_the_statement_it_last_ran_under_ended(
    committed: Any, attempt_now: Attempt
) -> None:
    """The list names an older statement again that lasts longer; the one in force has ended."""
    start = datetime.now(UTC)
    ends = (start + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    begins = (start - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    hours = {"maxIndexAgeHours": 240, "offlineGraceHours": 48}
    validity = {"notBefore": begins, "notAfter": ends, **hours}
    entry = committed.restated("1.0.0", validity=validity)
    assert attempt_now() == DONE
    committed.release("1.1.0", counter=2)
    assert attempt_now() == DONE
    committed.commit()
    committed.listed(entry)
    committed.withdraw("1.1.0")
    later = FakeClock(start + timedelta(hours=3), powered=10_800.0, boot="another")
    attempt_now(clock=later)
    assert committed.standing()["mode"] == "safe"
    tried = committed.event("safe-mode.entered")["data"]["detail"]["tried"]
    assert tried == {"pvc-classifier 1.0.0": "eligibility.expired"}


def test_the_way_back_is_served_under_the_newest_statement(
    committed: Any, attempt_now: Attempt
) -> None:
    entry = narrowed(committed, attempt_now)
    now = opened(committed)
    committed.release("1.1.0", counter=2)
    assert attempt_now() == DONE
    committed.commit()
    assert opened(committed).version == "1.1.0"
    committed.listed(entry)
    committed.withdraw("1.1.0")
    attempt_now()
    back = opened(committed)
    assert (back.version, back.threshold, back.statement) == ("1.0.0", 0.8, now.statement)


def test_a_statement_that_came_meanwhile_counts_on_the_way_back(
    committed: Any, attempt_now: Attempt
) -> None:
    committed.release("1.1.0", counter=2)
    assert attempt_now() == DONE
    committed.commit()
    committed.restated("1.0.0", **NARROWER)
    committed.withdraw("1.1.0")
    attempt_now()
    listed = next(item for item in committed.entries if item["version"] == "1.0.0")
    back = opened(committed)
    assert (back.threshold, back.statement) == (0.8, listed["statement"]["sha256"])
    kinds = committed.kinds()
    assert kinds.index("eligibility.restated") == kinds.index("update.rolled-back") + 1


def test_what_a_newer_statement_takes_away_is_not_given_back_by_the_one_before(
    committed: Any, attempt_now: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the episode is finished the list names the wider statement again."""
    monkeypatch.setattr("primum_agent.review.episode_runs", lambda *_: True)
    elsewhere = {
        "jurisdictions": ["FR"],
        "hardware": [{"hardwareId": "cardiowear-2"}],
        "sites": {"mode": "all", "ids": []},
    }
    entry = committed.restated("1.0.0", constraints=elsewhere)
    attempt_now()
    assert committed.standing()["ending"] is not None
    committed.listed(entry)
    attempt_now()
    assert committed.standing()["ending"] is not None
    monkeypatch.setattr("primum_agent.review.episode_runs", lambda *_: False)
    attempt_now()
    assert "eligibility.lost" in committed.kinds()


def test_a_full_disk_does_not_hold_up_what_is_taken_away(
    committed: Any, attempt_now: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise FailedError("The storage is full.", reason=Reason.RESOURCE_STORAGE, where="disk")

    monkeypatch.setattr(FolderStore, "write_record", full)
    elsewhere = {
        "jurisdictions": ["FR"],
        "hardware": [{"hardwareId": "cardiowear-2"}],
        "sites": {"mode": "all", "ids": []},
    }
    committed.restated("1.0.0", constraints=elsewhere)
    attempt_now()
    assert committed.standing()["mode"] == "safe"


def test_two_writers_take_nothing_back_from_each_other() -> None:
    """The supervisor records that health was proven, while the attempt exchanges the statement."""
    used = Generation(
        number=3,
        component="pvc-classifier",
        version="1.0.0",
        release="a" * 64,
        counter=1,
        floor_counter=1,
        statement="b" * 64,
        statement_number=7,
        health_window=30,
        max_attempts=3,
    )
    state = DeviceState(generations=(used,), active=3)
    proven = replace(used, proven=True)
    restated = replace(used, statement="c" * 64, statement_number=8, mode="investigational")
    for entries in ((proven, restated), (restated, proven)):
        folded = state
        for item in entries:
            folded = fold(folded, {"change": {"generation": vars(item)}})
        assert folded.in_use == replace(restated, proven=True)
