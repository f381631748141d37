"""The eligibility statement and the index: what clinical signs as usable, here and now.

Who can hold a restriction is part of it: the device at activation, the application at each
episode, or only the reader of the label.  A device that does not know a patient's age cannot
enforce an age; see :mod:`~primum_verifier.keeping.episode`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from primum_verifier.core.device import FactoryFacts, PlacementFacts
from primum_verifier.core.document import (
    Country,
    Decimal,
    DigestSet,
    Document,
    Name,
    OpenDocument,
    Positive,
    ResourceDescriptor,
    SchemaVersion,
    Slug,
    Text,
    Time,
    Urn,
    Version,
)
from primum_verifier.core.limits import MAX_LIST
from primum_verifier.core.manifest import SoftwareRange
from primum_verifier.core.vocabulary import (
    USE_ALLOWED,
    ChangeTier,
    Decision,
    Enforcement,
    EpisodeRule,
    IndexStatus,
    NoticeAction,
    PatientCategory,
    Rung,
    Stage,
)

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
INDEX_TARGET = "eligibility/index.json"
ELIGIBILITY_ROLE = "eligibility"

Countries = Annotated[tuple[Country, ...], Field(min_length=1, max_length=250)]
Slugs = Annotated[tuple[Slug, ...], Field(min_length=1, max_length=MAX_LIST)]
Names = Annotated[tuple[Name, ...], Field(min_length=1, max_length=MAX_LIST)]
Categories = Annotated[tuple[PatientCategory, ...], Field(min_length=1, max_length=3)]
_Hours = Annotated[int, Field(ge=0, le=24 * 366)]


class Coding(Document):
    """A clinical concept as FHIR writes it: which system, which code, what people read."""

    system: Name
    code: Name
    display: Text = ""


class Sites(Document):
    """Where it may be used; a list names sites, ``group`` groups of them; empty is no list."""

    mode: Literal["all", "list", "group"]
    ids: tuple[Slug, ...] = Field(default=(), max_length=MAX_LIST)

    @model_validator(mode="after")
    def _list_means_list(self) -> Sites:
        if (self.mode == "all") == bool(self.ids):
            raise ValueError("ids stand with the modes list and group, and only there")
        return self

    def include(self, place: PlacementFacts) -> bool:
        """Whether a device that stands there is meant."""
        found = {
            "all": True,
            "list": place.site_id in self.ids,
            "group": not set(place.site_groups).isdisjoint(self.ids),
        }
        return found[self.mode]


class SerialRange(Document):
    """Serial numbers with one prefix, from first to last, both included."""

    prefix: Annotated[str, Field(max_length=80, pattern=r"^[A-Za-z0-9._-]*$")]
    first: Annotated[int, Field(ge=0, le=10**12)]
    last: Annotated[int, Field(ge=0, le=10**12)]

    @model_validator(mode="after")
    def _begins_before_it_ends(self) -> SerialRange:
        if self.first > self.last:
            raise ValueError("first is above last")
        return self

    def includes(self, serial: str) -> bool:
        """Whether the number after the prefix lies in the range."""
        number = serial.removeprefix(self.prefix)
        return (
            serial.startswith(self.prefix)
            and number.isdecimal()
            and self.first <= int(number) <= self.last
        )


class DeviceScope(Document):
    """Which devices, by model, lot or serial number (FHIR ``correctiveAction.scope``)."""

    scope: Literal["model", "lot-numbers", "serial-numbers"]
    values: tuple[Name, ...] = Field(default=(), max_length=MAX_LIST)
    ranges: tuple[SerialRange, ...] = Field(default=(), max_length=100)

    @model_validator(mode="after")
    def _names_some_device(self) -> DeviceScope:
        if not self.values and not self.ranges:
            raise ValueError("a scope names devices; an empty one would name none or all")
        if self.ranges and self.scope != "serial-numbers":
            raise ValueError("ranges stand with serial numbers only")
        return self

    def includes(self, made: FactoryFacts) -> bool:
        """Whether a device is meant; a number of it that is not known never is."""
        number = {
            "model": made.model_number,
            "lot-numbers": made.lot_number,
            "serial-numbers": made.serial_number,
        }[self.scope]
        return number in self.values or any(
            part.includes(made.serial_number) for part in self.ranges
        )


class Hardware(Document):
    """Hardware that the evidence was gathered for; what is left out is not restricted."""

    hardware_id: Slug
    revisions: Names | None = None
    boot_firmware: Names | None = None
    sensors: Slugs | None = None


class Software(Document):
    """What else must, and must not, run on the device."""

    agent_min: Version | None = None
    operating_systems: Names | None = None
    requires: tuple[SoftwareRange, ...] = Field(default=(), max_length=100)
    conflicts: tuple[SoftwareRange, ...] = Field(default=(), max_length=100)


class Market(Document):
    """When devices may be given it; it never ends what runs already."""

    start: Time
    end: Time | None = None


class Population(Document):
    """For which patients; ``enforce`` says who can hold it."""

    enforce: Literal[Enforcement.INFERENCE, Enforcement.LABELLING]
    age_years_min: Annotated[int, Field(ge=0, le=150)] | None = None
    age_years_max: Annotated[int, Field(ge=0, le=150)] | None = None
    sex: Literal["female", "male"] | None = None
    include: tuple[Coding, ...] = Field(default=(), max_length=100)
    exclude: tuple[Coding, ...] = Field(default=(), max_length=100)


class InputChannel(Document):
    """One input as the model was validated on (IEEE 11073 code, UCUM unit)."""

    channel: Slug
    code: Name
    unit: Name
    rate_hz: Decimal
    acquisition_devices: Slugs | None = None


class Constraints(Document):
    """What a device must be for the release to be eligible on it."""

    jurisdictions: Countries
    hardware: tuple[Hardware, ...] = Field(min_length=1, max_length=100)
    sites: Sites
    market: Market | None = None
    software: Software | None = None
    devices: DeviceScope | None = None
    care_settings: Slugs | None = None
    use_environments: Slugs | None = None
    patient_categories: Categories | None = None
    population: Population | None = None
    inputs: tuple[InputChannel, ...] = Field(default=(), max_length=100)
    user_roles: tuple[Coding, ...] = Field(default=(), max_length=100)


class ShadowFirst(Document):
    """A clean time in shadow on each device, before the release serves anybody there.

    It is over once it ran for so many hours and was compared so often; it was clean where no
    larger share of the comparisons than ``max_flip_share`` ended otherwise than in agreement.
    """

    min_hours: Annotated[int, Field(ge=24, le=24 * 90)]
    min_comparisons: Annotated[int, Field(ge=1, le=10**9)]
    max_flip_share: Annotated[str, Field(pattern=r"^(0|0\.[0-9]{1,9}|1)$")]


class Use(Document):
    """How it may be used, whether a person must agree to each update, and whether shadow is first.

    The object is closed: a device that does not know ``shadow_first`` refuses the statement.
    """

    mode: Literal["clinical", "shadow", "investigational"]
    automation: Literal["manual-update", "automatic-update"] = "automatic-update"
    shadow_first: ShadowFirst | None = None


class Product(Document):
    """The product that it is eligible for, and what the device must show afterwards (UDI)."""

    manufacturer: Text
    device_name: Text
    model_numbers: Names
    udi_di: Names
    udi_after_activation: Name | None = None


class Authorisation(Document):
    """One authorisation in one country; its end stops new activations, not what runs."""

    jurisdiction: Country
    route: Literal[
        "510k", "de-novo", "pma", "ce-mdr", "ce-ivdr", "hc-mdl", "ukca", "study", "other"
    ]
    identifier: Name
    valid_until: Time | None = None
    change_control_plan: DigestSet | None = None
    modification_ids: tuple[Slug, ...] = Field(default=(), max_length=100)


class Study(Document):
    """Who is enrolled in a study, and until when (21 CFR 812; MDR 2017/745 Art. 62).

    ``approval_ref`` is the reference of the ethics committee, or of the consent.
    """

    protocol_id: Name
    approval_ref: Name
    until: Time
    devices: tuple[Slug, ...] = Field(default=(), max_length=MAX_LIST)
    sites: tuple[Slug, ...] = Field(default=(), max_length=MAX_LIST)


class IntendedUse(Document):
    """The intended use in words, and the digest by which the manifest names the same one."""

    digest: DigestSet
    text: Text
    significance: Literal["treat-or-diagnose", "drive", "inform"]
    decision_role: Literal[
        "autonomous", "second-reader", "triage", "decision-support", "monitoring"
    ]
    situation: Literal["critical", "serious", "non-serious"] | None = None
    language: Annotated[str, Field(pattern=r"^[a-z]{2}$")] | None = None
    indications: tuple[Coding, ...] = Field(default=(), max_length=100)
    contraindications: tuple[Coding, ...] = Field(default=(), max_length=100)


class RestrictedPoint(Document):
    """Another operating point, approved beforehand, that a restriction may choose."""

    id: Slug
    threshold: Decimal


class OperatingPoint(Document):
    """The threshold at which the evidence was gathered; a device runs at no other."""

    output: Slug | Name
    threshold: Decimal
    threshold_set: DigestSet | None = None
    restricted: tuple[RestrictedPoint, ...] = Field(default=(), max_length=20)


class RungPassed(Document):
    """One rung of the validation ladder, and what came of it."""

    rung: Rung
    protocol: DigestSet
    report: DigestSet
    result: Literal["met", "not-met"]


class OpenIssues(Document):
    """Known anomalies at release by severity (IEC 62304 5.8.2)."""

    critical: Annotated[int, Field(ge=0, le=10**6)]
    major: Annotated[int, Field(ge=0, le=10**6)]
    minor: Annotated[int, Field(ge=0, le=10**6)]


class Risk(Document):
    """Where the risk is analysed, and what was concluded (ISO 14971 8, 9)."""

    file_ref: Name
    residual_risk: Literal["acceptable", "acceptable-with-benefit"]
    safety_class: Literal["A", "B", "C"]


class Labelling(Document):
    """What people are told, and whether they must say that they read it before first use."""

    ifu: DigestSet
    user_notice: dict[Annotated[str, Field(pattern=r"^[a-z]{2}$")], Text]
    acknowledgement_required: bool = False


class Validity(Document):
    """From when until when, and how old the index may grow while the device is cut off."""

    not_before: Time
    not_after: Time
    max_index_age_hours: _Hours
    offline_grace_hours: _Hours
    review_by: Time | None = None

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Validity:
        if self.not_after <= self.not_before:
            raise ValueError("notAfter is not later than notBefore")
        return self


class ActionOrdered(Document):
    """What the device does on expiry or withdrawal, and the hazard that decided it."""

    action: Literal[
        NoticeAction.NOTIFY_ONLY,
        NoticeAction.CONTINUE_WITH_NOTICE,
        NoticeAction.FALL_BACK,
        NoticeAction.SUSPEND_AI_FUNCTION,
    ]
    hazard_ref: Name
    running_episode: EpisodeRule = EpisodeRule.FINISH_EPISODE


class FailSafe(Document):
    """What is left when no eligible release is: the declared safe mode."""

    mode: Literal["ai-function-off"]
    user_notice: Text
    hazard_ref: Name


class Baselines(Document):
    """The releases this one was compared with: the original authorised and the last modified."""

    original_authorised: DigestSet
    last_modified: DigestSet


class Exposure(Document):
    """The ceiling that clinical sets for every rollout plan, and how long each step must rest."""

    max_percentage: Annotated[int, Field(ge=1, le=100)]
    min_soak_hours: _Hours = 0
    required_by: Time | None = None


class RollbackCriterion(Document):
    """A measure at which a device, or the fleet, goes back."""

    metric: Name
    comparator: Literal["above", "below"]
    value: Decimal
    window_hours: _Hours
    action: Literal[NoticeAction.NOTIFY_ONLY, NoticeAction.FALL_BACK]


class Condition(Document):
    """A condition of use in words, with a code, and who can hold it."""

    code: Slug
    text: Text
    enforce: Enforcement


class Eligibility(OpenDocument):
    """The predicate: every member that a device enforces before or while the release runs.

    ``answers`` names the safety notices that this statement answers: what was withdrawn comes
    back only by a new statement with every approval, which says of what it was cleared.
    """

    schema_version: SchemaVersion
    id: Urn
    issued_at: Time
    statement_number: Positive
    decision: Decision
    stage: Stage
    use: Use
    change_tier: ChangeTier
    intended_use: IntendedUse
    constraints: Constraints
    operating_point: OperatingPoint
    validity: Validity
    exposure: Exposure
    on_expiry: ActionOrdered
    on_withdrawal: ActionOrdered
    fail_safe: FailSafe
    product: Product | None = None
    authorisations: tuple[Authorisation, ...] = Field(default=(), max_length=300)
    study: Study | None = None
    ladder: tuple[RungPassed, ...] = Field(default=(), max_length=20)
    evidence: tuple[ResourceDescriptor, ...] = Field(default=(), max_length=MAX_LIST)
    open_issues: OpenIssues | None = None
    risk: Risk | None = None
    labelling: Labelling | None = None
    conditions: tuple[Condition, ...] = Field(default=(), max_length=100)
    rollback_criteria: tuple[RollbackCriterion, ...] = Field(default=(), max_length=50)
    monitoring_specification: DigestSet | None = None
    self_test: DigestSet | None = None
    baselines: Baselines | None = None
    answers: tuple[Urn, ...] = Field(default=(), max_length=MAX_LIST)
    supersedes: tuple[DigestSet, ...] = Field(default=(), max_length=MAX_LIST)

    @model_validator(mode="after")
    def _members_agree(self) -> Eligibility:
        if USE_ALLOWED[self.decision].label != self.use.mode:
            raise ValueError("decision and use.mode contradict each other")
        if (self.use.mode == "clinical") != (self.study is None):
            raise ValueError("a study stands with investigational and shadow use, and only there")
        if self.use.shadow_first is not None:
            if self.use.mode == "shadow":
                raise ValueError("what is for shadow only is never used after it")
            if self.monitoring_specification is None:
                raise ValueError("shadow first needs the specification by which it is counted")
        if self.decision == Decision.ELIGIBLE_WITH_CONDITIONS and not self.conditions:
            raise ValueError("eligible-with-conditions names no condition")
        return self


class EligibilityStatement(Document):
    """An in-toto statement that one release manifest, by digest, may be used."""

    statement_type: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: tuple[ResourceDescriptor] = Field()
    predicate_type: Literal["urn:primum:eligibility:v0.1"]
    predicate: Eligibility

    @property
    def release(self) -> str:
        """SHA-256 of the manifest that the statement is about."""
        return self.subject[0].digest.sha256


class IndexEntry(Document):
    """One release on the allow-list."""

    component: Slug
    version: Version
    release: DigestSet
    statement: DigestSet
    status: IndexStatus
    effective_at: Time


_Entry = Annotated[IndexEntry | dict[str, Any], Field(union_mode="left_to_right")]


class EligibilityIndex(OpenDocument):
    """The allow-list: what is eligible now. Absence is never permission.

    An entry that this build cannot read is as good as absent; the others stand.
    """

    type: Literal["urn:primum:eligibility-index:v0.1"]
    schema_version: SchemaVersion
    id: Urn
    number: Positive
    issued_at: Time
    entries: tuple[_Entry, ...] = Field(max_length=MAX_LIST)

    @property
    def listed(self) -> tuple[IndexEntry, ...]:
        """The entries that can be read."""
        return tuple(entry for entry in self.entries if isinstance(entry, IndexEntry))

    def entries_for(self, release: str) -> tuple[IndexEntry, ...]:
        """The entries of a release by its manifest's SHA-256; more than one contradict."""
        return tuple(entry for entry in self.listed if entry.release.sha256 == release)

    def has_unread(self, release: str) -> bool:
        """Whether an entry that this build cannot read names the release: it may say less."""
        return any(
            isinstance(entry, dict) and entry.get("release") == {"sha256": release}
            for entry in self.entries
        )

    def entry_for(self, release: str) -> IndexEntry | None:
        """The entry of a release, of several the strictest; None: not listed."""
        order = list(IndexStatus)
        entries = self.entries_for(release)
        return max(entries, key=lambda entry: order.index(entry.status), default=None)


def statement_target(statement: str) -> str:
    """The name of a statement in the clinical repository, by its SHA-256."""
    return f"eligibility/{statement}/statement.json"


def approvals_target(statement: str) -> str:
    """The name of the approvals of a statement, by the statement's SHA-256."""
    return f"eligibility/{statement}/approvals.jsonl"
