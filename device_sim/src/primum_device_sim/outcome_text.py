"""What came of scenarios: for a person, as JSON, and as JUnit for CI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from primum_device_sim.playing import Outcome

_MOST_STORY = 60


def told(outcome: Outcome) -> list[str]:
    """Lines for a person; why it failed comes last, with the story of the device."""
    scenario = outcome.scenario
    runs = ", ".join(f"{count} run {version}" for version, count in outcome.runs.items())
    run, shared = outcome.self_tests
    requests, received = outcome.requests
    lines = [
        f"{'ok' if outcome.ok else 'FAILED'}  {scenario.title} (seed {outcome.seed})",
        f"    {scenario.devices} devices for {scenario.lasts}: {runs}",
        f"    {outcome.turns} turns, each promise looked at {outcome.looks} times",
        f"    {run} self-tests run, {shared} shared; {requests} requests, {received} bytes",
    ]
    lines += [f"    not as expected: {text}" for text in outcome.unmet]
    for broken in outcome.broken:
        lines.append(f"    broken: {broken.device} {broken.promise}: {broken.text}")
        lines += [f"        {line}" for line in broken.story[-_MOST_STORY:]]
    return lines


def as_dict(name: str, outcome: Outcome) -> dict[str, Any]:
    """The outcome as one JSON object; logs are written apart."""
    run, shared = outcome.self_tests
    requests, received = outcome.requests
    return {
        "scenario": name,
        "title": outcome.scenario.title,
        "covers": list(outcome.scenario.covers),
        "seed": outcome.seed,
        "ok": outcome.ok,
        "devices": outcome.scenario.devices,
        "seconds": round(outcome.seconds, 3),
        "turns": outcome.turns,
        "looks": outcome.looks,
        "selfTestsRun": run,
        "selfTestsShared": shared,
        "requests": requests,
        "bytesReceived": received,
        "runs": outcome.runs,
        "kinds": outcome.kinds,
        "reasons": outcome.reasons,
        "unmet": list(outcome.unmet),
        "broken": [
            {
                "promise": str(item.promise),
                "device": item.device,
                "at": item.at,
                "found": item.text,
                "story": list(item.story),
            }
            for item in outcome.broken
        ],
    }


def junit(played: Sequence[tuple[str, Outcome]]) -> str:
    """Every scenario as a test case, as CI reads it."""
    failed = sum(not outcome.ok for _, outcome in played)
    seconds = sum(outcome.seconds for _, outcome in played)
    counts = f'tests="{len(played)}" failures="{failed}" time="{seconds:.3f}"'
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f'<testsuite name="primum-sim" {counts}>']
    for name, outcome in played:
        head = f'  <testcase classname="primum-sim" name={quoteattr(name)}'
        lines.append(f'{head} time="{outcome.seconds:.3f}">')
        if not outcome.ok:
            text = "\n".join(told(outcome))
            first = next(iter([*outcome.unmet, *(item.text for item in outcome.broken)]))
            lines.append(f"    <failure message={quoteattr(first)}>{escape(text)}</failure>")
        lines.append("  </testcase>")
    return "\n".join([*lines, "</testsuite>", ""])
