"""Fetching within limits: paused, in its window, over a metered network, and told how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.agent.field import Field
from tests.unit.agent.hostile_server import Mood
from tests.unit.agent.served import Served

from primum_agent.clock import FakeClock, SystemClock
from primum_agent.fetching_told import Fetching, fetching_of, tell_fetching
from primum_agent.narrating import Narrator
from primum_agent.pausing import pause_fetching, pause_of
from primum_agent.store_bound import partial_bytes, used_bytes

WAITING = 5


@pytest.fixture
def served(
    in_the_field: Field, attempt_now: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Served]:
    """A release that waits to be fetched; whoever watches is asked at every piece."""
    monkeypatch.setattr("primum_agent.transfer.TELL_SECONDS", 0.0)
    made = Served(in_the_field, attempt_now)
    in_the_field.release("1.0.0", counter=1)
    made.serve()
    yield made
    made.close()


def is_active(served: Served) -> bool:
    found = served.field.opened()
    return found is not None and found.version == "1.0.0"


def at_file(served: Served, number: int, act: Callable[[], object]) -> Callable[[str], Mood | None]:
    """Do something when a file is asked for: the second, say, so that one has come already."""

    def mood(path: str) -> Mood | None:
        if "/artifacts/" in path and len(served.artifacts()) == number:
            act()
        return None

    return mood


def paused(served: Served, hours: float) -> None:
    with served.field.journal_to_write() as journal:
        pause_fetching(journal, SystemClock(), by="R. Meyer", hours=hours)


def test_while_it_is_paused_nothing_is_fetched_and_withdrawals_arrive(served: Served) -> None:
    """Metadata is read, files are not; `status` says who paused it and what ends it."""
    done = served.field.agent("pause", "--hours", 8, "--by", "R. Meyer")
    assert done.returncode == 0, done.stderr
    assert served.attempt_now() == WAITING
    assert served.artifacts() == []
    assert served.own.asked, "the authorities are read as ever"
    told = served.field.agent("status").stdout
    assert "paused by R. Meyer until" in told
    assert "primum-agent pause --hours 0" in told
    assert served.field.event("update.waiting")["data"]["reasons"] == ["transport.paused"]
    done = served.field.agent("pause", "--hours", 0, "--by", "R. Meyer")
    assert "goes on" in done.stdout
    assert served.attempt_now() == 0
    assert is_active(served)
    assert [item["data"]["detail"]["by"] for item in served.events("update.paused")] == ["R. Meyer"]
    assert len(served.events("update.resumed")) == 1


def test_paused_in_the_middle_what_came_is_kept(served: Served) -> None:
    served.own.mood_of = at_file(served, 2, lambda: paused(served, 8))
    assert served.attempt_now() == WAITING
    first, *_ = served.artifacts()
    event = served.field.event("update.waiting")
    assert event["data"]["reasons"] == ["transport.paused"]
    assert event["data"]["state"] == "idle"
    assert served.attempt_now() == WAITING
    assert len(served.events("update.waiting")) == 1, "told once"
    served.own.mood_of = lambda _: None
    paused(served, 0)
    assert served.attempt_now() == 0
    assert is_active(served)
    assert served.artifacts().count(first) == 1


def test_a_pause_ends_by_itself(served: Served) -> None:
    with served.field.journal_to_write() as journal:
        clock = FakeClock(moment=datetime.now(UTC))
        assert pause_fetching(journal, clock, by="R. Meyer", hours=1) is not None
        assert pause_of(journal, clock) is not None
        clock.moment += timedelta(hours=1)
        assert pause_of(journal, clock) is None


@pytest.mark.parametrize("hours", ["-1", "72.1", "nan"])
def test_a_pause_is_bounded(served: Served, hours: str) -> None:
    done = served.field.agent("pause", "--hours", hours, "--by", "R. Meyer")
    assert done.returncode == 2
    assert "bounded" in done.stderr


def test_outside_its_window_nothing_is_fetched(served: Served) -> None:
    """A window of two hours that begins in twelve; a critical release would not wait for it."""
    begins = datetime.now(UTC) + timedelta(hours=12)
    span = f"{begins:%H:%M}-{begins + timedelta(hours=2):%H:%M}"
    window = f'[gates.download_window]\nzone = "UTC"\nspans = ["{span}"]\n'
    served.close()
    served.serve(more=window)
    assert served.attempt_now() == WAITING
    assert served.artifacts() == []
    assert served.field.event("update.waiting")["data"]["reasons"] == ["transport.window"]
    now = datetime.now(UTC)
    span = f"{now - timedelta(hours=1):%H:%M}-{now + timedelta(hours=2):%H:%M}"
    served.close()
    served.serve(more=f'[gates.download_window]\nzone = "UTC"\nspans = ["{span}"]\n')
    assert served.attempt_now() == 0
    assert is_active(served)


def test_a_network_that_becomes_metered_ends_it_in_the_middle(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("primum_agent.candidate_fetching.GATE_SECONDS", 0.0)
    cost = served.field.folder / "network"
    cost.write_text("unmetered")
    served.close()
    served.serve(more=f'[gates.metered]\nfile = "{cost}"\n')
    served.own.mood_of = at_file(served, 2, lambda: cost.write_text("metered"))
    assert served.attempt_now() == WAITING
    assert served.field.event("update.waiting")["data"]["reasons"] == ["transport.metered"]
    first = served.artifacts()[0]
    served.own.mood_of = lambda _: None
    cost.write_text("unmetered")
    assert served.attempt_now() == 0
    assert is_active(served)
    assert served.artifacts().count(first) == 1


def test_how_far_it_is_stands_in_status_while_it_is_fetched(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And as rare events; afterwards nothing of it is left."""
    monkeypatch.setattr("primum_agent.candidate_fetching.EVENT_SECONDS", 0.0)
    seen: list[Any] = []
    served.own.mood_of = at_file(
        served, 3, lambda: seen.append(served.field.agent("status").stdout)
    )
    assert served.attempt_now() == 0
    assert "fetching" in seen[0]
    assert "% of 0.0 MB" in seen[0]
    assert "% of" not in served.field.agent("status").stdout
    assert fetching_of(served.field.layout) is None
    told = served.events("update.progress")
    assert told
    assert told[0]["data"]["detail"]["total"] >= told[0]["data"]["detail"]["done"]


def test_what_is_on_its_way_counts_as_used(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("primum_agent.transfer.FIRST_PAUSE", 0.0)
    served.own.mood_of = lambda path: Mood(cut_after=100) if "/artifacts/" in path else None
    assert served.attempt_now() == 3
    layout = served.field.layout
    assert 100 <= partial_bytes(layout) <= used_bytes(layout)
    assert "are kept of what is to be fetched" in served.field.agent("status").stdout


def test_what_no_release_needs_any_more_is_collected(served: Served) -> None:
    """A release that the plan replaced leaves nothing on its way for ever."""
    (served.field.layout.partial / ("0" * 64)).write_bytes(b"?" * 1000)
    (served.field.layout.partial / f"{'0' * 64}.note").write_bytes(b"{}")
    assert served.attempt_now() == 0
    served.field.commit()
    assert served.attempt_now() == 0
    assert served.left() == []


def test_the_terminal_hears_of_each_tenth_once(served: Served) -> None:
    said: list[str] = []
    layout = served.field.layout
    narrator = Narrator(say=said.append, single=True, fetching=lambda: fetching_of(layout))
    with served.field.journal_to_write() as journal:
        narrator.begin(journal)
        for done in (0, 50, 100, 104, 109, 250, 1000):
            told = Fetching("pvc 1.0.0", done * 1000, 1_000_000, 50_000.0, "http://gateway/")
            tell_fetching(layout, told)
            narrator.look(journal)
    assert [line.partition(",")[0] for line in said] == [
        f"fetching  pvc 1.0.0: {percent} % of 1.0 MB" for percent in (10, 25, 100)
    ]
