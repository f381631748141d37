"""``make campaign-compromise``: every set of stolen keys tries everything; writes the page.

Exit: 0 every promise held and the page is written, 1 a promise is broken, 2 called wrongly.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path

from tests.scenarios.compromise.cells import GOALS, NOTHING, Reached, cells, lasting
from tests.scenarios.compromise.promises import PROMISES, WITHHELD, broken
from tests.scenarios.compromise.strategies_running import STRATEGIES
from tests.scenarios.compromise.world import PEOPLE, ROLES

from primum_verifier.core.view import CLINICAL, ENGINEERING, SITE

PAGE = Path(__file__).resolve().parents[3] / "docs" / "compromise.md"
EXIT_DONE, EXIT_BROKEN = 0, 1

WORDS = (
    """\
- *wrong*: a release runs that was never approved. *worse*: one that is older, withdrawn, recalled
  (withdrawn by a notice that the list has not followed yet), held, lapsed, or meant for elsewhere;
  or what runs goes on although it was withdrawn or has ended, or by other words than were approved.
- *taken away*: an eligible, proven function stops before its signed statement allows.""",
    f"- *fix withheld*: {WITHHELD}",
    """\
- *false report*: a history is believed that the device did not write.
- *recovery*: everything of his was signed with versions and times far ahead; then his keys were
  replaced by the root. How does a device come back?""",
)

THIS_WORLD = """\
In this world a timestamp lasts one day, a snapshot 7, notices 3, the list 14, a rollout plan 30,
the build role 60, top roles 90 days. A running release may go on for 16 days without a newer list,
and then it is taken away. It was withdrawn once, and a statement that everybody approved answered
that; elsewhere a trial runs, restricted by a notice, that ends after 20 days.
Top roles, roots and the list need two of three keys, a device context two of two, production one
approver of each of three functions.
A device takes a new context only from provisioning, which asks the same judge first."""

NO_KEY = "none: broker, mirrors, names, clock"
Units = dict[str, frozenset[str]]


def keys_of(name: str, role: str, count: int | None = None) -> frozenset[str]:
    """The names of a role's first keys; as many as it has where no count is given."""
    count = ROLES[name][role][0] if count is None else count
    return frozenset(f"{name}.{role}.{number}" for number in range(1, count + 1))


def units() -> Units:
    """Each single key, and each role at its threshold."""
    found: Units = {}
    for name in (ENGINEERING, CLINICAL):
        for role, (_, needed, _) in ROLES[name].items():
            for count in range(1, needed + 1):
                said = f", {count} of {needed}" if needed > 1 else ""
                found[f"{name} `{role}`{said}"] = keys_of(name, role, count)
    for person in PEOPLE:
        found[f"approver, {person}"] = frozenset({f"person.{person}"})
    found["provisioning, 1 of 2"] = frozenset({"provisioning.1"})
    found["provisioning, 2 of 2"] = frozenset({"provisioning.1", "provisioning.2"})
    found["device key"] = frozenset({"device"})
    found["hospital `timestamp`"] = keys_of(SITE, "timestamp")
    return found


def whole(name: str) -> frozenset[str]:
    """Every key of an authority."""
    return frozenset().union(*(keys_of(name, role) for role in ROLES[name]))


def larger() -> Units:
    """No key at all, what lies on one server or in one drawer, and whole authorities."""
    people = frozenset(f"person.{person}" for person in PEOPLE)
    online = {
        name: keys_of(name, "snapshot") | keys_of(name, "timestamp")
        for name in (ENGINEERING, CLINICAL)
    }
    near = online[CLINICAL] | keys_of(CLINICAL, "safety")
    engineering, clinical = whole(ENGINEERING), whole(CLINICAL)
    return {
        NO_KEY: frozenset(),
        "every online key of both": online[ENGINEERING] | online[CLINICAL],
        "engineering's keys on servers, with `model` and `rollout`": online[ENGINEERING]
        | keys_of(ENGINEERING, "model")
        | keys_of(ENGINEERING, "rollout"),
        "clinical's online keys and `safety`": near,
        "clinical's online keys, `safety`, one approver": near | {"person.clinical"},
        "clinical's online keys, `safety`, two approvers": near
        | {"person.clinical", "person.quality"},
        "clinical's online keys and `eligibility`": online[CLINICAL]
        | keys_of(CLINICAL, "eligibility"),
        "clinical's online keys and `targets`": online[CLINICAL] | keys_of(CLINICAL, "targets"),
        "engineering's online keys and `targets`": online[ENGINEERING]
        | keys_of(ENGINEERING, "targets"),
        "all approvers": people,
        "whole hospital": whole(SITE),
        "whole engineering": engineering,
        "whole engineering, and all approvers": engineering | people,
        "whole clinical, without its people": clinical,
        "whole clinical": clinical | people,
        "**both authorities**": engineering | clinical | people,
    }


def pairs(found: Units) -> Iterable[tuple[tuple[str, str], frozenset[str]]]:
    """Every two units, but not two of one role, which stand for themselves."""
    for (one, mine), (other, theirs) in combinations(found.items(), 2):
        if not mine <= theirs:
            yield (one, other), mine | theirs


def row(name: str, reached: Reached) -> str:
    """One line of the table."""
    told = ["; ".join(sorted(reached.words[goal])) or NOTHING for goal in GOALS]
    return f"| {name} | {' | '.join(told)} |"


def is_nothing(reached: Reached, none: Reached) -> bool:
    """Whether a set reaches no more than whoever holds no key at all."""
    return reached.words == none.words


def folded(names: Iterable[str]) -> str:
    """One line for all sets that reach no more than no key at all."""
    return f"No more than without any key: {'; '.join(names)}."


def table(found: Mapping[str, Reached], none: Reached | None) -> list[str]:
    """The rows of those that reach something; the others in one line below."""
    nothing = [
        name
        for name, reached in found.items()
        if none is not None and reached is not none and is_nothing(reached, none)
    ]
    return [
        f"| stolen | {' | '.join(GOALS)} |",
        f"|{'---|' * (len(GOALS) + 1)}",
        *(row(name, reached) for name, reached in found.items() if name not in nothing),
        *(["", folded(nothing)] if nothing else []),
    ]


def adds(reached: Reached, one: Reached, other: Reached) -> bool:
    """Whether two together reach what neither reaches alone."""
    for goal in GOALS:
        apart, together = one.words[goal] | other.words[goal], reached.words[goal]
        if goal == "fix withheld":
            longest: dict[str, tuple[int, ...]] = {word.split(":")[0]: (0,) for word in together}
            for word in apart:
                name = word.split(":")[0]
                longest[name] = max(longest.get(name, (0,)), lasting(word))
            if any(lasting(word) > longest[word.split(":")[0]] for word in together):
                return True
        elif not together <= apart:
            return True
    return False


def page(alone: dict[str, Reached], more: dict[str, Reached], two: dict[str, Reached]) -> str:
    """The page, from what the runs reached and from nothing else."""
    none = more.get(NO_KEY)
    ways = [
        f"- *{goal}*: "
        + "; ".join(item.said for item in STRATEGIES.values() if item.goal == goal)
        + "."
        for goal in GOALS
        if any(item.goal == goal for item in STRATEGIES.values())
    ]
    why = [f"- *{item.goal}*, {', '.join(item.words)}: {item.who}. {item.why}" for item in PROMISES]
    lines = [
        "# What stolen keys reach",
        "",
        "`make campaign-compromise` writes this page.",
        "Whoever holds the keys of a row holds every mirror, the broker and the network besides.",
        "He tries every way of attack below with every key that he has, leaving alone what he",
        "cannot sign, or signing it with too few keys.",
        "A device then asks all authorities and judges every release in every phase; each cell is",
        "what happened there. A cell that breaks a promise below fails the run, and a page that",
        "says something else than the code fails the tests.",
        "",
        "## What the words mean",
        "",
        *WORDS,
        "",
        THIS_WORLD,
        "",
        "## One key, and each role at its threshold",
        "",
        *table({**({NO_KEY: none} if none else {}), **alone}, none),
        "",
        "## Servers, drawers, and whole authorities",
        "",
        *table({name: reached for name, reached in more.items() if name != NO_KEY}, none),
        "",
        "## Pairs that reach more than their parts",
        "",
        f"{len(two)} pairs of the rows of the first table were tried; these reach more together:",
        "",
        *table(two_more(alone, two), None),
        "",
        "## Who may reach what, and why",
        "",
        *why,
        "",
        "## The ways of attack",
        "",
        *ways,
        "",
    ]
    return "\n".join(lines)


def two_more(alone: dict[str, Reached], two: dict[str, Reached]) -> dict[str, Reached]:
    """The pairs that reach more than their parts."""
    found = {}
    for name, reached in two.items():
        one, other = name.split(" + ")
        if adds(reached, alone[one], alone[other]):
            found[name] = reached
    return found


def main() -> int:
    """Run everything, say how far it is, write the page."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    began, faults = time.monotonic(), []
    alone, more, two = units(), larger(), {" + ".join(n): k for n, k in pairs(units())}
    results: list[dict[str, Reached]] = []
    count = 0
    for said, sets in (("single", alone), ("larger", more), ("pairs", two)):
        found: dict[str, Reached] = {}
        for name, stolen in sets.items():
            found[name] = cells(stolen)
            count += sum(found[name].tried.values())
            wrong = broken(stolen, found[name])
            faults += [f"{name}: {fault}" for fault in wrong]
            if said != "pairs" or len(found) % 25 == 0 or wrong:
                took = time.monotonic() - began
                print(f"{took:6.0f} s  {said} {len(found)}/{len(sets)}  {name}", flush=True)
        results.append(found)
    took = time.monotonic() - began
    sets_tried = sum(len(found) for found in results)
    print(f"{sets_tried} sets of keys, {len(STRATEGIES)} ways, {count} attacks in {took:.0f} s")
    for fault in faults:
        print(f"BROKEN  {fault}")
    if faults:
        return EXIT_BROKEN
    PAGE.write_text(page(*results), encoding="utf-8")
    print(f"written: {PAGE}")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
