"""Who signed a draft is shown with the reason why one does not count."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

COMPONENT = "pvc-classifier"


@pytest.fixture
def drafted(story: Any) -> Any:
    story.publish_first()
    story.prepare("1.0.0")
    return story


def approvals(story: Any) -> list[dict[str, Any]]:
    found = story.run("approve", "list", story.clinical, "--json").json["statements"][0]
    return list(found["approvals"])


def beside(story: Any) -> Any:
    return story.clinical / f"statements/{COMPONENT}/1.0.0/approvals"


def test_a_page_has_name_meaning_time_and_function(drafted: Any) -> None:
    drafted.approve("1.0.0", "a.berg")
    (line,) = approvals(drafted)
    assert (line["printedName"], line["meaning"], line["function"]) == (
        "Dr a.berg", "approved", "clinical",
    )  # fmt: skip
    assert (line["counts"], line["whyNot"]) == (True, "")
    assert line["signedAt"].endswith("Z")
    assert line["keyId"]


def test_an_approval_of_an_older_statement_counts_nowhere(drafted: Any) -> None:
    """Somebody lays an approval of the first draft beside the second one."""
    drafted.approve("1.0.0", "a.berg")
    kept = shutil.copy(beside(drafted) / "a.berg.dsse.json", drafted.folder / "kept")
    drafted.prepare("1.0.0")
    shutil.copy(kept, beside(drafted) / "a.berg.dsse.json")
    (line,) = approvals(drafted)
    assert line["whyNot"] == "it is about another statement"
    found = drafted.run("approve", "list", drafted.clinical, "--json").json["statements"][0]
    assert found["missing"] == {"clinical": 1, "quality": 1, "regulatory": 1}
    told = drafted.run("status", drafted.clinical).out
    assert "DOES NOT COUNT: it is about another statement" in told


def test_one_person_in_two_files_is_one_person(drafted: Any) -> None:
    drafted.approve("1.0.0", "a.berg")
    shutil.copy(beside(drafted) / "a.berg.dsse.json", beside(drafted) / "z.dsse.json")
    found = drafted.run("approve", "list", drafted.clinical, "--json").json["statements"][0]
    assert len(found["approvals"]) == 2
    assert found["missing"] == {"quality": 1, "regulatory": 1}


def test_a_key_that_ended_is_told_apart_from_one_that_never_was(drafted: Any) -> None:
    drafted.approve("1.0.0", "a.berg")
    drafted.run("person", "retire", drafted.clinical, "--id", "a.berg", "--compromised")
    (line,) = approvals(drafted)
    assert line["whyNot"].endswith("compromised")


def test_a_rejection_stops_and_one_about_another_statement_does_not(drafted: Any) -> None:
    drafted.run(
        "approve", "sign", drafted.clinical, COMPONENT, "1.0.0", "--yes",
        "--as", drafted.folder / "people/q.lee", "--decision", "reject", "--comment", "no",
    )  # fmt: skip
    kept = shutil.copy(beside(drafted) / "q.lee.dsse.json", drafted.folder / "kept")
    command = [
        "approve", "sign", drafted.clinical, COMPONENT, "1.0.0", "--yes",
        "--as", drafted.folder / "people/a.berg",
    ]  # fmt: skip
    assert "was rejected" in drafted.try_run(*command).err
    drafted.prepare("1.0.0")
    shutil.copy(kept, beside(drafted) / "q.lee.dsse.json")
    drafted.run(*command)
    rejected = approvals(drafted)[1]
    assert (rejected["decision"], rejected["counts"]) == ("reject", False)
