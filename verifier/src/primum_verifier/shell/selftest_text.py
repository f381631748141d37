"""A self-test in the terminal: 80 columns of plain ASCII, colour only where a person looks."""

from __future__ import annotations

from primum_verifier.proof.confinement import Confinement
from primum_verifier.proof.selftest_result import Overall, TestOutcome, TestStatus
from primum_verifier.shell.observed_text import observed_lines
from primum_verifier.shell.selftest_view import SelfTestView, Standing, case_told
from primum_verifier.shell.terminal import LABEL, WIDTH, Paint, fitted, row, wrapped

_MARKS = {
    TestStatus.SUCCESS: "success",
    TestStatus.FAIL: "FAIL",
    TestStatus.NOT_RUN: "not run",
    TestStatus.ABSENT: "ABSENT",
}


def selftest_text(view: SelfTestView, *, colours: bool) -> str:
    """Everything that a person sees of a self-test."""
    paint = Paint(colours=colours)
    report = view.report
    passed = view.outcome is Overall.PASSED
    lines = [
        (paint.good if passed else paint.bad)(fitted(view.headline, WIDTH)),
        *wrapped(report.summary, indent=2),
    ]
    if view.checked:
        lines += ["", paint.strong("  What was verified here")]
        for one in view.checked:
            standing = str(one.standing)
            mark = standing if one.standing is Standing.VERIFIED else paint.bad(standing)
            lines.append(f"    {fitted(one.what, LABEL - 1):<{LABEL}}{mark}")
            lines += wrapped(one.found, indent=4 + LABEL)
            if one.sha256 is not None:
                lines.append(f"{'':<{4 + LABEL}}{one.sha256}")
    lines += ["", paint.strong("  Tests")]
    for test in report.tests:
        lines += _test_lines(test, paint)
    lines += observed_lines(view.observed, paint)
    lines += ["", paint.strong("  Confinement")]
    lines += _confinement_lines(view)
    lines += ["", paint.strong("  Where it ran")]
    for name, text in (*view.facts, *view.subject):
        lines += row(name, text)
    return "\n".join(lines)


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
            lines += row(name, text, indent=13)
    for case in test.cases:
        lines += row("case", case_told(case), indent=13)
    return lines


def _confinement_lines(view: SelfTestView) -> list[str]:
    ready = view.report.environment
    if ready is None:
        return row("held", "not known: the bench did not say that it was ready")
    held = set(ready.confinements)
    missing = [name for name in Confinement if name not in held]
    return [
        *row("held", ", ".join(sorted(held)) or "none"),
        *row("not held", ", ".join(missing) or "none"),
    ]
