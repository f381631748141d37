"""The page of what served: it draws what is proven and no more, and every digest is of a line."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.verifier.pages import ELEMENTS, HOSTILE, Page, read_page
from tests.unit.verifier.record.lives import (
    BORN,
    KEY,
    RECEIVER_KEY,
    Life,
    digest_of,
)
from tests.unit.verifier.record.test_served import HOUR, STEP, ask, lived, seconds

from primum_verifier.core.document import sha256_hex
from primum_verifier.record.served import Outcome, Served, served
from primum_verifier.shell.served_page import served_page
from primum_verifier.shell.served_text import as_dict
from primum_verifier.shell.time_line import Anchor, Bar, Kind, Span, time_line

Box = tuple[float, float]


@pytest.fixture
def life() -> Life:
    """Two releases, one hour each, received; then none."""
    made = Life()
    for name in ("1.0.0", "1.1.0"):
        made.wait(HOUR)
        made.install(name)
        made.head()
        made.wait(60)
        made.receipt()
    made.wait(HOUR)
    made.leave()
    made.wait(HOUR)
    made.head()
    return made


def page_of(found: Served, files: dict[str, Path] | None = None) -> Page:
    return read_page(served_page(found, files or {}))


def boxes(page: Page, *classes: str) -> list[Box]:
    """From where to where each bar of these classes, and no other, is drawn."""
    return [
        (float(str(it["x"])), float(str(it["x"])) + float(str(it["width"])))
        for name, it in page.seen
        if name == "rect" and str(it["class"]).split() == ["span", *classes]
    ]


def instants(page: Page) -> list[float]:
    """Where the instant stands, in each drawing."""
    return [
        float(str(it["x1"])) for name, it in page.seen if name == "line" and it["class"] == "limit"
    ]


def test_the_instant_stands_in_what_certainly_served_and_beside_what_did_not(life: Life) -> None:
    page = page_of(ask(life, BORN + seconds(1.5 * HOUR)))
    (at,) = instants(page)
    ((low, high),) = boxes(page, "asked")
    ((least, most),) = boxes(page, "asked", "maybe")
    assert least <= low < at < high <= most
    assert not any(low <= at <= high for low, high in boxes(page, "beside", "maybe"))
    assert page.ids["outcome"] == "release"
    assert page.ids["answer"] == "pvc-classifier 1.0.0, clinical use"
    assert page.ids["began"].endswith("(33 s)")


def test_each_step_of_the_proof_names_the_digest_of_what_it_rests_on(life: Life) -> None:
    """Whoever holds the file can look up each: an event, a head, a receipt, a signed document."""
    files = {digest_of("test of 1.0.0"): Path("stick/self-tests/one.dsse.json")}
    page = page_of(ask(life, BORN + seconds(1.5 * HOUR)), files)
    rows = page.tables["table-proof"][1:]
    assert [row[0] for row in rows] == [str(number + 1) for number in range(len(rows))]
    known = {sha256_hex(line) for line in life.lines()}
    known |= {digest_of("1.0.0"), digest_of("1.0.0 1"), digest_of("test of 1.0.0")}
    named = {
        row[1]: found for row in rows for found in re.findall(r"sha256 ([0-9a-f]{64})", row[2])
    }
    assert set(named.values()) <= known
    assert named["the beginning"] == sha256_hex(life.events[3])
    assert named["the beginning is signed"] == sha256_hex(life.heads[0])
    assert named["the beginning was received"] == sha256_hex(life.receipts[0])
    assert named["the end"] == sha256_hex(life.events[5])
    assert named["the end is signed"] == sha256_hex(life.heads[1])
    assert named["the release"] == digest_of("1.0.0")
    assert named["the eligibility"] == digest_of("1.0.0 1")
    assert named["the self-test"] == digest_of("test of 1.0.0")
    told = {row[1]: row[2] for row in rows}
    assert KEY.key_id in told["the device's key"]
    assert "events 4 to 6 are here" in told["nothing is missing"]
    assert "event 7, which follows it" in told["the end is signed"]
    assert RECEIVER_KEY.key_id in told["the end was received"]
    assert "stick/self-tests/one.dsse.json has that digest" in told["the self-test"]


def test_around_a_switch_all_is_drawn_that_may_be_and_drawn_once_more_closer(life: Life) -> None:
    found = ask(life, life.at[6])
    assert found.outcome is Outcome.UNCERTAIN
    page = page_of(found)
    assert len(instants(page)) == 2
    assert "Closer to the instant" in page.text
    assert len(boxes(page, "asked", "maybe")) == 6, "three bars, twice"
    assert len(boxes(page, "asked")) == 4, "and of the switch itself nothing is certain"
    assert "table-proof" not in page.tables
    assert {f"table-possible-{number}" for number in (1, 2, 3)} <= set(page.tables)
    assert "which proves it not" in page.ids["by-its-clock"]


def test_what_is_not_known_is_drawn_as_that_and_the_gap_is_named(life: Life) -> None:
    lines = [line for line in life.lines() if line not in life.events[4:7]]
    page = page_of(ask(life, BORN + seconds(2.5 * HOUR), lines=lines))
    assert page.ids["outcome"] == "unknown"
    assert boxes(page, "unknown")
    assert not boxes(page, "asked")
    assert "the events of that time are missing in these files" in page.text
    assert "Gap between 4 and 8: 3 events missing." in page.ids["history"]


def test_what_only_a_checkpoint_vouches_for_is_proven_by_it() -> None:
    life = Life()
    life.install("1.0.0")
    for _ in range(2):
        life.wait(HOUR)
        life.record("agent.started")
    made = life.generations["1.0.0"]
    life.checkpoint(5, {"lifecycle": "idle", "active": 1, "generations": [made]})
    life.wait(HOUR)
    life.record("agent.started")
    life.head()
    lines = [*life.events[5:], *life.heads, *life.checkpoints]
    (mark, *_) = life.at[5:]
    life.receipt()
    page = page_of(ask(life, mark - seconds(1), lines=[*lines, *life.receipts]))
    assert page.ids["outcome"] == "unknown", "its moment is nowhere"
    assert "event 5, pruned under a checkpoint" in page.tables["table-possible-1"][-2][1]


@pytest.mark.parametrize("words", HOSTILE)
def test_what_a_history_says_never_becomes_markup(words: str) -> None:
    """Attack: names of events, modes, reasons and files out of a file that others wrote."""

    def told(words: str) -> Page:
        life = Life()
        life.generation("1.0.0")["mode"] = f"clinical{words}"[:60]
        life.install("1.0.0")
        life.wait(HOUR)
        life.record(f"odd{words}", subject=words)
        life.leave()
        life.wait(HOUR)
        life.record(f"odd{words}", reasons=[words], detail={"why": words})
        life.head()
        at = life.now - seconds(HOUR / 2)
        files = {digest_of("test of 1.0.0"): Path(f"x{words}")}
        both = [ask(life, at), ask(life, BORN + seconds(HOUR / 2))]
        return read_page("".join(served_page(one, files) for one in both))

    plain, page = told(""), told(words)
    assert [name for name, _ in page.seen] == [name for name, _ in plain.seen]
    assert {name for name, _ in page.seen} <= ELEMENTS
    for _, attributes in page.seen:
        assert not any(name.startswith("on") for name in attributes)
        assert not {"href", "src", "action", "srcdoc", "xlink:href"} & set(attributes)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page.text)


def test_a_page_loads_nothing_and_runs_nothing(life: Life) -> None:
    text = served_page(ask(life, BORN + seconds(1.5 * HOUR)), {})
    policy = next(attrs for _, attrs in read_page(text).seen if "http-equiv" in attrs)
    assert str(policy["content"]).startswith("default-src 'none'; style-src 'unsafe-inline'")
    for word in ("http:", "https:", "url(", "@import", "script"):
        assert word not in text


def test_what_the_page_says_is_what_the_json_says(life: Life) -> None:
    for at in (BORN - seconds(HOUR), BORN + seconds(1.5 * HOUR), life.at[6], life.now):
        found = ask(life, at)
        told = as_dict(found, {})
        page = page_of(found)
        assert page.ids["outcome"] == told["outcome"]
        text = page.text
        for possible in told["possible"]:
            for release in filter(None, possible["served"]):
                assert release["sha256"] in text
                assert release["eligibility"]["sha256"] in text
        ends = [told["possible"][0]["begins"], told["possible"][-1]["ends"]]
        for edge in filter(None, ends):
            assert edge["eventHash"] in text
            assert str(edge["earliest"]) in text
            assert str(edge["latest"]) in text


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(STEP, min_size=3, max_size=30),
    share=st.floats(-0.05, 1.05),
    lost=st.sets(st.integers(0, 40), max_size=3),
)
def test_whatever_a_life_was_like_the_drawing_says_what_the_answer_says(
    steps: list[tuple[str, Any]], share: float, lost: set[int]
) -> None:
    life = lived(steps)
    at = BORN + (life.now - BORN) * share
    lines = [line for place, line in enumerate(life.lines()) if place not in lost]
    found = served(lines, device_key=KEY, at=at, receivers=[RECEIVER_KEY])
    page = page_of(found)
    assert "table-proof" in page.tables or not found.is_certain
    first, *_ = instants(page)
    pale = boxes(page, "asked", "maybe") + boxes(page, "unknown", "maybe")
    assert any(low - 0.2 <= first <= high + 0.2 for low, high in pale)
    for low, high in [*pale, *boxes(page, "asked")]:
        assert 189 <= low < high <= 705


def test_a_clock_at_the_end_of_all_years_is_drawn() -> None:
    """Attack: moments at the edges of what a date can hold, so that a reader's tool breaks."""
    first, last = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    far = Bar("far", "far", Span(first, None), Span(None, last), Kind.ASKED)
    anchors = [Anchor(1, "a", first, Span(first, last)), Anchor(2, "b", last)]
    edges = [day * 86_400.0 for day in range(20, 60, 7)]
    overs = [(first, first + seconds(edge)) for edge in edges]
    overs += [(last - seconds(edge), last) for edge in (0.0, *edges)]
    for over in ((first, last), (first, first), *overs):
        page = read_page(time_line([far], [("events", anchors)], asked=BORN, over=over))
        assert 3 <= sum(name == "line" and it["class"] == "grid" for name, it in page.seen) <= 10


def test_numbers_that_would_touch_stand_together() -> None:
    anchors = [Anchor(number, "", BORN + seconds(number)) for number in range(1, 8)]
    anchors.append(Anchor(9, "", BORN + seconds(HOUR)))
    over = (BORN, BORN + seconds(HOUR))
    page = read_page(time_line([], [("events", anchors)], asked=BORN, over=over))
    assert "1, 2, 3, 4, \N{HORIZONTAL ELLIPSIS}9" in page.text
