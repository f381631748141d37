"""What each rule says in words, in every situation that the tests know: kept, and read.

``python -m tests.unit.verifier.words_of_rules``, in the root of the checkout, writes the kept
words beside this module and the page ``docs/refusals.md`` anew; a test holds both.  A change of a
sentence is then seen in review as what it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, astuple, dataclass, replace
from functools import cache
from pathlib import Path

from tests.unit.verifier import bounds_of_documents, bounds_of_place
from tests.unit.verifier.bending import Bend, asked, nothing
from tests.unit.verifier.conftest import World
from tests.unit.verifier.decision_table import CELLS
from tests.unit.verifier.situations import MORE
from tests.unit.verifier.test_constraints import with_a_share_above_one
from tests.unit.verifier.test_each_rule_decides import FIRST

from primum_verifier.core.question import Verdict
from primum_verifier.core.vocabulary import Phase

KEPT = Path(__file__).with_name("words_of_rules.jsonl")
PAGE = Path(__file__).parents[3] / "docs" / "refusals.md"
VERDICT = "the verdict as a whole"
RIGHT = "everything is right"
_MADE_ANEW = re.compile(
    r"\b[0-9a-f]{12,64}\b|(?<=urn:uuid:)[0-9a-f-]{36}|(?<=share is )[0-9.]+|(?<=below )[0-9]+$"
)
"""Keys are made for each run, and with them digests and what a device draws."""

_SHORTEST_DIGEST = 12
_ELSEWHERE = {"phase", "checks", "judgedAt"}


@dataclass(frozen=True, order=True)
class Line:
    """What one rule, or the verdict itself, says in one situation."""

    rule: str
    asked: str
    situation: str
    outcome: str
    reason: str
    found: str
    expected: str
    source: str
    clause: str

    @property
    def row(self) -> str:
        """The line as the page shows it."""
        outcome = f"{self.outcome}, {self.reason}" if self.reason else self.outcome
        cells = (self.asked, self.situation, outcome, self.found, self.expected, self.source)
        return f"| {' | '.join(cell.replace('|', '/') or '-' for cell in cells)} |"


def _situations() -> Iterator[tuple[str, Phase, Bend]]:
    for phase in Phase:
        yield RIGHT, phase, nothing
    for name, (inside, outside, _) in {
        **bounds_of_place.BOUNDS,
        **bounds_of_documents.BOUNDS,
    }.items():
        yield f"{name}: within the bound", Phase.INSTALL, inside
        yield f"{name}: beyond the bound", Phase.INSTALL, outside
    for name, (bend, phase) in FIRST.items():
        yield f"{name}: refuses alone", phase, bend
        yield f"{name}: while it runs", Phase.CONTINUE, bend
    for name, bend in MORE.items():
        yield name, Phase.INSTALL, bend
        yield name, Phase.FALL_BACK, bend
        yield name, Phase.CONTINUE, bend
    for cell in CELLS:
        yield f"row {cell.row}: {cell.told}", cell.phase, cell.bend


SITUATIONS: dict[tuple[str, Phase], Bend] = {
    (name, phase): bend for name, phase, bend in _situations()
}


def lines_of(world: World, situation: str, phase: Phase) -> list[Line]:
    """What differs in a situation from what is said where everything is right."""
    verdict = _asked(world, SITUATIONS[situation, phase], phase)
    if situation == RIGHT:
        return _lines(verdict, situation, known={})
    return _lines(verdict, situation, known=_right(phase))


@cache
def _right(phase: Phase) -> dict[str, Line]:
    verdict = _asked(World(), nothing, phase)
    return {line.rule: line for line in _lines(verdict, RIGHT, known={})}


def _asked(world: World, bend: Bend, phase: Phase) -> Verdict:
    with_a_share_above_one(world)
    return asked(world, bend, phase=phase)


def _lines(verdict: Verdict, situation: str, *, known: Mapping[str, Line]) -> list[Line]:
    phase = str(verdict.phase)
    said = [
        Line(
            check.name,
            phase,
            situation,
            str(check.outcome),
            "" if check.reason is None else str(check.reason),
            _plain(check.found),
            _plain(check.expected),
            _plain(check.source),
            check.clause,
        )
        for check in verdict.checks
    ]
    content = {
        name: value
        for name, value in verdict.as_dict().items()
        if name not in _ELSEWHERE and not name.endswith("View") and value not in ("", [], None)
    }
    content |= {"listIssuedAt": verdict.list_issued_at, "seenHolds": len(verdict.seen_holds)}
    order = {} if verdict.order is None else asdict(verdict.order)
    told = [f"{name} {_plain(str(value))}" for name, value in {**content, **order}.items()]
    said.append(
        Line(
            VERDICT,
            phase,
            situation,
            verdict.capability.label,
            str(verdict.primary or ""),
            "; ".join(told),
            "",
            "",
            "",
        )
    )
    return [line for line in said if line.rule not in known or _differs(line, known[line.rule])]


def _differs(line: Line, other: Line) -> bool:
    return replace(line, situation="") != replace(other, situation="")


def _plain(text: str) -> str:
    return _MADE_ANEW.sub(_told_by_length, text)


def _told_by_length(found: re.Match[str]) -> str:
    if len(found[0]) < _SHORTEST_DIGEST:
        return "..."
    # A digest of one letter is written into a situation by hand.
    return found[0] if len(set(found[0])) == 1 else f"<{len(found[0])}>"


def kept_lines() -> list[Line]:
    """The lines as they were last read by a person."""
    return [Line(*json.loads(row)) for row in KEPT.read_text().splitlines()]


def all_lines() -> list[Line]:
    """What everything says in every situation."""
    return [line for situation, phase in SITUATIONS for line in lines_of(World(), situation, phase)]


def as_page(lines: list[Line]) -> str:
    """The page ``docs/refusals.md``: what stands in the way, by rule."""
    told = [line for line in lines if line.reason or line.situation == RIGHT]
    parts = [
        "# What each rule says",
        "",
        "Made from the situations that the tests of the verdict know, in the words a person reads;",
        "`python -m tests.unit.verifier.words_of_rules` writes it anew, and a test keeps it.",
        "Under each rule stands what it says where everything is right,",
        "and then every situation in which it stands in the way.",
    ]
    for rule in dict.fromkeys(line.rule for line in told if line.rule != VERDICT):
        parts += [
            "",
            f"## {rule}",
            "",
            "| asked | situation | outcome | found | expected | read from |",
        ]
        parts += ["|---|---|---|---|---|---|"]
        parts += [line.row for line in told if line.rule == rule]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    ALL = all_lines()
    KEPT.write_text("".join(f"{json.dumps(astuple(line))}\n" for line in ALL))
    PAGE.write_text(as_page(ALL))
