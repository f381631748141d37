"""Asking the core: this device, these stored views, this moment. One judge for one attempt.

The moment is fixed when the judge is made, so that all checks of one run agree.
"""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from primum_agent.clock import believed
from primum_agent.device import Device
from primum_agent.device_state import Generation
from primum_agent.in_force import kept_statement
from primum_agent.journal import AGENT_VERSION
from primum_agent.passed_time import passed_time
from primum_agent.seen_holds import remember_holds, seen_holds
from primum_verifier.core.question import (
    ArtifactsFact,
    ClinicalUse,
    Question,
    SelfTestFact,
    Verdict,
)
from primum_verifier.core.verdict import judge
from primum_verifier.core.view import AuthorityView
from primum_verifier.core.vocabulary import Outcome, Phase


@dataclass(frozen=True, kw_only=True)
class Judge:
    """The views of one attempt, and the time it judges at.

    Attributes:
        site: the responsible organisation's view; None where it is silent or the map names none.
        clock: the wall clock where it may be believed.
        proven: a moment that has certainly passed.
    """

    device: Device
    engineering: AuthorityView
    clinical: AuthorityView
    site: AuthorityView | None
    clock: datetime | None
    proven: datetime | None

    def ask(
        self,
        release: str,
        *,
        phase: Phase,
        artifacts: ArtifactsFact = ArtifactsFact.NOT_FETCHED,
        self_test: SelfTestFact = SelfTestFact.NOT_RUN,
        clinical_use: ClinicalUse = ClinicalUse.IDLE,
        keep: bool = True,
        held: Generation | None = None,
    ) -> Verdict:
        """Ask what may be done with a release, and keep the verdict for ``explain``.

        Args:
            release: SHA-256 of its manifest.
            phase: install, activate, fall back or continue.
            artifacts: what was found of its files.
            self_test: what its test here said.
            clinical_use: whether a patient is being served.
            keep: whether the verdict replaces the one kept before.
            held: the generation that is to go on; what is in use when None.
        """
        device = self.device
        state = device.journal.state()
        floor = state.counter_floor
        if phase.grants and state.in_use is not None:
            # A plan that names an older release is no order to go back.
            floor = max(floor, state.in_use.counter)
        verdict = judge(
            Question(
                phase=phase,
                release=release,
                trust_map=device.trust_map,
                engineering=self.engineering,
                clinical=self.clinical,
                device_context=device.context,
                agent_version=AGENT_VERSION,
                hardware_id=device.settings.hardware_id,
                device_key=device.device_key,
                clock=self.clock,
                proven=self.proven,
                counter_floor=floor,
                context_floor=int(device.journal.counter("context-floor", "0")),
                last_context=device.journal.counter("trusted-context", "").encode() or None,
                artifacts=artifacts,
                self_test=self_test,
                clinical_use=clinical_use,
                activated_under=_runs_under(device, release, held or state.in_use)
                if phase is Phase.CONTINUE
                else None,
                site=self.site,
                installed=device.settings.installed,
                installers={
                    name: item.installer for name, item in device.settings.components.items()
                },
                operating_system=device.operating_system,
                conditions_met=frozenset(device.settings.platform.conditions_met),
                asks_per_episode=device.settings.application.asks_per_episode,
                operator_agreed=release in state.agreed,
                seen_holds=seen_holds(device.journal, release),
                shadowed_under=state.shadowed.get(release, ""),
                last_list_issued_at=_last_list(device),
            )
        )
        if keep:
            device.journal.keep_verdict(
                release=release, name=verdict.name, verdict=verdict.as_dict()
            )
            self._keep_context(verdict)
            self._keep_list_time(verdict)
            remember_holds(
                device.journal, release, verdict.seen_holds, until=self.clinical.issued_at
            )
        return verdict

    def _keep_list_time(self, verdict: Verdict) -> None:
        """A list that nobody can read is as old as the last one that could be read."""
        issued = verdict.list_issued_at
        if issued is not None and issued != _last_list(self.device):
            self.device.journal.set_counters(list_issued=issued.isoformat())

    def _keep_context(self, verdict: Verdict) -> None:
        """A context that was once trusted is never again replaced by an older one.

        Its bytes stay, for the day that the file is spoilt: what runs is judged by them then.
        """
        trusted = any(
            check.name == "device-context" and check.outcome is Outcome.SATISFIED
            for check in verdict.checks
        )
        if not trusted:
            return
        with suppress(ValueError, KeyError, TypeError):
            payload = base64.b64decode(json.loads(self.device.context)["payload"])
            self.device.journal.raise_context_floor(int(json.loads(payload)["number"]))
            text = self.device.context.decode()
            if verdict.phase.grants and self.device.journal.counter("trusted-context", "") != text:
                self.device.journal.set_counters(trusted_context=text)


def _runs_under(device: Device, release: str, used: Generation | None) -> bytes | None:
    """The statement in force for a release that is to go on, as it is kept here."""
    if used is None or used.release != release:
        return None
    return kept_statement(device.store, used)


def _last_list(device: Device) -> datetime | None:
    text = device.journal.counter("list-issued", "")
    return datetime.fromisoformat(text) if text else None


def make_judge(
    device: Device,
    *,
    engineering: AuthorityView | None,
    clinical: AuthorityView | None,
    site: AuthorityView | None = None,
) -> Judge | None:
    """A judge over the views; None while an authority was never reached. A site may be silent."""
    if engineering is None or clinical is None:
        return None
    return Judge(
        device=device,
        engineering=engineering,
        clinical=clinical,
        site=site,
        clock=believed(device.clock),
        proven=passed_time(device.journal, engineering, clinical),
    )
