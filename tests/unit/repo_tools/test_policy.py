"""What is over stays over, and each stage asks for what the settings say."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from primum_repo_tools.clinical import next_index
from primum_repo_tools.eligibility import published_index
from primum_repo_tools.keys import Secrets
from primum_repo_tools.moments import now_utc
from primum_repo_tools.publishing import publish_roles
from primum_repo_tools.repository import AuthorityRepository
from primum_repo_tools.workbench import open_created
from primum_verifier.core.eligibility import ELIGIBILITY_ROLE, INDEX_TARGET
from primum_verifier.core.vocabulary import Capability, Outcome

COMPONENT = "pvc-classifier"
STRICT = """\
[[policy.requirements]]
stage = "production"
change_tiers = ["none-clinical", "minor"]
functions = { clinical = 1, quality = 1 }
evidence = ["risk-review"]
rungs = ["retrospective"]

[[policy.requirements]]
stage = "production"
change_tiers = ["moderate", "material"]
functions = { clinical = 1, quality = 1, regulatory = 1 }
"""


def in_force(story: Any) -> Any:
    return story.run("policy", "show", story.clinical, "--json").json["policy"]


def settle(story: Any, old: str, new: str) -> None:
    path = story.clinical / "workbench.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def withdraw(story: Any, *more: object) -> Any:
    return story.run(
        "withdraw", story.clinical, "--component", COMPONENT, "--version", "1.0.0", "--yes",
        "--reason", "x", "--hazard", "H", "--json",
        "--as", story.folder / "people/a.berg", "--as", story.folder / "people/q.lee", *more,
    ).json  # fmt: skip


def listed_statement(story: Any) -> str:
    found = story.run("approve", "list", story.clinical, "--json").json["statements"][0]
    return str(found["statement"])


def hide(folder: Path, name: str) -> None:
    for path in folder.glob(f"keys/{name}*.pem"):
        path.rename(path.with_suffix(".away"))


def bring_back(folder: Path) -> None:
    for path in folder.glob("keys/*.away"):
        path.rename(path.with_suffix(".pem"))


def test_a_withdrawn_statement_ends_up_burned(published: Any) -> None:
    """Whoever lists it again, with its old approvals, lists what no device takes."""
    statement = listed_statement(published)
    assert withdraw(published)["leftToBurn"] == []
    assert in_force(published)["burnedStatements"] == [{"sha256": statement}]


@pytest.mark.parametrize("by", ["person", "renew", "policy"])
def test_what_could_not_be_burned_is_burned_when_the_top_role_next_signs(
    published: Any, by: str
) -> None:
    statement = listed_statement(published)
    hide(published.clinical, "targets")
    assert withdraw(published)["leftToBurn"] == [statement]
    assert statement in published.run("status", published.clinical).out
    assert (
        "burnedStatements" not in in_force(published) or not in_force(published)["burnedStatements"]
    )
    bring_back(published.clinical)
    command = {
        "person": ["person", "retire", published.clinical, "--id", "r.novak"],
        "renew": ["authority", "renew", published.clinical, "--role", "targets"],
        "policy": ["policy", "sign", published.clinical, "--yes"],
    }[by]
    published.run(*command)
    assert in_force(published)["burnedStatements"] == [{"sha256": statement}]
    assert "NOT YET BURNED" not in published.run("status", published.clinical).out


def test_a_release_comes_back_by_a_new_statement_and_the_old_one_stays_burned(
    published: Any, device: Any
) -> None:
    withdraw(published)
    published.make_eligible("1.0.0")
    published.run(
        "rollout", published.engineering, "--component", COMPONENT, "--version", "1.0.0",
        "--percentage", "100",
    )  # fmt: skip
    assert device.verdict("1.0.0").capability == Capability.CLINICAL
    published.run("authority", "renew", published.clinical, "--role", "targets")
    assert len(in_force(published)["burnedStatements"]) == 1


def test_requirements_by_tier_evidence_and_rung_reach_devices(story: Any) -> None:
    settle(
        story,
        '[[policy.requirements]]\nstage = "production"\n'
        "functions = { clinical = 1, quality = 1, regulatory = 1 }\n",
        STRICT,
    )
    settle(story, "# open_issues = { critical = 0", "open_issues = { critical = 0")
    shown = story.run("policy", "sign", story.clinical, "--dry-run").out
    assert "risk-review" in shown
    assert in_force(story)["number"] == 4
    story.run("policy", "sign", story.clinical, "--yes")
    policy = in_force(story)
    assert policy["openIssues"]["major"] == 5
    tiers = [item.get("changeTiers") for item in policy["requirements"]]
    assert ["none-clinical", "minor"] in tiers
    story.publish_first()
    story.prepare("1.0.0")
    story.approve("1.0.0", "a.berg", "q.lee")
    refused = story.try_run("publish", story.clinical)
    assert refused.code == 1
    assert "retrospective" in refused.err
    again = story.run("policy", "sign", story.clinical, "--yes").out
    assert "Nothing was signed" in again


def test_nothing_that_was_raised_or_burned_falls_again(published: Any) -> None:
    statement = listed_statement(published)
    command = ["policy", "sign", published.clinical, "--yes"]
    published.run(*command, "--min-statement-number", "7", "--burn", statement)
    settle(published, "functions_to_hold = 1", "functions_to_hold = 2")
    published.run(*command, "--min-statement-number", "2")
    policy = in_force(published)
    assert (policy["minStatementNumber"], policy["functionsToHold"]) == (7, 2)
    assert policy["burnedStatements"] == [{"sha256": statement}]
    assert published.prepare("1.0.0").code == 0
    draft = published.run("approve", "list", published.clinical, "--json").json["statements"][0]
    assert draft["number"] == 7


def test_a_digest_that_no_statement_has_burns_nothing(published: Any) -> None:
    before = published.tree("clinical/web")
    for digest in ("0" * 64, "short", listed_statement(published)[:-1]):
        answer = published.try_run("policy", "sign", published.clinical, "--burn", digest, "--yes")
        assert answer.code == 2
        assert "No published statement" in answer.err
    settle(published, 'stage = "limited-release"', 'stage = "production"')
    answer = published.try_run("policy", "sign", published.clinical, "--yes")
    assert answer.code == 2
    assert "stands twice" in answer.err
    assert published.tree("clinical/web") == before


def test_a_stolen_key_names_the_day_until_which_others_may_approve_again(story: Any) -> None:
    by = (datetime.now(UTC) + timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    command = ["person", "retire", story.clinical, "--id", "q.lee"]
    for wrong in (["--reapprove-by", by], ["--compromised", "--reapprove-by", "2020-01-01T00:00Z"]):
        answer = story.try_run(*command, *wrong)
        assert answer.code == 2
        assert "could approve again" in answer.err
    story.run(*command, "--compromised", "--reapprove-by", by)
    person = next(item for item in in_force(story)["people"] if item["personId"] == "q.lee")
    assert (person["status"], person["reapproveBy"]) == ("compromised", by)
    assert json.loads((story.clinical / "records/log.jsonl").read_text().splitlines()[-1])[
        "reapprove_by"
    ] == by  # fmt: skip


def test_a_stolen_eligibility_role_cannot_list_again_what_was_withdrawn(
    published: Any, device: Any
) -> None:
    """The old statement with its old approvals, answered by nobody, on a list that is signed."""
    before = AuthorityRepository(open_created(published.clinical), now=now_utc())
    index = published_index(before)
    withdraw(published)
    repository = AuthorityRepository(
        open_created(published.clinical), now=now_utc(), secrets=Secrets(prompt=None)
    )
    again = next_index(published_index(repository), index.listed, now=now_utc())
    repository.put_target(ELIGIBILITY_ROLE, INDEX_TARGET, again.to_bytes())
    publish_roles(repository.workbench, repository, roles=[ELIGIBILITY_ROLE], now=now_utc())
    checks = {check.name: check for check in device.verdict("1.0.0").checks}
    assert checks["index-lists-it"].outcome == Outcome.SATISFIED
    assert checks["statement"].found == "burned by the approval policy"
    assert checks["statement"].outcome == Outcome.REFUSED
