"""The words that documents, verdicts, logs and messages share, each defined once."""

from enum import IntEnum, StrEnum


class OrderedWord(StrEnum):
    """A word that stands in an order: the members are written from the least to the most."""

    @property
    def rank(self) -> int:
        """Its place in the order, from 0."""
        return list(type(self)).index(self)


class Stage(OrderedWord):
    """How far a release has come; a later stage asks for more evidence and more people."""

    DEVELOPMENT = "development"
    VERIFICATION = "verification"
    VALIDATION = "validation"
    CLINICAL_SIMULATION = "clinical-simulation"
    LIMITED_RELEASE = "limited-release"
    PRODUCTION = "production"


class Decision(StrEnum):
    """What an eligibility statement allows."""

    ELIGIBLE = "eligible"
    ELIGIBLE_WITH_CONDITIONS = "eligible-with-conditions"
    INVESTIGATIONAL = "investigational"
    SHADOW_ONLY = "shadow-only"


class ChangeTier(OrderedWord):
    """How much a release changes, by its clinical meaning; least first."""

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


class NoticeAction(OrderedWord):
    """What a notice, or an expiry, orders a device to do with a running release.

    They stand in the order of how much they take away; of two orders the later counts.
    """

    NOTIFY_ONLY = "notify-only"
    NO_NEW_ACTIVATION = "no-new-activation"
    CONTINUE_WITH_NOTICE = "continue-with-notice"
    ADVISORY_ONLY = "advisory-only"
    RESTRICT = "restrict"
    FALL_BACK = "fall-back"
    SUSPEND_AI_FUNCTION = "suspend-ai-function"
    SUSPEND_DEVICE_FUNCTION = "suspend-device-function"

    @property
    def takes_away(self) -> bool:
        """Whether the release may not go on running."""
        return self.rank >= NoticeAction.FALL_BACK.rank


class EpisodeRule(OrderedWord):
    """What becomes of an episode of use that runs when something is taken away; hardest last."""

    FINISH_EPISODE = "finish-episode"
    NEXT_SAFE_POINT = "next-safe-point"
    AT_ONCE = "at-once"


class PatientCategory(StrEnum):
    """For whom a device, or a release, is meant (ISO 80601 practice)."""

    ADULT = "adult"
    PAEDIATRIC = "paediatric"
    NEONATAL = "neonatal"


class Rung(StrEnum):
    """The rungs of the validation ladder; the first two may rest on made-up data."""

    OFFLINE = "offline"
    SIMULATED = "simulated"
    RETROSPECTIVE = "retrospective"
    PROSPECTIVE = "prospective"


ON_PATIENTS = frozenset({Rung.RETROSPECTIVE, Rung.PROSPECTIVE})
"""The rungs that cannot rest on made-up data."""


class Enforcement(StrEnum):
    """Who can hold a condition: the device at activation, the application, or only the reader."""

    ACTIVATION = "activation"
    INFERENCE = "inference"
    LABELLING = "labelling"


class Phase(StrEnum):
    """What is being asked: expiry and time are judged apart for each.

    Fetching comes before them all; it alone runs the TUF client, which judges expiry itself.
    """

    INSTALL = "install"
    ACTIVATE = "activate"
    FALL_BACK = "fall-back"
    CONTINUE = "continue"

    @property
    def grants(self) -> bool:
        """Whether a yes gives the device something that it does not have yet."""
        return self in {Phase.INSTALL, Phase.ACTIVATE}


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


USE_ALLOWED = {
    Decision.ELIGIBLE: Capability.CLINICAL,
    Decision.ELIGIBLE_WITH_CONDITIONS: Capability.CLINICAL,
    Decision.INVESTIGATIONAL: Capability.INVESTIGATIONAL,
    Decision.SHADOW_ONLY: Capability.SHADOW,
}
"""How far each decision lets a device go; its label is the mode of use in the statement."""


class Outcome(StrEnum):
    """The outcome of one check; unknown is never yes."""

    SATISFIED = "satisfied"
    REFUSED = "refused"
    NOT_APPLICABLE = "not-applicable"
    UNKNOWN = "unknown"
