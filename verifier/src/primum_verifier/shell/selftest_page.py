"""A self-test as one page of HTML: nothing is loaded, nothing runs, and it prints.

The page forbids itself scripts, frames and every address by its own policy, and every text of a
release is escaped (:mod:`primum_verifier.shell.markup`), so it may be opened and sent on although
what is shown in it was written by others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from primum_verifier.proof.confinement import Confinement
from primum_verifier.proof.observed import (
    BaselineCounts,
    CaseShare,
    CohortCounts,
    ErrorCounts,
    Observed,
    Rate,
)
from primum_verifier.proof.selftest_result import Overall, TestOutcome, TestStatus
from primum_verifier.shell.markup import Markup, tag
from primum_verifier.shell.page_style import STYLE
from primum_verifier.shell.plots import Dot, deviation_plot, histogram, rate_bar
from primum_verifier.shell.selftest_view import FIXTURES_NOTE, SelfTestView, Standing, case_told

SHOWN_CASES = 20
"""Cases in the table under the plot; the plot and ``--json`` have them all."""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def selftest_page(view: SelfTestView) -> str:
    """The whole page."""
    parts = [_head_section(view)]
    if view.checked:
        parts.append(_checked_section(view))
    parts.append(_tests_section(view.report.tests))
    parts += _observed_sections(view)
    parts += [_confinement_section(view), _facts_section(view)]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"Self-test of {view.headline}"),
        tag("style", STYLE),
    )
    page = tag("html", head, tag("body", *parts), lang="en")
    return f"<!DOCTYPE html>\n{page}\n"


def _section(name: str, title: str, *inside: str) -> Markup:
    return tag("section", tag("h2", title), *inside, id=name)


def _table(name: str, head: Iterable[Markup], rows: Iterable[Iterable[Markup]]) -> Markup:
    body = [tag("tr", *cells) for cells in rows]
    table = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *body), id=f"table-{name}")
    return tag("div", table, class_="wide")


def _names(*names: str) -> list[Markup]:
    """Heads of columns; one that begins with ``#`` is over numbers."""
    return [
        tag(
            "th", name.removeprefix("#"), scope="col", **({"class": "n"} if name[:1] == "#" else {})
        )
        for name in names
    ]


def _number(value: object) -> Markup:
    return tag("td", str(value), class_="n")


def _head_section(view: SelfTestView) -> Markup:
    mark = "good" if view.outcome is Overall.PASSED else "bad"
    return tag(
        "header",
        tag("h1", f"Self-test of {view.name}"),
        tag("p", tag("span", str(view.outcome), class_=mark, id="outcome"), _reason(view)),
        tag("p", view.report.summary, id="summary"),
    )


def _reason(view: SelfTestView) -> str:
    return "" if view.reason is None else f" ({view.reason})"


def _checked_section(view: SelfTestView) -> Markup:
    rows = [
        [
            tag("th", one.what, scope="row"),
            tag(
                "td",
                str(one.standing),
                class_="good" if one.standing is Standing.VERIFIED else "bad",
            ),
            tag("td", one.found, *_digest(one.sha256)),
        ]
        for one in view.checked
    ]
    return _section(
        "checked",
        "What was verified on this machine",
        _table("checked", _names("what", "standing", "found"), rows),
    )


def _digest(sha256: str | None) -> list[Markup]:
    return [] if sha256 is None else [tag("p", f"sha256 {sha256}", class_="hash")]


def _tests_section(tests: Iterable[TestOutcome]) -> Markup:
    head = _names("test", "level", "status", "found", "expected", "criterion", "risk control")
    rows = [row for test in tests for row in _test_rows(test)]
    return _section("tests", "Tests", _table("tests", head, rows))


def _test_rows(test: TestOutcome) -> Iterator[list[Markup]]:
    """The test, and below it the cases that it names, over the whole width."""
    mark = "good" if test.status is TestStatus.SUCCESS else "bad"
    worst = [tag("p", f"worst: {test.worst}", class_="soft")] if test.worst else []
    duty = "mandatory" if test.mandatory else "optional"
    yield [
        tag("th", test.id, tag("p", f"{duty}, else {test.on_failure}", class_="soft"), scope="row"),
        tag("td", test.level, class_="word"),
        tag("td", str(test.status), class_=f"word {mark}"),
        tag("td", test.found, *worst),
        tag("td", test.expected),
        tag("td", test.quality_criterion),
        tag("td", test.risk_control_ref),
    ]
    if test.cases:
        cases = [tag("li", case_told(one)) for one in test.cases]
        yield [tag("td"), tag("td", tag("ul", *cases), colspan="6")]


def _observed_sections(view: SelfTestView) -> list[Markup]:
    observed = view.observed
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
        section = _section("latency", "Latency of one case", tag("p", facts), histogram(seen))
        parts.append(section)
    return parts


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
    head = _names(
        "case", "cohort", "test", "output", "#found", "#expected", "#off by", "#of the tolerance"
    )
    return _section(
        "deviations",
        "Deviation of each case from its reference",
        deviation_plot(sorted(rows.items())),
        tag("p", note, class_="soft"),
        _table("deviations", head, map(_share_row, shown)),
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
        _number(one.found),
        _number(one.expected),
        _number(one.by),
        _number("-" if one.share is None else one.share),
    ]


def _cohort_section(observed: Observed) -> Markup:
    head = _names(
        "cohort", "kind", "#cases", "#positives", "#negatives", "#flips", "#undecided",
        "sensitivity (95 %)", "specificity (95 %)",
    )  # fmt: skip
    rows = list(observed.cohorts)
    if observed.recorded is not None:
        rows.append(observed.recorded)
    more = []
    if observed.cohorts_left_out:
        more.append(tag("p", f"and {observed.cohorts_left_out} further cohorts"))
    return _section(
        "cohorts",
        "Decisions by cohort",
        _table("cohorts", head, map(_cohort_row, rows)),
        *more,
        tag("p", FIXTURES_NOTE, class_="soft"),
    )


def _cohort_row(one: CohortCounts) -> list[Markup]:
    return [
        tag("th", one.cohort, scope="row"),
        tag("td", str(one.kind)),
        *map(_number, (one.cases, one.positives, one.negatives)),
        tag("td", str(one.flips), class_="n bad" if one.flips else "n"),
        _number(one.undecided),
        _rate_cell(one.sensitivity),
        _rate_cell(one.specificity),
    ]


def _baseline_section(beside: BaselineCounts) -> Markup:
    head = _names("cohort", "#misses", "#before", "#false alarms", "#before")
    name = f"beside-{beside.baseline}"
    return _section(
        name,
        f"Errors against the labels, beside the {beside.baseline} release",
        *_digest(beside.release),
        _table(name, head, map(_error_row, beside.cohorts)),
    )


def _error_row(one: ErrorCounts) -> list[Markup]:
    cells = [tag("th", one.cohort, scope="row")]
    for now, before in (
        (one.misses, one.misses_before),
        (one.false_alarms, one.false_alarms_before),
    ):
        cells.append(tag("td", str(now), class_="n bad" if now > before else "n"))
        cells.append(_number(before))
    return cells


def _rate_cell(rate: Rate | None) -> Markup:
    if rate is None:
        return tag("td", "-")
    words = f"{rate.right}/{rate.of} = {rate.share}"
    if rate.low is None:
        return tag("td", words)
    return tag("td", f"{words} [{rate.low}, {rate.high}]", tag("br"), rate_bar(rate))


def _confinement_section(view: SelfTestView) -> Markup:
    ready = view.report.environment
    if ready is None:
        words = tag("p", "Not known: the bench did not say that it was ready.")
        return _section("confinement", "Confinement", words)
    rows = [
        [
            tag("th", str(name), scope="row"),
            tag("td", "held", class_="good")
            if name in ready.confinements
            else tag("td", "not held", class_="bad"),
        ]
        for name in Confinement
    ]
    rows += [
        [tag("th", name, scope="row"), tag("td", "held, as the bench says", class_="soft")]
        for name in ready.confinements
        if name not in set(Confinement)
    ]
    return _section(
        "confinement", "Confinement", _table("confinement", _names("what", "held"), rows)
    )


def _facts_section(view: SelfTestView) -> Markup:
    rows = [[tag("th", name, scope="row"), tag("td", text)] for name, text in view.facts]
    rows += [
        [tag("th", name, scope="row"), tag("td", *_digest(digest))] for name, digest in view.subject
    ]
    return _section("facts", "Where it ran", _table("facts", _names("what", "found"), rows))
