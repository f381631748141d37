"""The parts of a comparison's page that tell of each arm, and of what else was asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from primum_verifier.change.comparison_analysis import Analysis, ArmAnalysis
from primum_verifier.change.comparison_report import Arm, ComparisonReport
from primum_verifier.change.comparison_terms import Bounds, Decision
from primum_verifier.shell.comparison_plots import (
    Curve,
    Range,
    range_plot,
    reliability_plot,
    roc_plot,
)
from primum_verifier.shell.markup import Markup, tag
from primum_verifier.shell.page_parts import names, number, section, table

ArmName = Literal["candidate", "last", "original"]
ARMS: tuple[ArmName, ...] = ("candidate", "last", "original")
_COUNTED = {
    "intention-to-diagnose": "against the arm that gave none",
    "as-decided": "left out",
    "worst-case": "against the candidate, in favour of the baseline",
}


def in_order(arms: Mapping[ArmName, Arm]) -> list[tuple[ArmName, Arm]]:
    """The arms in the order in which every table has them."""
    return [(name, arms[name]) for name in ARMS if name in arms]


def bounds_told(bounds: Bounds | None) -> str:
    """A value with its interval, as people read it."""
    if bounds is None:
        return "-"
    return f"{float(bounds.estimate):.4f} ({float(bounds.low):.4f} to {float(bounds.high):.4f})"


def arms_section(report: ComparisonReport) -> Markup:
    """Each arm beside the others."""
    head = names("what", *(f"#{name}" for name, _ in in_order(report.arms)))
    arms = [(arm, _analysed(report, name)) for name, arm in in_order(report.arms)]
    rows: list[tuple[str, list[str]]] = [
        ("threshold", [arm.threshold for arm, _ in arms]),
        ("sensitivity, Wilson", [bounds_told(arm.sensitivity) for arm, _ in arms]),
        ("specificity, Wilson", [bounds_told(arm.specificity) for arm, _ in arms]),
        ("area under the ROC curve", [bounds_told(arm.auc) for arm, _ in arms]),
    ]
    if report.analysis is not None:
        for what, member in (
            ("sensitivity, exact", "sensitivity_exact"),
            ("specificity, exact", "specificity_exact"),
            ("sensitivity, patients as the unit", "sensitivity_by_patient"),
            ("specificity, patients as the unit", "specificity_by_patient"),
            ("positive predictive value", "ppv"),
            ("negative predictive value", "npv"),
        ):
            rows.append((what, [bounds_told(getattr(found, member, None)) for _, found in arms]))
    cells = [
        [tag("th", what, scope="row"), *map(number, found)]
        for what, found in rows
        if set(found) != {"-"}
    ]
    note = tag(
        "p",
        "Predictive values are of these cases; where disease is rarer they are others.",
        class_="soft",
    )
    return section("arms", "Each arm by itself", table("arms", head, cells), note)


def _analysed(report: ComparisonReport, name: ArmName) -> ArmAnalysis | None:
    return None if report.analysis is None else report.analysis.arms.get(name)


def curves_sections(report: ComparisonReport) -> Iterator[Markup]:
    """The ROC curves, where there are scores."""
    curves = []
    for name in ARMS:
        found, arm = _analysed(report, name), report.arms.get(name)
        if found is None or arm is None or not found.roc:
            continue
        works_at = (
            (1.0 - float(arm.specificity.estimate), float(arm.sensitivity.estimate))
            if arm.specificity is not None and arm.sensitivity is not None
            else None
        )
        area = "" if arm.auc is None else f"AUC {bounds_told(arm.auc)}; "
        said = f"{area}works at {arm.threshold}"
        curves.append(Curve(name, found.roc, works_at, said))
    if curves:
        note = tag(
            "p",
            "The curve is of decided cases; the circle is where the arm works, undecided cases "
            "counted against it.",
            class_="soft",
        )
        yield section(
            "roc", "Sensitivity and specificity at every threshold", roc_plot(curves), note
        )


def calibration_sections(analysis: Analysis) -> Iterator[Markup]:
    """Scores as probabilities, where they are any."""
    arms = [(name, analysis.arms[name]) for name in ARMS if name in analysis.arms]
    found = [(name, arm.calibration) for name, arm in arms if arm.calibration is not None]
    if not found:
        return
    head = names(
        "arm", "#slope", "#in the large", "#Brier", "#reliability", "#resolution", "#uncertainty",
        "#ECE",
    )  # fmt: skip
    rows = [
        [
            tag("th", name, scope="row"),
            *map(
                number,
                (
                    bounds_told(one.slope), bounds_told(one.in_the_large), one.brier,
                    one.reliability, one.resolution, one.uncertainty, one.ece,
                ),
            ),
        ]
        for name, one in found
    ]  # fmt: skip
    note = f"Bins: {found[0][1].bins}. A slope below 1 means predictions that are too extreme."
    yield section(
        "calibration",
        "Scores as probabilities",
        reliability_plot(arms),
        table("calibration", head, rows),
        tag("p", note, class_="soft"),
    )


def alerts_sections(analysis: Analysis) -> Iterator[Markup]:
    """The burden of alerts, where times are known."""
    found = [(name, analysis.arms[name].alerts) for name in ARMS if name in analysis.arms]
    rows = [(name, one) for name, one in found if one is not None]
    if not rows:
        return
    ranges = [
        _range(name, one.per_patient_day, f"{one.alerts} alerts in {_short(one.patient_days)} days")
        for name, one in rows
        if one.per_patient_day is not None
    ]
    head = names("arm", "#alerts", "#a patient-day", "#with an event", "#longest silence (h)")
    cells = [
        [
            tag("th", name, scope="row"),
            number(one.alerts),
            number(bounds_told(one.per_patient_day)),
            number(bounds_told(one.actionable)),
            number(_short(one.longest_silence_hours)),
        ]
        for name, one in rows
    ]
    drawn = (
        [range_plot(ranges, "Alerts a patient-day, by arm", "alerts in a patient-day")]
        if ranges
        else []
    )
    note = tag(
        "p",
        "The longest silence is the longest time without an alert in which the reference has an "
        "event.",
        class_="soft",
    )
    yield section("alerts", "The burden of alerts", *drawn, table("alerts", head, cells), note)


def _range(name: str, value: Bounds, said: str) -> Range:
    low, middle, high = (float(one) for one in (value.low, value.estimate, value.high))
    return Range(name, low, middle, high, said)


def _short(decimal: str) -> str:
    return f"{float(decimal):.4g}"


def durations_sections(analysis: Analysis) -> Iterator[Markup]:
    """Latency and time to the decision, where they were measured."""
    for name, title, member in (
        ("latency", "Latency on the hardware", "latency"),
        ("time-to-decision", "Time to the decision", "time_to_decision"),
    ):
        ranges, cells, units = [], [], set()
        for arm in ARMS:
            found = getattr(analysis.arms.get(arm), member, None)
            if found is None:
                continue
            units.add(f"{found.unit}, on {found.measured_on}" if found.measured_on else found.unit)
            for one in found.quantiles:
                middle = float(one.estimate)
                high = middle if one.upper is None else float(one.upper)
                said = "no bound: too few" if one.upper is None else f"at most {_short(one.upper)}"
                percent = f"P{float(one.quantile) * 100:g}"
                ranges.append(Range(f"{arm}, {percent}", middle, middle, high, said))
            quantiles = [_short(one.estimate) for one in found.quantiles]
            cells.append(
                [tag("th", arm, scope="row"), number(found.values), *map(number, quantiles),
                 number(_short(found.longest))]
            )  # fmt: skip
        if ranges:
            head = names("arm", "#values", "#P50", "#P95", "#P99", "#longest")
            drawn = range_plot(ranges, f"{title}, quantiles with bounds", ", ".join(sorted(units)))
            yield section(name, title, drawn, table(name, head, cells))


def repeats_sections(analysis: Analysis) -> Iterator[Markup]:
    """Repeatability, where answers were repeated."""
    found = [(name, analysis.arms[name].repeatability) for name in ARMS if name in analysis.arms]
    rows = [
        [
            tag("th", name, scope="row"),
            *map(
                number,
                (one.cases, one.repeats, one.within, one.between, one.coefficient,
                 one.percent_cv or "-"),
            ),
        ]
        for name, one in found
        if one is not None
    ]  # fmt: skip
    if rows:
        head = names(
            "arm", "#cases", "#repeats", "#within", "#between", "#coefficient", "#CV (percent)"
        )
        words = "Two repeats differ by less than the coefficient in 95 of 100 cases."
        note = tag("p", words, class_="soft")
        yield section("repeats", "Repeated answers", table("repeats", head, rows), note)


def undecided_section(report: ComparisonReport, analysis: Analysis) -> Markup:
    """Each paired question with undecided cases counted each way; what turns stands out."""
    asked = [item for item in report.endpoints if item.metric != "auc"]
    by_id = {item.id: item for item in analysis.criteria}
    ways = ("as-decided", "worst-case")
    head = names("endpoint", _COUNTED["intention-to-diagnose"], *(_COUNTED[way] for way in ways))
    rows = []
    for item in asked:
        cells = [
            tag("th", item.id, scope="row"),
            _way(item.difference, item.decision, item.decision),
        ]
        for way in ways:
            other = by_id.get(f"{item.id} {way}")
            cells.append(
                tag("td", "-")
                if other is None
                else _way(other.value, other.decision, item.decision)
            )
        rows.append(cells)
    return section(
        "undecided",
        "Cases without a decision, counted three ways",
        table("undecided", head, rows),
        tag("p", "An answer that turns with the way of counting is marked.", class_="soft"),
    )


def _way(value: Bounds | None, decision: Decision, usual: Decision) -> Markup:
    mark = "bad" if decision != usual else "soft"
    return tag("td", bounds_told(value), " ", tag("span", str(decision), class_=mark))


def chance_sections(analysis: Analysis) -> Iterator[Markup]:
    """What may be chance: superiority, and the screen for harm."""
    if analysis.superiority:
        head = names("difference", "#McNemar exact", "#mid-p", "#between patients")
        rows = [
            [
                tag("th", item.id, scope="row"),
                *map(number, (item.exact, item.mid_p, item.between_patients or "-")),
            ]
            for item in analysis.superiority
        ]
        note = "Two-sided. The first two take cases as independent; with patients as the unit the "
        note += "last one counts."
        yield section(
            "superiority",
            "Is a difference more than chance?",
            table("superiority", head, rows),
            tag("p", note, class_="soft"),
        )
    if analysis.harm:
        head = names("cohort", "#p of so large a loss", "#Holm", "#Benjamini-Hochberg")
        rows = [
            [
                tag("th", item.id, scope="row"),
                *map(number, (item.p_value, item.holm, item.benjamini_hochberg)),
            ]
            for item in analysis.harm
        ]
        yield section(
            "harm", "Screen of the cohorts for harm", table("harm", head, rows),
            tag("p", "One-sided; adjusted for how many were looked at. A screen decides nothing.",
                class_="soft"),
        )  # fmt: skip
