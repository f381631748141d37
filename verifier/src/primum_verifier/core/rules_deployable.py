"""Is the release deployable on this device: genuine, fresh, fitting, not older, whole?"""

from __future__ import annotations

from datetime import timedelta

from primum_verifier.core.manifest import MANIFEST_ROLE, precedence, software_faults
from primum_verifier.core.question import ArtifactsFact
from primum_verifier.core.reasons import Reason
from primum_verifier.core.rules import (
    ALL_PHASES,
    GRANTING,
    MANIFEST,
    Case,
    Finding,
    Rule,
    either,
    problem,
    rule,
    told,
)
from primum_verifier.core.standing_notices import orders_the_way_back
from primum_verifier.core.view import AuthorityView
from primum_verifier.core.vocabulary import Phase

_ONLINE = ("timestamp", "snapshot")
_TOP_ROLES = ("root", *_ONLINE, "targets")


def is_fresh(view: AuthorityView, roles: tuple[str, ...], case: Case) -> Finding:
    """Every role of an authority that a grant rests on is unexpired.

    The two roles that are signed online end within days; what was fetched while they lasted may
    still be activated later, until one of the roles that people sign has ended. A device that
    is offline by design takes them from a medium for as long as its trust map allows.
    """
    now = case.latest
    allowance = timedelta(days=case.question.trust_map.offline_allowance_days)
    online = _ONLINE if case.question.phase == Phase.INSTALL else ()
    # Taken from now, not added to an end: an end may stand on the last day of the calendar.
    ended = [f"{role} missing" for role in ("root", *online, "targets") if role not in view.roles]
    ended += [
        f"{role} {told(state.expires)}"
        for role in ("root", *online, "targets", *roles)
        if (state := view.roles.get(role)) is not None
        and now is not None
        and state.expires <= now - (allowance if role in _ONLINE else timedelta(0))
    ]
    return Finding(
        holds=None if now is None else not ended,
        found=f"expired or missing: {', '.join(ended)}" if ended else f"unexpired at {told(now)}",
        expected="no expired role",
        reason=Reason.TRUST_TIME_UNKNOWN if now is None else Reason.TRUST_EXPIRED,
    )


@rule("trusted-views", Reason.TRUST_METADATA, source="trust map", clause="TUF 5.2-5.6")
def roots_are_pinned(case: Case) -> Finding:
    """The views hold every top role, so each was walked from its pinned root."""
    missing = [
        f"{view.authority} {role}"
        for view in (case.question.engineering, case.question.clinical)
        for role in _TOP_ROLES
        if role not in view.roles
    ]
    return Finding(
        not missing,
        f"missing: {', '.join(missing)}" if missing else "both authorities, all top roles",
        "a trusted view of both authorities",
    )


@rule(
    "newest-views",
    Reason.TRUST_METADATA,
    source="trust stores",
    clause="TUF 5.5.4, 5.6.4: no mix of old and new",
    phases=GRANTING,
)
def views_are_newest(case: Case) -> Finding:
    """Nothing newer is known of than what is judged by: a mirror that withholds grants nothing."""
    awaited = [
        f"{view.authority}: {view.awaited}"
        for view in (case.question.engineering, case.question.clinical)
        if view.awaited
    ]
    return Finding(
        not awaited,
        "; ".join(awaited) or "nothing newer is known",
        "all that the newest timestamp announces",
    )


@rule(
    "authorities-disjoint",
    Reason.TRUST_THRESHOLD,
    source="the roots of the authorities",
    clause="TAP 4; separation of duties",
)
def authorities_are_disjoint(case: Case) -> Finding:
    """One key in two authorities would let one theft count twice; people's keys are clinical's."""
    policy = case.reading.policy
    people = frozenset() if policy is None else {person.key.public for person in policy.people}
    clinical = case.question.clinical.public_keys | people
    shared = case.question.engineering.public_keys & clinical
    return Finding(not shared, f"{len(shared)} keys in both", "no key in both authorities")


@rule(
    "engineering-fresh",
    Reason.TRUST_EXPIRED,
    source="engineering metadata",
    clause="TUF 5.3.10, 5.4.4, 5.5.6, 5.6.5",
    phases=GRANTING,
)
def engineering_is_fresh(case: Case) -> Finding:
    """Engineering's roles are unexpired."""
    carrier = () if case.reading.manifest is None else (MANIFEST_ROLE,)
    return is_fresh(case.question.engineering, (*carrier, "rollout"), case)


@rule(
    "manifest-signed",
    Reason.TRUST_NOT_FOUND,
    source=MANIFEST,
    clause="TUF 5.6; IEC 62304 5.8.8",
)
def manifest_is_signed(case: Case) -> Finding:
    """The manifest stands in the engineering repository, signed by the role for models."""
    target, release = case.reading.manifest_target, case.question.release
    error = case.reading.problems.get(target)
    return Finding(
        case.reading.manifest is not None,
        problem(case.reading, target, "signed" if target else f"no manifest {release[:12]}"),
        "a release manifest signed at threshold by the role for models",
        reason=None if error is None else error.reason,
    )


@rule(
    "component",
    Reason.COMPAT_SOFTWARE,
    source=MANIFEST,
    clause="IEC 62304 8.1.1; Uptane: an image for one kind of unit only",
)
def component_is_served(case: Case) -> Finding:
    """It is a release of the component that this device was made to serve, and of no other."""
    found, expected = case.manifest.bundle.component, case.question.trust_map.component
    return Finding(found == expected, found, expected)


@rule(
    "hardware",
    Reason.COMPAT_HARDWARE,
    source=MANIFEST,
    clause="IEC 62304 8.1.2; Uptane hardware identifier",
)
def hardware_fits(case: Case) -> Finding:
    """The release was made for the hardware that is measured here."""
    listed, found = case.manifest.compatibility.hardware, case.question.hardware_id
    return Finding(found in listed, found, either(listed))


@rule("agent-version", Reason.COMPAT_SOFTWARE, source=MANIFEST, clause="IEC 62304 5.3.4")
def agent_is_new_enough(case: Case) -> Finding:
    """This agent understands the release."""
    wanted, found = case.manifest.compatibility.min_agent_version, case.question.agent_version
    return Finding(precedence(found) >= precedence(wanted), found, f"{wanted} or later")


@rule("software", Reason.COMPAT_SOFTWARE, source=MANIFEST, clause="IEC 62304 5.3.4, 8.1.2")
def software_fits(case: Case) -> Finding | str:
    """What the release needs runs on the device, and nothing that it cannot live with."""
    needs = case.manifest.compatibility
    if not needs.requires and not needs.conflicts:
        return "it needs nothing and conflicts with nothing"
    faults = software_faults(needs.requires, needs.conflicts, case.question.installed)
    return Finding(not faults, faults or "all there", "what it requires, and no conflict")


@rule("components", Reason.COMPAT_INSTALLER, source=MANIFEST, clause="IEC 62304 5.3.4, 8.1.2")
def components_are_taken(case: Case) -> Finding | str:
    """The device has the installer that each component of the set is meant for."""
    components, here = case.manifest.components, case.question.installers
    if not components:
        return "a release of a model alone"
    wrong = [
        f"{item.id}: {here.get(item.id, 'none')}"
        for item in components
        if here.get(item.id) != item.installer
    ]
    expected = ", ".join(f"{item.id}: {item.installer}" for item in components)
    return Finding(not wrong, ", ".join(wrong) or expected, expected)


@rule(
    "release-counter",
    Reason.TRUST_ROLLBACK,
    source=MANIFEST,
    clause="downgrade protection; IEC 62304 8.2.1",
)
def counter_is_not_lower(case: Case) -> Finding:
    """The release is not older than what this device may still take, unless a notice orders it."""
    counter, floor = case.manifest.bundle.release_counter, case.question.counter_floor
    if counter < floor and case.question.phase == Phase.FALL_BACK:
        # Below the floor only a notice that names this very digest leads back.
        expected = f"{floor} or higher, or a notice in force that orders the way back to it"
        return Finding(orders_the_way_back(case), str(counter), expected)
    return Finding(counter >= floor, str(counter), f"{floor} or higher")


@rule(
    "artifacts",
    Reason.ARTIFACT_DIGEST,
    source=MANIFEST,
    clause="IEC 62304 5.8.8; IEC 81001-5-1 5.8.3",
    phases=ALL_PHASES,
)
def artifacts_are_whole(case: Case) -> Finding | str:
    """The files are those that the manifest names, byte for byte."""
    found = case.question.artifacts
    if found == ArtifactsFact.NOT_FETCHED:
        return "not fetched yet"
    return Finding(found == ArtifactsFact.WHOLE, str(found), "every file has its signed digest")


DEPLOYABLE: tuple[Rule, ...] = (
    roots_are_pinned,
    views_are_newest,
    authorities_are_disjoint,
    engineering_is_fresh,
    manifest_is_signed,
    component_is_served,
    hardware_fits,
    agent_is_new_enough,
    software_fits,
    components_are_taken,
    counter_is_not_lower,
    artifacts_are_whole,
)
"""Every rule of deployability, in the order in which a refusal is explained."""
