"""What runs in shadow reaches nobody, delays nobody, and ends the moment that it may not run."""

from __future__ import annotations

import base64
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.agent.field import AGENT
from tests.unit.agent.shadowed import (
    IN_SHADOW,
    RUNNING,
    Attempt,
    case,
    counts_of,
    named,
    question,
    shadowed,
    status,
)
from tests.unit.agent.test_runner_service import Session, models, served

from primum_agent.clock import FakeClock, SystemClock
from primum_agent.deciding import Decision
from primum_agent.shadow_counts import ShadowCounts, write_counts
from primum_agent.shadow_feed import MAX_WAITING, ShadowFeed
from primum_agent.shadow_process import MOST_AT_ONCE, MOST_UNANSWERED, open_shadow
from primum_agent.shadow_run import withdraw_shadow, write_shadow
from primum_agent.shadow_wire import EndedError, Handed, Receiver, frame_of
from primum_device_sim.authorities.documents import WEIGHTS
from primum_device_sim.broker import BrokerHandle
from primum_device_sim.demo.subscriber import Subscriber
from primum_verifier.core.errors import FailedError
from primum_verifier.proof.confinement import ALWAYS_POSSIBLE
from primum_verifier.record.shadow import ShadowOutcome

Eventually = Callable[..., Any]

OTHERWISE = -1.0
"""The scale of a model that decides the opposite of what is in use, on every input."""


def processes(module: str, *, of: int | None = None) -> list[int]:
    """The ids of processes that run a module, or of those that descend from one of ours."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if module.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return [pid for pid in found if of is None or of in ancestors(pid)]


def ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            return
        pid = int(text.rpartition(")")[2].split()[1])
        yield pid


def shadows() -> list[int]:
    """Processes of a shadow that this test's runner started; none that is just becoming a model."""
    found = processes("primum_agent.shadow_process", of=os.getpid())
    return [pid for pid in found if next(ancestors(pid)) not in found]


def pair(eventually: Eventually) -> tuple[int, int]:
    """The shadow that runs now, and its model."""

    def found() -> list[int]:
        models = processes("primum_verifier.shell.runner_child", of=os.getpid())
        return [pid for pid in models if next(ancestors(pid)) in shadows()]

    eventually(found)
    (model,) = found()
    return next(ancestors(model)), model


@contextmanager
def session_of(field: Any) -> Iterator[Session]:
    """An application that has opened what is in use, with a shadow beside it after one input."""
    with served(field) as session:
        one = session()
        assert one.ask(do="open")["ok"]
        yield one
    assert shadows() == []


def compared(field: Any) -> int:
    counts = counts_of(field)
    return 0 if counts is None else sum(counts["whole"]["tally"]["outcomes"].values())


# Counted


def comparing(field: Any, *seeds: int, **members: Any) -> ShadowCounts:
    """The process of a shadow in this one: handed inputs, it ends when nobody hands it any more.

    Each input was answered "negative" with a score of one quarter.
    """
    run = named(field)
    assert run is not None
    ours, its = socket.socketpair()
    shadow = open_shadow(
        field.layout,
        run,
        scratch=field.folder,
        required=ALWAYS_POSSIBLE,
        answer_seconds=20.0,
        clock=SystemClock(),
    )
    with ours, its:
        for seed in seeds:
            given = {"inputs": {"x": case(seed).tobytes()}, "cohorts": {}, **members}
            ours.sendall(frame_of(Handed(decision="negative", score=0.25, **given)))
        ours.shutdown(socket.SHUT_WR)
        shadow.serve(Receiver(its))
    return shadow.counts


def test_what_is_counted_is_what_a_plain_recount_finds(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    field = shadowed(in_the_field, attempt_now, scale=OTHERWISE)
    seeds = range(30)
    counts = comparing(field, *seeds, cohorts={"age-band": "45-64", "other": "x"}, dropped=2)
    scores = [score_of(seed) for seed in seeds]
    tally = counts.whole.tally
    positive = sum(score >= 0.5 for score in scores)
    assert tally.outcomes[ShadowOutcome.TO_POSITIVE] == positive
    assert tally.outcomes[ShadowOutcome.AGREED] == 30 - positive
    edges = [0.01, 0.05, 0.1, 0.25]
    far = [sum(edge <= abs(score - 0.25) for edge in edges) for score in scores]
    assert tally.differences == [far.count(place) for place in range(5)]
    assert tally.flipped["age-band"] == [0, positive, 0, 0]
    assert tally.agreed["age-band"] == [0, 30 - positive, 0, 0]
    assert sum(tally.latencies) == 30
    assert (tally.dropped, tally.unanswered) == (60, 0)
    assert counts_of(field) == counts.as_dict()


def test_an_application_that_computes_by_itself_has_a_shadow_too(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    """It hands over what it computed with what is in use, and nothing else counts."""
    field = shadowed(in_the_field, attempt_now, scale=OTHERWISE)
    release = field.opened().release
    flips = 0
    with served(field) as session:
        one = session()
        for seed in range(8):
            # What is in use has the scale 1: its score is one less the other's.
            score = 1 - score_of(seed)
            flips += (score >= 0.5) != (1 - score >= 0.5)
            told = one.ask(do="observe", release=release, inputs=question(seed), outputs=p(score))
            assert told == {"ok": True, "decision": "positive" if score >= 0.5 else "negative"}
        for spoilt, reason in (
            ({"release": "0" * 64}, "usage"),
            ({"inputs": {}}, "compat.contract"),
            ({"inputs": p(0.5)}, "compat.contract"),
            ({"outputs": {"p": "AAAA"}}, "compat.contract"),
            ({"outputs": {"p": "no base64!"}}, "usage"),
            ({"cohorts": {"age-band": 54}}, "usage"),
            ({"cohorts": 1}, "usage"),
            ({"more": 1}, "usage"),
        ):
            asked = {"release": release, "inputs": question(0), "outputs": p(0.5)} | spoilt
            refused = one.ask(do="observe", **asked)
            assert (refused["ok"], refused["reason"]) == (False, reason), spoilt
        assert models() == [], "what is in use is computed by the application alone"
    counts = counts_of(field)["whole"]["tally"]
    assert sum(counts["outcomes"].values()) + counts["dropped"] == 8
    assert counts["dropped"] == 0
    assert sum(counts["latencies"]) == 8
    assert counts["outcomes"]["agreed"] == 8 - flips


def p(score: float) -> dict[str, str]:
    return {"p": base64.b64encode(np.float32(score).tobytes()).decode()}


def score_of(seed: int) -> float:
    """What the model with the scale OTHERWISE makes of a case."""
    return float(1 / (1 + np.exp(float(case(seed) @ WEIGHTS[:, 0]))))


def test_counts_outlive_a_restart_and_belong_to_one_statement_and_one_release_beside(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    field = shadowed(in_the_field, attempt_now)
    assert comparing(field, 1, 2).whole.tally.comparisons == 2
    again = comparing(field, 3)
    assert again.whole.tally.comparisons == 3
    assert again.whole.seconds > 0.0
    run = named(field)
    assert run is not None
    write_shadow(field.layout, replace(run, statement="5" * 64))
    assert comparing(field, 4).whole.tally.comparisons == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content["whole"]["tally"]["outcomes"].update(agreed=-1),
        lambda content: content["whole"]["tally"]["outcomes"].update(agreed=2**60),
        lambda content: content["whole"]["tally"].update(differences=[1]),
        lambda content: content["open"]["tally"].update(dropped=1.5),
        lambda content: content["open"].update(seconds="x"),
        lambda content: content["open"].update(seconds=-1),
        lambda content: content.update(over=[{}]),
        lambda content: content.pop("whole"),
    ],
)
def test_counts_that_were_spoilt_begin_anew(
    in_the_field: Any, attempt_now: Attempt, spoil: Callable[[Any], object]
) -> None:
    field = shadowed(in_the_field, attempt_now)
    comparing(field, 1, 2)
    content = counts_of(field)
    spoil(content)
    field.layout.shadow_counts.write_text(json.dumps(content))
    assert comparing(field, 3).whole.tally.comparisons == 1


def test_an_input_that_it_cannot_compute_counts_against_it_and_one_too_late_does_not(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    field = shadowed(in_the_field, attempt_now)
    tally = comparing(field, 1, inputs={"x": b"\0" * 4}).whole.tally
    assert (tally.outcomes[ShadowOutcome.FAILED], tally.flips, tally.unanswered) == (1, 1, 0)
    run = named(field)
    assert run is not None
    ours, its = socket.socketpair()
    late = open_shadow(
        field.layout,
        run,
        scratch=field.folder,
        required=ALWAYS_POSSIBLE,
        answer_seconds=0.0,
        clock=SystemClock(),
    )
    with ours, its:
        for seed in range(3 * MOST_UNANSWERED):
            given = {"x": case(seed).tobytes()}
            handed = Handed(inputs=given, decision="negative", score=0.1, cohorts={})
            ours.sendall(frame_of(handed))
        with pytest.raises(FailedError) as caught:
            late.serve(Receiver(its))
    assert caught.value.reason == "selftest.timeout"
    assert late.counts.whole.tally.unanswered == MOST_UNANSWERED, "it does not go on for ever"
    assert late.counts.whole.tally.comparisons == 1


def test_a_window_ends_by_time_in_which_it_ran_and_by_no_clock(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    field = shadowed(in_the_field, attempt_now)
    counts = comparing(field, 1)
    counts.open.seconds = 24 * 3600.0
    write_counts(field.layout, counts)
    again = comparing(field, 2)
    (over,) = again.over
    assert (over.number, over.tally.comparisons) == (1, 2)
    assert (again.open.number, again.open.tally.comparisons) == (2, 0)
    # A process that was stopped for a week has observed a minute of it.
    times = iter([0.0, 7 * 86_400.0, 7 * 86_400.0])
    run = named(field)
    assert run is not None
    ours, its = socket.socketpair()
    asleep = open_shadow(
        field.layout,
        run,
        scratch=field.folder,
        required=ALWAYS_POSSIBLE,
        answer_seconds=20.0,
        clock=SystemClock(),
    )
    asleep.monotonic = lambda: next(times)
    before = asleep.counts.whole.seconds
    with ours, its:
        ours.sendall(b"\0" * 3)
        withdraw = threading.Timer(0.2, withdraw_shadow, [field.layout])
        withdraw.start()
        asleep.serve(Receiver(its))
        withdraw.join()
    assert asleep.counts.whole.seconds - before == MOST_AT_ONCE


# Its outputs reach nobody


def test_no_output_of_it_reaches_application_agent_broker_or_disk(
    in_the_field: Any, attempt_now: Attempt, eventually: Eventually, broker: BrokerHandle
) -> None:
    """Everything that anybody can read while it runs is read; its score is in none of it."""
    field = shadowed(in_the_field, attempt_now, scale=OTHERWISE)
    field.write("agent.toml", field.settings(3600, broker.port).encode())
    heard = Subscriber(host="127.0.0.1", port=broker.port, topic="primum/demo/#")
    answers: list[Any] = []
    with heard.listening():
        with field.running(), session_of(field) as one:
            answers += [one.ask(do="compute", inputs=question(seed)) for seed in range(8)]
            pair(eventually)
            answers.append(status(field))
        eventually(lambda: any(b"offline" in item.payload for item in heard.messages()))
    assert compared(field) > 0
    scores = []
    for seed in range(8):
        value = score_of(seed)
        data = np.array([value], "<f4").tobytes()
        text = base64.b64encode(data)
        scores += [data, text, text.rstrip(b"="), f"{value:.6f}".encode()]
        assert answers[seed]["stamp"]["version"] == RUNNING
        assert answers[seed]["ok"]
    said = [json.dumps(item).encode() for item in answers]
    said += [item.payload for item in heard.messages()]
    said += [
        path.read_bytes()
        for path in field.state.rglob("*")
        if path.is_file() and path.suffix != ".onnx" and "sha256" not in path.parts
    ]
    found = [score for score in scores for one in said if score in one]
    assert not found
    assert any(b"agreed" in one for one in said), "the counters are there"


# It delays nobody


@pytest.mark.parametrize("how", ["stopped", "killed", "model killed", "does not start"])
def test_a_shadow_that_hangs_or_dies_changes_no_answer_and_no_time(
    in_the_field: Any,
    attempt_now: Attempt,
    eventually: Eventually,
    how: str,
) -> None:
    field = shadowed(in_the_field, attempt_now, scale=OTHERWISE)
    if how == "does not start":
        run = named(field)
        assert run is not None
        path = Path(run.model.path)
        path.chmod(0o640)
        path.write_bytes(b"x")
    with session_of(field) as one:
        first = one.ask(do="compute", inputs=question(0))
        if how != "does not start":
            shadow, model = pair(eventually)
            if how == "model killed":
                os.kill(model, signal.SIGKILL)
            else:
                os.kill(shadow, signal.SIGSTOP if how == "stopped" else signal.SIGKILL)
        slowest = 0.0
        for _ in range(4 * MAX_WAITING):
            began = time.monotonic()
            assert one.ask(do="compute", inputs=question(0)) == first
            slowest = max(slowest, time.monotonic() - began)
        # A model of four weights: half a second is a device that waits for something else.
        assert slowest < 0.5
    counts = counts_of(field)
    if how == "stopped":
        assert counts is None or compared(field) <= 1


def test_what_a_hung_shadow_does_not_take_is_dropped_and_counted(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    """A program that reads nothing: memory of the runner is bounded, and no offer waits."""
    field = shadowed(in_the_field, attempt_now)
    with fed(field, "import time; time.sleep(600)") as (feed, offer):
        for _ in range(5 * MAX_WAITING):
            offer(b"\0" * 1_000_000)
            feed.tend()
        assert feed.runs
        assert feed.dropped >= 4 * MAX_WAITING - 4
        process = feed._process
        assert process is not None
    assert process.poll() is not None


def test_a_shadow_that_dies_is_not_started_at_every_question(
    in_the_field: Any, attempt_now: Attempt, eventually: Eventually
) -> None:
    field = shadowed(in_the_field, attempt_now)
    now = [1000.0]
    with fed(field, "raise SystemExit(3)", monotonic=lambda: now[0]) as (feed, offer):
        starts = 0

        def over() -> bool:
            feed.tend()
            return not feed.runs

        for rest in (60.0, 120.0, 240.0):
            offer(b"x")
            feed.tend()
            assert feed.runs
            starts += 1
            eventually(over)
            for _ in range(5):
                offer(b"x")
                feed.tend()
                assert not feed.runs
            now[0] += rest - 1.0
            feed.tend()
            assert not feed.runs
            now[0] += 2.0
        assert starts == 3


@contextmanager
def fed(field: Any, program: str, **members: Any) -> Iterator[Any]:
    """The runner's side alone, with another program in place of the shadow."""
    with selectors.DefaultSelector() as selector:
        feed = ShadowFeed(
            layout=field.layout,
            selector=selector,
            scratch=field.folder,
            answer_seconds=5.0,
            required=ALWAYS_POSSIBLE,
            command=(sys.executable, "-c", program),
            **members,
        )

        def offer(data: bytes) -> None:
            feed.offer(
                release=field.releases[RUNNING],
                inputs={"x": data},
                decision=Decision("positive", 0.9),
                cohorts={},
            )

        try:
            yield feed, offer
        finally:
            feed.stop(grace=0.0)
    assert not list(field.folder.glob("shadow-*"))


# First to stop, last to run


def test_it_and_its_model_stand_behind_everything_else_in_the_confinement_of_the_test(
    in_the_field: Any, attempt_now: Attempt, eventually: Eventually
) -> None:
    field = shadowed(in_the_field, attempt_now)
    with session_of(field) as one:
        one.ask(do="compute", inputs=question(0))
        shadow, model = pair(eventually)
        eventually(lambda: "Seccomp:\t2" in Path(f"/proc/{model}/status").read_text())
        for pid in (shadow, model):
            assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "1000"
            assert os.getpriority(os.PRIO_PROCESS, pid) == 19
            assert os.sched_getscheduler(pid) == os.SCHED_IDLE
        assert "NoNewPrivs:\t1" in Path(f"/proc/{model}/status").read_text()
        (runner,) = processes("runner", of=os.getpid())
        assert os.getpriority(os.PRIO_PROCESS, runner) == os.getpriority(os.PRIO_PROCESS, 0)


@pytest.mark.parametrize("end", ["withdrawn", "safe mode", "not accepted", "superseded"])
def test_it_is_gone_with_its_model_the_moment_that_it_may_not_run(
    in_the_field: Any, attempt_now: Attempt, eventually: Eventually, end: str
) -> None:
    field = shadowed(in_the_field, attempt_now)
    with session_of(field) as one:
        one.ask(do="compute", inputs=question(0))
        shadow, model = pair(eventually)
        if end == "not accepted":
            field.accept(RUNNING)
        elif end == "superseded":
            field.assign(RUNNING)
            field.publish()
        else:
            field.withdraw(RUNNING if end == "safe mode" else IN_SHADOW)
        attempt_now()
        eventually(lambda: not alive(model) and not alive(shadow))
        before = compared(field)
        if end != "safe mode":
            assert one.ask(do="compute", inputs=question(1))["ok"]
            assert one.ask(do="open")["ok"]
            assert shadows() == []
            assert compared(field) == before


@pytest.mark.parametrize("how", ["works", "hangs"])
def test_it_is_gone_with_a_runner_that_is_killed(
    in_the_field: Any, attempt_now: Attempt, eventually: Eventually, how: str
) -> None:
    field = shadowed(in_the_field, attempt_now)
    runner = subprocess.Popen([*AGENT, "runner", "--state", str(field.state)])
    started = [runner.pid]
    try:
        path = field.layout.run / "runner.sock"
        eventually(path.exists)
        one = Session(path)
        assert one.ask(do="open")["ok"]
        one.ask(do="compute", inputs=question(0))
        shadow, model = pair(eventually)
        started += [shadow, model]
        if how == "hangs":
            os.kill(shadow, signal.SIGSTOP)
        runner.kill()
        runner.wait(timeout=10)
        one.close()
        eventually(lambda: not alive(model) and not alive(shadow))
    finally:
        # A guard that is broken leaves nothing behind on the machine.
        for pid in started:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        runner.wait(timeout=10)


def alive(pid: int) -> bool:
    with suppress(OSError):
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        return text.rpartition(")")[2].split()[0] not in {"Z", "X"}
    return False


def test_a_release_whose_statement_has_ended_by_the_clock_is_not_run(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    field = shadowed(in_the_field, attempt_now)
    run = named(field)
    assert run is not None
    end = datetime.fromisoformat(run.not_after)
    assert end <= datetime(2031, 1, 1, tzinfo=UTC)
    for moment, may in ((end - timedelta(seconds=1), True), (end, False)):
        opened = open_shadow(
            field.layout,
            run,
            scratch=field.folder,
            required=ALWAYS_POSSIBLE,
            answer_seconds=5.0,
            clock=FakeClock(moment=moment),
        )
        assert opened.may_run() is may


# The wire


@given(
    inputs=st.dictionaries(st.text(min_size=1, max_size=9), st.binary(max_size=99), max_size=4),
    cohorts=st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=4),
    dropped=st.integers(0, 2**40),
    cut=st.integers(1, 40),
)
def test_a_frame_arrives_as_it_was_however_it_is_cut(
    inputs: dict[str, bytes], cohorts: dict[str, str], dropped: int, cut: int
) -> None:
    handed = Handed(
        inputs=inputs, decision="negative", score=0.25, cohorts=cohorts, dropped=dropped
    )
    data = frame_of(handed) * 2
    ours, its = socket.socketpair()
    with ours, its:
        receiver = Receiver(its)
        found = []
        for at in range(0, len(data), cut):
            ours.sendall(data[at : at + cut])
            while (one := receiver.next(seconds=0.0)) is not None:
                found.append(one)
        ours.shutdown(socket.SHUT_WR)
        with pytest.raises(EndedError):
            receiver.next(seconds=1.0)
    assert found == [handed, handed]
