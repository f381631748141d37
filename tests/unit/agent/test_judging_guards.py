"""What an attempt keeps for its judge, and what it says when it fails of its own fault."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from primum_agent.attempt import attempt, run_attempt
from primum_agent.clock import SystemClock
from primum_agent.content_store import FolderStore
from primum_agent.desk import Visitor
from primum_agent.device import Device, open_device, real_ports
from primum_agent.device_state import DeviceState
from primum_agent.events import Entry
from primum_agent.in_force import kept_statement
from primum_agent.journal import Journal
from primum_agent.judging import _runs_under, make_judge
from primum_agent.lifecycle import State
from primum_agent.requests import Requests
from primum_agent.settings import read_settings
from primum_agent.transitions import unhealthy
from primum_verifier.core.eligibility import INDEX_TARGET
from primum_verifier.core.question import ArtifactsFact, ClinicalUse
from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import SignedDocument
from primum_verifier.core.vocabulary import Capability, Phase
from primum_verifier.shell.bench import FakeBench


class OverflowingBench:
    """A part with a fault of its own."""

    def run(self, **_: object) -> Any:
        raise OverflowError("date value out of range")


@pytest.fixture
def device(in_the_field: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    monkeypatch.setattr("primum_agent.candidate_gates.clinical_use", lambda _: ClinicalUse.IDLE)
    layout = in_the_field.layout
    layout.run.mkdir(parents=True, exist_ok=True)
    layout.scratch.mkdir(parents=True, exist_ok=True)
    FolderStore(layout).prepare()
    settings = read_settings(in_the_field.provisioning)
    journal = Journal.open_or_restart(layout, clock=SystemClock(), device_id=settings.device_id)
    in_the_field.release("1.0.0", counter=1)
    yield open_device(
        settings=settings,
        layout=layout,
        clock=SystemClock(),
        journal=journal,
        attempt="test",
        ports=replace(real_ports(settings, layout), bench=FakeBench()),
    )
    journal.close()


def test_a_fault_of_the_agent_itself_is_reported_once_and_not_lost(
    device: Device, in_the_field: Any
) -> None:
    ports = replace(real_ports(device.settings, device.layout), bench=OverflowingBench())
    for _ in range(2):
        with pytest.raises(OverflowError):
            run_attempt(
                settings=device.settings,
                layout=device.layout,
                clock=SystemClock(),
                reason="poll",
                ports=ports,
            )
    assert in_the_field.kinds().count("attempt.failed") == 1


def test_the_statement_kept_with_a_release_is_the_one_on_record_or_none(device: Device) -> None:
    assert attempt(device, reason="poll") == 0
    used = device.journal.state().in_use
    assert used is not None
    kept = kept_statement(device.store, used)
    assert kept is not None
    assert hashlib.sha256(kept).hexdigest() == used.statement
    # Of another release it says nothing.
    assert _runs_under(device, used.release, used) == kept
    assert _runs_under(device, "0" * 64, used) is None
    assert _runs_under(device, used.release, None) is None
    path = device.store.folder_of(used.number) / "generation.json"
    record = json.loads(path.read_bytes())
    record["statementDocument"] = record["statementDocument"].replace("DE", "CH")
    path.chmod(0o640)
    path.write_text(json.dumps(record))
    assert kept_statement(device.store, used) is None


def test_proven_time_falls_only_when_other_keys_sign_it(device: Device) -> None:
    assert attempt(device, reason="poll") == 0
    stored = device.authorities.stored(now=device.clock.now(), device_id="wearable-001")
    engineering, clinical = stored.engineering, stored.clinical
    assert engineering is not None
    assert clinical is not None
    assert engineering.issued_at is not None
    first = make_judge(device, engineering=engineering, clinical=clinical)
    earlier = replace(engineering, issued_at=engineering.issued_at - timedelta(days=1))
    same_keys = make_judge(device, engineering=earlier, clinical=clinical)
    other = replace(earlier, time_epoch="f" * 64)
    other_keys = make_judge(device, engineering=other, clinical=clinical)
    assert first is not None
    assert same_keys is not None
    assert other_keys is not None
    assert first.proven is not None
    assert same_keys.proven is not None
    assert other_keys.proven is not None
    assert same_keys.proven >= first.proven
    assert other_keys.proven < first.proven


def test_the_time_of_the_last_list_is_kept_for_the_day_that_none_can_be_read(
    device: Device,
) -> None:
    assert attempt(device, reason="poll") == 0
    stored = device.authorities.stored(now=device.clock.now(), device_id="wearable-001")
    used = device.journal.state().in_use
    assert used is not None
    assert stored.clinical is not None
    unread = replace(
        stored.clinical,
        documents={
            **stored.clinical.documents,
            INDEX_TARGET: SignedDocument(b'{"crit":["later"]}', "eligibility"),
        },
    )
    kept = device.journal.counter("list-issued", "")
    assert kept
    judge = make_judge(device, engineering=stored.engineering, clinical=unread)
    assert judge is not None
    for days, ordered in ((0, "continue-with-notice"), (3650, "suspend-ai-function")):
        later = None if judge.proven is None else judge.proven + timedelta(days=days)
        verdict = replace(judge, proven=later).ask(used.release, phase=Phase.CONTINUE)
        assert verdict.ordered is not None
        assert (verdict.ordered == "continue-with-notice") is (ordered == "continue-with-notice")
    assert device.journal.counter("list-issued", "") == kept


def test_a_context_that_is_spoilt_on_the_disk_takes_nothing_away(device: Device) -> None:
    """Who can write the provisioning folder, or holds one of its keys, decides what runs."""
    assert attempt(device, reason="poll") == 0
    assert device.journal.counter("trusted-context", "").encode() == device.context
    stored = device.authorities.stored(now=device.clock.now(), device_id="wearable-001")
    used = device.journal.state().in_use
    spoilt = make_judge(
        replace(device, context=b"{}"), engineering=stored.engineering, clinical=stored.clinical
    )
    assert spoilt is not None
    assert used is not None
    verdict = spoilt.ask(used.release, phase=Phase.CONTINUE, artifacts=ArtifactsFact.WHOLE)
    assert (verdict.capability, verdict.ordered) == (Capability.CLINICAL, None)
    refused = spoilt.ask(used.release, phase=Phase.INSTALL, artifacts=ArtifactsFact.WHOLE)
    assert refused.primary == Reason.ELIGIBILITY_CONTEXT_UNTRUSTED
    assert device.journal.counter("trusted-context", "").encode() == device.context


def test_health_proven_while_an_attempt_takes_the_release_away_changes_nothing(
    device: Device,
) -> None:
    assert attempt(device, reason="poll") == 0
    seen = device.journal.state()
    assert seen.lifecycle is State.PROVISIONAL
    assert seen.in_use is not None
    device.journal.record(unhealthy(seen.in_use, why="taken away"))

    class Late:
        """The journal as the handler saw it a moment ago; what it writes meets the present."""

        def state(self) -> DeviceState:
            return seen

        def record(self, entry: Entry) -> object:
            return device.journal.record(entry)

        def __getattr__(self, name: str) -> Any:
            return getattr(device.journal, name)

    late: Any = Late()
    requests = Requests(
        journal=lambda: late,
        clock=SystemClock(),
        poll_now=lambda: None,
        status=dict,
        changed=lambda: None,
        stopped=lambda _: None,
        reach=lambda: None,
        may_use=dict,
        observe=dict,
    )
    visitor: Visitor = Visitor.__new__(Visitor)
    answer = requests.answer(visitor, {"do": "healthy", "generation": seen.in_use.number})
    assert (answer["ok"], answer["reason"]) == (False, "state.busy")
    assert device.journal.state().lifecycle is State.ROLLING_BACK
