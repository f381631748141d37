"""What a self-test saw, as sections of its page: plots, and the tables of their numbers."""

from __future__ import annotations

from collections.abc import Iterator

from primum_verifier.proof.observed import (
    BaselineCounts,
    CaseShare,
    CohortCounts,
    ErrorCounts,
    Latencies,
    Observed,
    Rate,
)
from primum_verifier.shell.markup import Markup, tag
from primum_verifier.shell.page_parts import digest, names, number, section, table
from primum_verifier.shell.plots import Dot, deviation_plot, histogram, rate_bar
from primum_verifier.shell.selftest_view import FIXTURES_NOTE

SHOWN_CASES = 20
"""Cases in the table under the plot; the plot and ``--json`` have them all."""


def observed_sections(observed: Observed | None) -> list[Markup]:
    """A section for each thing that was seen; one sentence where nothing was."""
    if observed is None:
        words = "No values of single cases: none were observed, or the stored report has none."
        return [tag("p", words, class_="soft", id="nothing-observed")]
    parts = []
    if observed.shares:
        parts.append(_deviation_section(observed))
    if observed.cohorts:
        parts.append(_cohort_section(observed))
    parts += [_baseline_section(one) for one in observed.baselines]
    if observed.latencies is not None:
        seen = observed.latencies
        facts = (
            f"{seen.runs} runs: fastest {seen.fastest_ms} ms, p50 {seen.p50_ms} ms, "
            f"p95 {seen.p95_ms} ms, p99 {seen.p99_ms} ms, slowest {seen.slowest_ms} ms"
        )
        told = [tag("p", facts), *_limits_told(seen), histogram(seen)]
        if len(seen.rounds) > 1:
            told.append(_rounds_table(seen))
        parts.append(section("latency", "Latency of one case", *told))
    return parts


def _limits_told(seen: Latencies) -> Iterator[Markup]:
    if seen.limits:
        limits = ", ".join(f"{one.what} {one.ms} ms" for one in seen.limits)
        yield tag("p", f"At most: {limits}")
    if seen.loads_ms:
        yield tag("p", f"Loading took {', '.join(seen.loads_ms)} ms")


def _rounds_table(seen: Latencies) -> Markup:
    rows = [
        [
            tag("th", str(place), scope="row"),
            *map(number, (one.runs, one.p50_ms, one.p95_ms, one.p99_ms)),
            tag("td", "this one" if one.judged else ""),
        ]
        for place, one in enumerate(seen.rounds, start=1)
    ]
    head = names("round", "#runs", "#p50 (ms)", "#p95 (ms)", "#p99 (ms)", "judged")
    return table("rounds", head, rows)


def _deviation_section(observed: Observed) -> Markup:
    rows: dict[str, list[Dot]] = {}
    for one in observed.shares:
        rows.setdefault(one.cohort, []).append(Dot(one.share, one.agrees, _case_title(one)))
    shown = observed.shares[:SHOWN_CASES]
    left = len(observed.shares) - len(shown)
    note = (
        f"The {len(shown)} cases that fare worst, of {len(observed.shares)}; --json has them all."
        if left
        else f"All {len(shown)} cases, the one that fares worst first."
    )
    head = names(
        "case", "cohort", "test", "output", "#found", "#expected", "#off by", "#of the tolerance"
    )
    return section(
        "deviations",
        "Deviation of each case from its reference",
        deviation_plot(sorted(rows.items())),
        tag("p", note, class_="soft"),
        table("deviations", head, map(_share_row, shown)),
    )


def _case_title(one: CaseShare) -> str:
    share = "" if one.share is None else f", {one.share} of the tolerance"
    return f"{one.case}: {one.output} {one.found} instead of {one.expected}{share}"


def _share_row(one: CaseShare) -> list[Markup]:
    return [
        tag("th", one.case, scope="row", **({} if one.agrees else {"class": "bad"})),
        tag("td", one.cohort),
        tag("td", one.test),
        tag("td", one.output),
        number(one.found),
        number(one.expected),
        number(one.by),
        number("-" if one.share is None else one.share),
    ]


def _cohort_section(observed: Observed) -> Markup:
    head = names(
        "cohort", "kind", "#cases", "#positives", "#negatives", "#flips", "#undecided",
        "sensitivity (95 %)", "specificity (95 %)",
    )  # fmt: skip
    rows = list(observed.cohorts)
    if observed.recorded is not None:
        rows.append(observed.recorded)
    more = []
    if observed.cohorts_left_out:
        more.append(tag("p", f"and {observed.cohorts_left_out} further cohorts"))
    return section(
        "cohorts",
        "Decisions by cohort",
        table("cohorts", head, map(_cohort_row, rows)),
        *more,
        tag("p", FIXTURES_NOTE, class_="soft"),
    )


def _cohort_row(one: CohortCounts) -> list[Markup]:
    return [
        tag("th", one.cohort, scope="row"),
        tag("td", str(one.kind)),
        *map(number, (one.cases, one.positives, one.negatives)),
        tag("td", str(one.flips), class_="n bad" if one.flips else "n"),
        number(one.undecided),
        _rate_cell(one.sensitivity),
        _rate_cell(one.specificity),
    ]


def _baseline_section(beside: BaselineCounts) -> Markup:
    head = names("cohort", "#misses", "#before", "#false alarms", "#before")
    name = f"beside-{beside.baseline}"
    return section(
        name,
        f"Errors against the labels, beside the {beside.baseline} release",
        *digest(beside.release),
        table(name, head, map(_error_row, beside.cohorts)),
    )


def _error_row(one: ErrorCounts) -> list[Markup]:
    cells = [tag("th", one.cohort, scope="row")]
    for now, before in (
        (one.misses, one.misses_before),
        (one.false_alarms, one.false_alarms_before),
    ):
        cells.append(tag("td", str(now), class_="n bad" if now > before else "n"))
        cells.append(number(before))
    return cells


def _rate_cell(rate: Rate | None) -> Markup:
    if rate is None:
        return tag("td", "-")
    words = f"{rate.right}/{rate.of} = {rate.share}"
    if rate.low is None:
        return tag("td", words)
    return tag("td", f"{words} [{rate.low}, {rate.high}]", tag("br"), rate_bar(rate))
