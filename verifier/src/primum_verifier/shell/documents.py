"""Every document that Primum publishes, by name: its model, its media type, its JSON Schema.

To publish one more, add its line to :data:`DOCUMENTS`.  A schema is drawn from the model that
parses, so the two cannot drift apart; what a schema cannot say, it says it leaves to the parser.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from primum_verifier.change.comparison_report import ComparisonReport
from primum_verifier.change.description import ChangeDescription, ModificationHistory
from primum_verifier.change.plan import ChangeControlPlan
from primum_verifier.change.retraining_record import RetrainingRecord
from primum_verifier.change.test_set_ledger import ENTRY_PAYLOAD_TYPE, LedgerEntry
from primum_verifier.core.approval import ApprovalPolicy, ApprovalStatement
from primum_verifier.core.device import DeviceContext, ProvisioningKeys, TrustMap
from primum_verifier.core.document import Document
from primum_verifier.core.eligibility import EligibilityIndex, EligibilityStatement
from primum_verifier.core.envelope import (
    CONTEXT_PAYLOAD_TYPE,
    HEAD_PAYLOAD_TYPE,
    INTOTO_PAYLOAD_TYPE,
    TRUST_MAP_PAYLOAD_TYPE,
)
from primum_verifier.core.errors import UsageError
from primum_verifier.core.limits import (
    KIB,
    MAX_DOCUMENT_BYTES,
    MAX_DOCUMENT_DEPTH,
    MAX_TREE_LIST_BYTES,
)
from primum_verifier.core.manifest import ReleaseManifest
from primum_verifier.core.notice import SafetyNoticeStatement
from primum_verifier.core.reasons import Reason
from primum_verifier.core.site import SiteAcceptance
from primum_verifier.core.tree import TreeList
from primum_verifier.delta.delta_list import DeltaList
from primum_verifier.keeping.rollout import RolloutPlan
from primum_verifier.proof.selftest_result import SelfTestReport
from primum_verifier.proof.selftest_spec import SelfTestSpec
from primum_verifier.proof.selftest_statement import SelfTestStatement
from primum_verifier.record.chain import MAX_EVENT_BYTES, ChainHead
from primum_verifier.record.checkpoint import CHECKPOINT_PAYLOAD_TYPE, ChainCheckpoint
from primum_verifier.record.event import EVENT_MEDIA_TYPE, ProvenanceEvent
from primum_verifier.record.health import MAX_HEALTH_BYTES, HealthReport, StatusReport
from primum_verifier.record.monitor_report import MAX_MONITOR_BYTES, MonitorReport
from primum_verifier.record.monitoring import MonitoringSpecification
from primum_verifier.record.receipt import RECEIPT_PAYLOAD_TYPE, ChainReceipt
from primum_verifier.record.request import MAX_REQUEST_BYTES, DeviceRequest

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"
GENERATION = "v0.1"
"""The schema generation that this build reads and publishes."""

_JSON = "application/json"
_TYPE_MEMBERS = ("predicate_type", "type")


@dataclass(frozen=True, kw_only=True)
class Published:
    """One document as the world knows it.

    Attributes:
        name: what it is called in commands, file names and schema ids.
        model: the class that parses it.
        media_type: what it travels as; the payload type where it is signed in an envelope.
        max_bytes: the largest that is read at all.
    """

    name: str
    model: type[Document]
    media_type: str = _JSON
    max_bytes: int = MAX_DOCUMENT_BYTES

    @property
    def summary(self) -> str:
        """The first line of the model's docstring."""
        return (self.model.__doc__ or "").strip().splitlines()[0].replace("``", "")

    @property
    def type(self) -> str:
        """What its ``type`` or ``predicateType`` says; empty where it has none, or has several."""
        for member in _TYPE_MEMBERS:
            field = self.model.model_fields.get(member)
            if field is not None and get_origin(field.annotation) is Literal:
                return str(get_args(field.annotation)[0])
        return ""

    @property
    def schema_id(self) -> str:
        """The schema's ``$id``."""
        return f"urn:primum:schema:{self.name}:{GENERATION}"

    def schema(self) -> dict[str, Any]:
        """The JSON Schema (draft 2020-12) of what the parser reads."""
        drawn = self.model.model_json_schema(by_alias=True, mode="validation")
        return {
            "$schema": SCHEMA_DIALECT,
            "$id": self.schema_id,
            "$comment": (
                f"The parser asks for more than a schema can say: at most {self.max_bytes // KIB} "
                f"KiB and {MAX_DOCUMENT_DEPTH} levels, no member twice in one object, integers "
                "without a fraction, moments between 2000 and 2200, and members that agree with "
                "each other."
            ),
            **_with_closed_maps(drawn),
        }

    def schema_text(self) -> str:
        """The schema as its file holds it."""
        return json.dumps(self.schema(), indent=2, ensure_ascii=False) + "\n"


def _with_closed_maps(drawn: Any) -> Any:  # noqa: ANN401 - any part of a schema
    """A schema in which a map whose names have a pattern allows no other names, as the parser."""
    if isinstance(drawn, list):
        return [_with_closed_maps(part) for part in drawn]
    if not isinstance(drawn, dict):
        return drawn
    closed = {name: _with_closed_maps(part) for name, part in drawn.items()}
    return closed | {"additionalProperties": False} if "patternProperties" in closed else closed


DOCUMENTS = (
    Published(name="release-manifest", model=ReleaseManifest),
    Published(name="tree-list", model=TreeList, max_bytes=MAX_TREE_LIST_BYTES),
    Published(name="delta-list", model=DeltaList),
    Published(name="rollout-plan", model=RolloutPlan),
    Published(
        name="eligibility-statement", model=EligibilityStatement, media_type=INTOTO_PAYLOAD_TYPE
    ),
    Published(name="eligibility-index", model=EligibilityIndex),
    Published(name="approval", model=ApprovalStatement, media_type=INTOTO_PAYLOAD_TYPE),
    Published(name="approval-policy", model=ApprovalPolicy),
    Published(name="change-control-plan", model=ChangeControlPlan),
    Published(name="change", model=ChangeDescription),
    Published(name="modification-history", model=ModificationHistory),
    Published(name="comparison-report", model=ComparisonReport),
    Published(name="retraining-record", model=RetrainingRecord),
    Published(name="test-set-entry", model=LedgerEntry, media_type=ENTRY_PAYLOAD_TYPE),
    Published(name="safety-notice", model=SafetyNoticeStatement, media_type=INTOTO_PAYLOAD_TYPE),
    Published(name="device-context", model=DeviceContext, media_type=CONTEXT_PAYLOAD_TYPE),
    Published(name="provisioning-keys", model=ProvisioningKeys),
    Published(name="trust-map", model=TrustMap, media_type=TRUST_MAP_PAYLOAD_TYPE),
    Published(name="site-acceptance", model=SiteAcceptance),
    Published(name="self-test-specification", model=SelfTestSpec),
    Published(name="self-test-report", model=SelfTestReport),
    Published(name="self-test-statement", model=SelfTestStatement, media_type=INTOTO_PAYLOAD_TYPE),
    Published(name="monitoring-specification", model=MonitoringSpecification),
    Published(
        name="event",
        model=ProvenanceEvent,
        media_type=EVENT_MEDIA_TYPE,
        max_bytes=MAX_EVENT_BYTES,
    ),
    Published(name="chain-head", model=ChainHead, media_type=HEAD_PAYLOAD_TYPE),
    Published(name="chain-checkpoint", model=ChainCheckpoint, media_type=CHECKPOINT_PAYLOAD_TYPE),
    Published(name="chain-receipt", model=ChainReceipt, media_type=RECEIPT_PAYLOAD_TYPE),
    Published(
        name="health-report",
        model=HealthReport,
        media_type=EVENT_MEDIA_TYPE,
        max_bytes=MAX_HEALTH_BYTES,
    ),
    Published(
        name="monitor-report",
        model=MonitorReport,
        media_type=EVENT_MEDIA_TYPE,
        max_bytes=MAX_MONITOR_BYTES,
    ),
    Published(name="device-request", model=DeviceRequest, max_bytes=MAX_REQUEST_BYTES),
    Published(name="status-report", model=StatusReport, max_bytes=MAX_HEALTH_BYTES),
)
"""All of them, in the order in which a release meets them."""


def document_named(name: str) -> Published:
    """The document with this name.

    Raises:
        UsageError: there is none.
    """
    for document in DOCUMENTS:
        if document.name == name:
            return document
    raise UsageError(
        "There is no document of this name.",
        reason=Reason.USAGE,
        where=name,
        expected=", ".join(document.name for document in DOCUMENTS),
        remedy="Run 'primum-verify schema' for the list.",
    )
