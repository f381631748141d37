"""What a set of stolen keys reached, goal by goal: found by running every strategy, never written.

A device that has accepted the honest world polls what the attacker serves, and the real judge is
asked about every release in every phase.  What was reached is told in a few fixed words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from unittest.mock import patch

from tests.scenarios.compromise.attacker import Attacker, Manner
from tests.scenarios.compromise.strategies import Step, Strategy
from tests.scenarios.compromise.strategies_running import STRATEGIES
from tests.scenarios.compromise.world import (
    ADULT,
    ALLOWED,
    ATTACK,
    DAY,
    HOUR,
    PATHS,
    PEOPLE,
    ROLES,
    TRIAL_ENDS,
    Device,
    TwoAuthorities,
    day_by_day,
    key,
)
from tests.unit.verifier.conftest import NOW, envelope, moment

from primum_verifier.core import reading
from primum_verifier.core.document import canonical_json, parse_document, sha256_hex
from primum_verifier.core.envelope import (
    CONTEXT_PAYLOAD_TYPE,
    HEAD_PAYLOAD_TYPE,
    open_envelope,
    public_key_of,
)
from primum_verifier.core.errors import PrimumError
from primum_verifier.core.question import ArtifactsFact, Verdict
from primum_verifier.core.view import CLINICAL, ENGINEERING, SITE
from primum_verifier.core.vocabulary import Capability, Outcome, Phase
from primum_verifier.keeping.episode import Episode, may_use
from primum_verifier.keeping.trust_map import next_trust_map
from primum_verifier.record.chain import FIRST_PREVIOUS, check_history

GOALS = ("wrong", "worse", "taken away", "fix withheld", "false report", "recovery")
NOTHING = "nothing"
SITE_KEYS = f"{SITE}."

ANYTHING = "any build"
MARKED = "what engineering marked for it"
UNMARKED = "what engineering marked for less"
OTHER_TERMS = "what runs, on terms that nobody approved"
LIFTED = "what was restricted, as if it were not"
LONGER = "what has ended, longer"
UNCHECKED = "what runs, with a list that is too old"
HELD = "new activations, up to 72 h"
HELD_LONG = "new activations, longer"
AT_ONCE = "what runs, at once"
EARLY = "what runs, days early"
A_LITTLE = "what runs, up to 3 d early"
FOR_EVER = "until its keys are replaced"

GOES_ON = ("recalled", "withdrawn", "lapsed")
"""Of these, none may go on where it runs already."""

PROBES = (0, 1, 3, 7, 14, 16, 19, 30, 60, 90)
"""Days after the last honest publication: just after each, some signature has ended."""


@dataclass(frozen=True)
class Base:
    """The honest world before and after its newest publication, and a device that saw the first.

    Attributes:
        before: as the device saw it.
        after: with a better release for everybody.
        recalled: with a better release, and what runs withdrawn.
        device: where every attack starts.
    """

    before: TwoAuthorities
    after: TwoAuthorities
    recalled: TwoAuthorities
    device: Device


@cache
def base(*, site: bool = False) -> Base:
    """Made once; every attack works on copies."""
    before = TwoAuthorities(site=site)
    device = Device(before)
    device.poll(before.files, NOW)
    device.ask(device.running.release, Phase.CONTINUE, NOW)
    after = before.fork()
    after.correct(NOW + HOUR)
    recalled = before.fork()
    recalled.notice("running", "clinical", "quality")
    recalled.correct(NOW + HOUR)
    return Base(before, after, recalled, device)


@dataclass
class Reached:
    """What was reached: for each goal the words, and how often which strategy was tried."""

    words: dict[str, set[str]] = field(default_factory=lambda: {goal: set() for goal in GOALS})
    tried: dict[str, int] = field(default_factory=dict)
    by: dict[str, set[str]] = field(default_factory=dict)

    def add(self, goal: str, word: str, by: str) -> None:
        """Something was reached."""
        self.words[goal].add(word)
        self.by.setdefault(f"{goal}: {word}", set()).add(by)

    def merge(self, other: Reached) -> None:
        """Everything that another run reached, too."""
        for goal, words in other.words.items():
            self.words[goal] |= words
        for name, times in other.tried.items():
            self.tried[name] = self.tried.get(name, 0) + times
        for what, names in other.by.items():
            self.by.setdefault(what, set()).update(names)


def attempt(plan: Strategy, stolen: frozenset[str], *, site: bool) -> Reached:
    """Try one strategy with the keys that it has a use for, in both manners."""
    useful = frozenset(label for label in stolen if label.startswith(plan.keys or ("?",)))
    if plan.keys and not useful:
        return Reached()
    return _attempt(plan.name, useful, site)


@cache
def _attempt(name: str, useful: frozenset[str], site: bool) -> Reached:
    start, reached = base(site=site), Reached()
    for manner in Manner:
        if manner is Manner.BOLD and not _too_few(useful):
            continue
        thief = Attacker(start.after, useful, ATTACK, manner)
        steps = STRATEGIES[name].act(thief, start.before.files)
        if steps is None:
            continue
        reached.tried[name] = reached.tried.get(name, 0) + 1
        for goal, word in _follow(start, thief, steps):
            reached.add(goal, word, name)
    return reached


def _too_few(stolen: frozenset[str]) -> bool:
    """Whether he holds keys of a role, but not enough of them."""
    return any(
        0 < sum(label.startswith(f"{name}.{role}.") for label in stolen) < needed
        for name, roles in ROLES.items()
        for role, (_, needed, _) in roles.items()
    )


def _follow(start: Base, thief: Attacker, steps: list[Step]) -> Iterator[tuple[str, str]]:
    device = start.device.twin()
    for step in steps:
        at = ATTACK + step.after
        device.clock = step.clock
        device.poll(step.files, at)
        if step.context is not None and _is_trusted(device, step.context, at):
            device.context = device.last_context = step.context
        if step.trust_map is not None:
            yield from _new_map(device, step.trust_map)
        for name, phase in _what_would_run(device, thief, step, at):
            called = _called(name, phase, at, site=SITE in device.world.authorities)
            if called is not None:
                yield called
        yield from _what_goes_on(device, at)
        yield from _what_is_taken(device, at)
    device.clock = timedelta(0)
    last = ATTACK + steps[-1].after
    yield from _what_is_taken(device, last + 73 * HOUR)
    for before, word in ((74 * HOUR, EARLY), (HOUR, A_LITTLE)):
        if last < NOW + ALLOWED - before and _taken(device, NOW + ALLOWED - before):
            yield "taken away", word
            break
    if not _taken(device, last + ALLOWED + 2 * DAY):
        yield "worse", UNCHECKED


def _is_trusted(device: Device, context: bytes, at: datetime) -> bool:
    """Whether provisioning, which asks the same judge, would give the device this context."""
    running = device.running.release
    verdict = device.ask(running, Phase.ACTIVATE, at, device_context=context)
    found = next(check for check in verdict.checks if check.name == "device-context")
    return found.outcome is Outcome.SATISFIED


def _taken(device: Device, at: datetime, name: str = "running") -> bool:
    """Whether what runs is stopped: as a whole, or whenever it is asked for."""
    verdict = _asked(device, device.world.releases[name].release, Phase.CONTINUE, at)
    return (
        verdict.capability < Capability.INVESTIGATIONAL
        or (verdict.order is not None and verdict.order.action.takes_away)
        or not may_use(verdict.per_episode, Episode(age_years=ADULT), now=None)
    )


def _called(name: str, phase: Phase, at: datetime, *, site: bool) -> tuple[str, str] | None:
    """What it is called that this release runs; None where an honest world lets it run, too."""
    if (name, phase) in _allowed_to_run(site=site) or (name == "held" and at >= NOW + 70 * HOUR):
        return None
    if phase is Phase.CONTINUE and name == "lapsed":
        return "worse", LONGER
    wrong = {"forged": ANYTHING, "unapproved": MARKED, "unfinished": UNMARKED}
    return ("wrong", wrong[name]) if name in wrong else ("worse", name)


@cache
def _allowed_to_run(*, site: bool) -> frozenset[tuple[str, Phase]]:
    """What a device may run, phase by phase, while nobody attacks."""
    start = base(site=site)
    device, honest = start.device.twin(), Attacker(start.after, frozenset(), ATTACK)
    device.poll(start.after.files, ATTACK)
    step = Step(files=start.after.files)
    return frozenset(_what_would_run(device, honest, step, ATTACK))


def _new_map(device: Device, data: bytes) -> Iterator[tuple[str, str]]:
    engineering, clinical = device.views
    try:
        next_trust_map(device.trust_map, data, engineering=engineering, clinical=clinical)
    except PrimumError:
        return
    yield "wrong", ANYTHING


_VERDICTS: dict[tuple[object, ...], Verdict] = {}
_opened, _parsed = cache(open_envelope), cache(parse_document)
"""The judge's own: the same bytes under the same keys always say the same, and are read once."""


def _asked(device: Device, release: str, phase: Phase, at: datetime, **facts: Any) -> Verdict:
    """The judge's answer; most attacks leave a device with views that it was asked over before."""
    assert device.last is not None
    views = (*device.views, device.last.site)
    question = (
        *((view.view_id, view.awaited) for view in views if view is not None),
        (release, phase, at, device.clock, device.context, device.proven(at)),
        (device.seen_holds, device.last_list, device.trust_map.id, tuple(facts.items())),
    )
    if question not in _VERDICTS:
        with (
            patch.object(reading, "open_envelope", _opened),
            patch.object(reading, "parse_document", _parsed),
        ):
            _VERDICTS[question] = device.ask(release, phase, at, **facts)
    device.remember(_VERDICTS[question])
    return _VERDICTS[question]


def _what_would_run(
    device: Device, thief: Attacker, step: Step, at: datetime
) -> Iterator[tuple[str, Phase]]:
    """Every release of the view that would run in some phase."""
    names = {release.release: name for name, release in thief.honest.releases.items()}
    for digest in device.manifests():
        name = names.get(digest, "forged")
        wanted = thief.world.releases[name].manifest["items"][0]["digest"]["sha256"]
        served = step.files.get(f"https://{ENGINEERING}.test/artifacts/{wanted}", b"")
        # What was staged before lies on the device already.
        whole = sha256_hex(served) == wanted or (not served and name not in {"better", "forged"})
        artifacts = ArtifactsFact.WHOLE if whole else ArtifactsFact.DAMAGED
        # What may be installed may be activated: the install phase asks for more, never for less.
        for phase in (Phase.ACTIVATE, Phase.FALL_BACK):
            verdict = _asked(device, digest, phase, at, artifacts=artifacts)
            if verdict.capability >= Capability.SHADOW:
                yield name, phase
    for name in GOES_ON:
        if not _taken(device, at, name):
            yield name, Phase.CONTINUE


def _what_goes_on(device: Device, at: datetime) -> Iterator[tuple[str, str]]:
    """By which words the running releases go on."""
    for name in ("running", "trial"):
        release = device.world.releases[name]
        verdict = _asked(device, release.release, Phase.CONTINUE, at)
        if _taken(device, at, name):
            continue
        if name == "trial" and at >= TRIAL_ENDS + DAY:
            yield "worse", LONGER
        if verdict.statement_bytes != release.statement_bytes():
            yield "worse", OTHER_TERMS
        child = Episode(age_years=ADULT - 1)
        if name == "trial" and may_use(verdict.per_episode, child, now=None):
            yield "worse", LIFTED


def _what_is_taken(device: Device, at: datetime) -> Iterator[tuple[str, str]]:
    if at < ATTACK + DAY and _taken(device, at):
        yield "taken away", AT_ONCE
    better = device.world.releases["better"].release
    if better in device.manifests():
        verdict = _asked(device, better, Phase.ACTIVATE, at)
        notices = next(check for check in verdict.checks if check.name == "safety-notices")
        device.seen_holds = (*device.seen_holds, *verdict.seen_holds)
        if notices.outcome in {Outcome.REFUSED, Outcome.UNKNOWN}:
            yield "taken away", HELD if at <= ATTACK + 72 * HOUR else HELD_LONG


# How long a correction or a withdrawal can be kept from a device.


def _days(days: int | None) -> str:
    return FOR_EVER if days is None else f"{days} d"


@cache
def _honest_at(day: int, *, marked: bool = False) -> TwoAuthorities:
    """The honest world on a day: what runs is withdrawn, a better release is given to everybody.

    Args:
        day: how many days after the attack began.
        marked: whether the list has followed the notice.
    """
    return _after_the_recall(marked=marked)[day]


@cache
def _after_the_recall(*, marked: bool) -> dict[int, TwoAuthorities]:
    world = base().recalled.fork()
    if marked:
        world.listed["running"] = "withdrawn"
    return day_by_day(world, PROBES)


def _moment(day: int) -> datetime:
    return max(NOW + day * DAY + HOUR / 60, ATTACK)


Lasting = tuple[int | None, int | None]
"""Days until it is noticed, and until what runs is stopped; None: for ever."""


def _unseen(name: str, show: Callable[[datetime, int], Mapping[str, bytes]]) -> Lasting:
    """One authority is shown otherwise than it is: when is it noticed, what runs on?"""
    device = base().device.twin()
    noticed: int | None = None
    over: int | None = None
    for day in PROBES:
        at = _moment(day)
        shown = show(at, day)
        honest = _honest_at(day).files
        served = {url: data for url, data in honest.items() if f"//{name}." not in url}
        served |= {url: data for url, data in shown.items() if f"//{name}." in url}
        problems = device.poll(served, at).problems
        order = _asked(device, device.running.release, Phase.CONTINUE, at).order
        told = name in problems or (name == CLINICAL and order is not None)
        noticed = day if noticed is None and told else noticed
        over = day if over is None and _taken(device, at) else over
    return noticed, over


@cache
def _frozen(name: str, useful: frozenset[str]) -> Lasting:
    """One authority shown as it was, renewed by his keys."""
    start = base()

    def show(at: datetime, day: int) -> Mapping[str, bytes]:
        thief = Attacker(start.before, useful, at)
        thief.renew([name])
        if name == CLINICAL:
            world = thief.world
            index = world.index(world.listed, at=at, number=world.number)
            thief.put(CLINICAL, "eligibility/index.json", index, role="eligibility")
        return thief.serve(versions=100 + day) or start.before.files

    return _unseen(name, show)


@cache
def _without_the_notice(useful: frozenset[str]) -> Lasting:
    """Every newer word of clinical is passed on, the list that marks it, too, but no notice."""
    start = base()
    if not Attacker(start.before, useful, ATTACK).holds(CLINICAL, "safety"):
        return 0, 0

    def show(at: datetime, day: int) -> Mapping[str, bytes]:
        thief = Attacker(_honest_at(day, marked=True), useful, at)
        thief.put(CLINICAL, "safety/notices.jsonl", start.before.notices(), role="safety")
        return thief.serve(versions=100 + day) or thief.honest.files

    return _unseen(CLINICAL, show)


@cache
def _paused(useful: frozenset[str]) -> bool:
    """Whether the rollout plan can give the correction to nobody."""
    start = base()
    thief = Attacker(start.recalled, useful, ATTACK)
    plan = thief.world.plan(
        "better", pause={"until": moment(ATTACK + 3650 * DAY), "why": "as the thief likes"}
    )
    thief.put(ENGINEERING, "rollout/plan.json", plan, role="rollout")
    files = thief.serve()
    if files is None:
        return False
    refreshed = start.device.twin().poll(files, ATTACK)
    return ENGINEERING not in refreshed.problems and refreshed.assignment is None


@cache
def _unaccepted(useful: frozenset[str]) -> tuple[str, ...]:
    """The hospital's repository accepts nothing new."""
    start = base(site=True)
    thief = Attacker(start.recalled, useful, ATTACK)
    thief.put(SITE, "site/acceptance.json", thief.world.acceptance([]))
    files = thief.serve()
    if files is None:
        return ()
    device = start.device.twin()
    device.poll(files, ATTACK)
    better = thief.world.releases["better"].release
    if device.ask(better, Phase.ACTIVATE, ATTACK).capability >= Capability.CLINICAL:
        return ()
    order = device.ask(device.running.release, Phase.CONTINUE, ATTACK).order
    taken = order is not None and order.action.takes_away
    return ("a correction at this site, no withdrawal",) if taken else ("both",)


def withheld(stolen: frozenset[str], *, site: bool) -> set[str]:
    """What can be kept from a device, and for how long before anybody notices."""
    words: set[str] = set()
    hands = {
        name: frozenset(label for label in stolen if label.startswith(f"{name}."))
        for name in (ENGINEERING, CLINICAL)
    }
    correction = _frozen(ENGINEERING, hands[ENGINEERING])[0]
    if _paused(hands[ENGINEERING]):
        correction = None
    words.add(f"a correction: unnoticed {_days(correction)}")
    ways = (_frozen(CLINICAL, hands[CLINICAL]), _without_the_notice(hands[CLINICAL]))
    noticed, over = (
        None if None in days else max(day for day in days if day is not None)
        for days in zip(*ways, strict=True)
    )
    words.add(f"a withdrawal: unnoticed {_days(noticed)}, what runs goes on {_days(over)}")
    if site:
        words |= set(_unaccepted(frozenset(k for k in stolen if k.startswith(SITE_KEYS))))
    return words


def lasting(word: str) -> tuple[int, ...]:
    """The numbers of days in a cell, in their order; for ever is more than any."""
    parts = word.replace(FOR_EVER, "9999").replace(",", "").split()
    return tuple(int(part) for part in parts if part.isdigit())


# Reports.


def history(device: str, *, signer: str, events: int = 3, said: str = "as it was") -> list[bytes]:
    """A device's history with its signed head."""
    lines: list[bytes] = []
    previous = FIRST_PREVIOUS
    for number in range(1, events + 1):
        data = {"prevEventHash": previous, "said": said, "device": device}
        lines.append(canonical_json({"sequence": f"{number:020d}", "data": data}))
        previous = sha256_hex(lines[-1])
    head = {
        "type": "urn:primum:chain-head:v0.1",
        "deviceId": device,
        "sequence": events,
        "eventHash": previous,
        "signedAt": moment(NOW),
    }
    return [*lines, envelope(canonical_json(head), HEAD_PAYLOAD_TYPE, key(signer))]


def false_reports(stolen: frozenset[str]) -> tuple[set[str], int]:
    """Which histories that the device never wrote are believed, and how many were tried."""
    own = public_key_of(key("device").public_key)
    true = history("wearable-001", signer="device")
    altered = [true[0], true[1].replace(b"as it was", b"otherwise"), *true[2:]]
    headless = [*history("wearable-001", signer="device", said="otherwise")[:-1], true[-1]]
    tries = {
        "a changed event": altered,
        "other events under an old head": headless,
        "fewer events": [*true[:-2], true[-1]],
        "another device's history": history("wearable-002", signer="other-device"),
    }
    for label in sorted(stolen):
        tries[f"a head by {label}"] = history("wearable-001", signer=label, said="otherwise")
    believed: set[str] = set()
    for name, lines in tries.items():
        try:
            whole = check_history(lines, device_key=own).whole
        except PrimumError:
            continue
        if whole:
            believed.add("this device's own" if name == "a head by device" else name)
    return believed, len(tries)


# The way back.

BACK = "next poll"


def _way_back(stolen: frozenset[str]) -> str:
    """The attacker spoils all he can for good; his keys are replaced; does the device come back?"""
    start = base()
    thief = Attacker(start.after, stolen, ATTACK)
    thief.renew([ENGINEERING, CLINICAL])
    for authority in thief.world.authorities.values():
        authority.at = ATTACK + 3650 * DAY
    files = thief.serve(versions=2**31) or start.after.files
    device = start.device.twin()
    device.poll(files, ATTACK)
    device.proven(ATTACK)
    honest = start.after.fork()
    replace_keys(honest, stolen)
    at = ATTACK + DAY
    honest.publish(at)
    if any(label.startswith("provisioning.") for label in stolen):
        device.context = honest.context
    refreshed = device.poll(honest.files, at)
    better = honest.releases["better"].release
    good = (
        not refreshed.problems
        and device.ask(better, Phase.INSTALL, at).capability is Capability.CLINICAL
        and device.ask(device.running.release, Phase.CONTINUE, at).order is None
    )
    return BACK if good else "new provisioning"


_way_back_of = cache(_way_back)


def way_back(stolen: frozenset[str]) -> str:
    """How a device comes back after the stolen keys were replaced."""
    if "device" in stolen:
        return "new enrolment"
    return _way_back_of(frozenset(label for label in stolen if not label.startswith(SITE_KEYS)))


def replace_keys(world: TwoAuthorities, stolen: frozenset[str]) -> None:
    """The ceremony after a theft: new keys for every role concerned, and for the online roles."""
    for name in (ENGINEERING, CLINICAL):
        authority = world.authorities[name]
        hit = {label.split(".")[1] for label in stolen if label.startswith(f"{name}.")}
        if not hit:
            continue
        old_root = list(authority.signers["root"])
        for role in hit | {"snapshot", "timestamp"}:
            fresh = [key(f"fresh.{name}.{role}.{number}") for number in range(ROLES[name][role][0])]
            if role in PATHS:
                authority.hand_over(role, fresh, threshold=ROLES[name][role][1])
            else:
                authority.set_keys(role, fresh, threshold=ROLES[name][role][1])
        authority.publish_root([*old_root, *authority.signers["root"]])
    for person in PEOPLE:
        if f"person.{person}" in stolen:
            _replace_person(world, person)
    if any(label.startswith("provisioning.") for label in stolen):
        fresh = [key("fresh.provisioning.1"), key("fresh.provisioning.2")]
        for name in (ENGINEERING, CLINICAL):
            world.authorities[name].add("provisioning/keys.json", world.provisioning_keys(fresh))
        content = canonical_json({**world.first.context, "number": 2})
        world.context = envelope(content, CONTEXT_PAYLOAD_TYPE, *fresh)


def _replace_person(world: TwoAuthorities, person: str) -> None:
    fresh = key(f"fresh.person.{person}")
    public = public_key_of(fresh.public_key).model_dump(mode="json", by_alias=True)
    for release in world.releases.values():
        release.people = {**release.people, person: fresh}
    for entry in world.first.policy["people"]:
        if entry["function"] == person:
            entry["key"] = public


def cells(stolen: frozenset[str]) -> Reached:
    """Everything that a set of stolen keys reaches."""
    site = any(label.startswith(SITE_KEYS) for label in stolen)
    reached = Reached()
    for plan in STRATEGIES.values():
        reached.merge(attempt(plan, stolen, site=site))
    for word in withheld(stolen, site=site):
        reached.add("fix withheld", word, "shows an authority as it was")
    believed, tries = false_reports(stolen)
    reached.tried["tell-other-histories"] = tries
    for word in believed:
        reached.add("false report", word, "tell-other-histories")
    reached.add("recovery", way_back(stolen), "spoil-for-good")
    return reached
