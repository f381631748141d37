"""What an eligibility statement says: the terms that clinical wrote, about what the release holds.

Every digest is found, none is typed: of the manifest's own items, and of the files that the terms
name.  A statement that could name another file than the one that was read would prove nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

from primum_repo_tools.files import digest_of
from primum_repo_tools.peer_release import PeerRelease
from primum_repo_tools.releases import operating_point_of
from primum_repo_tools.terms import IntendedUseTerms, LabellingTerms, Terms
from primum_verifier.core.component import ItemKind
from primum_verifier.core.document import Document, sha256_hex
from primum_verifier.core.errors import UsageError
from primum_verifier.core.manifest import ReleaseManifest
from primum_verifier.core.reasons import Reason

_CONSTRAINTS = (
    "market",
    "software",
    "devices",
    "care_settings",
    "use_environments",
    "patient_categories",
    "population",
    "inputs",
    "user_roles",
)
_OTHER_PARTS = (
    "on_expiry",
    "on_withdrawal",
    "fail_safe",
    "product",
    "authorisations",
    "study",
    "conditions",
    "open_issues",
    "risk",
    "rollback_criteria",
)
"""The parts that stand in the statement as they stand in the terms."""


def predicate_of(
    terms: Terms,
    release: PeerRelease,
    *,
    intended_use: str,
    folder: Path,
    number: int,
    now: datetime,
) -> dict[str, object]:
    """The predicate of a statement, still without its evidence and the notices it answers.

    Args:
        terms: as clinical wrote them.
        release: as engineering published it.
        intended_use: the text itself.
        folder: the files that the terms name are relative to it.
        number: of the statement.
        now: the moment of drafting.

    Raises:
        UsageError: a file is missing, the release carries no instructions for use, or it makes
            no decision that could be approved; or it is to run in shadow and nothing signed says
            how it is counted there.
    """
    manifest = release.manifest
    _refuse_uncounted_shadow(terms, release)
    point = operating_point_of(release.specification, name=manifest.name)
    predicate: dict[str, object] = {
        "schemaVersion": "0.1",
        "id": uuid4().urn,
        "issuedAt": now.isoformat(),
        "statementNumber": number,
        "decision": terms.decision,
        "stage": terms.stage,
        "use": {
            "mode": terms.mode,
            "automation": terms.automation,
            **({} if terms.shadow_first is None else {"shadowFirst": _plain(terms.shadow_first)}),
        },
        "changeTier": terms.change_tier or manifest.change_tier,
        "intendedUse": _intended_use(terms.intended_use, intended_use),
        "constraints": {
            "jurisdictions": terms.jurisdictions,
            "hardware": [_plain(item) for item in terms.listed_hardware],
            "sites": _plain(terms.listed_sites),
            **_parts(terms, _CONSTRAINTS),
        },
        "operatingPoint": {
            "output": point.output,
            "threshold": point.threshold,
            "thresholdSet": _item(manifest, ItemKind.THRESHOLD_SET),
            "restricted": [_plain(item) for item in terms.restricted_operating_points],
        },
        # Valid from the moment that engineering proved with this release. A device proves time by
        # the older of both authorities' newest issue times, so "from now" would be "not yet" to it
        # until engineering happened to publish again; nothing is eligible before it is approved
        # and listed.
        "validity": {
            "notBefore": min(now, release.view.issued_at or now).isoformat(),
            "notAfter": (now + timedelta(days=terms.valid_days)).isoformat(),
            "maxIndexAgeHours": terms.max_index_age_hours,
            "offlineGraceHours": terms.offline_grace_hours,
            **_moment("reviewBy", terms.review_by),
        },
        "exposure": {
            "maxPercentage": terms.max_percentage,
            "minSoakHours": terms.min_soak_hours,
            **_moment("requiredBy", terms.required_by),
        },
        "ladder": [
            {
                "rung": item.rung,
                "protocol": _file(folder / item.protocol, f"protocol of the rung {item.rung}"),
                "report": _file(folder / item.report, f"report of the rung {item.rung}"),
                "result": item.result,
            }
            for item in terms.ladder
        ],
        "selfTest": _item(manifest, ItemKind.SELF_TEST_SPECIFICATION),
        "monitoringSpecification": _item(manifest, ItemKind.MONITORING_SPECIFICATION),
        **_parts(terms, _OTHER_PARTS),
    }
    if terms.labelling is not None:
        predicate["labelling"] = _labelling(terms.labelling, manifest)
    if manifest.previous is not None and manifest.original is not None:
        predicate["baselines"] = {
            "originalAuthorised": {"sha256": manifest.original.sha256},
            "lastModified": {"sha256": manifest.previous.sha256},
        }
    return predicate


def _refuse_uncounted_shadow(terms: Terms, release: PeerRelease) -> None:
    """A device runs nothing in shadow that it could not count: approvals of it would be in vain."""
    if terms.mode != "shadow" and terms.shadow_first is None:
        return
    if release.monitoring is None or release.monitoring.shadow is None:
        raise UsageError(
            "The release cannot be counted in shadow.",
            reason=Reason.USAGE,
            where=release.manifest.name,
            found="no monitoring specification"
            if release.monitoring is None
            else "a monitoring specification without bins of a shadow",
            expected="the member shadow in the monitoring specification of the release",
            remedy="Ask engineering for a version built with such a file under [files] in "
            "release.toml.",
        )


def _intended_use(terms: IntendedUseTerms, text: str) -> dict[str, object]:
    said = {name: value for name, value in _plain(terms).items() if name != "file"}
    return {**said, "digest": {"sha256": sha256_hex(text.encode())}, "text": text}


def _labelling(terms: LabellingTerms, manifest: ReleaseManifest) -> dict[str, object]:
    found = _item(manifest, ItemKind.INSTRUCTIONS_FOR_USE)
    if found is None:
        raise UsageError(
            "The release carries no instructions for use.",
            reason=Reason.USAGE,
            where=manifest.name,
            expected="what [labelling] is about: instructions for use, as an item of the release",
            remedy="Ask engineering for a version built with instructions under [files] in "
            "release.toml, or leave [labelling] out.",
        )
    return {**_plain(terms), "ifu": found}


def _parts(terms: Terms, names: tuple[str, ...]) -> dict[str, object]:
    content = _plain(terms)
    aliases = {name: Terms.model_fields[name].alias or name for name in names}
    return {alias: content[alias] for alias in aliases.values() if alias in content}


def _plain(part: Document) -> dict[str, object]:
    return part.model_dump(mode="json", by_alias=True, exclude_none=True)


def _moment(name: str, value: datetime | None) -> Mapping[str, object]:
    return {} if value is None else {name: value.isoformat()}


def _item(manifest: ReleaseManifest, kind: ItemKind) -> dict[str, str] | None:
    item = manifest.item_of_kind(kind)
    return None if item is None else {"sha256": item.digest.sha256}


def _file(path: Path, what: str) -> dict[str, str]:
    return {"sha256": digest_of(path, what=what)}
