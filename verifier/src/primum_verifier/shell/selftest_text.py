"""A self-test in the terminal: 80 columns of plain ASCII, colour only where a person looks."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from primum_verifier.proof.confinement import Confinement
from primum_verifier.proof.observed import (
    BaselineCounts,
    CaseShare,
    CohortCounts,
    Latencies,
    Observed,
    Rate,
)
from primum_verifier.proof.selftest_result import Overall, TestOutcome, TestStatus
from primum_verifier.shell.selftest_view import FIXTURES_NOTE, SelfTestView, Standing, case_told
from primum_verifier.shell.table import printable

WIDTH = 80
SHOWN_CASES = 10
"""Cases drawn one by one; the page and ``--json`` have them all."""

_LABEL = 12
_BAR = 30
_FIRST_DECADE, _LAST_DECADE = -7, 3
"""The axis of deviations, in powers of ten of the tolerance; three characters for each."""

_PER_DECADE = _BAR // (_LAST_DECADE - _FIRST_DECADE)
_LIMIT = -_FIRST_DECADE * _PER_DECADE
_MARKS = {
    TestStatus.SUCCESS: "success",
    TestStatus.FAIL: "FAIL",
    TestStatus.NOT_RUN: "not run",
    TestStatus.ABSENT: "ABSENT",
}
_GREEN, _RED, _BOLD, _PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[1m", "\x1b[0m"


class Paint:
    """Colours a word, or leaves it as it is; words carry the meaning in both cases."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def good(self, text: str) -> str:
        """What is as it should be."""
        return self._with(_GREEN, text)

    def bad(self, text: str) -> str:
        """What stands in the way."""
        return self._with(_RED, text)

    def strong(self, text: str) -> str:
        """A title."""
        return self._with(_BOLD, text)

    def _with(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._colours else text


def selftest_text(view: SelfTestView, *, colours: bool) -> str:
    """Everything that a person sees of a self-test."""
    paint = Paint(colours=colours)
    report = view.report
    passed = view.outcome is Overall.PASSED
    lines = [
        (paint.good if passed else paint.bad)(fitted(view.headline, WIDTH)),
        *_wrapped(report.summary, indent=2),
    ]
    if view.checked:
        lines += ["", paint.strong("  What was verified here")]
        for one in view.checked:
            standing = str(one.standing)
            mark = standing if one.standing is Standing.VERIFIED else paint.bad(standing)
            lines.append(f"    {fitted(one.what, _LABEL - 1):<{_LABEL}}{mark}")
            lines += _wrapped(one.found, indent=4 + _LABEL)
            if one.sha256 is not None:
                lines.append(f"{'':<{4 + _LABEL}}{one.sha256}")
    lines += ["", paint.strong("  Tests")]
    for test in report.tests:
        lines += _test_lines(test, paint)
    lines += _observed_lines(view.observed, paint)
    lines += ["", paint.strong("  Confinement")]
    lines += _confinement_lines(view)
    lines += ["", paint.strong("  Where it ran")]
    for name, text in (*view.facts, *view.subject):
        lines += _row(name, text)
    return "\n".join(lines)


def fitted(text: str, width: int) -> str:
    """A text of somebody else on one line of at most ``width`` characters."""
    shown = printable(text)
    return shown if len(shown) <= width else shown[: width - 1] + "~"


def _test_lines(test: TestOutcome, paint: Paint) -> list[str]:
    mark = f"{_MARKS[test.status]:<9}"
    if test.status is not TestStatus.SUCCESS:
        mark = paint.bad(mark)
    duty = "mandatory" if test.mandatory else "optional"
    lines = [f"    {mark}{fitted(f'{test.id}: {test.level}, {duty}', WIDTH - 13)}"]
    for name, text in (
        ("found", test.found),
        ("expected", test.expected),
        ("worst", test.worst),
        ("criterion", f"{test.quality_criterion}; controls risk {test.risk_control_ref}"),
        ("asks for", str(test.on_failure) if test.status is not TestStatus.SUCCESS else ""),
    ):
        if text:
            lines += _row(name, text, indent=13)
    for case in test.cases:
        lines += _row("case", case_told(case), indent=13)
    return lines


def _observed_lines(observed: Observed | None, paint: Paint) -> list[str]:
    if observed is None:
        words = "No values of single cases: none were observed, or the stored report has none."
        return ["", *_wrapped(words, indent=2)]
    lines: list[str] = []
    if observed.shares:
        lines += ["", paint.strong("  Deviation from the reference, worst cases")]
        lines += _deviation_lines(observed.shares, paint)
    if observed.recorded is not None or observed.cohorts:
        lines += ["", paint.strong("  Decisions by cohort"), *_cohort_lines(observed)]
    for beside in observed.baselines:
        title = f"  Errors against the labels, beside the {beside.baseline} release"
        lines += ["", paint.strong(title), *_baseline_lines(beside, paint)]
    if observed.latencies is not None:
        lines += ["", paint.strong("  Latency of one case"), *_latency_lines(observed.latencies)]
    return lines


def _deviation_lines(shares: Sequence[CaseShare], paint: Paint) -> list[str]:
    if all(one.agrees and one.share in {None, "0"} for one in shares):
        return [f"    none: all {len(shares)} cases are the reference to the last digit"]
    lines = [*_axis(), *(_share_line(one, paint) for one in shares[:SHOWN_CASES])]
    if (left := len(shares) - SHOWN_CASES) > 0:
        lines.append(f"    and {left} that fare no worse; --html and --json have all")
    return lines


def _axis() -> list[str]:
    words = [" "] * (_BAR + 4)
    for decade in (-6, -4, -2, 0, 2):
        word = "limit" if decade == 0 else f"1e{decade}"
        at = (decade - _FIRST_DECADE) * _PER_DECADE
        begin = at - len(word) // 2
        words[begin : begin + len(word)] = word
    head = "share of tolerance"
    return [f"    {head:<22}{''.join(words)}".rstrip()]


def bar(share: str | None, *, agrees: bool) -> str:
    """A deviation on the axis: its bar begins at the left and passes ``|``, the tolerance."""
    if share is None:
        length = 0 if agrees else _BAR
    elif float(share) == 0:
        length = 0
    else:
        decades = math.log10(float(share)) - _FIRST_DECADE
        length = max(1, min(_BAR, round(decades * _PER_DECADE)))
        # Rounding moves no bar across the limit.
        length = min(length, _LIMIT) if agrees else max(length, _LIMIT + 1)
    drawn = "#" * length + " " * (_BAR - length)
    return drawn[:_LIMIT] + "|" + drawn[_LIMIT:]


def _share_line(one: CaseShare, paint: Paint) -> str:
    share = one.share if one.share is not None else ("exact" if one.agrees else "none")
    line = (
        f"    {fitted(one.case, 20):<22}{bar(one.share, agrees=one.agrees)}  {fitted(share, 9):<10}"
    )
    line = f"{line}{fitted(one.by, 10)}".rstrip()
    return line if one.agrees else paint.bad(line)


def _cohort_lines(observed: Observed) -> list[str]:
    heads = (("", "", "", "", "un-"), ("cohort", "cases", "pos.", "flips", "dec."))
    lines = [f"    {a:<20}{b:>6}{c:>5}{d:>6}{e:>6}" for a, b, c, d, e in heads]
    lines[0] += "  sensitivity      specificity"
    lines[1] += "  right, 95 %      right, 95 %"
    rows = list(observed.cohorts)
    if observed.recorded is not None:
        rows.append(observed.recorded)
    for one in rows:
        lines += _counts_lines(one)
    if observed.cohorts_left_out:
        lines.append(f"    and {observed.cohorts_left_out} further cohorts")
    return [*lines, *_wrapped(FIXTURES_NOTE, indent=4)]


def _counts_lines(one: CohortCounts) -> list[str]:
    counts = f"{one.cases:>6}{one.positives:>5}{one.flips:>6}{one.undecided:>6}"
    head = f"    {fitted(one.cohort, 19):<20}{counts}"
    rates = (one.sensitivity, one.specificity)
    first = "".join(f"  {_right(rate):<15}" for rate in rates)
    lines = [f"{head}{first}".rstrip()]
    if any(rate is not None and rate.low is not None for rate in rates):
        second = "".join(f"  {_between(rate):<15}" for rate in rates)
        lines.append(f"{'':<{len(head)}}{second}".rstrip())
    return lines


def _baseline_lines(beside: BaselineCounts, paint: Paint) -> list[str]:
    lines = [f"    {beside.release}", f"    {'cohort':<30}{'misses':>17}{'false alarms':>21}"]
    for one in beside.cohorts:
        misses = f"{one.misses}, before {one.misses_before}"
        alarms = f"{one.false_alarms}, before {one.false_alarms_before}"
        line = f"    {fitted(one.cohort, 29):<30}{misses:>17}{alarms:>21}"
        worse = one.misses > one.misses_before or one.false_alarms > one.false_alarms_before
        lines.append(paint.bad(line) if worse else line)
    return lines


def _right(rate: Rate | None) -> str:
    return "-" if rate is None else f"{rate.right}/{rate.of} {rate.share}"


def _between(rate: Rate | None) -> str:
    return "" if rate is None or rate.low is None else f"{rate.low}..{rate.high}"


def _latency_lines(latencies: Latencies) -> list[str]:
    ranks = f"p50 {latencies.p50_ms}, p95 {latencies.p95_ms}, p99 {latencies.p99_ms}"
    lines = [f"    {latencies.runs} runs; {ranks}, slowest {latencies.slowest_ms} ms"]
    most = max(one.runs for one in latencies.bins)
    for one in latencies.bins:
        span = f"{one.from_ms} ms" if one.to_ms is None else f"{one.from_ms} .. {one.to_ms} ms"
        span = f"{span} and more" if one.to_ms is None else span
        length = 0 if one.runs == 0 else max(1, round(one.runs / most * _BAR))
        lines.append(f"    {span:>24}  {'#' * length:<{_BAR}}  {one.runs:>6}")
    return lines


def _confinement_lines(view: SelfTestView) -> list[str]:
    ready = view.report.environment
    if ready is None:
        return _row("held", "not known: the bench did not say that it was ready")
    held = set(ready.confinements)
    missing = [name for name in Confinement if name not in held]
    return [
        *_row("held", ", ".join(sorted(held)) or "none"),
        *_row("not held", ", ".join(missing) or "none"),
    ]


def _row(name: str, text: str, *, indent: int = 4) -> list[str]:
    return _wrapped(
        text, indent=indent + _LABEL, first=f"{'':<{indent}}{printable(name):<{_LABEL}}"
    )


def _wrapped(text: str, *, indent: int, first: str | None = None) -> list[str]:
    blank = " " * indent
    return textwrap.wrap(
        printable(text) or "nothing",
        width=WIDTH,
        initial_indent=blank if first is None else first,
        subsequent_indent=blank,
        break_on_hyphens=False,  # names hold hyphens, and a person looks for whole names
    )
