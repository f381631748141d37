"""A release for shadow only: kept, judged at each look, ended by every doubt, never active."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
from tests.unit.agent.shadowed import (
    DONE,
    EXAMPLES,
    FOR_SHADOW,
    IN_SHADOW,
    REFUSED,
    RUNNING,
    Attempt,
    monitoring_bytes,
    named,
    offered,
    runs,
    shadowed,
    state_of,
    status,
)

from primum_agent.fail_points import ShadowPoint
from primum_agent.shadow_counts import ShadowCounts, identity_of, write_counts
from primum_agent.shadow_run import ShadowRun, read_shadow, shadow_beside, withdraw_shadow
from primum_device_sim.broker import BrokerHandle
from primum_device_sim.demo.subscriber import Subscriber
from primum_verifier.core.document import parse_document
from primum_verifier.record.event import parse_event
from primum_verifier.record.monitoring import MonitoringSpecification
from primum_verifier.record.shadow import Compared, ShadowOutcome

HOUR = 3600.0


def whole_journal(field: Any) -> list[dict[str, Any]]:
    """Every event, each read as a receiver reads it; the state is what they add up to."""
    journal = field.journal()
    try:
        lines = list(journal.events())
        assert journal.state() == journal.replayed()
    finally:
        journal.close()
    for line in lines:
        parse_event(line, where="journal")
    return [json.loads(line) for line in lines]


# Where it may run


def test_what_a_site_accepted_for_shadow_is_tested_kept_and_named_and_never_active(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    field = shadowed(in_the_field, attempt_now)
    run = named(field)
    assert run is not None
    assert (run.version, run.release) == (IN_SHADOW, field.releases[IN_SHADOW])
    assert run.beside == field.releases[RUNNING] == field.opened().release
    assert (run.output, run.threshold) == ("p", "0.5")
    assert all(item.is_whole() for item in (run.model, run.specification, run.monitoring))
    kinds = field.kinds()
    assert kinds[-2:] == ["selftest.passed", "shadow.begun"]
    assert state_of(field).lifecycle == "idle"
    assert len(state_of(field).generations) == 1, "it is no generation"
    told = status(field)
    assert told["version"] == RUNNING
    assert told["shadow"]["name"].endswith(IN_SHADOW)
    assert told["onThisDevice"] == []
    assert "shadow" in field.agent("status").stdout
    check = field.agent("check", "--provisioning", field.provisioning)
    assert (check.returncode, "runs in shadow already" in check.stdout) == (0, True)
    whole_journal(field)
    # Nothing is done or said again.
    for _ in range(2):
        assert attempt_now() == DONE
    assert field.kinds() == kinds


def test_a_site_that_did_not_accept_it_is_not_even_made_to_fetch_it(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    field = offered(runs(in_the_field, attempt_now))
    before = {path.name for path in (field.layout.store / "sha256").iterdir()}
    for _ in range(2):
        assert attempt_now() == REFUSED
    assert {path.name for path in (field.layout.store / "sha256").iterdir()} == before
    assert named(field) is None
    assert "update.downloading" not in field.kinds()[field.kinds().index("update.committed") :]
    assert field.event("update.refused")["data"]["reasons"] == ["eligibility.site-acceptance"]
    field.accept(RUNNING, IN_SHADOW)
    assert attempt_now() == DONE
    assert named(field) is not None


@pytest.mark.parametrize("lack", ["nothing in use", "no bins", "no specification"])
def test_what_cannot_be_compared_or_counted_is_staged_untested_with_its_reason(
    in_the_field: Any, attempt_now: Attempt, lack: str
) -> None:
    field = in_the_field
    monitoring = monitoring_bytes()
    if lack == "nothing in use":
        field.add_site()
        field.enroll()
    else:
        runs(field, attempt_now)
        content = json.loads(monitoring)
        del content["shadow"]
        monitoring = b"" if lack == "no specification" else json.dumps(content).encode()
    tested = field.kinds().count("selftest.started")
    offered(field, monitoring=monitoring)
    field.accept(RUNNING, IN_SHADOW)
    for _ in range(2):
        assert attempt_now() == REFUSED
    assert named(field) is None
    assert field.kinds().count("selftest.started") == tested
    told = field.event("update.staged")["data"]
    reason = "fallback.none" if lack == "nothing in use" else "compat.contract"
    assert told["reasons"] == ["eligibility.mode", reason]
    assert field.kinds().count("update.staged") == 1


# What ends it


def _withdrawn(field: Any, _: Attempt) -> str:
    field.withdraw(IN_SHADOW)
    return "eligibility.withdrawn"


def _not_accepted_any_more(field: Any, _: Attempt) -> str:
    field.accept(RUNNING)
    return "eligibility.site-acceptance"


def _another_plan(field: Any, _: Attempt) -> str:
    field.assign(RUNNING)
    field.publish()
    return "eligibility.superseded"


def _safe_mode(field: Any, attempt_now: Attempt) -> str:
    field.withdraw(RUNNING)
    del attempt_now
    return "fallback.none"


def _spoilt(field: Any, sha256: str) -> str:
    path = field.layout.store / "sha256" / sha256
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:-1] + b"\0")
    (field.engineering.web / "artifacts" / sha256).write_bytes(b"gone")
    return "artifact.digest"


def _a_damaged_model(field: Any, _: Attempt) -> str:
    return _spoilt(field, state_of(field).shadow.model)


def _damaged_bins(field: Any, _: Attempt) -> str:
    return _spoilt(field, state_of(field).shadow.monitoring)


@pytest.mark.parametrize(
    "end",
    [
        _withdrawn,
        _not_accepted_any_more,
        _another_plan,
        _safe_mode,
        _a_damaged_model,
        _damaged_bins,
    ],
)
def test_every_doubt_ends_it_at_the_next_look(
    in_the_field: Any, attempt_now: Attempt, end: Callable[[Any, Attempt], str]
) -> None:
    field = shadowed(in_the_field, attempt_now)
    reason = end(field, attempt_now)
    attempt_now()
    assert named(field) is None
    assert not field.layout.shadow.exists()
    assert state_of(field).shadow is None
    assert field.kinds().count("shadow.ended") == 1
    assert reason in field.event("shadow.ended")["data"]["reasons"]
    assert status(field)["shadow"] is None
    whole_journal(field)


def test_a_stop_ends_it_before_any_attempt(
    in_the_field: Any, attempt_now: Attempt, eventually: Callable[..., Any]
) -> None:
    """The standing alone says so: whoever runs it looks there, too."""
    field = shadowed(in_the_field, attempt_now)
    assert shadow_beside(field.layout) is not None
    with field.running():
        opened = field.opened()
        eventually(lambda: opened.ask_safe_mode("it alarms for nothing"))
        assert shadow_beside(field.layout) is None
    attempt_now()
    assert state_of(field).shadow is None


def test_it_ends_where_it_may_be_used_and_is_then_activated_like_any_other(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    field = shadowed(in_the_field, attempt_now)
    field.entries = [item for item in field.entries if item["version"] != IN_SHADOW]
    field.approve(IN_SHADOW, ("clinical", "quality", "regulatory"))
    field.publish()
    field.accept(RUNNING, IN_SHADOW)
    assert attempt_now() == DONE
    assert named(field) is None
    assert field.opened().version == IN_SHADOW


# It is never active, by no path


def test_no_command_and_no_way_back_ever_activates_it(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    field = shadowed(in_the_field, attempt_now)
    words = ["--provisioning", field.provisioning]
    for command in (
        ["rollback", IN_SHADOW, "--by", "a person", "--why", "try", *words],
        ["approve", IN_SHADOW, "--by", "a person"],
        ["retry", IN_SHADOW],
    ):
        done = field.agent(*command)
        assert "usage: primum-agent" not in done.stderr, done.stderr
        attempt_now()
        assert field.opened().version == RUNNING
    medium = field.folder / "stick"
    medium.mkdir()
    for name in ("engineering", "clinical", "site"):
        (medium / name).symlink_to(field.folder / name)
    field.agent("install", medium, *words)
    assert field.opened().version == RUNNING
    # What runs is taken away: safe mode, and not what lies there whole and tested.
    field.withdraw(RUNNING)
    attempt_now()
    assert field.opened() is None
    assert field.standing()["mode"] == "safe"
    assert all(item.version == RUNNING for item in state_of(field).generations)


def test_a_statement_for_shadow_never_serves_a_release_that_runs(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    """Clinical narrows what is in use to shadow: it is left, not run beside itself."""
    field = runs(in_the_field, attempt_now)
    field.entries = []
    field.said = FOR_SHADOW
    field.approve(RUNNING, ("clinical", "quality", "regulatory"))
    field.publish()
    field.accept(RUNNING)
    attempt_now()
    assert field.opened() is None
    assert named(field) is None


# Cuts


@pytest.mark.parametrize("point", [ShadowPoint.BEFORE_EVENT, ShadowPoint.AFTER_EVENT])
def test_a_cut_at_its_beginning_leaves_all_of_it_or_none(
    in_the_field: Any, attempt_now: Attempt, point: ShadowPoint
) -> None:
    field = offered(runs(in_the_field, attempt_now))
    field.accept(RUNNING, IN_SHADOW)
    field.more_settings = '[gates.clinical_use]\nfile = "/dev/null"\n'
    field.once(PRIMUM_TEST_FAIL_POINTS="1", PRIMUM_FAIL_POINT=str(point))
    marked = state_of(field).shadow is not None
    assert marked == (point is ShadowPoint.AFTER_EVENT)
    assert named(field) is None, "what is not marked is not named; what is marked, after the mark"
    attempt_now()
    assert named(field) is not None
    assert field.kinds().count("shadow.begun") == 1
    whole_journal(field)


@pytest.mark.parametrize("point", [ShadowPoint.BEFORE_END, ShadowPoint.BEFORE_ENDED])
def test_a_cut_at_its_end_leaves_nothing_that_runs_unmarked(
    in_the_field: Any, attempt_now: Attempt, point: ShadowPoint
) -> None:
    field = shadowed(in_the_field, attempt_now)
    field.withdraw(IN_SHADOW)
    field.once(PRIMUM_TEST_FAIL_POINTS="1", PRIMUM_FAIL_POINT=str(point))
    assert state_of(field).shadow is not None
    assert (named(field) is None) == (point is ShadowPoint.BEFORE_ENDED)
    attempt_now()
    assert (named(field), state_of(field).shadow) == (None, None)
    assert field.kinds().count("shadow.ended") == 1


def test_its_files_outlive_collection_and_go_with_a_reset(
    in_the_field: Any, attempt_now: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = shadowed(in_the_field, attempt_now)
    run = named(field)
    assert run is not None
    # Even where no stored manifest names them, as where room is made for another release.
    monkeypatch.setattr("primum_agent.collecting._named", lambda *_: set())
    for _ in range(2):
        attempt_now()
    assert all(item.is_whole() for item in (run.model, run.specification, run.monitoring))
    write_counts(field.layout, counted(run, 1))
    stick = field.folder / "stick"
    stick.mkdir()
    words = ["--factory", "--by", "a person", "--export", stick, "--yes"]
    done = field.agent("reset", *words)
    assert done.returncode == 0, done.stderr
    assert not field.layout.shadow.exists()
    assert not field.layout.shadow_counts.exists()


# What is told


def counted(run: ShadowRun, windows: int, *, flips: int = 3) -> ShadowCounts:
    """Counts as the process of a shadow leaves them."""
    spec = parse_document(MonitoringSpecification, monitoring_bytes(), where="test")
    shape = spec.shadow_shape
    assert shape is not None
    counts = ShadowCounts(
        identity=identity_of(run),
        shape=shape,
        window_seconds=24 * HOUR,
        since="2026-05-18T09:00:00Z",
    )
    for _ in range(windows):
        for number in range(200):
            flipped = number < flips
            counts.add(
                Compared(
                    outcome=ShadowOutcome.TO_POSITIVE if flipped else ShadowOutcome.AGREED,
                    difference=0.3 if flipped else 0.0,
                    latency_ms=7.0,
                    groups={"age-band": "18-44" if number % 2 else "45-64"},
                )
            )
        counts.miss(dropped=4, unanswered=2)
        assert counts.pass_time(24 * HOUR)
    return counts


def test_a_window_is_told_once_with_its_small_cells_withheld(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    field = shadowed(in_the_field, attempt_now)
    run = named(field)
    assert run is not None
    counts = counted(run, 2)
    counts.add(Compared(outcome=ShadowOutcome.FAILED))
    write_counts(field.layout, counts)
    for _ in range(3):
        assert attempt_now() == DONE
    events = [item for item in whole_journal(field) if item["type"].endswith("shadow.summary")]
    assert [item["data"]["shadow"]["window"] for item in events] == [1, 2]
    told = events[0]["data"]["shadow"]
    assert told["mode"] == "shadow"
    assert told["windowHours"] == 24
    assert told["outcomes"]["agreed"] == 197
    assert {name for name, cell in told["outcomes"].items() if cell is not None} == {"agreed"}
    assert told["latencies"] == [None, 200, None, None, None, None, None]
    groups = told["cohorts"]["age-band"]["groups"]
    assert [cells["flipped"] for cells in groups.values()] == [None] * 3
    assert (told["dropped"], told["unanswered"]) == (4, 2)
    seen = status(field)["shadow"]
    assert (seen["comparisons"], seen["flips"], seen["dropped"]) == (401, 7, 8)
    assert "401 comparisons, 7 flips, 8 dropped" in field.agent("status").stdout
    assert state_of(field).shadow.told == 2


def test_a_site_so_small_that_a_group_is_a_person_lets_no_group_leave(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    field = shadowed(in_the_field, attempt_now)
    run = named(field)
    assert run is not None
    write_counts(field.layout, counted(run, 1))
    field.write("agent.toml", f"{field.settings()}[reports]\nbreakdowns = false\n".encode())
    assert attempt_now() == DONE
    (event,) = [item for item in whole_journal(field) if item["type"].endswith("shadow.summary")]
    told = event["data"]["shadow"]
    assert told["cohorts"] == {}
    assert told["outcomes"]["agreed"] == 197
    assert "45-64" not in json.dumps(event)


def test_a_window_arrives_where_the_other_events_do(
    in_the_field: Any,
    attempt_now: Attempt,
    eventually: Callable[..., Any],
    broker: BrokerHandle,
) -> None:
    field = shadowed(in_the_field, attempt_now)
    run = named(field)
    assert run is not None
    write_counts(field.layout, counted(run, 1))
    field.write("agent.toml", field.settings(3600, broker.port).encode())
    heard = Subscriber(host="127.0.0.1", port=broker.port, topic="primum/demo/#")

    def summaries() -> list[bytes]:
        said = [item for item in heard.messages() if item.topic.endswith("/provenance")]
        return [item.payload for item in said if b"device.shadow.summary" in item.payload]

    with heard.listening(), field.running():
        eventually(summaries)
    (line,) = set(summaries())
    event = parse_event(line, where="broker")
    assert event.data.shadow is not None
    assert event.data.shadow.window == 1
    assert event.data.shadow.outcomes[ShadowOutcome.AGREED] == 197


@pytest.mark.parametrize("spoilt", [b"", b"{", b"[]", b'{"schemaVersion": "0.1"}', b"\xff" * 99])
def test_counts_that_somebody_spoilt_say_nothing_and_stop_nothing(
    in_the_field: Any, attempt_now: Attempt, spoilt: bytes
) -> None:
    field = shadowed(in_the_field, attempt_now)
    field.layout.shadow_counts.write_bytes(spoilt)
    assert attempt_now() == DONE
    assert "shadow.summary" not in field.kinds()
    assert status(field)["shadow"]["comparisons"] == 0
    assert named(field) is not None


# The file


def test_the_file_is_closed_and_whatever_else_stands_in_it_names_nothing(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    field = shadowed(in_the_field, attempt_now)
    content = json.loads(field.layout.shadow.read_text())
    run = named(field)
    assert run is not None
    assert content == {"schemaVersion": "0.1", **asdict(run)}
    wrong = [
        {**content, "more": "x"},
        {name: value for name, value in content.items() if name != "beside"},
        {**content, "schemaVersion": "0.2"},
        {**content, "release": "A" * 64},
        {**content, "not_after": "2031-01-01T00:00:00"},
        {**content, "not_after": "never"},
        {**content, "model": {**content["model"], "mode": "clinical"}},
        {**content, "model": content["model"]["path"]},
        {**content, "threshold": 0.5},
        [content],
        None,
    ]
    for one in wrong:
        field.layout.shadow.write_text(json.dumps(one))
        assert read_shadow(field.layout) is None, one
    field.layout.shadow.write_text(json.dumps(content))
    assert named(field) == run
    withdraw_shadow(field.layout)
    withdraw_shadow(field.layout)
    assert named(field) is None


def test_the_example_has_the_bins_that_a_shadow_needs() -> None:
    data = (EXAMPLES / "monitoring-specification.json").read_bytes()
    spec = parse_document(MonitoringSpecification, data, where="example")
    assert spec.shadow is not None
    assert spec.shadow_groups == {"age-band": ("18-44", "45-64", "65-plus")}
