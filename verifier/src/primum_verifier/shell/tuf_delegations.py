"""Who may say something about a target: the walk of TUF 5.6.7, with the delegations allowed here.

The top role delegates to named roles, by name or by hash bins of its own.  A delegated role may
spread its own targets over hash bins (TUF succinct roles, TAP 15) named after itself:
``model`` over ``model-00`` to ``model-ff``.  What a bin carries counts as carried by its role,
because the role itself signs which keys sign its bins.  Any other delegation below the top role is
refused: a role could put metadata of its own under another role's name with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tuf.api.metadata import Delegations, Targets

from primum_verifier.core.errors import RefusedError
from primum_verifier.core.limits import MAX_DELEGATED_ROLES
from primum_verifier.core.reasons import Reason

TOP = Targets.type


@dataclass(frozen=True)
class Visited:
    """One role on the way to a target.

    Attributes:
        role: the role that was asked.
        carrier: the role that counts as saying what it says: itself, or the role of the bin.
        parent: the role that delegates to it; empty for the top role.
        targets: what it says; None when its metadata is not there.
    """

    role: str
    carrier: str
    parent: str
    targets: Targets | None


def walk(name: str, load: Callable[[str], Targets | None]) -> Iterator[Visited]:
    """The roles to ask for a target, in the order of trust; the first that lists it is right.

    Args:
        name: the target.
        load: gives the metadata of a role.
    """
    waiting = [(TOP, "")]
    seen = set[str]()
    while waiting:
        role, parent = waiting.pop()
        if role in seen:
            continue
        seen.add(role)
        targets = load(role)
        # A bin hangs below the role that it is named after, and only then speaks for it.
        bin_of_parent = parent not in {"", TOP}
        yield Visited(role, parent if bin_of_parent else role, parent, targets)
        if targets is None or targets.delegations is None:
            continue
        children = []
        for child, terminating in targets.delegations.get_roles_for_target(name):
            children.append((child, role))
            if terminating:
                waiting = []
                break
        waiting.extend(reversed(children))


def bounded(visits: Iterator[Visited], *, where: str) -> Iterator[Visited]:
    """The walk, with an honest end: ``tuf`` stops in silence after so many roles.

    Raises:
        RefusedError: ``trust.limit``.
    """
    for number, visit in enumerate(visits):
        if number > MAX_DELEGATED_ROLES or visit.targets is None:
            raise RefusedError(
                "More delegated roles would have to be asked than is allowed.",
                reason=Reason.TRUST_LIMIT,
                where=where,
                found=f"more than {MAX_DELEGATED_ROLES} roles",
                expected=f"at most {MAX_DELEGATED_ROLES} roles",
                remedy="Name fewer delegations for this path, or use hash bins.",
            )
        yield visit


def is_bin_of(role: str, parent: str, delegations: Delegations) -> bool:
    """Whether a role is one of the bins that its parent spreads its targets over."""
    bins = delegations.succinct_roles
    return bins is not None and bins.name_prefix == parent and bins.is_delegated_role(role)


def check_delegations(authority: str, roles: Mapping[str, Targets]) -> None:
    """Below the top role only bins, and no bin under a name that is taken.

    Args:
        authority: for the error.
        roles: each role that lists targets and was verified, with what it says.

    Raises:
        RefusedError: ``trust.metadata``.
    """
    top = roles.get(TOP)
    named = set[str]()
    if top is not None and top.delegations is not None:
        named = set(top.delegations.roles or ())
    for role, targets in roles.items():
        delegations = targets.delegations
        if role == TOP or delegations is None:
            continue
        bins = delegations.succinct_roles
        if role not in named or bins is None or bins.name_prefix != role:
            raise _refused(
                authority,
                role,
                found="delegations" if bins is None else f"hash bins named {bins.name_prefix}",
                expected="targets only, or hash bins named after the role; the top role delegates",
            )
        if clash := sorted(name for name in named if bins.is_delegated_role(name)):
            raise _refused(
                authority,
                role,
                found=f"a bin and a role are both named {clash[0]}",
                expected="names of bins that no other role has",
            )


def _refused(authority: str, role: str, *, found: str, expected: str) -> RefusedError:
    return RefusedError(
        "A delegated role delegates in a way that is not allowed.",
        reason=Reason.TRUST_METADATA,
        where=f"{authority}: {role}",
        found=found,
        expected=expected,
        remedy="The publisher must change the delegation.",
    )
