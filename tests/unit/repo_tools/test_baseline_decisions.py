"""A release that asks to be no worse than another is built with the other's decisions or not."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

COMPONENT = "pvc-classifier"


def ask(plan: Path, *of: str) -> None:
    """Let the functional test ask for these baselines."""
    limit = "max_decision_flips_by_cohort = {}\n"
    text = plan.read_text()
    assert limit in text
    plan.write_text(text.replace(limit, f"{limit}no_worse_than = {json.dumps(of)}\n"))


def add_decisions(fixtures: Path, **decided: Any) -> None:
    """Add what earlier releases decided, by the digest of their manifests."""
    arrays = {**np.load(fixtures), **{f"decision.{key}": value for key, value in decided.items()}}
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    fixtures.write_bytes(stream.getvalue())


def built(story: Any, version: str) -> str:
    digest: str = story.build(version).json["sha256"]
    return digest


@pytest.mark.parametrize("of", [("active",), ("original",), ("active", "original")])
def test_a_release_without_the_decisions_it_is_held_against_is_not_built(
    story: Any, of: tuple[str, ...]
) -> None:
    """Danger: it is approved and published, and then no device can ever evaluate it."""
    built(story, "1.0.0")
    plan = story.plan("1.1.0", previous="1.0.0")
    ask(plan, *of)
    answer = story.try_run("release", "build", story.engineering, plan)
    assert answer.code == 2
    assert "lack the decisions of an earlier release" in answer.err
    assert not (story.engineering / "releases" / COMPONENT / "1.1.0").exists()


def test_a_first_release_compares_with_no_original(story: Any) -> None:
    plan = story.plan("1.0.0")
    ask(plan, "original")
    answer = story.try_run("release", "build", story.engineering, plan)
    assert answer.code == 2
    assert "names none" in answer.err


def test_a_first_release_may_ask_for_the_active_one_that_nobody_has(story: Any) -> None:
    plan = story.plan("1.0.0")
    ask(plan, "active")
    story.run("release", "build", story.engineering, plan)
    story.run("release", "check", story.engineering, COMPONENT, "1.0.0")


@pytest.mark.parametrize(("wrong", "code"), [(0, 0), (1, 1)])
def test_what_decides_worse_than_the_last_release_is_found_before_it_is_signed(
    story: Any, wrong: int, code: int
) -> None:
    first = built(story, "1.0.0")
    plan = story.plan("1.1.0", previous="1.0.0")
    ask(plan, "active", "original")
    fixtures = plan.parent / "fixtures.npz"
    arrays = dict(np.load(fixtures))
    arrays["label"][:wrong] = 1 - arrays["label"][:wrong]
    np.savez(fixtures, **arrays)
    add_decisions(fixtures, **{first: arrays["label"]})
    story.run("release", "build", story.engineering, plan)
    answer = story.try_run("release", "check", story.engineering, COMPONENT, "1.1.0")
    assert answer.code == code, answer.err
    if wrong:
        assert "worse than the active release: 1 " in answer.err
