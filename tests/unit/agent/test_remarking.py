"""What a person remarks is an event with its release; what was written leaves in nothing."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from primum_agent.clock import FakeClock
from primum_agent.events import EventKind
from primum_agent.journal import Journal
from primum_agent.journal_port import FakeJournal
from primum_agent.remarking import KEPT, MAX_KEPT, Remark, remark, texts_of
from primum_verifier.core.errors import FailedError
from primum_verifier.record.event import parse_event
from primum_verifier.record.words import (
    MAX_REMARK,
    FeedbackCategory,
    FeedbackRole,
    FeedbackSeverity,
)

Attempt = Callable[..., int]
PAGE = (Path(__file__).parents[3] / "docs" / "device.md").read_text()
DONE, USAGE = 0, 2
WRITTEN = "Mrs. Novak, bed 12: couplet not marked"
WORDS = ("--role", "clinician", "--category", "missed-finding", "--severity", "could-harm")
SAID = Remark(
    role=FeedbackRole.CLINICIAN,
    category=FeedbackCategory.MISSED_FINDING,
    severity=FeedbackSeverity.COULD_HARM,
    text=WRITTEN,
)


@pytest.fixture
def committed(in_the_field: Any, attempt_now: Attempt) -> Any:
    """A device on which 1.0.0 proved health."""
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == DONE
    in_the_field.commit()
    return in_the_field


def test_a_remark_names_release_and_statement_and_its_text_leaves_in_nothing(
    committed: Any, tmp_path: Path
) -> None:
    done = committed.agent("feedback", *WORDS, "--text", WRITTEN, "--json")
    assert done.returncode == DONE
    told = json.loads(done.stdout)
    event = parse_event(committed.history()[-1], where="history")
    assert event.data.eligibility is not None
    assert told["release"] == committed.releases["1.0.0"]
    assert told["statementNumber"] == event.data.eligibility.number
    assert event.type.endswith("feedback.given")
    assert event.data.active_manifest == committed.releases["1.0.0"]
    found = event.data.feedback
    assert found is not None
    assert found.text is not None
    assert (found.category, found.text.characters) == ("missed-finding", len(WRITTEN))
    exported = tmp_path / "history.jsonl"
    assert committed.agent("history", "--export", exported).returncode == DONE
    assert committed.agent("export", tmp_path).returncode == DONE
    for path in [path for path in tmp_path.rglob("*.jsonl") if path.is_file()]:
        assert b"Novak" not in path.read_bytes(), path
    assert "could-harm, missed-finding, clinician" in committed.agent("history").stdout
    (kept,) = json.loads(committed.agent("feedback", "--texts", "--json").stdout)
    assert kept["text"] == WRITTEN
    # Whoever is handed salt and text can hold them against the event.
    assert sha256(bytes.fromhex(kept["salt"]) + WRITTEN.encode()).hexdigest() == found.text.digest
    assert WRITTEN in committed.agent("feedback", "--texts").stdout
    assert "stays on this device" in committed.agent("feedback", *WORDS, "--text", "x").stdout


def test_the_commands_of_the_page_are_run_as_written(committed: Any) -> None:
    lines = re.findall(r"^\$ primum-agent (feedback .*)$", PAGE, re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        words = shlex.split(line)
        words[words.index("--state") + 1] = str(committed.state)
        done = committed.agent(words[0], *words[3:])
        assert done.returncode == DONE, done.stderr
    assert "couplet" in done.stdout


def test_trying_it_records_nothing(committed: Any) -> None:
    before = committed.history()
    done = committed.agent("feedback", *WORDS, "--text", WRITTEN, "--dry-run", "--json")
    assert done.returncode == DONE
    assert json.loads(done.stdout)["event"] is None
    assert "would be recorded" in committed.agent("feedback", *WORDS, "--dry-run").stdout
    assert committed.history() == before
    assert committed.agent("feedback", "--texts").stdout == "No text is kept on this device.\n"


@pytest.mark.parametrize(
    "words",
    [
        WORDS[:4],
        (),
        (*WORDS[:5], "terrible"),
        (*WORDS, "--text", "x" * (MAX_REMARK + 1)),
        (*WORDS, "--text", "bell\a"),
    ],
)
def test_what_nobody_could_look_after_is_not_recorded(
    committed: Any, words: tuple[str, ...]
) -> None:
    before = committed.history()
    done = committed.agent("feedback", *words)
    assert done.returncode == USAGE
    assert "Traceback" not in done.stderr
    assert committed.history() == before


def test_a_remark_in_safe_mode_is_one_too(in_the_field: Any, attempt_now: Attempt) -> None:
    attempt_now()
    done = in_the_field.agent("feedback", *WORDS)
    assert done.returncode == DONE
    assert "no release in use" in done.stdout
    assert parse_event(in_the_field.history()[-1], where="x").data.active_manifest is None


def test_texts_are_bounded_and_their_events_stay(journal: Journal) -> None:
    for _ in range(MAX_KEPT + 3):
        remark(journal, SAID, clock=FakeClock())
    kept = texts_of(journal)
    assert len(kept) == MAX_KEPT
    assert len({item.salt for item in kept}) == MAX_KEPT
    given = [line for line in journal.events() if b"feedback.given" in line]
    assert len(given) == MAX_KEPT + 3
    assert kept[-1].event == journal.last_sequence()
    assert not [line for line in given if b"Novak" in line]


def test_a_remark_that_the_disk_does_not_take_keeps_no_text(journal: Journal, layout: Any) -> None:
    broken = FakeJournal.open(layout, clock=FakeClock(), device_id="wearable-001")
    broken.fails_at = EventKind.FEEDBACK_GIVEN
    with pytest.raises(FailedError):
        remark(broken, SAID, clock=FakeClock())
    broken.close()
    assert journal.counter(KEPT, "") == ""


def test_a_reset_takes_the_texts_and_the_counters_with_it(committed: Any, tmp_path: Path) -> None:
    assert committed.agent("feedback", *WORDS, "--text", WRITTEN).returncode == DONE
    with committed.journal_to_write() as journal:
        journal.set_counters(monitor='{"kept":"something"}', monitor_pending="[]")
    words = ("--factory", "--by", "R. Meyer", "--yes", "--export", tmp_path)
    provisioning = ("--provisioning", committed.provisioning)
    done = committed.agent("reset", *words, *provisioning)
    if done.returncode == USAGE:
        done = committed.agent("reset", *words)
    assert done.returncode == DONE, done.stderr
    for path in [one for one in committed.state.rglob("*") if one.is_file()]:
        assert b"Novak" not in path.read_bytes(), path
    for name in (KEPT, "monitor", "monitor-pending"):
        assert committed.counter(name) in {"", "None"}, name
