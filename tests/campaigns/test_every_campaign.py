"""All campaigns in one time: shared out, passed on, interrupted, and told in one table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.campaigns.every_campaign import (
    CAMPAIGNS,
    EXIT_FOUND,
    EXIT_USAGE,
    Ended,
    ended,
    main,
    table,
)
from tests.campaigns.life_campaign import played_before

MAKEFILE = Path(__file__).resolve().parents[2] / "Makefile"


def a_make(folder: Path, body: str) -> str:
    """What is run in place of ``make``; it is given the word and the variables."""
    script = folder / "make.sh"
    script.write_text(f'#!/bin/sh\necho "asked: $*" >>{folder}/asked\ncase $1 in\n{body}\nesac\n')
    return f"sh {script}"


@pytest.fixture(autouse=True)
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The logs of a real campaign stay as they are."""
    monkeypatch.setattr("tests.campaigns.every_campaign.KEPT", tmp_path / "logs")
    monkeypatch.setattr("tests.campaigns.every_campaign.CHECKOUT", tmp_path)


def test_one_that_finds_something_hides_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every campaign has its turn, and the figures of each stand in the table."""
    make = a_make(
        tmp_path,
        "campaign-power) echo '7 points, 1 bricked'; echo 'make: *** [Makefile:1: x] Error 1';"
        " exit 2;;\n"
        "campaign-mutation) echo 'mutmut is not installed';"
        " echo 'make: *** [Makefile:1: x] Error 2'; exit 2;;\n"
        "campaign-compromise) exec sleep 100;;\n"
        "*) echo '9 points, 0 bricked';;",
    )
    assert main(["--seconds", "12", "--seed", "5", "--make", make]) == EXIT_FOUND
    said = capsys.readouterr().out
    rows = {line.split()[0]: line for line in said[said.index("campaign     ") :].splitlines()}
    assert "nothing found" in rows["crash"]
    assert "9 points, 0 bricked" in rows["crash"]
    assert "FOUND" in rows["power"]
    assert "7 points, 1 bricked" in rows["power"]
    assert "time is over" in rows["compromise"]
    assert "cannot run here" in rows["mutation"]
    asked = (tmp_path / "asked").read_text().splitlines()
    assert [line.split()[1] for line in asked] == [f"campaign-{one.name}" for one in CAMPAIGNS]
    assert "SEED=5" in asked[0]
    assert "SECONDS=" in asked[0]


def test_without_time_left_the_rest_is_said_to_be_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--seconds", "0", "--make", a_make(tmp_path, "*) exit 0;;")]) == 0
    assert capsys.readouterr().out.count("no time was left") == len(CAMPAIGNS)
    assert not (tmp_path / "asked").exists()


def test_what_make_says_of_an_exit_code() -> None:
    assert ended(0, "") is Ended.NOTHING
    assert ended(2, "make: *** [Makefile:66: campaign-crash] Error 1\n") is Ended.FOUND
    assert ended(2, "make: *** [Makefile:66: campaign-crash] Error 2\n") is Ended.NOT_HERE
    assert ended(None, "") is Ended.IN_TIME
    assert table([], left_out=["crash"]).splitlines()[1].startswith("crash")
    assert EXIT_USAGE not in {0, EXIT_FOUND}


def test_every_campaign_of_the_makefile_is_in_it() -> None:
    words = {
        line.partition(":")[0]
        for line in MAKEFILE.read_text().splitlines()
        if line.startswith("campaign-")
    }
    assert words == {f"campaign-{one.name}" for one in CAMPAIGNS}


def test_lives_are_played_on_from_where_the_last_run_stopped(tmp_path: Path) -> None:
    """Two short runs: the second begins with the seed after the first's, on this very code."""
    kept = tmp_path / "played.json"
    words = ["--seconds", "0", "--lives", "1", "--kept", str(kept)]
    said = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "tests.campaigns.life_campaign", *words],
            cwd=MAKEFILE.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        said.append(done.stdout.splitlines()[-1])
    assert said == [
        "1 lives, nothing found; 0 of them before",
        "2 lives, nothing found; 1 of them before",
    ]
    assert played_before(kept, code="other", seed=1) == 0
