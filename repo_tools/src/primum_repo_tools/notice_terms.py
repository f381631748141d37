"""What a safety notice says besides which release it is about: for whom, what, and until when.

Everything here narrows.  A scope makes a notice bear on fewer devices; a restriction leaves the
release in use and takes away the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from primum_repo_tools.settings import checked_settings
from primum_verifier.core.errors import UsageError
from primum_verifier.core.notice import FieldAction, NoticeScope, Restriction
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import EpisodeRule, NoticeAction, NoticeKind

EVERYWHERE = NoticeScope(mode="all")
_FIELD_ACTION_PARTS = 3


@dataclass(frozen=True, kw_only=True)
class NoticeTerms:
    """What a notice says, besides which release it is about.

    Attributes:
        kind: hold, restriction or withdrawal.
        action: what devices do.
        code: the reason in a code.
        reason: the reason in words.
        hazard_ref: the hazard it answers.
        user_notice: what the user of a device is told.
        scope: for whom.
        grace_seconds: how long a running device may go on.
        fallback_versions: versions to go back to, best first.
        explicit_downgrade: whether devices may go back to those below their floor.
        running_episode: what becomes of an episode that runs.
        max_use_seconds: how long a running episode may go on at most; None: no limit.
        restriction: what stays allowed.
        preserve_evidence: whether devices keep what they have recorded.
        look_back_from: from when on outputs are to be looked at again.
        field_action: the regulator's file about it.
        drill: whether it only exercises the way, on devices that take part.
    """

    kind: NoticeKind
    action: NoticeAction
    code: str
    reason: str
    hazard_ref: str
    user_notice: str
    scope: NoticeScope = EVERYWHERE
    grace_seconds: int = 0
    fallback_versions: tuple[str, ...] = ()
    explicit_downgrade: bool = False
    running_episode: EpisodeRule = EpisodeRule.FINISH_EPISODE
    max_use_seconds: int | None = None
    restriction: Restriction | None = None
    preserve_evidence: bool = False
    look_back_from: datetime | None = None
    field_action: FieldAction | None = None
    drill: bool = False


@dataclass(frozen=True, kw_only=True)
class Place:
    """Places and devices as they are named on the command line; empty: not narrowed by it."""

    jurisdictions: Sequence[str] = ()
    sites: Sequence[str] = ()
    site_groups: Sequence[str] = ()
    models: Sequence[str] = ()
    lots: Sequence[str] = ()
    serials: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """What stays allowed, as it is named on the command line; empty: not narrowed by it."""

    jurisdictions: Sequence[str] = ()
    sites: Sequence[str] = ()
    site_groups: Sequence[str] = ()
    care_settings: Sequence[str] = ()
    patient_categories: Sequence[str] = ()
    min_age: int | None = None
    max_age: int | None = None
    sex: str | None = None
    include: Sequence[str] = field(default=())
    exclude: Sequence[str] = field(default=())
    operating_point: str | None = None


def scope_of(place: Place) -> NoticeScope:
    """The scope that a place means; everywhere where it names nothing.

    Raises:
        UsageError: two ways of naming sites, or of naming devices, in one notice.
    """
    content: dict[str, object] = {"mode": "jurisdictions" if place.jurisdictions else "all"}
    if place.jurisdictions:
        content["jurisdictions"] = list(place.jurisdictions)
    if sites := _sites(place.sites, place.site_groups, options="--site and --site-group"):
        content["sites"] = sites
    named = {
        "model": place.models,
        "lot-numbers": place.lots,
        "serial-numbers": place.serials,
    }
    chosen = {how: list(values) for how, values in named.items() if values}
    if len(chosen) > 1:
        raise _twice("--model-number, --lot-number and --serial-number")
    for how, values in chosen.items():
        content["devices"] = {"scope": how, "values": values}
    return checked_settings(NoticeScope, content, where="--jurisdiction, --site, --model-number")


def restriction_of(allowed: Allowed) -> Restriction:
    """The restriction that leaves what is named.

    Raises:
        UsageError: nothing is named: that would restrict nothing.
    """
    members: dict[str, object] = {
        "jurisdictions": list(allowed.jurisdictions),
        "sites": _sites(
            allowed.sites, allowed.site_groups, options="--only-site and --only-site-group"
        ),
        "careSettings": list(allowed.care_settings),
        "patientCategories": list(allowed.patient_categories),
        "population": _population(allowed),
        "operatingPoint": allowed.operating_point,
    }
    content = {name: value for name, value in members.items() if value}
    if not content:
        raise UsageError(
            "A restriction says what stays allowed.",
            reason=Reason.USAGE,
            expected="at least one option --only-..., --min-age, --max-age or --operating-point",
            remedy="To take everything away: primum-repo withdraw --help",
        )
    return checked_settings(Restriction, content, where="--only-...")


def field_action_of(text: str) -> FieldAction:
    """Read ``AUTHORITY,NUMBER,TYPE``.

    Raises:
        UsageError: it is not of this form.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != _FIELD_ACTION_PARTS:
        raise UsageError(
            "This names no file of a regulator.",
            reason=Reason.USAGE,
            where="--field-action",
            found=text[:200],
            expected="AUTHORITY,NUMBER,TYPE, such as BfArM,2026-118,fsca",
        )
    content = dict(zip(("authority", "number", "type"), parts, strict=True))
    return checked_settings(FieldAction, content, where="--field-action")


def _population(allowed: Allowed) -> dict[str, object]:
    members: dict[str, object] = {
        "ageYearsMin": allowed.min_age,
        "ageYearsMax": allowed.max_age,
        "sex": allowed.sex,
        "include": [_coding(text) for text in allowed.include],
        "exclude": [_coding(text) for text in allowed.exclude],
    }
    said = {name: value for name, value in members.items() if value not in (None, [])}
    # A label that is printed already cannot be narrowed in a hurry: the application must ask.
    return {"enforce": "inference", **said} if said else {}


def _coding(text: str) -> dict[str, str]:
    system, bar, code = text.partition("|")
    if not bar:
        raise UsageError(
            "This names no clinical concept.",
            reason=Reason.USAGE,
            where="--include, --exclude",
            found=text[:200],
            expected="SYSTEM|CODE, such as http://snomed.info/sct|441509002",
        )
    return {"system": system, "code": code}


def _sites(sites: Sequence[str], groups: Sequence[str], *, options: str) -> dict[str, object]:
    if sites and groups:
        raise _twice(options)
    if sites:
        return {"mode": "list", "ids": list(sites)}
    return {"mode": "group", "ids": list(groups)} if groups else {}


def _twice(options: str) -> UsageError:
    return UsageError(
        "Two ways of naming the same thing stand in one notice.",
        reason=Reason.USAGE,
        where=options,
        expected="one of them",
        remedy="Publish a notice for each.",
    )
