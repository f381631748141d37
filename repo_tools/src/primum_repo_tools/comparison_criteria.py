"""The further criteria of a protocol, each answered with its interval, its counts and its why."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from primum_repo_tools.comparison_cases import Arms, bounds, draws_of, units_of
from primum_repo_tools.comparison_measures import METHODS, Asked, measure
from primum_repo_tools.protocol import CriterionProtocol, Measured, Protocol
from primum_repo_tools.statistics.interval import Interval
from primum_verifier.change.comparison_analysis import Criterion
from primum_verifier.change.comparison_terms import WHOLE, Decision

_OF_POSITIVES = frozenset(
    {Measured.SENSITIVITY, Measured.SENSITIVITY_AT, Measured.TIME_TO_DECISION}
)
_OF_NEGATIVES = frozenset({Measured.SPECIFICITY})


def answered(
    arms: Arms, protocol: Protocol, *, told: Callable[[str], None] = lambda _: None
) -> Iterator[Criterion]:
    """Every further criterion of the protocol, answered.

    Args:
        arms: candidate, last and original over the same cases.
        protocol: the frozen protocol.
        told: is told which one is at work.
    """
    unit = units_of(arms["candidate"].predictions, protocol)
    for item in protocol.criteria:
        told(item.id)
        asked = Asked(
            arm=arms["candidate"],
            beside=None if item.versus is None else arms[item.versus],
            unit=unit,
            draws=draws_of(protocol),
            parameter=float(item.parameter or 0.0),
            protocol=protocol,
        )
        yield _answer(item, measure(item.measure, asked), arms, protocol)


def _answer(
    item: CriterionProtocol, interval: Interval | None, arms: Arms, protocol: Protocol
) -> Criterion:
    reference = arms["candidate"].predictions
    cases = np.ones(len(reference.label), dtype=np.bool_)
    if item.measure in _OF_POSITIVES:
        cases = reference.label
    if item.measure in _OF_NEGATIVES:
        cases = ~reference.label
    patients, count = len(np.unique(reference.patient[cases])), int(cases.sum())
    enough = patients >= protocol.minimum.patients and count >= protocol.minimum.cases
    decision, why = _decide(item, interval if enough else None)
    if not enough:
        why = (
            f"{patients} patients and {count} cases, where {protocol.minimum.patients} and "
            f"{protocol.minimum.cases} are needed"
        )
    return Criterion(
        id=f"{item.id} in {WHOLE}",
        metric=item.measure,
        versus=item.versus,
        cohort=WHOLE,
        role="co-primary" if item.decides else "secondary",
        method=METHODS.get(item.measure, "cluster bootstrap") + f", {protocol.interval}",
        at_least=item.at_least,
        at_most=item.at_most,
        rationale=item.rationale,
        value=bounds(interval),
        patients=patients,
        cases=count,
        decision=decision,
        why=why,
    )


def _decide(item: CriterionProtocol, interval: Interval | None) -> tuple[Decision, str]:
    if interval is None:
        return Decision.NOT_EVALUABLE, "the predictions do not hold what it takes, or too little"
    shown = f"{interval.estimate:.4f} ({interval.low:.4f} to {interval.high:.4f})"
    if item.at_least is None and item.at_most is None:
        return Decision.NOT_EVALUABLE, f"{shown}, shown: no limit is set on it"
    if item.at_least is not None and not interval.low > float(item.at_least):
        return Decision.NOT_MET, f"{shown}, lower bound not above {item.at_least}"
    if item.at_most is not None and not interval.high < float(item.at_most):
        return Decision.NOT_MET, f"{shown}, upper bound not below {item.at_most}"
    limits = [
        words
        for words, limit in (
            (f"above {item.at_least}", item.at_least),
            (f"below {item.at_most}", item.at_most),
        )
        if limit is not None
    ]
    return Decision.MET, f"{shown}, {' and '.join(limits)}"
