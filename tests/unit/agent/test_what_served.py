"""What served a real device, told from its export and public keys alone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from primum_agent.clock import FakeClock, SystemClock
from primum_agent.events import Entry, EventKind
from primum_agent.exporting import export
from primum_agent.journal import Journal
from primum_agent.transitions import committed
from primum_verifier.core.document import sha256_hex
from primum_verifier.core.errors import EXIT_DONE, EXIT_FAILED, EXIT_REFUSED
from primum_verifier.shell import cli

DEVICE = "wearable-001"
HOUR = timedelta(hours=1)


@pytest.fixture
def begun() -> datetime:
    return SystemClock().now()


@pytest.fixture
def ask(
    in_the_field: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    begun: datetime,
) -> Callable[..., Any]:
    """Export ten hours later, and ask the command; its answer."""
    medium = tmp_path / "stick"
    medium.mkdir()
    later = FakeClock(moment=begun + 10 * HOUR)
    monkeypatch.setattr("primum_agent.exporting.SystemClock", lambda: later)

    def run(at: datetime, *words: str, expected: int = EXIT_DONE, as_json: bool = True) -> Any:
        export(in_the_field.layout, medium, context=None)
        capsys.readouterr()
        code = cli.main(
            [
                *("served", str(medium), "--device", DEVICE),
                *("--device-key", str(in_the_field.layout.device_public)),
                *("--at", at.strftime("%Y-%m-%dT%H:%M:%SZ"), *words),
                *(["--json"] if as_json else []),
            ]
        )
        told = capsys.readouterr().out
        assert code == expected, told
        return json.loads(told) if as_json else told

    return run


@pytest.fixture
def with_two(in_the_field: Any, attempt_now: Callable[..., int], begun: datetime) -> Any:
    """A device that ran 1.0.0 from the second hour on, and 1.1.0 from the fourth."""
    for counter, version in enumerate(("1.0.0", "1.1.0"), start=1):
        in_the_field.release(version, counter=counter)
        clock = FakeClock(moment=begun + 2 * counter * HOUR, powered=7200.0 * counter)
        assert attempt_now(clock=clock) == 0
        journal = Journal.open(in_the_field.layout, clock=clock, device_id=DEVICE)
        used = journal.state().in_use
        assert used is not None
        journal.record(committed(used))
        journal.close()
    return in_the_field


@pytest.mark.usefixtures("with_two")
def test_an_export_alone_tells_what_served_with_the_signed_self_test(
    with_two: Any, ask: Callable[..., Any], begun: datetime, tmp_path: Path
) -> None:
    page = tmp_path / "served.html"
    told = ask(begun + 3 * HOUR, "--free-running", "60", "--html", str(page))
    assert told["outcome"] == "release"
    release = told["release"]
    assert release["name"] == "pvc-classifier 1.0.0"
    assert release["sha256"] == with_two.releases["1.0.0"]
    (possible,) = told["possible"]
    path = with_two.layout.self_tests / f"{with_two.releases['1.0.0']}.dsse.json"
    assert possible["selfTest"]["sha256"] == sha256_hex(path.read_bytes())
    assert Path(possible["selfTest"]["file"]).read_bytes() == path.read_bytes()
    assert possible["begins"]["kind"] == "primum.device.update.activated"
    assert possible["begins"]["happened"] == possible["begins"]["recorded"]
    assert possible["ends"]["head"]["keyId"] == with_two.device_key.key_id
    drawn = page.read_text()
    for digest in (
        release["sha256"],
        possible["selfTest"]["sha256"],
        sha256_hex(path.read_bytes()),
    ):
        assert digest in drawn
    assert "Why this is so, step by step" in drawn
    ask(begun + 3 * HOUR, "--html", str(tmp_path / "no" / "page.html"), expected=EXIT_FAILED)


@pytest.mark.usefixtures("with_two")
def test_the_answer_goes_on_to_the_moment_of_the_export_and_no_further(
    ask: Callable[..., Any], begun: datetime
) -> None:
    told = ask(begun + 9 * HOUR)
    assert (told["outcome"], told["release"]["name"]) == ("release", "pvc-classifier 1.1.0")
    assert told["possible"][0]["ends"]["signedMoment"] is not None
    told = ask(begun + 11 * HOUR, expected=EXIT_REFUSED)
    assert (told["outcome"], told["release"]) == ("unknown", None)
    assert told["possible"][0]["unknown"] == "after-the-last-signed-moment"


@pytest.mark.usefixtures("with_two")
def test_people_read_what_served_and_how_far_each_end_is_certain(
    ask: Callable[..., Any], begun: datetime
) -> None:
    told = ask(begun + 3 * HOUR, as_json=False)
    assert "pvc-classifier 1.0.0, clinical use" in told.splitlines()[0]
    for word in ("release", "statement 3", "self-test", "from", "until", "certainly", "head over"):
        assert word in told
    told = ask(begun + 11 * HOUR, expected=EXIT_REFUSED, as_json=False)
    assert "not known" in told
    assert "no earlier than" in told or "between" in told


def test_an_event_that_follows_unsigned_is_not_counted(
    with_two: Any, ask: Callable[..., Any], begun: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key cannot be used from here: what it did not sign is named and left out."""
    clock = FakeClock(moment=begun + 11 * HOUR)
    ask(begun + 5 * HOUR)
    journal = Journal.open(with_two.layout, clock=clock, device_id=DEVICE)
    journal.record(Entry(kind=EventKind.SAFE_MODE_ENTERED, change={"active": None}))
    journal.close()
    monkeypatch.setattr("primum_agent.exporting.sign_to_the_end", lambda _: None)
    told = ask(begun + 12 * HOUR, expected=EXIT_REFUSED)
    assert told["outcome"] == "unknown"
    assert told["history"]["unsigned"][0]["first"] == told["history"]["last"]
    assert "unsigned" in ask(begun + 12 * HOUR, expected=EXIT_REFUSED, as_json=False)


def test_a_device_that_went_back_by_order_is_told_with_the_test_it_passed_then(
    with_two: Any,
    ask: Callable[..., Any],
    begun: datetime,
    eventually: Callable[..., Any],
) -> None:
    words = ("--provisioning", with_two.provisioning, "--by", "R. Meyer", "--why", "alarms")
    with with_two.running():
        eventually(with_two.standing)
        eventually(lambda: with_two.agent("rollback", *words).returncode == EXIT_DONE)
    told = ask(begun + 9 * HOUR, expected=EXIT_REFUSED)
    # Nothing synchronised the clock of its last events: their order is left, and the export's end.
    assert told["outcome"] == "uncertain"
    last = [item for item in told["possible"] if item["served"] and item["change"] == "none"][-1]
    way_back = with_two.layout.self_tests / f"{with_two.releases['1.0.0']}.way-back.dsse.json"
    assert last["served"][0]["name"] == "pvc-classifier 1.0.0"
    assert last["selfTest"]["sha256"] == sha256_hex(way_back.read_bytes())


@pytest.mark.usefixtures("with_two")
def test_the_command_of_the_page_is_done_as_it_is_written(
    in_the_field: Any, ask: Callable[..., Any], begun: datetime, tmp_path: Path
) -> None:
    """With an instant of this device's life in the place of the one on the page."""
    ask(begun, expected=EXIT_REFUSED)
    folder = tmp_path / "stick"
    shutil.copy(in_the_field.folder / "enrolment.json", folder)
    page = (Path(__file__).parents[3] / "docs/assessor.md").read_text()
    (words,) = re.findall(r"^\$ primum-verify (served .*)$", page, re.MULTILINE)
    at = (begun + 3 * HOUR).strftime("%Y-%m-%dT%H:%M:%SZ")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "primum_verifier.shell.cli"),
            *re.sub(r"--at \S+", f"--at {at}", words).split(),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == EXIT_DONE, done.stderr
    assert "pvc-classifier 1.0.0, clinical use" in done.stdout
