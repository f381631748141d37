"""The settings of one workbench, ``workbench.toml``: roles, keys by address, thresholds, lives.

The file is made by ``primum-repo init`` with the defaults below, meant to be read and edited by
people before ``authority create`` turns it into signed metadata.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from primum_verifier.core.approval import Requirement
from primum_verifier.core.document import Count, Document, SchemaVersion, Slug, Text
from primum_verifier.core.eligibility import ELIGIBILITY_ROLE, OpenIssues
from primum_verifier.core.manifest import MANIFEST_ROLE
from primum_verifier.core.notice import SAFETY_ROLE

AuthorityName = Literal["engineering", "clinical", "site"]
"""The two that a manufacturer keeps, and a responsible organisation, which can only narrow."""

ROLLOUT_ROLE = "rollout"
TOP_ROLES = ("root", "targets", "snapshot", "timestamp")
ONLINE_ROLES = frozenset({"snapshot", "timestamp"})
MANIFEST_PATHS = "releases/*/*/manifest.json"
DELTA_LIST_PATHS = "releases/*/*/deltas.json"
DELEGATED_PATHS: dict[AuthorityName, dict[str, tuple[str, ...]]] = {
    "engineering": {
        MANIFEST_ROLE: (MANIFEST_PATHS, DELTA_LIST_PATHS),
        ROLLOUT_ROLE: ("rollout/plan.json",),
    },
    "clinical": {
        ELIGIBILITY_ROLE: (
            "eligibility/index.json",
            "eligibility/*/statement.json",
            "eligibility/*/approvals.jsonl",
        ),
        SAFETY_ROLE: ("safety/notices.jsonl",),
    },
    "site": {},
}
"""What each delegated role may say; ``*`` stops at a slash (TUF 4.5)."""

KeyAddress = Annotated[str, StringConstraints(max_length=400, pattern=r"^file:[A-Za-z0-9._/-]+$")]
"""Where a private key is: ``file:`` and a path relative to the workbench."""


class RoleSettings(Document):
    """One role: the addresses of its keys, how many must sign, how long a signature counts."""

    keys: tuple[KeyAddress, ...] = Field(min_length=1, max_length=16)
    threshold: Annotated[int, Field(ge=1, le=16)]
    life_days: Annotated[int, Field(ge=1, le=3660)]

    @model_validator(mode="after")
    def _threshold_can_be_met(self) -> RoleSettings:
        if len(set(self.keys)) != len(self.keys):
            raise ValueError("one key address stands twice in a role")
        if self.threshold > len(self.keys):
            raise ValueError("the threshold is above the number of keys")
        return self


class ProvisioningSettings(Document):
    """How many provisioning keys must sign the context of a device."""

    threshold: Annotated[int, Field(ge=2, le=10)]


class SiteSettings(Document):
    """Which organisation this is, and for which of its sites it speaks."""

    organisation: Text
    sites: tuple[Slug, ...] = Field(min_length=1, max_length=1000)


class PolicySettings(Document):
    """Whose approvals each stage needs, what it needs besides, and who signs a notice.

    A requirement is for all tiers of change, or for those that it lists.
    """

    functions_to_hold: Annotated[int, Field(ge=1, le=6)]
    functions_to_take_away: Annotated[int, Field(ge=2, le=6)]
    requirements: tuple[Requirement, ...] = Field(min_length=1, max_length=30)
    min_statement_number: Count = 0
    open_issues: OpenIssues | None = None


class WorkbenchSettings(Document):
    """The whole of ``workbench.toml``.

    ``peer`` is the folder of the other authority's web root, for a site that of clinical; it is
    only ever read.
    """

    schema_version: SchemaVersion
    authority: AuthorityName
    title: Text
    peer: Annotated[str, StringConstraints(max_length=400)] = ""
    roles: dict[str, RoleSettings]
    provisioning: ProvisioningSettings | None = None
    policy: PolicySettings | None = None
    site: SiteSettings | None = None

    @model_validator(mode="after")
    def _roles_are_the_authority_s(self) -> WorkbenchSettings:
        expected = {*TOP_ROLES, *DELEGATED_PATHS[self.authority]}
        if set(self.roles) != expected:
            raise ValueError(f"the roles are not {', '.join(sorted(expected))}")
        users: dict[str, str] = {}
        for role, settings in self.roles.items():
            group = "online" if role in ONLINE_ROLES else role
            for key in settings.keys:
                if users.setdefault(key, group) != group:
                    raise ValueError(f"{key} serves two roles: one key, one role")
        for table, stands, wanted in (
            ("policy", self.policy is not None, self.authority == "clinical"),
            ("site", self.site is not None, self.authority == "site"),
            ("provisioning", self.provisioning is not None, self.authority != "site"),
        ):
            if stands != wanted:
                there = "belongs in" if wanted else "has no place in"
                raise ValueError(f"[{table}] {there} a workbench of {self.authority}")
        return self


def _role_lines(role: str, keys: tuple[str, ...], threshold: int, life_days: int) -> str:
    addresses = ", ".join(f'"file:keys/{key}.pem"' for key in keys)
    return (
        f"\n[roles.{role}]\nkeys = [{addresses}]\n"
        f"threshold = {threshold}\nlife_days = {life_days}\n"
    )


_ROLES: dict[AuthorityName, tuple[tuple[str, tuple[str, ...], int, int], ...]] = {
    "engineering": (
        ("root", ("root-1", "root-2", "root-3"), 2, 365),
        ("targets", ("targets-1", "targets-2"), 2, 180),
        ("model", ("model-1", "model-2"), 2, 90),
        ("rollout", ("rollout-1",), 1, 90),
        ("snapshot", ("online-1",), 1, 7),
        ("timestamp", ("online-1",), 1, 1),
    ),
    "clinical": (
        ("root", ("root-1", "root-2", "root-3"), 2, 365),
        ("targets", ("targets-1", "targets-2"), 2, 180),
        ("eligibility", ("eligibility-1", "eligibility-2"), 2, 30),
        ("safety", ("safety-1",), 1, 7),
        ("snapshot", ("online-1",), 1, 7),
        ("timestamp", ("online-1",), 1, 1),
    ),
    "site": (
        ("root", ("root-1", "root-2", "root-3"), 2, 365),
        ("targets", ("targets-1",), 1, 90),
        ("snapshot", ("online-1",), 1, 7),
        ("timestamp", ("online-1",), 1, 1),
    ),
}

_POLICY = """
# Whose approvals each stage needs: function = how many people. One person holds one function.
# A change of this table reaches devices by: primum-repo policy sign
[policy]
functions_to_hold = 1
functions_to_take_away = 2
# The most known anomalies that a release may leave open, by severity:
# open_issues = { critical = 0, major = 5, minor = 50 }

[[policy.requirements]]
stage = "limited-release"
functions = { clinical = 2, quality = 1, regulatory = 1 }

# Further members: change_tiers (all, where it is left out), evidence (names of items that
# approve prepare was given), rungs (offline, simulated, retrospective, prospective).
[[policy.requirements]]
stage = "production"
functions = { clinical = 1, quality = 1, regulatory = 1 }
"""


def first_settings(
    authority: AuthorityName, *, title: str, peer: str, sites: Sequence[str] = ()
) -> bytes:
    """The text of a new ``workbench.toml``, with the defaults and the reason for each.

    Args:
        authority: which of the two authorities the workbench serves.
        title: the name that people read.
        peer: folder of the other authority's web root, relative to the workbench; may be empty.
        sites: of a responsible organisation, those that it speaks for.
    """

    def quoted(text: str) -> str:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(letter for letter in escaped if letter.isprintable()) + '"'

    head = (
        "# One workbench, one authority. Read it, edit it, then: primum-repo authority create\n"
        'schema_version = "0.1"\n'
        f"authority = {quoted(authority)}\n"
        f"title = {quoted(title)}\n"
        "# The web root of the other authority, only ever read; relative to this folder.\n"
        f"peer = {quoted(peer)}\n"
        "\n# Keys by address, how many of them must sign, and how long a signature counts.\n"
        "# No key serves two roles; snapshot and timestamp may share one online key.\n"
    )
    roles = "".join(_role_lines(*role) for role in _ROLES[authority]).lstrip("\n")
    if authority == "site":
        listed = ", ".join(quoted(site) for site in sites)
        rest = (
            "\n# The organisation, and the sites that it speaks for, as devices name theirs.\n"
            f"[site]\norganisation = {quoted(title)}\nsites = [{listed}]\n"
        )
    else:
        rest = (
            "\n# One provisioning key alone must not be able to move a device to another country.\n"
            "[provisioning]\nthreshold = 2\n"
        )
    policy = _POLICY if authority == "clinical" else ""
    return (head + roles + rest + policy).encode()
