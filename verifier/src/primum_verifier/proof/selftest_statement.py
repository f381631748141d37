"""The report of a self-test as a signed statement: who tested which release, and when.

An in-toto statement about the release's manifest, in a DSSE envelope.  A device signs with its own
key, a workbench with one of its keys; whoever holds the public half can check it anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field

from primum_verifier.core.document import (
    FIRST_YEAR,
    LAST_YEAR,
    DigestSet,
    Document,
    Name,
    ResourceDescriptor,
    SchemaVersion,
    Time,
    parse_document,
)
from primum_verifier.core.eligibility import STATEMENT_TYPE
from primum_verifier.core.envelope import INTOTO_PAYLOAD_TYPE, PublicKey, open_envelope
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.selftest_result import SelfTestReport

SELF_TEST_PREDICATE: Final = "urn:primum:self-test:v0.1"


class Occasion(StrEnum):
    """What a test was run for; it says nothing about how it was run, which is always the same."""

    UPDATE = "update"
    """On a device, before a new release is activated."""

    WAY_BACK = "way-back"
    """On a device, before an earlier release is used again."""

    IN_USE = "in-use"
    """On a device, of the release that runs: after a start, and once in a period."""

    PUBLICATION = "publication"
    """On a workbench, before a release is published."""

    INQUIRY = "inquiry"
    """By somebody who wanted to know."""


class SelfTest(Document):
    """Who ran it, what for, when by its own clock, and the report.

    A device's clock may be wrong; one that is not set at all says nothing.
    """

    schema_version: SchemaVersion
    tester: Name
    occasion: Annotated[Occasion, Field(strict=False)] | None = None
    tested_at: Time | None = None
    report: SelfTestReport


class SelfTestStatement(Document):
    """An in-toto statement that a release, by its manifest, was tested with this result."""

    statement_type: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: Annotated[tuple[ResourceDescriptor, ...], Field(min_length=1, max_length=1)]
    predicate_type: Literal["urn:primum:self-test:v0.1"]
    predicate: SelfTest

    @property
    def release(self) -> str:
        """SHA-256 of the manifest that was tested."""
        return self.subject[0].digest.sha256


def state(
    report: SelfTestReport,
    *,
    name: str,
    release: str,
    tester: str,
    occasion: Occasion,
    at: datetime | None,
) -> SelfTestStatement:
    """The statement to be signed.

    Args:
        report: what came of the test.
        name: component and version, for people.
        release: SHA-256 of the manifest.
        tester: the device or the workbench.
        occasion: what it was run for.
        at: when, by its clock; a moment that no clock shows which was set counts as none.
    """
    moment = at if at is not None and FIRST_YEAR <= at.year <= LAST_YEAR else None
    return SelfTestStatement.model_validate(
        {
            "_type": STATEMENT_TYPE,
            "subject": (ResourceDescriptor(name=name, digest=DigestSet(sha256=release)),),
            "predicateType": SELF_TEST_PREDICATE,
            "predicate": SelfTest(
                schema_version="0.1",
                tester=tester,
                occasion=occasion,
                tested_at=moment,
                report=report,
            ),
        }
    )


def open_statement(data: bytes, *, keys: Iterable[PublicKey], where: str) -> SelfTestStatement:
    """The statement in an envelope that one of ``keys`` signed.

    Raises:
        RefusedError: ``trust.signature``: none of them did, or it is another kind of record;
            ``document.invalid``: it cannot be read.
    """
    wanted = tuple(keys)
    opened = open_envelope(data, payload_type=INTOTO_PAYLOAD_TYPE, keys=wanted, where=where)
    if not opened.signers:
        raise RefusedError(
            "The self-test was not signed by this key.",
            reason=Reason.TRUST_SIGNATURE,
            where=where,
            found="no signature of it",
            expected="a signature by " + ", ".join(key.key_id[:16] for key in wanted),
            remedy="Name the public key of the device or the workbench that ran the test.",
        )
    return parse_document(SelfTestStatement, opened.payload, where=where)
