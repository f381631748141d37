"""Asking the core: this device, these stored views, this moment. One judge for one attempt.

The moment is fixed when the judge is made, so that all checks of one run agree.
"""

from __future__ import annotations

import base64
import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from primum_agent.clock import believed
from primum_agent.device import Device
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
    ) -> Verdict:
        """Ask what may be done with a release, and keep the verdict for ``explain``.

        Args:
            release: SHA-256 of its manifest.
            phase: install, activate, fall back or continue.
            artifacts: what was found of its files.
            self_test: what its test here said.
            clinical_use: whether a patient is being served.
            keep: whether the verdict replaces the one kept before.
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
                activated_under=_activated_under(device, release)
                if phase is Phase.CONTINUE
                else None,
                site=self.site,
                installed=device.settings.installed,
                operating_system=device.operating_system,
                conditions_met=frozenset(device.settings.platform.conditions_met),
                asks_per_episode=device.settings.application.asks_per_episode,
                operator_agreed=release in state.agreed,
                seen_holds=seen_holds(device.journal, release),
            )
        )
        if keep:
            device.journal.keep_verdict(
                release=release, name=verdict.name, verdict=verdict.as_dict()
            )
            self._keep_context(verdict)
            remember_holds(
                device.journal, release, verdict.seen_holds, until=self.clinical.issued_at
            )
        return verdict

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


def _activated_under(device: Device, release: str) -> bytes | None:
    """The statement kept with the active generation, if it is the one that is on record."""
    used = device.journal.state().in_use
    record = None if used is None else device.store.record_of(used.number)
    if used is None or record is None or used.release != release:
        return None
    document = str(record.get("statementDocument", "")).encode()
    return document if hashlib.sha256(document).hexdigest() == used.statement else None


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
