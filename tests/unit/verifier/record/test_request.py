"""A request that means nothing is none."""

from __future__ import annotations

import json

import pytest

from primum_verifier.core.document import parse_document
from primum_verifier.core.errors import RefusedError
from primum_verifier.record.request import DeviceRequest

WORD = "5f1d7a09c2b84e6fa3d0c1b2e4957f68"


def read(**members: object) -> DeviceRequest:
    content = json.dumps({"word": WORD, **members}).encode()
    return parse_document(DeviceRequest, content, where="test")


def test_a_journal_may_begin_anywhere() -> None:
    assert read(do="journal").begin is None
    assert read(do="journal", **{"from": 412}).begin == 412
    assert (read(do="journal", **{"from": 412, "to": 412}).end, read(do="journal", to=7).end) == (
        412,
        7,
    )


@pytest.mark.parametrize("members", [{"from": 412, "to": 411}, {"to": 0}])
def test_none_ends_before_it_begins(members: dict[str, int]) -> None:
    with pytest.raises(RefusedError):
        read(do="journal", **members)


@pytest.mark.parametrize("do", ["poll", "status"])
def test_nothing_else_has_a_beginning(do: str) -> None:
    assert read(do=do).do == do
    with pytest.raises(RefusedError) as caught:
        read(do=do, **{"from": 1})
    assert "from and to stand with journal alone" in str(caught.value.found)
    with pytest.raises(RefusedError):
        read(do=do, to=1)
