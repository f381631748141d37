"""What a self-test came to: the result that the device acts on and the report it keeps.

The words are those of the field: a test is *success*, *fail*, *not-run* or *absent* (EAT
measurement results); the whole is *passed*, *failed* or *incomplete*, and *incomplete* is never
passed.  Outputs computed here are test outputs; they carry the mode ``test`` and no other use.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from primum_verifier.core.document import (
    Count,
    DigestSet,
    Document,
    Name,
    SchemaVersion,
    Slug,
    Text,
    Urn,
)
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.bench_contract import Fact, Ready, Shown
from primum_verifier.proof.selftest_spec import MAX_RANK, MAX_TESTS, Baseline, OnFailure

MAX_CASES_SHOWN = 10
"""Cases named in one test of a report: enough to act on, small enough to send."""


class Overall(StrEnum):
    """The whole self-test in one word."""

    PASSED = "passed"
    FAILED = "failed"
    INCOMPLETE = "incomplete"


class TestStatus(StrEnum):
    """One test in one word."""

    __test__ = False  # a word of the field, not a test case of the runner

    SUCCESS = "success"
    FAIL = "fail"
    NOT_RUN = "not-run"
    ABSENT = "absent"


class Blame(StrEnum):
    """Whose fault it is, so that the caller knows what to remember.

    Only ``release`` may be remembered against the release's digest: otherwise a flat battery or a
    busy processor could ban a release that nobody withdrew.
    """

    NONE = "none"
    RELEASE = "release"
    CIRCUMSTANCE = "circumstance"


class CaseDeviation(Document):
    """One fixture that did not come out as expected, and by how much.

    ``output`` and ``index`` name the number where one was compared: the output, and the place in
    it by dimension, without the batch.
    """

    case: Fact
    found: Fact
    expected: Fact
    by: Fact
    output: Fact = ""
    index: Annotated[tuple[Count, ...], Field(max_length=MAX_RANK)] = ()


class TestOutcome(Document):
    """One test of the specification with what was found."""

    __test__ = False

    id: Slug
    level: Slug
    status: Annotated[TestStatus, Field(strict=False)]
    mandatory: bool
    on_failure: Annotated[OnFailure, Field(strict=False)]
    quality_criterion: Name
    risk_control_ref: Name
    found: Text
    expected: Text
    worst: Fact
    cases: Annotated[tuple[CaseDeviation, ...], Field(max_length=MAX_CASES_SHOWN)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The exact bytes that were tested, by SHA-256 in hexadecimal."""

    spec: str
    model: str
    fixtures: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """The earlier releases that a release has to be no worse than, by manifest SHA-256.

    Attributes:
        active: what serves patients on this device now; None where nothing does, and on the way
            back to an older release, which cannot know what came after it.
        original: what was authorised first, as the manifest names it; None for that one itself.
    """

    active: str | None
    original: str | None

    def of(self, baseline: Baseline) -> str | None:
        """The manifest of one of them."""
        return self.active if baseline is Baseline.ACTIVE else self.original


class SubjectDigests(Document):
    """:class:`Subject` as it stands in a report."""

    specification: DigestSet
    model: DigestSet
    fixtures: DigestSet


class SelfTestReport(Document):
    """The evidence: what was tested, on what, under which confinement, with which result.

    ``active`` and ``original`` are the manifests of the earlier releases that it was held against,
    ``hardware`` is the kind of hardware whose limits it was held to.
    """

    schema_version: SchemaVersion
    mode: Literal["test"]
    specification_id: Urn
    component: Slug
    subject: SubjectDigests
    active: DigestSet | None = None
    original: DigestSet | None = None
    hardware: Slug | None = None
    overall: Annotated[Overall, Field(strict=False)]
    reason: Annotated[Reason, Field(strict=False)] | None = None
    blame: Annotated[Blame, Field(strict=False)]
    summary: Text
    tests: Annotated[tuple[TestOutcome, ...], Field(max_length=MAX_TESTS)]
    environment: Ready | None = None
    ending: Slug
    detail: Shown
    wall_milliseconds: Count
    peak_rss_kib: Count
    cpu_features: Annotated[tuple[Fact, ...], Field(max_length=32)]

    def to_json(self) -> str:
        """The report as one line of canonical JSON."""
        return self.to_bytes().decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTestResult:
    """What the caller acts on.

    Attributes:
        overall: only ``passed`` allows activation.
        reason: the primary reason code; None when passed.
        blame: whether the failure may be remembered against the release.
        summary: one sentence for a person, with the worst cases named.
        tests: one outcome for each test of the specification, in its order.
        warnings: ids of failed tests whose stated consequence is a warning.
        report: the same as evidence.
    """

    overall: Overall
    reason: Reason | None
    blame: Blame
    summary: str
    tests: tuple[TestOutcome, ...]
    warnings: tuple[str, ...]
    report: SelfTestReport

    @property
    def passed(self) -> bool:
        """Whether the device is shown to compute what was validated."""
        return self.overall is Overall.PASSED
