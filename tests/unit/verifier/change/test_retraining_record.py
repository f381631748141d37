"""The record of a retraining contradicts nothing in itself, and nobody was seen and tested."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from primum_verifier.change.retraining_record import RETRAINING_TYPE, RetrainingRecord
from primum_verifier.core.document import canonical_json, parse_document
from primum_verifier.core.errors import RefusedError

EXAMPLE = Path(__file__).parents[4] / "docs" / "examples" / "retraining-record.json"


@pytest.fixture
def content() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(EXAMPLE.read_text())
    return found


def read(content: dict[str, Any]) -> RetrainingRecord:
    return parse_document(RetrainingRecord, canonical_json(content), where="record")


def test_the_example_is_whole(content: dict[str, Any]) -> None:
    record = read(content)
    assert record.type == RETRAINING_TYPE
    assert record.parent.version == "2.0.0"
    content["code"] = {"repository": "r", "archive": {"sha256": "a" * 64}}
    assert read(content).code.commit is None


SPOILT = [
    (("overlaps", 0, "patients"), 3, "tested on whom the model had seen"),
    (("overlaps",), [], "held against each"),
    (("overlaps", 1, "seen"), "train-2025", "held against each"),
    (("dataSets", 1, "name"), "train-2025", "stands twice"),
    (("dataSets", 0, "role"), "tune", "trains on one set"),
    (("dataSets", 2, "role"), "tune", "trains on one set"),
    (("added",), ["nothing-known"], "what was added is used"),
    (("removed",), ["train-2025"], "what was added is used"),
    (("window", "end"), "2025-06-01T00:00:00Z", "ends after it begins"),
    (("code",), {"repository": "somewhere"}, "leads nowhere"),
    (("parent", "model", "sha256"), ("c3" * 64)[:64], "nothing was retrained"),
    (("inclusion",), [], "at least 1"),
    (("seed",), -1, "greater than"),
]


@pytest.mark.parametrize(("place", "value", "words"), SPOILT, ids=[item[2] for item in SPOILT])
def test_a_record_that_contradicts_itself_is_none(
    content: dict[str, Any], place: tuple[Any, ...], value: Any, words: str
) -> None:
    spoilt: Any = copy.deepcopy(content)
    *way, last = place
    inside = spoilt
    for step in way:
        inside = inside[step]
    inside[last] = value
    with pytest.raises(RefusedError) as caught:
        read(spoilt)
    assert words in caught.value.found
