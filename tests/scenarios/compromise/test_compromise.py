"""What stolen keys reach is what ``docs/compromise.md`` says, and no promise is broken.

``make campaign-compromise`` runs every set and every pair; here run the single keys, the whole
authorities and a sample of the pairs.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import pytest
from tests.scenarios.compromise.campaign import (
    NO_KEY,
    PAGE,
    Units,
    adds,
    is_nothing,
    keys_of,
    larger,
    page,
    pairs,
    row,
    units,
    whole,
)
from tests.scenarios.compromise.cells import (
    ANYTHING,
    AT_ONCE,
    BACK,
    GOALS,
    MARKED,
    Reached,
    base,
    cells,
)
from tests.scenarios.compromise.promises import PROMISES, WITHHELD, Hand, broken
from tests.scenarios.compromise.strategies_running import STRATEGIES
from tests.scenarios.compromise.world import ATTACK, HOUR
from tests.unit.verifier.conftest import NOW

from primum_verifier.core.document import canonical_json
from primum_verifier.core.view import CLINICAL, ENGINEERING
from primum_verifier.core.vocabulary import Capability, Phase

SEED, SAMPLE = 20260601, 3
_TOO_FEW = {f"{ENGINEERING} `targets`", f"{CLINICAL} `targets`", f"{CLINICAL} `root`"}
SINGLE = tuple(
    name for name in units() if "2 of 2" not in name and name.split(",")[0] not in _TOO_FEW
)
"""The single keys that run here; one key of two is told of by engineering's root and the list."""
LARGER = (
    NO_KEY,
    "clinical's online keys and `eligibility`",
    "engineering's online keys and `targets`",
    "whole hospital",
    "whole engineering",
    "whole clinical",
    "**both authorities**",
)
"""The larger sets that run here; the campaign runs the others, too."""

STALE = "stale: make campaign-compromise"


@pytest.fixture(scope="module")
def written() -> str:
    return PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def sets() -> Units:
    return {**units(), **larger()}


def sample() -> Iterator[tuple[tuple[str, str], frozenset[str]]]:
    """Some pairs, the same at every run."""
    yield from random.Random(SEED).sample(list(pairs(units())), SAMPLE)


@pytest.mark.parametrize("name", [*SINGLE, *LARGER])
def test_a_set_of_stolen_keys_reaches_what_the_page_says(
    sets: Units, written: str, name: str
) -> None:
    reached = cells(sets[name])
    assert broken(sets[name], reached) == []
    told = [line for line in written.splitlines() if line.startswith("No more than")]
    if name != NO_KEY and is_nothing(reached, cells(frozenset())):
        assert any(f": {name};" in f"{line[:-1]};".replace("; ", ";: ") for line in told), STALE
    else:
        assert row(name, reached) in written.splitlines(), STALE


@pytest.mark.parametrize(
    ("names", "stolen"), list(sample()), ids=lambda item: " + ".join(sorted(item))
)
def test_a_pair_reaches_what_the_page_says(
    sets: Units, written: str, names: tuple[str, str], stolen: frozenset[str]
) -> None:
    reached = cells(stolen)
    assert broken(stolen, reached) == []
    told = row(" + ".join(names), reached) in written.splitlines()
    assert told == adds(reached, *(cells(sets[name]) for name in names))


def test_the_page_explains_every_promise_and_every_way_of_attack(written: str) -> None:
    """The words around the tables are the code's, too."""
    empty = page({}, {}, {}).splitlines()
    lost = [line for line in empty if line not in written.splitlines() and " pairs of " not in line]
    assert lost == []
    assert WITHHELD in written
    assert all(item.said in written for item in STRATEGIES.values())


def test_whoever_holds_both_authorities_does_reach_wrong(sets: Units) -> None:
    """A harness in which nobody ever reached anything would prove nothing."""
    both = cells(sets["**both authorities**"])
    assert {ANYTHING, MARKED} <= both.words["wrong"]
    assert AT_ONCE in both.words["taken away"]
    assert {"withdrawn", "recalled", "held", "elsewhere", "lapsed"} <= both.words["worse"]
    assert both.words["recovery"] == {"new provisioning"}


@pytest.mark.parametrize("missing", [keys_of(CLINICAL, "eligibility"), keys_of(CLINICAL, "safety")])
def test_a_harness_that_allowed_less_would_find_it_broken(missing: frozenset[str]) -> None:
    """What both authorities reach is a broken promise for whoever should hold less."""
    reached = cells(whole(ENGINEERING) | whole(CLINICAL))
    roots = keys_of(CLINICAL, "root") | keys_of(CLINICAL, "targets") | keys_of(ENGINEERING, "root")
    assert broken((whole(ENGINEERING) | whole(CLINICAL)) - missing - roots, reached)


def test_a_withdrawal_that_nobody_can_read_is_not_passed_over_for_what_can_be() -> None:
    """The list says "eligible" of the correction, and something newer that no device knows."""
    world = base().before.fork()
    world.correct(NOW + HOUR)
    index = json.loads(world.index(world.listed, at=NOW + HOUR, number=world.number + 1))
    index["entries"] += [
        {**entry, "status": "withdrawn", "unknownToAll": "yes"}
        for entry in index["entries"]
        if entry["release"]["sha256"]
        in {world.releases["better"].release, world.releases["running"].release}
    ]
    world.clinical.add("eligibility/index.json", canonical_json(index), role="eligibility")
    world.clinical.publish()
    device = base().device.twin()
    assert not device.poll(world.files, ATTACK).problems
    better = device.ask(world.releases["better"].release, Phase.ACTIVATE, ATTACK)
    assert better.capability < Capability.SHADOW
    order = device.ask(device.running.release, Phase.CONTINUE, ATTACK).order
    assert order is not None
    assert not order.action.takes_away


def test_every_goal_is_reached_by_somebody(written: str) -> None:
    """Each goal has a set that reaches it, so no column of the page is empty by mistake."""
    header = next(line for line in written.splitlines() if line.startswith("| stolen |"))
    assert header == f"| stolen | {' | '.join(GOALS)} |"
    assert {goal for goal in GOALS if any(item.goal == goal for item in PROMISES)} == set(GOALS)


def test_one_person_is_never_two_functions_and_one_key_no_threshold() -> None:
    """The promise itself counts as it says it does."""
    hand = Hand(frozenset({"clinical.root.1", "clinical.safety.1", "person.clinical"}))
    assert not hand.signs(CLINICAL, "root")
    assert hand.people() == 1
    assert not hand.publishes(CLINICAL, "safety")
    assert Hand(keys_of(CLINICAL, "root", 2)).people() == 3
    assert BACK != AT_ONCE


def test_reached_is_merged_and_told_by_whom() -> None:
    one, other = Reached(), Reached()
    other.add("wrong", ANYTHING, "somehow")
    one.merge(other)
    assert one.words["wrong"] == {ANYTHING}
    assert one.by == {f"wrong: {ANYTHING}": {"somehow"}}
