"""Taking away in a hurry needs the near-line key alone, always fits, and is never half-known."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from primum_repo_tools import moments, published_notices
from primum_repo_tools.eligibility import published_index
from primum_repo_tools.published_notices import (
    end_of,
    kept_lines,
    notices_file,
    opened,
)
from primum_repo_tools.repository import AuthorityRepository
from primum_repo_tools.workbench import open_created
from primum_verifier.core.document import DigestSet, sha256_hex
from primum_verifier.core.eligibility import ELIGIBILITY_ROLE, INDEX_TARGET
from primum_verifier.core.limits import MAX_NOTICES
from primum_verifier.core.notice import NOTICES_TARGET, SAFETY_ROLE
from primum_verifier.core.vocabulary import Capability, NoticeKind, Phase

COMPONENT = "pvc-classifier"


def words(story: Any, act: str, *people: str, version: str = "1.0.0") -> list[Any]:
    signers = [item for name in people for item in ("--as", story.folder / "people" / name)]
    return [
        act, story.clinical, "--component", COMPONENT, "--version", version,
        "--reason", "Misses bigeminy", "--hazard", "HAZ-03", "--yes", "--json", *signers,
    ]  # fmt: skip


def hold(story: Any) -> Any:
    return story.try_run(*words(story, "hold", "q.lee"))


def withdraw(story: Any, version: str = "1.0.0") -> Any:
    return story.try_run(*words(story, "withdraw", "q.lee", "a.berg", version=version))


def published_lines(story: Any) -> list[bytes]:
    repository = AuthorityRepository(open_created(story.clinical), now=datetime.now(UTC))
    data = repository.document(SAFETY_ROLE, NOTICES_TARGET)
    assert data is not None
    return data.splitlines()


def lock_away(story: Any) -> dict[Path, bytes]:
    """Take the offline keys of the role eligibility out of the workbench."""
    kept = {path: path.read_bytes() for path in story.clinical.glob("keys/eligibility-*.pem")}
    for path in kept:
        path.unlink()
    return kept


def test_the_notices_are_there_from_the_beginning(story: Any) -> None:
    """A missing file says "unknown" to a device; an empty one says "no notice"."""
    assert published_lines(story) == []


def test_an_older_workbench_gets_the_notices_with_the_next_renewal(
    story: Any,
) -> None:
    bench = open_created(story.clinical)
    from primum_repo_tools.keys import Secrets
    from primum_repo_tools.publishing import publish_roles

    now = moments.now_utc()
    repository = AuthorityRepository(bench, now=now, secrets=Secrets(prompt=None))
    with repository.edit_targets(SAFETY_ROLE) as targets:
        targets.targets.clear()
    publish_roles(bench, repository, roles=[SAFETY_ROLE], now=now)
    assert AuthorityRepository(bench, now=now).document(SAFETY_ROLE, NOTICES_TARGET) is None
    story.run("authority", "renew", story.clinical, "--role", "safety")
    assert published_lines(story) == []


def test_a_withdrawal_needs_no_offline_key(published: Any, device: Any) -> None:
    """The keys of the index are in a safe: devices learn it all the same, and the rest is shown."""
    published.run(
        "rollout", published.engineering, "--component", COMPONENT, "--version", "1.0.0",
        "--percentage", "50",
    )  # fmt: skip
    assert device.verdict("1.0.0").capability == Capability.CLINICAL
    kept = lock_away(published)
    answer = withdraw(published)
    assert answer.code == 0, answer.err
    assert answer.json["index"]["remaining"] == [f"{COMPONENT} 1.0.0"]
    assert "eligibility-1.pem" in answer.json["index"]["why"]
    taken = device.verdict("1.0.0", phase=Phase.CONTINUE)
    assert (taken.ordered, taken.primary) == ("fall-back", "eligibility.withdrawn")
    status = published.run("status", published.clinical, "--json").json
    assert [item["leftToMark"] for item in status["notices"]] == [[f"{COMPONENT} 1.0.0"]]
    assert [item["status"] for item in status["index"]["entries"]] == ["eligible"]
    assert "NOT YET MARKED" in published.run("status", published.clinical).out

    for path, data in kept.items():
        path.write_bytes(data)
    published.run("authority", "renew", published.clinical, "--role", "eligibility")
    status = published.run("status", published.clinical, "--json").json
    assert [item["leftToMark"] for item in status["notices"]] == [[]]
    assert [item["status"] for item in status["index"]["entries"]] == ["withdrawn"]


def test_a_person_is_told_what_remains(published: Any) -> None:
    lock_away(published)
    told = [item for item in words(published, "withdraw", "q.lee", "a.berg") if item != "--json"]
    answer = published.run(*told)
    assert "REMAINS TO BE DONE" in answer.out
    assert "authority renew" in answer.out


def test_what_a_notice_took_away_does_not_come_back_by_its_old_approvals(published: Any) -> None:
    """The index does not say it yet; publishing knows it all the same."""
    kept = lock_away(published)
    assert withdraw(published).code == 0
    for path, data in kept.items():
        path.write_bytes(data)
    answer = published.try_run(
        "publish", published.clinical, "--component", COMPONENT, "--version", "1.0.0"
    )
    assert answer.code == 1
    assert answer.err.startswith("eligibility.withdrawn")


def test_a_withdrawal_marks_the_index_where_the_keys_are_there(published: Any) -> None:
    answer = withdraw(published)
    assert answer.json["index"] == {
        "marked": [f"{COMPONENT} 1.0.0"], "remaining": [], "why": "",
    }  # fmt: skip
    index = published.run("status", published.clinical, "--json").json["index"]
    assert [item["status"] for item in index["entries"]] == ["withdrawn"]


def test_a_hold_leaves_nothing_to_mark(published: Any) -> None:
    lock_away(published)
    answer = hold(published)
    assert answer.code == 0
    assert answer.json["index"]["remaining"] == []
    notice = published.run("status", published.clinical, "--json").json["notices"][0]
    assert (notice["kind"], notice["leftToMark"]) == ("hold", [])


def test_holds_drop_out_a_month_after_their_end_and_withdrawals_never(published: Any) -> None:
    assert hold(published).code == 0
    assert withdraw(published).code == 0
    lines = published_lines(published)
    first = opened(lines[0])
    assert first is not None
    ends = end_of(first)
    assert ends is not None
    assert kept_lines(lines, now=ends + timedelta(days=30)) == lines
    assert kept_lines(lines, now=ends + timedelta(days=30, seconds=1)) == lines[1:]
    assert kept_lines(lines, now=ends + timedelta(days=36_500)) == lines[1:]
    assert kept_lines([b"{}"], now=ends) == [b"{}"], "what cannot be read is not forgotten"


def test_publishing_a_notice_drops_old_holds(
    published: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hold(published).code == 0
    monkeypatch.setattr(published_notices, "KEPT_AFTER_END", timedelta(days=-4))
    assert hold(published).code == 0
    assert len(published_lines(published)) == 1


def test_more_holds_than_approvals_are_published(published: Any) -> None:
    """The limit of approvals, 64, is not that of notices."""
    line = opened_line(published)
    assert len(notices_file([line] * 65, kind=NoticeKind.HOLD).splitlines()) == 65


def opened_line(story: Any) -> bytes:
    assert hold(story).code == 0
    return published_lines(story)[0]


def test_above_the_limit_a_notice_is_refused_and_holds_leave_room_for_withdrawals(
    published: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_NOTICES == 1000
    monkeypatch.setattr(published_notices, "MAX_NOTICES", 2)
    assert hold(published).code == 0
    before = published.tree("clinical/web")
    refused = hold(published)
    assert refused.code == 1
    assert refused.json["error"]["reason"] == "trust.limit"
    assert "withdraw it" in refused.json["error"]["remedy"]
    assert published.tree("clinical/web") == before
    assert withdraw(published).code == 0
    refused = hold(published)
    assert refused.json["error"]["reason"] == "trust.limit"


def test_a_file_of_notices_larger_than_devices_read_is_refused(
    published: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published_notices, "MAX_DOCUMENT_BYTES", 100)
    refused = withdraw(published)
    assert refused.code == 1
    assert refused.json["error"]["reason"] == "trust.limit"


def publish(story: Any) -> Any:
    return story.try_run(
        "publish", story.clinical, "--component", COMPONENT, "--version", "1.0.0"
    )  # fmt: skip


def test_a_withdrawn_release_comes_back_by_a_statement_that_answers_the_notice(
    published: Any, device: Any
) -> None:
    """Withdraw, approve again, publish: the device follows each step; the old approvals never."""
    published.run(
        "rollout", published.engineering, "--component", COMPONENT, "--version", "1.0.0",
        "--percentage", "50",
    )  # fmt: skip
    folder = published.clinical / "statements" / COMPONENT / "1.0.0"
    kept = shutil.copytree(folder, published.folder / "kept")
    notice = withdraw(published).json["notice"]["predicate"]["id"]
    assert device.verdict("1.0.0").primary == "eligibility.withdrawn"

    prepared = published.prepare("1.0.0", "--dry-run", "--json").json["statement"]["predicate"]
    assert (prepared["answers"], prepared["statementNumber"]) == ([notice], 2)
    told = published.prepare("1.0.0")
    assert notice in told.out
    assert "withdrawal: Misses bigeminy" in told.out
    assert publish(published).code == 1, "not without the approvals"
    published.approve("1.0.0", "a.berg", "q.lee", "r.novak")
    assert publish(published).code == 0
    assert device.verdict("1.0.0").capability == Capability.CLINICAL
    status = published.run("status", published.clinical, "--json").json
    assert [item["leftToMark"] for item in status["notices"]] == [[]]
    published.run("authority", "renew", published.clinical, "--role", "eligibility")
    assert device.verdict("1.0.0").capability == Capability.CLINICAL

    shutil.rmtree(folder)
    kept.rename(folder)
    answer = publish(published)
    assert answer.code == 1
    assert answer.err.startswith("eligibility.withdrawn")
    assert "Misses bigeminy" in answer.err
    relist(published, folder)
    assert device.verdict("1.0.0").primary == "eligibility.withdrawn"


def relist(story: Any, folder: Path) -> None:
    """List a statement with the offline keys, past every gate of the workbench."""
    from primum_repo_tools.clinical import next_index
    from primum_repo_tools.keys import Secrets
    from primum_repo_tools.publishing import publish_roles

    bench, now = open_created(story.clinical), moments.now_utc()
    repository = AuthorityRepository(bench, now=now, secrets=Secrets(prompt=None))
    index = published_index(repository)
    digest = DigestSet(sha256=sha256_hex((folder / "statement.json").read_bytes()))
    entry = index.listed[0].model_copy(update={"statement": digest})
    assert entry.status == "eligible"
    changed = next_index(index, [entry], now=now)
    repository.put_target(ELIGIBILITY_ROLE, INDEX_TARGET, changed.to_bytes())
    publish_roles(bench, repository, roles=[ELIGIBILITY_ROLE], now=now)


def test_a_second_withdrawal_needs_an_answer_of_its_own(published: Any) -> None:
    """The statement that answers one notice does not answer the next."""
    assert withdraw(published).code == 0
    assert published.prepare("1.0.0").code == 0
    published.approve("1.0.0", "a.berg", "q.lee", "r.novak")
    assert publish(published).code == 0
    assert withdraw(published).json["index"]["marked"] == [f"{COMPONENT} 1.0.0"]
    answer = publish(published)
    assert answer.code == 1
    assert answer.err.startswith("eligibility.withdrawn")


def test_publishing_tells_that_a_hold_stands_in_the_way(published: Any) -> None:
    """What devices would not take is not called eligible; a new statement answers the hold."""
    assert hold(published).code == 0
    answer = publish(published)
    assert answer.code == 1
    assert answer.err.startswith("eligibility.held")
    assert f"approve prepare {published.clinical}" in answer.err
    published.make_eligible("1.0.0")


def test_withdrawing_again_signs_nothing(published: Any) -> None:
    notice = withdraw(published).json["notice"]["predicate"]["id"]
    before = published.tree("clinical/web")
    again = withdraw(published)
    assert (again.code, again.json["alreadyBy"]) == (0, notice)
    assert published.tree("clinical/web") == before


def test_what_is_not_marked_yet_may_be_withdrawn_again(published: Any) -> None:
    """Without the mark on the index the command has work left, and says so."""
    kept = lock_away(published)
    assert withdraw(published).json["index"]["remaining"]
    for path, data in kept.items():
        path.write_bytes(data)
    assert withdraw(published).json["index"]["marked"] == [f"{COMPONENT} 1.0.0"]
