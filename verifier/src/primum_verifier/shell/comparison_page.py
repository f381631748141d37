"""A comparison as one page: what was decided first, then everything that it rests on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from primum_verifier.change.comparison_analysis import Analysis, ArmAnalysis, Criterion
from primum_verifier.change.comparison_report import Arm, ComparisonReport, Endpoint
from primum_verifier.change.comparison_terms import WHOLE, Bounds, Decision
from primum_verifier.shell.comparison_plots import (
    STYLE,
    Curve,
    Range,
    Row,
    forest_plot,
    range_plot,
    reliability_plot,
    roc_plot,
)
from primum_verifier.shell.markup import Markup, joined, tag
from primum_verifier.shell.page_parts import digest, names, number, page, section, table
from primum_verifier.shell.page_style import STYLE as PAGE_STYLE

ArmName = Literal["candidate", "last", "original"]
_ARMS: tuple[ArmName, ...] = ("candidate", "last", "original")
_MARKS = {Decision.MET: "good", Decision.NOT_MET: "bad", Decision.NOT_EVALUABLE: "soft"}
_COUNTED = {
    "intention-to-diagnose": "against the arm that gave none",
    "as-decided": "left out",
    "worst-case": "against the candidate, in favour of the baseline",
}


def comparison_page(report: ComparisonReport, sha256: str) -> str:
    """The whole page.

    Args:
        report: what was found.
        sha256: of the report's own bytes, by which it is known.
    """
    parts = [_head(report, sha256), _protocol(report), _accounting(report)]
    parts.append(_differences(report))
    analysis = report.analysis
    if analysis is not None:
        parts += _criteria(analysis)
    parts += [_arms(report), *_curves(report)]
    if analysis is not None:
        parts += [
            *_calibration(analysis),
            *_alerts(analysis),
            *_durations(analysis),
            *_repeats(analysis),
            _undecided(report, analysis),
            *_chance(analysis),
        ]
    parts.append(_origin(report))
    title = f"Comparison {report.protocol.id}: {report.overall}"
    return page(title, *parts, style=joined(PAGE_STYLE, STYLE))


def _head(report: ComparisonReport, sha256: str) -> Markup:
    failed = [item for item in report.deciding() if item.decision != Decision.MET]
    deciding = sum(1 for _ in report.deciding())
    told = (
        [tag("p", f"All {deciding} that decide are met.")]
        if not failed
        else [
            tag("p", f"{len(failed)} of {deciding} that decide are in the way:"),
            tag("ul", *(tag("li", f"{item.id}: {item.decision}, {item.why}") for item in failed)),
        ]
    )
    return tag(
        "header",
        tag("h1", f"Comparison of a candidate with its baselines: {report.protocol.id}"),
        tag("p", tag("span", str(report.overall), class_=_MARKS[report.overall], id="outcome")),
        *told,
        *digest(sha256),
    )


def _facts(name: str, title: str, rows: Iterable[tuple[str, str]], *more: Markup) -> Markup:
    cells = [[tag("th", what, scope="row"), tag("td", found)] for what, found in rows]
    return section(name, title, table(name, names("what", "found"), cells), *more)


def _protocol(report: ComparisonReport) -> Markup:
    frozen = report.protocol
    analysis = report.analysis
    interval = "percentile" if analysis is None else analysis.interval
    rows = [
        ("protocol", f"{frozen.id}, by {frozen.author}, frozen {frozen.frozen_at:%Y-%m-%d %H:%M}"),
        ("its digest", f"sha256 {frozen.digest.sha256}"),
        ("rung", frozen.rung),
        ("independent unit", f"{report.unit}: {report.unit_rationale}"),
        ("intervals", f"{interval}, {report.replicates} draws, seed {report.seed}"),
    ]
    if analysis is not None:
        rows += _test_set(analysis)
        rows += [("deviation", item) for item in analysis.deviations]
        rows.append(("many questions", analysis.multiplicity))
    if analysis is not None and analysis.agreement:
        words = "none that is accepted: read sensitivity and specificity as positive and negative "
        words += "percent agreement"
        rows.append(("reference standard", words))
    return _facts("protocol", "What was laid down before", rows)


def _test_set(analysis: Analysis) -> Iterator[tuple[str, str]]:
    use = analysis.test_set
    if use is None:
        yield "test set", "bound to none: nobody counts how often it was used"
        return
    yield "test set", f"{use.id}, use {use.use_number} of {use.uses_allowed}"
    yield "recorded as", f"sha256 {use.entry}"
    if use.repeats:
        yield "run again", f"{use.repeats} times before: {use.repeat_reason}"


def _accounting(report: ComparisonReport) -> Markup:
    counted, analysis = report.accounting, report.analysis
    left_out = analysis.excluded if analysis is not None else ()
    patients = counted.patients + sum(item.patients for item in left_out)
    cases = counted.cases + sum(item.cases for item in left_out)
    rows = [_count_row("enrolled", patients, cases, "")] if left_out else []
    rows += [_count_row("excluded", one.patients, one.cases, one.reason) for one in left_out]
    split = f"{counted.positives} positive, {counted.negatives} negative"
    rows.append(_count_row("analysed", counted.patients, counted.cases, split))
    for name, arm in _in_order(report.arms):
        found = analysis.arms.get(name) if analysis is not None else None
        why = (
            ""
            if found is None
            else f"{found.quality_rejected} rejected for quality"
            + "".join(f", {n} in {cohort}" for cohort, n in found.rejected_by_cohort.items())
            + f"; {found.indeterminate} indeterminate"
        )
        rows.append(_count_row(f"no decision by {name}", None, arm.no_decision, why))
    head = names("cases", "#patients", "#cases", "which")
    return section("accounting", "Who was counted", table("accounting", head, rows))


def _count_row(what: str, patients: int | None, cases: int, why: str) -> list[Markup]:
    shown = "" if patients is None else patients
    return [tag("th", what, scope="row"), number(shown), number(cases), tag("td", why)]


def _in_order(arms: Mapping[ArmName, Arm]) -> list[tuple[ArmName, Arm]]:
    return [(name, arms[name]) for name in _ARMS if name in arms]


def _differences(report: ComparisonReport) -> Markup:
    parts: list[Markup] = []
    for metric, title in (
        ("sensitivity", "sensitivity"),
        ("specificity", "specificity"),
        ("auc", "area under the ROC curve"),
    ):
        asked = [item for item in report.endpoints if item.metric == metric]
        if asked:
            parts.append(
                tag("h3", title.capitalize() if metric != "auc" else "Area under the ROC curve")
            )
            parts.append(
                forest_plot(
                    [_forest_row(item) for item in asked],
                    f"Difference in {title}, candidate less baseline, by cohort",
                    f"difference in {title}; right of 0 the candidate is better",
                )
            )
    head = names(
        "endpoint", "role", "#difference", "#margin", "#gained", "#lost", "#patients", "#cases",
        "decision",
    )  # fmt: skip
    note = "The red stroke is the margin: the whole interval has to lie right of it. In brackets: "
    note += "patients and cases."
    return section(
        "differences",
        "Candidate less baseline, on the same cases",
        tag("p", note, class_="soft"),
        *parts,
        table("endpoints", head, map(_endpoint_row, report.endpoints)),
        *_grounds(report),
    )


def _grounds(report: ComparisonReport) -> Iterator[Markup]:
    """Each method and each reason of a margin once, with what it is about."""
    for item, whom in _grouped((item.method, item.metric) for item in report.endpoints):
        yield tag("p", f"{whom}: {item}.", class_="soft")
    reasons = (
        (f"{item.margin}: {item.margin_rationale}", item.cohort)
        for item in report.endpoints
        if item.margin is not None
    )
    for item, whom in _grouped(reasons):
        yield tag("p", f"Margin in {whom}, {item}.", class_="soft")


def _grouped(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Each first part once, with the second parts that it stands for."""
    found: dict[str, list[str]] = {}
    for first, second in pairs:
        known = found.setdefault(first, [])
        if second not in known:
            known.append(second)
    return [(first, ", ".join(seconds)) for first, seconds in found.items()]


def _forest_row(item: Endpoint) -> Row:
    who = "everybody" if item.cohort == WHOLE else item.cohort
    shown = "shown" if item.role == "secondary" else str(item.decision)
    return Row(
        name=f"{who}, vs {item.versus} ({item.patients}/{item.cases})",
        value=item.difference,
        limit=None if item.margin is None else -float(item.margin),
        mark=str(item.decision) if item.decides else "shown",
        words=shown,
        title=f"{item.id}: {item.why}",
    )


def _endpoint_row(item: Endpoint) -> list[Markup]:
    return [
        tag("th", item.id, scope="row"),
        tag("td", item.role, class_="word"),
        number(_bounds(item.difference)),
        number("-" if item.margin is None else item.margin),
        *map(number, (item.gained, item.lost, item.patients, item.cases)),
        _decision(item.decision, decides=item.decides, limited=item.margin is not None),
    ]


def _decision(decision: Decision, *, decides: bool, limited: bool = True) -> Markup:
    if decides:
        return tag("td", tag("span", str(decision), class_=_MARKS[decision]), class_="word")
    return tag("td", f"shown: {decision}" if limited else "shown", class_="word soft")


def _bounds(bounds: Bounds | None) -> str:
    if bounds is None:
        return "-"
    return f"{float(bounds.estimate):.4f} ({float(bounds.low):.4f} to {float(bounds.high):.4f})"


def _criteria(analysis: Analysis) -> Iterator[Markup]:
    asked = [item for item in analysis.criteria if item.population == "intention-to-diagnose"]
    if asked:
        head = names("criterion", "role", "#value", "limits", "#patients", "#cases", "decision")
        rows = [_criterion_row(item) for item in asked]
        yield section("criteria", "Further criteria of the protocol", table("criteria", head, rows))


def _criterion_row(item: Criterion) -> list[Markup]:
    return [
        tag("th", item.id, tag("p", item.method, class_="soft"), scope="row"),
        tag("td", item.role, class_="word"),
        number(_bounds(item.value)) if item.value is not None else tag("td", item.why),
        tag("td", _limits(item), tag("p", item.rationale, class_="soft")),
        number(item.patients),
        number(item.cases),
        _decision(
            item.decision,
            decides=item.decides,
            limited=item.at_least is not None or item.at_most is not None,
        ),
    ]


def _limits(item: Criterion) -> str:
    shown = [] if item.at_least is None else [f"above {item.at_least}"]
    shown += [] if item.at_most is None else [f"below {item.at_most}"]
    return " and ".join(shown) or "none"


def _arms(report: ComparisonReport) -> Markup:
    head = names("what", *(f"#{name}" for name, _ in _in_order(report.arms)))
    arms = [(arm, _analysed(report, name)) for name, arm in _in_order(report.arms)]
    rows: list[tuple[str, list[str]]] = [
        ("threshold", [arm.threshold for arm, _ in arms]),
        ("sensitivity, Wilson", [_bounds(arm.sensitivity) for arm, _ in arms]),
        ("specificity, Wilson", [_bounds(arm.specificity) for arm, _ in arms]),
        ("area under the ROC curve", [_bounds(arm.auc) for arm, _ in arms]),
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
            rows.append((what, [_bounds(getattr(found, member, None)) for _, found in arms]))
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


def _curves(report: ComparisonReport) -> Iterator[Markup]:
    curves = []
    for name in _ARMS:
        found, arm = _analysed(report, name), report.arms.get(name)
        if found is None or arm is None or not found.roc:
            continue
        works_at = (
            (1.0 - float(arm.specificity.estimate), float(arm.sensitivity.estimate))
            if arm.specificity is not None and arm.sensitivity is not None
            else None
        )
        area = "" if arm.auc is None else f"AUC {_bounds(arm.auc)}; "
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


def _calibration(analysis: Analysis) -> Iterator[Markup]:
    arms = [(name, analysis.arms[name]) for name in _ARMS if name in analysis.arms]
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
                    _bounds(one.slope), _bounds(one.in_the_large), one.brier, one.reliability,
                    one.resolution, one.uncertainty, one.ece,
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


def _alerts(analysis: Analysis) -> Iterator[Markup]:
    found = [(name, analysis.arms[name].alerts) for name in _ARMS if name in analysis.arms]
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
            number(_bounds(one.per_patient_day)),
            number(_bounds(one.actionable)),
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


def _durations(analysis: Analysis) -> Iterator[Markup]:
    for name, title, member in (
        ("latency", "Latency on the hardware", "latency"),
        ("time-to-decision", "Time to the decision", "time_to_decision"),
    ):
        ranges, cells, units = [], [], set()
        for arm in _ARMS:
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


def _repeats(analysis: Analysis) -> Iterator[Markup]:
    found = [(name, analysis.arms[name].repeatability) for name in _ARMS if name in analysis.arms]
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


def _undecided(report: ComparisonReport, analysis: Analysis) -> Markup:
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
    return tag("td", _bounds(value), " ", tag("span", str(decision), class_=mark))


def _chance(analysis: Analysis) -> Iterator[Markup]:
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


def _origin(report: ComparisonReport) -> Markup:
    rows = []
    for name in _ARMS:
        arm = report.arms.get(name)
        if arm is None:
            continue
        rows.append((f"{name}: predictions", f"sha256 {arm.predictions.sha256}"))
        if arm.release is not None:
            rows.append((f"{name}: release", f"sha256 {arm.release.sha256}"))
    rows.append(("computed by", report.software))
    return _facts("origin", "What it was made from", rows)
