"""Which sets of stolen keys may reach what, and why: the promise that the runs are held to.

What nothing here allows must not be reached by any set.  The answers rest on what the keys can
sign, never on a run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.scenarios.compromise.cells import (
    A_LITTLE,
    ANYTHING,
    AT_ONCE,
    BACK,
    EARLY,
    FOR_EVER,
    HELD,
    HELD_LONG,
    LIFTED,
    LONGER,
    MARKED,
    OTHER_TERMS,
    PROBES,
    UNCHECKED,
    Reached,
    lasting,
)
from tests.scenarios.compromise.world import ALLOWED, DAY, PATHS, PEOPLE, ROLES

from primum_verifier.core.view import CLINICAL, ENGINEERING, SITE


class Hand:
    """What a set of stolen keys can sign for.

    Args:
        stolen: the names of the keys.
    """

    def __init__(self, stolen: frozenset[str]) -> None:
        self.stolen = stolen

    def signs(self, name: str, role: str) -> bool:
        """Whether he holds enough keys of a role, or of one that names its keys."""
        own = sum(label.startswith(f"{name}.{role}.") for label in self.stolen)
        if own >= ROLES[name][role][1]:
            return True
        above = {"root": None, **dict.fromkeys(PATHS, "targets")}.get(role, "root")
        return above is not None and self.signs(name, above)

    def publishes(self, name: str, role: str = "timestamp") -> bool:
        """Whether devices would see what he signs for a role."""
        return all(self.signs(name, item) for item in (role, "snapshot", "timestamp"))

    def people(self) -> int:
        """For how many functions he can sign."""
        if self.publishes(CLINICAL, "targets"):
            return len(PEOPLE)
        return sum(f"person.{person}" in self.stolen for person in PEOPLE)

    def grants(self) -> bool:
        """Whether he can make clinical say yes."""
        return self.publishes(CLINICAL, "eligibility") and self.people() == len(PEOPLE)

    def places(self) -> bool:
        """Whether he can sign where a device stands."""
        own = sum(label.startswith("provisioning.") for label in self.stolen)
        both = all(self.publishes(name, "targets") for name in (ENGINEERING, CLINICAL))
        return own >= 2 or both

    def root(self) -> bool:
        """Whether he holds a root at its threshold."""
        return any(self.signs(name, "root") for name in (ENGINEERING, CLINICAL))

    def both_roots(self) -> bool:
        """Whether he holds both roots at their thresholds."""
        return self.signs(ENGINEERING, "root") and self.signs(CLINICAL, "root")

    def unnoticed(self, name: str) -> int | None:
        """Days until some role ends that he cannot sign anew; None: none while anybody looked."""
        ends = [
            spec[2] // DAY
            for role, spec in ROLES[name].items()
            if spec[2] // DAY <= PROBES[-1]
            and not (
                self.signs(name, role) and (role in {"root", "timestamp"} or self.publishes(name))
            )
        ]
        return min(ends, default=None)


@dataclass(frozen=True)
class Promise:
    """Who may reach something, and why it is so.

    Attributes:
        goal: of which goal.
        words: what is reached.
        who: in words.
        why: in words.
        may: whether a hand may.
        ways: the only ways of attack that it may be reached by; empty: any.
    """

    goal: str
    words: tuple[str, ...]
    who: str
    why: str
    may: Callable[[Hand], bool]
    ways: frozenset[str] = frozenset()

    def allows(self, hand: Hand, word: str, by: set[str]) -> bool:
        """Whether this hand may reach this, by these ways."""
        return word in self.words and self.may(hand) and (not self.ways or by <= self.ways)


PROMISES = (
    Promise(
        "wrong",
        (ANYTHING,),
        "engineering's build role and all that clinical's yes takes; or both roots",
        "Both authorities agreed on the digest. This is outside the promise: whoever holds both "
        "is the manufacturer. Independent rebuilding is the control against a corrupted build.",
        lambda hand: hand.both_roots() or (hand.publishes(ENGINEERING, "model") and hand.grants()),
    ),
    Promise(
        "wrong",
        (MARKED,),
        "all that clinical's yes takes: list, people, and the keys that publish",
        "Clinical alone reaches only what engineering signed for that stage and intended use.",
        Hand.grants,
    ),
    Promise(
        "worse",
        ("withdrawn", "lapsed"),
        "all that clinical's yes takes",
        "A new statement with every approval is how a release comes back, and he can sign one.",
        Hand.grants,
    ),
    Promise(
        "worse",
        (OTHER_TERMS,),
        "all that clinical's yes takes",
        "What runs is judged by the statement under which it was activated; a listed one takes "
        "its place only with every approval, not burned, and with no lower number.",
        Hand.grants,
    ),
    Promise(
        "worse",
        (LONGER, UNCHECKED),
        "a root at its threshold, or all that clinical's yes takes",
        "New keys of the issue time let the time begin anew, or a publisher's clock that was wrong "
        "could never be put right; no other key lets the time of a device stand still, fall, or "
        "be lost, since what was proven goes on with the seconds that the device is powered.",
        lambda hand: hand.root() or hand.grants(),
    ),
    Promise(
        "worse",
        (UNCHECKED,),
        "the list at threshold, published, dated ahead",
        "Whoever signs the list can sign a new one every day; the next honest list replaces it.",
        lambda hand: hand.publishes(CLINICAL, "eligibility"),
        ways=frozenset({"list-from-the-future"}),
    ),
    Promise(
        "worse",
        ("recalled", "held", LIFTED),
        "clinical's approval policy, or all that its yes takes",
        "The policy says how many functions a notice needs; it is signed offline at threshold.",
        lambda hand: hand.publishes(CLINICAL, "targets") or hand.grants(),
    ),
    Promise(
        "worse",
        ("elsewhere",),
        "two provisioning keys, or all that clinical's yes takes",
        "Provisioning signs where a device stands, for that device's key alone, and numbered.",
        lambda hand: hand.places() or hand.grants(),
    ),
    Promise(
        "taken away",
        (HELD, HELD_LONG),
        "clinical's notices, published",
        "A hold by one function ends after 72 hours and counts once in 30 days. Whoever publishes "
        "for the role can also leave what nobody can read; like a mirror that serves nothing, "
        "that stops what is new and nothing that runs.",
        lambda hand: hand.publishes(CLINICAL, "safety"),
    ),
    Promise(
        "taken away",
        (AT_ONCE, EARLY),
        "notices signed by two functions; the approval policy; where the device stands",
        "Each is signed by two people or more: this is what a withdrawal takes.",
        lambda hand: (
            (hand.publishes(CLINICAL, "safety") and hand.people() >= 2)
            or hand.publishes(CLINICAL, "targets")
            or hand.places()
        ),
    ),
    Promise(
        "taken away",
        (AT_ONCE, EARLY),
        "the list at threshold, published, by its own dates",
        "Two of three people sign it, as many as a withdrawal takes: they can date it so far back "
        "that it is too old, or mark as of long ago. A mark of today takes nothing away before "
        "the list would have grown too old, and a statement that nobody approved never does.",
        lambda hand: hand.publishes(CLINICAL, "eligibility"),
        ways=frozenset({"list-age", "list-mark-of-old"}),
    ),
    Promise(
        "taken away",
        (AT_ONCE, EARLY),
        "engineering's top role, published, while a notice for another place is in force",
        "Without keys that both authorities list nobody knows where the device stands, and a "
        "notice counts rather than not. Two people sign that role.",
        lambda hand: hand.publishes(ENGINEERING, "targets"),
    ),
    Promise(
        "taken away",
        (A_LITTLE,),
        "both timestamp keys",
        "They may claim a later time, but none after the end of what people signed last: the "
        "notices, within three days. What they take away had to be withheld for 13 days before.",
        lambda hand: all(hand.signs(name, "timestamp") for name in (ENGINEERING, CLINICAL)),
    ),
    Promise(
        "fix withheld",
        ("a correction at this site, no withdrawal",),
        "the hospital's repository",
        "A hospital may narrow: what is new waits for its yes, what is withdrawn does not.",
        lambda hand: hand.publishes(SITE, "targets"),
    ),
    Promise(
        "false report",
        ("this device's own",),
        "the device's own key",
        "A history proves that the holder of the key wrote it; the receiver countersigns heads, "
        "so what was sent before the theft cannot be changed.",
        lambda hand: "device" in hand.stolen,
    ),
    Promise(
        "recovery",
        (BACK,),
        "everybody else",
        "New keys by a root of the honest; floors count anew for new keys.",
        lambda _: True,
    ),
    Promise(
        "recovery",
        ("new provisioning",),
        "a root at its threshold",
        "Whoever holds a root names the next one: only a new trust map, or provisioning, helps.",
        lambda hand: any(hand.signs(name, "root") for name in (ENGINEERING, CLINICAL)),
    ),
    Promise(
        "recovery",
        ("new enrolment",),
        "the device's own key",
        "The device is its key; with a new one it is enrolled anew.",
        lambda hand: "device" in hand.stolen,
    ),
)

WITHHELD = (
    "Withholding is bounded by the earliest end of a role that the thief cannot sign anew: the "
    "device notices then, grants nothing new, and says so. What runs goes on as long as its signed "
    "statement allows without a newer list, and no longer, unless the list itself can be signed. "
    "A notice that is held back while the list marks the withdrawal is noticed at once, and what "
    "runs stops as if the list had not come since. "
    "A plan that gives the correction to nobody is engineering's `rollout`, published: it lasts "
    "until the top role names other keys. It holds back no withdrawal."
)


def broken(stolen: frozenset[str], reached: Reached) -> list[str]:
    """Everything that was reached although no promise allows it."""
    hand, faults = Hand(stolen), []
    for goal, words in reached.words.items():
        for word in sorted(words):
            by = reached.by.get(f"{goal}: {word}", set())
            if word.startswith(("a correction: ", "a withdrawal: ")):
                allowed = _within(hand, word)
            else:
                allowed = any(
                    item.goal == goal and item.allows(hand, word, by) for item in PROMISES
                )
            if not allowed:
                faults.append(f"{goal}: {word}, by {', '.join(sorted(by))}")
    return faults


def _within(hand: Hand, word: str) -> bool:
    for_ever, allowed = lasting(FOR_EVER)[0], ALLOWED // DAY
    if word.startswith("a correction"):
        days = hand.unnoticed(ENGINEERING)
        paused = hand.publishes(ENGINEERING, "rollout")
        return lasting(word)[0] <= (for_ever if days is None or paused else days)
    days = hand.unnoticed(CLINICAL)
    unnoticed = for_ever if days is None else days
    # A list signed anew while nobody noticed lasts its own time from there on.
    signed = hand.publishes(CLINICAL, "eligibility")
    longest = allowed if not signed else max(allowed, min(for_ever, unnoticed + allowed))
    return lasting(word)[0] <= unnoticed and lasting(word)[1] <= longest
