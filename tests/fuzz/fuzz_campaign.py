"""``make campaign-fuzz``: searches every parser of hostile bytes for inputs that break its promise.

Two minutes for each subject (SECONDS=…), or for one of them (TARGET=…). An interrupted campaign
goes on where it stopped, and a subject whose time was spent on this very code is skipped until
AGAIN=1. What the search learns is kept in two places: everything in ``.cache/fuzz``, the smallest
part that covers the same in ``tests/fuzz/corpus``, which the tests replay.

An input that breaks a promise is written below ``tests/fuzz/crashes`` and stays there once its
cause is gone: the tests replay it for ever.

Exit: 0 nothing was found, 1 a fault was found, 2 the search cannot run here or was called wrongly.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path

from fuzz_subjects import SUBJECTS

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
CORPUS = HERE / "corpus"
CRASHES = HERE / "crashes"
KEPT = CHECKOUT / ".cache" / "fuzz"
JUDGED_CODE = (
    CHECKOUT / "verifier" / "src",
    CHECKOUT / "agent" / "src",
    CHECKOUT / "repo_tools" / "src" / "primum_repo_tools" / "fleet",
    HERE,
)

EXIT_DONE, EXIT_FOUND, EXIT_USAGE = 0, 1, 2
SECONDS_EACH = 120
SHOW_EVERY = 15.0
MAX_INPUT_SECONDS = 10
"""One input that takes longer is a fault: a device must not be held by one document."""
MAX_MEMORY_MIB = 1024
"""Above it the search stops: a parser of small documents needs a tenth of it."""
MAX_FILES, MAX_BYTES = 48, 48 * 1024
"""What one subject may keep in the repository."""

_STATUS = re.compile(
    r"^#(?P<executions>\d+)\t\w+ +cov: (?P<coverage>\d+) ft: \d+ corp: (?P<corpus>\d+)/"
    r".*?exec/s: (?P<speed>\d+)"
)


class CampaignError(Exception):
    """The campaign cannot go on; the message is for the person who started it."""


@dataclass
class Progress:
    """What was done on one subject, for one state of the code."""

    code: str = ""
    seconds: float = 0.0
    executions: int = 0
    coverage: int = 0
    corpus: int = 0
    found: list[str] = field(default_factory=list)


def say(text: str) -> None:
    """One line for the person at the terminal."""
    print(text, flush=True)


def code_digest() -> str:
    """One digest of all code that the search judges or is made of."""
    total = hashlib.sha256()
    for folder in JUDGED_CODE:
        for path in sorted(folder.rglob("*.py")):
            total.update(path.read_bytes())
    return total.hexdigest()


def load_progress(name: str, code: str) -> Progress:
    """What was done on a subject; nothing when its code has changed since."""
    try:
        progress = Progress(**json.loads((KEPT / name / "progress.json").read_text()))
    except (OSError, ValueError, TypeError):
        return Progress(code=code)
    return progress if progress.code == code else Progress(code=code)


def save_progress(name: str, progress: Progress) -> None:
    """Keep what was done, whole."""
    path = KEPT / name / "progress.json"
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(asdict(progress)) + "\n")
    beside.replace(path)


def write_words(path: Path, words: Iterator[str]) -> None:
    """The words of a format in the form of libFuzzer's dictionaries."""
    lines = []
    for word in words:
        data = "".join(f"\\x{byte:02x}" for byte in word.encode()[:64])
        lines.append(f'"{data}"\n')
    path.write_text("".join(lines))


@contextmanager
def start_folders(name: str) -> Iterator[tuple[Path, Path]]:
    """The seeds and the words of a subject in a folder of their own, for one run."""
    with tempfile.TemporaryDirectory(prefix="primum-fuzz-") as scratch:
        seeds = Path(scratch) / "seeds"
        seeds.mkdir()
        for seed, data in SUBJECTS[name].seeds().items():
            (seeds / seed).write_bytes(data)
        words = Path(scratch) / "words"
        write_words(words, iter(SUBJECTS[name].words()))
        yield seeds, words


def _near(path: Path) -> str:
    """A path as seen from here: libFuzzer hands paths to a shell, and theirs may have spaces."""
    return os.path.relpath(path, HERE)


def command(name: str, *options: str) -> list[str]:
    """How one search is started."""
    return [sys.executable, str(HERE / "fuzz_one.py"), name, *options]


def search(name: str, progress: Progress, *, seconds: int) -> None:
    """Search one subject for the rest of its time; ``progress`` says what came of it."""
    kept = KEPT / name / "corpus"
    crashes = CRASHES / name
    committed = CORPUS / name
    for folder in (kept, crashes, committed):
        folder.mkdir(parents=True, exist_ok=True)
    before = {path.name for path in crashes.iterdir()}
    done_before, executed_before = progress.seconds, progress.executions
    left = max(1, round(seconds - progress.seconds))
    with start_folders(name) as (seeds, words):
        options = [
            f"-max_total_time={left}",
            f"-timeout={MAX_INPUT_SECONDS}",
            f"-rss_limit_mb={MAX_MEMORY_MIB}",
            f"-max_len={SUBJECTS[name].max_bytes}",
            f"-artifact_prefix={_near(crashes)}/",
            "-print_final_stats=1",
            "-reload=0",
        ]
        if words.stat().st_size:
            options.append(f"-dict={words}")
        started = time.monotonic()
        process = subprocess.Popen(
            command(name, *options, _near(kept), _near(committed), str(seeds)),
            cwd=HERE,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        last: deque[str] = deque(maxlen=60)
        reader = threading.Thread(
            target=_follow, args=(process, progress, executed_before, last), daemon=True
        )
        reader.start()
        try:
            while reader.is_alive():
                reader.join(SHOW_EVERY)
                progress.seconds = done_before + time.monotonic() - started
                save_progress(name, progress)
                show(name, progress, seconds=seconds)
            process.wait()
        finally:
            process.kill()
            process.wait()
            progress.seconds = done_before + time.monotonic() - started
            save_progress(name, progress)
    progress.found = sorted({path.name for path in crashes.iterdir()} - before)
    if process.returncode and not progress.found:
        told = "\n".join(last)
        raise CampaignError(f"{name}: the search ended by itself:\n{told}")
    if not progress.found:
        progress.seconds = max(progress.seconds, float(seconds))
    save_progress(name, progress)
    for found in progress.found:
        again = [sys.executable, str(HERE / "fuzz_campaign.py"), "--repeat", name]
        say(f"{name}: FOUND {(crashes / found).relative_to(CHECKOUT)}")
        say(f"  {_cause(last)}")
        say(f"  repeat it with: {shlex.join([*again, str(crashes / found)])}")


def _cause(said: Iterable[str]) -> str:
    """What broke, in the words of the search: the exception, or too much time or memory."""
    lines = iter(said)
    for line in lines:
        if "Uncaught Python exception" in line:
            return next(lines, "")[:300]
        if "ERROR: libFuzzer:" in line:
            return line[:300]
    return "see the file"


def _follow(
    process: subprocess.Popen[str], progress: Progress, executed_before: int, last: deque[str]
) -> None:
    """Read what the search says, as it says it."""
    assert process.stdout is not None
    for line in process.stdout:
        if status := _STATUS.match(line):
            progress.executions = executed_before + int(status["executions"])
            progress.coverage = int(status["coverage"])
            progress.corpus = int(status["corpus"])
        elif (executed := line.partition("stat::number_of_executed_units:")[2]).strip():
            progress.executions = executed_before + int(executed)
        else:
            last.append(line.rstrip())


def show(name: str, progress: Progress, *, seconds: int) -> None:
    """One line of progress."""
    speed = progress.executions / max(progress.seconds, 0.1)
    say(
        f"{name:<16}{min(progress.seconds, seconds):>5.0f} of {seconds} s"
        f"{progress.executions:>11} executions ({speed:.0f}/s)"
        f"  coverage {progress.coverage:>4}  corpus {progress.corpus:>4}"
    )


def keep_smallest(name: str) -> tuple[int, int]:
    """Write the smallest set of inputs that covers the same into the repository.

    Returns:
        How many files, and how many bytes they have in all.
    """
    committed = CORPUS / name
    with start_folders(name) as (seeds, _), tempfile.TemporaryDirectory() as scratch:
        merged = Path(scratch) / "merged"
        merged.mkdir()
        sources = [_near(KEPT / name / "corpus"), _near(committed)]
        options = ["-set_cover_merge=1", f"-max_len={SUBJECTS[name].max_bytes}"]
        finished = subprocess.run(
            command(name, *options, str(merged), *sources),
            cwd=HERE,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
        )
        if finished.returncode:
            raise CampaignError(f"{name}: the corpus cannot be merged:\n{finished.stderr[-2000:]}")
        known = {hashlib.sha256(path.read_bytes()).digest() for path in seeds.iterdir()}
        chosen: dict[str, bytes] = {}
        size = 0
        for path in sorted(merged.iterdir(), key=lambda one: (one.stat().st_size, one.name)):
            data = path.read_bytes()
            if hashlib.sha256(data).digest() in known:
                continue  # made from the models anew each time
            if len(chosen) >= MAX_FILES or size + len(data) > MAX_BYTES:
                break
            chosen[hashlib.sha256(data).hexdigest()[:16]] = data
            size += len(data)
    for path in committed.iterdir():
        if path.name not in chosen:
            path.unlink()
    for file_name, data in chosen.items():
        (committed / file_name).write_bytes(data)
    return len(chosen), size


def repeat(name: str, file: Path) -> int:
    """Run one input without the search: what it raises is the fault."""
    SUBJECTS[name].run(file.read_bytes())
    say(f"{name}: {file} breaks nothing any more")
    return EXIT_DONE


def run(names: list[str], *, seconds: int, again: bool) -> int:
    """Search the subjects one after the other; a fault in one does not hide those in others."""
    code = code_digest()
    found: list[str] = []
    for name in names:
        (KEPT / name).mkdir(parents=True, exist_ok=True)
        progress = Progress(code=code) if again else load_progress(name, code)
        if progress.seconds >= seconds and not progress.found:
            say(f"{name:<16}done before on this code: {progress.executions} executions")
            continue
        search(name, progress, seconds=seconds)
        if progress.found:
            found += progress.found
            continue
        files, size = keep_smallest(name)
        say(f"{name:<16}kept {files} files, {size} bytes in tests/fuzz/corpus/{name}")
    if found:
        say(f"campaign-fuzz: {len(found)} inputs break a promise; see above")
        return EXIT_FOUND
    say(f"campaign-fuzz: {len(names)} subjects, nothing found")
    return EXIT_DONE


def main() -> int:
    """Search, or repeat one input."""
    parser = argparse.ArgumentParser(
        prog="campaign-fuzz",
        description="Searches every parser of hostile bytes for inputs that break its promise.",
    )
    parser.add_argument("--seconds", type=int, default=SECONDS_EACH, help="for each subject")
    parser.add_argument("--target", choices=sorted(SUBJECTS), help="this subject alone")
    parser.add_argument("--again", action="store_true", help="also what was done on this code")
    parser.add_argument("--repeat", nargs=2, metavar=("SUBJECT", "FILE"), help="one input, plain")
    arguments = parser.parse_args()
    if arguments.repeat:
        return repeat(arguments.repeat[0], Path(arguments.repeat[1]))
    if find_spec("atheris") is None:
        version = ".".join(map(str, sys.version_info[:2]))
        say(f"campaign-fuzz: atheris, the fuzzer, cannot be installed on Python {version} here")
        return EXIT_USAGE
    names = [arguments.target] if arguments.target else list(SUBJECTS)
    try:
        return run(names, seconds=arguments.seconds, again=arguments.again)
    except CampaignError as error:
        say(f"campaign-fuzz: {error}")
        return EXIT_USAGE
    except KeyboardInterrupt:
        say("campaign-fuzz: interrupted; the next run goes on from here")
        return EXIT_FOUND


if __name__ == "__main__":
    sys.exit(main())
