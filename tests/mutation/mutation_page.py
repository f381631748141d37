"""The explanations of changes that no test saw, and the page of the documentation made of them.

``explained.toml`` holds one entry for each change that once survived::

    [[mutant]]
    function = "primum_verifier.core.share.share_of"
    below = "digest = hashlib.sha256(...).digest()"   # the line above the change, for its place
    was = "..."
    becomes = "..."
    killed_by = "tests/unit/verifier/test_documents.py::test_the_share_is_a_fair_draw"
    # or, where no test can see it:
    equivalent = "why nobody could see it"

Sentences for people may be answered together, by the functions they stand in::

    [[wording]]
    functions = "primum_verifier.core.rules_place.*"
    why = "..."

That covers only changes inside a text that has a space; a name, a code and whether a text is
there at all are never wording.

Changes are named by what they say and where, not by a number, so an edit elsewhere in a function
leaves the explanations standing.
"""

from __future__ import annotations

import fnmatch
import re
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
EXPLAINED = HERE / "explained.toml"
PAGE = CHECKOUT / "docs" / "mutation.md"

_LITERAL = re.compile(r"""(?:"[^"]*"|'[^']*')""")
_HEAD = """# Changes that no test saw

`make campaign-mutation` changes what decides over a release, one expression at a time, and asks
whether a test of the verifier sees it.
A change that no test sees is either answered by a new test or explained here: it is then shown to
make no difference to anybody.
An unexplained one fails the campaign, and so does an explanation that is no longer needed.

The page is written from `tests/mutation/explained.toml` by the campaign.
What the tool does not change: tables at the top of a module, the bounds of a document's members,
and the arguments of decorators.
The examples on both sides of each bound are there for these.
"""


@dataclass(frozen=True, order=True)
class Change:
    """One change of the source, named by its place and its words."""

    function: str
    below: str
    was: str
    becomes: str

    def as_toml(self) -> str:
        """The entry to fill in."""
        parts = ("function", "below", "was", "becomes")
        lines = [f"{name} = {_quoted(getattr(self, name))}" for name in parts]
        return "\n".join(["[[mutant]]", *lines, 'equivalent = ""'])

    @property
    def is_wording(self) -> bool:
        """Whether nothing but a sentence for people differs."""
        before, after = _LITERAL.findall(self.was), _LITERAL.findall(self.becomes)
        same_around = _LITERAL.sub("", self.was) == _LITERAL.sub("", self.becomes)
        differing = [old for old, new in zip(before, after, strict=False) if old != new]
        return same_around and len(before) == len(after) and all(" " in old for old in differing)


@dataclass(frozen=True)
class Wording:
    """Sentences that are not pinned word by word, and why."""

    functions: str
    why: str

    def covers(self, change: Change) -> bool:
        """Whether a change is one of these."""
        return change.is_wording and fnmatch.fnmatchcase(change.function, self.functions)


@dataclass(frozen=True)
class Explanation:
    """Why a change need not be feared; one of the two is there."""

    change: Change
    killed_by: str
    equivalent: str


def _quoted(text: str) -> str:
    if "\n" in text or "'" not in text:
        return f"'''{text}'''" if "\n" in text else f"'{text}'"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def explanations(path: Path = EXPLAINED) -> list[Explanation]:
    """What stands in the file.

    Raises:
        ValueError: an entry has both answers or none, stands twice, or names no test there is.
    """
    content = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    found: list[Explanation] = []
    for entry in content.get("mutant", []):
        change = Change(entry["function"], entry["below"], entry["was"], entry["becomes"])
        answer = Explanation(change, entry.get("killed_by", ""), entry.get("equivalent", ""))
        where = f"explained.toml: {change.function}: {change.was!r}"
        if bool(answer.killed_by) == bool(answer.equivalent):
            raise ValueError(f"{where}: killed_by or equivalent, one of the two")
        if change in {one.change for one in found}:
            raise ValueError(f"{where}: stands twice")
        if answer.killed_by and not is_a_test(answer.killed_by):
            raise ValueError(f"{where}: there is no test {answer.killed_by}")
        found.append(answer)
    return found


def wordings(path: Path = EXPLAINED) -> list[Wording]:
    """The sentences that are answered together.

    Raises:
        ValueError: one says no reason.
    """
    content = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    found = [Wording(entry["functions"], entry["why"]) for entry in content.get("wording", [])]
    for one in found:
        if not one.why:
            raise ValueError(f"explained.toml: wording of {one.functions}: no reason")
    return found


def is_a_test(name: str) -> bool:
    """Whether ``file::function`` names a test that there is."""
    file, _, function = name.partition("::")
    path = CHECKOUT / file
    pattern = rf"^def {re.escape(function)}\("
    return path.is_file() and bool(re.search(pattern, path.read_text(), re.MULTILINE))


def page(answers: Iterable[Explanation], sentences: Iterable[Wording]) -> str:
    """The page of the documentation."""
    lines = [_HEAD]
    if listed := list(sentences):
        lines += ["## Sentences for people", "", "| in | why they are not pinned |", "|---|---|"]
        lines += [f"| `{one.functions}` | {one.why} |" for one in listed]
        lines.append("")
    rows = sorted(answers, key=lambda one: one.change)
    for module in sorted({_module(one.change) for one in rows}):
        lines += [f"## `{module}`", "", "| in | change | answer |", "|---|---|---|"]
        for one in rows:
            if _module(one.change) == module:
                place = one.change.function.removeprefix(f"{module}.")
                what = f"{_cell(one.change.was)} becomes {_cell(one.change.becomes)}"
                answer = f"seen by `{one.killed_by}`" if one.killed_by else one.equivalent
                lines.append(f"| `{place}` | {what} | {answer} |")
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def _module(change: Change) -> str:
    """The module of a change: the parts of the name up to the file's own."""
    parts = change.function.split(".")
    return ".".join(parts[:3])


def _cell(text: str) -> str:
    plain = " ".join(text.split()).replace("|", "\\|")
    return f"`{plain}`" if plain else "nothing"


if __name__ == "__main__":
    PAGE.write_text(page(explanations(), wordings()), encoding="utf-8")
    sys.exit(0)
