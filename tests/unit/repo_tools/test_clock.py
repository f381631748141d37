"""A machine whose clock cannot be right signs nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from primum_repo_tools import moments
from primum_repo_tools.repository import AuthorityRepository

COMPONENT = "pvc-classifier"

SIGNING = [
    ["authority", "refresh", "{story.clinical}"],
    ["authority", "renew", "{story.clinical}", "--role", "safety"],
    ["release", "sign", "{story.engineering}", COMPONENT, "1.1.0"],
    ["rollout", "{story.engineering}", "--component", COMPONENT, "--version", "1.0.0",
     "--percentage", "5"],
    ["approve", "sign", "{story.clinical}", COMPONENT, "1.0.0",
     "--as", "{story.folder}/people/a.berg", "--yes"],
    ["hold", "{story.clinical}", "--component", COMPONENT, "--version", "1.0.0", "--yes",
     "--reason", "x", "--hazard", "H", "--as", "{story.folder}/people/a.berg"],
]  # fmt: skip


def test_nothing_is_signed_by_a_clock_that_went_back(
    published: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Devices take issue times as proof of time: a machine whose battery died proves nothing."""
    published.build("1.1.0", previous="1.0.0", weights=(2.5, -1.0))
    past = moments.now_utc() - timedelta(hours=12)
    monkeypatch.setattr(moments, "now_utc", lambda: past)
    for command in SIGNING:
        filled = [part.format(story=published) for part in command]
        before = published.tree("clinical/web", "engineering/web", "clinical/statements")
        answer = published.try_run(*filled, "--json")
        assert answer.code == 1, command
        error = answer.json["error"]
        assert error["reason"] == "trust.time-unknown", error
        assert "clock" in error["message"]
        assert "Set the clock" in error["remedy"]
        after = published.tree("clinical/web", "engineering/web", "clinical/statements")
        assert after == before, command


def test_no_issue_time_is_after_the_end_of_its_timestamp(
    story: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AuthorityRepository, "_life", lambda *_: timedelta(seconds=-1))
    answer = story.try_run("authority", "refresh", story.engineering)
    assert answer.code == 1
    assert "not after the timestamp's own end" in answer.err
