"""A self-test as one page of HTML: nothing is loaded, nothing runs, and it prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from primum_verifier.proof.confinement import Confinement
from primum_verifier.proof.selftest_result import Overall, TestOutcome, TestStatus
from primum_verifier.shell.markup import Markup, tag
from primum_verifier.shell.observed_page import observed_sections
from primum_verifier.shell.page_parts import digest, names, page, section, table
from primum_verifier.shell.selftest_view import SelfTestView, Standing, case_told


def selftest_page(view: SelfTestView) -> str:
    """The whole page."""
    parts = [_head_section(view)]
    if view.checked:
        parts.append(_checked_section(view))
    parts.append(_tests_section(view.report.tests))
    parts += observed_sections(view.observed)
    parts += [_confinement_section(view), _facts_section(view)]
    return page(f"Self-test of {view.headline}", *parts)


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
            tag("td", one.found, *digest(one.sha256)),
        ]
        for one in view.checked
    ]
    return section(
        "checked",
        "What was verified on this machine",
        table("checked", names("what", "standing", "found"), rows),
    )


def _tests_section(tests: Iterable[TestOutcome]) -> Markup:
    head = names("test", "level", "status", "found", "expected", "criterion", "risk control")
    rows = [row for test in tests for row in _test_rows(test)]
    return section("tests", "Tests", table("tests", head, rows))


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


def _confinement_section(view: SelfTestView) -> Markup:
    ready = view.report.environment
    if ready is None:
        words = tag("p", "Not known: the bench did not say that it was ready.")
        return section("confinement", "Confinement", words)
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
    return section("confinement", "Confinement", table("confinement", names("what", "held"), rows))


def _facts_section(view: SelfTestView) -> Markup:
    rows = [[tag("th", name, scope="row"), tag("td", text)] for name, text in view.facts]
    rows += [
        [tag("th", name, scope="row"), tag("td", *digest(sha256))] for name, sha256 in view.subject
    ]
    return section("facts", "Where it ran", table("facts", names("what", "found"), rows))
