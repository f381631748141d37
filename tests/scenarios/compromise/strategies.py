"""Every way of attack that is tried: a name, what it is in words, and what the attacker does.

A strategy is given the attacker with his copy of the world; it returns what he serves, poll by
poll, or None where his keys sign nothing of it.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tests.scenarios.compromise.attacker import Attacker
from tests.scenarios.compromise.world import (
    COMPONENT,
    DAY,
    HOUR,
    LISTED,
    PEOPLE,
    artifact,
    key,
)
from tests.unit.verifier.conftest import NOW, envelope, moment

from primum_verifier.core.document import canonical_json, sha256_hex
from primum_verifier.core.eligibility import approvals_target, statement_target
from primum_verifier.core.envelope import (
    CONTEXT_PAYLOAD_TYPE,
    TRUST_MAP_PAYLOAD_TYPE,
)
from primum_verifier.core.manifest import manifest_target
from primum_verifier.core.view import CLINICAL, ENGINEERING, SITE


@dataclass(frozen=True, kw_only=True)
class Step:
    """One poll of the device: what is served, when, and what else he got hold of.

    Attributes:
        files: the web as he serves it.
        after: how long after the attack began.
        context: a device context that he put on the device, None: its own.
        trust_map: a signed trust map that he put there, None: none.
        clock: how far he moved the device's clock.
    """

    files: Mapping[str, bytes]
    after: timedelta = timedelta(0)
    context: bytes | None = None
    trust_map: bytes | None = None
    clock: timedelta = timedelta(0)


Act = Callable[[Attacker, Mapping[str, bytes]], list[Step] | None]
"""Takes the attacker and the web as it was before the honest news."""


@dataclass(frozen=True)
class Strategy:
    """One way of attack.

    Attributes:
        name: its short name.
        goal: what it is meant for; what else it reaches counts as well.
        said: what he does, in words.
        keys: the beginnings of the names of keys that it has a use for.
        act: does it.
    """

    name: str
    goal: str
    said: str
    keys: tuple[str, ...]
    act: Act


STRATEGIES: dict[str, Strategy] = {}
_BOTH = (f"{ENGINEERING}.", f"{CLINICAL}.", "person.", f"{SITE}.")


def strategy(goal: str, said: str, *keys: str) -> Callable[[Act], Act]:
    """Enter the function below into the list."""

    def enter(act: Act) -> Act:
        name = act.__name__.replace("_", "-")
        STRATEGIES[name] = Strategy(name, goal, said, keys, act)
        return act

    return enter


def steps_of(thief: Attacker) -> list[Step] | None:
    """What he serves, where he changed anything that he can sign for.

    Whoever only signs again what others wrote is told of by the attacks on the time.
    """
    files = thief.serve() if thief.touched else None
    return None if files is None else [Step(files=files)]


# What needs no key: mirrors, links and clocks.


@strategy("wrong", "serves other bytes than those of the release that everybody gets")
def swap_the_files(thief: Attacker, before: Mapping[str, bytes]) -> list[Step]:
    del before
    url = f"https://{ENGINEERING}.test/artifacts/{sha256_hex(artifact('better'))}"
    return [Step(files={**thief.world.files, url: artifact("forged")})]


@strategy("worse", "serves everything as it was before the newest publication")
def serve_the_old(thief: Attacker, before: Mapping[str, bytes]) -> list[Step]:
    del thief
    return [Step(files=before)]


@strategy("worse", "serves one authority as it is and the other as it was, each in turn")
def serve_half_of_the_old(thief: Attacker, before: Mapping[str, bytes]) -> list[Step]:
    new = thief.world.files
    return [
        Step(files={**new, **{url: data for url, data in before.items() if f"//{name}." in url}})
        for name in (ENGINEERING, CLINICAL)
    ]


@strategy("worse", "sets the device's clock back before something ended, then far ahead")
def set_the_clock(thief: Attacker, before: Mapping[str, bytes]) -> list[Step]:
    del before
    files = thief.world.files
    return [Step(files=files, clock=shift) for shift in (-2 * HOUR, -3000 * DAY, 3650 * DAY)]


@strategy("taken away", "serves nothing, until just before the signed statement ends the use")
def serve_nothing(thief: Attacker, before: Mapping[str, bytes]) -> list[Step]:
    del thief, before
    return [Step(files={}), Step(files={}, after=5 * DAY)]


# What widens: something runs that must not.


def _put_forward(name: str) -> Act:
    def act(thief: Attacker, before: Mapping[str, bytes]) -> list[Step] | None:
        del before
        world, release = thief.world, thief.world.releases[name]
        if thief.holds(CLINICAL, "targets"):
            name_people(thief)
        if name == "forged":
            target = manifest_target(COMPONENT, release.version)
            thief.put(ENGINEERING, target, release.manifest_bytes, role="model")
            url = f"https://{ENGINEERING}.test/artifacts/{sha256_hex(artifact(name))}"
            world.files[url] = artifact(name)
        thief.put(ENGINEERING, "rollout/plan.json", world.plan(name), role="rollout")
        answered = [notice["id"] for notice, _ in release.notices]
        release.notices = []
        thief.put(CLINICAL, "safety/notices.jsonl", _notices_of_others(thief), role="safety")
        everybody = thief.holds(CLINICAL, "targets") or len(thief.people()) == len(PEOPLE)
        if everybody or name not in LISTED:
            # Without enough people the old statement with its old approvals is the best he has.
            release.statement["constraints"]["sites"] = {"mode": "all", "ids": []}
            release.statement["validity"]["notAfter"] = moment(NOW + 3000 * DAY)
            release.statement["answers"] = answered
        approve(thief, name)
        listed = {**world.listed, name: "eligible"}
        index = world.index(listed, at=thief.at, number=world.number + 1)
        thief.put(CLINICAL, "eligibility/index.json", index, role="eligibility")
        thief.put(SITE, "site/acceptance.json", world.acceptance(listed))
        return steps_of(thief)

    return act


def name_people(thief: Attacker) -> None:
    """His own people instead of everybody's, in the approval policy."""
    thief.name_people()
    policy = canonical_json(thief.world.first.policy)
    thief.put(CLINICAL, "policy/approval-policy.json", policy)


def _notices_of_others(thief: Attacker) -> bytes:
    """The notices that are left, each with the signatures that it had: he need not sign them."""
    left = {item["id"] for release in thief.world.releases.values() for item, _ in release.notices}
    lines = thief.honest.notices().splitlines()
    return b"".join(line + b"\n" for line in lines if _id_of(line) in left)


def _id_of(line: bytes) -> str:
    said = json.loads(base64.b64decode(json.loads(line)["payload"]))
    return str(said["predicate"]["id"])


def approve(thief: Attacker, name: str) -> None:
    """A statement with the approvals that he can sign, and with every old approval there is."""
    world, release = thief.world, copy.copy(thief.world.releases[name])
    digest = world.statement_of(name)
    if not thief.holds(CLINICAL, "targets"):
        mine = thief.people()
        release.approvals = [item for item in release.approvals if item["signer"] in mine]
    lines = release.approval_lines(digest)
    for other in ("better", name):
        # Given for another statement, unless this is the very one that was approved.
        lines += thief.honest.approvals_of(other)
    thief.put(CLINICAL, statement_target(digest), release.statement_bytes(), role="eligibility")
    thief.put(CLINICAL, approvals_target(digest), lines, role="eligibility")


for _name, _goal, _said in (
    ("forged", "wrong", "puts forward a build of his own"),
    ("unapproved", "wrong", "puts forward what engineering marked and nobody approved"),
    ("unfinished", "wrong", "puts forward what engineering marked for an earlier stage"),
    ("older", "worse", "puts forward an older release"),
    ("withdrawn", "worse", "puts a withdrawn release back, without its notice"),
    ("recalled", "worse", "drops the notice by which a release was withdrawn"),
    ("held", "worse", "drops the notice by which a release is held"),
    ("elsewhere", "worse", "puts forward what is signed for another site"),
    ("lapsed", "worse", "puts forward what has ended"),
):
    STRATEGIES[f"put-forward-{_name}"] = Strategy(
        f"put-forward-{_name}", _goal, _said, _BOTH, _put_forward(_name)
    )


@strategy("worse", "gives the device a context of another place", "provisioning.", *_BOTH[:2])
def move_the_device(thief: Attacker, before: Mapping[str, bytes]) -> list[Step] | None:
    del before
    signers = thief.keys("provisioning.")
    own = [key("thief.provisioning.1"), key("thief.provisioning.2")]
    named = [thief.holds(name, "targets") for name in (ENGINEERING, CLINICAL)]
    listed = thief.world.provisioning_keys([*thief.world.first.provisioning, *own])
    for name in (ENGINEERING, CLINICAL):
        thief.put(name, "provisioning/keys.json", listed)
    if any(named):
        signers += own
    if not signers:
        return None
    content = copy.deepcopy(thief.world.first.context)
    content["number"] = 2
    content["placement"] |= {"siteId": "ward-9", "jurisdiction": "FR"}
    context = envelope(canonical_json(content), CONTEXT_PAYLOAD_TYPE, *signers)
    return [Step(files=thief.serve() or thief.world.files, context=context)]


@strategy(
    "wrong",
    "signs a trust map that pins roots of his own",
    f"{ENGINEERING}.root.",
    f"{CLINICAL}.root.",
)
def change_the_trust_map(thief: Attacker, before: Mapping[str, bytes]) -> list[Step] | None:
    del before
    signers = [*thief.keys(f"{ENGINEERING}.root."), *thief.keys(f"{CLINICAL}.root.")]
    if not signers:
        return None
    root = {"sha256": sha256_hex(b"a root of the thief")}
    changed = thief.honest.trust_map(number=2, engineeringRoot=root, clinicalRoot=root)
    data = changed.model_dump_json(by_alias=True, exclude_none=True).encode()
    signed = envelope(data, TRUST_MAP_PAYLOAD_TYPE, *signers)
    return [Step(files=thief.honest.files, trust_map=signed)]


# What narrows: something is taken away.


def _notify(thief: Attacker, **changes: Any) -> bytes:
    """One more notice about what runs, signed by whoever he can sign for."""
    people = tuple(thief.people())
    if thief.holds(CLINICAL, "targets"):
        name_people(thief)
        people = PEOPLE
    for name in ("running", "better"):
        release = thief.world.releases[name]
        release.notices = []
        now = moment(thief.at)
        release.notice(*people, **{"issuedAt": now, "effectiveAt": now, **changes})
    running, better = (thief.world.releases[name].notice_lines() for name in ("running", "better"))
    return thief.honest.notices() + running + better


@strategy(
    "taken away", "withdraws what runs, signed by whoever he can sign for", "clinical.", "person."
)
def withdraw_what_runs(thief: Attacker, before: Mapping[str, bytes]) -> list[Step] | None:
    del before
    thief.put(CLINICAL, "safety/notices.jsonl", _notify(thief), role="safety")
    return steps_of(thief)


@strategy(
    "taken away", "holds new activations, and again when the hold has ended", "clinical.", "person."
)
def hold_and_hold_again(thief: Attacker, before: Mapping[str, bytes]) -> list[Step] | None:
    del before
    steps: list[Step] = []
    for after in (timedelta(0), 75 * HOUR):
        again = thief.again(thief.at + after)
        notices = _notify(
            again,
            kind="hold",
            action="no-new-activation",
            expiresAt=moment(again.at + 3000 * DAY),
        )
        again.put(CLINICAL, "safety/notices.jsonl", notices, role="safety")
        files = again.serve(versions=20 + 10 * len(steps)) if again.touched else None
        if files is None:
            return None
        steps.append(Step(files=files, after=after))
    return steps


@strategy(
    "taken away", "dates a hold far ahead, so that it would never end", "clinical.", "person."
)
def hold_from_the_future(thief: Attacker, before: Mapping[str, bytes]) -> list[Step] | None:
    del before
    far, end = moment(thief.at + 1000 * DAY), moment(thief.at + 1001 * DAY)
    words = {"issuedAt": far, "effectiveAt": far, "expiresAt": end}
    notices = _notify(thief, kind="hold", action="no-new-activation", **words)
    thief.put(CLINICAL, "safety/notices.jsonl", notices, role="safety")
    thief.world.clinical.at = thief.at + 1002 * DAY
    return steps_of(thief)


def _relist(change: str) -> Act:
    def act(thief: Attacker, before: Mapping[str, bytes]) -> list[Step] | None:
        del before
        world = thief.world
        listed = {**world.listed, "running": "withdrawn"}
        if change == "drop":
            del listed["running"]
        at = thief.at - 100 * DAY if change == "age" else thief.at
        listed = dict(world.listed) if change == "age" else listed
        index = world.index(listed, at=at, number=1 if change == "age" else world.number + 1)
        thief.put(CLINICAL, "eligibility/index.json", index, role="eligibility")
        return steps_of(thief)

    return act


for _change, _said in (
    ("drop", "drops what runs from the list"),
    ("mark", "marks what runs as withdrawn on the list, without a notice"),
    ("age", "signs a list that looks a hundred days old"),
):
    STRATEGIES[f"list-{_change}"] = Strategy(
        f"list-{_change}", "taken away", _said, (f"{CLINICAL}.",), _relist(_change)
    )


@strategy("taken away", "calls everybody's key compromised, as of last year", f"{CLINICAL}.")
def disown_the_people(thief: Attacker, before: Mapping[str, bytes]) -> list[Step] | None:
    del before
    policy = thief.world.first.policy
    for person in policy["people"]:
        person |= {"status": "compromised", "reapproveBy": moment(NOW - 300 * DAY)}
    thief.put(CLINICAL, "policy/approval-policy.json", canonical_json(policy))
    return steps_of(thief)


@strategy("worse", "asks in the policy for more functions than any notice has", f"{CLINICAL}.")
def ask_too_much_of_notices(thief: Attacker, before: Mapping[str, bytes]) -> list[Step] | None:
    del before
    policy = thief.world.first.policy
    policy |= {"functionsToHold": 6, "functionsToTakeAway": 6}
    thief.put(CLINICAL, "policy/approval-policy.json", canonical_json(policy))
    return steps_of(thief)


@strategy(
    "taken away",
    "takes the provisioning keys off a list, so that a notice for another country is read here",
    f"{ENGINEERING}.",
    f"{CLINICAL}.",
)
def spoil_the_context(thief: Attacker, before: Mapping[str, bytes]) -> list[Step] | None:
    del before
    listed = thief.world.provisioning_keys([key("thief.provisioning.1")])
    for name in (ENGINEERING, CLINICAL):
        thief.put(name, "provisioning/keys.json", listed)
    return steps_of(thief)


@strategy(
    "taken away", "signs issue times far ahead of the truth", f"{ENGINEERING}.", f"{CLINICAL}."
)
def hurry_the_time(thief: Attacker, before: Mapping[str, bytes]) -> list[Step] | None:
    del before
    for name in (ENGINEERING, CLINICAL):
        thief.renew([name])
        thief.world.authorities[name].at = thief.at + 3650 * DAY
    files = thief.serve()
    return None if files is None else [Step(files=files)]


@strategy(
    "taken away", "signs issue times just a few days ahead", f"{ENGINEERING}.", f"{CLINICAL}."
)
def hurry_the_time_a_little(thief: Attacker, before: Mapping[str, bytes]) -> list[Step] | None:
    del before
    for name in (ENGINEERING, CLINICAL):
        thief.world.authorities[name].at = thief.at + 71 * HOUR - HOUR / 2
    files = thief.serve()
    return None if files is None else [Step(files=files)]


@strategy("taken away", "leaves notices that nobody can read", f"{CLINICAL}.")
def litter_the_notices(thief: Attacker, before: Mapping[str, bytes]) -> list[Step] | None:
    del before
    steps: list[Step] = []
    for lines in (5, 2000):
        again = thief.again(thief.at)
        litter = again.honest.notices() + b"no envelope\n" * lines
        again.put(CLINICAL, "safety/notices.jsonl", litter, role="safety")
        files = again.serve(versions=20 + lines) if again.touched else None
        if files is None:
            return None
        steps.append(Step(files=files))
    return steps


@strategy("taken away", "the hospital's repository accepts nothing any more", f"{SITE}.")
def close_the_site(thief: Attacker, before: Mapping[str, bytes]) -> list[Step] | None:
    del before
    thief.put(SITE, "site/acceptance.json", thief.world.acceptance([]))
    return steps_of(thief)


@strategy("taken away", "engineering signs none of its releases any more", f"{ENGINEERING}.")
def unlist_the_releases(thief: Attacker, before: Mapping[str, bytes]) -> list[Step] | None:
    del before
    if thief.holds(ENGINEERING, "model"):
        thief.world.engineering.part("model").targets.clear()
        thief.touched.add((ENGINEERING, "model"))
    return steps_of(thief)
