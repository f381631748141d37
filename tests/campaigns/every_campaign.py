"""``make campaign``: every long campaign, one after another, within one time; ends in one table.

An hour (SECONDS=…) is shared out; what one campaign does not use goes to those after it.  One that
knows no time of its own is interrupted when its share is over.  Each goes on where it stopped, so
that the next run continues (SEED=2 draws anew what is drawn); what each said lies in
``.cache/campaign``.

Exit: 0 nothing was found, 1 something was, 2 a campaign cannot run here and nothing was found.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from tests.campaigns.campaign_tried import CACHE, say
from tests.campaigns.crash_worlds import CHECKOUT

KEPT = CACHE / "campaign"
SECONDS = 3600.0
GRACE = 60.0
"""Seconds in which a campaign that was interrupted ends what it began."""

FUZZ_SUBJECTS = 25
"""About how many parsers share the time of the fuzzer."""

EXIT_DONE, EXIT_FOUND, EXIT_USAGE = 0, 1, 2
_ROW = "{:12} {:>8} {:18} {}"


class Ended(StrEnum):
    """How a campaign came out."""

    NOTHING = "nothing found"
    FOUND = "FOUND"
    IN_TIME = "time is over"
    NOT_HERE = "cannot run here"


@dataclass(frozen=True, kw_only=True)
class Long:
    """One long campaign.

    Attributes:
        name: its word after ``campaign-``.
        share: of the time, against the shares of the others.
        figures: the lines of its output that hold its figures.
        timed: whether it keeps to SECONDS by itself.
        subjects: among how many it shares SECONDS, where it takes it for each of them.
        seeded: whether SEED means something to it.
    """

    name: str
    share: float
    figures: str
    timed: bool = True
    subjects: int = 1
    seeded: bool = False


CAMPAIGNS = (
    Long(name="crash", share=3, figures=r"^\d+ (?:points,|of \d+ places) .*", seeded=True),
    Long(name="power", share=3, figures=r"^\d+ points, .*", seeded=True),
    Long(name="life", share=1, figures=r"^\d+ lives, .*", seeded=True),
    Long(name="soak", share=2, figures=r"^\d+ faults, .*", seeded=True),
    Long(name="models", share=1, figures=r"^\d+ mutants, .*", seeded=True),
    Long(name="operators", share=1, figures=r"^\d+ cases, .*"),
    Long(name="compromise", share=2, figures=r"^\d+ sets of keys, .*", timed=False),
    Long(name="fuzz", share=2, figures=r"^campaign-fuzz: .*", subjects=FUZZ_SUBJECTS),
    Long(name="mutation", share=2, figures=r"^(?:\d+ changes|campaign-mutation:).*", timed=False),
)


@dataclass(frozen=True)
class Result:
    """What one campaign came to.

    Attributes:
        name: the campaign's.
        seconds: how long it took.
        ended: how it came out.
        figures: its own closing words.
    """

    name: str
    seconds: float
    ended: Ended
    figures: str


def run_one(campaign: Long, *, seconds: float, seed: int, make: Sequence[str]) -> Result:
    """Run one campaign, which has so long.

    Args:
        campaign: which.
        seconds: its share of the time.
        seed: for those that draw.
        make: the command before the word.
    """
    words = [*make, f"campaign-{campaign.name}"]
    if campaign.timed:
        words.append(f"SECONDS={max(1, round(seconds / campaign.subjects))}")
    if campaign.seeded:
        words.append(f"SEED={seed}")
    KEPT.mkdir(parents=True, exist_ok=True)
    log = KEPT / f"{campaign.name}.log"
    say(f"campaign-{campaign.name}: {seconds:.0f} s, see {log.relative_to(CHECKOUT)}")
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            words,
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        # A campaign with a time of its own first makes ready what it tries.
        allowed = seconds * 2 + GRACE if campaign.timed else seconds
        code = _within(process, allowed)
    text = log.read_text(encoding="utf-8", errors="replace")
    found = re.findall(campaign.figures, text, re.MULTILINE)
    return Result(
        campaign.name,
        time.monotonic() - began,
        ended(code, text),
        found[-1] if found else _last_line(text),
    )


def _within(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Its exit code; None where its time was over."""
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGINT)
    except KeyboardInterrupt:
        _signal(process, signal.SIGINT)
        process.wait(timeout=GRACE)
        raise
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=GRACE)
    _signal(process, signal.SIGKILL)
    process.wait()
    return None


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def ended(code: int | None, text: str) -> Ended:
    """What an exit code of ``make`` means, with what the campaign said.

    Every campaign ends with 1 when it found something; ``make`` says so, and itself ends with 2.
    """
    if code is None:
        return Ended.IN_TIME
    if code == EXIT_DONE:
        return Ended.NOTHING
    return Ended.FOUND if re.search(r"\] Error 1$", text, re.MULTILINE) else Ended.NOT_HERE


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("make")]
    return lines[-1][:100] if lines else ""


def table(results: Sequence[Result], *, left_out: Sequence[str]) -> str:
    """The closing table."""
    rows = [
        ("campaign", "seconds", "outcome", "figures"),
        *((one.name, f"{one.seconds:.0f}", str(one.ended), one.figures) for one in results),
        *((name, "0", "no time was left", "") for name in left_out),
    ]
    return "\n".join(_ROW.format(*row).rstrip() for row in rows)


def exit_code(results: Sequence[Result]) -> int:
    """One for all."""
    outcomes = {one.ended for one in results}
    if Ended.FOUND in outcomes:
        return EXIT_FOUND
    return EXIT_USAGE if Ended.NOT_HERE in outcomes else EXIT_DONE


def main(words: Sequence[str] | None = None, campaigns: Sequence[Long] = CAMPAIGNS) -> int:
    """Run them as the command line asks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0], prog="campaign")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--make", default="make --no-print-directory", help="what runs a word")
    options = parser.parse_args(words)
    until = time.monotonic() + options.seconds
    results: list[Result] = []
    try:
        for place, campaign in enumerate(campaigns):
            left = until - time.monotonic()
            if left <= 0:
                break
            shares = sum(one.share for one in campaigns[place:])
            results.append(
                run_one(
                    campaign,
                    seconds=left * campaign.share / shares,
                    seed=options.seed,
                    make=options.make.split(),
                )
            )
            say(f"campaign-{campaign.name}: {results[-1].ended}; {results[-1].figures}")
    except KeyboardInterrupt:
        say("campaign: interrupted; each goes on from here")
    say("")
    say(table(results, left_out=[one.name for one in campaigns[len(results) :]]))
    return exit_code(results)


if __name__ == "__main__":
    sys.exit(main())
