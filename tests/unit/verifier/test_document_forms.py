"""What every document shares: moments, numbers, unknown members, and JSON that is no JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from primum_verifier.core.document import (
    Country,
    Document,
    OpenDocument,
    Slug,
    Time,
    canonical_json,
    parse_document,
    read_json,
)
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.limits import MAX_DOCUMENT_DEPTH
from primum_verifier.core.reasons import Reason


class Inner(Document):
    """A part of a document: closed."""

    limit: Annotated[int, Field(ge=0)]


class Letter(OpenDocument):
    """An outermost object: open."""

    name: Slug
    written_at: Time | None = None
    inner: Inner | None = None
    country: Country | None = None


def parse(**members: Any) -> Letter:
    return parse_document(Letter, canonical_json({"name": "a", **members}), where="letter")


def test_a_member_that_a_newer_tool_adds_is_kept_and_shown() -> None:
    letter = parse(colour="red", alsoNew={"deep": [1]})
    assert letter.not_understood == ("alsoNew", "colour")
    assert json.loads(letter.to_bytes())["colour"] == "red"
    assert parse().not_understood == ()


def test_a_part_is_closed_whatever_the_whole_is() -> None:
    """Danger: a restriction that a newer tool adds is passed over by an older device."""
    assert parse(inner={"limit": 1}).inner == Inner(limit=1)
    with pytest.raises(RefusedError) as caught:
        parse(inner={"limit": 1, "unless": "night"})
    assert "inner.unless" in caught.value.found


@pytest.mark.parametrize("known", ["name", "writtenAt", "inner", "crit"])
def test_a_critical_member_that_is_known_is_read(known: str) -> None:
    assert parse(crit=[known]).crit == (known,)


@pytest.mark.parametrize("unknown", ["unless", "WrittenAt", "Name"])
def test_a_critical_member_that_is_unknown_makes_all_unreadable(unknown: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse(crit=["name", unknown], **{unknown: 1})
    assert caught.value.reason is Reason.ELIGIBILITY_CRIT_UNKNOWN


def test_a_member_in_our_own_spelling_is_another_member() -> None:
    """Attack: two readers take two spellings of one member for the one that counts."""
    with pytest.raises(RefusedError) as caught:
        parse_document(Inner, b'{"Limit":1,"limit":1}', where="inner")
    assert "Limit" in caught.value.found
    moments = {"written_at": "2026-06-01T12:00:00Z", "writtenAt": "2027-06-01T12:00:00Z"}
    letter = parse(**moments)
    assert letter.written_at == datetime(2027, 6, 1, 12, tzinfo=UTC)
    letter = parse(written_at=moments["written_at"])
    assert letter.written_at is None
    assert letter.not_understood == ("written_at",)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2000-01-01T00:00:00Z", "2000-01-01T00:00:00Z"),
        ("2200-12-31T23:59:59Z", "2200-12-31T23:59:59Z"),
        ("2026-06-01T14:00:00+02:00", "2026-06-01T12:00:00Z"),
    ],
)
def test_a_moment_is_written_in_utc(text: str, read: str) -> None:
    assert json.loads(parse(writtenAt=text).to_bytes())["writtenAt"] == read


@pytest.mark.parametrize(
    "text", ["1999-12-31T23:59:59Z", "2201-01-01T00:00:00Z", "2026-06-01T12:00:00", "now", 0]
)
def test_a_moment_that_no_device_can_compute_with_is_refused(text: object) -> None:
    with pytest.raises(RefusedError) as caught:
        parse(writtenAt=text)
    assert "writtenAt" in caught.value.found


@pytest.mark.parametrize("text", ["EU", "EZ", "UN", "de", "D", "DEU", "*", ""])
def test_no_group_and_no_wildcard_is_a_country(text: str) -> None:
    """Danger: what was allowed in one union is taken for allowed in whoever joins it later."""
    assert parse(country="DE").country == "DE"
    with pytest.raises(RefusedError) as caught:
        parse(country=text)
    assert "country" in caught.value.found


@pytest.mark.parametrize(
    "data",
    [
        rb'"\ud800"',
        rb'"\ude00"',
        rb'{"\ud83d":1}',
        rb'["\ud83d\ud83d\ude00"]',
        b"1e999",
        b"[-1e999]",
        b"Infinity",
        b'"\xed\xa0\x80"',
    ],
    ids=lambda data: data.decode("latin-1"),
)
def test_what_no_reader_can_write_again_is_refused(data: bytes) -> None:
    """Danger: half a character or an endless number passes, and the log that quotes it fails."""
    with pytest.raises(RefusedError) as caught:
        read_json(data, where="test")
    assert caught.value.reason is Reason.DOCUMENT_INVALID


def test_a_whole_pair_is_one_character_and_a_quoted_escape_is_text() -> None:
    assert read_json(rb'"\ud83d\ude00"', where="test") == "\U0001f600"
    assert read_json(rb'"\\ud83d"', where="test") == r"\ud83d"


@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_nesting_is_read_to_its_limit_and_not_beyond(brackets: str) -> None:
    def nested(depth: int) -> bytes:
        if brackets == "[]":
            return b"[" * depth + b"]" * depth
        return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)

    read_json(nested(MAX_DOCUMENT_DEPTH), where="test")
    with pytest.raises(RefusedError) as caught:
        read_json(nested(MAX_DOCUMENT_DEPTH + 1), where="test")
    assert "levels of nesting" in caught.value.found


@pytest.mark.parametrize("limit", [1, 3, MAX_DOCUMENT_DEPTH])
def test_many_brackets_side_by_side_are_no_deep_nesting(limit: int) -> None:
    """Few brackets are counted and many are walked: both come to the same."""
    for count in (limit - 1, limit, 10 * limit):
        flat = b"[" + b",".join([b"0"] * count) + b"]"
        assert read_json(flat, where="test", max_depth=limit) == [0] * count
    if limit > 1:
        side_by_side = b"[" + b",".join([b"[]"] * 10 * limit) + b"]"
        assert len(read_json(side_by_side, where="test", max_depth=limit)) == 10 * limit
    for depth in (limit + 1, 10 * limit):
        with pytest.raises(RefusedError):
            read_json(b"[" * depth + b"]" * depth, where="test", max_depth=limit)


def test_brackets_in_a_text_are_no_nesting() -> None:
    text = '\\"' + "[" * 100
    assert read_json(json.dumps([text, text]).encode(), where="test") == [text, text]


@given(
    value=st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**17), 10**17)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(codec="utf-8")),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab"), inner),
        max_leaves=20,
    )
)
def test_what_is_written_in_the_one_form_reads_the_same(value: Any) -> None:
    written = canonical_json(value)
    assert read_json(written, where="test") == value
    assert canonical_json(read_json(written, where="test")) == written
