"""The words that a device's events and reports share with those who read them.

Standard library only: the resident supervisor may import this module.
"""

from enum import StrEnum

from primum_verifier.core.vocabulary import OrderedWord


class EventKind(StrEnum):
    """What an event reports: its whole CloudEvents ``type``. The set is closed."""

    JOURNAL_BEGUN = "primum.device.journal.begun"
    JOURNAL_RESTARTED = "primum.device.journal.restarted"
    AGENT_STARTED = "primum.device.agent.started"
    AGENT_STOPPED = "primum.device.agent.stopped"
    ATTEMPT_FAILED = "primum.device.attempt.failed"
    TRUST_REFUSED = "primum.device.trust.refused"
    TRUST_CHANGED = "primum.device.trust.changed"
    TRANSPORT_FAILED = "primum.device.transport.failed"
    REPOSITORIES_REACHED = "primum.device.repositories.reached"
    MIRROR_FAILED = "primum.device.mirror.failed"
    MIRROR_WORKS = "primum.device.mirror.works"
    UPDATE_FOUND = "primum.device.update.found"
    UPDATE_REFUSED = "primum.device.update.refused"
    UPDATE_DOWNLOADING = "primum.device.update.downloading"
    UPDATE_PROGRESS = "primum.device.update.progress"
    UPDATE_PAUSED = "primum.device.update.paused"
    UPDATE_RESUMED = "primum.device.update.resumed"
    UPDATE_DOWNLOADED = "primum.device.update.downloaded"
    UPDATE_STAGED = "primum.device.update.staged"
    UPDATE_FAILED = "primum.device.update.failed"
    UPDATE_FORGIVEN = "primum.device.update.forgiven"
    UPDATE_AGREED = "primum.device.update.agreed"
    UPDATE_INTERRUPTED = "primum.device.update.interrupted"
    UPDATE_WAITING = "primum.device.update.waiting"
    UPDATE_ACTIVATING = "primum.device.update.activating"
    UPDATE_TAKING_EFFECT = "primum.device.update.taking-effect"
    UPDATE_ACTIVATED = "primum.device.update.activated"
    UPDATE_COMMITTED = "primum.device.update.committed"
    UPDATE_ROLLING_BACK = "primum.device.update.rolling-back"
    UPDATE_ROLLED_BACK = "primum.device.update.rolled-back"
    SELFTEST_STARTED = "primum.device.selftest.started"
    SELFTEST_PASSED = "primum.device.selftest.passed"
    SELFTEST_FAILED = "primum.device.selftest.failed"
    ACTIVE_TEST_FAILED = "primum.device.active-test.failed"
    ACTIVE_TEST_PASSED = "primum.device.active-test.passed"
    DISPLAY_FAILED = "primum.device.display.failed"
    DISPLAY_CONFIRMED = "primum.device.display.confirmed"
    ALARM_FAILED = "primum.device.alarm.failed"
    ALARM_WORKS = "primum.device.alarm.works"
    ELIGIBILITY_LOST = "primum.device.eligibility.lost"
    ELIGIBILITY_CHANGED = "primum.device.eligibility.changed"
    ELIGIBILITY_RESTATED = "primum.device.eligibility.restated"
    SAFE_MODE_ENTERED = "primum.device.safe-mode.entered"
    SAFE_MODE_ASKED = "primum.device.safe-mode.asked"
    SAFE_MODE_LEFT = "primum.device.safe-mode.left"
    SHADOW_BEGUN = "primum.device.shadow.begun"
    SHADOW_SUMMARY = "primum.device.shadow.summary"
    SHADOW_ENDED = "primum.device.shadow.ended"
    MONITOR_ALARMED = "primum.device.monitor.alarmed"
    MONITOR_QUIET = "primum.device.monitor.quiet"
    FEEDBACK_GIVEN = "primum.device.feedback.given"
    STORE_COLLECTED = "primum.device.store.collected"
    KEY_FAILED = "primum.device.key.failed"
    KEY_WORKS = "primum.device.key.works"
    KEY_ANNOUNCED = "primum.device.key.announced"
    KEY_CHANGED = "primum.device.key.changed"
    KEY_IN_USE = "primum.device.key.in-use"
    CERTIFICATE_RENEWED = "primum.device.certificate.renewed"
    REQUEST_TAKEN = "primum.device.request.taken"
    BROKER_UNSTABLE = "primum.device.broker.unstable"
    RESET_BEGUN = "primum.device.reset.begun"
    RESET_DONE = "primum.device.reset.done"
    DECOMMISSION_BEGUN = "primum.device.decommission.begun"


BEGINNINGS = frozenset({EventKind.JOURNAL_BEGUN, EventKind.JOURNAL_RESTARTED})
"""The kinds that begin a chain; every other event names one before it."""


class EventResult(StrEnum):
    """How what an event reports ended, in one word."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    FAILED = "failed"
    WAITING = "waiting"
    DONE = "done"


class ClockQuality(StrEnum):
    """How far the wall clock behind a ``time`` may be believed."""

    SYNCHRONISED = "synchronised"
    FREE_RUNNING = "free-running"
    UNSET = "unset"


class LifecycleState(StrEnum):
    """How the update of a device is going."""

    IDLE = "idle"
    RESOLVING = "resolving"
    DOWNLOADING = "downloading"
    VERIFYING = "verifying"
    TESTING = "testing"
    WAITING = "waiting"
    ACTIVATING = "activating"
    PROVISIONAL = "provisional"
    ROLLING_BACK = "rolling-back"


class MonitorAction(OrderedWord):
    """What a device does by itself when a monitor alarms; drift alone only ever takes away.

    There is nothing between telling and stopping: a device has no operating point that it could
    choose by itself, and an order that it cannot carry out is better refused than passed over.
    """

    LOG = "log"
    NOTIFY = "notify"
    SUSPEND_REQUEST = "suspend-request"

    @property
    def reduces_function(self) -> bool:
        """Whether a patient loses something by it, so that a hazard must have been weighed."""
        return self.rank >= MonitorAction.SUSPEND_REQUEST.rank


MAX_REMARK = 2000
"""Characters of a remark's text: a remark, no report."""


class FeedbackRole(StrEnum):
    """Who remarks something at the device; never a name."""

    CLINICIAN = "clinician"
    TECHNICIAN = "technician"
    PATIENT = "patient"


class FeedbackCategory(StrEnum):
    """What a remark is about."""

    WRONG_RESULT = "wrong-result"
    MISSED_FINDING = "missed-finding"
    ALARM_BURDEN = "alarm-burden"
    USABILITY = "usability"
    DISPLAY = "display"
    OTHER = "other"


class FeedbackSeverity(OrderedWord):
    """How bad it is: the question from which it follows what has to be reported to whom.

    MDR 2017/745, Art. 87; 21 CFR 803.3.
    """

    NO_HARM = "no-harm"
    COULD_HARM = "could-harm"
    HARM = "harm"
    SERIOUS_HARM = "serious-harm"
