"""``make campaign-mutation``: changes what decides, and asks for a test that sees it.

mutmut makes the changes, in a copy below ``.cache/mutation``; ``subjects.toml`` says in which
modules and by which tests. A run that was interrupted goes on where it stopped; only what changed
is judged again, and what survived is judged again when a test changed (AGAIN=1: everything,
TARGET=rollout: one module).

Each change that survives has to be answered: by a test that sees it, or in ``explained.toml`` by
the reason why nobody could. The entry to fill in is printed.

Exit: 0 everything is answered, 1 something is not, 2 the campaign cannot run or was called wrongly.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from mutation_page import CHECKOUT, HERE, PAGE, Change, explanations, page, wordings
from undecorated import undecorated

STAGE = CHECKOUT / ".cache" / "mutation"
SOURCE = CHECKOUT / "verifier" / "src"
SUBJECTS = HERE / "subjects.toml"
JUDGED = STAGE / "judged.json"
ALSO = (
    "tests/unit/verifier/*.py",
    "tests/unit/verifier/record/*.py",
    "tests/unit/verifier/*.jsonl",
    "docs/examples/*.json",
    "docs/decision-table.md",
    "docs/refusals.md",
)
"""What tests read or share; of the test files themselves only the chosen ones are copied."""

EXIT_DONE, EXIT_FOUND, EXIT_USAGE = 0, 1, 2
SHOW_EVERY = 20.0
SEEN = frozenset({"killed", "timeout", "segfault"})
"""How a change ends that the tests see; a loop without an end is seen by its time."""

ENDED = SEEN | {"survived", "no tests", "suspicious", "skipped"}
"""How a change ends whose judgement was not interrupted."""

_RESULT = re.compile(r"^\s*(?P<name>\S+__mutmut_\d+): (?P<status>.+)$", re.MULTILINE)
_STATE = re.compile(r"(\d+)/(\d+)")
_SETTINGS = """\
[tool.pytest.ini_options]
addopts = ["--strict-markers", "--import-mode=importlib", "-pno:cacheprovider", "-pno:xdist",
    "--assert=plain", "-k", "not any_bytes"]
filterwarnings = ["error"]
timeout = 60

[tool.mutmut]
source_paths = ["src"]
only_mutate = {modules}
also_copy = ["tests", "docs"]
pytest_add_cli_args = ["--hypothesis-seed=0"]
pytest_add_cli_args_test_selection = {tests}
use_git_change_detection = false
on_dependency_change = "ignore"
"""

_CONFTEST = """\
from hypothesis import Phase, settings

# A busy machine fails no test, and what fails is not made smaller: that it fails is the answer.
settings.register_profile(
    "mutation", deadline=None, phases=(Phase.explicit, Phase.generate), derandomize=True
)
settings.load_profile("mutation")
"""


class CampaignError(Exception):
    """The campaign cannot go on; the message is for the person who started it."""


def say(text: str) -> None:
    """One line for the person at the terminal."""
    print(text, flush=True)


def listed() -> tuple[list[Path], list[Path], list[str]]:
    """The modules that are changed, the test files that have to see it, and the modules' globs."""
    content = tomllib.loads(SUBJECTS.read_text(encoding="utf-8"))
    modules = [path for glob in content["modules"] for path in sorted(CHECKOUT.glob(glob))]
    tests = [
        path
        for glob in content["tests"]
        for path in sorted(CHECKOUT.glob(glob))
        if not any(
            fnmatch.fnmatch(str(path.relative_to(CHECKOUT)), left) for left in content["leave_out"]
        )
    ]
    return modules, tests, content["modules"]


def put(path: Path, data: bytes) -> None:
    """Write a file of the copy if it says something else: its age tells mutmut what changed."""
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def stage(modules: list[Path], tests: list[Path], *, globs: list[str]) -> str:
    """Bring the copy up to date.

    Args:
        modules: what is changed.
        tests: the test files that have to see it.
        globs: the modules as ``subjects.toml`` lists them.

    Returns:
        One digest of all tests in it.
    """
    wanted: dict[Path, bytes] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        data = path.read_bytes()
        if path in modules:
            data = undecorated(data.decode()).encode()
        wanted[STAGE / "src" / path.relative_to(SOURCE)] = data
    also = [
        path
        for glob in ALSO
        for path in sorted(CHECKOUT.glob(glob))
        if not path.name.startswith("test_")
    ]
    seen = hashlib.sha256()
    for path in [*tests, *also]:
        data = path.read_bytes()
        seen.update(data)
        wanted[STAGE / path.relative_to(CHECKOUT)] = data
    for folder in ("src", "tests", "docs"):
        (STAGE / folder).mkdir(parents=True, exist_ok=True)
        for path in sorted((STAGE / folder).rglob("*.*")):
            if path.is_file() and path not in wanted:
                path.unlink()
    # Globs and a folder, so that a new module or test changes no setting: mutmut judges everything
    # again when its settings change.
    settings = _SETTINGS.format(
        modules=json.dumps([glob.removeprefix("verifier/") for glob in globs]),
        tests=json.dumps(sorted({str(path.parent.relative_to(CHECKOUT)) for path in tests})),
    )
    wanted[STAGE / "pyproject.toml"] = settings.encode()
    wanted[STAGE / "tests" / "conftest.py"] = _CONFTEST.encode()
    for path, data in wanted.items():
        put(path, data)
    # What mutmut copied before and is gone now would still be collected.
    shutil.rmtree(STAGE / "mutants" / "tests", ignore_errors=True)
    return seen.hexdigest()


def mutmut(*arguments: str) -> list[str]:
    """How mutmut is started; it works in the folder it is started in."""
    return [sys.executable, "-m", "mutmut", *arguments]


def change_and_test(*names: str) -> None:
    """Make the changes and run the tests over each, with a line of progress now and then.

    Raises:
        CampaignError: mutmut gave up, mostly because a test fails without any change.
    """
    workers = f"--max-children={os.cpu_count() or 1}"
    process = subprocess.Popen(
        mutmut("run", workers, *names),
        cwd=STAGE,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdout is not None
    last: deque[str] = deque(maxlen=40)
    started = shown = time.monotonic()
    try:
        # Its progress stands in one line that is written over with carriage returns.
        for line in process.stdout:
            last.append(line.rstrip())
            state = _STATE.search(line)
            if state and time.monotonic() - shown > SHOW_EVERY:
                shown = time.monotonic()
                say(f"  {state[1]} of {state[2]} changes, {shown - started:.0f} s")
        if process.wait():
            told = "\n".join(last)
            raise CampaignError(f"mutmut gave up; do the tests pass without a change?\n{told}")
    finally:
        process.kill()
        process.wait()


def results(pattern: str) -> dict[str, str]:
    """How each change ended, by mutmut's name of it."""
    finished = subprocess.run(
        mutmut("results", "--all", "true"), cwd=STAGE, check=True, capture_output=True, text=True
    )
    found = {one["name"]: one["status"] for one in _RESULT.finditer(finished.stdout)}
    return {name: how for name, how in found.items() if fnmatch.fnmatchcase(name, pattern)}


def described(names: Iterable[str]) -> dict[str, Change]:
    """Changes by their place and their words, from the differences that mutmut made."""
    finished = subprocess.run(
        [sys.executable, str(HERE / "show_changes.py")],
        cwd=STAGE,
        check=True,
        capture_output=True,
        text=True,
        input=json.dumps(sorted(names)),
    )
    return {name: _change(name, diff) for name, diff in json.loads(finished.stdout).items()}


def _change(name: str, difference: str) -> Change:
    lines = [line for line in difference.splitlines() if not line.startswith(("---", "+++"))]
    first = next(number for number, line in enumerate(lines) if line.startswith(("-", "+")))
    above = [line.strip() for line in lines[:first] if line.startswith(" ")]
    function = re.sub(r"__mutmut_\d+$", "", name)
    module, _, mangled = function.rpartition(".")
    plain = mangled.removeprefix("x_").removeprefix("x\u01c1").replace("\u01c1", ".")
    return Change(
        function=f"{module}.{plain}",
        below=above[-1] if above else "",
        was="\n".join(line[1:].strip() for line in lines if line.startswith("-")),
        becomes="\n".join(line[1:].strip() for line in lines if line.startswith("+")),
    )


def judge(pattern: str, found: dict[str, str]) -> list[str]:
    """What is not answered, one text for each; empty when everything is."""
    unseen = {name: how for name, how in found.items() if how not in SEEN}
    survivors = {change: unseen[name] for name, change in described(unseen).items()}
    answers = {
        one.change: one
        for one in explanations()
        if fnmatch.fnmatchcase(f"{one.change.function}__mutmut_0", pattern)
    }
    sentences = wordings()
    faults = []
    for change, how in sorted(survivors.items()):
        answer = answers.get(change)
        if answer is None and any(one.covers(change) for one in sentences):
            continue
        if answer is None:
            faults.append(f"{how}:\n{change.as_toml()}\n")
        elif answer.killed_by:
            faults.append(f"not seen by {answer.killed_by} any more:\n{change.as_toml()}\n")
    faults += [
        f"explained and not needed, the tests see it or it is gone:\n{change.as_toml()}\n"
        for change, answer in sorted(answers.items())
        if answer.equivalent and change not in survivors
    ]
    return faults


@dataclass(frozen=True)
class Judged:
    """What one module was last judged with: digests of its source and of all tests."""

    source: str
    tests: str


def last_judged() -> dict[str, Judged]:
    """What each module was judged with, by its dotted name."""
    try:
        content = json.loads(JUDGED.read_text())
        return {name: Judged(**entry) for name, entry in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def bring_up_to_date(names: list[str], *, now: dict[str, Judged], whole: bool) -> None:
    """Judge what was never judged or has changed since, and what survived other tests.

    Args:
        names: the modules that are asked about, by dotted name.
        now: what each module would be judged with now.
        whole: whether these are all modules.
    """
    before = last_judged()
    stale = [
        name for name in names if name not in before or before[name].source != now[name].source
    ]
    retested = [
        name for name in names if name not in stale and before[name].tests != now[name].tests
    ]
    if stale or retested:
        # Which tests run through which function is asked anew, or new tests would see nothing.
        (STAGE / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)
    if whole:
        # Without a name, mutmut keeps what it knows and judges the rest.
        change_and_test()
    elif stale:
        change_and_test(*(f"{name}.*" for name in stale))
    left = [
        change
        for name in names
        for change, how in results(f"{name}.*").items()
        if how not in ENDED or (name in retested and how not in SEEN)
    ]
    if left:
        say(f"{len(left)} changes are judged again: they were not seen, or not finished")
        change_and_test(*left)
    JUDGED.write_text(
        json.dumps(
            {name: asdict(one) for name, one in (before | {n: now[n] for n in names}).items()}
        )
    )


def run(*, target: str | None, again: bool) -> int:
    """Change, test, judge and write the page."""
    modules, tests, globs = listed()
    names = {".".join(path.relative_to(SOURCE).with_suffix("").parts): path for path in modules}
    asked = [name for name, path in names.items() if target in {None, path.stem}]
    if not asked:
        raise CampaignError(f"{target} is none of: " + ", ".join(path.stem for path in modules))
    if again:
        shutil.rmtree(STAGE, ignore_errors=True)
    tests_digest = stage(modules, tests, globs=globs)
    now = {
        name: Judged(hashlib.sha256(path.read_bytes()).hexdigest(), tests_digest)
        for name, path in names.items()
    }
    started = time.monotonic()
    bring_up_to_date(asked, now=now, whole=target is None)
    pattern = f"{asked[0]}.*" if target else "*"
    found = results(pattern)
    faults = judge(pattern, found)
    PAGE.write_text(page(explanations(), wordings()), encoding="utf-8")
    for fault in faults:
        say(fault)
    killed = sum(how in SEEN for how in found.values())
    say(
        f"campaign-mutation: {len(found)} changes in {time.monotonic() - started:.0f} s,"
        f" {killed} seen by a test, {len(found) - killed} not, {len(faults)} without an answer"
    )
    return EXIT_FOUND if faults else EXIT_DONE


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(
        prog="campaign-mutation",
        description="Changes what decides over a release, and asks for a test that sees it.",
    )
    parser.add_argument("--target", help="one module by its name, such as rollout")
    parser.add_argument("--again", action="store_true", help="also what was judged before")
    arguments = parser.parse_args()
    if find_spec("mutmut") is None:
        say("campaign-mutation: mutmut is not installed; start it with 'make campaign-mutation'")
        return EXIT_USAGE
    try:
        return run(target=arguments.target, again=arguments.again)
    except (CampaignError, ValueError) as error:
        say(f"campaign-mutation: {error}")
        return EXIT_USAGE
    except KeyboardInterrupt:
        say("campaign-mutation: interrupted; the next run goes on from here")
        return EXIT_FOUND


if __name__ == "__main__":
    sys.exit(main())
