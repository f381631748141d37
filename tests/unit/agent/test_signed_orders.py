"""What a signed order makes of a running release, and in which mode a release is served."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from primum_agent.application import ActiveRelease, Episode, SafeMode, open_active
from primum_agent.clock import FakeClock
from primum_agent.collecting import KEPT_AS_EVIDENCE, evidence, keep_as_evidence
from primum_agent.journal import Journal
from primum_agent.running_episode import EpisodeWatch, forget, wait_on, waiting
from primum_verifier.core.reasons import Reason
from primum_verifier.record.event import parse_event

Attempt = Callable[..., int]
Eventually = Callable[..., Any]
DONE, REFUSED = 0, 1
RESTRICTED = [{"id": "cautious", "threshold": "0.8"}]
POINT = {"output": "p", "threshold": "0.5", "restricted": RESTRICTED}


@pytest.fixture
def committed(in_the_field: Any, attempt_now: Attempt) -> Any:
    """A device on which 1.0.0 proved health."""
    in_the_field.said = {"operatingPoint": POINT}
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == DONE
    in_the_field.commit()
    return in_the_field


@pytest.fixture
def during_an_episode(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Say whether an application has declared an episode."""

    def say(runs: bool) -> None:
        monkeypatch.setattr("primum_agent.review.episode_runs", lambda *_: runs)

    say(runs=True)
    return say


def opened(field: Any) -> ActiveRelease:
    found = open_active(field.state)
    assert isinstance(found, ActiveRelease)
    return found


# Restriction


def test_a_restriction_chooses_the_approved_point_and_its_end_gives_the_old_one_back(
    committed: Any, attempt_now: Attempt
) -> None:
    release = opened(committed)
    assert (release.threshold, release.ordered) == (0.5, "")
    point = {"operatingPoint": "cautious"}
    ends = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    committed.notify(
        "1.0.0", kind="restriction", action="restrict", restriction=point, expiresAt=ends
    )
    assert attempt_now() == DONE
    assert release.changed()
    release = opened(committed)
    assert (release.threshold, release.ordered) == (0.8, "restrict")
    assert release.may_use().banner == "1.0.0 was withdrawn."
    event = committed.event("eligibility.changed")
    assert event["data"]["detail"]["operatingPoint"] == "cautious"
    # The network goes: the point stands. The file is lost: it is made again from the views.
    committed.layout.standing.unlink()
    assert attempt_now("resume") == DONE
    assert opened(committed).threshold == 0.8
    committed.answered("1.0.0")
    assert attempt_now() == DONE
    assert release.changed()
    assert (opened(committed).threshold, opened(committed).ordered) == (0.5, "")


def test_a_release_that_is_activated_under_a_restriction_never_runs_without_it(
    committed: Any, attempt_now: Attempt
) -> None:
    committed.release("1.1.0", counter=2)
    point = {"operatingPoint": "cautious"}
    committed.notify("1.1.0", kind="restriction", action="restrict", restriction=point)
    assert attempt_now() == DONE
    assert (opened(committed).version, opened(committed).threshold) == ("1.1.0", 0.8)
    record = json.loads((opened(committed).folder / "generation.json").read_bytes())
    assert record["operatingPoint"]["threshold"] == "0.8"


def test_a_restriction_that_this_device_cannot_hold_takes_the_release_away(
    committed: Any, attempt_now: Attempt
) -> None:
    point = {"operatingPoint": "never-approved"}
    committed.notify("1.0.0", kind="restriction", action="restrict", restriction=point)
    attempt_now()
    assert committed.standing()["mode"] == "safe"


def test_advice_only_is_told_to_the_application(committed: Any, attempt_now: Attempt) -> None:
    committed.notify("1.0.0", kind="field-action", action="advisory-only")
    attempt_now()
    assert opened(committed).ordered == "advisory-only"
    assert opened(committed).may_use().banner


# The episode that runs


def test_what_is_withdrawn_in_an_episode_is_finished_and_begins_no_other(
    committed: Any, attempt_now: Attempt, during_an_episode: Callable[..., None]
) -> None:
    """Taking away in the middle of an episode can harm more than finishing it."""
    release = opened(committed)
    committed.withdraw("1.0.0")
    for _ in range(2):
        attempt_now()
    standing = committed.standing()
    assert (standing["mode"], standing["generation"]) == ("clinical", release.generation)
    assert standing["ending"] == {"reason": "eligibility.withdrawn", "maxUseSeconds": None}
    assert standing["notice"] == "1.0.0 was withdrawn."
    assert "no new episode begins" in committed.agent("status").stdout
    assert release.may_use().reason is Reason.ELIGIBILITY_WITHDRAWN
    assert committed.kinds().count("eligibility.changed") == 1
    parse_event(json.dumps(committed.event("eligibility.changed")).encode(), where="journal")
    during_an_episode(runs=False)
    attempt_now("resume")
    assert committed.standing()["mode"] == "safe"
    assert committed.counter("ending") == ""
    assert committed.kinds()[-2:] == ["eligibility.lost", "safe-mode.entered"]


@pytest.mark.parametrize("how", ["file", "command"])
def test_an_episode_that_only_the_integrator_knows_of_is_finished(
    committed: Any, attempt_now: Attempt, tmp_path: Path, how: str
) -> None:
    """The application declares none: the monitor beside it writes it down, or is asked."""
    said = tmp_path / "use"
    said.write_text("in-use\n")
    asked = f'file = "{said}"' if how == "file" else f'command = ["/bin/cat", "{said}"]'
    committed.more_settings = f"[gates.clinical_use]\n{asked}\n"
    committed.write("agent.toml", committed.settings().encode())
    committed.withdraw("1.0.0")
    attempt_now()
    assert committed.standing()["ending"]["reason"] == "eligibility.withdrawn"
    assert committed.standing()["mode"] == "clinical"
    # Nobody can say any more: nothing that was taken away goes on in doubt.
    said.unlink()
    attempt_now("resume")
    assert committed.standing()["mode"] == "safe"


def test_the_end_that_only_the_integrator_knows_of_is_noticed(
    committed: Any, eventually: Eventually, tmp_path: Path
) -> None:
    said = tmp_path / "use"
    said.write_text("in-use\n")
    committed.more_settings = (
        f'[gates]\nlook_seconds = 1.0\n[gates.clinical_use]\nfile = "{said}"\n'
    )
    committed.write("agent.toml", committed.settings().encode())
    committed.withdraw("1.0.0")
    with committed.running():
        eventually(lambda: committed.standing()["ending"])
        # The attempt that follows at once, and its poll: from then on nothing else is due.
        for _ in range(2):
            before = committed.counter("last-poll")
            eventually(lambda before=before: committed.counter("last-poll") != before)
        assert committed.standing()["mode"] == "clinical"
        said.write_text("idle\n")
        eventually(lambda: committed.standing()["mode"] == "safe")
    assert committed.kinds().count("eligibility.lost") == 1


def test_an_order_that_waits_for_nothing_waits_for_no_episode(
    committed: Any, attempt_now: Attempt, during_an_episode: Callable[..., None]
) -> None:
    committed.notify("1.0.0", action="fall-back", runningEpisode="at-once")
    attempt_now()
    assert committed.standing()["mode"] == "safe"
    del during_an_episode


def test_an_episode_without_end_does_not_keep_what_was_withdrawn(
    committed: Any, attempt_now: Attempt, during_an_episode: Callable[..., None]
) -> None:
    """The bound is of powered time: a clock that is set back gives no more of it."""
    clock = FakeClock(datetime.now(UTC), powered=5_000_000.0)
    committed.notify("1.0.0", action="fall-back", maxUseSeconds=600)
    attempt_now(clock=clock)
    assert committed.standing()["ending"]["maxUseSeconds"] == 600
    clock.powered += 599
    clock.moment -= timedelta(hours=1)
    attempt_now("resume", clock=clock)
    assert committed.standing()["mode"] == "clinical"
    clock.powered += 2
    attempt_now("resume", clock=clock)
    assert committed.standing()["mode"] == "safe"
    del during_an_episode


def test_damage_waits_for_no_episode(
    committed: Any, attempt_now: Attempt, during_an_episode: Callable[..., None]
) -> None:
    path = opened(committed).model
    path.parent.chmod(0o750)
    path.chmod(0o640)
    path.write_bytes(b"damaged")
    committed.notify("1.0.0", action="fall-back")
    attempt_now()
    assert committed.standing()["mode"] == "safe"
    del during_an_episode


def test_an_order_that_is_lifted_while_it_waits_leaves_nothing_behind(
    committed: Any, attempt_now: Attempt, during_an_episode: Callable[..., None]
) -> None:
    committed.notify("1.0.0", action="fall-back")
    attempt_now()
    assert committed.standing()["ending"] is not None
    committed.answered("1.0.0")
    attempt_now()
    assert committed.standing()["ending"] is None
    assert committed.counter("ending") == ""
    assert opened(committed).may_use()
    del during_an_episode


def test_the_end_of_the_episode_takes_the_release_away_at_once(
    in_the_field: Any, eventually: Eventually
) -> None:
    """A whole supervisor: the poll finds the order, the application says when it has ended."""
    in_the_field.release("1.0.0", counter=1)
    with in_the_field.running():
        release = eventually(in_the_field.opened)
        assert eventually(release.prove_health)
        with release.episode():
            in_the_field.withdraw("1.0.0")
            assert in_the_field.agent("poll").returncode == 0
            eventually(lambda: in_the_field.standing()["ending"])
            assert not release.may_use()
            assert in_the_field.standing()["mode"] == "clinical"
        eventually(lambda: in_the_field.standing()["mode"] == "safe", seconds=15.0)


def test_where_others_may_know_of_the_end_they_are_asked_again_and_not_at_every_turn(
    journal: Journal,
) -> None:
    watch = EpisodeWatch(look_seconds=30.0)
    wait_on(journal, 3, max_use_seconds=None)
    watch.watch(journal, 0.0)
    assert watch.is_due(episodes=0, now=0.0)
    assert watch.watch(journal, 1.0) == 30.0
    assert not watch.is_due(episodes=0, now=1.0)
    watch.watch(journal, 30.0)
    assert watch.is_due(episodes=0, now=30.0)
    forget(journal)
    assert watch.watch(journal, 99.0) > 1000
    assert not watch.is_due(episodes=0, now=99.0)


def test_the_supervisor_starts_one_attempt_for_one_end(journal: Journal, clock: FakeClock) -> None:
    watch = EpisodeWatch()
    assert watch.watch(journal, 0.0) > 1000
    assert not watch.is_due(episodes=0, now=0.0)
    wait_on(journal, 3, max_use_seconds=60)
    assert watch.watch(journal, 10.0) == 70.0
    assert not watch.is_due(episodes=1, now=69.0)
    assert watch.is_due(episodes=1, now=70.0)
    assert not watch.is_due(episodes=0, now=71.0)
    assert watch.watch(journal, 71.0) > 1000
    # Asked again it goes on waiting from when it began; a shorter bound counts at once.
    clock.powered += 20
    assert wait_on(journal, 3, max_use_seconds=30).seconds_left(journal.powered_total()) == 10
    assert watch.watch(journal, 100.0) == 110.0
    assert watch.is_due(episodes=0, now=100.0)
    # An application that began another episode after all: its end counts too.
    assert not watch.is_due(episodes=1, now=101.0)
    assert watch.is_due(episodes=0, now=102.0)
    assert not watch.is_due(episodes=0, now=103.0)
    forget(journal)
    assert waiting(journal) is None
    watch.watch(journal, 104.0)
    assert not watch.is_due(episodes=0, now=104.0)


# Suspension


@pytest.mark.parametrize(
    ("action", "people", "word"),
    [
        ("suspend-ai-function", ("clinical", "quality"), "ai-function"),
        ("suspend-device-function", ("clinical", "regulatory"), "device-function"),
    ],
)
def test_a_suspended_function_has_its_own_word_and_keeps_it(
    committed: Any, attempt_now: Attempt, action: str, people: tuple[str, ...], word: str
) -> None:
    """No held release is taken instead; polls, a cut and a lost file do not lose the word."""
    committed.release("1.1.0", counter=2)
    assert attempt_now() == DONE
    committed.commit()
    committed.notify("1.1.0", *people, action=action)
    attempt_now()
    found = open_active(committed.state)
    assert isinstance(found, SafeMode)
    assert found.suspended == word
    attempt_now()
    committed.layout.standing.unlink()
    attempt_now("resume")
    assert committed.standing()["suspended"] == word
    assert json.loads(committed.agent("status", "--json").stdout)["suspended"] == word
    assert word.replace("-", " ") in committed.event("safe-mode.entered")["data"]["detail"]["why"]
    committed.release("1.2.0", counter=3)
    assert attempt_now() == DONE
    assert committed.standing()["suspended"] is None
    assert found.changed()


# Evidence


def test_what_a_notice_wants_looked_into_is_not_collected(
    committed: Any, attempt_now: Attempt
) -> None:
    first = opened(committed).folder
    committed.notify("1.0.0", action="fall-back", preserveEvidence=True)
    attempt_now()
    for number in range(1, 7):
        committed.release(f"1.{number}.0", counter=1 + number)
        assert attempt_now() == DONE
        committed.commit()
        attempt_now()
    assert (first / "model-1.0.0.onnx").is_file()
    kept = {int(path.name) for path in committed.layout.generations.iterdir()}
    assert 1 in kept
    assert 2 not in kept


def test_evidence_is_bounded(journal: Journal) -> None:
    for number in (1, 2, 2, 3, 4):
        keep_as_evidence(journal, number)
    assert evidence(journal) == [3, 4]
    assert len(evidence(journal)) == KEPT_AS_EVIDENCE


# Modes

STUDY = {
    "protocolId": "STUDY-7",
    "approvalRef": "EC-1",
    "until": "2031-01-01T00:00:00Z",
    "devices": ["wearable-001"],
}


def test_what_is_for_shadow_use_never_serves_a_patient(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    """With nothing in use beside which it could run it is kept, and not tested again and again."""
    in_the_field.add_site()
    in_the_field.enroll()
    in_the_field.said = {
        "decision": "shadow-only",
        "use": {"mode": "shadow"},
        "study": STUDY,
    }
    in_the_field.release("1.0.0", counter=1)
    in_the_field.accept("1.0.0")
    for _ in range(3):
        assert attempt_now() == REFUSED
    assert in_the_field.standing_or_none() is None
    assert "selftest.started" not in in_the_field.kinds()
    assert in_the_field.kinds().count("update.staged") == 1
    told = in_the_field.event("update.staged")["data"]
    assert told["reasons"] == ["eligibility.mode", "fallback.none"]
    assert "shadow" in told["detail"]["standing"]
    check = in_the_field.agent("check", "--provisioning", in_the_field.provisioning)
    assert "never activated" in check.stdout


def test_what_is_investigational_is_served_as_such_with_its_banner(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    in_the_field.said = {
        "decision": "investigational",
        "use": {"mode": "investigational"},
        "study": STUDY,
    }
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == DONE
    in_the_field.commit()
    attempt_now()
    release = opened(in_the_field)
    assert (release.mode, release.stamp()["mode"]) == ("investigational", "investigational")
    assert release.may_use().banner == "investigational use, study STUDY-7"
    assert json.loads(in_the_field.agent("status", "--json").stdout)["mode"] == "investigational"
    journal = in_the_field.journal()
    for line in journal.events():
        parse_event(line, where="journal")
    journal.close()


def test_a_device_that_is_not_enrolled_gets_nothing_investigational(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    in_the_field.said = {
        "decision": "investigational",
        "use": {"mode": "investigational"},
        "study": {**STUDY, "devices": ["wearable-002"]},
    }
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == REFUSED
    assert in_the_field.standing_or_none() is None


def test_the_statements_terms_reach_the_episode(in_the_field: Any, attempt_now: Attempt) -> None:
    in_the_field.said = {
        "constraints": {
            "jurisdictions": ["DE"],
            "hardware": [{"hardwareId": "cardiowear-2"}],
            "sites": {"mode": "all", "ids": []},
            "population": {"enforce": "inference", "ageYearsMin": 18},
        }
    }
    in_the_field.more_settings = "[application]\nasks_per_episode = true\n"
    in_the_field.write("agent.toml", in_the_field.settings().encode())
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == DONE
    release = opened(in_the_field)
    assert release.may_use(Episode(age_years=18))
    assert release.may_use(Episode(age_years=17)).reason is Reason.ELIGIBILITY_POPULATION
    # What the application does not know is no yes.
    assert release.may_use().reason is Reason.ELIGIBILITY_POPULATION
