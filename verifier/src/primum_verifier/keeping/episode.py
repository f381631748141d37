"""May the release serve this patient, now? The small question an application asks per episode.

Some restrictions cannot be held when a release is activated: the device does not know yet who
will wear it.  The verdict hands them on as *terms*, plain JSON that the agent writes where the
application reads it; this module answers from the terms and from what the application knows of
the episode.  What it does not know is never a yes.

Standard library only: an application imports this module.

The terms::

    {"mode": "clinical" | "shadow" | "investigational",
     "protocol": the study's, in investigational use,
     "banner": what the user is told meanwhile; empty when there is nothing,
     "notAfter": RFC 3339, "onExpiry": what the statement orders then,
     "layers": [what the statement asks, then what each restriction in force asks besides]}

A layer holds any of ``patientCategories``, ``ageYearsMin``, ``ageYearsMax``, ``sex``,
``include`` and ``exclude`` (codes), ``inputs`` and ``conditions``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from primum_verifier.core.reasons import Reason

_MODES = frozenset({"clinical", "investigational"})
_GOES_ON = frozenset({"notify-only", "continue-with-notice"})
_LAYER = frozenset(
    {
        "patientCategories",
        "ageYearsMin",
        "ageYearsMax",
        "sex",
        "include",
        "exclude",
        "inputs",
        "conditions",
    }
)


class Answer(StrEnum):
    """What the application may do in this episode."""

    ALLOW = "allow"
    ALLOW_WITH_BANNER = "allow-with-banner"
    REFUSE = "refuse"


@dataclass(frozen=True, kw_only=True)
class Episode:
    """What the application knows of the episode; None is "not known".

    Attributes:
        age_years: the patient's age in whole years.
        sex: ``female`` or ``male``.
        patient_category: ``adult``, ``paediatric`` or ``neonatal``.
        codes: the clinical codes that are known to apply, as ``system|code``.
        inputs: for each channel there is, its code, unit and rate in hertz.
        conditions_met: the codes of the conditions of use that hold.
    """

    age_years: int | None = None
    sex: str | None = None
    patient_category: str | None = None
    codes: frozenset[str] | None = None
    inputs: Mapping[str, tuple[str, str, float]] | None = None
    conditions_met: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Permission:
    """The answer, and what explains it.

    Attributes:
        answer: allow, allow with a banner, or refuse.
        reason: the reason code of a refusal; None otherwise.
        found: what was found, for a person.
        banner: what the user is told while the release is used.
    """

    answer: Answer
    reason: Reason | None
    found: str
    banner: str

    def __bool__(self) -> bool:
        return self.answer is not Answer.REFUSE


def may_use(terms: Mapping[str, Any], episode: Episode, *, now: datetime | None) -> Permission:
    """Answer for one episode.

    Args:
        terms: as the verdict gives them and ``standing.json`` holds them.
        episode: what the application knows.
        now: the time by which the statement's own end is applied; None where an agent runs,
            which judges expiry by proven time and takes away itself.
    """
    try:
        refusal = next(_refusals(terms, episode, now), None)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        # Terms that cannot be read permit nothing.
        refusal = (Reason.STATE_DAMAGED, "the terms of use cannot be read")
    if refusal is not None:
        return Permission(Answer.REFUSE, refusal[0], refusal[1], "")
    banner = str(terms["banner"])
    if now is not None and now >= datetime.fromisoformat(terms["notAfter"]):
        banner = f"{banner} The eligibility of this function has ended.".strip()
    answer = Answer.ALLOW_WITH_BANNER if banner else Answer.ALLOW
    return Permission(answer, None, "every term of use is met", banner)


def _refusals(
    terms: Mapping[str, Any], episode: Episode, now: datetime | None
) -> Iterator[tuple[Reason, str]]:
    if terms["mode"] not in _MODES:
        yield Reason.ELIGIBILITY_MODE, f"its outputs are never shown in the mode {terms['mode']}"
    ends = datetime.fromisoformat(terms["notAfter"])
    if terms["onExpiry"] not in _GOES_ON and now is not None and now >= ends:
        yield Reason.ELIGIBILITY_EXPIRED, f"ended {terms['notAfter']}"
    _ = terms["banner"]
    for layer in terms["layers"]:
        if unknown := set(layer) - _LAYER:
            yield Reason.ELIGIBILITY_CRIT_UNKNOWN, f"unknown terms: {', '.join(sorted(unknown))}"
        yield from _of_patient(layer, episode)
        yield from _of_inputs(layer.get("inputs", ()), episode)
        for condition in layer.get("conditions", ()):
            if condition["code"] not in episode.conditions_met:
                yield Reason.ELIGIBILITY_CONDITION, f"not met: {condition['text']}"


def _of_patient(layer: Mapping[str, Any], episode: Episode) -> Iterator[tuple[Reason, str]]:
    least, most = layer.get("ageYearsMin"), layer.get("ageYearsMax")
    age = episode.age_years
    allowed = layer.get("patientCategories")
    found = [
        (
            allowed is None or episode.patient_category in allowed,
            "category",
            episode.patient_category,
        ),
        (least is None or (age is not None and age >= least), "age", age),
        (most is None or (age is not None and age <= most), "age", age),
        (layer.get("sex") in {None, episode.sex}, "sex", episode.sex),
        (_has_codes(layer, episode), "indications", "outside, or not known"),
    ]
    for holds, what, value in found:
        if not holds:
            yield (
                Reason.ELIGIBILITY_POPULATION,
                f"{what}: {'not known' if value is None else value}",
            )


def _has_codes(layer: Mapping[str, Any], episode: Episode) -> bool:
    """Every code that must apply does, and none that must not; what is not known does neither."""
    include, exclude = set(layer.get("include", ())), set(layer.get("exclude", ()))
    if not include and not exclude:
        return True
    known = episode.codes
    return known is not None and include <= known and exclude.isdisjoint(known)


def _of_inputs(
    wanted: Sequence[Mapping[str, Any]], episode: Episode
) -> Iterator[tuple[Reason, str]]:
    there = episode.inputs or {}
    for item in wanted:
        expected = (item["code"], item["unit"], float(item["rateHz"]))
        if there.get(item["channel"]) != expected:
            yield Reason.COMPAT_CONTRACT, f"input {item['channel']}: not as validated, or not there"
