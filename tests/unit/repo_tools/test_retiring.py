"""Who leaves takes no approval away; a key in other hands counts nowhere."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest

from primum_repo_tools.eligibility import published_index
from primum_repo_tools.keys import Secrets
from primum_repo_tools.moments import now_utc
from primum_repo_tools.notice_terms import Allowed, NoticeTerms, Place, restriction_of, scope_of
from primum_repo_tools.notices import listed_release, notice_statement, publish_notice
from primum_repo_tools.people import Approver, open_approver
from primum_repo_tools.policy import published_policy
from primum_repo_tools.published_notices import notice_lines
from primum_repo_tools.repository import AuthorityRepository
from primum_repo_tools.retiring import plan_retirement
from primum_repo_tools.workbench import open_created
from primum_verifier.core.approval import ApprovalPolicy, PersonStatus
from primum_verifier.core.document import sha256_hex
from primum_verifier.core.vocabulary import Capability, NoticeAction, NoticeKind

COMPONENT = "pvc-classifier"
RESTRICTED = {"restriction"}


def signers(story: Any, *people: str) -> list[Any]:
    return [item for name in people for item in ("--as", story.folder / "people" / name)]


def notice(story: Any, act: str, *people: str) -> str:
    """Publish a notice that stops release 1.0.0 in Germany; its id."""
    more = ["--only-jurisdiction", "FR"] if act == "restrict" else []
    answer = story.run(
        act, story.clinical, "--component", COMPONENT, "--version", "1.0.0", "--yes", "--json",
        "--reason", "x", "--hazard", "H", *more, *signers(story, *people),
    )  # fmt: skip
    found: str = answer.json["notice"]["predicate"]["id"]
    return found


def strike(story: Any, person: str, *more: str) -> Any:
    return story.try_run(
        "person", "retire", story.clinical, "--id", person, "--compromised", "--json", *more
    )


def sign_again(story: Any, notice_id: str, *people: str) -> Any:
    return story.try_run(
        "notice", "sign-again", story.clinical, "--notice", notice_id, "--yes", "--json",
        *signers(story, *people),
    )  # fmt: skip


def records(story: Any, act: str) -> list[Any]:
    return [item for item in open_created(story.clinical).records() if item["act"] == act]


def published_lines(story: Any) -> list[bytes]:
    return notice_lines(AuthorityRepository(open_created(story.clinical), now=now_utc()))


def policy_of(story: Any) -> ApprovalPolicy:
    return published_policy(AuthorityRepository(open_created(story.clinical), now=now_utc()))


def stopped_by(device: Any) -> set[str]:
    """The checks that refuse the release, without those about who approved it."""
    checks = device.verdict("1.0.0").checks
    return {item.name for item in checks if item.stands_in_the_way} - {"approvals"}


def listed(device: Any) -> Capability:
    found: Capability = device.verdict("1.0.0").capability
    return found


@pytest.fixture
def in_use(published: Any, device: Any) -> Any:
    published.run(
        "rollout", published.engineering, "--component", COMPONENT, "--version", "1.0.0",
        "--percentage", "50",
    )  # fmt: skip
    assert listed(device) == Capability.CLINICAL
    return published


def test_who_left_is_honoured_for_what_is_listed_and_signs_no_more(
    in_use: Any, device: Any
) -> None:
    answer = in_use.run("person", "retire", in_use.clinical, "--id", "a.berg", "--json").json
    assert (answer["status"], answer["approved"]) == ("left", [f"{COMPONENT} 1.0.0"])
    assert listed(device) == Capability.CLINICAL
    people = in_use.run("person", "list", in_use.clinical, "--json").json["people"]
    assert [item["status"] for item in people] == ["left", "active", "active"]
    statement = in_use.run("status", in_use.clinical, "--json").json["statements"][0]
    assert statement["missing"] == {}
    assert in_use.prepare("1.0.0").code == 0
    refused = in_use.try_run(
        "approve", "sign", in_use.clinical, COMPONENT, "1.0.0",
        "--as", in_use.folder / "people/a.berg", "--yes",
    )  # fmt: skip
    assert refused.code == 1
    assert refused.err.startswith("eligibility.approvals")


def test_an_approval_that_was_never_listed_is_not_honoured(story: Any) -> None:
    """Who left approved a draft that nobody published: a new person of the function must."""
    story.build("1.0.0")
    story.sign("1.0.0")
    story.run("publish", story.engineering)
    story.prepare("1.0.0")
    story.approve("1.0.0", "a.berg", "q.lee", "r.novak")
    answer = story.run("person", "retire", story.clinical, "--id", "a.berg", "--json").json
    assert answer["approved"] == []
    refused = story.try_run("publish", story.clinical)
    assert refused.code == 1
    assert "clinical 1" in refused.err


def test_a_compromised_key_counts_nowhere_any_more(in_use: Any, device: Any) -> None:
    answer = strike(in_use, "q.lee").json
    assert (answer["status"], answer["lifted"]) == ("compromised", [])
    assert answer["weakened"] == [f"{COMPONENT} 1.0.0"]
    verdict = device.verdict("1.0.0")
    assert verdict.capability < Capability.CLINICAL
    approvals = next(check for check in verdict.checks if check.name == "approvals")
    assert "quality 1" in approvals.found


def test_a_key_found_compromised_after_its_owner_left_loses_its_honour(
    in_use: Any, device: Any
) -> None:
    in_use.run("person", "retire", in_use.clinical, "--id", "a.berg")
    in_use.run("person", "retire", in_use.clinical, "--id", "a.berg", "--compromised")
    assert listed(device) < Capability.CLINICAL
    policy = next(in_use.clinical.glob("web/targets/policy/*.json")).parent
    newest = max(policy.iterdir(), key=lambda path: json.loads(path.read_bytes())["number"])
    person = json.loads(newest.read_bytes())["people"][0]
    assert (person["status"], person.get("honoured", [])) == ("compromised", [])


@pytest.mark.parametrize("again", [[], ["--compromised"]])
def test_nobody_is_retired_twice_or_brought_back(story: Any, again: list[str]) -> None:
    command = ["person", "retire", story.clinical, "--id", "a.berg"]
    story.run(*command, "--compromised")
    before = story.tree("clinical/web")
    answer = story.try_run(*command, *again)
    assert answer.code == 2
    assert "retired already" in answer.err
    assert story.tree("clinical/web") == before


def test_retiring_shows_what_it_means_before_anything_is_signed(published: Any) -> None:
    before = published.tree("clinical/web", "clinical/staging")
    command = ["person", "retire", published.clinical, "--id", "a.berg", "--dry-run"]
    assert "stay honoured: pvc-classifier 1.0.0" in published.run(*command).out
    told = published.run(*command, "--compromised").out
    assert "count no more: pvc-classifier 1.0.0" in told
    assert published.tree("clinical/web", "clinical/staging") == before
    assert published.try_run(*command[:-2], "n.obody").code == 2


def test_what_somebody_signed_before_leaving_stays_in_force(in_use: Any, device: Any) -> None:
    """Leaving lifts nothing: the notice is honoured by the digest of what was signed."""
    signed = notice(in_use, "restrict", "a.berg", "q.lee")
    assert stopped_by(device) == RESTRICTED
    answer = in_use.run("person", "retire", in_use.clinical, "--id", "q.lee", "--json").json
    assert (answer["notices"], answer["lifted"]) == ([signed], [])
    payload = base64.b64decode(json.loads(published_lines(in_use)[0])["payload"])
    left = policy_of(in_use).people[1]
    assert left.person_id == "q.lee"
    assert {item.sha256 for item in left.honoured} >= {sha256_hex(payload)}
    assert stopped_by(device) == RESTRICTED


def approvers(story: Any, *people: str) -> list[Approver]:
    policy, secrets = policy_of(story), Secrets(prompt=None)
    folder = story.folder / "people"
    return [open_approver(folder / name, policy=policy, secrets=secrets) for name in people]


def publish_signed_by(story: Any, people: list[Approver], *, action: NoticeAction) -> str:
    """Publish a notice with keys that are at hand, whatever the policy says of them; its id."""
    bench, now = open_created(story.clinical), now_utc()
    restricts = action == NoticeAction.RESTRICT
    terms = NoticeTerms(
        kind=NoticeKind.RESTRICTION if restricts else NoticeKind.FIELD_ACTION,
        action=action,
        restriction=restriction_of(Allowed(jurisdictions=["FR"])) if restricts else None,
        code="x",
        reason="x",
        hazard_ref="H",
        user_notice="x",
        scope=scope_of(Place()),
    )
    repository = AuthorityRepository(bench, now=now)
    entry = listed_release(published_index(repository), COMPONENT, "1.0.0")
    statement = notice_statement(repository, entry, terms, now=now)
    with bench.locked():
        publish_notice(bench, statement, people, secrets=Secrets(prompt=None), now=now)
    return statement.predicate.id


def test_the_key_of_somebody_who_left_signs_no_new_notice(in_use: Any, device: Any) -> None:
    """The old key, the near-line role and one helper: devices go on, until another person signs."""
    thieves = approvers(in_use, "a.berg", "q.lee")
    in_use.run("person", "retire", in_use.clinical, "--id", "q.lee")
    signed = publish_signed_by(in_use, thieves, action=NoticeAction.RESTRICT)
    assert stopped_by(device) == set()
    assert sign_again(in_use, signed, "q.lee").code == 1
    assert sign_again(in_use, signed, "r.novak").code == 0
    assert stopped_by(device) == RESTRICTED


@pytest.mark.parametrize(
    ("act", "people", "lost"),
    [
        ("restrict", ["a.berg", "q.lee"], True),
        ("restrict", ["a.berg", "q.lee", "r.novak"], False),
        ("restrict", ["a.berg", "r.novak"], False),
        ("hold", ["q.lee"], True),
        ("hold", ["a.berg", "q.lee"], True),
        ("hold", ["a.berg", "q.lee", "r.novak"], False),
        ("hold", ["a.berg"], False),
        ("withdraw", ["a.berg", "q.lee"], True),
    ],
)
def test_a_key_that_a_notice_in_force_needs_is_not_struck_off(
    in_use: Any, act: str, people: list[str], *, lost: bool
) -> None:
    signed = notice(in_use, act, *people)
    before = in_use.tree("clinical/web")
    answer = strike(in_use, "q.lee")
    if not lost:
        assert (answer.code, answer.json["lifted"]) == (0, [])
        return
    assert answer.code == 1
    error = answer.json["error"]
    assert error["reason"] == "eligibility.approvals"
    assert f"{signed} (" in error["found"]
    assert f"{COMPONENT} 1.0.0" in error["found"]
    assert f"notice sign-again {in_use.clinical} --notice {signed}" in error["remedy"]
    assert in_use.tree("clinical/web") == before
    assert not records(in_use, "person.retired")


def test_signed_again_by_another_it_stays_in_force_without_the_stolen_key(
    in_use: Any, device: Any
) -> None:
    signed = notice(in_use, "restrict", "a.berg", "q.lee")
    before = json.loads(published_lines(in_use)[0])
    assert strike(in_use, "q.lee").code == 1
    assert sign_again(in_use, signed, "r.novak").json["timestamp"]
    after = json.loads(published_lines(in_use)[0])
    assert after["payload"] == before["payload"]
    kept = [item["keyid"] for item in before["signatures"]]
    assert {item["keyid"] for item in after["signatures"]} > set(kept)
    assert stopped_by(device) == RESTRICTED
    assert strike(in_use, "q.lee").json["lifted"] == []
    assert stopped_by(device) == RESTRICTED
    assert [item["people"] for item in records(in_use, "notice.signed-again")] == [["r.novak"]]


def test_signing_again_by_who_signed_already_signs_nothing(in_use: Any) -> None:
    signed = notice(in_use, "hold", "q.lee")
    before = in_use.tree("clinical/web")
    assert sign_again(in_use, signed, "q.lee").json["timestamp"] is None
    assert in_use.tree("clinical/web") == before


@pytest.mark.parametrize("more", [["--dry-run"], []])
def test_what_is_signed_again_is_shown_before(in_use: Any, more: list[str]) -> None:
    """Without a yes nothing is signed; an id that nobody published is told."""
    signed = notice(in_use, "hold", "q.lee")
    before = in_use.tree("clinical/web")
    command = ["notice", "sign-again", in_use.clinical, *signers(in_use, "a.berg"), *more]
    answer = in_use.try_run(*command, "--notice", signed)
    assert answer.code == (0 if more else 2)
    assert signed in answer.out
    unknown = in_use.try_run(*command, "--notice", "urn:uuid:x")
    assert unknown.code == 2
    assert signed in unknown.err
    assert in_use.tree("clinical/web") == before


def test_a_notice_that_is_lifted_all_the_same_is_logged_and_shown(in_use: Any, device: Any) -> None:
    signed = notice(in_use, "restrict", "a.berg", "q.lee")
    told = in_use.run("person", "retire", in_use.clinical, "--id", "q.lee", "--compromised",
                      "--dry-run").out  # fmt: skip
    assert f"LOSE THEIR STRENGTH: {signed}" in told
    assert not records(in_use, "unsafe.override")
    answer = strike(in_use, "q.lee", "--unsafe-lift-notices")
    assert answer.json["lifted"] == [signed]
    assert stopped_by(device) == set()
    used = in_use.run("status", in_use.clinical, "--json").json["unsafe"]
    assert [(item["override"], item["release"]) for item in used] == [
        ("unsafe-lift-notices", f"{COMPONENT} 1.0.0")
    ]
    assert signed in used[0]["found"]
    assert "unsafe-lift-notices" in in_use.run("status", in_use.clinical).out


def test_an_exercise_and_a_hold_that_ended_keep_no_stolen_key(in_use: Any) -> None:
    in_use.run(
        "withdraw", in_use.clinical, "--component", COMPONENT, "--version", "1.0.0", "--yes",
        "--drill", "--reason", "x", "--hazard", "H", *signers(in_use, "a.berg", "q.lee"),
    )  # fmt: skip
    hold = notice(in_use, "hold", "q.lee")
    for hours, lost in ((0, (hold,)), (73, ())):
        moment = now_utc() + timedelta(hours=hours)
        planned = plan_retirement(
            AuthorityRepository(open_created(in_use.clinical), now=moment),
            person_id="q.lee",
            status=PersonStatus.COMPROMISED,
            reapprove_by=None,
            now=moment,
        )
        assert (len(planned.notices), planned.loss.notice_ids) == (2, lost)


@pytest.mark.parametrize(("struck", "code"), [("q.lee", 0), ("a.berg", 1), ("r.novak", 1)])
def test_what_needs_two_certain_functions_is_not_left_with_two_others(
    in_use: Any, struck: str, code: int
) -> None:
    """To suspend a function of the device needs clinical and regulatory, not any two."""
    signed_by = approvers(in_use, "a.berg", "q.lee", "r.novak")
    publish_signed_by(in_use, signed_by, action=NoticeAction.SUSPEND_DEVICE_FUNCTION)
    assert strike(in_use, struck).code == code


def test_a_policy_that_asks_for_more_functions_lifts_nothing_by_accident(
    in_use: Any, device: Any
) -> None:
    signed = notice(in_use, "restrict", "a.berg", "q.lee")
    path = in_use.clinical / "workbench.toml"
    text = path.read_text()
    assert "functions_to_take_away = 2" in text
    path.write_text(text.replace("functions_to_take_away = 2", "functions_to_take_away = 3"))
    command = ["policy", "sign", in_use.clinical, "--json"]
    assert in_use.run(*command, "--dry-run").json["lifted"] == [signed]
    before = in_use.tree("clinical/web")
    refused = in_use.try_run(*command, "--yes")
    assert (refused.code, refused.json["error"]["reason"]) == (1, "eligibility.approvals")
    assert in_use.tree("clinical/web") == before
    assert sign_again(in_use, signed, "r.novak").code == 0
    assert in_use.run(*command, "--yes").json["lifted"] == []
    assert stopped_by(device) == RESTRICTED


def test_what_never_counted_is_not_lost(in_use: Any, device: Any) -> None:
    """A notice that a thief signed with the key of one who left stands in nobody's way."""
    thieves = approvers(in_use, "a.berg", "q.lee")
    in_use.run("person", "retire", in_use.clinical, "--id", "q.lee")
    publish_signed_by(in_use, thieves, action=NoticeAction.RESTRICT)
    assert strike(in_use, "q.lee").json["lifted"] == []
    assert stopped_by(device) == set()
