"""A comparison as one page: what was decided first, then everything that it rests on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from primum_verifier.change.comparison_analysis import Analysis, Criterion
from primum_verifier.change.comparison_report import ComparisonReport, Endpoint
from primum_verifier.change.comparison_terms import WHOLE, Decision
from primum_verifier.shell.comparison_plots import (
    STYLE,
    Row,
    forest_plot,
)
from primum_verifier.shell.comparison_sections import (
    ARMS,
    alerts_sections,
    arms_section,
    bounds_told,
    calibration_sections,
    chance_sections,
    curves_sections,
    durations_sections,
    in_order,
    repeats_sections,
    undecided_section,
)
from primum_verifier.shell.markup import Markup, joined, tag
from primum_verifier.shell.page_parts import digest, names, number, page, section, table
from primum_verifier.shell.page_style import STYLE as PAGE_STYLE

_MARKS = {Decision.MET: "good", Decision.NOT_MET: "bad", Decision.NOT_EVALUABLE: "soft"}


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
    parts += [arms_section(report), *curves_sections(report)]
    if analysis is not None:
        parts += [
            *calibration_sections(analysis),
            *alerts_sections(analysis),
            *durations_sections(analysis),
            *repeats_sections(analysis),
            undecided_section(report, analysis),
            *chance_sections(analysis),
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
    for name, arm in in_order(report.arms):
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
        number(bounds_told(item.difference)),
        number("-" if item.margin is None else item.margin),
        *map(number, (item.gained, item.lost, item.patients, item.cases)),
        _decision(item.decision, decides=item.decides, limited=item.margin is not None),
    ]


def _decision(decision: Decision, *, decides: bool, limited: bool = True) -> Markup:
    if decides:
        return tag("td", tag("span", str(decision), class_=_MARKS[decision]), class_="word")
    return tag("td", f"shown: {decision}" if limited else "shown", class_="word soft")


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
        number(bounds_told(item.value)) if item.value is not None else tag("td", item.why),
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


def _origin(report: ComparisonReport) -> Markup:
    rows = []
    for name in ARMS:
        arm = report.arms.get(name)
        if arm is None:
            continue
        rows.append((f"{name}: predictions", f"sha256 {arm.predictions.sha256}"))
        if arm.release is not None:
            rows.append((f"{name}: release", f"sha256 {arm.release.sha256}"))
    rows.append(("computed by", report.software))
    return _facts("origin", "What it was made from", rows)
