"""Is the release deployable on this device: genuine, fresh, fitting, not older, whole?"""

from __future__ import annotations

from primum_verifier.core.question import ArtifactsFact, Check, Question
from primum_verifier.core.reading import Reading
from primum_verifier.core.reasons import Reason
from primum_verifier.core.rules import Rule, checked, latest, not_applicable, problem, told
from primum_verifier.core.view import AuthorityView
from primum_verifier.core.vocabulary import Phase

_FRESH_ROLES = ("timestamp", "snapshot", "targets", "model", "rollout")
_SOURCE_MANIFEST = "release manifest"


def roots_are_pinned(question: Question, _: Reading) -> Check:
    """The views hold every top role, so each was walked from its pinned root."""
    missing = [
        f"{view.authority} {role}"
        for view in (question.engineering, question.clinical)
        for role in ("root", "timestamp", "snapshot", "targets")
        if role not in view.roles
    ]
    return checked(
        "trusted-views",
        holds=not missing,
        reason=Reason.TRUST_METADATA,
        found=f"missing: {', '.join(missing)}" if missing else "both authorities, all top roles",
        expected="a trusted view of both authorities",
        source="trust map",
        clause="TUF 5.2-5.6",
    )


def views_are_newest(question: Question, _: Reading) -> Check:
    """Nothing newer is known of than what is judged by: a mirror that withholds grants nothing."""
    name, clause = "newest-views", "TUF 5.5.4, 5.6.4: no mix of old and new"
    if question.phase != Phase.INSTALL:
        return not_applicable(
            name, why="what is known is enough to go back", source="trust stores", clause=clause
        )
    awaited = [
        f"{view.authority}: {view.awaited}"
        for view in (question.engineering, question.clinical)
        if view.awaited
    ]
    return checked(
        name,
        holds=not awaited,
        reason=Reason.TRUST_METADATA,
        found="; ".join(awaited) or "nothing newer is known",
        expected="all that the newest timestamp announces",
        source="trust stores",
        clause=clause,
    )


def authorities_are_disjoint(question: Question, _: Reading) -> Check:
    """One key in both authorities would let one theft count twice."""
    shared = question.engineering.public_keys & question.clinical.public_keys
    return checked(
        "authorities-disjoint",
        holds=not shared,
        reason=Reason.TRUST_THRESHOLD,
        found=f"{len(shared)} keys in both",
        expected="no key in both authorities",
        source="engineering and clinical root",
        clause="TAP 4; separation of duties",
    )


def view_is_fresh(view: AuthorityView, roles: tuple[str, ...], question: Question) -> Check:
    """Every role of an authority that a grant rests on is unexpired."""
    name = f"{view.authority}-fresh"
    clause = "TUF 5.3.10, 5.4.4, 5.5.6, 5.6.5"
    source = f"{view.authority} metadata"
    if question.phase != Phase.INSTALL:
        return not_applicable(
            name, why="expiry ends new grants, not what runs", source=source, clause=clause
        )
    now = latest(question)
    states = [(role, view.roles.get(role)) for role in ("root", *roles)]
    ended = [
        f"{role} {told(state.expires)}"
        for role, state in states
        if state is not None and now is not None and state.expires <= now
    ]
    return checked(
        name,
        holds=None if now is None else not ended,
        reason=Reason.TRUST_TIME_UNKNOWN if now is None else Reason.TRUST_EXPIRED,
        found=f"expired: {', '.join(ended)}" if ended else f"unexpired at {told(now)}",
        expected="no expired role",
        source=source,
        clause=clause,
    )


def engineering_is_fresh(question: Question, _: Reading) -> Check:
    """Engineering's roles are unexpired."""
    return view_is_fresh(question.engineering, _FRESH_ROLES, question)


def manifest_is_signed(question: Question, reading: Reading) -> Check:
    """The manifest stands in the engineering repository, signed by its role for models."""
    if reading.manifest_target:
        found = problem(reading, reading.manifest_target, "signed")
    else:
        found = f"no manifest {question.release[:12]} signed by the role model"
    return checked(
        "manifest-signed",
        holds=reading.manifest is not None,
        reason=Reason.DOCUMENT_INVALID if reading.manifest_target else Reason.TRUST_NOT_FOUND,
        found=found,
        expected="a release manifest signed at threshold",
        source=_SOURCE_MANIFEST,
        clause="TUF 5.6; IEC 62304 5.8.8",
    )


def hardware_fits(question: Question, reading: Reading) -> Check:
    """The release was made for the hardware that is measured here."""
    listed = () if reading.manifest is None else reading.manifest.compatibility.hardware
    return checked(
        "hardware",
        holds=None if reading.manifest is None else question.hardware_id in listed,
        reason=Reason.COMPAT_HARDWARE,
        found=question.hardware_id,
        expected=" or ".join(listed) or "a manifest that names hardware",
        source=_SOURCE_MANIFEST,
        clause="IEC 62304 8.1.2; Uptane hardware identifier",
    )


def agent_is_new_enough(question: Question, reading: Reading) -> Check:
    """This agent understands the release."""
    wanted = None if reading.manifest is None else reading.manifest.compatibility.min_agent_version
    holds = None if wanted is None else _order(question.agent_version) >= _order(wanted)
    return checked(
        "agent-version",
        holds=holds,
        reason=Reason.COMPAT_SOFTWARE,
        found=question.agent_version,
        expected=f"{wanted or 'unknown'} or later",
        source=_SOURCE_MANIFEST,
        clause="IEC 62304 5.3.4",
    )


def _order(version: str) -> tuple[int, int, int, bool]:
    """The precedence of a version, as far as Semantic Versioning 2.0.0 11 orders releases."""
    core, dash, _ = version.partition("+")[0].partition("-")
    major, minor, patch = (int(part) for part in core.split("."))
    return major, minor, patch, not dash


def counter_is_not_lower(question: Question, reading: Reading) -> Check:
    """The release is not older than what this device may still take."""
    counter = None if reading.manifest is None else reading.manifest.bundle.release_counter
    name, clause = "release-counter", "downgrade protection; 62304 8.2.1"
    if question.phase == Phase.CONTINUE:
        return not_applicable(name, why="it runs already", source=_SOURCE_MANIFEST, clause=clause)
    return checked(
        name,
        holds=None if counter is None else counter >= question.counter_floor,
        reason=Reason.TRUST_ROLLBACK,
        found=str(counter or "unknown"),
        expected=f"{question.counter_floor} or higher",
        source=_SOURCE_MANIFEST,
        clause=clause,
    )


def artifacts_are_whole(question: Question, _: Reading) -> Check:
    """The files are those that the manifest names, byte for byte."""
    name, clause = "artifacts", "IEC 62304 5.8.8; 81001-5-1 5.8.3"
    if question.artifacts == ArtifactsFact.NOT_FETCHED:
        return not_applicable(name, why="not fetched yet", source=_SOURCE_MANIFEST, clause=clause)
    return checked(
        name,
        holds=question.artifacts == ArtifactsFact.WHOLE,
        reason=Reason.ARTIFACT_DIGEST,
        found=str(question.artifacts),
        expected="every file has its signed digest",
        source=_SOURCE_MANIFEST,
        clause=clause,
    )


DEPLOYABLE: tuple[Rule, ...] = (
    roots_are_pinned,
    views_are_newest,
    authorities_are_disjoint,
    engineering_is_fresh,
    manifest_is_signed,
    hardware_fits,
    agent_is_new_enough,
    counter_is_not_lower,
    artifacts_are_whole,
)
"""Every rule of deployability, in the order in which a refusal is explained."""
