"""What is said about a candidate: each step in the journal, and each way in which work on it ends.

At a poll that concludes what was concluded before nothing is said again; the steps of such a quiet
walk are noted, and said only where the conclusion turns out to be another.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from primum_agent.components import ComponentFailedError
from primum_agent.device import Device
from primum_agent.device_state import Candidate
from primum_agent.events import Entry, EventKind
from primum_agent.lifecycle import Stimulus
from primum_agent.shadowing import is_for_shadow
from primum_agent.taking_effect import concluded, setback
from primum_verifier.core.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_REFUSED,
    PrimumError,
    RefusedError,
)
from primum_verifier.core.question import Verdict
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import Outcome

_SHOWN = 20
_INACTIVE = "installed, not eligible here, inactive"
_FOR_SHADOW = "installed, for shadow use only, inactive"


@dataclass(frozen=True)
class Conclusion:
    """What came of a release.

    Attributes:
        text: one comparable line; equal texts are one and the same problem.
        exit_code: what the attempt ends with.
        news: where gates hold it, whether that was not told yet; None where none does.
    """

    text: str
    exit_code: int
    news: bool | None = None

    def is_news(self, before: str | None) -> bool:
        """Whether it has to be told, after what was concluded before."""
        return self.text != before if self.news is None else self.news


READY = Conclusion("ready", EXIT_DONE)


def obstacles(verdict: Verdict) -> dict[str, object]:
    """The rules in the way, for a report."""
    return {
        "capability": verdict.capability.label,
        "checks": [
            {
                "name": check.name,
                "outcome": str(check.outcome),
                "reason": "" if check.reason is None else str(check.reason),
                "found": check.found,
                "expected": check.expected,
            }
            for check in verdict.in_the_way[:_SHOWN]
        ],
        "views": list(verdict.views.values()),
    }


def reasons_of_verdict(verdict: Verdict) -> tuple[str, ...]:
    """Reason codes, the primary first, each once."""
    found = [verdict.primary, *(check.reason for check in verdict.in_the_way)]
    return tuple(dict.fromkeys(str(reason) for reason in found if reason is not None))


@dataclass
class CandidateReport:
    """What one attempt says about one candidate.

    Attributes:
        device: the device.
        candidate: the release.
        aloud: whether what is said goes into the journal; otherwise it is noted.
    """

    device: Device
    candidate: Candidate
    aloud: bool = True
    _unsaid: list[Entry] = field(default_factory=list)

    def speak_up(self) -> None:
        """Take the steps that a quiet walk took; nothing is done a second time for it."""
        for entry in self._unsaid:
            self.device.journal.record(entry)
        self._unsaid.clear()
        self.aloud = True

    def say(
        self,
        kind: EventKind,
        stimulus: Stimulus | None,
        *,
        result: str = "accepted",
        reasons: tuple[str, ...] = (),
        change: dict[str, object] | None = None,
        detail: dict[str, object] | None = None,
    ) -> None:
        """Take a step of the state table and report it; a quiet walk only notes it."""
        entry = Entry(
            kind=kind,
            stimulus=stimulus,
            subject=self.candidate.name,
            attempt=self.device.attempt,
            result=result,
            reasons=reasons,
            change=change or {},
            detail=detail or {},
        )
        if self.aloud:
            self.device.journal.record(entry)
        else:
            self._unsaid.append(entry)

    def drop(self, why: str) -> None:
        """It is no candidate any more, and nothing was found wrong with it."""
        self.device.journal.record(
            Entry(
                kind=EventKind.UPDATE_REFUSED,
                stimulus=Stimulus.REFUSED,
                subject=self.candidate.name,
                attempt=self.device.attempt,
                result="refused",
                change={"candidate": None},
                detail={"why": why},
            )
        )

    def refused(self, verdict: Verdict) -> Conclusion:
        """The verdict lets nothing be done with it."""
        conclusion = Conclusion(f"refused: {', '.join(reasons_of_verdict(verdict))}", EXIT_REFUSED)
        self.say(
            EventKind.UPDATE_REFUSED,
            Stimulus.REFUSED,
            result="refused",
            reasons=reasons_of_verdict(verdict),
            change=self._over(conclusion),
            detail=obstacles(verdict),
        )
        return conclusion

    def staged(self, verdict: Verdict, *, not_here: PrimumError | None = None) -> Conclusion:
        """It is kept, and may not be used here.

        Args:
            verdict: what was judged.
            not_here: why this device cannot watch it, or run it in shadow.
        """
        shadow = is_for_shadow(verdict) and not verdict.in_the_way
        here = () if not_here is None else (str(not_here.reason),)
        mode = () if here and not shadow else (str(Reason.ELIGIBILITY_MODE),)
        reasons = (*(reasons_of_verdict(verdict) or mode), *here)
        # What is missing is part of the conclusion: an approval that came in is news.
        missing = [
            f"{check.name}={check.found}"
            for check in verdict.in_the_way
            if check.outcome is Outcome.REFUSED and check.name == "approvals"
        ]
        text = f"staged: {', '.join((*reasons, *missing))}"
        conclusion = Conclusion(text, EXIT_REFUSED)
        self.say(
            EventKind.UPDATE_STAGED,
            Stimulus.STAGED,
            result="refused",
            reasons=reasons,
            change=self._over(conclusion),
            detail={
                **obstacles(verdict),
                "standing": _FOR_SHADOW if shadow else _INACTIVE,
                **({} if not_here is None else {"notHere": not_here.as_dict()}),
            },
        )
        return conclusion

    def not_taken(self, verdict: Verdict, error: ComponentFailedError) -> Conclusion:
        """A component says that it will not come into effect, or asked for too much patience."""
        if verdict.manifest is None:
            raise RuntimeError("components were asked without a manifest")
        state, release = self.device.journal.state(), self.candidate.release
        conclusion = Conclusion(concluded(error), EXIT_FAILED)
        most = verdict.manifest.activation.max_attempts
        self.say(
            EventKind.UPDATE_FAILED,
            Stimulus.REFUSED,
            result="failed",
            reasons=(str(error.reason),),
            change=self._over(conclusion) | setback(state, release, most=most, error=error),
            detail={**error.as_dict()},
        )
        return conclusion

    def ended(self, kind: EventKind, stimulus: Stimulus, error: PrimumError) -> Conclusion:
        """Fetching ended with an error; the release itself was not judged by it."""
        result = "refused" if isinstance(error, RefusedError) else "failed"
        conclusion = Conclusion(concluded(error), error.exit_code)
        self.say(
            kind,
            stimulus,
            result=result,
            reasons=(str(error.reason),),
            change=self._over(conclusion),
            detail={**error.as_dict()},
        )
        return conclusion

    def _over(self, conclusion: Conclusion) -> dict[str, object]:
        """The change to the device's state where work on it ended so."""
        return {"candidate": None, "conclusion": {self.candidate.release: conclusion.text}}
