"""A self-test as it is shown: the report, what of it was verified here, and the numbers to draw.

One value is behind the terminal, the page and ``--json``, so they cannot differ.  It can be read
back, and is then drawn again; but what a stored file says was verified is nobody's word, so that
part is always made anew.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from primum_verifier.core.document import Document, Sha256, Text
from primum_verifier.core.errors import EXIT_DONE, EXIT_FAILED, EXIT_REFUSED
from primum_verifier.core.limits import MIB
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.bench_contract import Fact
from primum_verifier.proof.observed import Observed
from primum_verifier.proof.selftest_result import Blame, CaseDeviation, Overall, SelfTestReport

MAX_VIEW_BYTES = 4 * MIB
"""A view of the most cases allowed, with room; more is nothing that this command wrote."""

FIXTURES_NOTE = (
    "Counts are of fixtures, which were chosen to prove a device and are no sample of patients: "
    "they show whether this machine decides as was validated, and support no clinical claim."
)


_NO_DISTANCE = frozenset({"", "inf", "decision"})
"""What a report writes where nothing was subtracted."""


class Standing(StrEnum):
    """What may be concluded about one thing that is shown."""

    VERIFIED = "verified"
    NOT_VERIFIED = "not verified"


class Checked(Document):
    """One thing that was verified here, or was not, with what was found."""

    what: Fact
    standing: Annotated[Standing, Field(strict=False)]
    found: Text
    sha256: Sha256 | None = None


def case_told(case: CaseDeviation) -> str:
    """One case that did not come out as expected, in words."""
    index = list(case.index) if case.index else ""
    output = f", {case.output}{index}" if case.output else ""
    distance = "" if case.by in _NO_DISTANCE else f", off by {case.by}"
    return f"{case.case}{output}: {case.found} instead of {case.expected}{distance}"


class SelfTestView(Document):
    """Everything that is shown of one self-test.

    Attributes:
        outcome: the whole in one word, as the report says it.
        reason: the primary reason code; None when passed.
        release: component and version; empty where only a report was read.
        checked: what was verified before the model was run, and what was not.
        report: the evidence, as a device would keep it.
        observed: what is drawn besides; None where nothing was observed or kept.
    """

    outcome: Annotated[Overall, Field(strict=False)]
    reason: Annotated[Reason, Field(strict=False)] | None = None
    release: Text = ""
    checked: Annotated[tuple[Checked, ...], Field(max_length=20)] = ()
    report: SelfTestReport
    observed: Observed | None = None

    @property
    def name(self) -> str:
        """What was tested, for a headline."""
        return self.release or self.report.component

    @property
    def headline(self) -> str:
        """The whole in one line."""
        reason = f" ({self.reason})" if self.reason is not None else ""
        return f"{self.name}: {self.outcome}{reason}"

    @property
    def exit_code(self) -> int:
        """0 passed; 1 the release failed or proves too little; 3 it could not be run to the end."""
        if self.outcome is Overall.PASSED:
            return EXIT_DONE
        if self.outcome is Overall.INCOMPLETE and self.report.blame is not Blame.RELEASE:
            return EXIT_FAILED
        return EXIT_REFUSED

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """Where and how it ran, by name."""
        report, ready = self.report, self.report.environment
        facts = [("held to", f"the limits for {report.hardware}")] if report.hardware else []
        facts += [
            ("bench", f"{report.ending} after {report.wall_milliseconds} ms"),
            ("peak memory", f"{report.peak_rss_kib} KiB" if report.peak_rss_kib else "not known"),
        ]
        if report.detail:
            facts.append(("it said", report.detail))
        if ready is not None:
            runtime = ready.runtime
            facts += [
                ("runtime", f"onnxruntime {runtime.onnxruntime}"),
                ("with", f"numpy {runtime.numpy}, Python {runtime.python}"),
                ("provider", ready.provider),
                ("processor", " ".join((ready.architecture, *report.cpu_features))),
                ("landlock", f"ABI {ready.landlock_abi}" if ready.landlock_abi else "none"),
            ]
        return tuple(facts)

    @property
    def subject(self) -> tuple[tuple[str, str], ...]:
        """The bytes that were tested and the manifests they were held against, by SHA-256."""
        digests = self.report.subject
        return (
            ("model", digests.model.sha256),
            ("test spec", digests.specification.sha256),
            ("fixtures", digests.fixtures.sha256),
            *(
                (name, digest.sha256)
                for name, digest in (
                    ("active was", self.report.active),
                    ("original", self.report.original),
                )
                if digest is not None
            ),
        )
