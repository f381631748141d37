"""The events of a device: a closed set of kinds, and the one byte form that is hashed and sent.

An event is a CloudEvents 1.0 JSON document.  Its hash covers exactly the stored bytes, and each
event carries the hash of the one before, so that none can be taken out or put in unseen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from primum_agent.clock import plain_time
from primum_agent.drawing import fresh_id
from primum_agent.lifecycle import Stimulus

FIRST_HASH = "0" * 64
"""What the first event of a chain carries in place of the hash before it."""

SEQUENCE_DIGITS = 20
"""Enough for any 64-bit number, so that text order is number order."""

_PREFIX = "primum.device."


class EventKind(StrEnum):
    """What an event reports; the value is the end of its CloudEvents type."""

    JOURNAL_BEGUN = "journal.begun"
    JOURNAL_RESTARTED = "journal.restarted"
    AGENT_STARTED = "agent.started"
    AGENT_STOPPED = "agent.stopped"
    ATTEMPT_FAILED = "attempt.failed"
    TRUST_REFUSED = "trust.refused"
    TRUST_CHANGED = "trust.changed"
    TRANSPORT_FAILED = "transport.failed"
    REPOSITORIES_REACHED = "repositories.reached"
    MIRROR_FAILED = "mirror.failed"
    MIRROR_WORKS = "mirror.works"
    UPDATE_FOUND = "update.found"
    UPDATE_REFUSED = "update.refused"
    UPDATE_DOWNLOADING = "update.downloading"
    UPDATE_PROGRESS = "update.progress"
    UPDATE_PAUSED = "update.paused"
    UPDATE_RESUMED = "update.resumed"
    UPDATE_DOWNLOADED = "update.downloaded"
    UPDATE_STAGED = "update.staged"
    UPDATE_FAILED = "update.failed"
    UPDATE_FORGIVEN = "update.forgiven"
    UPDATE_AGREED = "update.agreed"
    UPDATE_INTERRUPTED = "update.interrupted"
    UPDATE_WAITING = "update.waiting"
    UPDATE_ACTIVATING = "update.activating"
    UPDATE_TAKING_EFFECT = "update.taking-effect"
    UPDATE_ACTIVATED = "update.activated"
    UPDATE_COMMITTED = "update.committed"
    UPDATE_ROLLING_BACK = "update.rolling-back"
    UPDATE_ROLLED_BACK = "update.rolled-back"
    SELFTEST_STARTED = "selftest.started"
    SELFTEST_PASSED = "selftest.passed"
    SELFTEST_FAILED = "selftest.failed"
    ACTIVE_TEST_FAILED = "active-test.failed"
    ACTIVE_TEST_PASSED = "active-test.passed"
    DISPLAY_FAILED = "display.failed"
    DISPLAY_CONFIRMED = "display.confirmed"
    ALARM_FAILED = "alarm.failed"
    ALARM_WORKS = "alarm.works"
    ELIGIBILITY_LOST = "eligibility.lost"
    ELIGIBILITY_CHANGED = "eligibility.changed"
    ELIGIBILITY_RESTATED = "eligibility.restated"
    SAFE_MODE_ENTERED = "safe-mode.entered"
    SAFE_MODE_ASKED = "safe-mode.asked"
    SAFE_MODE_LEFT = "safe-mode.left"
    SHADOW_BEGUN = "shadow.begun"
    SHADOW_SUMMARY = "shadow.summary"
    SHADOW_ENDED = "shadow.ended"
    MONITOR_ALARMED = "monitor.alarmed"
    MONITOR_QUIET = "monitor.quiet"
    FEEDBACK_GIVEN = "feedback.given"
    STORE_COLLECTED = "store.collected"
    KEY_FAILED = "key.failed"
    KEY_WORKS = "key.works"
    KEY_ANNOUNCED = "key.announced"
    KEY_CHANGED = "key.changed"
    KEY_IN_USE = "key.in-use"
    CERTIFICATE_RENEWED = "certificate.renewed"
    REQUEST_TAKEN = "request.taken"
    BROKER_UNSTABLE = "broker.unstable"
    RESET_BEGUN = "reset.begun"
    RESET_DONE = "reset.done"
    DECOMMISSION_BEGUN = "decommission.begun"

    @property
    def cloud_type(self) -> str:
        """The CloudEvents ``type``."""
        return _PREFIX + self.value


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a part of the agent wants recorded.

    Attributes:
        kind: what is reported.
        stimulus: the step of the state table that commits together with this report, if any.
        subject: component and version it is about.
        attempt: the id that runs through one attempt.
        result: one word: accepted, refused, failed, waiting, done.
        reasons: reason codes, the primary first.
        change: members that :func:`primum_agent.device_state.fold` adds to the present state.
        detail: what people want to see; never folded.
        shadow: the counts of a release in shadow, for a summary of them; never folded.
        monitor: what a monitor found; never folded.
        feedback: how a person classified a remark; never folded.
        happened: when it happened, if that was earlier than the recording.
    """

    kind: EventKind
    stimulus: Stimulus | None = None
    subject: str = ""
    attempt: str = ""
    result: str = ""
    reasons: tuple[str, ...] = ()
    change: Mapping[str, object] = field(default_factory=dict)
    detail: Mapping[str, object] = field(default_factory=dict)
    shadow: Mapping[str, object] = field(default_factory=dict)
    monitor: Mapping[str, object] = field(default_factory=dict)
    feedback: Mapping[str, object] = field(default_factory=dict)
    happened: datetime | None = None


@dataclass(frozen=True)
class Recorded:
    """An event as it stands in the journal."""

    sequence: int
    line: bytes
    hash: str


def event_hash(line: bytes) -> str:
    """SHA-256 over the exact bytes of an event, without the newline of a history file."""
    return hashlib.sha256(line).hexdigest()


def write_event(
    entry: Entry, *, device_id: str, sequence: int, recorded: datetime, data: Mapping[str, object]
) -> Recorded:
    """Give an entry its one byte form.

    Args:
        entry: what is reported.
        device_id: whose event it is.
        sequence: its number in the journal.
        recorded: when it is being recorded.
        data: the ``data`` member: chain, boot, clock, state and what the entry says.
    """
    content: dict[str, object] = {
        "specversion": "1.0",
        "id": f"urn:uuid:{fresh_id()}",
        "source": f"urn:primum:device:{device_id}",
        "type": entry.kind.cloud_type,
        "sequence": f"{sequence:0{SEQUENCE_DIGITS}d}",
        "time": plain_time(entry.happened or recorded),
        "recordedtime": plain_time(recorded),
        "datacontenttype": "application/json",
        "data": dict(data),
    }
    if entry.subject:
        content["subject"] = entry.subject
    line = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    return Recorded(sequence=sequence, line=line, hash=event_hash(line))
