"""The terms of use that a verdict hands to the application, for what is known at each episode.

They are plain JSON, in the form that :mod:`~primum_verifier.keeping.episode` answers from.
"""

from __future__ import annotations

from collections.abc import Mapping

from primum_verifier.core.eligibility import Eligibility, Population
from primum_verifier.core.question import Order
from primum_verifier.core.rules import Case, told
from primum_verifier.core.standing_notices import notices_in_force, restrictions
from primum_verifier.core.vocabulary import Enforcement, PatientCategory


def terms_of_use(case: Case, order: Order | None) -> dict[str, object]:
    """The terms of a release; empty where there is no statement to take them from."""
    statement = case.reading.statement
    if statement is None:
        return {}
    said = statement.predicate
    context = case.reading.context
    fixed = None if context is None else context.placement.patient_category
    layers = [_of_statement(said, fixed=fixed)]
    layers += [
        {
            **_of_population(item.population),
            **_of_categories(item.patient_categories, fixed=fixed),
        }
        for item in restrictions(case)
    ]
    return {
        "mode": said.use.mode,
        "protocol": None if said.study is None else said.study.protocol_id,
        "banner": _banner(case, said, order),
        "notAfter": told(said.validity.not_after),
        "onExpiry": str(said.on_expiry.action),
        "layers": [layer for layer in layers if layer],
    }


def _banner(case: Case, said: Eligibility, order: Order | None) -> str:
    texts = [] if said.study is None else [f"{said.use.mode} use, study {said.study.protocol_id}"]
    texts += [notice.statement.predicate.user_notice for notice in notices_in_force(case)]
    texts += [] if order is None else [order.user_notice]
    return " ".join(dict.fromkeys(filter(None, texts)))


def _of_statement(said: Eligibility, *, fixed: PatientCategory | None) -> Mapping[str, object]:
    constraints = said.constraints
    layer: dict[str, object] = dict(_of_population(constraints.population))
    layer.update(_of_categories(constraints.patient_categories, fixed=fixed))
    if constraints.inputs:
        layer["inputs"] = [
            {"channel": item.channel, "code": item.code, "unit": item.unit, "rateHz": item.rate_hz}
            for item in constraints.inputs
        ]
    asked = [item for item in said.conditions if item.enforce == Enforcement.INFERENCE]
    if asked:
        layer["conditions"] = [{"code": item.code, "text": item.text} for item in asked]
    return layer


def _of_categories(
    categories: tuple[PatientCategory, ...] | None, *, fixed: PatientCategory | None
) -> Mapping[str, object]:
    """The categories to ask for; a device with one fixed mode was judged by it already."""
    if categories is None or fixed is not None:
        return {}
    return {"patientCategories": [str(item) for item in categories]}


def _of_population(population: Population | None) -> Mapping[str, object]:
    """What can be held at each episode; what stands on the label only is the reader's."""
    if population is None or population.enforce != Enforcement.INFERENCE:
        return {}
    members: dict[str, object] = {
        "ageYearsMin": population.age_years_min,
        "ageYearsMax": population.age_years_max,
        "sex": population.sex,
        "include": [f"{item.system}|{item.code}" for item in population.include],
        "exclude": [f"{item.system}|{item.code}" for item in population.exclude],
    }
    return {name: value for name, value in members.items() if value not in (None, [])}
