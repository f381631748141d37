"""What an earlier release decides on new cases is what devices with it decide, or it is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.repo_tools.test_baseline_decisions import COMPONENT, ask

from primum_repo_tools.earlier_decisions import limits_for
from primum_repo_tools.releases import open_draft
from primum_repo_tools.workbench import open_created
from primum_verifier.proof.fixtures import Fixtures, read_fixtures

EARLIER = f"{COMPONENT}/1.0.0"
THRESHOLD = 'threshold = "0.5"'


def signed(story: Any, **how: Any) -> str:
    """Release 1.0.0, signed; its digest."""
    digest: str = story.build("1.0.0", **how).json["sha256"]
    story.sign("1.0.0")
    return digest


def decide(story: Any, plan: Path, *more: object, release: str = EARLIER) -> Any:
    fixtures = plan.parent / "fixtures.npz"
    return story.try_run(
        "fixtures", "decide", fixtures, "--workbench", story.engineering, "--release", release,
        "--output", fixtures, "--self-test", plan, *more,
    )  # fmt: skip


def held(plan: Path) -> Fixtures:
    return read_fixtures((plan.parent / "fixtures.npz").read_bytes())


def edit_arrays(plan: Path, **changed: Any) -> None:
    path = plan.parent / "fixtures.npz"
    given = {key.replace("__", "."): one for key, one in changed.items()}
    np.savez(path, **{**np.load(path), **given})


def scores_of(plan: Path, weights: tuple[float, float]) -> Any:
    """What a model of these weights computes, by numpy alone."""
    x = np.load(plan.parent / "fixtures.npz")["input.x"]
    return (1 / (1 + np.exp(-(x @ np.array(weights, np.float32))))).astype(np.float64)


def test_an_earlier_release_decides_by_its_own_model_and_its_own_threshold(story: Any) -> None:
    """Danger: the new threshold, or the new model, speaks for the release that patients have."""
    old = story.plan("1.0.0")
    old.write_text(old.read_text().replace(THRESHOLD, 'threshold = "0.3"'))
    edit_arrays(old, expected_decision=(scores_of(old, (2.0, -1.0)) >= 0.3).astype(np.int8))
    digest = story.run("release", "build", story.engineering, old, "--json").json["sha256"]
    story.sign("1.0.0")
    plan = story.plan("1.1.0", weights=(-1.0, 1.0), previous="1.0.0")
    before = held(plan)
    answer = decide(story, plan, "--json")
    assert answer.code == 0, answer.err
    after = held(plan)
    expected = tuple((scores_of(plan, (2.0, -1.0)) >= 0.3).astype(int).tolist())
    assert len(set(expected)) == 2
    assert after.baselines == {digest: expected}
    assert expected not in (
        tuple((scores_of(plan, (2.0, -1.0)) >= 0.5).astype(int).tolist()),
        before.expected_decisions,
    )
    for name in ("cases", "cohorts", "labels", "expected_decisions", "references", "inputs"):
        assert getattr(after, name) == getattr(before, name)
    told = answer.json["decided"][f"{COMPONENT} 1.0.0"]
    assert (told["sha256"], told["threshold"], told["entered"]) == (digest, "0.3", "added")
    assert told["decisions"] == {
        "positive": sum(expected), "negative": len(expected) - sum(expected), "no decision": 0,
    }  # fmt: skip


def test_a_release_that_is_held_against_another_is_built_with_what_was_decided(story: Any) -> None:
    """From the refusal of the build to a release that passes, by the command that it names."""
    signed(story)
    plan = story.plan("1.1.0", weights=(2.5, -1.0), previous="1.0.0")
    ask(plan, "active", "original")
    refused = story.try_run("release", "build", story.engineering, plan)
    assert "primum-repo fixtures decide" in " ".join(refused.err.split())
    answer = decide(story, plan)
    assert answer.code == 0, answer.err
    story.run("release", "build", story.engineering, plan)
    story.run("release", "check", story.engineering, COMPONENT, "1.1.0")


def test_decisions_that_nobody_can_take_twice_alike_are_named(story: Any) -> None:
    signed(story)
    plan = story.plan("1.1.0", previous="1.0.0")
    x = np.load(plan.parent / "fixtures.npz")["input.x"]
    x[3] = 0.0  # exactly one half
    edit_arrays(plan, input__x=x)
    answer = decide(story, plan, "--json", "--dry-run")
    assert answer.json["decided"][f"{COMPONENT} 1.0.0"]["nearThreshold"] == ["case-3"]
    told = decide(story, plan)
    assert "another processor may decide otherwise: case-3" in " ".join(told.out.split())


def test_a_dry_run_writes_nothing(story: Any) -> None:
    signed(story)
    plan = story.plan("1.1.0", previous="1.0.0")
    before = story.tree("source")
    answer = decide(story, plan, "--dry-run", "--json")
    assert (answer.code, answer.json["dryRun"]) == (0, True)
    assert story.tree("source") == before


def test_decisions_that_stand_there_are_not_silently_replaced(story: Any) -> None:
    """Danger: a signed comparison changes with the machine that the command was typed on."""
    digest = signed(story)
    plan = story.plan("1.1.0", previous="1.0.0")
    assert decide(story, plan).code == 0
    once = (plan.parent / "fixtures.npz").read_bytes()
    again = decide(story, plan, "--json")
    assert again.json["decided"][f"{COMPONENT} 1.0.0"]["entered"] == "there already"
    assert (plan.parent / "fixtures.npz").read_bytes() == once
    right = held(plan).baselines[digest]
    wrong = np.array([1 - right[0], *right[1:]], dtype=np.int8)
    edit_arrays(plan, **{f"decision.{digest}": wrong})
    before = story.tree("source")
    refused = decide(story, plan)
    assert refused.code == 1
    assert "1 cases that pvc-classifier 1.0.0 decides otherwise" in " ".join(refused.err.split())
    assert "case-0" in refused.err
    assert story.tree("source") == before
    answer = decide(story, plan, "--replace", "--json")
    assert answer.json["decided"][f"{COMPONENT} 1.0.0"]["entered"] == "replaced"
    assert held(plan).baselines == {digest: right}


def test_decisions_of_other_releases_stay(story: Any) -> None:
    digest = signed(story)
    plan = story.plan("1.1.0", previous="1.0.0")
    other = np.zeros(len(held(plan).cases), dtype=np.int8)
    edit_arrays(plan, **{f"decision.{'a' * 64}": other})
    answer = decide(story, plan, "--json")
    assert answer.json["earlierReleases"] == sorted(["a" * 64, digest])
    assert set(held(plan).baselines) == {"a" * 64, digest}


def refusal(story: Any, plan: Path, *, code: int, release: str = EARLIER) -> str:
    """What is told where nothing may be written."""
    before = story.tree("source")
    answer = decide(story, plan, "--json", release=release)
    assert answer.code == code, answer.err or answer.out
    assert story.tree("source") == before
    told = json.loads(answer.err)["error"]
    return " ".join(str(told.get(name)) for name in ("message", "where", "found", "expected"))


def test_a_draft_that_may_become_another_release_decides_nothing(story: Any) -> None:
    story.build("1.0.0")
    plan = story.plan("1.1.0", previous="1.0.0")
    assert "not signed" in refusal(story, plan, code=2)


@pytest.mark.parametrize("release", [f"{COMPONENT}/9.9.9", COMPONENT, "../../etc/1.0.0", "/"])
def test_a_release_that_is_not_there_is_a_wrong_call(story: Any, release: str) -> None:
    plan = story.plan("1.1.0")
    refusal(story, plan, code=2, release=release)


def test_a_model_that_is_not_the_signed_one_decides_nothing(story: Any) -> None:
    """Attack: the file of the earlier release is another, and everything new looks better."""
    signed(story)
    model = story.engineering / "releases" / COMPONENT / "1.0.0/files/model.onnx"
    model.chmod(0o644)
    plan = story.plan("1.1.0", weights=(-2.0, 1.0), previous="1.0.0")
    model.write_bytes((plan.parent / "model.onnx").read_bytes())
    assert "not the one that its manifest names" in refusal(story, plan, code=1)


def test_a_manifest_that_is_not_the_signed_one_decides_nothing(story: Any) -> None:
    signed(story)
    path = story.engineering / "releases" / COMPONENT / "1.0.0/manifest.json"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b'"minor"', b'"moderate"'))
    plan = story.plan("1.1.0", previous="1.0.0")
    assert "no longer the one that was signed" in refusal(story, plan, code=1)


def test_a_machine_that_computes_something_else_does_not_speak_for_devices(story: Any) -> None:
    """Danger: another runtime moves its decisions, and the comparison is with a phantom."""
    signed(story, weights=(2.0, -1.0), expected=(2.0, 1.0))
    plan = story.plan("1.1.0", previous="1.0.0")
    assert "does not compute what it was signed for" in refusal(story, plan, code=1)


def test_a_release_with_other_inputs_is_told_by_name_type_and_shape(story: Any) -> None:
    signed(story)
    plan = story.plan("1.1.0", previous="1.0.0")
    text = plan.read_text().replace('["batch", 2]', '["batch", 3]')
    plan.write_text(text)
    x = np.load(plan.parent / "fixtures.npz")["input.x"]
    edit_arrays(plan, input__x=np.hstack([x, x[:, :1]]))
    told = refusal(story, plan, code=2)
    count = len(held(plan).cases)
    assert f"inputs x: float32[{count}, 3]" in told
    assert f"an input x: float32[{count}, 2]" in told


def test_a_release_that_decides_nothing_is_told_so(story: Any) -> None:
    plan = story.plan("1.0.0")
    text = plan.read_text()
    point = text[text.index("[self_test.operating_point]") : text.index("[[self_test.tests]]")]
    text = text.replace(point, "").replace("min_tests = 2", "min_tests = 1")
    plan.write_text(text[: text.rindex("[[self_test.tests]]")])
    story.run("release", "build", story.engineering, plan)
    story.sign("1.0.0")
    assert "decides nothing" in refusal(story, story.plan("1.1.0", previous="1.0.0"), code=2)


@pytest.mark.parametrize(("cases", "seconds"), [(1, 30), (40, 30), (41, 60), (4000, 600)])
def test_many_more_cases_have_as_much_more_time(story: Any, cases: int, seconds: int) -> None:
    """Danger: an earlier release cannot be compared only because there are more cases now."""
    story.build("1.0.0")
    draft = open_draft(open_created(story.engineering), COMPONENT, "1.0.0")
    assert limits_for(draft.specification(), cases=cases).total_time_limit_seconds == seconds
