"""What a self-test saw, in the terminal: bars, counts and histograms of plain ASCII."""

from __future__ import annotations

import math
from collections.abc import Sequence

from primum_verifier.proof.observed import (
    BaselineCounts,
    Bin,
    CaseShare,
    CohortCounts,
    Latencies,
    Observed,
    Rate,
)
from primum_verifier.shell.selftest_view import FIXTURES_NOTE
from primum_verifier.shell.terminal import Paint, fitted, wrapped

SHOWN_CASES = 10
"""Cases drawn one by one; the page and ``--json`` have them all."""

_BAR = 30
_FIRST_DECADE, _LAST_DECADE = -7, 3
"""The axis of deviations, in powers of ten of the tolerance; three characters for each."""

_PER_DECADE = _BAR // (_LAST_DECADE - _FIRST_DECADE)
_LIMIT = -_FIRST_DECADE * _PER_DECADE


def observed_lines(observed: Observed | None, paint: Paint) -> list[str]:
    """A part for each thing that was seen; one sentence where nothing was."""
    if observed is None:
        words = "No values of single cases: none were observed, or the stored report has none."
        return ["", *wrapped(words, indent=2)]
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
    return [*lines, *wrapped(FIXTURES_NOTE, indent=4)]


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
    if latencies.limits:
        limits = ", ".join(f"{one.what} {one.ms}" for one in latencies.limits)
        lines.append(f"    at most: {limits} ms")
    if latencies.loads_ms:
        lines += wrapped(f"loading took {', '.join(latencies.loads_ms)} ms", indent=4)
    for number, one in enumerate(latencies.rounds if len(latencies.rounds) > 1 else (), start=1):
        ranks = f"p50 {one.p50_ms}, p95 {one.p95_ms}, p99 {one.p99_ms} ms"
        mark = "; judged" if one.judged else ""
        lines.append(f"    round {number}: {one.runs} runs; {ranks}{mark}")
    return [*lines, *_histogram_lines(latencies.bins)]


def _histogram_lines(bins: Sequence[Bin]) -> list[str]:
    lines = []
    most = max(one.runs for one in bins)
    for one in bins:
        end = "ms and more" if one.to_ms is None else f".. {one.to_ms} ms"
        length = 0 if one.runs == 0 else max(1, round(one.runs / most * _BAR))
        lines.append(f"    {f'{one.from_ms} {end}':>24}  {'#' * length:<{_BAR}}  {one.runs:>6}")
    return lines
