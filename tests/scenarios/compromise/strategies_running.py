"""Ways of attack on what runs already: its words, its list, its approvals, and the time it ends by.

Whoever takes away, or lets go on what must end, is found here; ``strategies`` has all the others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from tests.scenarios.compromise.attacker import Attacker
from tests.scenarios.compromise.strategies import (
    STRATEGIES,
    Act,
    Step,
    Strategy,
    approve,
    name_people,
    steps_of,
    strategy,
)
from tests.scenarios.compromise.world import ATTACK, DAY, HOUR, PEOPLE, day_by_day, key
from tests.unit.verifier.conftest import NOW, moment

from primum_verifier.core.document import canonical_json
from primum_verifier.core.eligibility import approvals_target, statement_target
from primum_verifier.core.view import CLINICAL, ENGINEERING, SITE

__all__ = ["STRATEGIES"]

_TIME_ROLES = ("root", "timestamp")
_TIME_DAYS = (1, 22, 60)
"""When a device polls while somebody works on the time: 60 days, and the trial ends on day 20."""


def _slow_the_time(tell: Callable[[datetime], str | None]) -> Act:
    def act(thief: Attacker, before: Mapping[str, bytes]) -> list[Step] | None:
        del before
        steps: list[Step] = []
        for day, world in day_by_day(thief.honest, _TIME_DAYS).items():
            again = Attacker(world, thief.stolen, world.clinical.at, thief.manner)
            for authority in again.world.authorities.values():
                authority.tells = tell
            files = again.serve()
            if files is None:
                return None
            steps.append(Step(files=files, after=NOW + day * DAY + HOUR - ATTACK))
        return steps

    return act


_TIMES: dict[str, tuple[str, Callable[[datetime], str | None]]] = {
    "drop": ("signs no issue time at all for 60 days", lambda _: None),
    "freeze": ("signs the same issue time for 60 days", lambda _: moment(ATTACK)),
    "turn-back": (
        "signs issue times of a year before for 60 days, each a little later",
        lambda at: moment(at - 365 * DAY),
    ),
}

for _how, (_said, _tell) in _TIMES.items():
    STRATEGIES[f"time-{_how}"] = Strategy(
        f"time-{_how}",
        "worse",
        _said,
        tuple(f"{name}.{role}." for name in (ENGINEERING, CLINICAL) for role in _TIME_ROLES),
        _slow_the_time(_tell),
    )


def _list(thief: Attacker, *names: str, **words: Any) -> None:
    """A new list, with the entries of these releases as they now stand."""
    world = thief.world
    listed = {**world.listed, **dict.fromkeys(names, "eligible")}
    index = world.index(listed, at=thief.at, number=world.number + 1)
    if words:
        content = json.loads(index)
        hit = {world.releases[name].release for name in names}
        for entry in content["entries"]:
            if entry["release"]["sha256"] in hit:
                entry.update(words)
        index = canonical_json(content)
    thief.put(CLINICAL, "eligibility/index.json", index, role="eligibility")


def _reword(name: str, change: Callable[[dict[str, Any]], object]) -> Act:
    def act(thief: Attacker, before: Mapping[str, bytes]) -> list[Step] | None:
        del before
        if thief.holds(CLINICAL, "targets"):
            name_people(thief)
        statement = thief.world.releases[name].statement
        statement["statementNumber"] += 1
        change(statement)
        approve(thief, name)
        _list(thief, name)
        return steps_of(thief)

    return act


def _for_everybody(statement: dict[str, Any]) -> None:
    statement |= {"decision": "eligible", "use": {"mode": "clinical"}}
    del statement["study"]


def _for_nobody(statement: dict[str, Any]) -> None:
    until = moment(NOW + 200 * DAY)
    study = {"protocolId": "X", "approvalRef": "X", "until": until, "devices": ["wearable-001"]}
    statement |= {"decision": "shadow-only", "use": {"mode": "shadow"}, "study": study}


def _ended(statement: dict[str, Any]) -> None:
    statement["validity"]["notAfter"] = moment(NOW + HOUR)
    statement["onExpiry"] = {"action": "suspend-ai-function", "hazardRef": "HZ-1"}


_WORDINGS: dict[str, tuple[str, str, str, Callable[[dict[str, Any]], object]]] = {
    "threshold": (
        "running",
        "worse",
        "another threshold",
        lambda said: said["operatingPoint"].update(threshold="0.01"),
    ),
    "longer": (
        "trial",
        "worse",
        "years more",
        lambda said: said["validity"].update(notAfter=moment(NOW + 3000 * DAY)),
    ),
    "ageless": (
        "running",
        "worse",
        "a list that may grow a year old",
        lambda said: said["validity"].update(maxIndexAgeHours=8784),
    ),
    "clinical": ("trial", "worse", "clinical use of what is for investigation", _for_everybody),
    "ended": ("running", "taken away", "an end that has passed", _ended),
    "shadow": ("running", "taken away", "outputs that are shown to nobody", _for_nobody),
}

for _how, (_name, _goal, _said, _reworded) in _WORDINGS.items():
    STRATEGIES[f"reword-{_how}"] = Strategy(
        f"reword-{_how}",
        _goal,
        f"lists a new statement about what runs, with {_said}",
        (f"{CLINICAL}.", "person."),
        _reword(_name, _reworded),
    )


@strategy("worse", "lists the older statement about what runs, once approved", f"{CLINICAL}.")
def reword_as_before(thief: Attacker, before: Mapping[str, bytes]) -> list[Step] | None:
    del before
    release = thief.world.releases["running"]
    release.statement["statementNumber"] -= 1
    release.statement["operatingPoint"]["threshold"] = "0.4"
    digest = thief.world.statement_of("running")
    lines = release.approval_lines(digest)
    thief.put(CLINICAL, statement_target(digest), release.statement_bytes(), role="eligibility")
    thief.put(CLINICAL, approvals_target(digest), lines, role="eligibility")
    _list(thief, "running")
    return steps_of(thief)


def _share_the_keys(*, used: bool) -> Act:
    def act(thief: Attacker, before: Mapping[str, bytes]) -> list[Step] | None:
        del before
        if thief.holds(ENGINEERING, "targets"):
            targets = thief.world.engineering.targets
            assert targets.delegations is not None
            for person in PEOPLE:
                public = key(f"person.{person}").public_key
                if used:
                    targets.add_key(public, "rollout")
                else:
                    targets.delegations.keys[public.keyid] = public
            thief.touched.add((ENGINEERING, "targets"))
        return steps_of(thief)

    return act


for _how, _said in (
    ("unused", "for no role"),
    ("used", "for its rollout"),
):
    STRATEGIES[f"share-keys-{_how}"] = Strategy(
        f"share-keys-{_how}",
        "worse",
        f"engineering lists the public keys of clinical's people as its own, {_said}",
        (f"{ENGINEERING}.",),
        _share_the_keys(used=_how == "used"),
    )


def _spoil_approvals(how: str) -> Act:
    def act(thief: Attacker, before: Mapping[str, bytes]) -> list[Step] | None:
        del before
        target = approvals_target(thief.world.statement_of("running"))
        if how == "gone" and thief.holds(CLINICAL, "eligibility"):
            del thief.world.clinical.part("eligibility").targets[target]
            thief.touched.add((CLINICAL, "eligibility"))
            return steps_of(thief)
        lines = thief.honest.approvals_of("running").splitlines(keepends=True)
        data = b"".join(lines[1:]) if how == "short" else b"no envelope\n"
        thief.put(CLINICAL, target, data, role="eligibility")
        return steps_of(thief)

    return act


for _how, _said in (
    ("short", "drops an approval"),
    ("spoilt", "spoils every approval"),
    ("gone", "takes away every approval"),
):
    STRATEGIES[f"approvals-{_how}"] = Strategy(
        f"approvals-{_how}",
        "taken away",
        f"{_said} of a statement that answered a withdrawal of what runs",
        (f"{CLINICAL}.",),
        _spoil_approvals(_how),
    )


def _spoil(target: str, role: str) -> Act:
    def act(thief: Attacker, before: Mapping[str, bytes]) -> list[Step] | None:
        del before
        thief.put(CLINICAL, target, b"no document", role=role)
        return steps_of(thief)

    return act


for _how, _target, _role, _said in (
    ("list", "eligibility/index.json", "eligibility", "a list"),
    ("policy", "policy/approval-policy.json", "targets", "an approval policy"),
):
    STRATEGIES[f"spoil-{_how}"] = Strategy(
        f"spoil-{_how}",
        "worse",
        f"signs {_said} that nobody can read",
        (f"{CLINICAL}.",),
        _spoil(_target, _role),
    )


@strategy("worse", "signs a list that is dated a hundred days ahead", f"{CLINICAL}.")
def list_from_the_future(thief: Attacker, before: Mapping[str, bytes]) -> list[Step] | None:
    del before
    world = thief.world
    index = world.index(world.listed, at=thief.at + 100 * DAY, number=world.number + 1)
    thief.put(CLINICAL, "eligibility/index.json", index, role="eligibility")
    return steps_of(thief)


@strategy("taken away", "marks what runs as withdrawn on the list, as of last year", f"{CLINICAL}.")
def list_mark_of_old(thief: Attacker, before: Mapping[str, bytes]) -> list[Step] | None:
    del before
    _list(thief, "running", status="withdrawn", effectiveAt=moment(NOW - 365 * DAY))
    return steps_of(thief)


@strategy(
    "worse",
    "lists what is withdrawn, and what runs, as eligible beside a withdrawal that nobody can read",
    f"{CLINICAL}.",
)
def list_beside_the_unreadable(thief: Attacker, before: Mapping[str, bytes]) -> list[Step] | None:
    del before
    world = thief.world
    content = json.loads(
        world.index({**world.listed, "withdrawn": "eligible"}, at=thief.at, number=world.number + 1)
    )
    hit = {world.releases[name].release for name in ("withdrawn", "running")}
    content["entries"] += [
        {**entry, "status": "withdrawn", "unknownToAll": "yes"}
        for entry in content["entries"]
        if entry["release"]["sha256"] in hit
    ]
    thief.put(CLINICAL, "eligibility/index.json", canonical_json(content), role="eligibility")
    return steps_of(thief)


def _accept(**changes: Any) -> Act:
    def act(thief: Attacker, before: Mapping[str, bytes]) -> list[Step] | None:
        del before
        content = json.loads(thief.world.acceptance(thief.world.listed))
        for entry in content["accepted"]:
            entry.update(changes.get("entry", {}))
        content |= {name: said for name, said in changes.items() if name != "entry"}
        thief.put(SITE, "site/acceptance.json", canonical_json(content))
        return steps_of(thief)

    return act


_NEVER = {"code": "never", "text": "never met", "enforce": "inference"}

for _how, _said, _words in (
    ("elsewhere", "accepts for another site only", {"sites": ["ward-9"]}),
    (
        "ended",
        "lets every acceptance end",
        {"entry": {"acceptedUntil": moment(NOW + HOUR / 2)}},
    ),
    ("never", "accepts on a condition that nobody meets", {"entry": {"conditions": [_NEVER]}}),
    ("spoilt", "signs an acceptance that nobody can read", {"accepted": "no list"}),
):
    STRATEGIES[f"site-{_how}"] = Strategy(
        f"site-{_how}",
        "taken away",
        f"the hospital's repository {_said}",
        (f"{SITE}.",),
        _accept(**_words),
    )
