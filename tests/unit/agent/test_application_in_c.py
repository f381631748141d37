"""The example in C does what the contract asks, and in doubt measures only.

It is compiled as the page says, with the sanitizers where the compiler has them, and runs beside
a real supervisor.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from difflib import unified_diff
from pathlib import Path
from typing import Any

import pytest
from tests.unit.agent.shadowed import RUNNING, case, counts_of, shadowed
from tests.unit.agent.test_runner_service import served
from tests.unit.agent.test_shadow_process import OTHERWISE, score_of

from primum_agent.application import ActiveRelease, Episode, agent_is_running, open_active

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "docs" / "examples" / "application"
PAGE = (ROOT / "docs" / "device.md").read_text()
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all -g"
KNOWN = ["--age", "54", "--category", "adult"]
FUTURE = (datetime.now(UTC) + timedelta(days=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
PAST = (datetime.now(UTC) - timedelta(days=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
MUTATIONS = 300

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler: cc")


def page_commands() -> list[str]:
    """The two commands of the page: build, run."""
    (block,) = [part for part in PAGE.split("```")[1::2] if part.startswith("\ncc ")]
    return block.strip().splitlines()


def run_compiler(command: str) -> None:
    done = subprocess.run(
        ["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def sanitizers(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The compiler's words for its sanitizers; empty where it has none."""
    folder = tmp_path_factory.mktemp("probe")
    (folder / "probe.c").write_text("int main(void) { return 0; }\n")
    built = subprocess.run(
        ["cc", *SANITIZERS.split(), "-o", folder / "probe", folder / "probe.c"],
        capture_output=True,
        check=False,
    )
    works = (
        built.returncode == 0 and subprocess.run([folder / "probe"], check=False).returncode == 0
    )
    return SANITIZERS if works else ""


@pytest.fixture(scope="module")
def monitor(tmp_path_factory: pytest.TempPathFactory, sanitizers: str) -> Path:
    """The example, built by the page's own command."""
    made = tmp_path_factory.mktemp("built") / "monitor"
    build = page_commands()[0]
    assert "-o monitor " in build
    run_compiler(build.replace("-o monitor ", f"{sanitizers} -o {made} "))
    return made


class Running:
    """The example as it runs: a line in is what happens to it, a line out what it shows."""

    def __init__(self, program: Path, state: Path, words: list[str]) -> None:
        self.process = subprocess.Popen(
            [program, state, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.first = self.hear()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.stderr and self.process.stderr.read().decode()
        heard: dict[str, Any] = json.loads(line)
        return heard

    def say(self, line: str, *, answers: int = 1) -> dict[str, Any]:
        """Let something happen; the last of the lines that answer it."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        return [self.hear() for _ in range(answers)][-1]

    def begin(self) -> dict[str, Any]:
        """Begin an episode; what it opens again before is passed over."""
        heard = self.say("begin")
        while heard["event"] in {"opened", "safe"}:
            heard = self.hear()
        return heard

    def end(self) -> int:
        """Close its input; its exit code. A report of a sanitizer is never a good end."""
        _, errors = self.process.communicate(timeout=20)
        assert errors == b""
        return self.process.returncode


@pytest.fixture
def start(monitor: Path) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def begin(state: Path, *words: str) -> Running:
        running.append(Running(monitor, state, list(words or KNOWN)))
        return running[-1]

    yield begin
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()
        for stream in (one.process.stdin, one.process.stdout, one.process.stderr):
            if stream is not None:
                stream.close()


MODEL = b"the model's bytes" * 999


def standing(state: Path, **changes: Any) -> dict[str, Any]:
    """What an agent would have written, and the files that it names."""
    folder = state / "generations" / "3"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(MODEL)
    digest = hashlib.sha256(MODEL).hexdigest()
    terms = {
        "mode": "clinical",
        "protocol": None,
        "banner": "",
        "notAfter": FUTURE,
        "onExpiry": "fall-back",
        "layers": [{"ageYearsMin": 18, "patientCategories": ["adult"]}, {}],
        **changes.pop("terms", {}),
    }
    content = {
        "schemaVersion": "0.1",
        "mode": "clinical",
        "generation": 3,
        "component": "pvc-classifier",
        "version": "1.0.0",
        "release": "a" * 64,
        "statement": "b" * 64,
        "statementNumber": 5,
        "folder": str(folder),
        "files": [{"id": "m", "kind": "model", "path": "model.onnx", "sha256": digest}],
        "operatingPoint": {"output": "p", "threshold": "0.5"},
        "notAfter": terms["notAfter"],
        "onExpiry": terms["onExpiry"],
        "reasons": [],
        "notice": "",
        "terms": terms,
        "ordered": None,
        "ending": None,
        "suspended": None,
        "updatedAt": "2026-06-01T12:00:00Z",
        **changes,
    }
    write(state, json.dumps(content, indent=1).encode())
    return content


def write(state: Path, data: bytes) -> None:
    """As the agent does: replaced whole."""
    (state / "run").mkdir(exist_ok=True)
    (state / "run" / "new").write_bytes(data)
    (state / "run" / "new").replace(state / "run" / "standing.json")


@contextmanager
def pretending(
    state: Path, answer: Callable[[bytes], bytes | None], *, name: str = "primum.sock"
) -> Iterator[None]:
    """Something that listens where an agent should; None keeps silent."""
    old = Path.cwd()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        os.chdir(state / "run")
        listener.bind(name)
        os.chdir(old)
        listener.listen()
        listener.settimeout(0.1)
        over = threading.Event()

        def serve(link: socket.socket) -> None:
            with suppress(OSError), link, link.makefile("rb") as lines:
                for line in lines:
                    answered = answer(line)
                    if answered is not None:
                        link.sendall(answered)

        def accept() -> None:
            while not over.is_set():
                with suppress(TimeoutError):
                    link, _ = listener.accept()
                    threading.Thread(target=serve, args=[link], daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(5)
            (state / "run" / name).unlink()


def always(answer: bytes | None) -> Callable[[bytes], bytes | None]:
    """Whatever is asked, the same answer."""
    return lambda _: answer


# Beside a real supervisor


def test_a_whole_life_beside_a_real_agent(
    in_the_field: Any,
    attempt_now: Callable[..., int],
    eventually: Callable[..., Any],
    start: Callable[..., Running],
) -> None:
    """Health, an episode, another generation between two, the agent's death during one."""
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == 0
    with in_the_field.running() as agent:
        eventually(lambda: agent_is_running(in_the_field.state))
        shown = start(in_the_field.state)
        assert (shown.first["event"], shown.first["healthTaken"]) == ("opened", True)
        eventually(lambda: "update.committed" in in_the_field.kinds())
        assert shown.begin()["event"] == "begun"
        status = json.loads(in_the_field.agent("status", "--json").stdout)
        assert "in-use" in json.dumps(status)
        output = shown.say("0.93")
        release = open_active(in_the_field.state)
        assert isinstance(release, ActiveRelease)
        assert output == {"event": "output", "score": 0.93, "alarm": True, **release.stamp()}
        assert shown.say("0.2")["alarm"] is False
        # The agent dies in the episode: it goes on with what was opened, and so does the next.
        agent.send_signal(signal.SIGKILL)
        agent.wait()
        assert shown.say("0.7")["generation"] == release.generation
        assert shown.say("end")["event"] == "ended"
        assert shown.begin()["event"] == "begun"
        assert shown.say("end")["event"] == "ended"
    in_the_field.release("1.1.0", counter=2, scale=1.0)
    assert attempt_now() == 0
    with in_the_field.running():
        # The socket of the agent that was killed lies there still.
        eventually(lambda: agent_is_running(in_the_field.state))
        assert shown.begin()["event"] == "begun"
        output = shown.say("0.6")
        assert (output["version"], output["generation"]) == ("1.1.0", release.generation + 1)
        assert shown.end() == 0


def test_safe_mode_is_told_and_measures_only(
    in_the_field: Any, attempt_now: Callable[..., int], start: Callable[..., Running]
) -> None:
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == 0
    in_the_field.commit()
    shown = start(in_the_field.state)
    assert shown.begin()["event"] == "begun"
    in_the_field.withdraw("1.0.0")
    attempt_now()
    # Taken away during the episode: at once, and nothing more of it is shown.
    assert shown.say("0.9")["event"] == "stopped"
    assert shown.hear()["event"] == "measured"
    assert shown.begin()["event"] == "refused"
    assert shown.say("0.9")["event"] == "measured"
    assert shown.end() == 1


def test_a_person_has_the_use_stopped_and_nothing_is_shown_any_more(
    in_the_field: Any,
    attempt_now: Callable[..., int],
    start: Callable[..., Running],
    eventually: Callable[..., Any],
) -> None:
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == 0
    with in_the_field.running():
        eventually(lambda: agent_is_running(in_the_field.state))
        example = start(in_the_field.state)
        assert example.begin()["event"] == "begun"
        why = 'it said "sinus" for a run of beats'
        assert example.say(f"stop {why}") == {"event": "stopped", "taken": True}
        assert example.say("0.9")["event"] == "measured"
        assert example.begin() == {
            "event": "refused",
            "reason": "safety.stopped",
            "found": "no release may be used",
        }
        assert why in in_the_field.standing()["notice"]
        assert example.end() == 1
    assert in_the_field.event("safe-mode.asked")["data"]["detail"]["why"] == why


def test_a_stop_that_no_agent_takes_holds_in_the_example(
    tmp_path: Path, start: Callable[..., Running]
) -> None:
    standing(tmp_path)
    example = start(tmp_path)
    assert example.first["event"] == "opened"
    assert example.say("stop it is wrong") == {"event": "stopped", "taken": False}
    assert example.say("open")["reason"] == "safety.stopped"
    assert example.begin()["event"] == "refused"
    assert example.end() == 1


def test_what_it_computed_is_compared_with_what_runs_in_shadow(
    in_the_field: Any, attempt_now: Callable[..., int], start: Callable[..., Running]
) -> None:
    """After it was shown; what the runner does not take costs a comparison and nothing else."""
    field = shadowed(in_the_field, attempt_now, scale=OTHERWISE)
    example = start(field.state)
    assert example.begin()["event"] == "begun"
    seeds = range(5)
    cases = []
    for seed in seeds:
        numbers = " ".join(f"{number:.9g}" for number in case(seed))
        cases.append((1 - score_of(seed), f"case x {numbers} > p {1 - score_of(seed):.9g}"))
    with served(field):
        for score, line in cases:
            shown = example.say(line)
            assert (shown["event"], shown["version"]) == ("output", RUNNING)
            assert shown["alarm"] is (score >= 0.5)
            assert example.hear() == {"event": "observed", "taken": True}
        for spoiled in ("case x 1 2 > p 0.1", "case y 1 2 3 4 > p 0.1", 'case "\\ 1 > p 0.1'):
            assert example.say(spoiled)["event"] == "output"
            assert example.hear() == {"event": "observed", "taken": False}
        for wrong in ("case", "case x", "case x 1", "case x 1 >", "case x > p 1", "case x a > p 1"):
            assert example.say(wrong)["event"] == "measured"
        assert example.say("case x 1 > p 1e99")["event"] == "measured"
        assert example.say("case x " + "1 " * 1025 + "> p 1")["event"] == "measured"
    counts = counts_of(field)["whole"]["tally"]
    agreed = sum((score >= 0.5) == (1 - score >= 0.5) for score, _ in cases)
    assert counts["outcomes"]["agreed"] == agreed
    assert sum(counts["outcomes"].values()) == len(cases)
    # Nobody listens any more: the output is shown all the same, and at once.
    began = time.monotonic()
    assert example.say(cases[0][1])["event"] == "output"
    assert example.hear() == {"event": "observed", "taken": False}
    assert time.monotonic() - began < 1.9
    example.say("end")
    assert example.say(cases[0][1])["event"] == "measured", "outside an episode"
    assert example.end() == 0


def test_a_runner_that_never_answers_holds_nothing_up(
    tmp_path: Path, start: Callable[..., Running]
) -> None:
    standing(tmp_path)
    example = start(tmp_path)
    assert example.begin()["event"] == "begun"
    for answer in (None, b"garbage\n", b'{"ok": 1}\n', b"x" * 70_000):
        with pretending(tmp_path, always(answer), name="runner.sock"):
            began = time.monotonic()
            assert example.say("case x 1 2 3 4 > p 0.1")["event"] == "output"
            assert example.hear() == {"event": "observed", "taken": False}
            # A fifth of a second; the agent itself is given two.
            assert time.monotonic() - began < 1.9
    assert example.end() == 0


def test_the_page_says_how_it_is_run() -> None:
    assert page_commands()[1] == "./monitor /var/lib/primum " + " ".join(KNOWN)


# Without an agent


def test_without_an_agent_the_statements_own_end_decides(
    tmp_path: Path, start: Callable[..., Running]
) -> None:
    standing(tmp_path)
    assert start(tmp_path).begin()["event"] == "begun"
    standing(tmp_path, terms={"notAfter": PAST})
    shown = start(tmp_path)
    assert (shown.begin()["reason"], shown.say("0.9")["event"]) == (
        "eligibility.expired",
        "measured",
    )
    standing(tmp_path, terms={"notAfter": PAST, "onExpiry": "continue-with-notice"})
    assert "has ended" in start(tmp_path).begin()["banner"]


@pytest.mark.parametrize(
    "changes",
    [
        {"schemaVersion": "0.2"},
        {"mode": "shadow"},
        {"generation": None},
        {"generation": 3.0},
        {"generation": 10**30},
        {"files": []},
        {"files": [{"id": "m", "kind": "model", "path": "../x", "sha256": "0" * 64}]},
        {"operatingPoint": {"output": "p", "threshold": "high"}},
        {"operatingPoint": {"output": "p", "threshold": "nan"}},
        {"operatingPoint": {"output": "p", "threshold": "1e999"}},
        {"notAfter": "soon"},
        {"folder": "/nowhere"},
        {"statement": "b" * 63},
        {"component": "x" * 5000},
    ],
)
def test_what_the_library_does_not_open_the_example_does_not(
    tmp_path: Path, changes: dict[str, Any], start: Callable[..., Running]
) -> None:
    standing(tmp_path, **changes)
    shown = start(tmp_path)
    assert shown.first["event"] == "safe"
    assert shown.say("0.9")["event"] == "measured"
    assert shown.end() == 1


def test_a_damaged_word_of_the_agent_is_safe_mode(
    tmp_path: Path, start: Callable[..., Running]
) -> None:
    """Missing, cut at any place, followed by more, or with a member that stands twice."""
    content = standing(tmp_path)
    data = (tmp_path / "run" / "standing.json").read_bytes()
    shown = start(tmp_path)
    twice = b'{"generation": 3, ' + data.lstrip(b"{")
    escaped = data.replace(b'"generation"', b'"mod\\u0065": "safe", "generation"')
    nested = data.replace(b'"ending": null', b'"ending": ' + b"[" * 40 + b"]" * 40)
    too_long = data + b" " * (256 * 1024)
    cuts = [data[:length] for length in range(0, len(data), 23)]
    for damaged in (*cuts, twice, escaped, nested, too_long, data + b"}", data + b"\0", b"\xff"):
        write(tmp_path, damaged)
        assert shown.say("open")["event"] == "safe", damaged
    write(tmp_path, data)
    assert shown.say("open")["generation"] == content["generation"]
    (tmp_path / "run" / "standing.json").unlink()
    assert shown.say("open")["reason"] == "state.damaged"


def test_a_model_with_one_bit_changed_is_never_used(
    tmp_path: Path, start: Callable[..., Running]
) -> None:
    content = standing(tmp_path)
    model = Path(content["folder"]) / "model.onnx"
    data = bytearray(MODEL)
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    shown = start(tmp_path)
    assert (shown.first["event"], shown.first["reason"]) == ("safe", "artifact.digest")
    assert shown.begin()["event"] == "refused"
    model.write_bytes(MODEL)
    assert shown.begin()["event"] == "begun"


def test_what_changes_between_two_episodes_is_opened_again(
    tmp_path: Path, start: Callable[..., Running]
) -> None:
    standing(tmp_path)
    shown = start(tmp_path)
    for changes in (
        {"generation": 4},
        {"statement": "e" * 64, "statementNumber": 8},
        {"operatingPoint": {"output": "p", "threshold": "0.95"}},
        {"mode": "investigational", "terms": {"mode": "investigational"}},
    ):
        standing(tmp_path, **changes)
        assert shown.begin()["event"] == "begun"
        output = shown.say("0.9")
        for name in ("generation", "statement", "statementNumber", "mode"):
            assert output[name] == changes.get(name, output[name])
        assert output["alarm"] is ("operatingPoint" not in changes)
        assert shown.say("end")["event"] == "ended"
    standing(tmp_path, ending={"reason": "eligibility.withdrawn", "maxUseSeconds": None})
    assert shown.begin()["reason"] == "eligibility.withdrawn"


LAYERS: list[dict[str, Any]] = [
    {},
    {"ageYearsMin": 54, "ageYearsMax": 54},
    {"ageYearsMin": 55},
    {"ageYearsMax": 53},
    {"ageYearsMin": None, "sex": None, "patientCategories": None},
    {"sex": "female"},
    {"sex": "male"},
    {"patientCategories": ["neonatal", "adult"]},
    {"patientCategories": []},
    {"include": ["icd|I49.3"]},
    {"include": ["icd|I49.3", "icd|X"]},
    {"exclude": ["icd|X"]},
    {"exclude": ["icd|I49.3"]},
    {"inputs": [{"channel": "ecg", "code": "1", "unit": "mV", "rateHz": "250"}]},
    {"inputs": [{"channel": "ecg", "code": "1", "unit": "mV", "rateHz": 250.5}]},
    {"inputs": [{"channel": "ppg", "code": "1", "unit": "mV", "rateHz": "250"}]},
    {"conditions": [{"code": "worn", "text": "worn"}]},
    {"conditions": [{"code": "rested", "text": "rested"}]},
    {"newLimit": None},
    {"include": None},
    {"conditions": ["worn"]},
]
EVERYTHING = Episode(
    age_years=54,
    sex="female",
    patient_category="adult",
    codes=frozenset({"icd|I49.3"}),
    inputs={"ecg": ("1", "mV", 250.0)},
    conditions_met=frozenset({"worn"}),
)
EVERY_WORD = (
    "--age 54 --sex female --category adult --code icd|I49.3 --condition worn --input ecg,1,mV,250"
)


@pytest.mark.parametrize(
    ("words", "episode"),
    [(EVERY_WORD, EVERYTHING), ("--age 54", Episode(age_years=54))],
    ids=["everything-known", "only-the-age"],
)
def test_without_an_agent_the_terms_are_judged_as_the_library_judges_them(
    tmp_path: Path, words: str, episode: Episode, start: Callable[..., Running]
) -> None:
    standing(tmp_path)
    shown = start(tmp_path, *words.split())
    for layer in LAYERS:
        standing(tmp_path, terms={"layers": [{}, layer]})
        release = open_active(tmp_path)
        assert isinstance(release, ActiveRelease)
        expected = release.may_use(episode)
        heard = shown.begin()
        assert heard["event"] == ("begun" if expected else "refused"), layer
        if expected:
            shown.say("end")
        else:
            assert heard["reason"] == expected.reason, layer


# Beside something that is no agent


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage\n",
        b"{}\n",
        b'{"ok": 1}\n',
        b'{"ok": true, "ok": true}\n',
        b"\xff\0\n",
        b"x" * 70_000,
        b'{"ok": true',
        None,
    ],
)
def test_what_answers_garbage_or_never_counts_as_no_agent(
    tmp_path: Path, answer: bytes | None, start: Callable[..., Running]
) -> None:
    """Then the statement's own end decides by the clock, and nobody waits longer than 2 s."""
    standing(tmp_path)
    with pretending(tmp_path, lambda _: answer):
        shown = start(tmp_path)
        assert shown.first["healthTaken"] is False
        began = time.monotonic()
        assert shown.begin()["event"] == "begun"
        assert time.monotonic() - began < 4
        shown.say("end")
        standing(tmp_path, terms={"notAfter": PAST})
        assert shown.begin()["reason"] == "eligibility.expired"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"answer": "refuse", "reason": "eligibility.held"}, "eligibility.held"),
        ({"answer": "ALLOW"}, "state.damaged"),
        ({"answer": None}, "state.damaged"),
        ({"generation": 4}, "eligibility.superseded"),
        ({"statement": "e" * 64}, "eligibility.superseded"),
        ({"banner": None}, "state.damaged"),
        ({"banner": "x" * 2000}, "state.damaged"),
        ({"ok": False, "reason": "usage"}, "usage"),
    ],
)
def test_only_a_plain_yes_about_what_was_opened_is_a_yes(
    tmp_path: Path, changes: dict[str, Any], reason: str | None, start: Callable[..., Running]
) -> None:
    standing(tmp_path, terms={"notAfter": PAST})
    yes = {"ok": True, "answer": "allow", "reason": None, "found": "", "banner": ""}
    about = {"generation": 3, "statement": "b" * 64}

    def answer(line: bytes) -> bytes:
        asked = json.loads(line)["do"] == "may-use"
        return json.dumps({**yes, **about, **changes} if asked else {"ok": True}).encode() + b"\n"

    with pretending(tmp_path, answer):
        heard = start(tmp_path).begin()
    assert heard.get("reason") == reason
    assert heard["event"] == ("begun" if reason is None else "refused")


# Its parts


def mutated(data: bytes, draw: random.Random) -> bytes:
    """One to three small damages: bytes turned, cut out, doubled or put in."""
    found = bytearray(data)
    for _ in range(draw.randint(1, 3)):
        at, length = draw.randrange(len(found)), draw.randint(1, 30)
        piece = found[at : at + length]
        kind = draw.randrange(5)
        if kind == 0:
            found[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del found[at : at + length]
        elif kind == 2:
            found[at:at] = piece
        elif kind == 3:
            found[at : at + 1] = draw.choice([b'"', b"{", b"]", b"\\u", b"9" * 40, b"\0", b"\xed"])
        else:
            del found[at:]
        if not found:
            break
    return bytes(found)


def difference(old: bytes, new: bytes) -> list[str]:
    """The lines that stand in one of them alone."""
    lines = unified_diff(repr(old).split("\\n"), repr(new).split("\\n"), n=0, lineterm="")
    return list(lines)[3:]


def test_no_mutation_of_the_agents_word_crashes_it_or_gets_more_than_the_library_gives(
    in_the_field: Any, attempt_now: Callable[..., int], start: Callable[..., Running]
) -> None:
    """300 damages of a real one: it never falls, and is never looser than the library."""
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == 0
    path = in_the_field.layout.standing
    data, draw, looser = path.read_bytes(), random.Random(11), []
    known = Episode(age_years=54, patient_category="adult")
    shown = start(in_the_field.state)
    used = 0
    for number in range(MUTATIONS):
        path.write_bytes(mutated(data, draw))
        shown.say("open")
        if shown.begin()["event"] == "begun":
            used += 1
            shown.say("end")
            release = in_the_field.opened()
            if release is None or not release.may_use(known):
                looser.append((number, difference(data, path.read_bytes())))
    assert looser == []
    # A campaign in which nothing is ever used would prove nothing.
    assert 0 < used < MUTATIONS
    path.write_bytes(data)
    assert shown.say("open")["event"] == "opened"
    assert shown.end() == 0


@pytest.fixture(scope="module")
def part(
    tmp_path_factory: pytest.TempPathFactory, sanitizers: str
) -> Callable[[str, str], Callable[[bytes], str]]:
    """Build a small program around one part; it is called with its input."""
    folder = tmp_path_factory.mktemp("parts")

    def build(name: str, main: str) -> Callable[[bytes], str]:
        (folder / f"{name}.c").write_text(
            f'#include "{name}.h"\n#include <stdio.h>\nstatic char data[1 << 21];\n'
            f"int main(void) {{ size_t n = fread(data, 1, sizeof data, stdin); {main} }}\n"
        )
        words = f"-std=c11 -Wall -Wextra -Werror -pedantic {sanitizers} -I {FOLDER}"
        run_compiler(f"cc {words} -o {folder / name} {folder / name}.c {FOLDER / name}.c")

        def call(data: bytes) -> str:
            done = subprocess.run([folder / name], input=data, capture_output=True, check=False)
            assert (done.returncode, done.stderr) == (0, b"")
            return done.stdout.decode()

        return call

    return build


def test_its_sha_256_is_that_of_fips_180_4(part: Any) -> None:
    digest = part(
        "sha256",
        "char out[65]; struct sha256 h; sha256_begin(&h);"
        "for (size_t at = 0; at < n; at += 1000)"
        " sha256_add(&h, data + at, n - at < 1000 ? n - at : 1000);"
        "sha256_end(&h, out); puts(out); return 0;",
    )
    two_blocks = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"
    vectors = {
        b"": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        b"abc": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        two_blocks: "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        b"a" * 1_000_000: "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
    }
    for data, expected in vectors.items():
        assert digest(data).strip() == expected
    for length in (55, 56, 63, 64, 65, 119, 120):
        data = bytes(range(length))
        assert digest(data).strip() == hashlib.sha256(data).hexdigest()


GOOD = [
    b"{}", b" [ ] ", b"0", b"-0", b"-12.5e+3", b'"\\ud83d\\ude00\\n\xc3\xa9"', b'{"a":{"a":1}}',
    b"[" * 32 + b"]" * 32, b"true", b"null\n",
]  # fmt: skip
BAD = [
    b"", b"{", b"{}{}", b"[1,]", b'{"a":1,}', b'{"a":1,"a":1}', b'{"a":1,"\\u0061":2}', b"01",
    b"+1", b"1.", b".5", b"1e", b"NaN", b"Infinity", b"-Infinity", b"'a'", b'"\\x"', b'"\\u12"',
    b'"\\ud800"', b'"\\udc00"', b'"\\u0000"', b'"a\nb"', b'"\xff"', b'"\xc0\x80"',
    b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xc3', b'"\\', b"tru", b"[" * 33 + b"]" * 33,
    b"\xef\xbb\xbf{}", b"{1:2}", b"[1 2]", b"/**/1", b"1\0", b"[" + b"1," * 99 + b"1]",
]  # fmt: skip


def test_its_reader_is_strict(part: Any) -> None:
    read = part(
        "strict_json",
        "static struct json v[64]; struct json_room r = {.nodes = v, .most = 64};"
        'puts(json_read(&r, data, n) ? "read" : "refused"); return 0;',
    )
    assert {data: read(data).strip() for data in GOOD} == dict.fromkeys(GOOD, "read")
    assert {data: read(data).strip() for data in BAD} == dict.fromkeys(BAD, "refused")


def test_a_wrong_call_is_told_and_changes_nothing(monitor: Path, tmp_path: Path) -> None:
    calls: list[list[str]] = [[], ["--age"], ["--age", "old"], ["--age", "-1"], ["--new", "1"]]
    calls += [["--input", "ecg"], ["--input", "ecg,1,mV,fast"], ["--code", "a|b"] * 65]
    for words in calls[1:]:
        done = subprocess.run([monitor, tmp_path, *words], capture_output=True, check=False)
        assert done.returncode == 2, words
    assert subprocess.run([monitor], capture_output=True, check=False).returncode == 2
