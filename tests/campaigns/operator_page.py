"""Writes ``docs/onnx-operators.md`` from what the campaign over operator tests found."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.campaigns.crash_worlds import CHECKOUT
from tests.campaigns.operator_cases import KINDS

PAGE = CHECKOUT / "docs" / "onnx-operators.md"
PASSES = "passes"

GROUPS = {
    "element type": "Not compared: the element type of an input or output. Texts have no tolerance"
    " and no fixed size; 16 bits of `bfloat16`, and 8 bits and less, cannot be stored in NPY by"
    " their own name, and numpy and struct do not know them.",
    "no tensor": "Not compared: a sequence, or an optional that may hold nothing.",
    "empty tensor": "Nothing to compare: an input or output without any number.",
    "no input": "Nothing to give to the model: a self-test asks questions.",
    "open shape": "The file does not say how large an input or output is. A signed interface"
    " has to, but for the batch.",
    "data of another type or shape": "The stored numbers are of another type or shape than the"
    " file says.",
    "interface": "The interface has more dimensions, or other names, than a specification takes.",
    "refused unread": "The file was refused before the runtime saw it: by its version, because it"
    " names no operator set of `ai.onnx`, or because an input is none that a specification states.",
    "operator not implemented": "onnxruntime's CPU provider has no kernel for the operator at this"
    " version and type.",
    "operator set too new": "onnxruntime does not support this version of the operator set yet.",
    "graph refused": "onnxruntime does not load the file, for another reason.",
    "does not run": "It loads, and onnxruntime ends a run with an error.",
    "other integers": "It runs, and integers or bools are others than the expected. Integers agree"
    " here only when they are the same; the package's own runner gives them a tolerance. The masks"
    " of dropout are drawn at random.",
    "other numbers": "It runs, and numbers are outside the tolerance that the package states.",
    "another type or shape": "It runs, and gives a tensor of another type or shape than expected.",
}
"""Why a case does not pass, in the order of the page."""

_LONGEST = 400
"""Letters of a detail."""

_HEAD = """\
# The operator tests of ONNX, as self-tests

<!-- Written by `make campaign-operators`; do not edit. -->

The package `onnx` ships tests of its operators: models with inputs and expected outputs that nobody here made.
Each is stated as a self-test, with the tolerance that the package gives it, and goes through screen, bench and judge as a release does.
What a self-test says is held against plain onnxruntime and `numpy.isclose` in another process; where the two disagree the campaign fails.

With {told}: **{passed} of {cases} cases pass.**
`node` is made by the package's own code when it is asked; everything else lies in it as files.

{table}

No case that onnxruntime computes as expected is refused, but where the reason below says what a self-test does not state.
"""  # noqa: E501 - one sentence a line


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One case: its group is empty where it passes."""

    kind: str
    name: str
    group: str
    detail: str


def page(results: Iterable[Result], *, versions: Mapping[str, str]) -> str:
    """The whole page."""
    results = sorted(results, key=lambda one: (one.kind, one.name))
    passed = sum(not one.group for one in results)
    told = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    head = _HEAD.format(told=told, passed=passed, cases=len(results), table=_summary(results))
    lines = [head]
    for group, words in GROUPS.items():
        mine = [one for one in results if one.group == group]
        if mine:
            lines += [f"## {group[0].upper()}{group[1:]}: {len(mine)}", "", words, ""]
            lines += [*_listed(mine), ""]
    return "\n".join(lines)


def _summary(results: list[Result]) -> str:
    count = Counter((one.group or PASSES, one.kind) for one in results)
    kinds = [kind for kind in KINDS if any(one.kind == kind for one in results)]
    rows = [["", *(f"`{kind}`" for kind in kinds), "all"], ["---"] * (len(kinds) + 2)]
    for group in (PASSES, *GROUPS):
        numbers = [count[group, kind] for kind in kinds]
        if sum(numbers):
            rows.append([group, *map(str, numbers), str(sum(numbers))])
    totals = [sum(one.kind == kind for one in results) for kind in kinds]
    rows.append(["cases", *map(str, totals), str(sum(totals))])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _listed(results: list[Result]) -> list[str]:
    """The names, together where they share their detail."""
    by_detail: dict[str, list[str]] = defaultdict(list)
    for one in results:
        by_detail[one.detail].append(f"`{one.name.removeprefix('test_')}`")
    return [
        f"- {_escaped(detail)}: {', '.join(names)}" if detail else f"- {', '.join(names)}"
        for detail, names in sorted(by_detail.items(), key=lambda item: (-len(item[1]), item[0]))
    ]


def _escaped(text: str) -> str:
    for letter in "\\`*_<>[]|":
        text = text.replace(letter, f"\\{letter}")
    return text[:_LONGEST]


def read_page(path: Path = PAGE) -> dict[str, str]:
    """The group of each case that the page names, by its name; those that pass are not named."""
    found: dict[str, str] = {}
    group = ""
    titles = {f"{group[0].upper()}{group[1:]}": group for group in GROUPS}
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("## "):
            group = titles[line[3:].partition(":")[0]]
        elif line.startswith("- `") or (line.startswith("- ") and ": `" in line):
            names = line[line.index("`") :] if line.startswith("- `") else line.rpartition(": `")[2]
            for name in names.strip("`").split("`, `"):
                found[f"test_{name}"] = group
    return found
