"""The words that documents, verdicts, logs and messages share, each defined once."""

from enum import IntEnum, StrEnum


class Stage(StrEnum):
    """How far a release has come; a later stage asks for more evidence and more people."""

    DEVELOPMENT = "development"
    VERIFICATION = "verification"
    VALIDATION = "validation"
    CLINICAL_SIMULATION = "clinical-simulation"
    LIMITED_RELEASE = "limited-release"
    PRODUCTION = "production"

    @property
    def rank(self) -> int:
        """Its place in the order of stages, from 0."""
        return list(Stage).index(self)


class Decision(StrEnum):
    """What an eligibility statement allows."""

    ELIGIBLE = "eligible"
    ELIGIBLE_WITH_CONDITIONS = "eligible-with-conditions"
    INVESTIGATIONAL = "investigational"
    SHADOW_ONLY = "shadow-only"


class ChangeTier(StrEnum):
    """How much a release changes, by its clinical meaning."""

    NONE_CLINICAL = "none-clinical"
    MINOR = "minor"
    MODERATE = "moderate"
    MATERIAL = "material"


class Function(StrEnum):
    """The function in which a person approves; one person holds one function."""

    CLINICAL = "clinical"
    QUALITY = "quality"
    REGULATORY = "regulatory"
    SECURITY = "security"
    ENGINEERING = "engineering"
    SITE = "site"


class IndexStatus(StrEnum):
    """What the eligibility index says of one release."""

    ELIGIBLE = "eligible"
    HELD = "held"
    RESTRICTED = "restricted"
    WITHDRAWN = "withdrawn"


class NoticeKind(StrEnum):
    """The kinds of safety notice."""

    HOLD = "hold"
    RESTRICTION = "restriction"
    WITHDRAWAL = "withdrawal"
    FIELD_ACTION = "field-action"


class NoticeAction(StrEnum):
    """What a notice, or an expiry, orders a device to do with a running release."""

    NOTIFY_ONLY = "notify-only"
    CONTINUE_WITH_NOTICE = "continue-with-notice"
    NO_NEW_ACTIVATION = "no-new-activation"
    FALL_BACK = "fall-back"
    SUSPEND_AI_FUNCTION = "suspend-ai-function"


class Phase(StrEnum):
    """What is being asked: expiry and time are judged apart for each."""

    INSTALL = "install"
    FALL_BACK = "fall-back"
    CONTINUE = "continue"


class Capability(IntEnum):
    """What a device may do with a release; each step includes those before it."""

    NONE = 0
    STORE = 1
    STAGE = 2
    SELF_TEST = 3
    SHADOW = 4
    INVESTIGATIONAL = 5
    CLINICAL = 6

    @property
    def label(self) -> str:
        """The capability as people and documents write it."""
        return self.name.lower().replace("_", "-")


class Outcome(StrEnum):
    """The outcome of one check; unknown is never yes."""

    SATISFIED = "satisfied"
    REFUSED = "refused"
    NOT_APPLICABLE = "not-applicable"
    UNKNOWN = "unknown"
