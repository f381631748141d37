"""A verdict as people read it: the answer first, then every rule in a table of plain text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from primum_verifier.core.question import Check, Verdict
from primum_verifier.core.vocabulary import Capability, Outcome

_MARKS = {
    Outcome.SATISFIED: "yes",
    Outcome.REFUSED: "NO",
    Outcome.NOT_APPLICABLE: "-",
    Outcome.UNKNOWN: "?",
}
_RULE_WIDTH = 24
_TEXT_WIDTH = 46
_NAME_WIDTH = 14
_DIGEST_WIDTH = len("root sha256 ") + 64
"""So that a digest stands on one line and can be copied."""


def answer(verdict: Verdict) -> str:
    """The verdict in one line."""
    deployable = verdict.capability > Capability.NONE
    names = [check.name for check in verdict.in_the_way]
    if verdict.primary is None:
        end = "nothing stands in the way"
    else:
        end = f"{verdict.primary} ({', '.join(names)})"
    eligible = verdict.capability >= Capability.SELF_TEST or not any(
        check.stands_in_the_way for check in verdict.checks
    )
    words = "deployable" if deployable else "not deployable"
    if deployable:
        words += ", eligible here" if eligible else ", not eligible"
    return f"{verdict.name}: {words}; may: {verdict.capability.label}; {end}"


def verdict_table(verdict: Verdict) -> str:
    """The verdict with every rule: what was found and what is expected."""
    lines = [answer(verdict)]
    if verdict.user_notice:
        lines.append(f"  notice: {printable(verdict.user_notice)}")
    lines.extend(f"  over {name:<12} {view[:16]}" for name, view in verdict.views.items())
    lines.extend(f"  not understood: {printable(member)}" for member in verdict.not_understood)
    lines.append("")
    lines.extend(check_lines(verdict.checks))
    return "\n".join(lines)


def check_lines(checks: Iterable[Check]) -> list[str]:
    """Rules as people read them: the outcome and the name, then the evidence, line by line."""
    lines = []
    for check in checks:
        reason = "" if check.reason is None else f"  [{check.reason}]"
        lines.append(f"  {_MARKS[check.outcome]:>3}  {check.name:<{_RULE_WIDTH}}{reason}")
        lines.extend(_wrapped("found", check.found))
        if check.expected:
            lines.extend(_wrapped("expected", check.expected))
        lines.extend(_wrapped("source", f"{check.source}; {check.clause}"))
    return lines


def rows(title: str, items: Iterable[tuple[str, str]]) -> list[str]:
    """A small table of two columns under a title; long texts go on below themselves."""
    lines = [f"  {title}"]
    for name, text in items:
        indent = " " * (_NAME_WIDTH + 5)
        lines.extend(
            textwrap.wrap(
                printable(text) or "nothing",
                width=_DIGEST_WIDTH + len(indent),
                initial_indent=f"    {printable(name):<{_NAME_WIDTH}} ",
                subsequent_indent=indent,
            )
        )
    return lines


def printable(text: str) -> str:
    """A document's words without what would steer a terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in " ".join(text.split()))


def _wrapped(label: str, text: str) -> list[str]:
    indent = " " * 19
    return textwrap.wrap(
        printable(text) or "nothing",
        width=_TEXT_WIDTH + len(indent) + 20,
        initial_indent=f"       {label + ':':<12}",
        subsequent_indent=indent,
    )
