"""``may-use`` on the socket: the library's answer for other languages, and no loose question."""

from __future__ import annotations

import builtins
import json
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from primum_agent.application import ActiveRelease, Episode, open_active
from primum_agent.desk import MAX_LINE, short_path
from primum_agent.episode_asked import MOST_CHARACTERS, MOST_ITEMS, answer_may_use, read_episode
from primum_verifier.core.errors import UsageError

NOW = datetime(2026, 7, 1, tzinfo=UTC)
TERMS: dict[str, Any] = {
    "mode": "clinical",
    "protocol": None,
    "banner": "",
    "notAfter": "2026-12-01T00:00:00Z",
    "onExpiry": "fall-back",
    "layers": [{"ageYearsMin": 18, "patientCategories": ["adult"]}],
}
ADULT = {"ageYears": 54, "patientCategory": "adult"}


def standing(state: Path, **changes: Any) -> None:
    content = {
        "schemaVersion": "0.1",
        "mode": "clinical",
        "generation": 3,
        "statement": "b" * 64,
        "terms": TERMS,
        "ending": None,
        **changes,
    }
    (state / "run").mkdir(exist_ok=True)
    (state / "run" / "standing.json").write_text(json.dumps(content))


def asked(state: Path, episode: Any = None, *, now: datetime = NOW) -> dict[str, Any]:
    request = {"do": "may-use", "episode": ADULT if episode is None else episode}
    return answer_may_use(request, state_dir=state, now=lambda: now)


def test_the_answer_names_the_release_that_it_is_about(tmp_path: Path) -> None:
    standing(tmp_path)
    assert asked(tmp_path) == {
        "ok": True,
        "answer": "allow",
        "reason": None,
        "found": "every term of use is met",
        "banner": "",
        "generation": 3,
        "statement": "b" * 64,
    }


@pytest.mark.parametrize(
    ("changes", "episode", "reason"),
    [
        ({}, {**ADULT, "ageYears": 9}, "eligibility.population"),
        ({}, {}, "eligibility.population"),
        ({"mode": "safe", "generation": None}, ADULT, "fallback.none"),
        ({"mode": "shadow"}, ADULT, "fallback.none"),
        ({"schemaVersion": "0.2"}, ADULT, "fallback.none"),
        ({"ending": {"reason": "eligibility.expired"}}, ADULT, "eligibility.expired"),
        ({"terms": None}, ADULT, "state.damaged"),
        ({"terms": {**TERMS, "layers": [{"newLimit": 1}]}}, ADULT, "eligibility.crit-unknown"),
    ],
)
def test_what_may_not_be_used_is_refused_with_its_reason(
    tmp_path: Path, changes: dict[str, Any], episode: Any, reason: str
) -> None:
    standing(tmp_path, **changes)
    answer = asked(tmp_path, episode)
    assert (answer["ok"], answer["answer"], answer["reason"]) == (True, "refuse", reason)


def test_without_the_agents_own_word_nothing_may_be_used(tmp_path: Path) -> None:
    assert asked(tmp_path)["answer"] == "refuse"


def test_a_clock_set_forward_takes_nothing_away_while_the_agent_runs(tmp_path: Path) -> None:
    """The agent takes a lapsed release away by proven time; the clock alone does not."""
    standing(tmp_path)
    assert asked(tmp_path, now=NOW + timedelta(days=900))["answer"] == "allow"
    standing(tmp_path, terms={**TERMS, "onExpiry": "continue-with-notice"})
    late = asked(tmp_path, now=NOW + timedelta(days=900))
    assert (late["answer"], "has ended" in late["banner"]) == ("allow-with-banner", True)


@pytest.mark.parametrize(
    "episode",
    [
        [],
        "adult",
        7,
        {"age": 54},
        {**ADULT, "layers": []},
        {"ageYears": True},
        {"ageYears": 54.0},
        {"ageYears": float("nan")},
        {"ageYears": "54"},
        {"ageYears": -1},
        {"ageYears": 151},
        {"ageYears": 10**400},
        {"ageYears": None},
        {"sex": "Female"},
        {"sex": ["female"]},
        {"patientCategory": "pediatric"},
        {"patientCategory": {}},
        {"codes": "a|b"},
        {"codes": [1]},
        {"codes": [""]},
        {"codes": ["x" * (MOST_CHARACTERS + 1)]},
        {"codes": ["x"] * (MOST_ITEMS + 1)},
        {"conditionsMet": {"worn": True}},
        {"inputs": {"ecg": {}}},
        {"inputs": [{"channel": "ecg", "code": "1", "unit": "mV"}]},
        {"inputs": [{"channel": "ecg", "code": "1", "unit": "mV", "rateHz": "250"}]},
        *[
            {"inputs": [{"channel": "ecg", "code": "1", "unit": "mV", "rateHz": rate}]}
            for rate in (float("nan"), float("inf"), -1, 0, True, 10**400)
        ],
        {"inputs": [{"channel": "ecg", "code": "1", "unit": "mV", "rateHz": 250}] * 2},
        {"inputs": [{"channel": "e", "code": "1", "unit": "mV", "rateHz": 250, "gain": 1}]},
    ],
)
def test_a_question_that_is_not_understood_is_no_question(tmp_path: Path, episode: Any) -> None:
    """A member that is skipped, or a number that is rounded, would be an answer about another."""
    standing(tmp_path, terms={**TERMS, "layers": []})
    with pytest.raises(UsageError) as found:
        asked(tmp_path, episode)
    assert str(found.value.reason) == "usage"


@pytest.mark.parametrize("request_", [{"do": "may-use"}, {"do": "may-use", "episode": {}, "x": 1}])
def test_a_request_with_more_or_less_than_an_episode_is_refused(
    tmp_path: Path, request_: dict[str, Any]
) -> None:
    standing(tmp_path)
    with pytest.raises(UsageError):
        answer_may_use(request_, state_dir=tmp_path, now=lambda: NOW)


def test_everything_that_may_be_known_is_read() -> None:
    channel = {"channel": "ecg", "code": "131329", "unit": "mV", "rateHz": 250}
    found = read_episode(
        {
            **ADULT,
            "sex": "female",
            "codes": ["icd|I49.3"],
            "inputs": [channel],
            "conditionsMet": ["worn"],
        }
    )
    assert found == Episode(
        age_years=54,
        sex="female",
        patient_category="adult",
        codes=frozenset({"icd|I49.3"}),
        inputs={"ecg": ("131329", "mV", 250.0)},
        conditions_met=frozenset({"worn"}),
    )
    assert read_episode({}) == Episode()


def test_only_the_agents_word_is_read_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood of questions must neither wear the disk nor reach another file."""
    standing(tmp_path)
    opened: list[str] = []
    real_open = Path.open

    def seen(path: Path, mode: str = "r", *words: Any, **named: Any) -> Any:
        opened.append(f"{path.relative_to(tmp_path)} {mode}")
        return real_open(path, mode, *words, **named)

    monkeypatch.setattr(Path, "open", seen)
    monkeypatch.setattr(builtins, "open", None)
    asked(tmp_path)
    assert opened == ["run/standing.json rb"]


def test_the_supervisor_answers_and_keeps_the_connection(
    in_the_field: Any, attempt_now: Callable[..., int], eventually: Callable[..., Any]
) -> None:
    """As the library answers, between questions that are refused, on one connection."""
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == 0
    in_the_field.commit()
    with in_the_field.running():
        eventually(in_the_field.layout.socket.exists)
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link,
            short_path(in_the_field.layout.socket) as name,
        ):
            link.settimeout(5)
            link.connect(name)
            lines = link.makefile("rb")

            def ask(line: str) -> dict[str, Any]:
                link.sendall(line.encode() + b"\n")
                answer: dict[str, Any] = json.loads(lines.readline())
                return answer

            release = open_active(in_the_field.state)
            assert isinstance(release, ActiveRelease)
            for line in (
                '{"do":"may-use","episode":{"ageYears":NaN}}',
                '{"do":"may-use","episode":{"age":54}}',
                '{"do":"may-use","episode":{"codes":["' + "x" * 4000 + '"]}}',
                '{"do":"may-use","episode":' + "[" * (MAX_LINE - 100) + "}",
                "no JSON at all",
            ):
                refused = ask(line)
                assert (refused["ok"], refused["reason"]) == (False, "usage"), line
                allowed = ask(json.dumps({"do": "may-use", "episode": ADULT}))
                assert allowed["ok"] is True
                assert allowed["answer"] == release.may_use(Episode(age_years=54)).answer
                assert allowed["generation"] == release.generation
                assert allowed["statement"] == release.statement
