"""Consent: asked once, answered by a person, bounded however long nobody answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primum_agent.application import ask_agent
from primum_agent.clock import FakeClock
from primum_agent.consenting import Question, ask_person, defer, question_of
from primum_agent.gate_memory import remembered_gates
from primum_agent.journal import Journal
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.record.event import parse_event

Attempt = Callable[..., int]
DONE, REFUSED, USAGE, WAITING = 0, 1, 2, 5
HOUR = 3600.0
CONSENT = "[gates.consent]\ndeferrals = 2\ndefer_hours = 24\n"


def settings(field: Any, text: str = CONSENT) -> None:
    field.more_settings = text
    field.write("agent.toml", field.settings().encode())


def after(hours: float) -> FakeClock:
    return FakeClock(
        moment=datetime.now(UTC) + timedelta(hours=hours), powered=1000.0 + hours * HOUR, boot="b"
    )


def serves(field: Any) -> str | None:
    version = field.standing()["version"]
    return None if version is None else str(version)


def row(field: Any) -> dict[str, Any]:
    rows = remembered_gates(field.counter("gates")).rows
    return dict(next(item for item in rows if item["gate"] == "consent"))


def test_a_person_who_agrees_opens_the_gate(in_the_field: Any, attempt_now: Attempt) -> None:
    settings(in_the_field)
    in_the_field.release("1.0.0", counter=1)
    for _ in range(2):
        assert attempt_now() == WAITING
    assert in_the_field.kinds().count("update.waiting") == 1
    assert in_the_field.event("update.waiting")["data"]["reasons"] == ["safety.operator"]
    shown = json.loads(in_the_field.agent("status", "--json").stdout)["question"]
    assert shown["release"] == in_the_field.releases["1.0.0"]
    assert shown["deferralsLeft"] == 2
    assert "agree to pvc-classifier 1.0.0?" in in_the_field.agent("status").stdout
    done = in_the_field.agent("consent", "--by", "R. Meyer")
    assert done.returncode == DONE, done.stderr
    event = in_the_field.event("update.agreed")
    parse_event(json.dumps(event).encode(), where="journal")
    assert event["data"]["detail"]["by"] == "R. Meyer"
    assert json.loads(in_the_field.agent("status", "--json").stdout)["question"] is None
    assert attempt_now() == DONE
    assert serves(in_the_field) == "1.0.0"
    assert in_the_field.counter("consent") == ""


def test_silence_is_bounded_and_the_bound_survives_a_restart(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    settings(in_the_field)
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now(clock=after(0)) == WAITING
    assert attempt_now(clock=after(71)) == WAITING
    assert "deferrals left: 0" in row(in_the_field)["reading"]
    assert attempt_now(clock=after(72.1)) == DONE
    assert serves(in_the_field) == "1.0.0"


def test_the_clock_alone_does_not_use_up_a_persons_time(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    """Switched off for a week: nobody could have answered."""
    settings(in_the_field)
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now(clock=after(0)) == WAITING
    later = FakeClock(moment=datetime.now(UTC) + timedelta(days=7), powered=10.0, boot="c")
    assert attempt_now(clock=later) == WAITING
    assert "deferrals left: 2" in row(in_the_field)["reading"]


def test_later_is_said_so_many_times_and_no_more(in_the_field: Any, attempt_now: Attempt) -> None:
    settings(in_the_field)
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == WAITING
    for left in (1, 0):
        done = in_the_field.agent("defer", "1.0.0", "--by", "R. Meyer", "--json")
        assert (done.returncode, json.loads(done.stdout)["deferralsLeft"]) == (DONE, left)
        told = in_the_field.event("update.waiting")
        parse_event(json.dumps(told).encode(), where="journal")
        assert told["data"]["detail"]["deferredBy"] == "R. Meyer"
        assert told["data"]["detail"]["deferralsLeft"] == left
        assert attempt_now() == WAITING
    done = in_the_field.agent("defer", "--by", "R. Meyer")
    assert (done.returncode, "No deferral is left" in done.stderr) == (REFUSED, True)
    assert in_the_field.kinds().count("update.waiting") == 3


def test_an_answer_that_is_mandatory_is_waited_for_without_end_and_that_is_said(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    settings(in_the_field, CONSENT + "mandatory = true\n")
    in_the_field.release("1.0.0", counter=1, severity="critical")
    assert attempt_now(clock=after(0)) == WAITING
    assert attempt_now(clock=after(200)) == WAITING
    assert "mandatory" in row(in_the_field)["reading"]
    shown = json.loads(in_the_field.agent("status", "--json").stdout)["question"]
    assert shown["holdsForSeconds"] is None
    assert "it waits until somebody does" in in_the_field.agent("status").stdout
    assert in_the_field.agent("consent", "1.0.0", "--by", "R. Meyer").returncode == DONE
    assert attempt_now(clock=after(201)) == DONE


def test_a_statement_that_asks_for_an_agreement_outlasts_the_deferrals_of_the_settings(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    """The maker's table would let it pass after three days; the signed statement does not."""
    settings(in_the_field)
    in_the_field.said = {"use": {"mode": "clinical", "automation": "manual-update"}}
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now(clock=after(0)) == WAITING
    assert attempt_now(clock=after(200)) == WAITING
    assert serves(in_the_field) is None
    assert "mandatory" in row(in_the_field)["reading"]


@pytest.mark.parametrize(
    ("severity", "left", "hours"), [("optional", 2, 72), ("mandatory", 1, 48), ("critical", 0, 1)]
)
def test_severity_shortens_the_wait(
    in_the_field: Any, attempt_now: Attempt, severity: str, left: int, hours: float
) -> None:
    settings(in_the_field)
    in_the_field.release("1.0.0", counter=1, severity=severity)
    assert attempt_now(clock=after(0)) == WAITING
    assert f"deferrals left: {left}" in row(in_the_field)["reading"]
    assert attempt_now(clock=after(hours - 0.1)) == WAITING
    assert attempt_now(clock=after(hours + 0.1)) == DONE


def test_an_answer_is_about_the_release_that_was_asked_about(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    settings(in_the_field)
    assert attempt_now() == DONE
    assert in_the_field.agent("consent", "--by", "R. Meyer").returncode == USAGE
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == WAITING
    assert in_the_field.agent("consent", "9.9.9", "--by", "R. Meyer").returncode == USAGE
    assert in_the_field.agent("defer", "9.9.9", "--by", "R. Meyer").returncode == USAGE
    assert in_the_field.agent("consent", "--by", " ").returncode == USAGE
    assert in_the_field.agent("consent", "--by", "R. Meyer").returncode == DONE
    # Another release took its place before the next poll: it is asked about anew.
    in_the_field.release("1.1.0", counter=2)
    assert attempt_now() == WAITING
    assert serves(in_the_field) is None
    shown = json.loads(in_the_field.agent("status", "--json").stdout)["question"]
    assert shown["release"] == in_the_field.releases["1.1.0"]


def test_the_application_shows_the_question_and_passes_the_answer_on(
    in_the_field: Any, attempt_now: Attempt, eventually: Callable[..., Any]
) -> None:
    settings(in_the_field)
    release = in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == WAITING
    with in_the_field.running():

        def question() -> Any:
            return ask_agent(in_the_field.state, {"do": "consent"}).get("question")

        shown = eventually(question)
        assert (shown["name"], shown["deferralsLeft"]) == ("pvc-classifier 1.0.0", 2)
        live = ask_agent(in_the_field.state, {"do": "status"})
        assert live["question"]["release"] == release
        assert any(gate["gate"] == "consent" for gate in live["gates"])
        for wrong in ({"release": "0" * 64, "by": "R. Meyer"}, {"release": release}, {}):
            for word in ("agree", "defer"):
                answer = ask_agent(in_the_field.state, {"do": word, **wrong})
                assert (answer["ok"], answer["reason"]) == (False, "usage")
        later = {"do": "defer", "release": release, "by": "R. Meyer"}
        assert ask_agent(in_the_field.state, later)["question"]["deferralsLeft"] == 1
        agreed = ask_agent(in_the_field.state, {**later, "do": "agree"})
        assert (agreed["ok"], agreed["question"]) == (True, None)
        eventually(in_the_field.opened)
    assert in_the_field.event("update.agreed")["data"]["detail"]["with"] == "application"


# The bound, whatever is said and whenever


@given(
    deferrals=st.integers(0, 5),
    hours=st.floats(0.5, 48),
    said=st.lists(st.floats(0, 60), max_size=10),
)
def test_no_way_of_saying_later_holds_longer_than_silence(
    deferrals: int, hours: float, said: list[float]
) -> None:
    question = Question(
        release="a" * 64,
        name="x 1.0.0",
        deferrals=deferrals,
        hours=hours,
        mandatory=False,
        asked=0.0,
        until=hours * HOUR,
    )
    most = (deferrals + 1) * hours * HOUR
    assert question.seconds_left(0.0) == pytest.approx(most)
    journal = Store(question)
    for pause in said:
        journal.powered += pause * HOUR
        left = question_of(journal).deferrals_left(journal.powered)  # type: ignore[union-attr,arg-type]
        try:
            later = defer(journal, release=None, by="R. Meyer", using="a test")  # type: ignore[arg-type]
        except RefusedError:
            assert left == 0
            continue
        assert later.deferrals_left(journal.powered) == left - 1
        assert journal.powered + later.seconds_left(journal.powered) <= most + 1e-3


class Store:
    """The calls that saying "later" makes; the real journal is slow for hundreds of them."""

    def __init__(self, question: Question) -> None:
        self.powered = 0.0
        self.text = json.dumps(question.__dict__)

    def deciding(self) -> AbstractContextManager[None]:
        return nullcontext()

    def counter(self, _: str, __: str) -> str:
        return self.text

    def set_counters(self, *, consent: str) -> None:
        self.text = consent

    def powered_total(self) -> float:
        return self.powered

    def record(self, _: object) -> None:
        """Nothing is looked up in the events."""


def test_a_shorter_rule_of_the_maker_counts_at_once(journal: Journal) -> None:
    facts: dict[str, Any] = {"release": "a" * 64, "name": "x 1.0.0", "mandatory": False}
    ask_person(journal, deferrals=5, hours=48.0, powered=0.0, **facts)
    shorter = ask_person(journal, deferrals=0, hours=1.0, powered=10.0, **facts)
    assert shorter.seconds_left(10.0) == HOUR
    with pytest.raises(UsageError):
        defer(journal, release="b" * 64, by="R. Meyer", using="a test")
