"""Every fact that a verdict weighs reaches it from the device, and what is not known is no yes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from primum_agent.clock import FakeClock
from primum_agent.system_facts import operating_system
from primum_verifier.core.question import ClinicalUse
from primum_verifier.record.event import parse_event

Attempt = Callable[..., int]
CONSTRAINTS = {
    "jurisdictions": ["DE"],
    "hardware": [{"hardwareId": "cardiowear-2"}],
    "sites": {"mode": "all", "ids": []},
}
DONE, REFUSED, WAITING = 0, 1, 5


def serves(field: Any) -> str | None:
    """The version that the application is told to use."""
    version = field.standing()["version"]
    return None if version is None else str(version)


def verdict(field: Any, version: str) -> dict[str, Any]:
    journal = field.journal()
    try:
        found = [item for item in journal.verdicts() if item["release"] == field.releases[version]]
    finally:
        journal.close()
    return dict(found[-1])


def missing(field: Any, version: str) -> list[str]:
    return [
        item["name"]
        for item in verdict(field, version)["checks"]
        if item["outcome"] in {"refused", "unknown"}
    ]


# Phases


def test_a_gate_that_holds_over_the_end_of_the_timestamp_does_not_lose_the_release(
    in_the_field: Any, attempt_now: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was fetched in time waits for a patient; the timestamp ends; it is activated still."""
    in_the_field.release("1.0.0", counter=1)
    monkeypatch.setattr("primum_agent.candidate_gates.clinical_use", lambda _: ClinicalUse.IN_USE)
    start = datetime.now(UTC)
    assert attempt_now(clock=FakeClock(start)) == WAITING
    monkeypatch.setattr("primum_agent.candidate_gates.clinical_use", lambda _: ClinicalUse.IDLE)
    later = FakeClock(start + timedelta(days=31))
    assert attempt_now(clock=later) != WAITING
    assert verdict(in_the_field, "1.0.0")["phase"] == "activate"
    # The list of what is eligible is too old by then: that alone stands in the way.
    assert missing(in_the_field, "1.0.0") == ["index-age"]


def test_a_timestamp_that_ended_stops_the_first_look_at_a_release(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    in_the_field.release("1.0.0", counter=1)
    start = datetime.now(UTC)
    assert attempt_now(clock=FakeClock(start)) == DONE
    in_the_field.release("1.1.0", counter=2)
    attempt_now(clock=FakeClock(start + timedelta(days=31)))
    assert serves(in_the_field) == "1.0.0"


def test_activation_asks_for_the_counter_too(in_the_field: Any, attempt_now: Attempt) -> None:
    """A plan that is turned to an older release while that one waits is no way back."""
    in_the_field.release("0.9.0", counter=1)
    in_the_field.release("1.0.0", counter=2)
    assert attempt_now() == DONE
    in_the_field.assign("0.9.0")
    in_the_field.publish()
    assert attempt_now("resume") == DONE
    in_the_field.commit()
    assert attempt_now() == REFUSED
    assert missing(in_the_field, "0.9.0") == ["release-counter"]
    assert serves(in_the_field) == "1.0.0"


# The responsible organisation


def test_a_silent_site_stops_new_activations_and_nothing_else(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    """No acceptance, then no repository at all: nothing new, no slower polls, withdrawals act."""
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == DONE
    in_the_field.add_site()
    in_the_field.enroll()
    in_the_field.release("1.1.0", counter=2)
    assert attempt_now("resume") == DONE
    in_the_field.commit()
    assert attempt_now() == REFUSED
    assert missing(in_the_field, "1.1.0") == ["site-acceptance"]
    shutil.rmtree(in_the_field.site.web)
    assert attempt_now() == REFUSED
    assert serves(in_the_field) == "1.0.0"
    assert json.loads(in_the_field.counter("last-poll"))["text"].startswith("staged: eligibility")
    in_the_field.withdraw("1.0.0")
    attempt_now()
    assert in_the_field.standing()["mode"] == "safe"


def test_a_site_alone_that_cannot_be_reached_is_no_failed_poll(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == DONE
    in_the_field.add_site()
    in_the_field.enroll()
    in_the_field.commit()
    shutil.rmtree(in_the_field.site.web)
    assert attempt_now() == DONE
    assert attempt_now() == DONE
    assert in_the_field.kinds().count("trust.refused") == 1


def test_what_the_site_accepted_is_activated(in_the_field: Any, attempt_now: Attempt) -> None:
    in_the_field.add_site()
    in_the_field.enroll()
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == REFUSED
    in_the_field.accept("1.0.0")
    assert attempt_now() == DONE
    assert serves(in_the_field) == "1.0.0"


@pytest.mark.parametrize("lost", ["address", "root", "other root"])
def test_a_site_that_is_badly_provisioned_is_silent_and_holds_no_withdrawal(
    in_the_field: Any, attempt_now: Attempt, lost: str
) -> None:
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == DONE
    in_the_field.add_site()
    in_the_field.enroll()
    if lost == "address":
        text = (in_the_field.provisioning / "agent.toml").read_text()
        before, _, after = text.partition("[repositories.site]")
        in_the_field.write(
            "agent.toml", (before + "[timing]" + after.partition("[timing]")[2]).encode()
        )
    elif lost == "root":
        (in_the_field.provisioning / "site.root.json").unlink()
    else:
        in_the_field.write("site.root.json", in_the_field.clinical.root)
    in_the_field.commit()
    assert attempt_now() == DONE
    assert serves(in_the_field) == "1.0.0"
    # A person sees it where one looks for what is wrong.
    doctor = in_the_field.agent("doctor", "--provisioning", in_the_field.provisioning)
    assert (doctor.returncode, "BAD  key, trust map" in doctor.stdout) == (3, True)
    assert "authority site" in in_the_field.agent("status").stdout
    in_the_field.withdraw("1.0.0")
    attempt_now()
    assert in_the_field.standing()["mode"] == "safe"


# What is read, and what the maker promises


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('ID=debian\nVERSION_ID="12"\n', "debian-12"),
        ("NAME='x'\nVERSION_ID='3.1'\nID=poky\n", "poky-3.1"),
        ("ID=arch\n", "arch"),
        ("VERSION_ID=12\n", ""),
        ("ID=$(reboot)\nVERSION_ID=12\n", ""),
        ("ID='debian\nVERSION_ID=12\n", ""),
        ("", ""),
    ],
)
def test_the_operating_system_is_read_or_nobody_can_say(
    tmp_path: Path, text: str, expected: str
) -> None:
    (tmp_path / "os-release").write_text(text)
    assert operating_system(tmp_path / "os-release") == expected


def test_an_operating_system_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    assert operating_system(tmp_path) == ""
    (tmp_path / "os-release").write_bytes(b"\xff\xfe")
    assert operating_system(tmp_path / "os-release") == ""


@pytest.mark.parametrize(
    ("said", "promised", "rule"),
    [
        (
            {
                "constraints": {
                    **CONSTRAINTS,
                    "software": {"requires": [{"component": "filter", "least": "1.2.0"}]},
                }
            },
            '[installed]\nfilter = "1.2.0"\n',
            "eligible-software",
        ),
        (
            {
                "decision": "eligible-with-conditions",
                "conditions": [
                    {"code": "second-lead", "text": "two leads", "enforce": "activation"}
                ],
            },
            '[platform]\nconditions_met = ["second-lead"]\n',
            "conditions",
        ),
        (
            {"constraints": {**CONSTRAINTS, "patientCategories": ["adult"]}},
            "[application]\nasks_per_episode = true\n",
            "asks-per-episode",
        ),
    ],
)
def test_what_nobody_promises_of_the_device_is_not_so(
    in_the_field: Any, attempt_now: Attempt, said: dict[str, Any], promised: str, rule: str
) -> None:
    in_the_field.said = said
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == REFUSED
    assert missing(in_the_field, "1.0.0") == [rule]
    in_the_field.more_settings = promised
    in_the_field.write("agent.toml", in_the_field.settings().encode())
    assert attempt_now() == DONE
    assert serves(in_the_field) == "1.0.0"


def test_an_operating_system_that_was_not_validated_stops_the_release(
    in_the_field: Any, attempt_now: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    software = {"operatingSystems": ["medical-linux-7"]}
    in_the_field.said = {"constraints": {**CONSTRAINTS, "software": software}}
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == REFUSED
    assert missing(in_the_field, "1.0.0") == ["eligible-software"]
    monkeypatch.setattr("primum_agent.device.operating_system", lambda: "medical-linux-7")
    assert attempt_now() == DONE


# A person's agreement


def test_a_release_that_a_person_must_agree_to_waits_for_the_person(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    in_the_field.said = {"use": {"mode": "clinical", "automation": "manual-update"}}
    in_the_field.release("1.0.0", counter=1)
    check = in_the_field.agent("check", "--provisioning", in_the_field.provisioning)
    assert (check.returncode, "primum-agent approve" in check.stdout) == (WAITING, True)
    for _ in range(2):
        assert attempt_now() == WAITING
    assert in_the_field.kinds().count("update.waiting") == 1
    assert in_the_field.event("update.waiting")["data"]["reasons"] == ["safety.operator"]
    done = in_the_field.agent("approve", "1.0.0", "--by", "R. Meyer,  ward 7", "--json")
    assert json.loads(done.stdout)["by"] == "R. Meyer, ward 7"
    # Said again by the same person it is no second event.
    assert in_the_field.agent("approve", "1.0.0", "--by", "R. Meyer, ward 7").returncode == 0
    told = in_the_field.event("update.agreed")
    assert told["data"]["detail"]["by"] == "R. Meyer, ward 7"
    parse_event(json.dumps(told).encode(), where="journal")
    assert in_the_field.kinds().count("update.agreed") == 1
    assert attempt_now() == DONE
    assert serves(in_the_field) == "1.0.0"


def test_an_agreement_to_one_release_is_none_to_the_next(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    in_the_field.said = {"use": {"mode": "clinical", "automation": "manual-update"}}
    in_the_field.release("1.0.0", counter=1)
    attempt_now()
    in_the_field.agent("approve", in_the_field.releases["1.0.0"][:12], "--by", "R. Meyer")
    assert attempt_now() == DONE
    in_the_field.commit()
    in_the_field.release("1.1.0", counter=2)
    assert attempt_now() == WAITING
    assert serves(in_the_field) == "1.0.0"


@pytest.mark.parametrize(
    ("release", "person"), [("9.9.9", "R. Meyer"), ("1.0.0", "  "), ("1.0.0", "a\x1b[2Jb")]
)
def test_an_agreement_to_nothing_or_by_nobody_is_refused(
    in_the_field: Any, attempt_now: Attempt, release: str, person: str
) -> None:
    in_the_field.release("1.0.0", counter=1)
    attempt_now()
    done = in_the_field.agent("approve", release, "--by", person)
    assert done.returncode == 2
    assert "update.agreed" not in in_the_field.kinds()


# Holds


@pytest.mark.parametrize(("again", "ends"), [("quality", DONE), ("clinical", REFUSED)])
def test_one_person_cannot_hold_again_and_again(
    in_the_field: Any, attempt_now: Attempt, again: str, ends: int
) -> None:
    """A hold ended and left the list; the same person signs the next: the device remembers."""
    written = "%Y-%m-%dT%H:%M:%SZ"
    present = datetime.now(UTC)
    hold = {"kind": "hold", "action": "no-new-activation"}
    begun = (present - timedelta(hours=70)).strftime(written)
    over = (present - timedelta(hours=1)).strftime(written)
    in_the_field.release("1.0.0", counter=1, approved_by=())
    in_the_field.notify(
        "1.0.0", "quality", issuedAt=begun, effectiveAt=begun, expiresAt=over, **hold
    )
    assert attempt_now() == REFUSED
    in_the_field.forget_notices()
    in_the_field.approve("1.0.0", ("clinical", "quality", "regulatory"))
    later = (present + timedelta(hours=70)).strftime(written)
    in_the_field.notify("1.0.0", again, expiresAt=later, **hold)
    assert attempt_now() == ends
    in_force = "safety-notices" in missing(in_the_field, "1.0.0")
    assert in_force == (ends == REFUSED)
