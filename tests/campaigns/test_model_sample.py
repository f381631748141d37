"""A short part of the campaign over models, the same for ever; and that it sees what it should."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from tests.campaigns.model_bytes import BYTE_CHANGES
from tests.campaigns.model_campaign import (
    EXIT_DONE,
    EXIT_FOUND,
    Bench,
    in_turns,
    main,
    what_stopped_it,
    wrong_with,
)
from tests.campaigns.model_graphs import GRAPH_CHANGES, node_of
from tests.campaigns.model_lanes import ParentLane
from tests.campaigns.model_mutants import LEVELS, OF_GRAPHS, Mutant, mutant_named, mutants
from tests.campaigns.model_oracle import CRASHED, RAN, TIMED_OUT, Answer
from tests.campaigns.model_parent import Standing, Verdict, standing
from tests.campaigns.model_subject import Subject, write_subject
from tests.campaigns.model_wire import pieces_of, written

SEED = 4
SECONDS = 20.0
"""When no new mutant is begun; on a busy machine that is after fewer."""
AT_LEAST = 10


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return write_subject(tmp_path_factory.mktemp("demo"))


def test_a_mutant_that_decides_otherwise_is_refused_and_the_parent_lives(
    subject: Subject, tmp_path: Path
) -> None:
    """Attack: a changed model.  Act: self-tests in one process.  End: refused, nothing is left."""
    wanted = in_turns(
        [
            one
            for level in LEVELS
            for one in mutants(subject.model, level=level, seed=SEED, most=150)
        ]
    )
    bench = Bench(subject, tmp_path)
    until = time.monotonic() + SECONDS
    tried = changed = 0
    try:
        assert bench.original_passes(subject), "no refusal would say anything"
        for mutant in wanted:
            if tried >= AT_LEAST and time.monotonic() > until:
                break
            outcome = bench.test(mutant)
            assert outcome.faults == (), mutant.name
            tried += 1
            changed += outcome.answer.changed
    finally:
        bench.close()
    assert bench.parent.deaths == 0
    print(f"{tried} mutants, {changed} changed a decision")


def test_a_self_test_that_sees_nothing_is_found_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without tests of decisions, and with any number agreeing, it passes: that is a finding."""

    def careless(folder: Path) -> Subject:
        signed = write_subject(folder)
        says = signed.says()
        says["tests"] = [one for one in says["tests"] if one["level"] in ("load", "numeric")]
        says["tests"][-1]["absTol"] = "1e9"
        says["minTests"] = 2
        return replace(signed, spec=json.dumps(says).encode())

    words = ["--mutant", "graph:exchange-intervals:1:0"]
    assert main(words) == EXIT_DONE
    assert "decides otherwise" in capsys.readouterr().out
    monkeypatch.setattr("tests.campaigns.model_campaign.write_subject", careless)
    assert main(words) == EXIT_FOUND
    assert "passed with" in capsys.readouterr().out


def test_a_run_goes_on_where_the_last_one_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--target", "byte", "--most", "4", "--seed", str(SEED), "--kept", str(tmp_path)]
    assert main([*words, "--seconds", "60"]) == EXIT_DONE
    (kept,) = tmp_path.glob("tried-*.jsonl")
    lines = kept.read_text().splitlines()
    assert len(lines) == 4
    kept.write_text("\n".join(lines[:3]) + "\n")
    capsys.readouterr()
    assert main([*words, "--seconds", "60"]) == EXIT_DONE
    said = capsys.readouterr().out
    assert "4 mutants, 3 tried before" in said
    assert [json.loads(line)["name"] for line in kept.read_text().splitlines()] == [
        json.loads(line)["name"] for line in lines
    ]
    assert main([*words, "--seconds", "0", "--again"]) == EXIT_DONE
    assert "4 were not tried" in capsys.readouterr().out


def test_a_parent_that_dies_is_seen_and_started_again(subject: Subject, tmp_path: Path) -> None:
    bench = Bench(subject, tmp_path)
    try:
        sound = Mutant("original", subject.model)
        assert bench.test(sound).faults == ()
        process = bench.parent._process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        outcome = bench.test(sound)
        assert outcome.verdict is None
        assert outcome.faults == ("the parent died with -9",)
        assert bench.parent.deaths == 1
        assert bench.test(sound).faults == ()
    finally:
        bench.close()


def test_the_same_seed_gives_the_same_mutants(subject: Subject) -> None:
    """By name too, each with other bytes than any before, and every change has its turn."""
    for level, changes in (("byte", BYTE_CHANGES), ("graph", OF_GRAPHS)):
        first = list(mutants(subject.model, level=level, seed=9, most=120))
        assert first == list(mutants(subject.model, level=level, seed=9, most=120))
        assert first != list(mutants(subject.model, level=level, seed=10, most=120))
        assert all(mutant_named(subject.model, one.name) == one for one in first[::7])
        assert len({one.content for one in first} | {subject.model}) == len(first) + 1
        seen = {one.change.partition(":")[2] for one in first}
        assert len(seen) > 0.9 * len(changes)


def test_what_is_read_of_a_model_is_what_is_written(subject: Subject) -> None:
    assert written(pieces_of(subject.model)) == subject.model


def test_what_counts_as_let_through() -> None:
    """A finding is a model that passes and does not do what was signed, or is refused by luck."""
    passed = Verdict(overall="passed", ending="reported")
    sound = Answer(ended=RAN, deviation=1e-6)
    flipped, off = Answer(ended=RAN, flips=1, outside=1), Answer(ended=RAN, outside=1)
    assert wrong_with(sound, passed) == []
    for answer in (flipped, off, Answer(ended=CRASHED), Answer(ended=TIMED_OUT)):
        assert wrong_with(answer, passed), answer
    by_tolerance = Verdict(overall="failed", ending="reported", failed=("numeric",))
    by_decision = replace(by_tolerance, failed=("functional", "numeric"))
    assert wrong_with(flipped, by_tolerance), "seen by the tolerance alone"
    assert wrong_with(flipped, by_decision) == []
    assert what_stopped_it(by_tolerance) == "numbers alone"
    assert what_stopped_it(by_decision) == "decides otherwise"
    assert what_stopped_it(None) == "parent died"


def test_a_change_of_the_graph_reaches_the_operator_that_it_names(subject: Subject) -> None:
    """The export mistake that the demo knows is among the changes."""
    model = onnx.load_model_from_string(subject.model)
    before = list(node_of(model, "rr_before").output)
    GRAPH_CHANGES["exchange-intervals"](model, random.Random(1))
    assert list(node_of(model, "rr_before").output) != before


def test_a_parent_that_leaks_or_grows_is_a_finding(tmp_path: Path) -> None:
    """A descriptor, a process, a file or memory that a self-test leaves behind."""
    lane = ParentLane(tmp_path, seconds=1)
    sound = Standing(files=5, rss_kib=30_000)
    for _ in range(ParentLane.WARM_AFTER):
        assert lane._faults(sound) == []
    assert lane._faults(replace(sound, files=6)) == ["6 open files instead of 5"]
    assert lane._faults(replace(sound, children=(7,))) == ["processes were left: (7,)"]
    assert lane._faults(replace(sound, left=("bench-1",))) == ["files were left: ('bench-1',)"]
    assert lane._faults(replace(sound, rss_kib=60_000)) == []
    (grown,) = lane._faults(replace(sound, rss_kib=90_000))
    assert "grew from 30000" in grown


def test_how_a_process_stands_is_what_the_kernel_says(tmp_path: Path) -> None:
    before = standing(tmp_path)
    (tmp_path / "left").touch()
    with (tmp_path / "left").open() as file, subprocess.Popen(["sleep", "60"]) as child:
        now = standing(tmp_path)
        child.kill()
    assert file.closed
    assert now.files > before.files
    assert child.pid in now.children
    assert now.left == ("left",)
    assert now.rss_kib > 1000
