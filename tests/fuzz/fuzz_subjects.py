"""The one table of parsers that are searched for faults; the campaign and the tests walk it."""

from __future__ import annotations

from fuzz_agent import AGENT_SUBJECTS
from fuzz_bench import BENCH_SUBJECTS
from fuzz_delta import DELTA_SUBJECTS
from fuzz_documents import DOCUMENT_SUBJECTS
from fuzz_oracle import Subject
from fuzz_record import RECORD_SUBJECTS
from fuzz_trust import TRUST_SUBJECTS

SUBJECTS: dict[str, Subject] = {
    **DOCUMENT_SUBJECTS,
    **BENCH_SUBJECTS,
    **DELTA_SUBJECTS,
    **TRUST_SUBJECTS,
    **AGENT_SUBJECTS,
    **RECORD_SUBJECTS,
}
