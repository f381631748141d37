"""The application has the use of releases stopped: at once, for good, until a person ends it."""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from primum_agent.application import SafeMode, ask_agent, open_active
from primum_agent.clock import FakeClock
from primum_agent.commands.reinstate import run as order
from primum_agent.desk import ask
from primum_agent.events import Entry, EventKind
from primum_agent.stopping import stop
from primum_verifier.core.document import sha256_hex
from primum_verifier.core.question import ClinicalUse
from primum_verifier.record.event import parse_event

Attempt = Callable[..., int]
Eventually = Callable[..., Any]
WHY = "it missed a run of beats"
ORDER = ("--by", "R. Meyer", "--why", "signal checked")
DONE, REFUSED, USAGE, BUSY, WAITING = 0, 1, 2, 4, 5


@pytest.fixture
def committed(in_the_field: Any, attempt_now: Attempt) -> Any:
    """A device on which 1.0.0 proved health."""
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == DONE
    in_the_field.commit()
    return in_the_field


def reinstate(field: Any, *words: str) -> subprocess.CompletedProcess[str]:
    """Order it, and again while the supervisor itself is at an attempt."""
    folder = ("--provisioning", field.provisioning)
    done: subprocess.CompletedProcess[str] = field.agent("reinstate", *(words or ORDER), *folder)
    while done.returncode == BUSY:
        done = field.agent("reinstate", *(words or ORDER), *folder)
    return done


def stop_it(field: Any) -> None:
    """As the supervisor records it; no attempt has acted on it yet."""
    with field.journal_to_write() as journal:
        used = journal.state().in_use
        stop(journal, used, clock=FakeClock(), why=WHY, by="Dr. Aoki")


def in_use(field: Any) -> int | None:
    journal = field.journal()
    try:
        number: int | None = journal.state().active
        return number
    finally:
        journal.close()


def test_a_stop_is_told_at_once_and_outlives_restarts_and_newer_releases(
    committed: Any, eventually: Eventually
) -> None:
    with committed.running():
        eventually(lambda: ask(committed.layout.socket, {"do": "status"}))
        release = committed.opened()
        assert release.ask_safe_mode(WHY, by="Dr. Aoki")
        # Told before the answer, not once an attempt has acted.
        standing = committed.standing()
        assert (standing["mode"], standing["suspended"]) == ("safe", "ai-function")
        assert standing["reasons"][0] == "safety.stopped"
        assert WHY in standing["notice"]
        assert "Dr. Aoki" in standing["notice"]
        assert not release.may_use()
        eventually(lambda: in_use(committed) is None)
    committed.release("1.1.0", counter=2)
    with committed.running():
        eventually(lambda: "stopped" in committed.counter("last-poll"))
        assert isinstance(open_active(committed.state), SafeMode)
        status = json.loads(committed.agent("status", "--json").stdout)
        assert WHY in status["stopped"]
        assert status["suspended"] == "ai-function"
        assert [row["standing"] for row in status["gates"] if row["gate"] == "stopped"] == ["holds"]
        assert WHY in committed.agent("status").stdout
        assert WHY in committed.agent("explain").stdout
        assert "use stopped" in committed.agent("status").stdout
    assert committed.standing()["mode"] == "safe"
    asked = committed.event("safe-mode.asked")["data"]
    assert asked["detail"]["by"] == "Dr. Aoki"
    assert asked["reasons"] == ["safety.stopped"]
    assert committed.kinds().count("safe-mode.asked") == 1
    for line in (json.dumps(item).encode() for item in committed.events()):
        parse_event(line, where="journal")


def test_a_person_ends_it_and_what_waited_for_it_is_activated(
    committed: Any, attempt_now: Attempt, eventually: Eventually
) -> None:
    stop_it(committed)
    committed.release("1.1.0", counter=2)
    assert attempt_now() == WAITING
    assert committed.standing()["mode"] == "safe"
    with committed.running():
        eventually(lambda: ask(committed.layout.socket, {"do": "status"}))
        done = reinstate(committed)
        assert done.returncode == DONE, done.stderr
        assert eventually(committed.opened).version == "1.1.0"
    left = committed.event("safe-mode.left")["data"]
    assert left["detail"]["by"] == "R. Meyer"
    assert left["detail"]["why"] == "signal checked"
    assert WHY in left["detail"]["was"]
    assert "use stopped" not in committed.agent("status").stdout
    assert reinstate(committed).returncode == USAGE


def test_without_any_server_the_held_release_comes_back(
    committed: Any, attempt_now: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taking away can harm too: a bedside without a network gets its function back.

    No supervisor runs that would say that nobody is served: its first poll might find the release
    waiting for the end of the stop.
    """
    monkeypatch.setattr("primum_agent.reinstating.is_idle", lambda *_: True)
    committed.engineering.web.rename(committed.folder / "gone")
    stop_it(committed)
    attempt_now("resume")
    assert committed.standing()["mode"] == "safe"
    options = argparse.Namespace(
        by=ORDER[1],
        why=ORDER[3],
        provisioning=committed.provisioning,
        state=committed.state,
        json=True,
    )
    assert order(options) == DONE
    assert committed.opened().version == "1.0.0"
    assert committed.opened().reasons == ("fallback.used",)
    name = f"{committed.releases['1.0.0']}.way-back.dsse.json"
    signed = sha256_hex((committed.layout.self_tests / name).read_bytes())
    back = committed.event("update.rolling-back")["data"]["detail"]
    assert back["statement"] == {"sha256": signed}


def test_without_any_server_what_waits_for_the_end_of_a_stop_comes_back(
    committed: Any, attempt_now: Attempt, eventually: Eventually
) -> None:
    committed.engineering.web.rename(committed.folder / "gone")
    stop_it(committed)
    attempt_now("resume")
    with committed.running():
        eventually(lambda: "update.waiting" in committed.kinds())
        done = reinstate(committed, "--json", *ORDER)
        assert done.returncode == DONE, done.stderr
        assert json.loads(done.stdout) == {"ok": True, "name": None, "polls": True}
        assert eventually(committed.opened).version == "1.0.0"


def test_no_release_that_a_signed_order_suspends_comes_back_with_the_end_of_a_stop(
    committed: Any, attempt_now: Attempt, eventually: Eventually
) -> None:
    committed.release("1.1.0", counter=2)
    assert attempt_now() == DONE
    committed.commit()
    stop_it(committed)
    attempt_now("resume")
    committed.assign(None)
    committed.notify("1.1.0", "clinical", "regulatory", action="suspend-device-function")
    attempt_now()
    with committed.running():
        eventually(lambda: ask(committed.layout.socket, {"do": "status"}))
        assert reinstate(committed).returncode == DONE
    standing = committed.standing()
    assert (standing["mode"], standing["suspended"]) == ("safe", "device-function")


def test_nothing_is_switched_under_a_patient_by_the_end_of_a_stop(
    committed: Any, attempt_now: Attempt
) -> None:
    stop_it(committed)
    attempt_now("resume")
    done = reinstate(committed)
    assert done.returncode == WAITING, "without a supervisor nobody can say"
    assert committed.standing()["mode"] == "safe"
    assert "safe-mode.left" not in committed.kinds()


def test_what_is_stopped_in_the_middle_of_a_switch_is_left_again(
    committed: Any, attempt_now: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request came while the next release was laid out: no look at the gates saw it."""
    committed.release("1.1.0", counter=2)
    inner = "primum_agent.activation.fail_here"

    def asked(_: object) -> None:
        monkeypatch.setattr(inner, lambda _: None)
        stop_it(committed)

    monkeypatch.setattr(inner, asked)
    assert attempt_now() == DONE
    assert committed.standing()["mode"] == "safe", "the switch itself serves nothing"
    attempt_now("resume")
    assert in_use(committed) is None
    assert committed.layout.active.is_symlink() is False


def test_a_stop_that_comes_while_others_are_asked_is_seen(
    committed: Any, attempt_now: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed.release("1.1.0", counter=2)

    asked: list[None] = []

    def use(_: object) -> Any:
        """Asked for the gates first, and once more right before the switch."""
        if committed.kinds()[-1] == "selftest.passed":
            asked.append(None)
            if len(asked) == 2:
                stop_it(committed)
        return ClinicalUse.IDLE

    monkeypatch.setattr("primum_agent.candidate_gates.clinical_use", use)
    assert attempt_now() == WAITING
    assert "1.1.0" not in str(committed.event("update.activated")["subject"])


def test_a_stop_outlives_a_lost_journal(committed: Any, attempt_now: Attempt) -> None:
    stop_it(committed)
    attempt_now("resume")
    committed.layout.journal.write_bytes(b"damaged" * 1000)
    assert committed.once().returncode == WAITING
    assert committed.standing()["mode"] == "safe"
    journal = committed.journal()
    assert WHY in journal.state().stopped
    assert journal.state() == journal.replayed()
    journal.close()


def test_an_application_that_asks_for_ever_fills_no_journal(
    committed: Any, eventually: Eventually
) -> None:
    with committed.running():
        eventually(lambda: ask(committed.layout.socket, {"do": "status"}))
        release = committed.opened()
        for _ in range(20):
            release.ask_safe_mode(WHY)
        assert committed.kinds().count("safe-mode.asked") == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"why": ""},
        {"why": "a\u001bb"},
        {"why": "x" * 301},
        {"why": 7},
        {"why": "so", "by": 7},
        {"why": "so", "generation": 9},
        {"why": "so", "generation": None},
    ],
)
def test_a_request_that_says_no_reason_or_means_something_else_stops_nothing(
    committed: Any, eventually: Eventually, wrong: dict[str, Any]
) -> None:
    with committed.running():
        eventually(lambda: ask(committed.layout.socket, {"do": "status"}))
        request = {"do": "safe-mode", "generation": committed.opened().generation, **wrong}
        answer = ask_agent(committed.state, request)
        assert (answer["ok"], answer["reason"]) == (False, "usage")
    assert committed.opened().version == "1.0.0"
    assert "safe-mode.asked" not in committed.kinds()


def test_a_signed_order_for_the_whole_device_is_not_narrowed_by_a_stop(
    committed: Any, attempt_now: Attempt
) -> None:
    committed.notify("1.0.0", "clinical", "regulatory", action="suspend-device-function")
    attempt_now()
    assert committed.standing()["suspended"] == "device-function"
    with committed.journal_to_write() as journal:
        journal.record(Entry(kind=EventKind.SAFE_MODE_ASKED, change={"stopped": WHY}))
    attempt_now()
    assert committed.standing()["suspended"] == "device-function"
    assert committed.standing()["reasons"][0] == "safety.stopped"


def test_the_end_of_a_stop_is_no_request(committed: Any, eventually: Eventually) -> None:
    """Whoever reaches the socket may take away, and give nothing back."""
    with committed.running():
        eventually(lambda: ask(committed.layout.socket, {"do": "status"}))
        assert committed.opened().ask_safe_mode(WHY)
        eventually(lambda: in_use(committed) is None)
        for name in ("reinstate", "safe-mode-left", "retry"):
            assert ask_agent(committed.state, {"do": name, "by": "x", "why": "y"})["ok"] is False
        assert ask_agent(committed.state, {"do": "poll"})["ok"] is True
        eventually(lambda: "stopped" in committed.counter("last-poll"))
    assert committed.standing()["mode"] == "safe"


def test_the_page_of_requests_names_it() -> None:
    page = (Path(__file__).parents[3] / "docs" / "device.md").read_text()
    assert '`{"do":"safe-mode"' in page
